"""What all model cards have in common: where a model comes from, and the table of its maps."""

import re
from pathlib import Path
from typing import Any

import jinja2
from torch import nn

from vlx.evaluation.result import Figure, Result
from vlx.files import json_files

POINTING = """| method | target |{% for group in groups %} {{ group }} |{% endfor %}
|---|---|{% for group in groups %}---|{% endfor %}
{% for (method, target), row in rows.items() -%}
| {{ method }} | {{ target }} |{% for group in groups %} {{ interval(row[group]) }} |{% endfor %}
{% endfor -%}
| same picture, another word | |{% for group in groups %} {{ "%.3f"|format(baselines[group].same) }} |{% endfor %}
| picture's centre | |{% for group in groups %} {{ "%.3f"|format(baselines[group].centre) }} |{% endfor %}
| random point | |{% for group in groups %} {{ "%.3f"|format(baselines[group].random) }} |{% endfor %}
{% if paper -%}
| Grad-CAM's paper, other photographs | |{% for group in groups %} {{ number(baselines[group].paper) }} |{% endfor %}
{% endif %}"""


def pointing_table(result: Result) -> str:
    """The pointing game as a Markdown table: a line a method and target, a column a group; baselines below."""
    rows: dict[tuple[str, str], dict[str, Figure]] = {}
    pointed = [row for row in result.rows if row.metric == "pointing"]
    for row in pointed:
        rows.setdefault((row.method, row.target), {})[row.group] = row
    return render(
        POINTING,
        groups=list(dict.fromkeys(row.group for row in pointed)),
        rows=rows,
        baselines={row.group: row for row in reversed(pointed)},
        interval=_interval,
        number=lambda value: f"{value:.3f}" if value == value else "–",
        paper=any(row.paper == row.paper for row in pointed),
    )


def _interval(row: Figure) -> str:
    """A value with its interval; of words about photographs with that of its difference to the centre's."""
    if row.ahead is None:
        return f"{row.value:.3f} [{row.low:.2f}, {row.high:.2f}]"
    return f"{row.value:.3f} ({row.ahead[1]:+.3f} to {row.ahead[2]:+.3f})"


def origin(folder: Path, networks: nn.Module) -> dict[str, Any]:
    """What a card tells of a bundle: name, parameters, size in MB, the commands that made it."""
    recipe = json_files.read(folder / "recipe.json")
    return {
        "name": folder.name,
        "folder": folder,
        "parameters": f"{sum(tensor.numel() for tensor in networks.parameters()):,}",
        "size": f"{(folder / 'weights.safetensors').stat().st_size / 1e6:.2f}",
        "commands": recipe["commands"],
        "grounded": any(re.search(r"--grounding (?!0\.0( |$))", command) for command in recipe["commands"]),
    }


def public_name(folder: Path) -> str:
    """The name that `vlx.load` knows the folder by: vlx/photos/models/captioner is photos/captioner."""
    return f"{folder.parent.parent.name}/{folder.name}" if folder.parent.name == "models" else str(folder)


def percent(share: float) -> str:
    """A share with two places."""
    return f"{100 * share:.2f} %"


def render(template: str, **values: Any) -> str:
    """Plain text by Jinja."""
    environment = jinja2.Environment(autoescape=False, keep_trailing_newline=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(template).render(**values)
