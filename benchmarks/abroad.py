"""Small models unlike the embedded ones, on which a default is judged: ``python -m benchmarks.abroad``.

What is chosen on drawn scenes must hold elsewhere. Each model is a vlx task with pictures, questions or captions, and
the pixels that each word or answer speaks of; trained once in a few CPU minutes, seeds fixed, and kept as safetensors
under ``runs/abroad``. The command trains what is missing and prints how well each does.

- ``easy-vqa``: a CNN times a bag of words, 16 × 16 cells, on easy-VQA's pictures (one shape on a light ground)
- ``white-captioner``: an LSTM with attention over 8 × 8 cells, one or two shapes on a nearly white ground
- ``sigmoid``: a classifier of eleven labels, each yes or no by itself, on the same pictures
- ``mobilenet``: ImageNet's MobileNetV2 on COCO photographs, with boxes and outlines

Without ``../shared/real`` the first asks about drawn pictures of one shape, and the last is not to be had.
"""

import inspect
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from rich.progress import track
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from benchmarks import abroad_nets as nets
from benchmarks import light_ground, photos
from benchmarks.clock import console_for_tables
from vlx.data.questions import shape_mask
from vlx.errors import InputError
from vlx.files.whole import replacing
from vlx.protocol.targets import Query
from vlx.protocol.task import Task
from vlx.tasks.captioning import CnnLstmCaptioner
from vlx.tasks.classification import Classifier
from vlx.tasks.vqa import CnnLstmVqa

ROOT = Path(__file__).resolve().parents[1]
REAL = ROOT.parent / "shared" / "real"
KEPT = ROOT / "runs" / "abroad"
NAMES = ("easy-vqa", "white-captioner", "sigmoid", "mobilenet")
RECIPE = "1"  # raise it when anything about the training changes: what is kept is then made anew
TRAINED_ON = 5000  # drawn pictures
HELD_OUT = 1_000_000  # seeds of drawn pictures from here on are never trained on
EXAMPLES = 400
THINGS = (*light_ground.COLORS, *light_ground.SHAPES)

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Example:
    """A picture, what is asked about it, and the truth.

    ``text``: the right answer, class or caption; ``places``: for each of its words (an answer is one) the pixels
    [H, W] that it speaks of, None where no place shows it.
    """

    image: Image.Image
    query: Query
    text: str
    places: tuple[Mask | None, ...]


def model(name: str, n: int = EXAMPLES) -> tuple[Task, list[Example]]:
    """One of `NAMES` as a task, and ``n`` examples that it was not trained on (photographs: those there are).

    Raises InputError for an unknown name, and for ``mobilenet`` where ``../shared/real`` is not there.
    """
    if name not in MAKERS:
        raise InputError(f"{name!r} is no model of benchmarks.abroad; known are {', '.join(MAKERS)}")
    return MAKERS[name](n)


def _kept(
    name: str, *parts: nn.Module, losses: Callable[[], Callable[[torch.Tensor], torch.Tensor]], **fit: int
) -> None:
    """Fill the parts with the weights that are kept, or train them with ``losses`` and keep them."""
    path, whole = KEPT / f"{name}.safetensors", nn.ModuleList(parts)
    if path.exists():
        with safe_open(path, "pt") as file:
            if (file.metadata() or {}).get("recipe") == RECIPE:
                whole.load_state_dict({key: file.get_tensor(key) for key in file.keys()})  # noqa: SIM118
                whole.eval()
                return
    schedule = nets.Schedule(fit["steps"], 3e-3)
    steps = nets.train(whole, losses(), fit["pictures"], schedule)
    for _ in track(steps, f"training {name} (kept in {path})", total=schedule.steps):
        pass
    KEPT.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        save_file(whole.state_dict(), partial, {"recipe": RECIPE})


def _easy_vqa(n: int) -> tuple[Task, list[Example]]:
    data = questions("train", TRAINED_ON)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        cnn = nets.asked_cnn()
        head = nets.BagHead(32 * 16 * 16, len(data.vocabulary), len(data.answers))
    _kept(
        "easy-vqa" if REAL.is_dir() else "easy-vqa-drawn",
        *(cnn, head),
        losses=lambda: nets.asked_loss(cnn, head, data),
        steps=1500,
        pictures=len(data.pictures),
    )
    task = CnnLstmVqa(cnn, head, data.vocabulary, data.answers, nets.from_minus_half, name="abroad/easy-vqa", unknown=1)
    return task, _asked(questions("test", n), n)


def _asked(data: nets.Questions, n: int) -> list[Example]:
    """One question about each picture, then another one about each, until there are ``n``."""
    shown = [(Image.fromarray(pixels), (shape_mask(pixels),)) for pixels in data.pictures]
    turns = [(row, turn) for turn in range(max(map(len, data.asked))) for row in range(len(shown))]
    found = [(*shown[row], *data.asked[row][turn]) for row, turn in turns if turn < len(data.asked[row])]
    return [Example(image, Query(question=text), answer, places) for image, places, text, answer in found[:n]]


def questions(split: str, count: int) -> nets.Questions:
    """easy-VQA's pictures and questions; without them those of drawn pictures of one shape."""
    if not REAL.is_dir():
        drawn = _of_one_shape(0 if split == "train" else HELD_OUT, count)
        pixels = np.stack([one.pixels for one in drawn])
        return nets.Questions(pixels, tuple(_about(one.shapes[0]) for one in drawn))
    root = REAL / "easy_vqa" / "data" / split
    told: dict[int, list[tuple[str, str]]] = {}
    for text, answer, number in json.loads((root / "questions.json").read_text(encoding="utf-8")):
        told.setdefault(number, []).append((text, answer))
    numbers = sorted(told)[:count]
    pictures = [np.asarray(Image.open(root / "images" / f"{number}.png").convert("RGB")) for number in numbers]
    return nets.Questions(np.stack(pictures), tuple(tuple(told[number]) for number in numbers))


def _of_one_shape(first: int, count: int) -> list[light_ground.Drawn]:
    alone = (one for one in map(light_ground.draw, itertools.count(first)) if len(one.shapes) == 1)
    return list(itertools.islice(alone, count))


def _about(shape: light_ground.Shape) -> tuple[tuple[str, str], ...]:
    """Questions about a picture of one shape, with their answers."""
    own = (shape.color, shape.shape)
    kinds = [(f"is there a {thing} in the picture?", "yes" if thing in own else "no") for thing in THINGS]
    return (("what shape is there?", shape.shape), ("what is the color of the shape?", shape.color), *kinds)


def _captioner(n: int) -> tuple[Task, list[Example]]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        cnn, decoder = nets.shapes_cnn(), nets.told()
    _kept(
        "white-captioner",
        *(cnn, decoder),
        losses=lambda: nets.told_loss(cnn, decoder, [light_ground.draw(seed) for seed in range(TRAINED_ON)]),
        steps=1200,
        pictures=TRAINED_ON,
    )
    task = CnnLstmCaptioner(
        *(cnn, decoder, nets.WORDS, nets.from_minus_half),
        start=nets.START,
        end=nets.END,
        max_words=12,
        name="abroad/white-captioner",
    )
    drawn = [light_ground.draw(HELD_OUT + k) for k in range(n)]
    return task, [_told(one) for one in drawn]


def _told(one: light_ground.Drawn) -> Example:
    words, places = zip(*one.caption(), strict=True)
    return Example(one.image, Query(), " ".join(words), places)


def _sigmoid(n: int) -> tuple[Task, list[Example]]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nets.Labeller()
    _kept(
        "sigmoid",
        net,
        losses=lambda: nets.labelled_loss(net, [light_ground.draw(seed) for seed in range(TRAINED_ON)]),
        steps=600,
        pictures=TRAINED_ON,
    )
    known = inspect.signature(Classifier).parameters
    own = {"outputs": "sigmoid"} if "outputs" in known else {}
    task = Classifier(net, "layers", nets.LABELS, nets.from_minus_half, name="abroad/sigmoid", **own)  # type: ignore[arg-type]
    drawn = [light_ground.draw(HELD_OUT + k) for k in range(n)]
    shown = [(one.image, one.labels()) for one in drawn]
    found = [Example(image, Query(answer=name), name, (mask,)) for image, own in shown for name, mask in own.items()]
    return task, found[:n]


def _mobilenet(n: int) -> tuple[Task, list[Example]]:
    if not REAL.is_dir():
        raise InputError(f"{REAL} is not there: MobileNetV2 and its photographs are not to be had")
    module = photos.network(REAL)
    labels: Sequence[str] = module.LABELS
    task = Classifier(module.load(), photos.LAYER, labels, module.prepare, name="abroad/mobilenet")
    return task, [example for thing in _things(REAL) for example in _of_thing(thing, task, labels)][:n]


@dataclass(frozen=True)
class _Thing:
    """All the boxes of one category in one photograph, each (left, top, width, height) in its pixels."""

    path: Path
    category: str
    boxes: tuple[tuple[float, float, float, float], ...]


def _things(real: Path) -> Iterator[_Thing]:
    """The photographs' objects of classes that ImageNet shares, one for each photograph and category."""
    data = json.loads((real / "photos" / "instances.json").read_text(encoding="utf-8"))
    names = {category["id"]: category["name"] for category in data["categories"]}
    files = {image["id"]: real / "photos" / "images" / image["file_name"] for image in data["images"]}
    boxes: dict[tuple[int, str], list[tuple[float, float, float, float]]] = {}
    for annotation in data["annotations"]:
        category = names[annotation["category_id"]]
        if category in photos.SHARED and not annotation["iscrowd"]:
            boxes.setdefault((annotation["image_id"], category), []).append(tuple(annotation["bbox"]))
    return (_Thing(files[image], category, tuple(found)) for (image, category), found in boxes.items())


def _of_thing(thing: _Thing, task: Task, labels: Sequence[str]) -> list[Example]:
    """The thing's likeliest ImageNet class in its photograph, and its boxes; none where ImageNet has no such class."""
    known = photos.classes(thing.category, labels)
    if not known:
        return []
    image = Image.open(thing.path).convert("RGB")
    said = task.features(task.place(task.prepare(image)[None])).rest["logits"][0]
    best = max(known, key=lambda number: float(said[number]))
    mask = Image.new("1", image.size)
    for left, top, width, height in thing.boxes:
        ImageDraw.Draw(mask).rectangle((left, top, left + width, top + height), fill=1)
    return [Example(image, Query(answer=str(best)), labels[best], (np.asarray(mask),))]


MAKERS: dict[str, Callable[[int], tuple[Task, list[Example]]]] = dict(
    zip(NAMES, (_easy_vqa, _captioner, _sigmoid, _mobilenet), strict=True)
)


def right(task: Task, examples: Sequence[Example]) -> float:
    """The share of examples whose text the model gives; of labels that are asked for, the share with p > 1/2."""
    hits = 0
    for example in examples:
        features = task.features(task.place(task.prepare(example.image)[None]))
        said = task.predict(features, [example.query])[0]
        hits += said.words[0].logprob > np.log(0.5) if said.forced else said.text == example.text
    return hits / len(examples)


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(NAMES))
def main(names: Sequence[str]) -> None:
    """Train what is missing of the models and print how often each is right."""
    console = console_for_tables()
    for name in names or NAMES:
        try:
            task, examples = model(name)
        except InputError as error:
            console.print(f"{name}: skipped ({error})")
            continue
        console.print(f"{name:16} {100 * right(task, examples):5.1f} % of {len(examples)} right")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
