"""The user's picture at the sizes that are drawn, bare or under a map, and pictures as data addresses."""

import base64
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vlx.explanation import Array, Explanation
from vlx.report import cells, colour

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Drawn:
    """A picture no larger than was asked for: plain and muted, both hatched where the model saw nothing."""

    why: Explanation
    plain: Pixels
    muted: Pixels

    @classmethod
    def of(cls, why: Explanation, side: int) -> "Drawn":
        """Shrink the explanation's picture until its longer side is at most ``side`` pixels."""
        height, width = why.image.shape[:2]
        ratio = min(side / max(height, width), 1.0)
        size = (max(round(height * ratio), 1), max(round(width * ratio), 1))
        small = why.image
        if size != (height, width):
            small = np.asarray(Image.fromarray(small).resize(size[::-1], Image.Resampling.LANCZOS, reducing_gap=3.0))
        visible = cells.visible(why.placement, size)
        return cls(why, colour.hatched(small, visible), colour.hatched(colour.muted(small), visible))

    def under(self, values: Array, top: float, view: str = "for") -> Pixels:
        """The muted picture under the rectified map ``values`` [h, w] on a scale that ends at ``top``."""
        painted = cells.paint(np.maximum(values, 0), self.why.placement, (self.muted.shape[0], self.muted.shape[1]))
        return colour.overlay(self.muted, painted, top, view)


def address(pixels: Pixels) -> str:
    """Pixels as a data: address, PNG or JPEG, whichever is smaller."""
    found = [(_encoded(pixels, kind), kind) for kind in ("PNG", "JPEG")]
    data, kind = min(found, key=lambda pair: len(pair[0]))
    return _address(data, kind)


def png_address(data: bytes) -> str:
    """A PNG file's bytes as a data: address."""
    return _address(data, "PNG")


def _address(data: bytes, kind: str) -> str:
    return f"data:image/{kind.lower()};base64,{base64.b64encode(data).decode('ascii')}"


def _encoded(pixels: Pixels, kind: str) -> bytes:
    buffer = io.BytesIO()
    options = {"quality": 88, "subsampling": 0} if kind == "JPEG" else {}
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()
