"""Maps that know nothing of the model: what a measure comes to without any explanation."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from vlx.methods.engine import Attribution
from vlx.methods.method import Method, Site, attribution
from vlx.protocol.targets import Target
from vlx.protocol.task import Task

Made = Callable[[tuple[int, int, int]], Tensor]  # (N, h, w) → maps [N, h, w], none below 0
SUMMARIES = {"random": "every cell drawn at random", "centre": "a bump in the middle of the picture"}
WIDTH = 0.25  # of the longer side: how wide the centred map is


def made(seed: int = 0) -> dict[str, Made]:
    """What makes the maps of each baseline; a dictionary of its own each time, in which the same noise is drawn.

    "random": every cell of every map by itself, uniform in (0, 1); "centre": a bump in the middle of the picture.

    >>> made()["random"]((1, 2, 2)).shape
    torch.Size([1, 2, 2])
    """
    return {"random": partial(random, np.random.default_rng(seed)), "centre": centre}


def methods(seed: int = 0) -> dict[str, Method]:
    """The baselines as methods on A's cells, by name; none of their maps is evidence."""
    return {
        name: Method(
            name,
            "",
            SUMMARIES[name],
            partial(_attribute, make),
            unit="share",
            sentence="Places that, whatever the model,",
            noun="places",
            evidence=False,
            gradient=False,
        )
        for name, make in made(seed).items()
    }


def random(rng: np.random.Generator, shape: tuple[int, int, int]) -> Tensor:
    """Maps of noise [N, h, w], float64."""
    noise: Tensor = torch.special.ndtr(torch.from_numpy(rng.normal(size=shape)))
    return noise


def centre(shape: tuple[int, int, int]) -> Tensor:
    """N times the same map [h, w], float64: a Gaussian around the middle, a quarter of the longer side wide."""
    count, h, w = shape
    y, x = (torch.arange(side, dtype=torch.float64) - (side - 1) / 2 for side in (h, w))
    bump = torch.exp(-(y[:, None] ** 2 + x**2) / (2 * (WIDTH * max(h, w)) ** 2))
    return bump.expand(count, h, w)


def _attribute(make: Made, task: Task, site: Site, targets: Sequence[Target]) -> Attribution:
    h, w = site.features.A.shape[2:]
    return attribution(task, site, targets, make((len(targets), h, w)))
