"""Labelled pictures in every layout: each pixel says what was written there, and what cannot be used is named."""

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image, ImageDraw

from vlx import scenes
from vlx.data import BrodenData, CocoData, Labelled, LabelledFolder, SceneData
from vlx.data.example import Example, with_concepts
from vlx.data.masks import mask_of
from vlx.errors import InputError
from vlx.neuron_names import open_data
from vlx.scenes.export import export, run_lengths

REAL = Path(__file__).resolve().parents[3] / "shared" / "real" / "photos" / "instances.json"
MAP = np.array([[0, 1, 1, 2], [0, 300, 300, 2], [0, 0, 2, 2]], np.uint16)


def picture(path: Path, width: int = 8, height: int = 6) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), (9, 90, 200)).resize((8 * width, 8 * height)).save(path)
    return path


def packed(path: Path, values: np.ndarray[Any, Any]) -> None:
    rgb = np.stack([values % 256, values // 256, np.full_like(values, 7)], 2).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rgb).save(path)


def concepts_at(data: Any, one: Example | Labelled) -> dict[str, list[tuple[int, int]]]:
    """Concept, with its category → the pixels that carry it."""
    return {
        f"{concept.name} {concept.category}": [(int(y), int(x)) for y, x in np.argwhere((one.labels == number).any(0))]
        for number, concept in enumerate(data.concepts, 1)
        if (one.labels == number).any()
    }


# Broden


def broden(folder: Path) -> Path:
    picture(folder / "images" / "a.jpg")
    picture(folder / "images" / "b.jpg")
    packed(folder / "images" / "a_object.png", MAP)
    packed(folder / "images" / "a_part.png", np.where(MAP == 300, 1, 0))
    (folder / "category.csv").write_text("name,frequency\nobject,9\npart,9\nscene,9\n")
    (folder / "label.csv").write_text("number,name\n0,-\n1,wheel\n2,sky\n300,car\n7,street-s\n")
    (folder / "c_object.csv").write_text("code,number,name,frequency\n0,0,-,0\n1,1,wheel,3\n2,2,sky,12\n3,300,car,30\n")
    (folder / "c_part.csv").write_text("code,number,name,frequency\n1,1,wheel,30\n")
    (folder / "c_scene.csv").write_text("code,number,name,frequency\n1,7,street-s,30\n")
    (folder / "index.csv").write_text(
        "image,split,ih,iw,sh,sw,object,part,scene\n"
        "a.jpg,train,48,64,3,4,a_object.png,a_part.png,7\n"
        "b.jpg,val,48,64,3,4,2,,\n"
    )
    return folder


def test_broden_codes_are_red_and_green_and_a_number_counts_by_category(tmp_path: Path) -> None:
    data = open_data(broden(tmp_path))
    assert isinstance(data, BrodenData)
    assert [(c.name, c.category) for c in data.concepts] == [
        ("wheel", "object"),
        ("sky", "object"),
        ("car", "object"),
        ("wheel", "part"),
        ("street", "scene"),
    ]
    one, other = data[0], data[1]
    assert one.image.size == (64, 48)
    assert concepts_at(data, one) == {
        "wheel object": [(0, 1), (0, 2)],
        "sky object": [(0, 3), (1, 3), (2, 2), (2, 3)],
        "car object": [(1, 1), (1, 2)],
        "wheel part": [(1, 1), (1, 2)],
    }
    assert one.whole == (5,)
    assert (other.whole, other.labels.max()) == ((2,), 0)


def test_broden_keeps_concepts_of_enough_pictures_and_one_split(tmp_path: Path) -> None:
    data = BrodenData(broden(tmp_path), split="train", min_images=10)
    assert len(data) == 1
    assert "wheel object" not in concepts_at(data, data[0])
    assert next((c.name, c.category) for c in data.concepts) == ("sky", "object")


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("index.csv", "image,split,object,part\na.jpg,train,,\n", r"index.csv: no column scene"),
        ("index.csv", "image,split,object,part,scene\na.jpg,train,,,99\n", r"index.csv, line 2: label 99 is not in"),
        ("index.csv", "image,split,object,part,scene\n", r"index.csv: no rows"),
        ("index.csv", "image,split,object,part,scene\na.jpg,tr", r"index.csv: the row of a.jpg is cut off"),
        ("c_part.csv", "code,number,name,frequency\n1,1,wheel,inf\n", r"c_part.csv: 'inf' is not a number"),
        ("label.csv", "number,name\n1,wheel\n2,sky\n7,s\n", r"c_object.csv: label 300 is not in label.csv"),
        ("c_part.csv", "code,number\n1,x\n", r"c_part.csv: 'x' is not a number"),
        ("category.csv", "first\n1\n", r"category.csv: no column name"),
    ],
)
def test_broken_broden_files_are_named(tmp_path: Path, file: str, text: str, message: str) -> None:
    (broden(tmp_path) / file).write_text(text)
    with pytest.raises(InputError, match=message):
        open_data(tmp_path)


def test_a_missing_or_foreign_label_map_is_named(tmp_path: Path) -> None:
    data = open_data(broden(tmp_path))
    packed(tmp_path / "images" / "a_part.png", np.full((3, 4), 77))
    with pytest.raises(InputError, match=r"a_part.png: label 77 is not in label.csv"):
        _ = data[0].labels
    packed(tmp_path / "images" / "a_part.png", np.zeros((5, 4), int))
    with pytest.raises(InputError, match=r"different sizes \[\(3, 4\), \(5, 4\)\]"):
        _ = data[0].labels
    (tmp_path / "images" / "a_part.png").unlink()
    with pytest.raises(InputError, match=r"a_part.png: no such label map"):
        _ = data[0].labels


def test_a_digest_tells_other_labels_and_pictures(tmp_path: Path) -> None:
    data = open_data(broden(tmp_path))
    before = data.digest()
    assert open_data(tmp_path).digest() == before
    picture(tmp_path / "images" / "b.jpg", 20, 20)
    assert open_data(tmp_path).digest() != before


# Folders


def folder(root: Path) -> Path:
    picture(root / "images" / "one.jpg")
    picture(root / "images" / "two.png")
    (root / "labels").mkdir()
    (root / "labels-material").mkdir()
    Image.fromarray(MAP.astype(np.int32)).convert("I;16").save(root / "labels" / "one.png")
    flat = Image.fromarray((MAP == 2).astype(np.uint8) * 3, "L").convert("P")
    flat.putpalette([0, 0, 0, 250, 0, 0, 0, 250, 0, 0, 0, 250] + [0] * 756)
    values = Image.fromarray(np.where(MAP == 2, 3, 0).astype(np.uint8), "P")
    values.putpalette(flat.getpalette() or [])
    values.save(root / "labels-material" / "one.png")
    (root / "labels.csv").write_text("number,name,category\n1,wheel,part\n2,sky,\n3,metal,material\n300,car,object\n")
    return root


def test_a_folder_of_label_maps_may_have_sixteen_bits_and_palettes(tmp_path: Path) -> None:
    data = open_data(folder(tmp_path))
    assert isinstance(data, LabelledFolder)
    found = concepts_at(data, data[0])
    assert found["car object"] == [(1, 1), (1, 2)]
    assert found["metal material"] == found["sky object"] == [(0, 3), (1, 3), (2, 2), (2, 3)]
    assert data[1].labels.max() == 0, "a picture without a map"
    assert data.digest() == open_data(tmp_path).digest()


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        ("labels.txt", "wheel\nsky\n", [("wheel", "object"), ("sky", "object")]),
        ("labels.json", '{"1": "wheel", "2": "sky"}', [("wheel", "object"), ("sky", "object")]),
    ],
)
def test_the_list_may_be_text_or_json(tmp_path: Path, name: str, text: str, wanted: list[tuple[str, str]]) -> None:
    (folder(tmp_path) / "labels.csv").unlink()
    (tmp_path / name).write_text(text)
    data = with_concepts(open_data(tmp_path))
    assert [(c.name, c.category) for c in data.concepts] == wanted
    with pytest.raises(InputError, match=rf"one.png: label 3(00)? is not in {name}"):
        _ = data[0].labels


def test_numbers_of_one_name_are_one_concept(tmp_path: Path) -> None:
    (folder(tmp_path) / "labels.csv").write_text("number,name\n1,sky\n2,sky\n3,sky\n300,car\n")
    data = with_concepts(open_data(tmp_path))
    assert [concept.name for concept in data.concepts] == ["sky", "car"]
    assert {int(number) for place in range(len(data)) for number in np.unique(data[place].labels)} <= {0, 1, 2}


def test_a_list_that_is_no_text_is_named(tmp_path: Path) -> None:
    (folder(tmp_path) / "labels.csv").unlink()
    (tmp_path / "labels.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(InputError, match=r"labels.txt: not text in UTF-8"):
        open_data(tmp_path)


def test_maps_of_other_names_than_the_pictures_are_refused(tmp_path: Path) -> None:
    folder(tmp_path)
    for maps in tmp_path.glob("labels*"):
        for file in maps.glob("*.png") if maps.is_dir() else ():
            file.rename(file.with_name(f"{file.stem}_seg.png"))
    with pytest.raises(InputError, match=r"no label map has a picture's name; images/.* goes with labels/.*\.png"):
        open_data(tmp_path)


def test_what_is_no_labelled_pictures_is_refused() -> None:
    with pytest.raises(InputError, match=r"None is no labelled pictures; give such data, or a name: scenes:COUNT"):
        open_data(cast(Any, None))


def test_broken_folders_are_named(tmp_path: Path) -> None:
    (folder(tmp_path) / "labels.csv").write_text("number,name\n1,a\n1,b\n")
    with pytest.raises(InputError, match=r"label 1 is named twice"):
        open_data(tmp_path)
    (tmp_path / "labels.csv").write_text("number,name\n1.5,a\n")
    with pytest.raises(InputError, match=r"'1.5' is not a whole number"):
        open_data(tmp_path)
    for file in (tmp_path / "images").glob("*"):
        file.unlink()
    (tmp_path / "labels.csv").write_text("number,name\n1,a\n")
    with pytest.raises(InputError, match=r"needed are pictures in images/"):
        open_data(tmp_path)


# COCO


def coco(root: Path, **changes: Any) -> Path:
    picture(root / "images" / "a.png", 10, 8)
    left, right = np.zeros((64, 80), bool), np.zeros((64, 80), bool)
    left[10:40, 5:50], right[20:60, 40:70] = True, True
    content = {
        "images": [{"id": 4, "file_name": "a.png", "width": 80, "height": 64}],
        "categories": [{"id": 1, "name": "cat"}, {"id": 5, "name": "dog"}],
        "annotations": [
            {"id": 1, "image_id": 4, "category_id": 1, "segmentation": run_lengths(left)},
            {"id": 2, "image_id": 4, "category_id": 5, "segmentation": run_lengths(right)},
            {"id": 3, "image_id": 4, "category_id": 5, "iscrowd": 1, "segmentation": run_lengths(right)},
        ],
        **changes,
    }
    path = root / "instances.json"
    path.write_text(json.dumps(content))
    return path


def test_instances_that_overlap_are_both_there_and_none_twice(tmp_path: Path) -> None:
    data = open_data(coco(tmp_path))
    assert isinstance(data, CocoData)
    one = data[0]
    found = concepts_at(data, one)
    assert len(found["cat object"]) == 30 * 45
    assert len(found["dog object"]) == 40 * 30
    assert len(one.labels) == 2
    for number in (1, 2):
        assert ((one.labels == number).sum(0) <= 1).all()
    assert open_data(tmp_path).digest() == data.digest()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": []}, r"no pictures"),
        ({"categories": []}, r"annotation 1 has the unknown category 1"),
        ({"annotations": None}, r"not a COCO instance file"),
        ({"annotations": ["x"]}, r"annotations\[0\] is no object but 'x'"),
        ({"annotations": [{"id": 1, "category_id": 1}]}, r"annotations\[0\] lacks image_id"),
        ({"annotations": [{"id": 1, "image_id": 4, "category_id": [1]}]}, r"unknown category \[1\]"),
        ({"annotations": [{"image_id": 4, "category_id": 1, "parts": [{}]}]}, r"annotations\[0\] has parts without a"),
        ({"categories": [{"id": 1}]}, r"categories\[0\] lacks name"),
        ({"images": [{"id": 4, "file_name": "a.png", "width": 80}]}, r"images\[0\] lacks height"),
        ({"images": [{"id": 4, "file_name": "a.png", "width": "x", "height": 64}]}, r"images\[0\] has width 'x'"),
    ],
)
def test_broken_instance_files_are_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_data(coco(tmp_path, **changes))


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ([], None),
        ([[1, 2, 3]], r"annotation 1: no polygons"),
        ({"size": [64, 80], "counts": [5, 5]}, r"add up to 10 pixels, not 5120"),
        ([["a"] * 6], r"annotation 1: no polygons"),
        ([[float("nan")] * 6], r"annotation 1: no polygons"),
        ({"size": [64, 80], "counts": None}, r"run lengths are not whole numbers from 0"),
        ({"size": [64, 80], "counts": [5130, -10]}, r"run lengths are not whole numbers from 0"),
        ({"size": [64, 80], "counts": "abc"}, r"run lengths are cut off"),
        ({"size": [4, 4], "counts": [16]}, r"mask is of size \[4, 4\], the picture of \[64, 80\]"),
    ],
)
def test_broken_masks_are_named(tmp_path: Path, segmentation: Any, message: str | None) -> None:
    note = {"id": 1, "image_id": 4, "category_id": 1, "segmentation": segmentation}
    data = open_data(coco(tmp_path, annotations=[note]))
    if message is None:
        assert data[0].labels.max() == 0
        return
    with pytest.raises(InputError, match=message):
        _ = data[0].labels


def test_a_picture_of_another_size_than_its_record_is_refused(tmp_path: Path) -> None:
    data = open_data(coco(tmp_path, images=[{"id": 4, "file_name": "a.png", "width": 64, "height": 80}]))
    with pytest.raises(InputError, match=r"a.png is 80×64, its record says 64×80"):
        _ = data[0].labels


@pytest.mark.skipif(not REAL.is_file(), reason="../shared/real/photos is not here")
def test_masks_of_real_photographs_are_as_large_as_their_polygons() -> None:
    data = CocoData(REAL)
    content = json.loads(REAL.read_text())
    names = {category["id"]: category["name"] for category in content["categories"]}
    assert len(data) == len(content["images"])
    checked = 0
    for place in range(8):
        one = data[place]
        record = content["images"][place]
        for note in content["annotations"]:
            if note["image_id"] != record["id"] or not isinstance(note["segmentation"], list):
                continue
            fine = Image.new("1", (4 * one.image.width, 4 * one.image.height))
            for flat in note["segmentation"]:
                ImageDraw.Draw(fine).polygon(
                    [(4 * x, 4 * y) for x, y in zip(flat[::2], flat[1::2], strict=True)], fill=1
                )
            area = np.array(fine).sum() / 16
            own = mask_of(note["segmentation"], (one.image.height, one.image.width), "")
            assert abs(own.sum() - area) <= 0.03 * area + 8, "a border of an eighth of a pixel, either way"
            number = next(n for n, c in enumerate(data.concepts, 1) if c.name == names[note["category_id"]])
            assert (one.labels == number).any(0)[own].all()
            checked += 1
    assert checked > 20


def test_what_vlx_draws_to_disk_reads_as_the_scenes_themselves(tmp_path: Path) -> None:
    export(3, tmp_path, 10_000_000, 128, lambda items: items)
    data, drawn = open_data(tmp_path), SceneData(3, 10_000_000)
    assert open_data(f"coco:{tmp_path}")[2].texts == drawn[2].texts
    for place in range(3):
        read, own = concepts_at(data, data[place]), concepts_at(drawn, drawn[place])
        for concept, pixels in read.items():
            if concept.endswith(("object", "part", "scene")):
                assert pixels == own[concept]


# Scenes


def test_scenes_carry_every_concept_once_a_pixel_and_paints_are_colours() -> None:
    data = open_data("scenes:40:10000100")
    assert isinstance(data, SceneData)
    assert len({(c.name, c.category) for c in data.concepts}) == len(data.concepts)
    for place in range(len(data)):
        scene, masks = scenes.draw(10_000_100 + place), data.masks(scenes.draw(10_000_100 + place))
        for concept, mask in scene.masks.items():
            own = masks[concept]
            assert np.array_equal(own, mask) if concept not in scenes.COLORS else (own | mask).sum() == own.sum()
        objects = np.logical_or.reduce([thing.mask for thing in scene.objects])
        named = [c.name for c in data.concepts if c.category == "color" and c.name in masks]
        colours = np.logical_or.reduce([masks[name] for name in named])
        assert np.array_equal(colours, objects), "every painted pixel has a colour"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("scenes:", r"such as scenes:2000"),
        ("scenes:ten", r"such as scenes:2000"),
        ("scenes:0", r"at least one scene"),
        ("no/such/folder", r"no labelled pictures of that name; understood are scenes:COUNT"),
    ],
)
def test_names_that_mean_nothing_are_refused(spec: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_data(spec)


def test_data_at_hand_is_handed_back() -> None:
    data = SceneData(1)
    assert open_data(data) is data


# What is labelled is asked for


def test_a_folder_with_label_maps_asks_for_what_is_labelled(tmp_path: Path) -> None:
    data: Any = open_data(folder(tmp_path))
    asked = {}
    for number in range(len(data)):
        example = data[number]
        names = {concept.name for concept in example.regions}
        assert {ask.label for ask in example.asks} == {ask.group for ask in example.asks} == names
        for ask in example.asks:
            masks = [mask for concept, mask in example.regions.items() if concept.name == ask.label]
            assert np.array_equal(np.asarray(ask.mask), np.logical_or.reduce(masks))
            assert np.shape(ask.mask) == (example.image.height, example.image.width)
            asked[ask.label] = True
    assert asked
    assert set(asked) <= set(data.classes) == {concept.name for concept in data.concepts}


def test_broden_asks_for_a_name_wherever_it_stands_and_for_a_scene_without_a_place(tmp_path: Path) -> None:
    one, other = (open_data(broden(tmp_path))[number] for number in (0, 1))
    pixels = {str(ask.label): None if ask.mask is None else int(ask.mask.sum()) // 16**2 for ask in one.asks}
    assert pixels == {"wheel": 4, "sky": 4, "car": 2, "street": None}, "the wheel is an object here and a part there"
    assert [(ask.label, ask.truth) for ask in other.asks] == [("sky", None)]
