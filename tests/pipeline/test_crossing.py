"""Rows of several pictures in one backward: each picture is explained as it is alone."""

from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import vlx
from tests import answerers, heads
from tests.fakes import ALL_KINDS, UNITS, VOCABULARY, alike, captioner, picture
from vlx.errors import Failure
from vlx.explanation.records import WordExplanation
from vlx.methods import engine, replay
from vlx.pictures.edits import MADE
from vlx.pipeline import batch as explaining
from vlx.protocol.targets import Prediction
from vlx.protocol.task import Defaults
from vlx.tasks.classification import Classifier

CAPTIONS = ["a dog", "a red dog on grass", "house", "a blue house on a red", "dog on dog"]  # of unequal lengths
PICTURES = [picture(seed) for seed in range(5)]


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many pictures every attribution was for."""
    counts: list[int] = []
    attribute = engine.attribute

    def counting(task: Any, A: Tensor, *arguments: Any, **options: Any) -> Any:
        counts.append(len(A))
        return attribute(task, A, *arguments, **options)

    monkeypatch.setattr(engine, "attribute", counting)
    yield counts


def marks(one: vlx.Explanation, other: vlx.Explanation) -> None:
    """Assert that the checks say the same, and every reference by itself."""
    for a, b in zip(parts(one), parts(other), strict=True):
        assert list(a.seen_by) == list(b.seen_by)
        assert [*a.seen_by.values()] == pytest.approx([*b.seen_by.values()], abs=1e-9)
        for check, wanted in ((a.check, b.check), (a.against_check, b.against_check)):
            if check is None or wanted is None:
                assert check is wanted
                continue
            assert (check.verdict, check.unit, check.reason) == (wanted.verdict, wanted.unit, wanted.reason)
            figures = [[made.fall, *made.random] for made in (check, wanted)]
            assert figures[0] == pytest.approx(figures[1], abs=1e-9, nan_ok=True)


def parts(why: vlx.Explanation) -> list[WordExplanation]:
    return [*why, why.sentence, *(other.words[0] for other in why.others)]


def same(task: Any, **options: Any) -> None:
    """Assert that five pictures say in one batch what each says alone; texts are lists, one a picture."""
    texts = {name: own for name, own in options.items() if isinstance(own, list)}
    plain = {name: one for name, one in options.items() if name not in texts}
    together = list(vlx.explain_many(task, PICTURES, batch_size=5, **options))
    for n, why in enumerate(together):
        alone = vlx.explain(task, PICTURES[n], **plain, **{name: own[n] for name, own in texts.items()})
        alike(why, alone, 1e-9)
        marks(why, alone)
        assert [other.text for other in why.others] == [other.text for other in alone.others]


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_captions_of_unequal_length_share_a_backward(kind: str, shared: list[int]) -> None:
    same(captioner(kind, torch.float64), caption=CAPTIONS)
    assert shared[0] == 5  # and two of them again, to see that they are the same alone
    assert shared[1:] == [1] * 7


@pytest.mark.parametrize(("way", "method"), [("rows", "gradcam"), ("batched", "layercam"), ("loop", "gradcam++")])
def test_every_way_and_method_takes_several_pictures(way: Any, method: str, shared: list[int]) -> None:
    same(captioner("attention", torch.float64, defaults=Defaults(gradients=way)), method=method)
    assert shared[0] == 5


@pytest.mark.parametrize("kind", answerers.HEADS)
def test_questions_of_unequal_length_share_a_backward(kind: str, shared: list[int]) -> None:
    asked = ["what color is the dog?", "is there a dog?", "a dog", "the dog is what color?", "dog?"]
    same(answerers.vqa(kind, torch.float64), question=asked)
    assert shared[0] == 5


def test_classes_share_a_backward(shared: list[int]) -> None:
    task = Classifier(heads.Net(4), "body", ["a", "b", "c", "d"], heads.prepare)
    same(task, answer=["a", "d", "b", "b", "c"])
    assert shared[0] == 5


def test_what_attention_and_hiding_explain_stays_alone(shared: list[int]) -> None:
    same(captioner("state", torch.float64), caption=CAPTIONS, method="occlusion", check=False)
    assert shared == []


def test_pictures_that_fill_the_budget_go_alone(monkeypatch: pytest.MonkeyPatch, shared: list[int]) -> None:
    A = UNITS * 16 * 8  # bytes of a float64 gradient
    monkeypatch.setattr(explaining, "CACHED", 9 * A)
    captions = ["a dog", "a red", "dog on", "a dog on grass by a red", "dog"]  # 3, 3, 3, 8 and 1 targets
    found = list(vlx.explain_many(captioner("state", torch.float64), PICTURES, caption=captions, check=False))
    assert [len(one) for one in found] == [2, 2, 2, 7, 1]
    assert shared[0] == 3
    assert max(shared[1:]) <= 2


def test_references_and_checks_are_asked_for_together(monkeypatch: pytest.MonkeyPatch) -> None:
    task = captioner("state", torch.float64)
    tables: list[int] = []
    trials: list[int] = []
    scores, replays = engine.scores, replay.replays

    def scoring(task: Any, A: Tensor, *rest: Any) -> Tensor:
        tables.append(len(A))
        return scores(task, A, *rest)

    def trying(task: Any, changed: Any) -> Any:
        trials.append(len(changed))
        return replays(task, changed)

    monkeypatch.setattr(engine, "scores", scoring)
    monkeypatch.setattr("vlx.probes.map_trials.replays", trying)
    found = list(vlx.explain_many(task, PICTURES, caption=CAPTIONS))
    assert [len(one) for one in found] == [len(caption.split()) for caption in CAPTIONS]
    assert [len(batch) for batch in task.cnn.seen].count(16) == 1  # 25 references, 16 at a time
    assert tables == [5 * len(MADE)]
    assert trials == [5]


class Mixing(nn.Module):
    """A decoder whose rows read each other: what it makes of a picture depends on those beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.output = nn.Linear(UNITS, len(VOCABULARY))

    def start(self, A: Tensor) -> Tensor:
        means = (A * A).mean((2, 3))
        return torch.tanh(4 * (means * (1 + means.sum(0))))

    def step(self, tokens: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        return state, state

    def logits(self, hidden: Tensor) -> Tensor:
        return cast(Tensor, self.output(hidden))


def test_pictures_whose_rows_read_each_other_are_explained_alone(shared: list[int]) -> None:
    options: dict[str, Any] = {"seen": False, "check": False, "method": "hirescam"}
    task = captioner(Mixing(), torch.float64, defaults=Defaults(gradients="batched"))
    together = list(vlx.explain_many(task, PICTURES, caption=CAPTIONS, **options))
    assert shared == [5, 1, 1, *[1] * 5]
    for one, image, caption in zip(together, PICTURES, CAPTIONS, strict=True):
        alone = vlx.explain(task, image, caption=caption, **options)
        assert all(np.array_equal(a.signed, b.signed) for a, b in zip(one, alone, strict=True))
    shared.clear()
    list(vlx.explain_many(task, PICTURES[:3], caption=CAPTIONS[:3], **options))
    assert shared == [3, 1, 1, 1]  # what was found out is kept


@pytest.mark.parametrize("where", ["attribution", "references", "checks"])
def test_what_fails_together_is_done_alone(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    task = captioner("state", torch.float64)
    least = {"attribution": 2, "references": 6, "checks": 40}[where]

    def failing(function: Any) -> Any:
        def told(rows: Tensor, *rest: Any) -> Any:
            if len(rows) >= least and (where == "attribution") == torch.is_grad_enabled():
                raise RuntimeError("out of memory")
            return function(rows, *rest)

        return told

    expected = list(vlx.explain_many(task, PICTURES, batch_size=1, caption=CAPTIONS))
    for name in ("features",) if where == "references" else ("scores", "begin"):
        monkeypatch.setattr(task, name, failing(getattr(task, name)))
    for one, other in zip(vlx.explain_many(task, PICTURES, caption=CAPTIONS), expected, strict=True):
        alike(one, other, 1e-9)
        marks(one, other)


def test_one_that_cannot_be_explained_costs_itself_alone_in_company() -> None:
    captions = [*CAPTIONS[:2], " ", *CAPTIONS[3:]]
    task = captioner("state", torch.float64)
    begun = explaining._begun

    def breaking(task: Any, one: Any, *rest: Any) -> Any:
        if one.picture.image.tobytes() == PICTURES[1].tobytes():
            raise RuntimeError("broken")
        return begun(task, one, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(explaining, "_begun", breaking)
        found = list(vlx.explain_many(task, PICTURES, caption=CAPTIONS, errors="keep"))
        assert [isinstance(one, Failure) for one in found] == [False, True, False, False, False]
        alike(cast(Any, found[2]), vlx.explain(task, PICTURES[2], caption=CAPTIONS[2]), 1e-9)
    refused = list(vlx.explain_many(task, PICTURES, caption=captions, errors="keep"))
    assert [isinstance(one, Failure) for one in refused] == [False, False, True, False, False]


def test_an_empty_caption_stands_among_others() -> None:
    task = captioner("state", torch.float64)
    predict = task.predict

    def silent(features: Any, queries: Any) -> Any:
        found = predict(features, queries)
        return [
            Prediction("", (), ()) if query.caption == "dog on dog" else one
            for one, query in zip(found, queries, strict=True)
        ]

    task.predict = silent
    found = list(vlx.explain_many(task, PICTURES, caption=CAPTIONS))
    assert [one.text for one in found] == [*CAPTIONS[:4], ""]


@pytest.mark.parametrize(
    "family", [*(pytest.param(name, marks=pytest.mark.slow) for name in ("blip-captioning", "blip-vqa")), "git", "vilt"]
)
def test_models_of_transformers_say_the_same(family: str, tiny_models: Any) -> None:
    task = tiny_models.task(family)
    asked: dict[str, Any] = {"question": "is there a dog?"} if task.kind == "vqa" else {}
    together = list(vlx.explain_many(task, PICTURES[:2], **asked))
    for one, image in zip(together, PICTURES, strict=False):
        alike(one, vlx.explain(task, image, **asked), 1e-4)
