"""From tokens to words: which of a text's tokens make each of its words."""

from collections.abc import Sequence, Set
from itertools import groupby
from typing import Any, NamedTuple

from vlx.language import CLOSING, word_spans
from vlx.tasks.huggingface.reasoning import Mark, marks, spans, special_ids, turn

CUT = "\ufffd"  # stands at the end of a decoded text for a letter whose last bytes are missing


class ReadText(NamedTuple):
    """A ``text``, each of its ``words`` with the positions of its tokens, and which of them are ``reasoning``.

    ``cut``: whether the text ends within its reasoning.
    """

    text: str
    words: list[tuple[str, tuple[int, ...]]]
    reasoning: list[bool]
    cut: bool


def words_of(tokenizer: Any, tokens: Sequence[int]) -> tuple[str, list[tuple[str, tuple[int, ...]]]]:
    """A text's tokens → the text, and each word with the positions of its tokens; see `read`."""
    found = read(tokenizer, tokens)
    return found.text, found.words


def read(tokenizer: Any, tokens: Sequence[int], opened: bool = False) -> ReadText:
    """A text's tokens as words; neither punctuation is a word nor a mark (`vlx.tasks.huggingface.reasoning`).

    Works for every tokenizer that decodes: tokens are laid on the text by the characters that decoding one more of them
    adds, spaces left out, so that neither "##ish" nor "Ġis" nor a letter cut into bytes is misplaced. ``opened``:
    whether the text begins within its reasoning.
    """
    special = special_ids(tokenizer)
    text, laid = _decoded(tokenizer, tokens, special)
    place, written = _places(text), marks(tokenizer, text)
    turns = [Mark(place[mark.first], place[mark.stop], mark.turn) for mark in written]
    inside, cut = spans(turns, place[-1], opened)
    words, reasoning = [], []
    for word, first, stop in word_spans(text):
        begin, end = place[first], place[stop]
        places = tuple(
            n for n, (low, high) in enumerate(laid) if tokens[n] not in special and max(low, begin) < min(high, end)
        )
        if places and not any(max(first, mark.first) < min(stop, mark.stop) for mark in written):
            words.append((word, places))
            reasoning.append(any(low <= begin < high for low, high in inside))
    return ReadText(text, words, reasoning, cut)


def _decoded(tokenizer: Any, tokens: Sequence[int], special: Set[int]) -> tuple[str, list[tuple[int, int]]]:
    """The text, and where each token's characters begin and end, counted without spaces.

    Of special tokens marks of reasoning are written, and nothing of others: what they part is decoded by itself, since
    words that touch them would become one.
    """
    text, apart = "", False
    laid: list[tuple[int, int]] = []
    for left_out, run in groupby(tokens, key=lambda token: token in special):
        for part in [[token] for token in run] if left_out else [list(run)]:
            end = laid[-1][1] if laid else 0
            told, places = _mark(tokenizer, part[0]) if left_out else _run(tokenizer, part)
            laid += [(end + low, end + high) for low, high in places]
            text += _apart(text, told) if apart else told
            apart = not told and (apart or left_out)
    return text.strip(), laid


def _apart(text: str, told: str) -> str:
    """What follows a text from which something was left out: with one space between, but before a closing sign."""
    if not text or text[-1].isspace():
        return told.lstrip()
    return told if told[:1].isspace() or told[:1] in CLOSING else f" {told}"


def _mark(tokenizer: Any, token: int) -> tuple[str, list[tuple[int, int]]]:
    """A special token as letters where reasoning begins or ends with it; else nothing."""
    mark = str(tokenizer.convert_ids_to_tokens(token))
    told = mark if turn(mark) else ""
    return told, [(0, _letters(told))]


def _run(tokenizer: Any, tokens: Sequence[int]) -> tuple[str, list[tuple[int, int]]]:
    """Tokens without special ones among them, as text, and the places of their characters in it."""
    places = _token_spans(tokenizer, tokens)
    text: str = tokenizer.decode(list(tokens), skip_special_tokens=True)
    return text if _letters(text) == places[-1][1] else _plain(tokenizer, tokens), places


def _plain(tokenizer: Any, tokens: Sequence[int]) -> str:
    text: str = tokenizer.decode(list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return text


def _token_spans(tokenizer: Any, tokens: Sequence[int]) -> list[tuple[int, int]]:
    """Where each token's characters begin and end, counted without spaces; nothing for special tokens.

    A letter that is cut into bytes belongs to all of their tokens.
    """
    spans, whole = [], 0
    for n in range(len(tokens)):
        decoded = _plain(tokenizer, tokens[: n + 1])
        begin, whole = whole, max(_letters(decoded.rstrip(CUT)), whole)
        spans.append((begin, max(whole, begin + 1) if decoded.endswith(CUT) else whole))
    return spans


def _letters(text: str) -> int:
    return sum(not letter.isspace() for letter in text)


def _places(text: str) -> list[int]:
    """For each character of the text, and its end, how many before it are no spaces."""
    places = [0]
    for letter in text:
        places.append(places[-1] + (not letter.isspace()))
    return places
