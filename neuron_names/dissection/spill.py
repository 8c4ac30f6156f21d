"""Maps set aside in the first pass, so that the second need not run the model again."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vlx.neuron_names.dissection.thresholds import TopValues

LEAD = 0.2  # share of its size by which a threshold may fall below the one that a part of the pictures gives


class Spill:
    """Keeps, for every batch, the maps of the units that may exceed their thresholds there, in files of ``path``.

    The floor of a unit is the threshold of the pictures seen so far, less a lead. Where a unit's threshold falls below
    the floor of a batch in the end, that batch is read from the model again: the counts are the same in any case.
    Without a path nothing is kept.
    """

    def __init__(self, path: str | Path | None) -> None:
        self.path = None if path is None else Path(path)
        if self.path is not None:
            self.path.mkdir(parents=True, exist_ok=True)

    def add(self, layer: str, number: int, A: Tensor, top: TopValues) -> None:
        """Keep what may matter of the maps [N, K, h, w] of batch ``number``."""
        if self.path is None:
            return
        guess = top.floor()
        floor = guess - LEAD * guess.abs()
        floor = floor.nan_to_num(-torch.inf, neginf=-torch.inf)
        pairs = A.float().amax((2, 3)) > floor
        np.savez(
            self._file(layer, number),
            shape=np.array(A.shape),
            floor=floor.cpu().numpy(),
            pairs=np.packbits(pairs.cpu().numpy()),
            maps=A.float()[pairs].cpu().numpy(),
        )

    def read(self, layer: str, number: int, T: Tensor | None) -> Tensor | None:
        """The maps of a batch, 0 where they do not matter to ``T`` [Q, K]; None when they are not all there."""
        if self.path is None or T is None or not self._file(layer, number).is_file():
            return None
        with np.load(self._file(layer, number), allow_pickle=False) as kept:
            shape, floor = tuple(int(side) for side in kept["shape"]), torch.from_numpy(kept["floor"]).to(T.device)
            if (floor > T[-1]).any():
                return None
            pairs = np.unpackbits(kept["pairs"], count=shape[0] * shape[1]).astype(bool).reshape(shape[:2])
            A = torch.full(shape, -torch.inf)
            A[torch.from_numpy(pairs)] = torch.from_numpy(kept["maps"])
        return A.to(T.device)

    def remove(self) -> None:
        """The work is done."""
        if self.path is not None:
            for file in self.path.glob("spill-*.npz"):
                file.unlink()

    def _file(self, layer: str, number: int) -> Path:
        assert self.path is not None
        return self.path / f"spill-{layer.replace('/', '_')}-{number}.npz"
