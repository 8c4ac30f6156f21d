"""Models of transformers are measured like any other."""

import pytest
import torch

pytest.importorskip("transformers")

from tests.hf import Tiny
from vlx import evaluation, scenes
from vlx.evaluation import agreement, looking
from vlx.evaluation.metrics.pointing import peaks_of
from vlx.evaluation.shown import by_default, maps_of, methods_of
from vlx.protocol.targets import Query, word_target

CAMS = ["gradcam", "hirescam", "gradcam++", "xgradcam", "layercam"]


@pytest.mark.parametrize(
    ("family", "more"),
    [
        ("blip-captioning", ["gradattention"]),
        ("git", ["gradattention", "gradrollout"]),
        ("blip-vqa", ["gradattention"]),
    ],
)
def test_every_method_of_a_task_is_in_the_table(tiny_models: Tiny, family: str, more: list[str]) -> None:
    task = tiny_models.task(family)
    assert [method.name for method in methods_of(task)] == [*CAMS, *more]
    found = evaluation.evaluate(task, 2)
    assert {row.method for row in found.rows} == {*CAMS, *more}
    assert all(0 <= row.value <= 1 for row in found.rows)


def test_vilt_is_measured_where_its_patches_have_met_each_question(tiny_models: Tiny) -> None:
    task = tiny_models.task("vilt", torch.float64)
    drawn = [scenes.draw(10_000_000 + n, size=64) for n in range(2)]
    features = task.features(torch.stack([task.prepare(scene.image) for scene in drawn]).double())
    asked = ("what color is the car?", "is there a house?")
    said = [task.predict(features, [Query(question=question)] * 2)[row] for row, question in enumerate(asked)]
    targets = [word_target(prediction, 0, row, "logit") for row, prediction in enumerate(said)]
    for name, maps in maps_of(task, features, targets):
        for n, target in enumerate(targets):
            alone = dict(maps_of(task, features, [target]))[name]
            torch.testing.assert_close(maps[n], alone[0], rtol=1e-8, atol=1e-12)
    own = dict(maps_of(task, features, targets))["gradrollout"]
    torch.testing.assert_close(by_default(task, features, targets).signed, own)
    assert len(peaks_of(own)) == 2


def test_looking_and_agreement_take_transformers_too(tiny_models: Tiny) -> None:
    task = tiny_models.task("blip-vqa")
    sway = looking(task, 1)
    assert {"looked, references of the picture", "looked, other scenes"} == {row.method for row in sway.rows}
    assert all(0 <= row.value <= 1 for row in sway.rows)
    found = agreement(tiny_models.task("blip-captioning"), 1)
    assert {row.method for row in found.rows} == {*CAMS, "gradattention"}
