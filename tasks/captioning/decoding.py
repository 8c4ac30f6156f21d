"""Running a decoder: step by step, over forced texts, in a search, and the steps of a trained recurrent layer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from vlx.errors import ModelError
from vlx.protocol.nested import nested, tensors

Memory = tuple[Tensor, Tensor]
STEPS = ("lstm_step", "gru_step", "rnn_step")
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


def lstm_step(lstm: nn.LSTM, inputs: Tensor, memory: Memory | None = None) -> Memory:
    """Inputs [B, E] and memory (hidden, cell), each [B, layers, H] → the next memory.

    The output [B, H] is ``memory[0][:, -1]``; without a memory it begins with zeros. These are the numbers of
    ``lstm(inputs[:, None])``, for a decoder's ``start`` and ``step``: the state has B first, and the backward leaves
    out the weights' gradients, which the fused ``nn.LSTM`` always computes. Raises ModelError for an LSTM that is
    bidirectional or projects, and for a memory whose axes are another way round.

    >>> class Decoder(nn.Module):  # self.words, self.lstm, self.output: the trained parts
    ...     def start(self, A): return lstm_step(self.lstm, self.picture(A.mean((2, 3))))
    ...     def step(self, tokens, state):
    ...         state = lstm_step(self.lstm, self.words(tokens), state)
    ...         return self.output(state[0][:, -1]), state
    """
    _check("lstm_step", "nn.LSTM", lstm, inputs, memory or ())
    if memory is None:
        zeros = inputs.new_zeros(len(inputs), lstm.num_layers, lstm.hidden_size)
        memory = zeros, zeros
    hidden, cell = [], []
    for layer, weights in enumerate(lstm.all_weights):
        inputs, kept = torch.lstm_cell(inputs, (memory[0][:, layer], memory[1][:, layer]), *weights)
        hidden.append(inputs)
        cell.append(kept)
    return torch.stack(hidden, 1), torch.stack(cell, 1)


def gru_step(gru: nn.GRU, inputs: Tensor, memory: Tensor | None = None) -> Tensor:
    """Inputs [B, E] and memory [B, layers, H] → the next memory, [B, layers, H]; `lstm_step`'s twin for an ``nn.GRU``.

    The output [B, H] is ``memory[:, -1]``; without a memory it begins with zeros. These are the numbers of
    ``gru(inputs[:, None])``. A state of one's own (the picture as hidden state, [layers, B, H]) enters turned:
    ``hidden.transpose(0, 1)``. Raises ModelError for a GRU that is bidirectional, and for a memory of another shape.
    """
    _check("gru_step", "nn.GRU", gru, inputs, () if memory is None else (memory,))
    return _stacked(torch.gru_cell, gru, inputs, memory)


def rnn_step(rnn: nn.RNN, inputs: Tensor, memory: Tensor | None = None) -> Tensor:
    """Inputs [B, E] and memory [B, layers, H] → the next memory, as `gru_step`, for a plain ``nn.RNN``, tanh or relu.

    Raises ModelError for one that is bidirectional, and for a memory of another shape.
    """
    _check("rnn_step", "nn.RNN", rnn, inputs, () if memory is None else (memory,))
    cell = torch.rnn_relu_cell if rnn.nonlinearity == "relu" else torch.rnn_tanh_cell
    return _stacked(cell, rnn, inputs, memory)


def _stacked(cell: Callable[..., Tensor], rnn: nn.RNNBase, inputs: Tensor, memory: Tensor | None) -> Tensor:
    if memory is None:
        memory = inputs.new_zeros(len(inputs), rnn.num_layers, rnn.hidden_size)
    hidden = []
    for layer, weights in enumerate(rnn.all_weights):
        inputs = cell(inputs, memory[:, layer], *weights)
        hidden.append(inputs)
    return torch.stack(hidden, 1)


def _check(step: str, kind: str, rnn: nn.RNNBase, inputs: Tensor, memory: Sequence[Tensor]) -> None:
    if f"nn.{rnn.mode.split('_')[0]}" != kind:
        raise ModelError(f"{step} takes an {kind}, got an nn.{type(rnn).__name__}; there are {', '.join(STEPS)}")
    if rnn.bidirectional or rnn.proj_size:
        raise ModelError(f"{step} takes an {kind} that runs forwards only and without proj_size")
    needed = (len(inputs), rnn.num_layers, rnn.hidden_size)
    for part in memory:
        if tuple(part.shape) != needed:
            raise ModelError(
                f"{step}: the memory is {list(part.shape)}, needed is [B, layers, H] = {list(needed)}; a state as "
                f"{kind} gives it, [layers, B, H], is turned by .transpose(0, 1)"
            )


def said_alone(
    cnn: Callable[[Tensor], Tensor], decoder: Any, pictures: Tensor, start: int, longest: int
) -> tuple[tuple[int, ...], Tensor]:
    """The likeliest next word of one picture [1, C, H, W], ``longest`` times, and the logits [longest, V] of each."""
    state, tokens, rows = decoder.start(cnn(pictures)), [start], []
    for _ in range(longest):
        output, state = decoder.step(torch.tensor(tokens[-1:], device=pictures.device), state)
        rows.append(decoder.logits(output) if hasattr(decoder, "logits") else output)
        tokens.append(int(rows[-1].argmax()))
    return tuple(tokens[1:]), torch.cat(rows)
