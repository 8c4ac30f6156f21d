"""Maps in pixels by Captum: integrated gradients and SmoothGrad, of a score as one function of the prepared picture.

Captum comes with ``pip install 'vlx[captum]'``. What of the picture passes A by (class tokens, skip connections) is
left as it was: the function is that of A.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from vlx.errors import InputError, ModelError
from vlx.methods import dependence, engine
from vlx.methods.cams import HALVES, importance_weights
from vlx.methods.engine import Attribution
from vlx.methods.method import Method, Site, by_rows
from vlx.methods.pixel_methods import can_see, pixels, seeing, unsigned
from vlx.methods.pixels import NO_GRAPH
from vlx.protocol.nested import nested
from vlx.protocol.no_grad import regardless
from vlx.protocol.targets import Target
from vlx.protocol.task import Task

STEPS = 32  # of the way from the blank picture, by Gauss-Legendre
SAMPLES = 16  # noisy pictures
NOISE = 0.15  # of the range of the prepared picture's values
BUDGET = 4 * 2**20  # bytes of prepared pictures shown at once, with their graph
Score = Callable[[Tensor], Tensor]
Making = Callable[[Score, Tensor, Tensor, int], Tensor]


def score_of(task: Task, site: Site, target: Target, method: str) -> Score:
    """A target at the one row of a site as a function of prepared pictures: [B, C, H, W] → [B], with its graph.

    Raises InputError for a task without pixels; the function ModelError where the vision part cuts its graph.
    """
    sees, features = seeing(task, method), site.features

    def score(pictures: Tensor) -> Tensor:
        A = sees.see(task.place(pictures.clone()))
        if not A.requires_grad:
            raise ModelError(NO_GRAPH)
        rows = [replace(target, row=row) for row in range(len(A))]
        rest = nested(lambda tensor: tensor.expand(len(A), *tensor.shape[1:]), features.rest)
        scores = task.scores(A, rows, rest)
        if not scores.requires_grad:  # the model's own code switches gradients off behind A
            with regardless():
                scores = task.scores(A, rows, rest)
        return scores

    return score


def integrated(score: Score, picture: Tensor, blank: Tensor, size: int) -> Tensor:
    """Integrated gradients of a score at a picture [1, C, H, W] from a blank one on, ``size`` steps at once."""
    attribution: Any = _captum().IntegratedGradients(score)
    made: Tensor = attribution.attribute(picture, blank, n_steps=STEPS, internal_batch_size=size)
    return made


def smoothed(score: Score, picture: Tensor, _blank: Tensor, size: int) -> Tensor:
    """The mean gradient of a score at `SAMPLES` noisy copies of a picture [1, C, H, W], ``size`` of them at once.

    The noise is drawn by a seed of the picture; no random state is used or changed.
    """
    captum = _captum()
    tunnel: Any = captum.NoiseTunnel(captum.Saliency(score))
    values = picture.detach()
    span = float(values.max() - values.min())
    with _Seeded(picture):
        made: Tensor = tunnel.attribute(
            picture, nt_samples=SAMPLES, nt_samples_batch_size=size, stdevs=NOISE * span, abs=False
        )
    return made


class _Seeded(TorchFunctionMode):
    """Normal noise of this thread is drawn by a generator that the picture seeds."""

    def __init__(self, picture: Tensor) -> None:
        super().__init__()
        held = picture.detach().cpu().contiguous().numpy().tobytes()
        seed = int.from_bytes(hashlib.sha256(held).digest()[:8], "little") >> 1
        self._generator = torch.Generator().manual_seed(seed)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.normal:
            mean, deviations = args
            noise = torch.randn(deviations.shape, generator=self._generator, dtype=deviations.dtype)
            return mean + deviations * noise.to(deviations.device)
        return func(*args, **(kwargs or {}))


def _captum() -> Any:
    """Captum's attributions. Raises InputError without it."""
    try:
        from captum import attr
    except ImportError:
        raise InputError(
            "integrated gradients and SmoothGrad are Captum's, which is not installed: pip install 'vlx[captum]'"
        ) from None
    return attr


def _attribution(make: Making, name: str, sign: bool, task: Task, site: Site, targets: Sequence[Target]) -> Attribution:
    """The attribution of targets at the one row of a site."""
    _captum()
    seeing(task, name)
    features = site.features
    scores, G = engine.gradients(task, features.A, targets, features.rest)
    dependence.refuse_cut(task, features, targets, G)
    picture, blank = (_exact(task.place(one[None])) for one in site.shown(0, name))
    size = max(BUDGET // (picture.numel() * picture.element_size()), 1)
    maps = []
    for target in targets:
        with engine.differentiable():
            made = make(score_of(task, site, target, name), picture.clone().requires_grad_(), blank, size).detach()
        maps.append(made[0].sum(0) if sign else made[0].abs().sum(0))
    values = torch.stack(maps)
    if not values.isfinite().all():
        raise ModelError(f"{name} is not a finite number at some pixels; take float32 weights, or another method")
    depends = G.flatten(1).any(1) | values.flatten(1).any(1)
    if sign:
        return Attribution(scores, importance_weights(G), values, -values, depends)
    return unsigned(scores, importance_weights(G), values, depends, ())


def _exact(values: Tensor) -> Tensor:
    return values.float() if values.dtype in HALVES else values


def _attribute(make: Making, name: str, sign: bool, task: Task, site: Site, targets: Sequence[Target]) -> Attribution:
    def explain(one: Site, own: Sequence[Target]) -> Attribution:
        chunks = engine.chunks(one.features.A, own)
        return engine.together([_attribution(make, name, sign, task, one, chunk) for chunk in chunks])

    return by_rows(site, targets, explain)


def _integrate(task: Task, site: Site, targets: Sequence[Target]) -> Attribution:
    return _attribute(integrated, INTEGRATED.name, True, task, site, targets)


def _smooth(task: Task, site: Site, targets: Sequence[Target]) -> Attribution:
    return _attribute(smoothed, SMOOTHGRAD.name, False, task, site, targets)


INTEGRATED = Method(
    "integrated-gradients",
    "1703.01365",
    "what each pixel adds to the score on the way from a blank picture (Captum's)",
    _integrate,
    grid=pixels,
    unit="{score} per pixel",
    sentence="Pixels that, on the way from a blank picture,",
    noun="pixels",
    linear=True,
    gradient=False,
    suits=can_see,
)
SMOOTHGRAD = Method(
    "smoothgrad",
    "1706.03825",
    "how far a pixel moves the score, on average over noisy copies (Captum's)",
    _smooth,
    grid=pixels,
    unit="{score} per unit of prepared colour",
    sentence="Pixels that, changed a little in noisy copies,",
    noun="pixels",
    gradient=False,
    suits=can_see,
    signed=False,
)
CAPTUM_METHODS = (INTEGRATED, SMOOTHGRAD)
