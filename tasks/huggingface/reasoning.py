"""Marks in what a model writes: of where it reasons before it answers, of places for pictures, of turns; no words.

They are tokens of their own in one tokenizer, special or not, and plain letters in another; in a text all are letters.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from vlx.language import MARKS, REASONING_BEGINS, REASONING_ENDS
from vlx.protocol.identity import Kept

_TOKENS = re.compile(r"<[^<>\s]{1,60}>|\[[A-Z_/]{2,60}\]")  # what tokens beside a vocabulary look like, as <image>
_PLACES = re.compile(r"<(?:loc|seg)_?\d+>")  # of things in the picture: such tokens are what was said
TAIL = 16  # tokens at the end of a question, among which its template opens the reasoning

_special = Kept()


class Mark(NamedTuple):
    """A mark from the ``first`` to the ``stop`` character of a text.

    ``turn``: 1 where reasoning begins behind it, -1 where it ends before it, 0 of any other mark.
    """

    first: int
    stop: int
    turn: int


def special_ids(tokenizer: Any) -> frozenset[int]:
    """The tokens that decoding leaves out: those that have a role, and those that were added as special ones.

    Kept until the tokenizer has others: some have thousands of added tokens, and every word asks.
    """
    roles, known = tuple(tokenizer.all_special_ids), _special.of(tokenizer)
    key = (len(tokenizer), roles)
    kept: frozenset[int] | None = known.get(key)
    if kept is None:
        added = getattr(tokenizer, "added_tokens_decoder", {})
        kept = frozenset((*roles, *(n for n, token in added.items() if getattr(token, "special", False))))
        known[key] = kept
    return kept


def turn(mark: str) -> int:
    """Whether reasoning begins behind a mark (1), ends before it (-1), or neither."""
    return 1 if REASONING_BEGINS.fullmatch(mark) else -1 if REASONING_ENDS.fullmatch(mark) else 0


def marks(tokenizer: Any, text: str) -> list[Mark]:
    """The marks that stand in a text as letters, in order.

    >>> marks(tokenizer, "<think>so</think> red")
    [Mark(first=0, stop=7, turn=1), Mark(first=9, stop=17, turn=-1)]
    """
    found = {match.start(): match for match in _tokens(tokenizer, text)}
    found |= {match.start(): match for match in MARKS.finditer(text)}
    return [Mark(place, found[place].end(), turn(found[place].group())) for place in sorted(found)]


def spans(found: Sequence[Mark], end: int, opened: bool = False) -> tuple[list[tuple[int, int]], bool]:
    """Where a text of ``end`` characters reasons, from and to, and whether it ends within.

    ``opened``: whether it begins within, as where the template of the question opens the reasoning. An end that has no
    beginning ends what began before the text.
    """
    inside: list[tuple[int, int]] = []
    begins: int | None = 0 if opened else None
    last = 0
    for mark in found:
        if mark.turn < 0:
            inside.append((last if begins is None else begins, mark.first))
            begins, last = None, mark.stop
        elif mark.turn > 0 and begins is None:
            begins = mark.stop
    if begins is not None:
        inside.append((begins, end))
    return inside, begins is not None


def opened(tokenizer: Any, question: Sequence[int]) -> bool:
    """Whether a question's tokens end with the mark behind which the model reasons, as some templates have it."""
    tail = tokenizer.decode(list(question[-TAIL:])).rstrip() if question else ""
    return any(match.end() == len(tail) for match in REASONING_BEGINS.finditer(tail))


def _tokens(tokenizer: Any, text: str) -> Iterator[re.Match[str]]:
    """Tokens beside the tokenizer's vocabulary that stand in a text as letters."""
    looking = [match for match in _TOKENS.finditer(text) if not _PLACES.fullmatch(match.group())]
    added: dict[str, int] = getattr(tokenizer, "get_added_vocab", dict)() if looking else {}
    yield from (match for match in looking if match.group() in added)
