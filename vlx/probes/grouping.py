"""From A, gradients and the names of units to reasons: units of one name that speak for a word, or against it."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlx.explanation.reasons import Because, Kind, Reason
from vlx.methods.cams import Weighting
from vlx.neuron_names.table import NeuronNames, UnitName
from vlx.pictures.placement import Grid
from vlx.probes.name_marks import LEVEL
from vlx.protocol.targets import Target

Array = NDArray[Any]

ABSENT = 3  # absences that are named
PAPER = 5  # units at either end of α (paper, section 7)
ORDER: dict[Kind, int] = {"because": 0, "despite": 1, "absence": 2}


@dataclass(frozen=True, eq=False)
class Evidence:
    """What each of K units says to one target: by contribution and α, and what the target's heat map is."""

    target: Target
    contribution: Array
    alpha: Array
    unit_maps: Array
    signed: Array


@dataclass(frozen=True, eq=False)
class NamedUnits:
    """The units of A by name: ``names[k]`` is None where unit k detects nothing; ``on`` [K, h, w] are the masks."""

    names: tuple[UnitName | None, ...]
    on: Array
    mass: Array
    mean: Array

    @property
    def active(self) -> Array:
        """Whether any cell lies above the unit's threshold, bool [K]."""
        return np.asarray(self.on.any((1, 2)))


def name_units(table: NeuronNames, A: Tensor, iou: float = 0.04) -> NamedUnits:
    """The names and masks of the units of A [K, h, w]; without thresholds in the table a mask is where A > 0."""
    names = [table[unit] for unit in range(len(A))]
    T = torch.tensor([0.0 if name.threshold is None else name.threshold for name in names])
    exact = A.float().cpu()
    return NamedUnits(
        tuple(name if table.counts(name, iou) else None for name in names),
        (exact > T[:, None, None]).numpy(),
        exact.abs().sum((1, 2)).numpy(),
        exact.mean((1, 2)).numpy(),
    )


def weighed(
    A: Tensor, target: Target, gradient: Tensor, signed: Array, weighting: Weighting, rule: str, grid: Grid
) -> Evidence:
    """What the units of A [K, *tokens] say to a target, by the gradient of its score and its ``signed`` map [h, w]."""
    exact = torch.promote_types(gradient.dtype, torch.float32)
    alpha = gradient.to(exact).mean((1, 2))
    if rule == "pooled":
        contribution = alpha * A.to(exact).sum((1, 2))
    else:
        contribution = torch.einsum("khw,khw->k", gradient.to(exact), A.to(exact))
    maps = grid.fold(weighting.map(A[:, None], gradient[:, None]))  # each unit is weighed by itself
    return Evidence(
        target, contribution.double().cpu().numpy(), alpha.double().cpu().numpy(), maps.cpu().numpy(), signed
    )


def explained(evidence: Evidence, named: NamedUnits, rule: str, tested: Mapping[str, float] | None = None) -> Because:
    """The reasons for one target, those that contribute most first, not tried; ``tested`` are its names' p-values."""
    groups = _groups(evidence, named, rule)
    total = (
        max(float(evidence.contribution.clip(min=0).sum()), 1e-30),
        min(float(evidence.contribution.clip(max=0).sum()), -1e-30),
    )
    reasons = [
        _reason(evidence, named, concept, kind, units, total, tested or {}) for (kind, concept), units in groups.items()
    ]
    reasons.sort(key=lambda reason: (ORDER[reason.kind], -abs(reason.contribution)))
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


def _groups(evidence: Evidence, named: NamedUnits, rule: str) -> dict[tuple[Kind, str], list[int]]:
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


def _missed(evidence: Evidence, named: NamedUnits, unit: int) -> float:
    """What a silent unit would have added, were every cell at its threshold."""
    name = named.names[unit]
    threshold = name.threshold if name is not None and name.threshold is not None else 1.0
    return float(evidence.alpha[unit]) * threshold


def _reason(
    evidence: Evidence,
    named: NamedUnits,
    concept: str,
    kind: Kind,
    units: list[int],
    total: tuple[float, float],
    tested: Mapping[str, float],
) -> Reason:
    names = [name for unit in units if (name := named.names[unit]) is not None]
    best = max(names, key=lambda name: name.fit if name.fit == name.fit else -1.0)
    part = evidence.unit_maps[units].sum(0, dtype=np.float64)
    there = evidence.signed > 0
    whole = float(evidence.signed[there].sum(dtype=np.float64))
    mask = named.on[units]
    contribution = float(evidence.contribution[units].sum())
    p = tested.get(concept) if kind == "because" else None
    return Reason(
        concept=concept,
        category=best.category,
        kind=kind,
        units=tuple(units),
        iou=best.iou,
        auc=best.auc if best.auc == best.auc else None,
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
        named=None if p is None else p <= LEVEL,
        p_name=p,
        repeats=_plain(concept) == _plain(evidence.target.label),
    )


def _plain(text: str) -> str:
    word = text.casefold().strip()
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
