"""A copy of a task whose weights are permuted block by block: what is left of the model's maps then?

A block is a network behind A as a whole, or a stage of the one before it: named modules whose own weights and biases,
each tensor by itself, keep their values and lose their places. Running statistics of batch norm stay as they are. Only
the copy is changed, never the user's model.
"""

import copy
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import reduce
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from vlx.errors import InputError, VlxError
from vlx.language import shortened
from vlx.methods import engine
from vlx.methods.method import Site
from vlx.protocol.targets import Target
from vlx.protocol.task import Task

STAGES = 5  # blocks before A; small neighbours go together
FEW = 3  # blocks before A that there should be
MOST, LEAST = 0.9, 0.01  # of the weights before A: what one block may hold where it can be divided, and should hold
TURNS = 8  # draws of an order that changes something
DEEP = 3  # objects in objects in which networks are looked for

Named = tuple[str, Tensor]


@dataclass(frozen=True, eq=False)
class Block:
    """Weights that are permuted together, by the names of their modules."""

    names: tuple[str, ...]
    weights: tuple[Named, ...]

    @property
    def name(self) -> str:
        """What it is called: its module, or the first and last of several.

        >>> Block(("cnn.layers.0", "cnn.layers.1"), ()).name
        'cnn.layers.0–1'
        """
        first, last = self.names[0], self.names[-1]
        above, below = first.rpartition(".")[0], last.rpartition(".")
        return first if first == last else f"{first}–{below[2] if below[0] == above else last}"

    @property
    def size(self) -> int:
        """How many weights there are."""
        return sum(tensor.numel() for _, tensor in self.weights)

    @property
    def constant(self) -> bool:
        """Whether no order of its weights is another: it has none, or those of each tensor are equal."""
        return all(bool((tensor == tensor.flatten()[:1]).all()) for _, tensor in self.weights)

    def joined(self, other: "Block") -> "Block":
        """Both as one, this one first."""
        return Block((*self.names, *other.names), (*self.weights, *other.weights))


def permuted(name: str, weights: Tensor) -> Tensor:
    """The values of a tensor of weights in another order, by a seed of its ``name``; constants stay as they are."""
    flat = weights.detach().flatten()
    for turn in range(TURNS):
        seed = int.from_bytes(hashlib.sha256(f"{turn} {name}".encode()).digest()[:7], "little")
        order = torch.randperm(flat.numel(), generator=torch.Generator().manual_seed(seed))
        found = flat[order.to(flat.device)]
        if not torch.equal(found, flat):
            break
    return found.view(weights.shape)


class PermutedCopy:
    """A copy of a task, ``blocks`` of whose weights can be permuted, that behind A first, then top-down.

    ``still`` names those that are left out: no score moves with them, or each of their tensors has one value only.
    ``inputs`` [1, C, H, W] and ``targets`` are what it is tried on. Raises InputError for a task that cannot be
    copied, holds no networks, or whose copy answers the same whatever its weights are.

    >>> copied = PermutedCopy(task, inputs, targets)
    >>> [block.name for block in copied.blocks]
    ['decoder', 'cnn.layers.8–10', 'cnn.layers.4–7', 'cnn.layers.0–3']
    >>> with copied.permuted(copied.blocks[:1]) as changed:
    ...     changed.features(inputs)
    """

    def __init__(self, task: Task, inputs: Tensor, targets: Sequence[Target]) -> None:
        self.task, self._orders = _copied(task), dict[str, tuple[Tensor, Tensor]]()
        self._inputs, self._targets = inputs, targets
        self._there, self._said = self._seen()
        networks = networks_of(self.task)
        if not networks:
            raise InputError(f"{task.name} holds no nn.Module with weights: there is nothing of it to permute")
        divided = [self._divided(name, network) for name, network in networks]
        before = _merged([block for blocks, _, _ in divided for block in blocks])
        idle = [block for _, _, blocks in divided for block in blocks]
        ordered = [*(head for _, head, _ in reversed(divided) if head), *reversed(before)]
        self.blocks = tuple(block for block in _once(ordered) if not block.constant)
        left = [*idle, *(block for block in ordered if block.constant)]
        self.still = tuple(block.name for block in left)
        if not self.blocks:
            raise InputError(
                f"{task.name}: its copy answers the same whatever its weights; its scores are constant, or it runs "
                "networks that are no attributes of its own, as those of a closure: keep them as attributes"
            )

    @contextmanager
    def permuted(self, blocks: Sequence[Block]) -> Iterator[Task]:
        """The copy with the weights of some blocks permuted; as they were afterwards."""
        weights = [named for block in blocks for named in block.weights]
        for name, tensor in weights:
            if name not in self._orders:
                self._orders[name] = tensor.detach().clone(), permuted(name, tensor)
        with self._changed((tensor, self._orders[name][1]) for name, tensor in weights):
            yield self.task

    @contextmanager
    def _changed(self, values: Iterable[tuple[Tensor, Tensor]]) -> Iterator[None]:
        """Other values in some weights; in place, so that whoever keeps something of them sees that they changed."""
        before: list[tuple[Tensor, Tensor]] = []
        try:
            with torch.no_grad():
                for tensor, new in values:
                    before.append((tensor, tensor.detach().clone()))
                    tensor.copy_(new)
            yield
        finally:
            with torch.no_grad():
                for tensor, old in reversed(before):
                    tensor.copy_(old)

    def _divided(self, name: str, network: nn.Module) -> tuple[list[Block], Block | None, list[Block]]:
        """The blocks of a network before A, in the order of its modules; all behind it as one; those that are idle."""
        found = [(_block(name, network), network)]
        while True:
            moving = [self._moves_when(self._disturbed(block)) for block, _ in found]
            before = [n for n, (there, _) in enumerate(moving) if there]
            largest = max(before, key=lambda n: found[n][0].size, default=None)
            if largest is None:
                break
            whole = sum(found[n][0].size for n in before)
            if len(before) >= FEW and found[largest][0].size <= MOST * whole:
                break
            inner = list(_children(*found[largest]))
            if not inner:
                break
            found[largest : largest + 1] = inner
        behind = [block for (block, _), (there, said) in zip(found, moving, strict=True) if said and not there]
        idle = [block for (block, _), moves in zip(found, moving, strict=True) if not any(moves)]
        head = reduce(Block.joined, behind) if behind else None
        return [found[n][0] for n in before], head, idle

    def _disturbed(self, block: Block) -> AbstractContextManager[None]:
        """All weights of a block otherwise, constants, too."""
        return self._changed((one, one.detach().abs().mean() + 0.01 - one.detach()) for _, one in block.weights)

    def _moves_when(self, changed: AbstractContextManager[Any]) -> tuple[bool, bool]:
        """Whether A is another, and whether a score is, while something is changed."""
        with changed:
            try:
                there, said = self._seen()
            except VlxError:  # scores that are no numbers any more
                return True, True
        return not torch.equal(there, self._there), not torch.equal(said, self._said)

    def _seen(self) -> tuple[Tensor, Tensor]:
        features = self.task.features(self.task.place(self._inputs))
        site, own = Site.of(self.task, features, self._targets)
        return site.features.A.detach().clone(), engine.scores(self.task, site.features.A, own, site.features.rest)


def networks_of(task: object) -> list[tuple[str, nn.Module]]:
    """The networks that a task holds, by the names of its attributes; none whose weights are those of another."""
    held = {name: network for name, network in _held(task, "", DEEP) if _places(network)}
    largest = sorted(held, key=lambda name: -len(_places(held[name])))
    chosen: dict[str, set[int]] = {}
    for name in largest:
        places = _places(held[name])
        if not any(places <= known for known in chosen.values()):
            chosen[name] = places
    return [(name, network) for name, network in held.items() if name in chosen]


def _places(network: nn.Module) -> set[int]:
    """Where in memory its weights are."""
    return {weights.data_ptr() for weights in network.parameters() if weights.numel()}


def _held(value: Any, name: str, deep: int) -> Iterator[tuple[str, nn.Module]]:
    owner = getattr(value, "__self__", value)
    if isinstance(owner, nn.Module):
        yield name, owner
    elif deep and not isinstance(value, type | ModuleType | Tensor):
        inside = value if isinstance(value, dict) else getattr(value, "__dict__", {})
        inside = dict(enumerate(value)) if isinstance(value, list | tuple) else inside
        for key, one in inside.items():
            yield from _held(one, f"{name}.{key}" if name else str(key), deep - 1)


def _copied(task: Task) -> Task:
    """A copy that shares no weight with the task. Raises InputError where there is none."""
    refusal = f"{task.name} cannot be copied, and only a copy's weights may be permuted"
    try:
        made = copy.deepcopy(task)
    except Exception as error:  # anybody's code
        raise InputError(f"{refusal} ({type(error).__name__}: {shortened(str(error), 100)})") from None
    theirs = set[int]().union(*(_places(network) for _, network in networks_of(task)))
    if any(_places(network) & theirs for _, network in networks_of(made)):
        raise InputError(f"{refusal}: its copy shares weights with it")
    return made


def _block(name: str, module: nn.Module) -> Block:
    return Block((name,), tuple((f"{name}.{own}", weights) for own, weights in module.named_parameters()))


def _children(block: Block, module: nn.Module) -> Iterator[tuple[Block, nn.Module]]:
    """The blocks of a module's own modules; weights that are in none of them go with the first."""
    inner = [(_block(f"{block.names[0]}.{name}", child), child) for name, child in module.named_children()]
    inner = [(one, child) for one, child in inner if one.weights]
    known = {id(weights) for one, _ in inner for _, weights in one.weights}
    left = tuple(named for named in block.weights if id(named[1]) not in known)
    for number, (one, child) in enumerate(inner):
        yield (replace(one, weights=(*left, *one.weights)) if number == 0 else one), child


def _once(blocks: Sequence[Block]) -> Iterator[Block]:
    """The blocks, weights that several share with the first of them alone."""
    known: set[int] = set()
    for block in blocks:
        own = {tensor.data_ptr(): (name, tensor) for name, tensor in reversed(block.weights)}
        yield replace(block, weights=tuple(named for place, named in reversed(own.items()) if place not in known))
        known |= own.keys()


def _merged(blocks: Sequence[Block]) -> list[Block]:
    """Blocks of some size, at most `STAGES`: small ones go with what is before them, then the smallest neighbours."""
    left, least = list(blocks), LEAST * sum(block.size for block in blocks)
    while len(left) > 1 and (small := [n for n, block in enumerate(left) if block.size < least]):
        place = max(small[0] - 1, 0)
        left[place : place + 2] = [left[place].joined(left[place + 1])]
    while len(left) > STAGES:
        place = min(range(len(left) - 1), key=lambda n: left[n].size + left[n + 1].size)
        left[place : place + 2] = [left[place].joined(left[place + 1])]
    return left
