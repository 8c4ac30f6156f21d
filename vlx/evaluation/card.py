"""The model card of a captioner bundle, made from measurements: ``python -m vlx.evaluation.card FOLDER``."""

import json
from pathlib import Path

import click
import jinja2
from rich.progress import track

from vlx.evaluation.captions import CaptionQuality, caption_quality
from vlx.evaluation.pointing import evaluate
from vlx.evaluation.result import Result
from vlx.tasks.captioning import bundle

TEMPLATE = """# {{ name }}

A CNN+LSTM captioner of the drawn pictures of `vlx.scenes`, and of nothing else. {{ entry }}
{{ parameters }} parameters, float16 safetensors, {{ size }} MB. Trained from scratch by

{% for command in recipe %}    {{ command }}
{% endfor %}
on scenes with seeds below 10,000,000.
{%- if grounded %} Its attention was supervised: for a word that names a thing it was taught to attend to that very
thing (Liu et al. 2017, 1605.09553), so that it is known where the evidence for the word is, and the maps can be
judged by it.{% endif %} Everything below was measured on seeds from 10,000,000 on.

## Captions ({{ quality.n }} held-out scenes)

| | share |
|---|---|
| words right under teacher forcing | {{ percent(quality.forced) }} |
| captions right to the last word | {{ percent(quality.exact) }} |
{% for category, share in quality.words.items() -%}
| {{ category }} words right in generated captions | {{ percent(share) }} |
{% endfor -%}
| BLEU-4 (NLTK) | {{ score(quality.bleu4) }} |
| METEOR (NLTK with WordNet) | {{ score(quality.meteor) }} |

## Do the maps point at the right thing? ({{ pointing.n }} held-out scenes with two named objects)

Pointing game: a hit when the highest cell of the word's map is centred on the very object that the word speaks of (a
scene word: outside all objects). True caption, teacher-forced. In brackets the 95 % interval.
Default of this model: **{{ method }}** on **{{ target }}**.

| method | target |{% for group in groups %} {{ group }} |{% endfor %}
|---|---|{% for group in groups %}---|{% endfor %}
{% for (method, target), row in rows.items() -%}
| {{ method }} | {{ target }} |{% for group in groups %} {{ interval(row[group]) }} |{% endfor %}
{% endfor -%}
| same map for every word | |{% for group in groups %} {{ "%.3f"|format(baselines[group].same) }} |{% endfor %}
| picture's centre | |{% for group in groups %} {{ "%.3f"|format(baselines[group].centre) }} |{% endfor %}
| random point | |{% for group in groups %} {{ "%.3f"|format(baselines[group].random) }} |{% endfor %}

Repeat with `{{ pointing.command }}` and `python -m vlx.evaluation.card {{ folder }}`.

## Limits

It knows 12 kinds of object, 8 colours, 4 textures and 5 scenes. Given a photograph it answers in these words all the
same; vlx says so in the report.
"""
ENTRIES = {
    "attention": "The decoder attends to the cells of A at every step.",
    "first": "The mean of A is the first LSTM input, as in the Grad-CAM paper's captioner.",
    "state": "The mean of A sets the LSTM's initial state.",
}


def write_card(folder: Path, n: int, pointing_n: int) -> Path:
    """Measure the captioner in ``folder`` and write ``card.md`` and ``measured.json`` beside its weights."""
    task = bundle.load_task(folder, _public_name(folder))
    quality = caption_quality(task, n, progress=lambda items: track(list(items), "captions"))
    pointing = evaluate(task, pointing_n, progress=lambda items: track(items, "pointing"))
    measured = {"captions": quality.__dict__, "pointing": pointing.to_json()}
    (folder / "measured.json").write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    card = folder / "card.md"
    card.write_text(_render(folder, quality, pointing), encoding="utf-8")
    return card


def _render(folder: Path, quality: CaptionQuality, pointing: Result) -> str:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    recipe = json.loads((folder / "recipe.json").read_text(encoding="utf-8"))
    weights = folder / "weights.safetensors"
    rows: dict[tuple[str, str], dict[str, object]] = {}
    for row in pointing.rows:
        rows.setdefault((row.method, row.target), {})[row.group] = row
    groups = list(dict.fromkeys(row.group for row in pointing.rows))
    return (
        jinja2.Environment(autoescape=False, keep_trailing_newline=True)
        .from_string(TEMPLATE)
        .render(
            name=folder.name,
            folder=folder,
            entry=ENTRIES[config["entry"]],
            parameters=f"{_parameters(folder):,}",
            size=f"{weights.stat().st_size / 1e6:.2f}",
            recipe=recipe["commands"],
            grounded=recipe["grounding"] > 0,
            quality=quality,
            pointing=pointing,
            percent=lambda share: f"{100 * share:.2f} %",
            score=lambda value: "NLTK or its data is not installed here" if value is None else f"{value:.3f}",
            interval=lambda row: f"{row.value:.3f} [{row.low:.2f}, {row.high:.2f}]",
            method=config["method"] or "gradcam",
            target=config["target"] or "logprob",
            groups=groups,
            rows=rows,
            baselines={row.group: row for row in reversed(pointing.rows)},
        )
    )


def _public_name(folder: Path) -> str:
    """The name that `vlx.load` knows the folder by."""
    return f"scenes/{folder.name}" if folder.parent.name == "models" else str(folder)


def _parameters(folder: Path) -> int:
    return sum(tensor.numel() for tensor in bundle.build(bundle.read_config(folder)).parameters())


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--n", default=2000, show_default=True, help="Held-out scenes for the captions.")
@click.option("--pointing-n", default=500, show_default=True, help="Held-out scenes for the pointing game.")
def main(folder: Path, n: int, pointing_n: int) -> None:
    """Measure a captioner bundle and write its model card.

    Example: python -m vlx.evaluation.card vlx/scenes/models/captioner
    """
    click.echo(write_card(folder, n, pointing_n))


if __name__ == "__main__":
    main()
