"""Gradients in spite of a model's own ``torch.no_grad()``, and what is said where none comes through all the same."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from vlx.errors import NoGradient
from vlx.language import shortened

CAUSES = (
    "torch.no_grad or inference_mode, detach(), numpy, .item(), a checkpoint with use_reentrant=True, quantised layers"
    '. Mend it there, or take method="occlusion"'
)


class _Regardless(TorchFunctionMode):
    """Requests of a model's code to switch gradients off go unheard; in this thread only."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch._C._set_grad_enabled and not args[0]:
            return None
        return func(*args, **(kwargs or {}))


@contextmanager
def regardless() -> Iterator[None]:
    """Gradients on, even where the model's own code has ``torch.no_grad()``.

    That changes no value, only what is kept for the backward; so the gradient is that of the same score.
    """
    with torch.inference_mode(False), torch.enable_grad(), _Regardless():
        yield


def nothing_comes_through(name: str, labels: Sequence[str], error: Exception | None = None) -> NoGradient:
    """The refusal of a task by that name, whose scores of ``labels`` have no gradient though they rest on A."""
    if error is not None:
        text = " ".join(str(error).split())
        why = f"({type(error).__name__}: {shortened(text, 60)})"
    else:
        whose = ", ".join(repr(shortened(label, 14)) for label in dict.fromkeys(labels[:2]))
        why = f"to {whose}{', …' * (len(labels) > 2)}, though another feature map moves the score"
    return NoGradient(f"{shortened(name, 30)}: no gradient comes through {why}. Likely causes: {CAUSES}")


def part_is_cut(name: str, label: str) -> NoGradient:
    """The refusal where a score moves with parts of A that have no gradient, while others have."""
    return NoGradient(
        f"{shortened(name, 30)}: part of the gradient to {shortened(label, 14)!r} is cut: parts of A without one move "
        f"the score. Likely causes: {CAUSES}"
    )
