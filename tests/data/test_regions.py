"""Visual Genome's regions: phrases with their boxes, read again from the file when a picture is asked for."""

import copy
import json
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests import sets
from tests.sets import DESCRIBED, region
from vlx.data import RegionData, open_data
from vlx.data.annotations import EMPTY, OUTSIDE, SWAPPED
from vlx.data.coco import MISSING
from vlx.data.regions import BARE, WORDLESS
from vlx.errors import ImageError, InputError


def asked(data: Any) -> list[tuple[Any, ...]]:
    return [
        (data[n].key, ask.query.caption, ask.whole, ask.truth.boxes) for n in range(len(data)) for ask in data[n].asks
    ]


def test_phrases_are_asked_about_as_a_whole_with_their_boxes(tmp_path: Path) -> None:
    data: Any = open_data(sets.regions(tmp_path))
    assert isinstance(data, RegionData)
    assert asked(data) == [
        ("1.jpg", "the sky", True, ((0, 0, 64, 20),)),
        ("2.jpg", "a red clock", True, ((8, 4, 16, 8), (40, 4, 16, 8))),
        ("2.jpg", "caf wall", True, ((0, 10, 10, 38),)),
    ]
    assert (data[1].texts, data[1].image.size, data.left_out) == (("a red clock", "caf wall"), sets.SIZE, {})


def test_without_recorded_sizes_boxes_are_cut_at_the_corner_alone(tmp_path: Path) -> None:
    data: Any = open_data(sets.regions(tmp_path, sized=False))
    assert asked(data)[2][3] == ((0, 10, 10, 100),)


def test_what_cannot_be_used_is_counted(tmp_path: Path) -> None:
    described = [
        *DESCRIBED,
        {"id": 3, "regions": [region(1, 3, "gone", 1, 1, 2, 2)]},
        {"id": 4, "regions": []},
        {
            "id": 5,
            "regions": [
                region(11, 5, "...", 1, 1, 2, 2),
                region(12, 5, "flat", 1, 1, 0, 2),
                region(13, 5, "backwards", 9, 9, -2, 2),
                region(14, 5, "beyond", -9, 1, 5, 5),
            ],
        },
    ]
    for number in (4, 5):
        sets.picture(tmp_path / f"{number}.jpg")
    data: Any = open_data(sets.regions(tmp_path, described))
    assert len(asked(data)) == 3
    assert data.left_out == {
        MISSING: ("3.jpg",),
        BARE: ("4.jpg", "5.jpg"),
        WORDLESS: ("11 of 5",),
        EMPTY: ("12 of 5",),
        SWAPPED: ("13 of 5",),
        OUTSIDE: ("14 of 5",),
    }


def changed(**members: Any) -> Any:
    """The descriptions with another first region; without what is ``...``."""
    described = copy.deepcopy(DESCRIBED)
    one: Any = described[0]["regions"]
    one[0] = {name: value for name, value in {**one[0], **members}.items() if value is not ...}
    return described


@pytest.mark.parametrize(
    ("described", "message"),
    [
        (changed(phrase=...), r"record 0, regions\[0\] has no phrase; give it as Visual Genome does"),
        (changed(x="8"), r"record 0, regions\[0\] has x '8'; give pixels"),
        (changed(width=...), r"regions\[0\] has width None; give pixels"),
        (changed(width=True), r"regions\[0\] has width True; give pixels"),
        (changed(height=1e999), r"Infinity is no number"),
        (changed(image_id=3), r"regions\[0\] is about picture 3, its record about 2"),
        (changed(region_id=6), r"regions\[1\] has region_id 6, as one before it"),
        (changed(region_id="a"), r"regions\[0\] has region_id 'a'; give a number"),
        ([*DESCRIBED, DESCRIBED[0]], r"record 2 is about picture 2, as one before it"),
        ([{"id": 1}], r"record 0 has regions None; give a list of them"),
        ([{"regions": []}], r"record 0 has id None; give the number of its picture"),
        ([{"id": 1, "regions": [7]}], r"record 0, regions\[0\] has no phrase"),
        ({"regions": []}, r"needed is a list of objects"),
        ([], r"none of 0 described pictures can be used"),
    ],
)
def test_broken_records_are_named(tmp_path: Path, described: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_data(sets.regions(tmp_path, described))


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ([{"image_id": 1, "width": 9}], r"image_data.json: record 0 has height None; give a whole number from 1"),
        ([{"image_id": 1, "width": 9, "height": 0}], r"record 0 has height 0"),
        (
            [{"image_id": 1, "width": 9, "height": 9}, {"image_id": 1, "width": 9, "height": 8}],
            r"record 1 gives picture 1 another size",
        ),
    ],
)
def test_broken_sizes_are_named(tmp_path: Path, sizes: Any, message: str) -> None:
    name = sets.regions(tmp_path)
    (tmp_path / "image_data.json").write_text(json.dumps(sizes))
    with pytest.raises(InputError, match=message):
        open_data(name)


def test_a_picture_of_another_size_than_recorded_is_refused(tmp_path: Path) -> None:
    name = sets.regions(tmp_path)
    sets.picture(tmp_path / "VG_100K" / "1.jpg", (48, 64))
    with pytest.raises(ImageError, match=r"1.jpg is 48×64, its record says 64×48"):
        _ = open_data(name)[0].image


@pytest.mark.parametrize("rest", ["", "a.json", ",DIR", "a.json,"])
def test_a_name_that_lacks_a_part_is_refused(rest: str) -> None:
    with pytest.raises(InputError, match=r"write regions:REGION_DESCRIPTIONS.json,DIR"):
        open_data(f"regions:{rest}")


def test_a_file_that_changed_is_told(tmp_path: Path) -> None:
    data = open_data(sets.regions(tmp_path))
    (tmp_path / "region_descriptions.json").write_text("[]")
    with pytest.raises(InputError, match=r"region_descriptions.json has changed since it was opened"):
        _ = data[0].asks


def test_a_digest_tells_other_phrases_and_sizes(tmp_path: Path) -> None:
    before = open_data(sets.regions(tmp_path)).digest()
    assert open_data(sets.regions(tmp_path)).digest() == before
    other = open_data(sets.regions(tmp_path, changed(phrase="A red clack."))).digest()
    unsized = open_data(sets.regions(tmp_path / "b", sized=False)).digest()
    assert len({before, other, unsized}) == 3


def test_five_thousand_pictures_are_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    described = [{"id": n, "regions": [region(k, n, "a wall", 1, k, 9, 9) for k in range(4)]} for n in range(5000)]
    (tmp_path / "r.json").write_text(json.dumps(described))
    for n in range(5000):
        (tmp_path / f"{n}.jpg").touch()
    monkeypatch.setattr(Image, "open", lambda *_: pytest.fail("a picture was opened"))
    started = time.process_time()
    data = open_data(f"regions:{tmp_path}/r.json,{tmp_path}")
    assert sum(len(data[n].asks) for n in range(0, 5000, 100)) == 50
    assert time.process_time() - started < 5
