"""Pictures by their captions alone, for naming units by words: any data that tell texts, as ``captions:…``."""

import hashlib
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from vlx.data import flickr
from vlx.data.captioned import omissions
from vlx.data.concepts import Concept
from vlx.data.example import Data, Example, Filed
from vlx.data.lexicon import Lexicon
from vlx.data.scenes import FIRST, SceneData

PREFIX = "captions:"


class CaptionedData:
    """The pictures of ``data`` without what is where in them: their texts tell what is in them.

    ``lexicon`` makes concepts of words, by default with what is installed.
    """

    concepts: tuple[Concept, ...] = ()

    def __init__(self, data: Data, lexicon: Lexicon | None = None) -> None:
        self._data, self._lexicon = data, Lexicon.installed() if lexicon is None else lexicon
        self.name, self.licence, self.told_by = f"{PREFIX}{data.name}", data.licence, self._lexicon.source
        left_out: Mapping[str, Sequence[str]] = getattr(data, "left_out", {})
        self.left_out = tuple(omissions(left_out))

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, number: int) -> Example:
        example = self._data[number]
        return Example(example.key, lambda: example.image, texts=lambda: example.texts)

    def told(self) -> list[frozenset[Concept]]:
        """Each picture's concepts, those of any of its captions."""
        texts = [self._data[number].texts for number in range(len(self))]
        concepts = self._lexicon.concepts([one for captions in texts for one in captions])
        edges = np.cumsum([0, *map(len, texts)]).tolist()
        return [frozenset[Concept]().union(*concepts[first:stop]) for first, stop in pairwise(edges)]

    def digest(self) -> str:
        """That of the data, for captions."""
        return hashlib.sha256(f"captions {self._data.digest()}".encode()).hexdigest()


class FiledCaptions(CaptionedData):
    """The same of pictures that stand in files."""

    def files(self, number: int) -> Sequence[Path]:
        """The photograph's file; captions are part of the digest."""
        assert isinstance(self._data, Filed)
        return self._data.files(number)


class CaptionedPhotos(FiledCaptions):
    """The captioned photographs of a folder, of one ``split`` of Flickr8k or all; see `flickr.of_folder`."""

    def __init__(self, folder: str | Path, split: str | None = None, lexicon: Lexicon | None = None) -> None:
        name = f"{folder}" + (f":{split}" if split else "")
        super().__init__(flickr.of_folder(folder, split, name), lexicon)

    def digest(self) -> str:
        """Of the captions, and of names and sizes of the pictures."""
        return self._data.digest()


class CaptionedScenes(CaptionedData):
    """Drawn scenes by their captions alone, as `SceneData` draws them: names from words beside names from masks."""

    def __init__(self, count: int, first: int = FIRST, lexicon: Lexicon | None = None) -> None:
        super().__init__(SceneData(count, first), lexicon)


def captions_of(data: Data) -> CaptionedData:
    """Any data by its captions."""
    return FiledCaptions(data) if isinstance(data, Filed) else CaptionedData(data)
