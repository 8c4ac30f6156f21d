"""The trials behind `vlx.map_check`: cells of A at their mean, the model asked again, all words of a text at once."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlx.asked import Asked, lead
from vlx.explanation import Array
from vlx.geometry import Grid
from vlx.map_check import FEWEST, MOVED, NATS, RELATIVE, Cells, MapCheck, count, judged, random_sets, top, untested
from vlx.replay import without_cells
from vlx.task import Features, Prediction, Target, Task

Scores = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Trial:
    """A map [h, w] on the cells of A that is put to the test: does ``target`` lose by its highest cells?

    ``rises``: whether it gains, as by what speaks against it. ``lead`` is what is asked where log p is saturated, which
    is expected where ``logprob``, what the model gives it, is near 0. ``number``: the score has no probability.
    """

    target: Target
    lead: Target | None
    values: Array
    logprob: float
    rises: bool = False
    number: bool = False

    @property
    def sure(self) -> bool:
        """Whether log p cannot rise by what counts as an effect."""
        return self.target.kind == "logprob" and self.lead is not None and -self.logprob < MOVED

    @property
    def asked(self) -> list[Target]:
        """What is asked: log p and, from the same logits, the lead that stands for it where it has nowhere to go."""
        return [self.target] if self.lead is None else [self.target, self.lead]

    def cells(self, size: int) -> Cells:
        """The cells that are taken away."""
        return top(self.values, size)

    def why_not(self, shape: tuple[int, ...]) -> str:
        """Why the map cannot be tried on a grid of that shape; empty where it can."""
        size, side = count(shape), "against" if self.rises else "for"
        if math.comb(math.prod(shape), size) <= FEWEST:
            return f"{math.prod(shape)} cells are too few for random sets to compare with"
        if self.values.shape != shape:
            return f"the map's cells {list(self.values.shape)} are not those of A {list(shape)}"
        if not np.isfinite(self.values).all():
            return "the map holds numbers that are not finite"
        return "" if self.values.max() > 0 else f"nothing in the map speaks {side} it"


def trials(prediction: Prediction, asked: Asked, logprob: float, signed: Array, opposed: Array) -> list[Trial]:
    """What is tried of one question: its map, and what speaks against it; ``logprob`` is what the model gives it."""
    second, number = lead(prediction, asked), asked.outputs == "value"
    return [
        Trial(asked.likely, second, signed, logprob, number=number),
        Trial(asked.likely, second, opposed, logprob, rises=True, number=number),
    ]


def tried(task: Task, features: Features, maps: Sequence[Trial], *, singly: bool = False) -> list[MapCheck]:
    """The checks of several maps at A [1, K, h, w], one a trial; the random sets are the same for all of them.

    ``singly``: each cell alone is tried, too, so that "the most of anything tried" is nearly the most that there is.
    No run of the vision part; random state is left alone.
    """
    shape = (features.A.shape[2], features.A.shape[3])
    reasons = [one.why_not(shape) for one in maps]
    able = [one for one, reason in zip(maps, reasons, strict=True) if not reason]
    found = iter(_tried(task, features, able, singly))
    return [
        untested(reason, rises=one.rises) if reason else next(found) for one, reason in zip(maps, reasons, strict=True)
    ]


def cell_falls(task: Task, features: Features, targets: Sequence[Target]) -> Scores:
    """What each target loses when one cell of A [1, K, h, w] at a time becomes A's mean cell, float64 [N, h, w]."""
    h, w = features.A.shape[2:]
    sets = np.concatenate([np.zeros((1, h * w), bool), np.eye(h * w, dtype=bool)]).reshape(-1, h, w)
    scores = np.stack(without_cells(task, features, sets, [list(targets)] * len(sets)))
    return np.asarray((scores[0] - scores[1:]).T.reshape(-1, h, w))


def on_cells(values: Array, parts: Grid, grid: Grid) -> Scores:
    """A map of parts of the prepared picture on the cells of A: the mean of the parts under each cell, by area."""
    down, across = (_overlaps(parts, grid, axis) for axis in (0, 1))
    return np.asarray(down @ np.asarray(values, np.float64) @ across.T)


def _overlaps(parts: Grid, grid: Grid, axis: int) -> Scores:
    """The share of each cell's side that lies in each part, [cells, parts]; 0 where no part is."""

    def ends(one: Grid) -> tuple[Scores, Scores]:
        middle = one.offset[axis] + one.stride[axis] * np.arange(one.shape[axis], dtype=np.float64)
        return middle - one.stride[axis] / 2, middle + one.stride[axis] / 2

    (first, stop), (start, end) = ends(grid), ends(parts)
    shared = np.minimum(stop[:, None], end) - np.maximum(first[:, None], start)
    shared = np.maximum(shared, 0)
    return np.asarray(shared / np.maximum(shared.sum(1, keepdims=True), np.finfo(np.float64).tiny))


def _tried(task: Task, features: Features, maps: Sequence[Trial], singly: bool) -> list[MapCheck]:
    """Log p; where it is too sure to lose or gain, the lead over the runner-up."""
    if not maps:
        return []
    found = _asked(task, features, maps, singly)
    return [
        own[-1] if len(own) > 1 and _saturated(one, own[0]) else own[0] for one, own in zip(maps, found, strict=True)
    ]


def _saturated(one: Trial, check: MapCheck) -> bool:
    """Whether log p has nowhere to go: nothing moves it, or it should rise and is all but 0."""
    return check.verdict == "cannot be tested" or (one.rises and one.sure)


def _asked(task: Task, features: Features, maps: Sequence[Trial], singly: bool) -> list[list[MapCheck]]:
    """Each map's checks, in the unit of each target that is asked for it; equal sets of cells are tried once."""
    shape = (features.A.shape[2], features.A.shape[3])
    size = count(shape)
    nothing, random = np.zeros((1, *shape), bool), random_sets(shape, size)
    single = np.eye(math.prod(shape), dtype=bool).reshape(-1, *shape)[: math.prod(shape) if singly else 0]
    own, place = np.unique(np.stack([one.cells(size) for one in maps]), axis=0, return_inverse=True)
    shared = np.concatenate([nothing, random, single])
    distinct = list(dict.fromkeys(target for one in maps for target in one.asked))
    theirs: list[dict[Target, None]] = [{} for _ in own]
    for one, n in zip(maps, place.tolist(), strict=True):
        theirs[n] |= dict.fromkeys(one.asked)
    scores = without_cells(
        task, features, np.concatenate([shared, own]), [*([distinct] * len(shared)), *map(list, theirs)]
    )
    table = {target: np.array([row[n] for row in scores[: len(shared)]]) for n, target in enumerate(distinct)}
    gone = [
        dict(zip(asked, row.tolist(), strict=True)) for asked, row in zip(theirs, scores[len(shared) :], strict=True)
    ]

    flat = random.reshape(len(random), -1)
    unlike = [(flat != cells).any(1) for cells in own.reshape(len(own), -1)]  # a random set may happen to be its own

    def check(one: Trial, other: NDArray[np.bool_], target: Target, without: float) -> MapCheck:
        before, sign = float(table[target][0]), -1 if one.rises else 1
        others = sign * (before - table[target][1:])
        unit = unit_of(target, one.number)
        return judged(
            sign * (before - without),
            others[: len(random)][other].tolist(),
            unit=unit,
            least=MOVED if unit in NATS else RELATIVE * abs(before),
            cells=size,
            rises=one.rises,
            most=float(others[len(random) :].max(initial=-math.inf)),
        )

    return [
        [check(one, unlike[n], target, gone[n][target]) for target in one.asked]
        for one, n in zip(maps, place.tolist(), strict=True)
    ]


def unit_of(target: Target, number: bool = False) -> str:
    """In what the falls of a target are told: "log p" and "lead" are nats, all else is the score's own unit.

    So is a difference of two numbers, which have no probability.
    """
    if number:
        return "logit"
    if target.kind == "margin" or any(term.weight < 0 for term in target.terms):
        return "lead"
    return "log p" if target.kind == "logprob" else target.kind
