"""Records whose maps are zero for want of a gradient, or of anything that hiding moves: what replays say of them."""

from collections.abc import Sequence
from dataclasses import replace

from vlx import dependence
from vlx.asked import Asked, Measured
from vlx.passing import nothing_comes_through
from vlx.task import Features, Task


def tried(
    task: Task, features: Features, asked: Sequence[Asked], found: Sequence[Measured], *, needs_gradient: bool
) -> list[Measured]:
    """The records with `Measured.depends` and `Measured.flat` as replays with other feature maps tell.

    Raises NoGradient where a gradient is needed and the model cuts it off.
    """
    numbers = [n for n, one in enumerate(found) if not one.depends]
    told = dependence.verdicts(task, features, [asked[n].target for n in numbers]) if numbers else []
    cut = [asked[n].label for n, verdict in zip(numbers, told, strict=True) if verdict in ("cut", "moves")]
    if cut and needs_gradient:
        raise nothing_comes_through(task.name, cut)
    made = list(found)
    for n, verdict in zip(numbers, told, strict=True):
        rests = verdict != "independent"
        made[n] = replace(found[n], depends=rests, flat=rests)
    return made
