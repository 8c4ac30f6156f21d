"""The explanation as one matplotlib figure: the picture, then one map a word on a scale that all words share.

Of an answer: its map, those of the alternatives, and the words of the question as bars.
"""

import io
import math
import textwrap
import warnings
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from vlx.explanation import Explanation, WordExplanation
from vlx.files import write_bytes
from vlx.report import answers, chances, colour, reasons, wording
from vlx.report.pictures import Drawn

SIDE = 480  # longest side of the picture as drawn, in pixels
PANEL = 2.3  # inches
DPI = 140
WIDE = 42  # characters of a reason under a panel
LINES = 6
LINE = 0.125  # inches


class Drawing(Figure):
    """A figure that notebooks show although no pyplot knows of it."""

    def _repr_png_(self) -> bytes:
        return rendered(self)


def draw(why: Explanation, columns: int = 4) -> Figure:
    """The picture and one panel a word or answer; made without pyplot, so nothing pops up and nothing is kept."""
    drawn, top, words = Drawn.of(why, SIDE), colour.scale(why), answers.shown(why)
    count = 1 + len(words) + bool(why.question_words)
    columns = max(1, min(columns, count))
    rows = -(-count // columns)
    height, width = drawn.plain.shape[:2]
    tall = min(max(height / width, 0.3), 3.0)
    told = [_told(word, why.instead_of if word in why.words else None) for word in words]
    under = LINE * max((text.count("\n") + 1 for text in told if text), default=0)
    size = (max(PANEL * columns, 4.5), (PANEL * tall + 0.45 + under) * rows + 1.1)
    figure = Drawing(figsize=size, layout="constrained", facecolor="white")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    axes[0].imshow(drawn.plain)
    axes[0].set_title("the picture\n" + ("" if why.visible.all() else "(hatched: not seen)"), fontsize=9, color="0.35")
    for axis, word, text in zip(axes[1:], words, told, strict=False):
        if text:
            axis.text(
                0.5,
                -0.03,
                text,
                fontsize=6.5,
                ha="center",
                va="top",
                color="0.25",
                transform=axis.transAxes,
                parse_math=False,
            )
        axis.imshow((drawn.under if why.instead_of is None else drawn.under_signed)(word.signed, top))
        axis.set_title(_title(why, word), fontsize=9, parse_math=False)
    if why.question_words:
        _asked(axes[1 + len(words)], why)
    if words and top > 0:
        _bar(figure, list(axes), columns, top, why)
    figure.suptitle(_heading(why, max(round(9.5 * size[0]), 30)), fontsize=12, parse_math=False)
    return figure


def save(why: Explanation, path: Path) -> None:
    """Write the figure as PNG, whole or not at all."""
    write_bytes(path, rendered(draw(why)))


def rendered(figure: Figure) -> bytes:
    """The figure as PNG; a letter that no font has is drawn as a box, without a warning."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(buffer, format="png", dpi=DPI)
    return buffer.getvalue()


def _heading(why: Explanation, width: int) -> str:
    """Question, text and verdict, each on lines of its own."""
    told = answers.marked(why) or "(nothing)"
    verdicts = [wording.verdict(word, why.instead_of) for word in why.words if answers.single(why)]
    lines = [why.question, told, *map(wording.sentence, (*why.scope, *verdicts))]
    return "\n".join(textwrap.fill(line, width, max_lines=3, placeholder=" …") for line in lines if line) + "\n" * (
        answers.single(why)
    )


def _asked(axis: Axes, why: Explanation) -> None:
    """The words of the question as bars: what the answer loses without each."""
    lost = [asked.left_out if math.isfinite(asked.left_out) else 0.0 for asked in why.question_words]
    places, end = np.arange(len(lost)), answers.left_out_top(why)
    warm, cold = (np.array(colour.ramp(view)[colour.STEPS // 2]) / 255 for view in ("for", "against"))
    axis.set_axis_on()
    axis.barh(places, lost, 0.7, color=[warm if value >= 0 else cold for value in lost])
    axis.set_yticks(places, [_line(asked.word, 18) for asked in why.question_words], fontsize=8, parse_math=False)
    for place, asked in enumerate(why.question_words):
        axis.text(-1.65 * end, place, wording.difference(asked.left_out), fontsize=7, color="0.4", va="center")
    axis.set(xlim=(-1.7 * end, 1.1 * end), ylim=(len(lost) - 0.5, -0.5), xticks=[-end, 0, end])
    axis.set_xticklabels([f"−{end:.2g}", "0", f"+{end:.2g}"])
    axis.tick_params(labelsize=7, length=0)
    axis.axvline(0, color="0.6", linewidth=0.8)
    axis.set_title("\n".join(["words of the question", f"{chances.nats(why)} lost when left out".strip()]), fontsize=9)
    for spine in axis.spines.values():
        spine.set_visible(False)


def _bar(figure: Figure, axes: list[Axes], columns: int, top: float, why: Explanation) -> None:
    """The colours with their numbers, under the panels."""
    both = [*reversed(colour.ramp("against")), *colour.ramp("for")]
    used = colour.ramp("for") if why.instead_of is None else both
    colors = LinearSegmentedColormap.from_list("used", np.array(used) / 255)
    ticks = ScalarFormatter(useMathText=True)
    ticks.set_powerlimits((-3, 4))
    bar = figure.colorbar(
        ScalarMappable(Normalize(0 if why.instead_of is None else -top, top), colors),
        ax=axes,
        location="bottom",
        shrink=min(2 / columns + 0.1, 0.9),
        aspect=36,
        pad=0.02,
        format=ticks,
    )
    noun = wording.PLURALS[wording.noun(why)]
    told = [f"{wording.unit(why.words[0])}, one scale for all {noun}", wording.legend(why)]
    bar.set_label("\n".join(filter(None, told)), fontsize=8, parse_math=False)
    bar.ax.tick_params(labelsize=7)
    bar.ax.xaxis.get_offset_text().set_fontsize(7)
    bar.outline.set_visible(False)


def _title(why: Explanation, word: WordExplanation) -> str:
    instead_of = why.instead_of if word in why.words else None
    seen = "" if word.seen is None else f" · seen {wording.seen(word)}"
    mark = f" · {wording.mark(word)}" if word.check is not None else ""
    rest = "" if instead_of is None else f" − {_line(instead_of, 14)}"
    label = _line(word.label, 28 if instead_of is None else 14)
    label += wording.ringed(why, word).removeprefix(word.label) if instead_of is None else ""
    return f"{label}{rest}\n{chances.short(word)}{seen}{mark}"


def _told(word: WordExplanation, instead_of: str | None) -> str:
    """Why it was said, in concepts, in a few short lines; empty where that was not asked for."""
    because = reasons.of_word(word, instead_of)
    if because is None:
        return ""
    text = reasons.bound(" ".join(because.sentence.partition("; ")[0].split()))
    lines = [textwrap.fill(text, WIDE, max_lines=LINES, placeholder=" …"), " ".join(reasons.badge(because))]
    names = textwrap.shorten(reasons.named(because), WIDE, placeholder=" …")
    return "\n".join([*lines, *([names] if names else [])])


def _line(label: str, most: int) -> str:
    label = label if len(label) <= most else label[: most - 1] + "…"
    return " ".join(label.split())
