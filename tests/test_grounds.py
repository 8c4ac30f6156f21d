"""The evaluation of reasons counts what it says: first reasons against masks, checks, by group."""

from typing import Any

import numpy as np
import pytest

import vlx
from tests.fakes import captioner
from vlx import evaluation, scenes
from vlx.errors import InputError
from vlx.neuron_names.datasets import SceneData


def test_captions_are_judged_word_by_word() -> None:
    task, first = vlx.load("scenes/captioner"), 10_000_040
    result = evaluation.grounds(task, 2, first=first, rules=("contribution",))
    drawn = [scenes.draw(seed) for seed in (first, first + 1)]
    counts = {row.group: row.count for row in result.rows if row.metric == "matters"}
    plain = [word.word for scene in drawn for word in scene.words if word.category is None]
    assert counts["function words"] == len(plain)
    assert counts["“a”"] == plain.count("a")
    for category in ("object", "color", "texture", "scene"):
        assert counts.get(category, 0) == sum(word.category == category for scene in drawn for word in scene.words)
    # Once more by hand, from what explain() says.
    hits: list[bool] = []
    for scene in drawn:
        why = vlx.explain(task, scene.image, caption=scene.caption, names="shipped", words="all")
        there = SceneData(1).masks(scene)
        for word, told in zip(scene.words, why, strict=True):
            if word.category == "object":
                assert told.because is not None
                assert word.mask is not None
                concept = told.because.of("because")[0].concept
                hits.append(concept in there and bool((there[concept] & word.mask).any()))
    assert result.value("object", "contribution", "logit", "first reason") == np.mean(hits)
    assert all(0 <= row.low <= row.value <= row.high <= 1 for row in result.rows)
    assert result.command == "vlx evaluate scenes/captioner --metrics because --n 2"


def test_answers_are_judged_by_the_things_they_rest_on() -> None:
    result = evaluation.grounds(vlx.load("scenes/vqa"), 1, first=10_000_021, rules=("contribution",))
    asked = scenes.draw(10_000_021).questions
    counts = {row.group: row.count for row in result.rows if row.metric == "matters"}
    assert sum(counts.values()) == len(asked)
    judged = {row.group for row in result.rows if row.metric == "first reason"}
    assert judged == {one.kind for one in asked if one.mask is not None}


def test_models_that_scenes_cannot_judge_are_refused() -> None:
    other: Any = captioner()
    with pytest.raises(InputError, match=r"no table of names came with tiny"):
        evaluation.grounds(other, 1)
