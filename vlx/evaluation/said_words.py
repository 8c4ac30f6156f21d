"""Which words of a caption are right, which are wrong, and another word in the place of a right one: a foil.

What is not in a picture is known of drawn scenes, whose captions say all there is, and of data that outline all things
of some categories (COCO): as in CHAIR (Rohrbach et al., arXiv 1809.02156) a word that names a category is wrong where
no such thing is outlined and no person's caption names one. Foils are made as in FOIL-COCO (Shekhar et al., arXiv
1705.01359): one word is swapped for another of its kind that is not there.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, Protocol

import numpy as np

from vlx.data.captioned import words_of
from vlx.data.categories import WORDS
from vlx.data.example import Data, Example
from vlx.data.scenes import SceneData
from vlx.scenes import COLORS, KINDS, SCENES, TEXTURES

SCENE = "scene"
GROUPS: Mapping[str, str] = {
    word: group
    for group, words in (("object", KINDS), ("color", COLORS), ("texture", TEXTURES), (SCENE, SCENES))
    for word in words
}
_SIZES = (1, 8, 5, 10, 5, 10, 7, 10, 6, 6, 5, 7)  # COCO's categories stand in order of twelve wider ones
WIDER: Mapping[str, int] = {
    name: number
    for number, (first, stop) in enumerate(pairwise(accumulate(_SIZES, initial=0)))
    for name in list(WORDS)[first:stop]
}

Judged = dict[int, tuple[str, bool]]  # the group of a word that is judged, and whether it is right


class Wording(Protocol):
    """What can be said of the words of captions of some data."""

    def judged(self, words: Sequence[str], example: Example) -> Judged:
        """Which words are right or wrong, by position, each with the group it counts under."""
        ...

    def others(self, words: Sequence[str], position: int, example: Example) -> Sequence[str]:
        """What could stand in the place of a right word and is not in the picture."""
        ...


def wording_of(data: Data) -> Wording | None:
    """How the words of captions of these data are judged; None where it is not known what is not in their pictures."""
    if isinstance(data, SceneData):
        return SceneWording()
    words = getattr(data, "words", None)
    return CategoryWording(words) if all(callable(getattr(words, name, None)) for name in ("named", "said")) else None


class SceneWording:
    """Of drawn scenes: the caption says all that can be said, thing by thing.

    >>> SceneWording().judged("a red car on a beach".split(), SceneData(1, 10_000_001)[0])  # a blue bird and a … tree
    {1: ('color', False), 2: ('object', False), 5: ('scene', True)}
    """

    def judged(self, words: Sequence[str], example: Example) -> Judged:
        """Each thing that is told is compared with the true one that it has most words in common with."""
        true = _things(example.texts[0].split())
        left = [{word for _, word in thing} for thing in true]
        right: Judged = {}
        for thing in _things(words):
            told = {word for _, word in thing}
            best = max(left, key=lambda one: len(one & told), default=set[str]())
            if best in left:
                left.remove(best)
            right |= {place: (GROUPS[word], word in best) for place, word in thing}
        for place, word in enumerate(words):
            if GROUPS.get(word) == SCENE:
                right[place] = (SCENE, word in example.texts[0].split())
        return right

    def others(self, words: Sequence[str], position: int, example: Example) -> list[str]:
        """The words of its group that name nothing in the scene and take the same article."""
        there = {concept.name for concept in example.regions} | set(words)
        before = words[position - 1] if position else ""
        return [
            word
            for word, group in GROUPS.items()
            if group == GROUPS[words[position]] and word not in there and word != "plain" and _follows(before, word)
        ]


@dataclass(frozen=True, eq=False)
class CategoryWording:
    """Of data that outline all things of some categories; ``words`` is a `vlx.data.categories.CategoryWords`."""

    words: Any

    def judged(self, words: Sequence[str], example: Example) -> Judged:
        """A word that names categories is right where one of them is there."""
        there = self._there(example)
        named: Mapping[int, tuple[str, ...]] = self.words.named(words)
        return {place: ("object", not there.isdisjoint(names)) for place, names in named.items()}

    def others(self, words: Sequence[str], position: int, example: Example) -> list[str]:
        """One word for each category that is not there, those of its wider category where there are any."""
        there, like = self._there(example), words[position]
        wider = {WIDER.get(name) for name in self.words.named(words)[position]}
        lacking = [name for name in self.words.categories if name not in there]
        near = [name for name in lacking if WIDER.get(name) in wider] or lacking
        said = [self.words.said(name, like) for name in near]
        before = words[position - 1] if position else ""
        return [word for word in said if word is not None and _follows(before, word)]

    def _there(self, example: Example) -> set[str]:
        outlined = {ask.label for ask in example.asks if ask.label is not None}
        told = {name for text in example.texts for names in self.words.named(words_of(text)).values() for name in names}
        return outlined | told


def foil(
    wording: Wording, words: Sequence[str], position: int, example: Example, knows: Callable[[str], bool]
) -> str | None:
    """Another word in the place of a right one, by a seed of the picture and the place; None where there is none.

    >>> foil(SceneWording(), "a red car on a beach".split(), 2, example, lambda word: True)
    'lamp'
    """
    others = [word for word in wording.others(words, position, example) if knows(word)]
    if not others:
        return None
    seed = hashlib.sha256(f"{position} {' '.join(words)} {example.key}".encode(errors="replace")).digest()
    return others[int(np.random.default_rng(list(seed)).integers(len(others)))]


def _things(words: Sequence[str]) -> list[list[tuple[int, str]]]:
    """The words about each thing of a scene's caption, with their places; between things stands "and"."""
    things: list[list[tuple[int, str]]] = [[]]
    for place, word in enumerate(words):
        if word == "and":
            things.append([])
        elif GROUPS.get(word, SCENE) != SCENE:
            things[-1].append((place, word))
    return [thing for thing in things if thing]


def _follows(before: str, word: str) -> bool:
    """Whether a word can follow the article that stands before it."""
    return before not in ("a", "an") or (before == "an") == (word[0] in "aeiou")
