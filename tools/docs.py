"""Write what of docs/ the code knows best: methods.md, cli.md, and tables of others. ``python -m tools.docs``.

``--check`` writes nothing and exits with 1 where a page is stale; a test does the same.
"""

import argparse
import ast
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import click

from vlx.cli.program import main as vlx_command
from vlx.data import KINDS
from vlx.evaluation.metrics import METRICS
from vlx.methods.names import ABLATIONS
from vlx.methods.registry import NAMES, choose
from vlx.methods.relu_rules import RULES
from vlx.protocol import powers

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
MADE = "<!-- Made by `python -m tools.docs`: change it there, or where the code says it. -->"

# What the registry does not say of a method: its formula, where it comes from in its paper, and its limits. With A
# [K, h, w] the feature map, G its gradient, α_k the mean of G_k over cells, S the signed map.
FORMULAS = {
    "gradcam": ("S = Σ_k α_k A_k", "eq. 1 and 2, before the ReLU"),
    "hirescam": ("S = Σ_k G_k ∘ A_k", ""),
    "gradcam++": ("S = Σ_k w_k A_k, w_k = Σ_ij a max(G_k, 0), a = G_k² / (2 G_k² + (ΣA_k) G_k³)", "eq. 19"),
    "xgradcam": ("S = Σ_k w_k A_k, w_k = Σ_ij A_k G_k / Σ_ij A_k", ""),
    "layercam": ("S = Σ_k max(G_k, 0) ∘ A_k", ""),
    "gradattention": ("S = Σ_layers Σ_heads Σ_queries max(∂y/∂P, 0) ∘ P", "section 6.1"),
    "gradrollout": ("R ← R + Ā R, R = 1 at first, Ā = mean over heads of max(∂y/∂P ∘ P, 0)", "eq. 5 and 6"),
    "excitation": ("S = Σ_k p_k, p_in = x ∘ W₊ᵀ (p / W₊ x) from the score's unit down to A", "eq. 6 to 8"),
    "c-mwp": ("S = Σ_k p_k − p̄_k, p̄ by the last linear layer with its weights negated", "section 3.3"),
    "ablationcam": ("S = Σ_k w_k A_k, w_k = y − y with A_k = 0", "without its division by y"),
    "scorecam": (
        "S = Σ_k w_k A_k, w = softmax over k of y(x ∘ m_k) − y(blank), m_k = up A_k from 0 to 1",
        "",
    ),
    "occlusion": ("S_part = y − y without the part", "section 4.3"),
    "lens": ("S_ij = the word’s logit at position ij of the picture, by the model’s own last layer", "section 4"),
    "lens-context": (
        "S = max(L − s C, 0), L and C ≥ 0: the word’s logits, and those of the words before, weighed by relevance; s "
        "by least squares",
        "its causal step, without its filter",
    ),
    "gradient": ("M = Σ_channels \\|∂y/∂x\\|", "section 3"),
    "deconvolution": ("M = Σ_channels \\|∂y/∂x\\|, ReLUs pass G ∘ [G > 0]", "section 2"),
    "guided": ("M = Σ_channels \\|∂y/∂x\\|, ReLUs pass G ∘ [x > 0] ∘ [G > 0]", "section 3.4"),
    "guided-gradcam": ("M = up(max(S, 0)) × Σ_channels \\|∂y/∂x\\|, S by `gradcam`, ∂y/∂x by `guided`", "section 3.2"),
    "deconvolution-gradcam": ("as `guided-gradcam`, ∂y/∂x by `deconvolution`", "section 5.1"),
    "integrated-gradients": ("M = Σ_channels (x − x₀) ∘ ∫ ∂y/∂x along the way from x₀ to x, 32 steps", "eq. 1"),
    "smoothgrad": ("M = Σ_channels \\|mean of ∂y/∂x\\| over 16 copies with noise of σ = .15 of x’s range", "eq. 2"),
    "gradcam-norelu": ("\\|S\\|, S by `gradcam`", "section 8.7"),
    "gradcam-norelu-shifted": ("S − min S, S by `gradcam`", "section 8.7"),
    "gradcam-abs": ("S = Σ_k w_k A_k, w_k the mean of \\|G_k\\|", "section 8.7"),
    "gradcam-max": ("S = Σ_k w_k A_k, w_k the largest of G_k", "section 8.7"),
    "gradcam-guided": ("as `gradcam`, ReLUs behind A pass G ∘ [x > 0] ∘ [G > 0]", "section 8.7"),
    "gradcam-deconvolution": ("as `gradcam`, ReLUs behind A pass G ∘ [G > 0]", "section 8.7"),
}
LIMITS = {
    "gradcam": "Averages the gradient over cells, which in a model with attention mixes things up; exact where A is "
    "averaged and one linear layer follows.",
    "hirescam": "Sums to the score less its bias where one linear layer follows A. Its peak points well and its area "
    "covers little of a thing.",
    "gradcam++": "Falling gradients are dropped, so the negated score lights the same cells up; a cell whose "
    "denominator is 0 counts nothing.",
    "xgradcam": "A unit whose activations sum to 0 counts nothing. Its maps are diffuse.",
    "layercam": "Falling gradients are dropped, so the negated score lights the same cells up.",
    "gradattention": "Needs a model with attention from its text to the picture, computed so that it can be seen "
    '(`attn_implementation="eager"`). Its shares of layers are not weighed.',
    "gradrollout": "Needs attention among all tokens. Its values are relevance, in no unit of the score.",
    "excitation": "Explains the logit, whatever the target: the rule knows no softmax. Hardly depends on the class "
    "where classes share features. It knows convolution, linear layers, pooling, batch norm, ReLU and sums; a model "
    "with another operation behind A is refused, naming it. The head of a captioner or of a VQA model is passed by its "
    "gradient: p at A is max(G ∘ A, 0), normalised. Sums to 1, less what a bias alone excites.",
    "c-mwp": "As of `excitation`. Sums to 0, and is not normalised: its strength can be compared between pictures.",
    "ablationcam": "As many runs of what follows A as units fire, shared by all words; needs no gradient. Not "
    "divided by y, which is below 0 for a log-probability and would turn every sign. Two units that stand in for "
    "each other drop nothing alone.",
    "scorecam": "As many runs of the vision part as units; `scorecam(units=64)` takes the most active only; needs no "
    "gradient. The softmax hardly tells units apart where scores differ by little, and leaves no weight below 0: what "
    "speaks against is `ablationcam`'s, of drops as shares of all. Masked pictures are dark ones, which the model may "
    "never have seen.",
    "occlusion": "As many runs of the vision part as parts, at most 8 × 8; needs no gradient. Two parts that stand in "
    "for each other cost nothing alone. Hidden parts have the picture's median colour.",
    "lens": "A readout, not an attribution: it tells what the picture’s positions hold, not what the word rests on, "
    "and is no default of anything. One run of the text, no gradient. Explains the logit, whatever the target. On a "
    "model whose text half was never a language model it is at chance (`python -m benchmarks.vlm_maps`). Importance "
    "weights are not known.",
    "lens-context": "As of `lens`. What is below 0 is lost, so what speaks against is `lens`’s. Words equal to the "
    "explained one are left out of its context. Published measurements of the step go both ways.",
    "gradient": "Noisy; says nothing of large changes. What of the picture passes A by is left as it was.",
    "deconvolution": "An illustration, not evidence: it hardly reacts to the weights of the upper layers (1810.03292). "
    "Without ReLUs it is the gradient, and a note says so.",
    "guided": "An illustration, not evidence: it hardly reacts to the weights of the upper layers (1810.03292). "
    "Without ReLUs it is the gradient, and a note says so.",
    "guided-gradcam": "An illustration, not evidence, as `guided`. `guided=True` keeps its signed channels beside any "
    "other map.",
    "deconvolution-gradcam": "An illustration, not evidence, as `deconvolution`. Known by name and in no list.",
    "integrated-gradients": "Sums to y less y of the blank picture x₀, which has the picture's median colour: what has "
    "that colour gets nothing. 32 runs a target. Needs `pip install 'vlx[captum]'`.",
    "smoothgrad": "16 runs a target; the noise is drawn by a seed of the picture. Needs `pip install 'vlx[captum]'`.",
    "gradcam-norelu": "What speaks against the score counts as what speaks for it.",
    "gradcam-norelu-shifted": "Nearly every cell is above 0.",
    "gradcam-abs": "A unit that speaks against the score counts as one that speaks for it.",
    "gradcam-max": "One cell decides what a unit weighs.",
    "gradcam-guided": "Less class-specific. Where no ReLU stands behind A it is `gradcam`, and a note says so.",
    "gradcam-deconvolution": "Where no ReLU stands behind A it is `gradcam`, and a note says so.",
}
RULE_TEXTS = {
    "gradient": ("G ∘ [x > 0]", "the true gradient", ""),
    "deconvolution": ("G ∘ [G > 0]", "what raises the score, whatever was active", "1311.2901"),
    "guided": ("G ∘ [x > 0] ∘ [G > 0]", "both", "1412.6806"),
}
FAMILIES = (
    ("Weightings of the feature map", ("gradcam", "hirescam", "gradcam++", "xgradcam", "layercam")),
    ("Attention", ("gradattention", "gradrollout")),
    ("Excitation", ("excitation", "c-mwp")),
    ("Switching off and hiding", ("ablationcam", "scorecam", "occlusion")),
    ("Readouts", ("lens", "lens-context")),
    (
        "Gradients in pixels",
        (
            "gradient",
            "deconvolution",
            "guided",
            "guided-gradcam",
            "deconvolution-gradcam",
            "integrated-gradients",
            "smoothgrad",
        ),
    ),
    ("Ablations of Grad-CAM", ABLATIONS),
)
FAMILY_NOTES = {
    "Gradients in pixels": "One cell a pixel of the prepared picture x. All but `integrated-gradients` have no sign: "
    "they say how far a pixel moves the score, not whether up or down. They need a task that can see "
    "([adapters](adapters.md)), and are compared with others only where they are named.",
    "Ablations of Grad-CAM": "What the paper tried and left (section 8.7). They are known by name and in no list, and "
    "are no default of anything.",
}


def pages() -> dict[str, str]:
    """File name in docs/ → what should stand there."""
    return {
        "methods.md": methods_page(),
        "cli.md": cli_page(),
        "architecture.md": architecture_page(),
        "adapters.md": adapters_page(),
        "how-to/own-data.md": data_page(),
        "how-to/evaluate.md": metrics_page(),
    }


def stale() -> list[str]:
    """Names of the pages that are not what they should be."""
    return [name for name, text in pages().items() if not (DOCS / name).is_file() or _read(name) != text]


def _read(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


# ---- methods.md


def methods_page() -> str:
    """Every method by name: formula, paper, unit, what speaks against it, limits."""
    parts = [METHODS_HEAD]
    for title, names in _kinds():
        parts += [f"## {title}", *([FAMILY_NOTES[title]] if title in FAMILY_NOTES else []), *map(_method, names)]
    rows = "\n".join(_rule(rule) for rule in RULES)
    parts.append(METHODS_TAIL.format(rules=rows))
    return "\n\n".join(parts)


def _kinds() -> Iterator[tuple[str, Sequence[str]]]:
    yield from FAMILIES
    told = [name for _, names in FAMILIES for name in names]
    others = [name for name in NAMES if name not in told]
    if others:
        yield "Others", others


def _method(name: str) -> str:
    method = choose(name)
    formula, where = FORMULAS[name]
    moved = f"most {'raise' if method.signed else 'move'} log p(word)" if method.of_score else "most speak for the word"
    against = "its own map, negated" if method.against == name else f"the map of `{method.against}`, negated"
    against = "its own map of the negated score" if method.against == name and not method.linear else against
    against = against if method.signed else "nothing: the map has no sign"
    return "\n".join(
        (
            f"### {name}",
            "",
            f"{method.summary[0].upper()}{method.summary[1:]}.",
            "",
            "| | |",
            "|---|---|",
            f"| formula | {formula} |",
            f"| paper | {_paper(method.paper)}{', ' * bool(where)}{where} |",
            f"| unit | {method.unit.format(score='that of the score (nats, logits, p)')} |",
            f"| in words | {method.sentence} {moved} |",
            f"| of the negated score | {'the negated map' if method.linear else 'another map than the negated one'} |",
            f"| what speaks against the score | {against} |",
            f"| limits | {LIMITS[name]} |",
        )
    )


def _paper(given: str) -> str:
    doi = given.startswith("10.")
    return f"[{'doi' if doi else 'arXiv'} {given}](https://{'doi.org' if doi else 'arxiv.org/abs'}/{given})"


def _rule(rule: str) -> str:
    formula, what, paper = RULE_TEXTS[rule]
    return f"| `{rule}` | {formula} | {what} | {_paper(paper) if paper else ''} |"


METHODS_HEAD = f"""{MADE}

# Methods

`vlx.explain(task, picture, method="hirescam", target="logit")`; a name may be spelled Grad-CAM, GradCAM or grad-cam.
A is the feature map [K, h, w], G the gradient of the score y at A, α_k the mean of G_k over the cells, P attention
probabilities, S the signed map. The heat map is max(S, 0), drawn where the cells of A look; nothing is normalised.
Whatever the method, `word.weights` are α.

Where nobody measured a model its default is `layercam` on log p; the embedded models' were chosen on ground truth
([which default?](measured.md#which-default)). `method="auto"` takes what `vlx.recommend` finds on your pictures. Each
map carries its own check, [whatever made it](tutorial.md#what-each-mark-means)."""

METHODS_TAIL = """## Another layer

Behind an @ stands the layer that a method is at, as the model calls it: `method="gradcam@layer3"`,
`--method hirescam@features.14`, and of the embedded models `gradcam@layers.11`. The map lies on that layer's cells and
is of its units. Classifiers, whatever their layers are, and the captioners and VQA models that hold their CNN as an
`nn.Module` have other layers; `task.layers()` names them with the cells of each. An adapter of your own offers its
own by [`Layered`](adapters.md). The rule of excitation carries on from A down to the layer.

```python
import vlx
from vlx import scenes

task = vlx.load("scenes/captioner")
print([*task.layers().items()][-1])                 # the last one, and its cells
print(vlx.explain(task, scenes.draw(10_000_021).image, method="gradcam@layers.11")[0].signed.shape)
```

## A method of your own

A weighting of A is a function and a record; from then on it is known by its name, too, and compared with the others
(`vlx.recommend`, `vlx evaluate`):

```python
import vlx
from vlx import scenes
from vlx.methods.cams import Weighting
from vlx.methods.method import cam

absolute = cam(Weighting("abscam", lambda A, G: (A * G).abs().sum(1), False, "", "absolute contributions", "hirescam"))
why = vlx.explain(vlx.load("scenes/captioner"), scenes.draw(10_000_021).image, method=absolute)
print(why[0].method, why[0].signed.min())
```

Anything else that makes maps is a `vlx.methods.method.Method`: `attribute(task, site, targets)` gives the maps, and the
record says their unit and how a sentence about them begins.

## A probe of your own

Something to ask of the model besides a map: a value for every word, kept in files and told in reports.

```python
from vlx.methods import engine
from vlx.probes.probe import Probe
from vlx.probes.registry import register

def turned(context):                                # does a word stand with A turned upside down?
    scores = engine.scores(context.task, context.features.A.flip(2), context.likely, context.features.rest)
    return [row.logprob - score for row, score in zip(context.rows, scores.tolist())]

register(Probe("turned", lambda context: True, turned, told=lambda nats: f"turned it loses {{nats:.2f}} nats"))
why = vlx.explain(vlx.load("scenes/captioner"), scenes.draw(10_000_021).image)
print([word.measured["turned"] for word in why])
```

## Gradients in pixels

`vlx.explain(…, guided=True)` multiplies Grad-CAM with a gradient at the picture (Guided Grad-CAM, 1610.02391, section
3.2); `vlx.methods.pixels` takes the gradients alone. With x what goes into a ReLU and G what comes from above, it hands
on:

| rule | hands on | is | paper |
|---|---|---|---|
{rules}

Guided maps hardly react to the weights of the upper layers (arXiv 1810.03292, 1805.07039): an illustration, no
evidence.

## Targets: which score

| `target=` | y | trouble |
|---|---|---|
| `logprob` | log p of the word, the answer, the class | its gradient vanishes as p goes to 1 |
| `logit` | the score before the softmax, as in the paper | a function added to all logits moves it and no output |
| `prob` | p | vanishes at both ends |
| `margin` | the logit less the likeliest other’s | names its rival |

`instead_of=` explains a difference of two scores, whatever the target.
"""


# ---- cli.md


def cli_page() -> str:
    """Every command with its arguments, examples and options."""
    parts = [CLI_HEAD]
    for path, command in _commands(vlx_command, ("vlx",)):
        parts.append(_command(path, command))
    return "\n\n".join(parts) + "\n"


def _commands(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name in sorted(command.commands):
            yield from _commands(command.commands[name], (*path, name))


def _command(path: tuple[str, ...], command: click.Command) -> str:
    context = click.Context(command, info_name=path[-1])
    usage = " ".join((*path, *command.collect_usage_pieces(context)))
    parts = [f"{'#' * (len(path) + 1)} {' '.join(path)}", f"`{usage}`", _prose(command.help or "")]
    options = [param for param in command.params if isinstance(param, click.Option) and not param.hidden]
    if options:
        parts.append("\n".join(("| option | |", "|---|---|", *(_option(option, context) for option in options))))
    return "\n\n".join(part for part in parts if part)


def _prose(text: str) -> str:
    """A help text as Markdown: paragraphs, and what click leaves as it is in a block of its own."""
    found = []
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(text)):
        kept = paragraph.startswith("\b")
        lines = paragraph.removeprefix("\b").strip("\n")
        found.append(f"```text\n{lines}\n```" if kept else _escaped(" ".join(lines.split())))
    return "\n\n".join(found)


def _option(option: click.Option, context: click.Context) -> str:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    choices = option.type.choices if isinstance(option.type, click.Choice) else ()
    metavar = "" if option.is_flag or choices else f" {_escaped(option.make_metavar(context))}"
    text = _escaped(" ".join((option.help or "").split()))
    text += f" One of {', '.join(f'`{choice}`' for choice in choices)}." * bool(choices)
    default = _default(option)
    return f"| {names}{metavar} | {text}{f' Default: {default}.' if default else ''} |"


def _default(option: click.Option) -> str:
    """The default where the help shows it."""
    if not option.show_default or option.default is None or callable(option.default):
        return ""
    if option.is_flag and option.secondary_opts:
        return f"`{option.opts[0] if option.default else option.secondary_opts[0]}`"
    return f"`{option.default}`"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;")


CLI_HEAD = f"""{MADE}

# Command line

`vlx COMMAND --help` says the same. Every command ends with 0 only when all of it was done, with 1 where something
failed (what, is named), with 2 where the command itself could not be understood, and with 130 where it was
interrupted: the same command then goes on. vlx opens no pickle unless told to, and runs no file but the
`FILE.py:FUNCTION` that you name."""


# ---- architecture.md


def architecture_page() -> str:
    """The page as it stands, with the table of rooms between its two marks made anew."""
    return _between("architecture.md", "rooms", ("room", "what for", "holds"), rooms())


def _between(page: str, mark: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A page as it stands, with the table between its two marks made anew."""
    begin, end = BEGIN.format(mark), END.format(mark)
    before, rest = _read(page).split(begin)
    lines = (" | ".join(row) for row in (head, ["---"] * len(head), *rows))
    table = "\n".join(f"| {line} |" for line in lines)
    return f"{before}{begin}\n\n{table}\n\n{end}{rest.split(end)[1]}"


def rooms() -> Iterator[tuple[str, str, str]]:
    """Every room, lowest first: its path, the sentence that its docstring begins with, and its files."""
    from tests.house.test_layout import ROWS  # the one list of what stands above what

    for name in (name for row in ROWS for name in row.split()):
        for path in (ROOT / "vlx" / f"{name}.py", ROOT / "vlx" / name, *sorted((ROOT / name).glob("[a-z]*"))):
            if path.suffix == ".py" and path.is_file():
                yield f"`vlx/{path.name}`", _sentence(path), ""
            elif (path / "__init__.py").is_file() and not (path / "__init__.py").read_text().count("sibling("):
                yield f"`{path.relative_to(ROOT).as_posix()}/`", _sentence(path / "__init__.py"), _holds(path)


def _holds(room: Path) -> str:
    names = sorted(file.stem for file in room.glob("*.py") if file.stem != "__init__")
    names += sorted(f"{inner.parent.name}/" for inner in room.glob("*/__init__.py"))
    return ", ".join(f"`{name}`" for name in names)


def _sentence(file: Path) -> str:
    """The first sentence of a module's docstring."""
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    first = " ".join(text.split("\n\n")[0].split())
    return _escaped(re.split(r"(?<=[.?!]) (?=[A-Z`])", first)[0].replace("``", "`"))


BEGIN, END = "<!-- {}: made by `python -m tools.docs` -->", "<!-- /{} -->"


# ---- adapters.md


def adapters_page() -> str:
    """The page as it stands, with the table of powers between its two marks made anew."""
    return _between("adapters.md", "powers", ("power", "members", "what for"), _powers())


def _powers() -> Iterator[tuple[str, str, str]]:
    for members in powers.MEMBERS.values():
        power = getattr(powers, members[0].__qualname__.split(".")[0])
        sentence = (inspect.getdoc(power) or "").split("\n\n")[0].removeprefix("Optional: ").rstrip(".")
        yield (
            f"`{power.__name__}`",
            ", ".join(map(_called, members)),
            _escaped(" ".join(sentence.split())).replace("``", "`"),
        )


def data_page() -> str:
    """The page as it stands, with the table of data that are known by name made anew."""
    rows = [(f"`{_escaped(kind.form)}`".replace(" or ", "` or `"), _escaped(kind.what)) for kind in KINDS.values()]
    return _between("how-to/own-data.md", "data", ("name", "what"), rows)


def metrics_page() -> str:
    """The page as it stands, with the table of metrics made anew."""
    rows = [
        (f"`{_option_of(name)}`", _escaped(metric.summary), ", ".join(sorted(metric.needs)), metric.better)
        for name, metric in METRICS.items()
    ]
    return _between("how-to/evaluate.md", "metrics", ("metric", "what it asks", "needs", "good is"), rows)


def _option_of(metric: str) -> str:
    return "--occlusion" if metric == "fall" else f"--metrics {metric}"  # which stands beside the others


def _called(member: Callable[..., object]) -> str:
    names = [name for name in inspect.signature(member).parameters if name != "self"]
    return f"`{member.__name__}({', '.join(names)})`"


def main() -> int:
    """Write the pages, or see whether they are stale; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where a page is stale")
    old = stale()
    if parser.parse_args().check:
        print(*(f"docs/{name} is stale: run python -m tools.docs" for name in old), sep="\n", end="\n" * bool(old))
        return int(bool(old))
    for name in old:
        (DOCS / name).write_text(pages()[name], encoding="utf-8")
        print(f"docs/{name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
