"""One step of a trained ``nn.LSTM``, ``nn.GRU`` or ``nn.RNN``, with a state that fits the decoder protocol."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from vlx.errors import ModelError

Memory = tuple[Tensor, Tensor]
STEPS = ("lstm_step", "gru_step", "rnn_step")


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
