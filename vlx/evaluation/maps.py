"""The maps of all methods that a task has, for measuring them beside each other."""

from collections.abc import Iterator, Sequence

from torch import Tensor

from vlx.errors import InputError
from vlx.methods import attention, engine, registry
from vlx.methods.attention import ATTENTION_METHODS, AttentionMethod
from vlx.methods.cams import METHODS, Method
from vlx.methods.dependence import refuse_cut
from vlx.methods.engine import Attribution
from vlx.methods.registry import AnyMethod
from vlx.protocol.powers import Attends
from vlx.protocol.targets import Target
from vlx.protocol.task import Features, Task


def methods_of(task: Task) -> list[Method | AttentionMethod]:
    """The weightings, and of a task with attention the methods for it: roll-out where that is its default."""
    found: list[Method | AttentionMethod] = [*METHODS.values()]
    if isinstance(task, Attends):
        default = task.defaults.method
        found += [method for method in ATTENTION_METHODS.values() if not method.rolled or method.name == default]
    return found


def maps_of(task: Task, features: Features, targets: Sequence[Target]) -> Iterator[tuple[str, Tensor]]:
    """Each method's name and the targets' signed maps [N, h, w]; features are those of `Task.features`.

    Raises NoGradient where the model cuts the gradient off: its maps would all be zero.
    """
    met, own = engine.met(task, features, targets)
    _, gradient = engine.gradients(task, met.A, own, met.rest)
    refuse_cut(task, met, own, gradient)
    rows = met.A[[target.row for target in own]]
    for method in methods_of(task):
        if isinstance(method, Method):
            yield method.name, method.map(rows, gradient)
        else:
            yield method.name, attention.attribute(task, met.A, own, method, met.rest).signed


def by_default(task: Task, features: Features, targets: Sequence[Target]) -> Attribution:
    """The attribution of the targets by the task's own method. Raises InputError where that is none of A's."""
    method: AnyMethod = registry.choose(task.defaults.method)
    met, own = engine.met(task, features, targets)
    if isinstance(method, Method):
        found = engine.attribute(task, met.A, own, method, met.rest)
        if not found.depends.all():
            refuse_cut(task, met, own)
        return found
    if isinstance(method, AttentionMethod):
        return attention.attribute(task, met.A, own, method, met.rest)
    raise InputError(f"{task.name}: its default method, {method.name}, makes maps on another grid; measure another")
