"""Names given to the wrong units: what reasons by chance look like, a baseline for everything said with names."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vlx.errors import InputError
from vlx.neuron_names.table.names import NeuronNames


def permuted(table: NeuronNames, order: Sequence[int] | np.ndarray[tuple[int], np.dtype[np.int_]]) -> NeuronNames:
    """The same names on other units: unit k has the names of unit ``order[k]``, and keeps its own threshold.

    ``order`` [K] holds each unit once; raises InputError otherwise. The table still says which model it is for, as a
    baseline is to be used with it, and that its names are permuted.

    >>> wrong = permuted(names, np.random.default_rng(0).permutation(len(names)))
    """
    numbers = [int(unit) for unit in order]
    if sorted(numbers) != list(range(len(table))):
        raise InputError(f"order must hold each of the units 0 to {len(table) - 1} once, it has {len(numbers)} numbers")
    listed = tuple(
        tuple(replace(name, unit=unit, threshold=table[unit].threshold) for name in table.candidates(other))
        for unit, other in enumerate(numbers)
    )
    about = {**table.about, "source": "names permuted over units: a baseline, not a table of names"}
    return NeuronNames(listed, about, categories=table.categories, activity=table.activity)
