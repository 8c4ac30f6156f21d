"""What the words of a batch owe to their pictures: log p there, and with references in the picture's place.

One measurement, for the metric "hallucination" and for audits.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from vlx.evaluation.shown import ShownBatch
from vlx.probes import references
from vlx.probes.owing import tables
from vlx.protocol.targets import Target, Word


class OwedWord(NamedTuple):
    """``seen`` is the mean fall of log p in nats, each within log C of C choices; ``looked`` is L in [0, 1]."""

    seen: float
    looked: float


def owed_words(shown: ShownBatch, words: Sequence[tuple[Word, Target]]) -> list[OwedWord]:
    """What N words owe, in their order; the row of a word's target says which picture of the batch it is about.

    References are made of each picture that is asked about, and shown to the model together.

    >>> owed_words(shown, [(word, word_target(prediction, 0, 0, "logprob"))])
    [OwedWord(seen=2.31, looked=0.88)]
    """
    rows = sorted({target.row for _, target in words})
    if not rows:
        return []
    numbers = {row: [n for n, (_, target) in enumerate(words) if target.row == row] for row in rows}
    targets = [replace(target, row=0) for _, target in words]
    pictures = [shown.examples[row].image for row in rows]
    others = references.made_elsewhere(shown.task, pictures, asked=targets)
    asked = [(other.features, [targets[n] for n in numbers[row]]) for row, other in zip(rows, others, strict=True)]
    gone = {
        number: falls.tolist()
        for row, table in zip(rows, tables(shown.task, asked), strict=True)
        for number, falls in zip(numbers[row], table, strict=True)
    }
    return [_owed(word, targets[number], gone[number]) for number, (word, _) in enumerate(words)]


def _owed(word: Word, target: Target, gone: Sequence[float]) -> OwedWord:
    steps = len({term.step for term in target.terms})
    room = np.inf if word.choices is None else steps * float(np.log(word.choices))
    seen = float(np.mean(references.owed(word.logprob, gone, room)))
    return OwedWord(seen, references.looked(word.logprob, gone))
