"""`Mosaic`: the grid of an A that is a strip of tokens of several crops, and the fold that lays it on the picture.

Models that cut a picture into crops hand on tokens of the whole picture and of its tiles one after the other, and some
that show no part of it (line breaks, padding): A is [B, K, 1, T]. What is told of tokens is laid on the finest regular
grid of the picture, each token's value spread over the rectangle that the token shows, so that sums are kept.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from vlx.errors import ModelError
from vlx.pictures.placement import Grid

CROPS = "crops of the picture"
LEAST = 0.01  # of a token's side: one with less of it on the picture shows padding


@dataclass(frozen=True)
class Mosaic(Grid):
    """A `Grid` on which T tokens of several crops are folded; made by `of`, and equal by value.

    Its own fields are those of the cells that maps have in the end; `plain` is that grid alone.

    >>> whole, left, right = (15.5, 31.5), (15.5, 15.5), (15.5, 47.5)
    >>> Mosaic.of([whole, left, right], [(32, 64), (32, 32), (32, 32)], (32, 64)).shape
    (1, 2)
    """

    rectangles: bytes = field(default=b"", repr=False)  # float64 [T, 4]: centre and extent of each token

    @classmethod
    def of(cls, centres: ArrayLike, extents: ArrayLike, size: tuple[int, int], source: str = CROPS) -> Self:
        """The mosaic of T tokens on the prepared picture (H, W).

        ``centres`` [T, 2] are their middles (y, x) and ``extents`` [T, 2] their heights and widths, in pixels of that
        picture, counted from 0 at their centres; NaN for tokens that show no part of it. The cells are as small as the
        smallest token, and cover the whole picture.

        Raises ModelError for arrays of another shape, sides that are not positive, and where no token has a place.
        """
        middles, sides = np.asarray(centres, np.float64), np.asarray(extents, np.float64)
        if middles.ndim != 2 or middles.shape[1] != 2 or middles.shape != sides.shape:
            got = f"{list(middles.shape)} and {list(sides.shape)}"
            raise ModelError(f"centres and extents of tokens are two arrays [T, 2], got {got}")
        rectangles = np.concatenate([middles, sides], 1)
        rectangles[~np.isfinite(rectangles).all(1)] = np.nan
        placed = rectangles[np.isfinite(rectangles[:, 0])]
        if (placed[:, 2:] <= 0).any():
            raise ModelError(f"a token's height and width are above 0 pixels, got {placed[:, 2:].min():g}")
        if not len(placed):
            raise ModelError(f"none of {len(middles)} tokens has a place on the picture: give centres that are finite")
        smallest = placed[:, 2:].min(0).tolist()
        shape = (_count(size[0], smallest[0]), _count(size[1], smallest[1]))
        even = Grid.half_pixel(shape, size, source)
        made = cls(even.offset, even.stride, shape, size, source, rectangles.tobytes())
        if not made.placed.any():
            raise ModelError(f"all {len(middles)} tokens lie outside of the picture of {size[1]}×{size[0]} pixels")
        return made

    @property
    def plain(self) -> Grid:
        """The grid that maps lie on when they are folded."""
        return Grid(self.offset, self.stride, self.shape, self.size, self.source)

    @property
    def tokens(self) -> tuple[int, int]:
        """The shape (1, T) that maps have before they are folded, as the last two axes of A."""
        return 1, len(self.rectangles) // 32

    @property
    def centres(self) -> NDArray[np.float64]:
        """The middles (y, x) of the tokens on the prepared picture, [T, 2]; NaN for those without a place."""
        return self._rectangles[:, :2]

    @property
    def extents(self) -> NDArray[np.float64]:
        """The heights and widths of the tokens on the prepared picture, [T, 2]; NaN for those without a place."""
        return self._rectangles[:, 2:]

    @property
    def placed(self) -> NDArray[np.bool_]:
        """Which tokens show a part of the picture, bool [T]."""
        return np.asarray(_shares(self, 0).any(1) & _shares(self, 1).any(1))

    def fold(self, maps: Tensor) -> Tensor:
        """Maps of tokens […, 1, T] → maps of cells […, h, w], at least float32; linear.

        Each token's value is spread over the cells under its rectangle by area, as far as it lies on the picture: the
        sum over cells is the sum over tokens that have a place.
        """
        return self._product(maps, self.tokens, self.shape)

    def average(self, maps: Tensor) -> Tensor:
        """What tokens […, 1, T] hold → of cells […, h, w]: the mean of those that show it, by area; 0 where none does.

        So the crops that show a place count alike, whatever the size of their tokens.
        """
        areas = torch.from_numpy(self._areas).to(maps.device)
        weighed = self.fold(maps * areas.to(torch.promote_types(maps.dtype, torch.float32)))
        shown = self.fold(areas.to(weighed)[None])
        return weighed / shown.clamp(min=torch.finfo(shown.dtype).tiny)

    def cover(self, maps: Tensor) -> Tensor:
        """Maps of cells […, h, w] → of tokens […, 1, T], the mean under each token by area; 0 for those of no place.

        Of a set of cells, as 0 and 1, it is the share of each token that shows them. The transpose of `fold`.
        """
        return self._product(maps, self.shape, self.tokens)

    def remainder(self, maps: Tensor) -> Tensor:
        """The share of the sum of |values| of maps of tokens [N, 1, T] that lies on tokens without a place, [N]."""
        sizes = maps.flatten(1).abs().to(torch.promote_types(maps.dtype, torch.float32))
        without = sizes[:, torch.from_numpy(~self.placed).to(maps.device)].sum(1)
        return without / sizes.sum(1).clamp(min=torch.finfo(sizes.dtype).tiny)

    @property
    def _areas(self) -> NDArray[np.float64]:
        """The pixels of the picture that each token shows, [T]."""
        height, width = (_overlaps(self, axis).sum(1) for axis in (0, 1))
        return np.where(self.placed, height * width, 0.0)

    @property
    def _rectangles(self) -> NDArray[np.float64]:
        return np.frombuffer(self.rectangles, np.float64).reshape(-1, 4)

    def _product(self, maps: Tensor, given: tuple[int, int], made: tuple[int, int]) -> Tensor:
        fold = given == self.tokens
        if maps.shape[-2:] != given:
            parts = "tokens" if fold else "cells"
            raise ModelError(f"maps are {list(maps.shape)}, and their {parts} are {list(given)}")
        wide = torch.promote_types(maps.dtype, torch.float32)
        columns = maps.reshape(-1, given[0] * given[1]).to(wide).T
        with torch.autocast(maps.device.type, enabled=False):
            product: Tensor = torch.sparse.mm(_matrix(self, fold, maps.device, wide), columns)
        return product.T.reshape(*maps.shape[:-2], *made)

    def to_dict(self) -> dict[str, Any]:
        """The plain grid's fields: where the tokens were is not kept in files."""
        return self.plain.to_dict()


def _count(side: int, smallest: float) -> int:
    """How many cells of about that side cover a side of the picture, no more than its pixels."""
    return min(max(round(side / smallest), 1), side)


def _shares(mosaic: Mosaic, axis: int) -> NDArray[np.float64]:
    """What each cell has of a token's side, as far as that is on the picture, [T, cells] of sum 1; else zeros."""
    shared = _overlaps(mosaic, axis)
    whole = shared.sum(1, keepdims=True)
    shared[~(whole > LEAST * mosaic.extents[:, axis, None])[:, 0]] = 0
    return np.asarray(shared / np.maximum(whole, np.finfo(np.float64).tiny))


def _overlaps(mosaic: Mosaic, axis: int) -> NDArray[np.float64]:
    """The pixels of its side that each token shares with each row, or column, of cells, [T, cells]."""
    middles, sides = mosaic.centres[:, axis, None], mosaic.extents[:, axis, None]
    edges = mosaic.stride[axis] * np.arange(mosaic.shape[axis] + 1) - 0.5
    shared = np.minimum(middles + sides / 2, edges[1:]) - np.maximum(middles - sides / 2, edges[:-1])
    return np.asarray(np.maximum(np.nan_to_num(shared), 0))


@lru_cache(maxsize=32)
def _matrix(mosaic: Mosaic, fold: bool, device: torch.device, dtype: torch.dtype) -> Tensor:
    """What tokens give to cells, sparse [cells, T], or its transpose."""
    rows, columns = _shares(mosaic, 0), _shares(mosaic, 1)
    down, across = (rows > 0).sum(1), (columns > 0).sum(1)
    number = down * across
    token = np.repeat(np.arange(len(number)), number)
    nth = np.arange(len(token)) - np.repeat(np.cumsum(number) - number, number)
    i = (rows > 0).argmax(1)[token] + nth // across[token]
    j = (columns > 0).argmax(1)[token] + nth % across[token]
    pair = np.stack([i * mosaic.shape[1] + j, token])
    values = torch.from_numpy(rows[token, i] * columns[token, j])
    shape = (mosaic.shape[0] * mosaic.shape[1], len(number))
    if not fold:
        pair, shape = pair[::-1].copy(), shape[::-1]
    made = torch.sparse_coo_tensor(
        torch.from_numpy(pair), values, shape, dtype=dtype, device=device, check_invariants=True
    )
    return made.coalesce()
