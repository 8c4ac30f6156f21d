"""A picture changed: blank, shuffled, turned, or with a box of it hidden."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
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
