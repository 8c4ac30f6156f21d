"""Real weights on real photographs: ``python -m benchmarks.photos --real ../shared/real``.

The dequantised ImageNet MobileNetV2 on 70 COCO photographs: the CAM identities in float64, and the pointing game on
COCO boxes for the classes that ImageNet shares, with cells placed where vlx has them (measured; see
`benchmarks.placement`) and by the half-pixel rule, beside the picture's centre and a random point.
"""

import importlib.util
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from vlx.data import CocoData
from vlx.data.example import Ask, Box, Example, Truth
from vlx.evaluation import Metric, evaluate, of_maps
from vlx.evaluation.cases import Case
from vlx.evaluation.metric import OfMap
from vlx.evaluation.records import Values
from vlx.evaluation.shown import ShownBatch
from vlx.methods import engine
from vlx.methods.cams import METHODS
from vlx.pictures.placement import Grid, Placement
from vlx.pictures.receptive_fields import measure_frame
from vlx.protocol.targets import Query, Target, Term, word_target
from vlx.tasks.classification import Classifier

LAYER = "features.18"
SMALLEST = 0.05  # things whose boxes cover less of the seen picture are left out: the native cell is 2 % of it
PHOTOS = ("cat_720p.jpg", "dog_test_0.bmp", "hot_dog.jpg", "parrot.jpg")

# COCO category → the beginnings of the ImageNet labels that mean the same kind of thing.
SHARED = {
    "airplane": ("airliner", "warplane"),
    "backpack": ("backpack",),
    "banana": ("banana",),
    "bear": ("brown bear", "American black bear", "ice bear", "sloth bear"),
    "bench": ("park bench",),
    "bicycle": ("bicycle-built-for-two", "mountain bike"),
    "boat": ("catamaran", "fireboat", "gondola", "lifeboat", "speedboat", "canoe", "trimaran", "yawl"),
    "broccoli": ("broccoli",),
    "bus": ("minibus", "school bus", "trolleybus"),
    "car": ("cab", "sports car", "convertible", "beach wagon", "limousine", "jeep", "minivan", "Model T", "racer"),
    "cat": ("tabby", "tiger cat", "Persian cat", "Siamese cat", "Egyptian cat"),
    "cell phone": ("cellular telephone",),
    "clock": ("wall clock", "analog clock", "digital clock"),
    "couch": ("studio couch",),
    "cup": ("cup", "coffee mug"),
    "dining table": ("dining table",),
    "donut": ("bagel",),
    "elephant": ("Indian elephant", "African elephant", "tusker"),
    "horse": ("sorrel",),
    "keyboard": ("computer keyboard", "typewriter keyboard"),
    "laptop": ("laptop", "notebook"),
    "microwave": ("microwave",),
    "motorcycle": ("moped", "motor scooter"),
    "mouse": ("mouse, computer",),
    "orange": ("orange",),
    "pizza": ("pizza",),
    "refrigerator": ("refrigerator",),
    "remote": ("remote control",),
    "sheep": ("ram", "bighorn"),
    "skis": ("ski",),
    "teddy bear": ("teddy",),
    "tennis racket": ("racket",),
    "tie": ("Windsor tie", "bow tie"),
    "toilet": ("toilet seat",),
    "traffic light": ("traffic light",),
    "train": ("bullet train", "electric locomotive", "steam locomotive", "passenger car", "streetcar"),
    "truck": ("pickup", "trailer truck", "moving van", "fire engine", "garbage truck", "tow truck"),
    "tv": ("television", "screen", "monitor"),
    "umbrella": ("umbrella",),
    "vase": ("vase",),
    "wine glass": ("goblet", "red wine"),
    "zebra": ("zebra",),
}


class Things:
    """The photographs' objects of classes that ImageNet shares, one ask for each photograph and category: for the one
    of its classes that the task holds likeliest, with the boxes of all its objects. Small ones are left out.
    """

    name, licence = "photos with boxes", CocoData.licence

    def __init__(self, task: Classifier, data: CocoData, labels: Sequence[str]) -> None:
        self.task, self.data, self.labels = task, data, labels

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, number: int) -> Example:
        example = self.data[number]
        return Example(example.key, lambda: example.image, asks=lambda: tuple(self._asks(example)))

    def digest(self) -> str:
        """Of the instance file and the pictures."""
        return self.data.digest()

    def _asks(self, example: Example) -> Iterator[Ask]:
        asked = [ask for ask in example.asks if ask.label in SHARED and classes(ask.label, self.labels)]
        if not asked:
            return
        image = example.image
        features = self.task.features(self.task.place(self.task.prepare(image)[None]))
        visible = Placement(features.grid, measure_frame(self.task.prepare, (image.height, image.width))).visible()
        for ask in asked:
            assert ask.label is not None and ask.truth is not None
            truth = Truth(inside(ask.truth.boxes, visible.shape), boxes=ask.truth.boxes)
            if (ask.truth.boxes and truth.mask is not None) and truth.mask[visible].mean() >= SMALLEST:
                every = classes(ask.label, self.labels)
                asked_for = [Target(0, "", (Term(0, token),), "logit") for token in every]
                best = int(engine.scores(self.task, features.A, asked_for, features.rest).argmax())
                yield replace(ask, label=self.labels[every[best]], group="things", truth=truth)


def inside(boxes: Sequence[Box], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """The pixels in any of the boxes, bool [H, W]."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    found = np.zeros(shape, bool)
    for left, top, width, height in boxes:
        found |= (x >= left) & (x <= left + width) & (y >= top) & (y <= top + height)
    return found


def network(real: Path) -> ModuleType:
    """The module ``mobilenet_v2/model.py`` of the folder of real things."""
    spec = importlib.util.spec_from_file_location("real_mobilenet", real / "mobilenet_v2" / "model.py")
    if spec is None or spec.loader is None or not (real / "photos").is_dir():
        sys.exit(f"{real} holds no mobilenet_v2/model.py and photos; give the folder with --real")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def identities(task: Classifier, photographs: list[Path]) -> dict[str, float]:
    """The worst relative error of three CAM identities (conv, mean, linear), in the task's precision."""
    worst = {"α = w / Z": 0.0, "ΣS = y − b": 0.0, "Grad-CAM = HiResCAM": 0.0}
    last = task.model.get_submodule("classifier")
    assert isinstance(last, nn.Linear)
    weight, bias = last.weight.detach(), last.bias.detach()
    for path in photographs:
        features = task.features(task.place(task.prepare(_rgb(path))[None]))
        prediction = task.predict(features, [Query()])[0]
        target = word_target(prediction, 0, 0, "logit")
        token = target.terms[0].token
        found = engine.attribute(task, features.A, [target], METHODS["gradcam"], features.rest)
        hires = engine.attribute(task, features.A, [target], METHODS["hirescam"], features.rest)
        cells = features.A.shape[2] * features.A.shape[3]
        pairs = {
            "α = w / Z": (found.weights[0] * cells, weight[token]),
            "ΣS = y − b": (found.signed.sum(), found.scores[0] - bias[token]),
            "Grad-CAM = HiResCAM": (found.signed, hires.signed),
        }
        worst = {name: max(worst[name], _relative(*pairs[name])) for name in worst}
    return worst


def pointed(half: bool, case: Case, values: Values, shown: ShownBatch) -> float:
    """Whether a map's highest point on the picture lies in a box; cells lie where vlx has them, or by half-pixels."""
    placement = shown.placement(case.row)
    if half:
        grid = placement.grid
        placement = Placement(Grid.half_pixel(grid.shape, grid.size), placement.frame)
    painted = placement.paint(values)
    y, x = np.unravel_index(int(painted.argmax()), painted.shape)
    return float(painted.max() > 0 and case.mask[y, x])


def centred(case: Case, _values: Values, _shown: ShownBatch) -> float:
    """Whether the picture's centre lies in a box."""
    height, width = case.mask.shape
    return float(case.mask[height // 2, width // 2])


def covered(case: Case, _values: Values, shown: ShownBatch) -> float:
    """The share of the seen picture that the boxes cover: what a random point scores."""
    return float(case.mask[shown.placement(case.row).visible()].mean())


MEASURES: dict[str, OfMap] = {
    "as vlx places cells": partial(pointed, False),
    "half-pixel": partial(pointed, True),
    "centre": centred,
    "random": covered,
}


def pointing(task: Classifier, data: CocoData, labels: Sequence[str]) -> tuple[int, dict[str, list[float]]]:
    """How many things there are; the share of hits and its interval by either alignment, the centre, a random point."""
    metrics = [Metric(name, "", of_maps(name, measure)) for name, measure in MEASURES.items()]
    found = evaluate(task, Things(task, data, labels), metrics=metrics, methods=["gradcam"], targets=["logit"])
    shares = {row.metric: [row.value, row.low, row.high] for row in found.rows}
    return found.rows[0].count, shares


def classes(category: str, labels: Sequence[str]) -> list[int]:
    """Classes whose label begins with one of the category's names, as a whole synonym."""
    return [
        n for n, label in enumerate(labels) if any(f"{label}, ".startswith(f"{name}, ") for name in SHARED[category])
    ]


def _relative(given: Tensor, wanted: Tensor) -> float:
    return float((given - wanted).abs().max() / wanted.abs().max())


def _rgb(path: Path) -> Image.Image:
    return Image.open(path).convert("RGB")


@click.command()
@click.option("--real", type=click.Path(path_type=Path), default=Path("../shared/real"), show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def main(real: Path, as_json: bool) -> None:
    """CAM identities and the pointing game with real weights on real photographs."""
    module = network(real)
    task = Classifier(module.load(), layer=LAYER, labels=module.LABELS, prepare=module.prepare)
    exact = Classifier(module.load().double(), layer=LAYER, labels=module.LABELS, prepare=module.prepare)
    errors = identities(exact, [real / "photos" / name for name in PHOTOS])
    count, shares = pointing(task, CocoData(real / "photos" / "instances.json"), module.LABELS)
    figures: dict[str, Any] = {"identities": errors, "things": count, "pointing": shares}
    if as_json:
        click.echo(json.dumps(figures, indent=1))
    else:
        _print(figures)


def _print(figures: dict[str, Any]) -> None:
    console = Console()
    table = Table("CAM identity, float64", "worst relative error", box=None)
    for name, error in figures["identities"].items():
        table.add_row(name, f"{error:.1e}")
    console.print(table)
    table = Table(f"pointing game, {figures['things']} things on COCO photographs", "hits", "95 %", box=None)
    for name, (share, low, high) in figures["pointing"].items():
        table.add_row(name, f"{share:.3f}", f"{low:.2f} to {high:.2f}")
    console.print(table)


if __name__ == "__main__":
    main()
