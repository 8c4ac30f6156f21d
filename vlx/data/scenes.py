"""Drawn scenes as pictures with concept masks."""

import hashlib

import numpy as np

from vlx import scenes
from vlx.data.concepts import Concept, Labelled
from vlx.errors import InputError
from vlx.neuron_names.datasets.data import Labelled
from vlx.neuron_names.table.tally import Concept
from vlx.scenes.painter import Mask, paint_names
from vlx.scenes.scene import Scene, category_of
from vlx.scenes.world import KINDS, PAINTS

FIRST = 5_000_000  # seeds for dissection: neither trained on nor held out
CHANNELS = ("object", "part", "color", "texture", "scene")


class SceneData:
    """``count`` scenes from seed ``first`` on.

    The place is a concept of the pixels outside all objects. Colours are the eleven basic terms, as in Broden, those of
    the parts' fixed paints included: a unit that detects brown should not have to be called a trunk.
    """

    licence = "MIT"

    def __init__(self, count: int, first: int = FIRST, size: int = 128) -> None:
        if count < 1:
            raise InputError(f"scenes:{count}; dissect at least one scene")
        self.count, self.first, self.size = count, first, size
        self.name = f"scenes:{count}" + (f":{first}" if first != FIRST else "")
        self.concepts = _concepts()
        self._number = {concept.name: n for n, concept in enumerate(self.concepts, 1)}

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> Labelled:
        if not 0 <= number < self.count:
            raise IndexError(f"there is no picture {number} among {self.count}")
        scene = scenes.draw(self.first + number, size=self.size)
        return Labelled(scene.image, self._labels(scene))

    def digest(self) -> str:
        """Of the first and last scene's pixels and labels, and of how many there are: `draw` is deterministic."""
        made = hashlib.sha256(f"{self.first} {self.count} {self.size} {self.concepts}".encode())
        for number in {0, self.count - 1}:
            one = self[number]
            made.update(one.image.tobytes() + one.labels.tobytes())
        return made.hexdigest()

    def masks(self, scene: Scene) -> dict[str, Mask]:
        """Concept → its pixels in a scene, bool [S, S], fixed paints counted among the colours."""
        labels = self._labels(scene)
        return {self.concepts[n - 1].name: (labels == n).any(0) for n in np.unique(labels) if n}

    def _labels(self, scene: Scene) -> np.ndarray[tuple[int, ...], np.dtype[np.int16]]:
        """One channel a category; where two parts or colours of different objects meet, the front one's pixels show."""
        labels = np.zeros((len(CHANNELS), self.size, self.size), np.int16)
        for concept, mask in scene.masks.items():
            labels[CHANNELS.index(category_of(concept)), mask] = self._number[concept]
        for thing in scene.objects:
            for part, paint in paint_names(thing.pose).items():
                labels[CHANNELS.index("color"), thing.parts[part]] = self._number[paint]
        return labels


def _concepts() -> tuple[Concept, ...]:
    parts = {part.name for kind in KINDS.values() for part in kind.parts} - set(KINDS)
    named = [*scenes.KINDS, *sorted(parts), *scenes.COLORS, *scenes.TEXTURES, *scenes.SCENES]
    plain = [Concept(name, category_of(name)) for name in named]
    return (*plain, *(Concept(name, "color") for name in dict.fromkeys(PAINTS.values()) if name not in scenes.COLORS))
