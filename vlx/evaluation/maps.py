"""The maps of all methods that a task has, for measuring them beside each other."""

from collections.abc import Iterator, Sequence

from torch import Tensor

from vlx.errors import InputError
from vlx.methods import registry, several
from vlx.methods.dependence import refuse_cut
from vlx.methods.engine import Attribution
from vlx.methods.method import Method, Site
from vlx.protocol.targets import Target
from vlx.protocol.task import Features, Task


def methods_of(task: Task) -> list[Method]:
    """What is measured of a task: every method that suits it and needs no more than its gradient."""
    return registry.compared(task)


def maps_of(task: Task, features: Features, targets: Sequence[Target]) -> Iterator[tuple[str, Tensor]]:
    """Each method's name and the targets' signed maps [N, h, w]; features are those of `Task.features`.

    Raises NoGradient where the model cuts the gradient off: its maps would all be zero.
    """
    site, own = Site.of(task, features, targets)
    yield from several.maps_of(task, site, own, methods_of(task)).items()


def by_default(task: Task, features: Features, targets: Sequence[Target]) -> Attribution:
    """The attribution of the targets by the task's own method. Raises InputError where that is none of A's."""
    method = registry.choose(task.defaults.method)
    if not method.on_cells:
        raise InputError(f"{task.name}: its default method, {method.name}, makes maps on another grid; measure another")
    site, own = Site.of(task, features, targets)
    found = method.attribute(task, site, own)
    if method.gradient and not found.depends.all():
        refuse_cut(task, site.features, own)
    return found
