"""Labels of some pictures as numbers to count with, and what they tell without any mask."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlx.data.concepts import Concept
from vlx.errors import InputError

Counts = NDArray[np.int64]
BITS = 8  # categories in one byte


class Categories:
    """Concepts 1 to C and the categories 0 to G − 1 they belong to, in order of appearance."""

    def __init__(self, concepts: Sequence[Concept]) -> None:
        self.names = list(dict.fromkeys(concept.category for concept in concepts))
        self.of = np.array([self.names.index(concept.category) for concept in concepts], np.intp)
        self.C, self.G = len(concepts), len(self.names)
        self.one_hot = np.eye(self.G, dtype=np.float32)[self.of]
        self.bytes = np.zeros((-(-self.G // BITS), self.C + 1), np.uint8)  # of concept 0: none
        self.bytes[self.of // BITS, np.arange(1, self.C + 1)] = 1 << (self.of % BITS)


@dataclass(frozen=True, eq=False)
class LabelBatch:
    """Labels of N pictures on the label grid, ready to be looked up at pixel y · S′ + x.

    ``labels`` int32 [channels, N, S · S′]; ``codes`` uint8 [bytes, N, S · S′] tell with a bit each which categories a
    pixel has a label of; ``seen`` bool [N, S · S′] where there is a picture, None where that is everywhere.
    ``has`` bool [N, G] tells which categories a picture has a label of at all, ``has_whole`` which as a whole;
    ``whole`` are the numbers of the concepts of each picture as a whole.
    """

    labels: Tensor
    codes: Tensor
    seen: Tensor | None
    has: Tensor
    has_whole: Tensor
    whole: Sequence[tuple[int, ...]]


@dataclass(frozen=True, eq=False)
class LabelGrid:
    """Labels int32 [N, channels, S, S′] on the grid, −1 where no picture is, and ``whole`` concepts of N pictures."""

    grid: NDArray[np.int32]
    whole: Sequence[tuple[int, ...]]
    categories: Categories
    numbers: Sequence[int]  # of the pictures

    def part(self, first: int, stop: int) -> "LabelGrid":
        """Those of pictures ``first`` to ``stop`` − 1."""
        return LabelGrid(self.grid[first:stop], self.whole[first:stop], self.categories, self.numbers[first:stop])

    @cached_property
    def pixels(self) -> Counts:
        """How many pixels carry each concept, by picture and channel: [N, channels, C]."""
        N, channels = self.grid.shape[:2]
        size = self.categories.C + 1
        place = np.arange(N * channels, dtype=np.int32).reshape(N, channels, 1, 1) * np.int32(size)
        counts = torch.bincount(torch.from_numpy((self._known + place).ravel()), minlength=N * channels * size)
        return counts.numpy().reshape(N, channels, size)[:, :, 1:]

    @cached_property
    def _known(self) -> NDArray[np.int32]:
        """``grid`` with 0 where no picture is."""
        return self.grid if self.grid.min() >= 0 else np.maximum(self.grid, 0)

    @cached_property
    def visible(self) -> Counts:
        """How many pixels show the picture, [N]."""
        return np.asarray((self.grid[:, 0] >= 0).sum((1, 2)), np.int64)

    @cached_property
    def has_whole(self) -> NDArray[np.bool_]:
        """Which categories each picture has a label of as a whole, [N, G]."""
        has = np.zeros((len(self.grid), self.categories.G), bool)
        for row, numbers in zip(has, self.whole, strict=True):
            row[self.categories.of[np.array(numbers, int) - 1]] = True
        return has

    @cached_property
    def has(self) -> NDArray[np.bool_]:
        """Which categories each picture has any label of, [N, G]."""
        return np.asarray(self.by_category(self.pixels.sum(1) > 0) | self.has_whole)

    def by_category(self, there: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Whether any concept of a category is there: [..., C] → [..., G]."""
        return np.asarray(there.astype(np.float32) @ self.categories.one_hot > 0)

    def truth(self) -> tuple[Counts, Counts]:
        """Pixels that carry each concept, [C], and pixels of pictures with a label of each category, [G]."""
        truth = self.pixels.sum((0, 1))
        for pixels, numbers in zip(self.visible, self.whole, strict=True):
            truth[np.array(numbers, int) - 1] += pixels
        return truth, np.asarray((self.has * self.visible[:, None]).sum(0), np.int64)

    def overlaps(self) -> NDArray[np.bool_]:
        """Of which categories some pixel carries two concepts, [G]; raises InputError for one concept twice."""
        overlapping: NDArray[np.bool_] = np.zeros(self.categories.G, bool)
        for n, numbers in enumerate(self.whole):
            there = self.pixels[n] > 0
            self._refuse_twice(n, there)
            channels = self.by_category(there)
            overlapping |= np.bincount(self.categories.of[np.array(numbers, int) - 1], minlength=len(overlapping)) > 1
            overlapping |= self.has_whole[n] & channels.any(0)
            for category in np.flatnonzero((channels.sum(0) > 1) & ~overlapping):
                carried = np.isin(self.grid[n], np.flatnonzero(self.categories.of == category) + 1)
                overlapping[category] = bool((np.sum(carried, axis=0) > 1).any())
        return overlapping

    def _refuse_twice(self, n: int, there: NDArray[np.bool_]) -> None:
        """A concept that a pixel of picture ``n`` carries twice would be counted twice."""
        inside = np.asarray(there.any(0))
        for number in np.flatnonzero(there.sum(0) > 1):
            if ((self.grid[n] == number + 1).sum(0) > 1).any():
                raise InputError(
                    f"picture {self.numbers[n]}: a pixel carries concept {number + 1} in two channels; label it once"
                )
        twice = [number for number in self.whole[n] if inside[number - 1]]
        if twice or len(set(self.whole[n])) < len(self.whole[n]):
            raise InputError(
                f"picture {self.numbers[n]} as a whole has concept {(twice or self.whole[n])[0]} twice, "
                "or a pixel has it too"
            )

    def batch(self, device: torch.device) -> LabelBatch:
        """As the counter wants them; channels without a label are left out."""
        N = len(self.grid)
        labels = [self._known[:, channel].reshape(N, -1) for channel in np.flatnonzero(self.pixels.any((0, 2)))]
        codes = np.zeros((len(self.categories.bytes), N, self.grid[0, 0].size), np.uint8)
        for code, table in zip(codes, self.categories.bytes, strict=True):
            for channel in labels:
                np.bitwise_or(code, table.take(channel), out=code)
        seen = None if self._known is self.grid else torch.from_numpy(self.grid[:, 0].reshape(N, -1) >= 0)
        return LabelBatch(
            torch.from_numpy(np.stack(labels) if labels else np.zeros((0, *codes.shape[1:]), np.int32)).to(device),
            torch.from_numpy(codes).to(device),
            None if seen is None else seen.to(device),
            torch.from_numpy(self.has).to(device),
            torch.from_numpy(self.has_whole).to(device),
            self.whole,
        )
