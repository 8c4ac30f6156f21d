"""Heads of VQA models: a question encoder, a fusion with the feature map A, a classifier over the answers.

Each is ``head(A [M, K, h, w], tokens [N, L], lengths [N]) → logits [N, answers]`` with N = M·r: the first r questions
are about the first map, and so on. Token 0 pads. Besides, ``embed(tokens) → [N, L, E]`` and
``answer(A, embedded, lengths) → logits`` are the same in two halves, for probes of the words of the question.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Encoding = Literal["lstm", "bag"]
ENCODINGS: tuple[Encoding, ...] = ("lstm", "bag")


class QuestionLstm(nn.Module):
    """The hidden state of the top layer after the question's last word, [N, hidden]."""

    def __init__(self, embedding: int, hidden: int, layers: int = 1) -> None:
        super().__init__()
        self.lstm = nn.LSTM(embedding, hidden, layers, batch_first=True)

    def forward(self, embedded: Tensor, lengths: Tensor) -> Tensor:
        """Embedded words [N, L, E] and lengths [N] → [N, hidden]."""
        steps: Tensor = self.lstm(embedded)[0]
        return steps[torch.arange(len(steps), device=steps.device), lengths - 1]


class BagOfWords(nn.Module):
    """The mean of the words, whatever their order, through one layer: [N, hidden]."""

    def __init__(self, embedding: int, hidden: int) -> None:
        super().__init__()
        self.layer = nn.Linear(embedding, hidden)

    def forward(self, embedded: Tensor, lengths: Tensor) -> Tensor:
        """Embedded words [N, L, E] and lengths [N] → [N, hidden]."""
        there = torch.arange(embedded.shape[1], device=lengths.device) < lengths[:, None]
        mean = (embedded * there[..., None]).sum(1) / lengths[:, None]
        return torch.tanh(self.layer(mean))


class QuestionHead(nn.Module):
    """What all heads share: word embeddings and the encoder of the question."""

    def __init__(self, words: int, embedding: int, hidden: int, encoding: Encoding, layers: int = 1) -> None:
        super().__init__()
        self.words = nn.Embedding(words, embedding, padding_idx=0)
        self.question: Callable[[Tensor, Tensor], Tensor] = (
            QuestionLstm(embedding, hidden, layers) if encoding == "lstm" else BagOfWords(embedding, hidden)
        )

    def forward(self, A: Tensor, tokens: Tensor, lengths: Tensor) -> Tensor:
        """A [M, K, h, w], tokens [N, L] and lengths [N] → logits [N, answers]."""
        return self.answer(A, self.embed(tokens), lengths)

    def embed(self, tokens: Tensor) -> Tensor:
        """Tokens [N, L] → [N, L, E]."""
        embedded: Tensor = self.words(tokens)
        return embedded

    def answer(self, A: Tensor, embedded: Tensor, lengths: Tensor) -> Tensor:
        """A [M, K, h, w], embedded words [N, L, E] and lengths [N] → logits [N, answers]."""
        raise NotImplementedError


class Product(QuestionHead):
    """tanh(W_q q) · tanh(W_v v), v the mean of A: "deeper LSTM Q + norm I" (Antol et al., VQA, 1505.00468).

    ``normalise``: v is divided by its length, as in that paper. Then no score changes when all of A grows together, so
    that evidence for and against an answer cancel exactly: look at the signed map.
    """

    def __init__(
        self,
        units: int,
        words: int,
        answers: int,
        *,
        embedding: int = 64,
        hidden: int = 160,
        joint: int = 320,
        encoding: Encoding = "lstm",
        normalise: bool = True,
    ) -> None:
        super().__init__(words, embedding, hidden, encoding, layers=2)
        self.normalise = normalise
        self.asked, self.seen = nn.Linear(hidden, joint), nn.Linear(units, joint)
        self.output = nn.Sequential(nn.Linear(joint, joint), nn.ReLU(), nn.Linear(joint, answers))

    def answer(self, A: Tensor, embedded: Tensor, lengths: Tensor) -> Tensor:
        """See `QuestionHead.answer`."""
        picture = A.mean((2, 3))
        if self.normalise:
            picture = functional.normalize(picture, dim=1) * picture.shape[1] ** 0.5
        seen = _for_each(torch.tanh(self.seen(picture)), len(embedded))
        logits: Tensor = self.output(torch.tanh(self.asked(self.question(embedded, lengths))) * seen)
        return logits


class Concatenation(QuestionHead):
    """Question and mean of A side by side, through two layers."""

    def __init__(
        self,
        units: int,
        words: int,
        answers: int,
        *,
        embedding: int = 64,
        hidden: int = 160,
        joint: int = 320,
        encoding: Encoding = "lstm",
    ) -> None:
        super().__init__(words, embedding, hidden, encoding)
        self.output = nn.Sequential(nn.Linear(hidden + units, joint), nn.ReLU(), nn.Linear(joint, answers))

    def answer(self, A: Tensor, embedded: Tensor, lengths: Tensor) -> Tensor:
        """See `QuestionHead.answer`."""
        seen = _for_each(A.mean((2, 3)), len(embedded))
        logits: Tensor = self.output(torch.cat([self.question(embedded, lengths), seen], 1))
        return logits


class StackedAttention(QuestionHead):
    """Attention over the cells of A, again and again with what was read (Yang et al., 1511.02274), and a sum.

    Every hop asks the cells with the question and what was read so far, and learns besides where it looked: the mean
    place (x, y) of its attention, in which things can be compared. Softmax attention cannot count; so cells are also
    chosen by a sigmoid and summed. ``glances(A, tokens, lengths)`` gives the attention of every hop.
    """

    places: Tensor

    def __init__(
        self,
        units: int,
        words: int,
        answers: int,
        cells: tuple[int, int],
        *,
        embedding: int = 64,
        hidden: int = 160,
        joint: int = 160,
        hops: int = 3,
        encoding: Encoding = "lstm",
    ) -> None:
        super().__init__(words, embedding, hidden, encoding)
        self.joint = joint
        self.positions = nn.Parameter(torch.randn(cells[0] * cells[1], joint) * 0.1)
        self.register_buffer("places", _places(*cells), persistent=False)
        self.key, self.value = nn.Linear(units, joint), nn.Linear(units, joint)
        self.start = nn.Linear(hidden, joint)
        self.queries = nn.ModuleList(nn.Linear(hidden + joint, joint) for _ in range(hops + 1))
        self.reads = nn.ModuleList(nn.Linear(2 * joint + 2, joint) for _ in range(hops))
        known = hidden + 2 * joint + 2 * hops
        self.output = nn.Sequential(nn.Linear(known, 2 * joint), nn.ReLU(), nn.Linear(2 * joint, answers))

    def answer(self, A: Tensor, embedded: Tensor, lengths: Tensor) -> Tensor:
        """See `QuestionHead.answer`."""
        return self._look(A, embedded, lengths)[0]

    def glances(self, A: Tensor, tokens: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """A [M, K, h, w], tokens [N, L], lengths [N] → logits [N, answers] and attention [N, hops, h·w]."""
        logits, hops = self._look(A, self.embed(tokens), lengths)
        return logits, torch.stack(hops, 1)

    def _look(self, A: Tensor, embedded: Tensor, lengths: Tensor) -> tuple[Tensor, list[Tensor]]:
        asked = self.question(embedded, lengths)
        cells = A.flatten(2).transpose(1, 2)
        keys, values = self.key(cells) + self.positions, self.value(cells)
        known, weights, places = torch.tanh(self.start(asked)), [], []
        for query, read in zip(self.queries, self.reads, strict=False):
            weights.append(self._energies(keys, query(torch.cat([asked, known], 1))).softmax(1))
            places.append(weights[-1] @ self.places)
            seen = self._collected(values, weights[-1])
            known = known + torch.tanh(read(torch.cat([known, seen, places[-1]], 1)))
        chosen = torch.sigmoid(self._energies(keys, self.queries[-1](torch.cat([asked, known], 1))) - 2)
        total = self._collected(values, chosen) / len(self.places) ** 0.5
        return self.output(torch.cat([asked, known, total, *places], 1)), weights

    def _energies(self, keys: Tensor, queries: Tensor) -> Tensor:
        """Keys [M, cells, D], queries [N, D] → [N, cells]."""
        grouped = queries.view(len(keys), -1, queries.shape[-1])
        return torch.flatten(grouped @ keys.transpose(1, 2) / self.joint**0.5, 0, 1)

    def _collected(self, values: Tensor, weights: Tensor) -> Tensor:
        """Values [M, cells, D], weights [N, cells] → [N, D]."""
        return torch.flatten(weights.view(len(values), -1, weights.shape[-1]) @ values, 0, 1)


def _places(rows: int, columns: int) -> Tensor:
    """(x, y) of every cell, −2 to 2 from edge to edge: [rows · columns, 2]."""
    y, x = torch.meshgrid(torch.linspace(-2, 2, rows), torch.linspace(-2, 2, columns), indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], 1)


def _for_each(rows: Tensor, count: int) -> Tensor:
    """Rows [M, …] repeated so that there are ``count``: the first for the first questions, and so on."""
    return rows if len(rows) == count else rows.repeat_interleave(count // len(rows), 0)
