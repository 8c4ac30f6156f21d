"""The accuracy of an answer, against VQA's own evaluation written down slowly."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlx.data import vqa_accuracy
from vlx.data.vqa_answers import CONTRACTIONS, NUMBERS, spelled
from vlx.errors import InputError

TEXTS = st.sampled_from(
    [
        "yes",
        "Yes.",
        "no",
        "2",
        "two",
        "the two",
        "none",
        "a dog",
        "dog",
        "dogs",
        "1,000",
        "1000",
        "dont",
        "don't",
        "red/blue",
    ]
) | st.text("ab the.,'-?12 ", max_size=9)


def slow_spelled(text: str) -> str:
    """VQAEval.processPunctuation and processDigitArticle, step by step."""
    out = text
    for mark in [*";/[]", '"', *"{}()=+\\_-><@`,?!"]:
        if (mark + " " in text or " " + mark in text) or re.search(r"(\d)(\,)(\d)", text) is not None:
            out = out.replace(mark, "")
        else:
            out = out.replace(mark, " ")
    out = re.sub(r"(?!<=\d)(\.)(?!\d)", "", out)
    words = []
    for word in out.lower().split():
        word = NUMBERS.get(word, word)
        if word not in ["a", "an", "the"]:
            words.append(word)
    return " ".join(CONTRACTIONS.get(word, word) for word in words)


def slow_accuracy(said: str, answers: list[str]) -> float:
    """VQAEval.evaluate: each person is left out once; people are told apart by their number, as its dicts are."""
    people = [(n, answer.replace("\n", " ").replace("\t", " ").strip()) for n, answer in enumerate(answers)]
    said = said.replace("\n", " ").replace("\t", " ").strip()
    if len({answer for _, answer in people}) > 1:
        people = [(n, slow_spelled(answer)) for n, answer in people]
        said = slow_spelled(said)
    accuracies = []
    for person in people:
        others = [other for other in people if other != person]
        accuracies.append(min(1.0, len([one for one in others if one[1] == said]) / 3))
    return sum(accuracies) / len(accuracies)


@settings(max_examples=300, deadline=None)
@given(TEXTS, st.lists(TEXTS, min_size=1, max_size=10))
def test_it_is_what_the_official_evaluation_counts(said: str, answers: list[str]) -> None:
    assert vqa_accuracy(said, answers) == pytest.approx(slow_accuracy(said, answers))


@settings(max_examples=200, deadline=None)
@given(TEXTS)
def test_spelling_is_the_official_evaluations(text: str) -> None:
    assert spelled(text) == slow_spelled(text)


@pytest.mark.parametrize(
    ("said", "answers", "accuracy"),
    [
        ("yes", ["yes"] * 10, 1),
        ("Yes", ["yes"] * 10, 0),  # where all say the same, spelling is not evened out
        ("Yes.", ["yes"] * 9 + ["no"], 1),
        ("yes", ["yes"] * 4 + ["no"] * 6, 1),
        ("yes", ["yes"] * 3 + ["no"] * 7, 0.9),
        ("yes", ["yes"] * 2 + ["no"] * 8, 0.6),
        ("yes", ["yes"] + ["no"] * 9, 0.3),
        ("the two dogs", ["2 dogs"] * 5 + ["dogs"] * 5, 1),
        ("none", ["0"] * 5 + ["1"] * 5, 1),
        ("maybe", ["yes"] * 5 + ["no"] * 5, 0),
        ("", ["", "x"], 1 / 6),
    ],
)
def test_agreement_of_ten_people(said: str, answers: list[str], accuracy: float) -> None:
    assert vqa_accuracy(said, answers) == pytest.approx(accuracy)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Dog", "dog"),
        ("red/blue", "red blue"),
        ("red / blue", "red blue"),
        ("1,000 people", "1000 people"),
        ("3.5", "3.5"),
        ("p.m.", "pm"),
        ("ten", "10"),
        ("dont", "don't"),
        ("couldntve", "couldntve"),  # the official table has each word with one apostrophe missing
        ("couldnt've", "couldn't've"),
        ("somebody'd", "somebodyd"),
        ("well-known", "well known"),
    ],
)
def test_spelling(text: str, expected: str) -> None:
    assert spelled(text) == expected


def test_without_answers_there_is_no_accuracy() -> None:
    with pytest.raises(InputError, match=r"nobody's answers to compare with; give those of the question"):
        vqa_accuracy("yes", [])
