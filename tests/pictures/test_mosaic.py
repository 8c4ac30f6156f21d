"""Mosaics: what is told of the tokens of several crops lies where they are on the picture, and nothing is lost."""

import pickle
from itertools import product

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlx.errors import ModelError
from vlx.pictures.mosaic import Mosaic
from vlx.pictures.placement import Frame, Grid, Placement
from vlx.protocol.task import Features

Size = tuple[int, int]
NOWHERE = (np.nan, np.nan)
SIZES = [(48, 96), (96, 48), (60, 60), (50, 77)]


def crop(top: float, left: float, height: float, width: float, shape: Size) -> tuple[list[object], list[object]]:
    """Centres and extents of the tokens (h, w) of a crop of the picture, row by row."""
    sides = (height / shape[0], width / shape[1])
    cells = product(range(shape[0]), range(shape[1]))
    centres = [(top - 0.5 + (i + 0.5) * sides[0], left - 0.5 + (j + 0.5) * sides[1]) for i, j in cells]
    return [*centres], [sides] * len(centres)


def pieces(size: Size) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The whole picture by 2 × 3 tokens, its two halves along the longer side by 4 × 3 each, a newline behind each."""
    H, W = size
    halves = [(0, 0, H, W / 2), (0, W / 2, H, W / 2)] if W > H else [(0, 0, H / 2, W), (H / 2, 0, H / 2, W)]
    centres: list[object] = []
    extents: list[object] = []
    for (top, left, height, width), shape in [((0, 0, H, W), (2, 3)), *((half, (4, 3)) for half in halves)]:
        own = crop(top, left, height, width, shape)
        centres += [*own[0], NOWHERE]
        extents += [*own[1], NOWHERE]
    return np.array(centres), np.array(extents)


def mosaic(size: Size) -> Mosaic:
    return Mosaic.of(*pieces(size), size)


def slow_fold(grid: Mosaic, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Token by token and cell by cell, by the areas that they share."""
    h, w = grid.shape
    folded = np.zeros((h, w))
    edges = [np.linspace(-0.5, grid.size[axis] - 0.5, grid.shape[axis] + 1) for axis in (0, 1)]
    for value, centre, extent in zip(values, grid.centres, grid.extents, strict=True):
        areas = np.zeros((h, w))
        for i, j in product(range(h), range(w)):
            sides = [
                min(edges[axis][n + 1], centre[axis] + extent[axis] / 2)
                - max(edges[axis][n], centre[axis] - extent[axis] / 2)
                for axis, n in ((0, i), (1, j))
            ]
            areas[i, j] = max(sides[0], 0) * max(sides[1], 0) if np.isfinite(centre).all() else 0
        if areas.sum() > 0:
            folded += value * areas / areas.sum()
    return folded


def strips(grid: Grid, count: int = 3) -> Tensor:
    return torch.randn(count, *grid.tokens, generator=torch.Generator().manual_seed(0), dtype=torch.double)


@pytest.mark.parametrize("size", SIZES)
def test_fold_spreads_each_token_over_its_own_rectangle(size: Size) -> None:
    grid = mosaic(size)
    maps = strips(grid)
    expected = np.stack([slow_fold(grid, one.flatten().numpy()) for one in maps])
    np.testing.assert_allclose(grid.fold(maps).numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("size", SIZES)
def test_fold_keeps_the_sum_of_the_tokens_that_have_a_place(size: Size) -> None:
    grid = mosaic(size)
    maps = strips(grid)
    kept = maps[:, 0, torch.from_numpy(grid.placed)].sum(1)
    torch.testing.assert_close(grid.fold(maps).sum((1, 2)), kept, rtol=0, atol=1e-12)
    assert (~grid.placed).nonzero()[0].tolist() == [6, 19, 32]


@pytest.mark.parametrize(("size", "shape"), [((48, 96), (4, 6)), ((96, 48), (8, 3)), ((60, 60), (8, 3))])
def test_cells_are_as_small_as_the_smallest_token_and_cover_the_picture(size: Size, shape: Size) -> None:
    grid = mosaic(size)
    assert grid.plain == Grid.half_pixel(shape, size, "crops of the picture") and type(grid.plain) is Grid
    assert grid.tokens == (1, 33) and grid.plain.tokens == shape


def test_a_token_of_each_piece_lies_where_it_is_on_the_picture() -> None:
    wide, tall = mosaic((48, 96)), mosaic((96, 48))
    one = torch.eye(33)[:, None]
    first, last = 7 + 4, 20 + 11  # of the left half the fifth token, of the right half the last one
    assert wide.fold(one)[first].nonzero().tolist() == [[1, 1]] and wide.fold(one)[last].nonzero().tolist() == [[3, 5]]
    assert tall.fold(one)[first].nonzero().tolist() == [[1, 1]] and tall.fold(one)[last].nonzero().tolist() == [[7, 2]]
    assert wide.fold(one)[2].nonzero().tolist() == [[0, 4], [0, 5], [1, 4], [1, 5]]
    assert tall.fold(one)[2].nonzero().tolist() == [[n, 2] for n in range(4)]


def test_fold_is_linear() -> None:
    grid = mosaic((50, 77))
    a, b = strips(grid, 2)[:, None]
    torch.testing.assert_close(grid.fold(2 * a - 3 * b), 2 * grid.fold(a) - 3 * grid.fold(b), rtol=0, atol=1e-12)


def test_cover_is_the_transpose_of_fold_and_the_share_of_a_token_in_a_set() -> None:
    grid = mosaic((50, 77))
    maps, cells = strips(grid), torch.rand(3, *grid.shape, dtype=torch.double)
    torch.testing.assert_close((grid.fold(maps) * cells).sum((1, 2)), (maps * grid.cover(cells)).sum((1, 2)))
    whole = grid.cover(torch.ones(1, *grid.shape, dtype=torch.double))
    torch.testing.assert_close(whole[0, 0], torch.from_numpy(grid.placed).double(), rtol=0, atol=1e-12)
    halves = mosaic((48, 96))
    right = torch.zeros(1, *halves.shape)
    right[..., 3:] = 1
    shares = halves.cover(right)[0, 0]
    assert shares[7:19].eq(0).all() and shares[20:32].eq(1).all()
    torch.testing.assert_close(shares[:6], torch.tensor([0, 0.5, 1] * 2))


def test_the_average_is_of_the_tokens_that_show_a_cell_by_area() -> None:
    grid = mosaic((50, 77))
    maps = strips(grid).view(3, 1, *grid.tokens)  # as A of three pictures and one unit
    edges = [np.linspace(-0.5, grid.size[axis] - 0.5, grid.shape[axis] + 1) for axis in (0, 1)]
    areas = np.zeros((len(grid.centres), *grid.shape))
    for token, (centre, extent) in enumerate(zip(grid.centres, grid.extents, strict=True)):
        sides = [
            np.minimum(edges[axis][1:], centre[axis] + extent[axis] / 2)
            - np.maximum(edges[axis][:-1], centre[axis] - extent[axis] / 2)
            for axis in (0, 1)
        ]
        if np.isfinite(centre).all():
            areas[token] = np.outer(sides[0].clip(0), sides[1].clip(0))
    expected = np.einsum("nt,thw->nhw", maps.flatten(1).numpy(), areas) / areas.sum(0)
    np.testing.assert_allclose(grid.average(maps)[:, 0].numpy(), expected, atol=1e-12)
    torch.testing.assert_close(grid.average(torch.ones(1, *grid.tokens)), torch.ones(1, *grid.shape))


def test_a_cell_that_no_token_shows_is_0() -> None:
    grid = Mosaic.of([(4.5, 4.5)], [(10, 10)], (10, 20))
    assert grid.average(torch.ones(1, 1, 1)).tolist() == [[[1.0, 0.0]]]
    assert grid.fold(torch.ones(1, 1, 1)).tolist() == [[[1.0, 0.0]]]


def test_features_have_cells() -> None:
    grid = mosaic((48, 96))
    A = torch.randn(2, 5, *grid.tokens)
    cells = Features({"A": A}, "A", grid).cells
    assert cells.shape == (2, 5, *grid.shape)
    torch.testing.assert_close(cells[1, 3], grid.average(A[1, 3, None])[0])
    plain = torch.randn(2, 5, 4, 6)
    assert Features({"A": plain}, "A", grid.plain).cells is plain


def test_the_remainder_is_the_share_of_tokens_without_a_place() -> None:
    grid = mosaic((48, 96))
    maps = torch.zeros(3, 1, 33)
    maps[0, 0, 6], maps[0, 0, 3] = -1, 3
    maps[1] = 1
    torch.testing.assert_close(grid.remainder(maps), torch.tensor([0.25, 3 / 33, 0]))


def test_a_token_beyond_the_picture_is_cut_off_at_its_edge_or_has_no_place() -> None:
    centres = [(-2.5, 9.5), (9.5, 9.5), (9.5, 21.5), (9.5, 21.49)]
    grid = Mosaic.of(centres, [(10, 10), (20, 20), (4, 4), (4, 4)], (20, 20))
    assert grid.placed.tolist() == [True, True, False, False]
    strip = torch.tensor([[[8.0, 0.0, 5.0, 7.0]]])
    folded = grid.fold(strip)[0]
    assert folded.sum() == pytest.approx(8.0) and folded[1:].abs().sum() < folded[0].sum()
    assert grid.remainder(strip).item() == pytest.approx(12 / 20)


def test_a_grid_without_crops_folds_nothing() -> None:
    grid = Grid.half_pixel((3, 4), (30, 40))
    maps = strips(grid)
    assert grid.fold(maps) is maps and grid.cover(maps) is maps and grid.plain is grid
    assert grid.remainder(maps).tolist() == [0, 0, 0] and grid.average(maps) is maps and grid.placed.all()
    assert grid.centres[[0, 5]].tolist() == [[4.5, 4.5], [14.5, 14.5]] and grid.extents[11].tolist() == [10, 10]


def test_kinds_of_numbers() -> None:
    grid = mosaic((48, 96))
    maps = strips(grid)
    assert grid.fold(maps).dtype == torch.float64
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        folded = grid.fold(maps.to(dtype))
        assert folded.dtype == torch.float32
        torch.testing.assert_close(folded, grid.fold(maps).float(), rtol=0, atol=0.05)
    assert grid.cover(torch.ones(1, *grid.shape, dtype=torch.bool)).dtype == torch.float32


def test_mosaics_are_equal_by_value_and_survive_a_pickle() -> None:
    grid = mosaic((48, 96))
    assert grid == mosaic((48, 96)) and hash(grid) == hash(mosaic((48, 96))) and grid != grid.plain
    centres, extents = pieces((48, 96))
    swapped = Mosaic.of(centres[::-1], extents[::-1], (48, 96))
    assert swapped.plain == grid.plain and swapped != grid
    again = pickle.loads(pickle.dumps(grid))
    assert again == grid and torch.equal(again.fold(strips(grid)), grid.fold(strips(grid)))
    assert len(repr(grid)) < 200


def test_placements_and_files_have_the_plain_grid() -> None:
    grid = mosaic((48, 96))
    placement = Placement(grid, Frame.whole((480, 960), (48, 96)))
    assert type(placement.grid) is Grid and placement == Placement(grid.plain, placement.frame)
    assert grid.to_dict() == grid.plain.to_dict() and Placement.from_dict(placement.to_dict()) == placement


@pytest.mark.parametrize(
    ("centres", "extents", "words"),
    [
        ([1, 2], [3, 4], r"arrays \[T, 2\], got \[2\] and \[2\]"),
        ([(1, 2)], [(3, 4), (3, 4)], r"got \[1, 2\] and \[2, 2\]"),
        ([(1, 2)], [(0, 4)], "above 0 pixels, got 0"),
        ([NOWHERE], [NOWHERE], "none of 1 tokens has a place"),
        ([(100, 100)], [(4, 4)], "all 1 tokens lie outside of the picture of 9×8 pixels"),
    ],
)
def test_what_is_no_mosaic_is_refused(centres: object, extents: object, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        Mosaic.of(np.array(centres), np.array(extents), (8, 9))


def test_maps_of_another_shape_are_refused() -> None:
    grid = mosaic((48, 96))
    with pytest.raises(ModelError, match=r"maps are \[1, 4, 6\], and their tokens are \[1, 33\]"):
        grid.fold(torch.zeros(1, 4, 6))
    with pytest.raises(ModelError, match=r"maps are \[1, 1, 33\], and their cells are \[4, 6\]"):
        grid.cover(torch.zeros(1, 1, 33))


def test_many_tokens_are_quick() -> None:
    shape = (54, 54)
    base, fine = crop(0, 0, 800, 800, (27, 27)), crop(0, 0, 800, 800, shape)
    grid = Mosaic.of(np.array([*base[0], *fine[0]]), np.array([*base[1], *fine[1]]), (800, 800))
    maps = torch.ones(50, *grid.tokens)
    torch.testing.assert_close(grid.fold(maps), torch.full((50, *shape), 1.25))
