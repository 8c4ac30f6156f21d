"""Records whose maps are zero for want of a gradient, or of anything that hiding moves: what replays say of them."""

from collections.abc import Sequence
from dataclasses import replace

from vlx.methods import dependence
from vlx.probes.asked import Asked, Measured
from vlx.protocol.no_grad import nothing_comes_through, part_is_cut
from vlx.protocol.task import Features, Task


def tried(
    task: Task, features: Features, asked: Sequence[Asked], rows: Sequence[Measured], *, needs_gradient: bool
) -> list[Measured]:
    """The records with `Measured.depends` and `Measured.flat` as replays with other feature maps tell.

    Raises NoGradient where a gradient is needed and the model cuts it off, also in part where that leaves a map empty.
    """
    numbers = [n for n, one in enumerate(rows) if not one.depends]
    told = dependence.verdicts(task, features, [asked[n].target for n in numbers]) if numbers else []
    cut = [asked[n].label for n, verdict in zip(numbers, told, strict=True) if verdict in ("cut", "moves")]
    if cut and needs_gradient:
        raise nothing_comes_through(task.name, cut)
    made = list(rows)
    for n, verdict in zip(numbers, told, strict=True):
        rests = verdict != "independent"
        made[n] = replace(rows[n], depends=rests, flat=rests)
    if needs_gradient:
        _refuse_parts(task, features, asked, rows)
    return made


def _refuse_parts(task: Task, features: Features, asked: Sequence[Asked], rows: Sequence[Measured]) -> None:
    """Raises NoGradient where nothing in a map of A speaks for the score, and part of the gradient is cut."""
    for question, one in zip(asked, rows, strict=True):
        empty = one.depends and one.signed.shape == features.grid.shape and one.signed.max() <= 0
        if empty and dependence.partly_cut(task, features, question.target):
            raise part_is_cut(task.name, question.label)
