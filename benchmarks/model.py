"""The captioner that is timed: ResNet-50, nn.LSTM(512), 9,000 words, random weights, batch norm at a sane scale."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.models import resnet50
from torchvision.transforms import v2

from vlx.tasks.captioning import CnnLstmCaptioner

WORDS = 12
VOCABULARY = 9000
START = 0

State = tuple[Tensor, Tensor]


class WordLstm(nn.Module):
    """A decoder as people write it: the mean of A is the first input of an ``nn.LSTM``, START the second."""

    def __init__(self, units: int = 2048, vocabulary: int = VOCABULARY, size: int = 512) -> None:
        super().__init__()
        self.picture = nn.Linear(units, size)
        self.words = nn.Embedding(vocabulary, size)
        self.lstm = nn.LSTM(size, size, batch_first=True)
        self.output = nn.Linear(size, vocabulary)

    def start(self, A: Tensor) -> State:
        """A [B, K, h, w] → the state (hidden, cell), each [B, H], after the picture."""
        _, (hidden, cell) = self.lstm(self.picture(A.mean((2, 3)))[:, None])
        return hidden[0], cell[0]

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Tokens [B] → hidden [B, H] and the next state."""
        _, (hidden, cell) = self.lstm(self.words(tokens)[:, None], (state[0][None], state[1][None]))
        return hidden[0], (hidden[0], cell[0])

    def unroll(self, tokens: Tensor, state: State) -> Tensor:
        """Tokens [B, T] → hidden [B, T, H], in one call of the LSTM."""
        hidden: Tensor = self.lstm(self.words(tokens), (state[0][None], state[1][None]))[0]
        return hidden

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
        words = []
        with torch.inference_mode():
            _, state = decoder.lstm(decoder.picture(self.cnn(self.image).mean((2, 3)))[:, None])
            token = torch.tensor([[START]])
            for _ in range(WORDS):
                hidden, state = decoder.lstm(decoder.words(token), state)
                token = decoder.output(hidden).argmax(-1)
                words.append(int(token))
        return words

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

        hooks = (first.register_forward_pre_hook(ran), first.weight.register_hook(reached))
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
    task = CnnLstmCaptioner(
        cnn.eval(),
        decoder.eval(),
        [f"word{n}" for n in range(VOCABULARY)],
        v2.Compose(
            [
                v2.Resize(256),
                v2.CenterCrop(224),
                v2.ToImage(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
            ]
        ),
        start=START,
        max_words=WORDS,
        name="ResNet-50 + LSTM",
    )
    return Subject(cnn, decoder, image, task)


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
