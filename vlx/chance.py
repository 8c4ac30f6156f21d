"""Random state that belongs to the user: what Python, NumPy and torch would draw next."""

import random
from collections.abc import Iterator
from contextlib import contextmanager


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
