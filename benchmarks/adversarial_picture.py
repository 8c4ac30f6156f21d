"""One picture of two halves before and after it became an airliner, with the maps of both halves, by several models.

A row each: the picture, Grad-CAM of either half, guided backpropagation of either half, random. The changed picture is
rounded to 8 bits a channel, as it would be saved, and explained as any other: its p is that of the rounded one.
"""

from collections.abc import Iterator, Mapping

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

import vlx
from benchmarks.adversarial import LABEL
from vlx.data.example import Example
from vlx.evaluation import baselines
from vlx.evaluation.metrics.adversarial import attacked
from vlx.explanation.records import Explanation
from vlx.methods.method import Method
from vlx.pictures.edits import value_range
from vlx.protocol.targets import Query, word_target
from vlx.tasks.classification import Classifier

WIDTH, HEIGHT, TEXT, GAP = 300, 150, 15, 4  # of a picture, of the line above it, between two
SHOWN = ("gradcam", "guided")
TOP = 99.5  # per cent of a map's pixels that have a colour of their own: the rest is as strong as they come
Tile = tuple[str, Image.Image]


def drawn(tasks: Mapping[str, Classifier], example: Example) -> Image.Image:
    """All models beside each other: two columns each, before and after."""
    columns = [
        [*column(task, picture, example, f"{name}, {when}")]
        for name, task in tasks.items()
        for when, picture in {"before": example.image, "after": changed(task, example.image)}.items()
    ]
    sheet = Image.new("RGB", (len(columns) * (WIDTH + GAP), len(columns[0]) * (HEIGHT + TEXT + GAP)), "white")
    write = ImageDraw.Draw(sheet)
    for across, tiles in enumerate(columns):
        for down, (told, tile) in enumerate(tiles):
            x, y = across * (WIDTH + GAP), down * (HEIGHT + TEXT + GAP)
            write.text((x + 2, y + 1), told, "black")
            sheet.paste(tile.resize((WIDTH, HEIGHT)), (x, y + TEXT))
    return sheet


def changed(task: Classifier, picture: Image.Image) -> Image.Image:
    """The picture after the attack, as one of 8 bits."""
    inputs = task.prepare(picture)
    low, high = value_range(task.prepare, picture, inputs)
    said = task.predict(task.features(inputs[None]), [Query(answer=LABEL)])[0]
    made, _ = attacked(task, inputs, word_target(said, 0, 0, "logprob"), low, high)
    return as_picture(made, low, high)


def as_picture(inputs: Tensor, low: Tensor, high: Tensor) -> Image.Image:
    """A prepared picture [3, H, W] as RGB, where a channel is ``low`` in black and ``high`` in white."""
    shares = ((inputs - low[:, None, None]) / (high - low)[:, None, None]).clamp(0, 1)
    return Image.fromarray((shares * 255).round().byte().permute(1, 2, 0).numpy())


def column(task: Classifier, picture: Image.Image, example: Example, heading: str) -> Iterator[Tile]:
    """The picture and its maps, each under a line that says what it is; the random one is the baseline's."""
    sure = float(np.exp(explained(task, picture, answer=LABEL).words[0].logprob))
    yield f"{heading}: p({LABEL}) = {sure:.6f}", picture
    answers = [str(ask.label) for ask in example.asks]
    for method in SHOWN:
        for answer in answers:
            yield titled(explained(task, picture, answer=answer, method=method), picture, method)
    noise = baselines.METHODS["random"]
    yield "random", titled(explained(task, picture, answer=answers[0], method=noise), picture, "")[1]


def explained(task: Classifier, picture: Image.Image, answer: str, method: str | Method = "gradcam") -> Explanation:
    """The map alone: nothing is tried."""
    return vlx.explain(task, picture, answer=answer, method=method, target="logit", seen=False, check=False)


def titled(why: Explanation, picture: Image.Image, method: str) -> Tile:
    """The map of what was asked for over its picture, with the p of it."""
    word = why.words[0]
    return f"{method}: {word.label.split(',')[0]}, p = {np.exp(word.logprob):.4f}", vlx.overlay(
        picture, word, top=float(np.percentile(np.maximum(word.signed, 0), TOP))
    )
