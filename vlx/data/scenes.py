"""Drawn scenes: the words of their captions, their questions, and the pixels of every concept."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

import numpy as np
from PIL import Image

from vlx import scenes
from vlx.data.concepts import Concept, Regions
from vlx.data.example import Ask, Example, Truth
from vlx.errors import InputError
from vlx.language import shortened
from vlx.protocol.targets import Query
from vlx.scenes.bias import BIASED
from vlx.scenes.compose import drawn, named
from vlx.scenes.makes import Make, names_of
from vlx.scenes.painter import Mask, paint_names, union
from vlx.scenes.scene import Scene, category_of
from vlx.scenes.world import KINDS, PAINTS

FIRST = 5_000_000  # seeds for dissection: neither trained on nor held out
CHANNELS = ("object", "part", "color", "texture", "scene")
FORM = "scenes:COUNT[:FIRST]"


class SceneData:
    """``count`` scenes from seed ``first`` on; with ``named`` only those whose caption names so many things.

    A kind of things is asked for as a class, too, and where a scene has none of it, among its ``absent``. The scenes
    are of the ``makes`` by turns. ``classes`` are the kinds that are asked for, by default all that a scene may have.
    The place is a concept of the pixels outside all objects. Colours are the eleven basic terms, as in Broden, those of
    the parts' fixed paints included: a unit that detects brown should not have to be called a trunk.

    >>> data = SceneData(200, makes=[Make("car", "desert"), Make("rocket", "night")])
    >>> data.classes, data[0].texts, data[3].texts
    (('car', 'rocket'), ('a white car in a desert',), ('a red rocket at night',))
    """

    licence = "MIT"
    closed = "drawn scenes"  # all that can be said of them is known: who lacks a word is not judged by them

    def __init__(
        self,
        count: int,
        first: int = FIRST,
        size: int = 128,
        named: int | None = None,
        *,
        makes: Make | Sequence[Make] = (),
        classes: Sequence[str] = (),
    ) -> None:
        if count < 1:
            raise InputError(f"scenes:{count}; explain, measure or dissect at least one scene")
        self.count, self.first, self.size, self.named = count, first, size, named
        self.makes = (makes,) if isinstance(makes, Make) else tuple(makes)
        self.name = f"scenes:{count}" + (f":{first}" if first != FIRST else "") + (":made" if self.makes else "")
        self.classes = names_of("classes", classes, KINDS) if classes else _classes_of(self.makes)
        self.concepts = _concepts()

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> Example:
        if not 0 <= number < self.count:
            raise IndexError(f"there is no picture {number} among {self.count}")
        seed = self._seeds[number]
        scene = _Drawn(seed, self._make(number), self)
        return Example(
            str(seed), scene.image, texts=scene.texts, asks=scene.asks, regions=scene.regions, absent=scene.absent
        )

    def digest(self) -> str:
        """Of the first and last scene's pixels and labels, and of how many there are: `draw` is deterministic."""
        hashed = hashlib.sha256(f"{self.first} {self.count} {self.size} {self.concepts}".encode())
        if self.named is not None:
            hashed.update(f"{self.named} named".encode())
        if self.makes or self.classes != tuple(KINDS):
            hashed.update(f"{self.makes} {self.classes}".encode())
        for number in {0, self.count - 1}:
            scene = self[number]
            hashed.update(scene.image.tobytes() + scene.labels.tobytes())
        return hashed.hexdigest()

    def masks(self, scene: Scene) -> dict[str, Mask]:
        """Concept → its pixels in a scene, bool [S, S], fixed paints counted among the colours."""
        return {concept.name: mask for concept, mask in _regions(scene, self.concepts).items()}

    @cached_property
    def _seeds(self) -> range | list[int]:
        if self.named is None:
            return range(self.first, self.first + self.count)
        seeds: list[int] = []
        seed = self.first
        while len(seeds) < self.count:
            things = named(seed, self._make(len(seeds))) if self.makes else named(seed)
            seeds += [seed] if len(things) == self.named else []
            seed += 1
        return seeds

    def _make(self, number: int) -> Make:
        return self.makes[number % len(self.makes)] if self.makes else Make()


def open_scenes(rest: str, captioned: str = "") -> SceneData:
    """Data by what follows "scenes:"; raises InputError for anything but one or two numbers.

    ``captioned`` is what stands before it, where only captions are read.
    """
    numbers = rest.split(":")
    if not 1 <= len(numbers) <= 2 or not all(part.isdecimal() for part in numbers):
        what = "captioned scenes" if captioned else "scenes"
        raise InputError(
            f"{captioned}scenes:{shortened(rest, 60)}: name {what} {captioned}{FORM}, such as {captioned}scenes:2000"
        )
    return SceneData(*map(int, numbers))


class _Drawn:
    """A scene that is drawn when something of it is first asked for."""

    def __init__(self, seed: int, make: Make, data: SceneData) -> None:
        self._seed, self._make, self._data = seed, make, data

    @cached_property
    def _scene(self) -> Scene:
        if not self._data.makes:
            return scenes.draw(self._seed, size=self._data.size)
        return drawn(self._seed, self._data.size, self._make)

    def image(self) -> Image.Image:
        return self._scene.image

    def texts(self) -> tuple[str, ...]:
        return (self._scene.caption,)

    def asks(self) -> tuple[Ask, ...]:
        return (*_words(self._scene), *_questions(self._scene), *_classes(self._scene, self._data.classes))

    def absent(self) -> tuple[Ask, ...]:
        return (*_absent(self._scene, self._data.classes),)

    def regions(self, _: Image.Image) -> Regions:
        return _regions(self._scene, self._data.concepts)


def _regions(scene: Scene, concepts: tuple[Concept, ...]) -> Regions:
    """One channel a category; where two parts or colours of different objects meet, the front one's pixels show."""
    numbers = {concept.name: n for n, concept in enumerate(concepts, 1)}
    labels = np.zeros((len(CHANNELS), scene.size, scene.size), np.int16)
    for concept, mask in scene.masks.items():
        labels[CHANNELS.index(category_of(concept)), mask] = numbers[concept]
    for thing in scene.objects:
        for part, paint in paint_names(thing.pose).items():
            labels[CHANNELS.index("color"), thing.parts[part]] = numbers[paint]
    return Regions(labels, concepts)


def _words(scene: Scene) -> Iterator[Ask]:
    query = Query(caption=scene.caption)
    for position, word in enumerate(scene.words):
        if word.category is not None:
            boxes = () if word.object is None else (scene.objects[word.object].box,)
            yield Ask(query, position, group=word.category, truth=Truth(word.mask, boxes=boxes))


def _classes(scene: Scene, kinds: Iterable[str]) -> Iterator[Ask]:
    """Those ``kinds`` that are in a scene, each with all of its things."""
    for kind in (kind for kind in kinds if kind in _kinds(scene)):
        boxes = [thing.box for thing in scene.objects if thing.kind == kind]
        yield Ask(label=kind, group=kind, truth=Truth(scene.masks[kind], boxes=boxes))


def _absent(scene: Scene, kinds: Iterable[str]) -> Iterator[Ask]:
    """Those ``kinds`` of which nothing is in a scene, as classes, and then in the place of each word for a thing."""
    lacking = [kind for kind in kinds if kind not in _kinds(scene)]
    yield from (Ask(label=kind, group=kind, truth=Truth(absent=True)) for kind in lacking)
    words = [word.word for word in scene.words]
    for position, word in enumerate(scene.words):
        for kind in lacking if word.category == "object" else ():
            query = Query(caption=" ".join([*words[:position], kind, *words[position + 1 :]]))
            yield Ask(query, position, group="object", truth=Truth(absent=True))


def _classes_of(makes: Iterable[Make]) -> tuple[str, ...]:
    """The kinds that scenes of some makes may have, in the order of the world; all where any make leaves them open."""
    wanted = [make.kinds or tuple(KINDS) for make in makes]
    return tuple(kind for kind in KINDS if not wanted or any(kind in kinds for kinds in wanted))


def _kinds(scene: Scene) -> list[str]:
    return [kind for kind in KINDS if any(thing.kind == kind for thing in scene.objects)]


def _questions(scene: Scene) -> Iterator[Ask]:
    for asked in scene.questions:
        truth = None if asked.mask is None else Truth(asked.mask, things=_things(scene, asked.mask))
        marks = frozenset({"biased"}) if asked.kind in BIASED else frozenset[str]()
        yield Ask(Query(question=asked.text, answer=asked.answer), group=asked.kind, truth=truth, marks=marks)


def _things(scene: Scene, focus: Mask) -> Mask:
    """All pixels of the things of which an answer rests on a part; the focus itself where it rests on none."""
    masks = [thing.mask for thing in scene.objects if (thing.mask & focus).any()]
    return union(masks) if masks else focus


def _concepts() -> tuple[Concept, ...]:
    parts = {part.name for kind in KINDS.values() for part in kind.parts} - set(KINDS)
    names = [*scenes.KINDS, *sorted(parts), *scenes.COLORS, *scenes.TEXTURES, *scenes.SCENES]
    plain = [Concept(name, category_of(name)) for name in names]
    return (*plain, *(Concept(name, "color") for name in dict.fromkeys(PAINTS.values()) if name not in scenes.COLORS))
