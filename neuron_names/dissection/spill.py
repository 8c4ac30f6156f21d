"""Maps set aside in the first pass, so that the second need not run the model again."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vlx.errors import InputError, OutputError
from vlx.files import hdf5
from vlx.neuron_names.dissection.checkpoint import LARGEST


class Spill:
    """Keeps, for every batch, the maps of the units that may exceed their thresholds there, in files of ``path``.

    A map matters when its maximum exceeds the lowest of the values kept for the threshold so far: the threshold can
    only rise above that, so nothing is ever missing. ``settings`` tell one dissection's files from another's. Without a
    path nothing is kept.
    """

    def __init__(self, path: str | Path | None, settings: dict[str, Any]) -> None:
        self.path = None if path is None else Path(path)
        self._own = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
        if self.path is not None:
            try:
                self.path.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise OutputError(f"spill={self.path}: no folder can be made there ({error.strerror})") from None

    def add(self, layer: int, batch: int, A: Tensor, matters: Tensor) -> None:
        """Keep those of the maps [N, K, h, w] of a batch that ``matters`` [N, K] names."""
        if self.path is None:
            return
        kept = {"shape": np.array(A.shape), "pairs": np.packbits(matters.cpu().numpy())}
        kept["maps"] = A[matters].float().cpu().numpy()
        hdf5.write(self._file(layer, batch), lambda file: file.update(kept))

    def read(self, layer: int, batch: int, device: torch.device) -> Tensor | None:
        """The maps of a batch, −∞ where they do not matter; None when they are not there."""
        if self.path is None:
            return None
        try:
            with hdf5.reading(self._file(layer, batch), "maps set aside", (), most=None, largest=LARGEST) as kept:
                shape, maps = tuple(int(side) for side in kept["shape"]), kept["maps"][()]
                pairs = np.unpackbits(kept["pairs"][()], count=shape[0] * shape[1]).astype(bool).reshape(shape[:2])
        except InputError:  # never written, or broken: the model can be run
            return None
        A = torch.full(shape, -torch.inf)
        A[torch.from_numpy(pairs)] = torch.from_numpy(maps)
        return A.to(device)

    def remove(self) -> None:
        """The work is done: delete its files."""
        if self.path is not None:
            for file in self.path.glob(f"spill-{self._own}-*"):
                file.unlink(missing_ok=True)

    def _file(self, layer: int, batch: int) -> Path:
        assert self.path is not None
        return self.path / f"spill-{self._own}-{layer}-{batch}.h5"
