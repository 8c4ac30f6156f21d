"""Maps that know nothing of the model: what a measure comes to without any explanation.

All are methods on A's cells, and none is evidence. Noise is drawn by a seed of the picture and the target, so that a
run that was cut short goes on as it would have. "same", the map of another word, question or class of the same picture
by the task's own method, is made by `vlx.evaluation.shown.Asked`, which knows what else is asked.
"""

import hashlib
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlx.errors import InputError
from vlx.methods.engine import Attribution
from vlx.methods.method import Method, Site, plain_cells
from vlx.protocol.targets import Target
from vlx.protocol.task import Task

WIDTH = 0.25  # of the longer side: how wide the centred map is
BLUR = 2.0  # cells: how wide the noise of "blurred-random" is blurred
SAME = "same"
BESIDE = ("random", "centre", SAME)  # those that every figure stands beside
Array = NDArray[np.float64]
Drawing = Callable[[Site, Target], Array]  # a map [h, w], none below 0


def _shape(site: Site) -> tuple[int, int]:
    return site.features.grid.shape


def seeded(site: Site, target: Target) -> np.random.Generator:
    """Random numbers by the picture that a target is about and by what it asks for."""
    picture = None if site.inputs is None else site.inputs[site.picture_of(target.row)]
    return by_picture(picture, repr((target.kind, target.tokens, target.terms)))


def by_picture(picture: Tensor | None, asked: str = "") -> np.random.Generator:
    """Random numbers by the pixels of a prepared picture, and by a text."""
    pixels = b"" if picture is None else picture.cpu().numpy().tobytes()
    return np.random.default_rng(int.from_bytes(hashlib.sha256(pixels + asked.encode()).digest()[:8], "little"))


def _random(site: Site, target: Target) -> Array:
    return np.asarray(1 - seeded(site, target).random(_shape(site)))


def _uniform(site: Site, _target: Target) -> Array:
    return np.ones(_shape(site))


def centre(shape: tuple[int, int]) -> Array:
    """A Gaussian around the middle [h, w], a quarter of the longer side wide.

    >>> centre((1, 3)).argmax()
    np.int64(1)
    """
    y, x = (np.arange(side) - (side - 1) / 2 for side in shape)
    return np.asarray(np.exp(-(y[:, None] ** 2 + x**2) / (2 * (WIDTH * max(shape)) ** 2)))


def _centre(site: Site, _target: Target) -> Array:
    return centre(_shape(site))


def _blurred(site: Site, target: Target) -> Array:
    from scipy.ndimage import gaussian_filter

    return np.asarray(gaussian_filter(_random(site, target), BLUR, mode="nearest"))


def _edges(site: Site, target: Target) -> Array:
    """Sobel's magnitude of the picture, of all channels, the mean of each cell's share of the pixels."""
    from scipy.ndimage import sobel

    if site.inputs is None:
        raise InputError("edges are those of the picture, and none is at this site; give its inputs")
    picture = site.inputs[site.picture_of(target.row)].double().cpu().numpy()
    strength = np.sqrt(sum(sobel(channel, axis) ** 2 for channel in picture for axis in (0, 1)))
    pooled = torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(strength)[None, None], _shape(site))
    return np.asarray(pooled[0, 0].numpy())


def _attribute(draw: Drawing, _task: Task, site: Site, targets: Sequence[Target]) -> Attribution:
    h, w = _shape(site)
    maps = torch.from_numpy(np.array([draw(site, target) for target in targets]).reshape(-1, h, w))
    unknown = torch.full((len(targets),), torch.nan)
    weights = torch.full((len(targets), site.features.A.shape[1]), torch.nan)
    return Attribution(unknown, weights, maps, -maps, maps.flatten(1).any(1))


def _method(name: str, summary: str, draw: Drawing) -> Method:
    return Method(
        name,
        "",
        summary,
        partial(_attribute, draw),
        grid=plain_cells,
        unit="share",
        sentence="Places that, whatever the model,",
        noun="places",
        evidence=False,
        gradient=False,
    )


def _same(_task: Task, _site: Site, _targets: Sequence[Target]) -> Attribution:
    raise InputError("the map of something else is made where it is known what else is asked: in an evaluation")


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        _method("random", "every cell drawn at random", _random),
        _method("uniform", "the same everywhere", _uniform),
        _method("centre", "a bump in the middle of the picture", _centre),
        _method("blurred-random", "noise, blurred by two cells", _blurred),
        _method("edges", "where the picture has edges", _edges),
        Method(SAME, "", "the map of something else about the same picture", _same, evidence=False, gradient=False),
    )
}


def baseline(name: str) -> Method | None:
    """The baseline of this name; None for any other."""
    return METHODS.get(str(name).strip().lower())
