"""Does a VQA model look at the picture? How far its answers are swayed by other pictures, by kind of question.

A blank picture is like nothing the model was trained on, and may sway it for that alone; pictures of other scenes are
the fairer question. Both are told. Where a model was misled on purpose (`vlx.scenes.bias`), the area under the ROC
curve says how well each tells the questions that give away their answer from the honest ones.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlx import engine, probes
from vlx.errors import InputError
from vlx.evaluation.result import Figure, Result
from vlx.scenes import HELD_OUT, draw
from vlx.scenes.bias import BIASED
from vlx.task import Query, Task, word_target

NAN = float("nan")


def looking(
    task: Task,
    n: int = 200,
    *,
    first: int = HELD_OUT,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> Result:
    """All questions about ``n`` held-out scenes, each with the answer that the model gives.

    Under "sway by other scenes" the mean of |log p − log p′| in nats, p′ with another scene in place of the picture;
    under "owed, blank" log p less that with a blank picture. ``auc`` is the area under the ROC curve by which each
    tells the biased kinds of question from the honest ones.
    """
    if task.kind != "vqa":
        raise InputError(f"{task.name} does {task.kind}; whether it looks is asked of VQA models")
    sway: dict[str, list[float]] = defaultdict(list)
    owed: dict[str, list[float]] = defaultdict(list)
    size = draw(first).image.size[::-1]
    elsewhere = probes.joined([probes.blank_features(task, size), probes.swapped_features(task, size)])
    for seed in progress(range(first, first + n)):
        scene = draw(seed)
        features = task.features(task.place(task.prepare(scene.image)[None]))
        for asked in scene.questions:
            prediction = task.predict(features, [Query(question=asked.text)])[0]
            target = word_target(prediction, 0, 0, "logprob")
            there = engine.ask(task, elsewhere, [replace(target, row=row) for row in range(len(elsewhere.A))]).tolist()
            changes = prediction.words[0].logprob - np.array(there)
            owed[asked.kind].append(float(changes[0]))
            sway[asked.kind].append(float(np.abs(changes[1:]).mean()))
    rows = [*_figures("owed, blank", owed), *_figures("sway by other scenes", sway)]
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
