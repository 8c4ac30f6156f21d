"""One step of a trained ``nn.LSTM``, with a state that fits the decoder protocol."""

import torch
from torch import Tensor, nn

from vlx.errors import ModelError

Memory = tuple[Tensor, Tensor]


def lstm_step(lstm: nn.LSTM, inputs: Tensor, memory: Memory | None = None) -> Memory:
    """Inputs [B, E] and memory (hidden, cell), each [B, layers, H] → the next memory.

    The output [B, H] is ``memory[0][:, -1]``; without a memory it begins with zeros. These are the numbers of
    ``lstm(inputs[:, None])``, for a decoder's ``start`` and ``step``: the state has B first, and the backward leaves
    out the weights' gradients, which the fused ``nn.LSTM`` always computes. Raises ModelError for an LSTM that is
    bidirectional or projects.
    """
    if lstm.bidirectional or lstm.proj_size:
        raise ModelError("lstm_step takes an nn.LSTM that runs forwards only and without proj_size")
    if memory is None:
        zeros = inputs.new_zeros(len(inputs), lstm.num_layers, lstm.hidden_size)
        memory = zeros, zeros
    hidden, cell = [], []
    for layer, weights in enumerate(lstm.all_weights):
        inputs, kept = torch.lstm_cell(inputs, (memory[0][:, layer], memory[1][:, layer]), *weights)
        hidden.append(inputs)
        cell.append(kept)
    return torch.stack(hidden, 1), torch.stack(cell, 1)
