"""The trials behind `map_check`: cells of A at their mean, the model asked again, all words of a text at once."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlx.explanation.map_check import (
    FEWEST,
    MOVED,
    NATS,
    RELATIVE,
    Cells,
    MapCheck,
    count,
    judged,
    random_sets,
    top,
    untested,
)
from vlx.explanation.records import Array
from vlx.methods.replay import Changed, cells_gone, replays, without_cells
from vlx.pictures.placement import Grid
from vlx.probes.asked import Asked, lead
from vlx.probes.probe import Context, Probe
from vlx.protocol.targets import Prediction, Target
from vlx.protocol.task import Features, Task

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
    return tried_all(task, [(features, maps)], singly=singly)[0]


def tried_all(
    task: Task, pictures: Sequence[tuple[Features, Sequence[Trial]]], *, singly: bool = False
) -> list[list[MapCheck]]:
    """As `tried`, for several pictures whose A have one shape, in as few runs as there can be."""
    plans = [_Plan.of(features, maps, singly) for features, maps in pictures]
    asked = [plan for plan in plans if plan.able]
    scores = iter(replays(task, [plan.changed for plan in asked]) if asked else ())
    return [plan.checks(next(scores) if plan.able else []) for plan in plans]


def cell_falls(task: Task, features: Features, targets: Sequence[Target]) -> Scores:
    """What each target loses when one cell of A [1, K, h, w] at a time becomes A's mean cell, float64 [N, h, w]."""
    h, w = features.grid.shape
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


@dataclass(frozen=True, eq=False)
class _Plan:
    """What is asked to try the maps of one picture: ``shared`` sets of cells for all maps, the first of them empty, and
    each map's ``own``; ``place`` says which of these is whose, ``theirs`` what is asked at each. Equal sets are tried
    once.
    """

    maps: Sequence[Trial]
    reasons: list[str]
    able: list[Trial]
    random: Cells
    own: Cells
    place: list[int]
    theirs: list[list[Target]]
    distinct: list[Target]
    changed: Changed

    @classmethod
    def of(cls, features: Features, maps: Sequence[Trial], singly: bool) -> "_Plan":
        shape = features.grid.shape
        reasons, size = [one.why_not(shape) for one in maps], count(shape)
        able = [one for one, reason in zip(maps, reasons, strict=True) if not reason]
        random = random_sets(shape, size) if able else np.zeros((0, *shape), bool)
        single = np.eye(math.prod(shape), dtype=bool).reshape(-1, *shape)[: math.prod(shape) if singly else 0]
        chosen = np.array([one.cells(size) for one in able], bool).reshape(-1, *shape)
        own, place = np.unique(chosen, axis=0, return_inverse=True)
        distinct = list(dict.fromkeys(target for one in able for target in one.asked))
        theirs: list[dict[Target, None]] = [{} for _ in own]
        for one, n in zip(able, place.ravel().tolist(), strict=True):
            theirs[n] |= dict.fromkeys(one.asked)
        shared = np.concatenate([np.zeros((1, *shape), bool), random, single])
        asked = [*([distinct] * len(shared)), *map(list, theirs)]
        changed = cells_gone(features, np.concatenate([shared, own]), asked)
        return cls(maps, reasons, able, random, own, place.ravel().tolist(), asked[len(shared) :], distinct, changed)

    def checks(self, scores: Sequence[Scores]) -> list[MapCheck]:
        """The checks from the scores at all sets; log p, or where it is too sure the lead over the runner-up."""
        judgements = iter(self._judged(scores) if self.able else ())
        return [
            untested(reason, rises=one.rises) if reason else _chosen(one, next(judgements))
            for one, reason in zip(self.maps, self.reasons, strict=True)
        ]

    def _judged(self, scores: Sequence[Scores]) -> Iterator[list[MapCheck]]:
        """Each map's checks, in the unit of each target that is asked for it."""
        shared = len(scores) - len(self.own)
        table = {target: np.array([row[n] for row in scores[:shared]]) for n, target in enumerate(self.distinct)}
        pairs = zip(self.theirs, scores[shared:], strict=True)
        gone = [dict(zip(targets, row.tolist(), strict=True)) for targets, row in pairs]
        flat = self.random.reshape(len(self.random), -1)
        unlike = [(flat != cells).any(1) for cells in self.own.reshape(len(self.own), -1)]  # it may be its own set
        for one, n in zip(self.able, self.place, strict=True):
            size = int(self.own[n].sum())
            yield [_check(one, target, table[target], gone[n][target], unlike[n], size) for target in one.asked]


def _chosen(one: Trial, checks: list[MapCheck]) -> MapCheck:
    return checks[-1] if len(checks) > 1 and _saturated(one, checks[0]) else checks[0]


def _saturated(one: Trial, check: MapCheck) -> bool:
    """Whether log p has nowhere to go: nothing moves it, or it should rise and is all but 0."""
    return check.verdict == "cannot be tested" or (one.rises and one.sure)


def _check(one: Trial, target: Target, shared: Scores, without: float, other: NDArray[np.bool_], size: int) -> MapCheck:
    """The check of a map by its score without its cells and those at the ``shared`` sets, of which ``other`` count."""
    before, sign = float(shared[0]), -1 if one.rises else 1
    others, unit = sign * (before - shared[1:]), unit_of(target, one.number)
    return judged(
        sign * (before - without),
        others[: len(other)][other].tolist(),
        unit=unit,
        least=MOVED if unit in NATS else RELATIVE * abs(before),
        cells=size,
        rises=one.rises,
        most=float(others[len(other) :].max(initial=-math.inf)),
    )


def unit_of(target: Target, number: bool = False) -> str:
    """In what the falls of a target are told: "log p" and "lead" are nats, all else is the score's own unit.

    So is a difference of two numbers, which have no probability.
    """
    if number:
        return "logit"
    if target.kind == "margin" or any(term.weight < 0 for term in target.terms):
        return "lead"
    return "log p" if target.kind == "logprob" else target.kind


# As a probe


def _checks(context: Context) -> Sequence[tuple[MapCheck | None, MapCheck | None]]:
    """What the scores lose by the cells that the maps rank highest, and gain by those that speak against them.

    Pictures are tried together whichever of their words have maps.
    """
    made = context.together(_checked)
    pairs = zip(made[::2], made[1::2], strict=True)
    return [next(pairs) if one.with_map else (None, None) for one in context.asked]


def _checked(contexts: Sequence[Context]) -> Sequence[Sequence[MapCheck]]:
    singly = contexts[0].options.check == "cells"
    return tried_all(contexts[0].task, [(one.features, _trials(one.with_maps)) for one in contexts], singly=singly)


def _trials(context: Context) -> list[Trial]:
    """For each target two trials: of its map, and of what speaks against it."""
    there = context.grid == context.features.grid.plain

    def placed(values: Array) -> Array:
        return values if there else on_cells(values, context.grid, context.features.grid)

    pairs = [
        trials(context.prediction, one, row.logprob, placed(row.signed), placed(row.opposed))
        for one, row in zip(context.asked, context.rows, strict=True)
    ]
    return [trial for pair in pairs for trial in pair]


CHECKS = Probe("checks", lambda context: bool(context.options.check), _checks, every=True)
