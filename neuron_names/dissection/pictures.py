"""A set of labelled pictures as batches: prepared for the model, and labels laid on one grid."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlx.data.concepts import Labelled
from vlx.data.example import ConceptData, labelled
from vlx.errors import InputError
from vlx.neuron_names.dissection.alignment import on_grid
from vlx.neuron_names.dissection.contents import Contents
from vlx.neuron_names.dissection.labels import Categories, LabelGrid
from vlx.pictures.placement import Frame
from vlx.pictures.receptive_fields import measure_frame
from vlx.protocol.task import Task

SHRINK = 2  # prepared pixels to a label pixel along each axis (Network Dissection: 224 to 112)
BLOCK = 16  # pictures that the model sees at once, always: a convolution rounds otherwise in batches of another size


@dataclass(frozen=True)
class Batch:
    """The numbers of some pictures, and which of them are of which fold: (fold, first, stop)."""

    numbers: tuple[int, ...]
    parts: tuple[tuple[int, int, int], ...]


class LabelledPictures:
    """``data`` as ``task`` gets to see it; ``labels`` is (H, W) of the label grid, by default half the picture's.

    Picture n is of fold n mod ``folds``. Raises InputError for no pictures, no concepts, or labels that do not fit.
    """

    def __init__(
        self, task: Task, data: ConceptData, folds: int, batch_size: int, labels: tuple[int, int] | None
    ) -> None:
        if not len(data) or not data.concepts:
            raise InputError(f"{data.name} has {len(data)} pictures and {len(data.concepts)} concepts; both are needed")
        twice = sorted({f"{one[0]} ({one[1]})" for one in data.concepts if data.concepts.count(one) > 1})
        if twice:
            raise InputError(
                f"{data.name} has concepts twice: {', '.join(twice)}; give each one number, or other names"
            )
        if batch_size < 1 or folds < 1 or min(labels or (1,)) < 1:
            raise InputError(f"batch_size={batch_size}, folds={folds} and labels={labels} must be 1 or more")
        self.task, self.data, self.contents = task, data, Contents(data)
        self.folds = min(folds, len(data))
        self.categories = Categories(data.concepts)
        self._frames: dict[tuple[int, int], Frame] = {}
        self.shape = tuple(task.prepare(labelled(data[0], ()).image).shape)
        self.grid = labels or (max(self.shape[1] // SHRINK, 1), max(self.shape[2] // SHRINK, 1))
        self.batches = list(self._cut(-(-batch_size // BLOCK) * BLOCK))

    def _cut(self, size: int) -> Iterator[Batch]:
        numbers = sorted(range(len(self.data)), key=lambda number: number % self.folds)
        for first in range(0, len(numbers), size):
            batch = numbers[first : first + size]
            fold = np.array(batch) % self.folds
            edges = [0, *(np.flatnonzero(np.diff(fold)) + 1).tolist(), len(batch)]
            yield Batch(tuple(batch), tuple((int(fold[a]), a, b) for a, b in pairwise(edges)))

    def read(self, batch: Batch) -> list[Labelled]:
        """The pictures of a batch; raises InputError for labels that do not fit them, and for what has changed."""
        pictures = [labelled(self.data[number], self.data.concepts) for number in batch.numbers]
        for picture, number in zip(pictures, batch.numbers, strict=True):
            self._check(picture, f"{self.data.name}, picture {number}")
            self.contents.note(number, picture)
        return pictures

    def blocks(self, pictures: Sequence[Labelled]) -> Iterator[tuple[Tensor, int]]:
        """Prepared pictures [`BLOCK`, 3, H, W] and how many of them count: the first fills up the last block.

        Raises InputError when `prepare` makes them of different sizes.
        """
        for first in range(0, len(pictures), BLOCK):
            prepared = [self.task.prepare(picture.image) for picture in pictures[first : first + BLOCK]]
            for inputs in prepared:
                if tuple(inputs.shape) != self.shape:
                    raise InputError(
                        f"{self.task.name} prepares pictures of {self.data.name} to different sizes, "
                        f"{self.shape[1:]} and {tuple(inputs.shape[1:])}; dissect with a `prepare` that resizes and "
                        "crops all to one size"
                    )
            yield torch.stack(prepared + prepared[:1] * (BLOCK - len(prepared))), len(prepared)

    def labels(self, pictures: Sequence[Labelled], batch: Batch) -> LabelGrid:
        """Their labels on the grid."""
        grids = [self._on_grid(picture) for picture in pictures]
        stacked = np.zeros((len(grids), max(len(grid) for grid in grids), *self.grid), np.int32)
        for row, grid in zip(stacked, grids, strict=True):
            row[: len(grid)] = grid
            row[len(grid) :] = np.minimum(grid[:1], 0)
        return LabelGrid(stacked, [picture.whole for picture in pictures], self.categories, batch.numbers)

    def _on_grid(self, picture: Labelled) -> NDArray[np.int32]:
        size = (picture.image.height, picture.image.width)
        labels = picture.labels if len(picture.labels) else np.zeros((1, *size), np.int32)
        if size not in self._frames:
            self._frames[size] = measure_frame(self.task.prepare, size)
        return on_grid(labels, self._frames[size], self.grid)

    def _check(self, picture: Labelled, what: str) -> None:
        labels, size = picture.labels, (picture.image.height, picture.image.width)
        if labels.ndim != 3 or not np.issubdtype(labels.dtype, np.integer):
            raise InputError(f"{what}: labels must be integers [channels, H, W], got {labels.dtype} {labels.shape}")
        height, width = labels.shape[1:]
        if len(labels) and (not labels.size or abs(width * size[0] - height * size[1]) > max(size)):
            raise InputError(f"{what}: labels of {width}×{height} do not fit a picture of {size[1]}×{size[0]}")
        codes = [int(labels.min(initial=0)), int(labels.max(initial=0)), *(code or -1 for code in picture.whole)]
        wrong = [code for code in codes if not 0 <= code <= self.categories.C]
        if wrong:
            raise InputError(
                f"{what}: label {wrong[0]} is none of the concepts 1 to {self.categories.C}; 0 is a pixel without one"
            )
