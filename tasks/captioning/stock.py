"""A CNN and a decoder called as in their own code, for the self-test: nothing of the adapter is in it."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def said(
    cnn: Callable[[Tensor], Tensor], decoder: Any, pictures: Tensor, start: int, longest: int
) -> tuple[tuple[int, ...], Tensor]:
    """The likeliest next word of one picture [1, C, H, W], ``longest`` times, and the logits [longest, V] of each."""
    state, tokens, rows = decoder.start(cnn(pictures)), [start], []
    for _ in range(longest):
        output, state = decoder.step(torch.tensor(tokens[-1:], device=pictures.device), state)
        rows.append(decoder.logits(output) if hasattr(decoder, "logits") else output)
        tokens.append(int(rows[-1].argmax()))
    return tuple(tokens[1:]), torch.cat(rows)
