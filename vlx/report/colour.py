"""One colour scale for all words of a text: perceptually even, safe for colour-blind eyes, transparent at zero."""

from collections.abc import Iterable

import matplotlib
import numpy as np
from numpy.typing import NDArray

from vlx.explanation import Array, Explanation, WordExplanation

HEAT, DIVERGING = "inferno", "PuOr_r"
STEPS = 64
RISE = 0.75  # opacity grows with the value to this power, here and in page.js
FLOOR = 0.35  # the heat map's colours begin here: the darkest would hide the picture


def scale(why: Explanation) -> float:
    """The value at the end of the scale: the largest absolute value in any word's maps, 0 if all are zero."""
    return peak(why.words)


def peak(words: Iterable[WordExplanation]) -> float:
    """The largest absolute value in the words' signed and opposed maps."""
    return max((float(np.abs(S).max()) for word in words for S in (word.signed, word.opposed) if S.size), default=0.0)


def ramp(name: str) -> list[tuple[int, int, int]]:
    """``STEPS`` colours, RGB 0 to 255, from no effect (heat) or from the negative end (diverging)."""
    start = FLOOR if name == HEAT else 0.0
    colors = matplotlib.colormaps[name](np.linspace(start, 1.0, STEPS))[:, :3]
    return [(int(r), int(g), int(b)) for r, g, b in (255 * colors).round()]


def muted(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture nearly grey and a little lighter, so that a map on it stands out."""
    grey = image.mean(2, keepdims=True)
    soft: NDArray[np.uint8] = np.clip(grey + 0.18 * (image - grey), 0, 255) * 0.86 + 32
    return soft.round().clip(0, 255).astype(np.uint8)


def overlay(image: NDArray[np.uint8], values: Array, top: float, opacity: float = 0.85) -> NDArray[np.uint8]:
    """A rectified map [H, W] over its picture [H, W, 3]; nothing is painted where the value is 0."""
    if top <= 0:
        return image
    share = np.clip(values / top, 0, 1)
    colors = np.array(ramp(HEAT), float)[(share * (STEPS - 1)).round().astype(int)]
    alpha = (opacity * share**RISE)[..., None]
    mixed: NDArray[np.uint8] = (image * (1 - alpha) + colors * alpha).round().astype(np.uint8)
    return mixed


def hatched(image: NDArray[np.uint8], visible: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The picture with grey hatching where the model never saw it."""
    if visible.all():
        return image
    rows, columns = np.indices(visible.shape)
    period = max(min(visible.shape) // 40, 4)
    lines = ((rows + columns) // period) % 2 == 0
    marked = image.copy()
    hidden = ~visible
    marked[hidden] = (0.45 * image[hidden] + 0.55 * 200).astype(np.uint8)
    marked[hidden & lines] = (0.6 * marked[hidden & lines] + 0.4 * 120).astype(np.uint8)
    return marked
