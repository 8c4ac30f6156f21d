"""Pictures sorted into folders by what they show, as ImageNet's and torchvision's ImageFolder are.

animals/
cat/0001.jpg …
dog/a.png …
"""

from functools import partial
from pathlib import Path

from PIL import Image

from vlx.data.class_names import SYNSETS, synsets_of
from vlx.data.concepts import NO_LABELS, Concept, Regions
from vlx.data.example import Ask, Example
from vlx.data.files import ENDINGS, digest_of
from vlx.errors import InputError

FORM = "classes:DIR"
CATEGORY = "class"


class ClassFolders:
    """The pictures of a folder of folders; a folder's name is the class of its pictures, asked for without a place.

    A class is a concept of the picture as a whole. ``synsets`` are names by WordNet id from ``LOC_synset_mapping.txt``,
    there or beside the folder, where folders are called by ids. Raises InputError for a folder without any.
    """

    licence = ""

    def __init__(self, folder: str | Path, name: str | None = None) -> None:
        self.folder, self.name = Path(folder), str(folder) if name is None else name
        self._pictures = pictures_of(self.folder)
        if not self._pictures:
            raise InputError(f"{self.name}: no folders with pictures in it; needed is DIR/CLASS/PICTURE.jpg")
        classes = dict.fromkeys(one.parent.name for one in self._pictures)
        self.classes = tuple(classes)
        self.concepts = tuple(Concept(name, CATEGORY) for name in classes)
        lists = [place / SYNSETS for place in (self.folder, self.folder.parent)]
        self._list = next((path for path in lists if path.is_file()), None)
        self.synsets = {} if self._list is None else synsets_of(self._list)

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, number: int) -> Example:
        path = self._pictures[number]
        name = path.parent.name
        asks = [Ask(label=name, group=name)]
        return Example(f"{name}/{path.name}", path, asks=asks, regions=partial(self._whole, name))

    def files(self, number: int) -> list[Path]:
        """The picture's file."""
        return [self._pictures[number]]

    def digest(self) -> str:
        """Of the classes, and of names and sizes of the pictures."""
        return digest_of(
            [] if self._list is None else [self._list], self._pictures, [concept.name for concept in self.concepts]
        )

    def _whole(self, name: str, image: Image.Image) -> Regions:
        number = self.concepts.index(Concept(name, CATEGORY)) + 1
        return Regions(NO_LABELS, self.concepts, (number,), (image.height, image.width))


def open_classes(rest: str) -> ClassFolders:
    """Data by what follows "classes:"; raises InputError for what is no folder of folders."""
    return ClassFolders(rest, f"classes:{rest}")


def pictures_of(folder: Path) -> list[Path]:
    """The pictures in the folders of a folder, hidden ones left out, in order of class and name."""
    classes = sorted(one for one in folder.glob("*/") if one.is_dir() and not one.name.startswith("."))
    return [path for one in classes for path in sorted(one.iterdir()) if path.suffix.lower() in ENDINGS]
