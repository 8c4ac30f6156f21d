"""Small networks on what is no single picture, untrained, with the tasks that explain them."""

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from vlx.tasks.beyond import Policy, Signal, Video, Words

FRAMES = 8
OBSERVED = np.random.default_rng(0).integers(0, 256, (4, 24, 24)).astype(np.uint8)
CLIP = np.random.default_rng(0).integers(0, 256, (FRAMES, 32, 48, 3)).astype(np.uint8)
SIGNAL = np.random.default_rng(0).normal(0, 1, (2, 60)).clip(-3, 3)
TOKENS = np.random.default_rng(0).integers(0, 700, 24)


def frame(image: Image.Image) -> Tensor:
    """A frame of a clip, [3, 16, 16]."""
    pixels = np.asarray(image.resize((16, 16), Image.Resampling.BILINEAR)).copy()
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255


class Marks(nn.Module):
    """A dense output at twice the sides of its map, beside another part."""

    def __init__(self) -> None:
        super().__init__()
        self.cnn = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(), nn.Conv2d(6, 6, 3, 2, 1), nn.ReLU())
        self.marks, self.grown = nn.Conv2d(6, 3, 1), nn.Upsample(scale_factor=2.0, mode="bilinear")

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"out": self.grown(self.marks(self.cnn(x))), "aux": x}


class Reads(nn.Module):
    """A text CNN: the largest value of each unit anywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.conv, self.judge = nn.Embedding(700, 8), nn.Conv1d(8, 10, 3, padding=1), nn.Linear(10, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.judge(torch.relu(self.conv(self.embed(tokens).mT)).amax(2))
        return logits


def head(units: int, dims: int, classes: int = 3) -> list[nn.Module]:
    """The mean of each unit, and a linear layer."""
    pooling = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)[dims - 1]
    return [pooling(1), nn.Flatten(), nn.Linear(units, classes)]


def task_of(name: str, **options: Any) -> Any:
    """One of the tasks in eval mode: "policy", "video", "signal" or "text"."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if name == "policy":
            parts = [nn.Conv2d(4, 8, 5, 2, 2), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(), *head(8, 2)]
            return Policy(nn.Sequential(*parts).eval(), "3", ["left", "stay", "right"], **options)
        if name == "video":
            parts = [nn.Conv3d(3, 6, 3, (1, 2, 2), 1), nn.ReLU(), nn.Conv3d(6, 8, 3, (2, 1, 1), 1), nn.ReLU()]
            net = nn.Sequential(*parts, *head(8, 3)).eval()
            return Video(net, "3", ["a", "b", "c"], frame, frames=FRAMES, **options)
        if name == "signal":
            parts = [nn.Conv1d(2, 6, 5, 1, 2), nn.ReLU(), nn.Conv1d(6, 8, 5, 2, 2), nn.ReLU(), *head(8, 1)]
            return Signal(nn.Sequential(*parts).eval(), "3", ["a", "b", "c"], span=(-3, 3), channels=2, **options)
        return Words(Reads().eval(), "conv", ["good", "bad"], size=700, **options)


def shown(task: Any) -> tuple[Any, Image.Image]:
    """A task, and what it is shown as a picture."""
    if isinstance(task, Policy):
        now = task.seeing(OBSERVED)
        return now, now.picture
    given: Any = CLIP if isinstance(task, Video) else SIGNAL if isinstance(task, Signal) else TOKENS
    return task, task.picture(given)
