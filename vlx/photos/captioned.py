"""Captioned photographs on disk: the Flickr8k layout and COCO's captions, read once and checked before a model runs."""

import csv
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vlx.errors import InputError

LONGEST = 18  # words of a caption that are read
PICTURES = ("Images", "images", "Flicker8k_Dataset", "val2017", "train2017", "val2014", "train2014", ".")
SPLITS = {"train": "trainImages", "dev": "devImages", "test": "testImages"}
SHOWN = 5  # names that a message lists

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
        told = f"{len(self.rows)} photographs, {sum(len(row.captions) for row in self.rows)} captions"
        return "; ".join([told, *omissions(self.left_out)])

    def without(self, names: Iterable[str]) -> "Photographs":
        """All but the pictures of these names."""
        gone = set(names)
        return Photographs(tuple(row for row in self.rows if row.name not in gone), self.left_out)

    def only(self, names: Iterable[str]) -> "Photographs":
        """The pictures of these names."""
        kept = set(names)
        return Photographs(tuple(row for row in self.rows if row.name in kept), self.left_out)


def omissions(names_by_reason: Mapping[str, Sequence[str]]) -> list[str]:
    """What was left out and why as sentences, which count the pictures and name the first five of them."""
    told = []
    for reason, names in names_by_reason.items():
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        told.append(f"{len(names)} left out, {reason}: {', '.join(names[:SHOWN])}{more}")
    return told


def read(folder: str | Path) -> Photographs:
    """Captioned photographs in a folder, in one of two layouts.

    Flickr8k's: ``captions.txt`` with lines ``image,caption`` and a folder ``Images``. COCO's: ``captions_*.json`` there
    or in ``annotations``. Pictures without a caption are no part of it; captions without a picture, empty ones and
    pictures met twice are counted in ``left_out``. Raises InputError naming the file that is missing or broken.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(
            f"{folder} is no folder; give one with captions.txt and Images/, or with COCO's captions_*.json"
        )
    table = folder / "captions.txt"
    files = sorted({*folder.glob("captions_*.json"), *folder.glob("annotations/captions_*.json")})
    if table.is_file():
        told = _flickr(table)
    elif files:
        told = _coco(files)
    else:
        raise InputError(f"{folder} holds neither captions.txt nor captions_*.json; see vlx.photos.captioned.read")
    return _found(folder, told)


def split(folder: str | Path, name: str) -> frozenset[str]:
    """The names of the official split "train", "dev" or "test", from ``Flickr_8k.….txt`` in the folder.

    Raises InputError where the file is missing: a split is not to be made up.
    """
    path = Path(folder) / f"Flickr_8k.{SPLITS[name]}.txt"
    if not path.is_file():
        raise InputError(f"{path} is missing: the official split comes with Flickr8k's texts (Flickr8k_text.zip)")
    return frozenset(_text(path).split())


def _text(path: Path) -> str:
    raw = path.read_bytes()
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise InputError(f"{path}: neither UTF-8 nor Windows-1252; save it as UTF-8")


def _flickr(path: Path) -> list[tuple[str, str]]:
    rows = list(csv.reader(_text(path).splitlines()))
    if rows and rows[0][:1] in (["image"], ["image_name"]):
        rows = rows[1:]
    broken = next((number for number, row in enumerate(rows) if len(row) < 2), None)
    if broken is not None:
        raise InputError(f"{path}: line {broken + 2} is no `image,caption`: {','.join(rows[broken])[:60]!r}")
    return [(row[0].strip().partition("#")[0], ",".join(row[1:]).strip()) for row in rows]


def _coco(paths: Iterable[Path]) -> list[tuple[str, str]]:
    told = []
    for path in paths:
        try:
            raw: Any = json.loads(_text(path))
            files = {image["id"]: str(image["file_name"]) for image in raw["images"]}
            told += [(files[one["image_id"]], str(one["caption"]).strip()) for one in raw["annotations"]]
        except (json.JSONDecodeError, KeyError, TypeError, RecursionError) as error:
            raise InputError(f"{path}: not COCO captions ({type(error).__name__}: {str(error)[:80]})") from None
    return told


def _found(folder: Path, told: Iterable[tuple[str, str]]) -> Photographs:
    captions: dict[str, list[str]] = {}
    empty: list[str] = []
    for name, caption in told:
        if not words_of(caption):
            empty.append(name)
        elif caption not in captions.setdefault(name, []):
            captions[name].append(caption)
    places = _places(folder)
    missing = [name for name in captions if Path(name).name not in places]
    rows = [
        Photograph(places[Path(name).name], tuple(own))
        for name, own in sorted(captions.items())
        if own and Path(name).name in places
    ]
    if not rows:
        raise InputError(f"{folder}: none of {len(captions)} captioned pictures is there; they belong into Images/")
    left = {"no such picture": missing, "empty caption": empty}
    return Photographs(tuple(rows), {reason: tuple(names) for reason, names in left.items() if names})


def _places(folder: Path) -> Mapping[str, Path]:
    """Where each picture is, by its file's name."""
    found: dict[str, Path] = {}
    for name in PICTURES:
        if (folder / name).is_dir():
            for path in (folder / name).iterdir():
                if path.suffix.lower() in (".jpg", ".jpeg", ".png"):
                    found.setdefault(path.name, path)
    return found
