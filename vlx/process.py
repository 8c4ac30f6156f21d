"""A good guest in the user's process: its random state, its forks, its Ctrl-C and its warnings are left to it."""

import os
import random
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from types import FrameType


@contextmanager
def random_state_kept() -> Iterator[None]:
    """Leave the global generators of Python's ``random``, ``numpy.random`` and torch (CPU, CUDA) as they were.

    For code of others that seeds them, such as an import of spaCy; whatever it raises, they are put back.
    """
    import numpy as np
    import torch

    python, numpy_state, cpu = random.getstate(), np.random.get_state(legacy=False), torch.get_rng_state()
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy_state)
        torch.set_rng_state(cpu)
        if devices is not None:
            torch.cuda.set_rng_state_all(devices)


_known = os.getpid()  # the process in which torch was loaded


def settle() -> None:
    """In a process forked from the one that loaded vlx, let torch compute with one thread, as DataLoader's workers do.

    Else its first convolution may wait for ever for threads that are its parent's. With one thread sums may round
    otherwise than with several. Called before a model runs; it costs nothing in the process that loaded vlx.
    """
    global _known
    if os.getpid() != _known:
        _known = os.getpid()
        import torch

        torch.set_num_threads(1)


@contextmanager
def stoppable() -> Iterator[threading.Event]:
    """An event that the first SIGINT sets; the second one interrupts at once. Outside the main thread: never set.

    >>> with stoppable() as stop:
    ...     for item in items:
    ...         if stop.is_set():
    ...             break
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = signal.getsignal(signal.SIGINT)

    def asked(_number: int, _frame: FrameType | None) -> None:
        stop.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, asked)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


_filters = RLock()  # they belong to the process: two threads at once would put back each other's


@contextmanager
def ignoring(category: type[Warning] = Warning, message: str = "") -> Iterator[None]:
    """Without warnings of a category whose text begins as ``message``, a regular expression; one thread at a time.

    >>> with ignoring(SyntaxWarning):
    ...     ast.literal_eval(written)
    """
    with _filters, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message, category)
        yield
