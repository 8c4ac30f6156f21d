"""The explanation as one matplotlib figure: the picture, then one map a word on a scale that all words share."""

import io
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
from vlx.report import colour, wording
from vlx.report.pictures import Drawn
from vlx.storage import replacing

SIDE = 480  # longest side of the picture as drawn, in pixels
PANEL = 2.3  # inches
DPI = 140


class Drawing(Figure):
    """A figure that notebooks show although no pyplot knows of it."""

    def _repr_png_(self) -> bytes:
        return rendered(self)


def draw(why: Explanation, columns: int = 4) -> Figure:
    """The picture and one panel a word; made without pyplot, so nothing pops up and nothing is kept."""
    drawn, top = Drawn.of(why, SIDE), colour.scale(why)
    columns = max(1, min(columns, 1 + len(why.words)))
    rows = -(-(1 + len(why.words)) // columns)
    height, width = drawn.plain.shape[:2]
    tall = min(max(height / width, 0.3), 3.0)
    size = (max(PANEL * columns, 4.5), (PANEL * tall + 0.45) * rows + 1.1)
    figure = Drawing(figsize=size, layout="constrained", facecolor="white")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    axes[0].imshow(drawn.plain)
    axes[0].set_title("the picture\n" + ("" if why.visible.all() else "(hatched: not seen)"), fontsize=9, color="0.35")
    for axis, word in zip(axes[1:], why.words, strict=False):
        axis.imshow(drawn.under(word.signed, top))
        axis.set_title(_title(word), fontsize=9, parse_math=False)
    if why.words and top > 0:
        _bar(figure, list(axes), columns, top, wording.unit(why.words[0].target))
    title = textwrap.fill(why.text or "(nothing)", max(round(9.5 * size[0]), 30), max_lines=3, placeholder=" …")
    figure.suptitle(title, fontsize=12, parse_math=False)
    return figure


def save(why: Explanation, path: Path) -> None:
    """Write the figure as PNG, whole or not at all."""
    with replacing(path) as partial:
        partial.write_bytes(rendered(draw(why)))


def rendered(figure: Figure) -> bytes:
    """The figure as PNG; a letter that no font has is drawn as a box, without a warning."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(buffer, format="png", dpi=DPI)
    return buffer.getvalue()


def _bar(figure: Figure, axes: list[Axes], columns: int, top: float, unit: str) -> None:
    """The colours with their numbers, under the panels."""
    colors = LinearSegmentedColormap.from_list("for", np.array(colour.ramp("for")) / 255)
    ticks = ScalarFormatter(useMathText=True)
    ticks.set_powerlimits((-3, 4))
    bar = figure.colorbar(
        ScalarMappable(Normalize(0, top), colors),
        ax=axes,
        location="bottom",
        shrink=min(2 / columns + 0.1, 0.9),
        aspect=36,
        pad=0.02,
        format=ticks,
    )
    bar.set_label(f"{unit}, one scale for all words", fontsize=8, parse_math=False)
    bar.ax.tick_params(labelsize=7)
    bar.ax.xaxis.get_offset_text().set_fontsize(7)
    bar.outline.set_visible(False)


def _title(word: WordExplanation) -> str:
    seen = "" if word.seen is None else f" · seen {wording.seen(word)}"
    label = word.label if len(word.label) <= 28 else word.label[:27] + "…"
    return f"{' '.join(label.split())}\np {wording.share(word.logprob)}{seen}"
