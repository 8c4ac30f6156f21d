"""A set of labelled pictures as batches: prepared for the model, and labels laid on one grid."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlx.errors import InputError
from vlx.geometry import Frame
from vlx.neuron_names.datasets.data import ConceptData, Labelled
from vlx.neuron_names.dissection.alignment import on_grid
from vlx.neuron_names.dissection.counting import LabelBatch
from vlx.task import Task
from vlx.tracing import measure_frame

Counts = NDArray[np.int64]
SHRINK = 2  # prepared pixels to a label pixel along each axis (Network Dissection: 224 to 112)


@dataclass(frozen=True)
class Batch:
    """The numbers of some pictures of one fold."""

    fold: int
    numbers: tuple[int, ...]


class Pictures:
    """``data`` as ``task`` gets to see it; ``labels`` is (H, W) of the label grid, by default half the picture's.

    Picture n is of fold n mod ``folds``. Raises InputError for no pictures, no concepts, or labels that do not fit.
    """

    def __init__(
        self, task: Task, data: ConceptData, folds: int, batch_size: int, labels: tuple[int, int] | None
    ) -> None:
        if not len(data) or not data.concepts:
            raise InputError(f"{data.name} has {len(data)} pictures and {len(data.concepts)} concepts; both are needed")
        if batch_size < 1 or folds < 1:
            raise InputError(f"batch_size={batch_size} and folds={folds} must be 1 or more")
        self.task, self.data = task, data
        self.folds = min(folds, len(data))
        self._frames: dict[tuple[int, int], Frame] = {}
        self.shape = tuple(self.inputs([0]).shape[2:])
        self.grid = labels or (max(self.shape[0] // SHRINK, 1), max(self.shape[1] // SHRINK, 1))
        categories = list(dict.fromkeys(concept.category for concept in data.concepts))
        self._category = np.array([categories.index(concept.category) for concept in data.concepts])
        self.categories = len(categories)
        self.batches = list(self._cut(batch_size))

    def _cut(self, size: int) -> Iterator[Batch]:
        for fold in range(self.folds):
            own = range(fold, len(self.data), self.folds)
            for first in range(0, len(own), size):
                yield Batch(fold, tuple(own[first : first + size]))

    def inputs(self, numbers: Sequence[int]) -> Tensor:
        """Prepared pictures [B, 3, H, W]."""
        return self.prepared([self.data[number] for number in numbers])

    def prepared(self, pictures: Sequence[Labelled]) -> Tensor:
        """The same of pictures at hand; raises InputError when `prepare` makes them of different sizes."""
        made = [self.task.prepare(picture.image) for picture in pictures]
        sizes = {tuple(one.shape) for one in made}
        if len(sizes) > 1 or tuple(made[0].shape[1:]) != getattr(self, "shape", tuple(made[0].shape[1:])):
            raise InputError(
                f"{self.task.name} prepares pictures of {self.data.name} to different sizes {sorted(sizes)}; "
                "dissect with a `prepare` that resizes and crops all to one size"
            )
        return torch.stack(made)

    def labels(self, pictures: Sequence[Labelled], numbers: Sequence[int]) -> tuple[NDArray[np.int32], list[Any]]:
        """Labels [B, channels, S, S'] on the grid, and the numbers of concepts of the pictures as wholes."""
        found = [self._on_grid(picture, number) for picture, number in zip(pictures, numbers, strict=True)]
        channels = max(len(one) for one in found)
        stacked = np.zeros((len(found), channels, *self.grid), np.int32)
        for row, one in enumerate(found):
            stacked[row, : len(one)] = one
            stacked[row, len(one) :] = np.where(one[:1] < 0, -1, 0)
        return stacked, [picture.whole for picture in pictures]

    def batch(self, labels: NDArray[np.int32], whole: Sequence[tuple[int, ...]], device: torch.device) -> LabelBatch:
        """Labels [B, channels, S, S'] as the counter wants them."""
        return LabelBatch(
            torch.from_numpy(labels).to(device), torch.from_numpy(self.has(labels, whole)).to(device), whole
        )

    def has(self, labels: NDArray[np.int32], whole: Sequence[tuple[int, ...]]) -> NDArray[np.bool_]:
        """Which categories each picture has a label of, bool [B, G]."""
        found = np.zeros((len(labels), self.categories), bool)
        for row, (grid, numbers) in enumerate(zip(labels, whole, strict=True)):
            there = np.flatnonzero(np.bincount(np.maximum(grid, 0).ravel(), minlength=len(self._category) + 1)[1:])
            found[row, self._category[there]] = True
            found[row, self._category[np.array(numbers, int) - 1]] = True
        return found

    def truth(self, labels: NDArray[np.int32], whole: Sequence[tuple[int, ...]]) -> tuple[Counts, Counts]:
        """Pixels that carry each concept, [C], and pixels of pictures with a label of each category, [G]."""
        visible = (labels[:, 0] >= 0).sum((1, 2))
        truth = np.bincount(np.maximum(labels, 0).ravel(), minlength=len(self._category) + 1)[1:].astype(np.int64)
        for pixels, numbers in zip(visible, whole, strict=True):
            for number in numbers:
                truth[number - 1] += pixels
        return truth, (self.has(labels, whole) * visible[:, None]).sum(0).astype(np.int64)

    def _on_grid(self, picture: Labelled, number: int) -> NDArray[np.int32]:
        labels, image = np.asarray(picture.labels), picture.image
        what = f"{self.data.name}, picture {number}"
        if labels.ndim != 3 or not np.issubdtype(labels.dtype, np.integer):
            raise InputError(f"{what}: labels must be integers [channels, H, W], got {labels.dtype} {labels.shape}")
        if not len(labels):
            labels = np.zeros((1, image.height, image.width), np.int32)
        height, width = labels.shape[1:]
        if abs(width * image.height - height * image.width) > max(image.height, image.width):
            raise InputError(f"{what}: labels of {width}×{height} do not fit a picture of {image.width}×{image.height}")
        highest = max(int(labels.max(initial=0)), *picture.whole, 0)
        if highest > len(self._category) or min(int(labels.min(initial=0)), *picture.whole, 0) < 0:
            raise InputError(f"{what}: label {highest} is none of the {len(self._category)} concepts (0 is none)")
        size = (image.height, image.width)
        if size not in self._frames:
            self._frames[size] = measure_frame(self.task.prepare, size)
        return on_grid(labels, self._frames[size], self.grid)
