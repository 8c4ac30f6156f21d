"""Occlusion: where hiding a part of the picture costs the score most, and whether the heat map says the same."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlx import engine
from vlx.explanation import Array, Occlusion
from vlx.geometry import Grid
from vlx.task import Features, Target, Task

PATCH = 2.0  # side of the patch in strides of A: neighbouring patches overlap by half
BATCH = 32


def occlude(
    task: Task, inputs: Tensor, blank: Tensor, features: Features, targets: Sequence[Target], maps: Sequence[Array]
) -> list[Occlusion]:
    """Slide a blank patch over the prepared picture at the stride of A; one `Occlusion` a target.

    ``inputs`` and ``blank`` are prepared pictures [3, H, W], ``features`` those of the first, ``maps`` the targets'
    signed maps [h, w]. The patch is centred where each cell of A is (Zeiler and Fergus 2014; paper, section 6.2).
    """
    grid = features.grid
    cells = [(i, j) for i in range(grid.shape[0]) for j in range(grid.shape[1])]
    own = [replace(target, row=0) for target in targets]
    whole = engine.scores(task, features.A, own, features.rest)
    falls = []
    for start in range(0, len(cells), BATCH):
        hidden = torch.stack([_without(inputs, blank, grid, cell) for cell in cells[start : start + BATCH]])
        seen = task.features(task.place(hidden))
        rows = [replace(target, row=row) for row in range(len(hidden)) for target in targets]
        falls.append(whole - engine.scores(task, seen.A, rows, seen.rest).view(len(hidden), len(targets)))
    table = torch.cat(falls).double().cpu().numpy()
    side = round(PATCH * max(grid.stride))
    return [
        Occlusion(table[:, n].reshape(grid.shape), rank_correlation(table[:, n], np.maximum(own_map, 0).ravel()), side)
        for n, own_map in enumerate(maps)
    ]


def _without(inputs: Tensor, blank: Tensor, grid: Grid, cell: tuple[int, int]) -> Tensor:
    (top, bottom), (left, right) = (
        (
            round(grid.offset[axis] + grid.stride[axis] * (cell[axis] - PATCH / 2) + 0.5),
            round(grid.offset[axis] + grid.stride[axis] * (cell[axis] + PATCH / 2) + 0.5),
        )
        for axis in (0, 1)
    )
    square = np.s_[:, max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    hidden = inputs.clone()
    hidden[square] = blank.to(inputs)[square]
    return hidden


def rank_correlation(some: NDArray[np.floating], others: NDArray[np.floating]) -> float:
    """Spearman's rank correlation of two lists of numbers, ties at their mean rank; nan when one is constant."""
    a, b = (_ranks(np.asarray(values, np.float64)) for values in (some, others))
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 0 else float("nan")


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[place.ravel()])
