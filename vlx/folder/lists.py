"""Lists of pictures and questions: .jsonl, an object a line, or .csv with a header."""

import csv
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from vlx.errors import InputError
from vlx.files import json_files
from vlx.folder.item import Item
from vlx.language import close_matches, shortened

LARGEST = 1 << 30  # bytes of a list
LONGEST = 1 << 20  # characters of a line
TEXTS = ("caption", "prompt", "question", "answer", "instead_of")
ListLine = tuple[int, dict[str, Any]]  # number of the line, cells by column


def read(path: Path, columns: Sequence[str]) -> tuple[list[Item], list[str]]:
    """The items of a list with ``path`` and any of the ``columns``; notes of columns that are not of use here.

    Paths are taken from the list's own folder, and where there is no such file from where the program was started.
    Raises InputError naming the line for what cannot be read.
    """
    return _items(path, list(_rows(path)), columns)


def _items(path: Path, rows: Sequence[ListLine], columns: Sequence[str]) -> tuple[list[Item], list[str]]:
    lacking = next((line for line, row in rows if not _text(row.get("path"))), None)
    if lacking is not None:
        listed = ", ".join(map(str, rows[0][1]))
        raise InputError(f"{path}, line {lacking}: no path; every line needs one (columns: {shortened(listed, 100)})")
    items = [Item(_beside_list(path, row["path"]), _texts(path, line, row, columns)) for line, row in rows]
    return items, _unused(path, rows, ("path", *columns))


def questions(path: Path) -> tuple[list[Item] | list[Mapping[str, Any]], list[str]]:
    """The questions of a list: items where its rows have a ``path``, else texts to be asked about every picture."""
    columns = ("question", "answer", "instead_of")
    rows = list(_rows(path))
    unasked = next((line for line, row in rows if not _text(row.get("question"))), None)
    if not rows or unasked is not None:
        where = f", line {unasked}" if rows else ""
        raise InputError(f"{path}{where}: no question; give lines with question and, for pictures of their own, path")
    if any(_text(row.get("path")) for _, row in rows):
        return _items(path, rows, columns)
    notes = _unused(path, rows, ("path", *columns))
    asked: list[Mapping[str, Any]] = [_texts(path, line, row, columns) for line, row in rows]
    return asked, notes


def of_lines(lines: Iterable[str], columns: Sequence[str]) -> list[Item]:
    """Paths as `find` prints them, one a line (or with a zero byte between), or objects as in a .jsonl list."""
    items = []
    whole = [part for line in lines for part in line.split("\0")] if not isinstance(lines, str) else lines.split("\0")
    for number, line in enumerate((part.rstrip("\r\n") for part in whole), 1):
        if line.lstrip().startswith("{"):
            row = _object(Path("-"), number, line)
            if not _text(row.get("path")):
                raise InputError(f"-, line {number}: no path; every line needs one")
            items.append(Item(row["path"], _texts(Path("-"), number, row, columns)))
        elif line.strip():
            items.append(Item(line))
    return items


def _rows(path: Path) -> Iterator[ListLine]:
    """The rows of a list; empty lines and empty cells are left out."""
    lines = _lines(path)
    if path.suffix.lower() == ".jsonl":
        yield from ((number, _object(path, number, line)) for number, line in enumerate(lines, 1) if line.strip())
        return
    try:
        head = next((line for line in lines if line.strip()), "")
        reader = csv.DictReader(chain([head], lines), strict=True, delimiter=_parted_by(head))
        for row in reader:
            if None in row or None in row.values():
                raise InputError(
                    f"{path}, line {reader.line_num}: {'more' if None in row else 'fewer'} cells than the header has; "
                    "put texts with commas in double quotes"
                )
            yield reader.line_num, {name.strip().lower(): cell for name, cell in row.items() if cell.strip()}
    except csv.Error as error:
        raise InputError(f"{path}: no CSV that can be read ({error}); separate cells by commas") from None


def _parted_by(header: str) -> str:
    """What parts the cells: a comma, or what spreadsheets write in its place, told by the header."""
    cells = {mark: {cell.strip(' "\n') for cell in header.lower().split(mark)} for mark in ",;\t"}
    return next((mark for mark, names in cells.items() if names & {"path", "question"}), ",")


def _lines(path: Path) -> Iterator[str]:
    """The lines of a list, one after the other: what is no list is refused before it is in memory."""
    number = 0
    try:
        if not path.is_file():
            raise InputError(f"{path}: no such list; give a .jsonl or .csv file")
        if path.stat().st_size > LARGEST:
            raise InputError(f"{path} has more than {LARGEST >> 20} MB; cut it into several lists")
        with path.open(encoding="utf-8-sig") as file:
            while line := file.readline(LONGEST + 1):
                number += 1
                if len(line) > LONGEST:
                    raise InputError(f"{path}, line {number}: over {LONGEST:,} characters; give a line a picture")
                yield line
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 (after line {number}); save it as UTF-8") from None
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: cannot be read ({error})") from None


def _object(path: Path, line: int, text: str) -> dict[str, Any]:
    try:
        content = json_files.parsed(text, "it", nan=True)
    except InputError as error:
        reason = shortened(str(error.__cause__), 80)
        raise InputError(f"{path}, line {line}: no JSON ({reason}); one object a line") from None
    if not isinstance(content, dict):
        raise InputError(f'{path}, line {line}: no object; write {{"path": "a.jpg"}}')
    return {name: value for name, value in content.items() if value not in (None, "")}


def _texts(path: Path, line: int, row: Mapping[str, Any], columns: Sequence[str]) -> dict[str, Any]:
    texts = {name: row[name] for name in columns if name in row}
    for name, value in texts.items():
        pairs = name == "instead_of" and isinstance(value, dict) and all(isinstance(one, str) for one in value.values())
        several = name == "answer" and isinstance(value, list) and all(isinstance(one, str) for one in value)
        if not (isinstance(value, str) or pairs or several):
            raise InputError(f"{path}, line {line}: {name} is {type(value).__name__}, not a text")
    return texts


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _beside_list(source: Path, written: str) -> str:
    beside = os.path.join(source.parent, written)
    try:
        return beside if os.path.exists(beside) or not os.path.exists(written) else written
    except ValueError:  # a zero byte: it fails when its turn comes
        return written


def _unused(path: Path, rows: Sequence[tuple[int, Mapping[str, Any]]], columns: Sequence[str]) -> list[str]:
    """A note of columns that nobody reads. Raises InputError for one that looks like a slip of the pen."""
    strange = list(dict.fromkeys(name for _, row in rows for name in row if name not in columns))
    for name in strange:
        near = close_matches(name, columns)
        if near and name not in TEXTS and near[0] not in {key for _, row in rows for key in row}:
            raise InputError(f"{path}: no column {name!r} is known; close: {', '.join(near)}")
    return [f"{path}: not used here: {', '.join(strange)}"] if strange else []
