"""The head of a run: what was asked of which weights and pictures, and what of the data is not among them."""

import hashlib
from collections.abc import Sequence

from vlx import __version__
from vlx.evaluation.cases import answers, closed, tells
from vlx.evaluation.class_asks import LACKED, ClassAsks, labels_of
from vlx.evaluation.lots import FIRST, LOT, later_classes, some_by_lot
from vlx.evaluation.metric import Metric
from vlx.evaluation.run_file import RunHead
from vlx.evaluation.shown import Setting
from vlx.protocol.identity import task_digest
from vlx.protocol.powers import powers_of
from vlx.protocol.task import Task


def head_of(setting: Setting, metrics: Sequence[Metric], count: int | None, command: str, *, digests: bool) -> RunHead:
    """The head of a run of ``count`` pictures, or all; ``digests`` of weights and pictures are what resuming needs."""
    task, data = setting.task, setting.data
    chosen = LOT if some_by_lot(setting, metrics, count) else FIRST
    others = [metric.model for metric in metrics if metric.model is not None]
    return RunHead(
        model=task.name,
        weights=" ".join(_weights(one) for one in (task, *others)) if digests else "",
        data=data.name,
        pictures=data.digest() if digests else "",
        metrics=[metric.name for metric in metrics],
        methods=[method.name for method in setting.methods],
        targets=list(setting.kinds),
        n=count,
        command=command,
        version=__version__,
        of="scenes" if closed(data) else "photographs" if tells(task) else "pictures",
        by_size=bool(getattr(data, "by_size", False)) and tells(task) and not closed(data),
        left_out=_left_out(setting, count, chosen),
        chosen=chosen,
        **_asked_as(setting),
    )


def _asked_as(setting: Setting) -> dict[str, str]:
    """Where the model is read, and digests of its classes' names and of what the data's classes are called."""
    layer, labels, table = getattr(setting.task, "layer", ""), labels_of(setting.task), setting.classes
    called = "by their names" if table is None else sorted((str(name), repr(given)) for name, given in table.items())
    return {
        "layer": layer if isinstance(layer, str) else "",
        "labels": _short_digest(labels) if labels else "",
        "classes": called if isinstance(called, str) else _short_digest(called),
    }


def _short_digest(told: Sequence[object]) -> str:
    return hashlib.sha256(repr([*told]).encode("utf-8", "backslashreplace")).hexdigest()[:16]


def _left_out(setting: Setting, count: int | None, chosen: str) -> dict[str, list[str]]:
    """What of the data cannot be measured, and why: pictures, and classes that the model has not."""
    task, data = setting.task, setting.data
    left = {why: list(names) for why, names in dict(getattr(data, "left_out", {})).items()}
    if tells(task):
        left |= {why: list(names) for why, names in dict(getattr(data, "unasked", {})).items()}
    elif not answers(task):
        lacked = ClassAsks(task, data, setting.classes).lacked
        left |= {LACKED: [*lacked]} if lacked else {}
        later = later_classes(setting, count) if chosen == FIRST else []
        left |= {f"classes of none of the first {count} pictures": later} if later else {}
    return left


def _weights(task: Task) -> str:
    identified = powers_of(task).identified
    return task_digest(task) if identified is None else identified.digest()
