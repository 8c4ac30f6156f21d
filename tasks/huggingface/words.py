"""From tokens to words: which of a text's tokens make each of its words."""

from collections.abc import Sequence
from typing import Any

from vlx.language import word_spans

CUT = "\ufffd"  # stands at the end of a decoded text for a letter whose last bytes are missing


def words_of(tokenizer: Any, tokens: Sequence[int]) -> tuple[str, list[tuple[str, tuple[int, ...]]]]:
    """A text's tokens → the text, and each word with the positions of its tokens; punctuation is no word.

    Works for every tokenizer that decodes: tokens are laid on the text by the characters that decoding one more of them
    adds, spaces left out, so that neither "##ish" nor "Ġis" nor a letter cut into bytes is misplaced.
    """
    special = set(tokenizer.all_special_ids)
    spans = _token_spans(tokenizer, tokens)
    text = tokenizer.decode(list(tokens), skip_special_tokens=True).strip()
    if _letters(text) != (spans[-1][1] if spans else 0):
        text = _plain(tokenizer, tokens).strip()
    place = _places(text)
    words = []
    for word, first, stop in word_spans(text):
        begin, end = place[first], place[stop]
        places = tuple(
            n for n, (low, high) in enumerate(spans) if tokens[n] not in special and max(low, begin) < min(high, end)
        )
        words.append((word, places))
    return text, [(word, places) for word, places in words if places]


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
