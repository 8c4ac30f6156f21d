"""What comes of one batch of pictures, and of a whole run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vlx.evaluation.omitted import Omitted
from vlx.evaluation.records import Columns, Record


@dataclass(frozen=True)
class MeasuredBatch:
    """What came of one batch: the ``keys`` of its pictures, its ``records``, how many pictures were ``measured``."""

    keys: tuple[str, ...]
    records: tuple[Record, ...]
    measured: int
    unread: tuple[str, ...]
    omitted: Omitted

    def mark(self) -> dict[str, Any]:
        """The line of a run's file that stands behind the records: the batch before it is whole."""
        mark: dict[str, Any] = {"done": list(self.keys), "measured": self.measured}
        mark |= {"unread": list(self.unread)} if self.unread else {}
        omitted = self.omitted.to_json()
        return mark | ({"omitted": omitted} if omitted else {})

    @classmethod
    def marked(cls, mark: Mapping[str, Any], records: Sequence[Record]) -> "MeasuredBatch":
        """The batch of these records and the line behind them. Raises KeyError, TypeError or ValueError for no mark."""
        omitted = Omitted()
        omitted.add(mark.get("omitted", {}))
        keys, unread = (tuple(map(str, mark.get(name, ()))) for name in ("done", "unread"))
        return cls(keys, tuple(records), int(mark["measured"]), unread, omitted)


@dataclass
class Ran:
    """All that a run measured: records by metric as ``columns``, how many ``pictures``, and what was left out."""

    columns: dict[str, Columns]
    pictures: int = 0
    seen: int = 0
    unread: list[str] = field(default_factory=list)
    omitted: Omitted = field(default_factory=Omitted)

    def add(self, batch: MeasuredBatch) -> None:
        """Count what came of a batch."""
        for record in batch.records:
            self.columns.setdefault(record.metric, Columns()).add(record)
        self.pictures += batch.measured
        self.seen += len(batch.keys)
        self.unread += batch.unread
        self.omitted.add(batch.omitted.to_json())
