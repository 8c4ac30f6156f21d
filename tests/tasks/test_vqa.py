"""`CnnLstmVqa`: answers, their gradients, and questions that cannot be asked."""

from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

import vlx
from tests.answerers import ANSWERS, HEADS, QUESTION, WORDS, Own, head, vqa
from tests.fakes import SIZE, TinyCnn, feature_map, picture, prepare
from vlx.errors import InputError, ModelError, UnknownWords
from vlx.methods import engine
from vlx.protocol.targets import GradientWay, Query, Target, Term
from vlx.tasks.vqa import CnnLstmVqa


def asked(task: CnnLstmVqa, rows: int = 3) -> list[Target]:
    texts = [task.tokens(text)[1] for text in (QUESTION, "is there a dog", "dog")]
    kinds: tuple[Any, ...] = ("logit", "logprob", "prob")
    return [
        Target(n % rows, "", (Term(0, n % 5),) if n % 2 else (Term(0, n % 5), Term(0, (n + 1) % 5, -1.0)), kind, text)
        for n, (text, kind) in enumerate((text, kind) for text in texts for kind in kinds)
    ]


@pytest.mark.parametrize("kind", HEADS)
def test_scores_are_those_of_the_prediction(kind: str) -> None:
    task = vqa(kind, torch.float64)
    A = feature_map(2)
    for row in range(2):
        tokens = task.tokens(QUESTION)[1]
        logprobs = task.logits(A[row : row + 1], [tokens]).log_softmax(-1)[0]
        targets = [Target(row, "", (Term(0, n),), "logprob", tokens) for n in range(len(ANSWERS))]
        assert engine.scores(task, A, targets).tolist() == pytest.approx(logprobs.tolist(), abs=1e-12)


@pytest.mark.parametrize("kind", HEADS)
def test_padding_and_company_change_no_answer(kind: str) -> None:
    task = vqa(kind, torch.float64)
    A = feature_map(2)
    short, long = task.tokens("dog")[1], task.tokens(QUESTION)[1]
    alone = task.logits(A[:1], [short])
    together = task.logits(A, [short, long])
    torch.testing.assert_close(together[:1], alone, rtol=0, atol=1e-12)
    grouped = cast(Any, task.head)(A, *_padded([short, long, long, short]))
    torch.testing.assert_close(grouped[3], task.logits(A[1:], [short])[0], rtol=0, atol=1e-12)


def test_shorter_questions_end_in_token_0() -> None:
    tokens, lengths = _padded([(2,), (3, 4, 5)])
    assert (tokens.tolist(), lengths.tolist()) == ([[2, 0, 0], [3, 4, 5]], [1, 3])


def _padded(questions: list[tuple[int, ...]]) -> tuple[Tensor, Tensor]:
    from vlx.tasks.vqa.vqa import padded

    return padded(questions)


@pytest.mark.parametrize("way", ["rows", "batched", "loop"])
@pytest.mark.parametrize("kind", HEADS)
def test_gradients_equal_finite_differences(kind: str, way: GradientWay) -> None:
    task, A = vqa(kind, torch.float64), feature_map(3)
    targets = asked(task)
    _, gradient = engine.gradients(task, A, targets, way=way)
    generator = torch.Generator().manual_seed(5)
    direction = torch.randn(A.shape, generator=generator, dtype=torch.float64)
    step = 1e-6
    rise = engine.scores(task, A + step * direction, targets) - engine.scores(task, A - step * direction, targets)
    rows = [target.row for target in targets]
    along = (gradient * direction[rows]).sum((1, 2, 3))
    assert float(along.abs().min()) > 1e-9
    torch.testing.assert_close(along, rise / (2 * step), rtol=1e-5, atol=1e-9)


def test_normalised_features_balance_evidence_and_the_explanation_says_so() -> None:
    task = vqa("product", torch.float64)
    A, tokens = feature_map(1), task.tokens(QUESTION)[1]
    _, gradient = engine.gradients(task, A, [Target(0, "", (Term(0, 2),), "logit", tokens)])
    assert float((gradient * A).sum().abs()) < 1e-10 * float((gradient * A).abs().sum())
    assert "cancel exactly" in "".join(
        vlx.explain(vqa("product"), picture(), question=QUESTION, method="gradcam", target="logit")[0].notes
    )
    assert "cancel exactly" not in "".join(vlx.explain(vqa("plain product"), picture(), question=QUESTION)[0].notes)


def test_an_answer_is_explained_beside_its_rivals() -> None:
    task = vqa()
    why = vlx.explain(task, picture(), question=QUESTION)
    assert (len(why), why.question, why.forced, why.instead_of) == (1, QUESTION, False, None)
    assert why.sentence is why[0]
    assert why.text == why[0].alternatives[0][0]
    assert {why.text, *(other.text for other in why.others)} == set(ANSWERS)
    for other in why.others:
        forced = vlx.explain(task, picture(), question=QUESTION, answer=other.text)
        assert forced.forced
        assert other[0].logprob == pytest.approx(forced[0].logprob, abs=1e-5)
        assert other[0].seen == pytest.approx(forced[0].seen, abs=1e-5)
        assert other[0].signed == pytest.approx(forced[0].signed, abs=1e-5)
        assert other.others == ()


def test_a_contrast_is_the_difference_of_its_sides() -> None:
    task = vqa()
    why = vlx.explain(task, picture(), question=QUESTION, answer="red", instead_of="Blue", method="hirescam")
    assert (why.text, why.instead_of, [other.text for other in why.others]) == ("red", "blue", ["red", "blue"])
    red, blue = (other[0] for other in why.others)
    assert why[0].signed == pytest.approx(red.signed - blue.signed, abs=1e-5)
    assert why[0].score == pytest.approx(red.score - blue.score, abs=1e-5)
    assert red.seen is not None and blue.seen is not None
    assert why[0].seen == pytest.approx(red.seen - blue.seen, abs=1e-5)


def test_a_head_of_ones_own_needs_no_more_than_a_call() -> None:
    torch.manual_seed(0)
    task = CnnLstmVqa(TinyCnn().eval(), Own().eval(), WORDS, ANSWERS, prepare, unknown=1)
    why = vlx.explain(task, picture(), question=QUESTION)
    assert [word.word for word in why.question_words] == ["what", "color", "is", "the", "dog"]
    assert all(word.gradient is None for word in why.question_words)
    assert why[0].heatmap.shape == (30, 40)


# Questions and answers that cannot be


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({}, InputError, r"needs a question; give question=…"),
        ({"question": ""}, InputError, r"holds no word; ask something"),
        ({"question": " ?! "}, InputError, r"holds no word; ask something"),
        ({"question": "a " * 5000}, InputError, r"5000 words, at most 60"),
        ({"question": 3}, InputError, r"question must be a text, got int"),
        (
            {"question": QUESTION, "caption": "a dog"},
            InputError,
            r"takes no caption and no prompt; ask it with question=…",
        ),
        ({"question": QUESTION, "prompt": "a"}, InputError, r"takes no caption and no prompt"),
        ({"question": QUESTION, "answer": "rod"}, InputError, r"'rod' is not among the 5 answers of tiny; close: red"),
        ({"question": QUESTION, "answer": "zzz"}, InputError, r"some of them: yes, no, red"),
        (
            {"question": QUESTION, "answer": "red", "instead_of": " RED "},
            InputError,
            r"is the answer that is explained",
        ),
    ],
)
def test_what_cannot_be_asked(given: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        vlx.explain(vqa(), picture(), **given)


def test_unknown_words_are_told_or_refused() -> None:
    why = vlx.explain(vqa(), picture(), question="what color is the κύων?")
    assert "not in the vocabulary, read as unknown: κύων" in why.notes
    with pytest.raises(UnknownWords, match=r"tiny \(9 words\): 'dgo' \(close: dog\)"):
        vlx.explain(vqa(unknown=None), picture(), question="what color is the dgo?")


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("\x00\x07 is\r\n\tthe \x7fdog\u202e?", ["is", "the", "dog"]),
        ("犬は何色ですか", ["犬は何色ですか"]),
        ("ما لون the dog؟", ["ما", "لون", "the", "dog"]),
        ("is 😀 the dog", ["is", "the", "dog"]),
        ("IS THE DOG", ["IS", "THE", "DOG"]),
        ("the the the", ["the"] * 3),
    ],
)
def test_questions_in_any_script_are_read(question: str, words: list[str]) -> None:
    why = vlx.explain(vqa(), picture(), question=question)
    assert [word.word for word in why.question_words] == words
    assert why.question == question
    unread = [word for word in words if word.lower() not in WORDS]
    assert [note for note in why.notes if "read as unknown" in note] == (
        [f"not in the vocabulary, read as unknown: {', '.join(unread)}"] if unread else []
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"question": "y" * 10_000}, r"not in the vocabulary of tiny \(9 words\): 'y{59}…'$"),
        ({"question": "dog " * 2_500}, r"^the question has 2500 words, at most 60; shorten it$"),
        ({"question": "?" * 10_000}, r"^the question '\?{59}…' holds no word; ask something$"),
        (
            {"question": "dog", "answer": "y" * 10_000},
            r"^'y{59}…' is not among the 5 answers of tiny; some of them: yes",
        ),
        ({"question": "dog", "answer": ""}, r"^'' is not among the 5 answers of tiny; some of them: yes, no, red"),
        ({"question": "dog", "answer": "red", "instead_of": "rde"}, r"^'rde' is not among .*; close: red$"),
    ],
)
def test_ten_thousand_characters_are_not_quoted_in_full(given: dict[str, Any], message: str) -> None:
    with pytest.raises((InputError, UnknownWords), match=message):
        vlx.explain(vqa(unknown=None), picture(), **given)


def test_an_endless_unknown_word_is_told_in_short() -> None:
    why = vlx.explain(vqa(), picture(), question="dog " + "y" * 10_000)
    assert f"not in the vocabulary, read as unknown: {'y' * 59}…" in why.notes


def test_the_answer_that_would_be_given_is_no_contrast_to_itself() -> None:
    said = vlx.explain(vqa(), picture(), question=QUESTION).text
    with pytest.raises(InputError, match=f"^instead_of='{said}' is the answer that is explained; name another"):
        vlx.explain(vqa(), picture(), question=QUESTION, instead_of=said)


def test_markup_and_control_characters_stay_text() -> None:
    why = vlx.explain(
        vqa(), picture(), question="what <script>alert(1)</script> color\x07 is the dog?", answer="<b>bold</b>"
    )
    page = why._repr_html_()
    assert "<script>alert(1)" not in page
    assert why.text == "<b>bold</b>"


def test_a_head_in_training_mode_or_of_another_size_is_refused() -> None:
    task = vqa()
    cast(nn.Module, task.head).train()
    with pytest.raises(ModelError, match=r"the head is in training mode; call head\.eval\(\) first"):
        vlx.explain(task, picture(), question=QUESTION)
    short = CnnLstmVqa(TinyCnn().eval(), cast(Any, head("product").eval()), WORDS, ANSWERS[:3], prepare, unknown=1)
    with pytest.raises(ModelError, match=r"the head gives \[1, 5\] for 1 questions and 3 answers"):
        vlx.explain(short, picture(), question=QUESTION)


def test_nan_weights_are_named() -> None:
    task = vqa()
    with torch.no_grad():
        next(cast(nn.Module, task.head).parameters()).fill_(float("nan"))
    with pytest.raises(ModelError, match="the head gives NaN; check its weights"):
        vlx.explain(task, picture(), question=QUESTION)


def test_queries_of_a_batch_may_differ() -> None:
    task = vqa()
    features = task.features(torch.stack([prepare(picture(n)) for n in range(2)]))
    both = task.predict(features, [Query(question=QUESTION), Query(question="is there a dog?", answer="no")])
    assert both[1].text == "no"
    assert both[0].tokens != both[1].tokens
    assert SIZE == 16
