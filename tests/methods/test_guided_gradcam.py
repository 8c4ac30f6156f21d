"""Guided Grad-CAM, and maps in pixels on the user's picture."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.fakes import SIZE, captioner
from tests.methods.test_relu_rules import far
from vlx.errors import InputError
from vlx.methods.cams import METHODS
from vlx.methods.pixels import guided_gradcam, on_picture, pixel_gradients, shown
from vlx.pictures.placement import Frame, Grid, Placement
from vlx.pictures.receptive_fields import measure_frame


def slow_upsampled(S: Tensor, grid: Grid) -> Tensor:
    """max(S, 0) between the cells' centres, pixel by pixel."""
    out = torch.zeros(grid.size, dtype=torch.float64)
    for y in range(grid.size[0]):
        for x in range(grid.size[1]):
            v = min(max((y - grid.offset[0]) / grid.stride[0], 0.0), grid.shape[0] - 1.0)
            u = min(max((x - grid.offset[1]) / grid.stride[1], 0.0), grid.shape[1] - 1.0)
            for i in range(grid.shape[0]):
                for j in range(grid.shape[1]):
                    near = max(0.0, 1 - abs(v - i)) * max(0.0, 1 - abs(u - j))
                    out[y, x] += near * max(float(S[i, j]), 0.0)
    return out


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_guided_gradcam_is_the_product_at_the_prepared_pictures_resolution(dtype: torch.dtype) -> None:
    grid = Grid((1.0, -2.5), (4.0, 5.0), (3, 4), (11, 17))
    generator = torch.Generator().manual_seed(0)
    S = torch.randn(2, 3, 4, generator=generator, dtype=dtype)
    guided = torch.randn(2, 3, 11, 17, generator=generator, dtype=dtype)
    found = guided_gradcam(S, grid, guided)
    assert found.dtype == dtype
    wanted = torch.stack([slow_upsampled(cells, grid) * own.double() for cells, own in zip(S, guided, strict=True)])
    assert far(found.double(), wanted) < 1e-6
    assert not guided_gradcam(-S.abs(), grid, guided).any()
    assert far(guided_gradcam(3 * S, grid, guided).double(), 3 * wanted) < 1e-6  # the factor is not normalised


def test_guided_gradcam_tells_two_classes_apart_where_guided_maps_do_not() -> None:
    """Two halves of the picture drive two units that share all layers below; each class reads one of them."""
    images = torch.rand(1, 3, 8, 16, generator=torch.Generator().manual_seed(0)) + 0.1
    net = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU()).eval()
    nn.init.constant_(net[0].get_parameter("weight"), 1.0)
    A, grid = net(images).detach(), Grid((0, 0), (1, 1), (8, 16), (8, 16))
    A[:, 0, :, 8:] = A[:, 1, :, :8] = 0
    G = torch.eye(2)[:, :, None, None].expand(-1, -1, 8, 16)
    guided = pixel_gradients(net, images, G).values
    assert torch.equal(guided[0], guided[1])
    maps = guided_gradcam(METHODS["gradcam"].map(A.expand(2, -1, -1, -1), G), grid, guided)
    assert not maps[0, ..., 8:].any()
    assert not maps[1, ..., :8].any()
    assert (maps[0, ..., :8] > 0).all()
    assert (maps[1, ..., 8:] > 0).all()


@pytest.mark.parametrize(
    ("cells", "pixels"), [((2, 3, 4), (2, 3, 11, 16)), ((2, 4, 4), (2, 3, 11, 17)), ((1, 3, 4), (2, 3, 11, 17))]
)
def test_guided_gradcam_of_shapes_that_do_not_fit(cells: tuple[int, ...], pixels: tuple[int, ...]) -> None:
    with pytest.raises(
        InputError, match=r"do not fit each other and a grid of \(3, 4\) cells on a picture of \(11, 17\)"
    ):
        guided_gradcam(torch.zeros(cells), Grid((0, 0), (4, 4), (3, 4), (11, 17)), torch.zeros(pixels))


# On the user's picture, and shown.


def test_maps_on_the_same_picture_stay_as_they_are() -> None:
    maps = torch.randn(2, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    found = on_picture(maps, Frame.whole((5, 7), (5, 7)))
    assert found.dtype == np.float32
    assert np.array_equal(found, maps.numpy())


def test_a_flip_a_crop_and_padding_are_undone() -> None:
    maps = np.random.default_rng(0).normal(size=(3, 6, 8)).astype(np.float32)
    frame = Frame((1.0, -1.0), (2.0, 6.0), (9, 7), (6, 8), (1, 6, 0, 7))
    found = on_picture(maps, frame)
    wanted = np.zeros((3, 9, 7), np.float32)
    wanted[:, 3:8, :] = maps[:, 1:6, :7][:, :, ::-1]
    assert np.array_equal(found, wanted)
    assert np.array_equal(found.any(0), Placement(Grid.half_pixel((6, 8), (6, 8)), frame).visible())


def test_a_larger_picture_is_interpolated_and_a_smaller_one_averaged() -> None:
    line = np.array([[0.0, 4.0, 8.0, 12.0]])
    wide = on_picture(line, Frame.whole((1, 8), (1, 4)))
    assert np.allclose(wide, [[0, 1, 3, 5, 7, 9, 11, 12]])
    narrow = on_picture(np.array([[1.0, 0.0, 0.0, 0.0] * 4]), Frame.whole((1, 4), (1, 16)))
    assert np.allclose(narrow[:, 1:3], 0.25)
    padded = np.array([[9.0, 9.0, *[1.0] * 8, 9.0, 9.0]])
    assert np.allclose(on_picture(padded, Frame((1.0, 0.25), (0.0, -0.875), (1, 2), (1, 12), (0, 1, 2, 10))), 1)
    assert np.allclose(on_picture(np.full((7, 5), 2.5), Frame.whole((3, 11), (7, 5))), 2.5)


def test_a_prepared_crop_lands_where_the_thing_is() -> None:
    task = captioner()
    frame = measure_frame(task.prepare, (30, 40))
    blob = np.zeros((SIZE, SIZE), np.float32)
    blob[8, 4] = 1.0
    y, x = np.unravel_index(on_picture(blob, frame).argmax(), (30, 40))
    assert abs(int(y) - (8.5 * 30 / 16 - 0.5)) <= 1
    assert abs(int(x) - (4.5 * 40 / 16 - 0.5)) <= 1


def test_maps_of_another_size_than_the_frame() -> None:
    with pytest.raises(InputError, match=r"^maps of \[5, 6\] pixels do not fit a prepared picture of \(5, 7\)$"):
        on_picture(torch.zeros(3, 5, 6), Frame.whole((5, 7), (5, 7)))


def test_shown_is_grey_for_nothing_and_shares_one_scale() -> None:
    maps = torch.tensor([[-2.0, 0.0, 1.0], [0.5, 4.0, -4.0]]).reshape(2, 3, 1, 1).expand(-1, -1, 2, 3)
    found = shown(maps)
    assert found.dtype == np.uint8
    assert found.shape == (2, 2, 3, 3)
    assert found.flags["C_CONTIGUOUS"]
    assert found[0, 0, 0].tolist() == [64, 128, 159]
    assert found[1, 1, 2].tolist() == [143, 255, 0]
    assert shown(maps[0], 4.0)[0, 0].tolist() == [64, 128, 159]
    assert shown(maps[0])[0, 0].tolist() == [0, 128, 191]
    assert shown(maps, 1)[1, 0, 0].tolist() == [191, 255, 0]
    assert np.unique(shown(np.zeros((3, 4, 4)))).tolist() == [128]
    assert shown(maps.to(torch.bfloat16)).tolist() == found.tolist()


@pytest.mark.parametrize(
    ("maps", "scale", "message"),
    [
        (torch.zeros(4, 5), None, r"^maps to be shown must be \[\.\.\., 3, H, W\], got \[4, 5\]$"),
        (torch.zeros(2, 4, 5), None, r"^maps to be shown must be \[\.\.\., 3, H, W\], got \[2, 4, 5\]$"),
        (torch.full((3, 4, 5), float("nan")), 1.0, r"^maps to be shown must be finite"),
        (torch.zeros(3, 4, 5), 0.0, r"^scale=0\.0 must be above 0"),
        (torch.zeros(3, 4, 5), float("nan"), r"^scale=nan must be above 0"),
    ],
)
def test_what_cannot_be_shown(maps: Tensor, scale: float | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        shown(maps, scale)
