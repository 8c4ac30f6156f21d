"""Where cells lie along one axis of what a network reads (frames, rows, positions), found by trying."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

CELLS = 6  # that are tried, spread over the axis, its ends among them
NOISE = 1e-5  # of the largest number of a map: less is the rounding of another batch
ASSUMED = "half-pixel (assumed)"

Look = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Along:
    """Cell n of an axis is centred at offset + stride · n of what the network reads; ``source``: how that was found."""

    offset: float
    stride: float
    source: str = "tried"

    def even(self, cells: int, length: int, most: float = 0.25) -> "Along | None":
        """The same cells sharing ``length`` out evenly, about the same middle; None if that moves one too far.

        ``most`` is in strides. So frames under one another have cells in steps that are the same from frame to frame.
        """
        middle, stride = (cells - 1) / 2, length / cells
        if abs(self.stride - stride) * middle > most * self.stride:
            return None
        return replace(self, offset=self.offset + (self.stride - stride) * middle, stride=stride)


def along(look: Look, inputs: Tensor, axis: int, *, draws: int = 2) -> Along:
    """Where the cells that ``look`` gives, the last dimension of [N, …, n], lie along ``axis`` of ``inputs`` [1, …].

    Everything before a place is exchanged, and everything from a place on: how far a cell's field reaches is the place
    from which on it answers, by bisection, so that the centre of its field is exact. Fields that reach both ends tell
    nothing: then cells are taken to share the axis out evenly, and ``source`` says that this is assumed.

    >>> along(torch.nn.Conv1d(1, 4, 5, stride=2, padding=2), torch.zeros(1, 1, 64), 2)
    Along(offset=0.0, stride=2.0, source='tried')
    """
    length = inputs.shape[axis]
    ground, other = (_noise(inputs, seed, draws) for seed in (0, 1))
    before, after = look(ground), look(other)
    count = before.shape[-1]
    cells = [n for n in _spread(count) if _moved(after[..., n], before, n)]
    first = _firsts(look, ground, other, axis, cells)
    turned = _firsts(lambda x: look(x.flip(axis)), ground.flip(axis), other.flip(axis), axis, cells)
    begins = {n: edge for n, edge in zip(cells, first, strict=True) if edge > 0}
    ends = {n: length - 1 - edge for n, edge in zip(cells, turned, strict=True) if edge > 0}
    slopes = [slope for edges in (begins, ends) if (slope := _slope(edges)) > 0]
    if not begins or not ends or not slopes:
        return Along(length / count / 2 - 0.5, length / count, ASSUMED)
    stride = float(np.mean(slopes))
    offsets = [np.median([edge - stride * n for n, edge in edges.items()]) for edges in (begins, ends)]
    return Along(float(np.mean(offsets)), stride)


def _spread(count: int) -> list[int]:
    """Some of the cells 0 … count − 1, the first and the last among them."""
    return sorted({round(place) for place in np.linspace(0, count - 1, CELLS)})


def _slope(edges: dict[int, int]) -> float:
    """How far the edge of a cell's field goes on from one cell to the next; 0 where one cell alone tells."""
    (low, start), (high, stop) = min(edges.items(), default=(0, 0)), max(edges.items(), default=(0, 0))
    return (stop - start) / (high - low) if high > low else 0.0


def _moved(there: Tensor, before: Tensor, cell: int) -> bool:
    return bool((there - before[..., cell]).abs().max() > NOISE * before.abs().max())


def _firsts(look: Look, ground: Tensor, other: Tensor, axis: int, cells: list[int]) -> list[int]:
    """The first place that each of the cells answers to."""
    before, length = look(ground), ground.shape[axis]
    spans = [(0, length) for _ in cells]  # a prefix exchanged so far leaves the cell as it was, or moves it
    places = torch.arange(length, device=ground.device).view(-1, *[1] * (ground.ndim - axis - 1))
    while any(high - low > 1 for low, high in spans):
        middles = [(low + high) // 2 for low, high in spans]
        given = look(torch.cat([torch.where(places < middle, other, ground) for middle in middles]))
        for n, (cell, middle) in enumerate(zip(cells, middles, strict=True)):
            moved = _moved(given[n * len(ground) : (n + 1) * len(ground), ..., cell], before, cell)
            spans[n] = (spans[n][0], middle) if moved else (middle, spans[n][1])
    return [low for low, _ in spans]


def _noise(inputs: Tensor, seed: int, draws: int) -> Tensor:
    """Noise [draws, …] about as large as the inputs."""
    generator = torch.Generator().manual_seed(seed)
    spread = float(inputs.double().std(correction=0)) or max(float(inputs.double().abs().max()), 1.0)
    noise = torch.randn(draws, *inputs.shape[1:], generator=generator, dtype=torch.double)
    return (float(inputs.double().mean()) + spread * noise).to(inputs)
