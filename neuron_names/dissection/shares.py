"""One dissection shared among processes: what they find of some batches each adds up to what one finds, to the bit.

Thresholds are the largest values of all pictures, and those are among the largest of each share; counts are whole
numbers; sums and peaks are taken in picture by picture, in the order of the batches.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch

from vlx.errors import InputError
from vlx.neuron_names.dissection.checkpoint import Checkpoint, State
from vlx.neuron_names.dissection.passes import TOTALS, Counting, Passes, refuse_nan
from vlx.neuron_names.dissection.peaks import Peaks
from vlx.neuron_names.dissection.pictures import BLOCK
from vlx.neuron_names.dissection.thresholds import TopValues

SHARES_PER_WORKER = 4  # of every worker and pass, at least: the last ones should end together
LARGEST = 1 << 27  # bytes of the maps of a share's pictures: what a share of the first pass can send


class DissectionWorkers(Protocol):
    """Processes that work on a dissection: told the pass ("thresholds", "masks", "peaks"), the settings as JSON and a
    state that goes with them, they give what `find`, `count` or `Peaks.find` gives of each share, in order.
    """

    @property
    def workers(self) -> int:
        """How many there are."""
        ...

    def __call__(self, phase: str, settings: str, state: State, shares: Sequence[range]) -> Iterator[State]:
        """Raises InputError where a process has another model or other pictures."""
        ...


def share(passes: Passes, kept: Checkpoint, elsewhere: DissectionWorkers) -> None:
    """As `Passes.go`, with the work done elsewhere and added up here."""
    state, phase, done = kept.load(), "thresholds", 0
    if state is None:
        passes.maps(passes.pictures.read(passes.pictures.batches[0]))  # the layers are known from it
    else:
        phase, done = passes.restore(state, kept)
    if phase == "thresholds":
        _over(passes, kept, elsewhere, phase, done, take)
        passes.settle(kept)
        done = 0
    _over(passes, kept, elsewhere, "masks", done, add)
    kept.save(lambda: passes.state("masks", len(passes.pictures.batches)))


def share_peaks(peaks: Peaks, kept: Checkpoint, elsewhere: DissectionWorkers) -> None:
    """As `Peaks.go`, with the work done elsewhere and added up here."""
    state, first = kept.load(), 0
    if state is not None:
        first = peaks.restore(state, kept)
    shares = [range(start, start + 1) for start in range(-(-first // BLOCK), -(-len(peaks.data) // BLOCK))]
    arriving = _Arriving(elsewhere("peaks", kept.settings, {}, shares), len(shares), peaks.data.name)
    numbers = peaks.progress(range(len(shares)), "peaks")
    for _ in kept.over(arriving.along(numbers), lambda number: peaks.state(shares[number].stop * BLOCK)):
        peaks.add(arriving.last)
    peaks.end(kept)


# What a process does with a share


def find(passes: Passes, batches: range) -> State:
    """The first pass over some batches: by layer the ``kept`` values, of every picture its ``sums`` and ``peaks``."""
    tops: dict[str, TopValues] = {}
    sums: dict[str, list[torch.Tensor]] = {}
    peaks: dict[str, list[torch.Tensor]] = {}
    for number in batches:
        for name, A in passes.maps(passes.pictures.read(passes.pictures.batches[number])).items():
            peaks.setdefault(name, []).append(highest := A.float().amax((2, 3)))
            sums.setdefault(name, []).append(A.float().sum((2, 3)).double())
            if name not in tops:
                tops[name] = passes.top(A)
            tops[name].add(A, highest)
    state = _hashes(passes, batches)
    for n, name in enumerate(passes.layers):
        parts = {"kept": tops[name].kept(), "sums": torch.cat(sums[name]), "peaks": torch.cat(peaks[name])}
        state |= {f"{n}/{part}": value.cpu().numpy() for part, value in parts.items()}
    return state


def count(passes: Passes, batches: range) -> State:
    """The second pass over some batches: counts of masks and labels."""
    for name in TOTALS:
        getattr(passes, name)[...] = 0
    for layer in passes.layers.values():
        layer.counts = {}
    counting = Counting(passes)
    for number in batches:
        passes.count(number, counting)
    counting.gather()
    state = {name: getattr(passes, name).copy() for name in TOTALS} | _hashes(passes, batches)
    for n, layer in enumerate(passes.layers.values()):
        state |= {f"{n}/{name}": value for name, value in layer.counts.items()}
    return state


# What is done with what they found


def take(passes: Passes, batches: range, state: State) -> None:
    """Add what `find` found of these ``batches``, which follow those that were taken before."""
    numbers = _numbers(passes, batches)
    passes.pictures.contents.gather(numbers, state["hashes"])
    for n, (name, layer) in enumerate(passes.layers.items()):
        kept, sums, peaks = (
            torch.from_numpy(state[f"{n}/{part}"]).to(layer.sums.device) for part in ("kept", "sums", "peaks")
        )
        layer.top.merge(kept)
        layer.rank(sums, peaks, numbers)
        refuse_nan(passes.see.task.name, name, layer.sums)


def add(passes: Passes, batches: range, state: State) -> None:
    """Add what `count` counted of these ``batches``."""
    passes.pictures.contents.gather(_numbers(passes, batches), state["hashes"])
    passes.truth += state["truth"]
    passes.area += state["area"]
    passes.overlaps |= state["overlaps"]
    for n, layer in enumerate(passes.layers.values()):
        for name in ("intersection", "activation"):
            before = layer.counts.get(name)
            layer.counts[name] = state[f"{n}/{name}"] if before is None else before + state[f"{n}/{name}"]


class _Arriving:
    """What arrives of each share, one at a time; raises InputError where one is lost."""

    def __init__(self, states: Iterator[State], count: int, name: str) -> None:
        self._states, self._count, self._name = states, count, name
        self.last: State = {}

    def along(self, numbers: Any) -> Iterator[int]:
        """The numbers, each when its share has arrived and is the `last`."""
        for arrived, number in enumerate(numbers):
            state = next(self._states, None)
            if state is None:
                raise InputError(
                    f"{self._name}: {self._count - arrived} of {self._count} shares are missing, as their workers died "
                    "(out of memory?); the same command goes on, with --batch-size smaller or fewer --workers"
                )
            self.last = state
            yield number


def _over(
    passes: Passes,
    kept: Checkpoint,
    elsewhere: DissectionWorkers,
    phase: str,
    done: int,
    take_in: Callable[[Passes, range, State], None],
) -> None:
    shares = _cut(passes, done, elsewhere.workers)
    state = passes.state("masks", 0) if phase == "masks" else {}
    if state:  # no process need look at all pictures again
        state["hashes"] = np.zeros_like(state["hashes"])
    arriving = _Arriving(elsewhere(phase, kept.settings, state, shares), len(shares), passes.pictures.data.name)
    numbers = arriving.along(passes.progress(range(len(shares)), phase))
    for number in kept.over(numbers, lambda number: passes.state(phase, shares[number].stop)):
        take_in(passes, shares[number], arriving.last)


def _cut(passes: Passes, done: int, workers: int) -> list[range]:
    batches = passes.pictures.batches
    sizes = [len(layer.sums) * layer.grid.shape[0] * layer.grid.shape[1] for layer in passes.layers.values()]
    fitting = LARGEST // (4 * sum(sizes) * len(batches[0].numbers))
    size = max(1, min(fitting, -(-(len(batches) - done) // (SHARES_PER_WORKER * workers))))
    return [range(first, min(first + size, len(batches))) for first in range(done, len(batches), size)]


def _numbers(passes: Passes, batches: range) -> list[int]:
    return [number for batch in batches for number in passes.pictures.batches[batch].numbers]


def _hashes(passes: Passes, batches: range) -> State:
    return {"hashes": passes.pictures.contents.hashes[_numbers(passes, batches)]}


def same(ours: dict[str, Any], settings: str) -> None:
    """Raises InputError where a process would dissect something else."""
    theirs = json.loads(settings)
    differ = [name for name in theirs if json.loads(json.dumps(ours.get(name))) != theirs[name]]
    if differ:
        raise InputError(f"a worker has other {', '.join(differ)}; give all machines the same files")
