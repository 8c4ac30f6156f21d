"""Folders and lists as they are found in the world: links, other spreadsheets, names that file systems confuse."""

import os
import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from vlx import folder
from vlx.errors import InputError, MissingImage
from vlx.folder import Item, Job, Manifest, lists, names
from vlx.pictures import opening


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png", "below/c.png"):
        (tmp_path / "pics" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), "red").save(tmp_path / "pics" / name)
    return tmp_path / "pics"


def found(given: list[str], **options: object) -> list[str]:
    return [os.path.basename(item.path) for item in folder.items(given, **options).items]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("path,caption\na.png,a dog\n", {"caption": "a dog"}),
        ('\ufeffpath;caption\r\na.png;"a ""red"" dog; big, too"\r\n', {"caption": 'a "red" dog; big, too'}),
        ("Path\tCaption\na.png\ta dog\n", {"caption": "a dog"}),
        ('"PATH";"caption, long or short";caption\na.png;x;a dog\n', {"caption": "a dog"}),
        ('"path","caption"\r\n\r\n"a.png","a red\r\ndog"\r\n', {"caption": "a red\ndog"}),
        ("path\na.png\n", {}),
    ],
)
def test_lists_of_any_spreadsheet(text: str, wanted: dict[str, str], pictures: Path) -> None:
    (pictures / "list.csv").write_bytes(text.encode())
    items, _ = lists.read(pictures / "list.csv", ("caption",))
    assert [(os.path.basename(item.path), dict(item.texts)) for item in items] == [("a.png", wanted)]


def test_a_pattern_passes_by_what_is_no_picture(pictures: Path) -> None:
    (pictures / "notes.txt").touch()
    made = folder.items([str(pictures / "*")])
    assert [os.path.basename(item.path) for item in made.items] == ["a.png", "b.png"]
    assert made.notes == (f"{pictures}/*: files of other kinds, passed by: 1",)
    assert found([str(pictures / "*.txt")]) == ["notes.txt"], "who asks for it is given it, and told why it fails"


def test_a_link_to_a_folder_is_told_and_not_followed(pictures: Path) -> None:
    (pictures / "loop").symlink_to(pictures)
    made = folder.items([str(pictures)], recursive=True)
    assert len(made.items) == 3
    assert made.notes == (
        f"{pictures}/loop is a link to a folder and not followed; name it, too, for the pictures there",
    )
    assert folder.items([str(pictures)]).notes == ()


@pytest.mark.parametrize(
    ("given", "message"), [("-", "standard input is empty: no picture"), ("LIST", "list.csv is empty")]
)
def test_what_is_empty_is_named(given: str, message: str, pictures: Path) -> None:
    (pictures / "list.csv").touch()
    with pytest.raises(InputError, match=message):
        folder.items([given.replace("LIST", str(pictures / "list.csv"))])


def test_a_link_that_leads_nowhere_says_where(pictures: Path) -> None:
    (pictures / "lost.png").symlink_to("gone/away.png")
    with pytest.raises(MissingImage, match=r"lost.png is a link to gone/away.png, which is not there"):
        opening.open_image(pictures / "lost.png")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Case.png", "case.PNG"),
        (unicodedata.normalize("NFC", "été.png"), unicodedata.normalize("NFD", "été.png")),
        ("ﬁg.png", "FIG.png"),
        ("a?b.png", "a:b.png"),
    ],
)
def test_names_that_a_file_system_may_take_for_one_are_two(one: str, other: str, tmp_path: Path) -> None:
    items = [Item(one), Item(other)]
    with Manifest.opened(tmp_path, Job("caption", "m", "w", {}, {})) as held:
        stems = names.stems(items, held)
    folded = {unicodedata.normalize("NFC", stem).casefold() for stem in stems.values()}
    assert len(folded) == 2


@pytest.mark.parametrize("name", ["con", "NUL", "lpt1", "index"])
def test_names_that_no_page_can_have_are_changed(name: str, tmp_path: Path) -> None:
    with Manifest.opened(tmp_path, Job("caption", "m", "w", {}, {})) as held:
        (stem,) = names.stems([Item(f"{name}.png")], held).values()
    assert stem.startswith(f"{name}-")
