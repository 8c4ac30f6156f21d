"""Does a VQA model look at the picture? How far its answers are moved by other pictures, by kind of question.

L is the mean of min(|log p − log p′|, 1 nat) over the references made of each picture (`vlx.probes.references`), and
over drawn scenes as pictures of something else. Where data mark what a model was misled about on purpose, the area
under the ROC curve says how well each tells the questions that give away their answer from the honest ones.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from vlx.data.example import Data
from vlx.errors import InputError
from vlx.evaluation.cases import answers
from vlx.evaluation.figures import Telling
from vlx.evaluation.intervals import mean_of, of_statistic, over_pictures
from vlx.evaluation.metric import Metric
from vlx.evaluation.records import Columns, Record, Values
from vlx.evaluation.result import Figure
from vlx.evaluation.shown import Setting, ShownBatch
from vlx.probes import other_pictures, references
from vlx.probes.owing import table
from vlx.protocol.targets import Query, word_target
from vlx.protocol.task import Features, Task

NAN = float("nan")
NAME = "looking"
MADE, SCENES = "looked, references of the picture", "looked, other scenes"
BIASED = "biased"  # the mark of asks that a model was misled about on purpose


class _Looking:
    """How far each of the model's own answers is moved, by kind of question, and of the marked ones beside the others.

    L in nats, in [0, 1], with the references made of each picture and with four drawn scenes.
    """

    def __init__(self, setting: Setting) -> None:
        self.other: dict[tuple[int, int], Features] = {}

    def __call__(self, shown: ShownBatch) -> Iterator[Record]:
        task, example = shown.task, shown.examples[0]
        size = example.image.size[::-1]
        if size not in self.other:
            self.other = {size: other_pictures.swapped_features(task, size)}
        asks = [ask for ask in example.asks if ask.query.question is not None]
        said = [task.predict(shown.features, [Query(question=ask.query.question)])[0] for ask in asks]
        if not said:
            return
        targets = [word_target(one, 0, 0, "logprob") for one in said]
        made = references.elsewhere(task, example.image, shown.inputs[0], asked=targets).features
        for name, elsewhere in ((MADE, made), (SCENES, self.other[size])):
            gone = table(task, elsewhere, targets)
            for number, (one, ask, row) in enumerate(zip(said, asks, gone, strict=True)):
                moved = references.looked(one.words[0].logprob, row.tolist())
                biased = {"biased": 1} if BIASED in ask.marks else {}
                yield Record(example.key, number, ask.group, name, "logprob", NAME, moved, beside=biased)


def _figures(_metric: str, columns: Columns, _telling: Telling) -> Iterator[Figure]:
    """L by kind of question; ``auc`` is the area under the curve by which it tells biased kinds from honest ones."""
    marked = {int(columns.group[number]) for number, beside in columns.beside.items() if beside.get("biased")}
    for line, (method, target) in enumerate(columns.lines):
        of_line = columns.line == line
        for number, kind in enumerate(columns.groups):
            which = of_line & (columns.group == number)
            if not which.any():
                continue
            values = columns.value[which]
            low, high = over_pictures(values, columns.picture[which])
            yield Figure(kind, method, target, "nats", mean_of(values), low, high, NAN, NAN, NAN, len(values))
        values, pictures = columns.value[of_line], columns.picture[of_line]
        biased = np.isin(columns.group[of_line], list(marked))
        if biased.any() and not biased.all():
            area = roc_area(values[biased], values[~biased])
            low, high = of_statistic(
                lambda drawn, v=values, b=biased: roc_area(v[drawn][b[drawn]], v[drawn][~b[drawn]]),  # type: ignore[misc]
                pictures,
            )
            yield Figure("biased or honest", method, target, "auc", area, low, high, 0.5, NAN, NAN, len(values))


def roc_area(low: Sequence[float] | Values, high: Sequence[float] | Values) -> float:
    """The share of pairs in which the value of ``high`` is the larger; ties count half (Mann and Whitney); else NaN."""
    from scipy.stats import mannwhitneyu

    if not len(low) or not len(high):
        return NAN
    return float(mannwhitneyu(high, low).statistic) / (len(low) * len(high))


def _check(task: Task, _data: Data) -> None:
    if not answers(task):
        raise InputError(f"{task.name} does {task.kind}; whether it looks is asked of VQA models")


LOOKING = Metric(
    NAME,
    "does a VQA model look at the picture at all?",
    begin=_Looking,
    figures=_figures,
    check=_check,
    batch=1,
    own_words=True,
)
