"""95 % intervals: of shares, of means, and by drawing pictures again."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

DRAWS = 2000
Z = 1.96
Array = NDArray[Any]


def wilson(hits: float, count: int, z: float = Z) -> tuple[float, float]:
    """The 95 % interval of a share of ``hits`` among ``count`` (Wilson 1927).

    >>> wilson(8, 10)
    (0.4901624715073295, 0.9433178197165567)
    """
    if count == 0:
        return 0.0, 1.0
    share = hits / count
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * float(np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2)))
    return max(middle - half, 0.0), min(middle + half, 1.0)


def of_mean(values: Sequence[float] | Array) -> tuple[float, float]:
    """The 95 % interval of a mean: 1.96 standard errors to either side; NaN values are left out of both.

    >>> of_mean([1.0, 1.0])
    (1.0, 1.0)
    """
    mean, half = mean_of(values), Z * float(np.nanstd(values)) / max(len(values), 1) ** 0.5
    return mean - half, mean + half


def mean_of(values: Sequence[float] | Array) -> float:
    """The mean of what is not NaN; NaN of nothing."""
    known = np.asarray(values, np.float64)
    return float("nan") if not len(known) or np.isnan(known).all() else float(np.nanmean(known))


def over_pictures(values: Array, pictures: Array, draws: int = DRAWS, seed: int = 0) -> tuple[float, float]:
    """The 95 % interval of the mean of N values, when the pictures that they are of are drawn with replacement.

    What is measured on one picture is not independent. ``pictures`` [N] names the picture of each value. The same
    pictures are drawn for every set of values.

    >>> over_pictures(np.array([1.0, 1.0, 0.0]), np.array([0, 0, 1]))
    (0.0, 1.0)
    """
    number, place = np.unique(pictures, return_inverse=True)
    total, count = np.bincount(place, values, len(number)), np.bincount(place, minlength=len(number))
    drawn = np.random.default_rng(seed).integers(0, len(number), (draws, len(number)))
    low, high = np.percentile(total[drawn].sum(1) / count[drawn].sum(1), [2.5, 97.5])
    return float(low), float(high)
