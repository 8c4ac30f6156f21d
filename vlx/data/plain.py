"""A folder of pictures of which nothing is known: what needs no truth is measured on them, of what the model says.

>>> data = vlx.data.open_data("pictures:holiday")
>>> data[0].asks
()
"""

from pathlib import Path

from vlx.data.example import Example
from vlx.data.files import ENDINGS, digest_of
from vlx.errors import InputError
from vlx.language import shortened

FORM = "pictures:DIR"


class PictureFolder:
    """The pictures of a folder in the order of their names, hidden ones and those of folders in it left out.

    Raises InputError for a folder that is not there, and for one without any.
    """

    licence = ""

    def __init__(self, folder: str | Path, name: str | None = None) -> None:
        self.folder, self.name = Path(folder), f"pictures:{folder}" if name is None else name
        called = shortened(self.name, 120)
        try:
            there = sorted(self.folder.iterdir())
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "no name of a folder"
            raise InputError(f"{called}: cannot be listed ({why}); give the folder of your pictures") from None
        self._pictures = [one for one in there if one.suffix.lower() in ENDINGS and not one.name.startswith(".")]
        if not self._pictures:
            inside = sum(one.is_dir() for one in there)
            hint = f", but {inside} folders: classes:{shortened(str(folder))} reads a folder a class" if inside else ""
            raise InputError(f"{called}: no pictures in it ({', '.join(ENDINGS)}){hint}")

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, number: int) -> Example:
        path = self._pictures[number]
        return Example(path.name, path)

    def files(self, number: int) -> list[Path]:
        """The picture's file."""
        return [self._pictures[number]]

    def digest(self) -> str:
        """Of names and sizes of the pictures."""
        return digest_of([], self._pictures)


def open_pictures(rest: str) -> PictureFolder:
    """Data by what follows "pictures:"; raises InputError for what is no folder with pictures."""
    return PictureFolder(rest, f"pictures:{rest}")
