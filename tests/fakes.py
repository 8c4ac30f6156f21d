"""Small models and slow, obvious second implementations that the tests share."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import vlx
from vlx.protocol.targets import Target
from vlx.protocol.task import Features
from vlx.scenes.vocabulary import caption_vocabulary
from vlx.tasks.captioning import Attention, CnnLstmCaptioner, PictureAsState, PictureFirst, bundle, lstm_step

VOCABULARY = ["<start>", "<end>", "<unk>", "a", "red", "blue", "dog", "house", "on", "grass"]
KINDS = ("first", "state", "attention")
ALL_KINDS = (*KINDS, "logits", "celled", "in place", "stepped", "unrolled")
UNITS, CELLS, SIZE = 5, (4, 4), 16


class TinyCnn(nn.Module):
    """Pictures [B, 3, 16, 16] → A [B, 5, 4, 4], rectified; ``seen`` keeps every batch it was given."""

    def __init__(self, units: int = UNITS) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, units, 3, 2, 1), nn.ReLU()
        )
        self.seen: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(images.detach().clone())
        return cast(Tensor, self.layers(images))


class LogitsStep(nn.Module):
    """A decoder without ``logits``: its step returns [B, V] at once, its state is a dict in a list."""

    def __init__(self, inner: PictureAsState) -> None:
        super().__init__()
        self.inner = inner

    def start(self, A: Tensor) -> Any:
        hidden, cell = self.inner.start(A)
        return [{"hidden": hidden, "cell": cell}]

    def step(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        hidden, (h, c) = self.inner.step(tokens, (state[0]["hidden"], state[0]["cell"]))
        return self.inner.logits(hidden), [{"hidden": h, "cell": c}]


class Stepped(nn.Module):
    """The picture as first input of an ``nn.LSTM``, one step at a time; its state has B first."""

    def __init__(self, units: int = UNITS, words: int = len(VOCABULARY), size: int = 12) -> None:
        super().__init__()
        self.picture, self.words = nn.Linear(units, size), nn.Embedding(words, size)
        self.lstm, self.output = nn.LSTM(size, size, batch_first=True), nn.Linear(size, words)

    def _run(self, inputs: Tensor, state: tuple[Tensor, ...] | None) -> tuple[Tensor, tuple[Tensor, ...]]:
        turned = None if state is None else tuple(part.transpose(0, 1).contiguous() for part in state)
        hidden, after = self.lstm(inputs, turned)
        return hidden, tuple(part.transpose(0, 1) for part in after)

    def start(self, A: Tensor) -> tuple[Tensor, ...]:
        return self._run(self.picture(A.mean((2, 3)))[:, None], None)[1]

    def step(self, tokens: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        hidden, state = self._run(self.words(tokens)[:, None], state)
        return hidden[:, 0], state

    def logits(self, hidden: Tensor) -> Tensor:
        return cast(Tensor, self.output(hidden))


class Unrolled(Stepped):
    """The same with ``unroll``: all steps in one call of the fused ``nn.LSTM``."""

    def unroll(self, tokens: Tensor, state: tuple[Tensor, ...]) -> Tensor:
        return self._run(self.words(tokens), state)[0]


class Celled(nn.Module):
    """The picture as first input of an ``nn.LSTM`` of two layers, by ``lstm_step``."""

    def __init__(self, units: int = UNITS, words: int = len(VOCABULARY), size: int = 12) -> None:
        super().__init__()
        self.picture, self.words = nn.Linear(units, size), nn.Embedding(words, size)
        self.lstm, self.output = nn.LSTM(size, size, num_layers=2), nn.Linear(size, words)

    def start(self, A: Tensor) -> tuple[Tensor, Tensor]:
        return lstm_step(self.lstm, self.picture(A.mean((2, 3))))

    def step(self, tokens: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        state = lstm_step(self.lstm, self.words(tokens), state)
        return state[0][:, -1], state

    def logits(self, hidden: Tensor) -> Tensor:
        return cast(Tensor, self.output(hidden))


class InPlace(PictureAsState):
    """A decoder that changes the A it is given."""

    def start(self, A: Tensor) -> tuple[Tensor, ...]:
        return super().start(A.sub_(0.3).relu_())


class Blind(nn.Module):
    """A decoder whose words do not depend on the picture; with ``detached`` it looks, but cuts the graph."""

    def __init__(self, detached: bool = False) -> None:
        super().__init__()
        self.detached = detached
        self.output = nn.Linear(UNITS, len(VOCABULARY))

    def start(self, A: Tensor) -> Tensor:
        return A.mean((2, 3)).detach() if self.detached else torch.ones_like(A.mean((2, 3)).detach())

    def step(self, tokens: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        return state, state

    def logits(self, hidden: Tensor) -> Tensor:
        return cast(Tensor, self.output(hidden))


class Table:
    """No network: the log-probability of the next word is read from a table by the words so far.

    ``rows`` maps a prefix to V numbers; the state is the prefix, padded, one row a hypothesis.
    """

    def __init__(self, rows: Callable[[tuple[int, ...]], Sequence[float]]) -> None:
        self.rows = rows

    def start(self, A: Tensor) -> Tensor:
        return torch.zeros(len(A), 0, dtype=torch.long)

    def step(self, tokens: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        prefixes = torch.cat([state, tokens[:, None]], 1)
        logits = torch.tensor([list(self.rows(tuple(prefix[1:]))) for prefix in prefixes.tolist()])
        return logits.double(), prefixes


def decoder(kind: str) -> nn.Module:
    """One of the three ways in, or of the variants above; weights large enough that every word matters."""
    made: dict[str, Callable[[], nn.Module]] = {
        "first": lambda: PictureFirst(UNITS, len(VOCABULARY), 6, 8),
        "state": lambda: PictureAsState(UNITS, len(VOCABULARY), 6, 8),
        "attention": lambda: Attention(UNITS, len(VOCABULARY), CELLS, 6, 8, 7),
        "logits": lambda: LogitsStep(PictureAsState(UNITS, len(VOCABULARY), 6, 8)),
        "celled": Celled,
        "in place": lambda: InPlace(UNITS, len(VOCABULARY), 6, 8),
        "stepped": Stepped,
        "unrolled": Unrolled,
    }
    built = made[kind]()
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.mul_(3)
    return built


def prepare(image: Image.Image) -> Tensor:
    """The whole picture, resized to 16 × 16; mid grey becomes 0."""
    small = image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    return (torch.from_numpy(np.array(small)).permute(2, 0, 1).float() / 255 - 0.5) / 0.25


def captioner(
    kind: str | nn.Module = "attention", dtype: torch.dtype = torch.float32, seed: int = 0, **options: Any
) -> Any:
    """A captioner of tiny random networks in eval mode; the same seed gives the same weights in every dtype."""
    torch.manual_seed(seed)
    cnn, made = TinyCnn(), decoder(kind) if isinstance(kind, str) else kind
    options = {"end": 1, "unknown": 2, "max_words": 7, "name": "tiny", **options}
    return CnnLstmCaptioner(cnn.eval().to(dtype), cast(Any, made.eval().to(dtype)), VOCABULARY, prepare, **options)


def feature_map(rows: int = 3, dtype: torch.dtype = torch.float64, seed: int = 1) -> Tensor:
    """A random A [rows, 5, 4, 4], rectified."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, UNITS, *CELLS, generator=generator, dtype=torch.float64).relu().to(dtype)


def picture(seed: int = 0, width: int = 40, height: int = 30) -> Image.Image:
    """A blotchy random picture."""
    small = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def features_of(task: Any, *seeds: int) -> Features:
    """The features of the pictures with these seeds, in one batch."""
    return cast(Features, task.features(task.place(torch.stack([task.prepare(picture(seed)) for seed in seeds]))))


def slow_logits(task: Any, A: Tensor, target: Target) -> Tensor:
    """Logits [steps, V] for one target, straight from the decoder: one picture, one step at a time."""
    state = task.decoder.start(A[target.row : target.row + 1].clone())
    rows = []
    for token in [task.start, *target.tokens][: target.last_step + 1]:
        hidden, state = task.decoder.step(torch.tensor([token], device=A.device), state)
        rows.append(task.decoder.logits(hidden) if hasattr(task.decoder, "logits") else hidden)
    return torch.cat(rows)


def slow_score(task: Any, A: Tensor, target: Target) -> Tensor:
    """Σ weight · score, written out term by term."""
    logits = slow_logits(task, A, target)
    total = logits.new_zeros(())
    for term in target.terms:
        row = logits[term.step]
        exponentials = (row - row.max()).exp()
        value = {
            "logit": row[term.token],
            "margin": row[term.token],
            "prob": exponentials[term.token] / exponentials.sum(),
            "logprob": row[term.token] - row.max() - exponentials.sum().log(),
        }[target.kind]
        total = total + term.weight * value
    return total


def slow_gradient(task: Any, A: Tensor, target: Target) -> Tensor:
    """The gradient of one target's `slow_score` at its own row of A, [K, h, w]: one plain backward."""
    leaf = A.detach().clone().requires_grad_()
    slow_score(task, leaf, target).backward()  # type: ignore[no-untyped-call]
    assert leaf.grad is not None
    return leaf.grad[target.row]


def tiny_bundle(folder: Path, entry: bundle.Entry = "attention", **changes: Any) -> Path:
    """A bundle of random weights that knows the scenes' words: 64-pixel pictures, 16 units, 8 × 8 cells."""
    torch.manual_seed(0)
    options: dict[str, Any] = {"units": 16, "size": 64, "cells": (8, 8), "max_words": 8, **changes}
    config = bundle.CaptionerConfig(tuple(caption_vocabulary()), entry, **options)
    bundle.save(folder, config, bundle.build(config))
    return folder


def numbers(word: vlx.WordExplanation) -> list[float]:
    """Score, log-probability and what was seen; NaN where that was not asked for."""
    return [word.score, word.logprob, float("nan") if word.seen is None else word.seen]


def alike(one: vlx.Explanation, other: vlx.Explanation, tolerance: float = 1e-5) -> None:
    """Assert that two explanations say the same of every word, phrase and the whole."""
    assert one.text == other.text
    assert [word.label for word in one] == [word.label for word in other]
    for a, b in zip([*one, one.sentence, *one.phrases], [*other, other.sentence, *other.phrases], strict=True):
        assert numbers(a) == pytest.approx(numbers(b), abs=tolerance, nan_ok=True)
        for name in ("signed", "opposed", "weights", "heatmap"):
            assert np.allclose(getattr(a, name), getattr(b, name), rtol=1e-4, atol=tolerance)
