"""What the models of the drawn world share: their CNN, how it is shown pictures, and what they say of photographs."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from vlx.protocol.task import Features
from vlx.scenes.likeness import likeness
from vlx.tasks.shared.cnn_vision import Scope

SCENES = "scenes"
STRANGE = (
    "out of scope: this is no picture of the drawn world (vlx.scenes), and this model knows no other: its words mean "
    "little here; "
)
INSTEAD = {
    "captioning": "photos/captioner captions photographs",
    "vqa": "for questions about photographs take a model trained on them (hf:…)",
}
DRAWN = (
    "out of scope: this looks like a picture of the drawn world (vlx.scenes), which this model has never seen; "
    "scenes/captioner knows it"
)


@dataclass(frozen=True)
class Preparation:
    """PIL RGB → float32 [3, size, size] with the training pictures' mean at 0 and their deviation at 1."""

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __call__(self, image: Image.Image) -> Tensor:
        """Resize the shorter side, crop the middle, normalise."""
        return self.normalise(torch.from_numpy(self.square(image).copy()).permute(2, 0, 1)[None])[0]

    def square(self, image: Image.Image) -> np.ndarray:
        """The resized and cropped picture, uint8 [size, size, 3]."""
        ratio = self.size / min(image.size)
        width, height = (max(round(side * ratio), self.size) for side in image.size)
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        left, top = (width - self.size) // 2, (height - self.size) // 2
        return np.asarray(image.convert("RGB").crop((left, top, left + self.size, top + self.size)))

    def normalise(self, pictures: Tensor) -> Tensor:
        """uint8 [B, 3, H, W] → float32 [B, 3, H, W]."""
        mean, std = (torch.tensor(values, device=pictures.device).view(1, 3, 1, 1) for values in (self.mean, self.std))
        return (pictures.float() / 255 - mean) / std


def _block(given: int, made: int, stride: int = 1, kernel: int = 3) -> list[nn.Module]:
    convolution = nn.Conv2d(given, made, kernel, stride, kernel // 2, bias=False)
    return [convolution, nn.BatchNorm2d(made), nn.ReLU()]


class SceneCnn(nn.Module):
    """Pictures [B, 3, H, W] → A [B, units, H/8, W/8], rectified; ``wide``: A [B, units, H/16, W/16].

    A cell sees 27 × 27 pixels, less than one object, on purpose: with 43 pixels the captions were as good, but words
    were read from cells beside their object as often as from cells on it. A ``wide`` one sees 75 × 75, for decoders
    that are told the mean of A only: there a cell must see a whole object, to know which colour is whose.
    """

    def __init__(self, units: int = 256, *, wide: bool = False) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *_block(3, 32, stride=2),
            *_block(32, 48),
            *_block(48, 96, stride=2),
            *_block(96, 160),
            *_block(160, 192, stride=2),
            *_block(192, units, kernel=1),
        )
        self.context = nn.Sequential(*_block(units, 128, stride=2), *_block(128, units)) if wide else nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        """A, [B, units, h, w]."""
        features: Tensor = self.context(self.layers(images))
        return features


def scope_of(world: str, task: str) -> Scope | None:
    """What a model of a ``task`` tells of pictures, trained on "scenes"; None where its world is not known."""
    return partial(_strange, told=(f"{STRANGE}{INSTEAD[task]}",)) if world == SCENES else None


def _strange(_features: Features, picture: Image.Image, _text: str, *, told: tuple[str, ...]) -> tuple[str, ...]:
    return told if likeness(picture).drawn is False else ()


def drawn(picture: Image.Image) -> tuple[str, ...]:
    """What a model of photographs tells of a picture that is drawn; nothing where that is not sure."""
    return (DRAWN,) if likeness(picture).drawn else ()
