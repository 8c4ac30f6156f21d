"""Tiny transformers of one layer that do everything right, for tests that break one thing at a time."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vlx.pictures.placement import Grid
from vlx.protocol.powers import Attended
from vlx.protocol.targets import Alternative, Prediction, Query, Reads, Target, Term, Word
from vlx.protocol.task import Defaults, Features

H, W, PATCH, UNITS = 24, 32, 8, 12
SHAPE = (H // PATCH, W // PATCH)
WORDS = ["a", "red", "blue", "dog", "house", "on", "grass"]
START, STEPS = len(WORDS), 4


def prepare(image: Image.Image) -> Tensor:
    """The whole picture, squashed to 24 × 32."""
    small = image.convert("RGB").resize((W, H), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(small)).permute(2, 0, 1).float() / 255 - 0.5


class Patchy:
    """A captioner: patches → A [B, 12, 3, 4]; every step attends to the cells from the mean of the words so far."""

    name, kind = "patchy", "captioning"
    notes: tuple[str, ...] = ()
    defaults = Defaults("gradcam", "logprob", "batched")
    blank = (0.5, 0.5, 0.5)
    prepare: Callable[[Image.Image], Tensor] = staticmethod(prepare)

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(3)

        def weights(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator)

        self.patches = weights(UNITS, 3, PATCH, PATCH) / 4
        self.words, self.keys, self.out = weights(START + 1, UNITS), weights(UNITS, UNITS) / 4, weights(UNITS, START)

    def place(self, inputs: Tensor) -> Tensor:
        return inputs

    def version(self) -> Hashable:
        return 0

    def features(self, inputs: Tensor) -> Features:
        with torch.no_grad():
            A = torch.nn.functional.conv2d(inputs, self.patches, stride=PATCH)
        return Features({"patches": A}, "patches", Grid.half_pixel(SHAPE, (H, W)))

    def sofar(self, tokens: Sequence[int]) -> Tensor:
        """What each step knows of the words before it, [len(tokens) + 1, 12]."""
        given = self.words[[START, *tokens]]
        return given.cumsum(0) / torch.arange(1, len(given) + 1)[:, None]

    def look(self, A: Tensor, tokens: Sequence[int]) -> tuple[Tensor, Tensor]:
        """A [12, 3, 4] → logits [steps, words] and attention [steps, cells]."""
        cells, sofar = A.flatten(1).T, self.sofar(tokens)
        attention = (sofar @ self.keys @ cells.T).softmax(1)
        return (attention @ cells + sofar) @ self.out, attention

    def predict(self, features: Features, queries: Sequence[Query]) -> list[Prediction]:
        return [self._said(A) for A, _ in zip(features.A, queries, strict=True)]

    def _said(self, A: Tensor) -> Prediction:
        tokens: list[int] = []
        words = []
        for step in range(STEPS):
            logprobs = Patchy.look(self, A, tokens)[0][-1].log_softmax(0)
            best = logprobs.argsort(descending=True).tolist()
            others = tuple(Alternative(WORDS[n], n, float(logprobs[n])) for n in best[:3])
            words.append(Word(WORDS[best[0]], (Term(step, best[0]),), float(logprobs[best[0]]), others))
            tokens.append(best[0])
        return Prediction(" ".join(word.label for word in words), tuple(words), tuple(tokens))

    def scores(self, A: Tensor, targets: Sequence[Target], rest: Any = None) -> Tensor:
        reads = Reads.of(targets)
        logits = [self.look(A[targets[n].row], targets[n].tokens)[0][step] for n, step in reads.pairs]
        return reads.combine(torch.stack(logits))

    def attend(self, A: Tensor, targets: Sequence[Target], rest: Any = None) -> Attended:
        looked = torch.stack([self.look(A[target.row], target.tokens)[1] for target in targets])[:, None]
        queries = torch.zeros(len(targets), looked.shape[2])
        for n, target in enumerate(targets):
            queries[n, [term.step for term in target.terms]] = 1
        cells = torch.arange(SHAPE[0] * SHAPE[1]).view(SHAPE)
        return Attended(self.scores(A, targets, rest), (looked,), tuple(range(len(targets))), queries, cells)


class Meeting(Patchy):
    """A VQA model of one stream: its cells hold the question before anything is read off them."""

    kind = "vqa"

    def predict(self, features: Features, queries: Sequence[Query]) -> list[Prediction]:
        return [self._answered(features, row, query) for row, query in enumerate(queries)]

    def _answered(self, features: Features, row: int, query: Query) -> Prediction:
        tokens = tuple(len(word) % START for word in (query.question or "").split())
        logprobs = self.read(Meeting.meet(self, features, [(row, tokens)]).A[0]).log_softmax(0)
        best = logprobs.argsort(descending=True).tolist()
        others = tuple(Alternative(WORDS[n], n, float(logprobs[n])) for n in best[:3])
        word = Word(WORDS[best[0]], (Term(0, best[0]),), float(logprobs[best[0]]), others)
        return Prediction(word.label, (word,), tokens)

    def read(self, A: Tensor) -> Tensor:
        """Mixed A [12, 3, 4] → logits [words]."""
        return A.tanh().mean((1, 2)) @ self.out

    def meet(self, features: Features, texts: Sequence[tuple[int, tuple[int, ...]]]) -> Features:
        rows = [features.A[row] + self.words[list(tokens)].mean(0)[:, None, None] for row, tokens in texts]
        return Features({"mixed": torch.stack(rows)}, "mixed", features.grid)

    def scores(self, A: Tensor, targets: Sequence[Target], rest: Any = None) -> Tensor:
        reads = Reads.of(targets)
        return reads.combine(torch.stack([self.read(A[targets[n].row]) for n, _ in reads.pairs]))

    def attend(self, A: Tensor, targets: Sequence[Target], rest: Any = None) -> Attended:
        looked = A[[target.row for target in targets]].mean(1).flatten(1).softmax(1)[:, None, None]
        cells = torch.arange(SHAPE[0] * SHAPE[1]).view(SHAPE)
        ones = torch.ones(len(targets), 1)
        return Attended(self.scores(A, targets, rest), (looked,), tuple(range(len(targets))), ones, cells)
