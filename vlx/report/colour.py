"""The colours of maps: evenly lighter, safe for colour-blind eyes, transparent at zero, over a picture without colour.

Warm colours speak for a word and blue ones against it, in every view. The picture under them is grey and keeps off the
lightest and the darkest greys: what has a colour is map, on dark, light and red pictures alike. Warm is on the yellow
side and blue on the other: the one difference of hue that the common kinds of colour blindness leave.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlx.explanation.records import Array, Explanation, WordExplanation
from vlx.pictures.placement import Placement, paint_at
from vlx.report import answers, wording

STEPS = 64
RISE = 0.6  # opacity grows with the value to this power, here and in page.js: low values show, 0 does not
OPACITY = 0.85
GREY = (0.2126, 0.7152, 0.0722)  # of red, green and blue: what CSS calls grayscale(1)
FLATTER, LIGHTER = 0.7, 38  # the grey picture's contrast, and what is added to it; page.css has a twin
RAMPS = {  # corners, red, green and blue; CIE lightness 39 to 93 and 35 to 88
    "for": ((178, 36, 8), (220, 86, 10), (245, 140, 20), (255, 192, 46), (255, 238, 120)),
    "against": ((16, 78, 170), (40, 120, 205), (84, 160, 228), (136, 196, 242), (190, 226, 250)),
}


def scale(why: Explanation) -> float:
    """The value at the end of the scale: the largest absolute value in the maps of all words, or 0.

    Of an answer's alternatives only what speaks for them counts: what speaks against an unlikely answer would dwarf
    everything else, and is drawn at the end of the scale.
    """
    rivals = answers.shown(why)[len(why.words) :]
    return max(peak(why.words), *(wording.ending(word, both=False) for word in rivals), 0.0)


def peak(words: Iterable[WordExplanation]) -> float:
    """The largest finite absolute value in the words' signed and opposed maps; see `wording.ending` of pixels."""
    return max(map(wording.ending, words), default=0.0)


@cache
def ramp(view: str) -> tuple[tuple[int, int, int], ...]:
    """``STEPS`` colours, RGB 0 to 255, from no effect to the strongest, for the view "for" or "against"."""
    corners = np.array(RAMPS[view], float)
    places = np.linspace(0, len(corners) - 1, STEPS)
    colors = np.stack([np.interp(places, np.arange(len(corners)), channel) for channel in corners.T], 1).round()
    return tuple((int(r), int(g), int(b)) for r, g, b in colors)


def muted(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture in grey, neither quite white nor quite black, so that a map on it stands out."""
    grey = image @ np.array(GREY, np.float32)
    soft = np.repeat((grey * FLATTER + LIGHTER).round().astype(np.uint8)[..., None], 3, 2)
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


def painted(values: ArrayLike, placement: Placement, size: tuple[int, int]) -> NDArray[np.float32]:
    """A map [h, w] on the picture drawn at ``size`` (H, W), as `vlx.pictures.placement.paint_at`.

    A value that is not finite counts as 0 here; the explanation keeps it.
    """
    return paint_at(np.nan_to_num(np.asarray(values, np.float64), nan=0.0, posinf=0.0, neginf=0.0), placement, size)
