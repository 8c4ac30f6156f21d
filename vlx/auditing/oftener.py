"""What a word or an answer is said with so much more often that this tells by itself: a colour that is said of a kind.

The kind, the colour and the texture of a thing lie on the same pixels. Where "red" is said of cars whatever their
colour, what speaks for it lies where what speaks against it does, and their sum may come to nothing, which
`vlx.auditing.leaning` asks for. Here how often it is said of pictures that truly show something else is compared, with
a concept of another category and without it; that it goes when the concept is hidden has then to be tried.

Concepts that come together, a car and its wheels, are told apart: first the one that it is said most with, the others
only as far as it is said more often with them, too, among pictures that are alike in the first. One of the answer's own
category is what it is taken for, a car for a boat: it is no lean, and explains what comes with it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from vlx.auditing.answered import CONCEPTS
from vlx.auditing.answers import AnswerColumns, ConceptColumns
from vlx.auditing.leaning import elsewhere, first_rows, split
from vlx.auditing.result import FEWEST
from vlx.auditing.statistics import Numbers, Tested, Which, above, count, more_often
from vlx.evaluation.intervals import mean_of

LEAST = 1 / 3  # how much oftener, of pictures with it, by the lower end of the interval: less is not found
# Chosen on twelve captioners of examples/colour_bias.py (seeds 0 to 2 and 10 to 12, five ties): .40 and more of a tied
# colour that is said of 20 such pictures, .29 and less of any word of captioners of all colours.


@dataclass(frozen=True, eq=False)
class Oftener:
    """A pair of an answer (number of `AnswerColumns.labels`) and a concept of another category, tried by how often.

    ``often``: of how many of ``pictures`` that show something else it is said, with the concept and without it, among
    those that are alike in concepts which tell more. ``p`` is its p, and at least that among all. ``account`` is the
    share of its errors that would not be there if it were said as seldom with the concept as without. ``matters``:
    whether it is as much as `LEAST` asks for.
    """

    answer: int
    carried: ConceptColumns
    often: Tested
    p: float
    pictures: int
    account: float = 0.0
    matters: bool = False


@dataclass(frozen=True, eq=False)
class _Open:
    """Pictures that show something else than an answer: which have it said, their strata, on which concepts are."""

    said: Which
    strata: Numbers
    pictures: Numbers
    there: Mapping[str, Which]

    def p(self, name: str, strata: Numbers) -> float:
        return more_often(self.there[name], self.said, strata, self.pictures)

    def often(self, name: str, strata: Numbers) -> Tested:
        return above(*split(self.said.astype(float), self.there[name]), strata, self.pictures)


def oftener(answers: AnswerColumns) -> Iterator[Oftener]:
    """Every pair that can be judged: each side of what is compared has at least `FEWEST` pictures."""
    concepts = answers.carried(CONCEPTS)
    for answer in answers.spoken():
        itself = concepts.get(answers.labels[answer])
        errs = answers.wrong & (answers.said == answer) & (answers.true != answer)
        if itself is not None and answers.pictures_of(errs) >= FEWEST:
            others = {name: one for name, one in concepts.items() if one is not itself}
            yield from _of_answer(_open(answers, answer, errs, others), answer, itself.category, others)


def _open(answers: AnswerColumns, answer: int, errs: Which, concepts: Mapping[str, ConceptColumns]) -> _Open:
    rows, strata = elsewhere(answers, answer, errs)
    said = answers.said[rows] == answer
    first = first_rows(answers.picture[rows], strata, said)
    rows = rows[first]
    there = {
        name: carried.spread(np.ones(len(carried.rows)), len(answers))[rows] > 0 for name, carried in concepts.items()
    }
    pictures = answers.picture[rows]
    enough = {
        name: which for name, which in there.items() if min(count(pictures[which]), count(pictures[~which])) >= FEWEST
    }
    return _Open(said[first], strata[first], pictures, enough)


def _of_answer(open_: _Open, answer: int, category: str, concepts: Mapping[str, ConceptColumns]) -> Iterator[Oftener]:
    tested = {name: p for name in open_.there if (p := open_.p(name, open_.strata)) == p}
    telling = dict(_telling(open_, concepts, tested))
    pictures = count(open_.pictures)
    for name, p in tested.items():
        if concepts[name].category == category:
            continue
        often, p_beside = telling.get(name, (Tested(), 0.0))
        account = float(open_.there[name].sum() * often.effect / open_.said.sum())
        yield Oftener(answer, concepts[name], often, max(p, p_beside), pictures, account, name in telling)


def _telling(
    open_: _Open, concepts: Mapping[str, ConceptColumns], tested: Mapping[str, float]
) -> Iterator[tuple[str, tuple[Tested, float]]]:
    """The concepts that it is said much more often with, the most first, each beside those before it; and its p."""
    left, strata = [*tested], open_.strata
    while left:
        often = {name: open_.often(name, strata) for name in left}
        left = [name for name in left if often[name].pictures >= FEWEST and often[name].interval[0] >= LEAST]
        if not left:
            return
        best = max(left, key=lambda name: (round(often[name].interval[0], 9), mean_of(concepts[name].area)))
        yield best, (often[best], open_.p(best, strata))
        strata = np.unique(strata * 2 + open_.there[best], return_inverse=True)[1]
        left.remove(best)
