"""What a self-test found: rows of a table, and the verdict that they come to."""

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import Literal

from vlx.errors import ModelError

Verdict = Literal["passed", "failed", "not proven"]

TOLD: dict[str, str] = {"passed": "passed", "failed": "FAILED", "not proven": "NOT PROVEN"}
LONGEST = 300  # characters of an error's message


@dataclass(frozen=True)
class Row:
    """One check: a measured ``value``, which must not exceed its ``limit`` or, with ``at_least``, must reach it.

    ``passed`` is None where nothing was measured: the check does not apply to such a model or, with ``decisive``, it
    does and could not run. ``remark`` says what was measured, why it does not apply, what to give so that it can run,
    or what a failure means and what to do.
    """

    name: str
    value: float | None
    limit: float | None
    passed: bool | None
    remark: str = ""
    at_least: bool = False
    decisive: bool = False

    @property
    def open(self) -> bool:
        """Whether the check is one that decides and could not run."""
        return self.passed is None and self.decisive

    @property
    def told(self) -> str:
        """How the row ended, in a word."""
        if self.open:
            return TOLD["not proven"]
        return {True: TOLD["passed"], False: TOLD["failed"], None: "–"}[self.passed]

    @property
    def cells(self) -> tuple[str, str, str, str, str]:
        """Name, value, limit, how it ended and remark as a table shows them."""
        value = "" if self.value is None else f"{self.value:.3g}"
        limit = "" if self.limit is None else f"{'≥' if self.at_least else '≤'} {self.limit:.3g}"
        return self.name, value, limit, self.told, self.remark


@dataclass(frozen=True)
class SelfTest:
    """What the self-test found of ``model``, one row a check; ``test["patch probe"]`` is a row by name."""

    model: str
    rows: tuple[Row, ...]

    @property
    def verdict(self) -> Verdict:
        """Failed when a row failed, not proven when one that decides could not run, else passed."""
        if self.failed:
            return "failed"
        return "not proven" if self.open else "passed"

    @property
    def passed(self) -> bool:
        """Whether every check that decides did run, and none failed."""
        return self.verdict == "passed"

    @property
    def failed(self) -> tuple[Row, ...]:
        """The rows that failed."""
        return tuple(row for row in self.rows if row.passed is False)

    @property
    def open(self) -> tuple[Row, ...]:
        """The rows that decide and could not run; their remarks say what to give so that they can."""
        return tuple(row for row in self.rows if row.open)

    @property
    def title(self) -> str:
        """The model and the verdict in a line."""
        return f"{self.model}: self-test {TOLD[self.verdict]}"

    def raise_if_failed(self) -> None:
        """Raises ModelError with the rows that failed; see `raise_unless_passed` for those that could not run."""
        if self.failed:
            raise ModelError(_message(f"{self.model} fails its self-test", self.failed))

    def raise_unless_passed(self) -> None:
        """Raises ModelError with the rows that failed or, where none did, with those that could not run."""
        self.raise_if_failed()
        if self.open:
            raise ModelError(_message(f"{self.model} is not proven by its self-test", self.open))

    def __getitem__(self, name: str) -> Row:
        return next(row for row in self.rows if row.name == name)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __str__(self) -> str:
        table = [("check", "value", "limit", "", ""), *(row.cells for row in self.rows)]
        wide = [max(len(line[column]) for line in table) for column in range(4)]
        lines = ["  ".join([*map(str.ljust, line[:4], wide), line[4]]).rstrip() for line in table]
        return "\n".join([self.title, *lines])

    def _repr_html_(self) -> str:
        body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row.cells)}</tr>" for row in self.rows)
        head = "".join(f"<th>{name}</th>" for name in ("check", "value", "limit", "", "remark"))
        return f"<table><caption>{escape(self.title)}</caption><tr>{head}</tr>{body}</table>"


def _message(told: str, rows: tuple[Row, ...]) -> str:
    """The first row with its remark, the others by name."""
    more = f"; also {', '.join(row.name for row in rows[1:])}" if rows[1:] else ""
    room = LONGEST - len(more)
    first = f"{told}: {rows[0].name}: {rows[0].remark}"
    return (first if len(first) <= room else f"{first[: max(room - 1, 0)]}…") + more


def row(name: str, value: float, limit: float, passed: str, failed: str) -> Row:
    """A value that must not exceed its limit, with one remark or the other; NaN fails."""
    fine = value <= limit
    return Row(name, value, limit, fine, passed if fine else failed)


def idle(name: str, reason: str) -> Row:
    """A check that does not apply to such a model."""
    return Row(name, None, None, None, reason)


def unproven(name: str, reason: str) -> Row:
    """A check that decides and could not run; the reason names what to give so that it can."""
    return Row(name, None, None, None, reason, decisive=True)
