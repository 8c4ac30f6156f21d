"""One record for every use: nothing is made before it is asked for, and what is known comes with its pixels."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from vlx import scenes
from vlx.data.concepts import Concept, Labelled, Regions
from vlx.data.example import Ask, Data, Example, Truth, labelled
from vlx.data.scenes import SceneData
from vlx.errors import InputError, MissingImage
from vlx.protocol.targets import Query
from vlx.scenes.bias import BIASED

SKY, SEA, DAY = Concept("sky", "scene"), Concept("sea", "scene"), Concept("day", "scene")


def counted(value: Any) -> tuple[Any, list[int]]:
    """A function that makes the value, and how often it was called."""
    calls: list[int] = []

    def made(*_: Any) -> Any:
        calls.append(1)
        return value

    return made, calls


def test_nothing_is_made_before_it_is_asked_for_and_then_once() -> None:
    given = {"image": Image.new("RGB", (9, 8)), "texts": ["a star"], "asks": [Ask()], "regions": {SKY: np.ones((8, 9))}}
    made = {name: counted(value) for name, value in given.items()}
    image, *_ = (function for function, _ in made.values())
    rest: dict[str, Any] = {name: made[name][0] for name in ("texts", "asks", "regions")}
    example = Example("a", image, **rest)
    assert all(not calls for _, calls in made.values())
    for _ in range(2):
        assert example.image.size == (9, 8)
        assert example.texts == ("a star",)
        assert example.asks == (given["asks"][0],)  # type: ignore[index]
        assert list(example.regions) == [SKY]
    assert all(len(calls) == 1 for _, calls in made.values())


def test_a_truth_paints_its_mask_when_it_is_asked_for() -> None:
    mask = np.eye(3, dtype=bool)
    paint, calls = counted(mask)
    truth = Truth(paint, boxes=[(1, 2, 3, 4)], things=np.ones((3, 3), bool))
    assert not calls
    ask = Ask(Query(answer="red"), truth=truth)
    assert ask.mask is mask
    assert truth.mask is mask
    assert len(calls) == 1
    assert truth.boxes == ((1, 2, 3, 4),)
    assert truth.things is not None
    assert truth.things.sum() == 9
    assert Truth(mask).things is mask
    assert Ask().mask is None
    assert Truth(absent=True).mask is None


def test_a_picture_that_is_missing_says_so_when_it_is_opened() -> None:
    example = Example("a", "nowhere/a.jpg", texts=["a star"])
    assert example.texts == ("a star",)
    with pytest.raises(MissingImage, match=r"nowhere/a\.jpg: no such file"):
        _ = example.image


def test_regions_kept_as_numbers_are_masks_on_the_picture() -> None:
    regions = Regions(np.array([[[0, 2], [2, 2]], [[1, 0], [0, 0]]]), (SKY, SEA, DAY), (3,), size=(4, 6))
    assert list(regions) == [SKY, SEA, DAY]
    assert regions[SKY].tolist() == [[True, True, True, False, False, False]] * 2 + [[False] * 6] * 2
    assert regions[SEA].tolist() == [[False, False, False, True, True, True]] * 2 + [[True] * 6] * 2
    assert regions[DAY].all()
    assert Concept("dog", "object") not in regions


def test_regions_by_name_become_numbers_of_the_concepts() -> None:
    def regions(**masks: NDArray[np.bool_]) -> Mapping[Concept, NDArray[np.bool_]]:
        return {Concept(name, "scene"): mask for name, mask in masks.items()}

    left, lower = np.zeros((8, 9), bool), np.zeros((8, 9), bool)
    left[:, :4], lower[4:] = True, True
    found = labelled(Example("a", Image.new("RGB", (9, 8)), regions=regions(sea=left, sky=lower)), (SKY, SEA))
    assert np.array_equal((found.labels == 2).any(0), left)
    assert np.array_equal((found.labels == 1).any(0), lower)
    plain = labelled(Example("b", Image.new("RGB", (9, 8))), (SKY, SEA))
    assert plain.labels.shape == (1, 8, 9)
    assert not plain.labels.any()
    assert labelled(Example("b", Image.new("RGB", (9, 8))), ()).labels.shape == (0, 1, 1)
    ready = Labelled(Image.new("RGB", (9, 8)), np.zeros((1, 8, 9), np.int32))
    assert labelled(ready, (SKY,)) is ready
    for other, message in (
        ({DAY: left}, r"a: day \(scene\) is none of"),
        ({SKY: left.T}, r"sky is \(9, 8\), the"),
    ):
        with pytest.raises(InputError, match=message):
            labelled(Example("a", Image.new("RGB", (9, 8)), regions=other), (SKY, SEA))


def test_numbers_are_told_only_by_data_that_keep_them() -> None:
    with pytest.raises(AttributeError, match="tells its regions by name"):
        _ = Example("a", Image.new("RGB", (9, 8)), regions={SKY: np.ones((8, 9), bool)}).labels


# Scenes


def test_a_scene_asks_for_its_words_and_questions_with_what_they_rest_on() -> None:
    data: Data = SceneData(3, 10_000_000)
    for number in range(len(data)):
        example, scene = data[number], scenes.draw(10_000_000 + number)
        assert example.key == str(10_000_000 + number)
        assert example.image.tobytes() == scene.image.tobytes()
        assert example.texts == (scene.caption,)
        words = [ask for ask in example.asks if ask.query.caption is not None]
        told = [(place, word) for place, word in enumerate(scene.words) if word.category]
        assert [(ask.position, ask.group) for ask in words] == [(place, word.category) for place, word in told]
        for ask, (_, word) in zip(words, told, strict=True):
            assert str(ask.query.caption).split()[ask.position] == word.word
            assert np.array_equal(np.asarray(ask.mask), np.asarray(word.mask))
        answers = [ask for ask in example.asks if ask.query.question is not None]
        assert [(ask.query.question, ask.query.answer, ask.group) for ask in answers] == [
            (one.text, one.answer, one.kind) for one in scene.questions
        ]
        for ask, one in zip(answers, scene.questions, strict=True):
            assert (ask.truth is None) == (one.mask is None)
            assert ("biased" in ask.marks) == (one.kind in BIASED)
            if ask.truth is not None:
                assert np.array_equal(np.asarray(ask.mask), np.asarray(one.mask))
                assert not (np.asarray(ask.mask) & ~np.asarray(ask.truth.things)).any()


def test_a_part_rests_on_the_whole_thing_too() -> None:
    larger = 0
    for example in (SceneData(30, 10_000_000)[number] for number in range(30)):
        for ask in example.asks:
            if ask.group == "part" and ask.truth is not None:
                objects = [mask for concept, mask in example.regions.items() if concept.category == "object"]
                things = np.asarray(ask.truth.things)
                assert np.logical_or.reduce([mask for mask in objects if (mask & things).any()])[things].all()
                larger += things.sum() > np.asarray(ask.mask).sum()
    assert larger > 5


@pytest.mark.parametrize("count", [1, 2])
def test_scenes_can_be_picked_by_how_many_things_their_caption_names(count: int) -> None:
    data = SceneData(12, 10_000_000, named=count)
    seeds = [int(data[number].key) for number in range(12)]
    drawn = {seed: len(scenes.draw(seed).named) for seed in range(10_000_000, seeds[-1] + 1)}
    assert seeds == [seed for seed, named in drawn.items() if named == count]
    assert data.digest() != SceneData(12, 10_000_000).digest()
