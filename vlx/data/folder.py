"""Any folder of pictures with label maps and a list of what the numbers mean.

    pictures/
      images/0001.jpg …           the pictures
      labels/0001.png …           a label map each: whole numbers, 8 or 16 bits or a palette; 0 is nothing
      labels-material/0001.png …  more of them, where a pixel carries several concepts
      labels.csv                  number,name[,category]; or labels.json {"1": "sky", …}; or labels.txt, a name a line

Numbers of one name and category are one concept.
What is labelled is asked for as a class by its name, too.
A picture may lack a map; a map may be smaller than its picture, but has its proportions.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from vlx.data.concepts import Concept, Regions
from vlx.data.example import Example, asks_of_picture
from vlx.data.files import ENDINGS, Labels, digest_of, label_map, lines, number, records, rows
from vlx.errors import InputError

LISTS = ("labels.csv", "labels.json", "labels.txt")
CATEGORY = "object"


class LabelledFolder:
    """The pictures of such a folder; raises InputError naming the file that cannot be used."""

    licence = ""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.name = str(folder)
        self._list = next((self.folder / name for name in LISTS if (self.folder / name).is_file()), None)
        if self._list is None:
            raise InputError(f"{folder}: no list of labels; needed is one of {', '.join(LISTS)}")
        named = _listed(self._list)
        if not named:
            raise InputError(f"{self._list}: no labels")
        self.concepts = tuple(dict.fromkeys(named.values()))
        self.classes = tuple(dict.fromkeys(concept.name for concept in self.concepts))
        self._number = {label: self.concepts.index(concept) + 1 for label, concept in named.items()}
        self._maps = [path for path in sorted(self.folder.glob("labels*")) if path.is_dir()]
        images = self.folder / "images"
        self._pictures = sorted(path for path in images.glob("*") if path.suffix.lower() in ENDINGS)
        if not self._pictures or not self._maps:
            raise InputError(f"{folder}: needed are pictures in images/ and label maps in labels/")
        if not any((one / f"{path.stem}.png").is_file() for path in self._pictures for one in self._maps):
            raise InputError(
                f"{folder}: no label map has a picture's name; images/{self._pictures[0].name} goes with "
                f"{self._maps[0].name}/{self._pictures[0].stem}.png"
            )

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, place: int) -> Example:
        path = self._pictures[place]
        regions = partial(self._regions, path)
        return Example(path.name, path, asks=partial(asks_of_picture, path, regions), regions=regions)

    def files(self, number: int) -> list[Path]:
        """The picture's file and those of its label maps, there or not."""
        path = self._pictures[number]
        return [path, *(folder / f"{path.stem}.png" for folder in self._maps)]

    def digest(self) -> str:
        """Of the list of labels, and of names and sizes of pictures and label maps."""
        assert self._list is not None
        maps = [file for folder in self._maps for file in sorted(folder.glob("*.png"))]
        return digest_of([self._list], [*self._pictures, *maps])

    def _regions(self, path: Path, image: Image.Image) -> Regions:
        channels = [self._renumbered(file) for one in self._maps if (file := one / f"{path.stem}.png").is_file()]
        if len({channel.shape for channel in channels}) > 1:
            raise InputError(f"{path}: its label maps have different sizes")
        size = (image.height, image.width)
        return Regions(np.stack(channels) if channels else np.zeros((1, *size), np.int32), self.concepts, size=size)

    def _renumbered(self, file: Path) -> Labels:
        raw = label_map(file)
        table = np.zeros(int(raw.max()) + 1, np.int32)
        for label in np.unique(raw[raw > 0]).tolist():
            if label not in self._number:
                raise InputError(f"{file}: label {label} is not in {self._list.name if self._list else 'the list'}")
            table[label] = self._number[label]
        return np.asarray(table[raw], np.int32)


def _listed(path: Path) -> dict[int, Concept]:
    """Number in the label maps → concept."""
    if path.suffix == ".txt":
        named = enumerate(map(str.strip, lines(path)), 1)
        return {place: Concept(name, CATEGORY) for place, name in named if name}
    if path.suffix == ".json":
        table = records(path)
        if not isinstance(table, Mapping):
            raise InputError(f'{path}: needed is an object of number and name, such as {{"1": "sky"}}')
        pairs = [(str(label), str(name), CATEGORY) for label, name in table.items()]
    else:
        pairs = [
            (row["number"], row["name"], row.get("category") or CATEGORY) for row in rows(path, ["number", "name"])
        ]
    concepts: dict[int, Concept] = {}
    for text, name, category in pairs:
        label = number(text, path.name)
        if label in concepts:
            raise InputError(f"{path}: label {label} is named twice")
        if label and name:
            concepts[label] = Concept(name, category)
    return concepts
