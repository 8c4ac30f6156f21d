"""The captioner that is timed: ResNet-50, nn.LSTM(512), 9,000 words, random weights, batch norm at a sane scale."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.models import resnet50
from torchvision.transforms import v2

from vlx.tasks.captioning import CnnLstmCaptioner, lstm_step

WORDS = 12
VOCABULARY = 9000
START = 0

Memory = tuple[Tensor, Tensor]


class WordLstm(nn.Module):
    """A decoder as people write it: the mean of A is the first input of an ``nn.LSTM``, START the second."""

    def __init__(self, units: int = 2048, vocabulary: int = VOCABULARY, size: int = 512) -> None:
        super().__init__()
        self.picture = nn.Linear(units, size)
        self.words = nn.Embedding(vocabulary, size)
        self.lstm = nn.LSTM(size, size, batch_first=True)
        self.output = nn.Linear(size, vocabulary)

    def start(self, A: Tensor) -> Memory:
        """A [B, K, h, w] → the state before START."""
        return lstm_step(self.lstm, self.picture(A.mean((2, 3))))

    def step(self, tokens: Tensor, state: Memory) -> tuple[Tensor, Memory]:
        """Tokens [B] → hidden [B, H] and the next state."""
        state = lstm_step(self.lstm, self.words(tokens), state)
        return state[0][:, -1], state

    def logits(self, hidden: Tensor) -> Tensor:
        """Hidden [N, H] → logits [N, V]."""
        logits: Tensor = self.output(hidden)
        return logits


class Forced(nn.Module):
    """Images [B, 3, H, W] → log-probabilities [B, T, V] of a caption's words: the shape that other libraries want."""

    def __init__(self, cnn: nn.Module, decoder: WordLstm, words: list[int]) -> None:
        super().__init__()
        self.cnn, self.decoder = cnn, decoder
        self.read = torch.tensor([[START, *words[:-1]]])

    def forward(self, images: Tensor) -> Tensor:
        """The log-probability of every vocabulary entry at every step."""
        decoder = self.decoder
        picture = decoder.picture(self.cnn(images).mean((2, 3)))[:, None]
        texts = decoder.words(self.read).expand(len(images), -1, -1)
        hidden = decoder.lstm(torch.cat([picture, texts], 1))[0][:, 1:]
        logprobs: Tensor = decoder.output(hidden).log_softmax(-1)
        return logprobs


@dataclass(frozen=True, eq=False)
class Subject:
    """What is timed: a network, a prepared image [1, 3, 224, 224], and the network as a task."""

    cnn: nn.Sequential
    decoder: WordLstm
    image: Tensor
    task: CnnLstmCaptioner

    def caption(self) -> list[int]:
        """The greedy caption, written by hand and without vlx: nothing but what the words need."""
        decoder = self.decoder
        words, memory = [], None
        with torch.inference_mode():
            picture = decoder.picture(self.cnn(self.image).mean((2, 3)))
            inputs = torch.stack([picture, decoder.words(torch.tensor([START]))], 1)
            for _ in range(WORDS):
                hidden, memory = decoder.lstm(inputs, memory)
                token = decoder.output(hidden[:, -1:]).argmax(-1)
                inputs = decoder.words(token)
                words.append(int(token))
        return words

    def double(self) -> "Subject":
        """The same in float64, where rounding does not blur what differs."""
        cnn, decoder = deepcopy(self.cnn).double(), deepcopy(self.decoder).double()
        return Subject(cnn, decoder, self.image.double(), _task(cnn, decoder))

    def clear(self) -> None:
        """Drop the ``.grad`` that a full backward leaves."""
        for module in (self.cnn, self.decoder):
            module.zero_grad(set_to_none=True)

    @contextmanager
    def counted(self) -> Iterator[dict[str, int]]:
        """Count, inside, the pictures that the CNN is run on and the backwards that reach its first layer."""
        counts = {"pictures": 0, "full backwards": 0}
        first = self.cnn[0]
        assert isinstance(first, nn.Conv2d)

        def ran(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            counts["pictures"] += len(inputs[0])

        def reached(_gradient: Tensor) -> None:
            counts["full backwards"] += 1

        hooks = (first.register_forward_pre_hook(ran), first.weight.register_hook(reached))  # type: ignore[no-untyped-call]
        try:
            yield counts
        finally:
            for hook in hooks:
                hook.remove()


def subject() -> Subject:
    """The same network, image and words every time; parameters require gradients, as after loading."""
    torch.manual_seed(0)
    whole = resnet50(weights=None)
    cnn = nn.Sequential()
    for name, layer in whole.named_children():
        if name not in ("avgpool", "fc"):
            cnn.add_module(name, layer)
    decoder = WordLstm()
    _settle_batch_norm(cnn)
    image = nn.functional.interpolate(torch.randn(1, 3, 14, 14), size=224, mode="bicubic")
    return Subject(cnn.eval(), decoder.eval(), image, _task(cnn, decoder))


def picture() -> Image.Image:
    """A picture of 640 × 480 pixels to be opened and prepared."""
    colours = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    return Image.fromarray(colours).resize((640, 480), Image.Resampling.BICUBIC)


def _settle_batch_norm(cnn: nn.Sequential) -> None:
    """Statistics from two passes: with the initial ones, activations of a deep random net grow out of all bounds."""
    for module in cnn.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    cnn.train()
    with torch.no_grad():
        for _ in range(2):
            cnn(torch.randn(4, 3, 224, 224))


def _task(cnn: nn.Sequential, decoder: WordLstm) -> CnnLstmCaptioner:
    prepare = v2.Compose(
        [
            v2.Resize(256),
            v2.CenterCrop(224),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )
    words = [f"word{n}" for n in range(VOCABULARY)]
    return CnnLstmCaptioner(cnn, decoder, words, prepare, start=START, max_words=WORDS, name="ResNet-50 + LSTM")
