"""The Broden layout (Bau et al. 1704.05796): ``index.csv``, ``category.csv``, ``label.csv``, ``c_*.csv``, ``images/``.

A cell of the index is empty, or holds label maps or label numbers, parted by ";". A label map is a PNG whose pixels are
R + 256 · G; a number labels the picture as a whole (scenes, textures). What is labelled is asked for as a class by
its name, too; a scene without a place.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from vlx.data.concepts import Concept, Regions
from vlx.data.example import Example, asks_of_picture
from vlx.data.files import digest_of, label_map, number, rows
from vlx.errors import InputError

SUFFIXES = {"color": "-c", "scene": "-s"}


@dataclass(frozen=True)
class _Row:
    image: str
    maps: tuple[tuple[str, str], ...]  # category and file
    whole: tuple[int, ...]


class BrodenData:
    """The pictures of a folder in the Broden layout.

    A label number counts by category: "head" may be an object and a part. Concepts of fewer pictures than
    ``min_images``, by the frequency in ``c_*.csv``, are left out (the original leaves out those below 10). ``split``:
    "train" or "val"; all where it is None. Raises InputError naming the file and line that cannot be used.
    """

    licence = "Broden: see its parts (ADE20K, OpenSurfaces, PASCAL, DTD)"

    def __init__(self, folder: str | Path, *, split: str | None = None, min_images: int = 1) -> None:
        self.folder = Path(folder)
        self.name = str(folder)
        categories = [row["name"] for row in rows(self.folder / "category.csv", ["name"])]
        if not categories:
            raise InputError(f"{self.folder / 'category.csv'}: no categories")
        names = {number(row["number"], "label.csv"): row["name"] for row in self._labels()}
        self._number: dict[tuple[str, int], int] = {}
        concepts = []
        for category in categories:
            for label in self._concepts(category, min_images):
                if label not in names:
                    raise InputError(f"{self.folder / f'c_{category}.csv'}: label {label} is not in label.csv")
                concepts.append(Concept(names[label].removesuffix(SUFFIXES.get(category, "\0")), category))
                self._number[category, label] = len(concepts)
        self.concepts = tuple(concepts)
        self.classes = tuple(dict.fromkeys(concept.name for concept in concepts))
        self._known = set(names)
        self._rows = [
            self._row(row, line, categories)
            for line, row in enumerate(rows(self.folder / "index.csv", ["image", *categories], whole=True), 2)
            if split is None or row.get("split") == split
        ]
        if not self._rows:
            raise InputError(f"{self.folder / 'index.csv'}: no pictures" + (f" of split {split!r}" if split else ""))

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, place: int) -> Example:
        row = self._rows[place]
        path, regions = self.folder / "images" / row.image, partial(self._regions, row)
        return Example(row.image, path, asks=partial(asks_of_picture, path, regions), regions=regions)

    def files(self, number: int) -> list[Path]:
        """The picture's file and those of its label maps."""
        row = self._rows[number]
        return [self.folder / "images" / name for name in (row.image, *(file for _, file in row.maps))]

    def digest(self) -> str:
        """Of the index files, and of names and sizes of the pictures and label maps."""
        lists = [self.folder / "index.csv", self.folder / "label.csv", *sorted(self.folder.glob("c*.csv"))]
        return digest_of(lists, (path for number in range(len(self)) for path in self.files(number)))

    def _regions(self, row: _Row, image: Image.Image) -> Regions:
        channels = [self._map(category, file) for category, file in row.maps]
        shapes = {channel.shape for channel in channels}
        if len(shapes) > 1:
            raise InputError(f"{self.folder}, {row.image}: its label maps have different sizes {sorted(shapes)}")
        size = (image.height, image.width)
        return Regions(
            np.stack(channels) if channels else np.zeros((1, *size), np.int32), self.concepts, row.whole, size
        )

    def _labels(self) -> list[dict[str, str]]:
        return rows(self.folder / "label.csv", ["number", "name"])

    def _concepts(self, category: str, least: int) -> list[int]:
        path = self.folder / f"c_{category}.csv"
        labels = []
        for row in rows(path, ["number"]):
            label = number(row["number"], path.name)
            frequent = number(row["frequency"], path.name) if row.get("frequency") else least
            if label and frequent >= least:
                labels.append(label)
        return labels

    def _row(self, row: dict[str, str], line: int, categories: list[str]) -> _Row:
        maps: list[tuple[str, str]] = []
        whole: list[int] = []
        for category in categories:
            for part in filter(None, (one.strip() for one in row[category].split(";"))):
                if part.isdigit():
                    self._check(int(part), f"index.csv, line {line}")
                    whole += [self._number[category, int(part)]] if (category, int(part)) in self._number else []
                else:
                    maps.append((category, part))
        return _Row(row["image"], tuple(maps), tuple(dict.fromkeys(whole)))

    def _map(self, category: str, file: str) -> np.ndarray[tuple[int, ...], np.dtype[np.int32]]:
        """A label map in our numbers; labels that were left out become 0."""
        raw = label_map(self.folder / "images" / file, packed=True)
        table = np.zeros(int(raw.max()) + 1, np.int32)
        for label in np.unique(raw[raw > 0]).tolist():
            self._check(label, file)
            table[label] = self._number.get((category, label), 0)
        return np.asarray(table[raw], np.int32)

    def _check(self, label: int, where: str) -> None:
        if label and label not in self._known:
            raise InputError(f"{self.folder}, {where}: label {label} is not in label.csv")
