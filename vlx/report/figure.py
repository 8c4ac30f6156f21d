"""The explanation as one matplotlib figure: the picture, then one map a word, each on its own scale unless asked.

Of an answer: its map, those of the alternatives, and the words of the question as bars.
"""

import io
import math
import textwrap
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Unpack

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle
from matplotlib.ticker import ScalarFormatter

from vlx.explanation.records import Array, Explanation, FigureDict, WordExplanation
from vlx.files.whole import write_bytes
from vlx.process import ignoring
from vlx.report import answers, chances, colour, reasons, strength, wording
from vlx.report import options as choices
from vlx.report.options import FigureOptions
from vlx.report.pictures import Drawn, Pixels

SIDE = 480  # longest side of the picture as drawn, in pixels
PANEL = 2.3  # inches
WIDE = 42  # characters of a reason under a panel
LINES = 6
LINE = 0.125  # inches
HEADING = 0.21  # inches a line


class FigureDrawing(Figure):
    """A figure that notebooks show although no pyplot knows of it."""

    def _repr_png_(self) -> bytes:
        return rendered(self)


def draw(why: Explanation, options: FigureOptions | None = None) -> Figure:
    """The picture and one panel a word or answer; made without pyplot, so nothing pops up and nothing is kept."""
    wished = FigureOptions.of(why, {}) if options is None else options
    words, drawn = wished.words, Drawn.of(why, max(SIDE, round(1.5 * PANEL * wished.dpi)))
    asked = bool(why.question_words) and {word for word in why.words if word.mapped} <= set(words)
    count = 1 + len(words) + asked
    columns = min(wished.columns, count)
    rows = -(-count // columns)
    height, width = drawn.plain.shape[:2]
    tall = min(max(height / width, 0.3), 3.0)
    captions = [_told(word, _rival(why, word)) for word in words]
    under = LINE * max((text.count("\n") + 1 for text in captions if text), default=0)
    wide = max(PANEL * columns, 4.5)
    heading = _heading(why, max(round(9.5 * wide), 30))
    room = HEADING * (heading.count("\n") + 1) + 0.05
    size = (wide, (PANEL * tall + 0.45 + under) * rows + 1.05 + room)
    figure = FigureDrawing(figsize=size, dpi=wished.dpi, facecolor="white")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    axes[0].imshow(drawn.plain)
    if wished.titles is None or any(wished.titles):
        hatched = "" if why.visible.all() else "(hatched: not seen)"
        axes[0].set_title(f"the picture\n{hatched}", fontsize=9, color="0.35")
    titles = [_title(why, word) for word in words] if wished.titles is None else wished.titles
    ramps = choices.ramps(wished.cmap, wording.both_signs(why))
    for axis, word, text, title in zip(axes[1:], words, captions, titles, strict=False):
        axis.imshow(_under(drawn, word, wished.scale, ramps))
        axis.set_title(title, fontsize=9, parse_math=False)
        _strength(axis, word)
        if text:
            _write_under(axis, text)
    if asked:
        _asked(axes[1 + len(words)], why)
    if words and colour.scale(why) > 0:
        _bar(figure, list(axes), why, wished, ramps)
    told_over = figure.suptitle(heading, y=1 - 0.06 / size[1], va="top", fontsize=12, parse_math=False)
    told_over.set_in_layout(False)  # long ones would take the panels' room, and lie over their titles
    figure.set_layout_engine(ConstrainedLayoutEngine(rect=(0, 0, 1, 1 - room / size[1])))
    return figure


def _rival(why: Explanation, word: WordExplanation) -> str | None:
    """The answer, or word, that a contrast's own word is compared with."""
    return why.instead_of if word in why.words else None


def _under(drawn: Drawn, word: WordExplanation, scale: strength.Scale, ramps: Mapping[str, Array]) -> Pixels:
    """The picture under a word's map; of a contrast both signs, where it has two."""
    top, fade = strength.top(word, drawn.why, scale), strength.fade(word, scale)
    if not wording.both_signs(drawn.why):
        return drawn.under(word.signed, top, "for", ramps["for"], fade)
    return drawn.under_signed(word.signed, top, ramps, fade)


def _strength(axis: Axes, word: WordExplanation) -> None:
    """How strongly the picture carries it, as a bar under its map; nothing where nobody asked."""
    share = strength.of(word)
    if share is None:
        return
    for width, color in ((1.0, "0.86"), (share, "0.15")):
        place = Rectangle((0, -0.035), width, 0.02, transform=axis.transAxes, color=color, linewidth=0, clip_on=False)
        axis.add_artist(place)


def _write_under(axis: Axes, text: str) -> None:
    """A few short lines under a panel."""
    style: dict[str, Any] = {"fontsize": 6.5, "ha": "center", "va": "top", "color": "0.25", "parse_math": False}
    axis.text(0.5, -0.055, text, transform=axis.transAxes, **style)


def save(why: Explanation, path: Path, **given: Unpack[FigureDict]) -> None:
    """Write the figure as the ending says (PNG, PDF or SVG), whole or not at all; ``given`` as in `FigureDict`."""
    kind = path.suffix.lower().removeprefix(".")
    options = FigureOptions.of(why, given, choices.DPI if kind == "png" else choices.FINE)
    write_bytes(path, rendered(draw(why, options), kind))


# Fonts go whole into a PDF and text stays text in an SVG; without dates and with a salt the same figure is the same
# file. matplotlib takes these from settings that all threads share.
_SETTINGS: Any = {"pdf.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": "vlx", "image.composite_image": False}
_UNDATED: dict[str, dict[str, Any]] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}
_SETTING = threading.Lock()


def rendered(figure: Figure, kind: str = "png") -> bytes:
    """The figure as a file of a kind: "png", "pdf" with its fonts, or "svg" with text as text.

    The same figure gives the same bytes. A letter that no font has is drawn as a box, without a warning.
    """
    if kind == "png":
        return _saved(figure, kind)
    with _SETTING, matplotlib.rc_context(_SETTINGS):
        return _saved(figure, kind)


def _saved(figure: Figure, kind: str) -> bytes:
    buffer = io.BytesIO()
    with ignoring(message="Glyph .* missing from"):
        figure.savefig(buffer, format=kind, dpi=figure.dpi, metadata=_UNDATED.get(kind))
    return buffer.getvalue()


def _heading(why: Explanation, width: int) -> str:
    """Question, text and verdict, each on lines of its own."""
    text = answers.marked(why) or "(nothing)"
    verdicts = [wording.verdict(word, why.instead_of) for word in why.words if answers.single(why)]
    lines = [why.question, text, *map(wording.sentence, (*why.scope, *verdicts))]
    return "\n".join(textwrap.fill(line, width, max_lines=3, placeholder=" …") for line in lines if line)


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


def _bar(figure: Figure, axes: list[Axes], why: Explanation, wished: FigureOptions, ramps: Mapping[str, Array]) -> None:
    """The colours under the panels: with numbers where all maps share them, else from no effect to the peak."""
    shared, signed = wished.scale == "shared" or len(wished.words) == 1, wording.both_signs(why)
    top = strength.top(wished.words[0], why, wished.scale) if shared else 1.0
    used = [*ramps["against"][::-1], *ramps["for"]] if signed else ramps["for"]
    colors = LinearSegmentedColormap.from_list("used", np.array(used) / 255)
    ticks = ScalarFormatter(useMathText=True)
    ticks.set_powerlimits((-3, 4))
    bar = figure.colorbar(
        ScalarMappable(Normalize(-(top or 1.0) if signed else 0, top or 1.0), colors),
        ax=axes,
        location="bottom",
        shrink=min(2 / min(wished.columns, len(axes)) + 0.1, 0.9),
        aspect=36,
        pad=0.02,
        **({"format": ticks} if shared else {"ticks": [-1, 0, 1] if signed else [0, 1]}),
    )
    if not shared:
        bar.ax.set_xticklabels(["against", "0", "for"] if signed else ["0", wording.end(why)])
    bar.set_label("\n".join(_legend(why, wished)), fontsize=8, parse_math=False)
    bar.ax.tick_params(labelsize=7)
    bar.ax.xaxis.get_offset_text().set_fontsize(7)
    bar.outline.set_visible(False)


def _legend(why: Explanation, wished: FigureOptions) -> list[str]:
    """What colours, bars and pale maps mean, a line each."""
    noun, bars = wording.noun(why), strength.measured(why)
    each_alone = wished.scale == "own" and len(wished.words) > 1
    scale = f"each {noun} on its own scale" if each_alone else f"{wording.unit(why.words[0])}"
    if wished.scale == "shared":
        scale += f", one scale for all {wording.PLURALS[noun]}"
    pale = [word for word in wished.words if not strength.carried(word)] if wished.scale == "own" else []
    faded = f"palest: nothing that was tried carries the {noun}" if pale else ""
    told = (wording.illustration(why), scale, f"bars: {bars}" if bars else "", faded, wording.legend(why))
    return [line for line in told if line]


def _title(why: Explanation, word: WordExplanation) -> str:
    instead_of = _rival(why, word)
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
