"""What an answer owes to the words of the question."""

from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

import vlx
from tests.answerers import ANSWERS, HEADS, QUESTION, WORDS, Own, vqa
from tests.fakes import TinyCnn, captioner, feature_map, features_of, picture, prepare
from vlx.methods import engine
from vlx.probes.question_words import question_words
from vlx.protocol.powers import powers_of
from vlx.protocol.targets import Target, Term
from vlx.tasks.vqa import CnnLstmVqa

TERMS = {"one answer": (Term(0, 2),), "contrast": (Term(0, 2), Term(0, 3, -1.0))}


def slow(task: CnnLstmVqa, A: Tensor, tokens: tuple[int, ...], terms: tuple[Term, ...], kind: str) -> Tensor:
    """The target's score, straight from the head."""
    logits = cast(Any, task.head)(A, torch.tensor([tokens]), torch.tensor([len(tokens)]))[0]
    values = {"logprob": logits.log_softmax(0), "logit": logits, "prob": logits.softmax(0)}[kind]
    return cast(Tensor, sum(term.weight * values[term.token] for term in terms))


@pytest.mark.parametrize("terms", TERMS.values(), ids=TERMS)
@pytest.mark.parametrize("kind", HEADS)
def test_left_out_is_the_log_probability_without_the_word(kind: str, terms: tuple[Term, ...]) -> None:
    task = vqa(kind)
    features, tokens = features_of(task, 3), (2, 3, 4, 5, 6)
    found = question_words(task, features, QUESTION, Target(7, "red", terms, "logit", tokens))
    assert [word.word for word in found] == ["what", "color", "is", "the", "dog"]
    with torch.no_grad():
        whole = slow(task, features.A, tokens, terms, "logprob")
        for n, word in enumerate(found):
            without = slow(task, features.A, tuple(t for m, t in enumerate(tokens) if m != n), terms, "logprob")
            assert word.left_out == pytest.approx((whole - without).item(), abs=1e-5)
    assert max(abs(word.left_out) for word in found) > 0.01


def test_the_only_word_gives_way_to_padding() -> None:
    task = vqa()
    features = features_of(task, 3)
    (only,) = question_words(task, features, "dog?", Target(0, "", (Term(0, 1),), "logprob", (6,)))
    with torch.no_grad():
        fall = slow(task, features.A, (6,), (Term(0, 1),), "logprob") - slow(
            task, features.A, (0,), (Term(0, 1),), "logprob"
        )
    assert only.left_out == pytest.approx(fall.item(), abs=1e-6)
    assert abs(only.left_out) > 1e-4


@pytest.mark.parametrize("score", ["logprob", "logit", "prob"])
@pytest.mark.parametrize("kind", HEADS)
def test_gradient_times_embedding_is_how_the_score_grows_with_the_word(kind: str, score: Any) -> None:
    task, A, tokens, step = vqa(kind, torch.float64), feature_map(1), (2, 3, 3, 5, 6), 1e-6
    head = cast(Any, task.head)
    lengths = torch.tensor([5])
    found = task.question_gradients(A, Target(0, "", TERMS["contrast"], score, tokens))
    assert found is not None
    assert found.shape == (5,)
    for n in range(5):
        ends = []
        for sign in (1, -1):
            with torch.no_grad():
                embedded = head.embed(torch.tensor([tokens])).clone()
                embedded[0, n] *= 1 + sign * step
                logits = head.answer(A, embedded, lengths)[0]
                values = {"logprob": logits.log_softmax(0), "logit": logits, "prob": logits.softmax(0)}[score]
                ends.append(values[2] - values[3])
        assert found[n].item() == pytest.approx(float(ends[0] - ends[1]) / (2 * step), rel=1e-5, abs=1e-9)
    assert float(found.abs().min()) > 1e-7


def test_gradients_of_words_leave_the_model_as_it_was() -> None:
    task = vqa("product")
    parameters = list(cast(nn.Module, task.head).parameters())
    parameters[0].requires_grad_(False)
    target = Target(0, "", TERMS["contrast"], "logit", (2, 3))
    outside = task.question_gradients(feature_map(1, torch.float32), target)
    with torch.inference_mode():
        inside = task.question_gradients(feature_map(1, torch.float32), target)
    assert outside is not None and inside is not None
    assert torch.equal(outside, inside)
    assert not outside.requires_grad
    assert all(parameter.grad is None for parameter in parameters)
    assert [parameter.requires_grad for parameter in parameters] == [False] + [True] * (len(parameters) - 1)


def test_an_explanation_holds_the_words_as_they_were_asked() -> None:
    task = vqa()
    why = vlx.explain(task, picture(3), question="What COLOR is the κύων, the dog?", answer="red", target="logprob")
    assert [word.word for word in why.question_words] == ["What", "COLOR", "is", "the", "κύων", "the", "dog"]
    tokens = (2, 3, 4, 5, 1, 5, 6)
    features = features_of(task, 3)
    target = Target(0, "", (Term(0, ANSWERS.index("red")),), "logprob", tokens)
    expected = question_words(task, features, why.question or "", target)
    for found, other in zip(why.question_words, expected, strict=True):
        assert found.left_out == pytest.approx(other.left_out, abs=1e-5)
        assert found.gradient == pytest.approx(other.gradient, abs=1e-5)
    left = engine.scores(task, features.A, [target, Target(0, "", target.terms, "logprob", (*tokens[:5], 6))])
    assert why.question_words[5].left_out == pytest.approx(float(left[0] - left[1]), abs=1e-5)
    assert all(len(other.question_words) == 0 for other in why.others)


def test_gradients_of_words_are_in_the_unit_of_the_target_and_what_is_lost_in_nats() -> None:
    task = vqa()
    A, tokens, red = features_of(task, 3).A, (2, 3, 4, 5, 6), (Term(0, ANSWERS.index("red")),)
    plain = {}
    for kind in ("logprob", "logit", "prob", "margin"):
        why = vlx.explain(task, picture(3), question=QUESTION, answer="red", target=kind)
        plain[kind] = [word.left_out for word in why.question_words]
        terms: tuple[Term, ...] = red
        if kind == "margin":
            rival = next(label for label, _ in why[0].alternatives if label != "red")
            terms = (*red, Term(0, ANSWERS.index(rival), -1.0))
        expected = task.question_gradients(A, Target(0, "", terms, cast(Any, kind), tokens))
        assert expected is not None
        assert [word.gradient for word in why.question_words] == pytest.approx(expected.tolist(), abs=1e-5)
    for kind in ("logit", "prob", "margin"):
        assert plain[kind] == pytest.approx(plain["logprob"], abs=1e-6)


def test_a_contrast_owes_to_a_word_the_difference_of_its_sides() -> None:
    task = vqa()
    both = vlx.explain(task, picture(), question=QUESTION, answer="red", instead_of="blue").question_words
    red, blue = (vlx.explain(task, picture(), question=QUESTION, answer=a).question_words for a in ("red", "blue"))
    for word, one, other in zip(both, red, blue, strict=True):
        assert word.left_out == pytest.approx(one.left_out - other.left_out, abs=1e-5)
        assert word.gradient == pytest.approx(cast(float, one.gradient) - cast(float, other.gradient), abs=1e-5)


def test_heads_without_halves_have_no_gradient_and_captioners_no_question() -> None:
    task = CnnLstmVqa(TinyCnn().eval(), Own().eval(), WORDS, ANSWERS, prepare)
    assert task.question_gradients(feature_map(1, torch.float32), Target(0, "", (Term(0, 1),), "logit", (2,))) is None
    assert powers_of(task).hears
    assert powers_of(captioner()).hears is None
    assert vlx.explain(captioner(), picture()).question_words == ()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="cuDNN needs a GPU")
@pytest.mark.parametrize("kind", HEADS)
def test_cudnn_does_not_refuse_the_gradients_of_words(kind: str) -> None:
    task = vqa(kind)
    A, target = feature_map(1, torch.float32), Target(0, "", (Term(0, 2),), "logit", (2, 3, 4))
    expected = task.question_gradients(A, target)
    cast(nn.Module, task.head).cuda()
    found = task.question_gradients(A.cuda(), target)
    assert expected is not None and found is not None
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-3, atol=1e-4)
