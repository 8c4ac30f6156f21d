"""Do maps cover things? Seeds for segmentation (Grad-CAM 4.2), and average precision over pixels.

Seeds are the pixels of the painted map max(S, 0) from a fifth of its highest pixel on: their intersection over union
with the mask. Average precision has no threshold: pixels in falling order, how much of what comes first is the thing.
"""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from vlx.data.example import Mask
from vlx.evaluation.context import DrawnMap, MetricContext
from vlx.evaluation.figures import Telling, by_group
from vlx.evaluation.metric import Line, Measured, Metric
from vlx.evaluation.records import Columns
from vlx.evaluation.result import Figure

SEED = 0.2  # of the highest pixel


def covered(painted: NDArray[np.floating], mask: Mask) -> float:
    """Intersection over union of the seeds of a painted map [H, W] with a mask; 0 of a map of nothing."""
    highest = float(painted.max())
    if highest <= 0:
        return 0.0
    seeds = painted >= SEED * highest
    return float((seeds & mask).sum() / (seeds | mask).sum())


def average_precision(painted: NDArray[np.floating], mask: Mask) -> float:
    """The mean, over the pixels of a mask, of the share of it among all pixels that are as high; ties count together.

    >>> average_precision(np.array([[0.9, 0.5, 0.1]]), np.array([[True, False, True]]))
    0.833...
    """
    inside, outside = np.sort(painted[mask]), np.sort(painted[~mask])
    true = len(inside) - np.searchsorted(inside, inside)
    false = len(outside) - np.searchsorted(outside, inside)
    return float((true / (true + false)).mean())


def _seeds(context: MetricContext) -> Mapping[Line, Measured]:
    def both(one: DrawnMap) -> Measured:
        return covered(one.painted, context.mask), {"precision": average_precision(one.painted, context.mask)}

    return {line: both(one) for line, one in context.maps.items()}


def _figures(metric: str, columns: Columns, telling: Telling) -> Iterator[Figure]:
    yield from by_group(metric, columns, telling)
    yield from by_group(f"{metric} precision", columns.of("precision"), telling)


SEEDS = Metric("seeds", "do maps cover the things?", _seeds, needs={"mask"}, figures=_figures)
