"""Other pictures in place of the user's own: references, blurred, swapped."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from torch import Tensor

import vlx
from tests.answerers import ANSWERS, QUESTION, vqa
from tests.fakes import Blind, TinyCnn, captioner, picture, prepare, slow_logits, slow_score
from vlx.errors import InputError
from vlx.explanation.records import Look
from vlx.pictures.edits import MADE, made_of
from vlx.pictures.placement import Grid
from vlx.probes import other_pictures
from vlx.probes.references import elsewhere
from vlx.protocol.targets import Alternative, Prediction, Query, Target, Term, Word, sentence_target, word_target
from vlx.protocol.task import Defaults, Features
from vlx.scenes import HELD_OUT, draw

TEXT = "a red dog on grass"
KINDS = [*MADE, "blurred", "swapped"]


def looks(
    task: Any, shown: Image.Image, prediction: Prediction, targets: Sequence[Target], **options: Any
) -> list[tuple[Look, ...]]:
    other = elsewhere(task, shown, task.prepare(shown))
    return other_pictures.looks(task, shown, Query(), prediction, targets, other, **options)


def foreign(shown: Image.Image, swaps: Sequence[Image.Image] | None = None) -> dict[str, list[Image.Image]]:
    """All other pictures, written out one by one."""
    side = min(shown.size)
    others = [draw(10_900_000 + n).image for n in range(4)] if swaps is None else swaps
    return {
        **{name: [one] for name, one in made_of(shown).items()},
        "blurred": [shown.filter(ImageFilter.GaussianBlur(max(side / part, 1))) for part in (32, 16, 8)],
        "swapped": [other.convert("RGB").resize(shown.size) for other in others],
    }


def map_of(task: Any, shown: Image.Image) -> Tensor:
    return cast(Tensor, task.features(task.prepare(shown)[None].to(next(task.cnn.parameters()).dtype)).A)


def words_and_sentence(task: Any, shown: Image.Image) -> tuple[Prediction, list[Target]]:
    prediction = task.predict(task.features(task.prepare(shown)[None]), [Query()])[0]
    words = [word_target(prediction, n, 0, "logit") for n in range(len(prediction.words))]
    return prediction, [*words, sentence_target(prediction, 0)]


@pytest.mark.parametrize("swaps", [None, [picture(5, 20, 20), picture(6, 60, 31).convert("L")]])
@pytest.mark.parametrize("kind", ["first", "attention", "logits"])
def test_captions_on_other_pictures_are_scored_one_by_one_alike(kind: str, swaps: Sequence[Image.Image] | None) -> None:
    task, shown = captioner(kind), picture(width=96, height=40)
    prediction, targets = words_and_sentence(task, shown)
    found = looks(task, shown, prediction, targets, swaps=swaps)
    for n, (target, told) in enumerate(zip(targets, found, strict=True)):
        assert [look.kind for look in told] == KINDS
        for look, pictures in zip(told, foreign(shown, swaps).values(), strict=True):
            assert len(look.logprobs) == len(look.said) == len(pictures)
            for logprob, said, other in zip(look.logprobs, look.said, pictures, strict=True):
                A = map_of(task, other)
                slow = slow_score(task, A, replace(target, row=0, kind="logprob"))
                assert logprob == pytest.approx(slow.item(), abs=1e-4)
                if n < len(prediction.words):
                    assert said == task.vocabulary[int(slow_logits(task, A, target)[n].argmax())]
                else:
                    assert said == vlx.explain(task, other, seen=False).text


def test_answers_on_other_pictures_are_scored_one_by_one_alike() -> None:
    task, shown = vqa(), picture(2, 90, 70)
    why = vlx.explain(task, shown, question=QUESTION, answer="blue", looks=True)
    for word in (why[0], *(other[0] for other in why.others)):
        for look, pictures in zip(word.looks, foreign(shown).values(), strict=True):
            for logprob, said, other in zip(look.logprobs, look.said, pictures, strict=True):
                logits = task.logits(map_of(task, other), [task.tokens(QUESTION)[1]])[0]
                assert logprob == pytest.approx(logits.log_softmax(0)[ANSWERS.index(word.label)].item(), abs=1e-5)
                assert said == ANSWERS[int(logits.argmax())]


def test_a_contrast_on_other_pictures_is_the_difference_of_its_sides() -> None:
    why = vlx.explain(vqa(), picture(), question=QUESTION, answer="red", instead_of="blue", looks=True)
    sides = [other[0].looks for other in why.others]
    for own, red, blue in zip(why[0].looks, *sides, strict=True):
        difference = np.subtract(red.logprobs, blue.logprobs)
        assert own.logprobs == pytest.approx(difference, abs=1e-5)
        assert own.said == red.said == blue.said
    assert np.ptp(why[0].looks[6].logprobs) > 0.01


def test_classes_are_told_as_they_are() -> None:
    found = looks(Nested(), picture(), dark(), [Target(0, "dark", (Term(0, 1),), "logit")])
    assert [look.kind for look in found[0]] == KINDS
    means = [[float(prepare(one).mean()) for one in kind] for kind in foreign(picture()).values()]
    for look, expected in zip(found[0], means, strict=True):
        assert look.logprobs == pytest.approx([-mean for mean in expected], abs=1e-4)
        assert look.said == tuple(f"{mean:.3f}" for mean in expected)


class Nested:
    """A task that reads nothing but what goes along with the map, and says how bright each picture is."""

    name, kind, defaults = "nested", "classification", Defaults("hirescam", "logit", "loop")
    notes: tuple[str, ...] = ()
    blank = (0.25, 0.5, 0.75)
    prepare = staticmethod(prepare)

    def place(self, inputs: Tensor) -> Tensor:
        return inputs

    def version(self) -> int:
        return 0

    def features(self, inputs: Tensor) -> Features:
        rest = {"means": (inputs.mean((1, 2, 3)), [inputs[:, :1]])}
        return Features({"pixels": inputs}, "pixels", Grid.half_pixel((16, 16), (16, 16)), rest)

    def predict(self, features: Features, queries: Sequence[Query]) -> list[Prediction]:
        assert len(queries) == len(features.A)
        return [replace(dark(), text=f"{float(mean):.3f}") for mean in features.rest["means"][0]]

    def scores(self, A: Tensor, targets: Sequence[Target], rest: Any = None) -> Tensor:
        assert {len(A), len(rest["means"][0]), len(rest["means"][1][0])} == {len(A)}
        return torch.stack([-rest["means"][0][target.row] + 0 * A.sum() for target in targets])


def dark() -> Prediction:
    return Prediction("dark", (Word("dark", (Term(0, 1),), -0.5),), ())


def test_words_without_alternatives_leave_what_was_said_open() -> None:
    task = Nested()
    found = looks(task, picture(), replace(dark(), whole=True), [Target(0, "dark", (Term(0, 1),))], others=False)
    assert [look.said for look in found[0]] == [("",)] * 5


def test_a_model_that_does_not_look_says_the_same_of_every_picture() -> None:
    why = vlx.explain(captioner(cast(Any, Blind())), picture(), caption=TEXT, looks=True)
    for word in why:
        for look in word.looks:
            assert look.logprobs == pytest.approx([word.logprob] * len(look.logprobs), abs=1e-6)


def test_everything_is_asked_in_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    task = captioner()
    prediction, targets = words_and_sentence(task, picture())
    batches = []

    def scores(A: Tensor, targets: Sequence[Target], rest: Any = None) -> Tensor:
        batches.append((len(A), len(targets)))
        return cast(Tensor, type(task).scores(task, A, targets, rest))

    monkeypatch.setattr(task, "scores", scores)
    looks(task, picture(), prediction, targets)
    assert batches == [(12, 12 * len(targets))]


def test_drawn_pictures_are_seen_once_for_a_size_and_weights() -> None:
    task = captioner()
    cnn: TinyCnn = task.cnn
    prediction, targets = words_and_sentence(task, picture())

    def seen(shown: Image.Image, **options: Any) -> list[int]:
        cnn.seen.clear()
        looks(task, shown, prediction, targets, **options)
        return [len(batch) for batch in cnn.seen]

    assert seen(picture()) == [5, 3, 4]
    assert seen(picture(1)) == [5, 3]
    assert seen(picture(1), others=False) == [5]
    assert seen(picture(1, 50, 50)) == [5, 3, 4]
    assert seen(picture(1), swaps=[picture(3)]) == [5, 3, 1]
    with torch.no_grad():
        next(cnn.parameters()).mul_(1.5)
    assert seen(picture(1)) == [5, 3, 4]


def test_no_more_is_kept_than_a_few_sizes() -> None:
    task = captioner()
    for width in range(20, 40):
        other_pictures.swapped_features(task, (20, width))
    assert len(other_pictures._foreign.of(task)) == other_pictures.KEPT


def test_drawn_pictures_are_never_trained_on() -> None:
    assert min(other_pictures.SWAPS) >= HELD_OUT
    assert len(set(other_pictures.SWAPS)) == 4


# In an explanation


def test_a_caption_is_shown_other_pictures_when_asked() -> None:
    assert all(word.looks == () for word in vlx.explain(captioner(), picture(), caption=TEXT))
    why = vlx.explain(captioner(), picture(), caption=TEXT, looks=True)
    for word in (*why, why.sentence):
        assert [len(look.logprobs) for look in word.looks] == [1] * 5 + [3, 4]
    sums = [sum(word.looks[6].logprobs[n] for word in why) for n in range(4)]
    assert why.sentence.looks[6].logprobs == pytest.approx(sums, abs=1e-4)
    assert all(phrase.looks == () for phrase in why.phrases)


def test_an_answer_is_shown_the_references_unless_told_otherwise() -> None:
    task = vqa()
    assert [look.kind for look in vlx.explain(task, picture(), question=QUESTION)[0].looks] == list(MADE)
    bare = vlx.explain(task, picture(), question=QUESTION, seen=False)
    assert (bare[0].looks, bare[0].seen, bare[0].seen_by, bare[0].looked) == ((), None, {}, None)
    full = vlx.explain(task, picture(), question=QUESTION, looks=True, seen=False)[0]
    assert [len(look.said) for look in full.looks] == [1] * 5 + [3, 4]
    assert full.seen is None


def test_pictures_of_ones_own_take_the_place_of_drawn_ones() -> None:
    task, others = vqa(), [picture(4), np.array(picture(5))]
    for swaps in (others, iter(others)):
        first, second = vlx.explain_many(task, [picture(), picture(1)], question=QUESTION, swaps=cast(Any, swaps))
        assert [len(word.looks[6].said) for word in (first[0], second[0])] == [2, 2]
    alone = vlx.explain(task, picture(), question=QUESTION, answer=first.text, swaps=[picture(4)])[0]
    assert alone.looks[6].logprobs == pytest.approx(first[0].looks[6].logprobs[:1], abs=1e-5)


@pytest.mark.parametrize("target", ["logit", "prob", "margin"])
def test_looks_and_what_is_owed_are_log_probabilities_whatever_the_target(target: str) -> None:
    task = vqa()
    plain = vlx.explain(task, picture(), question=QUESTION, target="logprob", looks=True)
    why = vlx.explain(task, picture(), question=QUESTION, target=target, looks=True)
    for one, other in zip((why, *why.others), (plain, *plain.others), strict=True):
        assert one.text == other.text
        assert one[0].logprob == pytest.approx(other[0].logprob, abs=1e-6)
        assert one[0].seen == pytest.approx(other[0].seen, abs=1e-6)
        for look, expected in zip(one[0].looks, other[0].looks, strict=True):
            assert look.logprobs == pytest.approx(expected.logprobs, abs=1e-6)


@pytest.mark.parametrize("swaps", [[], "a.png", picture(), np.zeros((4, 4, 3), np.uint8)])
def test_swaps_are_several_pictures(swaps: Any) -> None:
    with pytest.raises(InputError, match="swaps takes one or more pictures of something else, in a list; leave it out"):
        vlx.explain(vqa(), picture(), question=QUESTION, swaps=swaps)


def test_alternatives_are_the_likeliest_whatever_their_order() -> None:
    told = (Alternative("b", 1, -3.0), Alternative("a", 0, -0.1))
    prediction = Prediction("b", (Word("b", (Term(0, 1),), -3.0, told),), (1,))
    assert other_pictures._likeliest(prediction, 0) == "a"
    assert other_pictures._likeliest(prediction, 1) == ""
