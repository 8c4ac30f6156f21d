"""Captioned photographs as data: Flickr8k's layout, or COCO's captions, as `captioned.read` finds them."""

import hashlib
from pathlib import Path

from vlx.data import captioned
from vlx.data.captioned import Photographs
from vlx.data.example import Example
from vlx.errors import InputError
from vlx.language import close_matches, shortened

FORM = "flickr8k:DIR[:test|dev|train|all]"
ALL, HELD_OUT = "all", "test"
SPLITS = tuple(captioned.SPLITS)


class PhotographData:
    """Captioned photographs as data called ``name``."""

    licence = "photographs and captions: as their source says (Flickr8k's: research and education only)"

    def __init__(self, photographs: Photographs, name: str) -> None:
        self.rows, self.left_out, self.name = photographs.rows, photographs.left_out, name

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> Example:
        row = self.rows[number]
        return Example(row.name, row.path, texts=row.captions)

    def files(self, number: int) -> list[Path]:
        """The photograph's file; captions are part of the digest."""
        return [self.rows[number].path]

    def digest(self) -> str:
        """Of the captions, and of names and sizes of the pictures."""
        hashed = hashlib.sha256()
        for row in self.rows:
            hashed.update(f"{row.name} {row.path.stat().st_size} {row.captions}\n".encode())
        return hashed.hexdigest()


def of_folder(folder: str | Path, split: str | None, name: str) -> PhotographData:
    """The captioned photographs of a folder; ``split``: "train", "dev" or "test" of Flickr8k, all where it is None.

    Raises InputError naming the file that is missing or broken.
    """
    data = captioned.read(folder)
    if split is not None:
        data = data.only(captioned.split(folder, split))
    if not data.rows:
        raise InputError(f"{name}: none of the captioned pictures is of this split; give another folder")
    return PhotographData(data, name)


def open_flickr(rest: str) -> PhotographData:
    """Data by what follows "flickr8k:", the official test split where none is named; raises InputError."""
    folder, colon, split = rest.rpartition(":")
    if not colon or Path(rest).is_dir():
        folder, split = rest, HELD_OUT
    splits = (*SPLITS, ALL)
    if split not in splits or not folder:
        near = ", ".join(close_matches(split, splits)) or ", ".join(splits)
        raise InputError(f"flickr8k:{shortened(rest, 100)}: no split {shortened(split, 40)!r}: {near}; write {FORM}")
    return of_folder(folder, None if split == ALL else split, f"flickr8k:{rest}")
