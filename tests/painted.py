"""Three scenes painted by hand and two models of them, of which every map, score and fall has a closed form.

A picture has 128 × 128 pixels. The models see it at half its height, 64 × 128, in 4 × 8 cells: a cell is 32 rows by 16
columns of the picture, its centre at row 32 i + 16, column 16 j + 8. A is the mean colour of each cell, and a score is
W · mean(A), so that all can be said once more from the mean colour of the picture.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

import vlx.data.scenes
from vlx.pictures.placement import Grid
from vlx.protocol.targets import Alternative, Prediction, Query, Reads, Target, Term, Word
from vlx.protocol.task import Defaults, Features
from vlx.scenes.compose import named
from vlx.scenes.painter import Pose
from vlx.scenes.questions import Question
from vlx.scenes.scene import Scene
from vlx.scenes.things import SceneObject
from vlx.scenes.world import KINDS

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Cell = tuple[int, int]

SIDE, HIGH, CELLS, CELL = 128, 64, (4, 8), 16
WEIGHTS = {  # of each word for red, green and blue; all other words have none
    "red": (4.0, 0.13, -0.27),
    "house": (3.0, -1.0, 0.5),
    "blue": (-0.11, 0.23, 4.0),
    "tree": (-1.0, 0.5, 3.0),
    "striped": (0.5, 2.0, 1.0),
    "meadow": (0.17, 9.0, -1.0),
    "beach": (-1.0, 8.0, 0.19),
    "car": (-3.0, -2.0, -2.0),
}
WORDS = ["a", "and", "in", "on", *WEIGHTS]
ANSWERS = ["yes", "no", "red", "blue"]


def rectangle(top: float, bottom: float, left: float, right: float) -> Mask:
    """The pixels of some cells of a picture; halves are allowed."""
    mask = np.zeros((SIDE, SIDE), bool)
    mask[round(32 * top) : round(32 * bottom), round(CELL * left) : round(CELL * right)] = True
    return mask


def painting(ground: tuple[int, int, int], *blobs: tuple[Cell, tuple[int, int, int]]) -> Image.Image:
    """A picture with some cells in other colours; a little unrest, so that no two places are quite alike."""
    unrest = np.random.default_rng(sum(ground)).integers(-3, 4, (HIGH, SIDE, 3)).repeat(2, 0)
    pixels = np.full((SIDE, SIDE, 3), ground, np.uint8)
    for (i, j), colour in blobs:
        pixels[rectangle(i, i + 1, j, j + 1)] = colour
    pixels = (pixels + unrest).clip(0, 255).astype(np.uint8)
    return Image.fromarray(pixels)


def thing(kind: str, color: str, mask: Mask, texture: str = "plain") -> SceneObject:
    """An object of which the first part alone is seen, and that is the mask."""
    names = [part.name for part in KINDS[kind].parts]
    parts = {name: mask if name == names[0] else np.zeros_like(mask) for name in names}
    return SceneObject(Pose(kind, color, "white", texture, 0.5, 0.5, 0.1, 0.0), parts, 0.0)


def scene(
    seed: int, image: Image.Image, place: str, objects: Sequence[SceneObject], asked: Sequence[Question]
) -> Scene:
    """A scene whose caption names all objects, with questions of our own."""
    made = Scene(seed, image, place, tuple(objects), tuple(range(len(objects))))
    vars(made)["questions"] = tuple(asked)
    return made


GREY = (60, 70, 80)


def _asked(mask: Mask, *more: Question) -> list[Question]:
    return [Question("what color is it?", "red", "color", (mask,)), *more]


def line(cell: Cell, down: int, right: int) -> Mask:
    """One pixel so far from the centre of a cell."""
    mask = np.zeros((SIDE, SIDE), bool)
    mask[32 * cell[0] + 16 + down, CELL * cell[1] + 8 + right] = True
    return mask


def painted() -> dict[int, Scene]:
    """Scenes by seed: one with one object, two with two."""
    lone = painting((90, 80, 60), ((0, 0), (250, 80, 60)))
    left = painting(GREY, ((1, 5), (240, 70, 80)), ((3, 1), (60, 250, 80)), ((2, 2), (60, 70, 230)))
    right = painting((50, 40, 30), ((0, 6), (200, 40, 30)), ((2, 0), (50, 210, 30)), ((1, 3), (50, 40, 255)))
    house, tree = rectangle(1, 2, 4, 6), rectangle(2, 3, 4, 8)
    car, bush = rectangle(0, 3, 0, 5), rectangle(0, 1, 6, 8)
    parts = [
        Question(f"is there {name}?", "red", "part", (line((1, 5), down, across),))
        for name, (down, across) in {"one": (12, 0), "two": (-12, 0), "three": (24, 0), "four": (0, 12)}.items()
    ]
    return {
        0: scene(0, lone, "meadow", [thing("house", "red", rectangle(0, 4, 0, 8))], _asked(rectangle(0, 4, 0, 8))),
        1: scene(
            1,
            left,
            "meadow",
            [thing("house", "red", house), thing("tree", "blue", tree, "striped")],
            _asked(
                house,
                Question("what color is the tree?", "blue", "color", (tree,)),
                Question("what color is the line?", "red", "color", (line((1, 5), 12, 0),)),
                Question("is there a boat?", "no", "presence"),
                *parts,
            ),
        ),
        2: scene(
            2,
            right,
            "beach",
            [thing("car", "blue", car), thing("tree", "red", bush)],
            _asked(bush, Question("how many things are there?", "yes", "count", (car, bush))),
        ),
    }


def shown(patch: pytest.MonkeyPatch, scenes: Mapping[int, Scene]) -> None:
    """Every part of vlx that draws a scene of these seeds draws these; other seeds are drawn as ever."""
    draw = vlx.scenes.draw

    def painted(seed: int, size: int = SIDE) -> Scene:
        return scenes[seed] if seed in scenes else draw(seed, size)

    for name, module in list(sys.modules.items()):
        if name.split(".")[0] == "vlx" and vars(module).get("draw") is draw:
            patch.setattr(module, "draw", painted)
    patch.setattr(vlx.data.scenes, "named", lambda seed: scenes[seed].named if seed in scenes else named(seed))


def as_seen(image: Image.Image) -> Array:
    """The picture, of any size, as the models see it, [64, 128, 3]: pairs of rows are one."""
    whole: Array = np.asarray(image if image.size == (SIDE, SIDE) else image.resize((SIDE, SIDE)), np.float64) / 255
    return np.asarray(whole.reshape(HIGH, 2, SIDE, 3).mean(1))


def cells(pixels: Array) -> Array:
    """A of a picture that is seen, [4, 8, 3]."""
    return np.asarray(pixels.reshape(CELLS[0], CELL, CELLS[1], CELL, 3).mean((1, 3)))


class Painted:
    """z = W · mean(A). A captioner has one W for all steps; a model that answers one for each question."""

    name = "painted"
    notes: tuple[str, ...] = ()
    blank = (0.5, 0.5, 0.5)
    defaults = Defaults("layercam", "logit", "batched")

    def __init__(self, kind: str = "captioning") -> None:
        self.kind, self.rivals = kind, True
        self.labels = WORDS if kind == "captioning" else ANSWERS
        self.asked: list[str] = []

    def weights(self, tokens: tuple[int, ...], step: int = 0) -> Array:
        """W [V, 3] under a text, here the same at each step: of an answer it hangs on the question."""
        if self.kind == "captioning":
            return np.array([WEIGHTS.get(word, (0.0, 0.0, 0.0)) for word in WORDS])
        return answers(self.asked[tokens[0]])

    def prepare(self, image: Image.Image) -> Tensor:
        return torch.from_numpy(as_seen(image)).permute(2, 0, 1)

    def place(self, inputs: Tensor) -> Tensor:
        return inputs.double()

    def version(self) -> int:
        return 0

    def features(self, inputs: Tensor) -> Features:
        A = torch.nn.functional.avg_pool2d(inputs, CELL)
        return Features({"cells": A}, "cells", Grid.half_pixel(CELLS, (HIGH, SIDE)))

    def logits(self, A: Tensor, tokens: tuple[int, ...], step: int = 0) -> Tensor:
        """Of one picture's A [3, 4, 8]: [V]."""
        return torch.from_numpy(self.weights(tokens, step)) @ A.mean((1, 2))

    def scores(self, A: Tensor, targets: Sequence[Target], rest: Any = None) -> Tensor:
        reads = Reads.of(targets)
        rows = [self.logits(A[targets[n].row], targets[n].tokens, step) for n, step in reads.pairs]
        return reads.combine(torch.stack(rows))

    def predict(self, features: Features, queries: Sequence[Query]) -> list[Prediction]:
        return [self._one(A, query) for A, query in zip(features.A, queries, strict=True)]

    def _one(self, A: Tensor, query: Query) -> Prediction:
        if self.kind == "vqa":
            assert query.question is not None
            if query.question not in self.asked:
                self.asked.append(query.question)
            tokens: tuple[int, ...] = (self.asked.index(query.question),)
            likeliest = int(self.logits(A, tokens).argmax())
            said: tuple[int, ...] = (likeliest if query.answer is None else ANSWERS.index(query.answer),)
        else:
            assert query.caption is not None
            said = tokens = tuple(self.labels.index(word) for word in query.caption.split())
        words = tuple(self._word(token, step, self.logits(A, tokens, step)) for step, token in enumerate(said))
        return Prediction(" ".join(word.label for word in words), words, tokens)

    def _word(self, token: int, step: int, logits: Tensor) -> Word:
        logprobs = logits.log_softmax(0).tolist()
        order = sorted(range(len(logprobs)), key=lambda other: -logprobs[other]) if self.rivals else []
        others = tuple(Alternative(self.labels[other], other, logprobs[other]) for other in order)
        return Word(self.labels[token], (Term(step, token),), logprobs[token], others)


def answers(question: str) -> Array:
    """W [4, 3] of the answers to a question: it listens to red or, where it asks for a tree or a number, to blue."""
    blue = any(word in question for word in ("tree", "many"))
    rng = np.random.default_rng(len(question))
    return np.round(rng.uniform(-1, 1, (4, 3)), 2) + np.outer([2.0, -1.0, 6.0, -4.0], (0, 0, 1) if blue else (1, 0, 0))


def logprobs(W: Array, pixels: Array) -> Array:
    """Log-probabilities of all words of a picture that is seen, [V]."""
    z = W @ pixels.mean((0, 1))
    return np.asarray(z - np.log(np.exp(z).sum()))
