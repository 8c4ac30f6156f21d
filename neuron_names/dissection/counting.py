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

AT_ONCE = 2**17  # pixels of quads whose values are held at once: they fit the cache
PIXELS_AT_ONCE = 2**22  # pixels of masks that are counted at once


class ExceedingMaps(NamedTuple):
    """P maps of units that exceed their lowest threshold somewhere: ``edges`` [P, h + 2, w + 2], edges repeated."""

    n: Tensor
    unit: Tensor
    edges: Tensor


class Masked(NamedTuple):
    """Pixels of the masks in M quads: ``map`` and ``base`` [M] tell the map and the quad's first slot in `Arranged`.

    ``quad`` tells a pixel's quad, ``slot`` its place in it, ``level`` the first quantile that takes it in.
    """

    map: Tensor
    base: Tensor
    quad: Tensor
    slot: Tensor
    level: Tensor | None


class Arranged(NamedTuple):
    """A batch's labels [channels, N · quads · slots] quad by quad; ``codes`` and ``seen`` as in `LabelBatch`."""

    labels: Tensor
    codes: Tensor
    seen: Tensor | None


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
        self._wide = self.Q * width
        self._keys, self._noted = torch.empty(0, dtype=torch.int32, device=T.device), 0

    def add(self, A: Tensor, quads: Quads, batch: LabelBatch) -> None:
        """Count the masks of feature maps [N, K, h, w] against the labels of their pictures."""
        maps, here = self._active(A.float()), _arranged(quads, batch)
        tables = torch.zeros(len(here.codes), len(maps.n) * self._wide, dtype=torch.long, device=A.device)
        owner = (maps.unit * (self.Q * (self.C + 1))).int()
        for masked in self._masked(maps, quads):
            quad, level = masked.quad, masked.level
            place = masked.slot + masked.base.index_select(0, quad)
            if here.seen is not None:
                seen = here.seen.index_select(0, place)
                quad, place, level = quad[seen], place[seen], None if level is None else level[seen]
            if len(quad):
                self._note_codes(tables, masked.map, quad, level, [code.index_select(0, place) for code in here.codes])
                keys = owner.index_select(0, masked.map).index_select(0, quad)
                keys = keys if level is None else keys + level.int() * (self.C + 1)
                for channel in here.labels:
                    self._note_keys(keys, channel.index_select(0, place))
        self._add_areas(maps, tables.view(len(tables), len(maps.n), self.Q, len(self.bits)), batch)

    def counts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """``intersection`` [Q, K, C] and ``activation`` [3, Q, K, G] of the pictures so far."""
        self._flush()
        intersection = self._intersection[:, :, 1:].cumsum(1).transpose(0, 1)
        return intersection.cpu().numpy(), self._activation.transpose(1, 2).cpu().numpy()

    def _note_codes(
        self, tables: Tensor, owner: Tensor, quad: Tensor, level: Tensor | None, codes: list[Tensor]
    ) -> None:
        """Count masked pixels by map, in order, and by the categories they have a label of."""
        first, stop = int(owner[0]), int(owner[-1]) + 1
        row = ((owner - first) * self._wide).index_select(0, quad)
        row = row if level is None else row + level.long() * len(self.bits)
        for table, code in zip(tables, codes, strict=True):
            counts = torch.bincount(row + code, minlength=(stop - first) * self._wide)
            table[first * self._wide : stop * self._wide] += counts

    def _note_keys(self, owners: Tensor, labels: Tensor) -> None:
        """Note unit, quantile and concept of every masked pixel."""
        if self._noted + len(labels) > len(self._keys):
            self._flush()
            if len(labels) > len(self._keys):
                self._keys = torch.empty(max(PIXELS_AT_ONCE, len(labels)), dtype=torch.int32, device=labels.device)
        torch.add(labels, owners, out=self._keys[self._noted : self._noted + len(labels)])
        self._noted += len(labels)

    def _flush(self) -> None:
        if self._noted:
            total = self._intersection.view(-1)
            total += torch.bincount(self._keys[: self._noted], minlength=len(total))
            self._noted = 0

    def _active(self, A: Tensor) -> ExceedingMaps:
        n, unit = (A.amax((2, 3)) > self.T[-1]).nonzero(as_tuple=True)
        return ExceedingMaps(n, unit, F.pad(A[n, unit][:, None], (1, 1, 1, 1), mode="replicate")[:, 0])

    def _masked(self, maps: ExceedingMaps, quads: Quads) -> Iterator[Masked]:
        """The masked pixels, some at a time."""
        T, (every, slots) = self.T[:, maps.unit], quads.pixels.shape
        hot = maps.edges > T[-1][:, None, None]
        hot = hot[:, :-1] | hot[:, 1:]
        active = (hot[:, :, :-1] | hot[:, :, 1:]).nonzero(as_tuple=True)
        size = max(AT_ONCE // slots, 1)
        for p, y, x in zip(*(torch.split(part, size) for part in active), strict=True):
            values = _values(maps.edges, p, y, x, quads)
            where = _where((values > T[-1].index_select(0, p)).flatten())
            number = maps.n.index_select(0, p) * every + y * quads.right.shape[0] + x
            level = None
            for higher in T[:-1]:
                above = (values <= higher.index_select(0, p)).to(torch.uint8)
                level = above if level is None else level.add_(above)
            slot = torch.div(where, len(p), rounding_mode="floor")
            quad = where - slot * len(p)
            yield Masked(
                p, number * slots, quad, slot, None if level is None else level.view(-1).index_select(0, where)
            )

    def _add_areas(self, maps: ExceedingMaps, tables: Tensor, batch: LabelBatch) -> None:
        """Masked pixels under the three rules from ``tables`` [bytes, P, Q, codes], and those of pictures' concepts."""
        areas = tables[0].sum(-1)  # [P, Q], by the first quantile
        masks, there = areas.cumsum(1), ((tables > 0).to(self.bits) @ self.bits).cumsum(2) > 0
        touched = there.permute(1, 2, 0, 3).flatten(2)[:, :, : self.G] | batch.has_whole[maps.n][:, None]
        by_rule = (batch.has[maps.n][:, None].expand_as(touched), touched, torch.ones_like(touched))
        for total, counted in zip(self._activation, by_rule, strict=True):
            total.index_add_(0, maps.unit, masks[:, :, None] * counted)
        for row, numbers in enumerate(batch.whole):
            of_picture = maps.n == row if numbers else None
            for number in numbers:
                self._intersection[maps.unit[of_picture], :, number] += areas[of_picture]


def _where(on: Tensor) -> Tensor:
    """The places of a row that are true; numpy finds them faster than torch does."""
    return on.nonzero()[:, 0] if on.device.type != "cpu" else torch.from_numpy(np.flatnonzero(on.numpy()))


def _arranged(quads: Quads, batch: LabelBatch) -> Arranged:
    slots = quads.pixels.view(-1)
    labels, codes = (part.index_select(2, slots).flatten(1) for part in (batch.labels, batch.codes))
    return Arranged(labels, codes, None if batch.seen is None else batch.seen.index_select(1, slots).flatten())


def _values(edges: Tensor, pair: Tensor, y: Tensor, x: Tensor, quads: Quads) -> Tensor:
    """Bilinear values [L · L′, M] of the pixels of M quads, nan where there is none."""
    down, right = quads.down.T.index_select(1, y), quads.right.T.index_select(1, x)
    width = edges.shape[2]
    corner = (pair * edges.shape[1] + y) * width + x
    c00, c01, c10, c11 = (edges.view(-1).index_select(0, corner + step) for step in (0, 1, width, width + 1))
    top, bottom = c00 + right * (c01 - c00), c10 + right * (c11 - c10)
    return (top + down[:, None] * (bottom - top)).flatten(0, 1)
