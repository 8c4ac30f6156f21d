"""PASCAL VOC: classes with their boxes, and masks where pictures are segmented, as its development kit unpacks.

    DIR/VOCdevkit/VOC2007/           or DIR/VOC2007/, or DIR itself
      Annotations/000005.xml         things and their boxes
      JPEGImages/000005.jpg
      ImageSets/Main/val.txt         the pictures of a split; ImageSets/Segmentation/val.txt those that are segmented
      SegmentationClass/000005.png   the number of a class a pixel, 255 where two things meet; for some pictures
      SegmentationObject/000005.png  the number of a thing a pixel, in the order of its XML

A split is "val", "test", "trainval", or "Segmentation/val" for those pictures of it that have masks.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from vlx.data.annotations import Annotation, LeftOut, annotation, box_of
from vlx.data.coco import MISSING
from vlx.data.concepts import Concept, Regions
from vlx.data.example import Ask, Box, Example, Mask, Truth
from vlx.data.files import ENDINGS, Labels, digest_of, label_map, lines, recorded
from vlx.errors import ImageError, InputError
from vlx.language import close_matches, shortened

FORM = "voc:DIR[:YEAR[:SPLIT]]"
CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog"),
    *("horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
VOID = 255  # pixels along the edges of things, which count for nobody
YEAR = re.compile(r"(?:VOC)?((?:19|20)\d\d)")
USUAL = ("val", "test", "trainval", "train")  # the split that is meant where none is named: the first that is there
SETS = ("Main", "Segmentation")
UNTOLD, TWICE, DIFFICULT = "no annotation", "listed twice", "marked as difficult"
FOREIGN = "a mask whose numbers nobody tells: the classes are not VOC's"


@dataclass(frozen=True, eq=False)
class _Row:
    """A picture, what its XML tells, and its label maps, None where it is not segmented."""

    path: Path
    told: Annotation
    boxes: dict[str, list[Box]]
    classes: Path | None
    objects: Path | None


class VocData:
    """The pictures of one split, in its order; each class in one is asked for, with its boxes and its mask.

    Boxes and masks hold no things that are marked as difficult; a class of which there are no others is not asked for.
    VOC counts pixels from 1 and both sides of a box belong to it, so its left is xmin − 1 and its width
    xmax − xmin + 1. ``concepts`` are the classes where pictures are segmented; those without a mask have no regions.
    ``classes`` are those of VOC, or those that the pictures have where there are others; the ones that a picture has
    not are its ``absent``. ``left_out`` counts pictures that are missing or not annotated, boxes that cannot be used,
    and difficult things. Raises InputError naming the file that cannot be used.
    """

    licence = "PASCAL VOC: pictures under flickr's terms of use; annotations free for research"

    def __init__(self, folder: str | Path, year: str = "", split: str = "", name: str | None = None) -> None:
        self.folder = _kit(Path(folder), year)
        self.name = f"voc:{folder}" if name is None else name
        self._left = LeftOut()
        stems = Counter(_listed(self.folder, split))
        self._left.add(TWICE, *(stem for stem, count in stems.items() if count > 1))
        self._rows = [row for stem in stems if (row := self._row(stem))]
        if not self._rows:
            raise InputError(
                f"{self.folder}: none of {len(stems)} listed pictures is there with its XML; needed are "
                "Annotations/ and JPEGImages/"
            )
        names = dict.fromkeys(thing.name for row in self._rows for thing in row.told.things)
        self._numbered = names.keys() <= set(CLASSES)
        self.classes = CLASSES if self._numbered else tuple(names)
        segmented = [row.path.stem for row in self._rows if row.classes is not None]
        self._left.add(FOREIGN, *() if self._numbered else segmented)
        self.concepts = tuple(Concept(name, "object") for name in CLASSES) if self._numbered and segmented else ()
        self.left_out = self._left.told

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, number: int) -> Example:
        row = self._rows[number]
        return Example(
            row.path.name,
            partial(recorded, row.path, row.told.size),
            asks=lambda: tuple(self._asks(row)),
            regions=partial(self._regions, row) if self.concepts else None,
            absent=lambda: tuple(self._absent(row)),
        )

    def files(self, number: int) -> list[Path]:
        """The picture's file and those of its label maps."""
        row = self._rows[number]
        return [path for path in (row.path, row.classes, row.objects) if path is not None]

    def digest(self) -> str:
        """Of what the XML tells, and of names and sizes of pictures and label maps."""
        told = [f"{row.path.name} {row.told.size} {row.told.things}" for row in self._rows]
        return digest_of([], (path for number in range(len(self)) for path in self.files(number)), told)

    def _row(self, stem: str) -> _Row | None:
        source = self.folder / "Annotations" / f"{stem}.xml"
        if not source.is_file():
            self._left.add(UNTOLD, stem)
            return None
        told = annotation(source)
        names = [f"{stem}{ending}" for ending in ENDINGS] + ([told.picture] if Path(told.picture).name else [])
        tries = (self.folder / "JPEGImages" / Path(name).name for name in names)
        path = next((one for one in tries if one.is_file()), None)
        if path is None:
            self._left.add(MISSING, stem)
            return None
        boxes: dict[str, list[Box]] = {}
        for thing in told.things:
            if thing.difficult:
                self._left.add(DIFFICULT, f"{thing.name} in {stem}")
                continue
            left, top, right, bottom = thing.sides
            whole = right > left and bottom > top  # a box of one pixel is a slip of the pen
            box = box_of((left - 1, top - 1, right, bottom) if whole else thing.sides, told.size, self._left, stem)
            if box is not None:
                boxes.setdefault(thing.name, []).append(box)
        maps = [self.folder / kind / f"{stem}.png" for kind in ("SegmentationClass", "SegmentationObject")]
        classes, objects = (one if one.is_file() else None for one in maps)
        return _Row(path, told, boxes, classes, objects)

    def _asks(self, row: _Row) -> Iterator[Ask]:
        for name, boxes in row.boxes.items():
            masked = row.classes is not None and self._numbered
            truth = Truth(partial(self._mask, row, name) if masked else None, boxes=boxes)
            yield Ask(label=name, group=name, truth=truth)

    def _absent(self, row: _Row) -> Iterator[Ask]:
        """Asks for the classes that no thing in a picture has, difficult ones among them."""
        there = {thing.name for thing in row.told.things}
        for name in self.classes:
            if name not in there:
                yield Ask(label=name, group=name, truth=Truth(absent=True))

    def _mask(self, row: _Row, name: str) -> Mask:
        """The pixels of a class's things but for difficult ones, bool [H, W]."""
        assert row.classes is not None
        mask = _numbers(row.classes, row.told.size) == CLASSES.index(name) + 1
        difficult = [thing.place for thing in row.told.things if thing.difficult and thing.name == name]
        if difficult and row.objects is not None:
            mask &= ~np.isin(_numbers(row.objects, row.told.size), difficult)
        return np.asarray(mask)

    def _regions(self, row: _Row, image: Image.Image) -> Regions:
        size = (image.height, image.width)
        if row.classes is None:
            return Regions(np.zeros((1, *size), np.int32), self.concepts)
        numbers = _numbers(row.classes, size)
        if int(numbers.max(initial=0)) > len(CLASSES):
            raise InputError(f"{row.classes}: class {numbers.max()} in it; VOC has 1 to {len(CLASSES)}, and {VOID}")
        return Regions(numbers[None], self.concepts)


def open_voc(rest: str) -> VocData:
    """Data by what follows "voc:"; raises InputError for what is neither there nor VOC's."""
    folder, parts = rest, list[str]()
    while len(parts) < 2 and ":" in folder and not Path(folder).is_dir():
        folder, _, last = folder.rpartition(":")
        parts.insert(0, last)
    year = parts.pop(0) if parts and YEAR.fullmatch(parts[0]) else ""
    if not folder or len(parts) > 1 or not Path(folder).is_dir():
        raise InputError(f"voc:{shortened(rest, 100)}: no such folder; write {FORM}, as voc:VOCdevkit:2007:val")
    return VocData(folder, year, parts[0] if parts else "", f"voc:{rest}")


def _kit(folder: Path, year: str) -> Path:
    """The folder of one year; raises InputError naming those that are there."""
    if (folder / "Annotations").is_dir() and not year:
        return folder
    places = [one for root in (folder, folder / "VOCdevkit") for one in sorted(root.glob("VOC*"))]
    kits = {found[1]: one for one in places if (found := YEAR.fullmatch(one.name)) and (one / "Annotations").is_dir()}
    if (folder / "Annotations").is_dir() and (found := YEAR.fullmatch(folder.name)):
        kits.setdefault(found[1], folder)
    wanted = YEAR.fullmatch(year)
    if wanted is not None and wanted[1] in kits:
        return kits[wanted[1]]
    if not year and len(kits) == 1:
        return next(iter(kits.values()))
    if not kits:
        raise InputError(f"{folder}: no VOC{year or '2007'}/Annotations in it; give the folder VOCdevkit is in")
    raise InputError(f"{folder} holds {', '.join(sorted(kits))}{f', not {year}' if year else ''}; write {FORM}")


def _listed(kit: Path, split: str) -> list[str]:
    """The pictures of a split; all that are annotated where there are no lists. Raises InputError for no such split."""
    sets = kit / "ImageSets"
    lists = {f"{name}/{path.stem}": path for name in SETS for path in sorted((sets / name).glob("*.txt"))}
    tries = [split] if split else [*USUAL]
    names = [name for one in tries for name in (one, *(f"{kind}/{one}" for kind in SETS)) if name in lists]
    if not names and not split:
        return sorted(path.stem for path in (kit / "Annotations").glob("*.xml"))
    if not names:
        near = close_matches(split, list(lists)) or [name for name in lists if "_" not in name]
        raise InputError(f"{kit}: no split {shortened(split, 40)!r}; there are {', '.join(near[:8]) or 'none'}")
    path = lists[names[0]]
    keys = [line.split()[0] for line in lines(path) if line.strip() and line.split()[-1] != "-1"]
    if not keys:
        raise InputError(f"{path}: no pictures in this list")
    return keys


def _numbers(path: Path, size: tuple[int, int] | None) -> Labels:
    """The numbers in a label map of a picture (H, W), 0 along edges. Raises ImageError for one of another size."""
    numbers = label_map(path)
    if size is not None and numbers.shape != size:
        raise ImageError(f"{path} is {numbers.shape[1]}×{numbers.shape[0]}, its picture {size[1]}×{size[0]}")
    return np.where(numbers == VOID, 0, numbers).astype(np.int32)
