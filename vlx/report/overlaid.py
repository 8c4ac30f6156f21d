"""A heat map laid over a picture of any size, as a picture."""

import math
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from vlx.errors import InputError, in_own_words
from vlx.explanation.records import Array, WordExplanation
from vlx.language import shortened
from vlx.pictures.opening import open_image
from vlx.pictures.placement import Frame, Grid, Placement, visible_at
from vlx.report import colour, options

if TYPE_CHECKING:
    from matplotlib.colors import Colormap

ASPECT = 0.02  # how far the sides of a picture may be from those of the placement's, as a share


@in_own_words("the overlay cannot be drawn")
def overlay(
    picture: Any,
    heat: Any,
    *,
    placement: Placement | None = None,
    cmap: "str | Colormap | None" = None,
    alpha: float = colour.OPACITY,
    top: float | None = None,
    muted: bool = True,
) -> Image.Image:
    """The picture under a heat map, an RGB picture of the picture's own size.

    ``picture``: as `vlx.explain` takes them. ``heat``: a word of an explanation (what speaks for it), or numbers, as an
    array or tensor: [H, W] on the picture's pixels, or [h, w] in cells, which ``placement`` (``word.placement``) puts
    where they lie; without it they share the whole picture out evenly, as a model does that resizes it and crops
    nothing. Negative numbers are painted blue, NaN and infinite ones not at all.

    ``cmap``: a matplotlib colormap or its name in place of vlx's colours; its middle lies at 0 where there are negative
    numbers. ``alpha``: opacity of the strongest, from 0 to 1; it falls to 0 where the map is 0. ``top``: the number at
    the end of the colours, by default the largest absolute one; give the same for maps that are to be compared.
    ``muted``: whether the picture is made nearly grey, so that the map stands out. What a placement's model never saw
    is hatched.

    Raises ImageError for what is no picture, InputError for maps and options that cannot be.

    >>> vlx.overlay("dog.jpg", why["dog"]).save("dog-heat.png")
    >>> vlx.overlay(image, array, cmap="turbo", alpha=0.6, muted=False)
    """
    if isinstance(heat, WordExplanation) and not heat.mapped:
        raise InputError(
            f'{shortened(heat.label)!r} has no map: none was asked for; explain with words="all", or name it'
        )
    where = heat.placement if placement is None and isinstance(heat, WordExplanation) else placement
    values = np.maximum(heat.signed, 0) if isinstance(heat, WordExplanation) else _numbers(heat)
    used, strength = options.colormap(cmap), _between("alpha", alpha, 0.0, 1.0)
    finite = np.nan_to_num(np.asarray(values, np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    end = float(np.abs(finite).max()) if top is None else _between("top", top, 0.0, math.inf)
    pixels = np.asarray(open_image(picture).image)
    painted = _painted(finite, where, (pixels.shape[0], pixels.shape[1]))
    shown = colour.muted(pixels) if muted else pixels
    if where is not None:
        shown = colour.hatched(shown, visible_at(where, (pixels.shape[0], pixels.shape[1])))
    ramps = options.ramps(used, signed=bool((finite < 0).any()))
    return Image.fromarray(colour.diverging(shown, painted, end, ramps, strength))


def _painted(values: Array, placement: Placement | None, size: tuple[int, int]) -> Array:
    """The map on the picture's pixels [H, W]."""
    if placement is None:
        if values.shape == size:
            return values
        shape = (values.shape[0], values.shape[1])
        return colour.painted(values, Placement(Grid.half_pixel(shape, size), Frame.whole(size, size)), size)
    if not isinstance(placement, Placement):
        raise InputError(f"placement must be that of an explanation (word.placement), got {type(placement).__name__}")
    height, width = placement.frame.size
    if abs(math.log(size[0] * width / (size[1] * height))) > ASPECT:
        raise InputError(
            f"the placement is of a picture of {width}×{height} pixels, and this one has {size[1]}×{size[0]}: another "
            "shape; give the picture that was explained, at any size"
        )
    if values.shape == tuple(placement.grid.shape):
        return colour.painted(values, placement, size)
    if values.shape == size:
        return values
    raise InputError(
        f"heat has shape {values.shape}; the placement's grid has {tuple(placement.grid.shape)} cells, the picture "
        f"{size} pixels"
    )


def _numbers(heat: Any) -> Array:
    """The map as an array of numbers [h, w]."""
    try:
        array = np.asarray(heat.detach().cpu().float() if hasattr(heat, "detach") else heat)
    except (TypeError, ValueError):
        raise InputError(f"heat must be numbers [h, w], got {type(heat).__name__}") from None
    if array.dtype.kind not in "fiub":
        raise InputError(f"heat must be numbers [h, w] or a word of an explanation, got {type(heat).__name__}")
    if array.ndim != 2 or 0 in array.shape:
        hint = "; give one of them, heat[0]" if array.ndim == 3 else ""
        raise InputError(f"heat has shape {array.shape}: one map [h, w] is needed{hint}")
    if not np.isfinite(array).any():
        raise InputError("heat holds no finite number; there is nothing to paint")
    return array.astype(np.float64)


def _between(name: str, given: Any, least: float, most: float) -> float:
    number = isinstance(given, Real) and not isinstance(given, bool)
    if not number or not least <= given <= most or math.isinf(given):
        span = f"from {least:g} to {most:g}" if math.isfinite(most) else f"of {least:g} or more"
        raise InputError(f"{name}={shortened(repr(given))} must be a number {span}")
    return float(given)
