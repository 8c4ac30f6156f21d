"""What a self-test found: rows of a table, which knows whether it passed."""

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from vlx.errors import ModelError


@dataclass(frozen=True)
class Row:
    """One check: a measured ``value``, which must not exceed its ``limit`` or, with ``at_least``, must reach it.

    ``passed`` is None where the check does not apply. ``remark`` says what was measured, why it does not apply, or
    what a failure means and what to do.
    """

    name: str
    value: float | None
    limit: float | None
    passed: bool | None
    remark: str = ""
    at_least: bool = False

    @property
    def cells(self) -> tuple[str, str, str, str, str]:
        """Name, value, limit, verdict and remark as a table shows them."""
        value = "" if self.value is None else f"{self.value:.3g}"
        limit = "" if self.limit is None else f"{'≥' if self.at_least else '≤'} {self.limit:.3g}"
        return self.name, value, limit, {True: "passed", False: "FAILED", None: "–"}[self.passed], self.remark


@dataclass(frozen=True)
class SelfTest:
    """What the self-test found of ``model``, one row a check; ``test["patch probe"]`` is a row by name."""

    model: str
    rows: tuple[Row, ...]

    @property
    def passed(self) -> bool:
        """Whether no check failed; those that do not apply do not count."""
        return not self.failed

    @property
    def failed(self) -> tuple[Row, ...]:
        """The rows that failed."""
        return tuple(row for row in self.rows if row.passed is False)

    def raise_if_failed(self) -> None:
        """Raises ModelError with the failed rows."""
        if self.failed:
            told = "; ".join(f"{row.name}: {row.remark}" for row in self.failed)
            raise ModelError(f"{self.model} fails its self-test: {told}")

    def __getitem__(self, name: str) -> Row:
        return next(row for row in self.rows if row.name == name)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __str__(self) -> str:
        table = [("check", "value", "limit", "", ""), *(row.cells for row in self.rows)]
        wide = [max(len(line[column]) for line in table) for column in range(4)]
        lines = ["  ".join([*map(str.ljust, line[:4], wide), line[4]]).rstrip() for line in table]
        return "\n".join([f"{self.model}: self-test {'passed' if self.passed else 'FAILED'}", *lines])

    def _repr_html_(self) -> str:
        body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row.cells)}</tr>" for row in self.rows)
        head = "".join(f"<th>{name}</th>" for name in ("check", "value", "limit", "", "remark"))
        verdict = "passed" if self.passed else "FAILED"
        caption = f"<caption>{escape(self.model)}: self-test {verdict}</caption>"
        return f"<table>{caption}<tr>{head}</tr>{body}</table>"


def row(name: str, value: float, limit: float, passed: str, failed: str) -> Row:
    """A value that must not exceed its limit, with one remark or the other; NaN fails."""
    fine = value <= limit
    return Row(name, value, limit, fine, passed if fine else failed)


def idle(name: str, reason: str) -> Row:
    """A check that does not apply."""
    return Row(name, None, None, None, reason)
