"""An explanation in words and figures: a table for the terminal, a page of Markdown."""

import re

from rich.console import Group
from rich.control import strip_control_codes
from rich.table import Table
from rich.text import Text

from vlx.explanation import Explanation, WordExplanation
from vlx.report import colour, wording

BLOCKS = " ▏▎▍▌▋▊▉█"
BAR = 8  # characters
COLUMNS = ("word", "p", "log p", "seen", "map", "peak", "else")


def table(why: Explanation) -> Group:
    """For a terminal: the text, then a line a word with its figures; notes below."""
    rows = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2))
    for name in COLUMNS:
        rows.add_column(name, justify="left" if name in ("word", "map", "else") else "right")
    top = colour.scale(why)
    for word in why:
        rows.add_row(*_row(word, top))
    said = "asked to explain:" if why.forced else "it says:"
    title = Text.assemble((said + " ", "dim"), (_clean(why.text) or "(nothing)", "bold"))
    unit = f" · peak of the map in {wording.unit(why.words[0].target)}" if why.words else ""
    foot = Text(f"{why.method} · seen: nats of log p owed to the picture{unit}", style="dim")
    notes = [Text(f"Note: {_clean(note)}", style="yellow") for note in why.notes]
    return Group(title, *([rows] if why.words else []), foot, *notes)


def _row(word: WordExplanation, top: float) -> list[Text]:
    lost = wording.lost(word)
    peak = wording.strongest(word.signed)
    return [
        Text(_clean(word.label), style="dim" if lost is not None and lost < 0.1 else "bold"),
        Text(wording.share(word.logprob)),
        Text(wording.log(word.logprob)),
        Text(wording.seen(word)),
        Text(bar(peak / top if top > 0 else 0.0), style="dark_orange"),
        Text(wording.figure(peak)),
        Text(_clean(wording.runners_up(word)), style="dim"),
    ]


def bar(part: float) -> str:
    """A share from 0 to 1 as up to eight blocks; anything above 0 leaves a trace."""
    eighths = max(round(min(part, 1.0) * BAR * 8), 1 if part > 0 else 0)
    return "█" * (eighths // 8) + (BLOCKS[eighths % 8] if eighths % 8 else "")


def markdown(why: Explanation) -> str:
    """One Markdown page with the figures, and the drawing inside it."""
    from vlx.report import figure, pictures

    model = _plain(str(why.provenance.get("model", "the model")))
    unit = f" Peaks are in {_plain(wording.unit(why.words[0].target))}." if why.words else ""
    lines = [
        f"# {_plain(why.text) or '(nothing)'}",
        "",
        f"{'Text given to' if why.forced else 'Text by'} {model}, explained by {_plain(why.method)}. "
        f"A map shows regions whose features most raise the word’s score.{unit}",
        "",
        *(f"> {_plain(note)}\n" for note in why.notes),
        "| word | p | log p | seen (nats) | peak for | peak against | other likely words |",
        "|---|--:|--:|--:|--:|--:|---|",
        *(_line(word) for word in (*why.words, *why.phrases)),
        "",
        *(f"- {_plain(word.label)}: {_plain(note)}" for word in why for note in word.notes),
        "",
        f"![Maps of all words]({pictures.png_address(figure.rendered(figure.draw(why)))})",
        "",
        *(f"- {_plain(str(name))}: {_plain(str(value))}" for name, value in why.provenance.items()),
    ]
    return "\n".join(lines) + "\n"


def _line(word: WordExplanation) -> str:
    cells = (
        _plain(word.label),
        wording.share(word.logprob),
        wording.log(word.logprob),
        wording.seen(word),
        wording.figure(wording.strongest(word.signed)),
        wording.figure(wording.strongest(word.opposed)),
        _plain(wording.runners_up(word)),
    )
    return f"| {' | '.join(cells)} |"


def _clean(text: str) -> str:
    """Text that cannot steer a terminal."""
    return strip_control_codes(re.sub(r"[\x00-\x1f\x7f-\x9f]+", " ", text))


def _plain(text: str) -> str:
    """Text that Markdown and HTML take for nothing else."""
    text = re.sub(r"[\x00-\x20\x7f-\x9f\u2028\u2029]+", " ", text).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`*_{}\[\]()>|#$~!])", r"\\\1", text)
