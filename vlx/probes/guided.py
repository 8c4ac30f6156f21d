"""Guided Grad-CAM: the gradient carried on to the pixels under a ReLU rule, times the map (paper, section 3.2)."""

from collections.abc import Sequence

import torch

from vlx.errors import InputError
from vlx.explanation.records import Array
from vlx.methods import engine
from vlx.methods.pixels import guided_gradcam, pixel_gradients, top_gradients
from vlx.probes.probe import Context, Probe
from vlx.protocol.powers import Sees, lacking, powers_of


def guided(context: Context) -> Sequence[Array]:
    """Guided Grad-CAM of each target on the prepared picture, [3, H', W'] each, signed, in score × gradient.

    Raises InputError for a task whose vision part has no graph back to the picture.
    """
    task, features = context.task, context.features
    if powers_of(task).meets is not None:
        raise InputError(
            f"{task.name} mixes text and picture before the map that it is explained at: Guided Grad-CAM has no way "
            "back to the pixels; leave guided=True out"
        )
    if (sees := powers_of(task).sees) is None:
        raise InputError(
            f"{task.name} has {lacking(task, Sees.see)}, which Guided Grad-CAM needs; leave guided=True out"
        )
    made: list[Array] = []
    for chunk in engine.chunks(features.A, context.targets):
        above = top_gradients(task, features.A, chunk, features.rest, "guided")
        carried = pixel_gradients(sees, task.place(context.shown.inputs[None]), above, "guided")
        signed = torch.from_numpy(context.maps[len(made) : len(made) + len(chunk)])
        product = guided_gradcam(signed.to(carried.values), features.grid, carried.values)
        made += list(product.float().cpu().numpy())
    return made


GUIDED = Probe("guided", lambda context: context.options.guided, guided)
