"""The CNN's two maps of every training picture, computed once and kept on disk: the CNN is not trained."""

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.progress import track
from torch import Tensor

from vlx.data.captioned import Photograph
from vlx.errors import InputError, OutputError
from vlx.files import json_files
from vlx.files.whole import write_text
from vlx.pictures.opening import open_image
from vlx.tasks.photos.efficientnet import MIDDLE, WIDE, EfficientNetLite

SIZE = 224
BATCH = 32
GREY = (127 / 255, 127 / 255, 127 / 255)  # what is 0 once prepared

Array = NDArray[Any]


def prepared(picture: Image.Image) -> Tensor:
    """PIL RGB → float32 [3, 224, 224], (RGB − 127) / 128, the whole picture squashed into the square.

    A crop would leave out what captions speak of; published weights bear the change of shape.
    """
    square = picture.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    return torch.from_numpy((np.asarray(square, np.float32) - 127) / 128).permute(2, 0, 1)


class Maps:
    """The maps of pictures by name: of each the middle one, [112, 14, 14], and the last one, [1280, 7, 7]; on disk."""

    def __init__(self, places: Mapping[str, tuple[Array, Array, int]]) -> None:
        self._places = dict(places)

    @classmethod
    def of_arrays(cls, names: Sequence[str], middle: Array, last: Array) -> "Maps":
        """From arrays [N, 112, 14, 14] and [N, 1280, 7, 7]."""
        return cls({name: (middle, last, row) for row, name in enumerate(names)})

    def __or__(self, other: "Maps") -> "Maps":
        return Maps({**self._places, **other._places})

    def of(self, names: Sequence[str]) -> tuple[Tensor, Tensor]:
        """The two maps of these pictures, float32 [B, 112, 14, 14] and [B, 1280, 7, 7]."""
        rows = [self._places[name] for name in names]
        middle = np.stack([array[row] for array, _, row in rows])
        last = np.stack([array[row] for _, array, row in rows])
        return torch.from_numpy(middle).float(), torch.from_numpy(last).float()


def computed(cnn: EfficientNetLite, rows: Sequence[Photograph], folder: Path) -> Maps:
    """The maps of these pictures, kept in ``folder``; started again, it goes on where it was.

    Raises InputError when the folder holds the maps of other pictures, and for pictures that cannot be read, named.
    """
    names = [row.name for row in rows]
    folder.mkdir(parents=True, exist_ok=True)
    listed = folder / "names.json"
    if listed.is_file() and json_files.read(listed) != names:
        raise InputError(f"{folder} holds the maps of other pictures; give another folder or delete it")
    shapes = {"middle": (MIDDLE, SIZE // 16, SIZE // 16), "last": (WIDE, SIZE // 32, SIZE // 32)}
    arrays = {name: _opened(folder / f"{name}.npy", (len(rows), *shape)) for name, shape in shapes.items()}
    write_text(listed, json.dumps(names))
    count = folder / "done.txt"
    done = int(count.read_text(encoding="ascii")) if count.is_file() else 0
    for first in track(range(done, len(rows), BATCH), "maps of the CNN", transient=True):
        pictures = torch.stack([prepared(open_image(row.path).image) for row in rows[first : first + BATCH]])
        with torch.no_grad():
            for array, maps in zip(arrays.values(), cnn.maps(pictures), strict=True):
                array[first : first + len(pictures)] = maps.numpy()
        write_text(count, str(first + len(pictures)))
    return Maps.of_arrays(names, arrays["middle"], arrays["last"])


def _opened(path: Path, shape: tuple[int, ...]) -> Array:
    mode = "r+" if path.is_file() else "w+"
    if mode == "w+":
        _room(path.parent, 2 * math.prod(shape))
    array = np.lib.format.open_memmap(path, mode=mode, dtype=np.float16, shape=None if mode == "r+" else shape)
    if array.shape != shape:
        raise InputError(f"{path} is {list(array.shape)}, needed is {list(shape)}; delete the folder")
    return array


def _room(folder: Path, size: int) -> None:
    """Raises OutputError where the disk is too full: writing to a map of a file would end the process."""
    free = shutil.disk_usage(folder).free
    if free < size:
        raise OutputError(f"{folder}: the maps take {size:,} bytes, and {free:,} are free; choose another place")
