"""Warnings of others that are answered in vlx's own way, left out without a trace in other threads of vlx."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock

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
