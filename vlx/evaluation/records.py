"""What one run measured: a record for each picture, ask, method and target, and all records of a metric as columns."""

from array import array
from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Which = NDArray[np.bool_]
NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Record:
    """One measured ``value``: of what is asked (number ``ask``) about picture ``key``, by one method and target.

    ``target`` is empty for a baseline, which knows of none. ``value`` is NaN where nothing could be measured. ``area``
    is the share of the picture that what was asked about covers, NaN where it is not known. ``beside`` is what else
    the figures need, as JSON has it; "empty" marks a map without a positive cell.

    >>> Record("000001.jpg", 0, "dog", "hirescam", "logit", "energy", 0.7).value
    0.7
    """

    key: str
    ask: int
    group: str
    method: str
    target: str
    metric: str
    value: float
    area: float = float("nan")
    beside: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """A line of the run's file; NaN is null, what is not known is left out."""
        line: dict[str, Any] = {
            "key": self.key,
            "ask": self.ask,
            "group": self.group,
            "method": self.method,
            "target": self.target,
            "metric": self.metric,
            "value": None if self.value != self.value else self.value,
        }
        return (
            line
            | ({} if self.area != self.area else {"area": self.area})
            | ({"beside": dict(self.beside)} if self.beside else {})
        )

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> "Record":
        """The record that `to_json` wrote; raises KeyError, TypeError or ValueError for anything else."""
        value, area, beside = line["value"], line.get("area"), line.get("beside", NOTHING)
        texts = [line[name] for name in ("key", "group", "method", "target", "metric")]
        if not all(isinstance(text, str) for text in texts) or not isinstance(beside, Mapping):
            raise TypeError("no record")
        key, group, method, target, metric = texts
        nan, ask = float("nan"), int(line["ask"])
        if not 0 <= ask < 2**31:
            raise ValueError("no ask")
        return cls(
            *(key, ask, group, method, target, metric),
            nan if value is None else float(value),
            nan if area is None else float(area),
            beside,
        )


class _Codes:
    """Texts by number, in the order in which they came."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def of(self, text: str) -> int:
        return self.numbers.setdefault(text, len(self.numbers))


class Columns:
    """All records of one metric, in order, column by column: `value`, `area`, `picture`, `ask`, `group`, `line` [N].

    ``picture`` numbers the pictures, ``group`` is a number of `groups`, ``line`` one of `lines`: (method, target).
    A record's own name is ``of`` what it measures, where a metric has several figures (`Record.metric`).

    >>> columns = Columns([Record("a", 0, "dog", "hirescam", "logit", "energy", 0.7)])
    >>> columns.lines, columns.value
    ([('hirescam', 'logit')], array([0.7]))
    """

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self._keys, self._groups, self._lines = _Codes(), _Codes(), dict[tuple[str, str], int]()
        self._numbers = array("i")  # picture, ask, group, line of each record
        self._values = array("d")  # value, area
        self.beside: dict[int, Mapping[str, Any]] = {}
        self._read: dict[str, Values] = {}  # what `told` gave
        for record in records:
            self.add(record)

    def add(self, record: Record) -> None:
        """Count one record."""
        line = self._lines.setdefault((record.method, record.target), len(self._lines))
        if record.beside:
            self.beside[len(self)] = record.beside
        self._numbers.extend((self._keys.of(record.key), record.ask, self._groups.of(record.group), line))
        self._values.extend((record.value, record.area))

    def __len__(self) -> int:
        return len(self._values) // 2

    @property
    def keys(self) -> list[str]:
        """The keys of the pictures, in the order in which they came."""
        return list(self._keys.numbers)

    @property
    def groups(self) -> list[str]:
        """The groups, in the order in which they came."""
        return list(self._groups.numbers)

    @property
    def lines(self) -> list[tuple[str, str]]:
        """Methods and targets, in the order in which they came."""
        return list(self._lines)

    @property
    def value(self) -> Values:
        """The values, float64 [N]."""
        return self._arrays[1][:, 0]

    @property
    def area(self) -> Values:
        """The areas, float64 [N]."""
        return self._arrays[1][:, 1]

    @property
    def picture(self) -> NDArray[np.int32]:
        """Which picture each record is of, int [N]."""
        return self._arrays[0][:, 0]

    @property
    def ask(self) -> NDArray[np.int32]:
        """Which of the things that are asked about its picture each record is of, int [N]."""
        return self._arrays[0][:, 1]

    @property
    def group(self) -> NDArray[np.int32]:
        """The number of each record's group, int [N]."""
        return self._arrays[0][:, 2]

    @property
    def line(self) -> NDArray[np.int32]:
        """The number of each record's (method, target), int [N]."""
        return self._arrays[0][:, 3]

    def told(self, name: str) -> Values:
        """A number that stands beside every record, float64 [N]; NaN where it does not."""
        if len(self._read.get(name, ())) != len(self):
            values = np.full(len(self), np.nan)
            for number, beside in self.beside.items():
                values[number] = beside.get(name, np.nan)
            values.setflags(write=False)
            self._read[name] = values
        return self._read[name] if len(self) else np.zeros(0)

    def of(self, name: str) -> "Columns":
        """The same records with a number that stands beside each as its value.

        >>> columns = Columns([Record("a", 0, "dog", "hirescam", "logit", "deletion", 0.1, beside={"logit": 4.0})])
        >>> columns.of("logit").value
        array([4.])
        """
        return self.revalued(self.told(name))

    def revalued(self, values: Values) -> "Columns":
        """The same records with other values [N]: where a metric has a second figure of each."""
        other = copy(self)
        vars(other).pop("_arrays", None)
        other._values = array("d", np.stack([values, self.area], 1).ravel())
        return other

    @cached_property
    def _arrays(self) -> tuple[NDArray[np.int32], Values]:
        return np.array(self._numbers, np.int32).reshape(-1, 4), np.array(self._values, np.float64).reshape(-1, 2)

    def numbered(self, which: Which) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """The numbers of some records, and what stands beside each."""
        for number in np.flatnonzero(which).tolist():
            yield number, self.beside.get(number, NOTHING)
