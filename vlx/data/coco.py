"""COCO: outlines of things (polygons, run lengths) and captions, and what ``vlx draw`` writes besides.

coco/
annotations/instances_val2017.json   outlines of 80 categories; may stand in the folder itself
annotations/captions_val2017.json    captions; an instance file may hold them, too, as "captions"
val2017/000000000139.jpg …           pictures: in the folder, in images/, or as COCO's archives unpack
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vlx.data import coco_files
from vlx.data.captioned import words_of
from vlx.data.categories import OF_COCO, CategoryWords, told_words
from vlx.data.coco_files import Note, Record, base
from vlx.data.concepts import Concept, Regions
from vlx.data.example import Ask, Box, Example, Truth
from vlx.data.files import Labels, digest_of, picture
from vlx.data.lexicon import wordnet_synonyms
from vlx.data.masks import Mask, mask_of
from vlx.errors import ImageError, InputError
from vlx.language import shortened
from vlx.protocol.targets import Query

FORM = "coco:DIR or coco:INSTANCES.json[,CAPTIONS.json]"
PICTURES = ("", "images", "Images", "val2017", "train2017", "val2014", "train2014", "all")
MISSING = "no such picture"
NO_OUTLINES = "no instances*.json there or in annotations/: nothing is outlined"
NO_CAPTIONS = "no captions_*.json beside the outlines; give one with --captions FILE"


class CocoData:
    """Pictures with outlines, captions, or both; outlined things are concepts of category "object".

    ``path`` is an instance file, whose pictures stand beside it or in ``images/`` there, in its own order; or a folder,
    whose pictures come in order of their names, those that are missing counted in ``left_out``. ``captions`` is another
    file of captions. A word of a caption asks for the category that it names (`vlx.data.categories`; ``words`` overrule
    it), where such a thing is outlined; so does every category by itself. Those that a picture lacks are asked for
    among its ``absent``, by themselves and in a word's place. Crowds count among the regions, and are asked for by
    nobody. Raises InputError naming what cannot be used.
    """

    licence = "COCO: annotations CC BY 4.0, pictures under their Flickr licences; of other sets unknown"
    by_size = True  # figures of words are told by how large the things are: categories are too many for a table

    def __init__(
        self,
        path: str | Path,
        captions: str | Path | None = None,
        name: str | None = None,
        *,
        words: Mapping[str, Sequence[str] | str] | Path | None = None,
    ) -> None:
        self.path, self.name = Path(path), str(path) if name is None else name
        whole = self.path.is_dir()
        outlines = coco_files.instance_files(self.path) if whole else [self.path]
        texts = [Path(captions)] if captions else coco_files.caption_files(self.path) if whole else []
        if not outlines and not texts:
            raise InputError(f"{path}: neither instances*.json nor captions_*.json in this folder or its annotations/")
        self._lists = [*outlines, *texts]
        contents = [(file, coco_files.instances(file)) for file in outlines]
        captioned = [(file, coco_files.told(file)) for file in texts]
        self._notes = coco_files.notes(contents)
        self._texts = coco_files.captions([one for _, one in captioned] or [_captions_of(one) for _, one in contents])
        images = _listed(contents or captioned, coco_files.pictures([*contents, *captioned]))
        self.classes = tuple(dict.fromkeys(one["name"] for _, content in contents for one in content["categories"]))
        self._told = None if words is None else told_words(words, self.classes)
        self.concepts = tuple(dict.fromkeys(one for _, content in contents for one in _concepts(content)))
        self._number = {(concept.name, concept.category): n for n, concept in enumerate(self.concepts, 1)}
        self.lacks = (*[NO_OUTLINES] * (not contents), *[NO_CAPTIONS] * (not self._texts))
        self.left_out: dict[str, tuple[str, ...]] = {}
        self._images = self._found(images) if whole else images
        if not self._images:
            raise InputError(f"{path}: no pictures{' that are there' if images else ''}")

    @property
    def unasked(self) -> dict[str, tuple[str, ...]]:
        """The pictures about whose words nothing can be asked, and why."""
        left: dict[str, list[str]] = {}
        for number, record in enumerate(self._images):
            row = self.outlined(number)
            if not row.captions or not row.things:
                left.setdefault("nothing outlined" if row.captions else "no caption", []).append(
                    base(record["file_name"])
                )
        return {why: tuple(names) for why, names in left.items()}

    def captioned(self) -> tuple["Outlined", ...]:
        """What is told of the pictures that have captions and something outlined."""
        rows = map(self.outlined, range(len(self)))
        return tuple(row for row in rows if row.captions and row.outlines)

    def _found(self, images: Sequence[Record]) -> list[Record]:
        """The pictures of a folder that are there, in order of their names; others are counted."""
        every = sorted(images, key=lambda image: str(image["file_name"]))
        there = [self._file(one).is_file() for one in every]
        missing = tuple(base(one["file_name"]) for one, is_there in zip(every, there, strict=True) if not is_there)
        self.left_out |= {MISSING: missing} if missing else {}
        return [one for one, is_there in zip(every, there, strict=True) if is_there]

    @cached_property
    def words(self) -> CategoryWords:
        """Which words of captions name which category."""
        return CategoryWords(self.classes, self._told, wordnet_synonyms() if self._texts else None)

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, place: int) -> Example:
        record, outlined = self._images[place], self.outlined(place)
        words = self.words  # made while there is no example: where NLTK finds no WordNet, it keeps its callers' frames
        return Example(
            str(record["file_name"]),
            outlined.image,
            texts=outlined.captions,
            asks=lambda: tuple(outlined.asks(words)),
            regions=partial(self._regions, record) if self.concepts else None,
            absent=lambda: tuple(outlined.absent(words)),
        )

    def files(self, number: int) -> list[Path]:
        """The picture's file; its labels stand in the instance file."""
        return [self._file(self._images[number])]

    def digest(self) -> str:
        """Of the instance and caption files, of names and sizes of the pictures, and of words that were told."""
        told = [] if self._told is None else [f"{sorted(self._told.items())}"]
        return digest_of(self._lists, (self._file(record) for record in self._images), told)

    def _file(self, record: Record) -> Path:
        name = str(record["file_name"])
        root = self.path if self.path.is_dir() else self.path.parent
        tries = (root / where / short for where in PICTURES for short in dict.fromkeys((name, Path(name).name)))
        return next((path for path in tries if path.is_file()), root / "images" / name)

    def _regions(self, record: Record, _: Image.Image) -> Regions:
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
        """What is told of picture ``number``."""
        record = self._images[number]
        outlines: dict[str, list[Any]] = {}
        boxes: dict[str, list[Box]] = {}
        notes = self._notes.get(record["id"], ())
        for note in notes:
            if note.outlines:
                outlines.setdefault(note.category, []).extend(note.outlines)
            if note.box is not None:
                boxes.setdefault(note.category, []).append(note.box)
        size = (record.get("height", 0), record.get("width", 0))
        captions, seen = tuple(self._texts.get(record["id"], ())), frozenset(note.category for note in notes)
        return Outlined(self._file(record), size, captions, outlines, boxes, seen)


@dataclass(frozen=True, eq=False)
class Outlined:
    """One photograph, what people wrote about it, and the outlines and boxes of each category but for crowds.

    ``size`` is (H, W); an outline is a polygon or run lengths; what has boxes alone has no mask. ``seen`` are all
    categories in it, those of crowds, too.
    """

    path: Path
    size: tuple[int, int]
    captions: tuple[str, ...]
    outlines: Mapping[str, Sequence[Any]]
    boxes: Mapping[str, Sequence[Box]] = field(default_factory=dict)
    seen: frozenset[str] = frozenset()

    @property
    def things(self) -> tuple[str, ...]:
        """The categories of what is outlined or has boxes."""
        return tuple(dict.fromkeys([*self.outlines, *self.boxes]))

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
        every = [one for name in categories for one in self.outlines.get(name, ())]
        runs = [one for one in every if isinstance(one, Mapping)]
        polygons = [one for one in every if not isinstance(one, Mapping)]
        masks = [mask_of(one, self.size, str(self.path)) for one in (*([polygons] if polygons else []), *runs)]
        return masks[0] if len(masks) == 1 else np.logical_or.reduce([np.zeros(self.size, bool), *masks])

    def asks(self, words: CategoryWords = OF_COCO) -> Iterator[Ask]:
        """The captions' words that name what is outlined or boxed, then the categories by themselves."""
        mask = cache(self.mask)

        def truth(names: tuple[str, ...]) -> Truth:
            outlined = any(name in self.outlines for name in names)
            boxes = [box for name in names for box in self.boxes.get(name, ())]
            return Truth(partial(mask, names) if outlined else None, boxes=boxes)

        for said, place, names in self._named(words):
            query = Query(caption=" ".join(said))
            yield Ask(query, place, group=" or ".join(names), truth=truth(names))
        for name in self.things:
            yield Ask(label=name, group=name, truth=truth((name,)))

    def absent(self, words: CategoryWords = OF_COCO) -> Iterator[Ask]:
        """The categories that are nowhere in it, by themselves, and then in the place of each word that is asked for.

        A caption goes on as it was said; of a category of several words nothing is said at one place.
        """
        lacking = [name for name in words.categories if name not in self.seen.union(self.things)]
        yield from (Ask(label=name, group=name, truth=Truth(absent=True)) for name in lacking)
        for said, place, _ in self._named(words):
            for name in lacking:
                other = words.said(name, said[place])
                if other is not None:
                    query = Query(caption=" ".join([*said[:place], other, *said[place + 1 :]]))
                    yield Ask(query, place, group=name, truth=Truth(absent=True))

    def _named(self, words: CategoryWords) -> Iterator[tuple[list[str], int, tuple[str, ...]]]:
        """The captions, cut into words, with each place that names categories that are there, and these."""
        for text in self.captions:
            said = words_of(text)
            for place, names in words.named(said).items():
                if not set(names).isdisjoint(self.things):
                    yield said, place, names


def open_coco(rest: str, captions: Path | None = None, words: Path | None = None) -> CocoData:
    """Data by what follows "coco:"; raises InputError for what is neither there nor COCO's.

    ``captions`` and ``words`` are files, as `CocoData` takes them.
    """
    place, _, told = rest.partition(",")
    if not place or not Path(place).exists():
        raise InputError(f"coco:{shortened(rest, 100)}: nothing there; write {FORM}")
    if captions is not None and told:
        raise InputError(f"coco:{shortened(rest, 100)} names its captions; leave out --captions {captions}")
    return CocoData(place, captions or told or None, name=f"coco:{rest}", words=words)


def _captions_of(content: Record) -> Record:
    """The captions that an instance file holds."""
    return {"annotations": content.get("captions", [])}


def _listed(contents: Sequence[tuple[Path, Record]], pictures: Mapping[Any, Record]) -> list[Record]:
    """The pictures that files list, each once."""
    numbers = dict.fromkeys(image["id"] for _, content in contents for image in content.get("images", []))
    return [pictures[number] for number in numbers]


def _masks(note: Note, size: tuple[int, int]) -> Iterator[tuple[tuple[str, str], Mask]]:
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


def _concepts(content: Record) -> Iterator[Concept]:
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
