"""Captioned photographs on disk: the Flickr8k layout and COCO's captions, read once and checked before a model runs."""

import codecs
import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PureWindowsPath
from typing import Any

from vlx.data import coco_files
from vlx.errors import ImageError, InputError
from vlx.files.whole import read_bytes
from vlx.pictures.opening import open_image

LONGEST = 18  # words of a caption that are read
PICTURES = ("Images", "images", "Flicker8k_Dataset", "val2017", "train2017", "val2014", "train2014", ".")
TABLES = ("captions.txt", "Flickr8k.token.txt")
HEADS = ("image", "image_name")
SPLITS = {"train": "trainImages", "dev": "devImages", "test": "testImages"}
SHOWN = 5  # names that a message lists
MISSING, EMPTY, TWICE = "no such picture", "empty caption", "caption told twice"
UNREADABLE = "cannot be read"

_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?|\d+")


def words_of(caption: str, longest: int | None = LONGEST) -> list[str]:
    """The words of a caption in lower case, without punctuation, the first 18; all of them where ``longest`` is None.

    >>> words_of("A dog, wet-nosed.")
    ['a', 'dog', 'wet', 'nosed']
    """
    return _WORD.findall(caption.lower().replace("-", " "))[:longest]


@dataclass(frozen=True)
class Photograph:
    """One picture and what people wrote about it."""

    path: Path
    captions: tuple[str, ...]

    @property
    def name(self) -> str:
        """The file's name, which captions and splits go by."""
        return self.path.name


@dataclass(frozen=True)
class Photographs:
    """Captioned pictures in the order of their names; ``left_out`` tells why others are not among them."""

    rows: tuple[Photograph, ...]
    left_out: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)

    def __str__(self) -> str:
        counted = f"{len(self.rows)} photographs, {sum(len(row.captions) for row in self.rows)} captions"
        return "; ".join([counted, *omissions(self.left_out)])

    def without(self, names: Iterable[str]) -> "Photographs":
        """All but the pictures of these names."""
        gone = set(names)
        return Photographs(tuple(row for row in self.rows if row.name not in gone), self.left_out)

    def only(self, names: Iterable[str]) -> "Photographs":
        """The pictures of these names; of what was left out, too, only these are told."""
        kept = set(names)
        left = {reason: tuple(name for name in gone if name in kept) for reason, gone in self.left_out.items()}
        rows = tuple(row for row in self.rows if row.name in kept)
        return Photographs(rows, {reason: gone for reason, gone in left.items() if gone})


def omissions(names_by_reason: Mapping[str, Sequence[str]]) -> list[str]:
    """What was left out and why as sentences, which count the pictures and name the first five of them."""
    sentences = []
    for reason, names in names_by_reason.items():
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        sentences.append(f"{len(names)} left out, {reason}: {', '.join(names[:SHOWN])}{more}")
    return sentences


def read(folder: str | Path) -> Photographs:
    """Captioned photographs in a folder, in one of two layouts.

    Flickr8k's: ``captions.txt`` with lines ``image,caption`` (or ``Flickr8k.token.txt``, as it was published) and a
    folder ``Images``. COCO's: ``captions_*.json`` there or in ``annotations``. Pictures without a caption are no part
    of it; captions without a picture, empty ones, and those told twice of a picture are counted in ``left_out``.
    Pictures are not opened: see `readable`. Raises InputError naming the file that is missing or broken.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(
            f"{folder} is no folder; give one with captions.txt and Images/, or with COCO's captions_*.json"
        )
    table = next((folder / name for name in TABLES if (folder / name).is_file()), None)
    files = coco_files.caption_files(folder)
    if table is not None:
        lines = _flickr(table)
    elif files:
        lines = _coco(folder, files)
    else:
        raise InputError(f"{folder} holds neither captions.txt nor captions_*.json; see vlx.data.captioned.read")
    return _photographs(folder, lines)


def readable(data: Photographs) -> Photographs:
    """Those whose picture can be opened; the others are counted in ``left_out``. Decodes every picture once."""
    unread = tuple(row.name for row in data.rows if not _opens(row.path))
    opened = data.without(unread)
    if not opened.rows:
        raise InputError(f"none of {len(data)} pictures can be read, as {data.rows[0].path}")
    return replace(opened, left_out={**opened.left_out, **({UNREADABLE: unread} if unread else {})})


def _opens(path: Path) -> bool:
    try:
        open_image(path)
    except ImageError:
        return False
    return True


def split(folder: str | Path, name: str) -> frozenset[str]:
    """The names of the official split "train", "dev" or "test", from ``Flickr_8k.….txt`` in the folder.

    Raises InputError where the file is missing: a split is not to be made up.
    """
    path = Path(folder) / f"Flickr_8k.{SPLITS[name]}.txt"
    if not path.is_file():
        raise InputError(f"{path} is missing: the official split comes with Flickr8k's texts (Flickr8k_text.zip)")
    return frozenset(_text(path).split())


def _text(path: Path) -> str:
    raw = read_bytes(path)
    marked = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    for encoding in ("utf-16",) if marked else ("utf-8-sig", "cp1252"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise InputError(f"{path}: neither UTF-8, UTF-16 nor Windows-1252; save it as UTF-8")


def _flickr(path: Path) -> list[tuple[str, str]]:
    """Picture and caption of each line; read by itself, so that a quote that is not closed costs no other line."""
    lines = []
    for number, line in enumerate(_text(path).splitlines(), 1):
        cells = next(csv.reader([line], delimiter="\t" if "\t" in line else ","), [])
        if not cells or (number == 1 and cells[0].strip().lower() in HEADS):
            continue
        if len(cells) < 2:
            raise InputError(f"{path}: line {number} is no `image,caption`: {line[:60]!r}")
        lines.append((cells[0].strip().partition("#")[0], ",".join(cells[1:]).strip()))
    return lines


def _coco(folder: Path, paths: Iterable[Path]) -> list[tuple[str, str]]:
    lines = []
    for path in paths:
        content = coco_files.told(path)
        pictures = coco_files.pictures([(path, content)]) if "images" in content else _outlined(folder, path)
        for annotation in content["annotations"]:
            number, caption = annotation["image_id"], annotation["caption"] or ""
            name = str(pictures[number]["file_name"]) if number in pictures else f"id {number}"
            lines.append((name, caption.strip()))
    return lines


def _outlined(folder: Path, path: Path) -> Mapping[Any, coco_files.Record]:
    """The pictures that instance files list, where a file of captions lists none."""
    files = coco_files.instance_files(folder)
    if not files:
        raise InputError(f"{path}: not COCO captions: it lists no images, and no instances*.json beside it does")
    return coco_files.pictures((file, coco_files.instances(file)) for file in files)


def _photographs(folder: Path, lines: Iterable[tuple[str, str]]) -> Photographs:
    captions: dict[str, list[str]] = {}
    left: dict[str, list[str]] = {MISSING: [], EMPTY: [], TWICE: []}
    for place, caption in lines:
        name = PureWindowsPath(place).name  # either slash
        texts = captions.setdefault(name, [])
        if not words_of(caption):
            left[EMPTY].append(name)
        elif caption in texts:
            left[TWICE].append(name)
        else:
            texts.append(caption)
    if not any(captions.values()):
        raise InputError(f"{folder}: its table holds no caption, {len(captions)} pictures without one")
    places = _places(folder)
    left[MISSING] += [name for name in captions if name not in places]
    rows = [
        Photograph(places[name], tuple(texts)) for name, texts in sorted(captions.items()) if texts and name in places
    ]
    if not rows:
        raise InputError(f"{folder}: none of {len(captions)} captioned pictures is there; they belong into Images/")
    return Photographs(tuple(rows), {reason: tuple(names) for reason, names in left.items() if names})


def _places(folder: Path) -> Mapping[str, Path]:
    """Where each picture is, by its file's name."""
    paths: dict[str, Path] = {}
    for name in PICTURES:
        if (folder / name).is_dir():
            for path in (folder / name).iterdir():
                if path.suffix.lower() in (".jpg", ".jpeg", ".png"):
                    paths.setdefault(path.name, path)
    return paths
