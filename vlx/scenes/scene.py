"""A drawn scene and its complete ground truth."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vlx.scenes.painter import Mask
from vlx.scenes.questions import Content, Question, ask
from vlx.scenes.things import SceneObject, background
from vlx.scenes.world import COLORS, KINDS, SCENES, TEXTURES


class CaptionWord(NamedTuple):
    """One word of the caption: which object it speaks of (a number, or None), its category, and its pixels."""

    word: str
    object: int | None
    category: str | None
    mask: Mask | None


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture, what is in it, and the pixels of everything in it.

    ``image`` is a PIL RGB picture of ``size`` × ``size`` pixels, ``place`` a key of `SCENES`, ``objects`` are back to
    front; ``named`` are the numbers of those that the caption names, left to right.
    """

    seed: int
    image: Image.Image
    place: str
    objects: tuple[SceneObject, ...]
    named: tuple[int, ...]

    @property
    def size(self) -> int:
        """Pixels a side."""
        return self.image.width

    @property
    def caption(self) -> str:
        """One sentence on the most visible objects and the place."""
        return " ".join(word.word for word in self.words)

    @cached_property
    def words(self) -> tuple[CaptionWord, ...]:
        """The caption's words with their ground truth; words such as "a" or "and" have no category and no mask."""
        words: list[CaptionWord] = []
        for number in self.named:
            if words:
                words.append(_plain("and"))
            words += self._noun_phrase(number)
        *before, name = SCENES[self.place].split()
        words += [_plain(word) for word in before]
        words.append(CaptionWord(name, None, "scene", self.background))
        return tuple(words)

    def _noun_phrase(self, number: int) -> list[CaptionWord]:
        thing = self.objects[number]
        described = [CaptionWord(thing.color, number, "color", thing.mask)]
        if thing.texture != "plain":
            described.insert(0, CaptionWord(thing.texture, number, "texture", thing.mask))
        article = "an" if described[0].word[0] in "aeiou" else "a"
        return [_plain(article), *described, CaptionWord(thing.kind, number, "object", thing.mask)]

    @cached_property
    def background(self) -> Mask:
        """Pixels outside all objects, bool [S, S]."""
        return background(self.objects)

    @cached_property
    def questions(self) -> tuple[Question, ...]:
        """Questions with their answers and the pixels these rest on, at most two of each kind."""
        return ask(self.seed, Content(self.objects, self.place))

    @cached_property
    def masks(self) -> dict[str, Mask]:
        """Concept → its visible pixels, bool [S, S], for every concept in the scene; see ``categories``."""
        masks: dict[str, Mask] = {}
        for thing in self.objects:
            layers = {thing.kind: thing.mask, **thing.parts, **thing.colors, thing.texture: thing.textured}
            for concept, mask in layers.items():
                if mask.any():
                    masks[concept] = masks[concept] | mask if concept in masks else mask
        masks[self.place] = self.background
        return masks

    @cached_property
    def categories(self) -> dict[str, str]:
        """Concept → its Broden category: object, part, color, texture or scene."""
        return {concept: category_of(concept) for concept in self.masks}

    def labels(self, category: str) -> NDArray[np.bool_]:
        """All concepts of one category in this scene as one array, bool [concepts, S, S]."""
        masks = [mask for concept, mask in self.masks.items() if self.categories[concept] == category]
        return np.stack(masks) if masks else np.zeros((0, self.size, self.size), bool)


def category_of(concept: str) -> str:
    """The Broden category of a concept of this world."""
    for category, members in (("object", KINDS), ("color", COLORS), ("texture", TEXTURES), ("scene", SCENES)):
        if concept in members:
            return category
    return "part"


def _plain(word: str) -> CaptionWord:
    return CaptionWord(word, None, None, None)
