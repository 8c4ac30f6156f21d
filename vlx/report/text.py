"""An explanation in words and figures: a table for the terminal, a page of Markdown."""

import base64
import io
import math

from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from vlx.explanation import Explanation, WordExplanation

UNITS = {"logprob": "nats", "logit": "logits", "prob": "probability", "margin": "logits of margin"}
BITS = 1 / math.log(2)


def unit(target: str) -> str:
    """The unit of a map's values for a kind of target."""
    return f"{UNITS.get(target, target)} per cell"


def table(why: Explanation) -> Group:
    """For a terminal: the text, then a line a word with its figures; notes below."""
    rows = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2))
    for name in ("word", "p", "log p", "seen", "map's peak", "else"):
        rows.add_column(name, justify="left" if name in ("word", "else") else "right")
    for word in why:
        rows.add_row(
            escape(word.label),
            f"{math.exp(word.logprob):.1%}",
            f"{word.logprob:.2f}",
            seen(word),
            f"{word.signed.max():.3g}",
            escape(runners_up(word)),
        )
    said = "asked to explain:" if why.forced else "it says:"
    title = Text.assemble((said + " ", "dim"), (why.text or "(nothing)", "bold"))
    peak = f"map's peak in {unit(why.words[0].target)}" if why.words else ""
    foot = Text(f"{why.method} · seen: nats of log p owed to the picture · {peak}", style="dim")
    notes = [Text(f"Note: {note}", style="yellow") for note in why.notes]
    return Group(title, rows, foot, *notes)


def markdown(why: Explanation) -> str:
    """One Markdown page with the figures, and the drawing inside it."""
    from vlx.report import figure

    buffer = io.BytesIO()
    figure.draw(why).savefig(buffer, format="png", dpi=110, bbox_inches="tight")
    picture = base64.b64encode(buffer.getvalue()).decode("ascii")
    lines = [
        f"# {_plain(why.text) or '(nothing)'}",
        "",
        f"{'Forced text' if why.forced else 'Text'} explained by {why.method}, "
        f"model {_plain(str(why.provenance.get('model', '')))}. "
        "A map shows the regions whose features most raise the word's score.",
        "",
        "| word | p | log p | seen (nats) | map's peak | else |",
        "|---|---|---|---|---|---|",
        *(
            f"| {_plain(word.label)} | {math.exp(word.logprob):.1%} | {word.logprob:.3f} | {seen(word)} | "
            f"{word.signed.max():.4g} | {_plain(runners_up(word))} |"
            for word in why
        ),
        "",
        *(f"> {_plain(note)}" for note in why.notes),
        "",
        f"![Maps of all words](data:image/png;base64,{picture})",
    ]
    return "\n".join(lines) + "\n"


def seen(word: WordExplanation) -> str:
    """What the word owes to the picture, in nats, with its sign."""
    return "" if word.seen is None else f"{word.seen:+.2f}"


def runners_up(word: WordExplanation, count: int = 2) -> str:
    """The likeliest other words with their probabilities."""
    others = [(label, logprob) for label, logprob in word.alternatives if label != word.label][:count]
    return ", ".join(f"{label} {math.exp(logprob):.1%}" for label, logprob in others)


def _plain(text: str) -> str:
    """Text that Markdown and HTML take for nothing else."""
    for mark in "\\`*_{}[]<>|#":
        text = text.replace(mark, f"\\{mark}")
    return text.replace("\n", " ")
