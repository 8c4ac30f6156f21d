"""What is measured once for a task and kept while the task lives."""

from typing import Any
from weakref import finalize


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
