"""How far people agree, and what a mean over people and pictures is worth."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlx.evaluation.intervals import DRAWS, NONE, Interval, drawn_pictures

Array = NDArray[np.float64]
NAN = float("nan")
LEVEL = 0.95
SEEDS = (1, 2)  # of the draws of people and of pictures


def fleiss_kappa(counts: ArrayLike) -> float:
    """Fleiss' κ (1971) of N things that were put into C classes: ``counts`` [N, C] says by how many people each.

    Things may have been seen by different numbers of people: each counts with its share of pairs that agree, as of
    Fleiss where all have the same. NaN where nobody saw what another saw, and where all chose one class: then there is
    nothing to agree on by chance.

    >>> fleiss_kappa([[3, 0], [0, 3]])
    1.0
    """
    table = np.asarray(counts, np.float64)
    seen = table.sum(1)
    table, seen = table[seen >= 2], seen[seen >= 2]
    if not len(table):
        return NAN
    agreed = (((table**2).sum(1) - seen) / (seen * (seen - 1))).mean()
    shares = table.sum(0) / seen.sum()
    by_chance = float((shares**2).sum())
    return NAN if by_chance > 1 - 1e-12 else float((agreed - by_chance) / (1 - by_chance))


@dataclass(frozen=True, eq=False)
class Ratings:
    """N ratings: the ``values`` [N], who gave each (``people`` [N]), of which picture (``pictures`` [N]).

    People and pictures are numbers from 0.
    """

    values: Array
    people: NDArray[np.intp]
    pictures: NDArray[np.intp]

    @property
    def mean(self) -> float:
        """The mean of what is known; NaN of nothing."""
        known = self.values[~np.isnan(self.values)]
        return float(known.mean()) if len(known) else NAN

    @property
    def independent(self) -> int:
        """How many ratings are independent at least: as many as people or pictures, whichever are fewer."""
        people, pictures = len(np.unique(self.people)), len(np.unique(self.pictures))
        return pictures if people == 1 else min(people, pictures)

    def where(self, chosen: NDArray[np.bool_]) -> "Ratings":
        """Some of them."""
        return Ratings(self.values[chosen], self.people[chosen], self.pictures[chosen])


class TwoWays:
    """People and pictures drawn again, with replacement and apart from each other: what is common to both stays paired.

    A rating counts as often as its person times its picture was drawn (the pigeonhole bootstrap, Owen 2007, which errs
    on the wide side). The draws are the same for all ratings by the same people of the same pictures.
    """

    def __init__(self, people: int, pictures: int, draws: int = DRAWS) -> None:
        self._people = drawn_pictures(people, draws, SEEDS[0])
        self._pictures = drawn_pictures(pictures, draws, SEEDS[1])

    def means(self, ratings: Ratings) -> Array:
        """The mean of ratings in every draw, [draws]; NaN where none of them was drawn."""
        known = ratings.where(~np.isnan(ratings.values))
        shape = (self._people.shape[1], self._pictures.shape[1])
        totals, counts = np.zeros(shape), np.zeros(shape)
        np.add.at(totals, (known.people, known.pictures), known.values)
        np.add.at(counts, (known.people, known.pictures), 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            means: Array = self._summed(totals) / self._summed(counts)
        return means

    def _summed(self, table: Array) -> Array:
        return np.asarray(((self._people @ table) * self._pictures).sum(1))


def interval(means: Array, among: int = 1) -> Interval:
    """The 95 % interval of what was drawn, wide enough that ``among`` such intervals hold together (Bonferroni).

    None where all that was drawn is equal: of answers that do not differ nothing tells how others would.
    """
    known = means[np.isfinite(means)]
    if not len(known) or np.ptp(known) < 1e-12:
        return NONE
    tail = 100 * (1 - LEVEL) / 2 / max(among, 1)
    low, high = np.percentile(known, [tail, 100 - tail])
    return float(low), float(high)
