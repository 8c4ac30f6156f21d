"""Concepts, and the pixels of a picture that carry them: by name, or as numbers on a grid."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image


class Concept(NamedTuple):
    """Something that a picture's label tells: "dog" of category "object"; ``synset`` is its WordNet name or empty."""

    name: str
    category: str
    synset: str = ""


NO_LABELS: NDArray[np.int32] = np.zeros((0, 1, 1), np.int32)


@dataclass(frozen=True, eq=False)
class Labelled:
    """One picture and what is where in it, as numbers: what a dissection counts.

    ``image`` is PIL RGB. ``labels`` is an integer array [channels, H, W] of concept numbers from 1, 0 for none; H × W
    may be smaller than the picture, but has its proportions. A pixel carries as many concepts as there are channels,
    none of them twice. ``whole`` are the numbers of concepts of the picture as a whole (Broden's scenes and textures).
    """

    image: Image.Image
    labels: NDArray[np.integer]
    whole: tuple[int, ...] = ()


class Regions(Mapping[Concept, NDArray[np.bool_]]):
    """The pixels of each concept in a picture, kept as numbers of ``concepts``: ``labels`` and ``whole`` of `Labelled`.

    ``size`` is (H, W) of the picture where the labels are of another; masks are laid on it.

    >>> Regions(np.array([[[0, 2], [2, 2]]]), (sky, sea))[sea]
    array([[False,  True], [ True,  True]])
    """

    def __init__(
        self,
        labels: NDArray[np.integer],
        concepts: Sequence[Concept],
        whole: tuple[int, ...] = (),
        size: tuple[int, int] | None = None,
    ) -> None:
        self.labels, self.concepts, self.whole = labels, concepts, whole
        self._size = (int(labels.shape[1]), int(labels.shape[2])) if size is None else size

    @cached_property
    def _numbers(self) -> dict[Concept, int]:
        there = {*np.unique(self.labels).tolist(), *self.whole} - {0}
        return {self.concepts[number - 1]: number for number in sorted(there)}

    def __getitem__(self, concept: Concept) -> NDArray[np.bool_]:
        number = self._numbers[concept]
        if number in self.whole:
            return np.ones(self._size, bool)
        mask = np.asarray((self.labels == number).any(0))
        if mask.shape == self._size:
            return mask
        return np.asarray(Image.fromarray(mask).resize(self._size[::-1], Image.Resampling.NEAREST))

    def __iter__(self) -> Iterator[Concept]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)
