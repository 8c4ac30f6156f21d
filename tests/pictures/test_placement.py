"""Grids, frames and placements: what ``prepare`` does is measured, and maps are painted where they belong."""

import io
import json
import pickle
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.models import EfficientNet_B0_Weights, ResNet50_Weights, VGG16_Weights
from torchvision.transforms import functional, v2

from vlx.errors import InputError, ModelError
from vlx.pictures.placement import Frame, Grid, Placement
from vlx.pictures.receptive_fields import mean_colour, measure_frame

ROOT = Path(__file__).resolve().parents[2]
Prepare = Callable[[Image.Image], Tensor]
Size = tuple[int, int]

GRID = Grid((0, 3), (32, 32), (7, 9), (224, 288))


def to_tensor(image: Image.Image) -> Tensor:
    tensor: Tensor = functional.to_tensor(image)
    return tensor


def to_pil(tensor: Tensor) -> Image.Image:
    image: Image.Image = functional.to_pil_image(tensor)
    return image


def off(frame: Frame, scale: tuple[float, float], shift: tuple[float, float]) -> float:
    """How far a frame's corners are from where they should be, in pixels of the user's picture."""
    corners = np.array([(-0.5, -0.5), (frame.prepared[0] - 0.5, frame.prepared[1] - 0.5)])
    return float(np.abs(corners * frame.scale + frame.shift - corners * scale - shift).max())


# Placement


def slow_paint(placement: Placement, cells: NDArray[Any]) -> NDArray[Any]:
    """Pixel by pixel, from the definition."""
    grid, frame = placement.grid, placement.frame
    top, bottom, left, right = frame.window
    out = np.zeros(frame.size)
    for y in range(frame.size[0]):
        for x in range(frame.size[1]):
            row, column = (y - frame.shift[0]) / frame.scale[0], (x - frame.shift[1]) / frame.scale[1]
            if not (top - 0.5 <= row <= bottom - 0.5 and left - 0.5 <= column <= right - 0.5):
                continue
            i = min(max((row - grid.offset[0]) / grid.stride[0], 0), grid.shape[0] - 1)
            j = min(max((column - grid.offset[1]) / grid.stride[1], 0), grid.shape[1] - 1)
            i0, j0 = int(i), int(j)
            i1, j1 = min(i0 + 1, grid.shape[0] - 1), min(j0 + 1, grid.shape[1] - 1)
            above = cells[i0, j0] * (1 - j + j0) + cells[i0, j1] * (j - j0)
            below = cells[i1, j0] * (1 - j + j0) + cells[i1, j1] * (j - j0)
            out[y, x] = above * (1 - i + i0) + below * (i - i0)
    return out


FRAMES = [
    Frame.whole((60, 90), (224, 288)),
    Frame((0.5, 0.25), (3.2, 7.0), (120, 80), (224, 288), (0, 224, 0, 288)),
    Frame((2.0, -1.5), (-40.3, 260.0), (200, 180), (224, 288), (20, 150, 30, 250)),
]


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize(
    "grid", [GRID, Grid((31, 7.5), (40, 16), (5, 1), (224, 288)), Grid((9, 9), (1, 1), (1, 1), (224, 288))]
)
def test_painting_agrees_with_its_definition(frame: Frame, grid: Grid) -> None:
    placement = Placement(grid, frame)
    cells = np.random.default_rng(0).normal(size=grid.shape)
    painted = placement.paint(cells)
    assert painted.dtype == np.float32
    assert painted.shape == frame.size
    assert np.abs(painted - slow_paint(placement, cells)).max() < 1e-6


def test_a_cell_is_painted_where_it_is_centred() -> None:
    frame = Frame((2.0, 0.5), (1.0, 4.0), (449, 150), (224, 288), (0, 224, 0, 288))
    placement = Placement(GRID, frame)
    for i, j in ((0, 0), (3, 5), (6, 8)):
        cells = np.zeros(GRID.shape)
        cells[i, j] = 7
        painted = placement.paint(cells)
        y, x = placement.centre_of(i, j)
        assert (y, x) == (2 * 32 * i + 1, 0.5 * (3 + 32 * j) + 4)
        assert painted[round(y), round(x)] == pytest.approx(7, rel=0.05)
        assert placement.cell_at(y, x) == (i, j)
        assert placement.cell_at(y + 0.49 * placement.cell_size[0], x - 0.49 * placement.cell_size[1]) == (i, j)
    assert placement.cell_size == (64, 16)
    assert placement.cell_at(-1000, 1000) == (0, 8)


def test_a_flip_is_painted_flipped() -> None:
    cells = np.arange(63.0).reshape(7, 9)
    plain = Frame.whole((448, 288), (224, 288))
    flipped = Frame((2.0, -1.0), (0.5, 287.0), (448, 288), (224, 288), (0, 224, 0, 288))
    there, back = Placement(GRID, plain).paint(cells), Placement(GRID, flipped).paint(cells)
    assert np.array_equal(there, back[:, ::-1])
    assert Placement(GRID, flipped).cell_size == (64, 32)


def test_what_was_not_seen_is_neither_painted_nor_visible() -> None:
    frame = Frame((1.0, 1.0), (-20.0, 16.0), (200, 320), (224, 288), (20, 220, 0, 288))
    placement = Placement(GRID, frame)
    visible = placement.visible()
    assert visible.dtype == np.bool_
    assert visible.any(1).all()
    assert np.flatnonzero(visible[0]).tolist() == list(range(16, 304))
    assert np.array_equal(placement.paint(np.ones(GRID.shape)) != 0, visible)
    assert Placement(GRID, Frame.whole((97, 1001), (224, 288))).visible().all()


def test_a_map_of_another_shape_is_refused() -> None:
    with pytest.raises(InputError, match=r"^a map of shape \(9, 7\) cannot be painted: the grid has \(7, 9\) cells$"):
        Placement(GRID, FRAMES[0]).paint(np.zeros((9, 7)))


def test_placements_survive_json_and_pickle() -> None:
    placement = Placement(
        GRID, Frame((2.0, -1.5), (-40.3, 260.0), (200, 180), (224, 288), (20, 150, 30, 250), "a guess")
    )
    again = Placement.from_dict(json.loads(json.dumps(placement.to_dict())))
    assert again == placement
    assert hash(again) == hash(placement)
    assert Grid.from_dict(GRID.to_dict()) == GRID
    assert pickle.loads(pickle.dumps(placement)) == placement
    with pytest.raises(AttributeError, match="cannot assign"):
        placement.grid.offset = (1, 1)  # type: ignore[misc]


def test_measured_frames_survive_json() -> None:
    frame = measure_frame(ResNet50_Weights.DEFAULT.transforms(), (40, 60))
    assert Frame.from_dict(json.loads(json.dumps(frame.to_dict()))) == frame


def test_geometry_imports_no_torch() -> None:
    code = "import sys, vlx.pictures.placement; print('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


# Frames: the transforms that come with torchvision's weights, in closed form.


def crop_frame(size: Size, resize: int, crop: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """Shorter side to ``resize``, the centre ``crop`` of that: (scale, shift)."""
    short = min(size)
    sides = [resize if side == short else int(resize * side / short) for side in size]
    starts = [round((side - crop) / 2) for side in sides]
    scale = [own / side for own, side in zip(size, sides, strict=True)]
    shift = [(start + 0.5) * s - 0.5 for start, s in zip(starts, scale, strict=True)]
    return (scale[0], scale[1]), (shift[0], shift[1])


@pytest.mark.parametrize("size", [(480, 640), (640, 480), (333, 500), (64, 64), (8, 8), (16, 900), (900, 60)])
@pytest.mark.parametrize(
    ("weights", "resize"),
    [(ResNet50_Weights.DEFAULT, 232), (VGG16_Weights.DEFAULT, 256), (EfficientNet_B0_Weights.DEFAULT, 256)],
)
def test_torchvision_transforms(weights: Any, resize: int, size: Size) -> None:
    frame = measure_frame(weights.transforms(), size)
    assert off(frame, *crop_frame(size, resize, 224)) < 0.25
    assert frame.note == ""
    assert (frame.size, frame.prepared, frame.window) == (size, (224, 224), (0, 224, 0, 224))


# Frames: ways of fitting a picture in.


def squash(image: Image.Image) -> Tensor:
    return to_tensor(image.resize((160, 96), Image.Resampling.BICUBIC)) * 2 - 1


def nearest(image: Image.Image) -> Tensor:
    return to_tensor(image.resize((160, 96), Image.Resampling.NEAREST))


def mirrored_bgr(image: Image.Image) -> Tensor:
    mean = torch.tensor([103.939, 116.779, 123.68])[:, None, None]
    return 255 * to_tensor(ImageOps.mirror(image).resize((160, 96)))[[2, 1, 0]] - mean


def one_channel(image: Image.Image) -> Tensor:
    return to_tensor(image.convert("L").resize((160, 96), Image.Resampling.LANCZOS))


def recompressed(image: Image.Image) -> Tensor:
    data = io.BytesIO()
    image.save(data, "JPEG", quality=60)
    return to_tensor(Image.open(data).resize((160, 96)))


def half_precision(image: Image.Image) -> Tensor:
    return squash(image).bfloat16()


@pytest.mark.parametrize("size", [(480, 640), (333, 200), (9, 30)])
@pytest.mark.parametrize("prepare", [squash, nearest, one_channel, recompressed, half_precision, mirrored_bgr])
def test_pictures_resized_as_a_whole(prepare: Prepare, size: Size) -> None:
    frame = measure_frame(prepare, size)
    expected = Frame.whole(size, (96, 160))
    scale, shift = expected.scale, expected.shift
    if prepare is mirrored_bgr:
        scale, shift = (scale[0], -scale[1]), (shift[0], size[1] - 1 - shift[1])
    # Nearest takes one of the two middle pixels; bfloat16 has 8 bits.
    coarse: dict[Prepare, float] = {
        nearest: 0.55,
        half_precision: 0.75,
    }
    assert off(frame, scale, shift) < coarse.get(prepare, 0.25)
    assert frame.note == ""
    assert Placement(Grid.half_pixel((3, 5), (96, 160)), frame).visible().all()


def test_the_picture_as_it_is() -> None:
    for size in ((30, 41), (8, 8), (300, 7)):
        assert measure_frame(to_tensor, size) == Frame.whole(size, size)


def letterboxed(image: Image.Image) -> Tensor:
    return to_tensor(ImageOps.pad(image, (224, 224), color=(124, 116, 104)))


def test_letterbox_of_round_numbers() -> None:
    frame = measure_frame(letterboxed, (480, 640))
    assert frame.window == (28, 196, 0, 224)
    assert off(frame, (640 / 224, 640 / 224), (-28 * 640 / 224 + 640 / 448 - 0.5, 640 / 448 - 0.5)) < 0.01
    placement = Placement(Grid.half_pixel((7, 7), (224, 224)), frame)
    assert placement.visible().all()


@pytest.mark.parametrize("size", [(333, 200), (100, 401), (30, 17)])
def test_padding_before_resizing(size: Size) -> None:
    def padded(image: Image.Image) -> Tensor:
        side = max(image.size)
        square = Image.new("RGB", (side, side), (124, 116, 104))
        square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
        return to_tensor(square.resize((224, 224), Image.Resampling.BILINEAR))

    side = max(size)
    scale = side / 224
    frame = measure_frame(padded, size)
    assert (
        off(frame, (scale, scale), (scale / 2 - 0.5 - (side - size[0]) // 2, scale / 2 - 0.5 - (side - size[1]) // 2))
        < 0.25
    )
    assert frame.note == ""
    visible = Placement(Grid.half_pixel((7, 7), (224, 224)), frame).visible()
    assert visible.mean() > 0.97


def test_a_crop_that_is_a_sliver_of_the_picture() -> None:
    def corner(image: Image.Image) -> Tensor:
        return to_tensor(image.crop((1000, 20, 1010, 29)).resize((100, 90), Image.Resampling.BILINEAR))

    frame = measure_frame(corner, (40, 2000))
    assert off(frame, (0.1, 0.1), (20 - 0.45, 1000 - 0.45)) < 0.1
    visible = Placement(Grid.half_pixel((3, 3), (90, 100)), frame).visible()
    assert np.flatnonzero(visible.any(0)).tolist() == list(range(1000, 1010))
    assert np.flatnonzero(visible.any(1)).tolist() == list(range(20, 29))


def test_a_large_picture_is_measured_quickly() -> None:
    prepare = ResNet50_Weights.DEFAULT.transforms()
    start = time.process_time()
    frame = measure_frame(prepare, (3000, 4000))
    assert time.process_time() - start < 3  # below 1 s on an idle core
    assert off(frame, *crop_frame((3000, 4000), 232, 224)) < 0.25


# Frames that are guesses.

OPENING = r"^prepare does not only resize, crop, pad or flip pictures \("
RESIZED = r"heat maps are placed as if the whole picture was resized$"


def turned(image: Image.Image) -> Tensor:
    return to_tensor(image.rotate(10).resize((160, 96)))


def on_its_side(image: Image.Image) -> Tensor:
    return to_tensor(image.transpose(Image.Transpose.ROTATE_90).resize((160, 96)))


def equalized(image: Image.Image) -> Tensor:
    return to_tensor(ImageOps.equalize(image).resize((160, 96)))


def brightened(image: Image.Image) -> Tensor:
    return to_tensor(image.resize((160, 96))) ** 2.2


def bulging(image: Image.Image) -> Tensor:
    share = torch.linspace(0, 1, image.width)
    columns = ((share + 0.12 * torch.sin(2 * torch.pi * share)).clamp(0, 1) * (image.width - 1)).long()
    return to_tensor(to_pil(to_tensor(image)[..., columns]).resize((160, 96)))


@pytest.mark.parametrize("prepare", [turned, on_its_side, equalized, brightened, bulging])
def test_a_prepare_that_is_not_straight_is_owned_up_to(prepare: Prepare) -> None:
    for size in ((480, 640), (333, 200)):
        frame = measure_frame(prepare, size)
        assert frame == Frame.whole(size, (96, 160), frame.note)
        assert re.search(OPENING + r"it turns, bends or recolours them\); " + RESIZED, frame.note)


def test_a_slight_turn_keeps_the_fit() -> None:
    def tilted(image: Image.Image) -> Tensor:
        return to_tensor(image.rotate(1, Image.Resampling.BICUBIC).crop((100, 100, 500, 400)))

    frame = measure_frame(tilted, (480, 640))
    assert off(frame, (1, 1), (100, 100)) < 8
    assert re.search(OPENING + r".*\); heat maps are placed by a straight fit, off by up to \d pixels$", frame.note)


def noisy(image: Image.Image) -> Tensor:
    return squash(image) + torch.randn(3, 96, 160) / 5


@pytest.mark.parametrize(
    "prepare", [noisy, v2.Compose([v2.RandomCrop(64), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])]
)
def test_a_random_prepare_is_owned_up_to(prepare: Prepare) -> None:
    frame = measure_frame(prepare, (100, 180))
    assert re.search(OPENING + r"it gives something else each time\); " + RESIZED, frame.note)


def test_random_state_is_left_alone() -> None:
    states = random.getstate(), torch.get_rng_state(), np.random.get_state()[1]  # type: ignore[index]

    def drawn(image: Image.Image) -> Tensor:
        return noisy(image) * random.random() * np.random.rand()

    measure_frame(drawn, (20, 20))
    mean_colour(drawn)
    assert random.getstate() == states[0]
    assert torch.equal(torch.get_rng_state(), states[1])
    assert np.array_equal(np.random.get_state()[1], states[2])  # type: ignore[index]


def standardized(image: Image.Image) -> Tensor:
    picture = squash(image)
    return (picture - picture.mean()) / picture.std()


def test_a_prepare_that_shows_black_and_white_alike() -> None:
    frame = measure_frame(standardized, (50, 80))
    assert re.search(
        OPENING + r"it shows black and white alike: what is owed to the picture cannot be tried\); " + RESIZED,
        frame.note,
    )
    assert frame == Frame.whole((50, 80), (96, 160), frame.note)
    assert measure_frame(lambda image: torch.zeros(3, 9, 9), (50, 80)).note == frame.note


def test_an_output_that_changes_in_size() -> None:
    def trimmed(image: Image.Image) -> Tensor:
        box = image.getbbox() or (0, 0, 20, 20)
        return to_tensor(image.crop(box))

    assert re.search(OPENING + r"its output changes in size\); " + RESIZED, measure_frame(trimmed, (50, 80)).note)


@pytest.mark.parametrize(
    ("prepare", "given"), [(lambda image: image, "Image"), (lambda image: to_tensor(image)[None], r"\[1, 3, 20, 30\]")]
)
def test_a_prepare_that_gives_something_else_is_refused(prepare: Any, given: str) -> None:
    message = r"^prepare must turn a PIL picture into a tensor \[C, H, W\], it gave " + given
    with pytest.raises(ModelError, match=message):
        measure_frame(prepare, (20, 30))
    with pytest.raises(ModelError, match=message.replace("20, 30", "256, 256")):
        mean_colour(prepare)


# The colour that shows nothing


IMAGENET = (0.485, 0.456, 0.406)


@pytest.mark.parametrize(
    ("prepare", "colour"),
    [
        (ResNet50_Weights.DEFAULT.transforms(), IMAGENET),
        (squash, (0.5, 0.5, 0.5)),
        (mirrored_bgr, (123.68 / 255, 116.779 / 255, 103.939 / 255)),
        (letterboxed, IMAGENET),  # black is zero: ImageNet's mean it is
        (standardized, IMAGENET),
        (
            v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.2, 0.5, 0.7], [1, 2, 3])]),
            (0.2, 0.5, 0.7),
        ),
    ],
)
def test_the_mean_colour_is_what_prepares_to_zero(prepare: Prepare, colour: tuple[float, float, float]) -> None:
    assert mean_colour(prepare) == pytest.approx(colour, abs=1e-4)
    assert mean_colour(prepare, (30, 50)) == pytest.approx(colour, abs=1e-4)
