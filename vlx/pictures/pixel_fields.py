"""Where cells look, by their pixel gradient: where layers do not tell it, and where they tell it wrongly.

A cell's field is centred by its layers' windows, but what a cell looks at is up to its weights. In trained networks
whose fields are many cells wide the two come apart: TensorFlow's padding puts the last cell of EfficientNet on the
picture's edge, and its weights look half a cell up and left of there (``python -m benchmarks.placement``).
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlx.pictures.placement import Grid, Pair

SEEDS = 4  # random pictures whose gradients are averaged
NEARLY = 0.15  # of a stride; cells this near to where patches would be are patches
PROBED = 5  # cells an axis whose gradients are taken
WIDE = 8  # cells; fields narrower than this leave their weights little room to look elsewhere
ASIDE = 0.25  # of a stride; cells that look further than this from the middle of their fields are where they look
FEWEST = 6  # cells an axis: with fewer, the picture's borders cut into all fields alike

FeatureFunction = Callable[[Tensor], Tensor]


def measured(features: FeatureFunction, inputs: Tensor, grid: Grid) -> Grid:
    """A grid of cells with wide fields, moved to where they look if that is not where their layers say.

    The four cells in the middle are asked, each on a picture of its own: the centroid of the moduli of the pixel
    gradient of a random mix of its units. Soft noise stands for pictures: trained networks look at the same places in
    photographs. The grid is given back as it is when both agree within a quarter of a cell, when there are fewer than
    six cells an axis, and where no gradient comes through.
    """
    if min(grid.shape) < FEWEST:
        return grid
    try:
        looked = _looked(features, inputs, grid)
    except RuntimeError:  # no gradient comes through
        return grid
    aside = np.abs(looked - grid.offset) / grid.stride
    if not np.isfinite(looked).all() or not 1 > aside.max() > ASIDE:
        return grid
    return replace(grid, offset=(float(looked[0]), float(looked[1])), source=f"measured, not by the {grid.source}")


def _looked(features: FeatureFunction, inputs: Tensor, grid: Grid) -> NDArray[np.float64]:
    """The offset (vertical, horizontal) of the grid by the gradients of its middle cells."""
    generator = torch.Generator().manual_seed(0)
    offsets = []
    with torch.inference_mode(False), torch.enable_grad():
        for n in range(SEEDS):
            picture = _soft(inputs.shape[1:], generator).to(inputs.device, inputs.dtype).requires_grad_()
            A = features(picture)
            cell = [(side - 1 + one) // 2 for side, one in zip(grid.shape, divmod(n % 4, 2), strict=True)]
            mix = torch.randn(A.shape[1], generator=generator).to(A.device, A.dtype)
            gradient = torch.autograd.grad((A[0, :, cell[0], cell[1]] * mix).sum(), picture)[0]
            centre = _centroid(gradient.double().abs().sum((0, 1)).cpu())
            offsets.append([at - stride * place for at, stride, place in zip(centre, grid.stride, cell, strict=True)])
    mean: NDArray[np.float64] = np.array(offsets).mean(0)
    return mean


def _soft(shape: torch.Size, generator: torch.Generator) -> Tensor:
    """Noise [1, C, H, W] with the spectrum of photographs, power as 1 / f², of mean 0 and spread 1."""
    rows, columns = shape[-2:]
    waves = torch.fft.rfft2(torch.randn(1, *shape, generator=generator))
    far = torch.fft.fftfreq(rows)[:, None] ** 2 + torch.fft.rfftfreq(columns)[None] ** 2
    noise = torch.fft.irfft2(waves / (far + 1 / (rows * columns)).sqrt(), s=(rows, columns))
    soft: Tensor = (noise - noise.mean()) / noise.std()
    return soft


def _centroid(weights: Tensor) -> Pair:
    rows, columns = (torch.arange(side, dtype=torch.double) for side in weights.shape)
    total = weights.sum()
    return (weights.sum(1) @ rows / total).item(), (weights.sum(0) @ columns / total).item()


# Where the way through the layers is lost: the pixel gradient of some cells.


def probed(features: FeatureFunction, inputs: Tensor, shape: tuple[int, int]) -> Grid:
    """The grid fitted to the centroids of the pixel gradient; the half-pixel rule where that is no straight line."""
    size = (inputs.shape[-2], inputs.shape[-1])
    plain = Grid.half_pixel(shape, size)
    if min(shape) < 3:
        return plain
    steps = np.linspace(0.25, 0.75, PROBED)
    places = [(round(float(step) * (shape[0] - 1)), round(float(step) * (shape[1] - 1))) for step in steps]
    try:
        centres = _centroids(features, inputs, places)
    except RuntimeError:  # no gradient comes through
        return plain
    lines = [_line(np.array(places)[:, axis], centres[:, axis], size[axis] / shape[axis]) for axis in (0, 1)]
    first, second = lines
    if first is None or second is None:
        return plain
    if _patches(first, plain, 0) and _patches(second, plain, 1):
        return replace(plain, source="gradient")
    return Grid((first[0], second[0]), (first[1], second[1]), shape, size, "gradient")


def _patches(line: Pair, plain: Grid, axis: int) -> bool:
    """Whether cells are where patches would be, but for what borders and chance pull the centroids about."""
    return line[1] == plain.stride[axis] and abs(line[0] - plain.offset[axis]) < NEARLY * line[1]


def _line(cells: NDArray[Any], centres: NDArray[np.float64], even: float) -> Pair | None:
    """(offset, stride) of one axis; None if the centres are in no order or far from ``even`` strides."""
    first, second = (pair for pair in np.triu_indices(len(cells), 1))
    apart = cells[second] != cells[first]
    stride = float(np.median((centres[second] - centres[first])[apart] / (cells[second] - cells[first])[apart]))
    if not 0.7 < stride / even < 1.3:  # NaN too
        return None
    power = 2.0 ** round(math.log2(stride))
    stride = power if 0.78 < stride / power < 1.15 else stride  # the picture's borders cut fields and pull centres in
    offsets = centres - stride * cells
    return (float(np.median(offsets)), stride) if np.ptp(offsets) < stride else None


def _centroids(features: FeatureFunction, inputs: Tensor, places: list[tuple[int, int]]) -> NDArray[np.float64]:
    """Centroid [places, 2] of the squared pixel gradient of each cell: squares are less cut by borders than moduli."""
    generator = torch.Generator().manual_seed(0)
    centres = []
    with torch.inference_mode(False), torch.enable_grad():
        pictures = torch.randn(SEEDS, *inputs.shape[1:], generator=generator).to(inputs.device, inputs.dtype)
        A = features(pictures.requires_grad_())
        mix = torch.randn(A.shape[:2], generator=generator).to(A.device, A.dtype)
        for i, j in places:
            score = (A[:, :, i, j] * mix).sum()
            gradient = torch.autograd.grad(score, pictures, retain_graph=True)[0].double().square().sum((0, 1)).cpu()
            centres.append(_centroid(gradient))
    return np.array(centres)
