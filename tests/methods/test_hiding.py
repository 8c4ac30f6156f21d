"""Occlusion as a method: maps of what hiding a part of the picture costs."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import vlx
from vlx import scenes
from vlx.errors import InputError
from vlx.methods import engine
from vlx.methods.hiding import parts
from vlx.pictures import edits
from vlx.protocol.targets import Query, word_target
from vlx.report import wording


@pytest.mark.parametrize(
    ("size", "shape"), [((128, 128), (8, 8)), ((96, 384), (2, 8)), ((384, 192), (8, 4)), ((10, 4000), (1, 8))]
)
def test_parts_are_nearly_square_and_at_most_eight_a_side(size: tuple[int, int], shape: tuple[int, int]) -> None:
    grid = parts(size)
    assert grid.shape == shape
    assert grid.stride == (size[0] / shape[0], size[1] / shape[1])
    assert grid.offset == pytest.approx((grid.stride[0] / 2 - 0.5, grid.stride[1] / 2 - 0.5))


def test_the_map_is_the_fall_of_each_words_score_part_by_part() -> None:
    task, scene = vlx.load("scenes/captioner"), scenes.draw(10_000_021)
    why = vlx.explain(task, scene.image, method="occlusion", target="logprob")
    assert why.method == "occlusion"
    assert why[0].signed.shape == (8, 8)
    shown = task.prepare(scene.image)
    median = task.prepare(edits.median_picture(scene.image))
    features = task.features(shown[None])
    prediction = task.predict(features, [Query()])[0]
    targets = [word_target(prediction, n, 0, "logprob") for n in range(len(prediction.words))]
    whole = engine.scores(task, features.A, targets)
    for i, j in ((0, 0), (3, 5), (7, 7)):
        hidden = shown.clone()
        box = np.s_[:, 16 * i : 16 * i + 16, 16 * j : 16 * j + 16]
        hidden[box] = median[box]
        left = engine.scores(task, task.features(hidden[None]).A, targets)
        found = np.array([word.signed[i, j] for word in why])
        assert np.allclose(found, (whole - left).numpy(), atol=1e-4)
    assert all(np.array_equal(word.opposed, -word.signed) for word in why)
    alpha = engine.gradients(task, features.A, targets)[1].mean((2, 3))
    assert np.allclose(np.stack([word.weights for word in why]), alpha.numpy(), atol=1e-6)


def test_hiding_a_thing_costs_its_word() -> None:
    task, scene = vlx.load("scenes/captioner"), scenes.draw(10_000_021)
    why = vlx.explain(task, scene.image, method="occlusion")
    y, x = np.unravel_index(why["rocket"].heatmap.argmax(), (128, 128))
    rocket = next(word for word in scene.words if word.word == "rocket")
    assert rocket.mask is not None
    assert rocket.mask[y, x]


def test_reasons_say_that_their_shares_are_of_another_map(tmp_path: Path) -> None:
    why = vlx.explain(
        vlx.load("scenes/captioner"), scenes.draw(10_000_021).image, method="occlusion", names="shipped", check=False
    )
    because = why["rocket"].because
    assert because is not None
    assert because.shares_of == "hirescam"
    assert "Shares are of the gradient × activation of units, not of the occlusion map." in because.notes
    assert sum(reason.share for reason in because.reasons) + because.unnamed == pytest.approx(1)
    why.save(tmp_path / "why.html")
    again = vlx.Explanation.load(why.save(tmp_path / "why.h5"))
    assert again["rocket"].because.shares_of == "hirescam"  # type: ignore[union-attr]
    assert again["rocket"].method == "occlusion"


def test_what_goes_with_it_and_what_does_not() -> None:
    task, picture = vlx.load("scenes/vqa"), Image.new("RGB", (90, 30), (200, 30, 30))
    why = vlx.explain(task, picture, question="what color is the car?", method="occlusion", looks=True)
    assert len(why.others) == 5
    both: list[dict[str, Any]] = [{"occlusion": True}, {"guided": True}]
    for option in both:
        with pytest.raises(InputError, match="leave occlusion and guided out"):
            vlx.explain(task, picture, question="what color is the car?", method="occlusion", **option)


def test_a_map_says_what_it_is_of() -> None:
    task, scene = vlx.load("scenes/captioner"), scenes.draw(10_000_021)
    word = vlx.explain(task, scene.image, target="logprob")[1]
    for method, unit, meaning in (
        ("gradcam", "nats per cell", "Regions whose features most raise"),
        ("occlusion", "nats per part", "Parts of the picture that most raise"),
        ("gradattention", "nats per cell", "Regions that, attended to, most raise"),
        ("gradrollout", "relevance", "Regions that, attended to, most raise"),
    ):
        own = replace(word, method=method)
        assert wording.unit(own) == unit
        assert wording.meaning(own, "for").startswith(meaning)


def test_questions_for_texts_are_judged_before_other_pictures_too() -> None:
    hf = pytest.importorskip("transformers")
    assert int(hf.__version__.split(".")[0]) >= 5
    from vlx.tasks.huggingface import tiny
    from vlx.tasks.vqa.blip_matching import adapter

    task = adapter(*tiny.build("blip-itm"), name="itm")
    picture = scenes.draw(10_000_021, size=64).image
    texts: list[dict[str, Any]] = [{"question": "a red car"}, {"caption": "a red car"}]
    asked, judged = (vlx.explain(task, picture, **text) for text in texts)
    assert asked.question == judged.question == "a red car"
    assert torch.equal(torch.tensor(asked[0].signed), torch.tensor(judged[0].signed))
    assert [word.word for word in judged.question_words] == ["a", "red", "car"]
