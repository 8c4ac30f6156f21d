"""A dissection over the workers of a cluster: batches go there, and what was counted in them comes back, in order."""

import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from vlx.cluster.mapping import Pool, Work, mapped

if TYPE_CHECKING:
    from torch import nn

    from vlx.protocol.task import Task

State = dict[str, Any]


@dataclass(frozen=True)
class Dissection:
    """What a worker dissects; all of it can be pickled, functions by their names.

    ``load`` makes the task, ``layers`` finds the modules of it, ``dataset`` names the pictures; ``options`` are the
    others of `vlx.neuron_names.dissection.run.dissect_layers` that the result depends on.
    """

    load: "Callable[[], Task]"
    layers: "Callable[[Task], Mapping[str, nn.Module] | None]"
    dataset: str
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Dissecting:
    """The `vlx.neuron_names.dissection.shares.DissectionWorkers` of a cluster."""

    dissection: Dissection
    pool: Pool

    @property
    def workers(self) -> int:
        """How many there are."""
        return self.pool.workers

    def __call__(self, phase: str, settings: str, state: State, shares: Sequence[range]) -> Iterator[State]:
        """What the workers find of each share, in order."""
        units = [json.dumps([share.start, share.stop]).encode() for share in shares]
        make = partial(_work, self.dissection, phase, settings, _packed(state))
        return map(_unpacked, mapped(units, make, self.pool, ordered=True)) if units else iter(())


def _work(dissection: Dissection, phase: str, settings: str, state: bytes) -> Work:
    from vlx.neuron_names.dissection.working import work

    task = dissection.load()
    layers = dissection.layers(task)
    find = work(task, dissection.dataset, layers, dissection.options, phase, settings, _unpacked(state))

    def worked(unit: bytes) -> Iterator[bytes]:
        yield _packed(find(range(*json.loads(unit))))

    return worked


def _packed(state: State) -> bytes:
    """Arrays as numpy writes them, without pickles; counts are mostly 0 and pack well."""
    held = io.BytesIO()
    np.savez_compressed(held, allow_pickle=False, **state)
    return held.getvalue()


def _unpacked(data: bytes) -> State:
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}
