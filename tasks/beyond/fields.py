"""Where cells lie along one axis of what a network reads (frames, rows, positions), found by trying."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

CELLS = 6  # that are tried, spread over the axis, its ends among them
SEEDS = 2  # of noise whose gradients are joined
FAINT = 1e-6  # of the largest gradient
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


def along(look: Look, inputs: Tensor, axis: int) -> Along:
    """Where the cells that ``look`` gives, the last dimension of [N, …, n], lie along ``axis`` of ``inputs`` [1, …].

    Everything before a place is exchanged, and everything from a place on: how far a cell's field reaches is the place
    from which on it answers, by bisection, so that the centre of its field is exact. Fields that reach both ends tell
    nothing: then cells are taken to share the axis out evenly, and ``source`` says that this is assumed.

    >>> along(torch.nn.Conv1d(1, 4, 5, stride=2, padding=2), torch.zeros(1, 1, 64), 2)
    Along(offset=0.0, stride=2.0, source='tried')
    """
    length = inputs.shape[axis]
    ground, other = (_noise(inputs, seed, SEEDS) for seed in (0, 1))
    before, after = look(ground), look(other)
    count = before.shape[-1]
    cells = [n for n in _spread(count) if _moved(after[..., n], before, n)]
    first = _firsts(look, ground, other, axis, cells)
    turned = _firsts(lambda x: look(x.flip(axis)), ground.flip(axis), other.flip(axis), axis, cells)
    return _line({n: (low, length - 1 - up) for n, low, up in zip(cells, first, turned, strict=True)}, length, count)


def by_gradient(look: Look, inputs: Tensor, axes: tuple[int, ...]) -> list[Along]:
    """As `along`, of all ``axes`` of inputs and of A at once: a cell's field is where its gradient is not zero.

    ``look``: inputs [1, …] → A, with as many dimensions, differentiable. A few runs there and back, however long the
    axes are: for large networks on numbers.
    """
    fields: list[dict[int, tuple[int, int]]] = [{} for _ in axes]
    with torch.inference_mode(False), torch.enable_grad():
        for seed in range(SEEDS):
            given = _noise(inputs, seed, 1).requires_grad_()
            A = look(given)
            mix = torch.randn(A.shape[1], generator=torch.Generator().manual_seed(seed), dtype=torch.double).to(A)
            for part in (0.0, 0.5, 1.0):
                cell = [round(part * (A.shape[axis] - 1)) for axis in axes]
                score = mix @ A[0].flatten(1)[:, int(np.ravel_multi_index(cell, A.shape[2:]))]
                reached = torch.autograd.grad(score, given, retain_graph=True)[0].abs()
                for field, axis, n in zip(fields, axes, cell, strict=True):
                    some = reached.movedim(axis, 0).flatten(1).amax(1) > FAINT * reached.max()
                    where = some.nonzero().flatten().tolist() or [inputs.shape[axis], -1]
                    low, high = field.get(n, (inputs.shape[axis], -1))
                    field[n] = min(low, where[0]), max(high, where[-1])
    seen = [{n: span for n, span in field.items() if span[1] >= 0} for field in fields]
    return [_line(field, inputs.shape[axis], A.shape[axis]) for field, axis in zip(seen, axes, strict=True)]


def _line(fields: dict[int, tuple[int, int]], length: int, count: int) -> Along:
    """The line through the middles of cells' fields, of some of ``count`` cells along ``length`` places."""
    begins = {n: low for n, (low, _) in fields.items() if low > 0}
    ends = {n: high for n, (_, high) in fields.items() if high < length - 1}
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
