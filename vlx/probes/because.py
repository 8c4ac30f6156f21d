"""Why a word was said: reasons from A, gradients and names of units (paper, section 7, for any word), marked."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from vlx.errors import InputError
from vlx.explanation.reasons import Because
from vlx.methods import engine
from vlx.methods.cams import Weighting
from vlx.neuron_names.table import NeuronNames, require_fit
from vlx.probes.grouping import Array, Evidence, Named, explained, name_units, weighed
from vlx.probes.name_marks import name_marks
from vlx.probes.unit_trials import tried
from vlx.protocol.targets import Target
from vlx.protocol.task import Features, Task


def becauses(
    task: Task,
    features: Features,
    targets: Sequence[Target],
    likely: Sequence[Target],
    maps: Array,
    weighting: Weighting,
    table: NeuronNames,
    *,
    rule: str = "contribution",
    iou: float = 0.04,
    check: bool = True,
    off: str = "zero",
) -> list[Because]:
    """Why each of N targets: reasons from the names in ``table``, with both their marks.

    ``features`` are those of one picture, ``likely`` the targets as log-probabilities, ``maps`` [N, h, w] their signed
    maps by ``weighting``. A unit counts as named where its IoU lies above ``iou``, or, of names from captions, its
    AUC above `DETECTOR_AUC`. ``rule``: "contribution" weighs units
    by Σ over cells of gradient × activation, "pooled" by α · Σ activation (the same where the gradient is the same in
    all cells); "alpha" takes the 5 with the highest and the 5 with the lowest α, as the paper does.
    ``off`` is what units are switched to: 0, or their mean over the pictures that the table was made from.
    ``check`` adds the marks: whether the units matter (`vlx.probes.unit_trials`), whether names hold
    (`vlx.probes.name_marks`).

    Raises InputError for a table of other weights, another layer or another number of units.
    """
    notes = require_fit(table, task, features.layer, features.A.shape[1])
    named = name_units(table, features.A[0], iou)
    said = evidence(task, features, targets, maps, weighting, rule)
    found = [replace(because, notes=notes) for because in reasoned(said, named, rule, marks=check)]
    if not check or not found:
        return found
    added = np.stack([one.contribution for one in said])
    return tried(task, features, likely, found, added, named.active, _values(table, off))


def evidence(
    task: Task,
    features: Features,
    targets: Sequence[Target],
    maps: Array,
    weighting: Weighting,
    rule: str = "contribution",
) -> list[Evidence]:
    """What each unit of A says to each of N targets, whatever its name; arguments as of `becauses`."""
    found: list[Evidence] = []
    for chunk in engine.chunks(features.A, targets):
        _, gradients = engine.gradients(task, features.A, chunk, features.rest)
        for target, gradient in zip(chunk, gradients, strict=True):
            found.append(weighed(features.A[0], target, gradient, maps[len(found)], weighting, rule))
    return found


def reasoned(
    said: Sequence[Evidence], named: Named, rule: str = "contribution", *, marks: bool = True
) -> list[Because]:
    """The reasons for each target by the names given, not tried; with ``marks`` their names are tested."""
    tested: list[dict[str, float]] = [{} for _ in said]
    if marks and said:
        names = [None if name is None else name.concept for name in named.names]
        tested = name_marks(names, np.stack([one.contribution for one in said]), named.active)
    return [explained(one, named, rule, p) for one, p in zip(said, tested, strict=True)]


def _values(table: NeuronNames, off: str) -> Tensor | None:
    if off == "zero":
        return None
    means = table.means
    if not len(means):
        raise InputError("this table does not hold the units' mean activations; switch units off to 'zero'")
    return torch.from_numpy(means)
