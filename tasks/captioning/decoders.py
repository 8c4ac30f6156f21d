"""The three ways captioners take a picture in, as LSTM decoders over the feature map A [B, K, h, w].

Each has ``start(A) → state``, ``step(tokens [B], state) → (hidden [B, H], state)`` and ``logits(hidden) → [B, V]``;
a state is a tuple of tensors whose first dimension is B.
"""

import torch
from torch import Tensor, nn

State = tuple[Tensor, ...]


class PictureFirst(nn.Module):
    """The mean of A is the first LSTM input, before START (NeuralTalk; Show and Tell, 1411.4555)."""

    def __init__(self, units: int, vocabulary: int, embedding: int = 96, hidden: int = 192) -> None:
        super().__init__()
        self.picture = nn.Linear(units, embedding)
        self.words = nn.Embedding(vocabulary, embedding)
        self.lstm = nn.LSTMCell(embedding, hidden)
        self.output = nn.Linear(hidden, vocabulary)

    def start(self, A: Tensor) -> State:
        """A [B, K, h, w] → state."""
        hidden: State = self.lstm(self.picture(A.mean((2, 3))))
        return hidden

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Tokens [B] and state → (hidden, state)."""
        hidden, cell = self.lstm(self.words(tokens), (state[0], state[1]))
        return hidden, (hidden, cell)

    def logits(self, hidden: Tensor) -> Tensor:
        """Hidden → [B, V]."""
        logits: Tensor = self.output(hidden)
        return logits


class PictureAsState(nn.Module):
    """The mean of A sets the LSTM's initial hidden and cell state; START is the first input."""

    def __init__(self, units: int, vocabulary: int, embedding: int = 96, hidden: int = 192) -> None:
        super().__init__()
        self.picture = nn.Linear(units, 2 * hidden)
        self.words = nn.Embedding(vocabulary, embedding)
        self.lstm = nn.LSTMCell(embedding, hidden)
        self.output = nn.Linear(hidden, vocabulary)

    def start(self, A: Tensor) -> State:
        """A [B, K, h, w] → state."""
        hidden, cell = self.picture(A.mean((2, 3))).chunk(2, 1)
        return hidden.tanh(), cell

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Tokens [B] and state → (hidden, state)."""
        hidden, cell = self.lstm(self.words(tokens), (state[0], state[1]))
        return hidden, (hidden, cell)

    def logits(self, hidden: Tensor) -> Tensor:
        """Hidden → [B, V]."""
        logits: Tensor = self.output(hidden)
        return logits


class Attention(nn.Module):
    """Additive attention over the cells of A at every step (Show, Attend and Tell, 1502.03044).

    The LSTM reads the last word and what was attended last, then asks the cells; the word is read from the LSTM and
    from what the cells answered. Learned positions enter the keys only, so that values stay pure content. A whole
    number of ``cells`` (h, w) is fixed by the positions. The last part of the state is what each cell weighed in the
    last step, [B, h·w].

    The energies' tanh(x) is computed as 2σ(2x) − 1, whose −1 the softmax takes out: σ costs a fifth of tanh. What is
    kept as keys is therefore twice the keys.
    """

    def __init__(
        self,
        units: int,
        vocabulary: int,
        cells: tuple[int, int],
        embedding: int = 64,
        hidden: int = 160,
        keys: int = 96,
    ) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.randn(cells[0] * cells[1], keys) * 0.1)
        self.key = nn.Linear(units, keys)
        self.query = nn.Linear(hidden, keys)
        self.energy = nn.Linear(keys, 1, bias=False)
        self.words = nn.Embedding(vocabulary, embedding)
        self.lstm = nn.LSTMCell(embedding + units, hidden)
        self.output = nn.Linear(hidden + units, vocabulary)

    def start(self, A: Tensor) -> State:
        """A [B, K, h, w] → state."""
        values = A.flatten(2).transpose(1, 2).contiguous()
        keys = 2 * (self.key(values) + self.positions)
        zero = values.new_zeros(len(A), self.lstm.hidden_size)
        return values, keys, zero, zero, values.mean(1), values.new_zeros(values.shape[:2])

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Tokens [B] and state → (hidden, state)."""
        values, keys, hidden, cell, read, _ = state
        hidden, cell = self.lstm(torch.cat([self.words(tokens), read], 1), (hidden, cell))
        asked = (keys + 2 * self.query(hidden)[:, None]).sigmoid_()
        weights = (2 * self.energy(asked)[..., 0]).softmax(1)
        read = torch.bmm(weights[:, None], values)[:, 0]
        return torch.cat([hidden, read], 1), (values, keys, hidden, cell, read, weights)

    def logits(self, hidden: Tensor) -> Tensor:
        """Hidden → [B, V]."""
        logits: Tensor = self.output(hidden)
        return logits
