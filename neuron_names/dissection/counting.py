"""The exact tally of masks and labels, whose cost does not depend on the number of concepts.

Only quads of four neighbouring cells with a corner above the threshold are looked at: elsewhere the bilinear value is
a mean of cells that are not above it.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from vlx.neuron_names.dissection.alignment import Quads
from vlx.neuron_names.dissection.labels import BITS, Categories, LabelBatch

AT_ONCE = 2**18  # pixels of quads whose values are held at once: they fit the cache
KEYS = 2**22  # pixels of masks that are counted at once


class Maps(NamedTuple):
    """P maps of units that exceed their lowest threshold somewhere: ``edges`` [P, h + 2, w + 2], edges repeated."""

    n: Tensor
    unit: Tensor
    edges: Tensor


class Masked(NamedTuple):
    """Pixels of masks: the number of the map they are of, the pixel, and the first quantile that takes it in."""

    map: Tensor
    pixel: Tensor
    level: Tensor


class Counter:
    """Counts of one layer in one fold: see `vlx.neuron_names.table.Tally` for what is counted.

    ``T`` float32 [Q, K]: thresholds, largest first (smallest quantile first).
    """

    def __init__(self, categories: Categories, T: Tensor) -> None:
        self.T, (self.Q, self.K) = T, T.shape
        self.C, self.G = categories.C, categories.G
        width = 1 << min(self.G, BITS)
        self.bits = torch.tensor([[code >> bit & 1 for bit in range(BITS)] for code in range(width)]).to(T)
        # of concept 0: none; by the first quantile that takes a pixel in
        self._intersection = torch.zeros(self.K, self.Q, self.C + 1, dtype=torch.long, device=T.device)
        self._activation = torch.zeros(3, self.K, self.Q, self.G, dtype=torch.long, device=T.device)
        self._keys: list[Tensor] = []

    def add(self, A: Tensor, quads: Quads, batch: LabelBatch) -> None:
        """Count the masks of feature maps [N, K, h, w] against the labels of their pictures."""
        maps = self._active(A.float())
        size, width = quads.size[0] * quads.size[1], len(self.bits)
        tables = torch.zeros(len(batch.codes), len(maps.n) * self.Q * width, dtype=torch.long, device=A.device)
        owner = (maps.unit * (self.Q * (self.C + 1))).int()
        for own, pixel, level in self._masked(maps, quads):
            place = pixel + (maps.n * size)[own]
            if batch.seen is not None:
                seen = batch.seen[place]
                own, place, level = own[seen], place[seen], level[seen]
            if len(own):
                self._note_codes(tables, own, level, batch.codes[:, place])
            keys = (owner[own] + level.int() * (self.C + 1))[:, None] + batch.labels[place]
            self._keys.append(keys.flatten())
        if sum(len(keys) for keys in self._keys) > KEYS:
            self._flush()
        self._add_areas(maps, tables.view(len(tables), len(maps.n), self.Q, width), batch)

    def _note_codes(self, tables: Tensor, own: Tensor, level: Tensor, codes: Tensor) -> None:
        """Count masked pixels by map, in order, and by the categories they have a label of."""
        size = self.Q * len(self.bits)
        first, stop = int(own[0]), int(own[-1]) + 1
        row = ((own - first) * self.Q + level) * len(self.bits)
        for table, own_codes in zip(tables, codes, strict=True):
            table[first * size : stop * size] += torch.bincount(row + own_codes, minlength=(stop - first) * size)

    def counts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """``intersection`` [Q, K, C] and ``activation`` [3, Q, K, G] of the pictures so far."""
        self._flush()
        intersection = self._intersection[:, :, 1:].cumsum(1).transpose(0, 1)
        return intersection.cpu().numpy(), self._activation.transpose(1, 2).cpu().numpy()

    def _flush(self) -> None:
        if self._keys:
            total = self._intersection.view(-1)
            total += torch.bincount(torch.cat(self._keys), minlength=len(total))
            self._keys = []

    def _active(self, A: Tensor) -> Maps:
        n, unit = (A.amax((2, 3)) > self.T[-1]).nonzero(as_tuple=True)
        return Maps(n, unit, F.pad(A[n, unit][:, None], (1, 1, 1, 1), mode="replicate")[:, 0])

    def _masked(self, maps: Maps, quads: Quads) -> Iterator[Masked]:
        """The masked pixels, some at a time."""
        T = self.T[:, maps.unit]
        hot = maps.edges > T[-1][:, None, None]
        hot = hot[:, :-1] | hot[:, 1:]
        every = (hot[:, :, :-1] | hot[:, :, 1:]).nonzero(as_tuple=True)
        slots = quads.pixels.shape[1]
        size = max(AT_ONCE // slots, 1)
        for p, y, x in zip(*(torch.split(part, size) for part in every), strict=True):
            values = _values(maps.edges, p, y, x, quads).flatten(1)
            flat = (values > T[-1][p][:, None]).flatten().nonzero()[:, 0]
            quad = flat // slots
            first = (y * quads.right.shape[0] + x) * slots - torch.arange(len(p), device=p.device) * slots
            level = torch.zeros_like(values, dtype=torch.uint8)
            for higher in T[:-1]:
                level += values <= higher[p][:, None]
            yield Masked(p[quad], quads.pixels.view(-1)[first[quad] + flat], level.view(-1)[flat])

    def _add_areas(self, maps: Maps, tables: Tensor, batch: LabelBatch) -> None:
        """Masked pixels under the three rules from ``tables`` [bytes, P, Q, codes], and those of pictures' concepts."""
        areas = tables[0].sum(-1)  # [P, Q], by the first quantile
        masks, there = areas.cumsum(1), ((tables > 0).to(self.bits) @ self.bits).cumsum(2) > 0
        touched = there.permute(1, 2, 0, 3).flatten(2)[:, :, : self.G] | batch.has_whole[maps.n][:, None]
        by_rule = (batch.has[maps.n][:, None].expand_as(touched), touched, torch.ones_like(touched))
        for total, counted in zip(self._activation, by_rule, strict=True):
            total.index_add_(0, maps.unit, masks[:, :, None] * counted)
        for row, numbers in enumerate(batch.whole):
            own = maps.n == row if numbers else None
            for number in numbers:
                self._intersection[maps.unit[own], :, number] += areas[own]


def _values(edges: Tensor, pair: Tensor, y: Tensor, x: Tensor, quads: Quads) -> Tensor:
    """Bilinear values [M, L, L′] of the pixels of M quads, nan where there is none."""
    down, right = quads.down[y][:, :, None], quads.right[x]
    width = edges.shape[2]
    corner = (pair * edges.shape[1] + y) * width + x
    c00, c01, c10, c11 = (edges.view(-1)[corner + step][:, None] for step in (0, 1, width, width + 1))
    top, bottom = c00 + right * (c01 - c00), c10 + right * (c11 - c10)
    return top[:, None] + down * (bottom - top)[:, None]
