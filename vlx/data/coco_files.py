"""COCO's files of outlines and of captions, checked record by record: what is wrong is named with where it stands."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple

from vlx.data.example import Box
from vlx.data.files import records
from vlx.errors import InputError
from vlx.language import shortened
from vlx.scenes.export import MANIFEST

NEEDED: dict[str, dict[str, Any]] = {
    "images": {"id": int | str, "file_name": str, "height": int, "width": int},
    "categories": {"id": int | str, "name": str},
    "annotations": {"image_id": int | str, "category_id": object},
}
TOLD: dict[str, dict[str, Any]] = {
    "images": {"id": int | str, "file_name": str},
    "annotations": {"image_id": int | str, "caption": str | None},
}
Record = Mapping[str, Any]


class Note(NamedTuple):
    """One annotation of a picture: what it outlines, and where it stands."""

    category: str
    record: Record
    where: str

    @property
    def segmentation(self) -> Any:
        """Polygons or run lengths, as the file has them."""
        return self.record.get("segmentation")

    @property
    def outlines(self) -> Sequence[Any]:
        """The polygons or run lengths of one thing; none of crowds and of what has boxes alone."""
        if self.record.get("iscrowd") or not self.segmentation:
            return ()
        if isinstance(self.segmentation, Mapping):
            return (self.segmentation,)
        return self.segmentation if isinstance(self.segmentation, list) else ()

    @property
    def box(self) -> Box | None:
        """(left, top, width, height) of one thing; None of crowds, and where the record has none that has an area."""
        sides = self.record.get("bbox")
        if self.record.get("iscrowd") or not isinstance(sides, list) or len(sides) != 4:
            return None
        if not all(isinstance(one, int | float) and isfinite(one) for one in sides) or min(sides[2:]) <= 0:
            return None
        left, top, width, height = map(float, sides)
        return left, top, width, height


def instance_files(folder: Path) -> list[Path]:
    """COCO's instance files in a folder or its annotations/, or what ``vlx draw`` wrote."""
    return _listed(folder, "instances*.json") or _listed(folder, MANIFEST)


def caption_files(folder: Path) -> list[Path]:
    """COCO's files of captions in a folder or its annotations/."""
    return _listed(folder, "captions_*.json")


def _listed(folder: Path, pattern: str) -> list[Path]:
    return sorted({*folder.glob(pattern), *folder.glob(f"annotations/{pattern}")})


def instances(path: Path) -> Record:
    """An instance file. Raises InputError naming the first record that lacks something, or that another one is, too."""
    content = records(path)
    if not isinstance(content, Mapping) or not all(isinstance(content.get(part), list) for part in NEEDED):
        raise InputError(f"{path}: not a COCO instance file; it needs lists of images, annotations, categories")
    for part, needed in NEEDED.items():
        _require_records(path, part, content[part], needed)
    _require_records(path, "captions", content.get("captions", []), TOLD["annotations"])
    seen: dict[Any, int] = {}
    for place, note in enumerate(content["annotations"]):
        number = note.get("id")
        if isinstance(number, int | str) and seen.setdefault(number, place) != place:
            raise InputError(
                f"{path}: annotations[{seen[number]}] and [{place}] have one id, {shortened(repr(number))}; give each "
                "its own, or leave one out"
            )
    _named(path, "categories", content["categories"], "name")
    return content


def told(path: Path) -> Record:
    """A file of captions; raises as `instances`."""
    content = records(path)
    if not isinstance(content, Mapping) or not isinstance(content.get("annotations"), list):
        raise InputError(f"{path}: no COCO captions; it needs a list of annotations")
    for part, needed in TOLD.items():
        _require_records(path, part, content.get(part, []), needed)
    return content


def pictures(contents: Iterable[tuple[Path, Record]]) -> dict[Any, Record]:
    """The records of pictures by id, each once, in order. Raises InputError for an id that two pictures have: their
    outlines and captions would be mixed up.
    """
    every: dict[Any, Record] = {}
    for path, content in contents:
        _named(path, "images", content.get("images", []), "file_name")
        for image in content.get("images", []):
            first = every.setdefault(image["id"], image)
            if not _same(first["file_name"], image["file_name"]):
                raise _two(path, image["id"], "pictures", first["file_name"], image["file_name"])
    return every


def notes(contents: Iterable[tuple[Path, Record]]) -> dict[Any, list[Note]]:
    """Annotations by the id of their picture; raises InputError for a category that is not listed."""
    found: dict[Any, list[Note]] = defaultdict(list)
    for path, content in contents:
        names = {category["id"]: category["name"] for category in content["categories"]}
        for annotation in content["annotations"]:
            category, called = annotation.get("category_id"), f"annotation {annotation.get('id')}"
            if not isinstance(category, int | str) or category not in names:
                raise InputError(f"{path}: {called} has the unknown category {shortened(repr(category))}")
            found[annotation["image_id"]].append(Note(names[category], annotation, f"{path}, {called}"))
    return found


def captions(contents: Iterable[Record]) -> dict[Any, list[str]]:
    """Captions by the id of their picture, each once, empty ones left out."""
    found: dict[Any, list[str]] = {}
    for content in contents:
        for annotation in content["annotations"]:
            text = (annotation["caption"] or "").strip()
            if text and text not in found.setdefault(annotation["image_id"], []):
                found[annotation["image_id"]].append(text)
    return {number: texts for number, texts in found.items() if texts}


def base(name: str) -> str:
    """The file's name without its folders, either slash."""
    return PureWindowsPath(name).name


def _same(one: str, other: str) -> bool:
    """Whether two names are of one picture: COCO_val2014_000000000139.jpg became 000000000139.jpg in 2017."""
    first, second = sorted((PurePosixPath(base(one)).stem, PurePosixPath(base(other)).stem), key=len)
    return second == first or second.endswith(f"_{first}")


def _named(path: Path, part: str, rows: Iterable[Record], name: str) -> None:
    """Raise InputError where one id stands for two names."""
    names: dict[Any, str] = {}
    for row in rows:
        if names.setdefault(row["id"], row[name]) != row[name]:
            raise _two(path, row["id"], "pictures" if part == "images" else part, names[row["id"]], row[name])


def _two(path: Path, number: Any, what: str, one: str, other: str) -> InputError:
    both = f"{shortened(base(one), 50)} and {shortened(base(other), 50)}"
    return InputError(f"{path}: id {shortened(str(number))} is of two {what}, {both}; give each its own")


def _require_records(path: Path, part: str, rows: Any, needed: Mapping[str, Any]) -> None:
    """Raise InputError naming the first record that lacks something, or has it in another kind."""
    if not isinstance(rows, list):
        raise InputError(f"{path}: {part} is no list but {shortened(repr(rows))}")
    for n, record in enumerate(rows):
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
