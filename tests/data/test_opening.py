"""Data by name: every kind gives examples, others bring their own, and what is no name is told with the near ones."""

import gc
import json
import weakref
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.fakes import captioner
from vlx import neuron_names
from vlx.data import Concept, Data, open_data
from vlx.data.captions import FiledCaptions
from vlx.data.example import with_concepts
from vlx.data.masks import mask_of
from vlx.data.opening import GROUP, KINDS, UNDERSTOOD
from vlx.errors import ImageError, InputError

SQUARE = [[8.0, 8.0, 40.0, 8.0, 40.0, 40.0, 8.0, 40.0]]
CORNER = [[44.0, 4.0, 60.0, 4.0, 60.0, 20.0]]


def saved(path: Path, size: tuple[int, int] = (64, 48)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (9, 90, 200)).save(path)
    return path


# COCO


def coco(folder: Path) -> Path:
    """Two pictures that are there, one that is not; b has no outlines; crowds are not asked for."""
    for name in ("b.png", "a.png"):
        saved(folder / "val2017" / name)
    notes = [
        {"id": 1, "image_id": 7, "category_id": 1, "segmentation": SQUARE, "bbox": [8, 8, 32, 32]},
        {"id": 2, "image_id": 7, "category_id": 2, "segmentation": CORNER},
        {"id": 3, "image_id": 7, "category_id": 1, "iscrowd": 1, "segmentation": {"counts": [0, 9, 3063]}},
        {"id": 4, "image_id": 7, "category_id": 2, "iscrowd": 1, "segmentation": SQUARE},
    ]
    images = [{"id": n, "file_name": f"{name}.png", "width": 64, "height": 48} for n, name in ((5, "b"), (7, "a"))]
    images.append({"id": 8, "file_name": "gone.png", "width": 64, "height": 48})
    content = {
        "images": images,
        "categories": [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}],
        "annotations": notes,
    }
    told = [(7, "A dog, and two cats."), (7, "A dog, and two cats."), (5, "a dog"), (5, " ")]
    (folder / "annotations").mkdir()
    (folder / "annotations" / "instances_val2017.json").write_text(json.dumps(content))
    texts = {"images": images, "annotations": [{"image_id": n, "caption": text} for n, text in told]}
    (folder / "annotations" / "captions_val2017.json").write_text(json.dumps(texts))
    return folder


def test_a_folder_of_coco_has_captions_words_classes_and_regions(tmp_path: Path) -> None:
    data: Any = open_data(f"coco:{coco(tmp_path)}")
    assert data.name == f"coco:{tmp_path}"
    assert [data[n].key for n in range(len(data))] == ["a.png", "b.png"]
    assert data.left_out == {"no such picture": ("gone.png",)}
    a, b = data[0], data[1]
    assert (a.texts, b.texts) == (("A dog, and two cats.",), ("a dog",))
    asked = [(ask.query.caption, ask.position, ask.label, ask.group, int(ask.mask.sum())) for ask in a.asks]
    text = "a dog and two cats"
    half = 16 * 16 // 2
    assert [row[:4] for row in asked] == [
        (text, 1, None, "dog"),
        (text, 4, None, "cat"),
        (None, 0, "dog", "dog"),
        (None, 0, "cat", "cat"),
    ]
    assert [row[4] for row in asked] == pytest.approx([32 * 32, half, 32 * 32, half], abs=12)
    assert [ask.truth.boxes for ask in a.asks] == [((8, 8, 32, 32),), (), ((8, 8, 32, 32),), ()]
    assert not b.asks, "nothing is outlined there"
    dog = a.regions[Concept("dog", "object")]
    assert dog.sum() == a.asks[0].mask.sum() + 9, "the crowd is a region, and is not asked for"


def test_masks_of_coco_are_painted_once_and_only_when_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    painted: list[Any] = []

    def paint(*given: Any) -> Any:
        painted.append(given)
        return mask_of(*given)

    monkeypatch.setattr("vlx.data.coco.mask_of", paint)
    example = open_data(f"coco:{coco(tmp_path)}")[0]
    assert len(example.asks) == 4
    assert not painted
    assert example.asks[0].mask is example.asks[2].mask
    assert len(painted) == 1


def test_an_instance_file_keeps_its_order_and_may_be_given_captions(tmp_path: Path) -> None:
    lists = coco(tmp_path) / "annotations"
    file = lists / "instances_val2017.json"
    for name in ("a.png", "b.png"):
        saved(lists / name)
    data = open_data(file)
    assert [data[n].key for n in range(len(data))] == ["b.png", "a.png", "gone.png"]
    assert data[1].texts == ()
    with pytest.raises(ImageError, match=r"gone\.png: no such file"):
        _ = data[2].image
    told = open_data(f"coco:{file},{lists / 'captions_val2017.json'}")
    assert told[1].texts == ("A dog, and two cats.",)
    assert told.digest() != data.digest()


def test_coco_without_outlines_is_captions_alone(tmp_path: Path) -> None:
    (coco(tmp_path) / "annotations" / "instances_val2017.json").unlink()
    data = open_data(f"coco:{tmp_path}")
    assert [(data[n].key, len(data[n].texts), len(data[n].regions)) for n in range(2)] == [
        ("a.png", 1, 0),
        ("b.png", 1, 0),
    ]


@pytest.mark.parametrize(
    ("part", "broken", "message"),
    [
        ("captions", {"annotations": [{"image_id": 7}]}, r"captions_val2017\.json: annotations\[0\] lacks caption"),
        ("captions", {"annotations": {}}, "no COCO captions; it needs a list of annotations"),
        ("captions", {"annotations": [], "images": [7]}, r"images\[0\] is no object but 7"),
        ("instances", {"images": [], "categories": [], "annotations": []}, "no pictures"),
        ("instances", [], "not a COCO instance file"),
    ],
)
def test_broken_coco_files_are_named(tmp_path: Path, part: str, broken: Any, message: str) -> None:
    lists = coco(tmp_path) / "annotations"
    (lists / f"{part}_val2017.json").write_text(json.dumps(broken))
    with pytest.raises(InputError, match=message):
        open_data(f"coco:{tmp_path}")


# Flickr8k, easy-VQA, classes


def flickr(folder: Path) -> Path:
    for name in ("a", "b", "c"):
        saved(folder / "Images" / f"{name}.jpg")
    (folder / "captions.txt").write_text(
        "image,caption\na.jpg,A dog .\nb.jpg,A cat .\nb.jpg,Two cats .\nc.jpg,A bird .\n"
    )
    (folder / "Flickr_8k.testImages.txt").write_text("b.jpg\n")
    (folder / "Flickr_8k.trainImages.txt").write_text("a.jpg\n")
    return folder


def test_flickr8k_is_its_test_split_unless_told(tmp_path: Path) -> None:
    flickr(tmp_path)
    texts = {
        spec: [open_data(spec)[n].texts for n in range(len(open_data(spec)))]
        for spec in (f"flickr8k:{tmp_path}", f"flickr8k:{tmp_path}:train", f"flickr8k:{tmp_path}:all")
    }
    both = ("A cat .", "Two cats .")
    assert list(texts.values()) == [[both], [("A dog .",)], [("A dog .",), both, ("A bird .",)]]
    with pytest.raises(InputError, match="no split 'tset': test; write flickr8k:DIR"):
        open_data(f"flickr8k:{tmp_path}:tset")
    assert len({open_data(spec).digest() for spec in texts}) == 3


def easy_vqa(folder: Path, questions: Any = None) -> Path:
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "answers.txt").write_text("circle\nred\nyes\nno\n")
    told = [["what shape is it?", "circle", 3], ["is it red?", "yes", 3], ["what color is it?", "red", 12]]
    for split in ("train", "test"):
        for number in (3, 12):
            image = Image.new("RGB", (64, 64), (250, 248, 252))
            ImageDraw.Draw(image).ellipse((10, 10, 30, 30), fill=(200, 30, 40))
            path = folder / "data" / split / "images" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image.save(path)
        (folder / "data" / split / "questions.json").write_text(json.dumps(told if questions is None else questions))
    return folder


def test_easy_vqa_asks_about_the_one_shape(tmp_path: Path) -> None:
    data: Any = open_data(f"easy-vqa:{easy_vqa(tmp_path)}")
    assert data.answers == ("circle", "red", "yes", "no")
    assert [data[n].key for n in range(len(data))] == ["3", "12"]
    assert [(ask.query.question, ask.query.answer, ask.group) for ask in data[0].asks] == [
        ("what shape is it?", "circle", "shape"),
        ("is it red?", "yes", "yes/no"),
    ]
    red = np.asarray(data[0].image)[..., 2] < 100
    assert all(np.array_equal(ask.mask, red) for ask in (*data[0].asks, *data[1].asks))
    assert data.files(0) == [tmp_path / "data" / "test" / "images" / "3.png"]
    train: Any = open_data(f"easy-vqa:{tmp_path}:train")
    assert train.files(1) == [tmp_path / "data" / "train" / "images" / "12.png"]


def test_questions_train_as_they_did(tmp_path: Path) -> None:
    from vlx.tasks.vqa.data import NONE, of_easy_vqa

    data = of_easy_vqa(easy_vqa(tmp_path), "test")
    assert data.pictures.shape == (2, 64, 64, 3)
    assert data.vocabulary[2:] == ("color", "is", "it", "red", "shape", "what")
    assert data.right.tolist() == [[0, 2], [1, NONE]]
    assert data.kind_names == ("shape", "yes/no", "color")
    assert data.focus is not None
    assert data.focus.any()


@pytest.mark.parametrize("questions", [{"a": 1}, [["what?", "red"]], [["what?", "red", "3"]]])
def test_questions_of_another_form_are_refused(tmp_path: Path, questions: Any) -> None:
    with pytest.raises(InputError, match=r"questions\.json: .* is no \[text, answer, number of the picture\]"):
        open_data(f"easy-vqa:{easy_vqa(tmp_path, questions)}")
    with pytest.raises(InputError, match=r"nowhere: no easy-VQA here .* clone github\.com/vzhou842/easy-VQA"):
        open_data(f"easy-vqa:{tmp_path / 'nowhere'}")


def test_a_folder_of_folders_is_a_class_each(tmp_path: Path) -> None:
    for name in ("dog/2.jpg", "cat/1.PNG", "cat/.hidden/3.jpg", ".git/4.jpg"):
        saved(tmp_path / name)
    (tmp_path / "dog" / "notes.txt").write_text("good")
    data = with_concepts(open_data(f"classes:{tmp_path}"))
    assert data.concepts == (Concept("cat", "class"), Concept("dog", "class"))
    examples: list[Any] = [data[n] for n in range(len(data))]
    assert [(one.key, one.asks[0].label) for one in examples] == [("cat/1.PNG", "cat"), ("dog/2.jpg", "dog")]
    assert [{c.name: m.shape for c, m in one.regions.items() if m.all()} for one in examples] == [
        {"cat": (48, 64)},
        {"dog": (48, 64)},
    ]
    with pytest.raises(InputError, match="no folders with pictures"):
        open_data(f"classes:{tmp_path / 'dog'}")


def test_one_picture_is_in_memory_at_a_time(tmp_path: Path) -> None:
    specs = [
        f"coco:{coco(tmp_path / 'coco')}",
        f"flickr8k:{flickr(tmp_path / 'flickr')}",
        f"easy-vqa:{easy_vqa(tmp_path / 'easy')}",
        f"captions:coco:{tmp_path / 'coco'}",
        "scenes:2",
    ]
    gc.disable()  # nothing may go round in a circle
    try:
        for spec in specs:
            data = open_data(spec)
            for number in range(len(data)):
                example = data[number]
                assert example.image is example.image
                known = (example.texts, [ask.mask for ask in example.asks], dict(example.regions))
                held = weakref.ref(example.image)
                del example, known
                assert held() is None, spec
    finally:
        gc.enable()


# Captions of any data


def test_any_data_with_texts_can_be_read_by_its_captions_alone(tmp_path: Path) -> None:
    data: Any = open_data(f"captions:coco:{coco(tmp_path)}")
    assert isinstance(data, FiledCaptions)
    assert data.name == f"captions:coco:{tmp_path}"
    assert data.concepts == ()
    assert [len(told) > 0 for told in data.told()] == [True, True]
    assert data.files(0) == [tmp_path / "val2017" / "a.png"]
    assert data.left_out == ("1 left out, no such picture: gone.png",)


# Names


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("scene:20", r"close: scenes:COUNT\[:FIRST\]"),
        ("coc:photos", r"close: coco:DIR"),
        ("flickr:photos", r"close: flickr8k:DIR"),
        ("easyvqa:x/y", r"close: easy-vqa:DIR.*; understood are"),
        ("coco:no/where", r"^coco:no/where: nothing there; write coco:DIR or coco:INSTANCES\.json"),
        ("no_such_module:data", r"no data set of that kind, and no module 'no_such_module' to import"),
        ("json:lods", r"json:lods: the module has no function 'lods'"),
        ("json:dumps", r"^json:dumps raises TypeError: dumps\(\) missing 1 required positional argument"),
        (
            "os:getcwd",
            r"os:getcwd returns str without name, licence, digest, no data: needed are name",
        ),
        ("x" * 5000, "no labelled pictures of that name"),
        ("a\0b", "no labelled pictures of that name"),
    ],
)
def test_what_is_no_name_is_told_with_the_near_ones(spec: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        open_data(spec)
    assert len(str(caught.value)) < 300


def test_the_list_of_names_tells_every_kind() -> None:
    assert all(f"{kind}:" in UNDERSTOOD for kind in KINDS)
    assert all(one.form.startswith(f"{kind}:") for kind, one in KINDS.items())


def test_an_installed_package_brings_data_and_replaces_none(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [EntryPoint(name, "vlx.data.scenes:open_scenes", GROUP) for name in ("mine", "classes")]
    monkeypatch.setattr("vlx.data.opening.entry_points", lambda group: points if group == GROUP else [])
    data = open_data("mine:3:77")
    assert isinstance(data, Data)
    assert (len(data), data[2].key) == (3, "79")
    with pytest.raises(InputError, match="close: mine:"):
        open_data("mne:3:77")
    with pytest.raises(InputError, match="classes:3: no folders with pictures"):
        open_data("classes:3")


def test_data_without_regions_cannot_be_dissected(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"tells no regions of its pictures; .* captions:flickr8k:"):
        neuron_names.dissect(captioner(), f"flickr8k:{flickr(tmp_path)}")
