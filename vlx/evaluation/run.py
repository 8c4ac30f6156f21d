"""The one loop: examples → cases → maps of methods and baselines → every metric's figures."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any, TypedDict, TypeVar, Unpack, cast

import torch

from vlx.data import SceneData, open_data
from vlx.data.captioned import UNREADABLE, omissions
from vlx.data.example import Data, Example, example_of
from vlx.errors import ImageError, InputError, ModelError, in_own_words
from vlx.evaluation import baselines
from vlx.evaluation.cases import LISTED, Reading, closed, suits, tells
from vlx.evaluation.metric import FigureTally, Metric
from vlx.evaluation.metrics import METRICS
from vlx.evaluation.metrics.pointing import FALL
from vlx.evaluation.metrics.reasons import TABLES, Reasons
from vlx.evaluation.result import Result
from vlx.evaluation.shown import Setting, ShownBatch
from vlx.language import close_matches, shortened
from vlx.methods import registry
from vlx.methods.method import Method
from vlx.neuron_names.table import NeuronNames
from vlx.protocol.targets import TARGET_KINDS, TargetKind
from vlx.protocol.task import Task
from vlx.scenes import HELD_OUT

T = TypeVar("T")
Progress = Callable[[Iterable[Any]], Iterable[Any]]
SCENES = 500
DEFAULT = ("pointing",)


class EvaluationRun(TypedDict, total=False):
    """How an evaluation is run: the ``first`` seed of drawn scenes, a ``progress`` bar around what is done, how a
    command ``called`` the data; ``occlusion`` is the metric "fall" beside the others.
    """

    first: int
    occlusion: bool
    progress: Progress
    called: str


@in_own_words("the evaluation cannot be made", ModelError)
def evaluate(
    task: Task,
    data: int | str | Path | Data | None = None,
    *,
    metrics: Sequence[str | Metric] = DEFAULT,
    methods: Sequence[str | Method] | None = None,
    targets: Sequence[str] | None = None,
    n: int | None = None,
    **running: Unpack[EvaluationRun],
) -> Result:
    """Measure a task's explanations, every figure beside its baselines.

    ``data``: how many drawn scenes that nobody was trained on (500), or data as `vlx.data.open_data` takes them.
    ``metrics`` by name (see `vlx.evaluation.metrics`) or as records of your own; ``methods``, too, by default all that
    suit the task and need one gradient, "default" is the task's own, "random" and "centre" are baselines; ``targets``
    by default each metric's. ``n`` limits the pictures. The pointing game on drawn scenes takes those with two named
    things.

        >>> evaluate(vlx.load("scenes/captioner"), 500).value("object", "hirescam", "logit")
        0.988

    Raises InputError for what cannot be measured so, before a picture is shown; ModelError for what the model's code
    raises.
    """
    chosen = [*_metrics(metrics), *([FALL] if running.get("occlusion") else [])]
    drawn = data is None or isinstance(data, int)
    count = data if isinstance(data, int) else SCENES if drawn and n is None else n
    opened = _opened(data, count, running.get("first", HELD_OUT), pairs=any(one.pairs for one in chosen))
    setting = Setting(
        task, opened, tuple(_methods(task, methods)), tuple(map(_kind, _listed("targets", targets or ())))
    )
    for metric in chosen:
        metric.check(task, opened)
    loop = Loop(setting, chosen, running.get("progress", iter))
    loop.run(count)
    rows = tuple(figure for tally in loop.tallies for figure in tally.figures())
    named = [one.name for one in chosen if one is not FALL]
    told = {"metrics": [] if drawn and named == [*DEFAULT] else named, "methods": methods, "targets": targets}
    words = ["vlx evaluate", task.name, *([] if drawn else [running.get("called") or opened.name])]
    for option, values in told.items():
        names = [one.name if isinstance(one, Metric | Method) else one for one in values or ()]
        words += [f"--{option} {','.join(names)}"] if names else []
    words += [f"--n {count}"] if count else []
    words += ["--occlusion"] if running.get("occlusion") else []
    return Result(task.name, loop.pictures, rows, " ".join(words), loop.of, tuple(loop.notes()))


def agreement(task: Task, n: int = 30, *, first: int = HELD_OUT, progress: Progress = iter) -> Result:
    """The mean rank correlation of occlusion's falls with each method's heat map, on ``n`` held-out scenes."""
    return evaluate(task, n, metrics=("occlusion",), first=first, progress=progress)


def looking(task: Task, n: int = 200, *, first: int = HELD_OUT, progress: Progress = iter) -> Result:
    """How far a VQA model's answers to all questions about ``n`` held-out scenes are moved by other pictures."""
    return evaluate(task, n, metrics=("looking",), first=first, progress=progress)


def grounds(
    task: Task,
    n: int = 500,
    *,
    names: NeuronNames | None = None,
    rules: tuple[str, ...] = ("contribution",),
    first: int = HELD_OUT,
    tables: int = TABLES,
    progress: Progress = iter,
) -> Result:
    """Are the reasons for the content words, or answers, of ``n`` held-out scenes true? See `vlx.evaluation.metrics`.

    ``names`` is the table, by default the shipped one; one line for each of the ``rules`` by which units are weighed;
    ``tables`` permuted ones tell what a figure is by chance.
    """
    wish = Reasons(names, rules, tables)
    return evaluate(task, n, metrics=(wish.metric,), first=first, progress=progress)


def _listed(what: str, given: Sequence[T]) -> Sequence[T]:
    """The names or records given, where they are several and not one alone."""
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise InputError(f"{what}={shortened(repr(given), 60)}; give a list of them, as [{shortened(repr(given), 60)}]")
    return given


def _metrics(given: Sequence[str | Metric]) -> list[Metric]:
    chosen = [*map(_metric, _listed("metrics", given))]
    if not chosen:
        raise InputError(f"no metric to measure by; give one. Known: {', '.join(METRICS)}")
    for one in chosen:
        if sum(other.name == one.name for other in chosen) > 1:
            raise InputError(f"two metrics are called {shortened(one.name)!r}; leave one out, or give it another name")
    return chosen


def _metric(given: str | Metric) -> Metric:
    if isinstance(given, Metric):
        return given
    if not isinstance(given, str):
        raise InputError(f"{shortened(repr(given), 60)} is no metric; give a name or a vlx.evaluation.Metric")
    if given in METRICS:
        return METRICS[given]
    near = close_matches(given, METRICS)
    hint = f"; close: {', '.join(near)}" if near else ""
    raise InputError(f"no metric {given!r}{hint}. Known: {', '.join(METRICS)}")


def _kind(given: str) -> TargetKind:
    if given not in TARGET_KINDS:
        raise InputError(f"no target {given!r}. Known: {', '.join(TARGET_KINDS)}")
    return cast(TargetKind, given)


def _methods(task: Task, given: Sequence[str | Method] | None) -> Iterator[Method]:
    if given is None:
        yield from registry.compared(task)
        return
    without = baselines.methods(seed=1)
    for one in _listed("methods", given):
        method = without.get(one) if isinstance(one, str) else None
        method = method or registry.choose(task.defaults.method if one == "default" else one)
        if not method.on_cells:
            raise InputError(f"{method.name} makes maps on a grid of its own; measured are methods on A's cells")
        yield method


def _opened(data: int | str | Path | Data | None, count: int | None, first: int, *, pairs: bool) -> Data:
    if count is not None and count < 1:
        what = "scene" if data is None or isinstance(data, int) else "photograph"
        raise InputError(f"n={count}; measure at least one {what}")
    if data is None or isinstance(data, int):
        return SceneData(SCENES if count is None else count, first, named=2 if pairs else None)
    return open_data(data)


def _begun(metric: Metric, setting: Setting) -> FigureTally:
    tally = metric.begin(setting)
    if lacking := [member for member in ("update", "figures", "notes") if not hasattr(tally, member)]:
        raise InputError(
            f"metric {shortened(metric.name)!r} begins with {type(tally).__name__}, which has no {', '.join(lacking)}; "
            "return a vlx.evaluation.metric.FigureTally"
        )
    return tally


class Loop:
    """One run over the pictures of a setting: every metric is told of every batch."""

    def __init__(self, setting: Setting, metrics: Sequence[Metric], progress: Progress) -> None:
        self.setting, self.metrics, self.progress = setting, metrics, progress
        self.forced = any(not metric.own_words for metric in metrics)
        self.reading = cache(lambda: Reading(setting.task, setting.data))
        if self.forced:
            self.reading()
        self.tallies = [_begun(metric, setting) for metric in metrics]
        self.unread: list[str] = []
        self.pictures = 0

    @property
    def of(self) -> str:
        """What the pictures are called."""
        if closed(self.setting.data):
            return "scenes"
        return "photographs" if tells(self.setting.task) else "pictures"

    def run(self, count: int | None) -> None:
        """Show the first ``count`` pictures that can be measured, or all. Raises InputError where there are none."""
        numbers = list(self._numbers(count))
        size = min(metric.batch for metric in self.metrics)
        if not len(self.setting.data):
            raise InputError(f"{self.setting.data.name} has 0 pictures; give data with some")
        for batch in self.progress([numbers[first : first + size] for first in range(0, len(numbers), size)]):
            for shown in self._shown(batch):
                for tally in self.tallies:
                    tally.update(shown)
                self.pictures += self._measured(shown)
        if numbers and len(self.unread) == len(numbers):
            raise InputError(f"none of {len(numbers)} pictures can be read, as {', '.join(self.unread[:3])}")
        if not self.pictures:
            raise InputError(
                f"{self.setting.data.name}: nothing to measure; of {len(numbers)} pictures none asks for anything that "
                f"{self.setting.task.name} knows and that has its place there{self._unknown()}"
            )

    def _unknown(self) -> str:
        """What was asked for and is not known, the commonest."""
        lacking = list(self.reading().unknown)[:LISTED] if self.forced else []
        return f"; it does not know {', '.join(lacking)}" if lacking else ""

    def _numbers(self, count: int | None) -> Iterator[int]:
        found = 0
        for number in range(len(self.setting.data)):
            if count is not None and found == count:
                return
            if closed(self.setting.data) or self._measurable(example_of(self.setting.data, number)):
                found += 1
                yield number

    def _measurable(self, example: Example) -> bool:
        task = self.setting.task
        told = bool(example.texts) or not tells(task)
        return told and (not self.forced or any(suits(task, ask) for ask in example.asks))

    def _shown(self, numbers: Sequence[int]) -> Iterator[ShownBatch]:
        """The pictures of a batch that can be read, those whose prepared pictures have one size together."""
        task, opened = self.setting.task, []
        for number in numbers:
            example = example_of(self.setting.data, number)
            try:
                opened.append((number, example, task.prepare(example.image)))
            except ImageError:
                self.unread.append(Path(example.key).name)
                continue
            if self.forced:
                self.reading().count_words(example)
        for _, group in groupby(opened, key=lambda one: one[2].shape):
            of, examples, inputs = zip(*group, strict=True)
            yield ShownBatch(self.setting, self.reading, examples, torch.stack(inputs), of)

    def _measured(self, shown: ShownBatch) -> int:
        if closed(self.setting.data) or not self.forced:
            return len(shown.examples)
        return len({case.picture for case in shown.cases})

    def notes(self) -> Iterator[str]:
        """What a reader must know of what was left out, and of the figures."""
        left = dict(getattr(self.setting.data, "left_out", {}))
        yield from omissions({**left, **({UNREADABLE: self.unread} if self.unread else {})})
        for tally in self.tallies:
            yield from tally.notes()
        if self.forced:
            yield from self.reading().notes()
