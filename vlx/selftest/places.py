"""Checks where cells are: a patch changes the cell that it was painted on, of every crop, and folding loses nothing."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor

from vlx.pictures.placement import Grid
from vlx.protocol.powers import meet
from vlx.protocol.targets import sentence_target
from vlx.selftest import patch_probe
from vlx.selftest.checks import Subject, looked
from vlx.selftest.result import Row, idle, row, unproven

WIDE, TALL = (384, 576), (576, 384)  # (H, W) of the pictures that show whether height and width were swapped
STILL = 0.5  # of what a token of the picture changes: one that is said to show no part of it must change less
KEPT = 1e-3  # by which the sum of a map may change when it is folded, of the sum of its sizes
APART = 1.2  # sides of a token that neighbours lie apart at most
TRIED = 64  # tokens whose own place is looked at after folding

Size = tuple[int, int]


def probes(case: Subject, cells: int, seed: int) -> Mapping[str, Callable[[], Row]]:
    """The checks by name; at most ``cells`` patches each, drawn by ``seed``."""
    sizes = {"patch probe": (case.picture.height, case.picture.width), "patch probe 3:2": WIDE}
    checks = {name: partial(_probe, case, name, size, cells, seed) for name, size in sizes.items()}
    return {**checks, "every crop": partial(_every_crop, case, cells, seed)}


def _probe(case: Subject, name: str, size: Size, cells: int, seed: int) -> Row:
    """T3, T4, T8, T10, T12, T16: a patch changes the cell on which it was painted."""
    task, look = case.task, partial(looked, case.task)
    result = patch_probe.probe(task.prepare, task.place, look, partial(_grid, case), size, cells, seed)
    if result is None:
        return unproven(
            name,
            "no cell is wholly in the part that the model sees, or cells are smaller than four pixels; give a larger "
            "picture",
        )
    value, limit = result.judged
    return Row(name, value, limit, result.passed, _described(result), at_least=True)


def _grid(case: Subject, inputs: Tensor) -> Grid:
    """Where the cells of a prepared picture are."""
    return meet(case.task, case.task.features(inputs), [sentence_target(case.prediction, 0)])[0].grid


def _described(result: patch_probe.PatchProbe) -> str:
    several = result.sizes > 1
    of = f" in crops of {result.sizes} sizes" if several else ""
    painted = f"{result.count} cells painted{of}; {result.hits:.0%} are changed most by their own patch"
    if result.hits == 1:
        return painted
    painted += f", {result.near:.0%} it or one beside it" + " (in the crops that do worst)" * several
    if result.passed:
        peak = f"{result.peak:.0%} of a patch's change is in one cell"
        return f"{painted}: enough where cells see parts of the same ({peak})"
    if result.shift is not None and result.near >= patch_probe.NEAR:
        y, x = result.shift
        return f"{painted}; patches {y:+.1f} cells down and {x:+.1f} right do better: the grid's offset is wrong"
    return (
        f"{painted}: the cells of A are not where the grid has them: their order, height and width swapped, a crop, or "
        "cells that have mixed (then give the task `shallow`)"
    )


def _every_crop(case: Subject, cells: int, seed: int) -> Row:
    """T34: tokens of every crop lie where they look, those of no place show none, and folding keeps what there is."""
    name, task = "every crop", case.task
    ground, other = (patch_probe.noise_picture(TALL, seed, number) for number in (0, 1))
    inputs = task.place(torch.stack([task.prepare(picture) for picture in (ground, other)]))
    grid = _grid(case, inputs[:1])
    if grid.plain is grid:
        return idle(name, "A is a map of the picture in one piece; see patch probe")
    lost = _lost(grid)
    if lost > KEPT:
        fault = "folding tokens on the picture does not keep their sum: spread each value over its own cells, of sum 1"
        return row(name, lost, KEPT, "", fault)
    if (stray := _strayed(grid)) is not None:
        y, x = grid.centres[stray]
        return Row(name, None, None, False, f"token {stray} is at ({y:.0f}, {x:.0f}) and is folded elsewhere")
    apart = max(_apart(grid, numbers) for numbers in patch_probe.of_one_size(grid))
    if apart > APART:
        fault = "tokens lie further apart than they are large, so that maps have gaps between them: give their extents"
        return row(name, apart, APART, "", fault)
    moved = _moved(looked(task, inputs), grid)
    if moved > STILL:
        fault = "tokens that are said to show no part of the picture change with it as others do: a crop was forgotten"
        return row(name, moved, STILL, "", fault)
    if (fixed := _fixed(task.features(inputs).A, grid)) is not None:
        y, x = grid.centres[fixed]
        fault = f"token {fixed} is said to lie at ({y:.0f}, {x:.0f}) and is the same whatever is there: a line break"
        return Row(name, None, None, False, fault)
    return _probe(case, name, TALL, cells, seed)


def _fixed(A: Tensor, grid: Grid) -> int | None:
    """A token with a place that is the very same in two pictures, [2, K, 1, T]; None where all change."""
    same = (A[0] == A[1]).flatten(1).all(0).cpu().numpy()
    return next(iter(np.flatnonzero(same & grid.placed).tolist()), None)


def _lost(grid: Grid) -> float:
    """By how much a map's sum over the tokens of the picture changes when it is folded, of the sum of its sizes."""
    maps = torch.randn(1, *grid.tokens, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    shown = maps.flatten()[torch.from_numpy(grid.placed)]
    return float((grid.fold(maps).sum() - shown.sum()).abs() / shown.abs().sum())


def _strayed(grid: Grid) -> int | None:
    """A token that is folded elsewhere than it is, of some that are tried."""
    placed = np.flatnonzero(grid.placed)
    tried = placed[np.random.default_rng(0).permutation(len(placed))[:TRIED]]
    alone = torch.zeros(len(tried), *grid.tokens, dtype=torch.double)
    alone.view(len(tried), -1)[range(len(tried)), tried.tolist()] = 1
    folded, last = grid.fold(alone).cpu().numpy(), np.array(grid.size) - 1
    for token, own in zip(tried.tolist(), folded, strict=True):
        cells = np.argwhere(own > 0) * grid.stride + grid.offset
        reach = (grid.extents[token] + grid.stride) / 2
        if (np.abs(cells - np.clip(grid.centres[token], 0, last)) > reach + 1).any() or not len(cells):
            return int(token)
    return None


def _apart(grid: Grid, numbers: patch_probe.Numbers) -> float:
    """How far tokens of one size are from the next one beside and below, in their own sides: the median of some."""
    tried = numbers[np.random.default_rng(0).permutation(len(numbers))[:TRIED]]
    steps = (grid.centres[numbers] - grid.centres[tried, None]) / grid.extents[numbers[0]]  # [tried, n, 2]
    medians = [0.0]
    for axis in (0, 1):
        beside = (np.abs(steps[..., 1 - axis]) < 0.5) & (steps[..., axis] > 0.5)
        nearest = np.where(beside, steps[..., axis], np.inf).min(1)
        medians += [float(np.median(nearest[np.isfinite(nearest)]))] if np.isfinite(nearest).any() else []
    return max(medians)


def _moved(maps: Tensor, grid: Grid) -> float:
    """How far tokens without a place change between two pictures [2, K, *tokens] at most, of what others do."""
    changes = (maps[0].double() - maps[1].double()).square().sum(0).sqrt().flatten().cpu().numpy()
    without = changes[~grid.placed]
    shown = float(np.median(changes[grid.placed]))
    return float(without.max(initial=0.0)) / max(shown, np.finfo(float).tiny)
