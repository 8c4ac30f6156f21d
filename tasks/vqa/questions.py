"""Questions as a target's text: tokens of transformers, without one of their words, in batches; and vectors."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vlx.errors import InputError
from vlx.protocol.targets import Query
from vlx.tasks.huggingface.texts import check_length, packed, padded, unpacked, written
from vlx.tasks.huggingface.words import words_of

MARK = -1  # no token id: what follows are the bits of float64 numbers, of a question that is a vector


@dataclass(frozen=True)
class Questions:
    """Questions as the model's tokenizer writes them, its own special tokens around; at most ``longest`` tokens.

    ``judged``: the text may also come as a caption that is to be judged.
    """

    tokenizer: Any
    longest: int
    name: str
    judged: bool = False

    def asked(self, query: Query) -> tuple[int, ...]:
        """The tokens of a query's question, or of the text that is to be judged.

        Raises InputError without one, and for one that is empty, too long or holds special tokens.
        """
        if query.text is None:
            raise InputError(f"{self.name} needs a question; give question=…")
        if query.caption is not None and not self.judged:
            raise InputError(f"{self.name} takes no caption; ask it with question=…")
        if query.question is not None and query.caption is not None:
            raise InputError("give a question or a caption, not both")
        if query.prompt is not None:
            raise InputError("a prompt is how a caption begins; a model that is asked takes none")
        written(self.tokenizer, query.text, "question", self.name)
        tokens = tuple(self.tokenizer(query.text)["input_ids"])
        check_length(len(tokens), self.longest, "question", self.name)
        return tokens

    def words(self, tokens: Sequence[int]) -> list[tuple[str, tuple[int, ...]]]:
        """Each word of a question and the places of its tokens."""
        return words_of(self.tokenizer, tokens)[1]

    def without_each(self, tokens: tuple[int, ...]) -> list[tuple[str, tuple[int, ...]]]:
        """Each word of the question in a target's tokens, and those tokens without it; see `Hears`."""
        question, *answers = unpacked(tokens)
        return [
            (word, packed([token for n, token in enumerate(question) if n not in places], *answers))
            for word, places in self.words(question)
        ]


@dataclass(frozen=True, eq=False)
class Runs:
    """R distinct pairs (row of A, text) that N targets ask about, padded: ``ids`` and ``mask`` int64 [R, L]."""

    rows: tuple[int, ...]
    of: tuple[int, ...]
    ids: Tensor
    mask: Tensor

    @classmethod
    def make(cls, asked: Sequence[tuple[int, tuple[int, ...]]], device: torch.device) -> "Runs":
        """From a pair (row, text) for each target."""
        number = {pair: run for run, pair in enumerate(dict.fromkeys(asked))}
        texts = [text for _, text in number]
        lengths = torch.tensor([len(text) for text in texts])
        ids = padded(texts, device)
        mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long().to(device)
        return cls(tuple(row for row, _ in number), tuple(number[pair] for pair in asked), ids, mask)

    def take(self, rows: Tensor) -> Tensor:
        """The rows of a tensor [M, …] that the runs read, [R, …]; not copied when they are what it holds."""
        return rows if self.rows == tuple(range(len(rows))) else rows[list(self.rows)]


def packed_vector(vector: Tensor) -> tuple[int, ...]:
    """A vector [Q] as a target's ``tokens``; `unpacked_vectors` gives the very numbers back."""
    values = vector.double().tolist()
    return (MARK, *struct.unpack(f"<{len(values)}q", struct.pack(f"<{len(values)}d", *values)))


def is_vector(tokens: Sequence[int]) -> bool:
    """Whether a target's ``tokens`` are a vector."""
    return tokens[:1] == (MARK,)


def unpacked_vectors(questions: Sequence[tuple[int, ...]], like: Tensor) -> tuple[Tensor, Tensor]:
    """Vectors [N, Q] in the dtype and on the device of ``like``, and their lengths [N], all Q.

    Raises InputError where one is of another length, or is no vector.
    """
    sizes = {len(tokens) - 1 if is_vector(tokens) else -1 for tokens in questions}
    if len(sizes) > 1:
        told = " and ".join("a row of tokens" if size < 0 else f"{size} numbers" for size in sorted(sizes))
        raise InputError(f"questions asked together are {told}; tokenize must give vectors of one length")
    size = sizes.pop()
    rows = [struct.unpack(f"<{size}d", struct.pack(f"<{size}q", *tokens[1:])) for tokens in questions]
    vectors = torch.tensor(rows, dtype=torch.float64).to(like.device, like.dtype)
    return vectors, torch.full((len(rows),), size, device=like.device)
