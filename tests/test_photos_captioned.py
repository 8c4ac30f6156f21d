"""Captioned photographs on disk, whole and broken."""

import json
from pathlib import Path

import pytest
from PIL import Image

from vlx.errors import InputError
from vlx.photos import captioned


def pictures(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", (8, 8)).save(folder / name)


def flickr(folder: Path, text: str | bytes) -> Path:
    pictures(folder / "Images", "a.jpg", "b.jpg", "c.jpg")
    raw = text.encode() if isinstance(text, str) else text
    (folder / "captions.txt").write_bytes(raw)
    return folder


def test_words_are_lower_case_without_punctuation_and_at_most_eighteen() -> None:
    assert captioned.words_of("A man's dog, wet-nosed; 2 cats.") == ["a", "man's", "dog", "wet", "nosed", "2", "cats"]
    assert len(captioned.words_of("dog " * 50)) == 18
    assert captioned.words_of(" …!") == []


def test_the_flickr_layout(tmp_path: Path) -> None:
    found = captioned.read(flickr(tmp_path, "image,caption\nb.jpg,A dog , wet .\na.jpg,A cat .\nb.jpg,Wet dog .\n"))
    assert [(row.name, row.captions) for row in found.rows] == [
        ("a.jpg", ("A cat .",)),
        ("b.jpg", ("A dog , wet .", "Wet dog .")),
    ]
    assert str(found) == "2 photographs, 3 captions"


def test_what_is_missing_empty_or_there_twice_is_counted_and_named(tmp_path: Path) -> None:
    found = captioned.read(
        flickr(tmp_path, "image,caption\na.jpg,A cat .\na.jpg,A cat .\na.jpg, .\nz.jpg,A dog .\nb.jpg,A dog\n")
    )
    assert [row.captions for row in found.rows] == [("A cat .",), ("A dog",)]
    assert found.left_out == {"no such picture": ("z.jpg",), "empty caption": ("a.jpg",)}
    assert "1 left out, no such picture: z.jpg" in str(found)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
def test_other_encodings_are_read(tmp_path: Path, encoding: str) -> None:
    found = captioned.read(flickr(tmp_path, "image,caption\na.jpg,A café .\n".encode(encoding)))
    assert found.rows[0].captions == ("A café .",)


def test_the_coco_layout(tmp_path: Path) -> None:
    pictures(tmp_path / "val2017", "000000000001.jpg")
    (tmp_path / "annotations").mkdir()
    told = {
        "images": [{"id": 1, "file_name": "000000000001.jpg"}],
        "annotations": [{"image_id": 1, "caption": "A dog."}, {"image_id": 1, "caption": "A wet dog."}],
    }
    (tmp_path / "annotations" / "captions_val2017.json").write_text(json.dumps(told))
    assert captioned.read(tmp_path).rows[0].captions == ("A dog.", "A wet dog.")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,caption\na.jpg\n", r"captions.txt: line 2 is no `image,caption`: 'a.jpg'"),
        ("image,caption\nz.jpg,A dog .\n", r"none of 1 captioned pictures is there; they belong into Images/"),
    ],
)
def test_broken_tables_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        captioned.read(flickr(tmp_path, text))


def test_folders_without_captions_and_files_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds neither captions.txt nor captions_\*.json"):
        captioned.read(tmp_path)
    with pytest.raises(InputError, match=r"is no folder"):
        captioned.read(tmp_path / "none")
    (tmp_path / "captions_x.json").write_text('{"images": []}')
    with pytest.raises(InputError, match=r"captions_x.json: not COCO captions \(KeyError"):
        captioned.read(tmp_path)


def test_the_official_split_is_read_and_never_made_up(tmp_path: Path) -> None:
    folder = flickr(tmp_path, "image,caption\na.jpg,A cat .\nb.jpg,A dog .\n")
    with pytest.raises(InputError, match=r"Flickr_8k.testImages.txt is missing: the official split comes with"):
        captioned.split(folder, "test")
    (folder / "Flickr_8k.testImages.txt").write_text("b.jpg\n")
    found = captioned.read(folder)
    assert [row.name for row in found.only(captioned.split(folder, "test")).rows] == ["b.jpg"]
    assert [row.name for row in found.without(captioned.split(folder, "test")).rows] == ["a.jpg"]
