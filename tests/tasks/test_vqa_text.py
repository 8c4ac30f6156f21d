"""Questions as a VQA model has them: words and marks, characters, the owner's own tokens, vectors."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import vlx
from tests.fakes import UNITS, TinyCnn, picture, prepare
from vlx.errors import InputError
from vlx.tasks.vqa import CnnLstmVqa
from vlx.tasks.vqa.questions import packed_vector, unpacked_vectors

ANSWERS = ["yes", "no", "red"]
WORDS = ["what", "color", "is", "the", "dog"]


class Bag(nn.Module):
    """The mean of A and a question [Q] → answers; ``heard`` keeps what it was given."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.mix = nn.Bilinear(UNITS, size, len(ANSWERS))
        self.heard: list[tuple[Tensor, Tensor]] = []

    def forward(self, A: Tensor, question: Tensor, lengths: Tensor) -> Tensor:
        self.heard.append((question, lengths))
        logits: Tensor = self.mix(A.mean((2, 3)), question)
        return logits


def bag_of(text: str) -> Tensor:
    return torch.tensor([float(text.lower().split().count(word)) / 3 for word in WORDS], dtype=torch.float64)


def bag_vqa(tokenize: Any = bag_of, size: int = len(WORDS), **options: Any) -> Any:
    torch.manual_seed(0)
    cnn, head = TinyCnn().double().eval(), Bag(size).double().eval()
    return CnnLstmVqa(cnn, head, [], ANSWERS, prepare, tokenize=tokenize, name="mine", **options)


def test_a_question_may_be_a_vector() -> None:
    task = bag_vqa()
    question = "what color is the the dog"
    why = vlx.explain(task, picture(), question=question, method="gradcam", target="logit", seen=False)
    A = task.features(task.place(task.prepare(picture())[None])).A
    leaf = A.clone().requires_grad_()
    logits = task.head.mix(leaf.mean((2, 3)), bag_of(question)[None])[0]
    best, told = int(logits.argmax()), logits.detach()
    assert why.text == ANSWERS[best]
    assert why[0].logprob == pytest.approx(float(told.log_softmax(0)[best]), abs=1e-12)
    assert why[0].score == pytest.approx(float(told[best]), abs=1e-12)
    (gradient,) = torch.autograd.grad(logits[best], leaf)
    plain = (gradient.mean((2, 3), keepdim=True) * A).sum(1)[0]
    np.testing.assert_allclose(why[0].signed, plain.numpy(), rtol=1e-6, atol=1e-9)
    assert why.question == question
    assert why.question_words == ()
    assert not [note for note in why.notes if "vocabulary" in note]
    for heard, lengths in task.head.heard:
        assert heard.dtype == torch.float64
        assert torch.equal(heard, bag_of(question).expand(len(heard), -1))
        assert lengths.tolist() == [len(WORDS)] * len(heard)
    other = vlx.explain(task, picture(), question="is the dog", answer=why.text, target="logit")
    assert abs(other[0].score - why[0].score) > 1e-3  # another question is heard
    contrast = vlx.explain(task, picture(), question=question, answer="red", instead_of="no", target="logit")
    difference = float(told[2] - told[1])
    assert contrast[0].score == pytest.approx(difference, abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_very_numbers_of_a_vector_reach_the_head(dtype: torch.dtype) -> None:
    vectors = [torch.tensor([0.1, -1e-7, 3e4, 0.0], dtype=dtype), torch.tensor([-0.0, 1 / 3, 2.0, -5.0], dtype=dtype)]
    found, lengths = unpacked_vectors([packed_vector(vector) for vector in vectors], torch.empty(0, dtype=dtype))
    assert torch.equal(found, torch.stack(vectors))
    assert lengths.tolist() == [4, 4]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            torch.zeros(1, 5),
            r"^mine: the question as a vector must be finite numbers .* \[1, 5\]; .* vector\[0\]$",
        ),
        (torch.zeros(2, 5), r"^mine: the question as a vector must be finite numbers \[Q\], tokenize gave \[2, 5\]$"),
        (torch.zeros(0), r"finite numbers \[Q\], tokenize gave \[0\]$"),
        (torch.tensor([1.0, float("nan")]), r"finite numbers \[Q\], tokenize gave \[2\]$"),
        (np.zeros((1, 5)), r"finite numbers \[Q\], tokenize gave \[1, 5\]; give its only row"),
        ([0.5, 0.5], r"^mine: tokenize gave 0\.5; needed are entries \(str\) or ids, or a tensor of floats \[Q\]$"),
        ([1, 2], r"^mine: tokenize gave 1; needed are entries \(str\) or ids, or a tensor of floats \[Q\]$"),
    ],
)
def test_vectors_that_are_none_are_refused(given: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        vlx.explain(bag_vqa(lambda text: given), picture(), question="what color")


def test_vectors_of_other_lengths_are_not_asked_together() -> None:
    message = r"^questions asked together are a row of tokens and 3 numbers; tokenize must give vectors of one length$"
    with pytest.raises(InputError, match=message):
        unpacked_vectors([packed_vector(torch.zeros(3)), (1, 2)], torch.empty(0))
    with pytest.raises(InputError, match=r"are 2 numbers and 3 numbers;"):
        unpacked_vectors([packed_vector(torch.zeros(3)), packed_vector(torch.zeros(2))], torch.empty(0))


def test_arrays_are_vectors_too_and_an_embedding_needs_no_graph() -> None:
    embedding = nn.Embedding(6, 5).double()
    asked = bag_vqa(lambda text: embedding(torch.tensor([len(text) % 6]))[0])
    same = bag_vqa(lambda text: embedding.weight.detach().numpy()[len(text) % 6])
    one, other = (vlx.explain(task, picture(), question="what?") for task in (asked, same))
    assert one[0].score == pytest.approx(other[0].score, abs=1e-12)
    assert embedding.weight.grad is None


class Tokens(nn.Module):
    """A head over rows of tokens: the mean of their embeddings."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.embedding, self.mix = nn.Embedding(words, 4), nn.Bilinear(UNITS, 4, len(ANSWERS))
        self.heard: list[list[int]] = []

    def forward(self, A: Tensor, tokens: Tensor, lengths: Tensor) -> Tensor:
        self.heard += [row[:length] for row, length in zip(tokens.tolist(), lengths.tolist(), strict=True)]
        there = (torch.arange(tokens.shape[1]) < lengths[:, None])[..., None]
        mean = (self.embedding(tokens) * there).sum(1) / lengths[:, None]
        logits: Tensor = self.mix(A.mean((2, 3)), mean)
        return logits


def token_vqa(vocabulary: list[str], **options: Any) -> Any:
    torch.manual_seed(0)
    return CnnLstmVqa(TinyCnn().eval(), Tokens(len(vocabulary)).eval(), vocabulary, ANSWERS, prepare, **options)


def test_marks_of_a_question_are_kept_or_named() -> None:
    knows, lacks = token_vqa(["<pad>", *WORDS, "?", ","]), token_vqa(["<pad>", *WORDS])
    question = "the dog, what color is?"
    kept = vlx.explain(knows, picture(), question=question, seen=False)
    assert [word.word for word in kept.question_words] == ["the", "dog", ",", "what", "color", "is", "?"]
    assert knows.head.heard[0] == [4, 5, 7, 1, 2, 3, 6]
    assert not [note for note in kept.notes if "left out" in note]
    left = vlx.explain(lacks, picture(), question=question, seen=False)
    assert [word.word for word in left.question_words] == ["the", "dog", "what", "color", "is"]
    told = [note for note in left.notes if "left out" in note]
    assert told == ["left out of the question, not in the vocabulary: ,"]
    plain = vlx.explain(lacks, picture(), question="what color is the dog?", seen=False)
    assert not [note for note in plain.notes if "left out" in note]  # that a question is one needs no mark


def test_a_question_in_characters_and_in_the_owners_tokens() -> None:
    letters = sorted(set("what color?"))
    asked = token_vqa(["<pad>", *letters])
    why = vlx.explain(asked, picture(), question="what color?")
    assert "".join(word.word for word in why.question_words) == "what color?"
    own = token_vqa(["<pad>", "wh", "at", "color"], tokenize=lambda text: [*text.split("|"), "<pad>"], join="|".join)
    why = vlx.explain(own, picture(), question="wh|at|color")
    assert own.head.heard[0] == [1, 2, 3]  # padding after it is no part of the question
    assert [word.word for word in why.question_words] == ["wh", "at", "color"]
    with pytest.raises(InputError, match=r"^the question '<pad> color' holds '<pad>' inside, which vqa"):
        vlx.explain(token_vqa(["<pad>", *WORDS]), picture(), question="<pad> color")
    with pytest.raises(InputError, match=r"^the vocabulary must be a list of words"):
        token_vqa([])
