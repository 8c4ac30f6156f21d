"""Data sets of captioned photographs by name: ``flickr8k:DIR`` and ``coco:DIR``."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from vlx.data import captioned, outlines
from vlx.data.captioned import Photographs
from vlx.data.outlines import OutlinedData
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


def outlined(name: str, captions: Path | None = None, only: Path | None = None) -> OutlinedData:
    """The captioned photographs of ``coco:DIR`` whose objects are outlined, see `vlx.data.outlines.read`.

    With ``only`` those of a list. Raises InputError for another kind of data, and when nothing is left.
    """
    kind, folder = parsed(name)
    if kind != "coco":
        raise InputError(
            f"{name}: photographs of {kind} have no outlines to point at; give coco:DIR with instances_*.json"
        )
    found = outlines.read(folder, captions)
    if only is None:
        return found
    wanted = set(listed(only))
    rows = tuple(row for row in found.rows if row.path.name in wanted)
    if not rows:
        raise InputError(f"{only}: none of its {len(wanted)} names is an outlined picture of {name}")
    return replace(found, rows=rows)


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
