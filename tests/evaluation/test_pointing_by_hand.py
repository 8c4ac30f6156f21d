"""The pointing game on scenes painted by hand: every figure once more, in NumPy, from the mean colour of a picture."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest

from tests.evaluation.drawn import interval
from tests.painted import (
    ANSWERS,
    CELL,
    CELLS,
    SIDE,
    WORDS,
    Array,
    Cell,
    Mask,
    Painted,
    answers,
    as_seen,
    cells,
    logprobs,
    painted,
    shown,
)
from vlx import evaluation
from vlx.evaluation import Figure, Result
from vlx.evaluation.metrics import pointing
from vlx.evaluation.result import MACRO
from vlx.scenes.scene import Scene

WINDOW = 12  # half the side of what is hidden around a peak, in pixels of the picture as the model sees it


@dataclass(frozen=True, eq=False)
class Asked:
    """A word or an answer by hand: W under its text, its token, the tokens of what the "same" baseline asks for."""

    group: str
    mask: Mask
    pixels: Array
    W: Array
    token: int
    other: tuple[Array, str, list[int]]  # W, kind, tokens
    picture: int = 0

    def direction(self, kind: str) -> Array:
        """The gradient of its score with respect to the mean colour, [3]."""
        return direction(self.W, kind, [self.token], self.pixels)

    def logprob(self, kind: str, pixels: Array) -> float:
        """What falls: its log p; of a margin what it leads by."""
        values = logprobs(self.W, pixels)
        rival = values[likeliest(self.W, self.pixels, self.token)] if kind == "margin" else 0.0
        return float(values[self.token] - rival)


def likeliest(W: Array, pixels: Array, token: int) -> int:
    """The likeliest other word."""
    values = logprobs(W, pixels)
    values[token] = -np.inf
    return int(values.argmax())


def direction(W: Array, kind: str, tokens: list[int], pixels: Array) -> Array:
    mean = np.exp(logprobs(W, pixels)) @ W
    taken = {"logit": 0 * mean, "logprob": mean, "margin": W[likeliest(W, pixels, tokens[0])]}[kind]
    return np.asarray(sum(W[token] - taken for token in tokens))


def signed(method: str, A: Array, direction: Array) -> Array:
    """The map of a method, [4, 8]: the gradient is the same in all 32 cells."""
    gradient = direction / 32
    rise = gradient.clip(min=0)
    if method == "layercam":
        return np.asarray(A @ rise)
    if method == "gradcam++":
        return np.asarray(A @ (32 * rise / (2 + A.sum((0, 1)) * rise)))
    return np.asarray(A @ gradient)


def peak(values: Array) -> Cell | None:
    place = np.unravel_index(values.argmax(), values.shape)
    return (int(place[0]), int(place[1])) if values.max() > 0 else None


def is_hit(asked: Asked, at: Cell | None) -> bool:
    if at is None:
        return False
    y, x = 32 * at[0] + 16, CELL * at[1] + 8
    up, left = (16, 8) if asked.group == "part" else (0, 0)
    return bool(asked.mask[y - up : y + up + 1, x - left : x + left + 1].any())


def hidden(pixels: Array, at: Cell | None) -> Array:
    """The picture with a square around a cell's centre in its median colour."""
    found = pixels.copy()
    if at is not None:
        y, x = (CELL * place + CELL // 2 for place in at)
        found[max(y - WINDOW, 0) : y + WINDOW, max(x - WINDOW, 0) : x + WINDOW] = np.median(pixels, (0, 1))
    return found


def captions(scene: Scene) -> Iterator[Asked]:
    W, words = Painted().weights(()), scene.caption.split()
    whole = (W, "logprob", [WORDS.index(word) for word in words])
    for word in scene.words:
        if word.category is not None and word.mask is not None:
            yield Asked(word.category, word.mask, as_seen(scene.image), W, WORDS.index(word.word), whole)


def questions(scene: Scene) -> Iterator[Asked]:
    """The other question about the same picture is the one half of the list further on."""
    about = [one for one in scene.questions if one.mask is not None]
    for number, one in enumerate(about):
        assert one.mask is not None
        other = about[(number + len(about) // 2) % len(about)]
        instead = (answers(other.text), "logit", [ANSWERS.index(other.answer)])
        yield Asked(one.kind, one.mask, as_seen(scene.image), answers(one.text), ANSWERS.index(one.answer), instead)


def of(result: Result, metric: str, group: str) -> list[Figure]:
    return [row for row in result.rows if (row.metric, row.group) == (metric, group)]


def measured(kind: str, patch: pytest.MonkeyPatch) -> tuple[list[Asked], Result]:
    """The two scenes with two objects: the first seed has one, and is passed over."""
    world = painted()
    shown(patch, world)
    read = questions if kind == "vqa" else captions
    patch.setattr(pointing, "seeded", lambda site, target: np.random.default_rng(target.terms[0].token))
    asked = [replace(one, picture=seed) for seed in (1, 2) for one in read(world[seed])]
    return asked, evaluation.evaluate(Painted(kind), 2, first=0, occlusion=True)


@pytest.mark.parametrize("kind", ["captioning", "vqa"])
def test_every_hit_and_its_baselines_are_those_of_the_hand(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, result = measured(kind, monkeypatch)
    rows = [row for row in result.rows if row.metric == "pointing" and row.group != MACRO]
    kinds = ["logprob", "logit", "margin"][: 3 if kind == "vqa" else 2]
    methods = ["gradcam", "hirescam", "gradcam++", "xgradcam", "layercam"]
    groups = list(dict.fromkeys(one.group for one in asked))
    assert {(row.group, row.method, row.target) for row in rows} == {
        (group, method, target) for group in groups for method in methods for target in kinds
    }
    for row in rows:
        own = [one for one in asked if one.group == row.group]
        hits = [is_hit(one, peak(signed(row.method, cells(one.pixels), one.direction(row.target)))) for one in own]
        same = [
            is_hit(one, peak(signed("layercam", cells(one.pixels), direction(*one.other, one.pixels)))) for one in own
        ]
        assert row.count == len(own)
        assert row.value == pytest.approx(np.mean(hits)), row
        assert (row.low, row.high) == pytest.approx(interval(list(map(float, hits)), [one.picture for one in own]))
        assert row.same == pytest.approx(np.mean(same)), row
        assert row.random == pytest.approx(np.mean([one.mask.mean() for one in own]))
        assert row.centre == pytest.approx(np.mean([one.mask[SIDE // 2, SIDE // 2] for one in own]))


@pytest.mark.parametrize("kind", ["captioning", "vqa"])
def test_every_fall_is_that_of_hiding_the_median_colour_around_the_peak(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, result = measured(kind, monkeypatch)
    draws = [np.random.default_rng(one.token) for one in asked]
    places = [(int(drawn.integers(CELLS[0])), int(drawn.integers(CELLS[1]))) for drawn in draws]

    def fall(one: Asked, target: str, at: Cell | None) -> float:
        return one.logprob(target, one.pixels) - one.logprob(target, hidden(one.pixels, at))

    rows = [row for row in result.rows if row.metric == "fall" and row.group != MACRO]
    assert len(rows) == len([row for row in result.rows if row.metric == "pointing" and row.group != MACRO])
    for row in rows:
        own = [n for n, one in enumerate(asked) if one.group == row.group]
        falls = []
        for one in (asked[n] for n in own):
            at = peak(signed(row.method, cells(one.pixels), one.direction(row.target)))
            falls.append(fall(one, row.target, at))
        bounds = interval(falls, [asked[n].picture for n in own])
        assert (row.value, row.low, row.high) == pytest.approx((np.mean(falls), *bounds)), row
        assert row.random == pytest.approx(np.mean([fall(asked[n], "logprob", places[n]) for n in own]))
        assert np.isnan(row.centre) and np.isnan(row.same)
        assert row.count == len(own)


def test_this_world_can_tell_the_figures_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by chance the same: where two figures of a row agree, one could stand for the other unnoticed."""
    _, captioned = measured("captioning", monkeypatch)
    for group in ("object", "scene"):
        for row in of(captioned, "pointing", group):
            assert row.value not in (row.random, row.centre, row.same)
    assert {row.value for row in of(captioned, "pointing", "object")} == {0.25}
    assert {row.same for row in of(captioned, "pointing", "object")} == {0.5}
    for row in of(captioned, "fall", "object"):
        assert row.value - row.random > 0.02
    _, answered = measured("vqa", monkeypatch)
    assert {row.value for row in of(answered, "pointing", "part")} == {0.5}, "two of four lie within half a cell"
    assert {row.value for row in of(answered, "pointing", "count")} == {0.0, 1.0}, "methods and targets differ"
    assert {row.same for row in of(answered, "pointing", "color")} == {0.25} != {0.5}
