"""Which absences are named, and by how many random sets a check is judged, where every number is known."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from vlx.explanation.reasons import Because
from vlx.methods.cams import METHODS
from vlx.neuron_names.table import NeuronNames, UnitName
from vlx.pictures.placement import Grid
from vlx.probes.because import reasons_for
from vlx.probes.names_wish import NamesWish
from vlx.protocol.targets import Reads, Target, Term
from vlx.protocol.task import Defaults, Features

CELLS = (5, 6)
# Of each unit: its name, the weight of the word on its mean activation, its threshold, whether it is on.
UNITS: tuple[tuple[str, float, float | None, bool], ...] = (
    ("fur", 3.0, 0.5, True),
    ("fur", 2.0, 0.5, True),
    ("eye", 1.0, 0.5, True),
    ("", 0.5, 0.5, True),
    ("snow", -9.0, 0.15, False),  # weighs most, but at its threshold it would add −9 · .15 = −1.35
    ("sand", -2.0, 1.0, False),  # −2
    ("fog", -1.2, 1.0, False),  # with the next −2.5
    ("fog", -1.3, 1.0, False),
    ("ice", -3.0, None, False),  # without a threshold: as if every cell were 1
    ("sun", -1.0, 0.5, False),  # −.5
    ("moon", 5.0, 1.0, False),  # would speak for the word
    ("fur", -8.0, 5.0, False),  # is there by other units
)


class Pooled:
    """Logits = W · mean(A)."""

    name, kind, notes = "pooled", "classification", ()
    defaults = Defaults("gradcam", "logit", "batched")

    def scores(self, A: Tensor, targets: Sequence[Target], rest: Any = None) -> Tensor:
        reads = Reads.of(targets)
        weights = torch.tensor([[0.0] * len(UNITS), [weight for _, weight, _, _ in UNITS]], dtype=A.dtype)
        logits = A.mean((2, 3)) @ weights.T
        return reads.combine(logits[[targets[n].row for n, _ in reads.pairs]])


def explained(ious: Mapping[str, float] | None = None, **options: Any) -> Because:
    A = torch.zeros(1, len(UNITS), *CELLS, dtype=torch.float64)
    for unit, (_, _, _, on) in enumerate(UNITS):
        A[0, unit, 1:3, 2:4] = 2.0 if on else 0.0
    listed = tuple(
        (UnitName(unit, name, "object", own := (ious or {}).get(name, 0.3), own, threshold=threshold),) if name else ()
        for unit, (name, _, threshold, _) in enumerate(UNITS)
    )
    task: Any = Pooled()
    target = Target(0, "dog", (Term(0, 1),), "logit")
    features = Features({"conv": A}, "conv", Grid.half_pixel(CELLS, (50, 60)))
    weights = torch.tensor([weight for _, weight, _, _ in UNITS], dtype=A.dtype)
    maps = torch.einsum("k,nkhw->nhw", weights / (CELLS[0] * CELLS[1]), A).numpy()
    likely = Target(0, "dog", (Term(0, 1),), "logprob")
    table = NeuronNames(listed, {"layer": "conv"})
    wish = NamesWish(table, **options)
    return reasons_for(task, features, [target], [likely], maps, METHODS["gradcam"], wish)[0]


def test_absences_are_those_whose_units_would_have_taken_most_at_their_thresholds() -> None:
    why = explained()
    by_hand: dict[str, float] = {}
    for name, weight, threshold, on in UNITS:
        if not on and weight < 0 and name not in ("fur", "eye"):
            missed = weight / (CELLS[0] * CELLS[1]) * (1.0 if threshold is None else threshold)
            by_hand[name] = by_hand.get(name, 0.0) + missed
    assert sorted(by_hand, key=lambda name: by_hand[name])[:3] == ["ice", "fog", "sand"]
    assert [reason.concept for reason in why.of("absence")] == ["ice", "fog", "sand"], "the three that would take most"
    assert "by their weights alone ice and fog, whose units are silent here" in why.sentence


def test_an_absence_holds_all_silent_units_of_its_name_and_carries_nothing() -> None:
    fog = next(reason for reason in explained().of("absence") if reason.concept == "fog")
    assert fog.units == (6, 7)
    assert fog.weight == pytest.approx(-2.5 / 30)
    assert (fog.contribution, fog.portion, fog.share, fog.on_map) == (0.0, 0.0, 0.0, 0.0)


def test_units_of_one_name_add_up_and_are_judged_by_twenty_random_sets() -> None:
    why = explained()
    fur = why.of("because")[0]
    assert (fur.concept, fur.units) == ("fur", (0, 1))
    assert fur.contribution == pytest.approx((3.0 + 2.0) * 2.0 * 4 / 30)
    assert fur.activation == pytest.approx(2 * 2.0 * 4 / 30), "means over all cells"
    assert fur.portion == pytest.approx(5.0 / 6.5)
    assert fur.on_map == 1.0
    assert why.check is not None
    assert len(why.check.random) == 20, "above all of twenty p is below .05: 1 / 21"
    assert why.check.size == 3


def test_a_name_counts_only_where_its_iou_lies_above_the_limit() -> None:
    def named(**options: Any) -> set[str]:
        return {reason.concept for reason in explained({"eye": 0.04, "sand": 0.04, "fur": 0.041}, **options).reasons}

    assert named() == {"fur", "ice", "fog", "snow"}, "0.04 itself is not above 0.04"
    assert named(iou=0.039) == {"fur", "eye", "ice", "fog", "sand"}
    assert named(iou=0.2) == {"ice", "fog", "snow"}
