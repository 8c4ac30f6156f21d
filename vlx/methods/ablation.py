"""Ablation-CAM: units weighted by what the score loses when each is switched off; no gradient is needed.

A unit is a row of A, shared by all that is asked of a picture, and no run of the vision part is needed.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from vlx.methods.cams import weighted
from vlx.methods.dependence import vary
from vlx.methods.engine import Attribution
from vlx.methods.method import Method, Site, attribution, by_rows
from vlx.methods.replay import BUDGET, replay
from vlx.protocol.targets import Target
from vlx.protocol.task import Features, Task


def drops(task: Task, features: Features, targets: Sequence[Target], *, budget: int = BUDGET) -> Tensor:
    """w [N, K]: how much each target's score drops when one unit of A [1, K, h, w] is 0 everywhere, in its own unit.

    Not divided by the score, whose sign (log p < 0) would turn all of them. Maps of A are asked ``budget`` bytes at
    once; a unit that is 0 already drops nothing and is not asked, and none does where no unit moves the score beyond
    rounding. All targets read row 0.

        >>> drops(task, task.features(inputs), targets).shape
        torch.Size([12, 256])
    """
    A = features.A
    firing = A[0].flatten(1).any(1).nonzero()[:, 0]

    def without(rows: slice) -> Tensor:
        off = firing[rows]
        changed = A.repeat(rows.stop - rows.start, 1, 1, 1)  # the last row of all keeps every unit
        changed[torch.arange(len(off), device=A.device), off] = 0
        return changed

    rows = len(firing) + 1
    scores = torch.from_numpy(np.stack(replay(task, features, rows, without, [targets] * rows, budget=budget)))
    weights = A.new_zeros(len(targets), A.shape[1], dtype=torch.promote_types(A.dtype, torch.float32))
    weights[:, firing] = ((scores[-1] - scores[:-1]) * vary(scores, A)).T.to(weights)
    return weights


def ablated(task: Task, features: Features, targets: Sequence[Target], *, budget: int = BUDGET) -> Tensor:
    """S = Σ_k w_k A_k of the `drops` w, [N, h, w] (Desai and Ramaswamy 2020, without their divisor)."""
    weights = drops(task, features, targets, budget=budget)
    with torch.autocast(features.A.device.type, enabled=False):
        return weighted(weights, features.A.to(weights.dtype))


def _of_row(task: Task, site: Site, targets: Sequence[Target]) -> Attribution:
    return attribution(task, site, targets, ablated(task, site.features, targets))


def _attribute(task: Task, site: Site, targets: Sequence[Target]) -> Attribution:
    return by_rows(site, targets, partial(_of_row, task))


ABLATION = Method(
    "ablationcam",
    "10.1109/WACV45572.2020.9093360",
    "units weighted by what the score loses without each",
    _attribute,
    linear=True,
    gradient=False,
)
