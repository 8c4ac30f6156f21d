"""Captioned pictures: photographs in the layouts of Flickr8k and COCO, and drawn scenes by their captions alone."""

import hashlib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from vlx import scenes
from vlx.data import captioned
from vlx.data.concepts import Concept, Labelled
from vlx.data.lexicon import Lexicon
from vlx.data.scenes import FIRST, SceneData
from vlx.errors import InputError
from vlx.pictures.opening import open_image

PREFIX = "captions:"
SCENES = "scenes:"
NO_LABELS = np.zeros((0, 1, 1), np.int32)


class CaptionedPhotos:
    """The captioned photographs of a folder, as `vlx.data.captioned.read` finds them.

    ``split``: "train", "dev" or "test" of Flickr8k; all where it is None. ``lexicon`` makes concepts of words, by
    default with what is installed. Raises InputError naming the file that is missing or broken.
    """

    licence = "photographs and captions: as their source says (Flickr8k's: research and education only)"
    concepts: tuple[Concept, ...] = ()

    def __init__(self, folder: str | Path, split: str | None = None, lexicon: Lexicon | None = None) -> None:
        self.name = f"{PREFIX}{folder}" + (f":{split}" if split else "")
        data = captioned.read(folder)
        if split is not None:
            data = data.only(captioned.split(folder, split))
        if not data.rows:
            raise InputError(f"{self.name}: none of the captioned pictures is of this split; give another folder")
        self._rows, self._lexicon = data.rows, Lexicon.installed() if lexicon is None else lexicon
        self.told_by = self._lexicon.source
        self.left_out = tuple(captioned.omissions(data.left_out))

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, number: int) -> Labelled:
        return Labelled(open_image(self._rows[number].path).image, NO_LABELS)

    def told(self) -> list[frozenset[Concept]]:
        """Each picture's concepts, those of any of its captions."""
        return _told(self._lexicon, [row.captions for row in self._rows])

    def files(self, number: int) -> list[Path]:
        """The photograph's file; captions are part of the digest."""
        return [self._rows[number].path]

    def digest(self) -> str:
        """Of the captions, and of names and sizes of the pictures."""
        made = hashlib.sha256()
        for row in self._rows:
            made.update(f"{row.name} {row.path.stat().st_size} {row.captions}\n".encode())
        return made.hexdigest()


class CaptionedScenes:
    """Drawn scenes by their captions alone, as `SceneData` draws them: names from words beside names from masks."""

    licence = SceneData.licence
    concepts: tuple[Concept, ...] = ()
    left_out: tuple[str, ...] = ()

    def __init__(self, count: int, first: int = FIRST, lexicon: Lexicon | None = None) -> None:
        self._data, self._lexicon = SceneData(count, first), Lexicon.installed() if lexicon is None else lexicon
        self.name, self.told_by = f"{PREFIX}{self._data.name}", self._lexicon.source

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, number: int) -> Labelled:
        return Labelled(self._data[number].image, NO_LABELS)

    def told(self) -> list[frozenset[Concept]]:
        """Each scene's concepts, by its caption."""
        seeds = range(self._data.first, self._data.first + len(self))
        return _told(self._lexicon, [(scenes.draw(seed).caption,) for seed in seeds])

    def digest(self) -> str:
        """That of the scenes."""
        return hashlib.sha256(f"captions {self._data.digest()}".encode()).hexdigest()


def open_captions(spec: str, lexicon: Lexicon | None = None) -> CaptionedPhotos | CaptionedScenes:
    """Data by its name: "captions:DIR", "captions:DIR:train" or "captions:scenes:COUNT[:FIRST]"; else InputError."""
    rest = spec.removeprefix(PREFIX)
    if rest.startswith(SCENES):
        numbers = rest.removeprefix(SCENES).split(":")
        if not 1 <= len(numbers) <= 2 or not all(part.isdigit() for part in numbers):
            raise InputError(f"{spec}: name captioned scenes captions:scenes:COUNT[:FIRST], as captions:scenes:2000")
        count, first = (*map(int, numbers), FIRST)[:2]
        return CaptionedScenes(count, first, lexicon)
    folder, _, split = rest.rpartition(":")
    if folder and split in captioned.SPLITS:
        return CaptionedPhotos(folder, split, lexicon)
    if not rest:
        raise InputError(f"{spec}: give the folder of the photographs, as captions:flickr8k or captions:flickr8k:train")
    return CaptionedPhotos(rest, lexicon=lexicon)


def _told(lexicon: Lexicon, captions: Sequence[Sequence[str]]) -> list[frozenset[Concept]]:
    found = lexicon.concepts([one for own in captions for one in own])
    edges = np.cumsum([0, *(len(own) for own in captions)]).tolist()
    return [frozenset[Concept]().union(*found[first:stop]) for first, stop in pairwise(edges)]
