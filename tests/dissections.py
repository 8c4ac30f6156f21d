"""Pictures and maps made up for dissection, and the tally once more: slowly, straight from its definition."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import to_tensor

from vlx.data.concepts import Labelled
from vlx.neuron_names.table import Concept, NeuronNames, Tally
from vlx.pictures.placement import Grid
from vlx.protocol.targets import Prediction, Query, Target
from vlx.protocol.task import Defaults, Features

Floats = NDArray[Any]
Upsample = Callable[[Floats, Grid, tuple[int, int]], Floats]

CONCEPTS = (
    Concept("dog", "object"),
    Concept("cat", "object"),
    Concept("red", "color"),
    Concept("tail", "part"),
    Concept("blue", "color"),
    Concept("street", "scene"),
    Concept("field", "scene"),
    Concept("never", "texture"),
)


class Given:
    """A task whose features are given: picture n carries its number in its first pixel, and has map ``maps[n]``.

    ``seen`` counts the pictures that the model was run on, those that fill up a block left out; at run number
    ``breaks`` it raises KeyboardInterrupt.
    """

    name, kind, defaults = "given", "classification", Defaults()
    notes: tuple[str, ...] = ()
    blank = (0.0, 0.0, 0.0)

    def __init__(self, maps: Tensor, grid: Grid, *, pad: tuple[int, int] = (0, 0), breaks: int = -1) -> None:
        self.maps, self.grid, self.pad, self.breaks = maps, grid, pad, breaks
        self.seen: list[int] = []
        self.runs = 0

    def prepare(self, image: Image.Image) -> Tensor:
        """[3, H, W]; ``pad`` rows above and columns to the left, and as many below and to the right."""
        rows, columns = self.pad
        return torch.nn.functional.pad(to_tensor(image), (columns, columns, rows, rows))

    def place(self, inputs: Tensor) -> Tensor:
        return inputs

    def version(self) -> int:
        return 0

    def digest(self) -> str:
        return f"{float(self.maps.double().abs().sum())}"

    def features(self, inputs: Tensor) -> Features:
        self.runs += 1
        if self.runs == self.breaks:
            raise KeyboardInterrupt
        numbers = (inputs[:, :, self.pad[0], self.pad[1]] * 255).round().long()
        own = (numbers[:, 0] + 256 * numbers[:, 1]).tolist()
        self.seen += dict.fromkeys(own)
        return Features({"given": self.maps[own]}, "given", self.grid)

    def predict(self, features: Features, queries: Sequence[Query]) -> list[Prediction]:
        raise NotImplementedError

    def scores(self, A: Tensor, targets: Sequence[Target], rest: Any = None) -> Tensor:
        raise NotImplementedError


@dataclass(eq=False)
class Made:
    """Labelled pictures at hand: ``labels`` [N, channels, H, W] on pictures of ``size``."""

    labels: NDArray[np.int64]
    whole: Sequence[tuple[int, ...]]
    size: tuple[int, int]
    order: Sequence[int]
    concepts: tuple[Concept, ...] = CONCEPTS
    name: str = "made"
    licence: str = ""

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, number: int) -> Labelled:
        own = self.order[number]
        pixels = np.full((*self.size, 3), 100, np.uint8)
        pixels[0, 0] = (own % 256, own // 256, 0)
        return Labelled(Image.fromarray(pixels), self.labels[own], self.whole[own])

    def digest(self) -> str:
        return f"{self.labels.sum()} {list(self.order)}"


def made(count: int, size: tuple[int, int], seed: int = 0, labels: tuple[int, int] | None = None) -> Made:
    """Rectangles of objects and parts in one channel each, colours in a third; some pictures have a scene."""
    random = np.random.default_rng(seed)
    H, W = labels or size
    found = np.zeros((count, 3, H, W), np.int64)
    whole = []
    for n in range(count):
        for channel, choices in enumerate(([1, 2], [4], [3, 5])):
            for number in choices:
                if random.random() < 0.6:
                    y, x = random.integers(0, H - 2), random.integers(0, W - 2)
                    found[n, channel, y : y + H // 2, x : x + W // 2] = number
        whole.append(tuple(random.permutation([6, 7])[: random.integers(0, 2)].tolist()))
    return Made(found, whole, size, range(count))


def rectified(count: int, units: int, cells: tuple[int, int], seed: int = 0) -> Tensor:
    """Maps as after a ReLU, half of the cells 0."""
    return torch.randn(count, units, *cells, generator=torch.Generator().manual_seed(seed)).clamp(min=0)


def by_definition(A: Floats, grid: Grid, size: tuple[int, int]) -> Floats:
    """A map [h, w] on a label grid: bilinear between the cells' centres, held beyond the outermost."""
    found = np.zeros(size)
    for s in range(size[0]):
        for t in range(size[1]):
            place = []
            for along, pixel in ((0, s), (1, t)):
                prepared = (pixel + 0.5) * grid.size[along] / size[along] - 0.5
                cell = (prepared - grid.offset[along]) / grid.stride[along]
                place.append(min(max(cell, 0), A.shape[along] - 1))
            y, x = place
            i, j = int(y), int(x)
            below, right = min(i + 1, A.shape[0] - 1), min(j + 1, A.shape[1] - 1)
            top = (1 - (x - j)) * A[i, j] + (x - j) * A[i, right]
            bottom = (1 - (x - j)) * A[below, j] + (x - j) * A[below, right]
            found[s, t] = (1 - (y - i)) * top + (y - i) * bottom
    return found


def by_torch(A: Floats, grid: Grid, size: tuple[int, int]) -> Floats:
    """The same by torch, which knows the half-pixel rule only."""
    made = torch.nn.functional.interpolate(torch.from_numpy(A)[None, None], size=size, mode="bilinear")
    return np.asarray(made[0, 0].numpy())


def by_pillow(A: Floats, grid: Grid, size: tuple[int, int]) -> Floats:
    """The same by PIL, as NetDissect-Lite does it."""
    image = Image.fromarray(A.astype(np.float32))
    return np.asarray(image.resize((size[1], size[0]), Image.Resampling.BILINEAR))


def nearest(labels: NDArray[np.int64], size: tuple[int, int]) -> NDArray[np.int64]:
    """Labels [channels, H, W] on the label grid of an unpadded picture: the nearest to each pixel's centre."""
    rows, columns = (
        np.ceil((np.arange(size[n]) + 0.5) * labels.shape[n + 1] / size[n] - 1).astype(int) for n in (0, 1)
    )
    return labels[:, rows][:, :, columns]


def slow_tally(
    data: Made, maps: Tensor, grid: Grid, quantiles: tuple[float, ...], folds: int, size: tuple[int, int], up: Upsample
) -> Tally:
    """Every mask upsampled whole, every concept looked up by itself."""
    A = maps[list(data.order)].double().numpy()
    N, K = A.shape[:2]
    cells = -np.sort(-A.transpose(1, 0, 2, 3).reshape(K, -1), axis=1)
    ranks = [int(q * cells.shape[1] + 1e-9) for q in quantiles]
    T = np.stack([cells[:, rank] for rank in ranks])
    categories = list(dict.fromkeys(concept.category for concept in data.concepts))
    C, G, Q = len(data.concepts), len(categories), len(quantiles)  # noqa: N806
    intersection, truth = np.zeros((folds, Q, K, C), np.int64), np.zeros((folds, C), np.int64)
    activation, area = np.zeros((3, folds, Q, K, G), np.int64), np.zeros((folds, G), np.int64)
    for n in range(N):
        picture = data[n]
        labels = nearest(np.asarray(picture.labels), size)
        there = [(labels == c + 1).any(0) | (c + 1 in picture.whole) for c in range(C)]
        shown = [
            np.any([there[c] for c in range(C) if data.concepts[c].category == category], axis=0)
            for category in categories
        ]
        truth[n % folds] += [pixels.sum() for pixels in there]
        area[n % folds] += [size[0] * size[1] * bool(pixels.any()) for pixels in shown]
        for k in range(K):
            values = up(A[n, k], grid, size)
            for q in range(Q):
                mask = values > T[q, k]
                intersection[n % folds, q, k] += [(mask & pixels).sum() for pixels in there]
                activation[0, n % folds, q, k] += [mask.sum() * bool(pixels.any()) for pixels in shown]
                activation[1, n % folds, q, k] += [mask.sum() * bool((mask & pixels).any()) for pixels in shown]
                activation[2, n % folds, q, k] += mask.sum()
    tied = np.array([[(cells[k] > T[q, k]).sum() < ranks[q] for k in range(K)] for q in range(Q)])
    return Tally(data.concepts, quantiles, T.astype(np.float32), intersection, truth, activation, area, tied)


COUNTED = ("thresholds", "intersection", "truth", "activation", "area", "tied")


def same(a: NeuronNames | Tally, b: NeuronNames | Tally, names: Sequence[str] = ()) -> None:
    """Every array of the tallies is equal, bit for bit; or those of ``names``."""
    one, other = (it.tally if isinstance(it, NeuronNames) else it for it in (a, b))
    assert one is not None and other is not None
    for name in names or [field.name for field in fields(Tally)]:
        left, right = np.asarray(getattr(one, name)), np.asarray(getattr(other, name))
        assert left.shape == right.shape and np.array_equal(left, right), name
