"""Tests of an audit: one-sided, within strata, over pictures, and corrected for how many there are.

None chooses what it compares by how an answer came out. A wrong answer is one whose evidence happened to be high: of
any model with noise there is more evidence where it errs than where it does not. Pictures and strata go by numbers
from 0.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vlx.evaluation.intervals import NONE, Interval

Values = NDArray[np.float64]
Which = NDArray[np.bool_]
Numbers = NDArray[np.intp]
NAN = float("nan")


class Tested(NamedTuple):
    """An effect: the mean ``first`` less the mean ``second``, its standard error, and the one-sided p of none.

    ``pictures`` are behind the side that has fewer. NaN where nothing can be said.
    """

    first: float = NAN
    second: float = NAN
    error: float = NAN
    p: float = NAN
    pictures: int = 0

    @property
    def effect(self) -> float:
        """How far the first lies above the second."""
        return self.first - self.second

    @property
    def interval(self) -> Interval:
        """Its 95 % interval, by Student's t."""
        from scipy.stats import t

        if self.pictures < 2:
            return NONE
        half = float(t.ppf(0.975, self.pictures - 1)) * self.error
        return self.effect - half, self.effect + half


def holm(p: Values) -> Values:
    """Adjusted p of N tests by Holm (1979): what is at most α holds at a chance of at most α that any is false.

    NaN is no test; it stays and is not counted.

    >>> holm(np.array([0.01, 0.04, 0.03]))
    array([0.03, 0.06, 0.06])
    """
    adjusted = np.full(len(p), NAN)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)), 1.0)
    return adjusted


def more_often(there: Which, said: Which, strata: Numbers, pictures: Numbers) -> float:
    """The p of N rows being ``said`` no more often where something is ``there`` than where it is not, in all strata.

    Exact, conditional on how often each happens in each of the ``strata``: of one stratum it is Fisher's exact test,
    one-sided. Rows of the same picture are not independent: where a picture has several, p is the larger of this and
    that of a score test which takes its variance over pictures. NaN where no stratum has both.

    >>> rows = np.arange(8)
    >>> more_often(rows < 4, rows < 4, np.zeros(8, int), rows)  # 1 of the 70 ways in which it can fall
    0.014285714285714285
    """
    cells = [np.bincount(strata, which) for which in (np.ones(len(strata)), there, said, there & said)]
    counts, having, saying, both = (cell.astype(int) for cell in cells)
    mixed = (having > 0) & (having < counts) & (saying > 0) & (saying < counts)
    if not mixed.any():
        return NAN
    lowest, chances = 0, np.ones(1)
    for margins in zip(counts[mixed].tolist(), having[mixed].tolist(), saying[mixed].tolist(), strict=True):
        least, pmf = _hypergeometric(*margins)
        lowest, chances = lowest + least, np.convolve(chances, pmf)
    exact = min(float(chances[int(both[mixed].sum()) - lowest :].sum()), 1.0)
    return exact if count(pictures) == len(pictures) else max(exact, _by_picture(there, said, strata, pictures))


def _hypergeometric(total: int, having: int, saying: int) -> tuple[int, Values]:
    """The fewest rows that can be both, and the chance of each number from there up."""
    from scipy.stats import hypergeom

    least, most = max(0, having + saying - total), min(having, saying)
    return least, np.asarray(hypergeom.pmf(np.arange(least, most + 1), total, having, saying))


def _by_picture(there: Which, said: Which, strata: Numbers, pictures: Numbers) -> float:
    """The p of a score test whose variance is taken over pictures."""
    from scipy.stats import norm

    size = np.maximum(np.bincount(strata), 1)
    centred = [which - (np.bincount(strata, which) / size)[strata] for which in (there, said)]
    scores = np.bincount(pictures, centred[0] * centred[1])
    spread = float(np.sqrt((scores**2).sum()))
    return float(norm.sf(scores.sum() / spread)) if spread > 0 else 1.0


def above(values: Values, others: Values, strata: Numbers, pictures: Numbers) -> Tested:
    """How far the mean of N ``values`` lies above that of N ``others``, compared within strata, one-sided.

    NaN is not there: a row may have one of the two, or both. Strata weigh by how many rows both have in them, as in
    Mantel and Haenszel (1959). The error is taken over pictures, p by Student's t.

    >>> above(np.array([2.0, 3.0, 4.0]), np.array([0.0, 1.0, 1.0]), np.zeros(3, int), np.arange(3)).effect
    2.333…
    """
    known = [~np.isnan(side) for side in (values, others)]
    sides = [np.where(which, side, 0.0) for which, side in zip(known, (values, others), strict=True)]
    counts = [np.bincount(strata, which) for which in known]
    weight = counts[0] * counts[1] / np.maximum(counts[0] + counts[1], 1)
    if not weight.sum():
        return Tested()
    weight /= weight.sum()
    means = [np.bincount(strata, side) / np.maximum(rows, 1) for side, rows in zip(sides, counts, strict=True)]
    influence = [
        np.where(which, (weight / np.maximum(rows, 1))[strata] * (side - mean[strata]), 0.0)
        for which, rows, side, mean in zip(known, counts, sides, means, strict=True)
    ]
    compared = (weight > 0)[strata]
    fewer = min(count(pictures[which & compared]) for which in known)
    first, second = (float((weight * mean).sum()) for mean in means)
    return _tested(first, second, influence[0] - influence[1], fewer, pictures)


def above_nothing(values: Values, pictures: Numbers) -> Tested:
    """How far the mean of N ``values`` lies above 0, one-sided; NaN is left out.

    >>> above_nothing(np.array([1.0, 2.0, 3.0]), np.arange(3)).effect
    2.0
    """
    known = ~np.isnan(values)
    if not known.any():
        return Tested()
    mean = float(values[known].mean())
    influence = np.where(known, (values - mean) / known.sum(), 0.0)
    return _tested(mean, 0.0, influence, count(pictures[known]), pictures)


def _tested(first: float, second: float, influence: Values, fewer: int, pictures: Numbers) -> Tested:
    """An effect with the error that each picture's influence on it gives."""
    from scipy.stats import t

    if fewer < 2:
        return Tested(first, second, pictures=fewer)
    squares = float((np.bincount(pictures, influence) ** 2).sum())
    error, effect = (squares * fewer / (fewer - 1)) ** 0.5, first - second
    if error <= 1e-9 * abs(effect):  # the same on every picture
        return Tested(first, second, 0.0, float(effect <= 0), fewer)
    return Tested(first, second, error, float(t.sf(effect / error, fewer - 1)) if error else 1.0, fewer)


def parting(values: Values) -> float:
    """The number that parts some values into two lots that are most alike in themselves (Otsu 1979).

    Halfway between two of them; the smallest of them where all are the same, or none.

    >>> parting(np.array([0.1, 0.9, 0.2, 0.8]))
    0.5
    """
    ordered = np.sort(values)
    steps = np.flatnonzero(np.diff(ordered) > 0) + 1
    if not len(steps):
        return float(ordered[0]) if len(ordered) else 0.0
    sums = ordered.cumsum()[steps - 1]
    apart = (ordered.sum() - sums) / (len(ordered) - steps) - sums / steps
    first = int(steps[np.argmax(steps * (len(ordered) - steps) * apart**2)])
    return float(ordered[first - 1] + ordered[first]) / 2


def more_than_half(hits: Which, pictures: Numbers) -> float:
    """The exact p of a share of ``hits`` of half or less: small where it is larger; NaN of none.

    A picture with several rows counts once, as most of them are; one with as many of both does not count.

    >>> more_than_half(np.ones(5, bool), np.arange(5))
    0.03125
    """
    from scipy.stats import binomtest

    answers = np.bincount(pictures)
    shares = np.bincount(pictures, hits)[answers > 0] / answers[answers > 0]
    shares = shares[shares != 0.5]
    return float(binomtest(int((shares > 0.5).sum()), len(shares), 0.5, "greater").pvalue) if len(shares) else NAN


def count(pictures: Numbers) -> int:
    """How many pictures there are among those of some rows."""
    return int(np.count_nonzero(np.bincount(pictures)))
