"""What is right, what would have been, and how far it leads; and the connected maxima of a map."""

from typing import Any

import numpy as np
import pytest
import torch

import vlx
from tests.auditing.marked import COLOURS, Marked, misled, prepare
from vlx.auditing.answered import Answered, answers_of
from vlx.auditing.answers import AnswerColumns
from vlx.auditing.evidence import audit_metric
from vlx.auditing.maxima import regions
from vlx.auditing.parts import places
from vlx.data.example import Ask, Example
from vlx.evaluation.run import records_of
from vlx.pictures.placement import Frame, Grid, Placement
from vlx.tasks.classification import Classifier


class Labelled(Marked):
    """The same pictures under other labels, the same for all."""

    labels: tuple[str, ...] = ()

    def __getitem__(self, number: int) -> Example:
        asks = [Ask(label=name, group=name) for name in self.labels]
        return Example(f"{number:04}.png", super().__getitem__(number).image, asks=asks)


def said_of(data: Marked) -> list[Answered]:
    _, ran = records_of(misled(), data, [audit_metric()], (["hirescam"], ["logit"]))
    return list(answers_of(ran.columns["audit"]))


def labelled(*labels: str) -> Labelled:
    data = Labelled(4, marks=(1,))
    data.labels = labels
    return data


def test_any_label_of_a_picture_is_right() -> None:
    both = said_of(labelled("blue", "red"))
    assert [one.said for one in both] == ["red", "red", "red", "blue"]  # the second one is marked
    assert all(one.right and one.true == one.said for one in both)


def test_a_label_that_the_model_has_not_judges_nothing() -> None:
    assert [one.right for one in said_of(labelled("green", "blue"))] == [False, False, False, True]


SHADES = {"red": ["crimson", "scarlet"], "blue": ["blue"]}


def shades() -> Classifier:
    """The model of two colours with two labels for the one: of one picture the first leads, of the next the second."""
    two: Any = misled().model
    three = torch.nn.Linear(3, 3)
    with torch.no_grad():
        three.weight.copy_(two[2][2].weight[[0, 0, 1]] + torch.tensor([[0.0, 0, 0], [0.9, 0, -9], [0, 0, 0]]))
        three.bias.zero_()
    net = torch.nn.Sequential(two[0], two[1], torch.nn.Sequential(*two[2][:2], three)).eval()
    return Classifier(net, "1", ["crimson", "scarlet", "blue"], prepare, outputs="softmax")


@pytest.mark.parametrize("told", [True, False], ids=["classes told", "classes asked"])
def test_labels_of_one_class_count_as_that_class(told: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not told:
        monkeypatch.delattr(Marked, "classes")
    data = Marked(24, marks=range(1, 24, 4))
    _, ran = records_of(shades(), data, [audit_metric()], (["hirescam"], ["logit"]), running={"classes": SHADES})
    answers = list(answers_of(ran.columns["audit"]))
    assert {one.said for one in answers} == {"crimson", "scarlet", "blue"}  # as the model says it
    columns = AnswerColumns(answers)
    assert {columns.labels[number] for number in columns.spoken()} == {"red", "blue"}
    assert {columns.labels[number] for number in columns.true} == {"red", "blue"}
    assert all(one.counted(one.instead) != one.counted(one.said) for one in answers)
    assert (columns.instead >= 0).all()


def test_a_class_of_several_labels_is_told_as_the_data_call_it() -> None:
    audit = vlx.audit(shades(), Marked(24, marks=range(1, 24, 4)), classes=SHADES)
    assert {one.answer for one in audit.answers} == {"red", "blue"}
    assert sum(one.said for one in audit.answers) == 24
    assert not [one for one in audit.findings if one.kind == "never said"]
    assert {(one.said, one.true, one.instead) for one in audit.mistakes} == {("crimson", "blue", "blue")}
    assert any("counts as that class" in line for line in audit.how)


def test_an_answer_leads_by_its_log_p_over_that_of_the_alternative() -> None:
    data, task = Marked(6, marks=(1, 5)), misled()
    for number, one in enumerate(said_of(data)):
        with torch.no_grad():
            (logits,) = task.model(prepare(data[number].image)[None])
        this, other = ([*COLOURS].index(name) for name in (one.said, one.instead))
        assert one.lead == pytest.approx(float(logits[this] - logits[other]), abs=1e-4)
        assert one.lead > 0


def drawn(values: np.ndarray) -> Placement:
    grid = Grid((1.5, 1.5), (4.0, 4.0), values.shape, (4 * values.shape[0], 4 * values.shape[1]))
    return Placement(grid, Frame.whole(grid.size, grid.size))


def test_maxima_hang_together_and_those_with_most_come_first() -> None:
    values = np.zeros((6, 6))
    values[0, 0] = 1.0
    values[4:, 4:] = 0.75
    signed = values - 0.25
    first, second = regions(values, signed, drawn(values), places(values.shape))
    assert first.box == (16.0, 16.0, 8.0, 8.0) and second.box == (0.0, 0.0, 4.0, 4.0)
    assert (first.share, second.share) == (0.75, 0.25)
    assert (first.signed, second.signed) == (2.0, 0.75)
    assert (first.alike, second.alike) == ("bottom right", "top left")
    assert regions(np.zeros((2, 2)), np.zeros((2, 2)), drawn(np.zeros((2, 2))), {}) == ()


def test_of_many_maxima_three_are_kept() -> None:
    values = np.zeros((1, 9))
    values[0, ::2] = [0.6, 0.7, 0.8, 0.9, 1.0]
    kept = regions(values, values, drawn(values), {})
    assert [one.box[0] for one in kept] == [32.0, 24.0, 16.0]
