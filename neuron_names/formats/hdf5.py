"""A table of names as one HDF5 file, with the whole tally where there is one.

Attributes: ``format``, ``schema``, ``about`` (JSON), ``units`` and how the table is read: ``denominator``,
``categories`` (JSON), ``quantile``. With a tally the groups ``concepts`` (name, category, synset), ``units``
(threshold, tied, examples, mean) and ``tally`` (quantiles, intersection, truth, activation, area, overlaps), axes as
in `vlx.neuron_names.table.Tally`; older files lack mean and overlaps. Without one the group
``names``, a column for each field of `UnitName` (older files lack those of names from captions), and the group
``activity`` (examples, mean) where it is known.
"""

import json
import math
from dataclasses import fields
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from vlx.data.concepts import Concept
from vlx.errors import InputError
from vlx.files import hdf5
from vlx.neuron_names.formats.check import check
from vlx.neuron_names.formats.plain import DEFAULTS, TEXTS, WHOLE_NUMBERS, as_plain
from vlx.neuron_names.formats.rows import MOST_UNITS
from vlx.neuron_names.table.names import Activity, NeuronNames, UnitName
from vlx.neuron_names.table.tally import DENOMINATORS, Tally

FORMAT = "vlx neuron names"
SCHEMA = 1
COUNTS = ("intersection", "truth", "activation", "area")
NEWER_COLUMNS = ("auc", "p", "runner_up", "runner_up_auc")  # columns that older files do not have
ATTRIBUTES = ("format", "schema", "about", "units", "denominator", "categories", "quantile")
UNKNOWN_COUNT = -1  # a count that the table does not tell


def save_hdf5(names: NeuronNames, path: Path) -> None:
    """Everything, compressed; counts take 32 bits where they fit. Raises InputError for counts that cannot be."""
    if names.tally is not None:
        check(names.tally, str(path))
    try:
        hdf5.write(path, lambda file: _fill(file, names))
    except (TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: a name or a fact about the table cannot be written ({error})") from None


def _fill(file: Any, names: NeuronNames) -> None:
    about = json.dumps(names.about, default=as_plain)
    file.attrs.update({"format": FORMAT, "schema": SCHEMA, "units": len(names), "about": about})
    file.attrs["denominator"] = names.denominator
    file.attrs["categories"] = json.dumps(names.categories)
    if names.quantile is not None:
        file.attrs["quantile"] = names.quantile
    if names.tally is None:
        _write_listed(file.create_group("names"), names)
        if names.activity is not None:
            _write(file, "activity/examples", names.activity.examples)
            _write(file, "activity/mean", names.activity.means)
    else:
        _write_tally(file, names.tally)


def load(path: str | Path, *, most: int = hdf5.MOST_BYTES) -> NeuronNames:
    """Read what `save` wrote to .h5.

    ``most`` is how many bytes its arrays may declare together. Raises InputError for a missing, broken or foreign file,
    a newer schema, more than ``most``, and counts that contradict each other.
    """
    path = Path(path)
    if path.suffix.lower() != ".h5":
        raise InputError(f"{path}: tables are loaded from .h5; open other formats with vlx.neuron_names.read")
    with hdf5.reading(path, "table of names", ATTRIBUTES, most=most) as file:
        schema = file.attrs.get("schema")
        if file.attrs.get("format") != FORMAT or not isinstance(schema, np.integer):
            raise InputError(f"{path} was not written by NeuronNames.save; give a .h5 that was")
        if schema > SCHEMA:
            raise InputError(f"{path} has schema {schema}, this vlx reads up to {SCHEMA}; update vlx")
        return _read(path, file)


def _read(path: Path, file: Any) -> NeuronNames:
    about, categories = json.loads(file.attrs["about"]), json.loads(file.attrs["categories"])
    denominator, quantile = str(file.attrs["denominator"]), file.attrs.get("quantile")
    if not isinstance(about, dict) or denominator not in DENOMINATORS:
        raise ValueError(f"about or denominator {denominator!r} is not what it should be")
    units = int(file.attrs["units"])
    if not 0 <= units <= MOST_UNITS:
        raise ValueError(f"{units} units are more than a layer can have")
    tally = _read_tally(path, file) if "tally" in file else None
    if tally is not None and tally.units != units:
        raise ValueError(f"{tally.units} thresholds for {units} units")
    names = NeuronNames(
        () if tally is not None else _read_listed(file["names"], units),
        about,
        tally,
        None if quantile is None else float(quantile),
        denominator,
        None if categories is None else tuple(map(str, categories)),
        _read_activity(file["activity"], units) if "activity" in file else None,
    )
    if tally is not None and names.quantile is not None and not np.isclose(tally.quantiles, names.quantile).any():
        raise ValueError(f"quantile {names.quantile:g} was not counted")
    return names


def _write_tally(file: Any, tally: Tally) -> None:
    for name in Concept._fields:
        _write_texts(file, f"concepts/{name}", [getattr(concept, name) for concept in tally.concepts])
    for name, values in (("threshold", tally.thresholds), ("tied", tally.tied), ("examples", tally.examples)):
        _write(file, f"units/{name}", values)
    _write(file, "units/mean", tally.means)
    _write(file, "tally/overlaps", tally.overlaps)
    file.create_dataset("tally/quantiles", data=np.asarray(tally.quantiles, np.float64))
    for name in COUNTS:
        counts = getattr(tally, name)
        fits = not counts.size or int(counts.max()) <= np.iinfo(np.int32).max
        _write(file, f"tally/{name}", counts.astype(np.int32) if fits else counts)
    file["tally/activation"].attrs["rules"] = json.dumps(DENOMINATORS)


def _read_tally(path: Path, file: Any) -> Tally:
    """Shapes are compared before anything large is read."""
    concepts = tuple(map(Concept, *(_texts(file[f"concepts/{name}"]) for name in Concept._fields)))
    rules = json.loads(file["tally/activation"].attrs["rules"])
    if tuple(rules) != DENOMINATORS:
        raise ValueError(f"activation is counted by {rules}, not by {list(DENOMINATORS)}")
    folds, quantiles, units, _ = file["tally/intersection"].shape
    groups = len({concept.category for concept in concepts})
    expected = {
        "tally/intersection": (folds, quantiles, units, len(concepts)),
        "tally/truth": (folds, len(concepts)),
        "tally/activation": (len(DENOMINATORS), folds, quantiles, units, groups),
        "tally/area": (folds, groups),
        "tally/quantiles": (quantiles,),
        "units/threshold": (quantiles, units),
        "units/tied": (quantiles, units),
    }
    for name, shape in expected.items():
        if file[name].shape != shape:
            raise ValueError(f"{name} has shape {file[name].shape}, not {shape}")
    counts = {name: _whole(file[f"tally/{name}"]) for name in COUNTS}
    tally = Tally(
        concepts,
        tuple(map(float, file["tally/quantiles"][()])),
        np.asarray(file["units/threshold"][()], np.float32),
        tied=np.asarray(file["units/tied"][()], bool),
        examples=np.asarray(file["units/examples"][()], np.int32),
        means=_read_known(file, "units/mean", np.float32),
        overlaps=_read_known(file, "tally/overlaps", bool),
        **counts,
    )
    check(tally, str(path))
    return tally


def _write_listed(group: Any, names: NeuronNames) -> None:
    all_names = [name for listed in names.listed for name in listed]
    for field in fields(UnitName):
        values = [getattr(name, field.name) for name in all_names]
        if field.name in TEXTS:
            _write_texts(group, field.name, values)
        elif field.name in WHOLE_NUMBERS:
            _write(
                group, field.name, np.array([UNKNOWN_COUNT if value is None else value for value in values], np.int64)
            )
        else:
            _write(group, field.name, np.array([math.nan if value is None else value for value in values], np.float64))


def _read_listed(group: Any, units: int) -> tuple[tuple[UnitName, ...], ...]:
    columns: dict[str, list[Any]] = {
        name: _texts(group[name]) if name in TEXTS else group[name][()].tolist()
        for name in ("unit", *DEFAULTS)
        if name in group or name not in NEWER_COLUMNS
    }
    lengths = {len(values) for values in columns.values()}
    if len(lengths) != 1 or units < 0:
        raise ValueError("the columns of the names differ in length")
    listed: dict[int, list[UnitName]] = {}
    for values in zip(*columns.values(), strict=True):
        facts = {
            name: value
            for name, value in zip(columns, values, strict=True)
            if not (
                (name in WHOLE_NUMBERS and value == UNKNOWN_COUNT) or (isinstance(value, float) and math.isnan(value))
            )
        }
        listed.setdefault(facts["unit"], []).append(UnitName(**facts))
    if listed and not 0 <= min(listed) <= max(listed) < units:
        raise ValueError(f"names of units {min(listed)} to {max(listed)}, but there are {units}")
    return tuple(tuple(listed.get(unit, ())) for unit in range(units))


def _read_activity(group: Any, units: int) -> Activity:
    """Raises ValueError for activity of other units."""
    examples, means = np.asarray(group["examples"][()], np.int32), np.asarray(group["mean"][()], np.float32)
    if examples.ndim != 2 or len(examples) != units or means.shape != (units,) or not np.isfinite(means).all():
        raise ValueError(f"activity of {examples.shape} and {means.shape} for {units} units")
    return Activity(examples, means)


def _write(group: Any, name: str, values: NDArray[Any]) -> None:
    packed = {"compression": "gzip", "shuffle": True, "fletcher32": True} if values.size else {}
    group.create_dataset(name, data=values, **packed)


def _write_texts(group: Any, name: str, values: list[str]) -> None:
    group.create_dataset(name, data=np.array(values, dtype=object), dtype=h5py.string_dtype())


def _texts(dataset: Any) -> list[str]:
    return hdf5.texts(dataset)


def _read_known(file: Any, name: str, kind: Any) -> NDArray[Any]:
    """A dataset that older files do not have: empty there."""
    return np.asarray(file[name][()] if name in file else [], kind)


def _whole(dataset: Any) -> NDArray[np.int64]:
    if dataset.dtype.kind not in "iu":
        raise ValueError(f"{dataset.name} holds {dataset.dtype}, not whole numbers")
    return np.asarray(dataset[()], np.int64)
