"""A batch of pictures → records of every metric."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vlx.data.example import Example, example_of
from vlx.errors import ImageError, InputError
from vlx.evaluation.batches import MeasuredBatch, Ran
from vlx.evaluation.cases import Reading, answers, closed, suits, tells
from vlx.evaluation.lots import by_lot, some_by_lot
from vlx.evaluation.metric import Measurer, Metric
from vlx.evaluation.omitted import LISTED, Omitted
from vlx.evaluation.records import Record
from vlx.evaluation.shown import Setting, ShownBatch
from vlx.language import shortened


class Measuring:
    """A setting and its metrics, ready to measure any batch of pictures."""

    def __init__(self, setting: Setting, metrics: Sequence[Metric]) -> None:
        self.setting, self.metrics = setting, metrics
        self.forced = any(not metric.own_words for metric in metrics)
        self.anywhere = [metric for metric in metrics if metric.anywhere]
        if self.forced or self.anywhere:
            self._refuse_silent()

    @cached_property
    def reading(self) -> Reading:
        """How the task reads what the data ask."""
        return Reading(self.setting.task, self.setting.data, self.setting.classes)

    def _refuse_silent(self) -> None:
        """Raises InputError for data that cannot judge the task, or ask nothing of what a metric measures."""
        if not self.reading.silent or not self.anywhere:
            return
        task, called = self.setting.task, shortened(self.setting.data.name, 60)
        if answers(task):
            raise InputError(
                f"{called} asks no questions, and {task.name} answers such: --metrics {self.anywhere[0].name} needs "
                "data with questions, as easy-vqa:DIR"
            )
        for metric in self.metrics:
            if not (metric.anywhere or metric.own_words):
                raise InputError(
                    f"{called} asks nothing of {task.name}, which --metrics {metric.name} needs; leave it out"
                )

    @cached_property
    def measurers(self) -> list[Measurer]:
        """What measures a batch, one a metric."""
        return [metric.begun(self.setting) for metric in self.metrics]

    def numbers(self, count: int | None) -> list[int]:
        """The places in the data of the first ``count`` pictures that can be measured, or so many by lot, or of all."""
        found: list[int] = []
        drawn = some_by_lot(self.setting, self.metrics, count)
        for number in by_lot(self.setting, count or 0) if drawn else range(len(self.setting.data)):
            if count is not None and len(found) == count:
                break
            if closed(self.setting.data) or self._measurable(example_of(self.setting.data, number)):
                found.append(number)
        return sorted(found)

    def _measurable(self, example: Example) -> bool:
        task = self.setting.task
        told = bool(example.texts) or not tells(task) or bool(self.anywhere)
        return told and (not self._needs_asks or any(suits(task, ask) for ask in example.asks))

    @cached_property
    def _needs_asks(self) -> bool:
        return self.forced and not (self.anywhere and self.reading.silent)

    def batches(self, numbers: Sequence[int]) -> list[Sequence[int]]:
        """The pictures, cut into the batches that all metrics can take."""
        size = min(metric.batch for metric in self.metrics)
        return [numbers[first : first + size] for first in range(0, len(numbers), size)]

    def measure(self, numbers: Sequence[int]) -> MeasuredBatch:
        """Show a batch of pictures, and measure it by every metric."""
        measurers, records, measured = self.measurers, list[Record](), 0
        examples = [example_of(self.setting.data, number) for number in numbers]
        unread: list[str] = []
        for shown in self._shown(numbers, examples, unread):
            for metric, measurer in zip(self.metrics, measurers, strict=True):
                records += _held(metric, measurer(shown))
            measured += self._measured(shown)
            shown.let_go()
        omitted = self.reading.taken() if self.forced else Omitted()
        return MeasuredBatch(tuple(one.key for one in examples), tuple(records), measured, tuple(unread), omitted)

    def _shown(self, numbers: Sequence[int], examples: Sequence[Example], unread: list[str]) -> Iterator[ShownBatch]:
        """The pictures of a batch that can be read, those whose prepared pictures have one size together."""
        opened = []
        for number, example in zip(numbers, examples, strict=True):
            try:
                opened.append((number, example, self.setting.task.prepare(example.image)))
            except ImageError:
                unread.append(Path(example.key).name)
                continue
            if self._needs_asks:
                self.reading.count_words(example)
        for _, group in groupby(opened, key=lambda one: one[2].shape):
            of, shown, inputs = zip(*group, strict=True)
            yield ShownBatch(self.setting, lambda: self.reading, shown, torch.stack(inputs), of)

    def _measured(self, shown: ShownBatch) -> int:
        if closed(self.setting.data) or not self.forced:
            return len(shown.examples)
        return len({case.picture for one in self.metrics if not one.own_words for case in one.asked(shown).cases})

    def unknown(self, ran: Ran) -> str:
        """What was asked for and is not known, the commonest."""
        lacking = list(ran.omitted.unknown)[:LISTED]
        return f"; it does not know {', '.join(lacking)}" if lacking else ""


def _held(metric: Metric, records: Iterable[Record]) -> Iterator[Record]:
    """The records of a metric, each under its name. Raises InputError for what is no record."""
    for record in records:
        if not isinstance(record, Record) or record.metric != metric.name:
            told = record.metric if isinstance(record, Record) else type(record).__name__
            raise InputError(
                f"metric {shortened(metric.name)!r} measures {shortened(repr(told), 60)}; give "
                f"vlx.evaluation.records.Record with metric={shortened(metric.name)!r}"
            )
        yield _plain(metric, record)


def _plain(metric: Metric, record: Record) -> Record:
    """The record as a run's file keeps it: what is infinite is not measured, what stands beside it is JSON's.

    Raises InputError for what JSON has not.
    """
    value = record.value if math.isfinite(record.value) else float("nan")
    try:
        beside = _as_json(record.beside) if record.beside else record.beside
    except TypeError as error:
        raise InputError(
            f"metric {shortened(metric.name)!r} puts {error} beside a value; give numbers, texts, lists and dicts"
        ) from None
    return record if value is record.value and beside is record.beside else replace(record, value=value, beside=beside)


def _as_json(value: Any) -> Any:
    """A value as JSON has it, of numpy's, too; NaN and infinity are None."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _as_json(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(one) for one in value]
    raise TypeError(type(value).__name__)
