"""COCO's masks: polygons and run lengths, plain and packed, as pixels."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from vlx.errors import InputError

Mask = NDArray[np.bool_]
FINE = 4  # Pillow paints every pixel that a polygon touches: on a finer grid that matters less


def mask_of(segmentation: Any, size: tuple[int, int], where: str) -> Mask:
    """COCO polygons or run lengths → bool [H, W]; raises InputError saying ``where`` it stands."""
    if isinstance(segmentation, Mapping) and "counts" in segmentation:
        if tuple(segmentation.get("size", size)) != size:
            raise InputError(f"{where}: its mask is of size {segmentation.get('size')}, the picture of {list(size)}")
        counts = segmentation["counts"]
        return _runs(_unpacked(counts, where) if isinstance(counts, str) else counts, size, where)
    if isinstance(segmentation, Sequence) and all(_is_polygon(one) for one in segmentation):
        return _polygons(segmentation, size)
    raise InputError(f"{where}: no polygons and no run lengths in its segmentation")


def _is_polygon(flat: Any) -> bool:
    """Whether it is three corners or more, x and y in turn, all of them finite."""
    long = isinstance(flat, Sequence) and not isinstance(flat, str) and len(flat) >= 6
    return long and all(isinstance(one, int | float) and isfinite(one) for one in flat)


def _polygons(polygons: Sequence[Sequence[float]], size: tuple[int, int]) -> Mask:
    """The pixels that lie at least half inside any of the polygons; corners are in pixels from the picture's corner."""
    canvas = Image.new("L", (FINE * size[1], FINE * size[0]))
    pen = ImageDraw.Draw(canvas)
    for flat in polygons:
        points = zip(flat[: 2 * (len(flat) // 2) : 2], flat[1::2], strict=True)
        pen.polygon([(FINE * x - 0.5, FINE * y - 0.5) for x, y in points], fill=255)
    return np.asarray(np.array(canvas.reduce(FINE)) >= 128)


def _runs(counts: Any, size: tuple[int, int], where: str) -> Mask:
    """Lengths of runs of 0 and 1 in turn, column by column."""
    if not isinstance(counts, Sequence) or not all(isinstance(one, int) and one >= 0 for one in counts):
        raise InputError(f"{where}: its run lengths are not whole numbers from 0")
    if sum(counts) != size[0] * size[1]:
        raise InputError(f"{where}: its run lengths add up to {sum(counts)} pixels, not {size[0] * size[1]}")
    flat = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return np.ascontiguousarray(flat.reshape(size[1], size[0]).T)


def _unpacked(text: str, where: str) -> list[int]:
    """COCO's compressed run lengths: five bits a character; from the fourth run on less that of two runs before."""
    counts: list[int] = []
    place = 0
    while place < len(text):
        value, shift, more = 0, 0, True
        while more:
            if place == len(text):
                raise InputError(f"{where}: its run lengths are cut off")
            bits = ord(text[place]) - 48
            value |= (bits & 0x1F) << shift
            more = bool(bits & 0x20)
            place, shift = place + 1, shift + 5
            if not more and bits & 0x10:
                value |= -1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
    return counts
