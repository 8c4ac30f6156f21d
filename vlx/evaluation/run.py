"""`evaluate`: any task on any data, by any methods and metrics; what it measured as records, figures and a table."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TypedDict, TypeVar, Unpack, cast

from vlx.data import SceneData, open_data
from vlx.data.captioned import UNREADABLE, omissions
from vlx.data.class_names import told_classes
from vlx.data.example import Data, example_of
from vlx.data.plain import PictureFolder
from vlx.errors import InputError, ModelError, in_own_words
from vlx.evaluation import baselines
from vlx.evaluation.batches import Ran
from vlx.evaluation.cases import LOOKED_AT, answers, suits, tells, tells_place
from vlx.evaluation.class_asks import Table
from vlx.evaluation.figures import Telling
from vlx.evaluation.heads import head_of
from vlx.evaluation.loop import Progress, measured
from vlx.evaluation.metric import Metric
from vlx.evaluation.metrics import METRICS, named
from vlx.evaluation.metrics.pointing import FALL
from vlx.evaluation.metrics.reasons import TABLES, Reasons
from vlx.evaluation.records import Columns
from vlx.evaluation.result import Result
from vlx.evaluation.run_file import RunFile, RunHead, read
from vlx.evaluation.shown import Setting
from vlx.language import close_matches, shortened
from vlx.methods import registry
from vlx.methods.at_layer import ablated_layers
from vlx.methods.method import Method
from vlx.methods.names import ABLATIONS, AT
from vlx.neuron_names.table import NeuronNames
from vlx.protocol.powers import powers_of
from vlx.protocol.targets import TARGET_KINDS, TargetKind
from vlx.protocol.task import Task
from vlx.scenes import HELD_OUT

T = TypeVar("T")
SCENES = 500
PLACES = ("mask", "boxes", "human")  # what a metric may need to be told of
DEFAULT = ("pointing",)
ABLATED_BY = ("pointing", "localization")


class EvaluationRun(TypedDict, total=False):
    """How an evaluation is run: the ``first`` seed of drawn scenes, a ``progress`` bar around what is done, how a
    command ``called`` the data and ``spelled`` the model; ``occlusion`` is the metric "fall" beside the others;
    ``workers`` processes measure. ``ablate`` adds Grad-CAM as its paper tried it and left it (section 8.7), and at each
    layer that keeps a change of size, by pointing and localization where no metrics are asked for. ``classes`` says
    what the data's classes are called by the model where it is not by their names: {"dog": ["beagle", 207]}, or the
    path of such a JSON file. ``command`` is what repeats the run, where it is no ``vlx evaluate``.
    """

    first: int
    occlusion: bool
    progress: Progress
    called: str
    spelled: str
    ablate: bool
    workers: int
    command: str
    classes: Table | str | Path | None


@in_own_words("the evaluation cannot be made", ModelError)
def evaluate(
    task: Task,
    data: int | str | Path | Data | None = None,
    *,
    metrics: Sequence[str | Metric] = DEFAULT,
    methods: Sequence[str | Method] | None = None,
    targets: Sequence[str] | None = None,
    n: int | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    **running: Unpack[EvaluationRun],
) -> Result:
    """Measure a task's explanations, every figure beside its baselines.

    ``data``: how many drawn scenes that nobody was trained on (500), or data as `vlx.data.open_data` takes them.
    ``metrics`` by name (see `vlx.evaluation.metrics`) or as records of your own; ``methods``, too, by default all that
    suit the task and need one gradient, "default" is the task's own, and baselines are "random", "uniform", "centre",
    "blurred-random", "edges" and "same"; ``targets`` by default each metric's. ``n`` limits the pictures. The pointing
    game on drawn scenes takes those with two named things.

    ``out`` is a folder for the run's file, to which what was measured is written as it is; with ``resume`` a run that
    was cut short goes on there. `vlx.evaluation.read_run` makes the same table of it.

        >>> evaluate(vlx.load("scenes/captioner"), 500).value("object", "hirescam", "logit")
        0.988

    Raises InputError for what cannot be measured so, before a picture is shown; ModelError for what the model's code
    raises.
    """
    ablate = running.get("ablate", False)
    metrics = ABLATED_BY if ablate and metrics is DEFAULT else metrics
    chosen = [*_metrics(metrics), *([FALL] if running.get("occlusion") else [])]
    head, ran = records_of(task, data, chosen, (methods, targets), n=n, out=out, resume=resume, running=running)
    return _result(head, chosen, ran)


def records_of(
    task: Task,
    data: int | str | Path | Data | None,
    metrics: Sequence[Metric],
    by: tuple[Sequence[str | Method] | None, Sequence[str] | None] = (None, None),
    *,
    n: int | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    running: EvaluationRun | None = None,
) -> tuple[RunHead, Ran]:
    """The head of a run of some metrics, and what they measure ``by`` methods and targets; see `evaluate` for the rest.

    >>> head, ran = records_of(task, "scenes:20", [energy])
    """
    (methods, targets), running = by, running or {}
    if isinstance(task, str | Path):
        raise InputError(f"{shortened(repr(task), 60)} is no task; load one: vlx.load(NAME)")
    drawn = data is None or isinstance(data, int)
    count = data if isinstance(data, int) else SCENES if drawn and n is None else n
    opened = _opened(data, count, running.get("first", HELD_OUT), pairs=any(one.pairs for one in metrics))
    kinds = tuple(map(_kind, _listed("targets", targets or ())))
    compared = [*(methods or ("gradcam",)), *_ablated(task)] if running.get("ablate") else methods
    told = running.get("classes")
    classes = told_classes(Path(told)) if isinstance(told, str | Path) else told
    setting = Setting(task, opened, tuple(_methods(task, compared)), kinds, classes)
    _refuse_pictures_alone(metrics, opened)
    for metric in metrics:
        _refuse_lacking(metric, task, opened)
        metric.check(task, opened)
    command = running.get("command") or _command(task, opened, metrics, methods, targets, count, running, drawn=drawn)
    head = head_of(setting, metrics, count, command, digests=out is not None)
    progress, workers = running.get("progress", iter), _workers(running.get("workers", 1))
    with RunFile(out, head, resume=resume) if out is not None else nullcontext() as file:
        return head, measured(setting, metrics, count, file=file, progress=progress, workers=workers)


def read_run(folder: str | Path, metrics: Sequence[Metric] = ()) -> Result:
    """The table of a run in a folder, whole or not, made of its file alone; ``metrics`` are those of your own in it.

    Raises InputError for a folder without one, and for a metric that is not known here.

        >>> read_run("runs/mine").value("object", "hirescam", "logit")
        0.988
    """
    head, batches = read(folder)
    given = {metric.name: metric for metric in metrics}
    known = {name: metric for name in head.metrics if (metric := given.get(name) or named(name))}
    if lacking := [name for name in head.metrics if name not in known]:
        raise InputError(f"{folder}: measured by {lacking[0]!r}, which is no metric here; give it as metrics=[…]")
    ran = Ran({name: Columns() for name in head.metrics})
    for batch in batches:
        ran.add(batch)
    try:
        return _result(head, [known[name] for name in head.metrics], ran)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise InputError(
            f"{folder}: no table can be made of its records ({type(error).__name__}), as of ones that were edited by "
            "hand; measure again in another folder"
        ) from error


def _result(head: RunHead, metrics: Sequence[Metric], ran: Ran) -> Result:
    telling = Telling(head.by_size)
    rows = tuple(
        figure for metric in metrics for figure in metric.figures(metric.name, ran.columns[metric.name], telling)
    )
    left = {**head.left_out, **({UNREADABLE: ran.unread} if ran.unread else {})}
    notes = [*omissions(left), *(note for one in metrics for note in one.notes(ran.columns[one.name]))]
    better = {metric.name: metric.better for metric in metrics}
    return Result(
        *(head.model, ran.pictures, rows, head.command, head.of, (*notes, *ran.omitted.notes())),
        unread=tuple(ran.unread),
        better=better,
    )


def _command(
    task: Task,
    data: Data,
    metrics: Sequence[Metric],
    methods: Sequence[str | Method] | None,
    targets: Sequence[str] | None,
    count: int | None,
    running: EvaluationRun,
    *,
    drawn: bool,
) -> str:
    named = [one.name for one in metrics if one is not FALL]
    told = {"metrics": [] if drawn and named == [*DEFAULT] else named, "methods": methods, "targets": targets}
    words = [
        "vlx evaluate",
        running.get("spelled") or task.name,
        *([] if drawn else [running.get("called") or data.name]),
    ]
    for option, values in told.items():
        names = [one.name if isinstance(one, Metric | Method) else one for one in values or ()]
        words += [f"--{option} {','.join(names)}"] if names else []
    words += [f"--n {count}"] if count else []
    words += [f"--classes {running['classes']}"] if isinstance(running.get("classes"), str | Path) else []
    words += [metric.told for metric in metrics if metric.told]
    words += [f"--{flag}" for flag in ("occlusion", "ablate") if running.get(flag)]
    return " ".join(words)


def _refuse_pictures_alone(metrics: Sequence[Metric], data: Data) -> None:
    """Raises InputError where a folder of pictures, which tells nothing, is measured by what needs a truth."""
    if not isinstance(data, PictureFolder) or any(one.anywhere for one in metrics):
        return
    lacking = [(one.name, _NEEDED[need]) for one in metrics for need in PLACES if need in one.needs]
    if not lacking:
        return
    name, needed = lacking[0]
    free = ", ".join(name for name, one in METRICS.items() if one.anywhere and not one.needs)
    raise InputError(
        f"--metrics {name} needs {needed}; of {shortened(data.name, 60)} there are pictures alone. "
        f"These need no truth: {free}"
    )


def _refuse_lacking(metric: Metric, task: Task, data: Data) -> None:
    """Raises InputError where the task is not what a metric needs, or the data tell nothing of what it needs."""
    kinds = {"question": answers(task), "classifier": not (tells(task) or answers(task))}
    for need in ("question", "classifier"):
        if need in metric.needs and not kinds[need]:
            raise InputError(f"--metrics {metric.name} needs a {_NEEDED[need]}; {task.name} does {task.kind}")
    places = [need for need in PLACES if need in metric.needs]
    if not places or not len(data):
        return
    asks = [ask for n in range(min(len(data), LOOKED_AT)) for ask in example_of(data, n).asks if suits(task, ask)]
    if asks and not any(all(tells_place(ask.truth, need) for need in places) for ask in asks):
        lacks = " and ".join(_NEEDED[need] for need in places)
        raise InputError(
            f"--metrics {metric.name} needs {lacks}; {shortened(data.name, 60)} tells none of what is asked"
        )


_NEEDED = {
    "mask": "masks or boxes of what is asked about",
    "boxes": "boxes or masks of what is asked about",
    "human": "maps of where people looked",
    "question": "model that answers questions",
    "classifier": "classifier",
}


def _workers(given: int) -> int:
    if not isinstance(given, int) or given < 1:
        raise InputError(f"workers={given!r}; give how many processes measure, from 1")
    return given


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
    if (metric := named(given)) is not None:
        return metric
    near = close_matches(given, METRICS)
    hint = f"; close: {', '.join(near)}" if near else ""
    raise InputError(shortened(f"no metric {shortened(given, 60)!r}{hint}. Known: {', '.join(METRICS)}", 300))


def _kind(given: str) -> TargetKind:
    if given not in TARGET_KINDS:
        raise InputError(f"no target {given!r}. Known: {', '.join(TARGET_KINDS)}")
    return cast(TargetKind, given)


def _methods(task: Task, given: Sequence[str | Method] | None) -> Iterator[Method]:
    if given is None:
        yield from registry.compared(task)
        return
    chosen: dict[str, Method] = {}
    for one in _listed("methods", given):
        method = _method(task, one)
        chosen.setdefault(method.name, method)
    if not chosen:
        raise InputError("methods=[]: no method to measure; give one, or leave it out for all that suit the model")
    yield from chosen.values()


def _ablated(task: Task) -> Iterator[str]:
    """The paper's ablations of Grad-CAM, and Grad-CAM at each layer that keeps a change of size, where any does."""
    yield from ABLATIONS
    if powers_of(task).layered is not None:
        yield from (f"gradcam{AT}{layer}" for layer in ablated_layers(task))


def _method(task: Task, given: str | Method) -> Method:
    if given == "default":
        return registry.choose(task.defaults.method)
    if given in baselines.METHODS:
        return baselines.METHODS[str(given)]
    try:
        return registry.choose(given)
    except InputError:
        near = close_matches(str(given), baselines.METHODS)
        if near:
            raise InputError(
                f"no method {shortened(str(given))!r}; close among the baselines: {', '.join(near)}"
            ) from None
        raise


def _opened(data: int | str | Path | Data | None, count: int | None, first: int, *, pairs: bool) -> Data:
    drawn = data is None or isinstance(data, int)
    if count is not None and count < 1:
        raise InputError(f"n={count}; measure at least one {'scene' if drawn else 'photograph'}")
    if data is None or isinstance(data, int):
        return SceneData(SCENES if count is None else count, first, named=2 if pairs else None)
    return open_data(data)
