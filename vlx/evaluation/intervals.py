"""95 % intervals by one rule: pictures are drawn again, with replacement, and the figure is taken of what was drawn."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

DRAWS = 1000
SEED = 0
FEW = 200  # pictures: what is drawn of them takes under 2 MB
Array = NDArray[Any]
Interval = tuple[float, float]
NONE: Interval = (float("nan"), float("nan"))


def wilson(hits: int, count: int) -> Interval:
    """The 95 % interval of a share of ``hits`` among ``count`` independent ones (Wilson 1927), as scipy has it.

    >>> wilson(8, 10)
    (0.49016247153664183, 0.9433178210156...)
    """
    from scipy.stats import binomtest

    if count == 0:
        return 0.0, 1.0
    found = binomtest(int(hits), count).proportion_ci(0.95, "wilson")
    return float(found.low), float(found.high)


def mean_of(values: Sequence[float] | Array) -> float:
    """The mean of what is not NaN; NaN of nothing."""
    known = np.asarray(values, np.float64)
    return float("nan") if not len(known) or np.isnan(known).all() else float(np.nanmean(known))


def drawn_pictures(count: int, draws: int = DRAWS, seed: int = SEED) -> NDArray[np.float64]:
    """How often each of ``count`` pictures is drawn, [draws, count]: as many as there are, with replacement."""
    return (_drawn_of_few if count <= FEW else _drawn_of_many)(count, draws, seed)


def _drawn(count: int, draws: int, seed: int) -> NDArray[np.float64]:
    drawn = np.random.default_rng(seed).integers(0, max(count, 1), (draws, count))
    times = np.empty((draws, count))
    for row, numbers in zip(times, drawn, strict=True):
        row[:] = np.bincount(numbers, minlength=count)
    times.setflags(write=False)
    return times


_drawn_of_few, _drawn_of_many = lru_cache(maxsize=64)(_drawn), lru_cache(maxsize=4)(_drawn)  # of groups there are many


def over_pictures(values: Array, pictures: Array, draws: int = DRAWS, seed: int = SEED) -> Interval:
    """The 95 % interval of the mean of N values, when the pictures that they are of are drawn with replacement.

    What is measured on one picture is not independent. ``pictures`` [N] names the picture of each value; NaN values are
    left out. The same pictures are drawn for every set of values of the same pictures.

    >>> over_pictures(np.array([1.0, 1.0, 0.0]), np.array([0, 0, 1]))
    (0.0, 1.0)
    """
    return resampled(lambda total, count: total / count, values, pictures, draws=draws, seed=seed)


def resampled(
    figure: Callable[[Array, Array], Array],
    values: Array,
    pictures: Array,
    counted: Array | None = None,
    *,
    draws: int = DRAWS,
    seed: int = SEED,
) -> Interval:
    """The 95 % interval of ``figure(total, count)``: sums of N values and of what is ``counted`` (by default 1 each).

    Both are taken of pictures drawn again, [draws] each: of a ratio of two means the numerators are the values and the
    denominators what is counted. NaN where nothing is known.
    """
    known = ~np.isnan(values) if counted is None else ~(np.isnan(values) | np.isnan(counted))
    if not known.any():
        return NONE
    number, place = np.unique(pictures[known], return_inverse=True)
    times = drawn_pictures(len(number), draws, seed)
    totals = np.bincount(place, values[known], len(number))
    counts = np.bincount(place, None if counted is None else counted[known], len(number))
    with np.errstate(divide="ignore", invalid="ignore"):
        again = figure(times @ totals, times @ counts)
    again = again[np.isfinite(again)]
    if not len(again):
        return NONE
    low, high = np.percentile(again, [2.5, 97.5])
    return float(low), float(high)


def of_statistic(
    statistic: Callable[[NDArray[np.intp]], float], pictures: Array, *, draws: int = DRAWS, seed: int = SEED
) -> Interval:
    """The 95 % interval of any figure of N records, ``statistic(numbers)`` of those that were drawn, by pictures.

    For what is no sum: areas under curves, medians, correlations. Slower than `resampled`.
    """
    number, place = np.unique(pictures, return_inverse=True)
    if not len(number):
        return NONE
    order = np.argsort(place, kind="stable")
    edges = np.searchsorted(place[order], np.arange(len(number) + 1))
    own = [order[edges[n] : edges[n + 1]] for n in range(len(number))]
    rng = np.random.default_rng(seed)
    drawn = (rng.integers(0, len(number), len(number)) for _ in range(draws))
    found = np.array([statistic(np.concatenate([own[n] for n in one])) for one in drawn])
    found = found[np.isfinite(found)]
    if not len(found):
        return NONE
    low, high = np.percentile(found, [2.5, 97.5])
    return float(low), float(high)
