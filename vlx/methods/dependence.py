"""Does a score rest on the feature map? Tried by replaying it with other maps, where its gradient is zero everywhere.

A gradient that is zero says three things that must be told apart: the score does not rest on A; it does, but the model
cuts the gradient off (``torch.no_grad()``, ``detach()``, numpy, quantised layers); it does, but is flat just here.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor

from vlx.errors import NoGradient
from vlx.methods import engine
from vlx.methods.cams import importance_weights
from vlx.protocol.no_grad import nothing_comes_through, regardless
from vlx.protocol.targets import Target
from vlx.protocol.task import Features, Task

Verdict = Literal["moves", "independent", "cut", "flat"]

STEP = 0.01  # of A's own scale: what counts as a small change
SIZES = (1.0, 30.0, 1000.0)  # of A's own scale: noise of all that can be moved, also behind a closed ReLU
ROUNDING = 32  # units in the last place by which scores of equal meaning may differ
DRAWS = 2  # maps with noise, of each size
PAIRS = 6  # small changes of what has no gradient, each with either sign
NOISE = 8  # the same of scores of one model in batches of other sizes
LINEAR = 0.1  # of a change of first order may be of another kind


def verdicts(
    task: Task, features: Features, targets: Sequence[Target], gradient: Tensor | None = None
) -> list[Verdict]:
    """Whether each target's score rests on ``features.A`` [M, K, h, w], and what its gradient says of that.

    "moves": there is a gradient. Otherwise the score is replayed with other maps (A's cells shuffled, its units changed
    about, noise at its own scale, zeros): "independent" when none moves it beyond rounding; "cut" when one does though
    no gradient is connected to A, or though a change by a hundredth of A's scale moves it; "flat" when only larger
    changes move it, so that the gradient is zero indeed. ``gradient`` [N, K, h, w] is the targets', where it is known.

    >>> verdicts(task, task.features(inputs), [word_target(prediction, 0, 0, "logprob")])
    ['moves']
    """
    gradient = _gradient(task, features, targets) if gradient is None else gradient
    deaf = range(len(targets)) if gradient is None else (~gradient.flatten(1).any(1)).nonzero()[:, 0].tolist()
    found: list[Verdict] = ["moves"] * len(targets)
    for n, verdict in zip(deaf, _without_gradient(task, features, [targets[n] for n in deaf]), strict=True):
        found[n] = verdict
    return found


def vary(scores: Tensor, A: Tensor) -> Tensor:
    """Which of N targets' ``scores`` [R, N], of pictures or maps that differ, differ by more than the digits of A."""
    limit = NOISE * torch.finfo(A.dtype).eps * (1 + scores.abs().amax(0))
    return scores.amax(0) - scores.amin(0) > limit


def refuse_cut(
    task: Task, features: Features, targets: Sequence[Target], gradient: Tensor | None = None
) -> list[Verdict]:
    """As `verdicts`; raises ModelError, with likely causes, when one of them is "cut"."""
    found = verdicts(task, features, targets, gradient)
    cut = [target.label for target, verdict in zip(targets, found, strict=True) if verdict == "cut"]
    if cut:
        raise nothing_comes_through(task.name, cut)
    return found


def partly_cut(task: Task, features: Features, target: Target) -> bool:
    """Whether the score moves to first order with elements of A [M, K, h, w] whose gradient is zero, others' is not.

    Only these are moved, by a hundredth and a thousandth of A's scale, by half of it and with the other sign. Where a
    gradient is zero indeed, the change grows faster than the step, or goes the same way with either sign (a closed
    ReLU, a tie of a maximum): then it is not cut.
    """
    still = engine.gradients(task, features.A, [target], features.rest)[1] == 0
    if still.all() or not still.any():
        return False

    def ask(step: Tensor) -> float:
        A = (features.A.double() + step).to(features.A.dtype)
        return float(engine.scores(task, A, [target], features.rest).double().cpu()[0])

    generator = torch.Generator().manual_seed(2)
    draws = [torch.randn(features.A.shape, generator=generator, dtype=torch.float64) for _ in range(PAIRS)]
    moves = [draw.to(features.A.device) * still * _scale(features.A) for draw in draws]
    nothing = torch.zeros_like(moves[0])
    own, again = ask(nothing), ask(nothing)
    slack = ROUNDING * torch.finfo(features.A.dtype).eps * (1 + abs(own)) + 4 * abs(own - again)
    for size in (STEP, STEP / 10):
        up, down, half, back = (
            torch.tensor([ask(factor * size * move) - own for move in moves]) for factor in (1, -1, 0.5, -0.5)
        )
        odd, even, less = (up - down) / 2, (up + down) / 2, (half - back) / 2
        first = odd.norm() * LINEAR > torch.maximum(even.norm(), (odd - 2 * less).norm())
        if bool(first) and float(odd.abs().max()) > slack / LINEAR:
            return True
    return False


def _gradient(task: Task, features: Features, targets: Sequence[Target]) -> Tensor | None:
    """The gradients of A, None where the model's code lets none through."""
    try:
        return engine.gradients(task, features.A, targets, features.rest)[1]
    except NoGradient:
        return None


def weights(task: Task, features: Features, targets: Sequence[Target]) -> Tensor:
    """α [N, K] of the targets, see `importance_weights`; NaN where the model lets no gradient through."""
    gradient = _gradient(task, features, targets)
    found = features.A.new_zeros(len(targets), features.A.shape[1], dtype=torch.float32)
    found = found if gradient is None else importance_weights(gradient)
    found[[verdict == "cut" for verdict in verdicts(task, features, targets, gradient)]] = torch.nan
    return found


def _without_gradient(task: Task, features: Features, targets: Sequence[Target]) -> list[Verdict]:
    if not targets:
        return []
    A = features.A
    far = _moved(task, features, targets, _others(A))
    near = _moved(task, features, targets, _noisy(A, STEP)) if any(far) else far
    return [
        "independent" if not moved else "cut" if close or not _connected(task, features, target) else "flat"
        for target, moved, close in zip(targets, far, near, strict=True)
    ]


def _moved(task: Task, features: Features, targets: Sequence[Target], others: Iterator[Tensor]) -> list[bool]:
    """Which scores another map moves by more than rounding, and by more than they move by themselves."""

    def ask(A: Tensor) -> Tensor:
        return engine.scores(task, A, targets, features.rest).double().cpu()

    own, again = ask(features.A), ask(features.A)
    digits = torch.finfo(features.A.dtype).eps
    slack = ROUNDING * digits * (1 + own.abs()) + 4 * (own - again).abs()
    moved = torch.zeros(len(targets), dtype=torch.bool)
    for other in others:
        moved |= (ask(other) - own).abs() > slack  # NaN, where a map is none to the model, moves nothing
    return moved.tolist()


def _others(A: Tensor) -> Iterator[Tensor]:
    """Maps [M, K, h, w] of the same kind: no score that rests on A is left alone by all of them."""
    generator = torch.Generator().manual_seed(0)
    cells = torch.randperm(A[0, 0].numel(), generator=generator).to(A.device)
    yield A.flatten(2)[:, :, cells].view_as(A)
    yield A.roll(max(A.shape[1] // 2, 1), 1)
    for size in SIZES:
        yield from _noisy(A, size)
        yield A + size * _scale(A).to(A.dtype)
        yield A - size * _scale(A).to(A.dtype)
    yield torch.zeros_like(A)


def _noisy(A: Tensor, size: float) -> Iterator[Tensor]:
    """A with noise of ``size`` times its own scale."""
    generator = torch.Generator().manual_seed(1)
    for _ in range(DRAWS):
        noise = torch.randn(A.shape, generator=generator, dtype=torch.float64).to(A.device)
        yield (A + size * _scale(A) * noise).to(A.dtype)


def _scale(A: Tensor) -> Tensor:
    """Each unit's deviation, float64 [1, K, 1, 1]; that of all of A where a unit is constant, 1 where A is."""
    exact = A.double()
    whole = exact.std(correction=0)
    own = exact.std((0, 2, 3), correction=0, keepdim=True)
    return torch.where(own > 0, own, torch.where(whole > 0, whole, 1.0))


def _connected(task: Task, features: Features, target: Target) -> bool:
    """Whether autograd knows a way from the target's score, asked alone, to A."""
    with regardless():
        leaf = features.A.detach().clone().requires_grad_()
        try:
            score = task.scores(leaf, [target], features.rest).sum()
            return score.requires_grad and torch.autograd.grad(score, leaf, allow_unused=True)[0] is not None
        except Exception:  # code that does not run where gradients are on
            return False
