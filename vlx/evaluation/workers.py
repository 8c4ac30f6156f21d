"""One evaluation over several processes, each with the model of its own; results come in the order of one."""

import pickle
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from vlx.errors import InputError, ModelError
from vlx.evaluation.batches import MeasuredBatch
from vlx.evaluation.measuring import Measuring
from vlx.language import shortened

AHEAD = 2  # batches a process that are handed out before they are asked for
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
    context = torch.multiprocessing.get_context("spawn")
    count = min(workers, len(batches))
    with ProcessPoolExecutor(count, context, _begin, (packed,)) as pool:
        waiting: deque[Future[MeasuredBatch]] = deque()
        try:
            for batch in batches:  # no more at once than there is room for: what came of them is kept until its turn
                waiting.append(pool.submit(_measure, batch))
                if len(waiting) > AHEAD * count:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool:
            raise ModelError(
                f"workers={workers}: a process ended by itself, for want of memory or since a script that measures has "
                'no `if __name__ == "__main__":`; go on by --resume, with fewer workers'
            ) from None
        finally:
            for one in waiting:
                one.cancel()


def _begin(packed: bytes) -> None:
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is its parent's
    torch.set_num_threads(1)
    setting, metrics = pickle.loads(packed)
    _MEASURING[:] = [Measuring(setting, metrics)]


def _measure(numbers: Sequence[int]) -> MeasuredBatch:
    return _MEASURING[0].measure(numbers)
