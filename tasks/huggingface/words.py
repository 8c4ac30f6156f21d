"""From tokens to words: which of a text's tokens make each of its words."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any, NamedTuple

from vlx.language import word_spans
from vlx.tasks.huggingface.reasoning import Mark, bare, joined, marks, spans, special_ids, turn

CUT = "\ufffd"  # stands at the end of a decoded text for a letter whose last bytes are missing


class ReadText(NamedTuple):
    """A ``text`` without marks, each of its ``words`` with the positions of its tokens, and which are ``reasoning``.

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
    turns += [
        Mark(stop, stop, sign)
        for token, (_, stop) in zip(tokens, laid, strict=True)
        if token in special and (sign := turn(str(tokenizer.convert_ids_to_tokens(token))))
    ]
    inside, cut = spans(sorted(turns, key=lambda mark: mark.first), place[-1], opened)
    words, reasoning = [], []
    for word, first, stop in word_spans(text):
        begin, end = place[first], place[stop]
        places = tuple(
            n for n, (low, high) in enumerate(laid) if tokens[n] not in special and max(low, begin) < min(high, end)
        )
        if places and not any(max(first, mark.first) < min(stop, mark.stop) for mark in written):
            words.append((word, places))
            reasoning.append(any(low <= begin < high for low, high in inside))
    return ReadText(bare(text, written), words, reasoning, cut)


def _decoded(tokenizer: Any, tokens: Sequence[int], special: set[int]) -> tuple[str, list[tuple[int, int]]]:
    """The text, and where each token's characters begin and end, counted without spaces.

    What special tokens part is decoded by itself: decoding leaves them out, and words that touch them would be one.
    """
    parts: list[str] = []
    laid: list[tuple[int, int]] = []
    for left_out, run in groupby(tokens, key=lambda token: token in special):
        part, end = list(run), laid[-1][1] if laid else 0
        if left_out:
            laid += [(end, end)] * len(part)
            continue
        spans = _token_spans(tokenizer, part)
        text = tokenizer.decode(part, skip_special_tokens=True).strip()
        parts.append(text if _letters(text) == spans[-1][1] else _plain(tokenizer, part).strip())
        laid += [(end + low, end + high) for low, high in spans]
    return joined(parts), laid


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
