"""What the cells of a picture show: the data's concepts, kinds of cells that look alike to the model, nine places.

Which cells a concept has is told without asking what the model says of the picture: evidence that happens to lie
somewhere does not make a part.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlx.auditing.answered import ALIKE, CONCEPTS, KIND_OF_CELLS, PLACES
from vlx.data.example import Data, Example, Mask, example_of
from vlx.errors import ImageError
from vlx.evaluation.footprint import Footprint
from vlx.evaluation.records import Values
from vlx.evaluation.shown import Setting
from vlx.pictures.placement import Grid, Placement
from vlx.protocol.task import Features, Task

LOOKED_AT = 20  # pictures that are asked whether the data tell any regions
LEARNT = 64  # pictures whose cells the kinds are learnt from
KINDS = 12  # of cells that look alike
CELLS = 4096  # at most, from which they are learnt
ROWS, COLUMNS = ("top", "", "bottom"), ("left", "", "right")
ELSEWHERE = "nothing outlined"


@dataclass(frozen=True, eq=False)
class OnCells:
    """What a concept has of a map's cells: ``weights`` [h, w] from 0 to 1, how far each cell lies on it."""

    category: str
    weights: Values

    @property
    def area(self) -> float:
        """The share of the cells."""
        return float(self.weights.mean())


class Shows:
    """What the cells of the pictures of a setting show, by source (see `vlx.auditing.answered`)."""

    def __init__(self, setting: Setting) -> None:
        self.setting, self.told = setting, told_regions(setting.data)
        self._footprints: dict[tuple[Placement, int, int], Footprint] = {}

    @cached_property
    def alike(self) -> "Alike":
        """The kinds of cells that look alike, where the data tell no regions."""
        return Alike.learnt(self.setting.task, self.setting.data)

    def placed(self, grid: Grid, example: Example) -> tuple[Footprint, Placement]:
        """Where the cells of a grid lie on a picture, and what each paints there."""
        size = (example.image.height, example.image.width)
        placement = Placement(grid, self.setting.frame(size))
        key = (placement, *size)
        if key not in self._footprints:
            self._footprints.clear()
            self._footprints[key] = Footprint.of(placement)
        return self._footprints[key], placement

    def parts(self, features: Features, row: int, example: Example, grid: Grid) -> dict[str, dict[str, OnCells]]:
        """Source → concept → its part of the cells of a grid, of the picture in a row of the features.

        A map whose cells are not those of A, as one of pixels, has no kinds of cells.
        """
        if self.told:
            return {CONCEPTS: on_cells(masks_of(example), self.placed(grid, example)[0])}
        cells = {ALIKE: self.alike.parts(features, row)} if grid.shape == tuple(features.cells.shape[2:]) else {}
        return {PLACES: places(grid.shape), **cells}


def told_regions(data: Data) -> bool:
    """Whether data tell what is where in their pictures, as far as the first of them that can be read show."""
    return any(_tells_regions(example_of(data, number)) for number in range(min(len(data), LOOKED_AT)))


def _tells_regions(example: Example) -> bool:
    try:
        return bool(masks_of(example))
    except ImageError:
        return False


def masks_of(example: Example) -> dict[str, tuple[str, Mask]]:
    """Concept → its category and pixels, bool [H, W]: the example's regions, else what its asks are about.

    What only the picture as a whole carries has no place. Pixels of nothing that is outlined are a concept, too.
    """
    regions = example.regions
    numbered = dict(enumerate(getattr(regions, "concepts", ()), 1))
    whole = {numbered[number].name for number in getattr(regions, "whole", ()) if number in numbered}
    masks = {
        concept.name: (concept.category, np.asarray(mask, bool))
        for concept, mask in regions.items()
        if concept.name not in whole
    }
    if not masks:
        masks = {
            ask.label or ask.group: ("object", np.asarray(ask.mask, bool))
            for ask in example.asks
            if ask.query.caption is None and ask.query.question is None and ask.mask is not None
        }
    masks = {name: (category, mask) for name, (category, mask) in masks.items() if mask.any()}
    if not masks:
        return {}
    rest = ~np.logical_or.reduce([mask for _, mask in masks.values()])
    return {**masks, ELSEWHERE: ("elsewhere", rest)} if rest.any() else masks


def on_cells(masks: Mapping[str, tuple[str, Mask]], footprint: Footprint) -> dict[str, OnCells]:
    """Each mask's part of the cells; masks that the model does not see have none."""
    total = footprint.total
    painted = np.where(total > 0, total, 1.0)
    parts = {
        name: OnCells(category, np.clip(footprint.on(mask) / painted, 0, 1)) for name, (category, mask) in masks.items()
    }
    return {name: part for name, part in parts.items() if part.weights.any()}


def places(shape: tuple[int, int]) -> dict[str, OnCells]:
    """The nine places of a picture: "top left", …, "middle", …; each cell is in the one that its centre is in.

    >>> list(places((3, 3)))[:2]
    ['top left', 'top']
    """
    thirds = [np.minimum((np.arange(length) + 0.5) / length * 3, 2).astype(int) for length in shape]
    parts = {}
    for row, vertical in enumerate(ROWS):
        for column, horizontal in enumerate(COLUMNS):
            name = " ".join(word for word in (vertical, horizontal) if word) or "middle"
            weights = np.outer(thirds[0] == row, thirds[1] == column).astype(np.float64)
            parts[name] = OnCells("place", weights)
    return {name: part for name, part in parts.items() if part.weights.any()}


class Alike:
    """Kinds of cells of A that look alike: centres of their features, each of length 1 (spherical k-means).

    Learnt from some pictures of the data that can be read, by lot (`seen_by_lot`): the same at every run.
    """

    def __init__(self, centres: NDArray[Any]) -> None:
        self.centres = centres

    @classmethod
    def learnt(cls, task: Task, data: Data) -> "Alike":
        """The kinds of cells of the pictures of some data, the commonest first."""
        from scipy.cluster.vq import kmeans2, vq

        cells = _directions(torch.cat([_flat(one.cells[0]) for _, one in seen_by_lot(task, data)]))
        rng = np.random.default_rng(0)
        some = cells[np.sort(rng.permutation(len(cells))[:CELLS])]
        count = min(KINDS, len(np.unique(some.round(6), axis=0)))
        centres, _ = kmeans2(some, count, iter=30, minit="++", rng=rng)
        numbers, _ = vq(some, centres)
        order = np.argsort(-np.bincount(numbers, minlength=count), kind="stable")
        return cls(centres[order])

    def parts(self, features: Features, row: int) -> dict[str, OnCells]:
        """The kinds that a picture has, each with its cells on the grid of `Features.cells`."""
        from scipy.cluster.vq import vq

        cells = features.cells[row]
        numbers, _ = vq(_directions(_flat(cells)), self.centres)
        placed = numbers.reshape(tuple(cells.shape[1:]))
        return {
            name_of(n): OnCells(KIND_OF_CELLS, (placed == n).astype(np.float64)) for n in np.unique(numbers).tolist()
        }


def name_of(number: int) -> str:
    """What a kind of cells is called, from 1."""
    return f"look {number + 1}"


def seen_by_lot(task: Task, data: Data) -> Iterator[tuple[Example, Features]]:
    """`LEARNT` pictures that can be read, each with its features, by lot, the same at every run.

    Each n-th would be of one kind where the data's kinds come by turns.
    """
    left = LEARNT
    for number in np.random.default_rng(0).permutation(len(data)).tolist():
        if not left:
            return
        example = example_of(data, number)
        try:
            inputs = task.prepare(example.image)
        except ImageError:
            continue
        left -= 1
        yield example, task.features(task.place(inputs[None]))


def _flat(cells: Tensor) -> Tensor:
    return cells.detach().flatten(1).T.double().cpu()


def _directions(cells: Tensor) -> NDArray[Any]:
    flat: NDArray[Any] = cells.numpy()
    return np.asarray(flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12))


def evidence_on(parts: Mapping[str, OnCells], signed: Values) -> dict[str, tuple[float, float]]:
    """Of each part the signed sum of a map's cells, and its share of their absolute values."""
    absolute = float(np.abs(signed).sum())
    return {
        name: (
            float((signed * part.weights).sum()),
            float((np.abs(signed) * part.weights).sum()) / absolute if absolute > 0 else float("nan"),
        )
        for name, part in parts.items()
    }
