"""Does a name hold together? Its units against randomly named ones, by permuting the names over all units."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

PERMUTATIONS = 500
LEVEL = 0.05  # the highest p at which a name is marked
SEED = 0
FEW = 2  # active units that speak for a word: with fewer a name cannot be tested
ROUNDING = 1e-9  # by which equal sums may differ
ROWS = 20  # permutations that are summed at once

Array = NDArray[np.float64]


def name_marks(names: Sequence[str | None], contribution: Array, active: NDArray[np.bool_]) -> list[dict[str, float]]:
    """For each of N targets the p-value of every name that can be tested: do its units act together for the target?

    ``names`` [K] are the units' (None for none), ``contribution`` [N, K] what units add to the targets, ``active`` [K]
    whether they are on. With v_k = √max(c_k, 0), 0 where unit k is silent, a name of n units has
    z = (Σ v − n · mean v) / (sd v · √(n (1 − n/K) K/(K−1))): its units' sum beside that of n units drawn at random.
    Names are permuted over all K units 500 times; p = (1 + the number of times that the largest z* of any name reaches
    z) / 501, so that it holds for all names of a target at once. A name of fewer than two active units that speak for
    the target cannot be tested and is left out, in the data and under permutation.

    It tests the grouping, not the label: were all names swapped between groups, p would be the same.

    >>> name_marks(["sky"] * 8 + [None] * 56, np.repeat([[1.0, 0.0]], 1, 0).repeat([8, 56], 1), np.ones(64, bool))
    [{'sky': 0.001996007984031936}]
    """
    groups = _groups(tuple(names))
    if not groups:
        return [{} for _ in contribution]
    orders = _orders(tuple(groups.values()), len(names))
    v = np.sqrt(np.where(active, contribution, 0.0).clip(min=0))
    return [
        {name: p for name, p in zip(groups, orders.p(one, sums).tolist(), strict=True) if p == p}  # NaN: not tested
        for one, sums in zip(v, orders.sums(v), strict=True)
    ]


def _groups(names: Sequence[str | None]) -> dict[str, tuple[int, ...]]:
    """The units of every name that has enough of them."""
    places: dict[str, list[int]] = {}
    for unit, name in enumerate(names):
        if name is not None:
            places.setdefault(name, []).append(unit)
    return {name: tuple(units) for name, units in places.items() if len(units) >= FEW}


@dataclass(frozen=True, eq=False)
class _Orders:
    """Where names are: ``units`` [1 + P, S] are the named units in the order of the names, as they stand and permuted.

    The n-th of G names has the ``sizes[n]`` columns from ``starts[n]`` on; ``columns`` [G, largest] are those, and S
    beyond them: no unit.
    """

    units: NDArray[np.intp]
    sizes: NDArray[np.intp]
    starts: NDArray[np.intp]
    columns: NDArray[np.intp]

    def sums(self, v: Array) -> Array:
        """Sums over each name's units of N targets' ``v`` [N, K], as names stand and permuted, [N, 1 + P, G]."""
        by_unit = np.ascontiguousarray(v.T)
        parts = [
            np.add.reduceat(by_unit.take(self.units[first : first + ROWS], 0), self.starts, 1)
            for first in range(0, len(self.units), ROWS)
        ]
        return np.ascontiguousarray(np.concatenate(parts).transpose(2, 0, 1))

    def p(self, v: Array, sums: Array) -> Array:
        """p of each name for one target with ``v`` [K], NaN where it cannot be tested."""
        K, n = len(v), self.sizes
        scale = np.sqrt(n * (1 - n / K) * K / (K - 1)) * v.std()
        if not (scale > 0).all():
            return np.full(len(n), np.nan)
        z = (sums - n * v.mean()) / scale
        observed, speaking = z[0].copy(), self._speaking(v, np.zeros(len(n), int), np.arange(len(n)))
        highest = self._highest(z, v)[1:]
        p = (1 + (highest[:, None] >= observed - ROUNDING).sum(0)) / (PERMUTATIONS + 1)
        return np.where(speaking >= FEW, p, np.nan)

    def _highest(self, z: Array, v: Array) -> Array:
        """The largest z of each row of names that can be tested; those that cannot are looked for at the top only."""
        best, left = np.full(len(z), -np.inf), np.arange(len(z))
        while len(left):
            top = z[left].argmax(1)
            value = z[left, top]
            fine = (self._speaking(v, left, top) >= FEW) | ~np.isfinite(value)
            best[left[fine]] = value[fine]
            z[left, top] = -np.inf
            left = left[~fine]
        return best

    def _speaking(self, v: Array, rows: NDArray[np.intp], names: NDArray[np.intp]) -> NDArray[np.intp]:
        """How many units of a name, one in each of the rows, speak for the target."""
        columns = self.columns[names]
        there = columns < self.units.shape[1]
        values = v[self.units[rows[:, None], np.where(there, columns, 0)]]
        return np.asarray((there & (values > 0)).sum(1))


@lru_cache(maxsize=4)
def _orders(groups: tuple[tuple[int, ...], ...], K: int) -> _Orders:
    """The names as they stand among K units, and under the same 500 permutations each time."""
    sizes = np.array([len(units) for units in groups])
    starts, within = sizes.cumsum() - sizes, np.arange(sizes.max())
    columns = np.where(within < sizes[:, None], starts[:, None] + within, sizes.sum())
    permutations = np.random.default_rng(SEED).permuted(np.tile(np.arange(K), (PERMUTATIONS, 1)), axis=1)
    places = np.concatenate([np.array(units) for units in groups])
    return _Orders(np.concatenate([places[None], permutations[:, places]]), sizes, starts, columns)
