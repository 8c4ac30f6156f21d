"""Gradients in pixels, and Guided Grad-CAM: the gradient at A carried on through the vision part to the picture.

A ReLU rule holds in the vision part only. What comes in at the top is the target's true gradient at A, whatever the
language part of a captioner or VQA model holds. A classifier is vision part from one end to the other: the rule holds
in the head behind A, too (VGG's fc6 and fc7). So does the paper's official code. Sanity checks (arXiv 1810.03292,
1805.07039) find that guided maps hardly react to the weights of the upper layers: show them as illustration, not as
evidence.

>>> features = task.features(inputs := task.place(task.prepare(image)[None]))
>>> targets = [word_target(task.predict(features, [Query()])[0], 0, 0, "logprob")]
>>> scores, G = engine.gradients(task, features.A, targets, features.rest)
>>> above = top_gradients(task, features.A, targets, features.rest, "guided")  # of a captioner G itself
>>> found = pixel_gradients(task, inputs, above, "guided")
>>> maps = guided_gradcam(METHODS["gradcam"].map(features.A, G), features.grid, found.values)
>>> Image.fromarray(shown(on_picture(maps, frame))[0])
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vlx.errors import InputError, ModelError
from vlx.methods import engine
from vlx.methods.relu_rules import RULES, Rule, choose_rule, ruled
from vlx.pictures.placement import Frame, Grid, Placement, triangles
from vlx.protocol.layered import Beneath
from vlx.protocol.powers import Sees, powers_of
from vlx.protocol.targets import Target
from vlx.protocol.task import Task

__all__ = [
    "RULES",
    "PixelGradients",
    "Rule",
    "guided_gradcam",
    "on_picture",
    "pixel_gradients",
    "ruled_gradients",
    "shown",
    "top_gradients",
    "up",
]

NO_RELU = "the vision part holds no ReLU that autograd shows: {rule} equals the plain gradient"


@dataclass(frozen=True, eq=False)
class PixelGradients:
    """Signed gradients of N targets at the prepared picture, ``values`` [N, 3, H, W], by a ReLU rule.

    In score per unit of the prepared picture's values, channels as the model has them; detached, on its device, at
    least float32. ``notes`` are for the reader.
    """

    values: Tensor
    rule: Rule
    notes: tuple[str, ...] = ()


def top_gradients(task: Task, A: Tensor, targets: Sequence[Target], rest: Any = None, rule: str = "guided") -> Tensor:
    """What N targets hand down to A [1, K, h, w], [N, K, h, w], for `pixel_gradients` to carry on by the same rule.

    Of a task whose head belongs to the vision part (``head_is_vision``, see `vlx.protocol.powers.Sees`) the head's
    ReLUs are passed by the rule, with one forward run and a backward a target; of any other it is the true gradient, as
    `vlx.methods.engine.gradients` gives it. Of a task beneath another one's A the rule holds from there on down, too.
    Raises InputError for an unknown rule, ModelError for what is not finite.
    """
    chosen, powers = choose_rule(rule), powers_of(task)
    if chosen != "gradient" and powers.beneath is not None:
        return _from_above(powers.beneath, A, targets, rest, chosen)
    if chosen == "gradient" or not powers.head_is_vision:
        return engine.gradients(task, A, targets, rest)[1]
    return ruled_gradients(task, A, targets, rest, chosen)[0]


def _from_above(beneath: Beneath, A: Tensor, targets: Sequence[Target], rest: Any, rule: Rule) -> Tensor:
    """What the task above is handed down, carried on by the rule through the vision layers that make its A."""
    with engine.differentiable():
        leaf = A.detach().clone().requires_grad_()
        above = beneath.risen(leaf, rest)
        G = top_gradients(beneath.above, above.A.detach(), targets, above.rest, rule)
        with ruled(above.A, rule):
            return _pulled(above.A, leaf, G)


def ruled_gradients(
    task: Task, A: Tensor, targets: Sequence[Target], rest: Any = None, rule: str = "guided"
) -> tuple[Tensor, int]:
    """What N targets hand down to A [1, K, h, w] when every ReLU behind it follows a rule: [N, K, h, w], how many.

    One forward run and a backward a target, whatever part of the model is behind A. Raises as `top_gradients`.
    """
    chosen = choose_rule(rule)
    with engine.differentiable():
        leaf = (A.clone() if A.is_inference() else A.detach().clone()).requires_grad_()
        scores = task.scores(leaf, targets, rest)
        engine.check_finite(task, "score", scores, targets)
        made = [_ruled_down(score, leaf, chosen) for score in scores]
    gradients = torch.stack([gradient for gradient, _ in made])
    engine.check_finite(task, "gradient", gradients.flatten(1).sum(1, dtype=torch.float64), targets)
    return gradients, sum(count for _, count in made)


def _ruled_down(score: Tensor, leaf: Tensor, rule: Rule) -> tuple[Tensor, int]:
    """The gradient of one score at A [1, K, h, w], [K, h, w], 0 where it does not rest on it; the ReLUs on the way."""
    if not score.requires_grad:
        return torch.zeros_like(leaf[0]), 0
    with ruled(score, rule) as met:
        found = torch.autograd.grad(score, leaf, retain_graph=True, allow_unused=True)[0]
    return torch.zeros_like(leaf[0]) if found is None else found[0], met.count


def pixel_gradients(
    vision: Sees | Callable[[Tensor], Tensor], inputs: Tensor, G: Tensor, rule: str = "guided"
) -> PixelGradients:
    """Carry gradients G [N, K, h, w] of N targets at A on to the prepared picture ``inputs`` [1, C, H, W].

    ``vision`` is a task that can `see`, or the function or module itself: pictures [1, C, H, W] → A [1, K, h, w] (or of
    any shape [1, …], with G [N, …]). G comes from `top_gradients`. ``rule`` says how ReLUs are passed: ``gradient``
    (the true gradient), ``deconvolution`` or ``guided``; see `vlx.methods.relu_rules.ruled`. The vision part runs
    forward once, and backward once a target, which on a CPU is faster than one vectorised backward for them all.

    The model, its ``.grad``, flags and hooks stay as they are, and threads may share it. Raises InputError for an
    unknown rule, several pictures, and G that does not fit A; ModelError for a task that cannot see, a vision part in
    training mode or that gives no graph, and gradients that are not finite.
    """
    chosen = choose_rule(rule)
    see = _seeing(vision)
    if inputs.ndim != 4 or len(inputs) != 1:
        raise InputError(f"pixel gradients are taken of one prepared picture [1, C, H, W], got {list(inputs.shape)}")
    with torch.inference_mode(False), torch.enable_grad():
        leaf = inputs.detach().clone().requires_grad_()
        A = see(leaf.clone())  # which it may change in place
        _check_fits(A, G)
        with ruled(A, chosen) as met:
            values = _pulled(A, leaf, G)
    if not torch.isfinite(values).all():
        raise ModelError(f"the {chosen} in pixels is not a finite number; take another rule, or float32 weights")
    bare = chosen != "gradient" and len(G) > 0 and not met.count
    return PixelGradients(values, chosen, (NO_RELU.format(rule=chosen),) if bare else ())


def guided_gradcam(signed: Tensor, grid: Grid, guided: Tensor) -> Tensor:
    """Guided Grad-CAM [N, 3, H, W]: max(S, 0) on the prepared picture times the guided gradient (paper, section 3.2).

    ``signed``: S [N, h, w] of N targets; ``grid``: where A's cells are on the prepared picture; ``guided``: their
    pixel gradients [N, 3, H, W]. The factor is bilinear between the cells' receptive-field centres and is not
    normalised, so targets can be compared. Raises InputError for shapes that do not fit.
    """
    if tuple(signed.shape[1:]) != grid.shape or len(signed) != len(guided) or tuple(guided.shape[2:]) != grid.size:
        raise InputError(
            f"S {list(signed.shape)} and guided gradients {list(guided.shape)} do not fit each other and a grid of "
            f"{grid.shape} cells on a picture of {grid.size}"
        )
    return guided * up(signed, grid)[:, None].to(guided.device)


def up(signed: Tensor, grid: Grid) -> Tensor:
    """max(S, 0) of maps S [N, h, w] on the prepared picture, float32 [N, H, W], bilinear between the cells' centres."""
    itself = Placement(grid, Frame.whole(grid.size, grid.size))
    maps = [itself.paint(S) for S in signed.clamp_min(0).double().cpu().numpy()]
    return torch.from_numpy(np.array(maps, np.float32).reshape(-1, *grid.size))


def on_picture(maps: Any, frame: Frame) -> NDArray[np.float32]:
    """Maps of the prepared picture [..., H', W'] on the user's own, float32 [..., H, W]; 0 where nothing was seen.

    Bilinear between the prepared pixels, or their weighted mean where they are finer than the user's; values keep
    their unit. Padding takes no part. Raises InputError for maps of another size than the frame's.
    """
    values = _array(maps)
    if values.shape[-2:] != frame.prepared:
        raise InputError(f"maps of {list(values.shape[-2:])} pixels do not fit a prepared picture of {frame.prepared}")
    rows, columns = (_mixing(frame, axis) for axis in (0, 1))
    return np.asarray(rows @ values @ columns.T, np.float32)


def shown(maps: Any, scale: float | None = None) -> NDArray[np.uint8]:
    """Signed maps [..., 3, H, W] as pictures uint8 RGB [..., H, W, 3]: 0 is mid-grey 128, ±``scale`` 255 and 0.

    ``scale`` is by default the largest absolute value of all the maps given; give one for maps of several calls that
    are to be compared, such as the words of a caption. Values beyond it are cut: on photographs, where few pixels hold
    the largest values, the 99.9th percentile of the absolute values shows more. Raises InputError for a scale that is
    not above 0, maps without three channels, and NaN.
    """
    values = _array(maps)
    if values.ndim < 3 or values.shape[-3] != 3:
        raise InputError(f"maps to be shown must be [..., 3, H, W], got {list(values.shape)}")
    if not np.isfinite(values).all():
        raise InputError("maps to be shown must be finite, these hold NaN or infinite values")
    if scale is not None and not scale > 0:
        raise InputError(f"scale={scale} must be above 0: the value that is shown at full strength")
    full = scale or float(np.abs(values).max(initial=0)) or 1.0
    grey = np.rint(127.5 + 127.5 * np.clip(values / full, -1, 1))
    return np.ascontiguousarray(np.moveaxis(grey.astype(np.uint8), -3, -1))


def _seeing(vision: Any) -> Callable[[Tensor], Tensor]:
    """The function from pictures to A with a graph."""
    if (sees := powers_of(vision).sees) is not None:
        return sees.see
    if not callable(vision):
        name = getattr(vision, "name", None) or repr(vision)
        raise ModelError(
            f"{name} cannot be explained in pixels: {type(vision).__name__} has no see(inputs), which gives the A of "
            "features(inputs) with a graph; see vlx.protocol.powers.Sees"
        )
    if isinstance(vision, nn.Module) and any(module.training for module in vision.modules()):
        raise ModelError(f"{type(vision).__name__} is in training mode; call .eval() first")
    found: Callable[[Tensor], Tensor] = vision
    return found


def _check_fits(A: Tensor, G: Tensor) -> None:
    if len(A) != 1 or A.shape[1:] != G.shape[1:]:
        raise InputError(f"gradients G {list(G.shape)} do not fit A {list(A.shape)}: needed is [N, …] for A [1, …]")
    if not A.requires_grad:
        raise ModelError(NO_GRAPH)


NO_GRAPH = (
    "the vision part gives A without a graph back to the picture (it runs under torch.no_grad(), or detaches): take "
    "that out, there are no gradients in pixels otherwise"
)


def _pulled(A: Tensor, leaf: Tensor, G: Tensor) -> Tensor:
    """Gradients [N, …] of the inner products of A [1, …] and each of G [N, …] at the leaf [1, …]."""
    values = torch.empty(
        len(G), *leaf.shape[1:], device=leaf.device, dtype=torch.promote_types(leaf.dtype, torch.float32)
    )
    for n in range(len(G)):
        above = G[n : n + 1].to(A)
        found = torch.autograd.grad(A, leaf, above, retain_graph=n + 1 < len(G), allow_unused=True)[0]
        if found is None:
            raise ModelError(NO_GRAPH)
        values[n] = found[0]
    return values


def _array(maps: Any) -> NDArray[Any]:
    if isinstance(maps, Tensor):
        maps = maps.detach().to("cpu", torch.promote_types(maps.dtype, torch.float32)).numpy()
    return np.asarray(maps)


def _mixing(frame: Frame, axis: int) -> NDArray[np.float64]:
    """Weights [user's pixels, prepared pixels] along one axis; rows of zeros where nothing was seen.

    A triangle as wide as the larger of the two pixels, within the window, adding up to 1.
    """
    first, stop = frame.window[2 * axis : 2 * axis + 2]
    pixels = np.arange(frame.prepared[axis])
    place = frame.prepared_at(axis, np.arange(frame.size[axis]))
    reach = max(1.0, 1 / abs(frame.scale[axis]))
    held = np.clip(place, first, stop - 1)
    weights = triangles(held, len(pixels), reach) * ((pixels >= first) & (pixels < stop))
    weights /= weights.sum(1, keepdims=True)
    weights[~frame.seen(axis)] = 0
    return weights
