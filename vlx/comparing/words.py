"""Words of two texts beside each other, and what differs between those that belong together."""

import base64
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Self

import numpy as np

from vlx.comparing.maps import MapDifference, between
from vlx.explanation.records import Array, Explanation, WordExplanation
from vlx.pictures.placement import Placement
from vlx.report import table, wording

LEVELS = 127  # of a kept map, each sign


@dataclass(frozen=True, eq=False)
class Side:
    """A word as one of the two has it: its place in the text, its figures, and its map for drawing.

    ``logprob`` and ``seen`` in nats, ``check`` and ``share`` as `vlx.explanation.map_check` has them, ``drawn`` the
    signed map [h, w] as a share of its largest absolute value, which is ``top`` in ``unit``. ``rival``: the other's
    word, where it is another one and among this side's alternatives, with its log p here. ``mapped``: whether it has a
    map; else ``drawn`` is 0. ``signed``: whether the map says what speaks against the word, too.
    """

    word: str
    position: int
    logprob: float | None
    score: float | None
    seen: float | None
    check: str | None
    share: float | None
    top: float
    unit: str
    drawn: Array
    placement: Placement
    rival: tuple[str, float] | None = None
    mapped: bool = True
    signed: bool = True

    @classmethod
    def of(cls, word: WordExplanation, position: int, other: WordExplanation | None = None) -> Self:
        """One word of an explanation; ``other`` is the one that the other side has in its place."""
        signed = np.nan_to_num(np.asarray(word.signed, np.float64), nan=0.0, posinf=0.0, neginf=0.0)
        top = float(np.abs(signed).max(initial=0.0))
        check = word.check
        return cls(
            word.label,
            position,
            None if word.outputs == "value" else table.rounded(word.logprob),
            table.rounded(word.score),
            table.rounded(word.seen),
            None if check is None else check.verdict,
            None if check is None else table.rounded(check.share),
            table.rounded(top) or 0.0,
            wording.unit(word),
            np.rint(signed / (top or 1.0) * LEVELS).astype(np.int8) / LEVELS,
            word.placement,
            None if other is None or _key(other.label) == _key(word.label) else _rival(word, other.label),
            word.mapped,
            wording.method_of(word).signed,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; `from_dict` makes an equal side of it."""
        levels = np.rint(self.drawn * LEVELS).astype(np.int8)
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return plain | {
            "drawn": [list(levels.shape), base64.b64encode(levels.tobytes()).decode("ascii")],
            "placement": self.placement.to_dict(),
        }

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Self:
        """The side that `to_dict` was called on."""
        shape, levels = saved["drawn"]
        drawn = np.frombuffer(base64.b64decode(levels), np.int8).reshape(shape) / LEVELS
        rival = None if saved["rival"] is None else (str(saved["rival"][0]), float(saved["rival"][1]))
        return cls(**{**saved, "drawn": drawn, "placement": Placement.from_dict(saved["placement"]), "rival": rival})


@dataclass(frozen=True, eq=False)
class WordPair:
    """A word of A and the word of B that stands in its place; None where the other has none.

    ``maps``: how far their maps differ, None where one is missing; ``after_others``: whether the words before it
    differ, so that its log p is that of another question; ``content``: whether either says something of its own.
    """

    a: Side | None
    b: Side | None
    maps: MapDifference | None
    after_others: bool = False
    content: bool = True

    @property
    def said_by_both(self) -> bool:
        """Whether both say the same word there."""
        return self.a is not None and self.b is not None and _key(self.a.word) == _key(self.b.word)

    @property
    def label(self) -> str:
        """The word, or both: "red → blue", "red → –"."""
        if self.said_by_both and self.a is not None:
            return self.a.word
        return " → ".join("–" if side is None else side.word for side in (self.a, self.b))

    @property
    def logprob_change(self) -> float | None:
        """log p of B less that of A, in nats; None unless both say the word."""
        return self._change("logprob")

    @property
    def seen_change(self) -> float | None:
        """What B owes to the picture less what A does, in nats; None unless both say the word."""
        return self._change("seen")

    @property
    def score_change(self) -> float | None:
        """The score of B less that of A, for numbers without a probability; None unless both have the word."""
        return self._change("score")

    @property
    def is_number(self) -> bool:
        """Whether both are the same number's, which has no probability."""
        sides = [side for side in (self.a, self.b) if side is not None]
        return self.said_by_both and all(side.logprob is None and side.score is not None for side in sides)

    @property
    def parts(self) -> dict[str, float]:
        """How much they differ by kind, each 0 to 1.

        "words": 1 where they differ. "log p" and "seen": 1 − exp(−|change|), the share of the larger p that is lost.
        "map": `MapDifference.size`. "value": the change of a number as a share of the larger one.
        """
        if not self.said_by_both:
            return {"words": 1.0}
        scored = [side.logprob is not None for side in (self.a, self.b) if side is not None]
        gone = any(scored) and not all(scored)  # impossible with one of them: log p is −∞
        parts = {"log p": 1.0 if gone else _lost(self.logprob_change), "seen": _lost(self.seen_change)}
        if self.is_number:
            largest = max(abs(side.score or 0.0) for side in (self.a, self.b) if side is not None)
            parts = {"value": min(abs(self.score_change or 0.0) / largest, 1.0) if largest else 0.0}
        return {**parts, "map": 0.0 if self.maps is None else self.maps.size}

    @property
    def difference(self) -> float:
        """How much they differ, 0 to 1: the largest of the ``parts``."""
        return max(self.parts.values())

    @property
    def by(self) -> str:
        """In what they differ most; empty where they do not."""
        parts = self.parts
        return max(parts, key=lambda name: parts[name]) if self.difference > 0 else ""

    @property
    def order(self) -> tuple[float, float, float]:
        """What ranks pairs: the difference, then the sum of its parts, then the likelier word's p."""
        logprobs = [side.logprob for side in (self.a, self.b) if side is not None and side.logprob is not None]
        return self.difference, sum(self.parts.values()), max(logprobs, default=-math.inf)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; `from_dict` makes an equal pair of it."""
        return {
            "a": None if self.a is None else self.a.to_dict(),
            "b": None if self.b is None else self.b.to_dict(),
            "maps": None if self.maps is None else vars(self.maps),
            "after_others": self.after_others,
            "content": self.content,
        }

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Self:
        """The pair that `to_dict` was called on."""
        sides = {name: None if saved[name] is None else Side.from_dict(saved[name]) for name in ("a", "b")}
        maps = None if saved["maps"] is None else MapDifference(**saved["maps"])
        return cls(**{**saved, **sides, "maps": maps})

    def _change(self, name: str) -> float | None:
        if not self.said_by_both:
            return None
        before, after = getattr(self.a, name), getattr(self.b, name)
        return None if before is None or after is None else table.rounded(after - before)


def pairs(a: Explanation, b: Explanation) -> tuple[WordPair, ...]:
    """The words of two explanations of one picture beside each other, in the order of the texts."""
    beside, same = [], True
    for i, j in aligned([word.label for word in a], [word.label for word in b]):
        a_word, b_word = None if i is None else a[i], None if j is None else b[j]
        both = a_word is not None and b_word is not None and a_word.mapped and b_word.mapped
        maps = between(a_word, b_word) if a_word is not None and b_word is not None and both else None
        left = None if a_word is None else Side.of(a_word, i or 0, b_word)
        right = None if b_word is None else Side.of(b_word, j or 0, a_word)
        said = [table.says_something(why, word) for why, word in ((a, a_word), (b, b_word)) if word is not None]
        pair = WordPair(left, right, maps, not same, any(said))
        same = same and pair.said_by_both
        beside.append(pair)
    return tuple(beside)


def aligned(a: Sequence[str], b: Sequence[str]) -> Iterator[tuple[int | None, int | None]]:
    """Positions of the words that belong together, in order; None where a text has no word there.

    Words said by both are found by difflib, whatever their case; what stands between them is paired in order.

    >>> list(aligned(["a", "red", "car"], ["a", "car", "outside"]))
    [(0, 0), (1, None), (2, 1), (None, 2)]
    """
    matcher = SequenceMatcher(None, list(map(_key, a)), list(map(_key, b)), autojunk=False)
    for _, first, stop, begin, end in matcher.get_opcodes():
        for place in range(max(stop - first, end - begin)):
            i, j = first + place, begin + place
            yield i if i < stop else None, j if j < end else None


def _rival(word: WordExplanation, label: str) -> tuple[str, float] | None:
    """Another label with its log p among a word's alternatives."""
    found = [logprob for name, logprob in word.alternatives if _key(name) == _key(label)]
    logprob = table.rounded(found[0]) if found else None
    return None if logprob is None else (label, logprob)


def _key(word: str) -> str:
    return word.strip().casefold()


def _lost(change: float | None) -> float:
    return 0.0 if change is None else -math.expm1(-abs(change))
