"""One small network with any last layer, and its scores once more in plain NumPy."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from vlx.tasks.classification import Classifier
from vlx.tasks.vqa import CnnLstmVqa

Array = NDArray[np.float64]
CELLS = 16  # of A, 4 × 4
QUESTIONS = ["<pad>", "what", "color"]


def picture(seed: int = 0) -> Image.Image:
    small = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), np.uint8)
    return Image.fromarray(small).resize((48, 32), Image.Resampling.BICUBIC)


def prepare(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image.convert("RGB").resize((16, 16)))).permute(2, 0, 1).double() / 255


class Body(nn.Module):
    """Pictures [B, 3, 16, 16] → A [B, 3, 4, 4], rectified."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 4, stride=4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.conv(x))


class Net(nn.Module):
    """z = W · mean(A) + b, [B, C], and ``end`` of it; ``runs`` counts the pictures."""

    def __init__(self, columns: int, end: Callable[[Tensor], Any] = lambda z: z, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.body, self.head = Body(), nn.Linear(3, columns)
        with torch.no_grad():
            self.head.weight.mul_(6)
        self.end, self.runs = end, 0
        self.double().eval()

    def forward(self, x: Tensor) -> Any:
        self.runs += len(x)
        return self.end(self.head(self.body(x).mean((2, 3))))

    def map(self, image: Image.Image) -> Array:
        """A of a picture, [3, 4, 4]."""
        return np.asarray(self.body(prepare(image)[None])[0].detach().numpy())

    def z(self, A: Array) -> Array:
        """z of a feature map, [C]."""
        return np.asarray(self.w @ A.mean((1, 2)) + self.head.bias.detach().numpy())

    @property
    def w(self) -> Array:
        return np.asarray(self.head.weight.detach().numpy())


def classifier(
    columns: int, end: Callable[[Tensor], Any] = lambda z: z, labels: Sequence[str] | None = None, **options: Any
) -> Any:
    return Classifier(Net(columns, end), "body", labels, prepare, **options)


class Head:
    """A VQA head: z of A plus something of the question, and ``end`` of it."""

    def __init__(self, net: Net) -> None:
        self.net = net

    def __call__(self, A: Tensor, tokens: Tensor, lengths: Tensor) -> Any:
        return self.net.end(self.net.head(A.mean((2, 3))) + tokens.sum(1, keepdim=True) * 0.25)


def vqa(columns: int, end: Callable[[Tensor], Any], answers: Sequence[str], **options: Any) -> Any:
    """A VQA model on the same network; asked "what" it adds .25 to every z."""
    net = Net(columns, end)
    return CnnLstmVqa(net.body, Head(net), QUESTIONS, answers, prepare, **options)


def differences(f: Callable[[Array], float], A: Array, step: float = 1e-6) -> Array:
    """The gradient of f at A by central differences, one cell at a time."""
    found = np.zeros_like(A)
    for place in np.ndindex(A.shape):
        up, down = A.copy(), A.copy()
        up[place] += step
        down[place] -= step
        found[place] = (f(up) - f(down)) / (2 * step)
    return found


def sigmoid(z: Any) -> Any:
    return 1 / (1 + np.exp(-np.asarray(z)))


def softmax(z: Array) -> Array:
    return np.asarray(np.exp(z) / np.exp(z).sum())
