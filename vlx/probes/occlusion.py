"""Occlusion: where hiding a part of the picture costs the score most, and whether the heat map says the same."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vlx.errors import InputError
from vlx.explanation.records import Array, Occlusion
from vlx.methods import engine
from vlx.methods.hiding import BUDGET, scores_without
from vlx.pictures.edits import Box, box_around
from vlx.probes import references
from vlx.probes.probe import Context, Probe
from vlx.protocol.targets import Target
from vlx.protocol.task import Features, Task

PATCH = 2.0  # side of the patch in strides of A: neighbouring patches overlap by half


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
) -> list[Occlusion]:
    """Slide a blank patch over the prepared picture at the stride of A; one `Occlusion` a target, in the target's unit.

    ``inputs`` and ``blank`` are prepared pictures [C, H, W], ``features`` those of the first, ``maps`` the targets'
    signed maps [h, w]. The patch, ``patch`` strides wide, is centred where each cell of A is (Zeiler and Fergus 2014;
    paper, section 6.2). ``window`` (top, bottom, left, right) is where the prepared picture is no padding: cells whose
    patch hides nothing of it do not count for the agreement. Pictures are shown in batches of `BUDGET` bytes.

    Raises InputError for a patch of no pixels.
    """
    grid = features.grid
    if not patch * min(grid.stride) >= 1:
        raise InputError(f"patch={patch} strides of {min(grid.stride):g} pixels hide nothing; it must be larger")
    boxes = [box_around(grid, cell, patch) for cell in product(range(grid.shape[0]), range(grid.shape[1]))]
    asked = [replace(target, row=0) for target in targets]
    whole = engine.scores(task, features.A, asked, features.rest)
    table = (whole - scores_without(task, inputs, blank, boxes, targets, BUDGET)).double().cpu().numpy()
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


def _meet(one: Box, other: Box) -> bool:
    return all(max(one[n], other[n]) < min(one[n + 1], other[n + 1]) for n in (0, 2))


def rank_correlation(some: NDArray[np.floating], others: NDArray[np.floating]) -> float:
    """Spearman's rank correlation of two lists of numbers, ties at their mean rank.

    nan when one is constant, empty or holds nan.
    """
    from scipy.stats import spearmanr

    values = np.array([some, others], np.float64)
    if not values.size or np.isnan(values).any() or not np.ptp(values, 1).all():
        return float("nan")
    return float(spearmanr(*values).statistic)


def _run(context: Context) -> Sequence[Occlusion]:
    task, shown = context.task, context.shown
    blank = task.prepare(references.filling(shown.picture.image, context.options.references))
    maps, window = list(context.maps), shown.frame.window
    return occlude(task, shown.inputs, blank, context.features, context.targets, maps, window=window)


OCCLUSION = Probe("occlusion", lambda context: context.options.occlusion, _run)
