"""The loop of a run: every batch is measured, in this process or in several, and written as it is."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from vlx.errors import InputError
from vlx.evaluation.batches import MeasuredBatch, Ran
from vlx.evaluation.measuring import Measuring
from vlx.evaluation.metric import Metric
from vlx.evaluation.records import Columns
from vlx.evaluation.run_file import RunFile
from vlx.evaluation.shown import Setting
from vlx.evaluation.workers import measured_by

Progress = Callable[[Iterable[Any]], Iterable[Any]]


def measured(
    setting: Setting,
    metrics: Sequence[Metric],
    count: int | None = None,
    *,
    file: RunFile | None = None,
    progress: Progress = iter,
    workers: int = 1,
) -> Ran:
    """Measure the first ``count`` pictures of a setting that can be measured, or all; see `vlx.evaluation.evaluate`.

    What a ``file`` of a run that was cut short holds is not measured again. Raises InputError where nothing can be
    measured.
    """
    data, task = setting.data, setting.task
    if not len(data):
        raise InputError(f"{data.name} has 0 pictures; give data with some")
    measuring, ran = Measuring(setting, metrics), Ran({metric.name: Columns() for metric in metrics})
    numbers = measuring.numbers(count)
    batches = measuring.batches(numbers)
    for batch in file.known() if file else ():
        ran.add(batch)
    left = batches[file.count if file else 0 :]
    for batch in progress(_Several(measuring, left, workers)):
        if file:
            file.write(batch)
        ran.add(batch)
    if numbers and len(ran.unread) == len(numbers):
        raise InputError(f"none of {len(numbers)} pictures can be read, as {', '.join(ran.unread[:3])}")
    if not ran.pictures:
        lacks: Sequence[str] = getattr(data, "lacks", ())
        looked = len(numbers) or len(data)
        raise InputError(
            f"{data.name}: nothing to measure; of {looked} pictures none asks for anything that {task.name} "
            f"knows and that has its place there{measuring.unknown(ran)}{''.join(f'; {one}' for one in lacks)}"
        )
    return ran


class _Several:
    """What comes of some batches, in their order, by one process or several; as long as they are."""

    def __init__(self, measuring: Measuring, batches: Sequence[Sequence[int]], workers: int) -> None:
        self.measuring, self.batches, self.workers = measuring, batches, workers

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[MeasuredBatch]:
        if self.workers == 1 or len(self.batches) < 2:
            yield from map(self.measuring.measure, self.batches)
            return
        yield from measured_by(self.measuring, self.batches, self.workers)
