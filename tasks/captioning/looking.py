"""How a decoder with attention of its own weighed the cells of A when it said a word."""

from collections.abc import Sequence

import torch
from torch import Tensor

from vlx.protocol.task import Features
from vlx.tasks.captioning.captioner import CnnLstmCaptioner
from vlx.tasks.captioning.unroll import device_of

TOLERANCE = 1e-3


def looked(task: CnnLstmCaptioner, features: Features, tokens: Sequence[int]) -> Tensor | None:
    """The weights of the cells at every step of a forced text about one picture, [T, h, w]; each adds up to 1.

    None for a decoder whose state does not end in such weights, [B, h · w], as attention decoders' states do here.
    """
    h, w = features.A.shape[2:]
    found = []
    with torch.no_grad():
        state = task.begin(features.A, features.rest)
        device = device_of(state)
        for token in (task.start, *tokens[:-1]):
            _, state = task.decoder.step(torch.tensor([token], device=device), state)
            last = state[-1] if isinstance(state, tuple | list) and state else None
            if not isinstance(last, Tensor) or not _weighs(last, h * w):
                return None
            found.append(last[0].reshape(h, w))
    return torch.stack(found) if found else None


def _weighs(last: Tensor, cells: int) -> bool:
    """Whether a part of the state is a share for every cell."""
    return tuple(last.shape) == (1, cells) and bool((last >= 0).all()) and abs(float(last.sum()) - 1) < TOLERANCE
