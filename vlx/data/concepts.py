"""What dissection asks of a set of pictures: each with the pixels of the concepts in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image


class Concept(NamedTuple):
    """Something that a picture's label tells: "dog" of category "object"; ``synset`` is its WordNet name or empty."""

    name: str
    category: str
    synset: str = ""


@dataclass(frozen=True, eq=False)
class Labelled:
    """One picture and what is where in it.

    ``image`` is PIL RGB. ``labels`` is an integer array [channels, H, W] of concept numbers from 1, 0 for none; H × W
    may be smaller than the picture, but has its proportions. A pixel carries as many concepts as there are channels,
    none of them twice. ``whole`` are the numbers of concepts of the picture as a whole (Broden's scenes and textures).
    """

    image: Image.Image
    labels: NDArray[np.integer]
    whole: tuple[int, ...] = ()


@runtime_checkable
class ConceptData(Protocol):
    """A sequence of `Labelled` pictures; concept number n is ``concepts[n − 1]``.

    ``name`` is what `vlx.data.open_data` opens again, "scenes:2000" or a folder; ``licence`` says
    under what the pictures and labels stand, as far as is known.
    """

    name: str
    licence: str
    concepts: tuple[Concept, ...]

    def __len__(self) -> int:
        """How many pictures there are."""
        ...

    def __getitem__(self, number: int) -> Labelled:
        """Picture ``number``, from 0; the same at every call."""
        ...

    def digest(self) -> str:
        """A hash that changes when the pictures or labels do."""
        ...


@runtime_checkable
class Filed(Protocol):
    """Pictures that stand in files: what a file holds is looked at when a dissection goes on."""

    def files(self, number: int) -> Sequence[Path]:
        """The files that picture ``number`` is made of, its own first, whether they are there or not."""
        ...


@runtime_checkable
class Told(ConceptData, Protocol):
    """Pictures of which captions tell what is in them, but not where: ``concepts`` is empty, and so are labels.

    ``told_by`` says how words were made concepts, ``left_out`` in sentences what is not among the pictures and why.
    A picture that cannot be read raises ImageError when it is asked for.
    """

    told_by: str
    left_out: tuple[str, ...]

    def told(self) -> Sequence[frozenset[Concept]]:
        """Each picture's concepts, those of any of its captions."""
        ...
