"""One colour scale for all words of a text: evenly lighter, safe for colour-blind eyes, transparent at zero.

Warm colours speak for a word and blue ones against it, in every view.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from types import MappingProxyType

import matplotlib
import numpy as np
from numpy.typing import NDArray

from vlx.explanation import Array, Explanation, WordExplanation
from vlx.report import answers

STEPS = 64
RISE = 0.75  # opacity grows with the value to this power, here and in page.js
OPACITY = 0.85
# Parts of matplotlib's maps: the darkest colours would hide the picture, the palest blues would be white.
RAMPS = {"for": ("inferno", 0.42, 0.97), "against": ("Blues_r", 0.05, 0.72)}


def scale(why: Explanation) -> float:
    """The value at the end of the scale: the largest absolute value in the maps of all words, or 0.

    Of an answer's alternatives only what speaks for them counts: what speaks against an unlikely answer would dwarf
    everything else, and is drawn at the end of the scale.
    """
    rivals = (word.signed for word in answers.shown(why)[len(why.words) :])
    highest = (float(S[np.isfinite(S)].max(initial=0.0)) for S in rivals)
    return max(peak(why.words), *highest, 0.0)


def peak(words: Iterable[WordExplanation]) -> float:
    """The largest finite absolute value in the words' signed and opposed maps."""
    maps = [np.abs(S[np.isfinite(S)]) for word in words for S in (word.signed, word.opposed)]
    return max((float(S.max()) for S in maps if S.size), default=0.0)


@cache
def ramp(view: str) -> tuple[tuple[int, int, int], ...]:
    """``STEPS`` colours, RGB 0 to 255, from no effect to the strongest, for the view "for" or "against"."""
    name, start, stop = RAMPS[view]
    colors = (255 * np.asarray(matplotlib.colormaps[name](np.linspace(start, stop, STEPS)))[:, :3]).round()
    return tuple((int(r), int(g), int(b)) for r, g, b in colors)


def muted(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture nearly grey and a little lighter, so that a map on it stands out."""
    grey = image.mean(2, keepdims=True)
    soft: NDArray[np.uint8] = ((grey + 0.18 * (image - grey)) * 0.86 + 32).round().clip(0, 255).astype(np.uint8)
    return soft


def overlay(
    image: NDArray[np.uint8],
    values: Array,
    top: float,
    view: str = "for",
    colors: Array | None = None,
    opacity: float = OPACITY,
) -> NDArray[np.uint8]:
    """A rectified map [H, W] over its picture [H, W, 3]; nothing is painted where the value is 0.

    ``colors`` [``STEPS``, 3] stand in for the view's own ramp, ``opacity`` is that of the strongest value.
    """
    if top <= 0:
        return image
    share = np.clip(values / top, 0, 1)
    used = np.array(ramp(view), float) if colors is None else colors
    colors = used[(share * (STEPS - 1)).round().astype(int)]
    alpha = (opacity * share**RISE)[..., None]
    mixed: NDArray[np.uint8] = (image * (1 - alpha) + colors * alpha).round().astype(np.uint8)
    return mixed


def diverging(
    image: NDArray[np.uint8],
    values: Array,
    top: float,
    ramps: Mapping[str, Array | None] = MappingProxyType({}),
    opacity: float = OPACITY,
) -> NDArray[np.uint8]:
    """A signed map [H, W] over its picture: what speaks for it warm, what speaks against it blue, or in ``ramps``."""
    warm = overlay(image, np.maximum(values, 0), top, "for", ramps.get("for"), opacity)
    return overlay(warm, np.maximum(-values, 0), top, "against", ramps.get("against"), opacity)


def hatched(image: NDArray[np.uint8], visible: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The picture, faded and with thin diagonal lines where the model never saw it."""
    if visible.all():
        return image
    period = max(round(max(visible.shape) / 40), 6)
    lines = np.add.outer(np.arange(visible.shape[0]), np.arange(visible.shape[1])) % period < max(round(period / 7), 1)
    marked, hidden = image.copy(), ~visible
    faded = 0.3 * image[hidden].mean(1, keepdims=True) + 0.7 * 236
    marked[hidden] = np.where(lines[hidden][:, None], 0.45 * faded + 0.55 * 120, faded).round()
    return marked
