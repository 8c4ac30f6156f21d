"""Checks that the model sees all of the picture that maps tell of: a strip along each side moves A when it changes.

What is cut off of a picture in its preparation is measured and shaded (`vlx.pictures.prepare.measure_frame`). What is
cut off later, inside the vision part, is not: maps would tell of the sides what they tell of the places beside them.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vlx.pictures.receptive_fields import measure_frame
from vlx.selftest.checks import Subject, looked
from vlx.selftest.result import Row, idle

SIZES = ((384, 576), (576, 384))  # (H, W) of the pictures: in a square one nothing is cut off
PART = 12  # of a side is painted
LEAST = 1e-3  # of what other sides move A by
SIDES = {"top": (0, True), "bottom": (0, False), "left": (1, True), "right": (1, False)}  # axis, whether its first


def _sides(case: Subject) -> Row:
    """T35: no side of a picture is told of that the model never sees."""
    name = "sides are seen"
    moved = {f"{side} of {w} × {h}": by for h, w in SIZES for side, by in _moved(case, (h, w)).items()}
    if not moved:
        return idle(name, "no side of a picture reaches the model whole; it is shaded")
    most = max(moved.values()) or 1.0
    worst = min(moved, key=lambda side: moved[side])
    value = moved[worst] / most
    if value >= LEAST:
        meaning = "by what the least of all sides moves A when it changes, of what the most does"
        return Row(name, value, LEAST, True, meaning, at_least=True)
    fault = (
        f"the {worst} is told of and never seen: it is cut off inside the vision part, so that nothing shades it; cut "
        "it off in `prepare`"
    )
    return Row(name, value, LEAST, False, fault, at_least=True)


def _moved(case: Subject, size: tuple[int, int]) -> dict[str, float]:
    """How far A moves when a strip along each side changes that `prepare` shows, by the side."""
    frame = measure_frame(case.task.prepare, size)
    shown = [frame.seen(axis) for axis in (0, 1)]
    ground, other = (_noise(size, seed) for seed in (0, 1))
    before, moved = _seen(case, ground), {}
    for side, (axis, first) in SIDES.items():
        strip = np.arange(size[axis] // PART) if first else np.arange(-(size[axis] // PART), 0)
        if shown[axis][strip].all() and shown[1 - axis].any():
            picture = ground.copy()
            part = (strip,) if axis == 0 else (slice(None), strip)
            picture[part] = other[part]
            moved[side] = float((_seen(case, picture) - before).abs().max())
    return moved


def _seen(case: Subject, levels: NDArray[np.uint8]) -> Tensor:
    task = case.task
    return looked(task, task.place(task.prepare(Image.fromarray(levels))[None])).double()


def _noise(size: tuple[int, int], seed: int) -> NDArray[np.uint8]:
    """Noise of grains of a strip's width [H, W, 3]."""
    grain = min(size) // PART
    levels = np.random.default_rng(seed).integers(0, 256, (-(-size[0] // grain), -(-size[1] // grain), 3), np.uint8)
    return levels.repeat(grain, 0).repeat(grain, 1)[: size[0], : size[1]]


CHECKS: dict[str, Callable[[Subject], Row]] = {"sides are seen": _sides}
