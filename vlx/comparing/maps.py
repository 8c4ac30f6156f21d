"""How far two maps of one picture differ, whatever their units and grids."""

import math
from dataclasses import dataclass

import numpy as np

from vlx.explanation.records import Array, WordExplanation
from vlx.pictures.placement import visible_at
from vlx.probes.occlusion import rank_correlation
from vlx.report import colour

SIDE = 64  # pixels of the longer side at which maps of different grids are compared
DIGITS = 6


@dataclass(frozen=True)
class MapDifference:
    """What two maps of one picture have in common.

    ``correlation``: Spearman's rank correlation of the signed maps, None where one is the same everywhere.
    ``elsewhere``: the share of the heat that lies elsewhere, 0 to 1: half the absolute difference of what speaks for
    the word, each map's sum taken as 1 (the total variation distance); None where both are empty. Neither depends on
    the maps' units. ``grids`` says how they lie where that is not on the same cells, ``note`` what else limits the
    comparison.
    """

    correlation: float | None
    elsewhere: float | None
    grids: str = ""
    note: str = ""

    @property
    def size(self) -> float:
        """How much they differ, 0 to 1: ``elsewhere``, or (1 − ``correlation``) / 2 where that is more."""
        turned = 0.0 if self.correlation is None else (1 - self.correlation) / 2
        return max(turned, self.elsewhere or 0.0)


def between(a: WordExplanation, b: WordExplanation) -> MapDifference:
    """Compare two words' maps: cell by cell on one grid, else on the part of the picture that both models saw.

    The maps must be of one picture: their frames of the same size.
    """
    if a.placement == b.placement:
        return _of(_finite(a.signed), _finite(b.signed), "")
    tall, wide = a.placement.frame.size
    ratio = min(SIDE / max(tall, wide), 1.0)
    size = (max(round(tall * ratio), 1), max(round(wide * ratio), 1))
    both = visible_at(a.placement, size) & visible_at(b.placement, size)
    if not both.any():
        return MapDifference(None, None, note="A and B saw different parts of the picture")
    a_map, b_map = (colour.painted(word.signed, word.placement, size)[both] for word in (a, b))
    return _of(a_map, b_map, _differing(a, b))


def _of(a: Array, b: Array, grids: str) -> MapDifference:
    a, b = a.ravel().astype(np.float64), b.ravel().astype(np.float64)
    heat = [np.maximum(one, 0) for one in (a, b)]
    empty = [not one.any() for one in heat]
    note = f"the map of {'AB'[empty.index(True)]} is empty" if any(empty) and not all(empty) else ""
    correlation = rank_correlation(a, b)
    return MapDifference(
        None if math.isnan(correlation) else round(correlation, DIGITS),
        None if all(empty) else 1.0 if any(empty) else _elsewhere(*heat),
        grids,
        note,
    )


def _elsewhere(a: Array, b: Array) -> float:
    a, b = a / a.max(), b / b.max()  # sums of very small numbers would be lost
    return round(float(np.abs(a / a.sum() - b / b.sum()).sum()) / 2, DIGITS)


def _differing(a: WordExplanation, b: WordExplanation) -> str:
    grids = ["×".join(map(str, word.placement.grid.shape)) for word in (a, b)]
    what = f"grids of {grids[0]} and {grids[1]} cells" if grids[0] != grids[1] else "grids that lie otherwise"
    return f"{what}, compared on the picture"


def _finite(values: Array) -> Array:
    return np.nan_to_num(np.asarray(values, np.float64), nan=0.0, posinf=0.0, neginf=0.0)
