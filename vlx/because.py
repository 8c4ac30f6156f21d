"""From A, gradients and the names of units to reasons, and an experiment on each (paper, section 7, for any word)."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlx import engine
from vlx.ablation import log_odds, random_sets, switched_off
from vlx.errors import InputError
from vlx.neuron_names import formats, tables
from vlx.neuron_names.table import NeuronNames, UnitName, detects, require_fit
from vlx.reasons import Because, Check, Kind, Reason
from vlx.task import Features, Mixes, Target, Task
from vlx.weighting import Method

Array = NDArray[Any]

RULES = ("contribution", "pooled", "alpha")
VALUES = ("zero", "mean")
SHIPPED = "shipped"
MEASURED = 3  # reasons for a word whose own effect is measured, those with the largest contributions
AGAINST = 1  # reasons against it
ABSENT = 3  # absences that are named
PAPER = 5  # units at either end of α (paper, section 7)
SETS = 20  # random sets
CARRIED = 0.9  # of the named evidence for a word: what the units carry that are switched off together
FLOOR = 1.0  # nats of log-odds that a word must lose at the least
LEAD = 0.9  # of its log-odds: the most that still confirms nine in ten content words of training scenes
ALONE = 1.25  # nats that it must lose by one reason alone: of random sets so large 95 % do less (training scenes)


@dataclass(frozen=True, eq=False)
class Naming:
    """A table of names and how reasons are to be made from it."""

    table: NeuronNames
    check: bool = True
    rule: str = "contribution"
    off: str = "zero"

    @classmethod
    def of(
        cls,
        task: Task,
        names: NeuronNames | str | PathLike[str] | None,
        check: bool = True,
        rule: str = "contribution",
        off: str = "zero",
    ) -> "Naming | None":
        """From a table, a file of one, or "shipped" for the embedded model's own; None where there is none to use.

        Raises InputError for anything else, and for another rule or value to switch units off to.
        """
        for name, given, known in (("by", rule, RULES), ("off", off, VALUES)):
            if given not in known:
                raise InputError(f"{name}={given!r}; known are {', '.join(known)}")
        if names is None:
            return None
        if isinstance(task, Mixes):
            raise InputError(
                f"{task.name} is explained at what its cells hold after they have met the question; units have no "
                "names there, so leave names out"
            )
        if isinstance(names, str) and names == SHIPPED:
            return cls(tables.shipped(task), check, rule, off)
        if isinstance(names, NeuronNames):
            return cls(names, check, rule, off)
        if isinstance(names, str | PathLike) and str(names):
            return cls(formats.read(Path(names)), check, rule, off)
        raise InputError(f"names={names!r}; give a table of names, the path of one, {SHIPPED!r}, or None for none")

    @property
    def origin(self) -> dict[str, Any]:
        """Where the names come from, for the record."""
        kept = ("source", "model", "layer", "dataset", "images", "quantiles", "denominator", "licence")
        return {key: self.table.about[key] for key in kept if self.table.about.get(key)}


@dataclass(frozen=True, eq=False)
class _Evidence:
    """What each of K units says to one target: by contribution and α, and what the target's heat map is."""

    target: Target
    contribution: Array
    alpha: Array
    unit_maps: Array
    signed: Array


@dataclass(frozen=True, eq=False)
class Named:
    """The units of A by name: ``names[k]`` is None where unit k detects nothing; ``on`` [K, h, w] are the masks."""

    names: tuple[UnitName | None, ...]
    on: Array
    mass: Array
    mean: Array

    @property
    def active(self) -> Array:
        """Whether any cell lies above the unit's threshold, bool [K]."""
        return np.asarray(self.on.any((1, 2)))


def becauses(
    task: Task,
    features: Features,
    targets: Sequence[Target],
    likely: Sequence[Target],
    maps: Array,
    method: Method,
    table: NeuronNames,
    *,
    rule: str = "contribution",
    iou: float = 0.04,
    check: bool = True,
    off: str = "zero",
) -> list[Because]:
    """Why each of N targets: reasons from the names in ``table``, with their check.

    ``features`` are those of one picture, ``likely`` the targets as log-probabilities, ``maps`` [N, h, w] their signed
    maps by ``method``. A unit counts as named where its IoU lies above ``iou``. ``rule``: "contribution" weighs units
    by Σ over cells of gradient × activation, "pooled" by α · Σ activation (the same where the gradient is the same in
    all cells); "alpha" takes the 5 with the highest and the 5 with the lowest α, as the paper does.
    ``off`` is what units are switched to: 0, or their mean over the pictures that the table was made from.

    Raises InputError for a table of other weights, another layer or another number of units.
    """
    notes = require_fit(table, task, features.layer, features.A.shape[1])
    named = name_units(table, features.A[0], iou)
    found: list[Because] = []
    carriers: list[_Carriers] = []
    for chunk in engine.chunks(features.A, targets):
        _, gradients = engine.gradients(task, features.A, chunk, features.rest)
        for target, gradient in zip(chunk, gradients, strict=True):
            evidence = _evidence(features.A[0], target, gradient, maps[len(found)], method, rule)
            found.append(replace(_explained(evidence, named, rule), notes=notes))
            carriers.append(_carriers(found[-1], evidence.contribution))
    return _checked(task, features, likely, found, carriers, named, _values(table, off)) if check else found


def name_units(table: NeuronNames, A: Tensor, iou: float = 0.04) -> Named:
    """The names and masks of the units of A [K, h, w]; without thresholds in the table a mask is where A > 0."""
    names = [table[unit] for unit in range(len(A))]
    known = table.about.get("metric", "iou") != "iou"
    T = torch.tensor([0.0 if name.threshold is None else name.threshold for name in names])
    exact = A.float().cpu()
    return Named(
        tuple(name if name.concept and (known or detects(name, iou)) else None for name in names),
        (exact > T[:, None, None]).numpy(),
        exact.abs().sum((1, 2)).numpy(),
        exact.mean((1, 2)).numpy(),
    )


def _evidence(A: Tensor, target: Target, gradient: Tensor, signed: Array, method: Method, rule: str) -> _Evidence:
    exact = torch.promote_types(gradient.dtype, torch.float32)
    alpha = gradient.to(exact).mean((1, 2))
    if rule == "pooled":
        contribution = alpha * A.to(exact).sum((1, 2))
    else:
        contribution = torch.einsum("khw,khw->k", gradient.to(exact), A.to(exact))
    maps = method.map(A[:, None], gradient[:, None])  # a method weighs each unit by itself
    return _Evidence(
        target, contribution.double().cpu().numpy(), alpha.double().cpu().numpy(), maps.cpu().numpy(), signed
    )


def _explained(evidence: _Evidence, named: Named, rule: str) -> Because:
    groups = _groups(evidence, named, rule)
    total = (
        max(float(evidence.contribution.clip(min=0).sum()), 1e-30),
        min(float(evidence.contribution.clip(max=0).sum()), -1e-30),
    )
    reasons = [_reason(evidence, named, concept, kind, units, total) for (kind, concept), units in groups.items()]
    order = {"because": 0, "despite": 1, "absence": 2}
    reasons.sort(key=lambda reason: (order[reason.kind], -abs(reason.contribution)))
    carried = {
        kind: sum(reason.portion for reason in reasons if reason.kind == kind) for kind in ("because", "despite")
    }
    return Because(
        evidence.target.label,
        tuple(reasons),
        coverage=carried["because"],
        coverage_against=carried["despite"],
        unnamed=1 - sum(reason.share for reason in reasons),
        rule=rule,
    )


def _groups(evidence: _Evidence, named: Named, rule: str) -> dict[tuple[Kind, str], list[int]]:
    """Units by kind of reason and name; of absences only those that weigh most, and only of what is not there."""
    groups: dict[tuple[Kind, str], list[int]] = defaultdict(list)
    allowed = np.ones(len(named.names), bool)
    if rule == "alpha":
        order = evidence.alpha.argsort(kind="stable")
        allowed[order[PAPER:-PAPER]] = False
    weighed = evidence.alpha if rule == "alpha" else evidence.contribution
    active = named.active
    for unit in np.flatnonzero(allowed & active & (weighed != 0)):
        name = named.names[unit]
        if name is not None:
            groups["because" if weighed[unit] > 0 else "despite", name.concept].append(int(unit))
    present = {concept for _, concept in groups}
    absent: dict[str, list[int]] = defaultdict(list)
    for unit in np.flatnonzero(allowed & ~active & (evidence.alpha < 0)):
        name = named.names[unit]
        if name is not None and name.concept not in present:
            absent[name.concept].append(int(unit))
    missing = {concept: sum(_missed(evidence, named, unit) for unit in units) for concept, units in absent.items()}
    for concept in sorted(missing, key=lambda one: missing[one])[:ABSENT]:
        if missing[concept] < 0:
            groups["absence", concept] = absent[concept]
    return groups


def _missed(evidence: _Evidence, named: Named, unit: int) -> float:
    """What a silent unit would have added, were every cell at its threshold."""
    name = named.names[unit]
    threshold = name.threshold if name is not None and name.threshold is not None else 1.0
    return float(evidence.alpha[unit]) * threshold


def _reason(
    evidence: _Evidence,
    named: Named,
    concept: str,
    kind: Kind,
    units: list[int],
    total: tuple[float, float],
) -> Reason:
    own = [name for unit in units if (name := named.names[unit]) is not None]
    best = max(own, key=lambda name: name.iou if name.iou == name.iou else -1.0)
    part = evidence.unit_maps[units].sum(0, dtype=np.float64)
    there = evidence.signed > 0
    whole = float(evidence.signed[there].sum(dtype=np.float64))
    mask = named.on[units]
    contribution = float(evidence.contribution[units].sum())
    return Reason(
        concept=concept,
        category=best.category,
        kind=kind,
        units=tuple(units),
        iou=best.iou,
        error=best.error,
        wins=best.wins,
        folds=best.folds,
        weight=float(evidence.alpha[units].sum()),
        activation=float(named.mean[units].sum()),
        contribution=contribution,
        portion=max(contribution / total[kind == "despite"], 0.0) if kind != "absence" else 0.0,
        share=float(part[there].sum()) / whole if whole > 0 else 0.0,
        on_map=float((mask & there).sum() / mask.sum()) if mask.any() else 0.0,
        map=part.astype(np.float32),
        repeats=_plain(concept) == _plain(evidence.target.label),
    )


def _plain(text: str) -> str:
    word = text.casefold().strip()
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


# The experiment


@dataclass(frozen=True, eq=False)
class _Carriers:
    """Units that carry a word, and the sum of their contributions."""

    units: list[int]
    contribution: float


def _carriers(because: Because, contribution: Array) -> _Carriers:
    """The fewest units of the reasons for a word that carry nearly all of what these carry."""
    units = np.array([unit for reason in because.of("because") for unit in reason.units], int)
    units = units[np.argsort(-contribution[units], kind="stable")]
    carried = contribution[units].clip(min=0).cumsum()
    enough = units[: int(np.searchsorted(carried, CARRIED * carried[-1])) + 1] if len(units) else units
    return _Carriers(enough.tolist(), float(contribution[enough].sum()))


def _checked(
    task: Task,
    features: Features,
    likely: Sequence[Target],
    found: Sequence[Because],
    carriers: Sequence[_Carriers],
    named: Named,
    values: Tensor | None,
) -> list[Because]:
    """The same with the units of every reason switched off, all targets in one batch."""
    off = [_switches(because, one.units, named) for because, one in zip(found, carriers, strict=True)]
    before = engine.scores(task, features.A, likely, features.rest).double().cpu().numpy()
    after = switched_off(task, features, likely, off, values=values)
    logprobs = [np.concatenate([[one], others]) for one, others in zip(before, after, strict=True)]
    return [_with_check(*one) for one in zip(found, carriers, likely, logprobs, strict=True)]


def _switches(because: Because, units: list[int], named: Named) -> Array:
    """Rows [R, K]: the units that carry the word, all others, random sets, each measured reason alone."""
    rows = np.zeros((2, len(named.names)), bool)
    if not units:
        return rows[:0]
    rows[0, units] = True
    rows[1] = ~rows[0]
    random = random_sets(units, named.mass, SETS, np.random.default_rng(0))
    single = [np.isin(np.arange(len(named.names)), reason.units) for reason in _measured(because)]
    return np.concatenate([rows, random, *(one[None] for one in single)])


def _measured(because: Because) -> list[Reason]:
    return [*because.of("because")[:MEASURED], *because.of("despite")[:AGAINST]]


def _with_check(because: Because, carriers: _Carriers, target: Target, logprobs: Array) -> Because:
    if not carriers.units:
        return because
    contrast = any(term.weight < 0 for term in target.terms)
    standing = logprobs if contrast else log_odds(logprobs)
    effects = standing[0] - standing
    check = Check(
        units=tuple(sorted(carriers.units)),
        before=float(standing[0]),
        effect=float(effects[1]),
        logprob=float(logprobs[0] - logprobs[1]),
        contrast=contrast,
        alone=float(standing[2]),
        random=tuple(effects[3 : 3 + SETS].tolist()),
        floor=max(FLOOR, LEAD * float(standing[0])),
        predicted=carriers.contribution,
    )
    tried = {
        id(reason): replace(reason, effect=float(effect), confirmed=_holds(reason, float(effect), check))
        for reason, effect in zip(_measured(because), effects[3 + SETS :], strict=True)
    }
    reasons = [tried.get(id(reason), reason) for reason in because.reasons]
    order = {"because": 0, "despite": 1, "absence": 2}
    reasons.sort(key=lambda reason: (order[reason.kind], reason.effect is None, -_pull(reason)))
    return replace(because, reasons=tuple(reasons), check=check)


def _holds(reason: Reason, effect: float, check: Check) -> bool:
    """Whether a reason alone moves the word as it should; one for it only where all of them together were confirmed."""
    return check.confirmed and effect >= ALONE if reason.kind == "because" else effect <= -ALONE


def _pull(reason: Reason) -> float:
    if reason.effect is None:
        return abs(reason.contribution)
    return reason.effect if reason.kind == "because" else -reason.effect


def _values(table: NeuronNames, off: str) -> Tensor | None:
    if off == "zero":
        return None
    means = None if table.tally is None else table.tally.means
    if means is None or not len(means):
        raise InputError("this table does not hold the units' mean activations; switch units off to 'zero'")
    return torch.from_numpy(means)
