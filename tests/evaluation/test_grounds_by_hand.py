"""Every figure of reasons on scenes painted by hand, from what `vlx.explain` says with each table of names."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import vlx
from tests.painted import (
    CELL,
    CELLS,
    HIGH,
    SIDE,
    WEIGHTS,
    WORDS,
    Array,
    Mask,
    Painted,
    answers,
    painted,
    rectangle,
    scene,
    shown,
)
from vlx import evaluation
from vlx.explanation.reasons import Because
from vlx.neuron_names.table import NeuronNames, UnitName
from vlx.neuron_names.table.names import permuted
from vlx.pictures.placement import Grid
from vlx.protocol.task import Defaults, Features
from vlx.scenes.questions import Question
from vlx.scenes.scene import Scene

REGIONS = 8  # two rows by four columns of the picture; each has a unit for red, one for green and one for blue
TABLES = 2
CONCEPTS = {
    0: ["red", "red", "red", "house", "red", "red", "wall", "car"],
    1: ["meadow", "beach", "meadow", "", "beach", "meadow", "plain", "tree"],
    2: ["blue", "blue", "trunk", "blue", "tree", "blue", "body", "blue"],
}
PAINTED = {"trunk": ("brown",), "wheel": ("black",)}  # other parts have the object's colour and texture
Counts = dict[str, list[float]]


class Regions(Painted):
    """Each unit is one channel of one region, and 0 elsewhere; no answer has rivals."""

    defaults = Defaults("gradcam", "logit", "batched")  # what is named of its map is another share than of evidence

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.rivals = False

    def features(self, inputs: Tensor) -> Features:
        colours = torch.nn.functional.avg_pool2d(inputs, CELL)
        parts = []
        for region in range(REGIONS):
            inside = torch.zeros(CELLS, dtype=inputs.dtype)
            top, left = 2 * (region // 4), 2 * (region % 4)
            inside[top : top + 2, left : left + 2] = 1
            parts.append(colours * inside)
        return Features({"cells": torch.cat(parts, 1)}, "cells", Grid.half_pixel(CELLS, (HIGH, SIDE)))

    def weights(self, tokens: tuple[int, ...], step: int = 0) -> Array:
        """W [V, 24]: what a word has for a colour, more of it in some regions."""
        if self.kind == "captioning":
            colours = np.array([WEIGHTS.get(word, (0.0, 0.0, 0.0)) for word in WORDS])
        else:
            colours = answers(self.asked[tokens[0]])
        lots = np.random.default_rng(2).uniform(0.2, 1.8, (len(colours), REGIONS, 1))
        return np.asarray((colours[:, None] * lots).reshape(len(colours), -1))


def table() -> NeuronNames:
    names = [CONCEPTS[unit % 3][unit // 3] for unit in range(3 * REGIONS)]
    listed = tuple(
        (UnitName(unit, name, "object", 0.2, 0.2, threshold=0.2),) if name else () for unit, name in enumerate(names)
    )
    return NeuronNames(listed, {"layer": "cells"})


def tables() -> list[NeuronNames]:
    """The permuted ones that the evaluation draws."""
    orders = np.random.default_rng(0)
    return [permuted(table(), orders.permutation(3 * REGIONS)) for _ in range(TABLES)]


def there(scene: Scene) -> dict[str, Mask]:
    """What there is to be named: objects, the parts of them that are seen, what these are painted with, the place."""
    found: dict[str, Mask] = {scene.place: scene.background}
    for thing in scene.objects:
        for part, mask in thing.parts.items():
            for name in (thing.kind, part, *PAINTED.get(part, (thing.color, thing.texture))) if mask.any() else ():
                found[name] = found.get(name, np.zeros((SIDE, SIDE), bool)) | mask
    return found


def explained(kind: str, scene: Scene, names: NeuronNames) -> Iterator[tuple[str, Mask | None, Because]]:
    """Group, pixels and reasons of each word that has a category, or of each answer."""
    task: Any = Regions(kind)
    if kind == "captioning":
        spoken: list[str | int] = [place for place, word in enumerate(scene.words) if word.category is not None]
        why = vlx.explain(task, scene.image, caption=scene.caption, names=names, words=spoken, seen=False)
        for word, own in zip(scene.words, why, strict=True):
            if word.category is not None:
                assert own.because is not None
                yield word.category, word.mask, own.because
    for one in scene.questions if kind == "vqa" else ():
        told = vlx.explain(task, scene.image, question=one.text, answer=one.answer, names=names, seen=False)
        touched = [thing.mask for thing in scene.objects if one.mask is not None and (thing.mask & one.mask).any()]
        assert told[0].because is not None
        whole = np.any(touched, axis=0) if touched else one.mask
        yield one.kind, whole, told[0].because


def counts(because: Because, mask: Mask | None, pixels: dict[str, Mask]) -> Counts:
    """What one word adds to each metric, straight from the definitions."""
    reasons = because.of("because")
    marks = [one.p_name is not None and one.p_name <= 0.05 for one in reasons[:3]]
    found: Counts = {"first marked": [float(marks[:1] == [True])], "any marked": [float(any(marks))]}
    found["coverage"] = [because.coverage]
    check = because.check
    found["matters"] = [float(check is not None and check.effect > max(0.0, *check.random))]
    if mask is not None:
        true = [one.concept in pixels and bool((pixels[one.concept] & mask).any()) for one in reasons]
        found["first reason"] = [float(true[:1] == [True])]
        found["random"] = [float(np.mean(true)) if true else 0.0]
        for name, marked in (("marked", True), ("unmarked", False)):
            found[f"first true, {name}"] = [float(one) for one, m in zip(true[:1], marks, strict=False) if m is marked]
            found[f"all true, {name}"] = [float(one) for one, m in zip(true, marks, strict=False) if m is marked]
    return found


def world() -> dict[int, Scene]:
    """The painted scenes; the car of the last shows wheels too, and a question's answer rests on these alone."""
    found = painted()
    last = found[2]
    car, tree = last.objects
    left = rectangle(0, 4, 0, 4)
    parts = {**car.parts, "body": car.mask & left, "wheel": car.mask & ~left}
    asked = (*last.questions, Question("how many wheels are there?", "red", "part", (parts["wheel"],)))
    found[2] = scene(2, last.image, last.place, [replace(car, parts=parts), tree], asked)
    return found


@cache
def by_hand(kind: str, number: int | None) -> dict[tuple[str, str], Counts]:
    """By metric and group the values of each scene, by the table, or by that number of the permuted ones."""
    names = table() if number is None else tables()[number]
    found: dict[tuple[str, str], Counts] = defaultdict(lambda: defaultdict(list))
    for seed, own in world().items():
        for group, mask, because in explained(kind, own, names):
            for metric, values in counts(because, mask, there(own)).items():
                groups = ("all", group) if mask is not None else ("nothing there",)
                tried = number is None or seed % TABLES == number  # switching off takes long: a table a scene, in turn
                if metric == "matters" and not tried and because.said:
                    continue
                for each in groups:
                    found[metric, each]["values"] += values
    return found


def measured(kind: str, patch: pytest.MonkeyPatch) -> evaluation.Result:
    shown(patch, world())
    return evaluation.grounds(Regions(kind), 3, names=table(), first=0, tables=TABLES)


@pytest.mark.parametrize("kind", ["captioning", "vqa"])
def test_every_figure_is_that_of_the_hand_and_of_the_permuted_tables(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, chance = by_hand(kind, None), [by_hand(kind, number) for number in range(TABLES)]
    result = measured(kind, monkeypatch)
    wanted = {place for place, counted in own.items() if counted["values"] and place[0] != "random"}
    assert {(row.metric, row.group) for row in result.rows} == wanted
    for row in result.rows:
        place = (row.metric, row.group)
        values = own[place]["values"]
        assert row.value == pytest.approx(np.mean(values)), row
        assert row.count == len(values)
        means = [np.mean(one[place]["values"]) for one in chance if one[place]["values"]]
        assert row.permuted == pytest.approx(np.mean(means) if means else np.nan, nan_ok=True), row
        random = np.mean(own["random", row.group]["values"]) if row.metric == "first reason" else np.nan
        assert row.random == pytest.approx(random, nan_ok=True), row


def test_this_world_can_tell_the_figures_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by chance the same: where two figures of a row agree, one could stand for the other unnoticed."""
    rows = {row.metric: row for row in measured("captioning", monkeypatch).rows if row.group == "all"}
    first = rows["first reason"]
    assert abs(first.value - first.random) > 0.1 < abs(first.value - first.permuted)
    assert 0 < rows["first marked"].value < rows["any marked"].value < 1
    assert 0 < rows["matters"].value < 1
    assert rows["matters"].value != rows["matters"].permuted
