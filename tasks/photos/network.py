"""The networks of the captioner of photographs: two depths of a CNN in one map, a decoder that asks its cells."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from vlx.tasks.photos.efficientnet import MIDDLE, WIDE, EfficientNetLite
from vlx.tasks.photos.vocabulary import PAD, START, UNKNOWN

State = tuple[Tensor, ...]
NEVER_SAID, NEVER = (PAD, START, UNKNOWN), -1e4  # what is no word, and its logit


class PhotoCnn(nn.Module):
    """Pictures [B, 3, H, W] → A [B, units, H/16, W/16], rectified.

    A cell holds what the middle of the CNN saw right there and what its last map, of half as many cells a side, made of
    the place; the captioner has no other way to the picture.
    """

    def __init__(self, units: int = 256) -> None:
        super().__init__()
        self.backbone = EfficientNetLite()
        self.middle, self.last = nn.Conv2d(MIDDLE, units, 1), nn.Conv2d(WIDE, units, 1)

    def fused(self, middle: Tensor, last: Tensor) -> Tensor:
        """The backbone's two maps → A."""
        wide = functional.interpolate(self.last(last), size=middle.shape[2:], mode="nearest")
        return torch.relu(self.middle(middle) + wide)

    def with_maps(self, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """A, and the backbone's last map as "last" [B, 1280, ⌈h/2⌉, ⌈w/2⌉]; see `cnn_vision.Deeper`."""
        middle, last = self.backbone.maps(images)
        return self.fused(middle, last), {"last": last}

    def forward(self, images: Tensor) -> Tensor:
        """A, [B, units, h, w]."""
        return self.with_maps(images)[0]


class PhotoDecoder(nn.Module):
    """A language model that asks the cells of A for every word, by attention of several heads (1706.03762, 3.2).

    The LSTM reads words only, and starts from nothing: what a word owes to the picture comes by that word's own
    attention and by no other way (a "merge" captioner, Tanti et al. 2017, 1703.09137; one that starts from the mean
    of A learns to pass its attention by). What a cell ``says`` is a direct way from it to the words, beside one through
    the mixture of hidden state and cells; a gate weighs it. Padding, START and the unknown word can be read, never
    said. The last part of the state is what each cell weighed in the last step, the mean over heads, [B, h·w].
    """

    def __init__(
        self,
        units: int,
        vocabulary: int,
        embedding: int = 192,
        hidden: int = 384,
        keys: int = 96,
        heads: int = 2,
        drop: float = 0.35,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.words = nn.Embedding(vocabulary, embedding)
        self.lstm = nn.LSTM(embedding, hidden, batch_first=True)
        self.key, self.query = nn.Linear(units, keys * heads), nn.Linear(hidden, keys * heads)
        self.mix, self.output = nn.Linear(hidden + units * heads, hidden), nn.Linear(hidden, embedding)
        self.says, self.gate = nn.Linear(units, embedding), nn.Linear(hidden, 1)
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        self.drop, self.drop_words = nn.Dropout(drop), nn.Dropout(drop / 2)
        nn.init.normal_(self.words.weight, std=0.1)
        self.unsaid: Tensor
        self.register_buffer("unsaid", torch.zeros(vocabulary), persistent=False)
        self.unsaid[list(NEVER_SAID)] = NEVER

    def start(self, A: Tensor) -> State:
        """A [B, K, h, w] → state."""
        values = A.flatten(2).transpose(1, 2)
        zero = values.new_zeros(len(A), self.lstm.hidden_size)
        return values, self.key(values), zero, zero, values.new_zeros(values.shape[:2])

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Tokens [B] and state → (hidden, state)."""
        values, keys, hidden, cell, _ = state
        out, (hidden, cell) = self.lstm(self.heard(tokens)[:, None], (hidden[None], cell[None]))
        read, weights = self.attended(out, values, keys)
        return torch.cat([out, read], 2)[:, 0], (values, keys, hidden[0], cell[0], weights.mean(1)[:, 0])

    def unroll(self, tokens: Tensor, state: State) -> Tensor:
        """Tokens [B, T] forced upon a state → hidden [B, T, H], all words in one go."""
        values, keys, hidden, cell, _ = state
        out, _ = self.lstm(self.heard(tokens), (hidden[None].contiguous(), cell[None].contiguous()))
        return torch.cat([out, self.attended(out, values, keys)[0]], 2)

    def heard(self, tokens: Tensor) -> Tensor:
        """Tokens → their embeddings; some are left out while it is trained."""
        embedded: Tensor = self.drop_words(self.words(tokens))
        return embedded

    def attended(self, hidden: Tensor, values: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden [B, T, H] and the cells → what all heads read, [B, T, heads · K], and how, [B, heads, T, h·w]."""
        queries, projected_keys = (self._by_head(projected) for projected in (self.query(hidden), keys))
        weights = (queries @ projected_keys.transpose(2, 3) / projected_keys.shape[3] ** 0.5).softmax(3)
        read = weights @ values[:, None]
        return read.transpose(1, 2).flatten(2), weights

    def scored(self, hidden: Tensor) -> Tensor:
        """Hidden → [B, V], before what is no word is ruled out; the words' own embeddings are read against it."""
        heard, read = hidden[:, : self.lstm.hidden_size], hidden[:, self.lstm.hidden_size :]
        mixed = self.output(self.drop(torch.relu(self.mix(self.drop(hidden)))))
        seen = self.says(read.reshape(len(read), self.heads, -1).mean(1))
        return functional.linear(mixed + torch.sigmoid(self.gate(heard)) * seen, self.words.weight) + self.bias

    def spotted(self, cells: Tensor, tokens: Tensor) -> Tensor:
        """Cells [B, N, K] → how much each says each of these words by itself, [B, N, W]."""
        return functional.linear(self.says(cells), self.words.weight[tokens])

    def logits(self, hidden: Tensor) -> Tensor:
        """Hidden → [B, V]."""
        return self.scored(hidden) + self.unsaid

    def _by_head(self, projected: Tensor) -> Tensor:
        """[B, N, heads · keys] → [B, heads, N, keys]."""
        batch, count, _ = projected.shape
        return projected.reshape(batch, count, self.heads, -1).transpose(1, 2)
