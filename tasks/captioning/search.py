"""Generating captions: greedy search for a batch, beam search for one picture."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from vlx.tasks.captioning.unroll import Decoder, device_of, logits_of, take


@dataclass(frozen=True, eq=False)
class Generated:
    """A generated caption: ``tokens`` without START and END, and the log-probabilities [T or T + 1, V] of each step.

    The last row is that of END, when the caption was ended by it.
    """

    tokens: tuple[int, ...]
    logprobs: Tensor = field(repr=False)


def greedy(decoder: Decoder, state: Any, rows: int, start: int, end: int | None, longest: int) -> list[Generated]:
    """The likeliest next word at every step, for a state with ``rows`` rows, until END or ``longest`` words."""
    tokens = torch.full((rows,), start, device=device_of(state))
    ended = torch.zeros(rows, dtype=torch.bool, device=tokens.device)
    steps: list[Tensor] = []
    chosen: list[Tensor] = []
    while len(steps) < longest and not ended.all():
        hidden, state = decoder.step(tokens, state)
        logprobs = logits_of(decoder, hidden).log_softmax(-1)
        tokens = logprobs.argmax(-1)
        steps.append(logprobs)
        chosen.append(tokens)
        if end is not None:
            ended = ended | (tokens == end)
    table, logprobs = torch.stack(chosen, 1).tolist(), torch.stack(steps, 1)
    lengths = [row.index(end) if end is not None and end in row else len(row) for row in table]
    return [
        Generated(tuple(row[:n]), logprobs[i, : n + 1]) for i, (row, n) in enumerate(zip(table, lengths, strict=True))
    ]


@dataclass(frozen=True, eq=False)
class _Hypothesis:
    score: float
    tokens: tuple[int, ...]
    logprobs: tuple[Tensor, ...]


def beam(decoder: Decoder, state: Any, start: int, end: int | None, longest: int, beams: int) -> Generated:
    """The best of ``beams`` hypotheses by total log-probability, END included; ``state`` has one row.

    END counts when it is among the ``beams`` best continuations. No length normalisation, as in NeuralTalk.
    Stops when no live hypothesis can overtake the best finished one.
    """
    live, finished = [_Hypothesis(0.0, (), ())], list[_Hypothesis]()
    device = device_of(state)
    for _ in range(longest):
        last = torch.tensor(
            [hypothesis.tokens[-1] if hypothesis.tokens else start for hypothesis in live], device=device
        )
        hidden, state = decoder.step(last, state)
        logprobs = logits_of(decoder, hidden).log_softmax(-1)
        total = logprobs + torch.tensor([hypothesis.score for hypothesis in live], device=device).to(logprobs)[:, None]
        best = total.flatten().topk(min(2 * beams, total.numel()))
        live, ended, rows = _grow(live, logprobs, best, end, beams)
        finished += ended
        if not live or (finished and max(h.score for h in finished) >= max(h.score for h in live)):
            break
        state = take(state, rows)
    winner = max((*finished, *live), key=lambda hypothesis: hypothesis.score)
    return Generated(winner.tokens, torch.stack(winner.logprobs))


def _grow(
    live: list[_Hypothesis], logprobs: Tensor, best: Any, end: int | None, beams: int
) -> tuple[list[_Hypothesis], list[_Hypothesis], list[int]]:
    grown: list[_Hypothesis] = []
    ended: list[_Hypothesis] = []
    rows: list[int] = []
    for rank, (score, place) in enumerate(zip(best.values.tolist(), best.indices.tolist(), strict=True)):
        row, token = divmod(place, logprobs.shape[1])
        parent = live[row]
        if token == end:
            if rank < beams:
                ended.append(_Hypothesis(score, parent.tokens, (*parent.logprobs, logprobs[row])))
        elif len(grown) < beams:
            grown.append(_Hypothesis(score, (*parent.tokens, token), (*parent.logprobs, logprobs[row])))
            rows.append(row)
    return grown, ended, rows
