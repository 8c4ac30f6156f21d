"""The tables of an audit beside sums by hand, and its lists."""

import math
from dataclasses import replace

import pytest

from tests.auditing.worlds import world
from vlx.auditing.answered import CONCEPTS, Answered, OnConcept
from vlx.auditing.answers import AnswerColumns
from vlx.auditing.signs import listed, signs
from vlx.auditing.tallies import tallies


def answer(key: str, said: str, true: str, night: float | None = None, **told: object) -> Answered:
    on = {} if night is None else {"night": OnConcept(night, abs(night) / 4, night, 0.5, "scene")}
    right = None if not true else said == true
    return Answered(key, 0, said, true, right, evidence={CONCEPTS: on}, **told)  # type: ignore[arg-type]


ANSWERS = [
    answer("a", "car", "car", 1.0, seen=2.0, looked=1.0, check="confirmed"),
    answer("b", "car", "car", seen=0.0, looked=0.05, check="not confirmed"),
    answer("c", "car", "rocket", 3.0, check="cannot be tested"),
    answer("d", "rocket", "rocket", -1.0, check="weak"),
]


def test_a_row_counts_and_sums_what_an_answer_has() -> None:
    car, rocket = tallies(AnswerColumns(ANSWERS))
    assert (car.answer, car.said, car.right, car.true) == ("car", 3, 2, 2)
    assert (car.seen, car.unowed, car.owed_tried, car.failed, car.tried) == (1.0, 1, 2, 1, 2)
    (night,) = car.concepts
    assert (night.right.n, night.right.signed, night.right.share, night.right.there) == (2, 0.5, 0.125, 1)
    assert (night.wrong.n, night.wrong.signed, night.wrong.share, night.wrong.there) == (1, 3.0, 0.75, 1)
    assert (rocket.answer, rocket.right, rocket.true, rocket.failed, rocket.tried) == ("rocket", 1, 2, 0, 1)
    assert rocket.concepts[0].wrong.n == 0 and math.isnan(rocket.concepts[0].wrong.share)


def test_where_nobody_knows_what_is_right_all_is_told_as_one() -> None:
    (row,) = tallies(AnswerColumns([replace(one, said="car", true="", right=None) for one in ANSWERS]))
    assert row.right is None and row.true == 0
    assert (row.concepts[0].right.n, row.concepts[0].wrong.n) == (4, 0)
    assert row.concepts[0].right.signed == pytest.approx(0.75)


def test_rows_come_in_order_of_how_often_they_are_wrong() -> None:
    rows = tallies(AnswerColumns(world(0, 300, lean=2.0, classes=("a", "b", "c"))))
    wrong = [row.said - (row.right or 0) for row in rows]
    assert wrong == sorted(wrong, reverse=True) and len(rows) == 3
    shares = [sum(s.n * s.share for s in (one.right, one.wrong) if s.n) for one in rows[0].concepts]
    assert shares == sorted(shares, reverse=True)


def test_lists_name_what_rests_elsewhere_owes_nothing_or_is_not_there() -> None:
    words = [
        answer("a", "car", "car", text="a car", **{"own": 0.4, "looked": 0.05, "seen": 0.01, "logprob": -0.1}),
        answer("b", "car", "car", text="a car", **{"own": 0.6, "looked": 0.5, "seen": 2.0, "logprob": -3.0}),
        answer("c", "dog", "cat", text="a dog", **{"own": 0.1, "looked": math.nan, "seen": -0.01, "logprob": -0.2}),
        answer("d", "sky", "", text="the sky", **{"logprob": -2.0}),
        answer("e", "sea", "", text="the sea", **{"logprob": -0.5}),
    ]
    lists = listed(AnswerColumns(words), words=True)
    outside, unowed, absent = (lists[name] for name in ("outside", "unowed", "hallucinated"))
    assert [one.key for one in outside.occurrences] == ["c", "a"]
    assert [one.value for one in outside.occurrences] == pytest.approx([0.9, 0.6])
    assert (outside.total, outside.of, outside.occurrences[0].text) == (2, 3, "a dog")
    assert [one.key for one in unowed.occurrences] == ["a", "c"] and unowed.of == 3
    assert [one.key for one in absent.occurrences] == ["c", "d"]
    assert [one.value for one in absent.occurrences] == pytest.approx([math.exp(-0.2), math.exp(-2.0)])
    assert all(one.how and not one.why for one in lists.values())


def test_a_list_that_cannot_be_made_says_why() -> None:
    lists = listed(AnswerColumns([answer("a", "car", "car")]), words=False)
    assert [bool(one.why) for one in lists.values()] == [True, True, True]
    assert not any(one.how or one.occurrences for one in lists.values())


def test_signs_are_of_answers_with_twenty_pictures_and_leave_out_words_of_grammar() -> None:
    told = [answer(f"{n}", "the" if n % 2 else "beach", "", looked=0.01) for n in range(42)]
    assert [sign.answer for sign in signs(AnswerColumns(told), words=True)] == [0]
    assert len(list(signs(AnswerColumns(told), words=False))) == 2
    assert not list(signs(AnswerColumns(told[:38]), words=True))


def test_a_sign_has_its_share_beside_that_of_others() -> None:
    told = [answer(f"{n}", "beach", "", looked=0.01 if n % 10 else 0.5) for n in range(40)]
    told += [answer(f"o{n}", "sea", "", looked=0.01 if n == 0 else 0.5) for n in range(40)]
    first, second = signs(AnswerColumns(told), words=False)
    assert (first.share, first.others, first.n) == (0.9, 0.025, 40)
    assert first.low < 0.9 < first.high and first.p < 1e-4
    assert (second.share, second.others) == (0.025, 0.9) and second.p > 0.99


def test_a_map_is_outside_where_it_has_less_than_its_area() -> None:
    def made(own: float) -> list[Answered]:
        itself = {CONCEPTS: {"car": OnConcept(1.0, 0.1, 1.0, 0.3, "object")}}
        return [replace(answer(f"{n}", "car", "", own=own + n / 1000), evidence=itself) for n in range(30)]

    (less,), (more,) = (list(signs(AnswerColumns(made(own)), words=False)) for own in (0.1, 0.4))
    assert less.kind == "outside" and less.share == pytest.approx(0.1855) and less.p < 1e-6 and more.p > 0.99
