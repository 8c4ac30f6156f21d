"""COCO's masks: polygons and run lengths, plain and packed, as pixels; checked here, drawn by pycocotools.

pycocotools trusts what it is given: run lengths that end too soon leave memory as it was, and far corners are drawn
until none is left. So what a file holds is counted before it is handed on.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlx.errors import InputError
from vlx.language import shortened
from vlx.pictures.opening import MAX_PIXELS
from vlx.process import ignoring

Mask = NDArray[np.bool_]
FAR = 1_000_000  # pixels from the picture's corner at which no corner of a polygon lies
LONGEST = 4_000_000  # pixels around all of an annotation's polygons: drawing takes memory for each
PACKED = frozenset(map(chr, range(48, 112)))
MOST = 13  # characters of one packed run: what 64 bits hold


def mask_of(segmentation: Any, size: tuple[int, int], where: str) -> Mask:
    """COCO polygons or run lengths → bool [H, W]; raises InputError saying ``where`` it stands.

    >>> mask_of([[1, 1, 3, 1, 3, 3, 1, 3]], (4, 4), "annotation 7").sum()
    4
    """
    if not (size[0] > 0 and size[1] > 0 and size[0] * size[1] <= MAX_PIXELS):
        raise InputError(
            f"{where}: a picture of {shortened(repr(list(size)), 50)} (H, W) has no masks; mend its record"
        )
    if isinstance(segmentation, Mapping) and "counts" in segmentation:
        told = segmentation.get("size", list(size))
        if told not in (list(size), size):
            raise InputError(f"{where}: its mask is of size {shortened(repr(told))}, the picture of {list(size)}")
        return _runs(segmentation["counts"], size, where)
    if isinstance(segmentation, Sequence) and all(_is_polygon(one) for one in segmentation):
        return _polygons(segmentation, size, where)
    raise InputError(f"{where}: no polygons and no run lengths in its segmentation")


def _is_polygon(flat: Any) -> bool:
    """Whether it is three corners or more, x and y in turn, all of them finite."""
    long = isinstance(flat, Sequence) and not isinstance(flat, str) and len(flat) >= 6
    return long and all(isinstance(one, int | float) and abs(one) < float("inf") for one in flat)


def _polygons(polygons: Sequence[Sequence[float]], size: tuple[int, int], where: str) -> Mask:
    """The pixels inside any of the polygons; corners are in pixels from the picture's corner."""
    from pycocotools import mask

    if not polygons:
        return np.zeros(size, bool)
    around = 0.0
    for flat in polygons:
        if any(abs(one) > FAR for one in flat):
            raise InputError(f"{where}: a polygon's corner lies more than {FAR:,} pixels outside of the picture")
        corners = np.array(flat[: 2 * (len(flat) // 2)], float).reshape(-1, 2)
        around += float(np.abs(corners - np.roll(corners, 1, axis=0)).max(1).sum())
    if around > LONGEST:
        raise InputError(f"{where}: its polygons are {around:,.0f} pixels around; give at most {LONGEST:,}")
    drawn = mask.frPyObjects([[float(one) for one in flat] for flat in polygons], *size)
    return _pixels(mask.merge(drawn))


def _runs(counts: Any, size: tuple[int, int], where: str) -> Mask:
    """Lengths of runs of 0 and 1 in turn, column by column."""
    from pycocotools import mask

    packed = isinstance(counts, str)
    runs = _unpacked(counts, where) if packed else counts
    if not isinstance(runs, Sequence) or not all(isinstance(one, int) and one >= 0 for one in runs):
        raise InputError(f"{where}: its run lengths are not whole numbers from 0")
    if sum(runs) != size[0] * size[1]:
        total = shortened(str(sum(runs)), 30)
        raise InputError(f"{where}: its run lengths add up to {total} pixels, not {size[0] * size[1]}")
    told = {"size": list(size), "counts": counts.encode() if packed else list(map(int, runs))}
    return _pixels(told if packed else mask.frPyObjects(told, *size))


def _pixels(told: Any) -> Mask:
    from pycocotools import mask

    with ignoring(DeprecationWarning, "__array__ implementation"):  # of pycocotools 2.0.11 with numpy 2
        return np.ascontiguousarray(mask.decode(told), bool)


def _unpacked(text: str, where: str) -> list[int]:
    """COCO's compressed run lengths: five bits a character; from the fourth run on less that of two runs before."""
    if not PACKED.issuperset(text):
        raise InputError(f"{where}: its run lengths are not as COCO packs them")
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
            if shift > 5 * MOST:
                raise InputError(f"{where}: its run lengths are not as COCO packs them")
            if not more and bits & 0x10:
                value |= -1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
    return counts
