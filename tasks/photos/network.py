"""The networks of the captioner of photographs: two depths of a CNN in one map, an LSTM that reads it by attention."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from vlx.tasks.photos.efficientnet import MIDDLE, EfficientNetLite

State = tuple[Tensor, ...]


class PhotoCnn(nn.Module):
    """Pictures [B, 3, H, W] → A [B, units, H/16, W/16], rectified.

    A cell holds what the middle of the CNN saw right there and what its last map, of half as many cells a side, made of
    the place; the captioner has no other way to the picture.
    """

    def __init__(self, units: int = 256) -> None:
        super().__init__()
        self.backbone = EfficientNetLite()
        self.middle, self.last = nn.Conv2d(MIDDLE, units, 1), nn.Conv2d(1280, units, 1)

    def fused(self, middle: Tensor, last: Tensor) -> Tensor:
        """The backbone's two maps → A."""
        wide = functional.interpolate(self.last(last), size=middle.shape[2:], mode="nearest")
        return torch.relu(self.middle(middle) + wide)

    def forward(self, images: Tensor) -> Tensor:
        """A, [B, units, h, w]."""
        return self.fused(*self.backbone.maps(images))


class PhotoDecoder(nn.Module):
    """An LSTM that asks the cells of A before every word (Luong et al. 2015, 1508.04025, dot-product attention).

    It starts from nothing: not from the mean of A, past which attention would be idle. The last part of the state is
    what each cell weighed in the last step, [B, h·w].
    """

    def __init__(
        self, units: int, vocabulary: int, embedding: int = 192, hidden: int = 384, keys: int = 128, drop: float = 0.4
    ) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, embedding)
        self.key, self.query = nn.Linear(units, keys), nn.Linear(hidden, keys)
        self.lstm = nn.LSTMCell(embedding + units, hidden)
        self.mix = nn.Linear(hidden + units, embedding)
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        self.drop, self.drop_words = nn.Dropout(drop), nn.Dropout(drop / 2)
        nn.init.normal_(self.words.weight, std=0.1)

    def start(self, A: Tensor) -> State:
        """A [B, K, h, w] → state."""
        values = A.flatten(2).transpose(1, 2)
        zero, nothing = values.new_zeros(len(A), self.lstm.hidden_size), values.new_zeros(len(A), values.shape[2])
        return values, self.key(values), zero, zero, nothing, values.new_zeros(values.shape[:2])

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Tokens [B] and state → (hidden, state)."""
        values, keys, hidden, cell, read, _ = state
        hidden, cell = self.lstm(torch.cat([self.drop_words(self.words(tokens)), read], 1), (hidden, cell))
        asked = torch.bmm(keys, self.query(hidden)[:, :, None])[..., 0] / keys.shape[2] ** 0.5
        weights = asked.softmax(1)
        read = torch.bmm(weights[:, None], values)[:, 0]
        return torch.cat([hidden, read], 1), (values, keys, hidden, cell, read, weights)

    def logits(self, hidden: Tensor) -> Tensor:
        """Hidden → [B, V]; the words' own embeddings are read against it."""
        mixed = self.drop(torch.tanh(self.mix(self.drop(hidden))))
        return 3 * functional.linear(mixed, self.words.weight) + self.bias
