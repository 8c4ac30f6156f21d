"""A table of measured shares with their intervals and baselines."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from rich.markup import escape
from rich.table import Table


@dataclass(frozen=True)
class Figure:
    """One measured value of one group of words under one method and target, with a 95 % interval and baselines.

    For the pointing game all are shares, 0 to 1: ``random`` a uniformly random point, ``centre`` the picture's
    centre, ``same`` the map of the whole sentence, or of another question about the same picture. Of reasons
    ``permuted`` is the same figure under permuted names. Of words about photographs ``ahead`` is how far the value lies
    above the centre's, with its own interval over pictures, and ``paper`` the figure of a publication.
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


@dataclass(frozen=True)
class Result:
    """What one evaluation measured on ``n`` pictures, ``of`` which kind, and the command that repeats it.

    ``notes`` tell what was left out, and why.
    """

    model: str
    n: int
    rows: tuple[Figure, ...]
    command: str
    of: str = "scenes"
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """{"model", "n", "command", "rows": […]}, one row a figure; None where there is no such baseline."""
        rows = [{key: None if value != value else value for key, value in asdict(row).items()} for row in self.rows]
        told = {"notes": list(self.notes)} if self.notes else {}
        return {"model": self.model, "n": self.n, "command": self.command, **told, "rows": rows}

    def value(self, group: str, method: str, target: str, metric: str = "pointing") -> float:
        """One figure of the table."""
        wanted = (group, method, target, metric)
        return next(r.value for r in self.rows if (r.group, r.method, r.target, r.metric) == wanted)

    def table(self) -> Table:
        """The figures for a terminal: one line a method, target and metric, one column a group of words."""
        caption = escape("\n".join(self.notes)) or None
        title = escape(f"{self.model}, {self.n} {self.of}\n{self.command}")
        table = Table(title=title, title_justify="left", caption=caption)
        groups, metrics = (list(dict.fromkeys(getattr(row, name) for row in self.rows)) for name in ("group", "metric"))
        table.add_column("method", no_wrap=True)
        aimed = any(row.target for row in self.rows)
        if aimed:
            table.add_column("target")
        if len(metrics) > 1:
            table.add_column("", no_wrap=True)
        for group in groups:
            table.add_column(group, justify="right")
        for metric in metrics:
            told = [metric] if len(metrics) > 1 else []
            rows = [row for row in self.rows if row.metric == metric]
            for method, target in dict.fromkeys((row.method, row.target) for row in rows):
                own = {row.group: row for row in rows if (row.method, row.target) == (method, target)}
                table.add_row(method, *[target][:aimed], *told, *(_cell(own.get(group)) for group in groups))
            for name in ("same", "centre", "random", "permuted", "paper"):
                first = {row.group: getattr(row, name) for row in reversed(rows)}
                if not all(np.isnan(value) for value in first.values()):
                    baseline = _BASELINES.get((metric, name), _BASELINES["", name])
                    cells = (_number(first.get(group, float("nan"))) for group in groups)
                    table.add_row(f"[dim]{baseline}", *[""][:aimed], *told, *cells)
            table.add_section()
        return table


_BASELINES = {
    ("", "same"): "map of another word",
    ("", "centre"): "picture's centre",
    ("", "random"): "random point",
    ("", "permuted"): "names permuted",
    ("", "paper"): "Grad-CAM's paper (other photographs)",
    ("first reason", "random"): "random reason",
}


def _cell(row: Figure | None) -> str:
    if row is None or row.ahead is None:
        return "" if row is None else _number(row.value)
    _, low, high = row.ahead
    return f"{_number(row.value)} ({low:+.3f} to {high:+.3f})"


def _number(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.3f}"
