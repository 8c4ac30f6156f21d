"""COCO instance files: polygons and run lengths, and what ``vlx draw`` writes besides (parts, colours, textures)."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from vlx.data.concepts import Concept, Labelled
from vlx.data.files import Labels, digest_of, picture, records
from vlx.errors import InputError
from vlx.language import shortened

Mask = NDArray[np.bool_]

NEEDED: dict[str, dict[str, Any]] = {
    "images": {"id": int | str, "file_name": str, "height": int, "width": int},
    "categories": {"id": int | str, "name": str},
    "annotations": {"image_id": int | str},
}
FINE = 4  # Pillow paints every pixel that a polygon touches: on a finer grid that matters less


class CocoData:
    """The pictures of a COCO instance file; instances are concepts of category "object".

    Pictures stand beside the file or in ``images/`` there. Crowds count as their category. Raises InputError naming
    what cannot be used.
    """

    licence = "COCO: annotations CC BY 4.0, pictures under their Flickr licences; of other sets unknown"

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.name = str(path)
        content = records(self.path)
        parts = ("images", "annotations", "categories")
        if not isinstance(content, Mapping) or not all(isinstance(content.get(part), list) for part in parts):
            raise InputError(f"{path}: not a COCO instance file; it needs lists of {', '.join(parts)}")
        for part in parts:
            _require_records(self.path, part, content[part])
        self._names = {one["id"]: one["name"] for one in content["categories"]}
        self._notes: dict[Any, list[dict[str, Any]]] = defaultdict(list)
        for note in content["annotations"]:
            if not isinstance(note.get("category_id"), int | str) or note["category_id"] not in self._names:
                raise InputError(
                    f"{path}: annotation {note.get('id')} has the unknown category {note.get('category_id')!r}"
                )
            self._notes[note["image_id"]].append(note)
        self._images = list(content["images"])
        if not self._images:
            raise InputError(f"{path}: no pictures")
        self.concepts = tuple(dict.fromkeys(_concepts(content, self._names)))
        self._number = {(concept.name, concept.category): n for n, concept in enumerate(self.concepts, 1)}

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, place: int) -> Labelled:
        record = self._images[place]
        image = picture(self._file(record))
        size = (record["height"], record["width"])
        if (image.height, image.width) != size:
            raise InputError(
                f"{self.path}: {record['file_name']} is {image.width}×{image.height}, its record says "
                f"{size[1]}×{size[0]}; masks cannot be laid on it (is it turned by EXIF, or resized?)"
            )
        channels: list[Labels] = [np.zeros(size, np.int32)]
        for note in self._notes[record["id"]]:
            for concept, mask in self._masks(note, size):
                _lay(channels, mask, self._number[concept])
        if isinstance(record.get("scene"), str):
            outside = ~np.any([channel > 0 for channel in channels], axis=0)
            _lay(channels, outside, self._number[record["scene"], "scene"])
        return Labelled(image, np.stack(channels))

    def files(self, number: int) -> list[Path]:
        """The picture's file; its labels stand in the instance file."""
        return [self._file(self._images[number])]

    def digest(self) -> str:
        """Of the instance file, and of names and sizes of the pictures."""
        return digest_of([self.path], (self._file(record) for record in self._images))

    def _file(self, record: dict[str, Any]) -> Path:
        name = str(record["file_name"])
        beside = self.path.parent / name
        return beside if beside.is_file() else self.path.parent / "images" / name

    def _masks(self, note: dict[str, Any], size: tuple[int, int]) -> Iterator[tuple[tuple[str, str], Mask]]:
        """Concepts of one annotation with their pixels."""
        where = f"{self.path}, annotation {note.get('id')}"
        whole = mask_of(note.get("segmentation"), size, where)
        yield (self._names[note["category_id"]], "object"), whole
        if isinstance(note.get("texture"), str):
            yield (note["texture"], "texture"), whole
        for part in note.get("parts", ()):
            mask = mask_of(part.get("segmentation"), size, where)
            yield (str(part["name"]), "part"), mask
            if part.get("color"):
                yield (str(part["color"]), "color"), mask


def _concepts(content: Mapping[str, Any], names: Mapping[Any, str]) -> Iterator[Concept]:
    yield from (Concept(name, "object") for name in names.values())
    for record in content["images"]:
        if isinstance(record.get("scene"), str):
            yield Concept(record["scene"], "scene")
    for note in content["annotations"]:
        if isinstance(note.get("texture"), str):
            yield Concept(note["texture"], "texture")
        for part in note.get("parts", ()):
            yield Concept(str(part["name"]), "part")
            if part.get("color"):
                yield Concept(str(part["color"]), "color")


def _require_records(path: Path, part: str, found: Sequence[Any]) -> None:
    """Raise InputError naming the first record that lacks something, or has it in another kind."""
    for n, record in enumerate(found):
        if not isinstance(record, Mapping):
            raise InputError(f"{path}: {part}[{n}] is no object but {shortened(repr(record))}")
        for name, kind in NEEDED[part].items():
            if not isinstance(record.get(name), kind):
                given = f"has {name} {shortened(repr(record[name]))}" if name in record else f"lacks {name}"
                raise InputError(f"{path}: {part}[{n}] {given}; an instance file needs one for each of {part}")
        own = record.get("parts", [])
        if not isinstance(own, list) or not all(isinstance(one, Mapping) and one.get("name") for one in own):
            raise InputError(f"{path}: {part}[{n}] has parts without a name")


def _lay(channels: list[Labels], mask: Mask, number: int) -> None:
    """Write a concept into the first channel that is free at each pixel; not where the pixel carries it already."""
    left = mask & ~np.any([channel == number for channel in channels], axis=0)
    for place in range(len(channels) + 1):
        if not left.any():
            return
        if place == len(channels):
            channels.append(np.zeros(mask.shape, np.int32))
        free = left & (channels[place] == 0)
        channels[place][free] = number
        left &= ~free


def mask_of(segmentation: Any, size: tuple[int, int], where: str) -> Mask:
    """COCO polygons or run lengths → bool [H, W]; raises InputError saying ``where`` it stands."""
    if isinstance(segmentation, Mapping) and "counts" in segmentation:
        if tuple(segmentation.get("size", size)) != size:
            raise InputError(f"{where}: its mask is of size {segmentation.get('size')}, the picture of {list(size)}")
        counts = segmentation["counts"]
        return _runs(_unpacked(counts, where) if isinstance(counts, str) else counts, size, where)
    if isinstance(segmentation, Sequence) and all(_is_polygon(one) for one in segmentation):
        return _polygons(segmentation, size)
    raise InputError(f"{where}: no polygons and no run lengths in its segmentation")


def _is_polygon(flat: Any) -> bool:
    """Whether it is three corners or more, x and y in turn, all of them finite."""
    long = isinstance(flat, Sequence) and not isinstance(flat, str) and len(flat) >= 6
    return long and all(isinstance(one, int | float) and isfinite(one) for one in flat)


def _polygons(polygons: Sequence[Sequence[float]], size: tuple[int, int]) -> Mask:
    """The pixels that lie at least half inside any of the polygons; corners are in pixels from the picture's corner."""
    canvas = Image.new("L", (FINE * size[1], FINE * size[0]))
    pen = ImageDraw.Draw(canvas)
    for flat in polygons:
        points = zip(flat[: 2 * (len(flat) // 2) : 2], flat[1::2], strict=True)
        pen.polygon([(FINE * x - 0.5, FINE * y - 0.5) for x, y in points], fill=255)
    return np.asarray(np.array(canvas.reduce(FINE)) >= 128)


def _runs(counts: Any, size: tuple[int, int], where: str) -> Mask:
    """Lengths of runs of 0 and 1 in turn, column by column."""
    if not isinstance(counts, Sequence) or not all(isinstance(one, int) and one >= 0 for one in counts):
        raise InputError(f"{where}: its run lengths are not whole numbers from 0")
    if sum(counts) != size[0] * size[1]:
        raise InputError(f"{where}: its run lengths add up to {sum(counts)} pixels, not {size[0] * size[1]}")
    flat = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return np.ascontiguousarray(flat.reshape(size[1], size[0]).T)


def _unpacked(text: str, where: str) -> list[int]:
    """COCO's compressed run lengths: five bits a character; from the fourth run on less that of two runs before."""
    counts: list[int] = []
    place = 0
    while place < len(text):
        value, shift, more = 0, 0, True
        while more:
            if place == len(text):
                raise InputError(f"{where}: its run lengths are cut off")
            bits = ord(text[place]) - 48
            value |= (bits & 0x1F) << shift
            more = bool(bits & 0x20)
            place, shift = place + 1, shift + 5
            if not more and bits & 0x10:
                value |= -1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
    return counts
