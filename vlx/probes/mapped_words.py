"""Which words have maps, and which reasons: all of a short text, content words of a long one, or those named.

What a word owes to the picture costs one run of all words, and every word has it; a map may cost a backward.
"""

from collections.abc import Sequence

from vlx.language import chosen, shortened
from vlx.protocol.targets import Word

Wish = str | tuple[str | int, ...] | None
LONG = 30  # words: of a text of more than that only content words have maps unless others are asked for
NO_MAP = "no map was asked for"


def mapped(wish: Wish, words: Sequence[Word], text: bool) -> set[int]:
    """The positions of the words that have a map. ``text``: they make a text, and are not answers, of which each has.

    Of a text ``wish`` None means all of its words, or, of more than `LONG`, those that "content" means: content words
    outside of what the model reasons before it answers. Raises WordNotFound for words that are not there.

    >>> mapped(("dog",), prediction.words, True)
    {2}
    """
    if wish is None:
        wish = "content" if len(words) > LONG else "all"
    return _meant(wish, words, text)


def reasoned(wish: Wish, words: Sequence[Word], text: bool) -> set[int]:
    """The positions of the words that have reasons, where a table of names is given: by default "content"."""
    return _meant("content" if wish is None else wish, words, text)


def left_out(wish: Wish, words: Sequence[Word], without: int) -> str:
    """How many words have no map, why, and how to ask for theirs; empty where all have one.

    >>> left_out(None, prediction.words, 36)
    '36 of 61 words have no map: of a text of more than 30 words only content words have one; for others give …'
    """
    if not without:
        return ""
    outside = " outside of its reasoning" * any(word.reasoning for word in words)
    why = f"of a text of more than {LONG} words only content words{outside} have one"
    if wish is not None:
        asked = f"content words{outside}" if wish == "content" else shortened(", ".join(map(str, wish)) or "none")
        why = f"those that were asked for are {asked}"
    return (
        f'{without} of {len(words)} words have no map: {why}; for others give words="all" or words=[labels, positions]'
    )


def _meant(wish: str | tuple[str | int, ...], words: Sequence[Word], text: bool) -> set[int]:
    if wish == "content" and not text:
        wish = "all"  # an answer says something, whatever word it is
    positions = chosen(wish, [word.label for word in words]) if words else []
    return {n for n in positions if wish != "content" or not words[n].reasoning}
