"""The one table of formats that `read` knows: a format is a line here, or a `register` from outside."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from vlx.errors import InputError
from vlx.language import shortened
from vlx.neuron_names.formats import netdissect, plain, reports, texts
from vlx.neuron_names.formats.rows import Entry, TableRow


@dataclass(frozen=True)
class Source:
    """A file that is read: ``header`` and ``rows`` of a CSV, or the ``whole`` of a JSON; ``layer``: the wanted one."""

    path: Path
    layer: str | None = None
    header: tuple[str, ...] = ()
    rows: Sequence[TableRow] = ()
    whole: Any = None


@dataclass(frozen=True)
class FileContent:
    """What a file says of its units and ``about`` itself; ``units`` is how many there are, where it tells."""

    entries: Sequence[Entry]
    about: Mapping[str, Any] = field(default_factory=dict)
    units: int | None = None


@dataclass(frozen=True)
class Format:
    """One format: its ``name``, and how a file of it is ``read``.

    A CSV file is of it that has all its ``columns``, or whose header passes ``check``; a JSON file that it ``knows``.
    ``base`` is its number of the first unit, ``several`` whether a unit may have a row for each category, ``metric``
    what its scores measure, where they do not tell.

    >>> Format("mine", read=lambda source: FileContent([Entry(row.place, row.count("nr"), ()) for row in source.rows]))
    """

    name: str
    read: Callable[[Source], FileContent]
    columns: tuple[str, ...] = ()
    check: Callable[[Sequence[str]], bool] | None = None
    knows: Callable[[Any], bool] | None = None
    base: int = 0
    several: bool = False
    metric: str = ""

    def fits(self, header: Sequence[str]) -> bool:
        """Whether a CSV file with these columns is of this format."""
        return set(self.columns) <= set(header) if self.check is None else self.check(header)


def _netdissect(source: Source) -> FileContent:
    entries, rule = netdissect.read(source.path, source.header, source.rows)
    return FileContent(entries, {"denominator": rule})


def _compexp(source: Source) -> FileContent:
    return FileContent(texts.read_compexp(source.path, source.header, source.rows), {"denominator": "all"})


def _texts(kind: str, source: Source) -> FileContent:
    entries, layer = texts.read(source.path, source.header, source.rows, kind, source.layer)
    return FileContent(entries, {"layer": layer} if layer else {})


def _dissect(source: Source) -> FileContent:
    return FileContent(reports.read_dissect(source.path, source.whole), {"denominator": "all"})


def _quick(source: Source) -> FileContent:
    entries, layer, about = reports.read_quick(source.path, source.whole, source.layer)
    return FileContent(entries, {**about, "layer": layer, "denominator": "unknown"})


def _plain_csv(source: Source) -> FileContent:
    return FileContent(*plain.read_csv(source.path, source.header, source.rows))


def _plain_json(source: Source) -> FileContent:
    return FileContent(*plain.read_json(source.path, source.whole))


def _has_counts(lite: bool, header: Sequence[str]) -> bool:
    counts = any(name.endswith("-intersect") for name in header)
    return counts and set(netdissect.COLUMNS) <= set(header) and netdissect.is_lite(header) is lite


def _in_any_case(header: Sequence[str]) -> bool:
    return {"unit", "concept"} <= {name.lower() for name in header}


def _by_layers(whole: Any) -> bool:
    return isinstance(whole, dict) and isinstance(whole.get("layers"), list)


def _of_report(whole: Any) -> bool:
    return isinstance(whole, dict) and "header" in whole and "units" in whole and not _by_layers(whole)


BUILT_IN: dict[str, Format] = {
    one.name: one
    for one in (
        Format("netdissect", _netdissect, netdissect.COLUMNS, partial(_has_counts, False), base=1),
        Format("netdissect-lite", _netdissect, netdissect.COLUMNS, partial(_has_counts, True), base=1),
        Format("compexp", _compexp, texts.COMPEXP),
        *(
            Format(kind, partial(_texts, kind), one.required, several=bool(one.repeated), metric=one.metric)
            for kind, one in texts.KINDS.items()
        ),
        Format("csv", _plain_csv, ("unit", "concept"), _in_any_case, several=True),
        Format("dissect", _dissect, knows=_of_report),
        Format("quick-netdissect", _quick, knows=_by_layers),
        Format("json", _plain_json, knows=lambda _: True, several=True),
    )
}
_FROM_OUTSIDE: dict[str, Format] = {}


def known() -> Mapping[str, Format]:
    """All formats by name, vlx's own first."""
    return {**BUILT_IN, **_FROM_OUTSIDE}


def register(kind: Format) -> None:
    """Let `read` know another format, or another of that name. Raises InputError for the name of one of vlx's own.

    >>> register(Format("mine", read=of_mine, columns=("nr", "word")))
    """
    if isinstance(kind, Format) and kind.name in BUILT_IN:
        raise InputError(f"format {kind.name!r} is vlx's own; give yours another name")
    if not isinstance(kind, Format) or not isinstance(kind.name, str) or not callable(kind.read):
        raise InputError(f"{shortened(repr(kind), 80)} is no format; give Format(name, read=FUNCTION)")
    _FROM_OUTSIDE[kind.name] = kind
