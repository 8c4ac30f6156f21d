"""A network that tells which way a thing moves in a clip, explained frame by frame.

python -m examples.video
"""

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

import vlx
from examples.fitting import centre, fit, inside, right
from vlx.report.film import film, frame_maps
from vlx.tasks.beyond import Video

SIDE, FRAMES, MOVES = 20, 8, 3
WAYS = ["left", "right", "nothing"]


def shoot(rng: np.random.Generator) -> tuple[NDArray[np.uint8], int, NDArray[np.bool_]]:
    """A clip uint8 [T, H, W, 3], its class, and the pixels [T, H, W] of the thing, there in three frames of eight."""
    clip = rng.integers(0, 120, (FRAMES, SIDE, SIDE, 1)).repeat(3, 3).astype(np.uint8)
    truth, way = np.zeros((FRAMES, SIDE, SIDE), bool), int(rng.integers(0, 3))
    first, y, x = (
        int(rng.integers(0, FRAMES - MOVES + 1)),
        int(rng.integers(4, SIDE - 4)),
        int(rng.integers(6, SIDE - 6)),
    )
    for n in range(MOVES if way < 2 else 0):
        column = x + (n - 1) * (4 if way else -4)
        truth[first + n, y - 2 : y + 2, column - 2 : column + 2] = True
    clip[truth] = 255
    return clip, way, truth


def prepare(frame: Image.Image) -> Tensor:
    """A frame as the network takes it, grey, [1, H, W]."""
    return torch.from_numpy(np.asarray(frame.convert("L"))[None].copy()).float() / 255


def batch(rng: np.random.Generator, count: int) -> tuple[Tensor, Tensor]:
    """Clips [count, 1, T, H, W] and their classes."""
    clips, ways, _ = zip(*(shoot(rng) for _ in range(count)), strict=True)
    return torch.from_numpy(np.stack(clips)[..., 0])[:, None].float() / 255, torch.tensor(ways)


class Pooled(nn.Module):
    """The largest value of each unit anywhere in the clip."""

    def forward(self, maps: Tensor) -> Tensor:
        """[B, K, t, h, w] → [B, K]."""
        return maps.amax((2, 3, 4))


def trained(steps: int = 110) -> nn.Module:
    """A network that has learnt to tell them."""
    return fit(
        nn.Sequential(
            nn.Conv3d(1, 8, (1, 3, 3), (1, 2, 2), (0, 1, 1)), nn.ReLU(), nn.Conv3d(8, 16, 3, 1, 1), nn.ReLU(),
            nn.Conv3d(16, 16, 3, 1, 1), nn.ReLU(), Pooled(), nn.Linear(16, 3),
        ),
        batch, steps, size=32, rate=1e-2,
    )  # fmt: skip


def measured(task: Video, count: int = 12, method: str = "layercam") -> dict[str, float]:
    """Of clips in which something moves: the share of the map in its frames, and on it in them (within two pixels)."""
    rng, shares = np.random.default_rng(2), list[tuple[float, ...]]()
    while len(shares) < count:
        clip, way, truth = shoot(rng)
        if way == 2:
            continue
        why = vlx.explain(
            task, task.picture(clip), answer=WAYS[way], target="logit", seen=False, check=False, method=method
        )
        maps = frame_maps(why[0], FRAMES)
        moving = np.broadcast_to(truth.any((1, 2), keepdims=True), truth.shape)
        around = truth
        for y, x in ((0, 2), (0, -2), (2, 0), (-2, 0)):
            around = around | np.roll(truth, (y, x), (1, 2))
        shares.append((*inside(maps, moving), *inside(maps, around), inside(centre(truth.shape), around)[0]))
    names = ("in its frames", "by chance", "on it", "by chance, on it", "at the centre")
    return dict(zip(names, np.mean(shares, 0).tolist(), strict=True))


def main() -> None:
    """Train, explain, measure, and write video.html with a slider."""
    net = trained()
    task = Video(net, "5", WAYS, prepare, frames=FRAMES)
    why = vlx.explain(task, task.picture(shoot(np.random.default_rng(3))[0]))
    film(why, "video.html", frames=FRAMES)
    print(f"right {right(net, batch):.1%}", measured(task))


if __name__ == "__main__":
    main()
