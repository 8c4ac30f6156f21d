"""What variants of a method change, in points: as a paper has it, and here of the very same asks."""

from collections.abc import Iterator, Mapping
from functools import cached_property

import numpy as np

from benchmarks.paper_runs import Section
from vlx.evaluation.figures import above
from vlx.evaluation.records import Columns

FIRST, CHANGED = "gradcam", "localization"  # what variants are compared with, and by
TITLE = "change of the share that fits, in points"
NONE = "–"
Recorded = Mapping[str, Columns]  # by metric


class ToldTable:
    """A table as a page tells it, with the line below: cells by row and column, without their stress."""

    def __init__(self, told: str) -> None:
        self.told = told

    @cached_property
    def _lines(self) -> list[list[str]]:
        lines = [line for line in self.told.splitlines() if line.startswith("|")]
        return [[cell.strip(" *°") for cell in line.strip("|").split("|")] for line in lines]

    @property
    def columns(self) -> list[str]:
        """The names of its columns."""
        return self._lines[0][1:]

    @cached_property
    def rows(self) -> dict[str, dict[str, str]]:
        """Its cells, by row and column."""
        return {name: dict(zip(self.columns, cells, strict=True)) for name, *cells in self._lines[2:]}

    @property
    def model(self) -> str:
        """What the line below begins with."""
        return self.told.rstrip().splitlines()[-1].partition(",")[0]

    def number(self, row: str, column: str) -> float:
        """The value of a cell, without its interval; NaN where there is none."""
        cell = self.rows.get(row, {}).get(column, NONE).partition(" ± ")[0]
        return float("nan") if cell in ("", NONE) else float(cell.replace("−", "-"))


def changes_table(
    section: Section, told: Mapping[str, str], records: Mapping[str, Recorded], before: str = ""
) -> Iterator[str]:
    """What each variant changes against the first method, in points: in the paper, and in the runs of a section.

    With an interval where a run's ``records`` are at hand, by metric; else as the page ``before`` has it, whose tables
    are ``told`` again; else as these tables differ.
    """
    tables = {run: table for run in section.runs if CHANGED in (table := ToldTable(told[run.name] or "||")).columns}
    if not section.changes or not tables:
        return
    known = kept_changes(before, section).rows
    models = " | ".join(table.model for table in tables.values())
    yield f"| {TITLE} | paper, top-1 | {models} |"
    yield f"| --- |{' ---: |' * (1 + len(tables))}"
    for name, there in section.changes.items():
        cells = [points(there)]
        for run, table in tables.items():
            columns = records.get(run.name, {}).get(CHANGED)
            change = 100 * (table.number(name, CHANGED) - table.number(FIRST, CHANGED))
            kept = known.get(f"{name} less {FIRST}", {}).get(table.model, points(change))
            cells.append(kept if columns is None else changed(columns, run.group, name))
        yield f"| {name} less {FIRST} | {' | '.join(cells)} |"
    yield ""


def kept_changes(page: str, section: Section) -> ToldTable:
    """The table of changes that a page has of a section; an empty one where it has none."""
    _, _, below = page.partition(f"## {section.title}\n")
    _, found, table = below.partition("\n## ")[0].partition(f"| {TITLE} |")
    return ToldTable(f"{found}{table}".partition("\n\n")[0] or "||\n||")


def changed(columns: Columns, group: str, name: str) -> str:
    """How far a method lies above the first on the same asks, in points, with half its interval over pictures."""
    lines = {method: columns.line == number for number, (method, target) in enumerate(columns.lines) if target}
    if name not in lines or FIRST not in lines:
        return NONE
    of = np.isin(columns.group, [number for number, one in enumerate(columns.groups) if group in ("", one)])
    told = above(columns, lines[name] & of, lines[FIRST] & of)
    return NONE if told is None else f"{points(100 * told[0])} ± {50 * (told[2] - told[1]):.1f}"


def points(change: float) -> str:
    """Points with their sign; a dash for what is not known.

    >>> points(-15.33), points(1.46), points(-0.01), points(float("nan"))
    ('−15.3', '+1.5', '0.0', '–')
    """
    told = NONE if change != change else f"{abs(change):.1f}"
    return told if told == NONE or float(told) == 0 else f"{'−' if change < 0 else '+'}{told}"
