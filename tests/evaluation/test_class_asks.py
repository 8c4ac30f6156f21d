"""Classes of data are asked for as the model calls them: by other names, the likeliest of several; none is lost."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.evaluation.test_run import Squares
from tests.explanation.test_map_check import colours
from tests.heads import Net, prepare
from vlx import scenes
from vlx.data import SceneData
from vlx.data.example import Ask, Example
from vlx.errors import InputError
from vlx.evaluation import evaluate
from vlx.evaluation.cases import Reading, cases_of
from vlx.evaluation.class_asks import LACKED, likeliest
from vlx.protocol.targets import Query
from vlx.tasks.classification import Classifier


class Renamed(Squares):
    """The same squares, whose classes are called something else."""

    name = "renamed"

    def __init__(self, **names: str) -> None:
        self.names = {"red": "red", "green": "green", **names}
        self.classes = (*self.names.values(), "blue whale")

    def __getitem__(self, number: int) -> Example:
        example = super().__getitem__(number)
        asks = [replace(ask, label=self.names[str(ask.label)]) for ask in example.asks]
        return Example(example.key, example.image, asks=asks)


def told(data: Any, **options: Any) -> list[tuple[str, float, int]]:
    result = evaluate(colours(), data, methods=["gradcam"], targets=["logit"], **options)
    return [(row.group, row.value, row.count) for row in result.rows]


def test_another_name_is_asked_for_by_a_table_and_by_case(tmp_path: Path) -> None:
    same = told(Squares())
    assert told(Renamed(red="Scarlet", green="GREEN"), classes={"scarlet": ["red"]}) == same
    (tmp_path / "classes.json").write_text('{"Scarlet": "red"}')
    result = evaluate(
        colours(), Renamed(red="Scarlet"), methods=["gradcam"], targets=["logit"], classes=tmp_path / "classes.json"
    )
    assert [(row.group, row.value, row.count) for row in result.rows] == same
    assert f"--classes {tmp_path / 'classes.json'}" in result.command
    with pytest.raises(InputError, match="'red' is 'reed', which is no label of the model; close: red"):
        told(Squares(), classes={"red": ["reed"]})


def test_what_the_model_has_not_is_counted_and_listed() -> None:
    result = evaluate(colours(), Renamed(red="Scarlet"), methods=["gradcam"], targets=["logit"])
    assert {row.count for row in result.rows} == {3}, "the green ones"
    assert f"2 left out, {LACKED}: Scarlet, blue whale" in result.notes
    assert any("3 asks left out: not in the model's words (Scarlet" in note for note in result.notes)


def test_of_several_classes_the_likeliest_on_the_very_picture_is_asked_for() -> None:
    task, data = colours(), Renamed(red="coloured", green="nothing")
    table = {"coloured": ["green", "red"], "nothing": []}
    examples = [data[0], data[1]]
    features = task.features(task.place(torch.stack([task.prepare(one.image) for one in examples])))
    cases = cases_of(Reading(task, data, table), features, examples)
    free = task.predict(features, [Query(answer="red"), Query(answer="red")])
    other = task.predict(features, [Query(answer="green"), Query(answer="green")])
    wanted = ["red" if a.words[0].logprob > b.words[0].logprob else "green" for a, b in zip(free, other, strict=True)]
    assert [case.prediction.text for case in cases] == wanted
    assert [case.group for case in cases] == ["square"] * 2
    assert likeliest(task, features, ["green"]) == "green"


def kinds(labels: list[str]) -> Classifier:
    return Classifier(Net(len(labels)), "body", labels, prepare)


def test_drawn_scenes_judge_a_classifier_of_their_kinds_and_no_other() -> None:
    labels = [*list(scenes.KINDS)[:3], "submarine"]
    data = SceneData(12, 10_000_000)
    result = evaluate(kinds(labels), data, methods=["gradcam"], targets=["logit"])
    there = [ask.label for number in range(12) for ask in data[number].asks if ask.label in labels]
    counts = {row.group: row.count for row in result.rows if row.group != "mean of groups"}
    assert counts == {kind: there.count(kind) for kind in there}
    assert len(counts) == 3
    lacked = [kind for kind in scenes.KINDS if kind not in labels]
    assert any(note.startswith(f"9 left out, {LACKED}: {', '.join(lacked[:5])}") for note in result.notes)
    strange = kinds(["submarine", "moose"])
    with pytest.raises(InputError, match=r"^Net does classification, and drawn scenes .* none of its classes"):
        evaluate(strange, data)
    assert strange.model.runs == 0


def of(example: Example, label: bool) -> Iterator[Ask]:
    return (ask for ask in example.asks if (ask.label is not None) == label)


def test_a_scene_asks_for_its_kinds_and_tells_those_it_lacks() -> None:
    for number in range(8):
        scene, example = scenes.draw(10_000_000 + number), SceneData(8, 10_000_000)[number]
        asks = {ask.label: ask for ask in of(example, label=True)}
        assert set(asks) == {thing.kind for thing in scene.objects}
        for kind, ask in asks.items():
            assert ask.truth is not None and kind is not None
            assert np.array_equal(np.asarray(ask.mask), scene.masks[kind])
            assert set(ask.truth.boxes) == {thing.box for thing in scene.objects if thing.kind == kind}
        lacking = set(scenes.KINDS) - set(asks)
        assert {ask.label for ask in example.absent if ask.label} == lacking
        words, things = scene.caption.split(), [n for n, word in enumerate(scene.words) if word.category == "object"]
        swapped = [(str(ask.query.caption).split(), ask.position) for ask in example.absent if not ask.label]
        assert [(place, said[place]) for said, place in swapped] == [
            (place, kind) for place in things for kind in scenes.KINDS if kind in lacking
        ]
        assert all(said[:place] + said[place + 1 :] == words[:place] + words[place + 1 :] for said, place in swapped)
        assert all(ask.truth and ask.truth.absent for ask in example.absent)
