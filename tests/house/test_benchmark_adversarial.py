"""Two photographs side by side: pairs of different classes, halves prepared each by itself, the attack as a picture."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks import adversarial
from benchmarks.adversarial import SIDE, SideBySide, both_halves, paired, square
from benchmarks.adversarial_picture import as_picture, changed, drawn
from tests.explanation.test_map_check import COLOURS, colours
from vlx.data.example import Ask, Example, Truth
from vlx.evaluation.metrics.adversarial import REACH
from vlx.protocol.targets import Query

NAMES = ("red", "green", "blue")


class Things:
    """A square of 40 pixels a picture, of these colours; one of the pictures shows nothing."""

    def __init__(self, *shown: str) -> None:
        self.shown = shown

    def __len__(self) -> int:
        return len(self.shown)

    def __getitem__(self, number: int) -> Example:
        name, image = self.shown[number], Image.new("RGB", (160, 120), (124, 116, 104))
        if name in NAMES:
            image.paste(COLOURS[NAMES.index(name)], (60, 50, 100, 90))
        boxes = [(60.0, 50.0, 40.0, 40.0)]
        asks = [Ask(label=name, group="things", truth=Truth(boxes=boxes))] if name else []
        return Example(str(number), image, asks=asks)

    def digest(self) -> str:
        return "things"


def keys(*shown: str) -> Iterator[tuple[str, ...]]:
    things: Any = Things(*shown)
    yield from (tuple(example.key for example, _ in pair) for pair in paired(things))


def test_pairs_are_of_different_classes_and_each_thing_is_shown_once() -> None:
    assert [*keys("red", "red", "", "green", "blue", "red", "green")] == [("0", "3"), ("4", "5")]
    assert [*keys("airliner", "red", "airliner")] == [], "what pictures are changed to is in none of them"


def test_each_half_is_square_around_its_thing_and_its_place() -> None:
    things: Any = Things("red", "blue")
    example = SideBySide(things)[0]
    assert example.image.size == (2 * SIDE, SIDE)
    pixels = np.asarray(example.image)
    for half, (ask, name) in enumerate(zip(example.asks, ("red", "blue"), strict=True)):
        assert ask.label == name
        assert ask.truth is not None and ask.truth.mask is not None
        rows, columns = np.nonzero(ask.truth.mask)
        assert (columns.min(), columns.max() + 1, len(rows)) == (half * SIDE, (half + 1) * SIDE, SIDE * SIDE)
        assert tuple(np.median(pixels[ask.truth.mask], 0)) == COLOURS[NAMES.index(name)], "the thing fills it"
    corner = Ask(label="red", truth=Truth(boxes=[(0.0, 0.0, 10.0, 60.0)]))
    assert square(things[0].image, corner).size == (SIDE, SIDE)


def test_halves_are_prepared_each_by_itself() -> None:
    things: Any = Things("red", "blue")
    task = colours()
    both, picture = both_halves(task), SideBySide(things)[0].image
    inputs = both.prepare(picture)
    for half in (0, 1):
        side = inputs.shape[2] // 2
        own = task.prepare(picture.crop((half * SIDE, 0, (half + 1) * SIDE, SIDE)))
        assert torch.equal(inputs[:, :, half * side : (half + 1) * side], own)
    assert both.predict(both.features(inputs[None]), [Query()])[0].words[0].label in ("red", "blue")


def test_the_attack_is_a_picture_that_the_model_takes_for_the_other_class(monkeypatch: Any) -> None:
    monkeypatch.setattr(adversarial, "LABEL", "green")
    monkeypatch.setattr("benchmarks.adversarial_picture.LABEL", "green")
    things: Any = Things("red", "blue")
    task, example = both_halves(colours()), SideBySide(things)[0]
    inputs = task.prepare(example.image)
    low, high = torch.zeros(3), torch.ones(3)
    seen = as_picture(inputs, low, high)
    assert np.abs(np.asarray(seen) / 255 - inputs.permute(1, 2, 0).numpy()).max() <= 0.5 / 255 + 1e-6
    after = changed(task, example.image)
    moved = np.abs(np.asarray(after).astype(int) - np.asarray(seen)).max()
    assert 1 < moved <= 255 * REACH + 1

    def sure(picture: Image.Image) -> float:
        said = task.predict(task.features(task.prepare(picture)[None]), [Query(answer="green")])[0]
        return float(said.words[0].logprob)

    assert sure(after.resize(example.image.size, 0)) > sure(example.image)
    sheet = drawn({"colours": task}, example)
    assert sheet.width == 2 * 304
    assert len({sheet.crop((x, y, x + 300, y + 150)).tobytes() for x in (0, 304) for y in (15, 184, 353)}) > 3
