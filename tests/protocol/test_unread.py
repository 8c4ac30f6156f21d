"""The note that no score reads the cells: never of a mean over tokens, whatever rounding does, and not for ever."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from vlx.tasks.classification import Classifier

TOLD = "behind enc the cells reach no score, another token is read; name an earlier layer"
Reading = Callable[[Tensor, Tensor], Tensor]


class Tokens(nn.Module):
    """Pictures [B, 3, 16, 16] → a token that is no cell, and 4 × 4 cells, [B, 17, 16]."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.own = nn.Conv2d(3, 16, 4, 4), nn.Parameter(torch.randn(1, 1, 16))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.own.expand(len(x), -1, -1), self.conv(x).flatten(2).mT], 1)


class Net(nn.Module):
    """Reads the tokens in some way, [B, 17, 16] and pictures → [B, 16]."""

    def __init__(self, reading: Reading) -> None:
        super().__init__()
        self.enc, self.head, self.reading = Tokens(), nn.Linear(16, 3), reading

    def forward(self, x: Tensor) -> Tensor:
        read: Tensor = self.head(self.reading(self.enc(x), x))
        return read


def attention(tokens: Tensor, x: Tensor) -> Tensor:
    weights = (tokens @ torch.linspace(-1, 1, 16).to(tokens)).softmax(1)
    return (weights[..., None] * tokens).sum(1)


def bright(tokens: Tensor, x: Tensor) -> Tensor:
    """The cells of bright pictures, and of others the token before them."""
    return torch.where(x.mean((1, 2, 3))[:, None] > 0, tokens[:, 1:].mean(1), tokens[:, 0])


def task(reading: Reading, seed: int = 0, dtype: torch.dtype = torch.float32) -> Classifier:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Classifier(Net(reading).to(dtype).eval(), "enc", outputs="softmax", grid=(4, 4), prefix=1, prepare=_none)


def _none(image: object) -> Tensor:
    return torch.zeros(3, 16, 16)


def pictures(value: float | None = None) -> Tensor:
    drawn = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    return drawn if value is None else torch.full_like(drawn, value)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    "reading", [lambda tokens, x: tokens[:, 1:].mean(1), lambda tokens, x: tokens[:, 1:].amax(1), attention]
)
def test_means_and_attention_read_the_cells_plain_pictures_too(reading: Reading, dtype: torch.dtype) -> None:
    for seed in range(4):
        for value in (None, 0.0, 1.0):
            assert TOLD not in task(reading, seed, dtype).features(pictures(value).to(dtype)).notes


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_a_token_that_is_read_alone_is_told(dtype: torch.dtype) -> None:
    one = task(lambda tokens, x: tokens[:, 0], 0, dtype)
    assert all(TOLD in one.features(pictures(value).to(dtype)).notes for value in (None, 0.0, 1.0))


def test_a_picture_whose_cells_are_not_read_does_not_speak_for_the_next() -> None:
    one = task(bright)
    assert TOLD in one.features(pictures(-1.0)).notes
    assert TOLD not in one.features(pictures(1.0)).notes
    assert TOLD not in one.features(pictures(-1.0)).notes  # a model that was seen to read its cells reads them
