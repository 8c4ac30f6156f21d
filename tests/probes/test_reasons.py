"""What a because says in words."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.explanations import CHECK, because, caption_explanation, reason, reasoned, some_reasons
from vlx import Explanation
from vlx.explanation.reasons import OLDER, Because, Reason

WORD = replace(caption_explanation()[0], label="dog")
FAILED = replace(CHECK, effect=2.0, logprob=0.1)


def said(*reasons: Reason, **options: Any) -> Because:
    return because(WORD, reasons, **options)


def test_a_because_names_what_was_tried_prints_both_marks_and_accounts_for_the_rest() -> None:
    assert str(said(*some_reasons())) == (
        "“dog” because of units named fur 0 (20 %), fur 1 itself (10 %) and fur 2 (7 %), despite snow (30 %); by their "
        "weights alone pole and stem, whose units are silent here, would speak against it; other concepts carry 18 %, "
        "unnamed units 45 % of the evidence\n"
        "these units matter: with the 3 units named switched off its log-odds go from 6.0 to −2.5 (log p changes by "
        "−2.59); 6 random sets of 4 active units take off 0.8 on average, 3.0 at most; fur 0 (p .002): units of this "
        "name act together for this word more than randomly named ones; no more than randomly named ones: fur 1 "
        "(p .250); fur 2: its name cannot be tested here"
    )


def test_of_a_contrast_the_lead_is_told_and_no_probability() -> None:
    assert str(replace(CHECK, contrast=True)).startswith(
        "these units matter: with the 3 units named switched off its lead goes from 6.0 to −2.5 nats; 6 random sets"
    )


def test_a_share_that_is_there_is_not_called_none() -> None:
    one = replace(some_reasons()[0], portion=0.004)
    told = replace(said(one), coverage=0.004)
    assert "because of units named fur 0 (< 1 %);" in told.sentence
    assert told.sentence.endswith("unnamed units carry > 99 % of the evidence")


def test_what_was_not_shown_to_matter_is_only_perhaps_so() -> None:
    told = said(*some_reasons(), check=FAILED)
    assert told.sentence.startswith("“dog” perhaps because of units named fur 0 (20 %)")
    assert told.effect.startswith("not shown to matter: with the 3 units named switched off")
    assert "fur 0 (p .002): units of this name act together" in told.verdict, "the two marks stand by themselves"


@pytest.mark.parametrize(
    ("effect", "random", "matters"),
    [(3.1, (1.0, 3.0), True), (3.0, (1.0, 3.0), False), (0.1, (-1.0, -2.0), True), (-0.1, (-1.0, -2.0), False)],
)
def test_the_random_sets_bind(effect: float, random: tuple[float, ...], matters: bool) -> None:
    check = replace(CHECK, effect=effect, random=random, before=100.0)
    assert check.matters is matters
    assert str(check).startswith("these units matter" if matters else "not shown to matter")
    assert said(*some_reasons(), check=check).sentence.startswith("“dog” because" if matters else "“dog” perhaps")


def test_the_sentence_names_the_units_that_were_tested() -> None:
    told = said(*some_reasons())
    assert told.tested == tuple(sorted({unit for one in told.of("because")[:3] for unit in one.units}))
    assert [one.concept for one in told.said] == ["fur 0", "fur 1", "fur 2"]


def test_without_a_check_nothing_is_claimed() -> None:
    plain = [replace(one, effect=None, named=None, p_name=None) for one in some_reasons()]
    told = said(*plain, check=None)
    assert told.sentence.startswith("“dog” perhaps because of units named fur 0 (20 %), fur 1 itself (10 %) and fur 2")
    assert "despite" not in told.sentence
    assert told.verdict == "not tried: the units named were not switched off"


@pytest.mark.parametrize(("effect", "stands"), [(-2.0, True), (-1.2, False), (2.0, False), (None, False)])
def test_despite_names_only_what_lifts_the_word_when_it_is_off(effect: float | None, stands: bool) -> None:
    both = (reason("fur", "because", 0.5, 0), reason("snow", "despite", 0.5, 1, effect=effect))
    assert ("despite snow" in said(*both).sentence) is stands
    lifted = replace(CHECK, random=(-2.5, 0.0))
    assert "despite" not in said(*both, check=lifted).sentence, "a random set lifts it as much"


def test_a_concept_on_both_sides_is_named_once() -> None:
    both = (reason("fur", "because", 0.5, 0), reason("fur", "despite", 0.5, 1, effect=-3.0))
    assert "despite" not in said(*both).sentence


def test_several_names_are_told_together() -> None:
    held = [reason(name, "because", 0.2, n, named=True, p_name=0.002) for n, name in enumerate("ab")]
    assert said(*held).names == (
        "a (p .002) and b (p .002): units of each name act together for this word more than randomly named ones"
    )
    alone = [reason(name, "because", 0.2, n) for n, name in enumerate("ab")]
    assert said(*alone).names == "a and b: their names cannot be tested here"
    assert [one.mark for one in (held[0], replace(held[0], named=False), alone[0], reason("x", "despite", 0.1, 0))] == [
        "name holds together",
        "name does not hold together",
        "name cannot be tested here",
        "",
    ]


def test_without_names_there_is_no_reason_and_nothing_to_check() -> None:
    told = said(check=None)
    assert str(told) == "“dog” has no named reason; unnamed units carry 100 % of the evidence"


def test_what_an_older_version_saved_loads_without_its_check_and_says_so(tmp_path: Path) -> None:
    path = reasoned(caption_explanation()).save(tmp_path / "why.json")
    record = json.loads(path.read_text(encoding="utf-8"))
    for word in record["words"]:
        word["because"]["check"] = {
            **{"units": [2, 3], "before": 6.0, "effect": 8.5, "logprob": 2.59, "alone": 4.0, "random": [0.1, 0.2]},
            **{"floor": 6.0, "predicted": 7.0, "contrast": False},
        }
        for one in word["because"]["reasons"]:
            del one["named"], one["p_name"]
            one["confirmed"] = True
    del record["digest"]
    path.write_text(json.dumps(record), encoding="utf-8")
    again = Explanation.load(path)[0].because
    assert again is not None
    assert again.check is None
    assert OLDER in again.notes
    assert OLDER in Explanation.load(path).notes
    assert again.sentence.startswith("“a” perhaps because of units named fur 0")
    assert "despite" not in again.sentence
    assert {one.named for one in again.reasons} == {None}
    assert again.reasons[0].effect == 4.2
