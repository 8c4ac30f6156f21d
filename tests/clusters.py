"""What the workers of the tests' cluster do: they import it by its name."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import vlx
from vlx.cli import running
from vlx.errors import Failure
from vlx.folder import Item
from vlx.protocol.task import Task

Explained = Callable[[Sequence[Item]], Iterator[vlx.Explanation | Failure]]


def deadly(task: Task, marks: Path, always: bool = False) -> Explained:
    """Explains; a picture named deadly kills the worker, once or ``always``. Every try leaves a file in ``marks``."""
    plain = running.explained(task, (), {}, keep=True)

    def explained(items: Sequence[Item]) -> Iterator[vlx.Explanation | Failure]:
        for item in items:
            first = not any(marks.glob("deadly*"))
            (marks / f"{Path(item.path).stem}-{os.getpid()}").touch()
            if "deadly" in item.path and (first or always):
                os.kill(os.getpid(), 9)
            yield from plain([item])

    return explained
