"""A dissection on disk, so that it can go on after it was stopped; no pickle."""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlx.errors import InputError
from vlx.files import hdf5
from vlx.files.whole import require_place

LARGEST = 2**36  # bytes: what the values kept for the thresholds of many units may take
EVERY = 30.0  # seconds between two savings

State = dict[str, Any]  # arrays by name, and "done", "phase": numbers


class Checkpoint:
    """What was counted so far, in one HDF5 file; ``settings`` tell one dissection from another.

    It stays when all is counted: whoever saves the table removes it, afterwards. Without a path nothing is kept. Raises
    OutputError for one where nothing can be put.
    """

    def __init__(self, path: Path | None, settings: dict[str, Any]) -> None:
        self.path, self.settings = path, json.dumps(settings, sort_keys=True)
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
        if settings != self.settings:
            raise InputError(
                f"{self.path} was begun with another model, other pictures or other settings; delete it to start anew"
            )
        return state

    def over(self, items: Iterable[int], state: Callable[[int], State]) -> Iterator[int]:
        """The items one after the other, saving ``state(item)`` behind one every `EVERY` seconds.

        Also when getting the next one is interrupted: that is the place where no work is half done.
        """
        left, done = iter(items), None
        while True:
            try:
                item = next(left, None)
            except KeyboardInterrupt:
                if done is not None:
                    self.save(partial(state, done))
                raise
            if item is None:
                return
            yield item
            done = item
            if monotonic() - self._saved >= EVERY:
                self.save(partial(state, done))

    def save(self, state: Callable[[], State]) -> None:
        """Write what ``state()`` gives, whole or not at all; it is not asked where nothing is kept."""
        if self.path is None:
            return
        arrays = state()
        hdf5.write(self.path, lambda file: _fill(file, {"settings": self.settings, **arrays}))
        self._saved = monotonic()

    @contextmanager
    def taken_up(self) -> Iterator[None]:
        """Around taking up a loaded state: what does not fit is an InputError that names the file and the remedy."""
        try:
            yield
        except Exception as error:  # whatever an array raises that is not there, or of another shape
            reason = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
            raise InputError(f"{self.path} cannot be gone on with: {reason[:150]}; delete it to start anew") from error


def fitting(state: State, name: str, kind: str, *shape: int | None) -> NDArray[Any]:
    """An array of a state, of a numpy dtype and shape (None: any size); raises InputError for another."""
    array: NDArray[Any] = state[name]
    fits = array.ndim == len(shape) and all(
        side in (None, length) for side, length in zip(shape, array.shape, strict=True)
    )
    if not fits or array.dtype != np.dtype(kind):
        raise InputError(f"its {name} is {array.dtype} {array.shape}, not {kind} {shape}")
    return array


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
