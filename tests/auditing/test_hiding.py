"""Hiding a concept that misleads a model undoes its mistakes, and hiding another does not."""

import pytest

from tests.auditing.marked import Marked, misled
from vlx.auditing.answered import CONCEPTS, UNITS, Answered, answers_of
from vlx.auditing.evidence import audit_metric
from vlx.auditing.hiding import MOST, RANDOM, Hiding
from vlx.evaluation.run import records_of
from vlx.evaluation.shown import Setting
from vlx.methods import registry
from vlx.neuron_names.table import NeuronNames, UnitName

NAMES = NeuronNames(
    tuple((UnitName(n, name, "color", 0.5, 0.5, threshold=0.0),) for n, name in enumerate(("red", "blue", "white"))),
    {"layer": "1"},
)


def wrong_of(data: Marked) -> tuple[Setting, list[Answered]]:
    task = misled()
    _, ran = records_of(task, data, [audit_metric(NAMES)], (["default"], None))
    wrong = [one for one in answers_of(ran.columns["audit"]) if not one.right]
    return Setting(task, data, (registry.choose(task.defaults.method),)), wrong


def test_without_the_mark_the_mistakes_are_undone() -> None:
    data = Marked(24, marks=range(1, 24, 4))
    setting, wrong = wrong_of(data)
    assert [one.key for one in wrong] == [f"{n:04}.png" for n in range(1, 24, 4)]  # blue ones with a mark
    trial = Hiding(setting).trial(wrong, CONCEPTS, "mark")
    assert (trial.tried, trial.changed) == (6, 6) and trial.random < 1
    square = Hiding(setting).trial(wrong, CONCEPTS, "square")
    assert (square.tried, square.changed) == (6, 0)


def test_without_the_units_that_see_it_too() -> None:
    setting, wrong = wrong_of(Marked(12, marks=range(1, 12, 4)))
    trial = Hiding(setting, NAMES).trial(wrong, UNITS, "white")
    assert (trial.tried, trial.changed) == (3, 3)
    assert trial.random == pytest.approx(1, abs=0.7)  # one unit of three, by chance the same one
    assert Hiding(setting, NAMES).trial(wrong, UNITS, "blue").changed == 0


def test_what_cannot_be_tried_is_not_counted() -> None:
    setting, wrong = wrong_of(Marked(12, marks=range(1, 12, 4)))
    assert Hiding(setting).trial(wrong, CONCEPTS, "dog").tried == 0
    assert Hiding(setting).trial(wrong, UNITS, "white").tried == 0  # without a table
    strange = [Answered("other.png", 0, "red", "blue", False, evidence=wrong[0].evidence)]
    assert Hiding(setting).trial(strange, CONCEPTS, "mark").tried == 0


def test_no_more_than_some_are_tried() -> None:
    setting, wrong = wrong_of(Marked(12, marks=range(1, 12, 4)))
    trial = Hiding(setting).trial([*wrong * MOST], CONCEPTS, "mark")
    assert trial.tried == MOST and RANDOM >= 5
