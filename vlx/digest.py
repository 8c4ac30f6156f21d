"""A hash of a network's weights."""

import hashlib
from collections.abc import Hashable, Iterable
from itertools import chain

import torch
from torch import Tensor


def weights_digest(tensors: Iterable[Tensor]) -> str:
    """SHA-256 of the floating-point tensors' shapes and float32 values, in order, as 64 hexadecimal digits."""
    found = hashlib.sha256()
    for tensor in tensors:
        if tensor.is_floating_point():
            found.update(repr(tuple(tensor.shape)).encode())
            found.update(tensor.detach().to("cpu", torch.float32).contiguous().numpy().tobytes())
    return found.hexdigest()


def task_digest(task: object) -> str:
    """The `weights_digest` of all networks that a task holds; empty where it holds none."""
    networks = [part for part in vars(task).values() if isinstance(part, torch.nn.Module)]
    tensors = chain.from_iterable(one.state_dict().values() for one in networks)
    return weights_digest(tensors) if networks else ""


class Digest:
    """A hash of weights, taken again only when their version changes."""

    def __init__(self) -> None:
        self._version: Hashable = None
        self._digest = ""

    def of(self, version: Hashable, tensors: Iterable[Tensor]) -> str:
        """The `weights_digest` of ``tensors``; as it was while ``version`` is the same."""
        if not self._digest or version != self._version:
            self._version, self._digest = version, weights_digest(tensors)
        return self._digest
