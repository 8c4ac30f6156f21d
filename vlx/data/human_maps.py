"""Where people looked to answer a question: maps as VQA-HAT publishes them, a grey picture for each person."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vlx.data.files import ENDINGS, files_in
from vlx.errors import ImageError, InputError
from vlx.pictures.opening import stored

CELLS = 14  # a side of the grid on which maps are compared (Grad-CAM, section 8.2)
NAMED = re.compile(r"(\d+)_(\d+)")


def human_maps(folder: Path) -> Mapping[int, tuple[Path, ...]]:
    """Number of a question → the maps of those who answered it, ``{question_id}_{k}.png`` in a folder or below it.

    Raises InputError where there is none, and for two of one name.
    """
    maps: dict[int, dict[int, Path]] = {}
    for path in files_in(folder, ENDINGS):
        if (named := NAMED.fullmatch(path.stem)) is None:
            continue
        own = maps.setdefault(int(named[1]), {})
        if (other := own.setdefault(int(named[2]), path)) != path:
            raise InputError(f"{other} and {path}: two maps of one person; take one of them away")
    if not maps:
        raise InputError(f"{folder}: no human maps; they are named by their question, {{question_id}}_{{k}}.png")
    return {question: tuple(own[k] for k in sorted(own)) for question, own in maps.items()}


def human_map(paths: Sequence[Path]) -> NDArray[np.float64]:
    """The mean of people's maps, [14, 14] from 0 to 1: each is averaged over the areas of 14 × 14 cells first.

    ``paths`` are grey pictures of any size, each laid on the whole picture. Raises ImageError for one that cannot be
    read, InputError where there are none.
    """
    if not paths:
        raise InputError("no human maps to average; give at least one")
    cells = [_cells(path) for path in paths]
    return np.asarray(np.mean(cells, 0))


def _cells(path: Path) -> NDArray[np.float64]:
    try:
        image = stored(path)
    except ImageError as error:
        raise ImageError(f"{error} (a human map)") from None
    deep = image.mode.startswith("I")  # 16 bits
    grey = np.asarray(image if deep else image.convert("L"), np.float64) / (65535 if deep else 255)
    down, across = map(_areas, grey.shape)
    return np.asarray(down @ grey @ across.T)


def _areas(size: int) -> NDArray[np.float64]:
    """What each of ``size`` pixels in a row adds to the mean of each cell that it lies in, [14, size]."""
    edges = np.arange(CELLS + 1) * (size / CELLS)
    shared = np.minimum(edges[1:, None], np.arange(1, size + 1)) - np.maximum(edges[:-1, None], np.arange(size))
    return np.asarray(shared.clip(0) * (CELLS / size))
