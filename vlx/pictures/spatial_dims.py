"""Which dimensions of a tensor are places, found by trying.

Bands of a noise picture are changed one by one, across it and along it. A cell that is a place answers to the bands
that cross there and to no others; an entry that is none (a unit, a class token) answers to all of them alike. How well
the answers of all cells agree with where a layout has them is one number, and the layout that agrees best is taken.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlx.pictures.tensor_layout import Layout

Array = NDArray[np.float64]
Look = Callable[[Tensor], Any]

EXTRA = 12  # tokens that are no cells, at most, before and after the cells together
BANDS = {"map": 4, "tokens": 8}  # across the picture, and as many along it
AGREES = 0.3  # correlation, on each axis, of a layout that has its cells in their places,
LOCAL, MIXED = 0.6, 0.25  # parts of a tensor whose answers are each of one band, or of all alike
CHANCE = 0.5  # and so much more over the root of their number, for few cells agree by chance
FEWEST = 4  # cells that can be tried
BETTER = 0.02  # how far the best layout must be above every other
OBLONG = 3.0  # the most that a cell of several rows and columns is longer than wide, or the reverse
LIKE = 1.15  # up to this it counts as square,
SQUARE = 0.1  # which is worth so much of a correlation


@dataclass(frozen=True, eq=False)
class BandAnswers:
    """How a tensor answered to changed bands of a picture: squared changes [bands, …], those across the picture first.

    ``shape`` is the tensor's, ``batch`` its dimension of pictures; ``entries``: how much single entries, no sums of
    them, are for a band each (0 not at all, 1 wholly; what answers by chance comes to a third).
    """

    changes: tuple[Tensor, ...]
    shape: tuple[int, ...]
    batch: int
    bands: int
    entries: float = 0.0

    def of(self, units: int) -> Array:
        """Each place's shares of the bands, [2, bands, places…]: 1 in all for a place that answers at all, else 0."""
        summed = self.changes[[dim for dim in range(len(self.shape)) if dim != self.batch].index(units)]
        both = summed.double().cpu().numpy().reshape(2, self.bands, *summed.shape[1:])
        total = both.sum(1, keepdims=True)
        shares: Array = np.divide(both, total, out=np.zeros_like(both), where=total > 0)
        return shares

    @property
    def scrambled(self) -> bool:
        """Whether its entries are places, but its cells, read as [B, K, h, w], are none."""
        if self.batch != 0 or len(self.shape) != 4:
            return False
        cells = _selective(self.of(1))
        return cells < MIXED and max(self.entries, _selective(self.of(2)), _selective(self.of(3))) > LOCAL


def _selective(shares: Array) -> float:
    """How far the shares of places that answer are from even, on average: 0 all alike, 1 one band each."""
    alive = shares.sum(1) > 0
    bands = shares.shape[1]
    unevenness = np.square(shares - 1 / bands).sum(1)[alive] / (1 - 1 / bands)
    return float(unevenness.mean()) if unevenness.size else 0.0


def banded(inputs: Tensor, bands: int) -> Tensor:
    """A noise picture [1, C, H, W] like ``inputs``, and 2 · ``bands`` more, a band across or along it changed."""
    generator = torch.Generator().manual_seed(0)
    picture = inputs[:1].detach().double().cpu()
    mean, spread = picture.mean(), picture.std()
    spread = spread if spread > 1e-3 * picture.abs().max() > 0 else picture.abs().max().clamp(min=1.0)
    # Noise of every grain: a large one comes through pooling, a small one through what looks for edges.
    ground, other = (mean + spread * _noise(picture.shape[1:], generator) for _ in range(2))
    pictures = ground.expand(2 * bands + 1, -1, -1, -1).clone()
    for axis in (0, 1):
        for band in range(bands):
            first, stop = (round(picture.shape[2 + axis] * edge / bands) for edge in (band, band + 1))
            where = (slice(None), slice(first, stop)) if axis == 0 else (slice(None), slice(None), slice(first, stop))
            pictures[1 + axis * bands + band][where] = other[where]
    return pictures.to(inputs)


def _noise(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    total = torch.zeros(*shape, dtype=torch.double)
    for grain in (1, 4, 16):
        few = [math.ceil(side / grain) for side in shape[1:]]
        noise = torch.randn(shape[0], *few, generator=generator, dtype=torch.double)
        total += noise.repeat_interleave(grain, 1).repeat_interleave(grain, 2)[:, : shape[1], : shape[2]]
    return total / math.sqrt(3)


def answers(whole: Tensor, batch: int, bands: int, *, entries: bool = True) -> BandAnswers:
    """What a tensor made of `banded` pictures says, its dimension ``batch`` their number.

    Without ``entries`` they are not looked at one by one, which takes as long as all else.
    """
    moved = whole.detach().movedim(batch, 0)
    changes = (moved[1:] - moved[:1]).abs().double().square()
    rest = [dim for dim in range(whole.ndim) if dim != batch]
    summed = tuple(changes.sum(1 + number) for number in range(len(rest)))
    selective = _of_entries(changes.flatten(1).cpu().numpy().reshape(2, bands, -1)) if entries else 0.0
    return BandAnswers(summed, tuple(whole.shape), batch, bands, selective)


def _of_entries(changes: Array) -> float:
    """How far single entries are for a band each, from their changes [2, bands, entries]."""
    total = changes.sum(1, keepdims=True)
    return _selective(np.divide(changes, total, out=np.zeros_like(changes), where=total > 0))


def agreement(layout: Layout, movements: BandAnswers) -> tuple[float, float, float]:
    """Correlation of the answers with where a layout has its cells: over all, and on each axis (1 where one cell)."""
    shares = movements.of(layout.units)
    ordered = len(layout.places) == 1 or layout.places[0] < layout.places[1]
    return _agreement(layout, shares if ordered else shares.swapaxes(2, 3), movements.bands)


def _agreement(layout: Layout, shares: Array, bands: int) -> tuple[float, float, float]:
    (h, w), around = layout.shape, 0.0
    seen = np.where(shares.sum(1, keepdims=True) > 0, shares - 1 / bands, 0.0)  # an even share says nothing
    if len(layout.places) == 1:
        stop = layout.before + h * w
        around = float(np.square(seen[..., : layout.before]).sum() + np.square(seen[..., stop:]).sum())
        seen = seen[..., layout.before : stop]
        seen = seen.reshape(2, bands, w, h).swapaxes(2, 3) if layout.columns else seen.reshape(2, bands, h, w)
    sums = [_compared(seen[axis], layout.shape[axis], bands, axis) for axis in (0, 1)]
    first, second = (1.0 if layout.shape[axis] == 1 else _cosine(*sums[axis]) for axis in (0, 1))
    along, squares, wanted = (a + b for a, b in zip(*sums, strict=True))
    return _cosine(along, squares + around, wanted), first, second


def _compared(seen: Array, cells: int, bands: int, axis: int) -> tuple[float, float, float]:
    """Products (seen · wanted, seen², wanted²) for the shift of the cells, by half of one at most, that agrees best."""
    squares, alive = float(np.square(seen).sum()), (seen != 0).any(0)
    tried = []
    for shift in (0.0, -0.5, 0.5):
        wanted = _overlap(cells, bands, shift) - 1 / bands
        wanted = (wanted[:, :, None] if axis == 0 else wanted[:, None, :]) * alive
        tried.append((float((seen * wanted).sum()), squares, float(np.square(wanted).sum())))
    return max(tried, key=lambda sums: _cosine(*sums))


def _overlap(cells: int, bands: int, shift: float) -> Array:
    """Part of each cell's extent that lies in each band, [bands, cells]; the cells share the picture out evenly."""
    bounds, edges = np.arange(bands + 1) / bands, np.clip((np.arange(cells + 1) + shift) / cells, 0, 1)
    low, high = np.maximum(bounds[:-1, None], edges[None, :-1]), np.minimum(bounds[1:, None], edges[None, 1:])
    overlap: Array = np.maximum(high - low, 0)
    overlap /= overlap.sum(0)
    return overlap


def _cosine(along: float, squares: float, wanted: float) -> float:
    size = math.sqrt(squares * wanted)
    return along / size if size > 1e-12 else 0.0


# All layouts that a tensor may have.


def layouts(
    shape: Sequence[int], batch: int, size: tuple[int, int], *, extra: int = EXTRA, longest: float = OBLONG
) -> Iterator[Layout]:
    """Every way to read a tensor of three or four dimensions whose dimension ``batch`` numbers pictures of ``size``.

    ``extra``: tokens that are no cells, at most; ``longest``: how oblong cells of several rows and columns may be.
    """
    rest = [dim for dim in range(len(shape)) if dim != batch]
    for units in rest:
        places = [dim for dim in rest if dim != units]
        if len(places) == 2:
            for rows, columns in (places, places[::-1]):
                yield Layout((shape[rows], shape[columns]), batch, units, (rows, columns))
        elif len(places) == 1:
            for tokens in _tokens(shape[places[0]], size, extra, longest):
                yield replace(tokens, batch=batch, units=units, places=(places[0],))


def _tokens(count: int, size: tuple[int, int], most: int, longest: float) -> Iterator[Layout]:
    for extra in range(min(most, count - 1) + 1):
        cells = count - extra
        for h in (h for h in range(1, cells + 1) if cells % h == 0):
            if min(h, cells // h) > 1 and oblong((h, cells // h), size) > longest:
                continue
            for before in range(extra + 1):
                layout = Layout((h, cells // h), 0, 2, (1,), before, extra - before)
                yield layout
                if 1 < h < cells:
                    yield replace(layout, columns=True)


def oblong(shape: tuple[int, int], size: tuple[int, int]) -> float:
    """How much longer a cell is than wide, or wider than long, if ``shape`` (h, w) of them share out (H, W) pixels."""
    ratio = size[0] / shape[0] * shape[1] / size[1]
    return max(ratio, 1 / ratio)


def tried(
    look: Look, inputs: Tensor, like: Tensor, allowed: Callable[[Layout], bool] = bool
) -> tuple[Layout | None, BandAnswers | None]:
    """The layout of ``look``'s tensors found by trial, among those allowed, None where none stands out; what was seen.

    ``like`` is the tensor that it gives for ``inputs`` [B, C, H, W]. Costs 9 pictures and one, or 17 and one.
    """
    bands = BANDS["map" if like.ndim == 4 else "tokens"]
    whole, batch = _looked(look, banded(inputs, bands), like)
    if whole is None:
        return None, None
    movements = answers(whole, batch, bands)
    size = (inputs.shape[2], inputs.shape[3])
    return best(filter(allowed, layouts(whole.shape, batch, size)), movements, size), movements


def best(candidates: Iterator[Layout], movements: BandAnswers, size: tuple[int, int]) -> Layout | None:
    """The layout that agrees best with what was seen; None where that is too little, or another does as well."""
    shares: dict[tuple[int, bool], Array] = {}
    judged = []
    for layout in candidates:
        if math.prod(layout.shape) < FEWEST:
            continue
        key = (layout.units, len(layout.places) == 1 or layout.places[0] < layout.places[1])
        if key not in shares:
            of_units = movements.of(layout.units)
            shares[key] = of_units if key[1] else of_units.swapaxes(2, 3)
        agreed = _agreement(layout, shares[key], movements.bands)
        judged.append((agreed[0] + SQUARE * (oblong(layout.shape, size) < LIKE), min(agreed), layout))
    judged.sort(key=lambda one: -one[0])
    if not judged or judged[0][1] < AGREES + CHANCE / math.sqrt(math.prod(judged[0][2].shape)):
        return None
    return None if len(judged) > 1 and judged[0][0] - judged[1][0] < BETTER else judged[0][2]


def _looked(look: Look, pictures: Tensor, like: Tensor) -> tuple[Tensor | None, int]:
    """What is made of the pictures, and its dimension that numbers them; one by one where they do not go together."""
    try:
        whole = look(pictures)
        single = look(pictures[:1])
    except Exception:  # whatever a model says of a batch that it does not take
        parts = [look(picture[None]) for picture in pictures]
        return (torch.cat(parts) if len(parts[0]) == 1 else None), 0
    changed = [dim for dim in range(single.ndim) if single.shape[dim] != whole.shape[dim]]
    if single.ndim != like.ndim or len(changed) != 1 or whole.shape[changed[0]] != len(pictures):
        return None, 0
    return whole, changed[0]
