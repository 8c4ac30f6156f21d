"""Dissection counts what its definition says: planted detectors, a slow second implementation, every option."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.dissections import (
    CONCEPTS,
    COUNTED,
    Given,
    Made,
    Upsample,
    by_definition,
    by_pillow,
    by_torch,
    made,
    rectified,
    same,
    slow_tally,
)
from vlx.errors import InputError, ModelError
from vlx.neuron_names.dissection import dissect
from vlx.neuron_names.dissection.alignment import quads
from vlx.neuron_names.dissection.counting import Counter
from vlx.neuron_names.dissection.labels import Categories, LabelGrid
from vlx.neuron_names.dissection.thresholds import TopValues
from vlx.neuron_names.table import Concept, NeuronNames, Tally
from vlx.pictures.placement import Grid

QUANTILES = (0.01, 0.05, 0.3)


def tally(names: NeuronNames) -> Tally:
    assert names.tally is not None
    return names.tally


def planted(count: int = 20, cells: int = 8) -> tuple[Made, Tensor]:
    """One concept a picture on 2 × 2 cells; unit k is 1 there when it is concept k + 1, else 0, the last silent."""
    random = np.random.default_rng(0)
    labels = np.zeros((count, 1, cells, cells), np.int64)
    for n in range(count):
        y, x = random.integers(1, cells - 2, 2)
        labels[n, 0, y : y + 2, x : x + 2] = n % 5 + 1
    maps = torch.from_numpy(np.stack([labels[:, 0] == k + 1 for k in range(6)], 1)).float()
    concepts = tuple(Concept(f"thing {n}", "object") for n in range(5))
    data = Made(labels, [()] * count, (2 * cells, 2 * cells), range(count), concepts)
    return data, maps


def test_planted_detectors_get_their_names_and_their_iou_is_exact() -> None:
    data, maps = planted()
    names = dissect(Given(maps, Grid.half_pixel((8, 8), (16, 16))), data, quantile=0.05, labels=(8, 8))
    assert [name.concept for name in names] == [*(f"thing {n}" for n in range(5)), ""]
    assert [name.iou for name in names][:5] == [1.0] * 5
    assert tally(names).tied.all()  # 16 cells of 1280 are 1, 64 were asked for
    assert (tally(names).thresholds == 0).all()


def test_the_mask_reaches_half_way_to_the_next_cells() -> None:
    data, maps = planted()
    names = dissect(Given(maps, Grid.half_pixel((8, 8), (16, 16))), data, quantile=0.05, labels=(16, 16))
    assert [name.iou for name in names][:5] == pytest.approx([16 / 36] * 5, abs=0)  # 4 × 4 pixels in 6 × 6


def test_a_unit_that_sees_half_of_its_things_has_half_the_iou() -> None:
    data, maps = planted()
    maps[10:] = 0
    names = dissect(Given(maps, Grid.half_pixel((8, 8), (16, 16))), data, quantile=0.05, labels=(8, 8))
    assert [name.iou for name in names][:5] == [0.5] * 5


def test_a_receptive_field_off_by_a_cell_moves_the_mask_by_a_cell() -> None:
    data, maps = planted()
    grid = Grid((2.5, 0.5), (2.0, 2.0), (8, 8), (16, 16))  # cell i sees what cell i + 1 would, along y
    names = dissect(Given(maps, grid), data, quantile=0.05, labels=(8, 8))
    assert [name.iou for name in names][:5] == pytest.approx([2 / 6] * 5, abs=0)


GRIDS = {
    "half-pixel": Grid.half_pixel((4, 5), (32, 40)),
    "receptive field": Grid((0.0, 0.0), (8.0, 8.0), (4, 5), (32, 40)),
    "off the picture": Grid((-5.3, 11.2), (9.1, 7.7), (4, 5), (32, 40)),
    "one cell": Grid.half_pixel((1, 1), (32, 40)),
    "finer than the labels": Grid.half_pixel((16, 37), (32, 40)),
}


@pytest.mark.parametrize("size", [(16, 20), (13, 17), (33, 41)], ids=str)
@pytest.mark.parametrize("name", GRIDS)
def test_the_tally_equals_the_slow_one_in_every_count(name: str, size: tuple[int, int]) -> None:
    data, grid = made(11, (32, 40)), GRIDS[name]
    maps = rectified(11, 4, grid.shape)
    names = dissect(Given(maps, grid), data, quantile=QUANTILES, folds=3, labels=size)
    same(names, slow_tally(data, maps, grid, QUANTILES, 3, size, by_definition), COUNTED)


@pytest.mark.parametrize("up", [by_torch, by_pillow])
@pytest.mark.parametrize("cells", [(7, 7), (14, 14), (5, 9)], ids=str)
def test_the_tally_equals_torch_and_pillow_where_they_can_tell(up: Upsample, cells: tuple[int, int]) -> None:
    data, grid = made(24, (56, 56), seed=1), Grid.half_pixel(cells, (56, 56))
    maps = rectified(24, 6, cells, seed=2)
    names = dissect(Given(maps, grid), data, quantile=QUANTILES)
    same(names, slow_tally(data, maps, grid, QUANTILES, 4, (28, 28), up), COUNTED)


@pytest.mark.parametrize("labels", [(16, 16), (64, 64), (7, 7)], ids=str)
def test_labels_of_another_size_than_the_picture(labels: tuple[int, int]) -> None:
    data, grid = made(9, (32, 32), labels=labels), Grid.half_pixel((4, 4), (32, 32))
    maps = rectified(9, 3, (4, 4))
    names = dissect(Given(maps, grid), data, quantile=0.1, folds=2)
    same(names, slow_tally(data, maps, grid, (0.1,), 2, (16, 16), by_definition), COUNTED)


def test_nine_categories_and_more_are_counted_as_few() -> None:
    random = np.random.default_rng(0)
    concepts = tuple(Concept(f"thing {n}", f"kind {n % 19}") for n in range(40))
    labels = random.permuted(np.broadcast_to(np.arange(60)[:, None, None], (7, 60, 12, 12)), axis=1)[:, :3]
    labels = np.where(labels > 40, 0, labels).astype(np.int64)
    data = Made(labels, [()] * 7, (24, 24), range(7), concepts)
    grid, maps = Grid.half_pixel((6, 6), (24, 24)), rectified(7, 3, (6, 6))
    names = dissect(Given(maps, grid), data, quantile=(0.05, 0.2), folds=1)
    same(names, slow_tally(data, maps, grid, (0.05, 0.2), 1, (12, 12), by_definition), COUNTED)


def test_one_pass_over_several_quantiles_equals_one_for_each() -> None:
    data, grid = made(20, (32, 32)), Grid.half_pixel((4, 4), (32, 32))
    maps = rectified(20, 5, (4, 4))
    every = tally(dissect(Given(maps, grid), data, quantile=QUANTILES))
    for n, quantile in enumerate(QUANTILES):
        one = tally(dissect(Given(maps, grid), data, quantile=quantile))
        assert np.array_equal(every.intersection[:, n], one.intersection[:, 0])
        assert np.array_equal(every.activation[:, :, n], one.activation[:, :, 0])


def test_thresholds_are_exact_and_ties_are_told() -> None:
    A = torch.randn(50, 6, 5, 7, generator=torch.Generator().manual_seed(0))
    A[:, 4] = A[:, 4].clamp(min=2.5)  # a few above, all others alike
    A[:, 5] = 0
    top = TopValues((0.01, 0.05), 50 * 35)
    for batch in A.split(7):  # type: ignore[no-untyped-call]
        top.add(batch, batch.amax((2, 3)))
    T, tied = top.thresholds()
    above = (A.transpose(0, 1).flatten(1)[None] > T[..., None]).sum(2)
    assert above[:, :4].tolist() == [[17] * 4, [87] * 4]
    assert not tied[:, :4].any() and tied[1, 4] and tied[:, 5].all()
    assert (above[:, 5] == 0).all() and 0 < above[1, 4] < 87


def test_thresholds_keep_what_matters_and_their_floor_only_rises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vlx.neuron_names.dissection.thresholds.SPARE", 1)
    A = torch.rand(400, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    A *= torch.linspace(2, 0.5, 400)[:, None, None, None]  # the first pictures promise too much
    top, floors = TopValues((0.02,), 400 * 16), []
    for batch in A.split(10):  # type: ignore[no-untyped-call]
        top.add(batch, batch.amax((2, 3)))
        floors.append(top.floor.clone())
    T, _ = top.thresholds()
    values = A.transpose(0, 1).flatten(1)
    assert torch.equal(T[0], values.sort(dim=1, descending=True).values[:, 128])
    assert all((floor <= T[0]).all() for floor in floors) and torch.isfinite(floors[-1]).all()
    assert all((after >= before).all() for before, after in pairwise(floors))
    assert top.held == 4 * 3 * (129 + 160)


def test_folds_sum_to_the_whole_and_give_the_jackknife() -> None:
    data, grid = made(22, (32, 32)), Grid.half_pixel((4, 4), (32, 32))
    maps = rectified(22, 5, (4, 4))
    whole, parts = (tally(dissect(Given(maps, grid), data, quantile=0.1, folds=folds)) for folds in (1, 5))
    for name in ("intersection", "truth", "area"):
        assert np.array_equal(getattr(whole, name)[0], getattr(parts, name).sum(0)), name
    assert np.array_equal(whole.activation[:, 0], parts.activation.sum(1))
    left = []
    for fold in range(5):
        rest = [f for f in range(5) if f != fold]
        inter = parts.intersection[rest, 0].sum(0)
        act = parts.activation[0, rest, 0].sum(0)[:, parts.category]
        union = parts.truth[rest].sum(0) + act - inter
        left.append(np.where(union > 0, inter / np.maximum(union, 1), 0))
    spread = np.sqrt(4 / 5 * ((left - np.mean(left, axis=0)) ** 2).sum(0))
    np.testing.assert_allclose(parts.error(0), spread, rtol=1e-12, atol=1e-15)


def test_more_folds_than_pictures_are_as_many_as_pictures() -> None:
    data, grid = made(3, (16, 16)), Grid.half_pixel((2, 2), (16, 16))
    assert tally(dissect(Given(rectified(3, 2, (2, 2)), grid), data, quantile=0.2, folds=9)).truth.shape == (3, 8)


def test_lite_uses_the_half_pixel_rule_and_its_denominator() -> None:
    data, maps = made(12, (32, 32)), rectified(12, 4, (4, 4))
    field = Grid((0.0, 0.0), (8.0, 8.0), (4, 4), (32, 32))
    lite = dissect(Given(maps, field), data, quantile=0.05, compat="lite")
    paper = dissect(Given(maps, Grid.half_pixel((4, 4), (32, 32))), data, quantile=0.05)
    same(lite, paper)
    assert (lite.denominator, paper.denominator) == ("lite", "paper")
    assert lite.about["alignment"] == "half-pixel (as NetDissect-Lite)"
    own = tally(lite)
    assert (own.activation[1] < own.activation[0]).any()
    assert lite[0].iou == own.iou(0, "lite").max(1)[0]


def test_pixels_outside_the_picture_count_nowhere() -> None:
    data = made(10, (32, 32), seed=3)
    labels = (32, 24)  # a prepared picture of 64 × 48 pixels: 16 rows and 8 columns of padding on every side
    maps = rectified(10, 4, (8, 6))
    maps[:, :, :2] = maps[:, :, 6:] = 9 + rectified(10, 4, (2, 6))  # units like nothing better than padding
    padded = Given(maps, Grid.half_pixel((8, 6), (64, 48)), pad=(16, 8))
    found = tally(dissect(padded, data, quantile=0.7, labels=labels, folds=1))
    T = found.thresholds[0]
    for k in range(4):
        masks = np.stack([by_torch(maps[n, k].numpy(), padded.grid, labels) > T[k] for n in range(10)])
        inside = masks[:, 8:24, 4:20]
        assert masks.sum() > inside.sum()
        assert (found.activation[2, 0, 0, k] == inside.sum()).all()
        for c in range(5):
            carried = np.stack([(data.labels[n, :, ::2, ::2] == c + 1).any(0) for n in range(10)])
            assert found.intersection[0, 0, k, c] == (inside & carried).sum()
            assert found.truth[0, c] == carried.sum()
    for c in (5, 6):
        assert found.truth[0, c] == 16 * 16 * sum(c + 1 in whole for whole in data.whole)


def test_silent_units_and_empty_categories_have_no_name() -> None:
    data, maps = made(12, (32, 32)), rectified(12, 3, (4, 4))
    maps[:, 1] = 0
    maps[:, 2] = -5
    names = dissect(Given(maps, Grid.half_pixel((4, 4), (32, 32))), data, quantile=0.05)
    assert names[1].concept == names[2].concept == "" and names[0].concept
    own = tally(names)
    assert own.tied[0].tolist() == [False, True, True]
    assert own.activation[:, :, :, 1:].sum() == own.intersection[:, :, 1:].sum() == 0
    texture = own.categories.index("texture")
    assert own.area[:, texture].sum() == own.activation[0, ..., texture].sum() == 0
    assert "texture" not in {name.category for name in names.candidates(0)}


def test_means_and_examples_are_of_all_pictures() -> None:
    data, maps = made(40, (32, 32)), rectified(40, 5, (4, 4))
    own = tally(dissect(Given(maps, Grid.half_pixel((4, 4), (32, 32))), data, quantile=0.05))
    np.testing.assert_allclose(own.means, maps.mean((0, 2, 3)).numpy(), rtol=1e-6)
    peaks = maps.amax((2, 3)).T
    assert own.examples.shape == (5, 8)
    for unit in range(5):
        assert own.examples[unit].tolist() == peaks[unit].argsort(descending=True)[:8].tolist()


def overlaps(labels: Any, *whole: int) -> dict[str, bool]:
    grid = np.array(labels, np.int32).reshape(1, -1, 1, 2)
    found = LabelGrid(grid, [whole], Categories(CONCEPTS), [7]).overlaps()
    return dict(zip(("object", "color", "part", "scene", "texture"), found.tolist(), strict=True))


def test_overlaps_tell_pixels_with_two_concepts_of_a_category() -> None:
    assert not any(overlaps([[1, 2], [3, 4]]).values())
    assert not any(overlaps([[1, 3], [5, 2]]).values())  # two channels hold colours and objects, no pixel twice
    assert [name for name, it in overlaps([[1, 3], [2, 4]]).items() if it] == ["object"]
    assert [name for name, it in overlaps([[3, 1], [5, 4]]).items() if it] == ["color"]
    assert [name for name, it in overlaps([[0, 0]], 6, 7).items() if it] == ["scene"]
    assert [name for name, it in overlaps([[1, 0]], 2).items() if it] == ["object"]
    with pytest.raises(InputError, match="picture 7: a pixel carries concept 3 in two channels; label it once"):
        overlaps([[3, 0], [3, 1]])
    with pytest.raises(InputError, match="picture 7 as a whole has concept 6 twice, or a pixel has it too"):
        overlaps([[0, 0]], 6, 6)


def broken(**changes: Any) -> Made:
    whole: Any = {"labels": np.ones((2, 1, 8, 8), np.int64), "whole": [()] * 2, "size": (16, 16), "order": range(2)}
    return Made(**(whole | changes))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (broken(labels=np.ones((2, 1, 8, 12), int)), "made, picture 0: labels of 12×8 do not fit a picture of 16×16"),
        (broken(labels=np.full((2, 1, 8, 8), 9)), "label 9 is none of the concepts 1 to 8; 0 is a pixel without one"),
        (broken(labels=np.full((2, 1, 8, 8), -1)), "label -1 is none of the concepts 1 to 8"),
        (broken(whole=[(), (9,)]), "made, picture 1: label 9 is none of the concepts 1 to 8"),
        (broken(whole=[(0,), ()]), "label -1 is none of the concepts 1 to 8"),
        (broken(labels=np.ones((2, 1, 8, 8))), r"labels must be integers \[channels, H, W\], got float64 \(1, 8, 8\)"),
        (broken(labels=np.ones((2, 8, 8), int)), r"labels must be integers \[channels, H, W\], got int64 \(8, 8\)"),
        (broken(order=()), "made has 0 pictures and 8 concepts; both are needed"),
        (broken(concepts=()), "made has 2 pictures and 0 concepts; both are needed"),
    ],
)
def test_labels_that_do_not_fit_are_refused(data: Made, message: str) -> None:
    task = Given(rectified(2, 2, (2, 2)), Grid.half_pixel((2, 2), (16, 16)))
    with pytest.raises(InputError, match=message):
        dissect(task, data, quantile=0.1)
    assert not task.seen  # before the model was run


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quantile": 0}, "quantile=0; give shares between 0 and 1, such as 0.005"),
        ({"quantile": ()}, "give shares between 0 and 1"),
        ({"compat": "full"}, "compat='full'; known is 'lite', or leave it out"),
        ({"folds": 0}, "folds=0 and labels=None must be 1 or more"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"labels": (0, 4)}, r"labels=\(0, 4\) must be 1 or more"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        dissect(Given(rectified(2, 2, (2, 2)), Grid.half_pixel((2, 2), (16, 16))), broken(), **options)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_features_that_are_no_numbers_are_refused(value: float) -> None:
    maps = rectified(2, 3, (2, 2))
    maps[1, 2, 0, 1] = value
    with pytest.raises(ModelError, match="given, layer given: nan or infinite features; check its weights"):
        dissect(Given(maps, Grid.half_pixel((2, 2), (16, 16))), broken())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_counts_as_the_cpu_does() -> None:
    labels = LabelGrid(
        np.random.default_rng(0).integers(0, 6, (9, 1, 24, 24), np.int32), [(6,)] * 9, Categories(CONCEPTS), range(9)
    )
    maps, grid, counts = rectified(9, 5, (6, 6)), Grid.half_pixel((6, 6), (48, 48)), []
    for device in (torch.device("cpu"), torch.device("cuda")):
        A = maps.to(device)
        top = TopValues((0.05, 0.2), 9 * 36)
        top.add(A, A.amax((2, 3)))
        counter = Counter(Categories(CONCEPTS), top.thresholds()[0])
        counter.add(A, quads(grid, (24, 24), device), labels.batch(device))
        counts.append(counter.counts())
    for one, other in zip(*counts, strict=True):
        assert np.array_equal(one, other)
