"""Does hiding what a map marks cost the score? Rank correlation of heat maps with occlusion (paper, section 6.2)."""

from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np
from torch import Tensor

from vlx.evaluation.context import DrawnMap, MetricContext
from vlx.evaluation.figures import BASELINE, Telling, by_group
from vlx.evaluation.metric import Line, Metric
from vlx.evaluation.records import Columns, Values
from vlx.evaluation.result import Figure
from vlx.evaluation.shown import AskedCases, by_default
from vlx.methods import registry
from vlx.probes.occlusion import occlude, rank_correlation
from vlx.protocol.targets import TargetKind

METRIC = "rank correlation"


def _measure(context: MetricContext) -> Mapping[Line, float]:
    """The rank correlation of occlusion's falls with each map, of one picture at a time.

    Targets are the task's default kind unless others are asked for; baselines are compared with the falls of the last.
    Maps on another grid are read where A's cells are centred.
    """
    found: dict[Line, float] = {}
    falls: Values = np.zeros(0)
    for kind in context.kinds:
        falls = context.shown.once(("occlusion", kind, id(context.asked)), partial(_falls, context.asked, kind))[
            context.number
        ]
        found |= {line: _correlation(context, falls, one) for line, one in context.maps.items() if line[1] == kind}
    for line, one in context.maps.items():
        if line[1] == BASELINE:
            found[line] = _correlation(context, falls, one)
    own = context.shown.once(
        ("occlusion's own", id(context.asked)), partial(_default, context.asked, context.kinds[-1])
    )
    instead = own[(context.number + len(own) // 2) % len(own)].double().cpu().numpy()
    found["same", BASELINE] = rank_correlation(falls.ravel(), np.maximum(instead, 0).ravel())
    return found


def _correlation(context: MetricContext, falls: Values, one: DrawnMap) -> float:
    values = one.values
    if values.shape != falls.shape:
        grid = context.shown.features.grid
        places = [grid.offset[axis] + grid.stride[axis] * np.arange(grid.shape[axis]) for axis in (0, 1)]
        rows, columns = (
            np.clip(np.rint(place), 0, side - 1).astype(int) for place, side in zip(places, grid.size, strict=True)
        )
        values = np.maximum(context.on_prepared(one), 0)[np.ix_(rows, columns)]
    return rank_correlation(falls.ravel(), values.ravel())


def _default(asked: AskedCases, kind: TargetKind) -> Tensor:
    """The maps by the task's own method, [N, h, w], whether it is measured or not."""
    shown, made = asked.shown, asked.maps(kind)
    name = registry.choose(shown.task.defaults.method).name
    if name in made:
        return made[name]
    return by_default(shown.task, shown.features, asked.targets(kind), shown.inputs, shown.filling).signed


def _falls(asked: AskedCases, kind: TargetKind) -> Values:
    """What each case's score loses when a patch around each cell is hidden, float64 [N, h, w]."""
    shown = asked.shown
    hidden = occlude(
        shown.task,
        shown.inputs[0],
        shown.filling(0),
        shown.features,
        asked.targets(kind),
        list(_default(asked, kind).cpu().numpy()),
    )
    return np.array([one.falls for one in hidden], np.float64)


def _figures(_metric: str, columns: Columns, telling: Telling) -> Iterator[Figure]:
    yield from by_group(METRIC, columns, telling)


OCCLUSION = Metric(
    "occlusion", "does hiding what a map marks cost the score?", _measure, figures=_figures, batch=1, anywhere=True
)
