"""What an answer leans on where it errs: a pair of an answer and a concept, tried by how often and by how much.

An answer leans on a concept when two things hold, neither of which looks at how the answers came out: among pictures
that truly show something else it is said more often where the concept is there than where it is not; and there the
concept's pixels speak for it, and do so more than other concepts of the same category do where those are there.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vlx.auditing.answered import ALIKE
from vlx.auditing.answers import AnswerColumns, ConceptColumns
from vlx.auditing.result import FEWEST
from vlx.auditing.statistics import (
    NAN,
    Numbers,
    Tested,
    Values,
    Which,
    above,
    above_nothing,
    count,
    more_often,
    parting,
)
from vlx.evaluation.intervals import mean_of


@dataclass(frozen=True, eq=False)
class Lean:
    """One pair of an answer (number of `AnswerColumns.labels`) and a concept, with all that was tried of it.

    ``often``: how often it is said of pictures that show something else, with the concept and without it. ``excess``:
    the concept's contrast evidence for it, in nats, beside that of others of its category (``beside_others``), or 0.
    ``speaks``: the same beside 0. ``p`` is the largest of their three. ``undone`` is the share of wrong answers with it
    that lead by less than its excess evidence.
    """

    answer: int
    carried: ConceptColumns
    often: Tested
    excess: Tested
    speaks: Tested
    p: float
    undone: float
    beside_others: bool


class Carries(NamedTuple):
    """A concept's signed sum for an answer, an absent concept counting 0: means where that is wrong, and where right.

    ``wrong`` and ``right`` are numbers of pictures, ``pictures`` that of both.
    """

    where_wrong: float
    where_right: float
    wrong: int
    right: int
    pictures: int


def leans(answers: AnswerColumns, source: str) -> Iterator[Lean]:
    """Every pair that can be judged: each side of what is compared has at least `FEWEST` pictures."""
    concepts = answers.carried(source)
    if source == ALIKE:
        concepts = {name: _where_much(answers, carried) for name, carried in concepts.items()}
    for answer in answers.spoken():
        errs = answers.wrong & (answers.said == answer) & (answers.true != answer)
        if answers.pictures_of(errs) >= FEWEST:
            yield from _of_answer(answers, answer, errs, concepts)


def _where_much(answers: AnswerColumns, carried: ConceptColumns) -> ConceptColumns:
    """What a kind of cells carries in pictures that have much of it: a few cells of nearly every kind are everywhere.

    Much is more than the area that parts the pictures best, whatever is said of them.
    """
    areas = np.zeros(answers.pictures)
    areas[answers.picture[carried.rows]] = carried.area
    much = carried.area > parting(areas)
    rows, signed, share = carried.rows[much], carried.signed[much], carried.share[much]
    names = carried.concept, carried.category
    return ConceptColumns(*names, rows, signed, share, carried.contrast[much], carried.area[much])


def carries(answers: AnswerColumns, lean: Lean) -> Carries:
    """What its concept carries of an answer where that is wrong and where it is right."""
    signed, said = lean.carried.spread(lean.carried.signed, len(answers)), answers.said == lean.answer
    sides = [outcome & said for outcome in (answers.wrong, answers.right)]
    wrong, right = (answers.pictures_of(side) for side in sides)
    means = [mean_of(signed[side]) for side in sides]
    return Carries(means[0], means[1], wrong, right, answers.pictures_of(sides[0] | sides[1]))


def _of_answer(
    answers: AnswerColumns, answer: int, errs: Which, concepts: Mapping[str, ConceptColumns]
) -> Iterator[Lean]:
    rows, strata = elsewhere(answers, answer, errs)
    pictures, said = answers.picture[rows], answers.said[rows] == answer
    signs = _signs(answers, answer)
    known = {
        name: carried.spread(carried.contrast * signs[carried.rows], len(answers), NAN)[rows]
        for name, carried in concepts.items()
    }
    of_category = _by_category(answers, answer, rows, concepts, known)
    taken_for = _taken_for(answers, answer, errs, concepts)
    first = first_rows(pictures, strata, said)
    for name, carried in concepts.items():
        there = carried.spread(np.ones(len(carried.rows)), len(answers))[rows] > 0
        with_it, without = (count(pictures[which]) for which in (there, ~there))
        if name == answers.labels[answer] or carried.category == taken_for or min(with_it, without) < FEWEST:
            continue
        p_often = more_often(there[first], said[first], strata[first], pictures[first])
        often = above(*split(said[first].astype(float), there[first]), strata[first], pictures[first])
        others = _others(of_category[carried.category], known[name]) if carried.category else np.full(len(rows), NAN)
        speaks = above_nothing(known[name], pictures)
        excess = above(known[name], others, strata, pictures)
        beside_others = excess.pictures >= FEWEST
        excess = excess if beside_others else speaks
        p = max(p_often, excess.p, speaks.p) if speaks.pictures >= FEWEST else NAN
        if p == p and p_often == p_often and excess.p == excess.p:
            yield Lean(
                *(answer, carried, often, excess, speaks, p),
                _undone(answers.measured("lead")[rows], known[name], excess, said & there),
                beside_others,
            )


def _taken_for(answers: AnswerColumns, answer: int, errs: Which, concepts: Mapping[str, ConceptColumns]) -> str | None:
    """The category of what may be the truth of its errors where nobody tells it: that of the answer itself.

    What is striped and is called checkered is taken for what is like it, and that is no lean. None where the truth is
    known, and of data with one category of concepts.
    """
    itself, categories = concepts.get(answers.labels[answer]), {one.category for one in concepts.values()}
    known = bool((answers.true[errs] >= 0).all())
    return None if itself is None or known or len(categories) == 1 else itself.category


def elsewhere(answers: AnswerColumns, answer: int, errs: Which) -> tuple[Numbers, Numbers]:
    """The answers about pictures that truly show something else, and what they are alike in: their group and truth.

    Only truths that it is ever said of. Where the truth of some of its errors is not known, truths are not told apart.
    """
    judged = answers.right | answers.wrong
    open_ = judged & (answers.true != answer) & ~(answers.right & (answers.said == answer))
    told = bool((answers.true[errs] >= 0).all())
    strata = answers.group * (len(answers.labels) + 1) + (answers.true + 1 if told else 0)
    rows = np.flatnonzero(open_ & np.isin(strata, strata[errs]))
    return rows, np.unique(strata[rows], return_inverse=True)[1]


def _signs(answers: AnswerColumns, answer: int) -> Values:
    """What turns the contrast of each answer into one for this answer: 1, −1, or NaN where it is of two others."""
    return np.where(answers.said == answer, 1.0, np.where(answers.instead == answer, -1.0, NAN))


def first_rows(pictures: Numbers, strata: Numbers, said: Which) -> Numbers:
    """One row of each picture and stratum: one that is said, where there is any."""
    order = np.argsort(~said, kind="stable")
    _, first = np.unique(np.stack([pictures, strata])[:, order], axis=1, return_index=True)
    return order[first]


def _by_category(
    answers: AnswerColumns,
    answer: int,
    rows: Numbers,
    concepts: Mapping[str, ConceptColumns],
    known: Mapping[str, Values],
) -> dict[str, tuple[Values, Values]]:
    """The sum and number of contrasts on concepts of each category, without what is said and what is true."""
    true = np.array([*answers.labels, ""], object)[answers.true[rows]]
    sums: dict[str, tuple[Values, Values]] = {}
    for name, carried in concepts.items():
        total, count = sums.setdefault(carried.category, (np.zeros(len(rows)), np.zeros(len(rows))))
        if name != answers.labels[answer]:
            values = np.where(true == name, NAN, known[name])
            known[name][true == name] = NAN
            total += np.nan_to_num(values)
            count += ~np.isnan(values)
    return sums


def _others(sums: tuple[Values, Values], itself: Values) -> Values:
    """The mean contrast on the others of a category, NaN where there are none."""
    total, count = sums[0] - np.nan_to_num(itself), sums[1] - ~np.isnan(itself)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(count > 0, total / count, NAN)


def split(values: Values, there: Which) -> tuple[Values, Values]:
    """Values where something is there, and where it is not; NaN elsewhere."""
    return np.where(there, values, NAN), np.where(there, NAN, values)


def _undone(lead: Values, contrast: Values, excess: Tested, errs: Which) -> float:
    """The share of errors with it that lead by less than what it carries beyond others of its category."""
    beyond = contrast - excess.second
    counted = errs & ~np.isnan(beyond) & ~np.isnan(lead)
    return float((lead < beyond)[counted].mean()) if counted.any() else NAN
