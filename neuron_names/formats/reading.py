"""`read`: which format a file is in, and its names."""

from collections.abc import Sequence
from pathlib import Path

from vlx.errors import InputError, in_own_words
from vlx.language import close_matches, shortened
from vlx.neuron_names.formats import reports
from vlx.neuron_names.formats.hdf5 import load
from vlx.neuron_names.formats.registry import BUILT_IN, FileContent, Format, Source, known
from vlx.neuron_names.formats.rows import Numbering, arrange, table
from vlx.neuron_names.table.names import NeuronNames, UnitName
from vlx.neuron_names.table.tally import DENOMINATORS

FORMATS = tuple(BUILT_IN)


def read(
    path: str | Path,
    format: str | None = None,
    *,
    layer: str | None = None,
    units: int | None = None,
    base: int | None = None,
) -> NeuronNames:
    """The names that another tool wrote, or `save`; units count from 0 inside, whatever the file does.

    ``format`` is one of `FORMATS`, a registered one, or None to tell it by the file's columns; ``about["source"]`` says
    which. ``layer`` names one of several, ``units`` how many the layer has where the file leaves out some, ``base`` the
    file's first unit number where it is not its format's.

    Raises InputError for a file that cannot be read, is of no known format, or contradicts itself: IoU against counts,
    label against category, units twice or missing, numbers that do not fit the base.
    """
    path = Path(path)
    if format is not None and format not in known():
        near = ", ".join(close_matches(format, list(known()))) or ", ".join(known())
        raise InputError(f"format={format!r}; known are: {near}")
    with in_own_words(f"{path} is no table that can be read", remedy="write it again", bugs=True):
        return _read(path, format, layer, units, base)


def _read(path: Path, format: str | None, layer: str | None, units: int | None, base: int | None) -> NeuronNames:
    if path.suffix.lower() == ".h5":
        return load(path)
    wanted = None if format is None else known()[format]
    if path.suffix.lower() == ".json" or (wanted is not None and wanted.knows is not None):
        source = Source(path, layer, whole=reports.parsed(path))
        kind = wanted or _json_format(source)
    else:
        source = Source(path, layer, *table(path))
        kind = wanted or _csv_format(source)
    if kind.knows is None and not source.header:
        others = ", ".join(one.name for one in known().values() if one.knows is not None)
        raise InputError(f"{path} is JSON, and {kind.name} is CSV; give format=, one of {others}")
    content = kind.read(source)
    if not isinstance(content, FileContent):
        raise InputError(f"format {kind.name!r} makes {type(content).__name__} of {path}; return a FileContent")
    first = 0 if content.units is not None else base
    numbering = Numbering(kind.name, kind.base, first, content.units or units, kind.several)
    listed = arrange(path, content.entries, numbering)
    about = {"format": kind.name, "unit_base": numbering.first, "metric": kind.metric or _metric(listed)}
    about = {"source": f"{path.name}, read as {kind.name}{'' if format else ', told by its columns'}", **about}
    about |= {**content.about} | ({"layer": layer} if layer else {})
    rule = about.get("denominator")
    return NeuronNames(listed, about, denominator=rule if rule in DENOMINATORS else "paper")


def _csv_format(source: Source) -> Format:
    """The one format whose columns the header has, the most demanding where one takes in another."""
    fitting = [kind for kind in known().values() if kind.knows is None and kind.fits(source.header)]
    best = [kind for kind in fitting if not any(set(kind.columns) < set(other.columns) for other in fitting)]
    if len(best) != 1:
        header = ", ".join(source.header)
        what = (
            f"fits {' and '.join(one.name for one in best)}" if best else f"has columns of no known format ({header})"
        )
        raise InputError(f"{source.path} {shortened(what, 200)}; give format=, one of {', '.join(known())}")
    return best[0]


def _json_format(source: Source) -> Format:
    """The first format that knows the content as its own; plain JSON is the last."""
    kinds = sorted(known().values(), key=lambda kind: kind.name == "json")
    return next(kind for kind in kinds if kind.knows is not None and kind.knows(source.whole))


def _metric(listed: Sequence[Sequence[UnitName]]) -> str:
    """What the names' score measures, by what is told."""
    for measure in ("auc", "iou"):
        if any(getattr(one, measure) == getattr(one, measure) for names in listed for one in names):
            return measure
    return "score" if any(one.score == one.score for names in listed for one in names) else "none"
