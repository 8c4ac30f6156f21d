"""The evaluation of reasons counts what it says: truth against masks, both marks, and each under permuted names."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import vlx
from tests.explanations import CHECK, because, caption_explanation, reason
from tests.fakes import captioner
from vlx import evaluation, neuron_names, scenes
from vlx.data import SceneData
from vlx.errors import InputError
from vlx.evaluation.metrics.reasons import METRICS, counted
from vlx.explanation.reasons import Because

LEFT = np.tile(np.array([True, False]), (4, 2))
THERE = {"sky": LEFT, "sea": ~LEFT, "dog": LEFT}


def told(*reasons: tuple[str, bool | None], matters: bool = True) -> Because:
    made = tuple(
        reason(name, "because", 0.3 - n / 20, n, named=named, p_name=None if named is None else 0.04)
        for n, (name, named) in enumerate(reasons)
    )
    check = CHECK if matters else replace(CHECK, effect=0.0)
    return because(caption_explanation()[0], made, check if reasons else None)


def test_the_first_reason_counts_and_a_random_one_is_the_mean_of_all() -> None:
    found = counted(told(("sky", True), ("sea", True), ("sea", None), ("sea", False)), LEFT, THERE)
    assert (found["first reason"], found["random"]) == ([1.0], [0.25])
    found = counted(told(("sea", True), ("sky", True), ("dog", None), ("sky", False)), LEFT, THERE)
    assert (found["first reason"], found["random"]) == ([0.0], [0.75])
    assert counted(told(), LEFT, THERE)["first reason"] == [0.0], "no reason is no true reason"


@pytest.mark.parametrize("first", [True, False, None])
def test_marks_are_what_the_test_said_and_not_that_there_was_one(first: bool | None) -> None:
    found = counted(told(("sky", first), ("sea", False), ("dog", True)), LEFT, THERE)
    assert found["first marked"] == [float(first is True)]
    assert found["any marked"] == [1.0]
    assert found["first true, marked"] == ([1.0] if first is True else [])
    assert found["first true, unmarked"] == ([] if first is True else [1.0])
    assert found["all true, marked"] == [1.0, 1.0][: 1 + (first is True)]
    assert found["all true, unmarked"] == [*([1.0] * (first is not True)), 0.0]
    none = counted(told(("sky", first and False), ("sea", None)), LEFT, THERE)
    assert (none["first marked"], none["any marked"]) == ([0.0], [0.0])


def test_whether_units_matter_is_counted_and_not_whether_it_was_tried() -> None:
    assert counted(told(("sky", True)), LEFT, THERE)["matters"] == [1.0]
    assert counted(told(("sky", True), matters=False), LEFT, THERE)["matters"] == [0.0]
    untried = replace(told(("sky", True)), check=None)
    assert "matters" not in counted(untried, LEFT, THERE)


def test_what_cannot_be_true_or_false_has_marks_only() -> None:
    found = counted(told(("sky", True)), None, THERE)
    assert set(found) == {"first marked", "any marked", "coverage", "matters"}


def by_hand(table: neuron_names.NeuronNames, first: int, count: int) -> dict[str, list[float]]:
    """Every figure of content words once more, from what `vlx.explain` says."""
    task = vlx.load("scenes/captioner")
    found: dict[str, list[float]] = {}
    for seed in range(first, first + count):
        scene = scenes.draw(seed)
        there = SceneData(1).masks(scene)
        why: Any = vlx.explain(task, scene.image, caption=scene.caption, names=table)
        for word, own in zip(scene.words, why, strict=True):
            if word.category is None:
                assert own.because is None
                continue
            assert own.because is not None and own.because.check is not None and word.mask is not None
            reasons = own.because.of("because")
            true = [r.concept in there and bool((there[r.concept] & word.mask).any()) for r in reasons]
            mark = reasons[0].p_name is not None and reasons[0].p_name <= 0.05
            marks = [r.p_name is not None and r.p_name <= 0.05 for r in reasons[:3]]
            row: dict[str, list[Any]] = {
                "first reason": [true[0]],
                "random": [sum(true) / len(true)],
                "first marked": [mark],
                "any marked": [any(marks)],
                "first true, marked": [true[0]] if mark else [],
                "first true, unmarked": [] if mark else [true[0]],
                "all true, marked": [t for t, m in zip(true, marks, strict=False) if m],
                "all true, unmarked": [t for t, m in zip(true, marks, strict=False) if not m],
                "matters": [own.because.check.effect > max(0.0, *own.because.check.random)],
                "coverage": [own.because.coverage],
            }
            for name, values in row.items():
                found.setdefault(name, []).extend(float(value) for value in values)
    return found


def test_every_figure_of_captions_is_what_explain_says_and_so_is_the_baseline() -> None:
    task, first = vlx.load("scenes/captioner"), 10_000_040
    table = neuron_names.shipped(task)
    order = np.random.default_rng(0).permutation(len(table))  # the first table that the evaluation draws
    result = evaluation.grounds(task, 3, first=first, tables=1)
    own, chance = (by_hand(names, first, 3) for names in (table, neuron_names.permuted(table, order)))
    rows = {row.metric: row for row in result.rows if row.group == "all"}
    assert list(rows) == [metric for metric in METRICS if own[metric]]
    for metric, row in rows.items():
        assert row.value == pytest.approx(np.mean(own[metric])), metric
        assert row.count == len(own[metric])
        if chance[metric]:
            assert row.permuted == pytest.approx(np.mean(chance[metric]), abs=1e-6), metric
        assert 0 <= row.low <= row.value <= row.high <= 1
    assert rows["first reason"].random == pytest.approx(np.mean(own["random"]))
    # Not by chance the same: each planted mistake would show.
    assert rows["first reason"].value > rows["first reason"].random + 0.2
    assert rows["first reason"].value > rows["first reason"].permuted + 0.2
    assert rows["first marked"].value > rows["first marked"].permuted + 0.2
    assert 0 < rows["matters"].value < 1
    assert result.command == "vlx evaluate scenes/captioner --metrics because --n 3"
    assert "names permuted" in str([column._cells for column in result.table().columns])


def test_words_count_in_their_groups_and_function_words_in_none() -> None:
    task, first = vlx.load("scenes/captioner"), 10_000_040
    drawn = [scenes.draw(seed) for seed in (first, first + 1)]
    result = evaluation.grounds(task, 2, first=first, tables=0)
    counts = {row.group: row.count for row in result.rows if row.metric == "matters"}
    for category in ("object", "color", "texture", "scene"):
        assert counts.get(category, 0) == sum(word.category == category for scene in drawn for word in scene.words)
    assert counts["all"] == sum(count for group, count in counts.items() if group != "all")


def test_swapped_labels_are_seen_in_what_is_true() -> None:
    task, first = vlx.load("scenes/captioner"), 10_000_040
    table = neuron_names.shipped(task)
    concepts = sorted({name.concept for name in table if name.concept})
    other = dict(zip(concepts, [*concepts[1:], concepts[0]], strict=True))
    listed = tuple(
        tuple(replace(name, concept=other[name.concept]) for name in table.candidates(unit)[:1])
        for unit in range(len(table))
    )
    swapped = neuron_names.NeuronNames(listed, table.about)
    usual, wrong = (evaluation.grounds(task, 2, first=first, tables=0, names=names) for names in (table, swapped))
    place = ("all", "contribution", "logit")
    assert wrong.value(*place, "first reason") < usual.value(*place, "first reason") - 0.4
    assert wrong.value(*place, "first marked") == pytest.approx(usual.value(*place, "first marked"), abs=0.1)


def test_answers_are_judged_by_the_things_they_rest_on() -> None:
    result = evaluation.grounds(vlx.load("scenes/vqa"), 1, first=10_000_021, tables=1)
    asked = scenes.draw(10_000_021).questions
    counts = {row.group: row.count for row in result.rows if row.metric == "matters"}
    assert sum(count for group, count in counts.items() if group != "all") == len(asked)
    judged = {row.group for row in result.rows if row.metric == "first reason"}
    assert judged == {"all", *(one.kind for one in asked if one.mask is not None)}


def test_models_that_scenes_cannot_judge_are_refused() -> None:
    other: Any = captioner()
    with pytest.raises(InputError, match=r"no table of names came with tiny"):
        evaluation.grounds(other, 1)
