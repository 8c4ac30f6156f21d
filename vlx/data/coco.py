"""COCO: outlines of things (polygons, run lengths) and captions, and what ``vlx draw`` writes besides.

coco/
annotations/instances_val2017.json   outlines of 80 categories; may stand in the folder itself
annotations/captions_val2017.json    captions; an instance file may hold them, too, as "captions"
val2017/000000000139.jpg …           pictures: in the folder, in images/, or as COCO's archives unpack
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from vlx.data.captioned import words_of
from vlx.data.categories import named
from vlx.data.concepts import Concept, Regions
from vlx.data.example import Ask, Box, Example, Truth
from vlx.data.files import Labels, digest_of, picture, records
from vlx.data.masks import Mask, mask_of
from vlx.errors import ImageError, InputError
from vlx.language import shortened
from vlx.protocol.targets import Query
from vlx.scenes.export import MANIFEST

FORM = "coco:DIR or coco:INSTANCES.json[,CAPTIONS.json]"
PICTURES = ("", "images", "Images", "val2017", "train2017", "val2014", "train2014", "all")
MISSING = "no such picture"
NEEDED: dict[str, dict[str, Any]] = {
    "images": {"id": int | str, "file_name": str, "height": int, "width": int},
    "categories": {"id": int | str, "name": str},
    "annotations": {"image_id": int | str, "category_id": object},
}
TOLD: dict[str, dict[str, Any]] = {
    "images": {"id": int | str, "file_name": str},
    "annotations": {"image_id": int | str, "caption": str},
}


class CocoData:
    """Pictures with outlines, captions, or both; outlined things are concepts of category "object".

    ``path`` is an instance file, whose pictures stand beside it or in ``images/`` there, in its own order; or a folder,
    whose pictures come in order of their names, those that are missing counted in ``left_out``. ``captions`` is another
    file of captions. A word of a caption asks for the category that it names (`vlx.data.categories`), where such a
    thing is outlined; so does every category by itself. Crowds count among the regions, and are asked for by nobody.
    Raises InputError naming what cannot be used.
    """

    licence = "COCO: annotations CC BY 4.0, pictures under their Flickr licences; of other sets unknown"
    by_size = True  # figures of words are told by how large the things are: categories are too many for a table

    def __init__(self, path: str | Path, captions: str | Path | None = None, name: str | None = None) -> None:
        self.path, self.name = Path(path), str(path) if name is None else name
        whole = self.path.is_dir()
        outlines = _manifests(self.path) if whole else [self.path]
        texts = [Path(captions)] if captions else _files(self.path, "captions_*.json") if whole else []
        if not outlines and not texts:
            raise InputError(f"{path}: neither instances*.json nor captions_*.json in this folder or its annotations/")
        self._lists = [*outlines, *texts]
        contents, captioned = [_outlines(file) for file in outlines], [_told(file) for file in texts]
        self._names = {one["id"]: one["name"] for content in contents for one in content["categories"]}
        self._notes = _notes(zip(outlines, contents, strict=True))
        self._texts = _captions(captioned or [{"annotations": content.get("captions", [])} for content in contents])
        images = [image for content in contents or captioned for image in content.get("images", [])]
        self.concepts = tuple(dict.fromkeys(one for content in contents for one in _concepts(content)))
        self._number = {(concept.name, concept.category): n for n, concept in enumerate(self.concepts, 1)}
        self.left_out: dict[str, tuple[str, ...]] = {}
        self._images = self._found(images) if whole else images
        if not self._images:
            raise InputError(f"{path}: no pictures{' that are there' if images else ''}")

    def _found(self, images: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """The pictures of a folder that are there, in order of their names; others are counted."""
        by_id = {image["id"]: image for image in images}
        every = sorted(by_id.values(), key=lambda image: str(image["file_name"]))
        there = [self._file(one).is_file() for one in every]
        missing = tuple(Path(one["file_name"]).name for one, is_there in zip(every, there, strict=True) if not is_there)
        self.left_out |= {MISSING: missing} if missing else {}
        return [one for one, is_there in zip(every, there, strict=True) if is_there]

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, place: int) -> Example:
        record, outlined = self._images[place], self.outlined(place)
        return Example(
            str(record["file_name"]),
            outlined.image,
            texts=outlined.captions,
            asks=lambda: tuple(outlined.asks()),
            regions=partial(self._regions, record) if self.concepts else None,
        )

    def files(self, number: int) -> list[Path]:
        """The picture's file; its labels stand in the instance file."""
        return [self._file(self._images[number])]

    def digest(self) -> str:
        """Of the instance and caption files, and of names and sizes of the pictures."""
        return digest_of(self._lists, (self._file(record) for record in self._images))

    def _file(self, record: Mapping[str, Any]) -> Path:
        name = str(record["file_name"])
        root = self.path if self.path.is_dir() else self.path.parent
        tries = (root / where / short for where in PICTURES for short in dict.fromkeys((name, Path(name).name)))
        return next((path for path in tries if path.is_file()), root / "images" / name)

    def _regions(self, record: Mapping[str, Any], _: Image.Image) -> Regions:
        size = (record["height"], record["width"])
        channels: list[Labels] = [np.zeros(size, np.int32)]
        for note in self._notes.get(record["id"], ()):
            for concept, mask in _masks(note, size):
                _lay(channels, mask, self._number[concept])
        if isinstance(record.get("scene"), str):
            outside = ~np.any([channel > 0 for channel in channels], axis=0)
            _lay(channels, outside, self._number[record["scene"], "scene"])
        return Regions(np.stack(channels), self.concepts)

    def outlined(self, number: int) -> "Outlined":
        """What is told of picture ``number``, but for crowds."""
        record = self._images[number]
        polygons: dict[str, list[Sequence[float]]] = {}
        boxes: dict[str, list[Box]] = {}
        for note in self._notes.get(record["id"], ()):
            if isinstance(note.segmentation, list) and note.segmentation and not note.record.get("iscrowd"):
                polygons.setdefault(note.category, []).extend(note.segmentation)
                boxes.setdefault(note.category, []).extend([] if note.box is None else [note.box])
        size = (record.get("height", 0), record.get("width", 0))
        return Outlined(self._file(record), size, tuple(self._texts.get(record["id"], ())), polygons, boxes)


@dataclass(frozen=True, eq=False)
class Outlined:
    """One photograph, what people wrote about it, and the polygons and boxes of each category; ``size`` is (H, W)."""

    path: Path
    size: tuple[int, int]
    captions: tuple[str, ...]
    polygons: Mapping[str, Sequence[Sequence[float]]]
    boxes: Mapping[str, Sequence[Box]] = field(default_factory=dict)

    def image(self) -> Image.Image:
        """The photograph, upright; raises ImageError where it cannot be read or is not as large as recorded."""
        image = picture(self.path)
        if any(self.size) and (image.height, image.width) != self.size:
            raise ImageError(
                f"{self.path} is {image.width}×{image.height}, its record says {self.size[1]}×{self.size[0]}: masks "
                "cannot be laid on it (is it turned by EXIF, or resized?)"
            )
        return image

    def mask(self, categories: Sequence[str]) -> Mask:
        """Pixels of any object of these categories, bool [H, W]."""
        flat = [one for name in categories for one in self.polygons.get(name, ())]
        return mask_of(flat, self.size, str(self.path))

    def asks(self) -> Iterator[Ask]:
        """The captions' words that name what is outlined, then the categories by themselves."""
        mask = cache(self.mask)

        def truth(names: tuple[str, ...]) -> Truth:
            return Truth(partial(mask, names), boxes=[box for name in names for box in self.boxes.get(name, ())])

        for text in self.captions:
            words = words_of(text)
            query = Query(caption=" ".join(words))
            for place, names in named(words).items():
                if any(name in self.polygons for name in names):
                    yield Ask(query, place, group=" or ".join(names), truth=truth(names))
        for name in self.polygons:
            yield Ask(label=name, group=name, truth=truth((name,)))


class _Note(NamedTuple):
    """One annotation of a picture: what it outlines, and where it stands."""

    category: str
    record: Mapping[str, Any]
    where: str

    @property
    def segmentation(self) -> Any:
        return self.record.get("segmentation")

    @property
    def box(self) -> Box | None:
        """(left, top, width, height); None where the record has none."""
        sides = self.record.get("bbox")
        if not isinstance(sides, list) or len(sides) != 4 or not all(isinstance(one, int | float) for one in sides):
            return None
        left, top, width, height = map(float, sides)
        return left, top, width, height


def open_coco(rest: str) -> CocoData:
    """Data by what follows "coco:"; raises InputError for what is neither there nor COCO's."""
    place, _, captions = rest.partition(",")
    if not place or not Path(place).exists():
        raise InputError(f"coco:{shortened(rest, 100)}: nothing there; write {FORM}")
    return CocoData(place, captions or None, name=f"coco:{rest}")


def _manifests(folder: Path) -> list[Path]:
    """COCO's instance files, or what ``vlx draw`` wrote."""
    return _files(folder, "instances*.json") or _files(folder, MANIFEST)


def _files(folder: Path, pattern: str) -> list[Path]:
    return sorted({*folder.glob(pattern), *folder.glob(f"annotations/{pattern}")})


def _outlines(path: Path) -> Mapping[str, Any]:
    """An instance file; raises InputError naming the first record that lacks something."""
    content = records(path)
    if not isinstance(content, Mapping) or not all(isinstance(content.get(part), list) for part in NEEDED):
        raise InputError(f"{path}: not a COCO instance file; it needs lists of images, annotations, categories")
    for part, needed in NEEDED.items():
        _require_records(path, part, content[part], needed)
    _require_records(path, "captions", content.get("captions", []), TOLD["annotations"])
    return content


def _told(path: Path) -> Mapping[str, Any]:
    """A file of captions; raises as `_outlines`."""
    content = records(path)
    if not isinstance(content, Mapping) or not isinstance(content.get("annotations"), list):
        raise InputError(f"{path}: no COCO captions; it needs a list of annotations")
    for part, needed in TOLD.items():
        _require_records(path, part, content.get(part, []), needed)
    return content


def _captions(contents: Sequence[Mapping[str, Any]]) -> dict[Any, list[str]]:
    """Captions by the id of their picture, each once, empty ones left out."""
    captions: dict[Any, list[str]] = {}
    for content in contents:
        for annotation in content["annotations"]:
            text = str(annotation["caption"]).strip()
            if text and text not in captions.setdefault(annotation["image_id"], []):
                captions[annotation["image_id"]].append(text)
    return {key: texts for key, texts in captions.items() if texts}


def _notes(contents: Iterator[tuple[Path, Mapping[str, Any]]]) -> dict[Any, list[_Note]]:
    """Annotations by the id of their picture; raises InputError for a category that is not listed."""
    notes: dict[Any, list[_Note]] = defaultdict(list)
    for path, content in contents:
        names = {category["id"]: category["name"] for category in content["categories"]}
        for annotation in content["annotations"]:
            category, called = annotation.get("category_id"), f"annotation {annotation.get('id')}"
            if not isinstance(category, int | str) or category not in names:
                raise InputError(f"{path}: {called} has the unknown category {category!r}")
            note = _Note(names[category], annotation, f"{path}, {called}")
            notes[annotation["image_id"]].append(note)
    return notes


def _masks(note: _Note, size: tuple[int, int]) -> Iterator[tuple[tuple[str, str], Mask]]:
    """Concepts of one annotation with their pixels."""
    whole = mask_of(note.segmentation, size, note.where)
    yield (note.category, "object"), whole
    if isinstance(note.record.get("texture"), str):
        yield (note.record["texture"], "texture"), whole
    for part in note.record.get("parts", ()):
        mask = mask_of(part.get("segmentation"), size, note.where)
        yield (str(part["name"]), "part"), mask
        if part.get("color"):
            yield (str(part["color"]), "color"), mask


def _concepts(content: Mapping[str, Any]) -> Iterator[Concept]:
    yield from (Concept(name, "object") for name in {one["id"]: one["name"] for one in content["categories"]}.values())
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


def _require_records(path: Path, part: str, records: Any, needed: Mapping[str, Any]) -> None:
    """Raise InputError naming the first record that lacks something, or has it in another kind."""
    if not isinstance(records, list):
        raise InputError(f"{path}: {part} is no list but {shortened(repr(records))}")
    for n, record in enumerate(records):
        if not isinstance(record, Mapping):
            raise InputError(f"{path}: {part}[{n}] is no object but {shortened(repr(record))}")
        lacking = [name for name in needed if name not in record]
        if lacking:
            raise InputError(f"{path}: {part}[{n}] lacks {', '.join(lacking)}")
        for name, kind in needed.items():
            if not isinstance(record[name], kind):
                raise InputError(
                    f"{path}: {part}[{n}] has {name} {shortened(repr(record[name]))}; give it as COCO does"
                )
        parts = record.get("parts", [])
        if not isinstance(parts, list) or not all(isinstance(one, Mapping) and one.get("name") for one in parts):
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
