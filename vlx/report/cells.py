"""From pixels to cells in two numbers an axis: what lets a page, a thumbnail or a figure paint maps at any size."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlx.pictures.placement import Placement


@dataclass(frozen=True)
class Axis:
    """One axis of a placement: pixel p of the user's picture lies at cell (p − origin) / step.

    ``pixels`` and ``cells`` are counts; pixels ``first`` … ``stop`` − 1 were seen by the model.
    """

    origin: float
    step: float
    pixels: int
    cells: int
    first: int
    stop: int

    def mixing(self, samples: int) -> NDArray[np.float64]:
        """Weights [samples, cells] of the cells at ``samples`` even steps along the picture; page.js has a twin.

        Linear between the centres of cells, the outermost held; rows of zeros where nothing was seen.
        """
        pixel = (np.arange(samples) + 0.5) * self.pixels / samples - 0.5
        place = np.clip((pixel - self.origin) / self.step, 0, self.cells - 1)
        low = np.minimum(np.floor(place).astype(int), max(self.cells - 2, 0))
        weights = np.zeros((samples, self.cells))
        weights[np.arange(samples), low] = 1 - (place - low)
        if self.cells > 1:
            weights[np.arange(samples), low + 1] = place - low
        weights[(pixel < self.first - 0.5) | (pixel > self.stop - 0.5)] = 0
        return weights


def axes(placement: Placement) -> tuple[Axis, Axis]:
    """The vertical and the horizontal axis of a placement."""
    start, following = placement.centre_of(0, 0), placement.centre_of(1, 1)
    shown = [placement.frame.seen(axis) for axis in (0, 1)]
    found = []
    for axis in (0, 1):
        seen = np.flatnonzero(shown[axis]) if shown[1 - axis].any() else np.empty(0)
        first, stop = (int(seen[0]), int(seen[-1]) + 1) if len(seen) else (0, 0)
        step = following[axis] - start[axis]
        found.append(Axis(start[axis], step, placement.frame.size[axis], placement.grid.shape[axis], first, stop))
    return found[0], found[1]


def visible(placement: Placement, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Which pixels of the picture drawn at ``size`` (H, W) the model saw, bool [H, W]."""
    rows, columns = (axis.mixing(length).any(1) for axis, length in zip(axes(placement), size, strict=True))
    return np.logical_and.outer(rows, columns)


def paint(values: ArrayLike, placement: Placement, size: tuple[int, int]) -> NDArray[np.float32]:
    """A map [h, w] on the picture drawn at ``size`` (H, W): float32; at the picture's own size it is `Placement.paint`.

    A value that is not finite counts as 0 here; the explanation keeps it.
    """
    rows, columns = axes(placement)
    finite = np.nan_to_num(np.asarray(values, np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    painted: NDArray[np.float32] = (rows.mixing(size[0]) @ finite @ columns.mixing(size[1]).T).astype(np.float32)
    return painted
