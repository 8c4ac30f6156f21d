"""How strongly a picture carries a word: one number from 0 to 1, on one scale for all words, and what a map fades by.

Each map has a scale of its own, so that its shape can be seen. A map says by its shape *where*; *how much* is told by
this number beside it, and by the map's own colours, which fade where nothing that was tried carries the word.
"""

import math
from typing import Literal

from vlx.errors import InputError
from vlx.explanation.map_check import NATS
from vlx.explanation.records import Explanation, WordExplanation
from vlx.report import colour, numbers, wording

Scale = Literal["own", "shared"]
SCALES: tuple[Scale, ...] = ("own", "shared")
FULL = 0.5  # of p lost: from here on a map is drawn in full colours
PALE = 0.3  # of full colours: a word that nothing carries


def scale(given: object) -> Scale:
    """The scale meant: "own", a map's own, or "shared", one for all. Raises InputError for another."""
    for allowed in SCALES:
        if given == allowed:
            return allowed
    raise InputError(f'scale={str(given)[:40]!r}; give "own" (each map its own) or "shared" (one for all maps)')


def top(word: WordExplanation, why: Explanation, of: Scale) -> float:
    """The value at the end of a map's colours: the map's own largest, of both signs, or that of all maps."""
    return colour.peak([word]) if of == "own" else colour.scale(why)


def of(word: WordExplanation) -> float | None:
    """What share of it is lost without the cells that its map ranks highest, 0 to 1; None where nobody asked.

    Of a word it is p (of a contrast, or where p is all but 1, the odds), of a number its size. Where the map was not
    tried, or could not be, what of p is lost with other pictures in its place. None, too, where it has no map.
    """
    if not word.mapped:
        return None
    check = word.check
    if check is not None and math.isfinite(check.fall):
        return share(check.fall) if check.unit in NATS else _part(check.fall, word.score)
    if word.seen is None or math.isnan(word.seen):
        return None
    return _part(word.seen, word.score) if word.outputs == "value" else share(word.seen)


def share(nats: float) -> float:
    """What share of p a fall of log p by so many nats takes away, 0 to 1."""
    return -math.expm1(-max(nats, 0.0)) + 0.0


def carried(word: WordExplanation) -> bool:
    """Whether anything in the picture carries it: its map's check holds, or it is owed to the picture.

    True as well where neither was tried, or there is no map: nothing speaks against it then.
    """
    if not word.mapped:
        return True
    owed = None if word.seen is None or word.outputs == "value" else not wording.language(word)
    tried = [trial for trial in (None if word.check is None else word.check.holds, owed) if trial is not None]
    return any(tried) or not tried


def fade(word: WordExplanation, of_scale: Scale = "own") -> float:
    """What the map's opacity is multiplied by, ``PALE`` to 1; on the shared scale weak maps are pale anyway: 1."""
    strength = of(word)
    if of_scale == "shared" or strength is None:
        return 1.0
    return PALE + (1 - PALE) * min(strength / FULL, 1.0) * carried(word)


def peak(word: WordExplanation, side: str = "signed") -> str:
    """The largest value of its map, or with "opposed" of what speaks against it; a dash where it has no map."""
    return numbers.figure(wording.strongest(getattr(word, side))) if word.mapped else "–"


def measured(why: Explanation) -> str:
    """What the bar beside a word shows, in words; empty where there is none."""
    words = [word for word in (*why.words, *why.phrases) if of(word) is not None]
    if not words:
        return ""
    what = "it" if words[0].outputs == "value" else "p" if why.instead_of is None else "odds"
    if any(word.check is not None for word in words):
        return f"{what} lost without its map"
    return f"{what} lost with other pictures"


def _part(fall: float, whole: float) -> float:
    return min(max(fall / abs(whole), 0.0), 1.0) if whole else 0.0
