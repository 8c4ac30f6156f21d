"""Several answers about one picture, and texts of its own for every picture."""

from typing import Any

import numpy as np
import pytest
import torch

import vlx
from tests.fakes import alike, captioner
from tests.fakes import picture as blotchy
from tests.heads import classifier, picture, vqa
from vlx.errors import InputError
from vlx.protocol.targets import Query

RGB = ["red", "green", "blue"]


def same(one: vlx.WordExplanation, other: vlx.WordExplanation) -> None:
    """Assert that two words are explained alike."""
    assert (one.label, one.alternatives, one.notes) == (other.label, other.alternatives, other.notes)
    assert one.score == pytest.approx(other.score)
    assert one.logprob == pytest.approx(other.logprob, nan_ok=True)
    for name in ("signed", "opposed", "weights"):
        assert np.allclose(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("outputs", ["softmax", "sigmoid", "value"])
@pytest.mark.parametrize("options", [{}, {"target": "margin"}, {"instead_of": "green"}], ids=str)
def test_several_answers_are_each_alone_from_one_run(outputs: Any, options: dict[str, Any]) -> None:
    task = classifier(3, labels=RGB, outputs=outputs)
    if outputs == "value" and "target" in options:
        pytest.skip("a number has no margin")
    vlx.explain(task, picture())
    before = task.model.runs
    why = vlx.explain(task, picture(), answer=["blue", "red"], seen=False, check=False, **options)
    shown = [*why, *(other[0] for other in why.others)]
    empty = sum(one.signed.max() <= 0 for one in shown)  # of each a replay: is the gradient cut in part?
    assert task.model.runs == before + 2 + ("instead_of" in options) + empty  # the picture, rows, log p of contrasts
    assert (why.text, len(why), why.forced) == ("blue, red", 2, True)
    assert why.instead_of == options.get("instead_of")
    for label in ("blue", "red"):
        same(why[label], vlx.explain(task, picture(), answer=label, seen=False, check=False, **options)[0])


def test_several_answers_to_one_question() -> None:
    task = vqa(3, lambda z: z, RGB)
    runs: list[int] = []
    task.cnn.register_forward_hook(lambda module, given, output: runs.append(len(output)))
    why = vlx.explain(task, picture(), question="what color", answer=["blue", "red"], seen=False)
    assert runs == [1]
    assert [word.label for word in why] == ["blue", "red"]
    assert [other.text for other in why.others] == ["green"]
    assert [word.word for word in why.question_words] == ["what", "color"]
    for label in ("blue", "red"):
        same(why[label], vlx.explain(task, picture(), question="what color", answer=label, seen=False)[0])
    contrast = vlx.explain(task, picture(), question="what", answer=["blue", "red"], instead_of="green")
    assert [word.label for word in contrast] == ["blue", "red"]
    assert sorted(other.text for other in contrast.others) == sorted(RGB)


@pytest.mark.parametrize("batch_size", [1, 2, 16])
def test_an_answer_for_each_picture(batch_size: int) -> None:
    task = classifier(3, labels=RGB)
    pictures = [picture(seed) for seed in range(3)]
    asked: list[Any] = ["red", ["green", "blue"], "blue"]
    found = list(vlx.explain_many(task, pictures, answer=asked, batch_size=batch_size))
    assert [why.text for why in found] == ["red", "green, blue", "blue"]
    for why, image, answer in zip(found, pictures, asked, strict=True):
        alike(why, vlx.explain(task, image, answer=answer))
    taken = list(vlx.explain_many(task, iter(pictures), answer=asked))
    assert [why.text for why in taken] == [why.text for why in found]


def test_a_question_for_each_picture() -> None:
    task = vqa(3, lambda z: z, RGB)
    pictures = [picture(seed) for seed in range(2)]
    found = list(vlx.explain_many(task, pictures, question=["what", "color"], answer=["red", "blue"]))
    assert [(why.question, why.text) for why in found] == [("what", "red"), ("color", "blue")]
    for why, image, question, answer in zip(found, pictures, ["what", "color"], ["red", "blue"], strict=True):
        alike(why, vlx.explain(task, image, question=question, answer=answer))


def test_a_caption_for_each_picture() -> None:
    task = captioner()
    texts = ["a red dog", "a blue house on grass"]
    found = list(vlx.explain_many(task, [blotchy(0), blotchy(1)], caption=texts))
    assert [why.text for why in found] == texts
    for seed, (why, text) in enumerate(zip(found, texts, strict=True)):
        alike(why, vlx.explain(task, blotchy(seed), caption=text), 1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"answer": ["red"]}, r"^answer is a list of 1 for 2 pictures; give one for each picture, or one text for all"),
        ({"answer": ["red"] * 3}, r"^answer is a list of 3 for 2 pictures; .*explain\(task, picture, answer=\[…\]\)"),
        ({"answer": ["red", "green"], "instead_of": ["blue"]}, r"^instead_of is a list of 1 for 2 pictures"),
        ({"answer": ["red", 3]}, r"^answer must be a text, got int$"),
        ({"answer": ["red", []]}, r"^answer=\[\]: give a text, or a list of one text or more$"),
        ({"answer": ["red", ["green", "green"]]}, r"^answer names 'green' twice; ask for each once$"),
        ({"caption": [["a"], ["b"]]}, r"^caption must be a text, got list; one for each picture is for explain_many"),
    ],
)
def test_lists_that_do_not_fit_are_refused_at_the_call(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        vlx.explain_many(classifier(3, labels=RGB), [picture(), picture(1)], **options)
    assert len(str(caught.value)) <= 300


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"answer": []}, r"^answer=\[\]: give a text, or a list"),
        ({"answer": ["red", "0"]}, r"^'red' is asked for twice; ask for each once$"),
        ({"answer": ["red", "pink"]}, r"^no class 'pink' among 3"),
        (
            {"question": ["a", "b"]},
            r"^question must be a text, got list; one for each picture is for explain_many",
        ),
        ({"answer": [["red"]]}, r"^answer=\[\['red'\]\]: give a text, or a list of one text or more$"),
    ],
)
def test_what_cannot_be_asked_of_one_picture(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        vlx.explain(classifier(3, labels=RGB), picture(), **options)


def test_predictions_stay_one_call() -> None:
    """All queries of a batch are put to the model at once."""
    task = vqa(3, lambda z: z, RGB)
    asked: list[int] = []
    plain = task.predict

    def predict(features: Any, queries: list[Query]) -> Any:
        asked.append(len(queries))
        assert len(features.A) == len(queries)
        return plain(features, queries)

    task.predict = predict
    answers: list[Any] = [["red", "blue"], "red"]
    list(vlx.explain_many(task, [picture(), picture(1)], question="what", answer=answers, seen=False))
    assert asked == [3]
    assert torch.is_grad_enabled()
