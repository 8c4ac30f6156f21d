"""How the label grid lies on the cells of A: receptive fields again, so that names and heat maps agree."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlx.pictures.placement import Frame, Grid


@dataclass(frozen=True, eq=False)
class QuadAxis:
    """The pixels of the label grid between every two neighbouring cells of one axis: a quad is a run of pixels.

    Run y lies between cells y − 1 and y, runs 0 and h beyond the outermost ones. ``pixels`` [h + 1, L] are the numbers
    of its pixels, ``weights`` [h + 1, L] their places between the two cells, 0 to 1. Runs shorter than the longest are
    filled up with pixel 0 at weight nan: no value there exceeds a threshold.
    """

    pixels: Tensor
    weights: Tensor


@dataclass(frozen=True, eq=False)
class Quads:
    """Both axes together. Quad (y, x) lies between four cells and has number y · (w + 1) + x.

    ``pixels`` int64 [(h + 1)(w + 1), L · L′] are the numbers of its pixels on a label grid of ``size`` (S, S′), row by
    row; ``down`` [h + 1, L] and ``right`` [w + 1, L′] their weights.
    """

    pixels: Tensor
    down: Tensor
    right: Tensor
    size: tuple[int, int]


def axis(cells: int, offset: float, stride: float, prepared: int, labels: int) -> QuadAxis:
    """Runs of ``labels`` label pixels that share out ``prepared`` pixels; cell i is centred at offset + stride · i."""
    place = ((np.arange(labels) + 0.5) * prepared / labels - 0.5 - offset) / stride
    run = np.clip(np.floor(place).astype(int) + 1, 0, cells)
    longest = int(np.bincount(run, minlength=cells + 1).max())
    pixels, weights = np.zeros((cells + 1, longest), np.int64), np.full((cells + 1, longest), np.nan, np.float32)
    for number in range(cells + 1):
        inside = np.flatnonzero(run == number)
        pixels[number, : len(inside)] = inside
        weights[number, : len(inside)] = place[inside] - np.floor(place[inside])
    return QuadAxis(torch.from_numpy(pixels), torch.from_numpy(weights))


def quads(grid: Grid, labels: tuple[int, int], device: torch.device) -> Quads:
    """The quads of a grid of cells on a label grid of ``labels`` (S, S′) pixels."""
    rows, columns = (axis(grid.shape[n], grid.offset[n], grid.stride[n], grid.size[n], labels[n]) for n in (0, 1))
    pixels = rows.pixels[:, None, :, None] * labels[1] + columns.pixels[None, :, None, :]
    return Quads(
        pixels.flatten(0, 1).flatten(1).contiguous().to(device),
        rows.weights.to(device),
        columns.weights.to(device),
        labels,
    )


def on_grid(labels: NDArray[np.integer], frame: Frame, size: tuple[int, int]) -> NDArray[np.int32]:
    """Labels [channels, H', W'] of a picture on the label grid, int32 [channels, *size]; −1 where no picture is.

    The nearest label to the centre of each pixel. ``frame`` says how the prepared picture lies on the user's; the
    labels share out the user's picture.
    """
    rows, rows_in = _nearest(labels.shape[1], frame, 0, size[0])
    columns, columns_in = _nearest(labels.shape[2], frame, 1, size[1])
    laid = labels[:, rows][:, :, columns].astype(np.int32)
    laid[:, ~rows_in] = -1
    laid[:, :, ~columns_in] = -1
    return laid


def _nearest(labels: int, frame: Frame, along: int, count: int) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """For each of ``count`` grid pixels of one axis the nearest label, and whether it shows the picture at all."""
    prepared = (np.arange(count) + 0.5) * frame.prepared[along] / count - 0.5
    picture = frame.scale[along] * prepared + frame.shift[along]
    place = (picture + 0.5) * labels / frame.size[along] - 0.5
    first, stop = frame.window[2 * along : 2 * along + 2]
    there = (prepared >= first - 0.5) & (prepared <= stop - 0.5) & (place > -0.5 - 1e-6) & (place < labels - 0.5 + 1e-6)
    return np.clip(np.ceil(place - 0.5), 0, labels - 1).astype(np.intp), there
