"""The connected maxima of a map: what hangs together of its cells from half of the highest on."""

from collections.abc import Mapping

import numpy as np

from vlx.auditing.answered import Region
from vlx.auditing.parts import OnCells
from vlx.data.example import Box
from vlx.evaluation.records import Values
from vlx.pictures.placement import Axis, Placement, axes

HALF = 0.5  # of the highest cell
MOST = 3


def regions(positive: Values, signed: Values, placement: Placement, alike: Mapping[str, OnCells]) -> tuple[Region, ...]:
    """The connected maxima of a map max(S, 0) [h, w], at most three, those that have most of it first.

    Cells that touch, also over corners, hang together. ``alike`` are the kinds of cells that look alike, by name.

    >>> regions(np.array([[0.0, 1.0]]), np.array([[0.0, 1.0]]), placement, {})[0].share
    1.0
    """
    from scipy.ndimage import find_objects, label

    total = float(positive.sum())
    if total <= 0:
        return ()
    numbers, count = label(positive >= HALF * positive.max(), np.ones((3, 3)))
    within = [numbers == number for number in range(1, count + 1)]
    shares = [float(positive[cells].sum()) / total for cells in within]
    order = sorted(range(count), key=lambda number: -shares[number])[:MOST]
    spans = find_objects(numbers)
    rows, columns = axes(placement)
    made = []
    for number in order:
        (top, height), (left, width) = (
            _side(axis, span.start, span.stop) for axis, span in zip((rows, columns), spans[number], strict=True)
        )
        box: Box = (left, top, width, height)
        made.append(Region(box, float(signed[within[number]].sum()), shares[number], _kind(within[number], alike)))
    return tuple(made)


def _side(axis: Axis, first: int, stop: int) -> tuple[float, float]:
    """Where cells ``first`` to ``stop`` begin on the picture, and how far they reach, in pixels that the model sees."""
    ends = sorted(axis.origin + axis.step * (cell - 0.5) + 0.5 for cell in (first, stop))
    low, high = (min(max(end, float(axis.first)), float(axis.stop)) for end in ends)
    return low, high - low


def _kind(cells: Values, alike: Mapping[str, OnCells]) -> str:
    on = {name: float(part.weights[cells.astype(bool)].sum()) for name, part in alike.items()}
    return max(on, key=lambda name: on[name]) if on else ""
