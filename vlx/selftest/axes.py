"""Checks the axes of A: a band of the picture that changes moves its own row of A, or its own column, and nothing else.

The same trial as `vlx.pictures.spatial_dims` decides by, on what the task hands on as A [B, K, h, w]; adapters of
others are not asked what they decided.
"""

from collections.abc import Callable

from vlx.pictures.spatial_dims import AGREES, BANDS, BETTER, agreement, answers, banded, layouts
from vlx.pictures.tensor_layout import Layout
from vlx.selftest.checks import Subject, looked
from vlx.selftest.result import Row, idle

SURE = 0.5  # agreement of a layout that is told in place of the task's own


def _axes(case: Subject) -> Row:
    """T31: bands of the picture move their own rows and columns of A."""
    name, bands = "axes are places", BANDS["map"]
    seen = case.features.grid.average(looked(case.task, banded(case.inputs, bands)))
    movements = answers(seen, 0, bands)
    size = (case.inputs.shape[-2], case.inputs.shape[-1])
    agreed = {layout: agreement(layout, movements) for layout in layouts(movements.shape, 0, size)}
    plain = next(layout for layout in agreed if layout.plain)
    other = max((layout for layout in agreed if not layout.plain), key=lambda layout: min(agreed[layout]))
    value, best = min(agreed[plain]), min(agreed[other])
    if best >= SURE and best > value + BETTER:
        return Row(name, value, AGREES, False, _told(other), at_least=True)
    if value < AGREES:
        return idle(name, "bands of the picture move all cells alike, in any order of the axes; see patch probe")
    meaning = "how well rows and columns of A follow bands of the picture that change"
    return Row(name, value, AGREES, True, meaning, at_least=True)


def _told(layout: Layout) -> str:
    return (
        f"A is taken for [B, K, h, w] and behaves as {layout.told()}: bands of the picture that change move its other "
        "axes; permute it to [B, K, h, w] where it leaves the vision part"
    )


CHECKS: dict[str, Callable[[Subject], Row]] = {"axes are places": _axes}
