"""Names as plain CSV and JSON, for spreadsheets and other programs; both are read again."""

import csv
import io
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from vlx.errors import InputError
from vlx.files.whole import write_text
from vlx.neuron_names.formats.rows import Entry, TableRow, count, number, require_columns
from vlx.neuron_names.table.names import NeuronNames, UnitName

FORMAT = "vlx neuron names"
SCHEMA = 1
DEFAULTS: dict[str, Any] = {one.name: one.default for one in fields(UnitName)[1:]}
TEXTS = tuple(one.name for one in fields(UnitName) if one.type in (str, "str"))
WHOLE_NUMBERS = tuple(one.name for one in fields(UnitName) if one.type in (int, int | None, "int", "int | None"))
FLOATS = tuple(one.name for one in fields(UnitName) if one.name not in (*TEXTS, *WHOLE_NUMBERS))


def described(names: NeuronNames) -> dict[str, Any]:
    """What is known about the table, with how its counts were read where it has any."""
    about = dict(names.about)
    if names.tally is not None:
        about |= {"denominator": names.denominator, "metric": "iou"}
        about |= {} if names.quantile is None else {"quantile": names.quantile}
    return about


def save_csv(names: NeuronNames, path: Path) -> None:
    """One row for each unit and category, best first; a unit without a name has one row with an empty concept."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["unit", *DEFAULTS])
    for unit in range(len(names)):
        for name in names.candidates(unit) or (UnitName(unit),):
            record = _record(name)
            writer.writerow([unit, *(record.get(column, "") for column in DEFAULTS)])
    write_text(path, buffer.getvalue())


def save_json(names: NeuronNames, path: Path) -> None:
    """How many units there are, their names, and what is known about the table."""
    listed = [_record(one) for unit in range(len(names)) for one in names.candidates(unit)]
    whole = {"format": FORMAT, "schema": SCHEMA, "units": len(names), "about": described(names), "names": listed}
    try:
        write_text(path, json.dumps(whole, indent=1, ensure_ascii=False, default=as_plain, allow_nan=False))
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path}: names.about cannot be written as JSON ({error}); put numbers and texts there"
        ) from None


def as_plain(value: Any) -> Any:
    """Numbers and arrays of numpy and paths as Python's own, for JSON."""
    if hasattr(value, "tolist"):
        return value.tolist()
    return str(value)


def _record(name: UnitName) -> dict[str, Any]:
    """The fields that tell something."""
    every = {one.name: getattr(name, one.name) for one in fields(UnitName)}
    return {
        column: value
        for column, value in every.items()
        if value is not None and value != "" and not (isinstance(value, float) and math.isnan(value))
    }


def read_csv(path: Path, header: Sequence[str], rows: Iterable[TableRow]) -> tuple[list[Entry], dict[str, Any]]:
    """Rows of unit, concept, and whatever else `UnitName` has; other columns are told in ``about["ignored"]``."""
    plain = [name.lower() for name in header]
    if len(set(plain)) < len(plain):
        raise InputError(f"{path} has columns that differ only in capitals: {', '.join(header)}; keep one of each")
    require_columns(path, plain, ("unit", "concept"), "csv")
    entries = []
    for row in rows:
        cells = {name.lower(): value.strip() for name, value in row.cells.items()}
        entries.append(entry(row.place, {name: value for name, value in cells.items() if value}))
    ignored = [name for name in header if name.lower() not in ("unit", *DEFAULTS)]
    return entries, {"ignored": ignored} if ignored else {}


def read_json(path: Path, whole: Any) -> tuple[list[Entry], dict[str, Any], int | None]:
    """Ours, a list of {"unit", "concept", …}, or {"0": "dog", …}; of ours also ``about`` and how many units."""
    about: dict[str, Any] = {}
    units = None
    if isinstance(whole, dict) and whole.get("format") == FORMAT:
        about, units, whole = _header(path, whole)
    elif isinstance(whole, dict):
        whole = [{"unit": unit, "concept": concept} for unit, concept in whole.items()]
    if not isinstance(whole, list) or not all(isinstance(record, dict) for record in whole):
        raise InputError(f'{path} holds no names; give a list of {{"unit": 0, "concept": "dog"}} or {{"0": "dog"}}')
    entries = []
    for n, record in enumerate(whole):
        place = f"{path.name}, entry {n}"
        if record.get("unit") is None or "concept" not in record:
            raise InputError(f"{place} lacks unit or concept; each name has both")
        entries.append(entry(place, {name: value for name, value in record.items() if value is not None}))
    return entries, about, units


def _header(path: Path, whole: dict[str, Any]) -> tuple[dict[str, Any], int, Any]:
    schema, about = whole.get("schema"), whole.get("about")
    if not isinstance(schema, int) or schema > SCHEMA:
        raise InputError(f"{path} has schema {schema}, this vlx reads up to {SCHEMA}; update vlx")
    if not isinstance(about, dict):
        raise InputError(f"{path} is damaged (about is no object); export it again")
    return about, count(whole.get("units"), f"{path.name}: units"), whole.get("names")


def entry(place: str, cells: dict[str, Any]) -> Entry:
    """One name from the fields that a row or record has; a score that is not given is the IoU."""
    unit = count(cells.get("unit", ""), f"{place}: unit")
    if not cells.get("concept"):
        return Entry(place, unit, ())
    facts: dict[str, Any] = {}
    for name, value in cells.items():
        if name in TEXTS and not isinstance(value, str):
            raise InputError(f"{place}: {name} is {value!r}, not a text")
        if name in DEFAULTS:
            read = str if name in TEXTS else count if name in WHOLE_NUMBERS else number
            facts[name] = value if read is str else read(value, f"{place}: {name}")
    for measure in ("iou", "auc", "p"):
        if not 0 <= facts.get(measure, 0) <= 1:
            raise InputError(f"{place}: {measure} is {facts[measure]}, not from 0 to 1; mend the file")
    if "iou" in facts:
        facts.setdefault("score", facts["iou"])
    return Entry(place, unit, (UnitName(0, **facts),))
