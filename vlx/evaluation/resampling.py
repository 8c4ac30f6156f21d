"""Intervals by drawing pictures again: what is measured on one picture is not independent."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

DRAWS = 2000
Array = NDArray[Any]


def over_pictures(values: Array, pictures: Array, draws: int = DRAWS, seed: int = 0) -> tuple[float, float]:
    """The 95 % interval of the mean of N values, when the pictures that they are of are drawn with replacement.

    ``pictures`` [N] names the picture of each value. The same pictures are drawn for every set of values.

    >>> over_pictures(np.array([1.0, 1.0, 0.0]), np.array([0, 0, 1]))
    (0.0, 1.0)
    """
    number, place = np.unique(pictures, return_inverse=True)
    total, count = np.bincount(place, values, len(number)), np.bincount(place, minlength=len(number))
    drawn = np.random.default_rng(seed).integers(0, len(number), (draws, len(number)))
    low, high = np.percentile(total[drawn].sum(1) / count[drawn].sum(1), [2.5, 97.5])
    return float(low), float(high)
