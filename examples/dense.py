"""A network that marks discs and squares, explained for a region: why are these pixels a square?

python -m examples.dense
"""

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

import vlx
from examples.fitting import centre, fit, inside, right
from vlx.tasks.beyond import Dense

SIDE, KINDS = 32, ["ground", "disc", "square"]


def draw(rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.intp]]:
    """A picture uint8 [H, W, 3] with a disc and a square of one colour, and the class of every pixel [H, W]."""
    picture = rng.integers(40, 120, (SIDE, SIDE, 3)).astype(np.uint8)
    classes = np.zeros((SIDE, SIDE), int)
    color, places = rng.integers(130, 256, 3), rng.permutation(4)[:2]
    rows, columns = np.indices((SIDE, SIDE))
    for kind, place in zip((1, 2), places, strict=True):
        y, x = (16 * int(side) + 8 + int(rng.integers(-2, 3)) for side in divmod(int(place), 2))
        disc = (rows - y) ** 2 + (columns - x) ** 2 <= 30
        square = (abs(rows - y) <= 5) & (abs(columns - x) <= 5)
        classes[disc if kind == 1 else square] = kind
    picture[classes > 0] = color
    return picture, classes


def prepare(picture: Image.Image) -> Tensor:
    """A picture as the network takes it, [3, H, W]."""
    return torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1).float() / 255


def batch(rng: np.random.Generator, count: int) -> tuple[Tensor, Tensor]:
    """Pictures [count, 3, H, W] and their classes [count, H, W]."""
    pictures, classes = zip(*(draw(rng) for _ in range(count)), strict=True)
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255, torch.from_numpy(np.stack(classes))


class Marker(nn.Module):
    """A small U-net: its last layer sees the picture as it is, and what is known of it at a quarter of its sides."""

    def __init__(self) -> None:
        super().__init__()
        self.near = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.ReLU())
        self.far = nn.Sequential(
            nn.Conv2d(12, 24, 3, 2, 1), nn.ReLU(), nn.Conv2d(24, 24, 3, 2, 1), nn.ReLU(),
            nn.Conv2d(24, 24, 3, 1, 1), nn.ReLU(),
        )  # fmt: skip
        self.mark = nn.Conv2d(36, 3, 3, padding=1)

    def forward(self, pictures: Tensor) -> Tensor:
        """[B, 3, H, W] → logits [B, 3, H, W]."""
        near = self.near(pictures)
        far = nn.functional.interpolate(self.far(near), scale_factor=4.0, mode="bilinear")
        logits: Tensor = self.mark(torch.cat([near, far], 1))
        return logits


def trained(steps: int = 120) -> Marker:
    """A network that has learnt to mark them."""
    net = Marker()
    fit(net, batch, steps, size=24)
    return net


def measured(task: Dense, count: int = 16, method: str = "layercam") -> dict[str, float]:
    """The share of maps of squares on the square and on the disc, where all of the square is asked about."""
    rng, shares = np.random.default_rng(2), []
    for _ in range(count):
        picture, classes = draw(rng)
        why = vlx.explain(
            task, picture, answer="square", where=classes == 2, target="logit", seen=False, check=False, method=method
        )
        square, disc = (inside(why[0].heatmap, classes == kind) for kind in (2, 1))
        shares.append((*square, disc[0], inside(centre(classes.shape), classes == 2)[0]))
    names = ("on the square", "by chance", "on the disc", "at the centre")
    return dict(zip(names, np.mean(shares, 0).tolist(), strict=True))


def main() -> None:
    """Train, explain, measure, and write dense.html."""
    net = trained()
    task = Dense(net, "far", KINDS, prepare)
    picture, classes = draw(np.random.default_rng(3))
    vlx.explain(task, picture, answer="square", where=classes == 2).save("dense.html")
    print(f"right pixels {right(net, batch):.1%}", measured(task))


if __name__ == "__main__":
    main()
