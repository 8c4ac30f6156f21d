"""What a measure is: a record with a function of one thing that is asked about one picture, and all maps of it."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, SupportsFloat

import numpy as np

from vlx.data.example import Data
from vlx.errors import InputError
from vlx.evaluation.cases import Case, tells_place
from vlx.evaluation.context import DrawnMap, MetricContext, context_of
from vlx.evaluation.figures import Telling, by_group
from vlx.evaluation.records import Columns, Record, Values
from vlx.evaluation.result import Figure
from vlx.evaluation.shown import AskedCases, Setting, ShownBatch
from vlx.language import shortened
from vlx.protocol.targets import TargetKind
from vlx.protocol.task import Task

Line = tuple[str, str]  # a method and a target; the target of a baseline is ""
Measured = float | tuple[float, Mapping[str, Any]]  # a value, and what else the figures need
Measure = Callable[[MetricContext], Mapping[Line, Measured]]
Measurer = Callable[[ShownBatch], Iterable[Record]]
Figures = Callable[[str, Columns, Telling], Iterator[Figure]]
OfMap = Callable[[Case, Values, ShownBatch], float]
BATCH = 16
NEEDS = ("mask", "boxes", "human", "question", "classifier")


def _anything(_task: Task, _data: Data) -> None:
    return None


def default_kind(setting: Setting) -> tuple[TargetKind, ...]:
    """The kinds of target that are asked for, else the task's own."""
    return setting.kinds or (setting.task.defaults.target,)


def _nothing(_columns: Columns) -> Iterable[str]:
    return ()


@dataclass(frozen=True, eq=False)
class Metric:
    """A measure of explanations, known by its ``name``.

    ``measure(context)`` gives, of one thing asked about one picture (see `vlx.evaluation.context.Context`), a value for
    each (method, target); NaN where there is none to give, a pair (value, {name: number}) where figures need more.
    ``begin(setting)`` stands in its place for what is measured otherwise: it gives a function from a `ShownBatch` to
    `Record`s. ``needs`` is what the data must tell of the place ("mask", "boxes", "human"), and what the task must be
    ("question": it answers, "classifier"); ``better`` says which values are good.

    ``figures(name, columns, telling)`` makes the table's figures of the records, by default means by group; ``notes``
    what a reader must know of them. ``kinds`` are the kinds of target that are measured where none are asked for.
    ``check(task, data)`` raises InputError, before a picture is shown, where the task or the data cannot be measured
    so. ``batch``: the most pictures that are shown at once. ``pairs``: of drawn scenes those with two named things are
    measured, since at a single one any map points. ``own_words``: the model speaks for itself, nothing is forced upon
    it. ``absent``: what is known not to be in the picture is asked for, too. ``anywhere``: so is what has no known
    place and, where the data ask nothing, what the model says by itself: such a metric measures any pictures.
    ``model`` is another task that is measured beside the first, ``told`` what a command says of it. ``by_lot``:
    where not all pictures are measured they are drawn (`vlx.evaluation.lots`), and are not the first.

        >>> def inside(context):
        ...     return {line: one.painted[context.mask].sum() / one.painted.sum() for line, one in context.maps.items()}
        >>> evaluate(task, 20, metrics=[Metric("energy", "share of the map inside", inside, needs={"mask"})])
    """

    name: str
    summary: str
    measure: Measure | None = None
    needs: frozenset[str] | set[str] = frozenset()
    better: str = "high"
    begin: Callable[[Setting], Measurer] | None = None
    figures: Figures = by_group
    notes: Callable[[Columns], Iterable[str]] = _nothing
    kinds: Callable[[Setting], tuple[TargetKind, ...]] = default_kind
    check: Callable[[Task, Data], None] = _anything
    batch: int = BATCH
    pairs: bool = False
    own_words: bool = False
    absent: bool = False
    model: Task | None = None
    told: str = ""
    anywhere: bool = False
    by_lot: bool = False

    def __post_init__(self) -> None:
        if (self.measure is None) == (self.begin is None):
            raise InputError(f"metric {self.name!r}: give measure(context), or begin(setting) in its place")
        for what, function in (("measure", self.measure), ("begin", self.begin), ("figures", self.figures)):
            if function is not None and not callable(function):
                raise InputError(f"metric {self.name!r}: {what} is a function, got {function!r:.60}")
        if strange := [one for one in self.needs if one not in NEEDS]:
            raise InputError(f"metric {self.name!r} needs {strange[0]!r:.60}; what data can tell is {', '.join(NEEDS)}")
        if self.better not in ("high", "low"):
            raise InputError(f"metric {self.name!r}: better is 'high' or 'low', got {self.better!r:.60}")

    def asked(self, shown: ShownBatch) -> AskedCases:
        """What of a batch it measures."""
        if self.anywhere:
            return shown.asked_anywhere
        return shown.asked_with_absent if self.absent else shown.asked

    def begun(self, setting: Setting) -> Measurer:
        """What measures a batch of pictures in a run. Raises InputError where ``begin`` gives no function."""
        if self.begin is None:
            return partial(_each, self)
        measurer = self.begin(setting)
        if not callable(measurer):
            raise InputError(
                f"metric {self.name!r} begins with {type(measurer).__name__}; return a function of a ShownBatch that "
                "gives vlx.evaluation.records.Record"
            )
        return measurer


def _each(metric: Metric, shown: ShownBatch) -> Iterator[Record]:
    """The records of every case of a batch."""
    assert metric.measure is not None
    kinds = metric.kinds(shown.setting)
    asked = metric.asked(shown)
    for number, case in enumerate(asked.cases):
        if not _told(metric, case):
            continue
        context = context_of(asked, number, kinds)
        made = metric.measure(context)
        if not isinstance(made, Mapping):
            raise InputError(
                f"metric {metric.name!r} makes {type(made).__name__} of a context; return {{(method, target): number}}"
            )
        if strange := [line for line in made if not _is_line(line)]:
            raise InputError(
                f"metric {metric.name!r} measures {shortened(repr(strange[0]))}; keys are (method, target), two texts"
            )
        for (method, target), measured in made.items():
            value, beside = measured if isinstance(measured, tuple) else (measured, {})
            one = context.maps.get((method, target))
            empty = {"empty": 1} if one is not None and one.empty else {}
            yield Record(
                *(shown.examples[case.row].key, asked.places[number], case.group, method, target),
                *(metric.name, _number(metric.name, value), case.area),
                {**beside, **empty},
            )


def _is_line(key: object) -> bool:
    return isinstance(key, tuple) and len(key) == 2 and all(isinstance(part, str) for part in key)


def _told(metric: Metric, case: Case) -> bool:
    """Whether the data tell of a case what a metric needs; of what is absent there is nothing to tell."""
    told = {"mask": case.mask.size > 0, "boxes": case.mask.size > 0, "human": tells_place(case.ask.truth, "human")}
    return case.absent or all(told.get(need, True) for need in metric.needs)


def _number(name: str, measured: Any) -> float:
    """What was measured of one map, where it is a number; NaN counts as not measured."""
    if np.ndim(measured) or not isinstance(measured, SupportsFloat):
        told = f"an array {[*np.shape(measured)]}" if np.ndim(measured) else type(measured).__name__
        raise InputError(f"metric {name!r} makes {told} of a map; return one number")
    return float(measured)


def of_each(measure: Callable[[DrawnMap, MetricContext], float]) -> Measure:
    """A measure of one number a map: ``measure(one, context)`` of every method's and baseline's.

    >>> Metric("energy", "share of the map inside", of_each(lambda one, context: one.painted[context.mask].sum()))
    """
    return partial(_of_each, measure)


def _of_each(measure: Callable[[DrawnMap, MetricContext], float], context: MetricContext) -> Mapping[Line, Measured]:
    return {line: measure(one, context) for line, one in context.maps.items()}


def of_maps(name: str, measure: OfMap) -> Measure:
    """The same by ``measure(case, values, shown)`` of a map's values [h, w] on A's cells, none below 0."""
    return partial(_of_maps, name, measure)


def _of_maps(name: str, measure: OfMap, context: MetricContext) -> Mapping[Line, Measured]:
    return {line: _number(name, measure(context.case, one.values, context.shown)) for line, one in context.maps.items()}
