"""Are maps others where a twin of the model was trained on shuffled labels? (Adebayo et al., arXiv 1810.03292, 4.)

The twin is a second model of the same make, trained to say what has nothing to do with the pictures. A map that is the
same of both shows the picture and not what was learned. What cannot be asked of the twin is left out and counted.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch

from vlx.data.example import Data
from vlx.errors import InputError, ModelError
from vlx.evaluation import baselines
from vlx.evaluation.cases import Case, Reading, answers, cases_of, tells
from vlx.evaluation.metric import Metric, default_kind
from vlx.evaluation.records import Columns, Record, Values
from vlx.evaluation.shown import Setting, ShownBatch
from vlx.evaluation.similarity import Section, figured, similar, told, verdicts
from vlx.language import shortened
from vlx.methods import several
from vlx.methods.method import Site
from vlx.protocol.task import Task

NAME = "labels"
NAN = float("nan")
SECTIONS = (Section("", "then", 0), Section(", |S|", "then", 1), Section(", SSIM", "then", 2))
STEP = "the twin"


def labels(twin: Task | None = None) -> Metric:
    """The metric that compares a model's maps with those of its ``twin``, which was trained on shuffled labels.

    Without a twin it is refused before a picture is shown.

    >>> evaluate(task, "imagenet:data", metrics=[labels(twin)], methods=["gradcam", "guided"])
    """
    return Metric(
        NAME,
        "are maps others where a twin was trained on shuffled labels?",
        begin=partial(_Twins, twin),
        figures=figured(SECTIONS),
        notes=_notes,
        check=partial(_check, twin),
        better="low",
        anywhere=True,
        model=twin,
        told="" if twin is None else f"--twin {twin.name}",
    )


class _Twins:
    """The maps of everything that is asked of a batch, of the model and of its twin."""

    def __init__(self, twin: Any, setting: Setting) -> None:
        self.twin: Task = twin
        self.reading = Reading(twin, setting.data, setting.classes)
        self.methods = [one for one in setting.methods if one.name != baselines.SAME]
        self.kinds = default_kind(setting)

    def __call__(self, shown: ShownBatch) -> Iterator[Record]:
        asked = shown.asked_anywhere
        if not asked.cases:
            return
        inputs = torch.stack([self.twin.prepare(example.image) for example in shown.examples])
        features = self.twin.features(self.twin.place(inputs))
        theirs = cases_of(self.reading, features, shown.examples, shown.numbers, pointed=False)
        number_of = {_asked(case): number for number, case in enumerate(theirs)}
        for kind in self.kinds:
            targets = [case.target(kind) for case in theirs]
            site, own = Site.of(self.twin, features, targets, inputs, shown.filling)
            made = several.maps_of(self.twin, site, own, self.methods) if theirs else {}
            for method in self.methods:
                before = asked.maps(kind)[method.name].double().cpu().numpy()
                for number, case in enumerate(asked.cases):
                    place = number_of.get(_asked(case))
                    other = None if place is None else made[method.name][place].double().cpu().numpy()
                    key, ask = shown.examples[case.row].key, asked.places[number]
                    value, beside = self._similar(before[number], other)
                    yield Record(key, ask, case.group, method.name, kind, NAME, value, case.area, beside)

    def _similar(self, before: Values, other: Values | None) -> tuple[float, dict[str, Any]]:
        """How alike two maps are; NaN where the twin could not be asked."""
        if other is None:
            return NAN, {"steps": [STEP], **told({"then": [(NAN, NAN, NAN)]})}
        if other.shape != before.shape:
            raise InputError(
                f"the twin {self.twin.name} makes maps {[*other.shape]}, the model {[*before.shape]}: give one of the "
                "same make"
            )
        alike = similar(before, np.asarray(other))
        return alike[0], {"steps": [STEP], **told({"then": [alike]}), "gone": {"then": [int(not (other > 0).any())]}}


def _asked(case: Case) -> tuple[int, int]:
    """Which ask of which picture it is, whatever a model calls its words."""
    return case.row, id(case.ask)


def _check(twin: Task | None, task: Task, data: Data) -> None:
    if twin is None:
        raise InputError(
            "--metrics labels needs a twin that was trained on shuffled labels: give --twin MODEL, or labels(twin)"
        )
    if (tells(twin), answers(twin)) != (tells(task), answers(task)):
        raise InputError(f"the twin {twin.name} does {twin.kind}, {task.name} does {task.kind}; give one of its make")
    if Reading(task, data).silent:
        raise InputError(f"{shortened(data.name, 60)} asks nothing: --metrics labels needs classes, words or questions")
    if twin is task:
        raise ModelError(f"{task.name} is its own twin; give a second model, trained on shuffled labels")


def _notes(columns: Columns) -> Iterator[str]:
    yield from verdicts(SECTIONS[0], columns, "with the twin's")


LABELS = labels()
