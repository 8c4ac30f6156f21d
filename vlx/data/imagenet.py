"""ImageNet (ILSVRC-15, CLS-LOC): one class a picture, with a box around each thing of it, as the challenge ships them.

    DIR/
      LOC_synset_mapping.txt                     n01440764 tench, Tinca tinca; may be left out: classes go by their ids
      LOC_val_solution.csv                       boxes of pictures that have no XML; may be left out
      ILSVRC/Annotations/CLS-LOC/val/*.xml       boxes; or Annotations/…, Annotation/…, bbox/…, flat or a folder a class
      ILSVRC/Data/CLS-LOC/val/*.JPEG             pictures; or Data/…, ILSVRC2012_img_val/, val/, val/n01440764/, images/

A picture goes with the XML of its name. One without XML in the folder of a class has this class and no box.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from PIL import Image

from vlx.data.annotations import Annotation, BoxedThing, LeftOut, Sides, annotation, box_of, by_stem
from vlx.data.class_names import SYNSET, SYNSETS, synsets_of
from vlx.data.classes import CATEGORY
from vlx.data.coco import MISSING
from vlx.data.concepts import NO_LABELS, Concept, Regions
from vlx.data.example import Ask, Box, Example, Truth
from vlx.data.files import ENDINGS, digest_of, files_in, recorded, rows
from vlx.errors import InputError
from vlx.language import shortened

FORM = "imagenet:DIR"
ROOTS = ("ILSVRC/{}/CLS-LOC/val", "{}/CLS-LOC/val", "{}/val", "{}")
PICTURES = (*(root.format("Data") for root in ROOTS), "ILSVRC2012_img_val", "val", "images", "Images", "JPEGImages", "")
BOXES = (
    *(root.format(name) for name in ("Annotations", "Annotation", "bbox") for root in ROOTS),
    *("ILSVRC2012_bbox_val_v3/val", "val", ""),
)
SOLUTION = "LOC_val_solution.csv"
UNBOXED, UNTOLD = "no box that can be used", "no annotation"


@dataclass(frozen=True)
class _Row:
    """A picture, its recorded size (H, W), and the boxes of each class, none where only the class is told."""

    path: Path
    size: tuple[int, int] | None
    boxes: Mapping[str, tuple[Box, ...]] = field(default_factory=dict)


class ImagenetData:
    """Pictures in order of their names; each class in one is asked for, with its boxes.

    A box lies between its sides (width xmax − xmin). The label of a class is all its names, "tench, Tinca tinca"; its
    group is the first of them, with the synset where several classes have it ("crane (n03126707)"). Classes are also
    concepts of pictures as a whole. ``left_out`` counts what lacks its picture, its annotation or a box that can be
    used. Raises InputError naming the file that cannot be used.
    """

    licence = "ImageNet: research and education only, under its terms of access"

    def __init__(self, folder: str | Path, name: str | None = None) -> None:
        self.folder, self.name = Path(folder), str(folder) if name is None else name
        if not self.folder.is_dir():
            raise InputError(f"{self.name}: no such folder; write {FORM}")
        self._left = LeftOut()
        pictures = by_stem(_first(self.folder, PICTURES, ENDINGS))
        told = {stem: annotation(path) for stem, path in by_stem(_first(self.folder, BOXES, (".xml",))).items()}
        told = {**_solved(self.folder / SOLUTION, set(told)), **told}
        self.synsets = synsets_of(self.folder / SYNSETS) if (self.folder / SYNSETS).is_file() else {}
        self._rows = [row for stem in sorted({*pictures, *told}) if (row := self._row(stem, pictures, told.get(stem)))]
        self.left_out = self._left.told
        if not self._rows:
            raise InputError(
                f"{shortened(self.name, 120)}: none of {len(pictures)} pictures has one of {len(told)} annotations; "
                "needed are Annotations/…/NAME.xml and Data/…/NAME.JPEG"
            )
        classes = sorted({name for row in self._rows for name in row.boxes})
        if self.synsets and (unknown := [name for name in classes if name not in self.synsets]):
            raise InputError(
                f"{self.folder / SYNSETS} lacks {len(unknown)} classes that the annotations name, as "
                f"{shortened(unknown[0], 40)}; add a line for each, or take the file away"
            )
        first = Counter(self._first(name) for name in classes)
        self._groups = {
            name: f"{self._first(name)} ({name})" if first[self._first(name)] > 1 else self._first(name)
            for name in classes
        }
        self.classes = tuple(dict.fromkeys(self.synsets.get(name, name) for name in classes))
        self.concepts = tuple(Concept(group, CATEGORY) for group in self._groups.values())

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, number: int) -> Example:
        row = self._rows[number]
        return Example(
            row.path.name,
            partial(recorded, row.path, row.size),
            asks=lambda: tuple(self._asks(row)),
            regions=partial(self._whole, row),
        )

    def files(self, number: int) -> list[Path]:
        """The picture's file."""
        return [self._rows[number].path]

    def digest(self) -> str:
        """Of classes and boxes, and of names and sizes of the pictures."""
        told = [f"{row.path.name} {row.size} {sorted(row.boxes.items())}" for row in self._rows]
        return digest_of([], [row.path for row in self._rows], [*told, *map(repr, sorted(self.synsets.items()))])

    def _row(self, stem: str, pictures: Mapping[str, Path], told: Annotation | None) -> _Row | None:
        path = pictures.get(stem) or pictures.get(Path(told.picture).stem if told else "")
        if path is None:
            self._left.add(MISSING, stem)
            return None
        if told is None and SYNSET.fullmatch(path.parent.name):
            return _Row(path, None, {path.parent.name: ()})
        boxes: dict[str, list[Box]] = {}
        for thing in told.things if told else ():
            box = box_of(thing.sides, told.size if told else None, self._left, path.name)
            boxes.setdefault(thing.name, []).extend([] if box is None else [box])
        usable = {name: tuple(some) for name, some in boxes.items() if some}
        if not usable:
            self._left.add(UNBOXED if told else UNTOLD, path.name)
        return _Row(path, told.size if told else None, usable) if usable else None

    def _asks(self, row: _Row) -> Iterator[Ask]:
        for name, boxes in row.boxes.items():
            synset = name if SYNSET.fullmatch(name) else ""
            truth = Truth(boxes=boxes) if boxes else None
            yield Ask(label=self.synsets.get(name, name), group=self._groups[name], truth=truth, synset=synset)

    def _first(self, name: str) -> str:
        return self.synsets.get(name, name).partition(",")[0].strip()

    def _whole(self, row: _Row, image: Image.Image) -> Regions:
        numbers = tuple(self.concepts.index(Concept(self._groups[name], CATEGORY)) + 1 for name in row.boxes)
        return Regions(NO_LABELS, self.concepts, numbers, (image.height, image.width))


def open_imagenet(rest: str) -> ImagenetData:
    """Data by what follows "imagenet:"; raises InputError for what is neither there nor ImageNet's."""
    return ImagenetData(rest, f"imagenet:{rest}")


def _first(folder: Path, places: Sequence[str], endings: tuple[str, ...]) -> list[Path]:
    """The files of the first of some places that has any."""
    there = (folder / place for place in places if (folder / place).is_dir())
    return next((files for place in there if (files := files_in(place, endings))), [])


def _solved(path: Path, known: set[str]) -> dict[str, Annotation]:
    """What a solution file tells of the pictures that have no XML: "n01440764 left top right bottom …" each."""
    told: dict[str, Annotation] = {}
    for row in rows(path, ["ImageId", "PredictionString"], whole=True) if path.is_file() else ():
        name, cells = row["ImageId"], row["PredictionString"].split()
        where = f"{path}: the row of {shortened(name, 60)}"
        if name in told:
            raise InputError(f"{where} stands there twice; keep one")
        if name in known:
            continue
        things = [
            BoxedThing(cells[place], _sides(cells[place + 1 : place + 5], where), False, place // 5 + 1)
            for place in range(0, len(cells), 5)
        ]
        told[name] = Annotation(name, None, tuple(things))
    return told


def _sides(cells: Sequence[str], where: str) -> Sides:
    try:
        left, top, right, bottom = map(int, cells)
    except ValueError:
        raise InputError(
            f"{where} has {shortened(' '.join(cells), 60)!r} for a box; give a class and four whole numbers each"
        ) from None
    return left, top, right, bottom
