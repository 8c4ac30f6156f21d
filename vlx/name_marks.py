"""Does a name hold together? Its units against randomly named ones, by permuting the names over all units."""

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

PERMUTATIONS = 500
LEVEL = 0.05  # the highest p at which a name is marked
SEED = 0
FEW = 2  # active units that speak for a word: with fewer a name cannot be tested
ROUNDING = 1e-9  # by which equal sums may differ
CHUNK = 2**20  # figures that are gathered at once

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
    groups = {name: sum(other == name for other in names) for name in dict.fromkeys(names) if name is not None}
    groups = {name: count for name, count in groups.items() if count >= FEW}
    v = np.sqrt(np.where(active, contribution, 0.0).clip(min=0))
    if not groups or not len(v):
        return [{} for _ in v]
    observed, highest = _z(names, groups, v)
    p = (1 + (highest[:, :, None] >= observed[None] - ROUNDING).sum(0)) / (PERMUTATIONS + 1)
    return [
        {name: float(p[n, g]) for g, name in enumerate(groups) if np.isfinite(observed[n, g])} for n in range(len(v))
    ]


def _z(names: Sequence[str | None], groups: Mapping[str, int], v: Array) -> tuple[Array, Array]:
    """z of each target and name as the names stand, [N, G], and the largest under each permutation, [P, N]."""
    owners = [[unit for unit, name in enumerate(names) if name == one] for one in groups]
    places = np.concatenate(owners)
    starts = np.cumsum([0, *(len(own) for own in owners)])[:-1]
    orders = np.concatenate([np.arange(len(names))[None], _permutations(len(names))])[:, places]
    both = np.concatenate([v, v > 0]).T  # [K, 2 N]: sums and counts are gathered together
    size = max(CHUNK // (len(places) * both.shape[1]), 1)
    found = [
        _standardised(np.add.reduceat(both[orders[first : first + size]], starts, 1), v, np.array([*groups.values()]))
        for first in range(0, len(orders), size)
    ]
    return found[0][0].T, np.concatenate([z.max(1) for z in found])[1:]


def _standardised(sums: Array, v: Array, n: NDArray[np.int_]) -> Array:
    """Sums and counts [P, G, 2 N] of ``n`` [G] units each → z [P, G, N]; −∞ where a name cannot be tested."""
    K, N = v.shape[1], len(v)
    mean, spread = v.mean(1), v.std(1)
    scale = np.sqrt(n * (1 - n / K) * K / (K - 1))[:, None] * spread
    tested = (sums[..., N:] >= FEW) & (scale > 0)
    return np.where(tested, (sums[..., :N] - n[:, None] * mean) / np.where(scale > 0, scale, 1.0), -np.inf)


@lru_cache(maxsize=4)
def _permutations(units: int) -> NDArray[np.intp]:
    """The same ones each time, [500, K]."""
    return np.random.default_rng(SEED).permuted(np.tile(np.arange(units), (PERMUTATIONS, 1)), axis=1)
