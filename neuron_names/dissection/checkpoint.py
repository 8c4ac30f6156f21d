"""A dissection on disk, so that it can go on after it was stopped; no pickle."""

import json
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np

from vlx import hdf5
from vlx.errors import InputError
from vlx.files import require_place

LARGEST = 2**36  # bytes: what the values kept for the thresholds of many units may take
EVERY = 30.0  # seconds between two savings

State = dict[str, Any]  # arrays by name, and "done", "phase": numbers


class Checkpoint:
    """What was counted so far, in one HDF5 file; ``settings`` tell one dissection from another.

    Without a path nothing is kept. Raises OutputError for one where nothing can be put.
    """

    def __init__(self, path: Path | None, settings: dict[str, Any]) -> None:
        self.path, self._settings = path, json.dumps(settings, sort_keys=True)
        self._saved = monotonic()
        if self.path is not None:
            require_place(self.path)

    def load(self) -> State | None:
        """What was saved, or None; raises InputError for a file of another dissection, or that is none."""
        if self.path is None or not self.path.exists():
            return None
        try:
            with hdf5.reading(self.path, "dissection", (), most=None, largest=LARGEST) as file:
                settings = hdf5.text(file["settings"])
                state = {name: _read(part) for name, part in _parts(file)}
        except InputError as error:
            raise InputError(
                f"{self.path} is no dissection to go on with; delete it to start anew ({error})"[:290]
            ) from error
        if settings != self._settings:
            raise InputError(
                f"{self.path} was begun with another model, other pictures or other settings; delete it to start anew"
            )
        return state

    def due(self) -> bool:
        """Whether it is time to save again."""
        return self.path is not None and monotonic() - self._saved >= EVERY

    def save(self, state: State) -> None:
        """Write the state, whole or not at all."""
        if self.path is None:
            return
        hdf5.write(self.path, lambda file: _fill(file, {"settings": self._settings, **state}))
        self._saved = monotonic()

    def remove(self) -> None:
        """The work is done and saved elsewhere."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def _fill(file: Any, state: State) -> None:
    for name, value in state.items():
        array = np.asarray(value)
        file[name] = array.astype(object).tolist() if array.dtype.kind == "U" else array


def _parts(group: Any) -> Iterator[tuple[str, Any]]:
    """The arrays in a group and in the groups in it, by their whole names."""
    for name, part in group.items():
        if hasattr(part, "shape"):
            yield name, part
        else:
            yield from ((f"{name}/{inner}", one) for inner, one in _parts(part))


def _read(part: Any) -> Any:
    if part.dtype.kind != "O":
        return np.asarray(part[()])
    return np.array(hdf5.texts(part) if part.ndim else hdf5.text(part))
