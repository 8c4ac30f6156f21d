"""Which of two models its maps name: counted by hand from the energies of both, and of margins that are known."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from tests.evaluation.test_places import TWO, WISH, Squares, told
from tests.explanation.test_map_check import colours
from vlx.evaluation import Record, Result, evaluate
from vlx.evaluation.figures import Telling
from vlx.evaluation.metric import Metric
from vlx.evaluation.metrics.localization import rank_of
from vlx.evaluation.metrics.trust import TRUST, trust
from vlx.evaluation.records import Columns
from vlx.protocol.task import Task

ALONE = ({"red": (8, 8)}, {"green": (72, 40)}, {"blue": (40, 80)}, {"red": (80, 16)})
DATA = Squares(*TWO, *ALONE)


def lopsided(shares: Sequence[float]) -> Any:
    """The model of coloured squares, which counts what is grey, too: of each class by another share."""
    task: Any = colours()
    with torch.no_grad():
        task.model.get_parameter("conv.bias").add_(torch.tensor(shares))
    return task


def energies(task: Task) -> dict[tuple[str, str, str], float]:
    """The share of each map on its square, of what the model is right about: by picture, class and method."""
    found: dict[tuple[str, str, str], float] = {}

    def measure(context: Any) -> dict[Any, float]:
        right = rank_of(context.case.prediction.words[context.case.position]) == 1
        for (method, _), one in context.maps.items():
            share = float(one.painted[context.mask].sum() / one.painted.sum())
            found[context.example.key, context.case.ask.label, method] = share if right else float("nan")
        return {}

    evaluate(task, DATA, metrics=[Metric("seen", "", measure)], **WISH)
    return found


def compared(here: Any, there: Any) -> Result:
    return evaluate(here, DATA, metrics=[trust(there)], **WISH)


def test_the_share_that_names_this_model_is_counted_by_hand() -> None:
    here, there = lopsided([0.09, 0, 0]), lopsided([0, 0.13, 0])
    mine, theirs = energies(here), energies(there)
    every = [mine[one] - theirs[one] for one in mine if one[2] == "hirescam"]
    margins = [margin for margin in every if margin == margin]
    assert min(margins) < 0 < max(margins), "each model has more somewhere"
    row = told(compared(here, there), "trust, named")
    assert row.value == pytest.approx(np.mean([1 if one > 0 else 0 if one < 0 else 0.5 for one in margins]))
    assert told(compared(there, here), "trust, named").value == pytest.approx(1 - row.value)
    assert (row.random, row.centre) == (0.5, 0.5), "what knows of no model names neither"
    assert row.count - row.unmeasured == len(margins)


def test_equal_models_name_neither_and_their_ties_are_told() -> None:
    result = compared(colours(), colours())
    row = told(result, "trust, named")
    assert (row.value, row.low, row.high) == (0.5, 0.5, 0.5)
    (note,) = (one for one in result.notes if one.startswith("trust, named"))
    right = row.count - row.unmeasured
    asked = f"of {row.count} asked it is right in {right}, the other in {right}, both in {right}; equal"
    assert asked in note
    assert f"{right} by hirescam" in note
    assert f"{right} by centre" in note


def test_how_often_either_is_right_is_told_of_each() -> None:
    blind = lopsided([0.5, 0, 0])  # it sees red everywhere
    result = compared(colours(), blind)
    (note,) = (one for one in result.notes if one.startswith("trust, named"))
    shares = [energies(task) for task in (colours(), blind)]
    rights = [sum(share == share for (*_, by), share in one.items() if by == "hirescam") for one in shares]
    assert rights[0] != rights[1]
    assert f"right in {rights[0]}, the other in {rights[1]}, both in" in note


def records(margins: Sequence[float]) -> Iterator[Record]:
    for number, margin in enumerate(margins):
        beside = {"right": 1, "against right": int(margin == margin)}
        for method, target, value in (("gradcam", "logit", margin), ("centre", "", 0.0), ("random", "", -margin)):
            yield Record(str(number), 0, "thing", method, target, "trust", value, beside=beside)


def test_margins_become_shares_with_their_interval_and_baselines() -> None:
    columns = Columns(records([0.3, 0.1, -0.9, 0.0, float("nan")]))
    rows = {row.metric: row for row in TRUST.figures("trust", columns, Telling())}
    assert [*rows] == ["trust", "trust, named"]
    named = rows["trust, named"]
    assert rows["trust"].value == pytest.approx(-0.125), "the margin and the share need not agree"
    assert named.value == pytest.approx(2.5 / 4)
    assert 0 <= named.low < 0.5 < named.value < named.high <= 1
    assert named.centre == 0.5
    assert named.random == pytest.approx(1.5 / 4)
    assert named.ahead is not None
    assert named.ahead[0] == pytest.approx(0.125)
    assert named.unmeasured == 1
    (*_, note) = TRUST.notes(columns)
    assert "of 5 asked it is right in 5, the other in 4, both in 4" in note
    assert note.endswith("equal, which count half: 1 by gradcam, 5 by centre, 1 by random")
