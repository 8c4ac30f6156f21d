"""One evaluation over several processes, each with the model of its own; results come in the order of one."""

import pickle
from collections.abc import Iterator, Sequence
from typing import Any

from vlx.errors import InputError
from vlx.evaluation.batches import MeasuredBatch
from vlx.evaluation.measuring import Measuring
from vlx.language import shortened

_MEASURING: list[Measuring] = []  # what this process measures


def measured_by(measuring: Measuring, batches: Sequence[Sequence[int]], workers: int) -> Iterator[MeasuredBatch]:
    """What comes of some batches, measured by so many processes; each uses one thread of its own.

    Raises InputError for a task, data or metrics that no other process can be given.
    """
    import torch.multiprocessing

    try:
        packed = pickle.dumps((measuring.setting, measuring.metrics))
    except Exception as error:
        raise InputError(
            f"workers={workers}: the task, its data or a metric cannot be given to another process "
            f"({shortened(str(error), 120)}); take workers=1, or functions of a module in place of lambdas"
        ) from None
    context: Any = torch.multiprocessing.get_context("spawn")
    with context.Pool(min(workers, len(batches)), _begin, (packed,)) as pool:
        yield from pool.imap(_measure, batches)


def _begin(packed: bytes) -> None:
    import torch

    torch.set_num_threads(1)
    setting, metrics = pickle.loads(packed)
    _MEASURING[:] = [Measuring(setting, metrics)]


def _measure(numbers: Sequence[int]) -> MeasuredBatch:
    return _MEASURING[0].measure(numbers)
