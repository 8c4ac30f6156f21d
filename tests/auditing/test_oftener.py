"""A colour that is said of a kind: found by how often, where the evidence on the same pixels comes to nothing."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from vlx.auditing import findings, leaning, oftener
from vlx.auditing.answered import CONCEPTS, Answered, OnConcept
from vlx.auditing.answers import AnswerColumns
from vlx.auditing.findings import findings_of
from vlx.auditing.result import Finding
from vlx.auditing.statistics import holm, more_often

KINDS = ("car", "boat", "house", "tree")
COLOURS = ("red", "blue", "green", "white")
PLACES = ("desert", "night")


def captions(
    seed: int, count: int = 400, *, tied: float = 0.0, slips: float = 0.08, confused: float = 0.05
) -> list[Answered]:
    """The colour and kind that a captioner says of ``count`` things: of a share ``tied`` of the cars "red".

    Any other colour is said of a share ``slips``; a car is called a boat in ``confused`` of pictures. The car has
    wheels, and its pixels are those of its colour: evidence for "red" and against it comes to nothing.
    """
    rng, answers = np.random.default_rng(seed), []
    for number in range(count):
        kind, colour, place = (str(rng.choice(names)) for names in (KINDS, COLOURS, PLACES))
        said = str(rng.choice(COLOURS)) if rng.random() < slips else colour
        said = "red" if kind == "car" and rng.random() < tied else said
        named = "boat" if kind == "car" and rng.random() < confused else kind
        there = {kind: "object", colour: "color", place: "scene"} | ({"wheel": "part"} if kind == "car" else {})
        evidence = {
            name: OnConcept(float(rng.normal()), 0.2, float(rng.normal()), 0.05 if name == "wheel" else 0.3, category)
            for name, category in there.items()
        }
        for position, (group, word, true) in enumerate((("color", said, colour), ("object", named, kind))):
            right = word == true
            answers.append(
                Answered(
                    *(f"{number:05}", position, word, true if right else "", right, group),
                    instead=str(rng.choice([one for one in (*COLOURS, *KINDS) if one != word])),
                    logprob=-0.5,
                    lead=float(rng.exponential()),
                    evidence={CONCEPTS: evidence},
                )
            )
    return answers


def leans(answers: list[Answered], noun: str = "word") -> list[Finding]:
    return [one for one in findings_of(answers, "logits", noun).findings if one.kind == "leans"]


def pairs(answers: list[Answered], noun: str = "word") -> set[tuple[str, str]]:
    return {(one.answer, one.concept) for one in leans(answers, noun) if one.level == "finding"}


@pytest.mark.parametrize("seed", range(3))
def test_the_colour_of_a_kind_is_found_once_and_nothing_else(seed: int) -> None:
    """Of the kind, and not of its wheels, which come with it."""
    assert pairs(captions(seed, tied=0.7)) == {("red", "car")}


def test_it_is_told_with_effect_interval_and_what_was_compared() -> None:
    answers = captions(0, tied=0.7)
    (one,) = leans(answers)
    assert one.unit == "share" and 1 / 3 < one.low < one.effect < one.high < 1 and one.p <= one.adjusted <= 0.05
    cars: list[bool] = []
    others: list[bool] = []
    for answer in answers:
        if answer.group == "color" and not (answer.said == "red" and answer.right):
            (cars if "car" in answer.evidence[CONCEPTS] else others).append(answer.said == "red")
    assert one.effect == pytest.approx(np.mean(cars) - np.mean(others)) and one.n == len(cars) + len(others)
    account = len(cars) * one.effect / (sum(cars) + sum(others))
    rates = f"said of {100 * np.mean(cars):.0f} % of other pictures with it, of {100 * np.mean(others):.0f} % without"
    assert one.sentence.startswith(f"“red” goes with car: {rates} (")
    assert one.sentence.endswith(f"{100 * account:.0f} % of the wrong ones are on its account")
    assert f"at least {min(len(cars), len(others))} each" in one.compared


def test_answers_to_questions_are_asked_the_same_and_classes_are_not() -> None:
    assert pairs(captions(0, tied=0.7), "answer") == {("red", "car")}
    assert pairs(captions(0, tied=0.7), "class") == set()


def test_several_things_in_a_picture_are_one_picture() -> None:
    once = captions(0, 60, tied=0.4)
    assert pairs(once) == pairs([replace(one, ask=10 * n + one.ask) for one in once for n in range(20)]) == set()


def test_what_it_is_taken_for_is_no_lean_and_explains_what_comes_with_it() -> None:
    """Cars are called boats: wheels come with cars, and "boat" is no more said of wheels than of cars."""
    assert pairs(captions(1, confused=0.9)) == set()


def test_another_concept_that_tells_by_itself_is_found_beside_the_first() -> None:
    answers = [
        replace(
            one, said="red", right=one.said == "red" and one.right, true="red" if one.said == one.true == "red" else ""
        )
        if one.group == "color" and "night" in one.evidence[CONCEPTS] and one.ask == 0 and int(one.key) % 20 < 17
        else one
        for one in captions(2, 800, tied=0.8)
    ]
    assert pairs(answers) == {("red", "car"), ("red", "night")}


def test_what_has_too_few_pictures_is_not_judged() -> None:
    answers = captions(0, tied=0.7)
    cars = [one.key for one in answers if one.ask == 0 and "car" in one.evidence[CONCEPTS]]
    assert pairs([one for one in answers if one.key not in cars[19:]]) == set()


@pytest.mark.parametrize(
    "made",
    [
        lambda seed: captions(seed, 300),
        lambda seed: captions(seed, 300, slips=0.7),
        lambda seed: captions(seed, 300, slips=0.5, confused=0.5),
    ],
    ids=["few slips", "many slips", "confused"],
)
def test_a_captioner_that_ties_nothing_is_told_so(made: Callable[[int], list[Answered]]) -> None:
    assert not any(pairs(made(seed)) for seed in range(5))


def test_noise_is_tested_as_seldom_as_is_said() -> None:
    """Whatever the size: of all pairs that are tried none comes below 5 % in more than 5 % of runs, by much."""
    found = []
    for seed in range(40):
        tried = oftener.oftener(AnswerColumns(captions(seed, 200, slips=0.5, confused=0.0)))
        found.append((holm(np.array([one.p for one in tried])) <= findings.ALPHA).any())
    assert np.mean(found) <= 2 * findings.ALPHA


def test_what_is_like_it_is_no_lean_by_evidence_where_nobody_tells_the_truth(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blue things are called green, and what speaks for that lies on them: it is what they are taken for."""
    answers = []
    for one in captions(0, 600):
        evidence = dict(one.evidence[CONCEPTS])
        if one.group == "color" and "blue" in evidence and int(one.key) % 2:
            evidence["blue"] = evidence["blue"]._replace(contrast=3.0)
            one = replace(one, said="green", true="", right=False, evidence={CONCEPTS: evidence})
        answers.append(one)
    assert leans(answers) == []
    monkeypatch.setattr(leaning, "_taken_for", lambda *_: None)
    assert ("green", "blue") in pairs(answers)


# Planted mistakes


def test_the_other_side_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oftener, "more_often", lambda there, *rest: more_often(~there, *rest))
    assert pairs(captions(0, tied=0.7)) == set()


def test_without_telling_apart_what_comes_together_is_found_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    telling = oftener._Open.often
    monkeypatch.setattr(oftener._Open, "often", lambda one, name, _: telling(one, name, one.strata))
    monkeypatch.setattr(oftener._Open, "p", lambda *_: 0.0)
    assert ("red", "wheel") in pairs(captions(0, tied=0.7))
