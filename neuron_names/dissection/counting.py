"""The exact tally of masks and labels, whose cost does not depend on the number of concepts.

Only quads of four neighbouring cells with a corner above the threshold are looked at: elsewhere the bilinear value is
a mean of cells that are not above it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from vlx.neuron_names.dissection.alignment import Axis
from vlx.neuron_names.table.tally import Concept

AT_ONCE = 2**22  # pixels of quads whose values are held at once
KEYS = 2**22  # pixels of masks that are counted at once


@dataclass(frozen=True, eq=False)
class LabelBatch:
    """Labels of N pictures on the label grid: ``labels`` [N, channels, S, S'], −1 where no picture is.

    ``has`` bool [N, G] tells which categories a picture has a label of; ``whole`` the concept numbers, from 1, of the
    picture as a whole.
    """

    labels: Tensor
    has: Tensor
    whole: Sequence[tuple[int, ...]]


class Counter:
    """Counts of one layer in one fold: see `vlx.neuron_names.table.Tally` for what is counted.

    ``T`` float32 [Q, K]: thresholds, largest first (smallest quantile first).
    """

    def __init__(self, concepts: Sequence[Concept], T: Tensor) -> None:
        categories = list(dict.fromkeys(concept.category for concept in concepts))
        self.T, (self.Q, self.K) = T, T.shape
        self.C, self.G = len(concepts), len(categories)
        numbers = [self.G, *(categories.index(concept.category) for concept in concepts)]  # G: no concept
        self.category = torch.tensor(numbers, device=T.device)
        self.intersection = np.zeros((self.Q, self.K, self.C), np.int64)
        self.activation = np.zeros((3, self.Q, self.K, self.G), np.int64)
        self._keys: list[Tensor] = []

    def add(self, A: Tensor, axes: tuple[Axis, Axis], batch: LabelBatch) -> None:
        """Count the masks of feature maps [N, K, h, w] against the labels of their pictures."""
        areas = torch.zeros(len(A), self.K, self.Q, dtype=torch.long, device=A.device)
        touches = torch.zeros(len(A), self.K, self.Q, self.G + 1, dtype=torch.bool, device=A.device)
        grid = batch.labels.shape[2] * batch.labels.shape[3]
        flat = batch.labels.flatten(2).transpose(1, 2).reshape(len(A) * grid, -1).contiguous()
        for n, unit, pixel, level in self._masked(A.float(), axes, batch.labels.shape[3]):
            place = n * grid + pixel
            found = flat[place]  # [masked pixels, channels]
            inside = found[:, 0] >= 0
            if not inside.all():
                n, unit, level, found = n[inside], unit[inside], level[inside], found[inside]
            rows = (n * self.K + unit) * self.Q + level
            areas += torch.bincount(rows, minlength=areas.numel()).view_as(areas)
            self._count_labels(unit * self.Q + level, rows, found, touches)
        self._add_areas(areas.cumsum(2), touches.cumsum(2) > 0, batch)

    def counts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """``intersection`` [Q, K, C] and ``activation`` [3, Q, K, G] of the pictures so far."""
        self._flush()
        return self.intersection, self.activation

    def _count_labels(self, owner: Tensor, rows: Tensor, found: Tensor, touches: Tensor) -> None:
        """Note concept and category of every masked pixel, channel by channel."""
        reached = touches.view(-1)
        for channel in found.unbind(1):
            some = channel > 0
            label = channel[some].long()
            self._keys.append(owner[some] * self.C + label - 1)
            reached[rows[some] * (self.G + 1) + self.category[label]] = True
        if sum(len(keys) for keys in self._keys) > KEYS:
            self._flush()

    def _flush(self) -> None:
        if self._keys:
            found = torch.bincount(torch.cat(self._keys), minlength=self.K * self.Q * self.C)
            by_level = found.view(self.K, self.Q, self.C).cumsum(1)
            self.intersection += by_level.transpose(0, 1).cpu().numpy()
            self._keys = []

    def _add_areas(self, areas: Tensor, touches: Tensor, batch: LabelBatch) -> None:
        """Masked pixels ``areas`` [N, K, Q] by category under the three rules, and of pictures' own concepts."""
        has = batch.has.long()
        whole = torch.zeros(len(areas), self.C, dtype=torch.long, device=areas.device)
        for row, numbers in enumerate(batch.whole):
            for number in numbers:
                whole[row, number - 1] = 1
        touched = touches[..., : self.G].long()
        own = torch.zeros_like(has)  # categories of which the picture as a whole has a label
        own.scatter_add_(1, self.category[1:].expand(len(areas), -1), whole)
        touched = torch.maximum(touched, own.clamp(max=1)[:, None, None, :])
        self.activation[0] += torch.einsum("nkq,ng->qkg", areas, has).cpu().numpy()
        self.activation[1] += (areas[..., None] * touched).sum(0).transpose(0, 1).cpu().numpy()
        self.activation[2] += areas.sum(0).T[:, :, None].cpu().numpy()
        if whole.any():
            self.intersection += torch.einsum("nkq,nc->qkc", areas, whole).cpu().numpy()

    def _masked(self, A: Tensor, axes: tuple[Axis, Axis], width: int) -> "list[tuple[Tensor, Tensor, Tensor, Tensor]]":
        """The masked pixels: picture, unit, pixel number on the label grid, and the first quantile that takes it in."""
        lowest = self.T[-1]
        n, unit = (A.amax((2, 3)) > lowest).nonzero(as_tuple=True)
        edges = F.pad(A[n, unit][:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
        hot = edges > lowest[unit][:, None, None]
        hot = hot[:, :-1] | hot[:, 1:]
        hot = hot[:, :, :-1] | hot[:, :, 1:]
        pair, y, x = hot.nonzero(as_tuple=True)
        vertical, horizontal = axes
        size = max(AT_ONCE // (vertical.pixels.shape[1] * horizontal.pixels.shape[1]), 1)
        found = []
        for first in range(0, len(pair), size):
            p, own_y, own_x = (part[first : first + size] for part in (pair, y, x))
            values, pixels = _values(edges, p, own_y, own_x, vertical, horizontal, width)
            on = ((values > lowest[unit[p]][:, None, None]) & (pixels >= 0)).nonzero(as_tuple=True)
            owner = unit[p[on[0]]]
            value = values[on]
            level = (value <= self.T[:, owner]).sum(0) if self.Q > 1 else torch.zeros_like(owner)
            found.append((n[p[on[0]]], owner, pixels[on], level))
        return found


def _values(
    edges: Tensor, pair: Tensor, y: Tensor, x: Tensor, vertical: Axis, horizontal: Axis, width: int
) -> tuple[Tensor, Tensor]:
    """Bilinear values [M, L, L'] of the pixels of M quads, and the pixels' numbers, −1 where there is none."""
    down, right = vertical.weights[y][:, :, None], horizontal.weights[x][:, None, :]
    c00, c01 = edges[pair, y, x][:, None, None], edges[pair, y, x + 1][:, None, None]
    c10, c11 = edges[pair, y + 1, x][:, None, None], edges[pair, y + 1, x + 1][:, None, None]
    top, bottom = c00 + right * (c01 - c00), c10 + right * (c11 - c10)
    rows, columns = vertical.pixels[y][:, :, None], horizontal.pixels[x][:, None, :]
    pixels = torch.where((rows >= 0) & (columns >= 0), rows * width + columns, -1)
    return top + down * (bottom - top), pixels
