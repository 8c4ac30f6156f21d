"""What the small examples share: how they are trained, and how much of a map lies where the truth is."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Batch = Callable[[np.random.Generator, int], tuple[Tensor, Tensor]]


def fit(net: nn.Module, batch: Batch, steps: int, size: int = 64, rate: float = 4e-3) -> nn.Module:
    """Train a network on batches (inputs, classes) that ``batch`` draws, [size, …] each; the same weights each time."""
    torch.manual_seed(0)
    for layer in net.modules():
        if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear | nn.Embedding):
            layer.reset_parameters()
    rng = np.random.default_rng(0)
    optimizer = torch.optim.Adam(net.parameters(), rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    for _ in range(steps):
        inputs, classes = batch(rng, size)
        loss = nn.functional.cross_entropy(net(inputs), classes)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
    return net.eval()


def right(net: nn.Module, batch: Batch, count: int = 256) -> float:
    """The share of new inputs that are answered right."""
    inputs, classes = batch(np.random.default_rng(1), count)
    with torch.no_grad():
        return float((net(inputs).argmax(1) == classes).float().mean())


def inside(heat: NDArray[np.float32], truth: NDArray[np.bool_]) -> tuple[float, float]:
    """The share of a map that lies on the truth, and the share of all places that are the truth: chance."""
    return float(heat[truth].sum() / max(float(heat.sum()), 1e-12)), float(truth.mean())


def centre(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """A map that knows nothing: a bell in the middle of all axes, a sixth of each side wide."""
    axes = np.meshgrid(*(np.linspace(-3, 3, side) for side in shape), indexing="ij")
    bell: NDArray[np.float32] = np.exp(-0.5 * np.square(axes).sum(0)).astype(np.float32)
    return bell
