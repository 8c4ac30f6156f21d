"""The share of a dissection that a worker process does, of one that another process began."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import nn

from vlx.data import Told, open_data
from vlx.data.example import with_concepts
from vlx.neuron_names.dissection import shares
from vlx.neuron_names.dissection.checkpoint import Checkpoint, State
from vlx.neuron_names.dissection.options import DissectOptions
from vlx.neuron_names.dissection.pictures import BLOCK
from vlx.neuron_names.dissection.run import begun
from vlx.neuron_names.dissection.words import begun as begun_by_captions
from vlx.protocol.task import Task


def work(
    task: Task,
    dataset: str,
    layers: Mapping[str, nn.Module] | None,
    options: Mapping[str, Any],
    phase: str,
    settings: str,
    state: State,
) -> Callable[[range], State]:
    """A share → what is counted in it; the arguments are those of `dissect_layers` and of `shares.DissectionWorkers`.

    Raises InputError where the model, the pictures or an option are not those of ``settings``.
    """
    data = open_data(dataset)
    if isinstance(data, Told):
        peaks, settings_here = begun_by_captions(task, data, layers, DissectOptions.of(options))
        shares.same(settings_here, settings)
        return lambda share: peaks.find(share.start * BLOCK)
    passes, settings_here = begun(task, with_concepts(data), layers, DissectOptions.of(options))
    shares.same(settings_here, settings)
    if phase == "masks":
        passes.restore(state, Checkpoint(None, settings_here))
    return partial(shares.count if phase == "masks" else shares.find, passes)
