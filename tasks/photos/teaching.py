"""What the captioner of photographs is taught by: captions, and nothing else that people said of the pictures.

Attention that learns from captions alone need not lie on what a word names. So what the cells say by themselves is
taught to tell the words that people use of such a picture (multiple-instance learning, Fang et al. 2015, 1411.4952),
and the attention for a word to lie where that word is said most (supervised attention, Liu et al. 2017, 1605.09553,
without its boxes).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from vlx.tasks.photos.network import PhotoDecoder
from vlx.tasks.photos.vocabulary import UNKNOWN

NONE = -1  # no target here
SMOOTHING = 0.05
STRONGEST = 12  # cells that speak for a picture,
AVERAGE = 0.2  # and how much all of them do
SHARPNESS = 0.7  # temperature of where a word is likeliest
SCALE = 20.0  # words that a picture's captions hold, about


class Detector(nn.Module):
    """How likely each of W told words is in each cell: logits [B, N, W] of cells [B, N, K]; thrown away afterwards."""

    def __init__(self, decoder: PhotoDecoder, told: Sequence[int]) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.full((len(told),), -3.0))
        self.told: Tensor
        self.register_buffer("told", torch.tensor(told))
        self.place: Tensor  # token id → its number among the told words, NONE where it is none
        self.register_buffer("place", torch.full((decoder.words.num_embeddings,), NONE))
        self.place[self.told] = torch.arange(len(told))

    def forward(self, decoder: PhotoDecoder, cells: Tensor) -> Tensor:
        """What the decoder spots in the cells, and a bias."""
        return decoder.spotted(cells, self.told) + self.bias


@dataclass(frozen=True)
class Lesson:
    """A batch of pictures with C captions each: tokens read [B, C, T], to be said next [B, C, T] (NONE: nothing)."""

    read: Tensor
    said: Tensor

    @classmethod
    def of(cls, captions: Sequence[Sequence[Sequence[int]]]) -> "Lesson":
        """From token ids, START and END among them; an unknown word is read, and not asked for."""
        most, longest = max(map(len, captions)), max(len(text) for texts in captions for text in texts) - 1
        read = torch.zeros(len(captions), most, longest, dtype=torch.long)
        said = torch.full_like(read, NONE)
        for row, texts in enumerate(captions):
            for number, text in enumerate(texts):
                read[row, number, : len(text) - 1] = torch.tensor(text[:-1])
                said[row, number, : len(text) - 1] = torch.tensor(text[1:])
        said[said == UNKNOWN] = NONE
        return cls(read, said)

    @property
    def asked(self) -> Tensor:
        """Which places ask for a word, bool [B · C · T]."""
        return self.said.flatten() != NONE


@dataclass(frozen=True)
class Losses:
    """``caption``: nats a word; ``detector``: of the words of a picture; ``attention``: nats from where a word is."""

    caption: Tensor
    detector: Tensor
    attention: Tensor

    def total(self, detector: float, attention: float) -> Tensor:
        """What is made smaller."""
        return self.caption + detector * self.detector + attention * self.attention


@dataclass(frozen=True)
class Forced:
    """What a decoder makes of N asked words: logits [N, V], what was to be said [N], of which picture [N].

    ``looks``: by which cells, [N, cells], the mean over heads.
    """

    logits: Tensor
    said: Tensor
    owner: Tensor
    looks: Tensor

    @classmethod
    def of(cls, decoder: PhotoDecoder, cells: Tensor, lesson: Lesson) -> "Forced":
        """Cells [B, h·w, K] and a lesson forced upon the decoder."""
        pictures, captions, steps = lesson.read.shape
        hidden, _ = decoder.lstm(decoder.heard(lesson.read.flatten(0, 1)))
        read, weights = decoder.attended(hidden.reshape(pictures, captions * steps, -1), cells, decoder.key(cells))
        asked = lesson.asked
        return cls(
            decoder.scored(torch.cat([hidden.flatten(0, 1), read.flatten(0, 1)], 1)[asked]).float(),
            lesson.said.flatten()[asked],
            torch.arange(pictures).repeat_interleave(captions * steps)[asked],
            weights.float().mean(1).flatten(0, 1)[asked],
        )


def losses(
    decoder: PhotoDecoder, detector: Detector, A: Tensor, lesson: Lesson, *, smoothing: float = SMOOTHING
) -> Losses:
    """What a batch says about decoder and detector; A [B, K, h, w]."""
    cells = A.flatten(2).transpose(1, 2)
    forced = Forced.of(decoder, cells, lesson)
    caption = functional.cross_entropy(forced.logits, forced.said, label_smoothing=smoothing)
    spotted = detector(decoder, cells).float()
    return Losses(caption, detection(spotted, detector, lesson), off_place(spotted, detector, forced))


def detection(spotted: Tensor, detector: Detector, lesson: Lesson) -> Tensor:
    """Whether the strongest cells tell the words of a picture's captions from those of others."""
    strongest = spotted.topk(min(STRONGEST, spotted.shape[1]), 1).values.mean(1)
    pooled = (1 - AVERAGE) * strongest + AVERAGE * spotted.mean(1)
    wanted = torch.zeros_like(pooled)
    places = torch.where(lesson.said == NONE, NONE, detector.place[lesson.said]).flatten(1)
    row, column = (places != NONE).nonzero(as_tuple=True)
    wanted[row, places[row, column]] = 1
    return functional.binary_cross_entropy_with_logits(pooled, wanted, reduction="sum") / (len(pooled) * SCALE)


def off_place(spotted: Tensor, detector: Detector, forced: Forced) -> Tensor:
    """Divergence of the attention for told words from where the detector has them, in nats; it teaches no detector."""
    places = detector.place[forced.said]
    placed = places != NONE
    there = (spotted.detach()[forced.owner[placed], :, places[placed]] / SHARPNESS).softmax(1)
    apart = there * ((there + 1e-6).log() - (forced.looks[placed] + 1e-6).log())
    return apart.sum(1).mean() if len(apart) else forced.looks.sum() * 0
