"""Why a word was said: reasons from A, gradients and names of units (paper, section 7, for any word), marked."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from vlx.errors import InputError
from vlx.explanation.reasons import Because
from vlx.methods import engine
from vlx.methods.cams import METHODS, Weighting
from vlx.neuron_names.table import NeuronNames, require_fit
from vlx.probes.grouping import Array, Evidence, NamedUnits, explained, name_units, weighed
from vlx.probes.name_marks import name_marks
from vlx.probes.names_wish import NamesWish
from vlx.probes.probe import Context, Probe
from vlx.probes.unit_trials import tried
from vlx.protocol.targets import Target
from vlx.protocol.task import Features, Task


def reasons_for(
    task: Task,
    features: Features,
    targets: Sequence[Target],
    likely: Sequence[Target],
    maps: Array,
    method: Weighting,
    wish: NamesWish,
) -> list[Because]:
    """Why each of N targets: reasons from the names in the table that was wished for, with both their marks.

    ``features`` are those of one picture, ``likely`` the targets as log-probabilities, ``maps`` [N, h, w] their signed
    maps by ``method``; see `NamesWish` for how reasons are made. Marks are added where the wish says to check: whether
    the units matter (`vlx.probes.unit_trials`), whether names hold (`vlx.probes.name_marks`).

    Raises InputError for a table of other weights, another layer or another number of units.

    >>> reasons_for(task, features, targets, targets, maps, METHODS["gradcam"], NamesWish(table, rule="alpha"))
    """
    notes = require_fit(wish.table, task, features.layer, features.A.shape[1])
    named = name_units(wish.table, features.cells[0], wish.iou)
    said = evidence(task, features, targets, maps, method, wish.rule)
    made = [replace(because, notes=notes) for because in reasoned(said, named, wish.rule, marks=wish.check)]
    if not wish.check or not made:
        return made
    added = np.stack([one.contribution for one in said])
    return tried(task, features, likely, made, added, named.active, _values(wish.table, wish.off))


def evidence(
    task: Task,
    features: Features,
    targets: Sequence[Target],
    maps: Array,
    weighting: Weighting,
    rule: str = "contribution",
) -> list[Evidence]:
    """What each unit of A says to each of N targets, whatever its name; arguments as of `reasons_for`."""
    evidences: list[Evidence] = []
    for chunk in engine.chunks(features.A, targets):
        _, gradients = engine.gradients(task, features.A, chunk, features.rest)
        for target, gradient in zip(chunk, gradients, strict=True):
            signed = maps[len(evidences)]
            evidences.append(weighed(features.A[0], target, gradient, signed, weighting, rule, features.grid))
    return evidences


def reasoned(
    said: Sequence[Evidence], named: NamedUnits, rule: str = "contribution", *, marks: bool = True
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


# As a probe


def _run(context: Context) -> Sequence[Because | None]:
    """Why each target was said, in concepts, of those that were meant; a whole text has no reasons of its own."""
    wish, method, meant = context.options.naming, context.options.method, _meant(context)
    if wish is None or not meant:
        return [None] * len(context.asked)
    targets, maps = [context.targets[n] for n in meant], context.maps[meant]
    merged = context.prediction.pieces and any(len(target.terms) > 1 for target in targets)
    weighting = method.weighting or METHODS["hirescam"]
    if method.weighting is None or (merged and context.options.subwords != "sum"):  # its maps are not made of units
        features = context.features
        signed = engine.attribute(context.task, features.A, targets, weighting, features.rest).signed
        maps = features.grid.fold(signed).cpu().numpy()
    likely = [context.likely[n] for n in meant]
    reasons = reasons_for(context.task, context.features, targets, likely, maps, weighting, wish)
    if method.weighting is None:
        note = f"Shares are of the gradient × activation of units, not of the {method.name} map."
        reasons = [replace(one, shares_of=weighting.name, notes=(*one.notes, note)) for one in reasons]
    told = dict(zip(meant, reasons, strict=True))
    return [told.get(n) for n in range(len(context.asked))]


def _meant(context: Context) -> list[int]:
    """Which targets have reasons; see `vlx.probes.mapped_words`."""
    return [n for n, one in enumerate(context.asked) if one.with_reasons]


BECAUSE = Probe("because", lambda context: context.options.naming is not None, _run)
