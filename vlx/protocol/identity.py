"""Which model it is: a hash of its weights, and what was measured once for it and kept while it lives."""

import hashlib
from collections.abc import Callable, Hashable, Iterable, Iterator
from itertools import chain
from typing import Any, TypeVar, cast
from weakref import finalize

import torch
from torch import Tensor

from vlx.errors import ModelError


def weights_digest(tensors: Iterable[Tensor]) -> str:
    """SHA-256 of the floating-point tensors' shapes and float32 values, in order, as 64 hexadecimal digits."""
    found = hashlib.sha256()
    for tensor in tensors:
        if tensor.is_floating_point():
            found.update(repr(tuple(tensor.shape)).encode())
            found.update(tensor.detach().to("cpu", torch.float32).contiguous().numpy().tobytes())
    return found.hexdigest()


def weights_of(network: torch.nn.Module) -> Iterator[Tensor]:
    """All weights and buffers of a network, in order; those that accelerate keeps away are read where it keeps them."""
    for name, tensor in network.state_dict().items():
        owner, _, own = name.rpartition(".")
        yield _kept_away(network.get_submodule(owner), own) if tensor.is_meta else tensor


def _kept_away(module: Any, name: str) -> Tensor:
    hook = getattr(module, "_hf_hook", None)
    maps = [getattr(one, "weights_map", None) for one in getattr(hook, "hooks", (hook,))]
    kept = next((one for one in maps if one is not None), None)
    if kept is None:
        raise ModelError(
            f"the weights {name!r} are nowhere (on the meta device); load them, or give the model a device"
        )
    return cast(Tensor, kept[name])


def task_digest(task: object) -> str:
    """The `weights_digest` of all networks that a task holds; empty where it holds none."""
    networks = [part for part in vars(task).values() if isinstance(part, torch.nn.Module)]
    tensors = chain.from_iterable(map(weights_of, networks))
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


T = TypeVar("T")


class Kept:
    """One dict for each task, gone with the task. Tasks need not be hashable; those that die unseen keep nothing."""

    def __init__(self) -> None:
        self._dicts: dict[int, dict[Any, Any]] = {}

    def of(self, task: Any) -> dict[Any, Any]:
        """The dict that belongs to ``task``."""
        number = id(task)
        if number not in self._dicts:
            try:
                finalize(task, self._dicts.pop, number, None)
            except TypeError:  # no weak references to it: its number may be given away unnoticed
                return {}
            self._dicts[number] = {}
        return self._dicts[number]


class Latest:
    """What was made of the last thing at hand, for the next question about the very same one."""

    def __init__(self) -> None:
        self._made: dict[str, tuple[Any, Hashable, Any]] = {}

    def of(self, source: Any, version: Hashable, what: str, make: Callable[[], T]) -> T:
        """What ``make`` gives; of the same ``source`` and ``version`` as last time what it gave then."""
        known, then, made = self._made.get(what, (None, None, None))
        if known is not source or then != version:
            made = make()
            self._made[what] = source, version, made
        return cast(T, made)
