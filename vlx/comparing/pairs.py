"""One picture as two explain it, its words side by side, and in what they differ most."""

import base64
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from PIL import Image

from vlx.comparing import words
from vlx.comparing.words import Side, WordPair
from vlx.errors import InputError
from vlx.explanation.records import Explanation
from vlx.report import answers, numbers, wording

SIDE = 240  # pixels of the kept picture's longer side
QUALITY = 80


@dataclass(frozen=True, eq=False)
class PicturePair:
    """One picture, by ``name``, as A and B explain it; ``jpeg`` is the picture made small."""

    name: str
    text_a: str
    text_b: str
    words: tuple[WordPair, ...]
    jpeg: bytes
    question: str = ""
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, name: str, a: Explanation, b: Explanation) -> Self:
        """Compare two explanations of one picture. Raises InputError where they are of two."""
        require_one_picture(a, b)
        notes = [f"{letter}: {note}" for letter, why in (("A", a), ("B", b)) for note in (*why.scope, *why.notes)]
        asked = " / ".join(dict.fromkeys(why.question for why in (a, b) if why.question))
        return cls(
            name,
            answers.title(a),
            answers.title(b),
            words.pairs(a, b),
            _thumbnail(a),
            asked,
            (*_obstacles(a, b), *notes),
        )

    @property
    def difference(self) -> float:
        """The largest difference of its words, 0 to 1."""
        return max((pair.difference for pair in self.words), default=0.0)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; `from_dict` makes an equal pair of it."""
        plain = {"name": self.name, "text_a": self.text_a, "text_b": self.text_b, "question": self.question}
        jpeg = base64.b64encode(self.jpeg).decode("ascii")
        return {**plain, "words": [pair.to_dict() for pair in self.words], "jpeg": jpeg, "notes": list(self.notes)}

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Self:
        """The pair that `to_dict` was called on."""
        texts = {name: str(saved[name]) for name in ("name", "text_a", "text_b", "question")}
        pairs = tuple(map(WordPair.from_dict, saved["words"]))
        return cls(**texts, words=pairs, jpeg=base64.b64decode(saved["jpeg"]), notes=tuple(map(str, saved["notes"])))


@dataclass(frozen=True)
class Ranked:
    """A pair of words with its picture, ``rank`` from 1 for the one that differs most."""

    rank: int
    picture: PicturePair
    pair: WordPair


def said(pair: WordPair) -> str:
    """What differs most between two words, in a sentence."""
    a, b = pair.a, pair.b
    if a is None or b is None:
        only = a or b
        return f"only {'B' if a is None else 'A'} says “{'' if only is None else only.word}”"
    if not pair.said_by_both:
        return f"A says “{a.word}”{_against('B', b)}, B “{b.word}”{_against('A', a)}"
    return f"“{a.word}”: {_kinds(pair, a, b)[pair.by]}"


def _against(letter: str, other: Side) -> str:
    """The word's chance with the other side, where that is known."""
    return "" if other.rival is None else f" (with {letter} p {numbers.share(other.rival[1])})"


def _kinds(pair: WordPair, a: Side, b: Side) -> dict[str, str]:
    maps = pair.maps
    moved = "" if maps is None or maps.elsewhere is None else f"{percent(maps.elsewhere)} of its heat lies elsewhere"
    ranks = "" if maps is None or maps.correlation is None else f"rank correlation {signed(maps.correlation)}"
    return {
        "": "the same",
        "log p": f"p {_share(a.logprob)} → {_share(b.logprob)} (log p {nats(pair.logprob_change)})",
        "seen": f"owed to the picture {nats(a.seen)} → {nats(b.seen)} nats",
        "value": f"{_number(a.score)} → {_number(b.score)}",
        "map": ", ".join(filter(None, [moved, ranks])),
    }


def require_one_picture(a: Explanation, b: Explanation) -> None:
    """Raises InputError where two explanations are of pictures of different size."""
    (tall, wide), (high, broad) = a.image.shape[:2], b.image.shape[:2]
    if (tall, wide) != (high, broad):
        raise InputError(
            f"two explanations of one picture are compared; A's has {wide}×{tall} pixels, B's {broad}×{high}"
        )


def _obstacles(a: Explanation, b: Explanation) -> Iterator[str]:
    """What stands in the way of a fair comparison."""
    if not np.array_equal(a.image, b.image):
        yield "the pictures of A and B are of one size and not the same"
    if (a.question or "") != (b.question or ""):
        yield f"A was asked “{a.question}”, B “{b.question}”"
    if answers.title(a) != answers.title(b):
        yield "the texts differ: log p after another beginning is not that of the same question"
    targets = [dict.fromkeys(word.target for word in why) for why in (a, b)]
    if targets[0].keys() != targets[1].keys():
        listed = [", ".join(one) or "nothing" for one in targets]
        yield f"A's maps are of {listed[0]}, B's of {listed[1]}: their strengths have different units"


def _thumbnail(why: Explanation) -> bytes:
    image = Image.fromarray(why.image)
    image.thumbnail((SIDE, SIDE))
    held = io.BytesIO()
    image.save(held, "JPEG", quality=QUALITY, optimize=True)
    return held.getvalue()


def percent(value: float) -> str:
    """A share as a percentage, without decimals."""
    return f"{100 * value:.0f} %"


def signed(value: float) -> str:
    """A number of two decimals, with a minus sign."""
    return f"{value:.2f}".replace("-", "−")


def nats(value: float | None) -> str:
    """A difference of log p; a dash where there is none."""
    return "–" if value is None else wording.difference(value)


def _share(logprob: float | None) -> str:
    return "–" if logprob is None else numbers.share(logprob)


def _number(value: float | None) -> str:
    return "–" if value is None else numbers.figure(value)
