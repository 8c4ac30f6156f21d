"""Two photographs side by side become an airliner to the model: ``python -m benchmarks.adversarial``.

The dequantised ImageNet MobileNetV2. Each picture shows two things of different classes, each cut square around its
boxes; both are asked for, each with its half as its place, before and after every picture is changed by at most 8/255
of the range (PGD, 60 steps) until p(airliner) ≥ .9999. "energy" is the share of the heat on the own half, "pointing"
whether the map's peak lies there. Grad-CAM's paper (section 6.1) shows pictures and no figures.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import torch
from PIL import Image
from rich.console import Console
from torch import Tensor

from benchmarks import photos
from vlx.data import CocoData
from vlx.data.example import Ask, Box, Example, Truth
from vlx.evaluation import evaluate
from vlx.evaluation.metrics.adversarial import adversarial
from vlx.tasks.classification import Classifier

SIDE = 224  # of each half
LABEL = "airliner"


class SideBySide:
    """Pairs of things of different classes of the photographs, in their order; each thing is shown once."""

    name, licence = "photographs side by side", CocoData.licence

    def __init__(self, things: photos.Things, pairs: int) -> None:
        self.pairs = list(paired(things, pairs))
        self.made = things

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, number: int) -> Example:
        pair = self.pairs[number]
        picture, asks = Image.new("RGB", (2 * SIDE, SIDE)), []
        for half, (example, ask) in enumerate(pair):
            picture.paste(square(example.image, ask), (half * SIDE, 0))
            mask = np.zeros((SIDE, 2 * SIDE), bool)
            mask[:, half * SIDE : (half + 1) * SIDE] = True
            asks.append(replace(ask, group="halves", truth=Truth(mask)))
        return Example("+".join(example.key for example, _ in pair), picture, asks=asks)

    def digest(self) -> str:
        """Of the photographs."""
        return self.made.digest()


def paired(things: photos.Things, pairs: int) -> Iterator[Sequence[tuple[Example, Ask]]]:
    """The first thing of each photograph with that of the next one of another class."""
    waiting: tuple[Example, Ask] | None = None
    for number in range(len(things)):
        example = things[number]
        ask = next(iter(example.asks), None)
        if ask is None or ask.label == LABEL:
            continue
        if waiting is None or waiting[1].label == ask.label:
            waiting = waiting or (example, ask)
            continue
        yield waiting, (example, ask)
        waiting, pairs = None, pairs - 1
        if not pairs:
            return


def square(image: Image.Image, ask: Ask) -> Image.Image:
    """A square of the photograph around all boxes of what is asked for, resized."""
    assert ask.truth is not None
    left, top, right, bottom = around(ask.truth.boxes)
    side = min(max(right - left, bottom - top), image.width, image.height)
    x, y = (
        min(max((first + last - side) / 2, 0), whole - side)
        for first, last, whole in ((left, right, image.width), (top, bottom, image.height))
    )
    return image.resize((SIDE, SIDE), box=(x, y, x + side, y + side))


def wide(prepare: Callable[[Image.Image], Tensor]) -> Callable[[Image.Image], Tensor]:
    """Two halves, each prepared as a picture by itself, side by side: [3, H, 2 W]."""

    def both(image: Image.Image) -> Tensor:
        middle = image.width // 2
        halves = [(0, 0, middle, image.height), (middle, 0, image.width, image.height)]
        return torch.cat([prepare(image.crop(half)) for half in halves], 2)

    return both


def around(boxes: Sequence[Box]) -> tuple[float, float, float, float]:
    """The box around some: (left, top, right, bottom)."""
    ends = np.array([(left, top, left + width, top + height) for left, top, width, height in boxes])
    (left, top), (right, bottom) = ends[:, :2].min(0).tolist(), ends[:, 2:].max(0).tolist()
    return left, top, right, bottom


@click.command()
@click.option("--real", type=click.Path(path_type=Path), default=Path("../shared/real"), show_default=True)
@click.option("--pairs", type=click.IntRange(1), default=6, show_default=True, help="How many pictures.")
@click.option("--methods", default="gradcam,layercam", show_default=True)
def main(real: Path, pairs: int, methods: str) -> None:
    """Print what maps do when every picture becomes an airliner to the model."""
    module = photos.network(real)
    instances = real / "photos" / "instances.json"
    if not instances.is_file():
        sys.exit(f"{instances}: no such file; give the folder of real things with --real")
    task = Classifier(module.load(), photos.LAYER, module.LABELS, wide(module.prepare), name="MobileNetV2")
    data = SideBySide(photos.Things(task, CocoData(instances), module.LABELS), pairs)
    result = evaluate(task, data, metrics=[adversarial(LABEL)], methods=methods.split(","), targets=["logit"])
    Console(width=130).print(result.table())


if __name__ == "__main__":
    main()
