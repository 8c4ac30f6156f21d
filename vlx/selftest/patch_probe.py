"""The patch probe: a patch painted on the user's picture must change the map in the very cell it was painted on.

Cells in a wrong order, height and width swapped, a grid half a cell off, a crop forgotten: all of them move the change
elsewhere. Tokens of several crops are tried size by size, each by a patch of its own size. The ground is soft noise,
not the picture: where a cell lies depends on a picture's size and never on what it shows, and trained CNNs answer a
patch on a smooth ground by its edges.
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
from vlx.pictures.placement import Frame, Grid, Pair
from vlx.pictures.receptive_fields import measure_frame

BATCH = 8
DRAWS = 16  # patches on a cell at most, their changes added up: a ReLU may be dead under the first one
PIXELS = 4  # of the user's picture a cell must have at least, each way, for a patch to fit it
SHIFTED = 16  # cells whose patches are also painted half a cell beside them
BETTER = 1.3  # how much more shifted patches must change the cells than those in their place
CONCENTRATED = 0.75  # of the change in one cell; above, every cell sees a place of its own
ENOUGH = 0.75  # hits, where cells see parts of the same
FLAT = 0.2  # of the change in one cell; below, chance picks the largest one among neighbours (of a row, its root)
NEAR = 0.9  # of the patches must then be within one cell
GRAIN = 8  # pixels of a picture of noise that are alike, each way
HALVES = tuple((y, x) for y in (-0.5, 0.0, 0.5) for x in (-0.5, 0.0, 0.5) if (y, x) != (0, 0))

ALIKE = 0.05  # by which sides of cells of one size may differ: they are measured
TWIN = 0.1  # of the largest squared change: a cell whose own place is painted changes by more
SAME = 0.51  # of a cell: what is painted so near to its centre it shows

Look = Callable[[Tensor], Tensor]
Numbers = NDArray[np.intp]
Levels = NDArray[np.uint8]


@dataclass(frozen=True)
class PatchProbe:
    """What patches on ``count`` cells did: shares from 0 to 1, each a mean over the patches.

    ``hits``: the largest change is in the cell painted; ``near``: there or in one of the 8 around it; ``own``: part of
    the squared change that is in the cell painted; ``peak``: in the cell changed most. ``shift``: (vertical,
    horizontal) in cells, where patches half a cell off do better than those in their place, else None. ``sizes``: how
    many sizes of cells were tried, one a kind of crop; the shares are those of the size that does worst.
    """

    count: int
    hits: float
    near: float
    own: float
    peak: float
    shift: Pair | None = None
    sizes: int = 1
    flat: float = FLAT

    @property
    def judged(self) -> tuple[float, float]:
        """The share that counts, and how large it must be: all must hit where a patch changes little but its cell.

        In deep CNNs one patch changes many cells, and neighbours may be changed more than the cell that it is on: then
        three of four must hit. Where the change is flat over five cells and more, nine of ten must be next to it.
        """
        if self.hits == 1 or self.peak >= CONCENTRATED:
            return self.hits, 1.0
        return (self.near, NEAR) if self.peak < self.flat and self.shift is None else (self.hits, ENOUGH)

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
    easel = _Easel(prepare, place, look, measure_frame(prepare, size), seed)
    grid = locate(easel.placed([easel.ground(0)]))
    kinds = [Spots(grid, numbers) for numbers in of_one_size(grid)]
    found = [_probed(easel, spots, max(cells // len(kinds), 1), seed) for spots in kinds]
    able = [one for one in found if one is not None]
    if len(able) < len(found):
        return None
    worst = min([one for one in able if not one.passed] or able, key=lambda one: one.hits)
    return replace(worst, count=sum(one.count for one in able), sizes=len(able))


def _probed(easel: "_Easel", spots: "Spots", cells: int, seed: int) -> PatchProbe | None:
    """Patches on the cells of one size."""
    counted = spots.within(easel.frame)
    if not len(counted) or min(spots.pixels(easel.frame)) < PIXELS:
        return None
    rng = np.random.default_rng(seed)
    chosen = counted[np.sort(rng.permutation(len(counted))[:cells])]
    flat = FLAT if min(spots.grid.shape) > 1 else FLAT**0.5
    result = replace(_probe(spots.shares(easel.summed(spots, chosen), chosen)), flat=flat)
    if result.passed and result.peak >= flat:
        return result
    sample = chosen[np.sort(rng.permutation(len(chosen))[:SHIFTED])]
    in_place = {
        shift: float(spots.shares(easel.changes(spots, sample, shift), sample)["own"].mean())
        for shift in ((0.0, 0.0), *HALVES)
        if not any(move and side == 1 for move, side in zip(shift, spots.grid.shape, strict=True))
    }
    best = max(in_place, key=lambda shift: in_place[shift])
    return replace(result, shift=best if in_place[best] > BETTER * in_place[0.0, 0.0] else None)


def noise_picture(size: tuple[int, int], seed: int, number: int) -> Image.Image:
    """Noise (H, W) in grains of eight pixels, another one for each number."""
    shape = [-(-side // GRAIN) for side in size]
    levels = np.random.default_rng((seed, number)).integers(0, 256, (*shape, 3), np.uint8)
    return Image.fromarray(levels.repeat(GRAIN, 0).repeat(GRAIN, 1)[: size[0], : size[1]])


def _probe(shares: dict[str, NDArray[Any]]) -> PatchProbe:
    hits, near, at_home, peak = (float(shares[name].mean()) for name in ("hits", "near", "own", "peak"))
    return PatchProbe(len(shares["hits"]), hits, near, at_home, peak)


def of_one_size(grid: Grid) -> list[Numbers]:
    """The numbers of A's own places that show a part of the picture, by their size: one list a kind of crop.

    >>> [len(numbers) for numbers in of_one_size(task.features(inputs).grid)]  # the whole picture, and two tiles of it
    [576, 1152]
    """
    left, kinds = np.flatnonzero(grid.placed), []
    while len(left):
        ratios = grid.extents[left] / grid.extents[left[0]]
        alike = (np.abs(np.log(ratios)) < np.log1p(ALIKE)).all(1)
        kinds.append(left[alike])
        left = left[~alike]
    return kinds


@dataclass(frozen=True, eq=False)
class Spots:
    """Cells of one size, by their numbers [n] among A's own places: where a patch is painted, and should be seen."""

    grid: Grid
    numbers: Numbers

    @property
    def centres(self) -> NDArray[np.float64]:
        """Their middles (y, x) on the prepared picture, [n, 2]."""
        return np.asarray(self.grid.centres[self.numbers])

    @property
    def size(self) -> NDArray[np.float64]:
        """Their height and width on the prepared picture."""
        return np.asarray(self.grid.extents[self.numbers[0]])

    def pixels(self, frame: Frame) -> NDArray[np.float64]:
        """Their height and width in pixels of the user's picture."""
        return np.asarray(np.abs(frame.scale) * self.size)

    def key(self, place: int) -> tuple[int, int]:
        """What one of them is called: its row and column among A's own places."""
        row, column = divmod(int(self.numbers[place]), self.grid.tokens[1])
        return row, column

    def within(self, frame: Frame) -> Numbers:
        """The places in this list of those around whose centres a whole patch shows the user's picture alone."""
        first, stop = np.reshape(frame.window, (2, 2)).T - 0.5
        reach = self.size / 2 - 0.5
        return np.flatnonzero(((self.centres - reach > first) & (self.centres + reach < stop)).all(1))

    def shares(self, changes: NDArray[Any], chosen: Numbers) -> dict[str, NDArray[Any]]:
        """Of squared changes [patches, n]: hits, near, own and peak of each; no change is no hit.

        Where crops lie upon each other several of one size show what is painted: each of them is as good, if the one
        that is tried has changed as well.
        """
        centres, largest = self.centres, changes.argmax(1)
        off = np.abs(centres[largest] - centres[chosen]) / self.size
        there = (np.abs(centres - centres[chosen, None]) / self.size < SAME).all(2)
        total = np.maximum(changes.sum(1), np.finfo(float).tiny)
        tried = changes[np.arange(len(chosen)), chosen]
        moved = (changes.max(1) > 0) & (tried >= TWIN * changes.max(1))
        own, peak = (changes * there).sum(1) / total, changes.max(1) / total
        near, hits = (off < 1 + SAME).all(1), (off < SAME).all(1)
        return {"hits": hits & moved, "near": near & (changes.max(1) > 0), "own": own, "peak": peak}


class _Easel:
    """Strong noise the size of one cell painted on soft noise, and what it changes; each cell and draw has its own."""

    def __init__(
        self,
        prepare: Callable[[Image.Image], Tensor],
        place: Callable[[Tensor], Tensor],
        look: Look,
        frame: Frame,
        seed: int,
    ) -> None:
        self.prepare, self.place, self.look, self.frame, self.seed = prepare, place, look, frame, seed

    def placed(self, pictures: Sequence[Levels]) -> Tensor:
        """Pictures uint8 [H, W, 3] → [B, C, H', W'] where the model is."""
        return self.place(torch.stack([self.prepare(Image.fromarray(picture)) for picture in pictures]))

    def ground(self, draw: int) -> Levels:
        """The picture without a patch, uint8 [H, W, 3]."""
        return self.noise(self.frame.size, (draw,), soft=True)

    def changes(self, spots: Spots, chosen: Numbers, shift: Pair = (0, 0), draw: int = 0) -> NDArray[Any]:
        """The squared change of every cell by a patch on each of some, or ``shift`` beside it, [patches, n]."""
        ground, squares = self.ground(draw), []
        before, shape = self.look(self.placed([ground])), spots.grid.tokens
        if before.ndim != 4 or tuple(before.shape[2:]) != shape:
            raise ModelError(f"the map is {list(before.shape)}, its grid has {shape} cells: they must agree")
        for first in range(0, len(chosen), BATCH):
            pictures = [self.painted(ground, spots, int(n), shift, draw) for n in chosen[first : first + BATCH]]
            after = self.look(self.placed(pictures))
            squares.append((after.double() - before.double()).square().sum(1).flatten(1).cpu().numpy())
        return np.concatenate(squares)[:, spots.numbers]

    def summed(self, spots: Spots, chosen: Numbers) -> NDArray[Any]:
        """As `changes`, those of other patches added for cells that are missed, at a few times the cost at most."""
        changes, left = self.changes(spots, chosen), 2 * len(chosen) + 64
        for draw in range(1, DRAWS):
            missed = np.flatnonzero(~spots.shares(changes, chosen)["hits"])
            left -= len(missed)
            if not len(missed) or left < 0:
                break
            changes[missed] += self.changes(spots, chosen[missed], draw=draw)
        return changes

    def painted(self, ground: Levels, spots: Spots, place: int, shift: Pair, draw: int) -> Levels:
        """The ground with a patch at the centre of a cell, or ``shift`` cells beside it."""
        size, centre = spots.pixels(self.frame), self.frame.scale * spots.centres[place] + self.frame.shift
        spans = []
        for axis in (0, 1):
            middle = centre[axis] + shift[axis] * size[axis] + 0.5
            ends = (round(middle - size[axis] / 2), round(middle + size[axis] / 2))
            spans.append(slice(max(ends[0], 0), max(min(ends[1], ground.shape[axis]), 0)))
        picture = ground.copy()
        window = picture[spans[0], spans[1]]
        window[...] = self.noise(window.shape[:2], (draw, *spots.key(place)), soft=False)
        return picture

    def noise(self, size: tuple[int, ...], key: tuple[int, ...], *, soft: bool) -> Levels:
        """Noise uint8 [H, W, 3], its grains about as large as a prepared pixel: resizing does not smooth it out."""
        rng, grain = np.random.default_rng((self.seed, *key)), self.frame.scale
        shape = [max(round(side / max(abs(wide), 1.0)), 1) for side, wide in zip(size, grain, strict=True)]
        levels = rng.normal(128, 20, (*shape, 3)).clip(0, 255) if soft else rng.integers(0, 256, (*shape, 3))
        rows, columns = (np.arange(side) * few // side for side, few in zip(size, shape, strict=True))
        picture: Levels = levels.astype(np.uint8)[rows][:, columns]
        return picture
