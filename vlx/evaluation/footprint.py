"""How much of a painted map lies on some pixels, and how high it rises, without painting it: paint is linear."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlx.data.example import Mask
from vlx.evaluation.context import DrawnMap, MetricContext
from vlx.evaluation.records import Values
from vlx.pictures.placement import Axis, Placement, axes


@dataclass(frozen=True, eq=False)
class Footprint:
    """What each cell of a placement paints on the user's picture: ``down`` [H, h] times ``across`` [W, w].

    >>> footprint = Footprint.of(placement)
    >>> (values * footprint.on(mask)).sum() == placement.paint(values)[mask].sum()  # but for rounding
    True
    """

    axes: tuple[Axis, Axis]
    down: Values
    across: Values

    @classmethod
    def of(cls, placement: Placement) -> "Footprint":
        """The footprint of a placement."""
        rows, columns = axes(placement)
        return cls((rows, columns), rows.mixing(rows.pixels), columns.mixing(columns.pixels))

    @cached_property
    def total(self) -> Values:
        """What each cell paints on the whole picture, [h, w]: the sum of its weights over pixels."""
        return np.outer(self.down.sum(0), self.across.sum(0))

    @cached_property
    def seen(self) -> int:
        """How many pixels of the picture the model saw."""
        rows, columns = (max(axis.stop - axis.first, 0) for axis in self.axes)
        return rows * columns

    def on(self, mask: Mask) -> Values:
        """What each cell paints on the pixels of a mask [H, W], [h, w]."""
        rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
        if not len(rows):
            return np.zeros(self.total.shape)
        inner = np.s_[rows[0] : rows[-1] + 1], np.s_[columns[0] : columns[-1] + 1]
        found: Values = self.down[inner[0]].T @ (mask[inner] @ self.across[inner[1]])
        return found

    def seen_of(self, mask: Mask) -> int:
        """How many pixels of a mask [H, W] the model saw."""
        rows, columns = (np.s_[axis.first : axis.stop] for axis in self.axes)
        return int(np.count_nonzero(mask[rows, columns]))

    def highest(self, maps: Values) -> Values:
        """The highest pixel of each painted map [N, h, w], [N]: it lies beside the centres of cells, or at an edge."""
        down, across = (
            weights[_beside_centres(axis)] for weights, axis in zip((self.down, self.across), self.axes, strict=True)
        )
        if not len(down) or not len(across):
            return np.zeros(len(maps))
        return np.asarray((down @ maps @ across.T).max((1, 2)))


def _beside_centres(axis: Axis) -> NDArray[Any]:
    """The pixels next to the centres of cells, and the first and the last one, of those that were seen."""
    if axis.first == axis.stop:
        return np.zeros(0, int)
    centres = np.floor(axis.origin + axis.step * np.arange(axis.cells)).astype(int)
    pixels = np.concatenate([centres, centres + 1, [axis.first, axis.stop - 1]])
    return np.unique(np.clip(pixels, axis.first, axis.stop - 1))


def footprint_of(context: MetricContext, placement: Placement) -> Footprint:
    """The footprint of a placement, made once for a batch."""
    return context.shown.once(("footprint", placement), lambda: Footprint.of(placement))


def painted_on(context: MetricContext, placement: Placement, mask: Mask, called: str) -> Values:
    """What each cell of a placement paints on a mask of what is asked, made once; ``called`` tells masks apart."""
    key = ("painted on", context.asked, context.number, called, placement)
    return context.shown.once(key, lambda: footprint_of(context, placement).on(mask))


def placements(context: MetricContext) -> dict[Placement, dict[tuple[str, str], DrawnMap]]:
    """The maps of what is asked by where their cells lie: mostly all of them on the cells of A."""
    together: dict[Placement, dict[tuple[str, str], DrawnMap]] = {}
    for line, one in context.maps.items():
        together.setdefault(one.placement, {})[line] = one
    return together
