"""A region of a picture, and the mean of a dense output over it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vlx.errors import InputError, ModelError
from vlx.pictures.placement import Grid, Placement


@dataclass(frozen=True, eq=False)
class RegionMean:
    """Shares [H', W'] of the cells of a dense output in a region; their sum is 1.

    ``leaf`` and ``model`` are for the refusal of what is no dense output.

    >>> RegionMean(torch.tensor([[0.5, 0.5], [0.0, 0.0]])).mean(torch.ones(1, 3, 2, 2))
    tensor([[1., 1., 1.]])
    """

    shares: Tensor

    def mean(self, output: Any) -> Tensor:
        """[B, C, H', W'] → the mean of each class over the region, [B, C]; of another size as if it was resized."""
        scores, shares = dense(output), self.shares
        if scores.shape[2:] != shares.shape:
            shares = nn.functional.interpolate(shares[None, None], scores.shape[2:], mode="area")[0, 0]
            shares = shares / shares.sum()
        return torch.einsum("bchw,hw->bc", scores, shares.to(scores))


def dense(output: Any) -> Tensor:
    """What a model returned, if it is dense. Raises ModelError with the remedy."""
    if isinstance(output, Tensor) and output.ndim == 4 and output.is_floating_point():
        return output
    told = list(output.shape) if isinstance(output, Tensor) else type(output).__name__
    raise ModelError(f"a dense output is floats [B, C, H, W], got {told}; say which part is meant with leaf='out', …")


def laid(traced: Grid) -> Grid:
    """Where the cells of a dense output are, of the grid that layers tell: sharing the picture out, if they cover it.

    An output is trained on labels that do; what its cells see may lie a little aside. Layers without padding leave a
    border out: then the cells are where layers have them.
    """
    sides = zip(traced.size, traced.stride, traced.shape, strict=True)
    covers = all(abs(size - step * count) < step for size, step, count in sides)
    return Grid.half_pixel(traced.shape, traced.size, "labels") if covers else traced


def as_mask(where: Any, size: tuple[int, int]) -> NDArray[np.bool_]:
    """``where`` of `vlx.explain` as bool [H, W] on a picture of ``size``.

    Raises InputError where it is another shape, holds more than yes and no, or is empty.
    """
    values = np.asarray(where.detach().cpu() if isinstance(where, Tensor) else where)
    if values.shape != size:
        raise InputError(
            f"where has shape {values.shape}, the picture is {size[0]} rows of {size[1]} pixels: give a bool mask "
            f"[{size[0]}, {size[1]}] on the picture as you have it"
        )
    if values.dtype.kind not in "biuf" or not set(np.unique(values)[:3].tolist()) <= {0, values.max()}:
        raise InputError("where holds more than yes and no: of a map of class numbers give where=(classes == 7)")
    if not values.any():
        raise InputError("where is empty: not one pixel of the mask is set; leave it out for the pixels of the answer")
    return np.asarray(values, bool)


def shares(mask: NDArray[np.bool_], placement: Placement) -> NDArray[np.float64]:
    """The share of a mask's pixels [H, W] that lies in each cell of a dense output, [H', W'], of sum 1.

    Raises InputError where the model sees none of them.
    """
    rows, columns = np.nonzero(mask & placement.visible())
    if not len(rows):
        raise InputError("where lies outside of what the model sees: prepare crops it off; choose pixels it sees")
    grid, frame = placement.grid, placement.frame
    cells = [
        np.rint((frame.prepared_at(axis, pixels) - grid.offset[axis]) / grid.stride[axis]).astype(int)
        for axis, pixels in enumerate((rows, columns))
    ]
    counts = np.zeros(grid.shape)
    np.add.at(counts, tuple(np.clip(at, 0, side - 1) for at, side in zip(cells, grid.shape, strict=True)), 1)
    return np.asarray(counts / counts.sum())
