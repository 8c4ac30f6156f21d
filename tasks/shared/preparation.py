"""How the embedded captioners' pictures are prepared: shorter side to ``size``, centre crop, normalise."""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor


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
