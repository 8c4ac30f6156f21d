"""Which method to take on a model that nobody measured: what a few pictures can tell without labels, and what not.

Methods are compared by what the score loses when the 1, 2, 4 … a tenth of A's cells that their maps rank highest become
A's mean cell. The largest fall alone picks badly: the methods that point best are mostly tied, and diffuse maps fall
far. So LayerCAM on log p is kept unless another's lead over it, paired over the pictures, is surely above 0. Over eight
models that pointed .97 as well as the best method of each, .91 at worst.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vlx.errors import InputError, ModelError, in_own_words
from vlx.explanation.map_check import MOVED, NATS, RELATIVE, count, random_sets, top
from vlx.methods import registry, several
from vlx.methods.method import Site
from vlx.methods.replay import without_cells
from vlx.pictures.opening import open_image
from vlx.pipeline.options import SINGLE
from vlx.probes.asked import lead, questions
from vlx.probes.map_trials import unit_of
from vlx.protocol.identity import Kept
from vlx.protocol.powers import meet
from vlx.protocol.targets import Prediction, Query, Target, TargetKind, sentence_target, word_target
from vlx.protocol.task import Features, Task, predict

Scores = NDArray[np.float64]
Candidate = tuple[str, TargetKind]

KEPT: Candidate = ("layercam", "logprob")
TARGETS: tuple[TargetKind, ...] = ("logprob", "logit")
T = (63.66, 9.92, 5.84, 4.60, 4.03, 3.71, 3.50, 3.36, 3.25, 3.17)  # Student's t of the 99 % interval, from 2 values on
Z = 2.58  # its limit for many: 99 %, since ten candidates are compared
NOTABLE = 1e-3  # nats: a smaller lead is rounding
RANDOM = 5  # scattered and as many compact sets of each size
PICTURES = 5  # of a batch that method="auto" tries


@dataclass(frozen=True)
class RankedMethod:
    """One method on one target: the mean ``fall`` of the score over the pictures, in nats, from ``low`` to ``high``.

    ``random`` is the fall by random cells. ``ahead`` is the lead over what is kept by default, paired over pictures,
    from ``ahead_low`` to ``ahead_high``. Intervals hold in 99 of 100 cases, NaN for a single picture.
    """

    method: str
    target: str
    layer: str
    fall: float
    low: float
    high: float
    random: float
    ahead: float
    ahead_low: float
    ahead_high: float

    @property
    def better(self) -> bool:
        """Whether it is surely ahead."""
        return self.ahead_low > NOTABLE

    @property
    def worse(self) -> bool:
        """Whether it is surely behind."""
        return self.ahead_high < -NOTABLE

    @property
    def name(self) -> str:
        """Method and target."""
        return f"{self.method} on {self.target}"


@dataclass(frozen=True)
class Recommendation:
    """The ``method`` and ``target`` to take at ``layer``, the ``rows`` that say why, and ``pictures`` that were tried.

    ``beats_random`` tells whether any method surely does more than random cells. ``number``: of numbers, which have no
    probability; their target is "logit", and falls are in their unit.
    """

    method: str
    target: TargetKind
    layer: str
    rows: tuple[RankedMethod, ...]
    pictures: int
    model: str = ""
    beats_random: bool = True
    number: bool = False

    @property
    def told(self) -> tuple[str, ...]:
        """What the pictures can tell, in sentences."""
        kept = f"{KEPT[0]} on {self.rows[0].target}"
        taken = next(
            row for row in self.rows if row.method == self.method and (self.number or row.target == self.target)
        )
        worse = [row.name for row in self.rows if row.worse]
        tied = [row.name for row in self.rows if not row.worse and not row.better and row.name != kept]
        if self.pictures < 2:
            why = f"kept: {kept}; one picture tells methods not apart, give five or so"
        elif taken.name == kept:
            why = f"kept: {kept}; nothing else is surely ahead of it over {self.pictures} pictures"
        else:
            unit = "" if self.number else " nats"
            ahead = f"{taken.ahead:+.2f}{unit} [{taken.ahead_low:+.2f}, {taken.ahead_high:+.2f}]"
            why = f"taken: {taken.name}; it is ahead of {kept} by {ahead} over {self.pictures} pictures"
        sentences = [why]
        if worse:
            sentences.append(f"clearly worse: {', '.join(worse)}")
        if tied and self.pictures > 1:
            sentences.append(f"cannot be told apart from {kept}: {', '.join(tied)}")
        if not self.beats_random and self.pictures > 1:
            sentences.append("no method surely beats random cells: maps at this layer say little")
        return tuple(sentences)

    def __str__(self) -> str:
        lost = "lost of the number" if self.number else "nats lost"
        head = f"{self.model} at {self.layer}: {lost} without the cells ranked highest, over {self.pictures} pictures"
        wide = max(len(row.name) for row in self.rows)
        lines = [
            f"  {row.name:{wide}}  {row.fall:6.2f} [{row.low:.2f}, {row.high:.2f}]  ahead {row.ahead:+.2f} "
            f"[{row.ahead_low:+.2f}, {row.ahead_high:+.2f}]"
            for row in sorted(self.rows, key=lambda row: -row.fall)
        ]
        random = f"  {'random cells':{wide}}  {self.rows[0].random:6.2f}"
        return "\n".join([head, *lines, random, *(f"{line}." for line in self.told)]).replace("-", "−")


@in_own_words("the methods cannot be compared", ModelError)
def recommend(
    task: Task,
    pictures: Iterable[Any],
    *,
    question: str | Sequence[str] | None = None,
    caption: str | None = None,
    answer: str | None = None,
    targets: Sequence[TargetKind] = TARGETS,
) -> Recommendation:
    """Which method and target to explain ``task`` by, from a few pictures of your own and no labels.

    ``question`` for models that are asked, one text or one a picture. Every word or answer counts that some cells move
    by .1 nat, in log p or, where that is saturated, in its lead over the runner-up.

        >>> print(vlx.recommend(task, ["a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg"]))

    Raises InputError for no pictures, and where nothing that was tried moves any score; ModelError for a model that
    lets no gradient through, since there are no maps to compare.
    """
    if isinstance(pictures, SINGLE):
        raise InputError("recommend() takes several pictures, in a list: five or so of your own")
    shown = [task.place(task.prepare(open_image(one).image)[None]) for one in pictures]
    if not shown:
        raise InputError("recommend() needs pictures of your own: give five or so, in a list")
    asked = [question] * len(shown) if question is None or isinstance(question, str) else list(question)
    if len(asked) != len(shown):
        raise InputError(
            f"question is a list of {len(asked)} for {len(shown)} pictures; give one a picture, or one text"
        )
    return recommended(task, shown, [Query(caption, one, answer) for one in asked], targets)


def recommended(
    task: Task, inputs: Sequence[Tensor], queries: Sequence[Query], targets: Sequence[TargetKind] = TARGETS
) -> Recommendation:
    """As `recommend`, from prepared pictures [1, C, H, W] where the model is, and what each is asked."""
    names = candidates(task, targets)
    falls, layer, number = [], "", False
    for picture, query in zip(inputs, queries, strict=True):
        features = task.features(picture)
        prediction = predict(task, features, [query])[0]
        features, _ = meet(task, features, [sentence_target(prediction, 0)])
        layer = features.layer
        number = any(word.outputs == "value" for word in prediction.words)
        fall = fall_of(task, features, prediction, names)
        falls += [] if fall is None else [fall]
    if not falls:
        raise InputError(
            f"{task.name}: no cells of A that were tried move any word by {MOVED} nat over {len(inputs)} picture(s); "
            "give other pictures, or an adapter with another layer"
        )
    if not number:
        return decided(np.stack(falls), names, layer, task.name)
    each = len(names) // len(targets)  # every target of a number is the number
    columns = np.stack(falls)[:, [*range(each), -1]]
    choice = decided(columns, [(method, cast(TargetKind, "value")) for method, _ in names[:each]], layer, task.name)
    return replace(choice, number=True, target="logit")


def candidates(task: Task, targets: Sequence[TargetKind] = TARGETS) -> list[Candidate]:
    """What is compared, what is kept by default first: weightings, and of a model with attention the methods for it."""
    pairs = [(method.name, target) for target in targets for method in registry.compared(task)]
    return sorted(pairs, key=lambda pair: pair != (KEPT[0], targets[0]))


def decided(falls: Scores, names: Sequence[Candidate], layer: str, model: str = "") -> Recommendation:
    """The rule, on falls [pictures, candidates + 1]: the first candidate is kept unless another's paired lower bound
    lies above it; the last column is random cells.
    """
    pictures = len(falls)
    rows = []
    for n, (method, target) in enumerate(names):
        fall, ahead = interval(falls[:, n]), interval(falls[:, n] - falls[:, 0])
        rows.append(RankedMethod(method, target, layer, *fall, float(falls[:, -1].mean()), *ahead))
    beyond = [interval(falls[:, n] - falls[:, -1])[1] > NOTABLE for n in range(len(names))]
    best = max((row for row in rows if row.better), key=lambda row: row.ahead_low, default=rows[0])
    return Recommendation(
        best.method, cast(TargetKind, best.target), layer, tuple(rows), pictures, model, pictures < 2 or any(beyond)
    )


def interval(values: Scores) -> tuple[float, float, float]:
    """Mean, and its 99 % interval: 2.58 standard errors, more of few values (Student's t); NaN for a single one.

    With 2.58 for five pictures, too, something that points worse is taken far too often (`benchmarks.defaults`).
    """
    mean, free = float(values.mean()), len(values) - 1
    if not free:
        return mean, math.nan, math.nan
    t = T[free - 1] if free <= len(T) else Z * (1 + 1.9 / free + 3 / free**2)  # within .02 of Student's
    error = t * float(values.std(ddof=1)) / math.sqrt(len(values))
    return mean, mean - error, mean + error


def sizes(shape: tuple[int, ...]) -> list[int]:
    """1, 2, 4 … and a tenth of the cells."""
    most = count(shape)
    return [*(2**n for n in range(most.bit_length()) if 2**n < most), most]


def fall_of(task: Task, features: Features, prediction: Prediction, names: Sequence[Candidate]) -> Scores | None:
    """The mean fall over words and sizes by each candidate's map, and last by random cells, [candidates + 1].

    ``features`` [1, K, h, w] are those at which the words are explained. None where no word can be moved.
    """
    asked = [one for one in questions(task, prediction, "logprob") if one.role == "word"]
    if not asked:
        return None
    shape = features.grid.shape
    random = np.concatenate([random_sets(shape, size, RANDOM) for size in sizes(shape)])
    maps = list(_maps(task, features, prediction, names))  # one [words, h, w] a candidate
    highest = np.stack(
        [[top(maps[c][n], size) for c in range(len(names)) for size in sizes(shape)] for n in range(len(asked))]
    )
    leads = [lead(prediction, one) for one in asked]
    wanted = [[one.likely, *([second] if second else [])] for one, second in zip(asked, leads, strict=True)]
    shared = np.concatenate([np.zeros((1, *shape), bool), random])
    rows = [*([[target for targets in wanted for target in targets]] * len(shared))]
    rows += [targets for targets in wanted for _ in range(highest.shape[1])]
    scores = without_cells(task, features, np.concatenate([shared, *highest]), rows)
    means, place = [], 0
    for n, targets in enumerate(wanted):
        first = len(shared) + n * highest.shape[1]
        for k, target in enumerate(targets):
            before = float(scores[0][place + k])
            others = before - np.array([row[place + k] for row in scores[1 : len(shared)]])
            tried = before - np.array([row[k] for row in scores[first : first + highest.shape[1]]])
            if _moved(target, asked[n].outputs == "value", before, [*others, *tried]):
                means.append([*tried.reshape(len(names), -1).mean(1), others.mean()])
                break
        place += len(targets)
    return np.mean(means, 0) if means else None


def _moved(target: Target, number: bool, before: float, falls: Sequence[float]) -> bool:
    """Whether anything tried moves the score, and nothing breaks it."""
    least = MOVED if unit_of(target, number) in NATS else RELATIVE * abs(before)
    return bool(np.isfinite(falls).all()) and max(map(abs, falls)) >= max(least, np.finfo(float).tiny)


def _maps(task: Task, features: Features, prediction: Prediction, names: Sequence[Candidate]) -> Iterator[Scores]:
    """The signed maps [words, h, w] of each candidate in order; gradients are taken once a target."""
    words = range(len(prediction.words))
    known: dict[Candidate, Tensor] = {}
    for kind in dict.fromkeys(kind for _, kind in names):
        targets = [word_target(prediction, n, 0, kind) for n in words]
        methods = [registry.choose(name) for name, other in names if other == kind]
        maps = several.maps_of(task, Site(features), targets, methods, lean=True)
        known |= {(name, kind): signed for name, signed in maps.items()}
    for pair in names:
        yield known[pair].double().cpu().numpy()


_chosen = Kept()


def chosen(
    task: Task, inputs: Sequence[Tensor], queries: Sequence[Query], targets: Sequence[TargetKind] = TARGETS
) -> Recommendation:
    """What method="auto" takes: as `recommended` from the first pictures there are, once, and kept with the weights.

    A choice that only one picture was there for is made again when there are more. Where nothing moves any score, and
    for one picture, it is what is kept by default.
    """
    known, key = _chosen.of(task), (task.version(), tuple(targets))
    before: Recommendation | None = known.get(key)
    if before is not None and (before.pictures > 1 or len(inputs) < 2):
        return before
    try:
        choice = recommended(task, inputs[:PICTURES], queries[:PICTURES], targets)
    except InputError:
        row = RankedMethod(KEPT[0], targets[0], "", *[math.nan] * 7)
        return Recommendation(KEPT[0], targets[0], "", (row,), 0, task.name)
    known.clear()
    known[key] = choice
    return choice
