"""Where the cells of A are on the prepared picture, for any vision part: `Tracer`, `trace_grid`."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlx.errors import ModelError
from vlx.following import Follower
from vlx.frames import mean_colour, measure_frame
from vlx.geometry import Grid, Pair

__all__ = ["Tracer", "mean_colour", "measure_frame", "trace_grid"]

FeatureFunction = Callable[[Tensor], Tensor]

SEEDS = 4  # random pictures whose gradients are averaged
PROBED = 5  # cells an axis whose gradients are taken


class Tracer:
    """Runs a vision part and says where the cells of its A are; the geometry is found once for each picture size."""

    def __init__(self) -> None:
        self._grids: dict[tuple[int, int], Grid] = {}

    def run(self, features: FeatureFunction, inputs: Tensor) -> tuple[Tensor, Grid]:
        """Pictures [B, 3, H, W] → A = features(inputs) [B, K, h, w], as it is without a tracer, and its grid.

        Raises ModelError when A is not [B, K, h, w].
        """
        size = (inputs.shape[-2], inputs.shape[-1])
        grid = self._grids.get(size)
        if grid is not None:
            A = _checked(features(inputs), len(inputs))
            if grid.shape == tuple(A.shape[-2:]):
                return A, grid
        follower = Follower(inputs)
        with follower:
            A = features(inputs)
        _checked(A, len(inputs))
        grid = follower.grid(A, size) or _probed(features, inputs, (A.shape[-2], A.shape[-1]))
        self._grids[size] = grid
        return A, grid


def trace_grid(
    features: FeatureFunction,
    size: tuple[int, int],
    *,
    channels: int = 3,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Grid:
    """Where the cells of ``features``' output [1, K, h, w] are, for pictures [1, channels, H, W] of ``size`` (H, W).

    The picture's way through the layers is followed once, without a graph; strides, paddings and dilations add up to
    the centre of each cell's receptive field:

    >>> trace_grid(torch.nn.Conv2d(3, 8, 7, stride=4, padding=3), (64, 96)).stride
    (4.0, 4.0)

    ``source`` tells how it was found: "layers…"; "gradient" when the way was lost and the centroids of the pixel
    gradient of some cells were taken; "half-pixel (assumed)" when that failed too. Raises ModelError as `Tracer.run`.
    """
    generator = torch.Generator().manual_seed(0)
    picture = torch.rand(1, channels, *size, generator=generator).to(device, dtype)
    with torch.no_grad():
        return Tracer().run(features, picture)[1]


def _checked(A: Any, batch: int) -> Tensor:
    if isinstance(A, Tensor) and A.ndim == 4 and len(A) == batch:
        return A
    given = list(A.shape) if isinstance(A, Tensor) else type(A).__name__
    raise ModelError(
        f"the vision part must turn pictures [{batch}, 3, H, W] into A [{batch}, K, h, w]; it gave {given}"
    )


# Where the way through the layers is lost: the pixel gradient of some cells.


def _probed(features: FeatureFunction, inputs: Tensor, shape: tuple[int, int]) -> Grid:
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
    if lines[0] is None or lines[1] is None:
        return plain
    return Grid((lines[0][0], lines[1][0]), (lines[0][1], lines[1][1]), shape, size, "gradient")


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
            rows, columns = (torch.arange(side, dtype=torch.double) for side in gradient.shape)
            total = gradient.sum()
            centres.append(((gradient.sum(1) @ rows / total).item(), (gradient.sum(0) @ columns / total).item()))
    return np.array(centres)
