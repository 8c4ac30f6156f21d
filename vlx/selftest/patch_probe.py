"""The patch probe: a patch painted on the user's picture must change the map in the very cell it was painted on.

Cells in a wrong order, height and width swapped, a grid half a cell off, a crop forgotten: all of them move the change
elsewhere. The ground is soft noise, not the picture: where a cell lies depends on a picture's size and never on what it
shows, and trained CNNs answer a patch on a smooth ground by its edges.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vlx.errors import ModelError
from vlx.pictures.placement import Grid, Pair, Placement
from vlx.pictures.receptive_fields import measure_frame

BATCH = 8
DRAWS = 16  # patches on a cell at most, their changes added up: a ReLU may be dead under the first one
PIXELS = 4  # of the user's picture a cell must have at least, each way, for a patch to fit it
SHIFTED = 16  # cells whose patches are also painted half a cell beside them
BETTER = 1.3  # how much more shifted patches must change the cells than those in their place
CONCENTRATED = 0.75  # of the change in one cell; above, every cell sees a place of its own
ENOUGH = 0.75  # hits, where cells see parts of the same
FLAT = 0.2  # of the change in one cell; below, chance picks the largest one among neighbours
NEAR = 0.9  # of the patches must then be within one cell
HALVES = tuple((y, x) for y in (-0.5, 0.0, 0.5) for x in (-0.5, 0.0, 0.5) if (y, x) != (0, 0))

Look = Callable[[Tensor], Tensor]
Cell = tuple[int, int]
Levels = NDArray[np.uint8]


@dataclass(frozen=True)
class PatchProbe:
    """What patches on ``count`` cells did: shares from 0 to 1, each a mean over the patches.

    ``hits``: the largest change is in the cell painted; ``near``: there or in one of the 8 around it; ``own``: part of
    the squared change that is in the cell painted; ``peak``: in the cell changed most. ``shift``: (vertical,
    horizontal) in cells, where patches half a cell off do better than those in their place, else None.
    """

    count: int
    hits: float
    near: float
    own: float
    peak: float
    shift: Pair | None = None

    @property
    def judged(self) -> tuple[float, float]:
        """The share that counts, and how large it must be: all must hit where a patch changes little but its cell.

        In deep CNNs one patch changes many cells, and neighbours may be changed more than the cell that it is on: then
        three of four must hit. Where the change is flat over five cells and more, nine of ten must be next to it.
        """
        if self.hits == 1 or self.peak >= CONCENTRATED:
            return self.hits, 1.0
        return (self.near, NEAR) if self.peak < FLAT and self.shift is None else (self.hits, ENOUGH)

    @property
    def passed(self) -> bool:
        """Whether the share that counts is large enough, and the change next to where it should be."""
        value, limit = self.judged
        return value >= limit and self.near >= NEAR


def probe(
    prepare: Callable[[Image.Image], Tensor],
    place: Callable[[Tensor], Tensor],
    look: Look,
    locate: Callable[[Tensor], Grid],
    size: tuple[int, int],
    cells: int,
    seed: int,
) -> PatchProbe | None:
    """Paint patches on a noise picture (H, W) at the centres of all cells, or of ``cells`` drawn by ``seed``.

    ``look``: placed pictures [B, C, H', W'] → a map [B, K, h, w]; ``locate``: one of them → the grid of its cells. A
    cell counts when a patch of its size lies wholly in what the model sees. None where there is no such cell, or cells
    are smaller than four pixels of the user's picture. Raises ModelError for a map that is not of its grid's shape.
    """
    placement = Placement(Grid.half_pixel((1, 1), size), measure_frame(prepare, size))
    easel = _Easel(prepare, place, look, placement, seed)
    placement = easel.placement = replace(placement, grid=locate(easel.placed([easel.ground(0)])))
    counted = _counted(placement)
    if not counted or min(placement.cell_size) < PIXELS:
        return None
    rng = np.random.default_rng(seed)
    chosen = [counted[n] for n in sorted(rng.permutation(len(counted))[:cells])]
    result = _probe(_shares(easel.summed(chosen), chosen))
    if result.passed and result.peak >= FLAT:
        return result
    sample = [chosen[n] for n in sorted(rng.permutation(len(chosen))[:SHIFTED])]
    in_place = {
        shift: float(_shares(easel.changes(sample, shift), sample)["own"].mean()) for shift in ((0.0, 0.0), *HALVES)
    }
    best = max(in_place, key=lambda shift: in_place[shift])
    return replace(result, shift=best if in_place[best] > BETTER * in_place[0.0, 0.0] else None)


def _probe(shares: dict[str, NDArray[Any]]) -> PatchProbe:
    hits, near, at_home, peak = (float(shares[name].mean()) for name in ("hits", "near", "own", "peak"))
    return PatchProbe(len(shares["hits"]), hits, near, at_home, peak)


def _shares(changes: NDArray[Any], cells: Sequence[Cell]) -> dict[str, NDArray[Any]]:
    """Of squared changes [patches, h, w]: hits, near, own and peak of each; no change is no hit."""
    number, (rows, columns) = np.arange(len(cells)), np.array(cells).T
    flat = changes.reshape(len(cells), -1)
    largest = np.unravel_index(flat.argmax(1), changes.shape[1:])
    off = np.maximum(abs(largest[0] - rows), abs(largest[1] - columns))
    total = np.maximum(flat.sum(1), np.finfo(float).tiny)
    moved = flat.max(1) > 0
    at_home, peak = changes[number, rows, columns] / total, flat.max(1) / total
    return {"hits": (off == 0) & moved, "near": (off <= 1) & moved, "own": at_home, "peak": peak}


def _counted(placement: Placement) -> list[Cell]:
    """The cells around whose centres a whole patch lies in the part of the prepared picture that holds the user's."""
    grid, window = placement.grid, placement.frame.window
    inside = []
    for axis in (0, 1):
        centres = grid.offset[axis] + grid.stride[axis] * np.arange(grid.shape[axis])
        reach = grid.stride[axis] / 2 - 0.5
        first, stop = window[2 * axis : 2 * axis + 2]
        inside.append(np.flatnonzero((centres - reach > first - 0.5) & (centres + reach < stop - 0.5)))
    return [(int(i), int(j)) for i in inside[0] for j in inside[1]]


class _Easel:
    """Strong noise the size of one cell painted on soft noise, and what it changes; each cell and draw has its own."""

    def __init__(
        self,
        prepare: Callable[[Image.Image], Tensor],
        place: Callable[[Tensor], Tensor],
        look: Look,
        placement: Placement,
        seed: int,
    ) -> None:
        self.prepare, self.place, self.look, self.placement, self.seed = prepare, place, look, placement, seed

    def placed(self, pictures: Sequence[Levels]) -> Tensor:
        """Pictures uint8 [H, W, 3] → [B, C, H', W'] where the model is."""
        return self.place(torch.stack([self.prepare(Image.fromarray(picture)) for picture in pictures]))

    def ground(self, draw: int) -> Levels:
        """The picture without a patch, uint8 [H, W, 3]."""
        return self.noise(self.placement.frame.size, (draw,), soft=True)

    def changes(self, cells: Sequence[Cell], shift: Pair = (0, 0), draw: int = 0) -> NDArray[Any]:
        """The squared change of every cell by a patch on each of some cells, or ``shift`` beside it, [cells, h, w]."""
        ground, squares = self.ground(draw), []
        before, shape = self.look(self.placed([ground])), self.placement.grid.shape
        if before.ndim != 4 or tuple(before.shape[2:]) != shape:
            raise ModelError(f"the map is {list(before.shape)}, its grid has {shape} cells: they must agree")
        for first in range(0, len(cells), BATCH):
            pictures = [self.painted(ground, cell, shift, draw) for cell in cells[first : first + BATCH]]
            after = self.look(self.placed(pictures))
            squares.append((after.double() - before.double()).square().sum(1).cpu().numpy())
        return np.concatenate(squares)

    def summed(self, cells: Sequence[Cell]) -> NDArray[Any]:
        """As `changes`, those of other patches added for cells that are missed, at a few times the cost at most."""
        changes, left = self.changes(cells), 2 * len(cells) + 64
        for draw in range(1, DRAWS):
            missed = np.flatnonzero(~_shares(changes, cells)["hits"])
            left -= len(missed)
            if not len(missed) or left < 0:
                break
            changes[missed] += self.changes([cells[int(n)] for n in missed], draw=draw)
        return changes

    def painted(self, ground: Levels, cell: Cell, shift: Pair, draw: int) -> Levels:
        """The ground with a patch at the centre of a cell, or ``shift`` cells beside it."""
        size, centre = self.placement.cell_size, self.placement.centre_of(*cell)
        spans = []
        for axis in (0, 1):
            middle = centre[axis] + shift[axis] * size[axis] + 0.5
            ends = (round(middle - size[axis] / 2), round(middle + size[axis] / 2))
            spans.append(slice(max(ends[0], 0), max(min(ends[1], ground.shape[axis]), 0)))
        picture = ground.copy()
        window = picture[spans[0], spans[1]]
        window[...] = self.noise(window.shape[:2], (draw, *cell), soft=False)
        return picture

    def noise(self, size: tuple[int, ...], key: tuple[int, ...], *, soft: bool) -> Levels:
        """Noise uint8 [H, W, 3], its grains about as large as a prepared pixel: resizing does not smooth it out."""
        rng, grain = np.random.default_rng((self.seed, *key)), self.placement.frame.scale
        shape = [max(round(side / max(abs(wide), 1.0)), 1) for side, wide in zip(size, grain, strict=True)]
        levels = rng.normal(128, 20, (*shape, 3)).clip(0, 255) if soft else rng.integers(0, 256, (*shape, 3))
        rows, columns = (np.arange(side) * few // side for side, few in zip(size, shape, strict=True))
        picture: Levels = levels.astype(np.uint8)[rows][:, columns]
        return picture
