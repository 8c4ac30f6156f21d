"""Captioned photographs whose objects are outlined: those of COCO that have captions and polygons."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from vlx.data.captioned import omissions
from vlx.data.coco import CocoData, Outlined
from vlx.data.example import Example
from vlx.errors import InputError

__all__ = ["Outlined", "OutlinedData", "read"]

SHOWN = 290  # characters of what a message tells of the data


@dataclass(frozen=True, eq=False)
class OutlinedData:
    """Photographs in the order of their names; ``left_out`` tells why others are not among them.

    ``by_size``: figures of their words are told by how large the things are; categories are too many for a table.
    """

    by_size: ClassVar[bool] = True
    name: str
    rows: tuple[Outlined, ...]
    left_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    licence: str = CocoData.licence

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> Example:
        row = self.rows[number]
        return Example(row.path.name, row.image, texts=row.captions, asks=lambda: tuple(row.asks()))

    def __str__(self) -> str:
        return "; ".join([f"{len(self.rows)} photographs with captions and polygons", *omissions(self.left_out)])

    def digest(self) -> str:
        """Of the captions and outlines, and of names and sizes of the pictures."""
        hashed = hashlib.sha256()
        for row in self.rows:
            hashed.update(f"{row.path.name} {row.path.stat().st_size} {row.captions} {row.outlines}\n".encode())
        return hashed.hexdigest()


def read(folder: str | Path, captions: str | Path | None = None) -> OutlinedData:
    """COCO photographs in a folder that have captions and polygons; see `vlx.data.coco.CocoData`.

    ``captions`` is another file of captions. Crowds (run lengths) are no objects. What has no captions, no polygons or
    no picture is counted in ``left_out``. Raises InputError naming what is missing.
    """
    data = CocoData(folder, captions)
    if not data.classes:
        raise InputError(f"{folder}: no instances*.json there or in annotations/; word pointing needs COCO's polygons")
    outlined = [data.outlined(number) for number in range(len(data))]
    if not any(row.captions for row in outlined):
        raise InputError(f"{folder}: no captions_*.json beside the polygons; give one with --captions FILE")
    left = defaultdict[str, list[str]](list, {why: list(names) for why, names in data.left_out.items()})
    for row in outlined:
        if not row.captions or not row.outlines:
            left["no polygons" if row.captions else "no caption"].append(row.path.name)
    rows = tuple(row for row in outlined if row.captions and row.outlines)
    kept = OutlinedData(str(folder), rows, {why: tuple(names) for why, names in left.items()})
    if not rows:
        raise InputError(f"{folder}: {kept}"[:SHOWN])
    return kept
