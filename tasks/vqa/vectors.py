"""Questions that are vectors (a bag of words, an embedding, a one-hot), as the whole numbers of a target's text."""

import struct
from collections.abc import Sequence

import torch
from torch import Tensor

from vlx.errors import InputError

MARK = -1  # no token id: what follows are the bits of float64 numbers


def packed_vector(vector: Tensor) -> tuple[int, ...]:
    """A vector [Q] as a target's ``tokens``; `unpacked_vectors` gives the very numbers back."""
    values = vector.double().tolist()
    return (MARK, *struct.unpack(f"<{len(values)}q", struct.pack(f"<{len(values)}d", *values)))


def is_vector(tokens: Sequence[int]) -> bool:
    """Whether a target's ``tokens`` are a vector."""
    return tokens[:1] == (MARK,)


def unpacked_vectors(questions: Sequence[tuple[int, ...]], like: Tensor) -> tuple[Tensor, Tensor]:
    """Vectors [N, Q] in the dtype and on the device of ``like``, and their lengths [N], all Q.

    Raises InputError where one is of another length, or is no vector.
    """
    sizes = {len(tokens) - 1 if is_vector(tokens) else -1 for tokens in questions}
    if len(sizes) > 1:
        told = " and ".join("a row of tokens" if size < 0 else f"{size} numbers" for size in sorted(sizes))
        raise InputError(f"questions asked together are {told}; tokenize must give vectors of one length")
    size = sizes.pop()
    rows = [struct.unpack(f"<{size}d", struct.pack(f"<{size}q", *tokens[1:])) for tokens in questions]
    vectors = torch.tensor(rows, dtype=torch.float64).to(like.device, like.dtype)
    return vectors, torch.full((len(rows),), size, device=like.device)
