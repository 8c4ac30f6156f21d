"""A row an answer: how often it was said and right, what each concept carries of it, what it owes, which maps hold."""

from collections.abc import Mapping

import numpy as np

from vlx.auditing.answers import AnswerColumns, ConceptColumns
from vlx.auditing.result import AnswerTally, ConceptRow, Weighed
from vlx.auditing.signs import failed, unowed
from vlx.auditing.statistics import Which
from vlx.evaluation.intervals import mean_of


def tallies(answers: AnswerColumns, source: str = "") -> tuple[AnswerTally, ...]:
    """A row for everything that was said, the most often wrong first, then the most often said.

    ``source`` is where evidence is taken from, by default the first that there is: masks of the data.

    >>> tallies(AnswerColumns(answers))[0].answer
    'car'
    """
    unmoved, broken, seen = unowed(answers), failed(answers), answers.measured("seen")
    concepts = answers.carried(source or next(iter(answers.sources), ""))
    rows: list[tuple[int, AnswerTally]] = []
    for label in answers.spoken():
        said = answers.said == label
        right, wrong = (int((said & outcome).sum()) for outcome in (answers.right, answers.wrong))
        owes, holds = (values[said & ~np.isnan(values)] for values in (unmoved, broken))
        tally = AnswerTally(
            answers.labels[label],
            int(said.sum()),
            right if right + wrong else None,
            true=answers.pictures_of(answers.true == label),
            concepts=tuple(_rows(answers, said, concepts)),
            seen=mean_of(seen[said]),
            unowed=int(owes.sum()),
            owed_tried=len(owes),
            failed=int(holds.sum()),
            tried=len(holds),
        )
        rows.append((wrong, tally))
    return tuple(tally for _, tally in sorted(rows, key=lambda row: (-row[0], -row[1].said)))


def _rows(answers: AnswerColumns, said: Which, concepts: Mapping[str, ConceptColumns]) -> list[ConceptRow]:
    """What each concept carries, the largest shares of the evidence first; what is nowhere there is left out.

    Where it is not known which answers are right, all count as right.
    """
    known = answers.right | answers.wrong
    sides = [said & (answers.right | ~known), said & answers.wrong]
    rows = [
        ConceptRow(one.concept, one.category, *(_weighed(answers, side, one) for side in sides))
        for one in concepts.values()
        if said[one.rows].any()
    ]
    return sorted(rows, key=_carried, reverse=True)


def _weighed(answers: AnswerColumns, side: Which, concept: ConceptColumns) -> Weighed:
    count = len(answers)
    there = concept.spread(np.ones(len(concept.rows)), count) > 0
    share, signed = (mean_of(concept.spread(values, count)[side]) for values in (concept.share, concept.signed))
    return Weighed(answers.pictures_of(side), share, signed, answers.pictures_of(side & there))


def _carried(row: ConceptRow) -> float:
    """The share of the evidence that it has on all pictures."""
    return float(sum(side.n * side.share for side in (row.right, row.wrong) if side.n and side.share == side.share))
