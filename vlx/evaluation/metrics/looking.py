"""Does a VQA model look at the picture? How far its answers are moved by other pictures, by kind of question.

L is the mean of min(|log p − log p′|, 1 nat) over the references made of each picture (`vlx.probes.references`), and
over drawn scenes as pictures of something else. Where data mark what a model was misled about on purpose, the area
under the ROC curve says how well each tells the questions that give away their answer from the honest ones.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from vlx.data.example import Data
from vlx.errors import InputError
from vlx.evaluation.cases import answers
from vlx.evaluation.intervals import of_mean
from vlx.evaluation.metric import Metric
from vlx.evaluation.result import Figure
from vlx.evaluation.shown import Setting, ShownBatch
from vlx.probes import other_pictures, references
from vlx.probes.owing import table
from vlx.protocol.targets import Query, word_target
from vlx.protocol.task import Features, Task

NAN = float("nan")
MADE, SCENES = "looked, references of the picture", "looked, other scenes"
BIASED = "biased"  # the mark of asks that a model was misled about on purpose


class _Looking:
    """How far each of the model's own answers is moved, by kind of question, and of the marked ones beside the others.

    L in nats, in [0, 1], with the references made of each picture and with four drawn scenes. ``auc`` is the area under
    the ROC curve by which each tells the biased kinds of question from the honest ones.
    """

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.other: Features | None = None
        self.found: dict[str, dict[str, list[float]]] = {MADE: defaultdict(list), SCENES: defaultdict(list)}
        self.biased: set[str] = set()

    def update(self, shown: ShownBatch) -> None:
        task, image = shown.task, shown.examples[0].image
        if self.other is None:
            self.other = other_pictures.swapped_features(task, image.size[::-1])
        asks = [ask for ask in shown.examples[0].asks if ask.query.question is not None]
        said = [task.predict(shown.features, [Query(question=ask.query.question)])[0] for ask in asks]
        if not said:
            return
        self.biased |= {ask.group for ask in asks if BIASED in ask.marks}
        targets = [word_target(one, 0, 0, "logprob") for one in said]
        made = references.elsewhere(task, image, shown.inputs[0], asked=targets).features
        for name, elsewhere in ((MADE, made), (SCENES, self.other)):
            gone = table(task, elsewhere, targets)
            for one, ask, row in zip(said, asks, gone, strict=True):
                self.found[name][ask.group].append(references.looked(one.words[0].logprob, row.tolist()))

    def figures(self) -> Iterator[Figure]:
        for name, values in self.found.items():
            yield from _figures(name, values, self.biased)

    def notes(self) -> Iterator[str]:
        yield from ()


def _figures(method: str, found: dict[str, list[float]], marked: set[str]) -> Iterator[Figure]:
    for kind, values in found.items():
        low, high = of_mean(values)
        mean = float(np.mean(values))
        yield Figure(kind, method, "logprob", "nats", mean, low, high, NAN, NAN, NAN, len(values))
    biased = [value for kind, values in found.items() if kind in marked for value in values]
    honest = [value for kind, values in found.items() if kind not in marked for value in values]
    if biased and honest:
        area, count = roc_area(biased, honest), len(biased) + len(honest)
        yield Figure("biased or honest", method, "logprob", "auc", area, NAN, NAN, 0.5, NAN, NAN, count)


def roc_area(low: Sequence[float], high: Sequence[float]) -> float:
    """The share of pairs in which the value of ``high`` is the larger; ties count half (Mann and Whitney)."""
    a, b = (np.asarray(values, np.float64)[:, None] for values in (low, high))
    above: NDArray[np.float64] = np.where(b > a.T, 1.0, np.where(b == a.T, 0.5, 0.0))
    return float(above.mean())


def _check(task: Task, _data: Data) -> None:
    if not answers(task):
        raise InputError(f"{task.name} does {task.kind}; whether it looks is asked of VQA models")


LOOKING = Metric("looking", "does a VQA model look at the picture at all?", _Looking, _check, batch=1, own_words=True)
