"""The counts of Network Dissection (Bau et al. 1704.05796), whole: any IoU can be read from them without the pictures.

Sizes: F folds of pictures, Q quantiles, K units, C concepts, G categories.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vlx.data.concepts import Concept
from vlx.errors import InputError

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]
DENOMINATORS = ("paper", "lite", "all")


@dataclass(frozen=True, eq=False)
class Tally:
    """Pixels of the label grid, counted over folds of pictures.

    A unit's mask is where its map, bilinear between the centres of its receptive fields, lies above ``thresholds``
    [Q, K]: the value that a share ``quantiles`` [Q] of its cells exceeds over all pictures.

    ``intersection`` [F, Q, K, C] counts pixels of the mask that carry the concept, ``truth`` [F, C] pixels that carry
    it at all. ``activation`` [D, F, Q, K, G] counts pixels of the mask, by rule (`DENOMINATORS`): in pictures with a
    label of the category (the paper's), in those where the mask touches such a label (NetDissect-Lite's), and in all
    pictures. ``area`` [F, G] counts pixels of pictures with a label of the category. ``tied`` [Q, K] tells units whose
    threshold is shared by several cells: fewer cells than the share lie above it. ``examples`` [K, E] are the numbers
    of the pictures in which the unit is most active, most active first. ``means`` [K] are the units' mean activations
    over all cells of all pictures; empty where they are not known.

    ``overlaps`` [G] tells categories of which some pixel or picture carries two concepts: sums over their concepts, as
    hypernyms take them, are then upper bounds. Empty where that is not known.
    """

    concepts: tuple[Concept, ...]
    quantiles: tuple[float, ...]
    thresholds: NDArray[np.float32]
    intersection: Counts
    truth: Counts
    activation: Counts
    area: Counts
    tied: NDArray[np.bool_]
    examples: NDArray[np.int32] = field(default_factory=lambda: np.zeros((0, 0), np.int32))
    means: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    overlaps: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))

    @property
    def units(self) -> int:
        """K, the number of units."""
        return int(self.thresholds.shape[1])

    @cached_property
    def categories(self) -> tuple[str, ...]:
        """The categories of the concepts, in order of appearance: the last axis of ``activation``."""
        return tuple(dict.fromkeys(concept.category for concept in self.concepts))

    @cached_property
    def category(self) -> NDArray[np.intp]:
        """The number of each concept's category, [C]."""
        places = {name: n for n, name in enumerate(self.categories)}
        return np.array([places[concept.category] for concept in self.concepts], np.intp)

    def quantile(self, wanted: float) -> int:
        """Which of the quantiles it is; raises InputError when it was not counted."""
        near = np.flatnonzero(np.isclose(self.quantiles, wanted, rtol=1e-6, atol=0))
        if not len(near):
            counted = ", ".join(f"{one:g}" for one in self.quantiles)
            raise InputError(f"quantile {wanted:g} was not counted; this table has {counted}")
        return int(near[0])

    def iou(self, quantile: int, denominator: str = "paper") -> Floats:
        """IoU of every unit and concept, [K, C], over all folds; 0 where there is neither mask nor concept."""
        whole: Floats = self._ratio(quantile, denominator, np.ones((1, len(self.truth)), np.int64))[0]
        return whole

    def iou_without(self, quantile: int, denominator: str = "paper") -> Floats:
        """The same with each fold left out in turn, [F, K, C]."""
        folds = len(self.truth)
        return self._ratio(quantile, denominator, 1 - np.eye(folds, dtype=np.int64))

    def error(self, quantile: int, denominator: str = "paper") -> Floats:
        """The jackknife's standard error of every IoU, [K, C]: √((F − 1)/F · Σ (IoU_f − mean)²); nan for one fold."""
        left = self.iou_without(quantile, denominator)
        folds = len(left)
        if folds < 2:
            return np.full(left.shape[1:], np.nan)
        return np.asarray(np.sqrt((folds - 1) / folds * ((left - left.mean(0)) ** 2).sum(0)))

    def attainable(self, quantile: int) -> Floats:
        """The highest IoU that a mask of the nominal size can have with each concept, [C].

        The mask covers the share q of the pictures with a label of the category, the concept its own share t: the IoU
        is at most min(q, t) / max(q, t). At q = 0.005 no scene can pass 0.04 that fills an eighth of them.
        """
        q, share = self.quantiles[quantile], self._share
        return np.asarray(np.minimum(share, q) / np.maximum(share, q))

    def chance(self, quantile: int) -> Floats:
        """The IoU of a mask of the nominal size that knows nothing of each concept, [C]: q t / (q + t − q t).

        Below 0.005 at q = 0.005, whatever the concept; at q = 0.1 it passes 0.04 for all that cover a fourteenth.
        """
        q, share = self.quantiles[quantile], self._share
        return np.asarray(q * share / (q + share - q * share))

    @cached_property
    def _share(self) -> Floats:
        """Each concept's share t of the pictures with a label of its category, [C]."""
        area = self.area.sum(0)[self.category]
        return np.asarray(np.divide(self.truth.sum(0), area, out=np.zeros(len(area)), where=area > 0))

    def best_quantile(self) -> dict[str, int]:
        """For each category the quantile at which its concepts' median attainable IoU is highest."""
        reach = np.stack([self.attainable(n) for n in range(len(self.quantiles))])
        there = self.truth.sum(0) > 0
        best = {}
        for number, name in enumerate(self.categories):
            members = (self.category == number) & there
            best[name] = int(np.median(reach[:, members], axis=1).argmax()) if members.any() else 0
        return best

    def _ratio(self, quantile: int, denominator: str, picks: Counts) -> Floats:
        """IoU for each pick of folds [P, F] of 0 and 1: [P, K, C]."""
        if denominator not in DENOMINATORS:
            raise InputError(f"denominator={denominator!r}; known are {', '.join(DENOMINATORS)}")
        rule = DENOMINATORS.index(denominator)
        inter = np.einsum("pf,fkc->pkc", picks, self.intersection[:, quantile])
        act = np.einsum("pf,fkg->pkg", picks, self.activation[rule, :, quantile])[:, :, self.category]
        union = (picks @ self.truth)[:, None, :] + act - inter
        return np.asarray(np.divide(inter, union, out=np.zeros(inter.shape), where=union > 0))
