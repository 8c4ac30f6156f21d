"""Visual Genome's region descriptions: phrases, each with the box in its picture that it describes.

region_descriptions.json         [{"id": 1, "regions": [{"region_id": 5, "phrase": "a red clock", "x": 421, "y": 57,
                                 "width": 82, "height": 139, "image_id": 1}, …]}, …]
image_data.json                  beside it, may be left out: [{"image_id": 1, "width": 800, "height": 600}, …]
DIR/1.jpg, DIR/VG_100K/1.jpg …   pictures by their number
"""

from collections.abc import Iterator, Mapping
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

from vlx.data.annotations import LeftOut, box_of, by_stem
from vlx.data.captioned import words_of
from vlx.data.coco import MISSING
from vlx.data.example import Ask, Box, Example, Truth
from vlx.data.files import ENDINGS, digest_of, files_in, recorded
from vlx.errors import InputError
from vlx.files.json_lists import Members, record_at
from vlx.language import shortened
from vlx.protocol.targets import Query

FORM = "regions:REGION_DESCRIPTIONS.json,DIR"
SIZES = "image_data.json"
GROUP = "phrase"
SIDES = ("x", "y", "width", "height")
SIZED = ("image_id", "height", "width")
WORDLESS, BARE = "a phrase without words", "no phrase that can be used"


class _Row(NamedTuple):
    """A picture, its size (H, W) where it is told, and where its record stands in the file."""

    path: Path
    size: tuple[int, int] | None
    start: int
    end: int


class RegionData:
    """Pictures in order of their numbers; each phrase is asked about as a whole, with the box that it describes.

    A phrase that stands there several times is asked about once, with all its boxes. Boxes are cut at the picture's
    sides. ``left_out`` counts pictures that are missing, and phrases and boxes that cannot be used. What the file holds
    is read again when it is asked for, one picture at a time. Raises InputError naming the record that cannot be used.
    """

    licence = "Visual Genome: CC BY 4.0; pictures under their sources' licences (COCO, YFCC100M)"

    def __init__(self, path: str | Path, folder: str | Path, name: str | None = None) -> None:
        self.path, self.name = Path(path), f"regions:{path},{folder}" if name is None else name
        left, self._sizes = LeftOut(), _sizes(self.path.parent / SIZES)
        pictures = by_stem(files_in(Path(folder), ENDINGS))
        rows: dict[int, _Row | None] = {}
        for place, record in enumerate(Members(self.path)):
            where = f"{self.path}: record {place}"
            number = _number(record.content, where)
            if number in rows:
                raise InputError(f"{where} is about picture {number}, as one before it; keep one of them")
            phrases = _phrases(record.content, self._sizes.get(number), where, left)
            file, rows[number] = pictures.get(str(number)), None
            if file is None:
                left.add(MISSING, f"{number}.jpg")
            elif not phrases:
                left.add(BARE, file.name)
            else:
                rows[number] = _Row(file, self._sizes.get(number), record.start, record.end)
        self._rows = [row for number in sorted(rows) if (row := rows[number])]
        self.left_out = left.told
        if not self._rows:
            raise InputError(
                f"{folder}: none of {len(rows)} described pictures can be used; needed are NUMBER.jpg "
                "and phrases with boxes"
            )

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, number: int) -> Example:
        row = self._rows[number]
        image = partial(recorded, row.path, row.size)
        return Example(row.path.name, image, texts=lambda: list(self._told(row)), asks=lambda: tuple(self._asks(row)))

    def files(self, number: int) -> list[Path]:
        """The picture's file; its phrases stand in the one file of all."""
        return [self._rows[number].path]

    def digest(self) -> str:
        """Of the descriptions and recorded sizes, and of names and sizes of the pictures."""
        return digest_of([self.path], [row.path for row in self._rows], [str(sorted(self._sizes.items()))])

    def _told(self, row: _Row) -> dict[str, list[Box]]:
        """The phrases of a picture with their boxes."""
        return _phrases(record_at(self.path, row.start, row.end), row.size, str(self.path), LeftOut())

    def _asks(self, row: _Row) -> Iterator[Ask]:
        for phrase, boxes in self._told(row).items():
            yield Ask(Query(caption=phrase), group=GROUP, truth=Truth(boxes=boxes), whole=True)


def open_regions(rest: str) -> RegionData:
    """Data by what follows "regions:"; raises InputError for what is neither there nor Visual Genome's."""
    path, comma, folder = rest.rpartition(",")
    if not comma or not path or not folder:
        raise InputError(f"regions:{shortened(rest, 100)}: write {FORM}")
    return RegionData(path, folder, f"regions:{rest}")


def _number(record: Mapping[str, Any], where: str) -> int:
    number = record.get("id", record.get("image_id"))
    if not isinstance(number, int) or isinstance(number, bool):
        raise InputError(f"{where} has id {shortened(repr(number), 60)}; give the number of its picture")
    return number


def _phrases(
    record: Mapping[str, Any], size: tuple[int, int] | None, where: str, left_out: LeftOut
) -> dict[str, list[Box]]:
    """The words of each phrase of a picture, between spaces, with their boxes; raises InputError naming the region."""
    regions, picture = record.get("regions"), _number(record, where)
    if not isinstance(regions, list):
        raise InputError(f"{where} has regions {shortened(repr(regions), 60)}; give a list of them")
    phrases: dict[str, list[Box]] = {}
    numbers: set[int] = set()
    for place, region in enumerate(regions):
        if wrong := _wrong(region, picture):
            raise InputError(f"{where}, regions[{place}] {wrong}")
        number = region.get("region_id", -place)
        if number in numbers:
            raise InputError(f"{where}, regions[{place}] has region_id {number}, as one before it; keep one of them")
        numbers.add(number)
        left, top, width, height = (region[side] for side in SIDES)
        words = words_of(region["phrase"], None)
        if not words:
            left_out.add(WORDLESS, f"{number} of {picture}")
        elif box := box_of((left, top, left + width, top + height), size, left_out, f"{number} of {picture}"):
            phrases.setdefault(" ".join(words), []).append(box)
    return phrases


def _wrong(region: Any, picture: int) -> str:
    """What is wrong with a region of a picture, with the remedy; "" where nothing is."""
    if not isinstance(region, Mapping) or not isinstance(region.get("phrase"), str):
        return "has no phrase; give it as Visual Genome does"
    if region.get("image_id", picture) != picture:
        return (
            f"is about picture {shortened(repr(region['image_id']), 40)}, its record about {picture}; give one of them"
        )
    if not isinstance(region.get("region_id", 0), int):
        return f"has region_id {shortened(repr(region['region_id']), 40)}; give a number"
    for side in SIDES:
        value = region.get(side)
        if not isinstance(value, int | float) or isinstance(value, bool) or not isfinite(value):
            return f"has {side} {shortened(repr(value), 40)}; give pixels"
    return ""


def _sizes(path: Path) -> dict[int, tuple[int, int]]:
    """Number of a picture → its recorded (H, W); empty where nothing is recorded."""
    sizes: dict[int, tuple[int, int]] = {}
    for place, record in enumerate(Members(path) if path.is_file() else ()):
        number, height, width = (_whole(record.content, name, f"{path}: record {place}") for name in SIZED)
        if sizes.setdefault(number, (height, width)) != (height, width):
            raise InputError(f"{path}: record {place} gives picture {number} another size; keep one of them")
    return sizes


def _whole(record: Mapping[str, Any], name: str, where: str) -> int:
    value = record.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(f"{where} has {name} {shortened(repr(value), 40)}; give a whole number from 1")
    return value
