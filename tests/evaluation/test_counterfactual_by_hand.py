"""What taking away the top tenth of a map changes: on a linear model every change is known exactly."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.answerers import vqa as answerer
from tests.evaluation.test_curves_by_hand import SIDE, Noise, linear, picture, plain, signed
from tests.explanation.test_map_check import colours
from tests.fakes import captioner
from vlx.data.example import Ask, Example
from vlx.evaluation import evaluate
from vlx.evaluation.metrics.counterfactual import disc
from vlx.evaluation.metrics.curves import Canvas
from vlx.evaluation.result import Result
from vlx.evaluation.shown import Setting, ShownBatch
from vlx.protocol.targets import Query

COUNT = SIDE * SIDE // 10


def measured(task: Any, data: Any, method: str = "hirescam") -> Result:
    return evaluate(task, data, metrics=["counterfactual"], methods=[method], targets=["logit"])


def blanked(ranks: NDArray[Any]) -> NDArray[Any]:
    """The picture of noise with the tenth of the highest ranks in its median colour."""
    gone = ranks >= np.sort(ranks.ravel())[-COUNT]
    median = np.median(np.asarray(picture()), (0, 1)).astype(np.uint8)[:, None, None] / 255
    return np.where(gone, median, plain(picture()).numpy())


def test_changes_of_a_linear_model_are_known_exactly() -> None:
    task = linear()
    net, pixels = task.model, plain(picture()).numpy()
    with torch.no_grad():
        before = net(plain(picture())[None]).double()[0]
    given = int(before.argmax())
    result = measured(task, Noise())
    for group, number in (("given", given), ("runner-up", 1 - given)):
        for of, sign in (("against", -1), ("heat map", 1)):
            with torch.no_grad():
                edited = torch.from_numpy(blanked(sign * signed(net, pixels, number))).float()
                after = net(edited[None]).double()[0]
            told = {
                "Δ logit": after[number] - before[number],
                "Δ log p": after.log_softmax(0)[number] - before.log_softmax(0)[number],
                "changed": float(int(after.argmax()) != given),
            }
            for name, value in told.items():
                found = result.value(group, "hirescam", "logit", f"{of} blanked, {name}")
                assert found == pytest.approx(float(value), abs=1e-4), (group, of, name)
    assert result.value("given", "hirescam", "logit", "against blanked, Δ logit") > 0
    assert {row.group for row in result.rows} == {"given", "runner-up"}, "no mean over the two"
    assert all(np.isfinite(row.random) for row in result.rows)


def test_a_map_that_is_another_methods_says_whose_it_is_and_is_that() -> None:
    layercam, hirescam = (measured(linear(), Noise(), method) for method in ("layercam", "hirescam"))
    named = "against blanked, Δ logit"
    assert layercam.value("given", "layercam", "logit", named) == hirescam.value("given", "hirescam", "logit", named)
    assert "layercam has no counterfactual by definition: what speaks against is the map of hirescam" in layercam.notes
    assert not any("by definition" in note for note in hirescam.notes)


def test_a_method_without_anything_against_is_left_out() -> None:
    result = evaluate(
        linear(), Noise(), metrics=["counterfactual"], methods=["gradient", "hirescam"], targets=["logit"]
    )
    assert {row.method for row in result.rows} == {"hirescam"}


def test_where_nothing_speaks_against_nothing_is_measured() -> None:
    rows = measured(colours(), Noise(("red", "green", "blue")), "layercam").rows
    (row,) = (one for one in rows if one.group == "given" and one.metric == "against blanked, Δ logit")
    assert np.isnan(row.value)
    assert (row.unmeasured, row.empty) == (1, 1)


def test_a_disc_has_so_many_pixels_of_the_picture_and_holds_together() -> None:
    task, data = linear(), Noise()
    shown = ShownBatch(Setting(task, data, ()), lambda: None, [data[0]], plain(picture())[None], [0])  # type: ignore[arg-type,return-value]
    canvas = Canvas(shown, 0)
    some, others = (disc(canvas, COUNT, seed) for seed in ("a", "b"))
    assert len(set(some.tolist())) == COUNT
    assert set(some.tolist()) != set(others.tolist())
    assert some.tolist() == disc(canvas, COUNT, "a").tolist()
    places = np.stack(np.divmod(some, SIDE)).astype(float)
    spread = ((places - places.mean(1, keepdims=True)) ** 2).sum(0).mean()
    assert spread < 2.5 * COUNT / (2 * np.pi), "a whole disc has COUNT / 2π; one in a corner little more"


class Asking(Noise):
    """The same with a question, the answer of which nobody knows a place for."""

    def __getitem__(self, number: int) -> Example:
        return Example("0", self.image, asks=[Ask(Query(question="what color is the dog"), group="color")])


@pytest.mark.parametrize("make", [answerer, captioner])
def test_answers_and_words_of_captions_have_their_runner_up(make: Any) -> None:
    rows = measured(make(), Asking(), "gradcam").rows
    counts = {row.group: row.count for row in rows}
    assert counts["given"] == counts["runner-up"] > 0
    changed = [row.value for row in rows if row.metric.endswith("changed")]
    assert all(np.isnan(value) or 0 <= value <= 1 for value in changed)
