"""Questions about pictures: easy-VQA (github.com/vzhou842/easy-VQA), one shape on a flat background each."""

from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vlx.data.example import Ask, Example, Truth
from vlx.data.files import digest_of, picture, records
from vlx.errors import InputError
from vlx.language import shortened
from vlx.protocol.targets import Query

FORM = "easy-vqa:DIR[:test|train]"
SPLITS = ("test", "train")
FLAT = 24  # of 255: how much a pixel of the background may differ from its usual colour


class EasyVqaData:
    """One split of easy-VQA, "test" or "train", in order of the pictures' numbers; all answers rest on the one shape.

    ``answers`` are all that there are, as the data list them. Raises InputError when it is not there.
    """

    licence = "easy-VQA: MIT"

    def __init__(self, path: str | Path, split: str = "test", name: str | None = None) -> None:
        self.name = f"easy-vqa:{path}:{split}" if name is None else name
        root = Path(path) / "data" if (Path(path) / "data").is_dir() else Path(path)
        self._list, self._folder = root / split / "questions.json", root / split / "images"
        try:
            entries = records(self._list)
            self.answers = tuple((root / "answers.txt").read_text(encoding="utf-8").split())
        except (InputError, OSError) as error:
            why = shortened(str(error), 120)
            raise InputError(
                f"{path}: no easy-VQA here ({why}); clone github.com/vzhou842/easy-VQA and give its data folder"
            ) from None
        self._asks: dict[int, list[Ask]] = {}
        for entry in entries if isinstance(entries, list) else [entries]:
            if not isinstance(entry, list) or len(entry) != 3 or list(map(type, entry)) != [str, str, int]:
                raise InputError(f"{self._list}: {shortened(repr(entry))} is no [text, answer, number of the picture]")
            text, answer, number = entry
            truth = Truth(partial(self._shape, number))
            query = Query(question=text, answer=answer)
            self._asks.setdefault(number, []).append(Ask(query, group=easy_kind(text), truth=truth))
        self._numbers = sorted(self._asks)

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, place: int) -> Example:
        number = self._numbers[place]
        return Example(str(number), self._path(number), asks=self._asks[number])

    def files(self, place: int) -> list[Path]:
        """The picture's file; its questions stand in questions.json."""
        return [self._path(self._numbers[place])]

    def digest(self) -> str:
        """Of the questions, and of names and sizes of the pictures."""
        return digest_of([self._list], map(self._path, self._numbers))

    def _path(self, number: int) -> Path:
        return self._folder / f"{number}.png"

    def _shape(self, number: int) -> NDArray[np.bool_]:
        return shape_mask(np.asarray(picture(self._path(number))))


def open_easy_vqa(rest: str) -> EasyVqaData:
    """Data by what follows "easy-vqa:", the test split where none is named; raises InputError."""
    folder, _, split = rest.rpartition(":")
    if split not in SPLITS or not folder:
        folder, split = rest, SPLITS[0]
    return EasyVqaData(folder, split, f"easy-vqa:{rest}")


def easy_kind(text: str) -> str:
    """The kind of an easy-VQA question: "shape", "color" or "yes/no"."""
    if text.startswith("what color"):
        return "color"
    return "shape" if text.startswith("what") else "yes/no"


def shape_mask(picture: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """The pixels [H, W] of the one shape on a flat background, which is the colour most common along the border."""
    border = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    colors, counts = np.unique(border, axis=0, return_counts=True)
    background = colors[counts.argmax()].astype(int)
    return np.asarray(np.abs(picture.astype(int) - background).max(2) > FLAT)
