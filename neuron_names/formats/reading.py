"""`read`: which format a file is in, and its names."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vlx.errors import InputError, in_own_words
from vlx.language import close_matches, shortened
from vlx.neuron_names.formats import netdissect, plain, reports, texts
from vlx.neuron_names.formats.hdf5 import load
from vlx.neuron_names.formats.rows import Entry, Numbering, TableRow, arrange, table
from vlx.neuron_names.table.names import NeuronNames, UnitName
from vlx.neuron_names.table.tally import DENOMINATORS

CSV_COLUMNS = {
    "netdissect": netdissect.COLUMNS,
    "compexp": texts.COMPEXP,
    **{kind: one.required for kind, one in texts.KINDS.items()},
    "csv": ("unit", "concept"),
}
JSON_FORMATS = ("dissect", "quick-netdissect", "json")
FORMATS = ("netdissect", "netdissect-lite", *list(CSV_COLUMNS)[1:], *JSON_FORMATS)
FROM_ONE = ("netdissect", "netdissect-lite")
SEVERAL = ("csv", "json", "milannotations")


@dataclass(frozen=True)
class _Found:
    """What a file says of its units and about itself; ``units`` is how many there are, where it tells."""

    entries: list[Entry]
    about: dict[str, Any] = field(default_factory=dict)
    units: int | None = None


def read(
    path: str | Path,
    format: str | None = None,
    *,
    layer: str | None = None,
    units: int | None = None,
    base: int | None = None,
) -> NeuronNames:
    """The names that another tool wrote, or `save`; units count from 0 inside, whatever the file does.

    ``format`` is one of `FORMATS`, or None to tell it by the file's columns; ``about["source"]`` says which. ``layer``
    names one of several, ``units`` how many the layer has where the file leaves out some, ``base`` the file's first
    unit number where it is not its format's.

    Raises InputError for a file that cannot be read, is of no known format, or contradicts itself: IoU against counts,
    label against category, units twice or missing, numbers that do not fit the base.
    """
    path = Path(path)
    if format is not None and format not in FORMATS:
        near = ", ".join(close_matches(format, FORMATS)) or ", ".join(FORMATS)
        raise InputError(f"format={format!r}; known are: {near}")
    with in_own_words(f"{path} is no table that can be read", remedy="write it again", bugs=True):
        return _read(path, format, layer, units, base)


def _read(path: Path, format: str | None, layer: str | None, units: int | None, base: int | None) -> NeuronNames:
    if path.suffix.lower() == ".h5":
        return load(path)
    if path.suffix.lower() == ".json" or format in JSON_FORMATS:
        whole = reports.parsed(path)
        kind = format or _json_format(whole)
        found = _from_json(path, whole, kind, layer)
    else:
        header, rows = table(path)
        kind = format or _csv_format(path, header)
        found = _from_csv(path, header, rows, kind, layer)
    first = 0 if found.units is not None else base
    numbering = Numbering(kind, int(kind in FROM_ONE), first, found.units or units, kind in SEVERAL)
    listed = arrange(path, found.entries, numbering)
    about = {"format": kind, "unit_base": numbering.first, "metric": _metric(kind, listed)}
    about = {"source": f"{path.name}, read as {kind}{'' if format else ', told by its columns'}", **about}
    about |= found.about | ({"layer": layer} if layer else {})
    rule = about.get("denominator")
    return NeuronNames(listed, about, denominator=rule if rule in DENOMINATORS else "paper")


def _csv_format(path: Path, header: Sequence[str]) -> str:
    """The one format whose columns the header has, the most demanding where one takes in another."""
    plain_header = {name.lower() for name in header}
    fitting = {
        kind: set(columns)
        for kind, columns in CSV_COLUMNS.items()
        if set(columns) <= (plain_header if kind == "csv" else set(header))
        and (kind != "netdissect" or any(name.endswith("-intersect") for name in header))
    }
    best = [kind for kind, own in fitting.items() if not any(own < other for other in fitting.values())]
    if len(best) != 1:
        what = f"fits {' and '.join(best)}" if best else f"has columns of no known format ({', '.join(header)})"
        raise InputError(f"{path} {shortened(what, 200)}; give format=, one of {', '.join(FORMATS)}")
    return "netdissect-lite" if best == ["netdissect"] and netdissect.is_lite(header) else best[0]


def _json_format(whole: Any) -> str:
    if isinstance(whole, dict) and isinstance(whole.get("layers"), list):
        return "quick-netdissect"
    return "dissect" if isinstance(whole, dict) and "header" in whole and "units" in whole else "json"


def _from_csv(path: Path, header: Sequence[str], rows: list[TableRow], kind: str, layer: str | None) -> _Found:
    if kind in FROM_ONE:
        entries, rule = netdissect.read(path, header, rows)
        return _Found(entries, {"denominator": rule})
    if kind == "compexp":
        return _Found(texts.read_compexp(path, header, rows), {"denominator": "all"})
    if kind == "csv":
        return _Found(*plain.read_csv(path, header, rows))
    entries, found = texts.read(path, header, rows, kind, layer)
    return _Found(entries, {"layer": found} if found else {})


def _from_json(path: Path, whole: Any, kind: str, layer: str | None) -> _Found:
    if kind == "dissect":
        return _Found(reports.read_dissect(path, whole), {"denominator": "all"})
    if kind == "quick-netdissect":
        entries, found, about = reports.read_quick(path, whole, layer)
        return _Found(entries, {**about, "layer": found, "denominator": "unknown"})
    if kind == "json":
        return _Found(*plain.read_json(path, whole))
    raise InputError(f"{path} is JSON, and {kind} is CSV; give format=, one of {', '.join(JSON_FORMATS)}")


def _metric(kind: str, listed: tuple[tuple[UnitName, ...], ...]) -> str:
    """What the names' score measures."""
    if kind in texts.KINDS:
        return texts.KINDS[kind].metric
    for measure in ("auc", "iou"):
        if any(getattr(one, measure) == getattr(one, measure) for names in listed for one in names):
            return measure
    return "score" if any(one.score == one.score for names in listed for one in names) else "none"
