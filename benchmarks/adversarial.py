"""Two photographs side by side become an airliner to the model: ``python -m benchmarks.adversarial``.

The dequantised ImageNet MobileNetV2, and EfficientNet-Lite0. Each picture shows two things of different classes, each
cut square around its boxes; both are asked for, each with its half as its place, before and after every picture is
changed by at most 8/255 of the range (PGD, 60 steps) until p(airliner) ≥ .9999. "energy" is the share of the heat on
the asked half, "pointing" whether the map's peak lies there: .5 by chance. How many pictures came so far, and the least
p, stands below the table. Grad-CAM's paper (section 6.2) shows pictures and no figures; ``--picture`` draws one, too
(`benchmarks.adversarial_picture`). The same by ``vlx evaluate``, resumable:

    vlx evaluate benchmarks/adversarial.py:mobilenet benchmarks.adversarial:halves --metrics adversarial
        --towards airliner --methods gradcam,guided --targets logit --out RUN --resume
"""

import os
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

from benchmarks import paper_models, photos
from vlx.data import CocoData
from vlx.data.example import Ask, Box, Example, Truth
from vlx.errors import InputError
from vlx.evaluation import evaluate
from vlx.evaluation.metrics.adversarial import adversarial
from vlx.tasks.classification import Classifier

SIDE = 224  # of each half
LABEL = "airliner"


class SideBySide:
    """Pairs of things of different classes of the photographs, in their order; each thing is shown once."""

    name, licence = "photographs side by side", CocoData.licence

    def __init__(self, things: photos.Things) -> None:
        self.pairs = list(paired(things))
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


def paired(things: photos.Things) -> Iterator[Sequence[tuple[Example, Ask]]]:
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
        waiting = None


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


def halves() -> SideBySide:
    """The photographs beside MobileNetV2, two by two; raises InputError where VLX_REAL is not their folder."""
    instances = paper_models.real() / "photos" / "instances.json"
    if not instances.is_file():
        raise InputError(f"{instances} is missing; name the folder that holds photos/ by VLX_REAL=DIR")
    one = paper_models.mobilenet()
    return SideBySide(photos.Things(one, CocoData(instances), one.labels.names or ()))


def mobilenet() -> Classifier:
    """MobileNetV2 of two halves: 14 × 7 cells."""
    return both_halves(paper_models.mobilenet())


def efficientnet() -> Classifier:
    """EfficientNet-Lite0 of two halves: 14 × 7 cells."""
    return both_halves(paper_models.efficientnet())


def both_halves(one: Classifier) -> Classifier:
    """A classifier of squares as one of two squares side by side; its head means over the cells of both."""
    return Classifier(one.model, one.layer, one.labels.names, wide(one.prepare), name=one.name)


MODELS = {"MobileNetV2": mobilenet, "EfficientNet-Lite0": efficientnet}


@click.command()
@click.option("--real", type=click.Path(path_type=Path), help="Folder of mobilenet_v2/ and photos/; default: VLX_REAL.")
@click.option("--pairs", type=click.IntRange(1), help="How many pictures of two halves; default: all, 19 here.")
@click.option("--methods", default="gradcam,hirescam,guided", show_default=True)
@click.option("--picture", type=click.Path(path_type=Path), help="Where to draw one picture of halves, by both models.")
def main(real: Path | None, pairs: int | None, methods: str, picture: Path | None) -> None:
    """Print what maps do when every picture becomes an airliner to the model."""
    if real is not None:
        os.environ["VLX_REAL"] = str(real)
    try:
        data = halves()
    except InputError as error:
        sys.exit(str(error))
    for make in MODELS.values():
        result = evaluate(
            make(), data, metrics=[adversarial(LABEL)], methods=methods.split(","), targets=["logit"], n=pairs
        )
        Console(width=130).print(result.table())
    if picture is not None:
        from benchmarks.adversarial_picture import drawn

        drawn({name: make() for name, make in MODELS.items()}, data[0]).save(picture, quality=85)


if __name__ == "__main__":
    main()
