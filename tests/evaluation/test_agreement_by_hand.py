"""Rank correlations with occlusion on scenes painted by hand: every figure and baseline once more, in NumPy."""

from collections import defaultdict

import numpy as np
import pytest

from tests.evaluation.drawn import interval
from tests.evaluation.test_pointing_by_hand import captions, direction, questions, signed
from tests.painted import CELL, CELLS, Array, Painted, as_seen, cells, painted, shown
from vlx import evaluation
from vlx.evaluation import Result, baselines
from vlx.evaluation.result import MACRO
from vlx.methods.method import Site
from vlx.protocol.targets import Target

METHODS = ["gradcam", "hirescam", "gradcam++", "xgradcam", "layercam"]


def ranks(values: Array) -> Array:
    """Places in order, ties at their mean."""
    flat = values.ravel()
    return np.array([(flat < one).sum() + ((flat == one).sum() + 1) / 2 for one in flat])


def correlation(some: Array, others: Array) -> float:
    """Spearman's; NaN where one of them is the same in all cells."""
    if min(np.ptp(some), np.ptp(others)) == 0:
        return float("nan")
    return float(np.corrcoef(ranks(some), ranks(others))[0, 1])


def falls(pixels: Array, weights: Array) -> Array:
    """What a logit loses when two by two cells around each cell are in the picture's median colour, [4, 8]."""
    found = np.zeros(CELLS)
    for i, j in np.ndindex(CELLS):
        edited = pixels.copy()
        rows, columns = (slice(max(CELL * at - CELL // 2, 0), CELL * at + 3 * CELL // 2) for at in (i, j))
        edited[rows, columns] = np.median(pixels, (0, 1))
        found[i, j] = weights @ (pixels - edited).mean((0, 1))
    return found


def seeded(site: Site, target: Target) -> np.random.Generator:
    """Noise by the word or answer that is asked for."""
    return np.random.default_rng(target.terms[0].token)


def by_hand(kind: str) -> dict[tuple[str, str], list[float]]:
    """Correlations by group and method, and of the baselines; the numbers of their pictures."""
    read = questions if kind == "vqa" else captions
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for picture, scene in enumerate(painted().values()):
        asked = list(read(scene))
        pixels = as_seen(scene.image)
        towards = [direction(one.W, "logit", [one.token], pixels) for one in asked]
        for number, one in enumerate(asked):
            lost = falls(pixels, one.W[one.token])
            found[one.group, "picture"].append(picture)
            for method in METHODS:
                own = signed(method, cells(pixels), towards[number]).clip(min=0)
                found[one.group, method].append(correlation(lost, own))
            instead = signed("layercam", cells(pixels), towards[(number + len(asked) // 2) % len(asked)])
            found[one.group, "same"].append(correlation(lost, instead.clip(min=0)))
            found[one.group, "random"].append(correlation(lost, 1 - np.random.default_rng(one.token).random(CELLS)))
            near = [-((i - (CELLS[0] - 1) / 2) ** 2 + (j - (CELLS[1] - 1) / 2) ** 2) for i, j in np.ndindex(CELLS)]
            found[one.group, "centre"].append(correlation(lost, np.array(near)))
    return found


def measured(kind: str, patch: pytest.MonkeyPatch) -> Result:
    shown(patch, painted())
    patch.setattr(baselines, "seeded", seeded)
    return evaluation.agreement(Painted(kind), 3, first=0)


@pytest.mark.parametrize("kind", ["captioning", "vqa"])
def test_every_correlation_and_its_baselines_are_those_of_the_hand(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted, result = by_hand(kind), measured(kind, monkeypatch)
    groups = list(dict.fromkeys(group for group, _ in wanted))
    assert [(row.group, row.method) for row in result.rows] == [(g, m) for m in METHODS for g in [*groups, MACRO]]
    for row in (row for row in result.rows if row.group != MACRO):
        values = np.array(wanted[row.group, row.method])
        bounds = interval(values.tolist(), list(map(int, wanted[row.group, "picture"])))
        assert (row.value, row.low, row.high) == pytest.approx((np.nanmean(values), *bounds)), row
        assert row.unmeasured == np.isnan(values).sum()
        baselines = [np.nanmean(wanted[row.group, name]) for name in ("random", "centre", "same")]
        assert (row.random, row.centre, row.same) == pytest.approx(baselines), row
        assert (row.count, row.target, row.metric) == (len(values), "logit", "rank correlation")
    for row in (row for row in result.rows if row.group == MACRO):
        means = [
            np.nanmean(wanted[group, row.method]) for group in groups if not np.isnan(wanted[group, row.method]).all()
        ]
        assert row.value == pytest.approx(np.mean(means))


def test_this_world_can_tell_the_figures_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by chance the same: where two figures of a row agree, one could stand for the other unnoticed."""
    result = measured("captioning", monkeypatch)
    for row in result.rows:
        if row.group == "object":
            others = (row.random, row.centre, row.same)
            assert min(abs(row.value - other) for other in others) > 0.1, row
            assert abs(row.centre) > 0.05
    assert len({round(row.value, 6) for row in result.rows if row.group == "object"}) > 1, "methods differ"
