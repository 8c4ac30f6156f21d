"""From paths, folders, patterns and lists to items: a picture, and what is asked of it."""

import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from vlx.errors import InputError
from vlx.folder import lists, sources
from vlx.folder.item import Found, Item

ENDINGS = frozenset(".avif .bmp .dib .gif .jfif .jpe .jpeg .jpg .mpo .pgm .png .pnm .ppm .tif .tiff .webp".split())
LISTS = (".csv", ".jsonl")


def items(
    given: Sequence[str],
    columns: Sequence[str] = (),
    *,
    recursive: bool = False,
    stdin: Iterable[str] = (),
    leave_out: Path | None = None,
) -> Found:
    """The pictures meant by paths, folders, patterns (``*.jpg``, ``**``), ``-`` (paths in ``stdin``), lists, shards
    (.tar), datasets (``hf-dataset:NAME:SPLIT``) and data by their kind (``scenes:20``, ``coco:DIR``, see `vlx.data`).

    Folders give the files in them that end like pictures, in order of their names, those of folders in them with
    ``recursive``; hidden ones, links to folders (with a note) and the folder ``leave_out`` are passed by. A list is
    .jsonl or .csv with ``path`` and any of the ``columns``. A path that leads nowhere is an item too: it fails when its
    turn comes, and alone.

    Raises InputError for a pattern or folder without a picture, and for lists that cannot be read.
    """
    notes: list[str] = []
    every: list[Item] = []
    for name in given:
        if name == "-":
            every += lists.of_lines(stdin, columns)
        elif _is_list(name):
            listed, remarks = lists.read(Path(name), columns)
            every, notes = [*every, *listed], [*notes, *remarks]
        elif sources.is_dataset(name):
            every += map(Item, sources.of_dataset(name))
        elif sources.is_data(name):
            every += map(Item, sources.of_data(name))
        else:
            every += map(Item, _taken_apart(_paths(name, recursive, leave_out, notes)))
    once = tuple({item.key: item for item in every}.values())
    if not once:
        named = {"-": "standard input is empty: "}.get(given[0], f"{given[0]} is empty: ") if given else ""
        raise InputError(
            f"{named}no picture was named; give a path, a folder, a quoted pattern, a list, or - and paths"
        )
    twice = len(every) - len(once)
    return Found(once, (*dict.fromkeys(notes), *([f"named more than once, explained once: {twice}"] if twice else [])))


def _is_list(name: str) -> bool:
    return name.lower().endswith(LISTS) and not os.path.isdir(name)


def _paths(name: str, recursive: bool, leave_out: Path | None, notes: list[str]) -> list[str]:
    if _exists(name, os.path.isdir):
        return _of_folder(name, recursive, leave_out, notes)
    if _exists(name, os.path.lexists) or not glob.has_magic(name) or re.match(r"https?://", name):
        return [name]
    found = sorted(path for path in glob.iglob(name, recursive=True) if os.path.isfile(path))
    if not found:
        raise InputError(f"{name}: no file has a name like it; is the pattern right, and quoted?")
    pictures = [path for path in found if _is_picture(path) or sources.is_shard(path)]
    if pictures and len(pictures) < len(found):
        notes.append(f"{name}: files of other kinds, passed by: {len(found) - len(pictures)}")
    return pictures or found


def _is_picture(path: str) -> bool:
    return os.path.splitext(path)[1].lower() in ENDINGS


def _taken_apart(paths: Iterable[str]) -> Iterator[str]:
    """The paths, of shards those of the pictures in them."""
    for path in paths:
        yield from sources.of_shard(path, sorted(ENDINGS)) if sources.is_shard(path) else (path,)


def _exists(path: str, kind: Any) -> bool:
    try:
        return bool(kind(path))
    except (OSError, ValueError):  # with a zero byte
        return False


def _of_folder(folder: str, recursive: bool, leave_out: Path | None, notes: list[str]) -> list[str]:
    out = None if leave_out is None else os.path.realpath(leave_out)
    walk = list(_walked(folder, recursive, out, notes))
    pictures = list(filter(_is_picture, walk))
    if pictures:
        return pictures
    deeper = not recursive and any(entry.is_dir() for entry in Path(folder).iterdir())
    hint = "for those in the folders below add --recursive" if deeper else f"it holds {len(walk)} files of other kinds"
    raise InputError(f"{folder}: no picture in this folder; {hint}")


def _walked(folder: str, recursive: bool, out: str | None, notes: list[str]) -> Iterator[str]:
    def refused(error: OSError) -> None:
        raise InputError(f"{error.filename}: cannot be read ({error.strerror}); leave it out or allow it") from None

    for top, folders, files in os.walk(folder, onerror=refused):
        kept = sorted(name for name in folders if not name.startswith("."))
        folders[:] = [name for name in kept if os.path.realpath(os.path.join(top, name)) != out] if recursive else []
        links = [os.path.join(top, name) for name in folders if os.path.islink(os.path.join(top, name))]
        notes += [
            f"{link} is a link to a folder and not followed; name it, too, for the pictures there" for link in links
        ]
        yield from (os.path.join(top, name) for name in sorted(files) if not name.startswith("."))
