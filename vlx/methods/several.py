"""The maps of several methods at one site, for measuring them beside each other: CAMs share their gradient."""

from collections.abc import Sequence

import torch
from torch import Tensor

from vlx.methods import engine
from vlx.methods.cams import Weighting
from vlx.methods.dependence import refuse_cut
from vlx.methods.method import Method, Site
from vlx.protocol.targets import Target
from vlx.protocol.task import Task


def maps_of(
    task: Task, site: Site, targets: Sequence[Target], methods: Sequence[Method], *, lean: bool = False
) -> dict[str, Tensor]:
    """Each method's signed maps of N targets, [N, h, w] by name; those of one gradient are taken in one backward.

    ``lean``: a site's only row of A is not copied for each target, which changes maps by rounding. Raises NoGradient
    where the model cuts the gradient off: such maps would all be zero.
    """
    weightings = [method.weighting for method in methods if method.weighting is not None]
    shared = _weighed(task, site, targets, weightings, lean) if weightings else {}
    alone = [method for method in methods if method.weighting is None]
    made = shared | {method.name: method.attributed(task, site, targets).signed for method in alone}
    return {method.name: made[method.name] for method in methods}


def _weighed(
    task: Task, site: Site, targets: Sequence[Target], weightings: Sequence[Weighting], lean: bool
) -> dict[str, Tensor]:
    A, parts = site.features.A, {weighting.name: list[Tensor]() for weighting in weightings}
    for chunk in engine.chunks(A, targets):
        _, gradient = engine.gradients(task, A, chunk, site.features.rest)
        refuse_cut(task, site.features, chunk, gradient)
        rows = engine.rows_of(A, chunk) if lean else A[[target.row for target in chunk]]
        for weighting in weightings:
            parts[weighting.name].append(weighting.maps(rows, gradient))
    return {name: site.features.grid.fold(torch.cat(own)) for name, own in parts.items()}
