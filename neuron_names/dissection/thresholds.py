"""Exact thresholds in one stream: the largest values of every unit are kept, and nothing else."""

from collections.abc import Sequence
from math import floor

import torch
from torch import Tensor

SPARE = 8192  # values a unit that find room beside the kept ones, at least


class TopValues:
    """Finds T with P(a > T) = q for K units and several quantiles, over ``cells`` values a unit.

    The (k + 1)-th largest value, k = ⌊q · cells⌋, is the threshold: exactly k values lie above it unless some tie with
    it. The order of the values does not matter. Kept are k + 1 float32 a unit for the largest q and a constant number
    besides, whatever the number of pictures: about 4 q bytes a value.
    """

    def __init__(self, quantiles: Sequence[float], cells: int) -> None:
        self.ranks = [floor(q * cells + 1e-9) for q in quantiles]
        self.keep = max(self.ranks) + 1
        self._buffer = self._filled = self.floor = torch.zeros(0)

    def add(self, A: Tensor, peaks: Tensor) -> None:
        """Feature maps [N, K, h, w], all finite, and their maxima [N, K]."""
        K, most = A.shape[1], len(A) * A.shape[2] * A.shape[3]
        if self._buffer.shape[-1] < self.keep + most:
            self._grow(K, self.keep + max(most, min(SPARE, self.keep)), A.device)
        if (filled := int(self._filled[0])) < self.keep:  # none can be left out yet
            self._buffer[:, filled : filled + most] = A.transpose(0, 1).flatten(1)
            self._filled += most
            if filled + most >= self.keep:
                self._select()
            return
        unit, n = (peaks > self.floor).T.nonzero(as_tuple=True)
        values = A[n, unit].float().flatten(1)
        pair, cell = (values > self.floor[unit][:, None]).nonzero(as_tuple=True)
        owner, values = unit[pair], values[pair, cell]
        count = torch.bincount(owner, minlength=K)
        if (self._filled + count).max() > self._buffer.shape[1]:
            self._select()
        first = self._filled - (count.cumsum(0) - count)  # owners come in order
        self._buffer[owner, first[owner] + torch.arange(len(owner), device=A.device)] = values
        self._filled += count

    def thresholds(self) -> tuple[Tensor, Tensor]:
        """T [Q, K], float32, and bool [Q, K]: fewer values than asked for lie above it, because some equal it."""
        kept = self.kept()
        T = torch.stack([kept[:, rank] for rank in self.ranks])
        above = torch.stack([(kept > values[:, None]).sum(1) for values in T])
        return T, above < torch.tensor(self.ranks, device=above.device)[:, None]

    def kept(self) -> Tensor:
        """The largest values of every unit so far, largest first, [K, at most k + 1]."""
        self._select()
        return self._buffer[:, : int(self._filled.max())]

    def merge(self, kept: Tensor) -> None:
        """Take in what `kept` gave for other pictures: the largest of all are among the largest of each part."""
        K, more = kept.shape
        if self._buffer.shape[-1] < self.keep + more:
            self._grow(K, self.keep + more, kept.device)
        self._select()
        filled = int(self._filled[0])
        self._buffer[:, filled : filled + more] = kept
        self._filled += more
        self._select()

    def restore(self, kept: Tensor) -> None:
        """Go on from what `kept` gave."""
        self._grow(len(kept), kept.shape[1], kept.device)
        self._buffer[:] = kept
        self._filled += kept.shape[1]
        self._select()

    @property
    def held(self) -> int:
        """Bytes that are kept."""
        return self._buffer.numel() * self._buffer.element_size()

    def _grow(self, K: int, width: int, device: torch.device) -> None:
        """Room for ``width`` values of each of K units; ``floor`` [K] is what a value must exceed to matter."""
        old = self._buffer
        self._buffer = torch.full((K, width), -torch.inf, device=device)
        if old.ndim == 2:
            self._buffer[:, : old.shape[1]] = old
        else:
            self._filled = torch.zeros(K, dtype=torch.long, device=device)
            self.floor = torch.full((K,), -torch.inf, device=device)

    def _select(self) -> None:
        """Keep the largest alone. Values below all of them can never be among the largest again."""
        count = min(self.keep, int(self._filled.max()))
        self._buffer[:, :count] = self._buffer.topk(count, dim=1).values
        self._buffer[:, count:] = -torch.inf
        self._filled.fill_(count)
        if count == self.keep:
            self.floor = self._buffer[:, count - 1].clone()
