"""A record of the operations that lead from one tensor to another, whatever the code: modules, functions, in place.

What torch calls for the code is met below autograd by a dispatch mode: nothing of the network is swapped, hooked or
patched. Values that the code changes in place are kept as they were.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from vlx.errors import ModelError

SHAPED = "new_zeros new_ones new_empty new_full zeros_like ones_like empty_like full_like".split()  # by a shape alone
COMPOUND = torch._C.DispatchKey.CompositeImplicitAutograd


class Ref(NamedTuple):
    """Stands for a recorded value among the arguments of a step; ``number`` is its place in `Tape.values`."""

    number: int


@dataclass(frozen=True, eq=False)
class Step:
    """One operation: its ``name`` without the underscore of in-place ones, and the function that computes it.

    ``made`` are the numbers of the values that it made, None for those that are no floats; ``inside`` names the module
    that called it.
    """

    name: str
    function: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    made: tuple[int | None, ...]
    inside: str

    @property
    def read(self) -> list[int]:
        """The numbers of the values that it read."""
        return [one.number for one in _leaves((self.args, self.kwargs)) if isinstance(one, Ref)]


class Tape(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records, while it is entered, all that is made from ``leaf``, whose number is 0.

    >>> with torch.no_grad(), Tape(leaf) as tape:
    ...     score = task.scores(leaf, targets)
    >>> tape.steps[-1].name, tape.number(score)
    ('add', 12)
    """

    def __init__(self, leaf: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.values: list[Tensor] = []
        self.steps: list[Step] = []
        self.kept: dict[Any, Any] = {}  # what readers of the tape made of its steps
        self._numbers: dict[int, tuple[Tensor, int]] = {}  # by the tensor's id, which it keeps while it is held here
        self._written: set[int] = set()  # memory that was changed in place
        self._record(leaf)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: torch would load its compiler, which takes more than a second, to hide `__torch_dispatch__` from it."""
        return False

    def number(self, tensor: Tensor) -> int | None:
        """The number of a tensor's value; None where it was not made from the leaf."""
        known = self._numbers.get(id(tensor))
        return None if known is None else known[1]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), COMPOUND):
            return func.decompose(*args, **kwargs)
        name = func._schema.name.split("::")[1].rstrip("_")
        held_args, held_kwargs = tree_map(self._held, (tuple(args), kwargs))
        if name in SHAPED or not any(isinstance(one, Ref) for one in _leaves((held_args, held_kwargs))):
            self._note_writes(func, args, kwargs, recorded=False)
            return func(*args, **kwargs)
        self._note_writes(func, args, kwargs, recorded=True)
        output = func(*args, **kwargs)
        made = tuple(self._record(one) if _is_value(one) else None for one in _outputs(output))
        self.steps.append(Step(name, _pure(func, name), held_args, held_kwargs, made, _caller()))
        return output

    def _held(self, given: Any) -> Any:
        if not isinstance(given, Tensor):
            return given
        number = self.number(given)
        if number is not None:
            return Ref(number)
        if self._written and given.untyped_storage().data_ptr() in self._written:
            raise ModelError(
                "a part of a tensor is changed in place and the whole is read afterwards, which cannot be followed; "
                "write that without the change in place, or take a method that weighs A (gradcam)"
            )
        return given

    def _record(self, tensor: Tensor) -> int:
        self.values.append(tensor)
        self._numbers[id(tensor)] = (tensor, len(self.values) - 1)
        return len(self.values) - 1

    def _note_writes(self, func: Any, args: Any, kwargs: dict[str, Any], *, recorded: bool) -> None:
        """Before an operation changes tensors: their values are copied, others of the same memory are let go of."""
        for tensor in _changed(func, args, kwargs):
            memory = tensor.untyped_storage().data_ptr()
            shared = [n for n, value in enumerate(self.values) if value.untyped_storage().data_ptr() == memory]
            for number in shared:
                self.values[number] = self.values[number].clone()
            if recorded or shared:
                self._written.add(memory)
                for known in [one for one, (_, number) in self._numbers.items() if number in shared]:
                    del self._numbers[known]


def _pure(func: Any, name: str) -> Any:
    """The operation itself, or of one that works in place its other form."""
    if not func._schema.is_mutable:
        return func
    packet = getattr(torch.ops.aten, name, None)
    return getattr(packet, func._overloadname, func) if packet is not None else func


def _changed(func: Any, args: Any, kwargs: dict[str, Any]) -> Iterator[Tensor]:
    if not func._schema.is_mutable:
        return
    for place, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            given = args[place] if place < len(args) else kwargs.get(argument.name)
            yield from (one for one in tree_leaves(given) if isinstance(one, Tensor))


def _outputs(output: Any) -> tuple[Any, ...]:
    return tuple(output) if isinstance(output, tuple | list) else (output,)


def _is_value(one: Any) -> bool:
    return isinstance(one, Tensor) and one.is_floating_point()


def _leaves(tree: Any) -> list[Any]:
    return tree_leaves(tree, is_leaf=lambda one: isinstance(one, Ref))


def _caller() -> str:
    """The class names of the innermost two modules whose ``forward`` is running: "SiLU in MBConv"."""
    names: list[str] = []
    frame: Any = sys._getframe(1)
    while frame is not None and len(names) < 2:
        owner = frame.f_locals.get("self") if frame.f_code.co_name == "forward" else None
        if isinstance(owner, nn.Module) and (not names or names[-1] != type(owner).__name__):
            names.append(type(owner).__name__)
        frame = frame.f_back
    return " in ".join(names)
