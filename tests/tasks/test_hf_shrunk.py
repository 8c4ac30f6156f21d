"""LLaVA-OneVision packs the tokens of many tiles into fewer: what is left is as large as it lies apart."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import vlx
from tests.mosaics import noise
from vlx.pictures.mosaic import Mosaic


def test_tokens_that_are_shrunk_cover_the_picture_evenly(tiny_folder: Callable[[str], Path]) -> None:
    task: Any = vlx.load(f"hf:{tiny_folder('llava_onevision')}")
    side = min(min(size) for size in task.model.config.image_grid_pinpoints)
    sizes = [[side * rows, side * columns] for rows in range(1, 7) for columns in range(1, 7)]
    task.model.config.image_grid_pinpoints = sizes
    task.processor.image_grid_pinpoints = sizes
    for size in ((200, 300), (300, 200)):
        grid = task.features(task.place(task.prepare(noise(size))[None])).grid
        assert isinstance(grid, Mosaic)
        base = 16  # tokens of the whole picture
        tiles = torch.from_numpy(grid.placed).double()
        tiles[:base] = 0
        assert 0 < tiles.sum() < base * len(sizes)
        density = grid.fold(tiles.view(1, 1, -1))[0]
        assert density.min() > 0.95 * density.mean() and density.max() < 1.05 * density.mean()
        assert abs(float(tiles.sum()) - grid.shape[0] * grid.shape[1]) <= 0.05 * grid.shape[0] * grid.shape[1]
