"""Real weights on real photographs: ``python -m benchmarks.photos --real ../shared/real``.

The dequantised ImageNet MobileNetV2 on 70 COCO photographs: the CAM identities in float64, and the pointing game on
COCO boxes for the classes that ImageNet shares, with cells placed where vlx has them (measured; see
`benchmarks.placement`) and by the half-pixel rule, beside the picture's centre and a random point.
"""

import importlib.util
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from vlx.evaluation import wilson
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


@dataclass(frozen=True)
class Thing:
    """All the boxes of one category in one photograph, each (left, top, width, height) in its pixels."""

    path: Path
    category: str
    boxes: tuple[tuple[float, float, float, float], ...]

    def holds(self, y: float, x: float) -> bool:
        """Whether a point of the photograph lies in one of the boxes."""
        return any(left <= x <= left + width and top <= y <= top + height for left, top, width, height in self.boxes)


def network(real: Path) -> ModuleType:
    """The module ``mobilenet_v2/model.py`` of the folder of real things."""
    spec = importlib.util.spec_from_file_location("real_mobilenet", real / "mobilenet_v2" / "model.py")
    if spec is None or spec.loader is None or not (real / "photos").is_dir():
        sys.exit(f"{real} holds no mobilenet_v2/model.py and photos; give the folder with --real")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def things(real: Path) -> Iterator[Thing]:
    """The photographs' objects of classes that ImageNet shares, one for each photograph and category."""
    data = json.loads((real / "photos" / "instances.json").read_text(encoding="utf-8"))
    names = {category["id"]: category["name"] for category in data["categories"]}
    files = {image["id"]: real / "photos" / "images" / image["file_name"] for image in data["images"]}
    boxes: dict[tuple[int, str], list[tuple[float, float, float, float]]] = {}
    for annotation in data["annotations"]:
        category = names[annotation["category_id"]]
        if category in SHARED and not annotation["iscrowd"]:
            boxes.setdefault((annotation["image_id"], category), []).append(tuple(annotation["bbox"]))
    return (Thing(files[image], category, tuple(found)) for (image, category), found in boxes.items())


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


def pointing(task: Classifier, found: list[Thing], labels: list[str]) -> dict[str, list[float]]:
    """Hits, thing by thing: each map's highest point by either alignment, the centre, and a random point."""
    hits: dict[str, list[float]] = {"as vlx places cells": [], "half-pixel": [], "centre": [], "random": []}
    for thing in found:
        image = _rgb(thing.path)
        features = task.features(task.place(task.prepare(image)[None]))
        frame = measure_frame(task.prepare, (image.height, image.width))
        covered = _covered(Placement(features.grid, frame), thing)
        if covered < SMALLEST:
            continue
        terms = tuple(Term(0, token) for token in classes(thing.category, labels))
        logits = engine.scores(task, features.A, [Target(0, "", (term,), "logit") for term in terms], features.rest)
        best = Target(0, thing.category, (terms[int(logits.argmax())],), "logit")
        S = engine.attribute(task, features.A, [best], METHODS["gradcam"], features.rest).signed[0]
        half = Grid.half_pixel(features.grid.shape, features.grid.size)
        for name, grid in (("as vlx places cells", features.grid), ("half-pixel", half)):
            hits[name].append(_pointed(Placement(grid, frame), S, thing))
        hits["centre"].append(float(thing.holds(image.height / 2, image.width / 2)))
        hits["random"].append(covered)
    return hits


def _pointed(placement: Placement, S: Tensor, thing: Thing) -> float:
    painted = placement.paint(S.clamp_min(0).numpy())
    y, x = np.unravel_index(int(painted.argmax()), painted.shape)
    return float(painted.max() > 0 and thing.holds(float(y), float(x)))


def _covered(placement: Placement, thing: Thing) -> float:
    """The share of the seen picture that the boxes cover: what a random point scores."""
    visible = placement.visible()
    ys, xs = np.nonzero(visible)
    inside = np.zeros(len(ys), bool)
    for left, top, width, height in thing.boxes:
        inside |= (xs >= left) & (xs <= left + width) & (ys >= top) & (ys <= top + height)
    return float(inside.mean())


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
    found = [thing for thing in things(real) if classes(thing.category, module.LABELS)]
    hits = pointing(task, found, module.LABELS)
    figures: dict[str, Any] = {
        "identities": errors,
        "things": len(hits["random"]),
        "pointing": {
            name: [float(np.mean(values)), *wilson(sum(values), len(values))] for name, values in hits.items()
        },
    }
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
