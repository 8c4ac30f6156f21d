"""Do maps lie where people looked? Spearman's correlation with human attention (Grad-CAM 8.2, VQA-HAT 1606.03556).

Both are taken on 14 × 14 equal parts of the picture: of the painted map max(S, 0) the mean of each part, of the maps of
people the mean over people, as the data tell it.
"""

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from vlx.evaluation.context import MetricContext
from vlx.evaluation.metric import Line, Metric
from vlx.evaluation.records import Columns, Values
from vlx.pictures.placement import Placement, axes
from vlx.probes.occlusion import rank_correlation

SIDE = 14
FINE = 16  # samples along each side of a part
PAPER = "hat: Grad-CAM .136 on 1,374 questions in the paper, another model; random 0"


def parts_of(cells: Values, placement: Placement) -> Values:
    """The mean of a painted map [h, w] over each of 14 × 14 equal parts of the picture."""
    rows, columns = (axis.mixing(SIDE * FINE).reshape(SIDE, FINE, axis.cells).mean(1) for axis in axes(placement))
    return np.asarray(rows @ cells @ columns.T)


def people_of(human: NDArray[np.floating]) -> Values:
    """A map of people [h, w] of any size on 14 × 14 equal parts: the mean of what each covers."""
    given = torch.from_numpy(np.asarray(human, np.float64))[None, None]
    wide = tuple(side * SIDE for side in given.shape[2:])
    fine = torch.nn.functional.interpolate(given, wide, mode="nearest") if given.shape[2:] != (SIDE, SIDE) else given
    return np.asarray(torch.nn.functional.adaptive_avg_pool2d(fine, (SIDE, SIDE))[0, 0].numpy())


def _measure(context: MetricContext) -> Mapping[Line, float]:
    """The rank correlation of each map; NaN of one that is the same everywhere."""
    human = context.human
    if human is None:
        return {}
    people = people_of(human).ravel()
    return {
        line: rank_correlation(parts_of(one.values, one.placement).ravel(), people)
        for line, one in context.maps.items()
    }


def _notes(columns: Columns) -> Iterable[str]:
    yield from [PAPER] if len(columns) else []


HAT = Metric("hat", "do maps lie where people looked?", _measure, needs={"human"}, notes=_notes)
