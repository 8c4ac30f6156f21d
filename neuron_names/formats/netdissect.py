"""The tables of Network Dissection (Bau et al. 1704.05796) and NetDissect-Lite: one row a unit, one group of columns a
category, found by name.
"""

import ast
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from vlx.errors import InputError
from vlx.language import shortened
from vlx.neuron_names.formats.rows import Entry, TableRow, require_columns
from vlx.neuron_names.table.names import UnitName
from vlx.process import ignoring

COLUMNS = ("unit", "category", "label", "score")
GROUP = ("label", "truth", "activation", "intersect", "iou")
SUFFIXES = {"scene": "-s", "color": "-c"}  # of Broden's labels: kept where two would become one
IOU_TOLERANCE = 1e-6  # between a score and the IoU of its own columns or counts
LONGEST_LITERAL = 10_000  # characters of a Python literal that is worth parsing
# Median share of the objects' activation that is counted for parts (for materials): above it the paper's denominator,
# below it NetDissect-Lite's, which leaves out pictures whose parts the mask misses. In published tables it is
# 0.56 to 0.68 (0.52 to 0.71) by the paper's, 0.42 to 0.45 (0.31 to 0.39) by NetDissect-Lite's.
LITE_BELOW = {"part": 0.5, "material": 0.45}


@dataclass(frozen=True)
class UnitMeasures:
    """One row: its names with the labels as they stand, and the activation of each category."""

    entry: Entry
    activation: dict[str, int]


def categories_of(path: Path, header: Sequence[str]) -> tuple[str, ...]:
    """The categories that have columns; raises InputError when one lacks a column of its group."""
    require_columns(path, header, COLUMNS, "a NetDissect table")
    prefixes = dict.fromkeys(
        match[1] for match in (re.fullmatch(rf"(.+)-({'|'.join(GROUP)})", name) for name in header) if match
    )
    groups = tuple(name for name in prefixes if not re.fullmatch(r"top\d+", name))
    require_columns(path, header, [f"{name}-{column}" for name in groups for column in GROUP], "a NetDissect table")
    return groups


def is_lite(header: Sequence[str]) -> bool:
    """Whether the groups stand in NetDissect-Lite's order: colours first, where Network Dissection has objects."""
    return next((name for name in header if name.endswith("-label") and name != "label"), "") == "color-label"


def read(path: Path, header: Sequence[str], rows: Iterable[TableRow]) -> tuple[list[Entry], str]:
    """What the table says of each unit, and whose denominator it uses: "paper", "lite", or "unknown"."""
    groups = categories_of(path, header)
    measured = [_measured(row, groups) for row in rows]
    shown = _displayed({(one.category, one.concept) for row in measured for one in row.entry.names})
    entries = [
        replace(
            row.entry,
            names=tuple(replace(one, concept=shown[one.category, one.concept]) for one in row.entry.names),
        )
        for row in measured
    ]
    return entries, denominator(measured)


def denominator(rows: Sequence[UnitMeasures]) -> str:
    """Whose rule the activation follows, from how much less is counted for parts or materials than for objects."""
    for category, limit in LITE_BELOW.items():
        shares = [
            row.activation[category] / row.activation["object"]
            for row in rows
            if row.activation.get("object") and category in row.activation
        ]
        if shares:
            return "paper" if median(shares) >= limit else "lite"
    return "unknown"


def _measured(row: TableRow, groups: Sequence[str]) -> UnitMeasures:
    names = [name for group in groups if (name := _of_group(row, group)) is not None]
    best = row.text("category") if row.text("label") else ""
    if best:
        _check_best(row, best, groups, names)
    names.sort(key=lambda one: (-one.score, one.category != best))
    scored = tuple(one for one in names if one.score > 0)  # at 0 any label is as good
    activation = {one.category: one.activation for one in names if one.activation is not None}
    return UnitMeasures(Entry(row.place, row.count("unit"), scored), activation)


def _of_group(row: TableRow, group: str) -> UnitName | None:
    """A category's best concept; None where the label is empty, which stands for the background."""
    label = row.text(f"{group}-label")
    if not label:
        return None
    truth, activation, both = (row.count(f"{group}-{name}") for name in ("truth", "activation", "intersect"))
    iou = row.number(f"{group}-iou")
    if both > min(truth, activation):
        raise InputError(f"{row.place}: {group}-intersect {both} exceeds truth {truth} or activation {activation}")
    union = truth + activation - both
    exact = both / union if union else 0.0
    if abs(iou - exact) > IOU_TOLERANCE:
        raise InputError(f"{row.place}: {group}-iou is {iou:.6g}, but the counts give {exact:.6g}; mend the table")
    return UnitName(
        0, label, group, iou, iou, intersection=both, truth=truth, activation=activation
    )  # the unit's number comes with `arrange`


def _check_best(row: TableRow, best: str, groups: Sequence[str], names: Sequence[UnitName]) -> None:
    """The unit's own label must be that of its category's columns, its score their IoU, and none better."""
    if best not in groups:
        raise InputError(f"{row.place}: category {best!r} has no columns; there are: {', '.join(groups)}")
    best_name = next((one for one in names if one.category == best), UnitName(0))
    label, score = row.text("label"), row.number("score")
    if best_name.concept != label:
        raise InputError(
            f"{row.place}: label is {label!r}, but {best}-label is {best_name.concept!r}; columns are mixed up"
        )
    if abs(best_name.iou - score) > IOU_TOLERANCE:
        raise InputError(
            f"{row.place}: score is {score:.6g}, but {best}-iou is {best_name.iou:.6g}; columns are mixed up"
        )
    higher = max(names, key=lambda one: one.iou)
    if higher.iou > best_name.iou + IOU_TOLERANCE:
        raise InputError(
            f"{row.place}: {label!r} is not the best: {higher.category}-iou of {higher.concept!r} is {higher.iou:.6g}"
        )
    first = _literal_name(row, "top1-label")
    if first and first != label:
        raise InputError(f"{row.place}: label is {label!r}, but top1-label is {first!r}; columns are mixed up")


def _literal_name(row: TableRow, column: str) -> str:
    """The name in a Python dict literal, empty where there is none; it is parsed, never run."""
    written = row.text(column)
    if not written:
        return ""
    try:
        with ignoring(SyntaxWarning):
            literal: Any = ast.literal_eval(written) if len(written) < LONGEST_LITERAL else None
        return str(literal["name"])
    except (KeyError, MemoryError, RecursionError, SyntaxError, TypeError, ValueError):
        raise InputError(f"{row.place}: {column} is {shortened(written)!r}, not a dict with a name") from None


def _displayed(labels: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """(category, label) → the label to show, without its suffix and underscores unless two labels would be one."""
    shown = {key: key[1].removesuffix(SUFFIXES.get(key[0], "\0")).replace("_", " ").strip() for key in labels}
    taken: dict[tuple[str, str], int] = {}
    for (category, _), name in shown.items():
        taken[category, name] = taken.get((category, name), 0) + 1
    return {
        (category, label): name if name and taken[category, name] == 1 else label
        for (category, label), name in shown.items()
    }
