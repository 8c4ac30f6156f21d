"""Switching units of A off and asking the model again: is a reason true? No run of the vision part is needed."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlx.nested import joined, nested
from vlx.task import Features, Restarts, Target, Task

BUDGET = 64 * 2**20  # bytes of feature maps whose scores are asked for at once
CACHED = 16 * 2**20  # bytes of them that are made at once where that can be
NEIGHBOURS = 16  # places by which a unit of a random set may be more or less active, or as many as the set has units
SATURATED = 2.0**-24  # the least of 1 − p that float32 tells from 0

Switches = NDArray[np.bool_]


def switched_off(
    task: Task,
    features: Features,
    targets: Sequence[Target],
    off: Sequence[Switches],
    *,
    values: Tensor | None = None,
    budget: int = BUDGET,
) -> list[NDArray[np.float64]]:
    """The targets' scores with units of A [1, K, h, w] switched off: for target n one score for each row of ``off[n]``.

    ``off[n]`` is bool [R_n, K]; units that are off have the value 0 everywhere, or ``values`` [K]. All rows go through
    `scores` in batches of ``budget`` bytes.
    """
    A = features.A
    rows = [(n, row) for n, switches in enumerate(off) for row in switches]
    size = max(budget // (A[0].numel() * A.element_size()), 1)
    found = []
    for first in range(0, len(rows), size):
        chunk = rows[first : first + size]
        keep = torch.from_numpy(~np.stack([row for _, row in chunk])).to(A.device)
        asked = [replace(targets[n], row=r) for r, (n, _) in enumerate(chunk)]
        found.append(_scores(task, features, keep, values, asked).double().cpu().numpy())
    flat = np.concatenate(found) if found else np.zeros(0)
    return np.split(flat, np.cumsum([len(switches) for switches in off])[:-1])


@torch.no_grad()
def _scores(task: Task, features: Features, keep: Tensor, values: Tensor | None, targets: Sequence[Target]) -> Tensor:
    """Scores [N] with the units kept that ``keep`` [N, K] tells; what a task makes of A first is made a few rows at a
    time, while they are in the processor's cache.
    """
    if not isinstance(task, Restarts):
        return task.scores(_edited(features.A, keep, values), targets, _repeated(features.rest, len(keep)))
    few = max(CACHED // (features.A[0].numel() * features.A.element_size()), 1)
    chunks = torch.split(keep, few)
    parts = [task.begin(_edited(features.A, some, values), _repeated(features.rest, len(some))) for some in chunks]
    return task.scores_from(joined(parts), targets)


def _edited(A: Tensor, keep: Tensor, values: Tensor | None) -> Tensor:
    """A's one row for each row of ``keep`` [N, K], with units that are off at 0 or their value in ``values`` [K]."""
    edited = A * keep.to(A.dtype)[:, :, None, None]
    return edited if values is None else edited + (~keep * values.to(A))[:, :, None, None]


def _repeated(rest: Any, count: int) -> Any:
    return nested(lambda tensor: tensor.expand(count, *tensor.shape[1:]), rest)


def random_sets(
    units: Sequence[int], mass: NDArray[np.floating], count: int, generator: np.random.Generator
) -> Switches:
    """``count`` random sets of units, bool [count, K], matched to ``units`` in number and in activation mass.

    ``mass`` [K] is how active each unit is. Active units are ordered by it, the order is shuffled among neighbours, and
    a set has the units that then stand in the places of ``units``. It may share units with them: those that matter no
    more than others of like strength are to be found out.
    """
    chosen = np.zeros(len(mass), bool)
    chosen[list(units)] = True
    order = np.argsort(mass, kind="stable")
    order = order[(mass[order] > 0) | chosen[order]]
    reach = max(NEIGHBOURS, len(units))
    shuffled = np.arange(len(order)) + generator.uniform(-reach, reach, (count, len(order)))
    sets = np.zeros((count, len(mass)), bool)
    np.put_along_axis(sets, order[shuffled.argsort(1)][:, chosen[order]], True, 1)
    return sets


def log_odds(logprobs: NDArray[np.floating]) -> NDArray[np.float64]:
    """log p − log(1 − p); p is held below 1 by what float32 tells, so that the log-odds stay below 16.7."""
    logprobs = np.minimum(np.asarray(logprobs, np.float64), 0)
    return np.asarray(logprobs - np.log(np.maximum(-np.expm1(logprobs), SATURATED)))
