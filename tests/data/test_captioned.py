"""Captioned photographs on disk, whole and broken."""

import json
from pathlib import Path

import pytest
from PIL import Image

from vlx.data import captioned
from vlx.errors import InputError


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
    assert found.left_out == {
        "no such picture": ("z.jpg",),
        "empty caption": ("a.jpg",),
        "caption told twice": ("a.jpg",),
    }
    assert "1 left out, no such picture: z.jpg" in str(found)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
def test_other_encodings_are_read(tmp_path: Path, encoding: str) -> None:
    found = captioned.read(flickr(tmp_path, "image,caption\na.jpg,A café .\n".encode(encoding)))
    assert found.rows[0].captions == ("A café .",)


def test_a_quote_that_is_not_closed_costs_no_other_line(tmp_path: Path) -> None:
    found = captioned.read(
        flickr(tmp_path, 'image,caption\na.jpg,"A ""wet"" dog, asleep ."\nb.jpg,"A cat .\nc.jpg,A man .\n')
    )
    assert [row.captions for row in found.rows] == [('A "wet" dog, asleep .',), ("A cat .",), ("A man .",)]


def test_the_table_as_flickr8k_was_published(tmp_path: Path) -> None:
    pictures(tmp_path / "Flicker8k_Dataset", "a.jpg")
    (tmp_path / "Flickr8k.token.txt").write_text("a.jpg#0\tA cat , wet .\na.jpg#1\tA dog .\nz.jpg#0\tA man .\n")
    found = captioned.read(tmp_path)
    assert [(row.name, row.captions) for row in found.rows] == [("a.jpg", ("A cat , wet .", "A dog ."))]
    assert found.left_out == {"no such picture": ("z.jpg",)}


def test_a_picture_named_with_and_without_its_folder_is_one(tmp_path: Path) -> None:
    found = captioned.read(
        flickr(tmp_path, "image,caption\na.jpg,A cat .\nImages/a.jpg,A dog .\nImages\\a.jpg,A man .\n")
    )
    assert [row.captions for row in found.rows] == [("A cat .", "A dog .", "A man .")]


def coco(folder: Path, images: list[object], annotations: list[object]) -> Path:
    pictures(folder / "val2017", "000000000001.jpg", "000000000002.jpg")
    (folder / "annotations").mkdir()
    told = {"images": images, "annotations": annotations}
    (folder / "annotations" / "captions_val2017.json").write_text(json.dumps(told))
    return folder


def test_the_coco_layout(tmp_path: Path) -> None:
    one = {"id": 1, "file_name": "000000000001.jpg"}
    told = [{"image_id": 1, "caption": "A dog."}, {"image_id": 1, "caption": "A wet dog."}]
    assert captioned.read(coco(tmp_path, [one, one], [*told])).rows[0].captions == ("A dog.", "A wet dog.")


def test_what_coco_tells_of_nothing_or_of_no_picture_is_counted(tmp_path: Path) -> None:
    told = [
        {"image_id": 1, "caption": "A dog."},
        {"image_id": 1, "caption": None},
        {"image_id": 7, "caption": "A cat."},
        {"image_id": 1, "caption": "A dog."},
    ]
    found = captioned.read(coco(tmp_path, [{"id": 1, "file_name": "000000000001.jpg"}], [*told]))
    assert [row.captions for row in found.rows] == [("A dog.",)]
    assert found.left_out == {
        "no such picture": ("id 7",),
        "empty caption": ("000000000001.jpg",),
        "caption told twice": ("000000000001.jpg",),
    }


def test_an_id_of_two_pictures_is_refused(tmp_path: Path) -> None:
    images = [{"id": 1, "file_name": f"00000000000{number}.jpg"} for number in (1, 2)]
    with pytest.raises(InputError, match=r"id 1 is of two pictures, 000000000001.jpg and 000000000002.jpg; give each"):
        captioned.read(coco(tmp_path, [*images], [{"image_id": 1, "caption": "A dog."}]))


def test_pictures_that_cannot_be_opened_are_counted_and_named(tmp_path: Path) -> None:
    folder = flickr(tmp_path, "image,caption\na.jpg,A cat .\nb.jpg,A dog .\nc.jpg,A man .\n")
    whole = (folder / "Images" / "c.jpg").read_bytes()
    (folder / "Images" / "a.jpg").write_bytes(b"<html>")
    (folder / "Images" / "c.jpg").write_bytes(whole[: len(whole) // 2])
    found = captioned.readable(captioned.read(folder))
    assert [row.name for row in found.rows] == ["b.jpg"]
    assert str(found) == "1 photographs, 1 captions; 2 left out, cannot be read: a.jpg, c.jpg"
    (folder / "Images" / "b.jpg").write_bytes(b"")
    with pytest.raises(InputError, match=r"none of 3 pictures can be read, as .*a.jpg"):
        captioned.readable(captioned.read(folder))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"image,caption\na.jpg,A \x81 cat .\n", r"captions.txt: neither UTF-8, UTF-16 nor Windows-1252; save it"),
        ("image,caption\n", r"its table holds no caption, 0 pictures without one"),
        ("image,caption\na.jpg, .\nb.jpg,\n", r"its table holds no caption, 2 pictures without one"),
        ("image,caption\na.jpg\n", r"captions.txt: line 2 is no `image,caption`: 'a.jpg'"),
        ("image,caption\nz.jpg,A dog .\n", r"none of 1 captioned pictures is there; they belong into Images/"),
    ],
)
def test_broken_tables_are_refused(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        captioned.read(flickr(tmp_path, text))


def test_folders_without_captions_and_files_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds neither captions.txt nor captions_\*.json"):
        captioned.read(tmp_path)
    with pytest.raises(InputError, match=r"is no folder"):
        captioned.read(tmp_path / "none")
    (tmp_path / "captions_x.json").write_text('{"images": []}')
    with pytest.raises(InputError, match=r"captions_x.json: no COCO captions; it needs a list of annotations"):
        captioned.read(tmp_path)


def test_the_official_split_is_read_and_never_made_up(tmp_path: Path) -> None:
    folder = flickr(tmp_path, "image,caption\na.jpg,A cat .\nb.jpg,A dog .\n")
    with pytest.raises(InputError, match=r"Flickr_8k.testImages.txt is missing: the official split comes with"):
        captioned.split(folder, "test")
    (folder / "Flickr_8k.testImages.txt").write_text("b.jpg\n")
    found = captioned.read(folder)
    assert [row.name for row in found.only(captioned.split(folder, "test")).rows] == ["b.jpg"]
    assert [row.name for row in found.without(captioned.split(folder, "test")).rows] == ["a.jpg"]
