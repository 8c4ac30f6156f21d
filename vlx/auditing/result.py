"""What an audit tells: its findings in sentences, a row an answer, the worst mistakes, and what could not be told.

>>> audit = vlx.audit(task, "classes:birds", out="runs/birds")
>>> audit.findings[0].sentence
'for “rocket”, night carries +1.9 logits where the answer is wrong, +0.2 where it is right; 212 pictures'
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from vlx.data.example import Box

Kind = Literal["leans", "unowed", "map checks", "outside", "hallucination", "one answer", "never said", "told"]
Level = Literal["finding", "note"]
FEWEST = 20  # pictures of a group that is judged; smaller ones are told
WORST = 20  # mistakes that are shown with their maps


@dataclass(frozen=True)
class Crop:
    """A part of a picture that shows what a concept without a name of its own looks like.

    ``key`` is the picture's name in the data, ``box`` (left, top, width, height) in pixels of the picture.
    """

    key: str
    box: Box


@dataclass(frozen=True)
class HidingTrial:
    """What became of wrong answers when a concept was hidden in A: how many of ``tried`` changed, and by chance.

    ``changed`` are those that then gave the true answer (where it is not known: another), ``random`` the same with as
    many random cells hidden instead, on the mean. ``beside`` is "same" where the concept covers most of the pictures,
    and random cells would be nearly the same ones: then ``random`` is with what it looks like elsewhere in its place.
    """

    tried: int
    changed: int
    random: float
    beside: Literal["random", "same"] = "random"


@dataclass(frozen=True)
class Finding:
    """One thing that was found: a ``sentence``, its effect with an interval, and what was compared with what.

    ``answer`` and ``concept`` (of a ``category``) are what it is about, "" where it is about none. ``effect`` is in
    ``unit`` and has a 95 % interval over pictures, ``low`` to ``high``; of ``n`` pictures. ``p`` is that of its test
    and ``adjusted`` the same corrected for all that was looked at; NaN where nothing was tested. ``level``: a "finding"
    passed its test, a "note" is told and not judged, as of groups of fewer than `FEWEST` pictures. ``trial`` is what
    hiding the concept did, None where it was not tried. ``examples`` show a concept that no mask and no name tells.

    >>> Finding("leans", "for “rocket”, night carries …", answer="rocket", concept="night", effect=1.7, n=212)
    """

    kind: Kind
    sentence: str
    level: Level = "finding"
    answer: str = ""
    concept: str = ""
    category: str = ""
    effect: float = math.nan
    low: float = math.nan
    high: float = math.nan
    unit: str = ""
    n: int = 0
    compared: str = ""
    p: float = math.nan
    adjusted: float = math.nan
    trial: HidingTrial | None = None
    examples: tuple[Crop, ...] = ()


@dataclass(frozen=True)
class Weighed:
    """What a concept carries on some pictures: their number ``n``, its share of Σ|S|, its signed sum.

    ``share`` is from 0 to 1, ``signed`` in the target's unit; both are means over pictures, on which an absent concept
    counts 0, and NaN where there are no pictures. ``there``: on how many of them the concept is.
    """

    n: int = 0
    share: float = math.nan
    signed: float = math.nan
    there: int = 0


@dataclass(frozen=True)
class ConceptRow:
    """The evidence of one answer on one concept, where the answer is right and where it is wrong.

    Where it is not known which answers are right, all pictures count as ``right`` and ``wrong`` has none.
    """

    concept: str
    category: str
    right: Weighed
    wrong: Weighed


@dataclass(frozen=True)
class AnswerTally:
    """One class, word or answer: how often it was ``said``, and how often that was right.

    ``right`` is None where it is not known; ``true`` is on how many pictures it is the truth, 0 where that is not
    known. ``concepts`` are the evidence, strongest first. ``seen`` is the mean of what it owes to the picture in nats,
    ``unowed`` how many of ``owed_tried`` owe nothing. ``failed`` of ``tried`` map checks did not hold.
    """

    answer: str
    said: int
    right: int | None
    true: int = 0
    concepts: tuple[ConceptRow, ...] = ()
    seen: float = math.nan
    unowed: int = 0
    owed_tried: int = 0
    failed: int = 0
    tried: int = 0


@dataclass(frozen=True)
class ConceptEvidence:
    """What one concept carries of one answer: its ``share`` of Σ|S|, 0 to 1, and its ``signed`` sum."""

    concept: str
    category: str
    share: float
    signed: float


@dataclass(frozen=True)
class Mistake:
    """A wrong answer, with what is needed to explain it again beside the true one.

    ``key`` is the picture's name in the data. ``said`` and ``true`` are answers, with their log p in nats (NaN where
    there is none); ``lead`` is how far the first is above the second, in nats. ``instead`` is what the model calls the
    true one. ``question`` was asked, "" where nothing was; of a caption ``text`` is all that was said and ``position``
    the place of the word. ``counted`` is the answer that ``said`` counts as where this is another: the data's class of
    several labels. ``carried`` is where the contrast of the two rests, strongest first, in ``unit``.
    """

    key: str
    said: str
    true: str
    instead: str
    said_logprob: float
    true_logprob: float
    lead: float
    question: str = ""
    text: str = ""
    position: int = 0
    carried: tuple[ConceptEvidence, ...] = ()
    unit: str = ""
    seen: float = math.nan
    check: str = ""
    counted: str = ""


@dataclass(frozen=True)
class Occurrence:
    """One answer on one picture that is listed: it rests outside its mask, is not there at all, or owes nothing.

    ``value`` is why it is listed: the share of its map outside its own mask (0 to 1), its p (0 to 1), or the nats that
    it owes to the picture. ``text`` is the caption, or the question.
    """

    key: str
    answer: str
    value: float
    text: str = ""


@dataclass(frozen=True)
class Listed:
    """Occurrences of one kind, the worst first: ``total`` in all, of ``of`` that were looked at.

    ``occurrences`` are the first of them. ``how`` says in a sentence what makes one, with its threshold; "" where this
    could not be asked here, and ``why`` says why not.
    """

    occurrences: tuple[Occurrence, ...] = ()
    total: int = 0
    of: int = 0
    how: str = ""
    why: str = ""


@dataclass(frozen=True)
class Audit:
    """What an audit of ``model`` on ``n`` pictures of ``data`` tells.

    ``answer_is`` is what is said of a picture: "class", "word" or "answer". ``findings`` come first, those that passed
    their test before what is only told; ``looked_at`` pairs of an answer and a concept were tested together, at a
    family-wise error of ``alpha``. ``right`` of ``judged`` answers are right; both are 0 where that is not known.
    ``concepts_are`` says what evidence was summed on: a source of `vlx.auditing.answered`.
    ``outside``, ``hallucinated`` and ``unowed`` are the lists of answers beside what they should rest on. ``strength``
    is one number that ranks models by how far they lean on the wrong thing. ``notes`` tell what was left out, and why;
    ``unread`` the pictures that could not be read. ``how`` are sentences on how it was measured, ``command`` repeats
    it.
    """

    model: str
    data: str
    n: int
    answer_is: str = "answer"
    unit: str = ""
    method: str = ""
    target: str = ""
    findings: tuple[Finding, ...] = ()
    answers: tuple[AnswerTally, ...] = ()
    mistakes: tuple[Mistake, ...] = ()
    outside: Listed = Listed()
    hallucinated: Listed = Listed()
    unowed: Listed = Listed()
    right: int = 0
    judged: int = 0
    looked_at: int = 0
    alpha: float = 0.05
    strength: float = math.nan
    concepts_are: str = ""
    how: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    command: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """All of it as plain JSON; None for what is NaN.

        >>> audit.to_json()["findings"][0]["answer"]
        'rocket'
        """
        plain: dict[str, Any] = _plain(asdict(self))
        return {"audit": 1, **plain}


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value
