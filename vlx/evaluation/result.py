"""A table of measured shares with their intervals and baselines."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from io import StringIO
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table


@dataclass(frozen=True)
class Figure:
    """One measured value of one group of words under one method and target, with a 95 % interval and baselines.

    For the pointing game all are shares, 0 to 1: ``random`` a uniformly random point, ``centre`` the picture's
    centre, ``same`` the map of the whole sentence, or of another question about the same picture. Of reasons
    ``permuted`` is the same figure under permuted names. ``ahead`` and ``over_random`` are how far the values lie above
    the centre's and the random ones of the same asks, with an interval over pictures; ``paper`` is the figure of a
    publication. ``count`` asks were measured, ``unmeasured`` of them could not be, ``empty`` have a map without a
    positive cell.
    """

    group: str
    method: str
    target: str
    metric: str
    value: float
    low: float
    high: float
    random: float
    centre: float
    same: float
    count: int
    permuted: float = float("nan")
    ahead: tuple[float, float, float] | None = None
    paper: float = float("nan")
    over_random: tuple[float, float, float] | None = None
    unmeasured: int = 0
    empty: int = 0


@dataclass(frozen=True)
class Result:
    """What one evaluation measured on ``n`` pictures, ``of`` which kind, and the command that repeats it.

    ``notes`` tell what was left out, and why; ``unread`` are the pictures that could not be read. ``better`` says of
    each metric which values are good, "high" or "low".
    """

    model: str
    n: int
    rows: tuple[Figure, ...]
    command: str
    of: str = "scenes"
    notes: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    better: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """{"model", "n", "command", "rows": […]}, one row a figure; None where there is no such baseline."""
        rows = [{key: None if value != value else value for key, value in asdict(row).items()} for row in self.rows]
        told = {"notes": list(self.notes)} if self.notes else {}
        return {"model": self.model, "n": self.n, "command": self.command, **told, "rows": rows}

    def __str__(self) -> str:
        """The table as plain text."""
        console = Console(width=TEXT, file=StringIO())
        console.print(self.table())
        return str(console.file.getvalue()).rstrip()  # type: ignore[attr-defined]

    def value(self, group: str, method: str, target: str, metric: str = "pointing") -> float:
        """One figure of the table."""
        wanted = (group, method, target, metric)
        return next(r.value for r in self.rows if (r.group, r.method, r.target, r.metric) == wanted)

    def table(self) -> Table:
        """The figures for a terminal: one line a method, target and metric, one column a group of words.

        More than twelve groups are told by their mean alone; each stands in `to_json`. To the right stand the mean over
        groups and, where there is room, how far it lies above the centre's and the random figure, each with its 95 %
        interval; how many maps are empty and how many asks could not be measured, where any.
        """
        caption = escape("\n".join(self.notes)) or None
        title = escape(f"{self.model}, {self.n} {self.of}\n{self.command}")
        table = Table(title=title, title_justify="left", caption=caption)
        groups, metrics = (list(dict.fromkeys(getattr(row, name) for row in self.rows)) for name in ("group", "metric"))
        groups.sort(key=lambda group: group == MACRO)
        groups = [MACRO] if len(groups) > MOST else groups
        table.add_column("method", no_wrap=True)
        aimed = any(row.target for row in self.rows)
        if aimed:
            table.add_column("target")
        if len(metrics) > 1:
            table.add_column("", no_wrap=True)
        narrow = len(groups) > WIDE
        for group in groups:
            table.add_column(group, justify="right")
        roomy = len(groups) <= ROOMY
        beside = {n: head for n, head in _BESIDE.items() if (roomy or n in COUNTS) and any(map(_tells(n), self.rows))}
        for head in beside.values():
            table.add_column(head, justify="right")
        for metric in metrics:
            told = [metric] if len(metrics) > 1 else []
            rows = [row for row in self.rows if row.metric == metric]
            for method, target in dict.fromkeys((row.method, row.target) for row in rows):
                own = {row.group: row for row in rows if (row.method, row.target) == (method, target)}
                cells = [_cell(own.get(group), narrow=narrow and group != MACRO) for group in groups]
                ends = [_beside(own, name) for name in beside]
                table.add_row(method, *[target][:aimed], *told, *cells, *ends)
            for name in ("same", "centre", "random", "permuted", "paper"):
                first = {row.group: getattr(row, name) for row in reversed(rows)}
                if not all(np.isnan(value) for value in first.values()):
                    known = "pointing" if metric.startswith("pointing") else metric
                    baseline = _BASELINES.get((known, name), _BASELINES["", name])
                    cells = [_number(first.get(group, float("nan"))) for group in groups]
                    table.add_row(f"[dim]{baseline}", *[""][:aimed], *told, *cells, *[""] * len(beside))
            table.add_section()
        return table


MACRO = "mean of groups"
TEXT = 150  # characters of a line of the table as text
MOST = 13  # groups of which each has a column; of more the mean over them
ROOMY = 6  # groups beside which the differences from baselines have room
COUNTS = ("empty", "unmeasured")
WIDE = 3  # groups whose intervals have room in a table
_BESIDE = {"ahead": "less centre", "over_random": "less random", "empty": "empty", "unmeasured": "left out"}
_BASELINES = {
    ("", "same"): "map of another word",
    ("", "centre"): "centred map",
    ("", "random"): "random map",
    ("pointing", "centre"): "picture's centre",
    ("pointing", "random"): "random point",
    ("", "permuted"): "names permuted",
    ("", "paper"): "Grad-CAM's paper (other photographs)",
    ("first reason", "random"): "random reason",
    ("hallucination", "same"): "p alone, the better of log p and lead",
    ("hallucination", "random"): "chance",
}


def _tells(name: str) -> Callable[[Figure], bool]:
    return lambda row: bool(getattr(row, name))


def _cell(row: Figure | None, *, narrow: bool) -> str:
    """A value with half its interval."""
    if row is None:
        return ""
    half = (row.high - row.low) / 2
    return _number(row.value) + ("" if narrow or np.isnan(half) else f" ±{half:.3f}".replace("±0.", "±."))


def _beside(own: Mapping[str, Figure], name: str) -> str:
    """What stands at the end of a line: of the mean over groups, or of the first group; counts of all groups."""
    if name in COUNTS:
        return str(sum(getattr(row, name) for row in own.values() if row.group != MACRO) or "")
    by_size = len(own) < 2 or MACRO not in own or "all objects" in own
    difference = getattr(next(iter(own.values())) if by_size else own[MACRO], name)
    if difference is None or np.isnan(difference[0]):
        return ""
    value, low, high = difference
    return f"{value:+.3f} ({low:+.3f} to {high:+.3f})"


def _number(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.3f}"
