"""What a measure is: a record that begins a tally, and the tally that most of them keep: one number for every map."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, SupportsFloat

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vlx.data.example import Data
from vlx.errors import InputError
from vlx.evaluation.cases import Case
from vlx.evaluation.intervals import mean_of, of_mean
from vlx.evaluation.result import Figure
from vlx.evaluation.shown import Setting, ShownBatch
from vlx.protocol.targets import TargetKind
from vlx.protocol.task import Task

Values = NDArray[np.float64]
Interval = Callable[[Sequence[float]], tuple[float, float]]
Measure = Callable[[Case, Values, ShownBatch], float]
BASELINES = ("random", "centre", "same")
BATCH = 16


class FigureTally(Protocol):
    """What is counted of one metric in one run."""

    def update(self, shown: ShownBatch) -> None:
        """Count a batch of pictures."""
        ...

    def figures(self) -> Iterable[Figure]:
        """What it comes to."""
        ...

    def notes(self) -> Iterable[str]:
        """What a reader must know of it."""
        ...


def _anything(_task: Task, _data: Data) -> None:
    return None


@dataclass(frozen=True, eq=False)
class Metric:
    """A measure of explanations, known by its ``name``.

    ``begin(setting)`` gives the tally of one run. ``check(task, data)`` raises InputError, before a picture is shown,
    where the task or the data cannot be measured so. ``batch``: the most pictures that are shown at once. ``pairs``:
    of drawn scenes those with two named things are measured, since at a single one any map points. ``own_words``: the
    model speaks for itself, nothing is forced upon it.

        >>> evaluate(task, 20, metrics=[Metric("energy", "share of the map inside", of_maps("energy", inside))])
    """

    name: str
    summary: str
    begin: Callable[[Setting], FigureTally]
    check: Callable[[Task, Data], None] = _anything
    batch: int = BATCH
    pairs: bool = False
    own_words: bool = False


@dataclass
class Ledger:
    """Numbers of every case by method and kind of target, and of its baselines, in the order of the cases."""

    groups: list[str] = field(default_factory=list)
    values: dict[tuple[str, TargetKind], list[float]] = field(default_factory=dict)
    baselines: dict[str, list[float]] = field(default_factory=dict)

    def add(self, method: str, kind: TargetKind, values: Iterable[float]) -> None:
        """Count a batch of cases of one method and kind."""
        self.values.setdefault((method, kind), []).extend(values)

    def beside(self, baseline: str, values: Iterable[float]) -> None:
        """Count what a baseline comes to in a batch of cases."""
        self.baselines.setdefault(baseline, []).extend(values)

    def figures(self, metric: str, interval: Interval) -> Iterator[Figure]:
        """A figure for each kind, method and group, each in the order in which it came."""
        groups = np.array(self.groups)
        for method, kind in self.ordered():
            found = np.array(self.values[method, kind])
            for group in dict.fromkeys(self.groups):
                own = groups == group
                low, high = interval(found[own].tolist())
                beside = {name: mean_of(np.array(values)[own]) for name, values in self.baselines.items()}
                random, centre, same = (beside.get(name, float("nan")) for name in BASELINES)
                value, count = mean_of(found[own]), int(own.sum())
                yield Figure(group, method, kind, metric, value, low, high, random, centre, same, count)

    def ordered(self) -> list[tuple[str, TargetKind]]:
        """Methods and kinds, a kind's together."""
        kinds = list(dict.fromkeys(kind for _, kind in self.values))
        return sorted(self.values, key=lambda key: kinds.index(key[1]))


def of_maps(name: str, measure: Measure, interval: Interval = of_mean) -> Callable[[Setting], FigureTally]:
    """Begins a tally of one number a map: ``measure(case, values, shown)`` of its values [h, w], none below 0.

    The same number of the baselines' maps stands beside it; ``interval`` is that of the mean of several.
    """
    return partial(_OfMaps, name, measure, interval)


class _OfMaps:
    def __init__(self, name: str, measure: Measure, interval: Interval, setting: Setting) -> None:
        self.name, self.measure, self.interval = name, measure, interval
        self.kinds = setting.kinds or (setting.task.defaults.target,)
        self.ledger = Ledger()

    def update(self, shown: ShownBatch) -> None:
        if not shown.cases:
            return
        self.ledger.groups += [case.group for case in shown.cases]
        for kind in self.kinds:
            for method, maps in shown.maps(kind).items():
                self.ledger.add(method, kind, self._measured(shown, rectified(maps)))
        for name in BASELINES:
            self.ledger.beside(name, self._measured(shown, rectified(shown.baseline(name))))

    def _measured(self, shown: ShownBatch, maps: Values) -> list[float]:
        return [self._number(self.measure(case, own, shown)) for case, own in zip(shown.cases, maps, strict=True)]

    def _number(self, measured: Any) -> float:
        """What was measured of one map, where it is a number; NaN counts as not measured."""
        if np.ndim(measured) or not isinstance(measured, SupportsFloat):
            told = f"an array {[*np.shape(measured)]}" if np.ndim(measured) else type(measured).__name__
            raise InputError(f"metric {self.name!r} makes {told} of a map; return one number")
        return float(measured)

    def figures(self) -> Iterator[Figure]:
        yield from self.ledger.figures(self.name, self.interval)

    def notes(self) -> Iterator[str]:
        yield from ()


def rectified(maps: Tensor) -> Values:
    """Signed maps [N, h, w] → what speaks for the score, float64."""
    return np.asarray(np.maximum(maps.cpu().numpy(), 0), np.float64)
