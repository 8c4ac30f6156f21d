"""The JSON of davidbau/dissect (report.json) and of quick-netdissect and gandissect (dissect.json)."""

import math
from pathlib import Path
from typing import Any

from vlx.errors import InputError
from vlx.files import json_files
from vlx.neuron_names.formats.rows import LARGEST, Entry, count, number, of_layer
from vlx.neuron_names.table.names import UnitName

IOU_TOLERANCE = 1e-6  # between an IoU that is written and that of its counts


def parsed(path: Path) -> Any:
    """What a JSON file holds; raises InputError for a broken one."""
    return json_files.read(path, most=LARGEST, nan=True)  # an IoU of NaN is no name


def units_of(path: Path, part: Any, what: str) -> list[dict[str, Any]]:
    """The list "units" of a part of a file."""
    units = part.get("units") if isinstance(part, dict) else None
    if not isinstance(units, list) or not all(isinstance(one, dict) for one in units):
        raise InputError(f"{path}: {what} has no list of units; give the file as the tool wrote it")
    return units


def read_dissect(path: Path, whole: Any) -> list[Entry]:
    """What report.json says of each unit; an IoU of "NaN" is no name."""
    entries = []
    for n, record in enumerate(units_of(path, whole, "the report")):
        place = f"{path.name}, units[{n}]"
        require(place, record, ("unit", "iou", "label", "cat"))
        entries.append(Entry(place, count(record["unit"], f"{place}: unit"), _named(place, record, record["iou"])))
    return entries


def read_quick(path: Path, whole: Any, layer: str | None) -> tuple[list[Entry], str, dict[str, Any]]:
    """What dissect.json says of each unit of a layer, with thresholds and counts, the layer, and facts about all."""
    layers = whole.get("layers") if isinstance(whole, dict) else None
    if not isinstance(layers, list) or not all(isinstance(one, dict) for one in layers):
        raise InputError(f"{path} has no list of layers; give the dissect.json as the tool wrote it")
    layer = of_layer(path, (str(one.get("layer", "")) for one in layers), layer)
    matching = [one for one in layers if str(one.get("layer", "")) == layer]
    if len(matching) > 1:
        raise InputError(f"{path} has layer {layer!r} {len(matching)} times; keep one")
    share = whole.get("quantile_threshold")
    quantile = None if share is None else number(share, f"{path.name}: quantile_threshold")
    entries = [_quick(path, n, one, quantile) for n, one in enumerate(units_of(path, matching[0], f"layer {layer!r}"))]
    about = {"quantiles": [quantile]} if quantile is not None else {}
    return entries, layer, about | ({"model": str(whole["netname"])} if whole.get("netname") else {})


def _quick(path: Path, n: int, record: dict[str, Any], quantile: float | None) -> Entry:
    place = f"{path.name}, units[{n}]"
    # gandissect writes iou_label and iou_cat where quick-netdissect writes label and cat
    record = {
        **record,
        "label": record.get("label", record.get("iou_label")),
        "cat": record.get("cat", record.get("iou_cat")),
    }
    require(place, record, ("unit", "iou", "label", "cat"))
    facts: dict[str, Any] = {}
    if record.get("level") is not None:
        facts |= {"threshold": number(record["level"], f"{place}: level"), "quantile": quantile}
    if all(record.get(name) is not None for name in ("lc", "cc", "ic")):
        truth, activation, both = (count(record[name], f"{place}: {name}") for name in ("lc", "cc", "ic"))
        facts |= {"truth": truth, "activation": activation, "intersection": both}
        union, iou = truth + activation - both, _iou(place, record["iou"])
        if not math.isnan(iou) and abs(iou - (both / union if union else 0.0)) > IOU_TOLERANCE:
            raise InputError(f"{place}: iou is {iou:.6g}, but the counts lc, cc, ic give another; mend the file")
    return Entry(place, count(record["unit"], f"{place}: unit"), _named(place, record, record["iou"], **facts))


def _named(place: str, record: dict[str, Any], written: Any, **facts: Any) -> tuple[UnitName, ...]:
    iou, label = _iou(place, written), record["label"]
    if not isinstance(label, str) or not isinstance(record["cat"], str):
        raise InputError(f"{place}: label and cat must be texts, not {label!r} and {record['cat']!r}")
    return (UnitName(0, label, record["cat"], iou, iou, **facts),) if label and iou > 0 else ()


def _iou(place: str, written: Any) -> float:
    if (isinstance(written, str) and written == "NaN") or (isinstance(written, float) and math.isnan(written)):
        return math.nan
    return number(written, f"{place}: iou")


def require(place: str, record: dict[str, Any], wanted: tuple[str, ...]) -> None:
    """Raise InputError naming what a unit lacks."""
    missing = [name for name in wanted if record.get(name) is None]
    if missing:
        raise InputError(f"{place} lacks {', '.join(missing)}; give the file as the tool wrote it")
