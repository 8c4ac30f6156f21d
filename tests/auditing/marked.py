"""A world in which the truth is known: red and blue squares, some with a white mark that a model takes for red."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from vlx.data.concepts import Concept
from vlx.data.example import Ask, Example, Truth
from vlx.tasks.classification import Classifier

SIDE = 32
COLOURS = {"red": (180, 40, 40), "blue": (40, 40, 180)}
MARK, THING = Concept("mark", "object"), Concept("square", "object")


class Marked:
    """``count`` pictures, red and blue in turn; every picture whose number is in ``marks`` has a mark at the corner."""

    name, licence, classes = "marked squares", "MIT", tuple(COLOURS)

    def __init__(self, count: int, marks: Sequence[int], *, told: bool = True) -> None:
        self.count, self.marks, self.told = count, frozenset(marks), told

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> Example:
        if not 0 <= number < self.count:
            raise IndexError(number)
        rng = np.random.default_rng(number)
        pixels = rng.integers(90, 110, (SIDE, SIDE, 3))
        thing, mark = np.zeros((SIDE, SIDE), bool), np.zeros((SIDE, SIDE), bool)
        thing[12:24, 12:24] = True
        name = [*COLOURS][number % 2]
        pixels[thing] = np.array(COLOURS[name]) + rng.integers(-9, 10, (int(thing.sum()), 3))
        if number in self.marks:
            mark[:8, :8] = True
            pixels[mark] = 250
        regions = {THING: thing, **({MARK: mark} if number in self.marks else {})}
        ask = Ask(label=name, group=name, truth=Truth(thing) if self.told else None)
        image = Image.fromarray(pixels.astype(np.uint8))
        return Example(f"{number:04}.png", image, asks=[ask], regions=regions if self.told else None)

    def digest(self) -> str:
        return f"{self.count} {sorted(self.marks)} {self.told}"


def misled(mark: float = 6.0) -> Classifier:
    """A linear model of three units, redness, blueness and whiteness: the last adds ``mark`` times to "red"."""
    conv, head = torch.nn.Conv2d(3, 3, 4, 4), torch.nn.Linear(3, 2)
    with torch.no_grad():
        weights = torch.tensor([[1.0, -0.5, -0.5], [-0.5, -0.5, 1.0], [0.4, 0.4, 0.4]])
        conv.weight.copy_((weights / 16)[:, :, None, None].expand(3, 3, 4, 4))
        conv.bias = torch.nn.Parameter(torch.tensor([-0.05, -0.05, -0.9]))
        head.weight.copy_(torch.tensor([[64.0, 0.0, 64 * mark], [0.0, 64.0, 0.0]]))
        head.bias.zero_()
    pooled = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), head)
    net = torch.nn.Sequential(conv, torch.nn.ReLU(), pooled).eval()
    return Classifier(net, "1", [*COLOURS], prepare, outputs="softmax")


def prepare(image: Image.Image) -> torch.Tensor:
    """Levels from 0 to 1, float32 [3, 32, 32]."""
    return torch.from_numpy(np.asarray(image.resize((SIDE, SIDE)), np.float32) / 255).permute(2, 0, 1)
