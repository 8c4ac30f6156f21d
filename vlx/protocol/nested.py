"""Nested tuples, lists and dicts of tensors: decoder states, and what goes along with a feature map."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def nested(function: Callable[[Tensor], Tensor], value: Any) -> Any:
    """The same nested value with ``function`` applied to every tensor; what is no tensor stays.

    >>> nested(lambda tensor: tensor[:1], {"others": torch.ones(2, 3), "kept": None})
    {'others': tensor([[1., 1., 1.]]), 'kept': None}
    """
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, dict):
        return {key: nested(function, item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        items = [nested(function, item) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value


def tensors(value: Any) -> list[Tensor]:
    """The tensors of a nested value, in a fixed order.

    >>> [tensor.shape for tensor in tensors((torch.ones(2), [torch.ones(3)]))]
    [torch.Size([2]), torch.Size([3])]
    """
    found: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    nested(note, value)
    return found


def joined(parts: Sequence[Any]) -> Any:
    """Several nested tensors of one shape of nest as one: their rows one after the other."""
    if len(parts) == 1:
        return parts[0]
    columns = iter(list(zip(*(tensors(part) for part in parts), strict=True)))
    return nested(lambda _: torch.cat(next(columns)), parts[0])
