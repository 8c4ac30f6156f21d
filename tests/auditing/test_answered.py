"""What a record of an audit holds comes back as it was."""

import json
import math

from vlx.auditing.answered import CONCEPTS, Answered, OnConcept, Region, answers_of, to_record
from vlx.evaluation.records import Columns, Record

ANSWER = Answered(
    "a.jpg",
    3,
    "car",
    "rocket",
    False,
    group="color",
    question="what is it?",
    text="a car",
    position=1,
    instead="rocket",
    logprob=-0.25,
    lead=1.5,
    evidence={CONCEPTS: {"desert": OnConcept(1.25, 0.5, -0.5, 0.75, "scene")}},
    total=2.0,
    absolute=3.0,
    own=0.25,
    empty=True,
    seen=0.125,
    looked=0.5,
    check="weak",
    regions=(Region((1.0, 2.0, 3.0, 4.0), 0.5, 0.25, "no. 3"),),
)


def back(answer: Answered) -> Answered:
    line = json.loads(json.dumps(to_record(answer, "gradcam", "logit").to_json()))
    (found,) = answers_of(Columns([Record.from_json(line)]))
    return found


def test_every_field_comes_back() -> None:
    assert back(ANSWER) == ANSWER


def test_what_is_not_known_stays_unknown() -> None:
    evidence = {CONCEPTS: {"sky": OnConcept(1.0, math.nan, math.nan, math.nan)}}
    found = back(Answered("b.jpg", 0, "dog", "", None, evidence=evidence))
    assert found.right is None
    assert math.isnan(found.lead) and math.isnan(found.own) and math.isnan(found.evidence[CONCEPTS]["sky"].share)
    assert found.check == "" and found.regions == ()


def test_a_right_answer_is_right() -> None:
    assert back(Answered("b.jpg", 0, "dog", "dog", True)).right is True
