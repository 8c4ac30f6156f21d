"""How much of a map lies on the thing: its share inside the mask, and its mean inside the box over that outside.

Both are sums over pixels of the painted map max(S, 0), bilinear between the cells, so they are sums over cells, each
times what it paints on the thing. Pixels that the model never saw carry nothing and are not counted.
"""

from collections.abc import Iterator, Mapping

import numpy as np

from vlx.evaluation.cases import mask_of_boxes
from vlx.evaluation.context import MetricContext
from vlx.evaluation.figures import Telling
from vlx.evaluation.footprint import footprint_of, painted_on
from vlx.evaluation.metric import Line, Measured, Metric
from vlx.evaluation.records import Columns
from vlx.evaluation.result import Figure
from vlx.evaluation.weighed import by_weight, median_of, ratio_of

NAN = float("nan")
PAPER = (
    "in-out: 1 if the same everywhere; of phrases in the paper 3.27 (Grad-CAM), 2.32 (guided), 6.38 (Guided Grad-CAM)"
)


def _energy(context: MetricContext) -> Mapping[Line, float]:
    """Σ inside / Σ of each painted map; 0 of a map of nothing."""
    return {
        line: float((one.values * painted_on(context, one.placement, context.mask, "mask")).sum()) / total
        if (total := float((one.values * footprint_of(context, one.placement).total).sum())) > 0
        else 0.0
        for line, one in context.maps.items()
    }


def _in_out(context: MetricContext) -> Mapping[Line, Measured]:
    """The mean of each painted map inside the boxes over that outside, in the score's unit; NaN where that is 0."""
    boxes = context.shown.once(
        ("boxes", context.asked, context.number), lambda: mask_of_boxes(context.boxes, context.mask.shape)
    )
    found: dict[Line, Measured] = {}
    for line, one in context.maps.items():
        footprint = footprint_of(context, one.placement)
        pixels = footprint.seen_of(boxes)
        if not 0 < pixels < footprint.seen:
            found[line] = NAN
            continue
        on = painted_on(context, one.placement, boxes, "boxes")
        inside = float((one.values * on).sum()) / pixels
        outside = float((one.values * (footprint.total - on).clip(min=0)).sum()) / (footprint.seen - pixels)
        found[line] = inside / outside if outside > 0 else NAN, {"inside": inside, "outside": outside}
    return found


def _ratios(metric: str, columns: Columns, telling: Telling) -> Iterator[Figure]:
    """The ratio of the means over pictures, and the median of the ratios."""
    inside, outside = columns.told("inside"), columns.told("outside")
    known = ~np.isnan(inside)
    yield from by_weight(metric, columns, telling, ratio_of(inside, outside), known)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = inside / outside
    yield from by_weight(f"{metric} median", columns, telling, median_of(ratios), known)


ENERGY = Metric("energy", "how much of a map lies on the thing itself?", _energy, needs={"mask"})
IN_OUT = Metric(
    "in-out",
    "how much denser is a map inside the box than outside?",
    _in_out,
    needs={"boxes"},
    figures=_ratios,
    notes=lambda columns: [PAPER] if len(columns) else [],
)
