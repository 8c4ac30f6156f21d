"""Tokens of several crops: the self-test notices whatever is wrong about where they are, in either orientation."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests import mosaics
from tests.mosaics import TOKENS, Cropped, boxes, noise
from tests.patchy import Patchy
from vlx.pictures.mosaic import Mosaic
from vlx.pictures.placement import Grid
from vlx.protocol.targets import Query
from vlx.protocol.task import Features
from vlx.selftest import run
from vlx.selftest.places import probes
from vlx.selftest.result import Row
from vlx.selftest.run import self_test

Size = tuple[int, int]
SIZES = [(96, 144), (144, 96)]
PLACES = ("patch probe", "patch probe 3:2", "every crop")


class Wrong(Cropped):
    """As `Cropped`, and its mosaic is another one than it should be."""

    def __init__(self, change: Callable[[Mosaic], Mosaic]) -> None:
        super().__init__()
        self.change = change

    def features(self, inputs: Tensor) -> Features:
        seen = super().features(inputs)
        assert isinstance(seen.grid, Mosaic)
        return replace(seen, grid=self.change(seen.grid))


def reordered(grid: Mosaic, order: Any) -> Mosaic:
    """Token t is said to be where token order[t] is."""
    return Mosaic.of(grid.centres[order], grid.extents[order], grid.size)


def pieces(*order: int) -> list[int]:
    return [piece * TOKENS + token for piece in order for token in range(TOKENS)]


def swapped_tiles(grid: Mosaic) -> Mosaic:
    """The second tile before the first."""
    return reordered(grid, pieces(0, 2, 1))


def whole_last(grid: Mosaic) -> Mosaic:
    """The whole picture behind its tiles, as in Idefics3 and InternVL, where it comes first."""
    return reordered(grid, pieces(1, 2, 0))


def by_columns(grid: Mosaic) -> Mosaic:
    """Tokens of each crop column by column."""
    tokens = np.arange(TOKENS - 1).reshape(mosaics.COLUMNS, mosaics.ROWS).T.ravel()
    return reordered(grid, [piece * TOKENS + token for piece in range(3) for token in (*tokens, TOKENS - 1)])


def transposed(grid: Mosaic) -> Mosaic:
    """Height and width of the picture confused: the halves of the shorter side."""
    turned = mosaics.mosaic(grid.size[::-1])
    return Mosaic.of(turned.centres[:, ::-1], turned.extents[:, ::-1], grid.size)


def without_newlines(grid: Mosaic) -> Mosaic:
    """Newlines counted as cells: each crop's tokens begin where those before ended, and what is left is at the end."""
    placed, left = np.flatnonzero(grid.placed), np.flatnonzero(~grid.placed)
    return reordered(grid, [*placed, *left])


def with_newlines_as_cells(grid: Mosaic) -> Mosaic:
    """The newline of each crop is a cell of its own, in the middle."""
    centres, extents = grid.centres.copy(), grid.extents.copy()
    for piece in range(3):
        last = (piece + 1) * TOKENS - 1
        centres[last], extents[last] = centres[last - TOKENS // 2], extents[last - 1]
    return Mosaic.of(centres, extents, grid.size)


def forgotten_tile(grid: Mosaic) -> Mosaic:
    """The last tile is said to show nothing."""
    centres = grid.centres.copy()
    centres[2 * TOKENS :] = np.nan
    return Mosaic.of(centres, grid.extents, grid.size)


def forgotten_whole(grid: Mosaic) -> Mosaic:
    """The whole picture is said to show nothing."""
    centres = grid.centres.copy()
    centres[:TOKENS] = np.nan
    return Mosaic.of(centres, grid.extents, grid.size)


def tiles_beside_each_other(grid: Mosaic) -> Mosaic:
    """Tiles lie as in landscape, whatever the picture."""
    H, W = grid.size
    halves = [(0.0, 0.0, H, W), (0.0, 0.0, H, W / 2), (0.0, W / 2, H, W / 2)]
    parts = [mosaics.laid(box) for box in halves]
    centres = [place for part in parts for place in (*part[0], mosaics.NOWHERE)]
    extents = [place for part in parts for place in (*part[1], mosaics.NOWHERE)]
    return Mosaic.of(np.array(centres), np.array(extents), grid.size)


def too_small(grid: Mosaic) -> Mosaic:
    """Tokens are said to be a third as large as they are, as where a model packs them into fewer."""
    return Mosaic.of(grid.centres, grid.extents / 3, grid.size)


class Averaging(Mosaic):
    """Each token's value in every one of its cells: of the whole picture's tokens it counts several times."""

    def fold(self, maps: Tensor) -> Tensor:
        return self.average(maps) if maps.ndim > 4 else super().fold(maps) * 2


class Turning(Mosaic):
    """What is told of tokens is drawn upside down."""

    def fold(self, maps: Tensor) -> Tensor:
        return super().fold(maps).flip(-2)


def folding(kind: type[Mosaic]) -> Callable[[Mosaic], Mosaic]:
    return lambda grid: kind.of(grid.centres, grid.extents, grid.size)


def places(task: Any, size: Size = (96, 144), cells: int = 6, names: Sequence[str] = PLACES) -> dict[str, Row]:
    """The rows of the self-test that say where cells are, without the others."""
    case = run._case(task, noise(size), Query())
    checks = probes(case, cells, 0)
    return {name: checks[name]() for name in names}


def failed(task: Any) -> set[str]:
    return {name for name, row in places(task).items() if row.passed is False}


@pytest.mark.parametrize("size", SIZES)
def test_a_sound_one_passes(size: Size) -> None:
    found = self_test(Cropped(), noise(size), cells=24)
    assert found.passed, str(found)
    assert [found[name].value for name in PLACES] == [1, 1, 1]
    assert "24 cells painted in crops of 2 sizes; 100% are changed most" in found["every crop"].remark


def wrong_mosaics() -> Iterator[Any]:
    everywhere: tuple[Callable[[Mosaic], Mosaic], ...] = (
        swapped_tiles, whole_last, by_columns, transposed, without_newlines
    )  # fmt: skip
    for fault in everywhere:
        marks = pytest.mark.slow if fault in (whole_last, transposed) else ()  # orders of tokens, as two others are
        yield pytest.param(fault, {*PLACES}, id=fault.__name__, marks=marks)
    yield pytest.param(tiles_beside_each_other, {"every crop"}, id="tiles_beside_each_other")
    only_there = {"averaging": folding(Averaging), "turning": folding(Turning)}
    for fault in (forgotten_tile, forgotten_whole, too_small):
        only_there[fault.__name__] = fault
    for name, fault in only_there.items():
        yield pytest.param(fault, {"every crop"}, id=name)


@pytest.mark.parametrize(("fault", "rows"), [*wrong_mosaics()])
def test_what_is_wrong_about_places_is_noticed(fault: Callable[[Mosaic], Mosaic], rows: set[str]) -> None:
    assert rows <= failed(Wrong(fault))


def test_a_newline_that_is_given_a_place_of_its_own_is_noticed_where_it_is_tried() -> None:
    row = places(Wrong(with_newlines_as_cells), cells=150, names=["patch probe"])["patch probe"]
    assert row.passed is False


class Mixing(Cropped):
    """The crops in another order than its mosaic has them."""

    order: tuple[int, ...] = (0, 1, 2)

    def strip(self, pieces: Any) -> Tensor:
        return super().strip([pieces[n] for n in self.order])


@pytest.mark.parametrize("order", [(0, 2, 1), pytest.param((1, 2, 0), marks=pytest.mark.slow), (2, 1, 0)])
def test_what_the_model_does_in_another_order_is_noticed(order: tuple[int, ...]) -> None:
    task = Mixing()
    task.order = order
    assert {*PLACES} <= failed(task)


def test_the_remarks_say_what_is_wrong() -> None:
    def remark(fault: Callable[[Mosaic], Mosaic]) -> str:
        return places(Wrong(fault))["every crop"].remark

    assert "said to show no part of the picture change with it as others do: a crop was" in remark(forgotten_tile)
    assert "folding tokens on the picture does not keep their sum" in remark(folding(Averaging))
    assert "and is folded elsewhere" in remark(folding(Turning))
    assert "(in the crops that do worst): the cells of A are not where the grid has them" in remark(swapped_tiles)


def test_a_picture_in_one_piece_has_nothing_to_try() -> None:
    row = places(Patchy())["every crop"]
    assert row.passed is None and not row.decisive and "in one piece" in row.remark


def test_a_map_of_another_length_is_named() -> None:
    class Longer(Cropped):
        def features(self, inputs: Tensor) -> Features:
            seen = super().features(inputs)
            return replace(seen, maps={seen.layer: torch.cat([seen.A, seen.A[..., :1]], 3)})

    row = self_test(Longer(), noise((96, 144)), cells=5)["patch probe"]
    assert not row.passed and "its grid has (1, 75) cells: they must agree" in row.remark


def test_boxes_of_a_square_picture_are_tried_too() -> None:
    assert len({*boxes((96, 96))}) == 3 and isinstance(mosaics.mosaic((96, 96)), Grid)
    assert not failed(Cropped()) and all(row.passed for row in places(Cropped(), (96, 96)).values())
