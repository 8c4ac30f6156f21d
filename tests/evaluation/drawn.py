"""Intervals by hand: pictures are drawn again a thousand times, with everything that was measured on each."""

from collections.abc import Sequence

import numpy as np


def interval(values: Sequence[float], pictures: Sequence[int]) -> tuple[float, float]:
    """The 95 % interval of the mean; NaN values are no values."""
    known = [(value, picture) for value, picture in zip(values, pictures, strict=True) if value == value]
    names = sorted({picture for _, picture in known})
    of = {name: [value for value, picture in known if picture == name] for name in names}
    rng, means = np.random.default_rng(0), []
    for row in rng.integers(0, len(names), (1000, len(names))):
        own = [value for number in row for value in of[names[number]]]
        means.append(sum(own) / len(own))
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)
