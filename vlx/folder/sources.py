"""Pictures that are no files of their own: members of .tar shards (WebDataset), rows of Hugging Face datasets, and
what `vlx.data` draws or makes.

Each has a path like any other, SHARD.tar/MEMBER, hf-dataset:NAME:SPLIT/ROW or scenes:20/3, by which every process
finds it again.
"""

import hashlib
import os
import tarfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from vlx.errors import ImageError, InputError, in_own_words
from vlx.files.whole import read_bytes
from vlx.language import shortened
from vlx.pictures.opening import Picture, from_bytes

if TYPE_CHECKING:
    from vlx.data import Data, Example

DATASET = "hf-dataset:"
SHARD = ".tar"
LARGEST = 1 << 28  # bytes of a picture in a shard
KEPT_SOURCES = 8  # shards and datasets whose contents are kept in mind

Members = dict[str, tuple[int, int]]


def is_dataset(source: str) -> bool:
    """Whether it names a dataset, hf-dataset:NAME or hf-dataset:NAME:SPLIT."""
    return source.startswith(DATASET)


def is_shard(source: str) -> bool:
    """Whether it names a .tar file."""
    return source.lower().endswith(SHARD) and os.path.isfile(source)


def of_shard(path: str, endings: Sequence[str]) -> list[str]:
    """The paths of the pictures in a shard, in its order, by their ``endings``.

    Raises InputError for what is no .tar, is compressed, or holds no picture.
    """
    members = _members(path, os.stat(path).st_mtime_ns)
    pictures = [name for name in members if os.path.splitext(name)[1].lower() in endings and not _hidden(name)]
    if not pictures:
        raise InputError(f"{path}: no picture among its {len(members)} files; a shard holds .jpg, .png, …")
    return [f"{path}/{name}" for name in pictures]


def of_dataset(source: str) -> list[str]:
    """The paths of the rows of a dataset; raises InputError for one that cannot be opened, or has no pictures."""
    name, split = _named(source.removeprefix(DATASET))
    dataset = _dataset(name, split)
    return [f"{DATASET}{name}:{dataset.split}/{row}" for row in range(dataset.rows)]


def is_data(source: str) -> bool:
    """Whether it names data as `vlx.data.open_data` opens them, by their kind or MODULE:FUNCTION, and is no file."""
    if ":" not in source or os.path.exists(source.replace("\0", "")):
        return False
    from vlx.data.opening import is_named

    return is_named(source)


def of_data(source: str) -> list[str]:
    """The paths of the pictures of data: their files where they have such. Raises InputError as `open_data`."""
    from vlx.data.example import Filed

    _data.cache_clear()  # what is listed anew is read anew
    data = _data(source)
    if isinstance(data, Filed):
        return [str(data.files(number)[0]) for number in range(len(data))]
    return [f"{source}/{number}" for number in range(len(data))]


def picture(path: str) -> str | Picture:
    """What `vlx.explain` takes: a file's path as it is, anything else opened."""
    example = _example(path)
    if example is not None:
        return Picture(example.image, path)
    data = content(path)
    return path if data is None else from_bytes(data, path)


class SourcePictures(Sequence[str | Picture]):
    """What `vlx.explain_many` takes, for paths in order; each is opened when it is asked for."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = paths

    def __len__(self) -> int:
        return len(self._paths)

    @overload
    def __getitem__(self, place: int) -> str | Picture: ...

    @overload
    def __getitem__(self, place: slice) -> "SourcePictures": ...

    def __getitem__(self, place: int | slice) -> "str | Picture | SourcePictures":
        return SourcePictures(self._paths[place]) if isinstance(place, slice) else picture(self._paths[place])


def digest(path: str) -> str | None:
    """SHA-256 of a picture's bytes, or pixels, as 64 hexadecimal digits; None where it cannot be read."""
    try:
        example = _example(path)
        if example is not None:
            return hashlib.sha256(example.image.tobytes()).hexdigest()
        data = content(path)
        if data is not None:
            return hashlib.sha256(data).hexdigest()
        if not Path(path).is_file():
            return None
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError):
        return None


def content(path: str) -> bytes | None:
    """The bytes of a member or row; None for a file of its own. Raises ImageError where there is none."""
    if is_dataset(path):
        return _row(path)
    at = path.lower().find(SHARD + "/")
    return None if at < 0 or not os.path.isfile(path[: at + len(SHARD)]) else _member(path, at + len(SHARD))


def _example(path: str) -> "Example | None":
    """A picture of data by its path, scenes:20/3; None for any other path."""
    source, _, number = path.rpartition("/")
    if not number.isdecimal() or not is_data(source) or os.path.exists(path):
        return None
    data = _data(source)
    if int(number) >= len(data):
        raise ImageError(f"{path}: there are {len(data)} pictures by now")
    return data[int(number)]


@lru_cache(maxsize=KEPT_SOURCES)
def _data(source: str) -> "Data":
    from vlx.data.opening import open_data

    return open_data(source)


def _member(path: str, end: int) -> bytes:
    shard, name = path[:end], path[end + 1 :]
    offset, size = _members(shard, os.stat(shard).st_mtime_ns).get(name, (0, -1))
    if size < 0:
        raise ImageError(f"{path}: {shard} has no such file by now")
    if size > LARGEST:
        raise ImageError(f"{path} has {size >> 20} MB, at most {LARGEST >> 20} are read; make it smaller")
    with open(shard, "rb") as file:
        file.seek(offset)
        data = file.read(size)
    if len(data) < size:
        raise ImageError(f"{path} is cut off, as its shard is; copy it again")
    return data


@lru_cache(maxsize=KEPT_SOURCES)
def _members(shard: str, _changed: int) -> Members:
    """Where the files of a shard lie: byte and length by name; their contents are passed by."""
    try:
        with tarfile.open(shard, "r:") as file:
            plain = (one for one in file if one.isreg() and not one.issparse())
            return {one.name.removeprefix("./"): (one.offset_data, one.size) for one in plain}
    except (tarfile.TarError, OSError, ValueError, OverflowError) as error:
        reason = shortened(str(error), 100)
        raise InputError(f"{shard}: no shard that can be read ({reason}); give .tar files, not compressed") from None


def _hidden(name: str) -> bool:
    return any((part.startswith(".") and part != ".") or part == "__MACOSX" for part in name.split("/"))


class _Dataset:
    """One split: its name, how many ``rows`` it has, and their pictures as they are stored."""

    def __init__(self, split: str, rows: Any, column: str) -> None:
        self.split, self.rows, self._rows, self._column = split, len(rows), rows, column

    def stored(self, row: int) -> bytes:
        """The bytes of a row's picture."""
        cell = self._rows[row][self._column]
        if cell is None or not (cell["bytes"] or cell["path"]):
            raise ImageError(f"row {row} has no picture")
        return cell["bytes"] or read_bytes(Path(cell["path"]), LARGEST, error=ImageError)


def _row(path: str) -> bytes:
    source, _, row = path.removeprefix(DATASET).rpartition("/")
    dataset = _dataset(*_named(source))
    if not row.isdecimal() or int(row) >= dataset.rows:
        raise ImageError(f"{path}: the dataset has {dataset.rows} rows by now")
    try:
        return dataset.stored(int(row))
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from None


def _named(source: str) -> tuple[str, str | None]:
    """Name, or folder, and split."""
    name, colon, split = source.rpartition(":")
    return (name, split) if colon and not set("/\\") & set(split) else (source, None)


@lru_cache(maxsize=KEPT_SOURCES)
def _dataset(name: str, split: str | None) -> _Dataset:
    try:
        import datasets
    except ImportError as error:
        raise InputError(
            f'{DATASET}{name} needs Hugging Face datasets, not installed here ({error}): pip install "vlx[datasets]"'
        ) from None
    saved = any((Path(name) / file).is_file() for file in ("state.json", "dataset_dict.json"))
    with in_own_words(f"{DATASET}{name} cannot be opened", remedy="give hf-dataset:NAME:SPLIT, or a saved folder"):
        opened = datasets.load_from_disk(name) if saved else datasets.load_dataset(name, split=split)
    if isinstance(opened, dict):
        split = split or (next(iter(opened)) if len(opened) == 1 else None)
        if split not in opened:
            raise InputError(f"{DATASET}{name}: name one of its splits, {DATASET}{name}:{'|'.join(map(str, opened))}")
        opened = opened[split]
    column = next((one for one, kind in opened.features.items() if isinstance(kind, datasets.Image)), None)
    if column is None:
        listed = shortened(", ".join(opened.features), 100)
        raise InputError(f"{DATASET}{name}: no column with pictures (datasets.Image) among {listed}")
    bare = opened.select_columns([column]).cast_column(column, datasets.Image(decode=False))
    return _Dataset(split or str(opened.split or "all"), bare, column)
