"""Hiding a concept that misleads a model undoes its mistakes, and hiding another does not."""

from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image

from tests.auditing.marked import COLOURS, SIDE, Marked, misled
from vlx.auditing.answered import CONCEPTS, UNITS, Answered, answers_of
from vlx.auditing.evidence import audit_metric
from vlx.auditing.hiding import MOST, RANDOM, Hiding
from vlx.auditing.parts import LEARNT, seen_by_lot
from vlx.data.concepts import Concept
from vlx.data.example import Ask, Example, Truth
from vlx.evaluation.run import records_of
from vlx.evaluation.shown import Setting
from vlx.methods import registry
from vlx.neuron_names.table import NeuronNames, UnitName
from vlx.tasks.classification import Classifier

GROUNDS = ("white", "grey")
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


class Grounds(Marked):
    """Small squares on a white or a grey ground, each colour on each in turn; the ground is nearly all of a picture."""

    def __init__(self, count: int) -> None:
        super().__init__(count, ())

    def __getitem__(self, number: int) -> Example:
        name, ground = [*COLOURS][number % 2], GROUNDS[number // 2 % 2]
        thing = np.zeros((SIDE, SIDE), bool)
        thing[12:20, 12:20] = True
        pixels = np.where(thing[..., None], COLOURS[name], 250 if ground == "white" else 100).astype(np.uint8)
        regions = {Concept("square", "object"): thing, Concept(ground, "scene"): ~thing}
        ask = Ask(label=name, group=name, truth=Truth(thing))
        return Example(f"{number:04}.png", Image.fromarray(pixels), asks=[ask], regions=regions)


def on_grounds(mark: float = 0.72, bias: float = -6) -> Classifier:
    """A white ground speaks for red as much as a grey one does for blue."""
    task = misled(mark)
    head: Any = task.model.get_submodule("2.2")
    with torch.no_grad():
        head.bias[0] = bias
    return task


def test_what_a_model_says_of_anything_is_no_proof() -> None:
    """Deaf to the ground, it says red of everything: what is put in the place of a ground changes nothing more."""
    task, data = on_grounds(0, 4), Grounds(24)
    _, ran = records_of(task, data, [audit_metric()], (["default"], None))
    wrong = [one for one in answers_of(ran.columns["audit"]) if not one.right]
    setting = Setting(task, data, (registry.choose(task.defaults.method),))
    for ground in GROUNDS:
        trial = Hiding(setting).trial(wrong, CONCEPTS, ground)
        assert trial.tried == 6 and trial.changed == trial.random


@pytest.mark.parametrize(("ground", "answer"), [("white", "red"), ("grey", "blue")])
def test_what_covers_most_of_a_picture_is_hidden_by_what_others_show(ground: str, answer: str) -> None:
    """The picture's own mean cell would be the ground again, and random cells would leave nothing that decides."""
    task, data = on_grounds(), Grounds(24)
    _, ran = records_of(task, data, [audit_metric()], (["default"], None))
    wrong = [one for one in answers_of(ran.columns["audit"]) if not one.right and one.said == answer]
    setting = Setting(task, data, (registry.choose(task.defaults.method),))
    trial = Hiding(setting).trial(wrong, CONCEPTS, ground)
    assert (trial.tried, trial.changed, trial.beside) == (6, 6, "same") and trial.random == 0
    square = Hiding(setting).trial(wrong, CONCEPTS, "square")
    assert (square.tried, square.changed, square.beside) == (6, 0, "random")


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


def test_the_pictures_that_cells_are_taken_from_are_of_all_kinds() -> None:
    """Kinds by turns: every fourth, or every second, of 260 would be of one kind or two."""

    class ByTurns(Marked):
        taken: ClassVar[list[int]] = []

        def __getitem__(self, number: int) -> Example:
            self.taken.append(number % 4)
            return super().__getitem__(number)

    assert len(list(seen_by_lot(misled(), ByTurns(260, ())))) == LEARNT == len(ByTurns.taken)
    assert min(ByTurns.taken.count(kind) for kind in range(4)) > 5
