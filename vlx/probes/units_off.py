"""Switching units of A off and asking the model again: is a reason true? No run of the vision part is needed."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlx.protocol.nested import joined, nested
from vlx.protocol.powers import powers_of
from vlx.protocol.targets import Target
from vlx.protocol.task import Features, Task

BUDGET = 64 * 2**20  # bytes of feature maps whose scores are asked for at once
CACHED = 16 * 2**20  # bytes of them that are made at once where that can be
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

    ``off[n]`` is bool [R_n, K]; units that are off have the value 0 everywhere, or ``values`` [K]. A set of units that
    several targets share is one row of A for all of them. Rows go through `scores` in batches of ``budget`` bytes.
    """
    A, known = features.A, dict[bytes, int]()
    asked = [(n, known.setdefault(row.tobytes(), len(known))) for n, switches in enumerate(off) for row in switches]
    sets = np.array([np.frombuffer(row, bool) for row in known]).reshape(len(known), A.shape[1])
    size = max(budget // (A[0].numel() * A.element_size()), 1)
    flat = np.zeros(len(asked))
    for first in range(0, len(sets), size):
        keep = torch.from_numpy(~sets[first : first + size]).to(A.device)
        places = [place for place, (_, row) in enumerate(asked) if first <= row < first + size]
        rows = [replace(targets[asked[place][0]], row=asked[place][1] - first) for place in places]
        flat[places] = _scores(task, features, keep, values, rows).double().cpu().numpy()
    return np.split(flat, np.cumsum([len(switches) for switches in off])[:-1])


@torch.no_grad()
def _scores(task: Task, features: Features, keep: Tensor, values: Tensor | None, targets: Sequence[Target]) -> Tensor:
    """Scores [N] with the units kept that ``keep`` [N, K] tells; what a task makes of A first is made a few rows at a
    time, while they are in the processor's cache.
    """
    if (restarts := powers_of(task).restarts) is None:
        return task.scores(_edited(features.A, keep, values), targets, _repeated(features.rest, len(keep)))
    few = max(CACHED // (features.A[0].numel() * features.A.element_size()), 1)
    chunks = torch.split(keep, few)
    parts = [restarts.begin(_edited(features.A, some, values), _repeated(features.rest, len(some))) for some in chunks]
    return restarts.scores_from(joined(parts), targets)


def _edited(A: Tensor, keep: Tensor, values: Tensor | None) -> Tensor:
    """A's one row for each row of ``keep`` [N, K], with units that are off at 0 or their value in ``values`` [K]."""
    edited = A * keep.to(A.dtype)[:, :, None, None]
    return edited if values is None else edited + (~keep * values.to(A))[:, :, None, None]


def _repeated(rest: Any, count: int) -> Any:
    return nested(lambda tensor: tensor.expand(count, *tensor.shape[1:]), rest)


def random_sets(support: NDArray[np.floating], size: int, count: int, generator: np.random.Generator) -> Switches:
    """``count`` random sets of ``size`` units that speak for a text, bool [count, K].

    ``support`` [K] is what units add to the text: sets are drawn from those above 0, or the ``size`` highest where
    these are fewer. They may share units with a set that they are compared with: whether it matters more than others
    of its kind is to be found out.
    """
    support = np.asarray(support)
    able = np.argsort(-support, kind="stable")[: max(size, int((support > 0).sum()))]
    order = generator.random((count, len(able))).argsort(1)[:, :size]
    sets = np.zeros((count, len(support)), bool)
    np.put_along_axis(sets, able[order], True, 1)
    return sets


def log_odds(logprobs: NDArray[np.floating]) -> NDArray[np.float64]:
    """log p − log(1 − p); p is held below 1 by what float32 tells, so that the log-odds stay below 16.7."""
    logprobs = np.minimum(np.asarray(logprobs, np.float64), 0)
    return np.asarray(logprobs - np.log(np.maximum(-np.expm1(logprobs), SATURATED)))
