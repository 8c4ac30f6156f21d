"""Which word a unit's highest activation tells best: areas under ROC curves, exact, with ties (Mann and Whitney 1947).

Sizes: N pictures, K units, C concepts, F folds. ``peaks`` [N, K] are the units' highest activations over each picture,
``has`` bool [N, C] whether the picture has the concept.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vlx.data.concepts import Concept
from vlx.neuron_names.table.names import UnitName

PERMUTATIONS = 199
SEED = 0
ROUNDING = 1e-4  # by which equal areas may differ: permuted ones are summed in float32
CHANCE_QUANTILE = 0.95  # of permutations, in which no word's AUC lies higher
AT_ONCE = 64  # concepts whose columns are held as numbers at once

Floats = NDArray[np.floating]
Counts = NDArray[np.int64]
Flags = NDArray[np.bool_]


def double_ranks(peaks: Floats) -> Counts:
    """Twice the rank from 1 of each value in its column, ties sharing the mean rank: whole numbers [N, K].

    >>> double_ranks(np.array([[0.0], [3.0], [0.0]])).ravel()
    array([3, 6, 3])
    """
    order = peaks.argsort(0, kind="stable")
    values = np.take_along_axis(peaks, order, 0)
    places = np.arange(len(peaks))[:, None]
    edge = np.ones((1, peaks.shape[1]), bool)
    new = np.concatenate([edge, values[1:] != values[:-1]])
    first = np.maximum.accumulate(np.where(new, places, 0), 0)
    ends = np.concatenate([new[1:], edge])
    last = np.minimum.accumulate(np.where(ends, places, len(peaks))[::-1], 0)[::-1]
    ranks = np.empty(peaks.shape, np.int64)
    np.put_along_axis(ranks, order, first + last + 2, 0)
    return ranks


def areas(peaks: Floats, has: Flags) -> NDArray[np.float64]:
    """The AUC of every unit for every concept, [K, C]: P(peak with > peak without) + half of P(equal); nan where all
    pictures or none have the concept.

    >>> areas(np.array([[0.0], [3.0], [0.0]]), np.array([[False], [True], [True]]))
    array([[0.75]])
    """
    ranks = double_ranks(peaks).astype(np.float64).T  # whole numbers, and so are the sums: exact below 2 ** 53
    auc = np.empty((peaks.shape[1], has.shape[1]))
    for first in range(0, has.shape[1], AT_ONCE):
        columns = has[:, first : first + AT_ONCE]
        with_, without = columns.sum(0), len(columns) - columns.sum(0)
        doubled = ranks @ columns.astype(np.float64) - with_ * (with_ + 1)
        with np.errstate(invalid="ignore", divide="ignore"):
            auc[:, first : first + AT_ONCE] = doubled / (2.0 * with_ * without)
    return auc


def spread(peaks: Floats, has: Flags) -> NDArray[np.float64]:
    """The standard deviation [K, C] that an AUC has when pictures are permuted, ties counted; 0 for a constant unit."""
    ranks = double_ranks(peaks) - (len(peaks) + 1)
    squares = (ranks.astype(np.float64) ** 2).sum(0) / 4
    with_ = has.sum(0).astype(np.float64)
    N = len(peaks)
    return np.asarray(np.sqrt(squares[:, None] / (N * (N - 1.0) * with_ * (N - with_))))


def highest_by_chance(peaks: Floats, has: Flags, permutations: int = PERMUTATIONS) -> NDArray[np.float64]:
    """How many of its `spread` the best concept's AUC lies above ½ when pictures are permuted, [P, K].

    Pictures are permuted, so that concepts keep their company, and units theirs.
    """
    N = len(peaks)
    ranks = (double_ranks(peaks) - (N + 1)).astype(np.float32)
    scale = np.sqrt((ranks.astype(np.float64) ** 2).sum(0))
    ranks = (ranks / np.where(scale > 0, scale, 1.0)).astype(np.float32)
    with_ = has.sum(0).astype(np.float64)
    columns = has.astype(np.float32) / np.sqrt(with_ * (N - with_) / (N * (N - 1.0))).astype(np.float32)
    random = np.random.default_rng(SEED)
    orders = (random.permutation(N) for _ in range(permutations))
    return np.stack([(ranks[order].T @ columns).max(1) for order in orders]).astype(np.float64)


@dataclass(frozen=True, eq=False)
class NamedByCaptions:
    """Every unit's best name of each category, best first, and how names were told from chance.

    ``chance`` [K] is how many of its `spread` the best of all words lies above ½ in 95 % of permutations.
    """

    listed: tuple[tuple[UnitName, ...], ...]
    chance: NDArray[np.float64]


def named(peaks: Floats, has: Flags, concepts: Sequence[Concept], fold: NDArray[np.integer]) -> NamedByCaptions:
    """The concept of each category that every unit's peak tells best, with the runner-up, the error and p.

    A concept's score is its AUC less what the best of all concepts reaches in 95 % of permutations of the pictures:
    among hundreds of words one of few pictures has a high AUC by chance. ``fold`` [N] is each picture's, for the error.
    Concepts that all pictures or none of a part have must be left out before.
    """
    categories = list(dict.fromkeys(concept.category for concept in concepts))
    groups = [np.array([n for n, one in enumerate(concepts) if one.category == name], np.intp) for name in categories]
    auc, width = areas(peaks, has), spread(peaks, has)
    highest = highest_by_chance(peaks, has)
    chance = np.quantile(highest, CHANCE_QUANTILE, axis=0)
    score = auc - 0.5 - chance[:, None] * width
    left = [np.asarray(fold != one) for one in np.unique(fold)]
    parts = np.stack([areas(peaks[kept], has[kept]) for kept in left]) if len(left) > 1 else auc[None]
    word_scores = _WordScores(auc, score, width, parts, highest, chance)
    units: list[list[UnitName]] = [[] for _ in range(peaks.shape[1])]
    for members in groups:
        for unit, name in enumerate(word_scores.best(members, concepts)):
            units[unit] += [name] if name.auc > 0.5 else []
    for unit, names in enumerate(units):
        places = [concepts.index(Concept(name.concept, name.category)) for name in names]
        units[unit] = [
            replace(name, threshold=dividing(peaks[:, unit], has[:, place]))
            for name, place in zip(names, places, strict=True)
        ]
    return NamedByCaptions(tuple(tuple(sorted(names, key=_rank)) for names in units), chance)


def _rank(name: UnitName) -> tuple[float, bool]:
    """Best score first; a kind, which any word of it tells, behind the word itself where both are as good."""
    return -name.score, name.category == "kind"


@dataclass(frozen=True, eq=False)
class _WordScores:
    """What is known of all concepts, arrays [K, C] but for ``parts`` [F, K, C] and ``highest`` [P, K]."""

    auc: Floats
    score: Floats
    width: Floats
    parts: Floats
    highest: Floats
    chance: Floats

    def best(self, members: NDArray[np.intp], concepts: Sequence[Concept]) -> Iterator[UnitName]:
        """Every unit's best of the concepts ``members``."""
        folds = len(self.parts)
        left = (self.parts[:, :, members] - self.chance[:, None] * self.width[:, members]).argmax(2)
        for unit, order in enumerate(self.score[:, members].argsort(1, kind="stable")[:, ::-1]):
            place = members[order[0]]
            second = concepts[members[order[1]]].name if len(order) > 1 else ""
            width = self.width[unit, place]
            z = (self.auc[unit, place] - 0.5) / width if width > 0 else 0.0
            jackknife = self.parts[:, unit, place]
            error = float(np.sqrt((folds - 1) / folds * ((jackknife - jackknife.mean()) ** 2).sum()))
            yield UnitName(
                unit,
                concepts[place].name,
                concepts[place].category,
                score=float(self.score[unit, place]),
                error=error if folds > 1 else None,
                wins=int((left[:, unit] == order[0]).sum()) if folds > 1 else None,
                folds=folds if folds > 1 else None,
                auc=float(self.auc[unit, place]),
                p=float((1 + (self.highest[:, unit] >= z - ROUNDING).sum()) / (1 + len(self.highest))),
                runner_up=second,
                runner_up_auc=float(self.auc[unit, members[order[1]]]) if len(order) > 1 else float("nan"),
            )


def dividing(peaks: Floats, has: Flags) -> float:
    """The value above which a peak speaks for the concept: most of those with it lie above, of those without below.

    It makes the sum of both shares largest (Youden's index), and lies at a peak that is itself not above.
    """
    order = peaks.argsort(kind="stable")[::-1]
    values, there = peaks[order], has[order]
    index = there.cumsum() / max(int(there.sum()), 1) - (~there).cumsum() / max(int((~there).sum()), 1)
    ends = np.flatnonzero(values[:-1] != values[1:])  # a threshold lies between two values that differ
    if not len(ends):
        return float(values[0])
    return float(values[ends[index[ends].argmax()] + 1])
