import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from vlx.errors import InputError, OutputError
from vlx.scenes import KINDS, draw
from vlx.scenes.export import export, run_lengths
from vlx.scenes.painter import painted_with

CATEGORIES = {"object", "part", "color", "texture", "scene"}
Mask = NDArray[np.bool_]


# On disk


def decode(segmentation: dict[str, Any]) -> Mask:
    """COCO's uncompressed run lengths, column by column, zeros first: a mask, bool [H, W]."""
    height, width = segmentation["size"]
    flat = []
    for n, count in enumerate(segmentation["counts"]):
        flat += [n % 2 == 1] * count
    return np.array(flat, bool).reshape(width, height).T


def test_run_lengths_are_exact() -> None:
    random = np.random.default_rng(0).random((5, 7)) < 0.4
    for mask in (random, ~random, np.zeros((3, 4), bool), np.ones((3, 4), bool), np.eye(4, dtype=bool)):
        coded = run_lengths(mask)
        assert sum(coded["counts"]) == mask.size
        assert all(count > 0 for count in coded["counts"][1:])
        assert np.array_equal(decode(coded), mask)
    by_hand = np.array([[0, 1], [1, 1], [0, 0]], bool)  # columns 0 1 0 and 1 1 0
    assert run_lengths(by_hand) == {"size": [3, 2], "counts": [1, 1, 1, 2, 1]}


def test_export_writes_pictures_and_coco_json(tmp_path: Path) -> None:
    path = export(3, tmp_path / "deep" / "out", first=20, size=96)
    assert path == tmp_path / "deep" / "out" / "scenes.json"
    told = json.loads(path.read_text(encoding="utf-8"))
    assert told.keys() >= {"info", "images", "annotations", "categories", "captions"}
    assert [category["name"] for category in told["categories"]] == list(KINDS)
    assert len({note["id"] for note in told["annotations"]}) == len(told["annotations"])
    names = {category["id"]: category["name"] for category in told["categories"]}
    for image, caption in zip(told["images"], told["captions"], strict=True):
        scene = draw(image["id"], 96)
        assert (image["width"], image["height"], image["scene"]) == (96, 96, scene.place)
        assert (caption["image_id"], caption["caption"]) == (image["id"], scene.caption)
        with Image.open(path.parent / image["file_name"]) as picture:
            assert np.array_equal(np.asarray(picture), np.asarray(scene.image))
        notes = [note for note in told["annotations"] if note["image_id"] == image["id"]]
        for number, (note, thing) in enumerate(zip(notes, scene.objects, strict=True)):
            assert (names[note["category_id"]], note["color"]) == (thing.kind, thing.color)
            assert (note["texture"], note["named"]) == (thing.texture, number in scene.named)
            assert np.array_equal(decode(note["segmentation"]), thing.mask)
            assert (note["bbox"], note["area"]) == (list(thing.box), int(thing.mask.sum()))
            for part in note["parts"]:
                assert np.array_equal(decode(part["segmentation"]), thing.parts[part["name"]])
                assert part["color"] == painted_with(thing.pose).get(part["name"])
    assert [image["id"] for image in told["images"]] == [20, 21, 22]
    assert not list(path.parent.glob("*.partial"))


@pytest.mark.parametrize("blocked", ["out", "out/images", "out/scenes.json"])
def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path, blocked: str) -> None:
    out = tmp_path / "out"
    if blocked == "out":
        out.write_text("a file")
    elif blocked == "out/images":
        out.mkdir()
        (out / "images").write_text("a file")
    else:
        (out / "scenes.json").mkdir(parents=True)
    with pytest.raises(OutputError, match=r"out: cannot be written \(.+\); give another folder with --out$"):
        export(1, out, size=64)


def test_a_full_disk_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Image.Image, *arguments: Any, **options: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OutputError, match=r"cannot be written \(No space left on device\)"):
        export(1, tmp_path, size=64)
    assert not (tmp_path / "scenes.json").exists()


@pytest.mark.parametrize(("count", "first", "size"), [(0, 0, 96), (-1, 0, 96), (2, -1, 96), (2, 0, 10)])
def test_bad_numbers_leave_nothing_behind(tmp_path: Path, count: int, first: int, size: int) -> None:
    out = tmp_path / "out"
    with pytest.raises(InputError, match=r"^(count=-?\d+; draw at least one scene|draw\(seed=-?\d+, size=\d+\): )"):
        export(count, out, first, size)
    assert not out.exists()
