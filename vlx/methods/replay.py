"""The model asked again at changed feature maps, one row a change: no run of the vision part is needed."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlx.protocol.nested import joined, nested
from vlx.protocol.powers import powers_of
from vlx.protocol.targets import Target, Term
from vlx.protocol.task import Features, Task

BUDGET = 64 * 2**20  # bytes of feature maps whose scores are asked for at once
CACHED = 16 * 2**20  # bytes of them that are made at once where that can be

Cells = NDArray[np.bool_]
Edit = Callable[[slice], Tensor]


@dataclass(frozen=True, eq=False)
class Changed:
    """``count`` changed maps of one picture: ``edit(rows)`` makes those of a slice, ``asked[r]`` is asked at row r."""

    features: Features
    count: int
    edit: Edit
    asked: Sequence[Sequence[Target]]


def without_cells(
    task: Task,
    features: Features,
    sets: Cells,
    asked: Sequence[Sequence[Target]],
    *,
    fill: Tensor | None = None,
    budget: int = BUDGET,
) -> list[NDArray[np.float64]]:
    """Scores with cells of A [1, K, h, w] at A's mean cell: those of ``sets`` [R, h, w] in row r, for ``asked[r]``.

    One array for each row, a score for each of its targets; a row whose set is empty is A as it is. ``fill`` [K] is a
    cell to put in their place instead: of what covers most of a picture the picture's own mean is more of the same.
    """
    return replays(task, [cells_gone(features, sets, asked, fill)], budget=budget)[0]


def cells_gone(
    features: Features, sets: Cells, asked: Sequence[Sequence[Target]], fill: Tensor | None = None
) -> Changed:
    """The maps that `without_cells` asks at.

    Where A's own places are tokens of several crops, each that shows a part of the cells is moved towards the mean of
    all by as much as it shows: so a place is hidden in all crops alike.
    """
    A, grid = features.A, features.grid
    where = torch.from_numpy(sets).to(A.device)
    exact = A.to(torch.promote_types(A.dtype, torch.float32))
    if grid.plain is grid:
        mean = (exact.mean((2, 3), keepdim=True) if fill is None else fill.to(exact)[None, :, None, None]).to(A.dtype)
        return Changed(features, len(sets), lambda rows: torch.where(where[rows, None], mean, A), asked)
    mean = exact[..., torch.from_numpy(grid.placed).to(A.device)].mean((2, 3), keepdim=True)
    mean = mean if fill is None else fill.to(mean)[None, :, None, None]
    shares = grid.cover(where).to(exact.dtype)
    return Changed(features, len(sets), lambda rows: exact.lerp(mean, shares[rows, None]).to(A.dtype), asked)


def replay(
    task: Task, features: Features, count: int, edit: Edit, asked: Sequence[Sequence[Target]], *, budget: int = BUDGET
) -> list[NDArray[np.float64]]:
    """Scores of ``asked[r]`` at row r of ``count`` changed maps; ``edit(rows)`` makes the maps of a slice of rows.

    What several targets ask for at one row is computed once: a score is a weighted sum, by the protocol, but for a
    difference, which stays whole.
    """
    return replays(task, [Changed(features, count, edit, asked)], budget=budget)[0]


def replays(task: Task, changed: Sequence[Changed], *, budget: int = BUDGET) -> list[list[NDArray[np.float64]]]:
    """As `replay`, for several pictures whose A have one shape: the rows of all, as many at once as fit the budget."""
    A = changed[0].features.A
    size = max(budget // max(A[0].numel() * A.element_size(), 1), 1)
    found: list[list[NDArray[np.float64]]] = [[] for _ in changed]
    for cut in _cuts([one.count for one in changed], size):
        parts, sums = _parts([targets for n, rows in cut for targets in changed[n].asked[rows]])
        scores = np.zeros(0)
        if parts:
            scores = _scores(task, [(changed[n], rows) for n, rows in cut], parts).double().cpu().numpy()
        told = iter([np.array([sum(weight * scores[n] for n, weight in terms) for terms in own]) for own in sums])
        for n, rows in cut:
            found[n] += islice(told, _length(rows))
    return found


def _cuts(counts: Sequence[int], size: int) -> Iterator[list[tuple[int, slice]]]:
    """The rows of several pictures in order, ``size`` at a time: (number of the picture, some of its rows)."""
    cut: list[tuple[int, slice]] = []
    room = size
    for n, count in enumerate(counts):
        first = 0
        while first < count:
            stop = min(first + room, count)
            cut.append((n, slice(first, stop)))
            room, first = room - (stop - first), stop
            if not room:
                yield cut
                cut, room = [], size
    if cut:
        yield cut


def _parts(asked: Sequence[Sequence[Target]]) -> tuple[list[Target], list[list[list[tuple[int, float]]]]]:
    """The distinct terms of all rows' targets as targets of their own, and each target as (number, weight) of them."""
    known: dict[int, tuple[list[Target], list[list[tuple[int, float]]]]] = {}  # rows often share one list of targets
    parts: list[Target] = []
    sums: list[list[list[tuple[int, float]]]] = []
    for row, own in enumerate(asked):
        if id(own) not in known:
            known[id(own)] = _of_row(own)
        singles, terms = known[id(own)]
        first = len(parts)
        parts += [Target(row, one.label, one.terms, one.kind, one.tokens) for one in singles]
        sums.append([[(first + number, weight) for number, weight in target] for target in terms])
    return parts, sums


def _of_row(asked: Sequence[Target]) -> tuple[list[Target], list[list[tuple[int, float]]]]:
    """The same of one row; its parts are counted from 0."""
    numbers: dict[Any, int] = {}
    parts: list[Target] = []

    def number(target: Target, terms: tuple[Term, ...]) -> int:
        key = (target.kind, target.tokens, terms)
        if key not in numbers:
            numbers[key] = len(parts)
            parts.append(replace(target, terms=terms))
        return numbers[key]

    def cut(target: Target) -> list[tuple[int, float]]:
        if any(term.weight < 0 for term in target.terms):  # what a difference is read from is for the task to say
            return [(number(target, target.terms), 1.0)]
        return [(number(target, (replace(term, weight=1.0),)), term.weight) for term in target.terms]

    return parts, [cut(target) for target in asked]


@torch.no_grad()
def _scores(task: Task, cut: Sequence[tuple[Changed, slice]], targets: Sequence[Target]) -> Tensor:
    """Scores [N] of targets at the maps of some rows; what a task makes of A first is made a few rows at a time, while
    they are in the processor's cache.
    """
    if (restarts := powers_of(task).restarts) is None:
        made = [one.edit(rows) for one, rows in cut]
        rest = [_repeated(one.features.rest, len(own)) for (one, _), own in zip(cut, made, strict=True)]
        return task.scores(joined(made), targets, joined(rest))
    parts = [restarts.begin(one.edit(rows), _repeated(one.features.rest, _length(rows))) for one, rows in _few(cut)]
    return restarts.scores_from(joined(parts), targets)


def _few(cut: Sequence[tuple[Changed, slice]]) -> Iterator[tuple[Changed, slice]]:
    """The same rows, of each picture as many at once as are made together."""
    for one, rows in cut:
        A = one.features.A
        few = max(CACHED // max(A[0].numel() * A.element_size(), 1), 1)
        yield from ((one, slice(first, min(first + few, rows.stop))) for first in range(rows.start, rows.stop, few))


def _length(rows: slice) -> int:
    return int(rows.stop - rows.start)


def _repeated(rest: Any, count: int) -> Any:
    return nested(lambda tensor: tensor.expand(count, *tensor.shape[1:]), rest)
