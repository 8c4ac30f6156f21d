"""What is measured once for a task and kept while the task lives."""

from collections.abc import Callable, Hashable
from typing import Any, TypeVar, cast
from weakref import finalize

T = TypeVar("T")


class Kept:
    """One dict for each task, gone with the task. Tasks need not be hashable; those that die unseen keep nothing."""

    def __init__(self) -> None:
        self._dicts: dict[int, dict[Any, Any]] = {}

    def of(self, task: Any) -> dict[Any, Any]:
        """The dict that belongs to ``task``."""
        number = id(task)
        if number not in self._dicts:
            try:
                finalize(task, self._dicts.pop, number, None)
            except TypeError:  # no weak references to it: its number may be given away unnoticed
                return {}
            self._dicts[number] = {}
        return self._dicts[number]


class Latest:
    """What was made of the last thing at hand, for the next question about the very same one."""

    def __init__(self) -> None:
        self._made: dict[str, tuple[Any, Hashable, Any]] = {}

    def of(self, source: Any, version: Hashable, what: str, make: Callable[[], T]) -> T:
        """What ``make`` gives; of the same ``source`` and ``version`` as last time what it gave then."""
        known, then, made = self._made.get(what, (None, None, None))
        if known is not source or then != version:
            made = make()
            self._made[what] = source, version, made
        return cast(T, made)
