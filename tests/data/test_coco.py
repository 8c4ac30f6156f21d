"""One reader of COCO: what is outlined, what is absent, which words name what, and files that contradict themselves."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.data.test_masks import packed
from vlx import scenes
from vlx.data import CocoData, open_data
from vlx.data.categories import CategoryWords, named, told_words
from vlx.errors import InputError
from vlx.scenes.export import export, run_lengths

WIDE, HIGH = 40, 30
SQUARE = [[8, 8, 24, 8, 24, 24, 8, 24]]
CATEGORIES = ("dog", "fire truck", "zebra", "star")


def written(folder: Path, notes: Sequence[dict[str, Any]], told: Sequence[str] = (), **changes: Any) -> Path:
    """An instance file of one picture."""
    folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (WIDE, HIGH), (9, 90, 200)).save(folder / "a.png")
    content = {
        "images": [{"id": 7, "file_name": "a.png", "width": WIDE, "height": HIGH}],
        "categories": [{"id": n, "name": name} for n, name in enumerate(CATEGORIES)],
        "annotations": [{"image_id": 7, **note} for note in notes],
        "captions": [{"image_id": 7, "caption": text} for text in told],
        **changes,
    }
    path = folder / "instances.json"
    path.write_text(json.dumps(content))
    return path


def asked(data: Any) -> list[tuple[Any, ...]]:
    return [(ask.query.caption, ask.position, ask.label, ask.group) for ask in data[0].asks]


def test_a_thing_in_run_lengths_is_asked_for_and_a_crowd_is_not(tmp_path: Path) -> None:
    mask = np.zeros((HIGH, WIDE), bool)
    mask[3:9, 20:30] = True
    runs = run_lengths(mask)
    short = {**runs, "counts": packed(runs["counts"])}
    notes = [
        {"id": 1, "category_id": 0, "segmentation": short},
        {"id": 2, "category_id": 0, "segmentation": SQUARE},
        {"id": 3, "category_id": 1, "segmentation": runs, "iscrowd": 1, "bbox": [20, 3, 10, 6]},
    ]
    data = open_data(written(tmp_path, notes))
    assert asked(data) == [(None, 0, "dog", "dog")]
    square = np.zeros((HIGH, WIDE), bool)
    square[8:24, 8:24] = True
    assert np.array_equal(data[0].asks[0].mask, mask | square)  # type: ignore[arg-type]
    assert [ask.label for ask in data[0].absent] == ["zebra", "star"], "a crowd of fire trucks is there"


def test_what_has_boxes_alone_is_asked_for_without_a_mask(tmp_path: Path) -> None:
    bad: list[Any] = [None, [1, 2, 3], [1, 2, float("nan"), 4], [1, 2, 0, 4], ["1", 2, 3, 4], [1, 2, 3, -4]]
    notes: list[dict[str, Any]] = [
        {"category_id": 2, "bbox": [4, 5, 6, 7]},
        *({"category_id": 3, "bbox": box} for box in bad),
    ]
    ask = open_data(written(tmp_path, notes))[0].asks
    assert [(one.label, one.truth.boxes, one.mask, one.truth.told_mask) for one in ask if one.truth] == [
        ("zebra", ((4, 5, 6, 7),), None, False)
    ]


def test_absent_categories_stand_in_the_place_of_words(tmp_path: Path) -> None:
    notes = [{"category_id": 0, "segmentation": SQUARE}]
    data = open_data(written(tmp_path, notes, ["Two dogs, here.", "my dog", "a star"]))
    absent = [(ask.query.caption, ask.position, ask.label, ask.group) for ask in data[0].absent]
    assert absent == [
        *((None, 0, name, name) for name in CATEGORIES[1:]),
        ("two zebras here", 1, None, "zebra"),
        ("two stars here", 1, None, "star"),
        ("my zebra", 1, None, "zebra"),
        ("my star", 1, None, "star"),
    ], "a fire truck takes two words; a star is said and nowhere outlined"
    assert all(ask.truth and ask.truth.absent and ask.mask is None for ask in data[0].absent)
    assert not any(ask.truth and ask.truth.absent for ask in data[0].asks)


# Words


def test_names_of_ones_own_categories_are_found_in_the_plural_and_over_several_words(tmp_path: Path) -> None:
    notes = [{"category_id": n, "segmentation": SQUARE} for n in range(4)]
    told = ["Fire trucks and puppies near a fire-truck station and STARS"]
    words = told[0].lower().replace("-", " ")
    assert asked(open_data(written(tmp_path, notes, told)))[:3] == [
        (words, 1, None, "fire truck"),
        (words, 3, None, "dog"),
        (words, 10, None, "star"),
    ], "before a station a word says what kind"


def test_a_category_of_ones_own_goes_before_the_list() -> None:
    words = "a man and a bike by two people".split()
    assert named(words) == {1: ("person",), 4: ("bicycle", "motorcycle"), 7: ("person",)}
    assert CategoryWords(["man", "person", "bicycle"]).named(words) == {
        1: ("man",), 4: ("bicycle", "motorcycle"), 7: ("person",)
    }  # fmt: skip
    assert not CategoryWords(["puppy"]).named(["dog"])


def test_irregular_plurals_name_and_verbs_do_not() -> None:
    assert named("mice policemen tying ties".split()) == {0: ("mouse",), 1: ("person",), 3: ("tie",)}
    assert CategoryWords(["leaf"]).named("leaves left".split()) == {0: ("leaf",)}


def test_words_that_are_told_overrule_the_list(tmp_path: Path) -> None:
    told = tmp_path / "words.json"
    told.write_text(json.dumps({"puppy": [], "guard dog": "zebra", "Hound": ["dog", "star"]}))
    overruling = told_words(told, CATEGORIES)
    notes = [{"category_id": n, "segmentation": SQUARE} for n in range(4)]
    path = written(tmp_path / "data", notes, ["puppies, guard dogs, dogs and hounds"])
    data = CocoData(path, words=overruling)
    assert [(place, group) for caption, place, _, group in asked(data) if caption] == [
        (2, "zebra"), (3, "dog"), (5, "dog or star")
    ]  # fmt: skip
    assert data.digest() != CocoData(path).digest()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "needed is an object of words and categories"),
        ("{", "is not whole JSON"),
        ('{"pup": 5}', "'pup' is 5; give a category or a list"),
        ('{"pup": ["dog", null]}', r"'pup' is \['dog', None\]; give"),
        ('{" ": "dog"}', "' ' is 'dog'; give"),
        ('{"pup": "dgo"}', "'pup' names 'dgo', which is no category of the data; close: dog$"),
        ('{"pup": ["dog", ""]}', "'pup' names '', which is no category of the data"),
    ],
)
def test_a_broken_list_of_words_is_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "w.json").write_text(content)
    with pytest.raises(InputError, match=message):
        told_words(tmp_path / "w.json", CATEGORIES)


def test_wordnet_adds_words_of_the_same_first_sense_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    car = SimpleNamespace(lemma_names=lambda: ["car", "auto", "Motor_Car", "machine"])
    machine = SimpleNamespace(lemma_names=lambda: ["machine"])
    senses = {"car": [car], "auto": [car], "Motor_Car": [car], "machine": [machine, car]}
    corpus = ModuleType("nltk.corpus")
    corpus.wordnet = SimpleNamespace(  # type: ignore[attr-defined]
        ensure_loaded=lambda: None, synsets=lambda word, pos: senses.get(word, []) if pos == "n" else []
    )
    monkeypatch.setitem(sys.modules, "nltk.corpus", corpus)
    notes = [{"category_id": 1, "segmentation": SQUARE}]
    told = ["autos, a motor car, a machine, a cab and a jeep"]
    categories = [{"id": 1, "name": "car"}]
    data = open_data(written(tmp_path, notes, told, categories=categories))
    assert [place for caption, place, *_ in asked(data) if caption] == [0, 3, 7]


# Files


def test_drawn_scenes_come_back_as_classes_and_words_exact_to_the_pixel(tmp_path: Path) -> None:
    export(4, tmp_path, 10_000_000, 128, lambda items: items)
    data = open_data(f"coco:{tmp_path}")
    for number in range(4):
        scene, example = scenes.draw(10_000_000 + number), data[number]
        kinds = {thing.kind for thing in scene.objects}
        classes = {ask.label: ask.mask for ask in example.asks if ask.label}
        assert set(classes) == kinds
        for kind, mask in classes.items():
            assert np.array_equal(mask, scene.masks[kind])  # type: ignore[arg-type]
        words = {ask.position for ask in example.asks if ask.query.caption}
        assert words == {place for place, word in enumerate(scene.words) if word.category == "object"}
        assert {ask.label for ask in example.absent if ask.label} == set(scenes.KINDS) - kinds


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"annotations": [{"id": 5, "image_id": 7, "category_id": n} for n in (0, 1)]},
            r"instances.json: annotations\[0\] and \[1\] have one id, 5; give each its own",
        ),
        (
            {"annotations": [{"id": "a", "image_id": 7, "category_id": 0, "segmentation": SQUARE}] * 2},
            r"annotations\[0\] and \[1\] have one id, 'a'",
        ),
        (
            {"categories": [{"id": 0, "name": "cat"}, {"id": 0, "name": "cow"}]},
            "id 0 is of two categories, cat and cow",
        ),
        (
            {"images": [{"id": 7, "file_name": f"x/{n}.png", "width": 9, "height": 9} for n in "ab"]},
            "id 7 is of two pictures, a.png and b.png; give each its own",
        ),
    ],
)
def test_one_id_of_two_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_data(written(tmp_path, [], **changes))


def test_annotations_without_an_id_are_no_doubles_and_a_picture_listed_twice_is_one(tmp_path: Path) -> None:
    image = {"id": 7, "file_name": "a.png", "width": WIDE, "height": HIGH}
    notes: list[dict[str, Any]] = [{"category_id": 0, "segmentation": SQUARE}]
    notes += [{"category_id": 1, "id": None, "segmentation": SQUARE}]
    data = open_data(written(tmp_path, [*notes, notes[1]], images=[image, image]))
    assert len(data) == 1
    assert [ask.label for ask in data[0].asks] == ["dog", "fire truck"]


def test_captions_of_another_year_are_of_the_same_pictures_and_of_other_pictures_are_not(tmp_path: Path) -> None:
    path = written(tmp_path, [{"category_id": 0, "segmentation": SQUARE}])
    told = tmp_path / "told.json"
    content = {"annotations": [{"image_id": 7, "caption": "a dog"}, {"image_id": 7, "caption": None}]}
    told.write_text(json.dumps({**content, "images": [{"id": 7, "file_name": "COCO_val2014_a.png"}]}))
    assert open_data(f"coco:{path},{told}")[0].texts == ("a dog",)
    told.write_text(json.dumps({**content, "images": [{"id": 7, "file_name": "b.png"}]}))
    with pytest.raises(InputError, match=r"told.json: id 7 is of two pictures, a.png and b.png"):
        open_data(f"coco:{path},{told}")
