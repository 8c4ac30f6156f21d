"""Which of two models explains itself better where both are right? (the automatic stand-in for Grad-CAM 5.2)

People were shown maps of a better and a worse model, both of which had said the right thing, and asked which they would
trust. Here the margin of `energy` stands for them: how much more of this model's map lies on the thing. And how often
there is one: the share of things by which this model is named, .5 by chance, where equal margins name neither.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from vlx.data.example import Data
from vlx.errors import InputError
from vlx.evaluation.context import MetricContext
from vlx.evaluation.figures import Telling, by_group
from vlx.evaluation.measuring import Measuring
from vlx.evaluation.metric import Line, Measured, Measurer, Metric, default_kind
from vlx.evaluation.metrics.energy import ENERGY
from vlx.evaluation.metrics.localization import rank_of
from vlx.evaluation.records import Columns, Record, Values
from vlx.evaluation.result import Figure
from vlx.evaluation.shown import Setting, ShownBatch
from vlx.protocol.task import Task

NAME = "trust"
NAN = float("nan")


def _sure(context: MetricContext) -> Mapping[Line, Measured]:
    """The energy of every map where the model says the right thing, else NaN; whether it does, and which ask it is."""
    assert ENERGY.measure is not None
    case, asks = context.case, context.example.asks
    right = rank_of(case.prediction.words[case.position]) == 1
    place = next((number for number, ask in enumerate(asks) if ask is case.ask), -1)
    return {
        line: (float(value) if right and isinstance(value, float) else NAN, {"place": place, "right": int(right)})
        for line, value in ENERGY.measure(context).items()
    }


SURE = Metric(NAME, "how much of a map lies on the thing where the model is right?", _sure)


def _begin(against: Task | None, setting: Setting) -> Measurer:
    if against is None:
        raise InputError(_LACKING)
    kinds = default_kind(setting)
    there = Measuring(Setting(against, setting.data, setting.methods, kinds, setting.classes), [SURE])
    return partial(_margins, SURE.begun(setting), there)


def _margins(here: Measurer, there: Measuring, shown: ShownBatch) -> Iterator[Record]:
    other = {_asked(record): record for record in there.measure(shown.numbers).records}
    for record in here(shown):
        rival = other.get(_asked(record))
        instead = NAN if rival is None else rival.value
        beside = {name: value for name, value in record.beside.items() if name in ("empty", "right")}
        beside |= {} if rival is None else {"against right": rival.beside["right"]}
        beside |= {} if instead != instead or record.value != record.value else {"against": instead}
        yield replace(record, value=record.value - instead, beside=beside)


def _asked(record: Record) -> tuple[str, int, str, str]:
    return record.key, int(record.beside["place"]), record.method, record.target


_LACKING = "--metrics trust compares two models; name the other one: --against MODEL, trust(against=task)"


def _check(against: Task | None, task: Task, _data: Data) -> None:
    if against is None:
        raise InputError(_LACKING)
    if against.kind != task.kind:
        raise InputError(
            f"--metrics trust: {task.name} does {task.kind} and {against.name} {against.kind}; give a model that does "
            "the same"
        )


def named(margins: Values) -> Values:
    """Whether each margin names this model (1) or the other (0), float64 [N]; equal ones name neither and count half.

    >>> named(np.array([0.2, -0.1, 0.0, NAN]))
    array([1. , 0. , 0.5, nan])
    """
    return np.asarray((np.sign(margins) + 1) / 2)


def _figures(metric: str, columns: Columns, telling: Telling) -> Iterator[Figure]:
    yield from by_group(metric, columns, telling)
    yield from by_group(f"{metric}, named", columns.revalued(named(columns.value)), telling)


def _notes(columns: Columns) -> Iterable[str]:
    if not len(columns):
        return
    yield "trust: how much more of this model's maps lies on the thing than of the other's, where both are right"
    first = columns.line == 0
    here, there = (columns.told(name)[first] for name in ("right", "against right"))
    equal = {name: int((columns.value[columns.line == n] == 0).sum()) for n, (name, _) in enumerate(columns.lines)}
    ties = ", ".join(f"{count} by {name}" for name, count in equal.items() if count)
    yield (
        f"trust, named: how often this model has more, .500 by chance; of {int(first.sum())} asked it is right in "
        f"{int(here.sum())}, the other in {int(np.nansum(there))}, both in {int(np.nansum(here * there))}; equal, "
        f"which count half: {ties or 'none'}"
    )


def trust(against: Task | None = None) -> Metric:
    """The metric that compares a task with another one of its kind.

    >>> evaluate(task, data, metrics=[trust(against=other)])
    """
    return Metric(
        NAME,
        "which of two models has more of its maps on the thing, where both are right?",
        begin=partial(_begin, against),
        needs={"mask"},
        figures=_figures,
        notes=_notes,
        check=partial(_check, against),
        model=against,
        told="" if against is None else f"--against {against.name}",
    )


TRUST = trust()
