"""Running a decoder: one step at a time, over forced text, and over many texts of different lengths at once."""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from vlx.protocol.nested import nested, tensors

HALVES = (torch.float16, torch.bfloat16)


class Decoder(Protocol):
    """What a captioner's language part must offer; ``logits`` and ``unroll`` are optional.

    A state is nested tensors whose first dimension is B. A decoder without ``logits`` returns [B, V] logits from
    ``step``. ``unroll(tokens [B, T], state) → hidden [B, T, H]`` may replace T calls of ``step``.
    """

    def start(self, A: Tensor) -> Any:
        """A [B, K, h, w] → state, before START is read."""
        ...

    def step(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Tokens [B] and state → (hidden [B, H] or logits [B, V], state)."""
        ...


def logits_of(decoder: Decoder, hidden: Tensor) -> Tensor:
    """Hidden states [N, H] → logits [N, V], at least float32: in halves 1 − p is lost where p is near 1."""
    result = given_logits(decoder, hidden)
    return result.float() if result.dtype in HALVES else result


def given_logits(decoder: Decoder, hidden: Tensor) -> Tensor:
    """Hidden states [N, H] → what the decoder gives as logits [N, V], in its own precision."""
    output = getattr(decoder, "logits", None)
    result: Tensor = hidden if output is None else output(hidden)
    return result


def take(state: Any, rows: Sequence[int] | slice) -> Any:
    """The given rows of a state, in that order."""
    return nested(lambda tensor: tensor[rows], state)


def hidden_states(
    decoder: Decoder, state: Any, texts: Sequence[Sequence[int]], pairs: Sequence[tuple[int, int]]
) -> Tensor:
    """Hidden states [P, H] for P pairs (number of the text, step), each text forced upon the decoder.

    ``texts[n]`` begins with START: its token s is what the decoder reads at step s. ``state`` has one row a text.
    """
    lengths = [0] * len(texts)
    for number, step in pairs:
        lengths[number] = max(lengths[number], step + 1)
    unroll = getattr(decoder, "unroll", None)
    tokens = _padded(texts, lengths, device_of(state))
    if unroll is not None:
        whole: Tensor = unroll(tokens, state)
        return whole[[n for n, _ in pairs], [step for _, step in pairs]]
    return _stepped(decoder, state, tokens, lengths, pairs)


def _stepped(
    decoder: Decoder, state: Any, tokens: Tensor, lengths: Sequence[int], pairs: Sequence[tuple[int, int]]
) -> Tensor:
    """Longest texts first, so that texts which have ended drop off the end of the batch."""
    order = sorted(range(len(lengths)), key=lambda n: -lengths[n])
    place = {number: row for row, number in enumerate(order)}
    if order != list(range(len(order))):
        state, tokens = take(state, order), tokens[order]
    by_step: list[Tensor] = []
    active = len(order)
    for step in range(max(lengths)):
        going = sum(length > step for length in lengths)
        if going < active:
            state, active = take(state, slice(going)), going
        hidden, state = decoder.step(tokens[:active, step], state)
        by_step.append(hidden)
    return torch.stack([by_step[step][place[number]] for number, step in pairs])


def _padded(texts: Sequence[Sequence[int]], lengths: Sequence[int], device: torch.device | None) -> Tensor:
    table = torch.zeros(len(texts), max(lengths), dtype=torch.long)
    for row, text, length in zip(table, texts, lengths, strict=True):
        row[:length] = torch.tensor(text[:length])
    return table.to(device)


def device_of(state: Any) -> torch.device | None:
    """Where a state lies; None when it holds no tensor."""
    return next((tensor.device for tensor in tensors(state)), None)
