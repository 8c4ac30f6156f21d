"""Maps as a page carries them: whole numbers of a step for the script, small pictures with a palette for everyone."""

import base64
import io
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vlx.explanation.records import Array
from vlx.pictures.placement import Axis, Placement, axes, paint_at
from vlx.report import colour

STILL = 112  # longest side of a still, in pixels; browsers draw it larger, smoothly
SENT = 256  # longest side of a map in pixels as a page gets it
STEPS = {"i1": 127, "i2": 32767}
_RISING = np.linspace(0, 1, colour.STEPS) ** colour.RISE * colour.OPACITY * 255


def grid(values: Array, kind: str = "i2") -> dict[str, Any]:
    """A map [h, w] as whole numbers of ``step``, row by row, little-endian in base64; not finite values are 0.

    ``kind``: "i2", 16 bits a cell, or "i1", 8 bits.
    """
    finite = _finite(values)
    most = float(np.abs(finite).max(initial=0.0))
    step = float(f"{most / STEPS[kind]:.6g}")
    whole = np.clip(np.rint(finite / (step or 1.0)), -STEPS[kind], STEPS[kind]).astype(f"<{kind}")
    return {"step": step, "cells": base64.b64encode(whole.tobytes()).decode("ascii")}


def cells_of(sent: dict[str, Any], shape: tuple[int, int], kind: str = "i2") -> NDArray[np.float64]:
    """The map [h, w] that `grid` was given, to half a step."""
    whole = np.frombuffer(base64.b64decode(sent["cells"]), f"<{kind}").reshape(shape)
    return whole * float(sent["step"])


class Sent:
    """How a page gets the maps of one placement: their cells, or of maps in pixels what it can draw of them.

    ``grid`` is how many cells there are, ``kind`` how they are written (see `grid`), ``axes`` where they lie.
    """

    def __init__(self, placement: Placement, side: int = SENT) -> None:
        self._placement, self.grid, self.kind, self.axes = placement, placement.grid.shape, "i2", axes(placement)
        if placement.grid.in_pixels:
            height, width = _sides(placement, min(side / max(placement.frame.size), 1.0))
            down, across = self.axes
            self.axes = _drawn(down, height), _drawn(across, width)
            self.grid, self.kind = (self.axes[0].cells, self.axes[1].cells), "i1"

    def cells(self, values: Array, end: float) -> dict[str, Any]:
        """A map [h, w] as `grid` writes it; in pixels it is cut at ±``end``."""
        if self._placement.grid.in_pixels:
            values = np.clip(paint_at(_finite(values), self._placement, self.grid), -end, end)
        return grid(values, self.kind)


def _sides(placement: Placement, ratio: float) -> tuple[int, int]:
    height, width = placement.frame.size
    return max(round(height * ratio), 1), max(round(width * ratio), 1)


def _drawn(axis: Axis, samples: int) -> Axis:
    """The axis of a map that was drawn at so many even steps along the picture, or as many as cells lie along it."""
    samples = min(samples, max(round(axis.pixels / abs(axis.step)), 1))
    step = axis.pixels / samples
    return replace(axis, origin=step / 2 - 0.5, step=step, cells=samples)


class Painter:
    """Stills of maps on one placement: what is the same for all of them is made once."""

    def __init__(self, placement: Placement) -> None:
        size = _sides(placement, min(STILL / max(placement.frame.size), 1.0))
        rows, columns = axes(placement)
        self._rows, self._columns = rows.mixing(size[0]), columns.mixing(size[1]).T

    def still(self, values: Array, top: float, fade: float = 1.0) -> str:
        """The map alone, both signs, as a data: address of a PNG that is transparent where the value is 0."""
        painted = self._rows @ _finite(values) @ self._columns
        share = np.clip(painted / top if top > 0 else 0 * painted, -1, 1) * (colour.STEPS - 1)
        level = np.rint(share).astype(np.int16)
        index = np.where(level < 0, colour.STEPS - 1 - level, level).astype(np.uint8)
        image = Image.fromarray(index)
        image.putpalette(_palette())
        held = io.BytesIO()
        image.save(held, "PNG", transparency=_alpha(fade), compress_level=6)
        return f"data:image/png;base64,{base64.b64encode(held.getvalue()).decode('ascii')}"


def _finite(values: Array) -> NDArray[np.float64]:
    numbers: NDArray[np.float64] = np.asarray(values, np.float64)
    return np.where(np.isfinite(numbers), numbers, 0.0)


@cache
def _palette() -> bytes:
    """What speaks for it from no effect to the strongest, then what speaks against it."""
    return bytes(np.array([*colour.ramp("for"), *colour.ramp("against")[1:]], np.uint8).ravel())


def _alpha(fade: float) -> bytes:
    rising = _RISING * fade
    return bytes(np.concatenate([rising, rising[1:]]).round().astype(np.uint8))
