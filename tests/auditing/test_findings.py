"""Findings of made-up runs whose truth is known: what was put there is found, and nothing else is."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from tests.auditing.worlds import PLACES, bystander, world
from vlx.auditing import findings, leaning
from vlx.auditing.answered import ALIKE, CONCEPTS, Answered, OnConcept
from vlx.auditing.answered import PLACES as NINE
from vlx.auditing.answers import AnswerColumns
from vlx.auditing.findings import after_trial, findings_of
from vlx.auditing.result import Finding, HidingTrial
from vlx.auditing.statistics import more_often

MANY = ("a", "b", "c", "d")


def leant(answers: Sequence[Answered]) -> set[tuple[str, str]]:
    found = findings_of(answers, "logits", "class").findings
    return {(one.answer, one.concept) for one in found if one.kind == "leans" and one.level == "finding"}


def share_of_runs(worlds: Callable[[int], list[Answered]], runs: int = 20) -> float:
    """In how many runs anything is said to lean, whether it matters or not."""
    return float(np.mean([any(f.kind == "leans" for f in findings_of(worlds(seed)).findings) for seed in range(runs)]))


# A model that leans


@pytest.mark.parametrize("seed", range(3))
def test_what_a_model_leans_on_is_found_and_nothing_else(seed: int) -> None:
    assert leant(world(seed, 600, lean=3.0)) == {
        ("car", "desert"),
        ("rocket", "night"),
        ("car", "forest"),
        ("rocket", "beach"),
    }


def test_of_many_classes_each_has_its_own() -> None:
    assert leant(world(0, 1000, lean=4.0, classes=MANY)) == set(zip(MANY, PLACES, strict=True))


def test_a_finding_tells_its_effect_with_its_interval_and_what_was_compared() -> None:
    answers = world(0, 600, lean=3.0)
    one = findings_of(answers, "logits", "class").findings[0]
    there = [answer for answer in answers if answer.said == one.answer]
    assert one.n == len(there)
    assert one.low < one.effect < one.high and one.low > 0 and one.unit == "nats"
    assert one.p <= one.adjusted <= 0.05
    for part in (f"for “{one.answer}”, {one.concept} carries", "logits where the class is wrong", f"{one.n} pictures"):
        assert part in one.sentence
    wrong = [
        answer.evidence[CONCEPTS][one.concept].signed if one.concept in answer.evidence[CONCEPTS] else 0.0
        for answer in there
        if not answer.right
    ]
    assert f"carries {np.mean(wrong):+.2f} logits where" in one.sentence
    assert f"{len(wrong)} wrong and {one.n - len(wrong)} right ones" in one.compared


def test_a_stronger_lean_has_more_strength() -> None:
    strengths = [findings_of(world(1, 600, lean=lean)).strength for lean in (0.0, 1.5, 3.0)]
    assert strengths == sorted(strengths) and strengths[-1] > strengths[0] + 0.2


def alike(answers: Sequence[Answered], seed: int = 0) -> list[Answered]:
    """The same without masks: a few cells of every place are in every picture, many of that in which it was taken."""
    rng = np.random.default_rng(seed)

    def evidence(one: Answered) -> dict[str, OnConcept]:
        there = one.evidence[CONCEPTS]
        few = {name: OnConcept(0.0, 0.01, 0.0, float(rng.uniform(0.01, 0.1)), "alike") for name in PLACES}
        return few | {name: there[name]._replace(area=0.5, category="alike") for name in PLACES if name in there}

    return [replace(one, evidence={ALIKE: evidence(one)}) for one in answers]


def test_what_looks_alike_is_judged_where_the_data_have_no_masks() -> None:
    answers = alike(world(0, 600, lean=3.0))
    assert ("car", "desert") in leant(answers)
    found = findings_of(answers)
    assert found.concepts_are == ALIKE and "other pictures with much of " in found.findings[0].sentence
    assert share_of_runs(lambda seed: alike(world(seed, 300), seed)) <= findings.ALPHA


def test_what_has_no_name_and_makes_few_errors_is_told() -> None:
    found = [one for one in findings_of(alike(world(0, 6000, lean=0.6))).findings if one.kind == "leans"]
    assert found and {one.level for one in found} == {"note"}


def test_the_nine_places_are_told_and_not_judged() -> None:
    answers = [replace(one, evidence={NINE: one.evidence[CONCEPTS]}) for one in world(0, 600, lean=3.0)]
    assert leant(answers) == set() and findings_of(answers).looked_at == 0


def test_pictures_with_several_answers_are_one_picture_each() -> None:
    assert ("car", "desert") in leant(world(0, 400, lean=3.0, each=3))
    copied = [replace(one, ask=ask) for one in world(3, 60, lean=1.0) for ask in range(30)]
    assert leant(copied) == leant(world(3, 60, lean=1.0)) == set()


# A model that does not


NULLS: dict[str, Callable[[int], list[Answered]]] = {
    "noise": lambda seed: world(seed, 300),
    "much noise": lambda seed: world(seed, 300, noise=3.0),
    "many classes": lambda seed: world(seed, 300, classes=MANY),
    "several answers a picture": lambda seed: world(seed, 100, each=3),
}


@pytest.mark.parametrize("null", NULLS)
def test_noise_is_seldom_found(null: str) -> None:
    assert share_of_runs(NULLS[null], 8) == 0


@pytest.mark.slow
@pytest.mark.parametrize("null", NULLS)
def test_noise_is_found_as_seldom_as_is_said(null: str) -> None:
    assert share_of_runs(NULLS[null], 100) <= findings.ALPHA


def test_more_evidence_where_it_errs_is_no_finding() -> None:
    """Of any model with noise the mean where wrong lies far above that where right: selection, and no lean."""
    answers = world(0, 4000, noise=2.0)
    place = {
        right: np.mean(
            [
                one.evidence[CONCEPTS][p].contrast
                for one in answers
                for p in PLACES
                if p in one.evidence[CONCEPTS] and one.right is right
            ]
        )
        for right in (True, False)
    }
    assert place[False] > place[True] + 0.5
    assert leant(answers) == set()


def test_a_bystander_of_what_it_leans_on_is_not_found() -> None:
    """A cactus stands in nearly every desert: answers follow it as often, but its pixels carry nothing."""
    found = [leant(bystander(seed, 500)) for seed in range(10)]
    assert sum(("car", "cactus") in one for one in found) <= 1
    assert all(("car", "desert") in one for one in found)


def test_what_speaks_for_an_answer_and_never_makes_it_is_not_found() -> None:
    """Its pixels carry much, but the answer is as seldom given with it as without."""
    answers = []
    for one in world(0, 600):
        evidence = dict(one.evidence[CONCEPTS])
        if "tree" in evidence:
            evidence["tree"] = evidence["tree"]._replace(contrast=3.0 if one.said == "car" else -3.0)
        answers.append(replace(one, evidence={CONCEPTS: evidence}))
    assert leant(answers) == set()


def test_what_is_certain_and_small_is_told() -> None:
    answers = world(0, 6000, lean=0.35)
    found = [one for one in findings_of(answers).findings if one.kind == "leans"]
    assert found and all(one.level == "note" and "makes few of these errors" in one.sentence for one in found)


# Planted mistakes


def test_without_correction_noise_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings, "holm", lambda p: p)
    monkeypatch.setattr(leaning, "more_often", lambda *_: 0.0)
    assert share_of_runs(lambda seed: world(seed, 300, noise=3.0), 20) > 0.2


def test_the_other_side_finds_what_it_does_not_lean_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaning, "more_often", lambda there, *rest: more_often(~there, *rest))
    assert leant(world(0, 600, lean=3.0)) == set()


# What cannot be judged


def test_few_errors_are_told_and_not_judged() -> None:
    answers = world(0, 60, lean=3.0)
    found = findings_of(answers, "logits", "class")
    assert found.looked_at == 0 and {one.level for one in found.findings} == {"note"}
    assert "fewer than 20: told, not judged" in found.findings[0].sentence
    assert "carries most there" in found.findings[0].sentence


def test_nineteen_are_few_and_twenty_are_not() -> None:
    answers = world(0, 600, lean=3.0)
    wrong = [one for one in answers if one.said == "car" and not one.right]
    rest = [one for one in answers if one not in wrong]
    assert not any(answer == "car" for answer, _ in leant([*wrong[:19], *rest]))
    assert any(lean.answer == 0 for lean in leaning.leans(AnswerColumns([*wrong[:20], *rest]), CONCEPTS))


def test_a_model_that_says_one_thing_only_is_told_first_and_nothing_compared() -> None:
    answers = [replace(one, said="car", right=one.true == "car") for one in world(0, 200)]
    found = findings_of(answers, "logits", "class").findings
    assert found[0].kind == "one answer" and "“car” is the only class that is ever said" in found[0].sentence
    assert [one.answer for one in found if one.kind == "never said"] == ["rocket"]
    assert not any(one.kind == "leans" for one in found)


def test_one_answer_to_all_questions_of_a_kind_is_found() -> None:
    answers = [replace(one, group="place" if n % 2 else "thing") for n, one in enumerate(world(0, 400))]
    answers = [replace(one, said="car", right=one.true == "car") if one.group == "place" else one for one in answers]
    (one,) = (f for f in findings_of(answers).findings if f.kind == "one answer")
    assert one.level == "finding" and one.n == 200 and "of the kind “place” that is ever said" in one.sentence


def test_answers_that_owe_nothing_have_strength() -> None:
    seeing = [replace(one, looked=0.9) for one in world(0, 200)]
    blind = [replace(one, said="car", right=one.true == "car", looked=0.01) for one in world(1, 160)]
    blind = [replace(one, key=f"{one.key} blind") for one in blind]
    (one,) = (f for f in findings_of([*seeing, *blind]).findings if f.kind == "unowed")
    assert one.answer == "car" and "of these are wrong" in one.sentence and one.level == "finding"
    assert findings_of([*seeing, *blind]).strength > findings_of(seeing).strength


def test_a_class_that_is_said_when_nothing_is_seen_is_no_finding() -> None:
    """Of two classes one is said of an empty picture, too: that makes no errors by itself."""
    usual = [replace(one, looked=0.01 if one.said == "car" else 0.9) for one in world(0, 600)]
    assert not any(one.kind == "unowed" for one in findings_of(usual).findings)
    unknown_truth = [replace(one, right=None, true="") for one in usual]
    assert [one.answer for one in findings_of(unknown_truth).findings if one.kind == "unowed"] == ["car"]


def test_a_truth_that_is_never_said_is_found() -> None:
    answers = [
        one if one.said != "d" else replace(one, said="a", right=one.true == "a") for one in world(0, 400, classes=MANY)
    ]
    (one,) = (f for f in findings_of(answers).findings if f.kind == "never said")
    assert one.answer == "d" and one.level == "finding" and one.n == sum(a.true == "d" for a in answers)


@pytest.mark.parametrize("right", [True, False, None])
def test_all_right_all_wrong_and_unknown(right: bool | None) -> None:
    answers = [
        replace(one, right=right, true={True: one.said, False: "other", None: ""}[right]) for one in world(0, 200)
    ]
    found = findings_of(answers)
    assert not any(one.kind == "leans" for one in found.findings)
    assert math.isnan(found.strength) == (right is None)


def test_where_nobody_knows_what_is_right_it_is_told_what_carries_most() -> None:
    answers = [replace(one, right=None, true="") for one in world(0, 300, lean=3.0)]
    first, second = findings_of(answers, "logits", "class").findings
    assert {first.answer, second.answer} == {"car", "rocket"} and first.level == second.level == "note"
    assert first.n >= second.n and "nobody knows which are right" in first.sentence
    best = max(
        (*PLACES, "tree", "dog", "lamp", "car", "rocket"),
        key=lambda name: sum(
            one.evidence[CONCEPTS][name].signed
            for one in answers
            if one.said == first.answer != name and name in one.evidence[CONCEPTS]
        ),
    )
    assert first.concept == best and f"{best} carries most, +" in first.sentence


def test_wrong_though_it_is_what_most_people_said() -> None:
    """VQA's accuracy may call the commonest answer wrong: then nothing else was true."""
    answers = [replace(one, said="car", true="car", right=n % 2 == 0) for n, one in enumerate(world(0, 200))]
    answers += [replace(one, key=f"{one.key}b", said="rocket", true="rocket", right=True) for one in answers[:60]]
    assert not any(one.kind == "leans" for one in findings_of(answers).findings)


def test_one_picture_and_none() -> None:
    assert findings_of([]).findings == ()
    assert all(one.level == "note" for one in findings_of(world(0, 1)).findings)


def test_what_is_not_known_is_left_out() -> None:
    nothing = OnConcept(math.nan, math.nan, math.nan, math.nan, "place")
    answers = [
        replace(one, evidence={CONCEPTS: {name: nothing for name in one.evidence[CONCEPTS]}}, lead=math.nan)
        for one in world(0, 400, lean=3.0)
    ]
    found = findings_of(answers)
    assert found.looked_at == 0 and not found.findings
    some = [answer if n % 5 else answers[n] for n, answer in enumerate(world(0, 800, lean=3.0)[:400])]
    assert ("car", "desert") in leant(some)


def test_words_whose_truth_nobody_knows_are_compared_by_their_kind() -> None:
    answers = [replace(one, true=one.said if one.right else "") for one in world(0, 600, lean=3.0)]
    assert ("car", "desert") in leant(answers)
    assert (
        share_of_runs(lambda seed: [replace(one, true=one.said if one.right else "") for one in world(seed, 300)])
        <= 0.05
    )


# Trials


def finding() -> Finding:
    return findings_of(world(0, 600, lean=3.0), "logits", "class").findings[0]


def test_a_finding_is_proven_by_hiding_what_it_names() -> None:
    held = after_trial(finding(), HidingTrial(20, 15, 2.0))
    assert held.level == "finding" and held.trial == HidingTrial(20, 15, 2.0)
    assert held.sentence.endswith("hidden, 15 of 20 wrong ones change, 2 with random cells hidden")
    beside = after_trial(finding(), HidingTrial(20, 15, 2.0, "same"))
    assert beside.sentence.endswith("15 of 20 wrong ones change, 2 with the same from other pictures in its place")


def test_a_finding_that_hiding_does_not_prove_is_told() -> None:
    failed = after_trial(finding(), HidingTrial(20, 3, 2.5))
    assert failed.level == "note" and failed.sentence.endswith("not proven")
    assert after_trial(finding(), HidingTrial(0, 0, 0.0)) == finding()
    assert after_trial(finding(), HidingTrial(40, 1, 0.0)).level == "note"  # of none by chance one is not many
    assert after_trial(finding(), HidingTrial(40, 40, 40.0)).level == "note"


# Mistakes that were planted and lived


def test_evidence_against_an_answer_gives_no_strength() -> None:
    """What an answer goes with, and whose pixels speak against it, is not what the model leans on."""

    def turned(one: Answered) -> Answered:
        there = {name: on._replace(contrast=-on.contrast) for name, on in one.evidence[CONCEPTS].items()}
        return replace(one, evidence={CONCEPTS: there})

    answers = world(1, 600, lean=3.0)
    assert findings_of(answers).strength > 0.2
    assert findings_of([turned(one) for one in answers]).strength == 0


def test_of_several_answers_about_a_picture_the_one_that_is_said_stands_for_it() -> None:
    pictures, said = np.array([0, 0, 1, 1, 2]), np.array([False, True, False, False, True])
    assert leaning.first_rows(pictures, np.zeros(5, np.intp), said).tolist() == [1, 2, 4]


def test_pictures_that_show_what_is_said_are_no_others_where_some_truths_are_unknown() -> None:
    told = [("car", "car", True), ("rocket", "car", False), ("car", "rocket", False), ("car", "", False)]
    answers = AnswerColumns([Answered(str(n), 0, *one) for n, one in enumerate(told)])
    car = answers.labels.index("car")
    rows, _ = leaning.elsewhere(answers, car, answers.wrong & (answers.said == car) & (answers.true != car))
    assert rows.tolist() == [2, 3]
