"""Gradients of many targets at one feature map, and the maps made from them. Pure tensors: no words, files or plots.

Nothing here runs or differentiates the vision part: A comes in as it was computed, detached. Only
``torch.autograd.grad`` is used, so parameters' ``.grad``, hooks, training flags and random state stay as they are, and
threads that share a model cannot meet.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from vlx.errors import ModelError, VlxError
from vlx.methods.cams import Weighting, importance_weights, opposed
from vlx.protocol.nested import nested, tensors
from vlx.protocol.no_grad import nothing_comes_through, regardless
from vlx.protocol.powers import Restarts, meet, powers_of
from vlx.protocol.targets import GradientWay, Target
from vlx.protocol.task import Features, Task

BUDGET = 64 * 2**20  # bytes of gradients of A held at once


@dataclass(frozen=True, eq=False)
class Attribution:
    """What the engine knows of N targets: ``scores`` [N], α ``weights`` [N, K], maps ``signed``, ``opposed`` [N, h, w].

    ``opposed`` is what speaks against the score, by ``Method.against``. ``depends`` [N] is False where the gradient is
    zero in every cell. All detached; weights and maps are at least float32. ``weighed`` is False where the method takes
    no gradient at A, so that the weights are NaN; ``against`` names the method of ``opposed``, where it is not
    ``Method.against``. ``notes`` on how they were made are for the reader.
    """

    scores: Tensor
    weights: Tensor
    signed: Tensor
    opposed: Tensor
    depends: Tensor
    notes: tuple[str, ...] = ()
    weighed: bool = True
    against: str = ""

    def rows(self, first: int, stop: int) -> "Attribution":
        """What is known of some targets, in order."""
        return self.chosen(slice(first, stop))

    def chosen(self, which: slice | list[int]) -> "Attribution":
        """What is known of the targets with these numbers."""
        return replace(self, **{name: getattr(self, name)[which] for name in TENSORS})


TENSORS = tuple(each.name for each in fields(Attribution) if each.type is Tensor)


def together(parts: Sequence[Attribution]) -> Attribution:
    """Attributions of several runs of targets as one, in order."""
    notes = dict.fromkeys(note for part in parts for note in part.notes)
    joined: dict[str, Any] = {name: torch.cat([getattr(part, name) for part in parts]) for name in TENSORS}
    return replace(parts[0], **joined, notes=tuple(notes))


def attribute(
    task: Task,
    A: Tensor,
    targets: Sequence[Target],
    weighting: Weighting,
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
            parts.append(_weighed(weighting, rows_of(A, chunk), scores, gradient))
    return together(parts)


def _weighed(weighting: Weighting, rows: Tensor, scores: Tensor, gradient: Tensor) -> Attribution:
    return Attribution(
        scores,
        importance_weights(gradient),
        weighting.maps(rows, gradient),
        opposed(weighting, rows, gradient),
        gradient.flatten(1).any(1),
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

    The three ways give the same numbers: ``rows`` repeats A's rows, one for each target (of a task that `Restarts` the
    state behind A), and takes one ordinary backward of the sum; ``batched`` takes one vectorised backward without
    copying A; ``loop`` one backward a target. A model's own ``torch.no_grad()`` is passed over where it leaves a target
    without a gradient.

    Raises ModelError for a score or gradient that is NaN or infinite, and where the model's code lets none through.
    """
    compute = WAYS[way or task.defaults.gradients]
    with differentiable():
        A = A.clone() if A.is_inference() else A.detach()
    try:
        scores, gradient = _taken(task, A, tuple(targets), rest, compute)
    except (VlxError, torch.cuda.OutOfMemoryError):
        raise
    except Exception as error:  # a model's code raises anything
        if way is not None:
            raise
        scores, gradient = _one_by_one(task, A, tuple(targets), rest, error)
    check_finite(task, "score", scores, targets)
    check_finite(
        task, "gradient", gradient.flatten(1).sum(1, dtype=torch.promote_types(gradient.dtype, torch.float32)), targets
    )
    return scores.detach(), gradient.detach()


def _taken(task: Task, A: Tensor, targets: tuple[Target, ...], rest: Any, compute: "Taking") -> tuple[Tensor, Tensor]:
    with differentiable():
        scores, gradient = compute(task, A.detach(), targets, rest)
    deaf = (~gradient.flatten(1).any(1)).nonzero()[:, 0]
    if len(deaf):
        own = tuple(targets[n] for n in deaf.tolist())
        with suppress(Exception), regardless():  # code that counts on gradients being off; then they stay zero
            gradient = gradient.detach().index_copy(0, deaf, compute(task, A.detach(), own, rest)[1].detach())
    return scores, gradient


def _one_by_one(
    task: Task, A: Tensor, targets: tuple[Target, ...], rest: Any, error: Exception
) -> tuple[Tensor, Tensor]:
    """One backward a target, where the adapter's way fails; raises ModelError when only gradients are the trouble."""
    try:
        return _taken(task, A, targets, rest, _looped)
    except (VlxError, torch.cuda.OutOfMemoryError):
        raise
    except Exception:
        try:
            scores(task, A, targets, rest)
        except Exception:
            raise error from None
        raise nothing_comes_through(task.name, [target.label for target in targets], error) from error


def scores(task: Task, A: Tensor, targets: Sequence[Target], rest: Any = None) -> Tensor:
    """Scores [N] without gradients, for probes on other feature maps."""
    with torch.no_grad():
        return task.scores(A, targets, rest).detach()


def ask(task: Task, features: Features, targets: Sequence[Target]) -> Tensor:
    """Scores [N] without gradients from features as `Task.features` gives them, which `meet` the text first."""
    seen, own = meet(task, features, targets)
    return scores(task, seen.A, own, seen.rest)


def chunks(A: Tensor, targets: Sequence[Target], budget: int = BUDGET) -> Iterator[tuple[Target, ...]]:
    """Cut targets into runs whose gradients of A [M, K, h, w] fit in ``budget`` bytes, at least one a run."""
    one = A[0].numel() * max(A.element_size(), 4)
    size = max(budget // one, 1)
    for first in range(0, len(targets), size):
        yield tuple(targets[first : first + size])


def check_finite(task: Task, what: str, values: Tensor, targets: Sequence[Target]) -> None:
    """Raises ModelError where one of N values is NaN or infinite, naming its target."""
    broken = (~torch.isfinite(values)).nonzero()
    if len(broken):
        label = targets[int(broken[0])].label
        raise ModelError(f"{task.name}: the {what} of {label!r} is not a finite number; check the weights and logits")


@contextmanager
def differentiable() -> Iterator[None]:
    """Gradients on, whatever the caller has set."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


def rows_of(A: Tensor, targets: Sequence[Target]) -> Tensor:
    """A's row for each target, [N, K, h, w]; one row is broadcast and not copied."""
    if len(A) == 1:
        return A.expand(len(targets), -1, -1, -1)
    return A[[target.row for target in targets]]


def _repeated(tensor: Tensor, order: list[int]) -> Tensor:
    """The rows that are asked for; a single row is expanded and not copied."""
    return tensor.expand(len(order), *tensor.shape[1:]) if len(tensor) == 1 else tensor[order]


def _by_rows(task: Task, A: Tensor, targets: tuple[Target, ...], rest: Any) -> tuple[Tensor, Tensor]:
    order = [target.row for target in targets]
    own = tuple(replace(target, row=n) for n, target in enumerate(targets))
    if (restarts := powers_of(task).restarts) is not None:
        return _by_restarts(restarts, A, targets, own, rest)
    rows = A[order].requires_grad_()
    values = task.scores(rows, own, nested(lambda tensor: _repeated(tensor, order), rest))
    return values, pull([values.sum()], [rows])[0]


def _by_restarts(
    task: Restarts, A: Tensor, targets: tuple[Target, ...], own: tuple[Target, ...], rest: Any
) -> tuple[Tensor, Tensor]:
    """Repeat the state behind A instead of A, and pull the rows' gradients back to A in one vectorised backward."""
    leaf, order = A.requires_grad_(), [target.row for target in targets]
    slots = slots_of(order)
    begun = task.begin(leaf, rest)
    rows = nested(lambda tensor: tensor.detach()[order].requires_grad_(tensor.requires_grad), begun)
    values = task.scores_from(rows, own)
    ends = [(there, here) for there, here in zip(tensors(begun), tensors(rows), strict=True) if here.requires_grad]
    if not ends:
        return values, A.new_zeros(len(targets), *A.shape[1:])
    cotangents = [there.new_zeros(max(slots) + 1, *there.shape) for there, _ in ends]
    for cotangent, gradient in zip(cotangents, pull([values.sum()], [here for _, here in ends]), strict=True):
        cotangent[slots, order] = gradient
    return values, _own(pull([there for there, _ in ends], [leaf], cotangents)[0], targets)


def _batched(task: Task, A: Tensor, targets: tuple[Target, ...], rest: Any) -> tuple[Tensor, Tensor]:
    leaf = A.requires_grad_()
    values = task.scores(leaf, targets, rest)
    cotangents = one_hot(values, slots_of([target.row for target in targets]))
    return values, _own(pull([values], [leaf], [cotangents])[0], targets)


def _looped(task: Task, A: Tensor, targets: tuple[Target, ...], rest: Any) -> tuple[Tensor, Tensor]:
    leaf = A.requires_grad_()
    values = task.scores(leaf, targets, rest)
    pulled = [pull([values[n]], [leaf])[0][target.row] for n, target in enumerate(targets)]
    return values, torch.stack(pulled)


Taking = Callable[[Task, Tensor, tuple[Target, ...], Any], tuple[Tensor, Tensor]]
WAYS: dict[str, Taking] = {"rows": _by_rows, "batched": _batched, "loop": _looped}


def slots_of(rows: Sequence[int]) -> list[int]:
    """The k-th target of each row gets slot k: targets of different rows share one backward."""
    seen: dict[int, int] = {}
    slots = []
    for row in rows:
        slots.append(seen.get(row, 0))
        seen[row] = slots[-1] + 1
    return slots


def one_hot(scores: Tensor, slots: Sequence[int]) -> Tensor:
    """Cotangents [slots, N] of scores [N]: 1 where target n has its slot."""
    cotangents = scores.new_zeros(max(slots) + 1, len(slots))
    cotangents[list(slots), range(len(slots))] = 1
    return cotangents


def _own(pulled: Tensor, targets: tuple[Target, ...]) -> Tensor:
    """Each target's gradient [N, K, h, w] from those by slot and row [S, M, K, h, w]."""
    rows = [target.row for target in targets]
    return pulled[:, 0] if pulled.shape[1] == 1 else pulled[slots_of(rows), rows]


def pull(
    values: Sequence[Tensor], leaves: Sequence[Tensor], cotangents: Sequence[Tensor] | None = None
) -> list[Tensor]:
    """Gradients of the values at the leaves: [*leaf], or [S, *leaf] by S cotangents a value; zeros if independent."""
    reached = [n for n, value in enumerate(values) if value.requires_grad]
    ahead = () if cotangents is None else (len(cotangents[0]),)
    found: Sequence[Tensor | None] = [None] * len(leaves)
    if reached:
        found = torch.autograd.grad(
            [values[n] for n in reached],
            leaves,
            None if cotangents is None else [cotangents[n] for n in reached],
            retain_graph=True,
            is_grads_batched=cotangents is not None,
            allow_unused=True,
        )
    return [
        leaf.new_zeros(*ahead, *leaf.shape) if gradient is None else gradient
        for leaf, gradient in zip(leaves, found, strict=True)
    ]
