"""Data sets of captioned photographs by name: ``flickr8k:DIR`` and ``coco:DIR``."""

import hashlib
from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

from vlx.data import captioned, open_data
from vlx.data.captioned import Photographs
from vlx.data.coco import open_coco
from vlx.data.example import Data, Example
from vlx.data.flickr import PhotographData
from vlx.errors import InputError
from vlx.files import json_files
from vlx.files.whole import read_bytes
from vlx.language import shortened

KINDS = ("flickr8k", "coco")
UNKNOWN = "asked for, not in the data"


def parsed(name: str) -> tuple[str, Path]:
    """A data set's kind and folder.

    >>> parsed("coco:data/coco")
    ('coco', PosixPath('data/coco'))

    Raises InputError for a kind that is not known and for what is no folder.
    """
    kind, colon, folder = name.partition(":")
    if kind not in KINDS or not folder:
        what = f"{kind!r} is no kind of data set" if colon else "a data set is named by its kind and its folder"
        raise InputError(f"{shortened(name, 80)}: {what}; write {' or '.join(f'{known}:DIR' for known in KINDS)}")
    if not Path(folder).is_dir():
        raise InputError(f"{name}: {folder} is no folder")
    return kind, Path(folder)


def photographs(name: str, only: Path | None = None) -> Photographs:
    """The captioned photographs of a data set to measure on.

    Of Flickr8k the official test split, of COCO all in the folder; with ``only`` those of a list instead, see `listed`.
    Names of the split or list that the data lack are counted in ``left_out``. Raises InputError when nothing is left.
    """
    kind, folder = parsed(name)
    found = captioned.read(folder)
    if only is None and kind == "coco":
        return found
    wanted = sorted(captioned.split(folder, "test")) if only is None else listed(only)
    chosen = found.only(wanted)
    if not chosen.rows:
        what = f"{name}: its test split" if only is None else str(only)
        raise InputError(f"{what}: none of its {len(wanted)} names is a captioned picture of {name}, as {wanted[0]!r}")
    told = {row.name for row in chosen.rows}.union(*chosen.left_out.values())
    missing = tuple(one for one in wanted if one not in told)
    return replace(chosen, left_out={**chosen.left_out, UNKNOWN: missing} if missing else chosen.left_out)


def opened(
    name: str,
    captions: Path | None = None,
    only: Path | None = None,
    *,
    told: bool = False,
    words: Path | None = None,
) -> Data:
    """Data to measure on, by name as `vlx.data.open_data` takes it; of captioned photographs those of `photographs`.

    ``told``: captions are measured, not where their words point. ``captions`` is another file of captions of COCO's
    pictures, ``words`` one of what words name which category, ``only`` a list of the pictures that are measured.
    Raises InputError when nothing is left.
    """
    kind = name.partition(":")[0]
    if kind == "flickr8k" and not told:
        raise InputError(
            f"{name}: photographs of {kind} have no outlines to point at; give coco:DIR with instances_*.json"
        )
    _, _, rest = name.partition(":")
    if told and kind in KINDS and captions is None and not Path(rest).is_file():
        return PhotographData(photographs(name, only), name)
    data: Data = open_coco(rest, captions, words) if kind == "coco" else open_data(name)
    return data if only is None else Limited(data, listed(only), str(only))


class Limited:
    """The pictures of data whose files have some names; raises InputError, saying by which list, where none has."""

    def __init__(self, data: Data, names: Sequence[str], called: str) -> None:
        wanted = dict.fromkeys(names)
        every = [Path(data[number].key).name for number in range(len(data))]
        self._data, self._numbers = data, [number for number, one in enumerate(every) if one in wanted]
        if not self._numbers:
            raise InputError(f"{called}: none of its {len(wanted)} names is a picture of {data.name}")
        self.name, self.licence = data.name, data.licence
        self.left_out, self.unasked = (_only(getattr(data, kind, {}), wanted) for kind in ("left_out", "unasked"))
        known = {*every, *chain.from_iterable(self.left_out.values())}
        missing = tuple(one for one in wanted if one not in known)
        self.left_out |= {UNKNOWN: missing} if missing else {}
        self.by_size: bool = getattr(data, "by_size", False)
        self.closed: str = getattr(data, "closed", "")
        self.classes: Sequence[str] = getattr(data, "classes", ())
        self.synsets: Mapping[str, str] = getattr(data, "synsets", {})
        self.lacks: Sequence[str] = getattr(data, "lacks", ())

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, number: int) -> Example:
        return self._data[self._numbers[number]]

    def digest(self) -> str:
        """Of all the data, and of which pictures are measured."""
        return hashlib.sha256(f"{self._data.digest()} {self._numbers}".encode()).hexdigest()


def _only(left: Mapping[str, Sequence[str]], wanted: Container[str]) -> dict[str, tuple[str, ...]]:
    """Of what was left out, and why, what is wanted."""
    kept = {why: tuple(name for name in names if name in wanted) for why, names in left.items()}
    return {why: names for why, names in kept.items() if names}


def listed(path: Path) -> Sequence[str]:
    """The names of a list file: a JSON list, or one name a line.

    Raises InputError for a file that is missing, empty, or holds something else.
    """
    try:
        text = read_bytes(path).decode("utf-8-sig")
        names = json_files.parsed(text, path.name) if text.lstrip().startswith("[") else text.split("\n")
    except (InputError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: no list of names ({shortened(str(error), 120)})") from None
    if not all(isinstance(name, str) for name in names):
        raise InputError(f"{path}: not all of its entries are names; needed is a JSON list of file names, or lines")
    wanted = tuple(dict.fromkeys(name.strip() for name in names if name.strip()))
    if not wanted:
        raise InputError(f"{path}: the list of names is empty")
    return wanted
