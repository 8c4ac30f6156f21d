"""The model asked again at changed feature maps, one row a change: no run of the vision part is needed."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlx.nested import joined, nested
from vlx.task import Features, Restarts, Target, Task, Term

BUDGET = 64 * 2**20  # bytes of feature maps whose scores are asked for at once
CACHED = 16 * 2**20  # bytes of them that are made at once where that can be

Cells = NDArray[np.bool_]
Edit = Callable[[slice], Tensor]


def without_cells(
    task: Task, features: Features, sets: Cells, asked: Sequence[Sequence[Target]], *, budget: int = BUDGET
) -> list[NDArray[np.float64]]:
    """Scores with cells of A [1, K, h, w] at A's mean cell: those of ``sets`` [R, h, w] in row r, for ``asked[r]``.

    One array for each row, a score for each of its targets; a row whose set is empty is A as it is.
    """
    A = features.A
    where = torch.from_numpy(sets).to(A.device)
    wide = torch.promote_types(A.dtype, torch.float32)
    mean = A.to(wide).mean((2, 3), keepdim=True).to(A.dtype)
    return replay(task, features, len(sets), lambda rows: torch.where(where[rows, None], mean, A), asked, budget=budget)


def replay(
    task: Task, features: Features, count: int, edit: Edit, asked: Sequence[Sequence[Target]], *, budget: int = BUDGET
) -> list[NDArray[np.float64]]:
    """Scores of ``asked[r]`` at row r of ``count`` changed maps; ``edit(rows)`` makes the maps of a slice of rows.

    What several targets ask for at one row is computed once: a score is a weighted sum, by the protocol, but for a
    difference, which stays whole.
    """
    size = max(budget // max(features.A[0].numel() * features.A.element_size(), 1), 1)
    found: list[NDArray[np.float64]] = []
    for first in range(0, count, size):
        rows = slice(first, min(first + size, count))
        parts, sums = _parts(asked[rows])
        scores = _scores(task, features, rows, edit, parts).double().cpu().numpy() if parts else np.zeros(0)
        found += [np.array([sum(weight * scores[n] for n, weight in terms) for terms in own]) for own in sums]
    return found


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
def _scores(task: Task, features: Features, rows: slice, edit: Edit, targets: Sequence[Target]) -> Tensor:
    """Scores [N] of targets at the maps of some rows; what a task makes of A first is made a few rows at a time, while
    they are in the processor's cache.
    """
    count = rows.stop - rows.start
    if not isinstance(task, Restarts):
        return task.scores(edit(rows), targets, _repeated(features.rest, count))
    few = max(CACHED // max(features.A[0].numel() * features.A.element_size(), 1), 1)
    cuts = [slice(first, min(first + few, rows.stop)) for first in range(rows.start, rows.stop, few)]
    parts = [task.begin(edit(cut), _repeated(features.rest, cut.stop - cut.start)) for cut in cuts]
    return task.scores_from(joined(parts), targets)


def _repeated(rest: Any, count: int) -> Any:
    return nested(lambda tensor: tensor.expand(count, *tensor.shape[1:]), rest)
