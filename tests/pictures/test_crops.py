"""Crops: what is measured of transformers' own image processors is what their documentation says that they do."""

import math
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import functional

from vlx.errors import ModelError
from vlx.pictures.crops import crop_frames, crop_tokens
from vlx.pictures.mosaic import Mosaic
from vlx.pictures.placement import Frame

Size = tuple[int, int]
Box = tuple[float, float, float, float]  # what a crop shows: top, bottom, left, right, in pixels from the upper left
SIDE = 64
SIZES = [(200, 360), (360, 200), (256, 256), (40, 40)]
NEAR, OFF = 0.12, 0.05  # pixels of a crop, and of the picture: less than a hundredth of the smallest token there is


def processor(name: str, **options: Any) -> Callable[[Image.Image], Tensor]:
    transformers = pytest.importorskip("transformers")
    made = getattr(transformers, f"{name}ImageProcessor")(**options)

    def crops(image: Image.Image) -> Tensor:
        pixels: Tensor = made(image, return_tensors="pt")["pixel_values"]
        return pixels[0] if pixels.ndim == 5 else pixels

    return crops


def square(side: int = SIDE) -> dict[str, int]:
    return {"height": side, "width": side}


def shown(frame: Frame) -> Box:
    """The part of the user's picture that a crop shows, its padding included."""
    ends = [frame.scale[n] * (edge - 0.5) + frame.shift[n] + 0.5 for n in (0, 1) for edge in (0, frame.prepared[n])]
    return ends[0], ends[1], ends[2], ends[3]


def tiles(size: Size, rows: int, columns: int) -> list[Box]:
    """The picture cut into equal parts, row by row."""
    h, w = size[0] / rows, size[1] / columns
    return [(i * h, (i + 1) * h, j * w, (j + 1) * w) for i, j in product(range(rows), range(columns))]


def whole(size: Size) -> list[Box]:
    return tiles(size, 1, 1)


def anyres(size: Size, canvas: Size) -> list[Box]:
    """LLaVA-NeXT's and OneVision's: the whole picture squashed to a square, then the tiles of a padded canvas."""
    factor = min(canvas[0] / size[0], canvas[1] / size[1])
    resized = [min(math.ceil(size[n] * factor), canvas[n]) for n in (0, 1)]
    scale = [size[n] / resized[n] for n in (0, 1)]
    before = [(canvas[n] - resized[n]) // 2 for n in (0, 1)]
    boxes = whole(size)
    for top, left in product(range(0, canvas[0], SIDE), range(0, canvas[1], SIDE)):
        edges = [scale[n] * (edge - before[n]) for n, edge in ((0, top), (0, top + SIDE), (1, left), (1, left + SIDE))]
        boxes.append((edges[0], edges[1], edges[2], edges[3]))
    return boxes


def near(frames: list[Frame], boxes: list[Box], size: Size) -> None:
    assert len(frames) == len(boxes) and not any(frame.note for frame in frames)
    for frame, box in zip(frames, boxes, strict=True):
        assert frame.size == size and frame.prepared == (SIDE, SIDE)
        off = np.abs(np.subtract(shown(frame), box)).reshape(2, 2)
        assert (off < np.maximum(np.reshape(frame.scale, (2, 1)) * NEAR, OFF)).all(), (shown(frame), box)


@pytest.mark.parametrize(
    ("size", "canvas"),
    [((200, 360), (128, 128)), ((360, 200), (128, 128)), ((256, 256), (128, 128)), ((40, 40), (64, 128))],
)
def test_llava_next(size: Size, canvas: Size) -> None:
    pinpoints = [[64, 128], [128, 64], [128, 128], [192, 64], [64, 192]]
    crops = processor("LlavaNext", size={"shortest_edge": 64}, crop_size=square(), image_grid_pinpoints=pinpoints)
    frames = crop_frames(crops, size)
    near(frames, anyres(size, canvas), size)
    if size == (200, 360):  # 72 rows of the canvas, 28 of padding above and below
        assert [frame.window for frame in frames[1:3]] == [(28, 64, 0, 64)] * 2
        assert [frame.window for frame in frames[3:]] == [(0, 36, 0, 64)] * 2


@pytest.mark.parametrize(
    ("size", "canvas"),
    [((200, 360), (128, 192)), ((360, 200), (192, 128)), ((256, 256), (192, 192)), ((40, 40), (64, 64))],
)
def test_llava_onevision(size: Size, canvas: Size) -> None:
    pinpoints = [[64 * rows, 64 * columns] for rows, columns in product(range(1, 4), range(1, 4))]
    crops = processor("LlavaOnevision", size=square(), image_grid_pinpoints=pinpoints)
    near(crop_frames(crops, size), anyres(size, canvas), size)


@pytest.mark.parametrize(
    ("size", "grid"), [((200, 360), (3, 4)), ((360, 200), (4, 3)), ((256, 256), (4, 4)), ((40, 40), (4, 4))]
)
def test_idefics3_has_the_whole_picture_last(size: Size, grid: Size) -> None:
    crops = processor("Idefics3", size={"longest_edge": 256}, max_image_size={"longest_edge": SIDE})
    near(crop_frames(crops, size), [*tiles(size, *grid), *whole(size)], size)


def test_idefics3_without_crops() -> None:
    crops = processor("Idefics3", size={"longest_edge": SIDE}, max_image_size={"longest_edge": SIDE})
    near(crop_frames(crops, (48, 48)), whole((48, 48)), (48, 48))


@pytest.mark.parametrize(
    ("size", "grid"), [((200, 360), (1, 2)), ((360, 200), (2, 1)), ((256, 256), (2, 2)), ((40, 40), (1, 1))]
)
def test_internvl_has_the_thumbnail_last_and_none_of_a_single_tile(size: Size, grid: Size) -> None:
    crops = processor("GotOcr2", size=square(), crop_to_patches=True, min_patches=1, max_patches=6)
    near(crop_frames(crops, size), [*tiles(size, *grid), *(whole(size) if grid != (1, 1) else [])], size)


@pytest.mark.parametrize(
    ("size", "grid"), [((200, 360), (1, 2)), ((360, 200), (2, 1)), ((256, 256), None), ((40, 40), None)]
)
def test_gemma_3_with_pan_and_scan(size: Size, grid: Size | None) -> None:
    ways = {"min_crop_size": 32, "max_num_crops": 4, "min_ratio_to_activate": 1.2}
    ways = {f"pan_and_scan_{name}": value for name, value in ways.items()}
    crops = processor("Gemma3", size=square(), do_pan_and_scan=True, **ways)
    near(crop_frames(crops, size), [*whole(size), *(tiles(size, *grid) if grid else [])], size)


def fixed(image: Image.Image) -> Tensor:
    """Three crops of 24 × 36: the whole picture, its lower right quarter, and padding alone."""
    picture = functional.to_tensor(image)
    h, w = picture.shape[1:]
    cuts = [functional.resize(cut, [24, 36]) for cut in (picture, picture[:, h // 2 :, w // 2 :])]
    return torch.stack([*cuts, torch.full((3, 24, 36), 0.5)])


def test_a_crop_of_padding_has_an_empty_window_and_tokens_without_a_place() -> None:
    frames = crop_frames(fixed, (96, 144))
    assert [frame.window for frame in frames] == [(0, 24, 0, 36), (0, 24, 0, 36), (0, 0, 0, 0)]
    centres, extents = crop_tokens(frames, (2, 3))
    expected = [(23.5, 23.5), (23.5, 71.5), (23.5, 119.5), (71.5, 23.5), (71.5, 71.5), (71.5, 119.5)]
    np.testing.assert_allclose(centres[:6], expected, atol=0.1)
    np.testing.assert_allclose(centres[6:12], [(y / 2 + 47.75, x / 2 + 71.75) for y, x in expected], atol=0.1)
    np.testing.assert_allclose(extents[:12], [(48, 48)] * 6 + [(24, 24)] * 6, atol=0.1)
    assert np.isnan(centres[12:]).all() and np.isnan(extents[12:]).all()
    grid = Mosaic.of(centres, extents, (96, 144))
    assert grid.shape == (4, 6) and grid.placed.tolist() == [True] * 12 + [False] * 6


@pytest.mark.parametrize("size", SIZES[:2])
def test_a_word_about_a_place_lies_there_in_every_piece(size: Size) -> None:
    """What each token sees of a white spot, folded: the spot, in landscape and in portrait."""
    crops = processor("GotOcr2", size=square(), crop_to_patches=True, min_patches=1, max_patches=6)
    grid = Mosaic.of(*crop_tokens(crop_frames(crops, size), (8, 8)), size)
    top, left = size[0] * 3 // 4, size[1] // 8
    picture = np.zeros((*size, 3), np.uint8)
    picture[top : top + 20, left : left + 20] = 255
    change = crops(Image.fromarray(picture)) - crops(Image.fromarray(picture * 0))
    strip = torch.nn.functional.avg_pool2d(change.mean(1), 8).reshape(1, 1, -1)
    folded = grid.fold(strip)[0]
    y, x = (int(n) for n in np.unravel_index(int(folded.argmax()), grid.shape))
    assert abs(grid.offset[0] + y * grid.stride[0] - top - 10) < grid.stride[0]
    assert abs(grid.offset[1] + x * grid.stride[1] - left - 10) < grid.stride[1]


def test_what_is_no_list_of_crops_is_refused() -> None:
    with pytest.raises(ModelError, match=r"crops of a picture are a tensor \[crops, 3, h, w\], got \[3, 24, 36\]"):
        crop_frames(lambda image: fixed(image)[0], (32, 48))
    with pytest.raises(ModelError, match="got list"):
        crop_frames(lambda image: [*fixed(image)], (32, 48))  # type: ignore[arg-type, return-value]


def test_the_measurement_leaves_random_state_and_asks_for_little() -> None:
    asked = []

    def counted(image: Image.Image) -> Tensor:
        asked.append(image.size)
        torch.rand(1)
        return fixed(image)

    state = torch.get_rng_state()
    frames = crop_frames(counted, (32, 48))
    assert len(asked) <= 8 * len(frames) and set(asked) == {(48, 32)}
    assert torch.equal(torch.get_rng_state(), state)
