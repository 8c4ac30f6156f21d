"""Pictures changed along the gradient: on a linear model every step is known, and bounds hold everywhere."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.evaluation.test_curves_by_hand import Noise, linear, picture, plain
from tests.evaluation.test_run import Squares
from tests.explanation.test_map_check import colours
from tests.fakes import captioner
from vlx.data.example import Ask, Example, Truth
from vlx.errors import InputError
from vlx.evaluation import evaluate
from vlx.evaluation.metrics.adversarial import REACH, adversarial, attacked
from vlx.protocol.targets import Target, Term

ENDS = torch.zeros(3), torch.ones(3)


def target(number: int) -> Target:
    return Target(0, "ab"[number], (Term(0, number),))


def test_steps_on_a_linear_model_are_those_of_the_sign_of_its_weights() -> None:
    task: Any = linear()
    inputs = plain(picture())
    weights = task.model.head.weight.detach().view(2, 3, 20, 20)
    for number in (0, 1):
        changed, p = attacked(task, inputs, target(number), *ENDS)
        sign = (weights[number] - weights[1 - number]).sign()
        expected = (inputs + REACH * sign).clamp(0, 1)
        assert torch.allclose(changed, expected, atol=1e-6)
        with torch.no_grad():
            assert p == pytest.approx(float(task.model(expected[None]).double().softmax(1)[0, number]), abs=1e-6)


def test_it_stops_where_the_model_is_sure_and_a_sure_one_is_left_as_it_is() -> None:
    task: Any = linear()
    inputs = plain(picture())
    with torch.no_grad():
        task.model.head.weight.mul_(40)
    changed, p = attacked(task, inputs, target(0), *ENDS)
    again, same = attacked(task, changed, target(0), *ENDS)
    assert p >= 0.9999
    assert torch.equal(again, changed)
    assert same == p
    moved = (changed - inputs).abs()
    assert moved.max() <= REACH + 1e-6


def test_the_range_of_each_channel_bounds_its_steps() -> None:
    task, inputs = linear(), plain(picture())
    low, high = torch.tensor([0.0, -1.0, 0.2]), torch.tensor([1.0, 3.0, 0.8])
    changed, _ = attacked(task, inputs, target(0), low, high)
    moved = (changed - inputs).abs().flatten(1).amax(1)
    np.testing.assert_allclose(moved, REACH * (high - low), rtol=1e-4)
    beyond = torch.maximum(changed - torch.maximum(high[:, None, None], inputs), changed * 0)
    assert beyond.max() <= 1e-6


def test_maps_before_and_after_stand_beside_each_other() -> None:
    result = evaluate(
        colours(), Squares(), metrics=[adversarial("blue")], methods=["gradcam", "centre"], targets=["logit"], n=2
    )
    told = {(row.method, row.metric): row for row in result.rows}
    for when in ("before", "after"):
        assert told["gradcam", f"adversarial, pointing {when}"].value == 1
        assert told["gradcam", f"adversarial, energy {when}"].value > 0.8
        assert told["centre", f"adversarial, energy {when}"].value == pytest.approx(
            told["centre", "adversarial, energy before"].value
        )
    assert told["centre", "adversarial, rank correlation"].value == pytest.approx(1)
    assert 0.3 < told["gradcam", "adversarial, rank correlation"].value <= 1
    (note,) = (one for one in result.notes if one.startswith("adversarial"))
    assert note.startswith("adversarial: 0 of 2 pictures were changed to p ≥ 0.9999")


def test_maps_after_are_those_of_the_changed_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vlx.evaluation.metrics.adversarial.attacked", lambda task, inputs, *_: (inputs.flip(2), 0.5))
    rows = evaluate(colours(), Squares(), metrics=["adversarial"], methods=["gradcam"], targets=["logit"], n=1).rows
    told = {row.metric: row.value for row in rows}
    assert (told["adversarial, pointing before"], told["adversarial, pointing after"]) == (1, 0)
    assert told["adversarial, energy before"] > 0.8 > 0.2 > told["adversarial, energy after"]
    assert told["adversarial, rank correlation"] < 0


class Known(Noise):
    """Noise, of which it is known that b is not there."""

    def __getitem__(self, number: int) -> Example:
        absent = [Ask(label="b", truth=Truth(absent=True))]
        return Example("0", self.image, asks=[Ask(label="a", group="a")], absent=absent)


def test_pictures_are_changed_to_what_is_known_not_to_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def kept(task: Any, inputs: Tensor, target: Target, low: Tensor, high: Tensor) -> tuple[Tensor, float]:
        asked.append(target.label)
        return inputs, 0.5

    monkeypatch.setattr("vlx.evaluation.metrics.adversarial.attacked", kept)
    evaluate(linear(), Known(), metrics=["adversarial"], methods=["gradcam"])
    evaluate(colours(), Squares(), metrics=["adversarial"], methods=["gradcam"], n=1)
    assert asked == ["b", "blue"]
    with pytest.raises(InputError, match=r"has no class that is not in 0; --metrics adversarial needs one$"):
        evaluate(linear(), Noise(), metrics=["adversarial"], methods=["gradcam"])


def test_what_cannot_be_attacked_is_refused_by_name() -> None:
    class Blind:
        """A classifier without `see`."""

        def __init__(self) -> None:
            self._task: Any = colours()

        def __getattr__(self, name: str) -> Any:
            if name == "see":
                raise AttributeError(name)
            return getattr(self._task, name)

    blind: Any = Blind()
    with pytest.raises(InputError, match=r"^--metrics adversarial changes .*, and .* has no see\(\): leave it out"):
        evaluate(blind, Squares(), metrics=["adversarial"])
    with pytest.raises(InputError, match=r"^--metrics adversarial needs a classifier; .* does captioning$"):
        evaluate(captioner(), Squares(), metrics=["adversarial"])
    with pytest.raises(InputError, match=r"gives numbers, which have no p: --metrics adversarial needs classes$"):
        evaluate(colours(outputs="value"), Squares(), metrics=["adversarial"])
    with pytest.raises(InputError, match=r"has no class 'blu' to change pictures to; close: blue$"):
        evaluate(colours(), Squares(), metrics=[adversarial("blu")])
