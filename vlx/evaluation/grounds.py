"""Are the reasons true, and what are their two marks worth? Every figure beside the same under permuted names.

True captions and answers are forced upon the model. A reason is true when its concept is in the mask of the very object
that the word speaks of (a scene word: outside all objects); an answer's, when it is in the things that the answer rests
on. Twenty tables with the same names on other units tell what a figure is by chance.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlx.data import SceneData
from vlx.errors import ModelError, in_own_words
from vlx.evaluation.cases import check_scenes
from vlx.evaluation.result import Figure, Result, wilson
from vlx.explanation.reasons import Because
from vlx.methods import engine, registry
from vlx.methods.cams import METHODS as WEIGHTINGS
from vlx.methods.cams import Weighting
from vlx.neuron_names.table import NeuronNames
from vlx.neuron_names.table.permuted import permuted
from vlx.neuron_names.tables import shipped
from vlx.probes.because import becauses, evidence, reasoned
from vlx.probes.grouping import name_units
from vlx.protocol.targets import Prediction, Query, Target, word_target
from vlx.protocol.task import Features, Task
from vlx.scenes import HELD_OUT, Scene, draw
from vlx.scenes.painter import union

NAN = float("nan")
TABLES = 20  # permuted ones: a single unlucky one marks up to .18 of words
ALL = "all"  # words, or answers, whose reasons can be true or false
METRICS = (
    "first reason",
    "first marked",
    "any marked",
    "first true, marked",
    "first true, unmarked",
    "all true, marked",
    "all true, unmarked",
    "matters",
    "coverage",
)

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class _Asked:
    """A word or an answer: the groups it counts in, and the pixels it should rest on, bool [H, W], if there are any."""

    groups: tuple[str, ...]
    mask: Mask | None
    prediction: Prediction
    position: int

    def target(self, kind: Any) -> Target:
        return word_target(self.prediction, self.position, 0, kind)


@in_own_words("the evaluation cannot be made", ModelError)
def grounds(
    task: Task,
    n: int = 500,
    *,
    names: NeuronNames | None = None,
    rules: tuple[str, ...] = ("contribution",),
    first: int = HELD_OUT,
    tables: int = TABLES,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> Result:
    """Reasons for all content words, or answers, of ``n`` held-out scenes, by the table ``names`` or the shipped one.

    "first reason" is the share whose first reason is true, beside a random one of their reasons; "first marked" and
    "any marked" the shares where the first reason's name, or any of those that the sentence names, holds together;
    "first true, marked" and "…, unmarked" how many first reasons are true where their name holds and where it does not,
    "all true, …" the same of all that the sentence names; "matters" the share whose named units matter (the other
    mark); "coverage" the mean share of evidence that has a name. ``permuted`` is each figure under ``tables`` tables of
    permuted names ("matters": a table a scene, in turn). One line for each of the ``rules`` by which units are weighed.
    """
    check_scenes(task)
    table = shipped(task) if names is None else names
    orders = np.random.default_rng(0)
    wrong = [permuted(table, orders.permutation(len(table))) for _ in range(tables)]
    data, own, chance = SceneData(1), _Tally(), _Tally()
    for seed in progress(range(first, first + n)):
        scene = draw(seed)
        features = task.features(task.place(task.prepare(scene.image)[None]))
        asked = list(_words(task, features, scene) if task.kind == "captioning" else _answers(task, features, scene))
        there = data.masks(scene)
        for rule in rules:
            for one, because in zip(asked, _explained(task, features, asked, table, rule), strict=True):
                own.add(rule, one, because, there)
            for number, becauses_by_chance in enumerate(_by_chance(task, features, asked, wrong, rule, seed)):
                for one, because in zip(asked, becauses_by_chance, strict=True):
                    chance.add(rule, one, because, there, number)
    command = f"vlx evaluate {task.name} --metrics because --n {n}"
    return Result(task.name, n, tuple(figures(own, chance, task.defaults.target)), command)


def _words(task: Task, features: Features, scene: Scene) -> Iterator[_Asked]:
    prediction = task.predict(features, [Query(caption=scene.caption)])[0]
    for position, word in enumerate(scene.words):
        if word.category is not None:  # function words have no reasons unless one asks for them
            yield _Asked((ALL, word.category), word.mask, prediction, position)


def _answers(task: Task, features: Features, scene: Scene) -> Iterator[_Asked]:
    for asked in scene.questions:
        prediction = task.predict(features, [Query(question=asked.text, answer=asked.answer)])[0]
        mask = None if asked.mask is None else _things(scene, asked.mask)
        yield _Asked((ALL, asked.kind) if mask is not None else ("nothing there",), mask, prediction, 0)


def _things(scene: Scene, focus: Mask) -> Mask:
    """All pixels of the things of which an answer rests on a part; the focus itself where it rests on none."""
    own = [thing.mask for thing in scene.objects if (thing.mask & focus).any()]
    return union(own) if own else focus


def _maps(task: Task, features: Features, targets: Sequence[Target]) -> NDArray[Any]:
    return engine.attribute(task, features.A, targets, _weighting(task), features.rest).signed.cpu().numpy()


def _weighting(task: Task) -> Weighting:
    """How the default method weighs A, or HiResCAM where its maps are not made of units, as `vlx.explain` has it."""
    return registry.choose(task.defaults.method).weighting or WEIGHTINGS["hirescam"]


def _explained(task: Task, features: Features, asked: list[_Asked], table: NeuronNames, rule: str) -> list[Because]:
    """Reasons with both marks, as `vlx.explain` gives them."""
    targets, likely = ([one.target(kind) for one in asked] for kind in (task.defaults.target, "logprob"))
    maps = _maps(task, features, targets)
    return becauses(task, features, targets, likely, maps, _weighting(task), table, rule=rule)


def _by_chance(
    task: Task, features: Features, asked: list[_Asked], tables: Sequence[NeuronNames], rule: str, seed: int
) -> Iterator[list[Because]]:
    """The same by each of the permuted tables; the units are switched off by one of them only, another each scene."""
    targets = [one.target(task.defaults.target) for one in asked]
    said = evidence(task, features, targets, _maps(task, features, targets), _weighting(task), rule)
    for number, table in enumerate(tables):
        if number == seed % len(tables):
            yield _explained(task, features, asked, table, rule)
        else:
            yield reasoned(said, name_units(table, features.A[0]), rule)


@dataclass
class _Tally:
    """What was counted, by metric, rule and group; of permuted tables by table too."""

    found: dict[tuple[str, str, str], dict[int, list[float]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )

    def add(self, rule: str, asked: _Asked, because: Because, there: dict[str, Mask], table: int = 0) -> None:
        """Count one word: whether its reasons are true, its marks, how much of the evidence has a name."""
        for metric, values in counted(because, asked.mask, there).items():
            for group in asked.groups:
                self.found[metric, rule, group][table] += values

    def mean(self, metric: str, rule: str, group: str) -> float:
        """Over tables, each counting alike; NaN where nothing was counted."""
        tables = [float(np.mean(values)) for values in self.found[metric, rule, group].values() if values]
        return float(np.mean(tables)) if tables else NAN


def counted(because: Because, mask: Mask | None, there: dict[str, Mask]) -> dict[str, list[float]]:
    """What one word adds to each metric, 0 to 1 each: nothing to those that it does not bear on."""
    every, said = because.of("because"), because.said
    marked = [one.named is True for one in said]
    found: dict[str, list[float]] = {
        "first marked": [float(bool(marked) and marked[0])],
        "any marked": [float(any(marked))],
        "coverage": [because.coverage],
    }
    if because.check is not None or not said:
        found["matters"] = [float(because.check is not None and because.check.matters)]
    if mask is None:
        return found
    true = [_is_in(reason.concept, mask, there) for reason in every]
    found["first reason"] = [float(bool(true) and true[0])]
    found["random"] = [float(np.mean(true)) if true else 0.0]
    for name, wanted in (("marked", True), ("unmarked", False)):
        kept = [float(t) for t, m in zip(true, marked, strict=False) if m is wanted]
        found[f"all true, {name}"] = kept
        found[f"first true, {name}"] = kept[:1] if marked and marked[0] is wanted else []
    return found


def figures(own: _Tally, chance: _Tally, target: str) -> Iterator[Figure]:
    """One for each metric, rule and group."""
    for metric in METRICS:
        for (known, rule, group), tables in list(own.found.items()):
            if known != metric or not tables[0]:
                continue
            values = tables[0]
            low, high = wilson(sum(values), len(values))
            random = own.mean("random", rule, group) if metric == "first reason" else NAN
            yield Figure(
                *(group, rule, target, metric, float(np.mean(values)), low, high, random, NAN, NAN, len(values)),
                permuted=chance.mean(metric, rule, group),
            )


def _is_in(concept: str, mask: Mask, there: dict[str, Mask]) -> bool:
    return concept in there and bool((there[concept] & mask).any())
