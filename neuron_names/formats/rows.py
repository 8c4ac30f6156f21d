"""Tables that others wrote: rows that know their line, numbers within limits, units with their base."""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vlx.errors import InputError
from vlx.files.whole import read_bytes
from vlx.language import close_matches, shortened
from vlx.neuron_names.table.names import UnitName

MOST_UNITS = 2**20  # units
LARGEST = 2**28  # bytes of a table in text
CELLS = 2**23


@dataclass(frozen=True)
class TableRow:
    """One row of a table; ``place`` names file and line in messages."""

    place: str
    cells: Mapping[str, str]

    def text(self, column: str) -> str:
        """The cell without white space around it, empty where the table lacks the column."""
        return self.cells.get(column, "").strip()

    def number(self, column: str) -> float:
        """The cell as a finite number."""
        return number(self.text(column), f"{self.place}: {column}")

    def count(self, column: str) -> int:
        """The cell as a whole number from 0; "12.0" is 12."""
        return count(self.text(column), f"{self.place}: {column}")


@dataclass(frozen=True)
class Entry:
    """What a file says of one unit, numbered as the file does; the names' own unit numbers do not count yet."""

    place: str
    unit: int
    names: tuple[UnitName, ...]


def number(value: object, what: str) -> float:
    """A finite number; raises InputError for anything else."""
    try:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError
        parsed = float(value)
    except (OverflowError, ValueError):
        raise InputError(f"{what} is {shortened(repr(value))}, not a number; mend the file") from None
    if not math.isfinite(parsed):
        raise InputError(f"{what} is {parsed}, not a finite number; mend the file or write the table anew")
    return parsed


def count(value: object, what: str) -> int:
    """A whole number from 0; raises InputError for anything else."""
    parsed = number(value, what)
    if parsed < 0 or parsed != int(parsed) or parsed >= 2**53:
        raise InputError(f"{what} is {value}, not a whole number from 0; mend the file")
    return int(parsed)


def text_of(path: Path) -> str:
    """A text file in UTF-8, with or without a byte-order mark; raises InputError when it cannot be read."""
    try:
        return read_bytes(path, LARGEST).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not text in UTF-8 ({error.reason}); save it as UTF-8") from None


def table(path: Path) -> tuple[tuple[str, ...], list[TableRow]]:
    """Header and rows of a CSV file; raises InputError for a broken one, a column twice, a row of another length."""
    text = text_of(path)
    cells = text.count(",") + text.count("\n")
    if cells > CELLS:
        raise InputError(
            f"{path} has about {cells:,} cells, more than the {CELLS:,} of any table; give one layer of it"
        )
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[TableRow] = []
    try:
        header = tuple(cell.strip() for cell in next(reader, []))
        for row in reader:
            if not row:
                continue
            place = f"{path.name}, line {reader.line_num}"
            if len(row) != len(header):
                raise InputError(
                    f"{place} has {len(row)} cells under {len(header)} columns; the file is cut off or broken there"
                )
            rows.append(TableRow(place, dict(zip(header, row, strict=True))))
    except csv.Error as error:
        raise InputError(f"{path.name}, line {reader.line_num}: not CSV ({error}); write the table anew") from None
    if not any(header):
        raise InputError(f"{path} is empty; write the table anew")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise InputError(f"{path} has columns twice: {', '.join(twice)}; keep one of each")
    return header, rows


def require_columns(path: Path, header: Sequence[str], wanted: Iterable[str], kind: str) -> None:
    """Raise InputError naming the columns of a format that a file lacks."""
    missing = [name for name in wanted if name not in header]
    if missing:
        there = shortened(", ".join(header) or "none", 200)
        raise InputError(f"{path} lacks the columns {', '.join(missing)} of {kind}; it has {there}")


def of_layer(path: Path, layers: Iterable[str], wanted: str | None) -> str:
    """The layer to read, of those in the file; raises InputError when it must be named or is not there."""
    names = list(dict.fromkeys(layers))
    if wanted is None and len(names) == 1:
        return names[0]
    listed = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
    if wanted is None:
        raise InputError(f"{path} has {len(names)} layers ({listed or 'none'}); say which with layer=")
    if wanted not in names:
        near = ", ".join(close_matches(wanted, names)) or listed
        raise InputError(f"{path} has no layer {wanted!r}; there are: {near}")
    return wanted


@dataclass(frozen=True)
class Numbering:
    """How a file numbers units: ``base`` is the first number of its format ``kind``, ``given`` the caller's word.

    ``units`` is how many the layer has, where the file may leave out some; ``several``: a unit may have a row for each
    category.
    """

    kind: str
    base: int = 0
    given: int | None = None
    units: int | None = None
    several: bool = False

    @property
    def first(self) -> int:
        """The number of the first unit."""
        return self.base if self.given is None else self.given


def arrange(path: Path, entries: Sequence[Entry], numbering: Numbering) -> tuple[tuple[UnitName, ...], ...]:
    """The names of units 0 to K − 1, best score first, from what a file says.

    Raises InputError for units twice, missing, or out of place, and when the numbers do not fit the base.
    """
    by_unit: dict[int, list[UnitName]] = {}
    for entry in entries:
        if entry.unit in by_unit and not (numbering.several and _adds(entry, by_unit[entry.unit])):
            raise InputError(f"{entry.place}: unit {entry.unit} stands there twice; keep one of its rows")
        for name in entry.names:
            if not isinstance(name.concept, str) or not isinstance(name.category, str):
                raise InputError(
                    f"{entry.place}: concept {name.concept!r} ({name.category!r}) of unit {entry.unit} is no text"
                )
        by_unit.setdefault(entry.unit, []).extend(entry.names)
    if not by_unit and numbering.units is None:
        raise InputError(f"{path} names no unit; a table has one row a unit at least")
    expected = max(by_unit) + 1 - numbering.first if numbering.units is None else numbering.units
    if by_unit:
        _fits(path, by_unit, numbering, expected)
    if expected > MOST_UNITS:
        raise InputError(f"{path}: {expected} units are more than a layer can have")
    return tuple(
        tuple(replace(one, unit=unit) for one in sorted(by_unit.get(unit + numbering.first, []), key=_rank))
        for unit in range(expected)
    )


def _adds(entry: Entry, names: Sequence[UnitName]) -> bool:
    """Whether a further row of a unit is for another category than those before."""
    there = {one.category for one in names}
    return bool(there and entry.names) and not any(one.category in there for one in entry.names)


def _rank(name: UnitName) -> float:
    return math.inf if math.isnan(name.score) else -name.score


def _fits(path: Path, by_unit: Mapping[int, object], numbering: Numbering, expected: int) -> None:
    low, high, first, kind = min(by_unit), max(by_unit), numbering.first, numbering.kind
    if low < first:
        raise InputError(
            f"{path}: units start at {low}, but {kind} counts from {first}; give base={low} if this file does not"
        )
    if numbering.given is None and first == 0 and low == 1 and high in (len(by_unit), numbering.units):
        raise InputError(
            f"{path}: units run from 1 to {high}, but {kind} counts from 0; give base=1 if this file counts from 1, "
            "or base=0 and units= if unit 0 is left out"
        )
    if high - first >= expected:
        raise InputError(f"{path}: unit {high} is beyond the {expected} units of the layer, counted from {first}")
    if numbering.units is None and len(by_unit) != expected:
        gap = next(unit for unit in range(first, high) if unit not in by_unit)
        raise InputError(
            f"{path}: unit {gap} is missing between {first} and {high}; the file is cut off, or give units= (how many "
            "the layer has) if it leaves out units"
        )
