"""Hiding parts of the picture: where the score falls, and whether the heat map says the same."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from scipy.stats import spearmanr
from torch import Tensor

import vlx
from tests.answerers import QUESTION, vqa
from tests.fakes import captioner, features_of, picture, prepare, slow_score
from vlx.errors import InputError
from vlx.explanation.records import Array, Occlusion
from vlx.pictures.placement import Grid
from vlx.probes import occlusion as hiding
from vlx.probes.occlusion import occlude, rank_correlation
from vlx.protocol.targets import Query, Target, Term, word_target
from vlx.protocol.task import Features

TEXT = "a red dog on grass"


class Bright:
    """A is the picture in blocks of 4 × 4 pixels; the score of token n is how bright row n of the blocks is."""

    name, blank = "bright", (0.0, 0.0, 0.0)

    def __init__(self, size: tuple[int, int] = (16, 24), offset: float = 1.5) -> None:
        self.size, self.offset, self.batches = size, offset, cast(list[int], [])

    def place(self, inputs: Tensor) -> Tensor:
        return inputs

    def features(self, inputs: Tensor) -> Features:
        self.batches.append(len(inputs))
        A = torch.nn.functional.avg_pool2d(inputs, 4)
        grid = Grid((self.offset, self.offset), (4.0, 4.0), (A.shape[2], A.shape[3]), self.size)
        return Features({"blocks": A}, "blocks", grid, rest=inputs.amax((1, 2, 3)))

    def scores(self, A: Tensor, targets: Sequence[Target], rest: Any = None) -> Tensor:
        assert len(rest) == len(A)
        return torch.stack([A[target.row, :, target.terms[0].token].sum() for target in targets])


def run(task: Bright, inputs: Tensor, rows: Sequence[int], **options: Any) -> tuple[list[Occlusion], list[Array]]:
    features = task.features(inputs[None])
    targets = [Target(0, "", (Term(0, row),), "logit") for row in rows]
    maps = []
    for row in rows:
        own = torch.zeros_like(features.A[0, 0])
        own[row] = features.A[0, :, row].sum(0)
        maps.append(own.numpy())
    task.batches.clear()
    blank = torch.full_like(inputs, -1.0)
    return occlude(cast(Any, task), inputs, blank, features, targets, maps, **options), maps


def bright_picture(height: int = 16, width: int = 24) -> Tensor:
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def test_the_score_falls_by_what_the_patch_hides() -> None:
    inputs = bright_picture()
    found, _ = run(Bright(), inputs, [0, 2])
    for row, occlusion in zip((0, 2), found, strict=True):
        assert occlusion.patch == 8
        expected = np.zeros((4, 6))
        for i in range(4):
            for j in range(6):
                for y in range(4 * row, 4 * row + 4):
                    for x in range(24):
                        if abs(y - (1.5 + 4 * i)) <= 4 and abs(x - (1.5 + 4 * j)) <= 4:
                            expected[i, j] += float((inputs[:, y, x] + 1).sum()) / 16
        assert occlusion.falls == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("patch", [1.0, 1.5, 3.0])
def test_the_patch_is_as_wide_as_told_and_centred_on_the_cell(patch: float) -> None:
    task, inputs = Bright((48, 48), 21.5), torch.zeros(3, 48, 48)
    found, _ = run(task, inputs, [5], patch=patch)
    assert found[0].patch == round(4 * patch)
    hidden: list[np.ndarray[Any, Any]] = []

    class Seen(Bright):
        def features(self, inputs: Tensor) -> Features:
            hidden.extend((inputs[:, 0] == -1).numpy())
            return super().features(inputs)

    run(Seen((48, 48), 21.5), inputs, [5], patch=patch)
    rows, columns = np.nonzero(hidden[1])  # the whole picture comes first: this is cell (0, 0)
    assert (rows.mean(), columns.mean()) == (21.5, 21.5)
    assert np.ptp(rows) + 1 == np.ptp(columns) + 1 == round(4 * patch)
    rows, columns = np.nonzero(hidden[1 + 12 * 2 + 5])
    assert (rows.mean(), columns.mean()) == (29.5, 41.5)


def test_borders_cut_the_patch_and_cells_outside_hide_nothing() -> None:
    found, _ = run(Bright(offset=-6.5), bright_picture(), [0])
    assert np.all(found[0].falls[0] == 0)
    assert np.all(found[0].falls[:, 0] == 0)
    assert found[0].falls[1, 1] > 0


@pytest.mark.parametrize(("budget", "batches"), [(1, [1] * 24), (16 * 24 * 3 * 8 * 10, [10, 10, 4]), (2**30, [24])])
def test_batches_fit_the_budget_and_change_nothing(
    budget: int, batches: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    task, inputs = Bright(), bright_picture()
    with monkeypatch.context() as patched:
        patched.setattr(hiding, "BUDGET", budget)
        found, _ = run(task, inputs, [1, 3])
    assert task.batches == batches
    for one, other in zip(found, run(Bright(), inputs, [1, 3])[0], strict=True):
        assert one.falls == pytest.approx(other.falls, abs=1e-12)


def test_the_picture_is_left_as_it_was() -> None:
    inputs = bright_picture()
    kept = inputs.clone()
    run(Bright(), inputs, [0])
    assert torch.equal(inputs, kept)


@pytest.mark.parametrize("patch", [0.0, -1.0, 0.2, float("nan")])
def test_a_patch_must_hide_something(patch: float) -> None:
    with pytest.raises(InputError, match=r"strides of 4 pixels hide nothing; it must be larger"):
        run(Bright(), bright_picture(), [0], patch=patch)


def test_padding_does_not_count_for_the_agreement() -> None:
    inputs = bright_picture()
    window = (0, 16, 8, 16)  # cells 1 to 4 of each row touch it with their patches of 8 pixels around 5.5 … 17.5
    found, maps = run(Bright(), inputs, [1], window=window)
    inside = spearmanr(found[0].falls[:, 1:5].ravel(), np.maximum(maps[0], 0)[:, 1:5].ravel())[0]
    everywhere = spearmanr(found[0].falls.ravel(), np.maximum(maps[0], 0).ravel())[0]
    assert found[0].agreement == pytest.approx(inside, abs=1e-12)
    assert abs(inside - everywhere) > 0.01
    assert run(Bright(), inputs, [1])[0][0].agreement == pytest.approx(everywhere, abs=1e-12)


@pytest.mark.parametrize("kind", ["logprob", "logit", "prob"])
def test_falls_are_those_of_pictures_hidden_one_by_one(kind: Any) -> None:
    task = captioner()
    inputs, blank = prepare(picture()), prepare(Image.new("RGB", (40, 30), (128, 128, 128)))
    features = features_of(task, 0)
    prediction = task.predict(features, [Query(caption=TEXT)])[0]
    targets = [word_target(prediction, n, 0, kind) for n in range(5)]
    found = occlude(task, inputs, blank, features, targets, [np.ones((4, 4))] * 5)
    for target, occlusion in zip(targets, found, strict=True):
        for i in range(4):
            for j in range(4):
                hidden = inputs.clone()
                y, x = (round(features.grid.offset[axis] + 4 * cell) for axis, cell in enumerate((i, j)))
                hidden[:, max(y - 4, 0) : y + 4, max(x - 4, 0) : x + 4] = blank[:, :1, :1]
                with torch.no_grad():
                    fall = slow_score(task, features.A, target) - slow_score(
                        task, task.features(hidden[None]).A, target
                    )
                assert occlusion.falls[i, j] == pytest.approx(fall.item(), abs=1e-5)


# Rank correlation


@pytest.mark.parametrize("seed", range(40))
def test_ranks_correlate_as_in_scipy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    spread = int(rng.integers(1, 8))
    a, b = rng.integers(-spread, spread + 1, (2, int(rng.integers(3, 30)))).astype(float)  # many ties
    if np.ptp(a) and np.ptp(b):
        assert rank_correlation(a, b) == pytest.approx(spearmanr(a, b)[0], abs=1e-12)
    assert rank_correlation(a + rng.random(len(a)), b + rng.random(len(a))) <= 1


def test_constant_maps_have_no_rank() -> None:
    assert np.isnan(rank_correlation(np.ones(4), np.arange(4.0)))
    assert np.isnan(rank_correlation(np.arange(4.0), np.zeros(4)))
    assert np.isnan(rank_correlation(np.zeros(0), np.zeros(0)))
    assert np.isnan(rank_correlation(np.array([1.0, np.nan, 2.0]), np.arange(3.0)))
    assert rank_correlation(np.array([1.0, np.inf, 2.0]), np.arange(3.0)) == pytest.approx(0.5)


# In an explanation


def test_words_sentence_and_answers_are_occluded_when_asked() -> None:
    assert vlx.explain(captioner(), picture(), caption=TEXT)[0].occlusion is None
    caption = vlx.explain(captioner(), picture(), caption=TEXT, occlusion=True)
    answer = vlx.explain(vqa(), picture(), question=QUESTION, occlusion=True)
    told: list[float] = []
    for word in (*caption, caption.sentence, answer[0], *(other[0] for other in answer.others)):
        assert word.occlusion is not None
        assert word.occlusion.patch == 8
        told.append(word.occlusion.agreement)
        if np.isnan(told[-1]):
            assert word.signed.max() <= 0
        else:
            ranks = spearmanr(word.occlusion.falls.ravel(), np.maximum(word.signed, 0).ravel())[0]
            assert told[-1] == pytest.approx(ranks, abs=1e-6)
    assert np.isfinite(told).sum() > 5
    total = np.sum([cast(Occlusion, word.occlusion).falls for word in caption], 0)
    assert cast(Occlusion, caption.sentence.occlusion).falls == pytest.approx(total, abs=1e-4)
    assert all(phrase.occlusion is None for phrase in caption.phrases)


def test_the_falls_are_in_the_unit_of_the_target() -> None:
    falls = {}
    for target in ("logit", "logprob"):
        why = vlx.explain(vqa(), picture(), question=QUESTION, answer="red", target=target, occlusion=True)
        falls[target] = cast(Occlusion, why[0].occlusion).falls
    assert np.abs(falls["logit"] - falls["logprob"]).max() > 0.01


def test_letterboxed_pictures_agree_where_there_is_picture() -> None:
    def boxed(image: Image.Image) -> Tensor:
        return prepare(ImageOps.pad(image.convert("RGB"), (16, 16), color=(128, 128, 128)))

    task = vqa()
    task.prepare = boxed
    wide = picture(3, 96, 24)
    why = vlx.explain(task, wide, question=QUESTION, answer="red", occlusion=True)
    top, bottom = why.placement.frame.window[:2]
    assert (top, bottom) == (6, 10)
    offset = why.placement.grid.offset[0]
    rows = [i for i in range(4) if offset + 4 * i - 3.5 < bottom and offset + 4 * i + 4.5 > top]
    word = why[0]
    assert word.occlusion is not None
    seen = spearmanr(word.occlusion.falls[rows].ravel(), np.maximum(word.signed, 0)[rows].ravel())[0]
    assert 0 < len(rows) < 4
    assert word.occlusion.agreement == pytest.approx(seen, abs=1e-6)


def test_a_window_that_hides_everything_gives_no_agreement() -> None:
    found, _ = run(Bright(), bright_picture(), [0], window=(0, 0, 0, 0))
    assert np.isnan(found[0].agreement)
    assert replace(found[0], agreement=0.0).falls.max() > 0
