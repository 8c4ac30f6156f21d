"""The patch probe: a patch painted on the user's picture must change the map in the very cell it was painted on.

Cells in a wrong order, height and width swapped, a grid half a cell off, a crop forgotten: all of them move the change
elsewhere. The ground is soft noise, not the picture: where a cell lies depends on a picture's size and never on what it
shows, and trained CNNs answer a patch on a smooth ground by its edges.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vlx.errors import ModelError
from vlx.geometry import Grid, Pair, Placement
from vlx.tracing import measure_frame

BATCH = 8
SHIFTED = 16  # cells whose patches are also painted half a cell beside them
CONCENTRATED = 0.5  # of the change; above, every cell has a place of its own
NEAR = 0.9  # of the patches must be within one cell, where fields of view overlap
BETTER = 1.3  # how much more a shifted patch must change the cell than one that is in its place
HALVES = tuple((y, x) for y in (-0.5, 0.0, 0.5) for x in (-0.5, 0.0, 0.5) if (y, x) != (0, 0))

Look = Callable[[Tensor], Tensor]
Cell = tuple[int, int]
Levels = NDArray[np.uint8]


@dataclass(frozen=True)
class Probe:
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
    def overlapping(self) -> bool:
        """Whether one patch changes many cells, as in deep CNNs: then its neighbours may be changed more than it."""
        return self.peak < CONCENTRATED

    @property
    def passed(self) -> bool:
        """All hits; or of cells whose fields of view overlap nearly all within one cell, and best where they are."""
        return self.hits == 1 or (self.overlapping and self.near >= NEAR and self.shift is None)


def probe(
    prepare: Callable[[Image.Image], Tensor],
    place: Callable[[Tensor], Tensor],
    look: Look,
    locate: Callable[[Tensor], Grid],
    size: tuple[int, int],
    cells: int,
    seed: int,
) -> Probe | None:
    """Paint patches on a noise picture (H, W) at the centres of all cells, or of ``cells`` drawn by ``seed``.

    ``look``: placed pictures [B, 3, H', W'] → a map [B, K, h, w]; ``locate``: one of them → the grid of its cells. A cell
    counts when a patch of its size lies wholly in what the model sees. None where there is no such cell, or cells are smaller than two
    pixels of the user's picture. Raises ModelError for a map that is not of its grid's shape.
    """
    rng = np.random.default_rng(seed)
    frame = measure_frame(prepare, size)
    ground = _noise(rng, size, (abs(frame.scale[0]), abs(frame.scale[1])), soft=True)

    def placed(pictures: Sequence[Levels]) -> Tensor:
        return place(torch.stack([prepare(Image.fromarray(picture)) for picture in pictures]))

    before, grid = look(placed([ground])), locate(placed([ground]))
    if before.ndim != 4 or tuple(before.shape[2:]) != grid.shape:
        raise ModelError(f"the map is {list(before.shape)}, its grid has {grid.shape} cells: they must agree")
    placement = Placement(grid, frame)
    counted = _counted(placement)
    if not counted or min(placement.cell_size) < 2:
        return None
    chosen = [counted[n] for n in sorted(rng.permutation(len(counted))[:cells])]
    patches = _Patches(placement, ground, seed)

    def changes(cells: Sequence[Cell], shift: Pair) -> NDArray[Any]:
        found = []
        for first in range(0, len(cells), BATCH):
            pictures = [patches.painted(cell, shift) for cell in cells[first : first + BATCH]]
            after = look(placed(pictures))
            found.append((after.double() - before.double()).square().sum(1).cpu().numpy())
        return np.concatenate(found)

    found = _shares(changes(chosen, (0, 0)), chosen)
    if found["hits"].all():
        return _probe(found)
    some = [chosen[n] for n in sorted(rng.permutation(len(chosen))[:SHIFTED])]
    own = {shift: float(_shares(changes(some, shift), some)["own"].mean()) for shift in ((0.0, 0.0), *HALVES)}
    best = max(own, key=lambda shift: own[shift])
    return _probe(found, best if own[best] > BETTER * own[0.0, 0.0] else None)


def _probe(found: dict[str, NDArray[Any]], shift: Pair | None = None) -> Probe:
    hits, near, own, peak = (float(found[name].mean()) for name in ("hits", "near", "own", "peak"))
    return Probe(len(found["hits"]), hits, near, own, peak, shift)


def _shares(changes: NDArray[Any], cells: Sequence[Cell]) -> dict[str, NDArray[Any]]:
    """Of squared changes [patches, h, w]: hits, near, own and peak of every patch."""
    number, (rows, columns) = np.arange(len(cells)), np.array(cells).T
    flat = changes.reshape(len(cells), -1)
    largest = np.unravel_index(flat.argmax(1), changes.shape[1:])
    off = np.maximum(abs(largest[0] - rows), abs(largest[1] - columns))
    total = np.maximum(flat.sum(1), np.finfo(float).tiny)
    moved = flat.max(1) > 0
    own, peak = changes[number, rows, columns] / total, flat.max(1) / total
    return {"hits": (off == 0) & moved, "near": (off <= 1) & moved, "own": own, "peak": peak}


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


class _Patches:
    """Strong noise the size of one cell, painted on a ground uint8 [H, W, 3]; each cell has its own."""

    def __init__(self, placement: Placement, ground: Levels, seed: int) -> None:
        self.placement, self.ground, self.seed = placement, ground, seed

    def painted(self, cell: Cell, shift: Pair) -> Levels:
        """The ground with a patch at the centre of a cell, or ``shift`` cells beside it."""
        size, centre = self.placement.cell_size, self.placement.centre_of(*cell)
        spans = []
        for axis in (0, 1):
            middle = centre[axis] + shift[axis] * size[axis] + 0.5
            ends = (round(middle - size[axis] / 2), round(middle + size[axis] / 2))
            spans.append(slice(max(ends[0], 0), max(min(ends[1], self.ground.shape[axis]), 0)))
        picture = self.ground.copy()
        window = picture[spans[0], spans[1]]
        rng = np.random.default_rng((self.seed, *cell))
        scale = self.placement.frame.scale
        picture[spans[0], spans[1]] = _noise(rng, window.shape[:2], (abs(scale[0]), abs(scale[1])), soft=False)
        return picture


def _noise(rng: np.random.Generator, size: tuple[int, ...], grain: Pair, *, soft: bool) -> Levels:
    """Noise uint8 [H, W, 3], its grains about as large as a prepared pixel, so that resizing does not smooth it out."""
    shape = [max(round(side / max(wide, 1.0)), 1) for side, wide in zip(size, grain, strict=True)]
    levels = rng.normal(128, 20, (*shape, 3)).clip(0, 255) if soft else rng.integers(0, 256, (*shape, 3))
    rows, columns = (np.arange(side) * few // side for side, few in zip(size, shape, strict=True))
    picture: Levels = levels.astype(np.uint8)[rows][:, columns]
    return picture
