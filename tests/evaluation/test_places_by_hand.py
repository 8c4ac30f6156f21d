"""Measures of place against second computations, pixel by pixel, on painted scenes; planted mistakes are seen."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from tests.evaluation.places import (
    box_by_hand,
    fits_by_hand,
    painted_by_hand,
    precision_by_hand,
)
from tests.painted import CELLS, Painted, painted, shown
from vlx.data.example import Truth
from vlx.evaluation import DrawnMap, Metric, MetricContext, evaluate
from vlx.evaluation.context import DrawnMap as Drawn
from vlx.evaluation.footprint import Footprint
from vlx.evaluation.metrics import METRICS, localization, seeds
from vlx.evaluation.metrics.localization import THRESHOLDS, overlap
from vlx.evaluation.segments import largest_boxes
from vlx.pictures.placement import Frame, Grid, Placement, axes

Values = NDArray[np.float64]
MAPS = 8


@pytest.fixture
def contexts(monkeypatch: pytest.MonkeyPatch) -> list[MetricContext]:
    """What is asked about the painted scenes, each with maps of our own: sharp and broad ones, and one of nothing."""
    shown(monkeypatch, painted())
    asked: list[MetricContext] = []

    def kept(context: MetricContext) -> dict[tuple[str, str], float]:
        asked.append(context)
        return {}

    keep = Metric("asked", "", kept)
    evaluate(Painted(), 2, first=0, metrics=[keep], targets=["logit"])
    rng = np.random.default_rng(0)
    own = [replace(one, maps=dict(maps_like(one, rng))) for one in asked if one.case.group == "object"]
    return [*own, *(boxed(context, place + 1) for place, context in enumerate(own))]


def boxed(context: MetricContext, number: int) -> MetricContext:
    """The same, of a thing whose box is twice as wide as the box of one of the maps: they just fit."""
    picture = painted_by_hand(context.maps[str(number), "logit"].values)
    left, top, width, height = box_by_hand(picture > 0.15 * picture.max()) or (0.0, 0.0, 1.0, 1.0)
    truth = Truth(context.mask, boxes=[(left, top, 2 * width, height)])
    return replace(context, case=replace(context.case, ask=replace(context.case.ask, truth=truth)))


def maps_like(context: MetricContext, rng: np.random.Generator) -> Iterator[tuple[tuple[str, str], DrawnMap]]:
    placement = context.shown.placement(context.case.row)
    for number in range(MAPS):
        signed = rng.normal(size=CELLS) ** 3 + (number % 3 - 1)
        yield (str(number), "logit"), DrawnMap(signed * (number > 0), placement)


def by_hand(name: str, context: MetricContext, signed: Values) -> Any:
    """A measure of one map, from its definition."""
    picture, mask, boxes = painted_by_hand(np.maximum(signed, 0)), context.mask, context.boxes
    highest, total = picture.max(), picture.sum()
    if name == "energy":
        return picture[mask].sum() / total if total else 0.0
    if name == "in-out":
        inside = np.zeros(mask.shape, bool)
        for left, top, width, height in boxes:
            inside[int(top) : int(top + height), int(left) : int(left + width)] = True  # what lies outside is cut off
        return picture[inside].mean() / picture[~inside].mean() if picture[~inside].any() else np.nan
    if name == "localization":
        return float(fits_by_hand(box_by_hand(picture > 0.15 * highest), boxes))
    if name == "maxbox":
        return [t for t in THRESHOLDS if fits_by_hand(labelled(picture > t * highest), boxes)]
    chosen = picture >= 0.2 * highest if total else np.zeros(mask.shape, bool)
    return (chosen & mask).sum() / (chosen | mask).sum(), precision_by_hand(picture.astype(np.float32), mask)


def as_by_hand(name: str, contexts: Sequence[MetricContext]) -> None:
    measure = METRICS[name].measure
    assert measure is not None
    met: set[Any] = set()
    for context in contexts[:3] if name == "seeds" else contexts:
        fresh = replace(context, shown=_Fresh(context.shown))  # type: ignore[arg-type]
        for line, measured in measure(fresh).items():
            value, beside = measured if isinstance(measured, tuple) else (measured, {})
            wanted = by_hand(name, context, context.maps[line].signed)
            given = {"maxbox": beside.get("fits"), "seeds": (value, beside.get("precision"))}.get(name, value)
            np.testing.assert_allclose(np.array(given), np.array(wanted), rtol=1e-5, atol=1e-9)
            met.add(round(float(value), 3))
    assert len(met) > 1, "nothing that could be told apart was measured"


class _Fresh:
    """A batch that keeps nothing, so that what is planted is not passed over."""

    def __init__(self, shown: Any) -> None:
        self._shown = shown

    def once(self, key: Any, make: Callable[[], Any]) -> Any:
        return make()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._shown, name)


PLACES = ("energy", "in-out", "localization", "maxbox", "seeds")


@pytest.mark.parametrize("name", PLACES)
def test_places_are_as_by_hand(name: str, contexts: list[MetricContext]) -> None:
    as_by_hand(name, contexts)


on = Footprint.on


def _swapped(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Footprint, "on", lambda self, mask: on(self, mask.T))


def _signed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Drawn, "values", property(lambda self: self.signed))


def _boxes(change: Callable[[Any], Any]) -> Callable[[pytest.MonkeyPatch], None]:
    def plant(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(
            localization, "largest_boxes", lambda *asked: [one and change(one) for one in largest_boxes(*asked)]
        )

    return plant


def _constant(module: Any, name: str, value: float) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda patch: patch.setattr(module, name, value)


@pytest.mark.parametrize(
    ("name", "plant"),
    [
        *((name, _swapped) for name in ("energy", "in-out")),
        *((name, _signed) for name in ("energy", "in-out")),
        ("localization", _boxes(lambda box: (box[1], box[0], box[3], box[2]))),
        ("localization", _boxes(lambda box: (box[0], box[1], box[2] - 1, box[3]))),
        ("localization", _boxes(lambda box: (box[0] - 1, *box[1:]))),
        ("localization", _constant(localization, "FITS", np.nextafter(0.5, 1))),
        ("maxbox", _constant(localization, "FITS", np.nextafter(0.5, 1))),
        ("localization", _constant(localization, "THRESHOLD", 0.3)),
        ("seeds", _constant(seeds, "SEED", 0.15)),
        ("seeds", _constant(seeds, "average_precision", lambda painted, mask: precision_by_hand(-painted, mask))),  # type: ignore[arg-type]
    ],
)
def test_planted_mistakes_are_seen(
    name: str,
    plant: Callable[[pytest.MonkeyPatch], None],
    contexts: list[MetricContext],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        as_by_hand(name, contexts)


def test_half_is_enough_and_a_pixel_less_is_not() -> None:
    assert overlap((0, 0, 2, 2), (0, 0, 2, 4)) == 0.5
    assert localization.fits((0.0, 0.0, 2.0, 2.0), [(0.0, 0.0, 2.0, 4.0)])
    assert not localization.fits((0.0, 0.0, 2.0, 2.0), [(0.0, 0.0, 2.0, 5.0)])
    assert not localization.fits((0.0, 0.0, 2.0, 2.0), [(2.0, 0.0, 2.0, 2.0)])
    assert not localization.fits(None, [(0.0, 0.0, 2.0, 2.0)])


# Segments, without painting


def placement_of(rng: np.random.Generator, trial: int) -> Placement:
    """A grid anywhere on a picture, cut, shifted or flipped."""
    shape, pixels = rng.integers(1, 12, 2), rng.integers(5, 90, 2)
    size = (int(rng.integers(16, 100)), int(rng.integers(16, 100)))
    h, w, height, width = (int(side) for side in (*shape, *pixels))
    stride = (size[0] / h * rng.uniform(0.5, 1.5), size[1] / w * rng.uniform(0.5, 1.5))
    grid = Grid((float(rng.normal() * 3), float(rng.normal() * 3)), stride, (h, w), size)
    if trial % 3 == 0:
        return Placement(Grid.half_pixel((h, w), size), Frame.whole((height, width), size))
    flip = -1 if trial % 5 == 0 else 1
    scale = (height / size[0] * rng.uniform(0.6, 1.2), flip * width / size[1] * rng.uniform(0.6, 1.2))
    shift = (float(rng.normal() * 4), float(rng.normal() * 4) + width * (flip < 0))
    return Placement(grid, Frame(scale, shift, (height, width), size, (0, size[0], 0, size[1])))


def labelled(above: NDArray[np.bool_], corners: int = 1) -> Any:
    """The box of the largest segment by SciPy."""
    segments, count = ndimage.label(above, ndimage.generate_binary_structure(2, 1 + corners))
    if not count:
        return None
    largest = int(np.bincount(segments.ravel())[1:].argmax())
    down, across = ndimage.find_objects(segments)[largest]
    return tuple(map(float, (across.start, down.start, across.stop - across.start, down.stop - down.start)))


def test_the_largest_segment_is_scipys_wherever_the_cells_lie() -> None:
    rng, fours = np.random.default_rng(1), 0
    for trial in range(150):
        placement = placement_of(rng, trial)
        maps: Values = rng.random((4, *placement.grid.shape))
        maps = maps if trial % 4 else np.floor(3 * maps).astype(np.float64)
        thresholds = np.array([0.0, 0.15, 0.45, 0.7]) * maps.max((1, 2))
        footprint = Footprint.of(placement)
        given = largest_boxes(maps, footprint, thresholds)
        rows, columns = (axis.mixing(axis.pixels) for axis in axes(placement))
        pictures = rows @ maps @ columns.T
        above = (pictures > thresholds[:, None, None]) & placement.visible()
        assert given == [labelled(one) for one in above]
        fours += given != [labelled(one, corners=0) for one in above]
        np.testing.assert_allclose(footprint.highest(maps), pictures.max((1, 2)), rtol=1e-6)
        mask = rng.random(placement.frame.size) < 0.3
        sums = [(placement.paint(cells) * mask).sum(dtype=float) for cells in maps]
        np.testing.assert_allclose([(cells * footprint.on(mask)).sum() for cells in maps], sums, rtol=1e-4, atol=1e-6)
        assert footprint.seen == placement.visible().sum()
        assert footprint.seen_of(mask) == (placement.visible() & mask).sum()
    assert fours, "no two segments touched at a corner alone"


def test_a_map_of_nothing_has_no_box_and_nothing_inside() -> None:
    footprint = Footprint.of(Placement(Grid.half_pixel((2, 2), (8, 8)), Frame.whole((8, 8), (8, 8))))
    nothing = np.zeros((1, 2, 2))
    assert largest_boxes(nothing, footprint, 0.15 * footprint.highest(nothing)) == [None]
    assert largest_boxes(np.zeros((0, 2, 2)), footprint, np.zeros(0)) == []
    assert not footprint.on(np.zeros((8, 8), bool)).any()
