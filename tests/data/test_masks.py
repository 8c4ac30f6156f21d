"""COCO's masks: drawn as by hand, back from run lengths in either form, and refused where a file lies."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlx.data.masks import Mask, mask_of
from vlx.errors import InputError
from vlx.scenes.export import run_lengths

SIZE = (24, 31)


def packed(counts: list[int]) -> str:
    """COCO's packing, as rleToString in maskApi.c does it."""
    text = ""
    for place, count in enumerate(counts):
        value = count - (counts[place - 2] if place > 2 else 0)
        more = True
        while more:
            bits = value & 0x1F
            value >>= 5
            more = value != -1 if bits & 0x10 else value != 0
            text += chr((bits | 0x20 if more else bits) + 48)
    return text


@given(st.binary(min_size=SIZE[0] * SIZE[1] // 8 + 1, max_size=SIZE[0] * SIZE[1] // 8 + 1), st.integers(0, 3))
def test_run_lengths_come_back_in_either_form(bits: bytes, broad: int) -> None:
    mask = np.unpackbits(np.frombuffer(bits, np.uint8))[: SIZE[0] * SIZE[1]].reshape(SIZE).astype(bool)
    mask[:, : 8 * broad] = bool(broad % 2)  # long runs, which take more than a character
    plain = run_lengths(mask)
    assert np.array_equal(mask_of(plain, SIZE, ""), mask)
    assert np.array_equal(mask_of({"size": [*SIZE], "counts": packed(plain["counts"])}, SIZE, ""), mask)


@given(st.lists(st.tuples(*[st.integers(-9, 40)] * 4), min_size=1, max_size=4))
def test_rectangles_on_whole_pixels_are_those_pixels(boxes: list[tuple[int, int, int, int]]) -> None:
    flat, wanted = [], np.zeros(SIZE, bool)
    for left, top, right, bottom in boxes:
        left, right, top, bottom = *sorted((left, right)), *sorted((top, bottom))
        flat.append([left, top, right, top, right, bottom, left, bottom])
        wanted[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = True
    assert np.array_equal(mask_of(flat, SIZE, ""), wanted), "height and width, one pixel off, or one polygon alone"


def by_corners(corners: list[tuple[float, float]]) -> tuple[Mask, Mask]:
    """The pixels that are surely inside a convex polygon, and those that are not surely outside, by half-planes."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    inner, outer = np.ones(SIZE, bool), np.ones(SIZE, bool)
    for (ax, ay), (bx, by) in zip(corners, corners[1:] + corners[:1], strict=True):
        away = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) / np.hypot(bx - ax, by - ay)
        inner &= away > 0.75
        outer &= away > -0.75
    return inner, outer


@given(st.floats(4, 27), st.floats(4, 20), st.floats(3, 12), st.integers(3, 9), st.floats(0, 6))
def test_polygons_lie_where_half_planes_say(x: float, y: float, radius: float, sides: int, turn: float) -> None:
    angles = turn + np.arange(sides) * 2 * np.pi / sides
    corners = [(float(x + radius * np.cos(one)), float(y + radius * np.sin(one))) for one in angles]
    drawn = mask_of([[one for corner in corners for one in corner]], SIZE, "")
    inner, outer = by_corners(corners)
    assert drawn[inner].all()
    assert not drawn[~outer].any()


HOSTILE: list[tuple[Any, str]] = [
    ({"size": [24, 31], "counts": "0" * 5}, "add up to 0 pixels, not 744"),
    ({"size": [24, 31], "counts": "P"}, "cut off"),
    ({"size": [24, 31], "counts": "o" * 40 + "0"}, "not as COCO packs them"),
    ({"size": [24, 31], "counts": "é"}, "not as COCO packs them"),
    ({"size": [24, 31], "counts": "\0"}, "not as COCO packs them"),
    ({"size": [24, 31], "counts": [10**40]}, "add up to"),
    ({"size": [24, 31], "counts": [744, 2**32]}, "add up to"),
    ({"size": [24, 31], "counts": [0.5]}, "not whole numbers from 0"),
    ({"size": 5, "counts": [744]}, "of size 5, the picture of"),
    ({"size": [31, 24], "counts": [744]}, r"of size \[31, 24\]"),
    ([[0, 0, 1e300, 0, 1e300, 1e300]], "lies more than 1,000,000 pixels outside"),
    ([[0, 0, 10**400, 0, 9, 9]], "lies more than 1,000,000 pixels outside"),
    ([[0, 0, float("inf"), 0, 9, 9]], "no polygons"),
    ([[0, 0, -1e6, 0, 1e6, 9, -1e6, 12]], "pixels around; give at most"),
    ([[0, 0, 3e4, 0, 0, 3e4, -3e4, 0] * 40], "pixels around; give at most"),
    ([["0"] * 6], "no polygons"),
    ([[1, 1, 5, 5]], "no polygons"),
    ("polygon", "no polygons"),
    (None, "no polygons"),
]


@pytest.mark.parametrize(("segmentation", "message"), HOSTILE, ids=lambda value: str(value)[:30])
def test_a_mask_that_lies_is_refused(segmentation: Any, message: str) -> None:
    with pytest.raises(InputError, match=f"^annotation 7: .*{message}") as caught:
        mask_of(segmentation, SIZE, "annotation 7")
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("size", [(0, 0), (-4, 5), (10**9, 10**9), (10**30, 1)])
def test_a_picture_of_no_or_endless_pixels_has_no_masks(size: tuple[int, int]) -> None:
    for segmentation in ([[0, 0, 4, 0, 4, 4]], {"counts": [size[0] * size[1]]}):
        with pytest.raises(InputError, match=r"^x: a picture of .* has no masks; mend its record"):
            mask_of(segmentation, size, "x")


def test_packed_text_of_any_kind_is_drawn_whole_or_refused() -> None:
    """In a process of its own: what slips through the checks ends it, or leaves pixels as memory was."""
    code = """
import random
from vlx.data.masks import mask_of
from vlx.errors import InputError
chance, drawn = random.Random(0), 0
for _ in range(4000):
    text = "".join(chance.choice("0123456789:NMLPQo_") for _ in range(chance.randrange(1, 6)))
    size = (chance.randrange(1, 9), chance.randrange(1, 9))
    try:
        masks = [mask_of({"size": [*size], "counts": text}, size, "") for _ in range(2)]
    except InputError:
        continue
    assert (masks[0] == masks[1]).all()
    drawn += 1
assert drawn > 10, drawn
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).returncode == 0


def test_nothing_outlined_is_no_pixel() -> None:
    assert not mask_of([], SIZE, "").any()
    assert not mask_of([[0.2, 0.2, 0.3, 0.2, 0.3, 0.3]], SIZE, "").any(), "smaller than a pixel"
