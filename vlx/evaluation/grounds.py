"""Are the reasons true? The first reason of every word against what is in the picture, and how many survive the check.

True captions and answers are forced upon the model. A first reason is true when its concept is in the mask of the very
object that the word speaks of (a scene word: outside all objects); an answer's, when it is in the things that the
answer rests on.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlx import engine
from vlx.because import becauses
from vlx.errors import InputError
from vlx.evaluation.result import Figure, Result, wilson
from vlx.naming import RULES
from vlx.neuron_names.datasets import SceneData
from vlx.neuron_names.table import NeuronNames
from vlx.neuron_names.tables import shipped
from vlx.reasons import Because
from vlx.scenes import HELD_OUT, Scene, draw
from vlx.scenes.painter import union
from vlx.task import Features, Prediction, Query, Task, word_target
from vlx.weighting import choose

NAN = float("nan")
FUNCTION = "function words"

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class _Asked:
    """A word or an answer: the groups it counts in, and the pixels it should rest on, bool [H, W], if there are any."""

    groups: tuple[str, ...]
    mask: Mask | None
    prediction: Prediction
    position: int


def grounds(
    task: Task,
    n: int = 500,
    *,
    names: NeuronNames | None = None,
    rules: tuple[str, ...] = RULES,
    first: int = HELD_OUT,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> Result:
    """Reasons for all words, or answers, of ``n`` held-out scenes, by the table ``names`` or the one that was shipped.

    "first reason" is the share whose first reason is true, beside a random one of their reasons; "matters" the share
    that passes the check, for function words too, each by itself and together; "coverage" the mean share of evidence
    that has a name. One line for each rule by which units are weighed.
    """
    if task.kind not in ("captioning", "vqa"):
        raise InputError(f"{task.name} does {task.kind}; drawn scenes judge captioners and VQA models")
    table = shipped(task) if names is None else names
    data, tally = SceneData(1), _Tally()
    for seed in progress(range(first, first + n)):
        scene = draw(seed)
        features = task.features(task.place(task.prepare(scene.image)[None]))
        asked = list(_words(task, features, scene) if task.kind == "captioning" else _answers(task, features, scene))
        there = data.masks(scene)
        for rule in rules:
            for one, because in zip(asked, _explained(task, features, asked, table, rule), strict=True):
                tally.add(rule, one, because, there)
    command = f"vlx evaluate {task.name} --metrics because --n {n}"
    return Result(task.name, n, tuple(tally.figures(task.defaults.target)), command)


def _words(task: Task, features: Features, scene: Scene) -> Iterator[_Asked]:
    prediction = task.predict(features, [Query(caption=scene.caption)])[0]
    for position, word in enumerate(scene.words):
        groups = (FUNCTION, f"“{word.word}”") if word.category is None else (word.category,)
        yield _Asked(groups, word.mask, prediction, position)


def _answers(task: Task, features: Features, scene: Scene) -> Iterator[_Asked]:
    for asked in scene.questions:
        prediction = task.predict(features, [Query(question=asked.text, answer=asked.answer)])[0]
        mask = None if asked.mask is None else _things(scene, asked.mask)
        yield _Asked((asked.kind if mask is not None else "nothing there",), mask, prediction, 0)


def _things(scene: Scene, focus: Mask) -> Mask:
    """All pixels of the things of which an answer rests on a part; the focus itself where it rests on none."""
    own = [thing.mask for thing in scene.objects if (thing.mask & focus).any()]
    return union(own) if own else focus


def _explained(task: Task, features: Features, asked: list[_Asked], table: NeuronNames, rule: str) -> list[Because]:
    targets = [word_target(one.prediction, one.position, 0, task.defaults.target) for one in asked]
    likely = [word_target(one.prediction, one.position, 0, "logprob") for one in asked]
    method = choose(task.defaults.method)
    maps = engine.attribute(task, features.A, targets, method, features.rest).signed.cpu().numpy()
    return becauses(task, features, targets, likely, maps, method, table, rule=rule)


@dataclass
class _Tally:
    found: dict[tuple[str, str, str], list[float]] = field(default_factory=lambda: defaultdict(list))

    def add(self, rule: str, asked: _Asked, because: Because, there: dict[str, Mask]) -> None:
        """Count one word: its first reason, a random one, the check, how much of the evidence has a name."""
        reasons = because.of("because")
        true = [_is_in(reason.concept, asked.mask, there) for reason in reasons]
        for group in asked.groups:
            if asked.mask is not None:
                self.found["first reason", rule, group].append(float(bool(true) and true[0]))
                self.found["random", rule, group].append(float(np.mean(true)) if true else 0.0)
            self.found["matters", rule, group].append(float(because.check is not None and because.check.matters))
            self.found["coverage", rule, group].append(because.coverage)

    def figures(self, target: str) -> Iterator[Figure]:
        """One for each metric, rule and group."""
        for metric in ("first reason", "matters", "coverage"):
            for (own, rule, group), values in self.found.items():
                if own == metric:
                    mean, count = float(np.mean(values)), len(values)
                    low, high = wilson(sum(values), count)
                    random = self.found.get(("random", rule, group), [NAN]) if metric == "first reason" else [NAN]
                    yield Figure(group, rule, target, metric, mean, low, high, float(np.mean(random)), NAN, NAN, count)


def _is_in(concept: str, mask: Mask | None, there: dict[str, Mask]) -> bool:
    return mask is not None and concept in there and bool((there[concept] & mask).any())
