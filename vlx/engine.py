"""Gradients of many targets at one feature map, and the maps made from them. Pure tensors: no words, files or plots.

Nothing here runs or differentiates the vision part: A comes in as it was computed, detached. Only
``torch.autograd.grad`` is used, so parameters' ``.grad``, hooks, training flags and random state stay as they are, and
threads that share a model cannot meet.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from vlx.errors import ModelError
from vlx.task import GradientWay, Target, Task
from vlx.weighting import Method, importance_weights, opposed

BUDGET = 64 * 2**20  # bytes of gradients of A held at once

Scores = Callable[[Tensor, Sequence[Target], Any], Tensor]


@dataclass(frozen=True, eq=False)
class Attribution:
    """What the engine knows of N targets: ``scores`` [N], α ``weights`` [N, K], maps ``signed``, ``opposed`` [N, h, w].

    ``opposed`` is the map of the negated score. ``depends`` [N] is False where the gradient is zero in every cell.
    All detached; weights and maps are at least float32.
    """

    scores: Tensor
    weights: Tensor
    signed: Tensor
    opposed: Tensor
    depends: Tensor


def attribute(
    task: Task,
    A: Tensor,
    targets: Sequence[Target],
    method: Method,
    rest: Any = None,
    *,
    way: GradientWay | None = None,
    budget: int = BUDGET,
) -> Attribution:
    """Explain N targets at A [M, K, h, w]; ``targets[n].row`` says which of the M maps target n reads.

    Targets are taken in chunks whose gradients fit ``budget`` bytes; the chunk size does not change the result beyond
    rounding. Raises ModelError when a score is NaN or infinite.
    """
    parts = []
    for chunk in chunks(A, targets, budget):
        scores, gradient = gradients(task, A, chunk, rest, way=way)
        with torch.autocast(A.device.type, enabled=False):
            parts.append(_weighed(method, _rows(A, chunk), scores, gradient))
    fields = ("scores", "weights", "signed", "opposed", "depends")
    return Attribution(*(torch.cat([getattr(part, name) for part in parts]) for name in fields))


def _weighed(method: Method, rows: Tensor, scores: Tensor, gradient: Tensor) -> Attribution:
    return Attribution(
        scores,
        importance_weights(gradient),
        method.map(rows, gradient),
        opposed(method, rows, gradient),
        gradient.flatten(1).ne(0).any(1),
    )


def gradients(
    task: Task,
    A: Tensor,
    targets: Sequence[Target],
    rest: Any = None,
    *,
    way: GradientWay | None = None,
) -> tuple[Tensor, Tensor]:
    """Scores [N] and their gradients [N, K, h, w] with respect to each target's own row of A [M, K, h, w].

    The three ways give the same numbers: ``rows`` repeats A's rows, one for each target, and takes one ordinary
    backward of the sum; ``batched`` takes one vectorised backward without copying A; ``loop`` one backward a target.
    """
    compute = {"rows": _by_rows, "batched": _batched, "loop": _looped}[way or task.defaults.gradients]
    with _differentiable():
        leaf_source = A.clone() if A.is_inference() else A.detach()
        scores, gradient = compute(task.scores, leaf_source, tuple(targets), rest)
    _check_finite(task, "score", scores, targets)
    _check_finite(task, "gradient", gradient.flatten(1).sum(1), targets)
    return scores.detach(), gradient.detach()


def scores(task: Task, A: Tensor, targets: Sequence[Target], rest: Any = None) -> Tensor:
    """Scores [N] without gradients, for probes on other feature maps."""
    with torch.no_grad():
        return task.scores(A, targets, rest).detach()


def chunks(A: Tensor, targets: Sequence[Target], budget: int = BUDGET) -> Iterator[tuple[Target, ...]]:
    """Cut targets into runs whose gradients of A [M, K, h, w] fit in ``budget`` bytes, at least one a run."""
    one = A[0].numel() * max(A.element_size(), 4)
    size = max(budget // one, 1)
    for first in range(0, len(targets), size):
        yield tuple(targets[first : first + size])


def nested(function: Callable[[Tensor], Tensor], value: Any) -> Any:
    """Apply ``function`` to every tensor in nested tuples, lists and dicts."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, dict):
        return {key: nested(function, item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        items = [nested(function, item) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value


def _check_finite(task: Task, what: str, values: Tensor, targets: Sequence[Target]) -> None:
    broken = (~torch.isfinite(values)).nonzero()
    if len(broken):
        label = targets[int(broken[0])].label
        raise ModelError(f"{task.name}: the {what} of {label!r} is not a finite number; check the weights and logits")


@contextmanager
def _differentiable() -> Iterator[None]:
    with torch.inference_mode(False), torch.enable_grad():
        yield


def _rows(A: Tensor, targets: Sequence[Target]) -> Tensor:
    """A's row for each target, [N, K, h, w]; one row is broadcast and not copied."""
    if len(A) == 1:
        return A.expand(len(targets), -1, -1, -1)
    return A[[target.row for target in targets]]


def _repeated(tensor: Tensor, order: list[int]) -> Tensor:
    """The rows that are asked for; a single row is expanded and not copied."""
    return tensor.expand(len(order), *tensor.shape[1:]) if len(tensor) == 1 else tensor[order]


def _by_rows(task_scores: Scores, A: Tensor, targets: tuple[Target, ...], rest: Any) -> tuple[Tensor, Tensor]:
    order = [target.row for target in targets]
    rows = A[order].requires_grad_()
    own = tuple(replace(target, row=n) for n, target in enumerate(targets))
    values = task_scores(rows, own, nested(lambda tensor: _repeated(tensor, order), rest))
    return values, _pull(values.sum(), rows, None)


def _batched(task_scores: Scores, A: Tensor, targets: tuple[Target, ...], rest: Any) -> tuple[Tensor, Tensor]:
    leaf = A.requires_grad_()
    values = task_scores(leaf, targets, rest)
    slots = _slots(targets)
    cotangents = values.new_zeros(max(slots) + 1, len(targets))
    cotangents[slots, range(len(targets))] = 1
    return values, _pull(values, leaf, cotangents)[slots, [target.row for target in targets]]


def _looped(task_scores: Scores, A: Tensor, targets: tuple[Target, ...], rest: Any) -> tuple[Tensor, Tensor]:
    leaf = A.requires_grad_()
    values = task_scores(leaf, targets, rest)
    pulled = [_pull(values[n], leaf, None)[target.row] for n, target in enumerate(targets)]
    return values, torch.stack(pulled)


def _slots(targets: tuple[Target, ...]) -> list[int]:
    """The k-th target of each row of A gets slot k: targets of different rows share one backward."""
    seen: dict[int, int] = {}
    slots = []
    for target in targets:
        slots.append(seen.get(target.row, 0))
        seen[target.row] = slots[-1] + 1
    return slots


def _pull(values: Tensor, leaf: Tensor, cotangents: Tensor | None) -> Tensor:
    """The gradient of ``values`` at ``leaf``; zeros when they do not depend on it."""
    nothing = torch.zeros_like(leaf) if cotangents is None else leaf.new_zeros(len(cotangents), *leaf.shape)
    if not values.requires_grad:
        return nothing
    (gradient,) = torch.autograd.grad(
        values, leaf, cotangents, retain_graph=True, is_grads_batched=cotangents is not None, allow_unused=True
    )
    return nothing if gradient is None else gradient
