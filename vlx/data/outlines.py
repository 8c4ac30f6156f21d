"""Captioned photographs whose objects are outlined: COCO's instances and captions, for judging where maps point."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vlx.data.files import records
from vlx.data.masks import mask_of
from vlx.errors import ImageError, InputError
from vlx.pictures.opening import open_image

PICTURES = ("", "images", "Images", "val2017", "train2017", "val2014", "train2014", "all")
SHOWN = 3  # names that a message lists
_NEEDED = {
    "images": ("id", "file_name", "height", "width"),
    "categories": ("id", "name"),
    "annotations": ("image_id", "category_id"),
}
_TOLD = {"annotations": ("image_id", "caption")}

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Outlined:
    """One photograph, what people wrote about it, and the polygons of each category; ``size`` is (H, W)."""

    path: Path
    size: tuple[int, int]
    captions: tuple[str, ...]
    polygons: Mapping[str, Sequence[Sequence[float]]]

    def image(self) -> Image.Image:
        """The photograph, upright; raises ImageError where it cannot be read or is not as large as recorded."""
        image = open_image(self.path).image
        if (image.height, image.width) != self.size:
            raise ImageError(
                f"{self.path.name} is {image.width}×{image.height}, its record says {self.size[1]}×{self.size[0]}: "
                "polygons cannot be laid on it"
            )
        return image

    def mask(self, categories: Sequence[str]) -> Mask:
        """Pixels of any object of these categories, bool [H, W]."""
        flat = [one for name in categories for one in self.polygons.get(name, ())]
        return mask_of(flat, self.size, self.path.name)


@dataclass(frozen=True, eq=False)
class OutlinedData:
    """Photographs in the order of their names; ``left_out`` tells why others are not among them."""

    name: str
    rows: tuple[Outlined, ...]
    left_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)

    def __str__(self) -> str:
        told = [f"{len(self.rows)} photographs with captions and polygons"]
        for reason, names in self.left_out.items():
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            told.append(f"{len(names)} left out, {reason}: {', '.join(names[:SHOWN])}{more}")
        return "; ".join(told)


def read(folder: str | Path, captions: str | Path | None = None) -> OutlinedData:
    """COCO photographs in a folder: ``instances*.json`` and ``captions_*.json`` there or in ``annotations``.

    Pictures stand in the folder, in ``images`` or in ``val2017`` and the like. ``captions`` is another file of
    captions; without any, the list "captions" of the instance file is taken. Crowds (run lengths) are no objects. What
    has no captions, no polygons or no picture is counted in ``left_out``. Raises InputError naming what is missing.
    """
    folder = Path(folder)
    files = _files(folder, "instances*.json")
    if not files:
        raise InputError(f"{folder}: no instances*.json there or in annotations/; word pointing needs COCO's polygons")
    contents = [_content(file) for file in files]
    given = [Path(captions)] if captions else _files(folder, "captions_*.json")
    told = [_content(file, outlined=False) for file in given]
    texts = _captions(told or [{"annotations": content.get("captions", [])} for content in contents])
    if not texts:
        raise InputError(f"{folder}: no captions_*.json beside the polygons; give one with --captions FILE")
    polygons = _polygons(contents)
    rows, left = [], defaultdict[str, list[str]](list)
    images = {image["id"]: image for content in contents for image in content["images"]}
    for key, image in sorted(images.items(), key=lambda item: str(item[1]["file_name"])):
        path = _place(folder, str(image["file_name"]))
        why = "no such picture" if path is None else "no caption" if key not in texts else "no polygons"
        if path is None or key not in texts or key not in polygons:
            left[why].append(Path(str(image["file_name"])).name)
        else:
            rows.append(Outlined(path, (image["height"], image["width"]), tuple(texts[key]), polygons[key]))
    found = OutlinedData(str(folder), tuple(rows), {why: tuple(names) for why, names in left.items()})
    if not rows:
        raise InputError(f"{folder}: {found}"[:290])
    return found


def _files(folder: Path, pattern: str) -> list[Path]:
    return sorted({*folder.glob(pattern), *folder.glob(f"annotations/{pattern}")})


def _content(path: Path, *, outlined: bool = True) -> dict[str, Any]:
    """A COCO file of outlines, or of captions; raises InputError naming what its records lack."""
    found = records(path)
    if not isinstance(found, dict) or not isinstance(found.get("annotations"), list):
        raise InputError(f"{path}: not a COCO file; it needs a list of annotations")
    for part, keys in (_NEEDED if outlined else _TOLD).items():
        for number, one in enumerate(found.get(part, ())):
            lacking = [key for key in keys if not isinstance(one, Mapping) or key not in one]
            if lacking:
                raise InputError(f"{path}: {part}[{number}] lacks {', '.join(lacking)}")
    return found


def _captions(contents: Sequence[Mapping[str, Any]]) -> dict[Any, list[str]]:
    found: dict[Any, list[str]] = {}
    for content in contents:
        for one in content["annotations"]:
            text = str(one["caption"]).strip()
            if text and text not in found.setdefault(one["image_id"], []):
                found[one["image_id"]].append(text)
    return {key: texts for key, texts in found.items() if texts}


def _polygons(contents: Sequence[Mapping[str, Any]]) -> dict[Any, dict[str, list[Sequence[float]]]]:
    found: dict[Any, dict[str, list[Sequence[float]]]] = {}
    for content in contents:
        names = {one["id"]: str(one["name"]) for one in content.get("categories", [])}
        for image, category, flat in _outlines(content["annotations"]):
            if category in names:
                found.setdefault(image, {}).setdefault(names[category], []).extend(flat)
    return found


def _outlines(annotations: Sequence[Any]) -> Iterator[tuple[Any, Any, Sequence[Sequence[float]]]]:
    """(image, category, polygons) of what is no crowd."""
    for one in annotations:
        flat = one.get("segmentation")
        if isinstance(flat, list) and flat and not one.get("iscrowd"):
            yield one["image_id"], one["category_id"], flat


def _place(folder: Path, name: str) -> Path | None:
    tries = [folder / where / short for where in PICTURES for short in (name, Path(name).name)]
    return next((path for path in tries if path.is_file()), None)
