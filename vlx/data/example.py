"""One record for every use of a picture: measuring maps by what is known of it, naming units, folders of results.

>>> data = vlx.data.open_data("scenes:500:10000000")
>>> example = data[0]
>>> [(ask.query.caption.split()[ask.position], ask.group) for ask in example.asks if ask.query.caption][:2]
[('striped', 'texture'), ('orange', 'color')]
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vlx.data.concepts import NO_LABELS, Concept, Labelled, Regions
from vlx.errors import InputError
from vlx.pictures.opening import open_image
from vlx.protocol.targets import Query

Mask = NDArray[np.bool_]
Human = NDArray[np.floating]
Box = tuple[float, float, float, float]  # left, top, width, height in pixels of the picture
T = TypeVar("T")


class Truth:
    """Where in the picture that is, what was asked about.

    ``mask`` bool [H, W] on the picture, or a function that makes it when it is first asked for. ``boxes`` are (left,
    top, width, height) in pixels of the picture. ``human`` [h, w] says how much people looked at each cell, and may be
    a function, too. ``things`` are all pixels of the things that ``mask`` is a part of; the mask itself where nothing
    is said. ``absent``: it is known not to be in the picture.

    >>> Truth(np.eye(3, dtype=bool)).mask.sum()
    3
    """

    def __init__(
        self,
        mask: Mask | Callable[[], Mask] | None = None,
        *,
        boxes: Sequence[Box] = (),
        human: Human | Callable[[], Human] | None = None,
        things: Mask | Callable[[], Mask] | None = None,
        absent: bool = False,
    ) -> None:
        self._mask, self._things, self._human = mask, things, human
        self.boxes, self.absent = tuple(boxes), absent

    @property
    def told_mask(self) -> bool:
        """Whether its pixels are known; nothing is made to find out."""
        return self._mask is not None

    @property
    def told_human(self) -> bool:
        """Whether it is known where people looked; nothing is made to find out."""
        return self._human is not None

    @cached_property
    def mask(self) -> Mask | None:
        """Its pixels, bool [H, W]; None where they are not known."""
        return _made(self._mask)

    @cached_property
    def things(self) -> Mask | None:
        """The pixels of whole things of which it is a part, bool [H, W]; `mask` where they are the same."""
        return self.mask if self._things is None else _made(self._things)

    @cached_property
    def human(self) -> Human | None:
        """How much people looked at each cell of the picture, [h, w]; None where nobody was watched."""
        return _made(self._human)


@dataclass(frozen=True, eq=False)
class Ask:
    """One thing to ask about a picture, and what the answer should rest on.

    ``query`` is what the model is asked or made to say. ``position`` is the word of ``query.caption`` that is asked
    about, counted over its parts between spaces; 0 for an answer. ``label`` is the name of a class instead. ``group``
    is what it counts under, as "color". ``truth`` is None where nothing is known: an answer that rests on something
    that is not there. ``marks`` tell asks apart in a way of the data's own, as "biased". ``whole``: the text of the
    query is asked about as a whole, and not one of its words. ``synset`` is the WordNet id of the class, "n02123045".
    ``answers`` are what people answered, one each: see `vlx.data.vqa_accuracy`.

    >>> Ask(Query(question="what color is the star?", answer="red"), group="color", truth=Truth(mask))
    """

    query: Query = field(default_factory=Query)
    position: int = 0
    label: str | None = None
    group: str = ""
    truth: Truth | None = None
    marks: frozenset[str] = frozenset()
    whole: bool = False
    synset: str = ""
    answers: tuple[str, ...] = ()

    @property
    def mask(self) -> Mask | None:
        """The pixels that it should rest on, bool [H, W]; None where they are not known."""
        return None if self.truth is None else self.truth.mask


class Example:
    """One picture and what is known of it; nothing is opened, drawn or painted before it is asked for.

    ``key`` tells it from the others of its data, the same at every run. ``image`` is a path, a PIL picture, or a
    function that makes one. ``texts`` are captions that people gave it. ``asks`` are what maps can be judged by.
    ``regions`` are the pixels of each concept in it, bool [H, W]: what units are named by. ``absent`` are asks for what
    is known not to be in it. ``texts``, ``asks`` and ``absent`` may be functions that make them, ``regions`` a function
    of the picture.

    >>> Example("a", "a.jpg", texts=["a red star"], regions={Concept("star", "object"): mask}).image.size
    (128, 128)
    """

    def __init__(
        self,
        key: str,
        image: str | Path | Image.Image | Callable[[], Image.Image],
        *,
        texts: Sequence[str] | Callable[[], Sequence[str]] = (),
        asks: Sequence[Ask] | Callable[[], Sequence[Ask]] = (),
        regions: Mapping[Concept, Mask] | Callable[[Image.Image], Mapping[Concept, Mask]] | None = None,
        absent: Sequence[Ask] | Callable[[], Sequence[Ask]] = (),
    ) -> None:
        self.key = key
        self._image, self._texts, self._asks, self._regions, self._absent = image, texts, asks, regions, absent

    def __repr__(self) -> str:
        return f"Example({self.key!r})"

    @cached_property
    def image(self) -> Image.Image:
        """The picture, upright, RGB; raises ImageError as `vlx.pictures.opening.open_image`."""
        return open_image(_made(self._image)).image

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """What people wrote about it."""
        return tuple(_made(self._texts) or ())

    @cached_property
    def asks(self) -> tuple[Ask, ...]:
        """What can be asked about it, with the truth."""
        return tuple(_made(self._asks) or ())

    @cached_property
    def absent(self) -> tuple[Ask, ...]:
        """What can be asked and is known not to be in the picture: each ask's truth is `Truth` with ``absent``."""
        return tuple(_made(self._absent) or ())

    @cached_property
    def regions(self) -> Mapping[Concept, Mask]:
        """Concept → its pixels; empty where none are told."""
        regions = self._regions(self.image) if callable(self._regions) else self._regions
        return {} if regions is None else regions

    @property
    def labels(self) -> NDArray[np.integer]:
        """The regions as numbers of concepts [channels, h, w], as data that keep them so tell; else AttributeError."""
        return self._numbered.labels

    @property
    def whole(self) -> tuple[int, ...]:
        """Numbers of the concepts that the picture as a whole carries."""
        return self._numbered.whole

    @property
    def _numbered(self) -> Regions:
        if not isinstance(self.regions, Regions):
            raise AttributeError(f"{self!r} tells its regions by name; see vlx.data.example.labelled")
        return self.regions


@runtime_checkable
class Data(Protocol):
    """Pictures with what is known of them, one at a time.

    ``name`` is what `open_data` opens again, "scenes:2000"; ``licence`` says under what pictures and texts stand, as
    far as is known. Data may tell more of themselves: ``concepts``, all that their regions can hold (`ConceptData`);
    ``left_out``, {why: (name, …)}; ``closed``, what messages call a world whose every word is known, which a model has
    to know; ``by_size``, that figures of words are told by how large things are and not by group; ``classes``, the
    names of all that can be asked for as a class, ``synsets``, such names by WordNet id; ``lacks``, in sentences what
    such data usually tell and these do not; ``unasked``, {why: (name, …)}, the pictures about whose words nothing can
    be asked.
    """

    @property
    def name(self) -> str:
        """What `open_data` opens again."""
        ...

    @property
    def licence(self) -> str:
        """Under what pictures and texts stand."""
        ...

    def __len__(self) -> int:
        """How many pictures there are."""
        ...

    def __getitem__(self, number: int) -> Example:
        """Picture ``number``, from 0; the same at every call, and cheap: nothing is opened yet."""
        ...

    def digest(self) -> str:
        """A hash that changes when the pictures, or what is known of them, do."""
        ...


@runtime_checkable
class ConceptData(Protocol):
    """`Data` whose units can be named by the regions of its pictures; concept number n is ``concepts[n − 1]``.

    ``concepts`` are all that the regions can hold. Pictures may be plain `Labelled` ones, too.
    """

    @property
    def name(self) -> str:
        """What `open_data` opens again."""
        ...

    @property
    def licence(self) -> str:
        """Under what pictures and texts stand."""
        ...

    @property
    def concepts(self) -> tuple[Concept, ...]:
        """Concept number n is the n-th of them, from 1."""
        ...

    def __len__(self) -> int:
        """How many pictures there are."""
        ...

    def __getitem__(self, number: int) -> Example | Labelled:
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

    @property
    def told_by(self) -> str:
        """By what words were made concepts."""
        ...

    @property
    def left_out(self) -> tuple[str, ...]:
        """What is not among the pictures, and why, in sentences."""
        ...

    def told(self) -> Sequence[frozenset[Concept]]:
        """Each picture's concepts, those of any of its captions."""
        ...


AnyData = Data | ConceptData


def with_concepts(data: AnyData) -> ConceptData:
    """The data as what units can be named by. Raises InputError where nothing tells what is where in its pictures."""
    if isinstance(data, ConceptData):
        return data
    raise InputError(
        f"{data.name} tells no regions of its pictures; units are named by data with concepts, or by the words of "
        f"captions: captions:{data.name}"
    )


def labelled(example: "Example | Labelled", concepts: Sequence[Concept]) -> Labelled:
    """A picture with its regions as numbers of ``concepts``, from 1. Raises InputError for a region of another."""
    if isinstance(example, Labelled):
        return example
    if not isinstance(example, Example):
        raise InputError(f"a picture of the data is {type(example).__name__}; give a vlx.data.Example")
    if not concepts:
        return Labelled(example.image, NO_LABELS)
    regions = example.regions
    if isinstance(regions, Regions):
        return Labelled(example.image, regions.labels, regions.whole)
    image, numbers = example.image, {concept: number for number, concept in enumerate(concepts, 1)}
    labels = np.zeros((max(len(regions), 1), image.height, image.width), np.int32)
    for channel, (concept, mask) in zip(labels, regions.items(), strict=False):
        if concept not in numbers:
            raise InputError(f"{example.key}: {concept.name} ({concept.category}) is none of its data's concepts")
        if np.shape(mask) != channel.shape:
            raise InputError(
                f"{example.key}: the region of {concept.name} is {np.shape(mask)}, the picture {channel.shape} (H, W)"
            )
        channel[np.asarray(mask, bool)] = numbers[concept]
    return Labelled(image, labels)


def asks_of(regions: Regions) -> Iterator[Ask]:
    """The classes that regions tell, each by its name, whatever the category, with its pixels.

    What only the picture as a whole carries (a scene) is asked for without a place.
    """
    whole = {regions.concepts[number - 1] for number in regions.whole}
    concepts: dict[str, list[Concept]] = {}
    for concept in regions:
        concepts.setdefault(concept.name, []).append(concept)
    for name, same in concepts.items():
        placed = [concept for concept in same if concept not in whole]
        yield Ask(label=name, group=name, truth=Truth(partial(_union, regions, placed)) if placed else None)


def _union(regions: Regions, concepts: Sequence[Concept]) -> Mask:
    return np.asarray(np.logical_or.reduce([regions[concept] for concept in concepts]))


def asks_of_picture(image: Path, make: Callable[[Image.Image], Regions]) -> tuple[Ask, ...]:
    """The classes that ``make`` tells of the picture in a file; see `asks_of`."""
    return tuple(asks_of(make(open_image(image).image)))


def example_of(data: AnyData, number: int) -> Example:
    """Picture ``number`` of data that are measured. Raises InputError where they give something else."""
    example = data[number]
    if not isinstance(example, Example):
        raise InputError(f"{data.name}[{number}] is {type(example).__name__}; give a vlx.data.Example")
    return example


def _made(value: T | Callable[[], T]) -> T:
    return value() if callable(value) else value
