"""Whose rest, frame, picture and answer an explanation has: small worlds with known answers."""

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import vlx
from tests import heads
from tests.fakes import VOCABULARY, TinyCnn, captioner, decoder, picture
from vlx.probes import asked
from vlx.protocol.targets import Query
from vlx.tasks.captioning import CnnLstmCaptioner
from vlx.tasks.shared.scene_models import Preparation

QUICK: dict[str, Any] = {"seen": False, "check": False}
RGB = ["red", "green", "blue"]


def columns_and_rows(why: vlx.Explanation) -> tuple[int, int]:
    """How many columns and rows of the picture the model saw."""
    return int(why.visible.any(0).sum()), int(why.visible.any(1).sum())


def test_a_prepare_that_was_replaced_is_measured_anew() -> None:
    task = captioner("state")
    whole = vlx.explain(task, picture(1, 96, 48), caption="a dog", **QUICK)
    task.prepare = Preparation(16, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    middle = vlx.explain(task, picture(1, 96, 48), caption="a dog", **QUICK)
    assert columns_and_rows(whole) == (96, 48)
    assert columns_and_rows(middle) == pytest.approx((48, 48), abs=3)


def test_pictures_of_two_sizes_lie_in_two_frames() -> None:
    torch.manual_seed(0)
    crop = Preparation(16, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    task = CnnLstmCaptioner(TinyCnn().eval(), cast(Any, decoder("state").eval()), VOCABULARY, crop, end=1)
    sizes = [(96, 48), (48, 96), (60, 40), (96, 48)]
    found = vlx.explain_many(task, [picture(n, *size) for n, size in enumerate(sizes)], caption="a dog", **QUICK)
    for why, (width, height) in zip(found, sizes, strict=True):
        assert why[0].heatmap.shape == (height, width)
        assert columns_and_rows(why) == pytest.approx((min(width, height),) * 2, abs=3)


def test_every_picture_is_told_by_its_own_name_and_size(tmp_path: Path) -> None:
    def whole(image: Image.Image) -> Tensor:
        values = np.asarray(image.convert("RGB"), np.float32).transpose(2, 0, 1) / 255 - 0.5
        return torch.from_numpy(values.copy())

    torch.manual_seed(0)
    task = CnnLstmCaptioner(TinyCnn().eval(), cast(Any, decoder("state").eval()), VOCABULARY, whole, end=1)
    given = {"one.png": picture(1, 24, 16), "same.png": picture(1, 24, 16), "tall.png": picture(2, 16, 32)}
    for name, image in given.items():
        image.save(tmp_path / name)
    for size in (1, 3):
        found = list(
            vlx.explain_many(task, [tmp_path / name for name in given], batch_size=size, caption="a dog", **QUICK)
        )
        told = [(why.provenance["image"], why.provenance["prepared"], why.provenance["feature_map"]) for why in found]
        assert told == [
            ("one.png", [3, 16, 24], [5, 4, 6]),
            ("same.png", [3, 16, 24], [5, 4, 6]),
            ("tall.png", [3, 32, 16], [5, 8, 4]),
        ]


# Answers beside the one that was given: what they are compared with


def scores(task: Any) -> dict[str, float]:
    """What the network gives each answer, straight from its weights."""
    z = task.head.net.z(task.head.net.map(heads.picture())) + 0.25
    return dict(zip(RGB, z.tolist(), strict=True))


@pytest.mark.parametrize("answer", RGB)
def test_the_margin_of_a_rival_is_its_lead_over_the_answer(answer: str) -> None:
    task = heads.vqa(3, lambda z: z, RGB)
    z = scores(task)
    why = vlx.explain(task, heads.picture(), question="what", answer=answer, target="margin", **QUICK)
    best = max(value for label, value in z.items() if label != answer)
    assert why[0].score == pytest.approx(z[answer] - best)
    assert {other.text for other in why.others} == {*RGB} - {answer}
    for other in why.others:
        assert other[0].score == pytest.approx(z[other.text] - z[answer])
        assert other[0].logprob == pytest.approx(z[other.text] - np.log(np.exp(list(z.values())).sum()))


def test_the_lead_of_a_rival_is_over_the_answer_too() -> None:
    task = heads.vqa(3, lambda z: z, RGB)
    z = scores(task)
    features = task.features(task.place(task.prepare(heads.picture())[None]))
    (said,) = task.predict(features, [Query(question="what", answer="green")])
    for one in asked.questions(task, said, "logit"):
        target = asked.lead(said, one)
        assert target is not None
        best = max(value for label, value in z.items() if label != "green")
        against = best if one.role == "word" else z["green"]
        assert task.scores(features.A, [target]).item() == pytest.approx(z[one.label] - against)


def test_a_contrast_is_against_what_was_named_and_each_side_stands_alone() -> None:
    task = heads.vqa(3, lambda z: z, RGB)
    z = scores(task)
    why = vlx.explain(task, heads.picture(), question="what", answer="blue", instead_of="red", target="logit", **QUICK)
    assert (why.text, why.instead_of) == ("blue", "red")
    assert why[0].score == pytest.approx(z["blue"] - z["red"])
    assert {other.text: other[0].score for other in why.others} == pytest.approx({"blue": z["blue"], "red": z["red"]})


def test_every_picture_has_the_notes_that_are_its_own() -> None:
    task = captioner("state", max_words=2, notes=("made by hand",))
    clear = picture(0).convert("RGBA")
    clear.putalpha(Image.new("L", clear.size, 200))
    captions: Any = ["a dog", "a zebra", None]
    plain, strange, said = vlx.explain_many(task, [clear, picture(1), picture(2)], caption=captions, **QUICK)
    assert plain.notes == ("made by hand", "transparent parts shown on white")
    assert strange.notes == ("made by hand", "scored as <unk>, not in the vocabulary: zebra")
    assert said.notes == ("made by hand", "cut after 2 words (max_words): the model had not ended its caption")
