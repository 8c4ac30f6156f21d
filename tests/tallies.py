"""Tallies counted pixel by pixel, the slow and obvious way, from masks and labels made at random."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlx.neuron_names.table import Concept, NeuronNames, Tally

CONCEPTS = (
    Concept("bird", "object", "bird.n.01"),
    Concept("butterfly", "object"),
    Concept("car", "object"),
    Concept("boat", "object"),
    Concept("wheel", "part"),
    Concept("sail", "part"),
    Concept("never seen", "part"),
)
QUANTILES = (0.05, 0.2)


@dataclass(frozen=True)
class World:
    """``masks`` bool [N, Q, K, S, S]; ``labels`` [N, 2, S, S]: numbers of objects and of parts, from 1."""

    masks: NDArray[np.bool_]
    labels: NDArray[np.int64]
    folds: int

    def carries(self, concept: int) -> NDArray[np.bool_]:
        """Pixels with the concept, [N, S, S]."""
        return np.asarray((self.labels == concept + 1).any(1))

    def shows(self, category: str) -> NDArray[np.bool_]:
        """Pixels with any concept of the category, [N, S, S]."""
        own = [self.carries(n) for n, concept in enumerate(CONCEPTS) if concept.category == category]
        return np.asarray(np.any(own, axis=0))

    def tally(self) -> Tally:
        """The counts by their definition, one picture after another; picture n is of fold n % folds."""
        N, Q, K, S, _ = self.masks.shape  # noqa: N806
        C, categories = len(CONCEPTS), ("object", "part")  # noqa: N806
        intersection = np.zeros((self.folds, Q, K, C), np.int64)
        truth = np.zeros((self.folds, C), np.int64)
        activation = np.zeros((3, self.folds, Q, K, 2), np.int64)
        area = np.zeros((self.folds, 2), np.int64)
        for n in range(N):
            fold, mask = n % self.folds, self.masks[n]
            for c in range(C):
                there = self.carries(c)[n]
                truth[fold, c] += there.sum()
                intersection[fold, :, :, c] += (mask & there).sum((2, 3))
            for g, category in enumerate(categories):
                shown = self.shows(category)[n]
                pixels = mask.sum((2, 3))
                activation[0, fold, :, :, g] += pixels * shown.any()
                activation[1, fold, :, :, g] += pixels * (mask & shown).any((2, 3))
                activation[2, fold, :, :, g] += pixels
                area[fold, g] += S * S * shown.any()
        thresholds = (np.linspace(2, 1, Q)[:, None] + np.arange(K)).astype(np.float32)
        tied = np.zeros((Q, K), bool)
        tied[0, K // 2] = True
        examples = np.arange(2 * K, dtype=np.int32).reshape(K, 2)
        return Tally(CONCEPTS, QUANTILES, thresholds, intersection, truth, activation, area, tied, examples)


def world(seed: int = 0, pictures: int = 12, units: int = 5, size: int = 10, folds: int = 4) -> World:
    """Labels in rectangles; units that like one concept each, the last none."""
    random = np.random.default_rng(seed)
    labels = np.zeros((pictures, 2, size, size), np.int64)
    for n in range(pictures):
        for channel, first, count in ((0, 1, 4), (1, 5, 2)):
            if random.random() < 0.8:
                y, x = random.integers(0, size // 2, 2)
                labels[n, channel, y : y + 5, x : x + 6] = first + random.integers(count)
    masks = random.random((pictures, 2, units, size, size)) < np.array(QUANTILES)[:, None, None, None] / 2
    for unit in range(units - 1):
        liked = (labels == unit + 1).any(1) & (random.random((pictures, size, size)) < 0.5)
        masks[:, :, unit] |= liked[:, None]
    masks[:, 1] |= masks[:, 0]
    masks[:, :, units - 1] = False
    return World(masks, labels, folds)


def dissected(**options: Any) -> NeuronNames:
    """Names with a tally and something known about it."""
    about = {"model": "tiny", "layer": "layer4", "images": 12, "quantiles": list(QUANTILES)}
    return NeuronNames(about=about, tally=world(**options).tally())
