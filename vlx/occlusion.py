"""Occlusion: where hiding a part of the picture costs the score most, and whether the heat map says the same.

It is a probe of other maps (`occlude`) and a way of making maps itself (`hidden_parts`), which needs no gradient.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlx import dependence, engine
from vlx.engine import Attribution
from vlx.errors import InputError
from vlx.explanation import Array, Occlusion
from vlx.geometry import Grid
from vlx.task import Features, Target, Task

PATCH = 2.0  # side of the patch in strides of A: neighbouring patches overlap by half
PARTS = 8  # parts of the longer side when the map itself is made by hiding
BUDGET = 16 * 2**20  # bytes of prepared pictures shown at once; what the model makes of them is several times as much

Box = tuple[int, int, int, int]


def parts(size: tuple[int, int], most: int = PARTS) -> Grid:
    """A picture of ``size`` (H, W) cut into nearly square parts, at most ``most`` along each side."""
    rows, columns = (max(round(most * side / max(size)), 1) for side in size)
    return Grid.half_pixel((rows, columns), size, "parts that are hidden")


def hidden_parts(
    task: Task,
    inputs: Tensor,
    blank: Tensor,
    features: Features,
    targets: Sequence[Target],
    grid: Grid,
    *,
    budget: int = BUDGET,
) -> Attribution:
    """Maps [N, h, w] of how much each target's score falls when a part of the picture is hidden, in the target's unit.

    ``inputs`` and ``blank`` are prepared pictures [C, H, W], ``features`` those of the first, ``grid`` the `parts`
    (Zeiler and Fergus 2014, arXiv 1311.2901, section 4.3). The importance weights are those of A, NaN where the model
    lets no gradient through: maps need none.
    """
    own = [replace(target, row=0) for target in targets]
    scores = engine.scores(task, features.A, own, features.rest)
    weights = torch.cat([dependence.weights(task, features, chunk) for chunk in engine.chunks(features.A, own)])
    boxes = [_box(grid, cell, 1.0) for cell in product(range(grid.shape[0]), range(grid.shape[1]))]
    left = _without(task, inputs, blank, boxes, own, budget)
    falls = (scores - left).T.reshape(len(own), *grid.shape).float()
    return Attribution(scores, weights, falls, -falls, falls.flatten(1).any(1))


def occlude(
    task: Task,
    inputs: Tensor,
    blank: Tensor,
    features: Features,
    targets: Sequence[Target],
    maps: Sequence[Array],
    *,
    window: Box | None = None,
    patch: float = PATCH,
    budget: int = BUDGET,
) -> list[Occlusion]:
    """Slide a blank patch over the prepared picture at the stride of A; one `Occlusion` a target, in the target's unit.

    ``inputs`` and ``blank`` are prepared pictures [C, H, W], ``features`` those of the first, ``maps`` the targets'
    signed maps [h, w]. The patch, ``patch`` strides wide, is centred where each cell of A is (Zeiler and Fergus 2014;
    paper, section 6.2). ``window`` (top, bottom, left, right) is where the prepared picture is no padding: cells whose
    patch hides nothing of it do not count for the agreement. Pictures are shown in batches of ``budget`` bytes.

    Raises InputError for a patch of no pixels.
    """
    grid = features.grid
    if not patch * min(grid.stride) >= 1:
        raise InputError(f"patch={patch} strides of {min(grid.stride):g} pixels hide nothing; it must be larger")
    boxes = [_box(grid, cell, patch) for cell in product(range(grid.shape[0]), range(grid.shape[1]))]
    own = [replace(target, row=0) for target in targets]
    whole = engine.scores(task, features.A, own, features.rest)
    table = (whole - _without(task, inputs, blank, boxes, targets, budget)).double().cpu().numpy()
    seen = np.array([_meet(box, window or (0, inputs.shape[1], 0, inputs.shape[2])) for box in boxes])
    side = round(patch * max(grid.stride))
    return [
        Occlusion(
            table[:, n].reshape(grid.shape),
            rank_correlation(table[seen, n], np.maximum(own_map, 0).ravel()[seen]),
            side,
        )
        for n, own_map in enumerate(maps)
    ]


def _without(
    task: Task, inputs: Tensor, blank: Tensor, boxes: Sequence[Box], targets: Sequence[Target], budget: int
) -> Tensor:
    """Scores [boxes, targets] with each box hidden, in batches of ``budget`` bytes of pictures."""
    size = max(budget // (inputs.numel() * inputs.element_size()), 1)
    chunks = [boxes[first : first + size] for first in range(0, len(boxes), size)]
    return torch.cat([_scores_without(task, inputs, blank, chunk, targets) for chunk in chunks])


def _scores_without(
    task: Task, inputs: Tensor, blank: Tensor, boxes: Sequence[Box], targets: Sequence[Target]
) -> Tensor:
    """Scores [boxes, targets] of the picture with each box in turn hidden."""
    hidden = inputs.repeat(len(boxes), 1, 1, 1)
    for picture, (top, bottom, left, right) in zip(hidden, boxes, strict=True):
        square = np.s_[:, max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
        picture[square] = blank[square]
    seen = task.features(task.place(hidden))
    rows = [replace(target, row=row) for row in range(len(boxes)) for target in targets]
    return engine.ask(task, seen, rows).view(len(boxes), len(targets))


def _box(grid: Grid, cell: tuple[int, int], patch: float) -> Box:
    """(top, bottom, left, right) of the patch around a cell, in pixels of the prepared picture, last ones not in it."""
    top, bottom, left, right = (
        round(grid.offset[axis] + grid.stride[axis] * (cell[axis] + sign * patch / 2) + 0.5)
        for axis in (0, 1)
        for sign in (-1, 1)
    )
    return top, bottom, left, right


def _meet(one: Box, other: Box) -> bool:
    return all(max(one[n], other[n]) < min(one[n + 1], other[n + 1]) for n in (0, 2))


def rank_correlation(some: NDArray[np.floating], others: NDArray[np.floating]) -> float:
    """Spearman's rank correlation of two lists of numbers, ties at their mean rank.

    nan when one is constant, empty or holds nan.
    """
    values = np.array([some, others], np.float64)
    if not values.size or np.isnan(values).any():
        return float("nan")
    a, b = (ranks - ranks.mean() for ranks in map(_ranks, values))
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 0 else float("nan")


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[place.ravel()])
