"""The user's picture at the sizes that are drawn, bare or under a map, and pictures as data addresses."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vlx.explanation.records import Array, Explanation, WordExplanation
from vlx.pictures.placement import Frame, visible_at
from vlx.report import colour

Pixels = NDArray[np.uint8]

FEW = 256  # colours: a picture of no more is smaller as PNG, and sharp
QUALITY = 86  # of JPEGs
STRONGEST = 0.995  # single pixels beyond this quantile do not stretch the scale of Guided Grad-CAM


@dataclass(frozen=True, eq=False)
class Drawn:
    """A picture no larger than was asked for: plain and muted, both hatched where the model saw nothing."""

    why: Explanation
    plain: Pixels
    muted: Pixels

    @classmethod
    def of(cls, why: Explanation, side: int) -> "Drawn":
        """Shrink the explanation's picture until its longer side is at most ``side`` pixels."""
        small = shrunk(why, side)
        visible = visible_at(why.placement, (small.shape[0], small.shape[1]))
        return cls(why, colour.hatched(small, visible), colour.hatched(colour.muted(small), visible))

    def under(
        self, values: Array, top: float, view: str = "for", colors: Array | None = None, fade: float = 1.0
    ) -> Pixels:
        """The muted picture under the rectified map ``values`` [h, w] on a scale that ends at ``top``, faded."""
        painted = self._painted(np.maximum(values, 0))
        return colour.overlay(self.muted, painted, top, view, colors, colour.OPACITY * fade)

    def under_signed(
        self, values: Array, top: float, ramps: Mapping[str, Array] = MappingProxyType({}), fade: float = 1.0
    ) -> Pixels:
        """The muted picture under the map ``values`` [h, w], both signs, on a scale from −``top`` to ``top``, faded."""
        return colour.diverging(self.muted, self._painted(values), top, ramps, colour.OPACITY * fade)

    def _painted(self, values: Array) -> Array:
        return colour.painted(values, self.why.placement, (self.muted.shape[0], self.muted.shape[1]))


def size(why: Explanation, side: int) -> tuple[int, int]:
    """(H, W) of the explanation's picture with its longer side at most ``side`` pixels."""
    height, width = why.image.shape[:2]
    ratio = min(side / max(height, width), 1.0)
    return max(round(height * ratio), 1), max(round(width * ratio), 1)


def shrunk(why: Explanation, side: int) -> Pixels:
    """The picture at that size."""
    wanted = size(why, side)
    if wanted == why.image.shape[:2]:
        return why.image
    resized = Image.fromarray(why.image).resize(wanted[::-1], Image.Resampling.LANCZOS, reducing_gap=2.0)
    return np.asarray(resized)


def shown(why: Explanation, side: int) -> str:
    """The picture as a page shows it, hatched where the model saw nothing, as a data: address."""
    small = shrunk(why, side)
    seen = [why.placement.frame.seen(axis).all() for axis in (0, 1)]
    if not all(seen):
        small = colour.hatched(small, visible_at(why.placement, (small.shape[0], small.shape[1])))
    return address(small)


def guided(words: Sequence[WordExplanation], size: tuple[int, int], top: float) -> list[Pixels]:
    """Guided Grad-CAM of words that have it, on the picture at ``size`` (H, W): mid-grey is 0, black −``top``."""
    from vlx.methods import pixels

    maps = [pixels.on_picture(_finite(word.guided), _shrunk(word.placement.frame, size)) for word in words]
    return [
        colour.hatched(pixels.shown(_of_three(one), top or 1.0), visible_at(word.placement, size))
        for one, word in zip(maps, words, strict=True)
    ]


def _of_three(values: Array) -> Array:
    """Maps of three channels as they are, of other numbers their mean in grey."""
    return values if len(values) == 3 else np.broadcast_to(values.mean(0), (3, *values.shape[1:]))


def guided_top(words: Sequence[WordExplanation]) -> float:
    """The value at the ends of their one scale: the 99.5th percentile of the strongest word's absolute values."""
    tops = [float(np.quantile(np.abs(_finite(word.guided)), STRONGEST)) for word in words if word.guided is not None]
    return max(tops, default=0.0)


def _finite(values: Array | None) -> Array:
    return np.nan_to_num(np.asarray(values, np.float32), nan=0.0, posinf=0.0, neginf=0.0)


def _shrunk(frame: Frame, size: tuple[int, int]) -> Frame:
    """The frame of the user's picture resized to ``size`` (H, W)."""
    ratios = [small / large for small, large in zip(size, frame.size, strict=True)]
    scale, shift = (
        (ratios[0] * pair[0] + move * (ratios[0] - 1) / 2, ratios[1] * pair[1] + move * (ratios[1] - 1) / 2)
        for pair, move in ((frame.scale, 0), (frame.shift, 1))
    )
    return replace(frame, scale=scale, shift=shift, size=size)


def address(pixels: Pixels) -> str:
    """Pixels as a data: address: of a few colours the smaller one of PNG and JPEG, else JPEG.

    A PNG of a photograph takes ten times as long, to be thrown away.
    """
    few = Image.fromarray(pixels).getcolors(FEW) is not None
    encodings = [(_encoded(pixels, kind), kind) for kind in (("PNG", "JPEG") if few else ("JPEG",))]
    data, kind = min(encodings, key=lambda pair: len(pair[0]))
    return _address(data, kind)


def png_address(data: bytes) -> str:
    """A PNG file's bytes as a data: address."""
    return _address(data, "PNG")


def _address(data: bytes, kind: str) -> str:
    return f"data:image/{kind.lower()};base64,{base64.b64encode(data).decode('ascii')}"


def _encoded(pixels: Pixels, kind: str) -> bytes:
    held = io.BytesIO()
    Image.fromarray(pixels).save(held, kind, **({"quality": QUALITY} if kind == "JPEG" else {}))
    return held.getvalue()
