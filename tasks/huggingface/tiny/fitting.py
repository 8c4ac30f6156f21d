"""Teaching a tiny model for a moment, so that it says plain words, ends, and says others of another picture."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

COUNT, STEPS, RATE = 16, 80, 1e-2
IGNORED = -100

Logits = Callable[[Tensor, Tensor, Tensor], Tensor]  # pictures [N, 3, H, W], questions [N, Q], ids [N, L] → [N, L, V]


def fit(model: nn.Module, fixed: str, side: int, loss: Callable[[Tensor, Tensor], Tensor], steps: int = STEPS) -> None:
    """Lessen ``loss(known, strange)``: pictures [COUNT, 3, side, side], the same ones and new ones in every step.

    The weights of the submodule ``fixed`` stay random.
    """
    if fixed:
        model.get_submodule(fixed).requires_grad_(False)
    optimizer = torch.optim.Adam([weight for weight in model.parameters() if weight.requires_grad], lr=RATE)
    known = _patterns(side)
    with torch.enable_grad():
        for _ in range(steps):
            optimizer.zero_grad()
            torch.autograd.backward(loss(known, _patterns(side)))
            optimizer.step()
    optimizer.zero_grad()
    model.requires_grad_(True)


def saying(logits: Logits, tokenizer: Any, start: int, texts: Sequence[tuple[str, str]]) -> Callable[..., Tensor]:
    """A loss: COUNT of the pairs (question, text), each said of a known picture of its own and of some strange ones."""
    chosen = [texts[n] for n in torch.randperm(len(texts))[:COUNT].tolist()]
    asked = questions(tokenizer, [question for question, _ in chosen])
    said = [tokenizer(text, add_special_tokens=False)["input_ids"] for _, text in chosen]
    end = tokenizer.eos_token_id if tokenizer.sep_token_id is None else tokenizer.sep_token_id
    ids = _table([[start, *text] for text in said], tokenizer.pad_token_id)
    wanted = _table([[*text, end] for text in said], IGNORED)

    def loss(known: Tensor, strange: Tensor) -> Tensor:
        scores = logits(torch.cat([known, strange]), _twice(asked), _twice(ids))
        return nn.functional.cross_entropy(scores.flatten(0, 1), _twice(wanted).flatten(), ignore_index=IGNORED)

    return loss


def answering(
    logits: Callable[[Tensor, Tensor], Tensor], asked: Sequence[Sequence[int]], said: Sequence[Sequence[int]]
) -> Callable[..., Tensor]:
    """A loss: each of COUNT questions, as ids, answered with its ids, of a known picture of its own and strange ones.

    ``logits(pictures [N, 3, H, W], ids [N, L])`` → [N, L, V], of a question and its answer in one stream.
    """
    pairs = list(zip(asked, said, strict=True))
    ids = _table([[*question, *answer[:-1]] for question, answer in pairs], 0)
    wanted = _table([[*[IGNORED] * (len(question) - 1), *answer] for question, answer in pairs], IGNORED)

    def loss(known: Tensor, strange: Tensor) -> Tensor:
        scores = logits(torch.cat([known, strange]), _twice(ids))
        return nn.functional.cross_entropy(scores.flatten(0, 1), _twice(wanted).flatten(), ignore_index=IGNORED)

    return loss


def questions(tokenizer: Any, texts: Sequence[str]) -> Tensor:
    """Texts as token numbers [N, L], padded."""
    return _table([tokenizer(text)["input_ids"] for text in texts], tokenizer.pad_token_id or 0)


def _patterns(side: int) -> Tensor:
    """Pictures of one colour and 4 × 4 squares of others, plain to glaring, as a processor gives them."""
    ground, squares = torch.randn(COUNT, 3, 1, 1), torch.randn(COUNT, 3, 4, 4)
    return nn.functional.interpolate(ground + squares * 2 * torch.rand(COUNT, 1, 1, 1), size=(side, side))


def _twice(table: Tensor) -> Tensor:
    return torch.cat([table, table])


def _table(rows: Sequence[Sequence[int]], fill: int) -> Tensor:
    width = max(map(len, rows))
    return torch.tensor([[*row, *[fill] * (width - len(row))] for row in rows])
