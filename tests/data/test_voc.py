"""PASCAL VOC: classes with boxes and masks, without what is difficult; splits and years; regions for naming units."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests import sets
from tests.fakes import captioner
from vlx import neuron_names
from vlx.data import Concept, VocData, open_data
from vlx.data.annotations import EMPTY
from vlx.data.coco import MISSING
from vlx.data.voc import CLASSES, DIFFICULT, FOREIGN, TWICE, UNTOLD
from vlx.errors import ImageError, InputError

DOG = Concept("dog", "object")
HARD = ("dog in 000001", "cat in 000001")


def opened(rest: Any) -> Any:
    return open_data(f"voc:{rest}")


def truths(data: Any, number: int) -> list[Any]:
    return [(ask.label, ask.truth.boxes, ask.mask) for ask in data[number].asks]


def keys(data: Any) -> list[str]:
    return [data[n].key for n in range(len(data))]


def test_classes_with_boxes_and_masks_and_nothing_difficult(tmp_path: Path) -> None:
    data = opened(sets.voc(tmp_path))
    assert isinstance(data, VocData)
    assert (keys(data), data.left_out) == (["000001.jpg", "000002.jpg"], {DIFFICULT: HARD})
    mask = np.zeros((48, 64), bool)
    mask[5:35, 9:39] = True
    ((name, boxes, pixels),) = truths(data, 0)
    assert (name, boxes) == ("dog", ((8, 4, 32, 32),)), "VOC counts from 1"
    assert np.array_equal(pixels, mask), "neither the difficult dog nor the edges"
    assert truths(data, 1) == [("person", ((0, 0, 64, 48),), None), ("dog", ((0.5, 0, 9.5, 10),), None)]


def test_what_no_thing_has_is_absent_and_what_is_difficult_is_not(tmp_path: Path) -> None:
    data = opened(sets.voc(tmp_path))
    first, second = data[0].absent, data[1].absent
    assert [ask.label for ask in first] == [name for name in CLASSES if name not in ("dog", "cat")]
    assert {ask.label for ask in second} == {*CLASSES} - {"dog", "person"}
    assert all(ask.truth and ask.truth.absent and ask.mask is None for ask in first)


def test_regions_are_all_that_is_segmented(tmp_path: Path) -> None:
    data = opened(sets.voc(tmp_path))
    assert data.concepts == tuple(Concept(name, "object") for name in CLASSES)
    assert {concept.name: int(mask.sum()) for concept, mask in data[0].regions.items()} == {"dog": 1152, "cat": 9}
    assert (len(data[1].regions), data[1].labels.max()) == (0, 0)


@pytest.mark.parametrize(
    ("split", "names"),
    [
        ("", ["000001", "000002"]),
        (":2007", ["000001", "000002"]),
        (":VOC2007:val", ["000001", "000002"]),
        (":val", ["000001", "000002"]),
        (":2007:train", ["000003"]),
        (":Segmentation/val", ["000001"]),
        (":2007:Main/train", ["000003"]),
        (":2007:dog_val", ["000001", "000002"]),
    ],
)
@pytest.mark.parametrize("below", ["", "VOCdevkit", "VOCdevkit/VOC2007"])
def test_splits(tmp_path: Path, below: str, split: str, names: list[str]) -> None:
    sets.voc(tmp_path)
    assert keys(opened(f"{tmp_path / below}{split}")) == [f"{name}.jpg" for name in names]


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ("", r"holds 2007, 2012; write voc:DIR\[:YEAR\[:SPLIT\]\]"),
        (":2010", r"holds 2007, 2012, not 2010"),
        (":2007:vall", r"no split 'vall'; there are .*Main/val"),
        (":2007:val:more", r"no such folder; write voc:DIR"),
        ("/nowhere", r"no such folder"),
        ("/VOCdevkit/VOC2007/JPEGImages", r"no VOC2007/Annotations in it; give the folder VOCdevkit is in"),
    ],
)
def test_what_stays_open_is_asked_for(tmp_path: Path, rest: str, message: str) -> None:
    sets.voc(tmp_path)
    sets.voc(tmp_path, "2012")
    with pytest.raises(InputError, match=message):
        opened(f"{tmp_path}{rest}")


def test_without_lists_all_that_is_annotated_is_there(tmp_path: Path) -> None:
    kit = tmp_path / "own"
    sets.xml(kit / "Annotations" / "a.xml", [("dog", 1, 1, 9, 9)], size=None)
    sets.picture(kit / "JPEGImages" / "a.png")
    data = opened(kit)
    assert (keys(data), data.concepts, data[0].image.size) == (["a.png"], (), sets.SIZE)
    with pytest.raises(InputError, match=r"own: no split 'val'; there are none"):
        opened(f"{kit}:val")


def test_what_cannot_be_used_is_counted(tmp_path: Path) -> None:
    kit = sets.voc(tmp_path) / "VOCdevkit" / "VOC2007"
    (kit / "ImageSets" / "Main" / "val.txt").write_text("000001\n000001\n000002\n000003\nbare\n")
    (kit / "JPEGImages" / "000003.jpg").unlink()
    sets.xml(kit / "Annotations" / "000002.xml", [("person", 5, 5, 5, 9), ("dog", 1, 1, 9, 9)])
    data = opened(tmp_path)
    assert data.left_out == {
        DIFFICULT: HARD,
        EMPTY: ("000002",),
        MISSING: ("000003",),
        UNTOLD: ("bare",),
        TWICE: ("000001",),
    }
    assert [ask.label for ask in data[1].asks] == ["dog"]


def test_masks_of_other_classes_than_vocs_are_not_guessed(tmp_path: Path) -> None:
    kit = sets.voc(tmp_path) / "VOCdevkit" / "VOC2007"
    sets.xml(kit / "Annotations" / "000002.xml", [("wheel", 1, 1, 9, 9)])
    data = opened(tmp_path)
    assert (data.left_out[FOREIGN], data.concepts, data[0].asks[0].mask) == (("000001",), (), None)
    assert data[1].asks[0].label == "wheel"
    assert [[ask.label for ask in data[n].absent] for n in range(2)] == [["wheel"], ["dog", "cat"]]


def test_masks_of_another_size_or_number_are_refused(tmp_path: Path) -> None:
    path = sets.voc(tmp_path) / "VOCdevkit" / "VOC2007" / "SegmentationClass" / "000001.png"
    Image.new("L", (32, 24)).save(path)
    with pytest.raises(ImageError, match=r"000001.png is 32×24, its picture 64×48"):
        _ = opened(tmp_path)[0].asks[0].mask
    Image.new("L", sets.SIZE, 21).save(path)
    with pytest.raises(InputError, match=r"000001.png: class 21 in it; VOC has 1 to 20, and 255"):
        _ = opened(tmp_path)[0].regions


def test_an_empty_list_and_a_broken_annotation_are_named(tmp_path: Path) -> None:
    kit = sets.voc(tmp_path) / "VOCdevkit" / "VOC2007"
    (kit / "ImageSets" / "Main" / "train.txt").write_text("\n")
    with pytest.raises(InputError, match=r"train.txt: no pictures in this list"):
        opened(f"{tmp_path}:2007:train")
    path = kit / "Annotations" / "000002.xml"
    path.write_text(path.read_text().replace("<difficult>0", "<difficult>maybe"))
    with pytest.raises(InputError, match=r"000002.xml, object 1: <difficult> is 'maybe'; give 0 or 1"):
        opened(tmp_path)


def test_a_digest_tells_other_boxes_and_masks(tmp_path: Path) -> None:
    kit = sets.voc(tmp_path) / "VOCdevkit" / "VOC2007"
    before = opened(tmp_path).digest()
    assert opened(tmp_path).digest() == before
    sets.xml(kit / "Annotations" / "000002.xml", [("person", 1, 1, 64, 47)])
    moved = opened(tmp_path).digest()
    (kit / "SegmentationObject" / "000001.png").unlink()
    assert len({before, moved, opened(tmp_path).digest()}) == 3


def test_units_are_named_on_its_masks(tmp_path: Path) -> None:
    names = neuron_names.dissect(captioner(), opened(sets.voc(tmp_path)), quantile=0.2)
    assert names.tally is not None
    by_name = dict(
        zip((concept.name for concept in names.tally.concepts), names.tally.truth.sum(0).tolist(), strict=False)
    )
    assert by_name["dog"] > by_name["cat"] >= 0 == by_name["person"]
