"""Texts as tokens: written, checked, padded, and told apart where a target holds a question and several answers."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vlx.errors import InputError, UnknownWords
from vlx.language import shortened, split_words
from vlx.methods.cams import HALVES
from vlx.protocol.targets import Alternative
from vlx.tasks.huggingface.reasoning import special_ids

BETWEEN = -1  # stands between the texts of one target; no token has this number
ALTERNATIVES = 5
LISTED = 5  # special tokens that a message names
UNREADABLE = 20  # likely tokens that may be no text: spaces, rows of the model beyond its tokenizer


def written(tokenizer: Any, text: str, what: str, name: str, marks: Sequence[str] = ()) -> tuple[int, ...]:
    """A user's text as tokens, without any that the tokenizer adds.

    Raises InputError for a text without a word, for special tokens in it and for the ``marks`` of pictures and videos,
    UnknownWords for signs without a token.
    """
    if marked := sorted(mark for mark in marks if mark in text):
        raise InputError(
            f"the {what} holds special tokens ({', '.join(marked)}); leave them out: one picture is explained at a "
            "time, no video, and its processor puts it into the prompt"
        )
    if not split_words(text):
        raise InputError(f"the {what} {shortened(text)!r} holds no word; give at least one")
    tokens = tuple(tokenizer(text, add_special_tokens=False)["input_ids"])
    special = special_ids(tokenizer)
    if tokenizer.unk_token_id in tokens and tokenizer.unk_token not in text:
        raise UnknownWords(f"{name} has no tokens for some signs of the {what} {shortened(text)!r}; write it otherwise")
    forbidden = sorted({tokenizer.convert_ids_to_tokens(token) for token in tokens if token in special})
    if forbidden:
        raise InputError(f"the {what} holds special tokens ({', '.join(forbidden[:LISTED])}); leave them out")
    return tokens


def in_place(
    tokenizer: Any,
    before: tuple[int, ...],
    replaced: tuple[str, tuple[int, ...]],
    other: str,
    name: str,
    marks: Sequence[str] = (),
) -> tuple[int, ...]:
    """The tokens of another word in the place of ``replaced`` (a word and its tokens), behind the tokens ``before``.

    A tokenizer writes a word otherwise behind a space or after other words: the other word is written in the way in
    which ``replaced`` comes out as it stands there. Raises InputError for none or several words, and as `written`.
    """
    if len(split_words(other)) != 1:
        raise InputError(f"instead_of: {shortened(other, 40)!r} must be one word, as that which it is compared with")
    begun = tokenizer.decode(list(before))

    def behind(word: str) -> tuple[int, ...]:
        whole = tuple(tokenizer(f"{begun} {word}", add_special_tokens=False)["input_ids"])
        return whole[len(before) :] if before and whole[: len(before)] == before else ()

    def spaced(word: str) -> tuple[int, ...]:
        return tuple(tokenizer(f" {word}", add_special_tokens=False)["input_ids"])

    def alone(word: str) -> tuple[int, ...]:
        return tuple(tokenizer(word, add_special_tokens=False)["input_ids"])

    label, tokens = replaced
    word = other.strip()
    written(tokenizer, word, "other word", name, marks)
    ways = (behind, spaced, alone)
    way = next((way for way in ways if way(label) == tokens), spaced if before else alone)
    return way(word) or spaced(word)


def check_length(count: int, longest: int, what: str, name: str) -> None:
    """Raises InputError for a text of more tokens than the model's context takes."""
    if count > longest:
        raise InputError(f"the {what} has {count} tokens, {name} takes at most {longest}; shorten it")


def padded(texts: Sequence[Sequence[int]], device: torch.device) -> Tensor:
    """Token numbers → int64 [R, L], filled with 0 behind; a causal model does not see what is behind."""
    table = torch.zeros(len(texts), max(map(len, texts)), dtype=torch.long)
    for row, tokens in zip(table, texts, strict=True):
        row[: len(tokens)] = torch.tensor(tokens, dtype=torch.long)
    return table.to(device)


def filled(texts: Sequence[Sequence[int]], device: torch.device) -> Tensor:
    """Which places of the same texts `padded` hold a token: 1, and 0 behind, [R, L]."""
    lengths = torch.tensor([len(text) for text in texts])
    return (torch.arange(int(lengths.max())) < lengths[:, None]).long().to(device)


def exact(logits: Tensor) -> Tensor:
    """Logits in at least float32."""
    return logits.float() if logits.dtype in HALVES else logits


def packed(*texts: Sequence[int]) -> tuple[int, ...]:
    """Several texts as the tokens of one target."""
    tokens = list(texts[0])
    for text in texts[1:]:
        tokens += [BETWEEN, *text]
    return tuple(tokens)


def unpacked(tokens: Sequence[int]) -> list[tuple[int, ...]]:
    """The texts that were `packed`."""
    texts: list[list[int]] = [[]]
    for token in tokens:
        if token == BETWEEN:
            texts.append([])
        else:
            texts[-1].append(token)
    return [tuple(text) for text in texts]


def placed(tokens: tuple[int, ...], step: int) -> tuple[tuple[int, ...], int]:
    """The text that a step of a target's tokens lies in, and its place there; the mark between texts counts as a step.

    >>> placed(packed((5, 6, 7), (5, 8)), 5)
    ((5, 8), 1)
    """
    first = 0
    for text in unpacked(tokens):
        if step <= first + len(text):
            return text, step - first
        first += len(text) + 1
    raise IndexError(f"step {step} of {len(tokens)} tokens")


def likeliest(tokenizer: Any, logprobs: Tensor, count: int = ALTERNATIVES) -> tuple[Alternative, ...]:
    """The likeliest tokens at one step [V] that can be read, best first."""
    special = special_ids(tokenizer)
    values, tokens = logprobs.float().topk(min(count + len(special) + UNREADABLE, len(logprobs)))
    alternatives = [
        Alternative(text, token, value)
        for token, value in zip(tokens.tolist(), values.tolist(), strict=True)
        if token not in special and (text := tokenizer.decode([token]).strip())
    ]
    return tuple(alternatives[:count])
