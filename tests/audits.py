"""Audits that are made up, for what is told of one: page, terminal, files."""

import math
from typing import Any

from vlx.auditing import AnswerTally, Audit, Finding, Mistake
from vlx.auditing.result import ConceptEvidence, ConceptRow, Crop, HidingTrial, Listed, Occurrence, Weighed

LEAN = Finding(
    "leans",
    "for “rocket”, night carries +1.90 logits where the class is wrong, +0.20 where it is right; 212 pictures",
    answer="rocket",
    concept="night",
    category="scene",
    effect=1.7,
    low=1.2,
    high=2.1,
    unit="nats",
    n=212,
    compared="52 wrong with 160 right ones",
    p=1e-5,
    adjusted=0.0006,
    trial=HidingTrial(20, 14, 1.2),
)
FEW = Finding("told", "“kite” is wrong on 7 pictures: told, not judged", "note", answer="kite", n=7)


def wrong(number: int = 0, **told: Any) -> Mistake:
    """The ``number``-th worst mistake: a car at night, called a rocket."""
    carried = (
        ConceptEvidence("night", "scene", 0.62, 3.1),
        ConceptEvidence("moon", "scene", 0.2, 1.0),
        ConceptEvidence("red", "color", 0.1, 0.4),
        ConceptEvidence("car", "object", 0.3, -1.2),
    )
    known = {"said_logprob": math.log(0.98), "true_logprob": math.log(0.012), "lead": 4.4 - number / 10}
    given = {"key": f"{number:04d}.jpg", "said": "rocket", "true": "car", "instead": "car", "carried": carried}
    return Mistake(**{**given, **known, "unit": "nats", "check": "confirmed", "seen": 2.5, **told})


def audited(**told: Any) -> Audit:
    """An audit of a classifier that takes what is dark for a rocket."""
    night = ConceptRow("night", "scene", Weighed(160, 0.2, 0.2, 40), Weighed(52, 0.6, 1.9, 50))
    given: dict[str, Any] = {
        "model": "mine.py:model",
        "data": "classes:birds",
        "n": 400,
        "answer_is": "class",
        "unit": "logits",
        "findings": (LEAN, FEW),
        "answers": (
            AnswerTally("rocket", 212, 160, 200, (night,), 2.1, 3, 212, 9, 212),
            AnswerTally("kite", 7, 0, 9),
        ),
        "mistakes": (wrong(0), wrong(1)),
        "outside": Listed((Occurrence("0001.jpg", "rocket", 0.81),), 1, 212, "half of the evidence lies elsewhere"),
        "hallucinated": Listed(why="the data do not tell what is not in their pictures"),
        "right": 320,
        "judged": 400,
        "looked_at": 64,
        "concepts_are": "concepts",
        "how": ("maps by Grad-CAM",),
        "notes": ("2 classes that the model lacks",),
        "command": "vlx audit mine.py:model classes:birds --out runs/birds",
    }
    return Audit(**{**given, **told})


def spoiled(text: str) -> Audit:
    """An audit with ``text`` in every place that names of the user's reach."""
    crop = Crop(text, (0.0, 0.0, 4.0, 4.0))
    finding = Finding("leans", f"for “{text}”; {text}", answer=text, concept=text, category=text, examples=(crop,))
    row = ConceptRow(text, text, Weighed(30, 0.2, 0.2, 4), Weighed(3, 0.6, 1.9, 5))
    carried = (ConceptEvidence(text, text, 0.5, 1.0), ConceptEvidence(text, text, 0.5, -1.0))
    listed = Listed((Occurrence(text, text, 0.8, text),), 1, 2, text)
    return audited(
        **dict.fromkeys(("model", "data", "command"), text),
        findings=(finding, Finding("told", text, "note", compared=text)),
        answers=(AnswerTally(text, 33, 30, 0, (row,)),),
        mistakes=(wrong(key=text, said=text, true=text, instead=text, question=text, text=text, carried=carried),),
        **dict.fromkeys(("outside", "hallucinated", "unowed"), listed),
        how=(text,),
        notes=(text,),
        unread=(text,),
        versions={text: text},
    )
