"""What is right, what would have been, and how far it leads; and the connected maxima of a map."""

import numpy as np
import pytest
import torch

from tests.auditing.marked import COLOURS, Marked, misled, prepare
from vlx.auditing.answered import Answered, answers_of
from vlx.auditing.evidence import audit_metric
from vlx.auditing.maxima import regions
from vlx.auditing.parts import places
from vlx.data.example import Ask, Example
from vlx.evaluation.run import records_of
from vlx.pictures.placement import Frame, Grid, Placement


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
