"""From records to figures: means by group, their intervals over pictures, and how far they lie above the baselines."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlx.evaluation.intervals import NONE, Array, drawn_pictures, mean_of, over_pictures
from vlx.evaluation.records import Columns, Which
from vlx.evaluation.result import MACRO, Figure

EVERY, SMALL = "all objects", "under a quarter"
QUARTER = 0.25  # of the picture, all objects of the word's category together
NAN = float("nan")
BASELINE = ""  # the target of what knows of none


@dataclass(frozen=True)
class Telling:
    """How figures are told: ``by_size``, by how large things are, where groups are too many for a table."""

    by_size: bool = False


def by_group(metric: str, columns: Columns, telling: Telling) -> Iterator[Figure]:
    """The mean of each method and target in every group, and over groups; a target's methods together.

    Baselines stand beside each figure: "random", "centre" and "same" (the map of something else); ``ahead`` and
    ``over_random`` are the mean differences from the first two, of the very same asks, with their intervals. Values
    that are NaN are left out and counted.
    """
    lines = ordered([line for line in columns.lines if line[1] != BASELINE])
    numbers = {line: number for number, line in enumerate(columns.lines)}
    baselines = {name: columns.line == numbers[name, target] for name, target in numbers if target == BASELINE}
    for line in lines:
        own = columns.line == numbers[line]
        for group, part in parts(columns, telling):
            if (part & own).any():
                yield _figure(metric, columns, line, group, part & own, {n: part & b for n, b in baselines.items()})
        if columns.groups[1:]:
            yield _macro(metric, columns, line, own, baselines)


def ordered(lines: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Methods and targets, a target's together, targets and methods in the order in which they came."""
    targets = list(dict.fromkeys(target for _, target in lines))
    return sorted(lines, key=lambda line: targets.index(line[1]))


def parts(columns: Columns, telling: Telling) -> Iterator[tuple[str, Which]]:
    """The groups of a table, and which records are of each."""
    if telling.by_size:
        yield EVERY, np.ones(len(columns), bool)
        small = columns.area < QUARTER
        if small.any():
            yield SMALL, small
        return
    for number, group in enumerate(columns.groups):
        yield group, columns.group == number


def _figure(
    metric: str, columns: Columns, line: tuple[str, str], group: str, own: Which, baselines: dict[str, Which]
) -> Figure:
    values, pictures = columns.value[own], columns.picture[own]
    beside = {name: mean_of(columns.value[which]) for name, which in baselines.items() if which.any()}
    low, high = over_pictures(values, pictures)
    random, centre, same = (beside.get(name, NAN) for name in ("random", "centre", "same"))
    return Figure(
        *(group, *line, metric, mean_of(values), low, high, random, centre, same, len(values)),
        ahead=above(columns, own, baselines.get("centre")),
        over_random=above(columns, own, baselines.get("random")),
        unmeasured=int(np.isnan(values).sum()),
        empty=_empty(columns, own),
    )


def _empty(columns: Columns, own: Which) -> int:
    """How many maps of some records have no positive cell."""
    return int(np.nansum(columns.told("empty")[own])) if columns.beside else 0


def above(columns: Columns, own: Which, other: Which | None) -> tuple[float, float, float] | None:
    """How far some records lie above others of the same asks: the mean difference and its interval over pictures."""
    here, difference = _differences(columns, own, other)
    if not len(here):
        return None
    return (mean_of(difference), *over_pictures(difference, columns.picture[here]))


def _differences(columns: Columns, own: Which, other: Which | None) -> tuple[NDArray[np.intp], Array]:
    """Which records have a counterpart among others, of the same ask, and how far they lie above it."""
    if other is None or not other.any():
        return np.zeros(0, np.intp), np.zeros(0)
    mine, theirs = (np.flatnonzero(which) for which in (own, other))
    asks = int(columns.ask.max(initial=0)) + 1
    ids = columns.picture.astype(np.int64) * asks + columns.ask
    if np.array_equal(ids[mine], ids[theirs]):  # of every ask both
        return mine, columns.value[mine] - columns.value[theirs]
    _, here, there = np.intersect1d(ids[mine], ids[theirs], return_indices=True)
    return mine[here], columns.value[mine[here]] - columns.value[theirs[there]]


def _macro(metric: str, columns: Columns, line: tuple[str, str], own: Which, baselines: dict[str, Which]) -> Figure:
    """The mean over groups, each counting alike, of a method, with its interval over pictures."""
    means = {
        name: _of_groups(columns, np.flatnonzero(which), columns.value[which])[0] for name, which in baselines.items()
    }
    random, centre, same = (means.get(name, NAN) for name in ("random", "centre", "same"))
    value, low, high = _of_groups(columns, np.flatnonzero(own), columns.value[own])
    ahead, over_random = (
        _of_groups(columns, *pairs) if len((pairs := _differences(columns, own, baselines.get(name)))[0]) else None
        for name in ("centre", "random")
    )
    count, unmeasured = int(own.sum()), int(np.isnan(columns.value[own]).sum())
    return Figure(
        *(MACRO, *line, metric, value, low, high, random, centre, same, count),
        ahead=ahead,
        over_random=over_random,
        unmeasured=unmeasured,
        empty=_empty(columns, own),
    )


def _of_groups(columns: Columns, which: NDArray[np.intp], values: Array) -> tuple[float, float, float]:
    """The mean over groups of the values of some records, and its interval over pictures."""
    known = ~np.isnan(values)
    if not known.any():
        return NAN, *NONE
    groups, (number, place) = columns.group[which][known], np.unique(columns.picture[which][known], return_inverse=True)
    times, found = drawn_pictures(len(number)), values[known]
    means, again = [], []
    with np.errstate(divide="ignore", invalid="ignore"):
        for group in np.unique(groups):
            of_group: Array = groups == group
            means.append(float(found[of_group].mean()))
            total = times @ np.bincount(place[of_group], found[of_group], len(number))
            again.append(total / (times @ np.bincount(place[of_group], None, len(number))))
    drawn = np.array(again)
    counted = ~np.isnan(drawn)
    low, high = np.percentile(np.where(counted, drawn, 0).sum(0) / np.maximum(counted.sum(0), 1), [2.5, 97.5])
    return float(np.mean(means)), float(low), float(high)
