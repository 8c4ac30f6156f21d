"""A picture changed: blank, shuffled, turned, blurred, with a box of it hidden, or with pixels filled in."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from vlx.pictures.placement import Grid

MADE = ("median colour", "tiles shuffled", "pixels shuffled", "channels permuted", "inverted")
TILES = 8  # along each side
GRAIN = 12  # pixels of a blotch of the noise

Box = tuple[int, int, int, int]  # top, bottom, left, right; the last row and column are not in it


def median_picture(picture: Image.Image) -> Image.Image:
    """A picture of the same size in the picture's median colour, channel by channel."""
    return _like(picture, np.broadcast_to(np.median(np.asarray(picture), (0, 1)), np.asarray(picture).shape))


def made_of(picture: Image.Image) -> dict[str, Image.Image]:
    """The five references made of one picture [H, W], by name; those that come out as the picture itself are left out.

    What is shuffled is fixed by the picture alone; no random state is touched. Tiles are 1/8 of each side; the pixels
    that remain at the right and the bottom stay where they are.

    >>> list(made_of(Image.new("RGB", (64, 64), "red")))
    ['channels permuted', 'inverted']
    """
    pixels = np.asarray(picture)
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(pixels.tobytes()).digest()[:8], "little"))
    edited = {
        "median colour": np.asarray(median_picture(picture)),
        "tiles shuffled": _tiles_shuffled(pixels, rng),
        "pixels shuffled": rng.permutation(pixels.reshape(-1, pixels.shape[2])).reshape(pixels.shape),
        "channels permuted": np.roll(pixels, 1, 2),
        "inverted": 255 - pixels,
    }
    return {name: _like(picture, one) for name, one in edited.items() if not np.array_equal(one, pixels)}


def _tiles_shuffled(pixels: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    height, width = (side // TILES for side in pixels.shape[:2])
    whole = pixels[: TILES * height, : TILES * width]
    tiles = whole.reshape(TILES, height, TILES, width, -1).swapaxes(1, 2).reshape(TILES**2, height, width, -1)
    mixed = rng.permutation(tiles).reshape(TILES, TILES, height, width, -1).swapaxes(1, 2)
    shuffled = pixels.copy()
    shuffled[: TILES * height, : TILES * width] = mixed.reshape(whole.shape)
    return shuffled


def _like(picture: Image.Image, pixels: NDArray[Any]) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(pixels, np.uint8), picture.mode)


def unlike(picture: Image.Image) -> tuple[Image.Image, ...]:
    """Four pictures of the same size that a model should not take for this one; never drawn at random."""
    noise = np.random.default_rng(0).integers(0, 256, (*(side // GRAIN + 1 for side in picture.size[::-1]), 3))
    red, green, blue = picture.split()
    soft = Image.fromarray(noise.astype(np.uint8)).resize(picture.size, Image.Resampling.BILINEAR)
    turned = picture.transpose(Image.Transpose.ROTATE_180)
    return soft, turned, Image.merge("RGB", (blue, red, green)), ImageOps.mirror(ImageOps.invert(picture))


def sideways(picture: Image.Image) -> Image.Image:
    """The picture turned by a quarter, and a third of its shorter side cut off: of another shape, and never square.

    >>> sideways(Image.new("RGB", (90, 60))).size, sideways(Image.new("RGB", (60, 60))).size
    ((40, 90), (40, 60))
    """
    turned = picture.transpose(Image.Transpose.ROTATE_90)
    w, h = turned.size
    return turned.crop((0, 0, max(w * 2 // 3, 1), h) if w <= h else (0, 0, w, max(h * 2 // 3, 1)))


def box_around(grid: Grid, cell: tuple[int, int], patch: float) -> Box:
    """(top, bottom, left, right) of the patch around a cell, in pixels of the prepared picture, last ones not in it."""
    top, bottom, left, right = (
        round(grid.offset[axis] + grid.stride[axis] * (cell[axis] + sign * patch / 2) + 0.5)
        for axis in (0, 1)
        for sign in (-1, 1)
    )
    return top, bottom, left, right


def hidden(inputs: Tensor, filling: Tensor, boxes: Sequence[Box]) -> Tensor:
    """One prepared picture [C, H, W] once for each box, with ``filling`` [C, H, W] in that box: [boxes, C, H, W].

    Boxes may stand out over the picture's edge.
    """
    pictures = inputs.repeat(len(boxes), 1, 1, 1)
    for picture, (top, bottom, left, right) in zip(pictures, boxes, strict=True):
        square = np.s_[:, max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
        picture[square] = filling[square]
    return pictures


def taken_from(inputs: Tensor, other: Tensor, pixels: NDArray[np.intp]) -> Tensor:
    """A prepared picture [C, H, W] with some pixels, by number in raster order, taken from another such one."""
    edited, numbers = inputs.clone(), torch.from_numpy(np.ascontiguousarray(pixels)).to(inputs.device)
    edited.flatten(1)[:, numbers] = other.flatten(1)[:, numbers]
    return edited


def blurred(inputs: Tensor, window: Box, sigma: float) -> Tensor:
    """A prepared picture [C, H, W] blurred by a Gaussian of ``sigma`` pixels inside ``window``; the rest stays."""
    from scipy.ndimage import gaussian_filter

    made, (top, bottom, left, right) = inputs.clone(), window
    part = made[:, top:bottom, left:right]
    soft = gaussian_filter(part.double().cpu().numpy(), (0, sigma, sigma), mode="nearest")
    part.copy_(torch.from_numpy(soft))
    return made


NEIGHBOURS = {  # of a pixel, by offset (down, right): their weights in 2202.00449
    (down, right): 1 / 12 if down and right else 1 / 6
    for down in (-1, 0, 1)
    for right in (-1, 0, 1)
    if (down, right) != (0, 0)
}


def imputed(pixels: NDArray[np.floating], gone: NDArray[np.bool_]) -> NDArray[np.float64]:
    """A picture [C, H, W] with the pixels of ``gone`` [H, W] filled in from those around them: float64 [C, H, W].

    Each becomes the weighted mean of its eight neighbours, those that are gone, too, all at once (linear imputation,
    Rong et al. 2202.00449; without its noise). Some pixel must be left.

    >>> imputed(np.array([[[0.0, 9.0, 1.0]]]), np.array([[False, True, False]]))
    array([[[0. , 0.5, 1. ]]])
    """
    from scipy.sparse import coo_array
    from scipy.sparse.linalg import splu

    filled, (rows, columns) = np.array(pixels, np.float64), np.nonzero(gone)
    if not len(rows):
        return filled
    number = np.full(gone.shape, -1)
    number[rows, columns] = np.arange(len(rows))
    total, known = np.zeros(len(rows)), np.zeros((len(rows), len(filled)))
    entries: list[tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]] = []
    for (down, right), weight in NEIGHBOURS.items():
        y, x = rows + down, columns + right
        (inside,) = np.nonzero((y >= 0) & (y < gone.shape[0]) & (x >= 0) & (x < gone.shape[1]))
        y, x = y[inside], x[inside]
        total[inside] += weight
        there = number[y, x] < 0
        known[inside[there]] += weight * filled[:, y[there], x[there]].T
        entries.append((inside[~there], number[y[~there], x[~there]], np.full((~there).sum(), -weight)))
    entries.append((np.arange(len(rows)), np.arange(len(rows)), total))
    at, of, weights = (np.concatenate(parts) for parts in zip(*entries, strict=True))
    system = coo_array((weights, (at, of)), shape=(len(rows), len(rows))).tocsc()
    solved = splu(system, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True}).solve(known)
    filled[:, rows, columns] = solved.T
    return filled


def value_range(
    prepare: Callable[[Image.Image], Tensor], picture: Image.Image, inputs: Tensor
) -> tuple[Tensor, Tensor]:
    """The least and the greatest value of each channel [C] of prepared pictures of this size: of black and of white.

    Where these do not differ, as where each picture is normalised by itself, those of the picture's own ``inputs``.
    """
    plain = [prepare(Image.new("RGB", picture.size, colour)) for colour in ("black", "white")]
    ends = torch.stack([end.flatten(1).median(1).values for end in plain]) if plain[0].is_floating_point() else None
    own = torch.stack([inputs.flatten(1).amin(1), inputs.flatten(1).amax(1)])
    if ends is None or ends.shape != own.shape:
        return own[0], own[1]
    ends = ends.to(own)
    ends = torch.where((ends[0] != ends[1]) & ends.isfinite().all(0), ends, own)
    return ends.amin(0), ends.amax(0)
