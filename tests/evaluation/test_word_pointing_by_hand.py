"""Words about photographs, on pictures painted by hand: every figure, interval and note once more, in NumPy."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from tests.evaluation.drawn import interval
from tests.evaluation.test_pointing_by_hand import peak, signed
from tests.painted import CELL, SIDE, Array, Cell, Mask, Painted, as_seen, cells, logprobs, painted
from vlx.data.coco import Outlined
from vlx.data.example import Ask, Example, Truth
from vlx.evaluation import evaluate
from vlx.evaluation.result import MACRO, Result
from vlx.protocol.targets import Prediction, Query
from vlx.tasks.captioning import CnnLstmCaptioner

ALL, SMALL = "all objects", "under a quarter"
LABELS = ["<s>", "a", "and", "by", "car", "dog", "kitten"]
WEIGHTS = {"car": ((4.0, 0.1, -0.3), (-0.2, 3.0, 0.1)), "dog": ((-0.1, 0.2, 4.0), (3.0, -0.5, 0.3))}  # even, odd steps


class Teller(Painted):
    """A captioner whose words stand one further on than the caption's, and that says kitten for a cat.

    At even steps a car is red and a dog is blue, at odd ones a car is green and a dog is red.
    """

    def __init__(self) -> None:
        super().__init__()
        self.labels = LABELS

    def weights(self, tokens: tuple[int, ...], step: int = 0) -> Array:
        return np.array([WEIGHTS[word][step % 2] if word in WEIGHTS else (0.0, 0.0, 0.0) for word in LABELS])

    def predict(self, features: Any, queries: Sequence[Query]) -> list[Prediction]:
        whole = [replace(query, caption=f"<s> {query.caption}".replace("cat", "kitten")) for query in queries]
        return super().predict(features, whole)


CAPTIONS = {
    0: ("a car", "a dog and a dog"),
    1: ("a car and a car by a dog", "a dog by a cat"),
    2: ("a dog by a car", "a car"),
}
OUTLINES: dict[int, dict[str, tuple[float, float, float, float]]] = {  # top, bottom, left, right in cells
    0: {"car": (0, 1, 0, 1), "dog": (0.5, 4, 1, 8)},
    1: {"car": (1, 2, 4, 6), "dog": (2, 3, 2, 5), "cat": (0, 1, 0, 1)},
    2: {"car": (0, 1, 5, 8), "dog": (1, 4, 3, 7)},
}


class PaintedData:
    """Outlined pictures as data."""

    licence, by_size = "", True

    def __init__(self, name: str, rows: tuple[Outlined, ...]) -> None:
        self.name, self.rows = name, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> Example:
        row = self.rows[number]
        return Example(row.path.name, row.image, texts=row.captions, asks=lambda: tuple(row.asks()))

    def digest(self) -> str:
        return self.name


def photographs(folder: Path) -> PaintedData:
    rows = []
    for number, scene in painted().items():
        scene.image.save(folder / f"{number}.png")
        polygons = {}
        for name, (top, bottom, left, right) in OUTLINES[number].items():
            up, down, west, east = 32 * top, 32 * bottom, CELL * left, CELL * right
            polygons[name] = [[west, up, east, up, east, down, west, down]]
        rows.append(Outlined(folder / f"{number}.png", (SIDE, SIDE), CAPTIONS[number], polygons))
    return PaintedData("painted", tuple(rows))


@dataclass(frozen=True, eq=False)
class Spoken:
    """A noun by hand: its picture, its pixels, its step, its token and all tokens of the caption with their steps."""

    number: int
    pixels: Array
    mask: Mask
    step: int
    tokens: list[int]

    def direction(self, kind: str, steps: Sequence[int]) -> Array:
        """The gradient of the sum of the words at some steps with respect to the mean colour."""
        total = np.zeros(3)
        for step in steps:
            W = Teller().weights((), step)
            mean = np.exp(logprobs(W, self.pixels)) @ W if kind == "logprob" else 0.0
            total += W[self.tokens[step]] - mean
        return total

    def hit(self, method: str, kind: str, steps: Sequence[int]) -> bool:
        """Whether the map of the words at some steps has its peak on the noun's own pixels."""
        at = peak(signed(method, cells(self.pixels), self.direction(kind, steps)))
        return at is not None and bool(self.mask[centre(at)])


def centre(at: Cell) -> Cell:
    return 32 * at[0] + 16, CELL * at[1] + 8


def word_pointing(task: Any, data: PaintedData) -> Result:
    return evaluate(task, data)


def nouns(data: PaintedData) -> list[Spoken]:
    found = []
    for number, row in enumerate(data.rows):
        for caption in row.captions:
            said = caption.split()
            tokens = [LABELS.index(word) for word in ("<s>", *(word.replace("cat", "kitten") for word in said))]
            for place, word in enumerate(said):
                if word in ("car", "dog"):
                    pixels = as_seen(row.image())
                    found.append(Spoken(number, pixels, row.mask((word,)), place + 1, tokens))
    return found


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PaintedData:
    return photographs(tmp_path_factory.mktemp("painted"))


@pytest.fixture(scope="module")
def result(data: PaintedData) -> Result:
    return word_pointing(Teller(), data)


def test_every_figure_and_its_intervals_are_those_of_the_hand(data: PaintedData, result: Result) -> None:
    spoken = nouns(data)
    numbers = np.array([one.number for one in spoken])
    areas = np.array([one.mask.mean() for one in spoken])
    middle = np.array([float(one.mask[SIDE // 2, SIDE // 2]) for one in spoken])
    same = [one.hit("layercam", "logprob", range(len(one.tokens))) for one in spoken]
    assert {row.group for row in result.rows} == {ALL, SMALL, MACRO}
    assert len(result.rows) == 3 * 5 * 2
    for row in (row for row in result.rows if row.group != MACRO):
        own = areas < 0.25 if row.group == SMALL else areas < 1.1
        hits = np.array([float(one.hit(row.method, row.target, [one.step])) for one in spoken])
        assert row.value == pytest.approx(hits[own].mean()), row
        assert (row.low, row.high) == pytest.approx(interval(hits[own].tolist(), numbers[own].tolist())), row
        assert (row.random, row.centre) == pytest.approx((areas[own].mean(), middle[own].mean()))
        assert row.same == pytest.approx(np.array(same)[own].mean()), row
        ahead = (hits - middle)[own]
        assert row.ahead == pytest.approx((ahead.mean(), *interval(ahead.tolist(), numbers[own].tolist()))), row
        assert row.paper == pytest.approx(0.3 if row.group == ALL else np.nan, nan_ok=True)
        assert row.count == own.sum()


def test_notes_count_what_was_scored_and_what_could_not_be(data: PaintedData, result: Result) -> None:
    areas = [one.mask.mean() for one in nouns(data)]
    small = sum(area < 0.25 for area in areas)
    assert 0 < small < len(areas)
    assert f"{len(areas)} asks scored, {small} of them of objects under a quarter of the picture" in result.notes
    assert "1 nouns not scored: the model's words are others than the caption's" in result.notes
    assert result.n == 3


def test_this_world_can_tell_the_figures_apart(data: PaintedData, result: Result) -> None:
    """Not by chance the same: where two figures of a row agree, one could stand for the other unnoticed."""
    for row in result.rows:
        assert row.value not in (row.random, row.centre, row.same), row
    first, second = (one for one in nouns(data) if one.number == 1 and one.tokens[one.step] == LABELS.index("car"))
    hits = [one.hit("layercam", "logit", [one.step]) for one in (first, second)]
    assert hits == [True, False], "the second car of a caption points elsewhere"
    assert any(0.25 < one.mask.mean() < 0.5 for one in nouns(data))


# A decoder's own attention


class Cells(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(images, CELL)


class Attending(nn.Module):
    """Attends to the red after "a" and to the blue after any other word."""

    def start(self, A: Tensor) -> tuple[Tensor, ...]:
        flat = A.flatten(2)
        return A.mean((2, 3)), flat, flat[:, 1] / flat[:, 1].sum(1, keepdim=True)

    def step(self, tokens: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        mean, flat, _ = state
        channel = torch.where(tokens == LABELS.index("a"), 0, 2)
        chosen = flat[torch.arange(len(flat)), channel]
        return mean, (mean, flat, chosen / chosen.sum(1, keepdim=True))

    def logits(self, hidden: Tensor) -> Tensor:
        return hidden @ torch.ones(3, len(LABELS), dtype=hidden.dtype).cumsum(1)


def prepare(image: Image.Image) -> Tensor:
    """As `Painted.prepare`, of pictures of any size."""
    return Painted().prepare(image.resize((SIDE, SIDE)))


def test_attention_is_that_with_which_the_very_word_was_said(data: PaintedData) -> None:
    task = CnnLstmCaptioner(Cells().eval(), Attending().eval(), LABELS, prepare, start=0, end=0, name="attending")
    captions = {0: ("car a dog",), 1: ("a car by dog",), 2: ("a dog",)}
    rows = tuple(replace(row, captions=captions[number]) for number, row in enumerate(data.rows))
    result = word_pointing(task, PaintedData("painted", rows))
    hits = []
    for number, row in enumerate(rows):
        said = ["<s>", *captions[number][0].split()]
        for before, word in pairwise(said):
            if word in ("car", "dog"):
                A = cells(as_seen(row.image()))
                at = peak(A[:, :, 0 if before == "a" else 2])
                assert at is not None
                hits.append(row.mask((word,))[centre(at)])
    assert len(set(hits)) == 2
    assert result.value(ALL, "attention", "–") == pytest.approx(np.mean(hits))


class Phrases(PaintedData):
    """The same pictures, about each of which a whole text is asked; the truth is one cell."""

    def __init__(self, data: PaintedData, text: str, at: Sequence[Cell]) -> None:
        super().__init__("phrases", data.rows)
        self.text, self.at = text, at

    def __getitem__(self, number: int) -> Example:
        mask, (y, x) = np.zeros((SIDE, SIDE), bool), centre(self.at[number])
        mask[y - 8 : y + 8, x - 4 : x + 4] = True
        asks = [Ask(Query(caption=self.text), group="phrase", truth=Truth(mask), whole=True)]
        return Example(str(number), self.rows[number].image(), texts=[self.text], asks=asks)


def test_of_a_whole_text_attention_is_the_mean_over_its_words(data: PaintedData) -> None:
    task = CnnLstmCaptioner(Cells().eval(), Attending().eval(), LABELS, prepare, start=0, end=0, name="attending")
    text, means, firsts = "a dog and a car", [], []
    for row in data.rows:
        A = cells(as_seen(row.image()))
        maps = [A[:, :, 0 if before == "a" else 2] for before in ["<s>", *text.split()[:-1]]]
        means.append(peak(np.mean([one / one.sum() for one in maps], 0)))
        firsts.append(peak(maps[0]))
    assert means != firsts
    places = [at for at in means if at is not None]
    assert word_pointing(task, Phrases(data, text, places)).value(ALL, "attention", "–") == 1
