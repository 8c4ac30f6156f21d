"""Reading pictures, label maps and lists, with errors that name the file."""

import csv
import hashlib
import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vlx.errors import ImageError, InputError, MissingImage
from vlx.files import json_files, json_lists
from vlx.files.whole import read_bytes, reading
from vlx.language import shortened
from vlx.pictures.opening import open_image, stored

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp")

LABELS = 2**16 - 1  # the highest number of a label: what 16 bits hold
PART = 2**20  # bytes of a file that are hashed at once
DEPTH = 3  # folders below a data set's own that its files may lie in

Labels = NDArray[np.int32]


def picture(path: Path) -> Image.Image:
    """The picture in a file, upright, RGB; raises ImageError as `vlx.pictures.opening.open_image`."""
    return open_image(path).image


def label_map(path: Path, *, packed: bool = False) -> Labels:
    """The numbers in a label map, int32 [H, W]: a PNG of 8 or 16 bits, or with a palette.

    ``packed``: a number is R + 256 · G, as in Broden. Raises InputError for a file that is missing or no such map.
    """
    try:
        values = np.array(stored(path))
    except MissingImage:
        raise InputError(f"{path}: no such label map; it is named in the index") from None
    except ImageError as error:
        cause = shortened(str(error).removeprefix(f"{path} "), 150)
        raise InputError(f"{path}: not a label map that can be read ({cause})") from None
    if packed and values.ndim == 3 and values.shape[2] >= 2:
        return values[:, :, 0].astype(np.int32) + 256 * values[:, :, 1].astype(np.int32)
    if values.ndim != 2 or values.dtype.kind not in "ui":
        what = "one channel of whole numbers" if not packed else "red and green as R + 256 · G"
        raise InputError(f"{path}: a label map needs {what}; this one is {values.dtype} {values.shape}")
    low, high = int(values.min(initial=0)), int(values.max(initial=0))
    if low < 0 or high > LABELS:
        raise InputError(f"{path}: its labels go from {low} to {high}; a label map has numbers from 0 to {LABELS}")
    return values.astype(np.int32)


def lines(path: Path) -> list[str]:
    """The lines of a text file; raises InputError when it cannot be read as UTF-8."""
    try:
        return read_bytes(path).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not text in UTF-8 that can be read ({error})") from None


def rows(path: Path, needed: Iterable[str], *, whole: bool = False) -> list[dict[str, str]]:
    """The rows of a CSV file; raises InputError when it is missing, empty or lacks a column.

    ``whole``: also when a row has fewer cells than there are columns.
    """
    try:
        if not path.exists():
            raise InputError(f"{path}: no such file; the layout needs it")
        read = list(csv.DictReader(io.StringIO(read_bytes(path).decode("utf-8-sig"), newline="")))
    except (UnicodeDecodeError, csv.Error, AttributeError) as error:
        raise InputError(f"{path}: not a CSV file that can be read ({error})") from None
    short = next((row for row in read if whole and None in row.values()), None)
    if short is not None:
        raise InputError(f"{path}: the row of {next(iter(short.values()))} is cut off; write the file anew")
    rows = [{(k or ""): (v or "") for k, v in row.items()} for row in read]
    lacking = [name for name in needed if not rows or name not in rows[0]]
    if lacking:
        raise InputError(f"{path}: {'no rows' if not rows else 'no column ' + ', '.join(lacking)}")
    return rows


def files_in(folder: Path, endings: tuple[str, ...], depth: int = DEPTH) -> list[Path]:
    """The files with such endings in a folder and in those ``depth`` below it, hidden ones left out, in order.

    Raises InputError where there is no such folder.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give the one that the files are in")
    paths: list[Path] = []
    for place, folders, names in os.walk(folder):
        here = Path(place)
        deep = len(here.relative_to(folder).parts) >= depth
        folders[:] = [] if deep else sorted(name for name in folders if not name.startswith("."))
        paths += [here / name for name in names if name.lower().endswith(endings) and not name.startswith(".")]
    return sorted(paths)


def recorded(path: Path, size: tuple[int, int] | None) -> Image.Image:
    """The picture in a file, upright, RGB, whose record says that it is (H, W) large; None where it does not say.

    Raises ImageError where it cannot be read, or is of another size: boxes and masks cannot be laid on it.
    """
    image = picture(path)
    if size is not None and (image.height, image.width) != size:
        raise ImageError(
            f"{path} is {image.width}×{image.height}, its record says {size[1]}×{size[0]}: boxes and masks cannot be "
            "laid on it (is it turned by EXIF, or resized?)"
        )
    return image


def records(path: Path) -> Any:
    """What a JSON file holds; raises InputError."""
    return json_files.read(path, nan=True)  # a mask with it is refused by its name


def number(text: str, where: str) -> int:
    """A whole number from 0; raises InputError saying ``where`` it was read."""
    try:
        value = int(float(text))
    except (OverflowError, ValueError):
        raise InputError(f"{where}: {text!r} is not a number") from None
    if value < 0 or value != float(text):
        raise InputError(f"{where}: {text!r} is not a whole number from 0")
    return value


def digest_of(lists: Iterable[Path], pictures: Iterable[Path], texts: Iterable[str] = ()) -> str:
    """A hash of the contents of index files and of texts, and of names and sizes of pictures and label maps."""
    hashed = hashlib.sha256()
    for text in texts:
        hashed.update(text.encode() + b"\0")
    for path in lists:
        hashed.update(path.name.encode() + b"\0")
        with reading(path, json_lists.LARGEST) as (file, _):
            while part := file.read(PART):
                hashed.update(part)
    for path in pictures:
        size = path.stat().st_size if path.is_file() else -1
        hashed.update(f"{path.name} {size}\n".encode())
    return hashed.hexdigest()
