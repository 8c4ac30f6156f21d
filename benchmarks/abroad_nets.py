"""The networks of `benchmarks.abroad` and how each is trained: a few CPU minutes, seeds fixed."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.light_ground import COLORS, SHAPES, SIZE, Drawn
from vlx.language import split_words
from vlx.tasks.captioning.decoders import Attention
from vlx.tasks.vqa.vqa import padded

WORDS = ("<end>", "<start>", "a", "small", "large", *COLORS, *SHAPES, "left", "of")
END, START = 0, 1
LABELS = (
    *COLORS,
    *SHAPES,
    "anything",
    "weekend",
)  # the last two are the same of all pictures: never a matter of looking
ALWAYS, CHANCE = 0.95, 0.4  # how often they are marked as there, whatever the picture
BATCH = 64
JOINT = 64
QUESTIONS = 5  # of each picture in a batch
NONE = -1  # no word here
AHEAD = 1.0  # gradients longer than this are cut


def from_minus_half(image: Image.Image) -> Tensor:
    """PIL RGB → [3, 64, 64] in [−1/2, 1/2], as easy-VQA's own model has it; its zero is mid-grey."""
    return as_inputs(np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BILINEAR))[None])[0]


def as_inputs(pictures: NDArray[np.uint8]) -> Tensor:
    """uint8 [B, 64, 64, 3] → float32 [B, 3, 64, 64]."""
    return torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2).float() / 255 - 0.5


def block(given: int, made: int, stride: int = 1) -> list[nn.Module]:
    """A convolution, batch norm, ReLU."""
    return [nn.Conv2d(given, made, 3, stride, 1, bias=False), nn.BatchNorm2d(made), nn.ReLU()]


def asked_cnn() -> nn.Module:
    """Pictures [B, 3, 64, 64] → A [B, 32, 16, 16]."""
    return nn.Sequential(*block(3, 16), nn.MaxPool2d(2), *block(16, 32), nn.MaxPool2d(2))


class BagHead(nn.Module):
    """Which words a question holds, times the whole map: nearly the architecture of easy-VQA's own model."""

    def __init__(self, units: int, words: int, answers: int) -> None:
        super().__init__()
        self.words = words
        self.picture = nn.Sequential(nn.Flatten(), nn.Linear(units, JOINT), nn.BatchNorm1d(JOINT), nn.ReLU())
        self.question = nn.Sequential(nn.Linear(words, JOINT), nn.ReLU(), nn.Linear(JOINT, JOINT))
        self.output = nn.Sequential(nn.Linear(JOINT, JOINT), nn.ReLU(), nn.Linear(JOINT, answers))

    def forward(self, A: Tensor, tokens: Tensor, lengths: Tensor) -> Tensor:
        """A [M, K, h, w], tokens [N, L] and lengths [N], N = M · r → logits [N, answers]."""
        there = torch.arange(tokens.shape[1], device=tokens.device) < lengths[:, None]
        bag = functional.one_hot(tokens, self.words).float().mul(there[..., None]).amax(1)
        picture = self.picture(A).repeat_interleave(len(tokens) // len(A), 0)
        logits: Tensor = self.output(picture * self.question(bag.to(A.dtype)))
        return logits


def shapes_cnn(units: int = 96) -> nn.Module:
    """Pictures [B, 3, 64, 64] → A [B, units, 8, 8]."""
    return nn.Sequential(*block(3, 32, 2), *block(32, 32), *block(32, 64, 2), *block(64, 64), *block(64, units, 2))


def told(units: int = 96) -> Attention:
    """The decoder of the captioner: attention over 8 × 8 cells."""
    return Attention(units, len(WORDS), (SIZE // 8, SIZE // 8))


class Labeller(nn.Module):
    """Pictures [B, 3, 64, 64] → one logit a label [B, labels], each yes or no by itself."""

    def __init__(self, units: int = 96) -> None:
        super().__init__()
        self.layers = shapes_cnn(units)
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(units, len(LABELS)))

    def forward(self, images: Tensor) -> Tensor:
        """Logits, [B, labels]."""
        logits: Tensor = self.head(self.layers(images))
        return logits


@dataclass(frozen=True)
class Schedule:
    """How long a network is trained, and the highest learning rate on the way."""

    steps: int
    rate: float
    seed: int = 0


def train(net: nn.Module, losses: Callable[[Tensor], Tensor], count: int, schedule: Schedule) -> Iterator[float]:
    """Fit ``net`` in place, ``losses(numbers of the pictures of a batch) → loss``; yields every step's loss."""
    generator = torch.Generator().manual_seed(schedule.seed)
    net.train()
    optimizer = torch.optim.AdamW(net.parameters(), schedule.rate, weight_decay=1e-4)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, schedule.rate, schedule.steps)
    for _ in range(schedule.steps):
        loss = losses(torch.randint(count, (BATCH,), generator=generator))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(net.parameters(), AHEAD)
        optimizer.step()
        rates.step()
        yield float(loss.detach())
    net.eval()


@dataclass(frozen=True, eq=False)
class Questions:
    """N pictures uint8 [N, 64, 64, 3], each with questions (text, right answer)."""

    pictures: NDArray[np.uint8]
    asked: tuple[tuple[tuple[str, str], ...], ...]

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The questions' words by token id."""
        return (
            "<pad>",
            "<unknown>",
            *sorted({word for told in self.asked for text, _ in told for word in split(text)}),
        )

    @property
    def answers(self) -> tuple[str, ...]:
        """The answers by number."""
        return tuple(sorted({answer for told in self.asked for _, answer in told}))


def split(text: str) -> list[str]:
    """A question's words."""
    return split_words(text)


def asked_loss(cnn: nn.Module, head: nn.Module, data: Questions) -> Callable[[Tensor], Tensor]:
    """Some questions about each picture of a batch."""
    inputs, draws = as_inputs(data.pictures), np.random.default_rng(1)
    token = {word: number for number, word in enumerate(data.vocabulary)}
    number = {answer: place for place, answer in enumerate(data.answers)}
    read = {text: tuple(token[word] for word in split(text)) for told in data.asked for text, _ in told}

    def loss(chosen: Tensor) -> Tensor:
        told = [data.asked[row][draws.integers(len(data.asked[row]))] for row in chosen for _ in range(QUESTIONS)]
        tokens, lengths = padded([read[text] for text, _ in told])
        right = torch.tensor([number[answer] for _, answer in told])
        return functional.cross_entropy(head(cnn(inputs[chosen]), tokens, lengths), right)

    return loss


def told_loss(cnn: nn.Module, decoder: Attention, drawn: Sequence[Drawn]) -> Callable[[Tensor], Tensor]:
    """The captions' words and their end, each after the true words before it."""
    inputs = as_inputs(np.stack([one.pixels for one in drawn]))
    texts = [[WORDS.index(word) for word, _ in one.caption()] for one in drawn]
    longest = max(map(len, texts))
    tokens = torch.tensor([[START, *text, END, *[NONE] * (longest - len(text))] for text in texts])

    def loss(chosen: Tensor) -> Tensor:
        own, state, logits = tokens[chosen], decoder.start(cnn(inputs[chosen])), []
        for step in range(longest + 1):
            hidden, state = decoder.step(own[:, step].clamp_min(0), state)
            logits.append(decoder.logits(hidden))
        return functional.cross_entropy(torch.stack(logits, 1).flatten(0, 1), own[:, 1:].flatten(), ignore_index=NONE)

    return loss


def labelled_loss(net: nn.Module, drawn: Sequence[Drawn]) -> Callable[[Tensor], Tensor]:
    """Binary cross-entropy of every label; the two that say nothing of the picture are drawn anew each time."""
    inputs = as_inputs(np.stack([one.pixels for one in drawn]))
    there = torch.tensor([[float(label in one.labels()) for label in LABELS] for one in drawn])
    generator = torch.Generator().manual_seed(2)

    def loss(chosen: Tensor) -> Tensor:
        wanted = there[chosen]
        for column, often in ((-2, ALWAYS), (-1, CHANCE)):
            wanted[:, column] = (torch.rand(len(chosen), generator=generator) < often).float()
        return functional.binary_cross_entropy_with_logits(net(inputs[chosen]), wanted)

    return loss
