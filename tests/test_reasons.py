"""What a because says in words."""

from dataclasses import replace
from typing import Any

import pytest

from tests.explanations import CHECK, because, caption_explanation, reason, some_reasons
from vlx.reasons import Because, Reason

WORD = replace(caption_explanation()[0], label="dog")
FAILED = replace(CHECK, effect=2.0, logprob=0.1)


def said(*reasons: Reason, **options: Any) -> Because:
    return because(WORD, reasons, **options)


def test_a_confirmed_because_names_what_held_and_accounts_for_the_rest() -> None:
    assert str(said(*some_reasons())) == (
        "“dog” because of fur 0 (20 %) and fur 2 (7 %), despite snow (30 %); pole and stem, whose units are silent "
        "here, would speak against it; other concepts carry 28 %, unnamed units 45 % of the evidence\n"
        "confirmed: with the 3 named units switched off its log-odds go from 6.0 to −2.5 (log p changes by −2.59); "
        "6 random sets of like strength take off 0.8 on average, 3.0 at most"
    )


def test_of_a_contrast_the_lead_is_told_and_no_probability() -> None:
    assert str(replace(CHECK, contrast=True)).startswith(
        "confirmed: with the 3 named units switched off its lead goes from 6.0 to −2.5 nats; 6 random sets"
    )


def test_a_share_that_is_there_is_not_called_none() -> None:
    one = replace(some_reasons()[0], portion=0.004)
    told = replace(said(one), coverage=0.004)
    assert "because of fur 0 (< 1 %);" in told.sentence
    assert told.sentence.endswith("unnamed units carry > 99 % of the evidence")


def test_what_was_not_confirmed_is_only_perhaps_so() -> None:
    failed = [replace(one, confirmed=False) if one.effect is not None else one for one in some_reasons()]
    told = said(*failed, check=FAILED)
    assert told.sentence.startswith(
        "“dog” perhaps because of fur 0 (20 %), fur 1 itself (10 %) and fur 2 (7 %); pole and stem"
    )
    assert "despite" not in told.sentence
    assert told.verdict.startswith("not confirmed: ")
    assert told.verdict.endswith("3.0 at most; 6.0 at the least would have to go")


@pytest.mark.parametrize(
    ("changes", "end"),
    [
        ({"before": -3.0, "effect": 0.4, "floor": 1.0}, "3.0 at most; 1.0 at the least would have to go"),
        ({"before": 1.0, "effect": 2.0, "floor": 1.0}, "; 2.0 is no more than chance"),
        ({"before": 1.0, "effect": 4.0, "floor": 1.0}, "3.0 at most"),
    ],
)
def test_the_verdict_tells_what_is_missing(changes: dict[str, float], end: str) -> None:
    assert str(replace(CHECK, **changes)).endswith(end)  # type: ignore[arg-type]


def test_without_a_check_it_is_said_that_nothing_was_measured() -> None:
    plain = [replace(one, effect=None, confirmed=None) for one in some_reasons()]
    told = said(*plain, check=None)
    assert told.sentence.startswith(
        "“dog” perhaps because of fur 0 (20 %), fur 1 itself (10 %) and fur 2 (7 %), despite"
    )
    assert "despite snow (30 %) and sand (10 %);" in told.sentence
    assert told.verdict == "not measured: the named units were not switched off"


def test_where_only_the_whole_was_confirmed_all_first_reasons_are_named() -> None:
    weak = [replace(one, confirmed=False) for one in some_reasons()[:2]]
    assert said(*weak).sentence == (
        "“dog” because of fur 0 (20 %) and fur 1 itself (10 %); unnamed units carry 70 % of the evidence"
    )


def test_a_concept_on_both_sides_is_named_once() -> None:
    both = (reason("fur", "because", 0.5, 0), reason("fur", "despite", 0.5, 1, effect=-3.0, confirmed=True))
    assert "despite" not in said(*both).sentence


def test_without_names_there_is_no_reason_and_nothing_to_check() -> None:
    told = said(check=None)
    assert str(told) == "“dog” has no named reason; unnamed units carry 100 % of the evidence"
