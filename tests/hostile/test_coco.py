"""An instance file that somebody edited, value by value: it is read, or refused in words that name the file."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.data.test_masks import packed
from vlx.data import open_data
from vlx.data.example import labelled
from vlx.errors import InputError

VALUES: list[Any] = [None, 5, -1, 1.5, True, "x", "", [], ["a"], {}, {"a": 1}, float("nan"), 10**18, -(10**12), [[]]]
LEFT_OUT = object()
SQUARE = [2, 2, 9, 2, 9, 9, 2, 9]
FILE: dict[str, Any] = {
    "images": [{"id": 7, "file_name": "a.png", "width": 12, "height": 10, "scene": "sea"}],
    "categories": [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 1, "segmentation": [SQUARE], "bbox": [2, 2, 7, 7], "iscrowd": 0},
        {"id": 2, "image_id": 7, "category_id": 2, "segmentation": {"size": [10, 12], "counts": [20, 4, 96]},
         "texture": "striped", "parts": [{"name": "tail", "color": "red", "segmentation": [SQUARE]}]},
        {"id": 3, "image_id": 7, "category_id": 2, "segmentation": {"size": [10, 12], "counts": packed([20, 4, 96])}},
    ],
    "captions": [{"id": 1, "image_id": 7, "caption": "a dog and a cat"}],
}  # fmt: skip


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value of a file, its lists and objects, too."""
    if at:
        yield at
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield from places(value[key], (*at, key))


def edited(at: tuple[Any, ...], value: Any) -> dict[str, Any]:
    content = copy.deepcopy(FILE)
    inner: Any = content
    for key in at[:-1]:
        inner = inner[key]
    if value is LEFT_OUT:
        del inner[at[-1]]
    else:
        inner[at[-1]] = value
    return content


def read(path: Path) -> None:
    """All that is known of its pictures."""
    data: Any = open_data(path)
    for number in range(len(data)):
        example = data[number]
        for ask in (*example.asks, *example.absent):
            assert ask.mask is None or ask.mask.shape == (example.image.height, example.image.width)
            assert ask.truth is None or all(len(box) == 4 for box in ask.truth.boxes)
        labelled(example, data.concepts)
    data.digest()


@pytest.mark.parametrize("at", list(places(FILE)), ids=lambda at: ".".join(map(str, at)))
def test_an_edited_value_is_read_or_refused_in_words(tmp_path: Path, at: tuple[Any, ...]) -> None:
    Image.new("RGB", (12, 10), (90, 90, 90)).save(tmp_path / "a.png")
    path = tmp_path / "instances.json"
    for value in (*VALUES, LEFT_OUT):
        path.write_text(json.dumps(edited(at, value)))
        try:
            read(path)
        except InputError as error:
            assert str(tmp_path) in str(error) or "a.png" in str(error), str(error)
            assert len(str(error).replace(str(tmp_path), "")) < 300, str(error)


def test_the_file_itself_is_read(tmp_path: Path) -> None:
    Image.new("RGB", (12, 10), (90, 90, 90)).save(tmp_path / "a.png")
    (tmp_path / "instances.json").write_text(json.dumps(FILE))
    read(tmp_path / "instances.json")
