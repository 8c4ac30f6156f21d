"""A policy that catches a ball, explained: a map on the last of four frames, tried against where ball and paddle are.

python -m examples.policy
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import vlx
from examples.fitting import centre, fit, inside, right
from vlx.tasks.beyond import Policy

SIDE, FRAMES, PADDLE, FALL = 24, 4, 21, 2  # pixels; the paddle's row; pixels that the ball falls in a frame
ACTIONS = ["left", "stay", "right"]


def play(rng: np.random.Generator) -> tuple[NDArray[np.uint8], int, NDArray[np.bool_]]:
    """Four frames uint8 [4, H, W], the right action, and the pixels of ball and paddle in the last frame.

    The ball falls and drifts; where it will land is seen in its way through the frames, never in one of them.
    """
    frames = rng.integers(0, 60, (FRAMES, SIDE, SIDE)).astype(np.uint8)
    drift, paddle, y = int(rng.integers(-1, 2)), int(rng.integers(3, SIDE - 3)), int(rng.integers(7, 12))
    x = int(rng.integers(5, SIDE - 5))
    truth = np.zeros((SIDE, SIDE), bool)
    for n, frame in enumerate(frames):
        row, column = y - FALL * (FRAMES - 1 - n), int(np.clip(x - drift * (FRAMES - 1 - n), 1, SIDE - 2))
        frame[row - 1 : row + 2, column - 1 : column + 2] = 255
        frame[PADDLE : PADDLE + 2, paddle - 3 : paddle + 4] = 180
        truth[row - 1 : row + 2, column - 1 : column + 2] = True
    truth[PADDLE : PADDLE + 2, paddle - 3 : paddle + 4] = True
    lands = x + drift * (PADDLE - y) // FALL
    return frames, int(np.sign(lands - paddle) * (abs(lands - paddle) > 2)) + 1, truth


def batch(rng: np.random.Generator, count: int) -> tuple[Tensor, Tensor]:
    """Stacks [count, 4, H, W] and the right actions."""
    frames, actions, _ = zip(*(play(rng) for _ in range(count)), strict=True)
    return torch.from_numpy(np.stack(frames)).float() / 255, torch.tensor(actions)


def trained(steps: int = 160) -> nn.Module:
    """A policy that has learnt the right actions."""
    return fit(
        nn.Sequential(
            nn.Conv2d(FRAMES, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 24, 3, 2, 1), nn.ReLU(),
            nn.Flatten(), nn.Linear(24 * 12 * 12, 64), nn.ReLU(), nn.Linear(64, 3),
        ),
        batch, steps,
    )  # fmt: skip


def measured(policy: Policy, count: int = 24, method: str = "layercam") -> dict[str, float]:
    """The mean share of the maps on ball and paddle (within two pixels), and what of the picture that is."""
    rng, shares = np.random.default_rng(2), []
    for _ in range(count):
        frames, _, truth = play(rng)
        now = policy.seeing(frames)
        heat = vlx.explain(now, now.picture, target="logit", seen=False, check=False, method=method)[0].heatmap
        shares.append((*inside(heat, wider(truth)), inside(centre(truth.shape), wider(truth))[0]))
    return dict(zip(("on ball and paddle", "by chance", "at the centre"), np.mean(shares, 0).tolist(), strict=True))


def wider(truth: NDArray[np.bool_], by: int = 2) -> NDArray[np.bool_]:
    """The truth and the pixels around it: a cell sees a little more than the pixel it stands for."""
    moved = [np.roll(truth, (y, x), (0, 1)) for y in range(-by, by + 1) for x in range(-by, by + 1)]
    around: NDArray[np.bool_] = np.any(moved, 0)
    return around


def main() -> None:
    """Train, explain, measure, and write policy.html."""
    net = trained()
    policy = Policy(net, "3", ACTIONS, frames=FRAMES)
    now = policy.seeing(play(np.random.default_rng(3))[0])
    vlx.explain(now, now.picture).save("policy.html")
    print(f"right actions {right(net, batch):.1%}", measured(policy))


if __name__ == "__main__":
    main()
