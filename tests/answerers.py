"""Tiny VQA models of random weights: every head, and one of a user's own."""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from tests.fakes import CELLS, UNITS, TinyCnn, prepare
from vlx.tasks.vqa import CnnLstmVqa, Concatenation, Product, StackedAttention

WORDS = ["<pad>", "<unk>", "what", "color", "is", "the", "dog", "there", "a"]
ANSWERS = ["yes", "no", "red", "blue", "<b>bold</b>"]
HEADS = ("attention", "product", "plain product", "concatenation", "bag")
QUESTION = "what color is the dog?"


def head(kind: str) -> nn.Module:
    sizes = UNITS, len(WORDS), len(ANSWERS)
    small: dict[str, Any] = {"embedding": 6, "hidden": 8, "joint": 7}
    heads: dict[str, Callable[[], nn.Module]] = {
        "attention": lambda: StackedAttention(*sizes, CELLS, **small),
        "product": lambda: Product(*sizes, **small),
        "plain product": lambda: Product(*sizes, **small, normalise=False),
        "concatenation": lambda: Concatenation(*sizes, **small),
        "bag": lambda: Concatenation(*sizes, **small, encoding="bag"),
    }
    made = heads[kind]()
    with torch.no_grad():
        for weights in made.parameters():
            weights.mul_(2.5)
    return made


def vqa(kind: str = "attention", dtype: torch.dtype = torch.float32, **options: Any) -> CnnLstmVqa:
    torch.manual_seed(0)
    cnn, made = TinyCnn(), head(kind)
    options = {"unknown": 1, "name": "tiny", **options}
    return CnnLstmVqa(cnn.eval().to(dtype), cast(Any, made.eval().to(dtype)), WORDS, ANSWERS, prepare, **options)


class Own(nn.Module):
    """A head of a user's own: nothing but a call."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.picture = nn.Embedding(len(WORDS), 6), nn.Linear(UNITS, 6)
        self.answers = nn.Linear(6, len(ANSWERS))

    def forward(self, A: Tensor, tokens: Tensor, lengths: Tensor) -> Tensor:
        asked = self.words(tokens).sum(1) / lengths[:, None]
        return cast(Tensor, self.answers(torch.tanh(asked * self.picture(A.mean((2, 3))))))
