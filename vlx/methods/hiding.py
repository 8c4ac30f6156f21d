"""Hiding as a method: maps of what hiding a part of the picture costs the score, which need no gradient."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import product

import torch
from torch import Tensor

from vlx.errors import InputError
from vlx.methods import engine
from vlx.methods.engine import Attribution
from vlx.methods.method import Method, Site, attribution, by_rows
from vlx.methods.replay import Edit
from vlx.pictures.edits import Box, box_around, hidden
from vlx.pictures.placement import Grid
from vlx.protocol.targets import Target
from vlx.protocol.task import Task

PARTS = 8  # parts of the longer side when the map itself is made by hiding
BUDGET = 16 * 2**20  # bytes of prepared pictures shown at once; what the model makes of them is several times as much


def parts(size: tuple[int, int], most: int = PARTS) -> Grid:
    """A picture of ``size`` (H, W) cut into nearly square parts, at most ``most`` along each side."""
    rows, columns = (max(round(most * side / max(size)), 1) for side in size)
    return Grid.half_pixel((rows, columns), size, "parts that are hidden")


def hidden_parts(task: Task, site: Site, targets: Sequence[Target], grid: Grid, *, budget: int = BUDGET) -> Attribution:
    """Maps [N, h, w] of how much each target's score falls when a part of the picture is hidden, in the target's unit.

    ``site`` is that of one row, which all targets are of, ``grid`` the `parts` (Zeiler and Fergus 2014, arXiv
    1311.2901, section 4.3). The importance weights are those of A, NaN where the model lets no gradient through: maps
    need none.
    """
    inputs, blank = site.shown(0, OCCLUSION.name)
    scores = engine.scores(task, site.features.A, targets, site.features.rest)
    boxes = [box_around(grid, cell, 1.0) for cell in product(range(grid.shape[0]), range(grid.shape[1]))]
    left = scores_without(task, inputs, blank, boxes, targets, budget)
    falls = (scores - left).T.reshape(len(targets), *grid.shape).float()
    return attribution(task, site, targets, falls)


def scores_without(
    task: Task, inputs: Tensor, blank: Tensor, boxes: Sequence[Box], targets: Sequence[Target], budget: int
) -> Tensor:
    """Scores [boxes, targets] with each box hidden, in batches of ``budget`` bytes of pictures."""

    def without(rows: slice) -> Tensor:
        return hidden(inputs, blank, boxes[rows])

    return scores_of_edits(task, inputs, len(boxes), without, targets, budget)


def scores_of_edits(
    task: Task, inputs: Tensor, count: int, edit: Edit, targets: Sequence[Target], budget: int = BUDGET
) -> Tensor:
    """Scores [count, targets] of a prepared picture [C, H, W] edited in ``count`` ways, all targets in one pass.

    ``edit(rows)`` makes the pictures of a slice of them; they are shown in batches of ``budget`` bytes of pictures.
    """
    size = max(budget // (inputs.numel() * inputs.element_size()), 1)
    batches = [slice(first, min(first + size, count)) for first in range(0, count, size)]
    return torch.cat([_scores_of_batch(task, edit(rows), targets) for rows in batches])


def _scores_of_batch(task: Task, pictures: Tensor, targets: Sequence[Target]) -> Tensor:
    """Scores [pictures, targets]."""
    seen = task.features(task.place(pictures))
    rows = [replace(target, row=row) for row in range(len(pictures)) for target in targets]
    return engine.ask(task, seen, rows).view(len(pictures), len(targets))


def _grid(site: Site) -> Grid:
    if site.inputs is None:
        raise InputError(f"{OCCLUSION.name} hides parts of the picture, and none is at this site; give its inputs")
    return parts((site.inputs.shape[2], site.inputs.shape[3]))


def _attribute(task: Task, site: Site, targets: Sequence[Target]) -> Attribution:
    grid = _grid(site)
    return by_rows(site, targets, partial(hidden_parts, task, grid=grid))


OCCLUSION = Method(
    "occlusion",
    "1311.2901",
    "how much the score falls when a part of the picture is hidden",
    _attribute,
    grid=_grid,
    unit="{score} per part",
    sentence="Parts of the picture that",
    noun="parts",
    linear=True,
    gradient=False,
)
