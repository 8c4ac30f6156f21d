"""An explanation along a line: its map under a signal, or on the words of a text."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import ArrayLike, NDArray

from vlx.errors import InputError
from vlx.explanation.records import WordExplanation
from vlx.pictures.placement import paint_at
from vlx.report import colour

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WHITE = np.full(3, 255, np.uint8)
TINTS = {"for": (230, 92, 10), "against": (40, 120, 205)}  # on white, where a ramp that ends light would mislead


def positions(word: WordExplanation, count: int) -> NDArray[np.float32]:
    """The signed map of a signal or a text on its ``count`` positions, [L], in score per cell of A.

    >>> positions(why[0], len(ecg)).argmax()  # where it speaks for the answer most
    """
    if word.placement.grid.size[1] != count or word.placement.grid.shape[0] != 1:
        raise InputError(
            f"the map lies on {word.placement.grid.size[1]} positions, {count} were given; give the signal, or the "
            "words, that were explained"
        )
    line: NDArray[np.float32] = paint_at(np.nan_to_num(word.signed), word.placement, (1, count))[0]
    return line


def signal(word: WordExplanation, values: ArrayLike) -> "Figure":
    """A signal [L] or [C, L] with the map of a word beneath it, warm for and blue against, as a matplotlib Figure.

    Raises InputError for a signal of another length.

    >>> signal(why[0], ecg).savefig("why.png")
    """
    from matplotlib.figure import Figure

    lines = np.atleast_2d(np.asarray(values, float))
    heat = positions(word, lines.shape[1])
    figure = Figure(figsize=(9, 1.2 + 1.3 * len(lines)), layout="constrained")
    axes: Any = figure.subplots(len(lines) + 1, 1, sharex=True, height_ratios=[3] * len(lines) + [1])
    for axis, line in zip(axes, lines, strict=False):
        axis.plot(np.arange(len(line)), line, color="#333", linewidth=0.9)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_title(word.label, loc="left")
    axes[-1].imshow(_tinted(heat)[None], aspect="auto", extent=(-0.5, len(heat) - 0.5, 0, 1), interpolation="nearest")
    axes[-1].set_yticks([])
    strongest = f"{np.abs(heat).max():.3g}"
    axes[-1].set_xlabel(f"position; warm speaks for {word.label}, blue against it; the strongest is {strongest}")
    return figure


def words(word: WordExplanation, texts: Sequence[str]) -> str:
    """The words of a text on the map of an answer, as a piece of HTML: warm for it, blue against, by title its value.

    What the words hold is escaped. Raises InputError for another number of words than was explained.

    >>> words(why[0], "the food was good".split())
    '<span class="vlx-words"><span title="+0.00" style="background:rgb(255 255 255)">the</span> …'
    """
    heat = positions(word, len(texts))
    marks = [
        Markup('<span title="{}" style="background:rgb({} {} {});color:#111">{}</span>').format(
            f"{value:+.3g}".replace("-", "−"), *map(int, tint), escape(text)
        )
        for text, value, tint in zip(texts, heat.tolist(), _tinted(heat), strict=True)
    ]
    return str(Markup('<span class="vlx-words">{}</span>').format(Markup(" ").join(marks)))


def _tinted(heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Colours [L, 3] of signed values on white."""
    ground = np.broadcast_to(WHITE, (1, len(heat), 3))
    ramps = {view: np.tile(np.array(tint, float), (colour.STEPS, 1)) for view, tint in TINTS.items()}
    tints: NDArray[np.uint8] = colour.diverging(ground, heat[None], float(np.abs(heat).max()), ramps)[0]
    return tints
