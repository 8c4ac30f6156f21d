"""Figures that are no means: ratios, medians, best thresholds, with their intervals over pictures.

Each is a function of some records and of how often each of them counts: to draw pictures anew is to count the records
of some of them twice and of others not at all.
"""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from vlx.evaluation.figures import BASELINE, NAN, Telling, ordered, parts
from vlx.evaluation.intervals import NONE, Array, drawn_pictures
from vlx.evaluation.records import Columns, Values, Which
from vlx.evaluation.result import Figure

Numbers = NDArray[np.intp]
Weighed = Callable[[Numbers, Array], Array]  # numbers of N records, how often each counts [D, N] → figures [D]
ALL = "all"
ROOM = 2**22  # numbers that are held at once


def by_weight(
    metric: str,
    columns: Columns,
    telling: Telling,
    figure: Weighed,
    only: Which | None = None,
    *,
    groups: bool = True,
) -> Iterator[Figure]:
    """A figure of all records of each method and target, and of those of each group, as `figures.by_group` has means.

    ``figure(numbers, times)`` tells it of some records, each counted so many times, for each row of ``times``. The same
    pictures are drawn for a method and the baselines it stands beside. ``only`` are the records that are told; without
    ``groups`` all records are told together.
    """
    told = np.ones(len(columns), bool) if only is None else only
    every = [*parts(columns, telling)]
    several = len(columns.groups) > 1 and not telling.by_size
    pooled = [(ALL, np.ones(len(columns), bool))] if several else every[:1]
    single = every if groups and several else every[1:] if groups else []
    numbers = {line: number for number, line in enumerate(columns.lines)}
    for line in ordered([line for line in columns.lines if line[1] != BASELINE]):
        for group, part in (*pooled, *single):
            own = told & part & (columns.line == numbers[line])
            if own.any():
                baselines = {
                    name: told & part & (columns.line == numbers[name, target])
                    for name, target in numbers
                    if target == BASELINE
                }
                yield _figure((group, *line, metric), columns, own, baselines, figure)


def _figure(
    called: tuple[str, str, str, str], columns: Columns, own: Which, baselines: Mapping[str, Which], figure: Weighed
) -> Figure:
    value, again = _told(columns, own, own, figure)
    beside = {name: _told(columns, which, own, figure) for name, which in baselines.items() if which.any()}
    random, centre, same = (beside[name][0] if name in beside else NAN for name in ("random", "centre", "same"))
    ahead, over_random = (
        (value - beside[name][0], *_between(again - beside[name][1])) if name in beside else None
        for name in ("centre", "random")
    )
    return Figure(
        *(*called, value, *_between(again), random, centre, same, int(own.sum())),
        ahead=ahead,
        over_random=over_random,
        unmeasured=int(np.isnan(columns.value[own]).sum()),
        empty=int(np.nansum(columns.told("empty")[own])),
    )


def _told(columns: Columns, which: Which, own: Which, figure: Weighed) -> tuple[float, Values]:
    """The figure of some records, and what it comes to when the pictures of a method's records are drawn again."""
    numbers, pictures = np.flatnonzero(which), np.unique(columns.picture[own])
    numbers = numbers[np.isin(columns.picture[numbers], pictures)]
    place, times = np.searchsorted(pictures, columns.picture[numbers]), drawn_pictures(len(pictures))
    rows = max(ROOM // max(len(numbers), 1), 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = figure(numbers, np.ones((1, len(numbers))))
        drawn = [figure(numbers, times[first : first + rows][:, place]) for first in range(0, len(times), rows)]
    return float(value[0]) if np.isfinite(value[0]) else NAN, np.concatenate(drawn)


def _between(again: Values) -> tuple[float, float]:
    known = again[np.isfinite(again)]
    if not len(known):
        return NONE
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)


def ratio_of(above: Values, below: Values) -> Weighed:
    """The sum of some values over the sum of others of the same records: a share, or a ratio of two means."""
    return lambda numbers, times: (times @ above[numbers]) / (times @ below[numbers])


def median_of(values: Values) -> Weighed:
    """The median of values, ∞ among them; what is NaN is left out."""

    def median(numbers: Numbers, times: Array) -> Array:
        order = np.argsort(values[numbers], kind="stable")[: int((~np.isnan(values[numbers])).sum())]
        if not len(order):
            return np.full(len(times), NAN)
        ranked, counts = values[numbers][order], np.cumsum(times[:, order], 1)
        lower, upper = ((counts < counts[:, -1:] / 2).sum(1), (counts <= counts[:, -1:] / 2).sum(1))
        last = len(ranked) - 1
        return np.asarray((ranked[np.minimum(lower, last)] + ranked[np.minimum(upper, last)]) / 2)

    return median
