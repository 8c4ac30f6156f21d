"""Does a VQA model look at the picture? How far its answers are moved by other pictures, by kind of question.

L is the mean of min(|log p − log p′|, 1 nat) over the references made of each picture (`vlx.probes.references`), and
over drawn scenes as pictures of something else. Where a model was misled on purpose (`vlx.scenes.bias`), the area under
the ROC curve says how well each tells the questions that give away their answer from the honest ones.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlx.errors import InputError, ModelError, in_own_words
from vlx.evaluation.result import Figure, Result
from vlx.probes import other_pictures, references
from vlx.probes.owing import table
from vlx.protocol.targets import Query, word_target
from vlx.protocol.task import Task
from vlx.scenes import HELD_OUT, draw
from vlx.scenes.bias import BIASED

NAN = float("nan")
MADE, SCENES = "looked, references of the picture", "looked, other scenes"


@in_own_words("the evaluation cannot be made", ModelError)
def looking(
    task: Task,
    n: int = 200,
    *,
    first: int = HELD_OUT,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> Result:
    """All questions about ``n`` held-out scenes, each with the answer that the model gives.

    L in nats, in [0, 1], with the references made of each picture and with four drawn scenes. ``auc`` is the area under
    the ROC curve by which each tells the biased kinds of question from the honest ones.
    """
    if task.kind != "vqa":
        raise InputError(f"{task.name} does {task.kind}; whether it looks is asked of VQA models")
    found: dict[str, dict[str, list[float]]] = {MADE: defaultdict(list), SCENES: defaultdict(list)}
    other = other_pictures.swapped_features(task, draw(first).image.size[::-1])
    for seed in progress(range(first, first + n)):
        scene = draw(seed)
        inputs = task.prepare(scene.image)
        features = task.features(task.place(inputs[None]))
        asked = [Query(question=one.text) for one in scene.questions]
        said = [task.predict(features, [query])[0] for query in asked]
        targets = [word_target(one, 0, 0, "logprob") for one in said]
        made = references.elsewhere(task, scene.image, inputs, asked=targets).features
        for name, shown in ((MADE, made), (SCENES, other)):
            gone = table(task, shown, targets)
            for one, question, row in zip(said, scene.questions, gone, strict=True):
                found[name][question.kind].append(references.looked(one.words[0].logprob, row.tolist()))
    rows = [row for name, values in found.items() for row in _figures(name, values)]
    return Result(task.name, n, tuple(rows), f"vlx evaluate {task.name} --metrics looking --n {n}")


def _figures(method: str, found: dict[str, list[float]]) -> list[Figure]:
    rows = []
    for kind, values in found.items():
        half = 1.96 * float(np.std(values)) / len(values) ** 0.5
        mean = float(np.mean(values))
        rows.append(Figure(kind, method, "logprob", "nats", mean, mean - half, mean + half, NAN, NAN, NAN, len(values)))
    biased = [value for kind, values in found.items() if kind in BIASED for value in values]
    honest = [value for kind, values in found.items() if kind not in BIASED for value in values]
    if biased and honest:
        area = roc_area(biased, honest)
        rows.append(
            Figure(
                "biased or honest", method, "logprob", "auc", area, NAN, NAN, 0.5, NAN, NAN, len(biased) + len(honest)
            )
        )
    return rows


def roc_area(low: Sequence[float], high: Sequence[float]) -> float:
    """The share of pairs in which the value of ``high`` is the larger; ties count half (Mann and Whitney)."""
    a, b = (np.asarray(values, np.float64)[:, None] for values in (low, high))
    above: NDArray[np.float64] = np.where(b > a.T, 1.0, np.where(b == a.T, 0.5, 0.0))
    return float(above.mean())
