"""A dissection on disk, so that it can go on after it was stopped; no pickle."""

import json
import os
from pathlib import Path
from time import monotonic
from typing import Any
from zipfile import BadZipFile

import numpy as np

from vlx.errors import InputError
from vlx.files import require_place

EVERY = 30.0  # seconds between two savings

State = dict[str, Any]  # arrays by name, and "done", "phase": numbers


class Checkpoint:
    """What was counted so far, in one .npz file; ``settings`` tell one dissection from another.

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
            with np.load(self.path, allow_pickle=False) as file:
                state = {name: file[name] for name in file.files}
        except (OSError, ValueError, BadZipFile, EOFError, KeyError):  # numpy would advise to unpickle it
            raise InputError(f"{self.path} is no dissection to go on with; delete it to start anew") from None
        if str(state.pop("settings", "")) != self._settings:
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
        partial = self.path.with_name(self.path.name + ".partial")
        with partial.open("wb") as file:
            np.savez(file, settings=np.array(self._settings), **state)
        os.replace(partial, self.path)
        self._saved = monotonic()

    def remove(self) -> None:
        """The work is done and saved elsewhere."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
