"""How the label grid lies on the cells of A: receptive fields again, so that names and heat maps agree."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlx.geometry import Frame, Grid


@dataclass(frozen=True, eq=False)
class Axis:
    """The pixels of the label grid between every two neighbouring cells of one axis: a quad is a run of pixels.

    Run y lies between cells y − 1 and y, runs 0 and h beyond the outermost ones. ``pixels`` [h + 1, L] are the numbers
    of its pixels, padded with −1 to the longest run, ``weights`` [h + 1, L] their places between the two cells, 0 to 1.
    """

    pixels: Tensor
    weights: Tensor


def axis(cells: int, offset: float, stride: float, prepared: int, labels: int) -> Axis:
    """Runs of ``labels`` label pixels that share out ``prepared`` pixels; cell i is centred at offset + stride · i."""
    place = ((np.arange(labels) + 0.5) * prepared / labels - 0.5 - offset) / stride
    run = np.clip(np.floor(place).astype(int) + 1, 0, cells)
    longest = int(np.bincount(run, minlength=cells + 1).max())
    pixels, weights = np.full((cells + 1, longest), -1), np.zeros((cells + 1, longest), np.float32)
    for number in range(cells + 1):
        own = np.flatnonzero(run == number)
        pixels[number, : len(own)] = own
        weights[number, : len(own)] = place[own] - np.floor(place[own])
    return Axis(torch.from_numpy(pixels), torch.from_numpy(weights))


def axes(grid: Grid, labels: tuple[int, int], device: torch.device) -> tuple[Axis, Axis]:
    """The vertical and the horizontal axis of a label grid of ``labels`` (H, W) pixels."""
    found = (axis(grid.shape[n], grid.offset[n], grid.stride[n], grid.size[n], labels[n]) for n in (0, 1))
    vertical, horizontal = (Axis(one.pixels.to(device), one.weights.to(device)) for one in found)
    return vertical, horizontal


def on_grid(labels: NDArray[np.integer], frame: Frame, size: tuple[int, int]) -> NDArray[np.int32]:
    """Labels [channels, H', W'] of a picture on the label grid, int32 [channels, *size]; −1 where no picture is.

    The nearest label to the centre of each pixel. ``frame`` says how the prepared picture lies on the user's; the
    labels share out the user's picture.
    """
    rows, rows_in = _nearest(labels.shape[1], frame, 0, size[0])
    columns, columns_in = _nearest(labels.shape[2], frame, 1, size[1])
    found = labels[:, rows[:, None], columns[None, :]].astype(np.int32)
    found[:, ~(rows_in[:, None] & columns_in[None, :])] = -1
    return found


def _nearest(labels: int, frame: Frame, along: int, count: int) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """For each of ``count`` grid pixels of one axis the nearest label, and whether it shows the picture at all."""
    prepared = (np.arange(count) + 0.5) * frame.prepared[along] / count - 0.5
    picture = frame.scale[along] * prepared + frame.shift[along]
    place = (picture + 0.5) * labels / frame.size[along] - 0.5
    first, stop = frame.window[2 * along : 2 * along + 2]
    there = (prepared >= first - 0.5) & (prepared <= stop - 0.5) & (place > -0.5 - 1e-6) & (place < labels - 0.5 + 1e-6)
    return np.clip(np.ceil(place - 0.5), 0, labels - 1).astype(np.intp), there
