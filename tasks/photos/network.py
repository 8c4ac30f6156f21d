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
    """A language model that asks the cells of A for every word, by attention of several heads (1706.03762, 3.2).

    The LSTM reads words only, and starts from nothing: what a word owes to the picture comes by that word's own
    attention and by no other way (a "merge" captioner, Tanti et al. 2017, 1703.09137; one that starts from the mean
    of A learns to pass its attention by). The last part of the state is what each cell weighed in the last step, the
    mean over heads, [B, h·w].
    """

    def __init__(
        self,
        units: int,
        vocabulary: int,
        embedding: int = 192,
        hidden: int = 448,
        keys: int = 96,
        heads: int = 2,
        drop: float = 0.35,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.words = nn.Embedding(vocabulary, embedding)
        self.lstm = nn.LSTM(embedding, hidden, batch_first=True)
        self.key, self.query = nn.Linear(units, keys * heads), nn.Linear(hidden, keys * heads)
        self.mix = nn.Linear(hidden + units * heads, hidden)
        self.output = nn.Linear(hidden, embedding)
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        self.drop, self.drop_words = nn.Dropout(drop), nn.Dropout(drop / 2)
        nn.init.normal_(self.words.weight, std=0.1)

    def start(self, A: Tensor) -> State:
        """A [B, K, h, w] → state."""
        values = A.flatten(2).transpose(1, 2)
        zero = values.new_zeros(len(A), self.lstm.hidden_size)
        return values, self.key(values), zero, zero, values.new_zeros(values.shape[:2])

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Tokens [B] and state → (hidden, state)."""
        values, keys, hidden, cell, _ = state
        told = self.drop_words(self.words(tokens))[:, None]
        out, (hidden, cell) = self.lstm(told, (hidden[None].contiguous(), cell[None].contiguous()))
        read, weights = self.attended(out, values, keys)
        return torch.cat([out, read], 2)[:, 0], (values, keys, hidden[0], cell[0], weights.mean(1)[:, 0])

    def unroll(self, tokens: Tensor, state: State) -> Tensor:
        """Tokens [B, T] forced upon a state → hidden [B, T, H], all words in one go."""
        values, keys, hidden, cell, _ = state
        told = self.drop_words(self.words(tokens))
        out, _ = self.lstm(told, (hidden[None].contiguous(), cell[None].contiguous()))
        return torch.cat([out, self.attended(out, values, keys)[0]], 2)

    def attended(self, hidden: Tensor, values: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden [B, T, H] and the cells → what all heads read, [B, T, heads · K], and how, [B, heads, T, h·w]."""
        queries, known = (self._by_head(projected) for projected in (self.query(hidden), keys))
        weights = (queries @ known.transpose(2, 3) / known.shape[3] ** 0.5).softmax(3)
        read = weights @ values[:, None]
        return read.transpose(1, 2).flatten(2), weights

    def logits(self, hidden: Tensor) -> Tensor:
        """Hidden → [B, V]; the words' own embeddings are read against it."""
        mixed = self.output(self.drop(torch.relu(self.mix(self.drop(hidden)))))
        return functional.linear(mixed, self.words.weight) + self.bias

    def _by_head(self, projected: Tensor) -> Tensor:
        """[B, N, heads · keys] → [B, heads, N, keys]."""
        batch, count, _ = projected.shape
        return projected.reshape(batch, count, self.heads, -1).transpose(1, 2)
