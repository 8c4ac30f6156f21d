"""Scenes of a wanted make, and that scenes without a wish are what they always were."""

import hashlib
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from vlx.data import Data, SceneData
from vlx.errors import InputError
from vlx.scenes import KINDS, SCENES, TEXTURES, Make, Scene, draw
from vlx.scenes.painter import painted_with

STORED = {  # of pictures of 96 pixels; of captions, questions and masks: as they were before scenes could be wished for
    7: ("484aee0a0ef891de", "2ee4aba2e9d284c7"),
    10_000_021: ("5da679649dca1e68", "caa1c98175ae0397"),
    3: ("ef2fef14228360d3", "9aeee231cc96c5ed"),
}


def digests(scene: Scene) -> tuple[str, str]:
    texts = repr((scene.caption, [(asked.text, asked.answer) for asked in scene.questions])).encode()
    masks = b"".join(concept.encode() + mask.tobytes() for concept, mask in scene.masks.items())
    return tuple(hashlib.sha256(held).hexdigest()[:16] for held in (scene.image.tobytes(), texts + masks))  # type: ignore[return-value]


def test_scenes_without_a_wish_are_bit_for_bit_what_they_were() -> None:
    assert {seed: digests(draw(seed, 96)) for seed in STORED} == STORED
    nothing: dict[str, Any] = {"kinds": None, "place": None, "colors": None, "textures": None}
    assert digests(draw(7, 96, **nothing)) == STORED[7]
    assert SceneData(3).digest().startswith("2d7e6547e8bc1d46")
    assert SceneData(3, named=2).digest().startswith("9e982c200a56881d")


def test_exactly_one_red_car_in_a_desert() -> None:
    for seed in range(12):
        scene = draw(seed, 64, kinds=["car"], place="desert", colors=["red"], textures=["plain"])
        assert scene.caption == "a red car in a desert"
        (car,) = scene.objects
        assert (car.kind, car.color, car.texture) == ("car", "red", "plain")
        assert scene.masks["car"].sum() == car.mask.sum() > 0
        one = draw(seed, 64, kinds="car", place="desert", colors="red", textures="plain")  # one name is a list of it
        assert scene.image.tobytes() == one.image.tobytes()


@pytest.mark.parametrize("kinds", [("car", "rocket"), ("tree", "tree", "bird"), ("house",) * 4])
def test_kinds_are_the_things_themselves_the_first_two_large(kinds: tuple[str, ...]) -> None:
    for seed in range(6):
        scene = draw(seed, 64, kinds=kinds)
        assert Counter(thing.kind for thing in scene.objects) == Counter(kinds)
        large = sorted(thing.kind for thing in scene.objects if thing.pose.scale > 0.6 * _largest(scene, thing.kind))
        assert set(kinds[:2]) <= set(large)
    assert len({draw(seed, 64, kinds=kinds).place for seed in range(20)}) > 2  # what is not wished for is by lot


def _largest(scene: Scene, kind: str) -> float:
    return max(thing.pose.scale for thing in scene.objects if thing.kind == kind)


def test_the_same_things_stand_in_another_place_and_in_other_colours() -> None:
    for seed in range(8):
        plain = draw(seed, 64)
        for place in SCENES:
            scene = draw(seed, 64, place=place)
            assert [thing.pose for thing in scene.objects] == [thing.pose for thing in plain.objects]
            assert np.array_equal(scene.background, plain.background) and scene.place == place
        bright = draw(seed, 64, colors=["red", "blue"], textures="striped")
        assert (bright.place, bright.named) == (plain.place, plain.named)
        assert np.array_equal(bright.background, plain.background)
    there = draw(11, 64, place=draw(11).place)
    assert there.image.tobytes() == draw(11, 64).image.tobytes()


def test_no_other_colour_is_painted_and_each_comes_by_lot() -> None:
    seen: Counter[str] = Counter()
    for seed in range(60):
        scene = draw(seed, 64, kinds=["house", "bird"], colors=["red", "blue", "white"], textures=["dotted", "plain"])
        for thing in scene.objects:
            assert set(painted_with(thing.pose).values()) <= {"red", "blue", "white", "brown", "orange", "black"}
            assert thing.pose.accent != thing.color
            seen.update((thing.color, thing.texture))
    assert all(25 <= seen[color] <= 58 for color in ("red", "blue", "white"))  # 40 of 120 expected
    assert 55 <= seen["plain"] <= 90  # .34 of .56, as ever: 73 expected
    (bird,) = draw(1, 64, kinds="bird", colors="red").objects
    assert bird.pose.accent == bird.color == "red"


def test_colours_and_textures_of_one_kind_leave_the_others_free() -> None:
    cars, others = Counter[str](), Counter[str]()
    for seed in range(40):
        scene = draw(seed, 64, kinds=["car", "tree"], colors={"car": "red"}, textures={"tree": ["striped"]})
        car, tree = sorted(scene.objects, key=lambda thing: thing.kind)
        cars.update((car.color, car.texture))
        others.update((tree.color, tree.texture))
    assert cars["red"] == others["striped"] == 40
    assert set(others) > {"red", "striped"} and len(cars) == 1 + len(TEXTURES)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"kinds": ["cra"]}, r"kinds: there is no 'cra' \(close: car\); known are house, car, "),
    ({"kinds": "Rocket"}, r"close: rocket"),
    ({"place": "dessert"}, r"place: there is no 'dessert' \(close: desert\); known are meadow, beach"),
    ({"place": ["desert", "night"]}, r"place: there is no \['desert', 'night'\]; .*give one of them"),
    ({"colors": ["read"]}, r"colors: there is no 'read' \(close: red\)"),
    ({"colors": {"car": ["read"]}}, r"colors of car: there is no 'read'"),
    ({"colors": {"cat": "red"}}, r"colors, by kind: there is no 'cat' \(close: car"),
    ({"colors": {}}, r"colors=\{\}: name what the things of a kind may have"),
    ({"textures": ("stripes",)}, r"textures: there is no 'stripes' \(close: striped\)"),
    ({"textures": []}, r"textures: none is named; name at least one, or leave it out"),
    ({"kinds": ()}, r"kinds: none is named"),
    ({"kinds": ["car"] * 5}, r"kinds: 5 things; a scene holds 4 at most"),
    ({"kinds": 3}, r"kinds=3: give a name, or a list of some: house, car"),
    ({"kinds": {"car": 2}}, r"kinds=\{'car': 2\}: give a name"),
    ({"colors": [3]}, r"colors: there is no 3; known are red"),
]


@pytest.mark.parametrize("make", [lambda **wanted: draw(0, 64, **wanted), Make])
@pytest.mark.parametrize(("wanted", "message"), WRONG)
def test_what_there_is_not_is_refused_by_name(make: Callable[..., Any], wanted: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as told:
        make(**wanted)
    assert len(str(told.value)) < 300


def test_data_of_makes_ask_for_their_kinds_alone() -> None:
    makes = [Make("car", "desert"), Make("rocket", "night", colors="red")]
    data: Data = SceneData(6, 20, 64, makes=makes)
    assert isinstance(data, SceneData) and data.classes == ("car", "rocket")
    for number in range(6):
        example, make = data[number], makes[number % 2]
        wanted = draw(20 + number, 64, kinds=make.kinds, place=make.place, colors=("red",) if number % 2 else None)
        assert example.image.tobytes() == wanted.image.tobytes() and example.texts == (wanted.caption,)
        assert [ask.label for ask in example.asks if ask.label] == [("car", "rocket")[number % 2]]
        assert [ask.label for ask in example.absent if ask.label] == [("rocket", "car")[number % 2]]
        swapped = [str(ask.query.caption) for ask in example.absent if ask.query.caption]
        assert all(re.search(("rocket", "car")[number % 2], text) for text in swapped)
        assert {concept.name for concept in example.regions} >= {*(make.kinds or ()), str(make.place)}
    assert SceneData(2, makes=Make(place="snow")).classes == tuple(KINDS)


def test_data_are_asked_for_the_classes_that_are_wanted() -> None:
    data = SceneData(4, 0, 64, makes=[Make(["tree", "car"]), Make(["tree", "rocket"])], classes=("rocket", "car"))
    assert data.classes == ("rocket", "car")
    assert [[ask.label for ask in data[n].asks if ask.label] for n in range(2)] == [["car"], ["rocket"]]
    assert [[ask.label for ask in data[n].absent if ask.label] for n in range(2)] == [["rocket"], ["car"]]
    assert "tree" in {concept.name for concept in data[0].regions}
    assert len({data.digest(), SceneData(4, 0, 64, makes=data.makes).digest(), SceneData(4, 0, 64).digest()}) == 3
    assert SceneData(4, 0, 64, classes=["car"]).digest() != SceneData(4, 0, 64).digest()
    with pytest.raises(InputError, match=r"classes: there is no 'cra' \(close: car\)"):
        SceneData(4, classes=["cra"])


def test_data_of_another_make_have_another_digest() -> None:
    """The makes between the first and the last scene are told, too."""
    ends = [Make("car"), *[Make("car")] * 2, Make("car")]
    other = [Make("car"), Make("car", colors="red"), Make("car", textures={"car": "plain"}), Make("car")]
    one, another = (SceneData(4, 0, 64, makes=makes) for makes in (ends, other))
    assert one[0].image.tobytes() == another[0].image.tobytes()
    assert one.digest() != another.digest()
    assert one.name != SceneData(4, 0, 64).name


def test_data_of_makes_are_picked_by_what_captions_name() -> None:
    data = SceneData(4, 0, 64, named=2, makes=[Make(["car", "tree"]), Make(["bird", "boat"])])
    for number, wanted in enumerate([("car", "tree"), ("bird", "boat")] * 2):
        assert all(word in data[number].texts[0].split() for word in wanted)


def test_a_make_reads_as_it_was_given() -> None:
    assert repr(Make("car", "desert", colors="red")) == "Make(kinds=('car',), place='desert', colors=('red',))"
    assert repr(Make(textures={"car": ["plain"]})) == "Make(textures={'car': ('plain',)})"
    assert repr(Make()) == "Make()"
