"""Exact thresholds in one stream: the largest values of every unit are kept, and nothing else."""

from collections.abc import Sequence
from math import floor

import torch
from torch import Tensor

FEW = 32  # values above a threshold that make it worth a guess
CHUNK = 8192  # values a unit that wait at least before the next selection


class TopValues:
    """Finds T with P(a > T) = q for K units and several quantiles, over ``cells`` values a unit.

    The (k + 1)-th largest value, k = ⌊q · cells⌋, is the threshold: exactly k values lie above it unless some tie with
    it. The order of the values does not matter. Kept are k + 1 float32 a unit for the largest q, whatever the number
    of pictures besides: about 4 q bytes a value.
    """

    def __init__(self, quantiles: Sequence[float], cells: int) -> None:
        self.quantiles = sorted(quantiles)
        self.selected = 0  # values a unit among which the kept ones are the largest
        self.ranks = [floor(q * cells + 1e-9) for q in quantiles]
        self._kept: Tensor | None = None
        self._waiting: list[Tensor] = []

    def add(self, A: Tensor) -> None:
        """Feature maps [N, K, h, w]."""
        self._waiting.append(A.float().transpose(0, 1).flatten(1))
        if sum(values.shape[1] for values in self._waiting) >= max(max(self.ranks) + 1, CHUNK):
            self._select()

    def thresholds(self) -> tuple[Tensor, Tensor]:
        """T [Q, K], float32, and bool [Q, K]: fewer values than asked for lie above it, because some equal it."""
        kept = self.kept()
        T = torch.stack([kept[:, rank] for rank in self.ranks])
        above = torch.stack([(kept > values[:, None]).sum(1) for values in T])
        return T, above < torch.tensor(self.ranks, device=above.device)[:, None]

    def floor(self) -> Tensor:
        """The lowest threshold of the values selected so far, [K]: a guess at the final one. −∞ while there are few."""
        rank = floor(self.quantiles[-1] * self.selected)
        if self._kept is None or rank < FEW:
            return torch.full_like(self._waiting[0][:, 0], -torch.inf)
        return self._kept[:, rank]

    def kept(self) -> Tensor:
        """The largest values of every unit so far, largest first, [K, at most k + 1]."""
        self._select()
        assert self._kept is not None, "no feature map was added"
        return self._kept

    def restore(self, kept: Tensor, selected: int) -> None:
        """Go on from what `kept` gave, and the number of values a unit among which they were ``selected``."""
        self._kept, self._waiting, self.selected = kept, [], selected

    def _select(self) -> None:
        parts = [*([] if self._kept is None else [self._kept]), *self._waiting]
        if self._waiting:
            values = torch.cat(parts, 1)
            self.selected += sum(part.shape[1] for part in self._waiting)
            self._kept = values.topk(min(max(self.ranks) + 1, values.shape[1]), dim=1).values
            self._waiting = []
