"""What is asked of every answer besides what it leans on: is it owed to the picture, does its map hold, is it there?"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from vlx.auditing.answered import CONCEPTS
from vlx.auditing.answers import AnswerColumns
from vlx.auditing.result import FEWEST, Kind, Listed, Occurrence
from vlx.auditing.statistics import NAN, Tested, Values, Which, above, above_nothing, more_often, more_than_half
from vlx.evaluation.intervals import mean_of, over_pictures
from vlx.language import FUNCTION_WORDS
from vlx.report.wording import LITTLE

OUTSIDE = 0.5  # of max(S, 0) on what was said: less than that rests outside it
UNSURE = 0.35  # p of a word: less is taken for a word that is not in the picture, where nobody knows
# Chosen on scenes/captioner-pooled (300 scenes from 30,000,000: of 373 such words 74 % are wrong, half of all wrong
# ones), judged on scenes/captioner (300 scenes from 40,000,000: both of 2 are wrong, of 20 wrong words in all).
LISTED = 200


@dataclass(frozen=True, eq=False)
class Sign:
    """How often one ``kind`` of sign is on an ``answer`` (a number of `AnswerColumns.labels`), beside other answers.

    ``share`` of ``n`` pictures' answers have it, with its interval over pictures; ``others`` is the share elsewhere.
    ``wrong`` is how often those that have it are wrong, beside all other answers. ``p`` is the larger of two: of a
    share of half or less (of "outside" of no less evidence on the thing than its area gives), and of being wrong no
    more often than the others are: what goes with no error is in tables. Where nobody knows, it is the first.
    """

    kind: Kind
    answer: int
    share: float
    low: float
    high: float
    others: float
    wrong: Tested
    n: int
    p: float


def unowed(answers: AnswerColumns) -> Values:
    """1 where the picture hardly moves an answer (`LITTLE` nats), 0 where it does, NaN where it was not tried."""
    looked, seen = answers.measured("looked"), answers.measured("seen")
    moved = np.where(np.isnan(looked), np.abs(seen), looked)
    return np.where(np.isnan(moved), NAN, moved < LITTLE)


def failed(answers: AnswerColumns) -> Values:
    """1 where the check of a map does not hold, 0 where it does, NaN where it was not or could not be tried."""
    verdicts = {"confirmed": 0.0, "weak": 0.0, "not confirmed": 1.0}
    return np.array([verdicts.get(one.check, NAN) for one in answers.all], np.float64)


def outside(answers: AnswerColumns) -> Values:
    """1 where more than half of a map lies outside what was said, 0 where not, NaN where its pixels are not known."""
    inside = answers.measured("own")
    return np.where(np.isnan(inside), NAN, inside < OUTSIDE)


def absent(answers: AnswerColumns) -> Values:
    """1 where a word is not in the picture, by the data or, where they do not tell, by its p; 0 where it is."""
    likely = answers.measured("logprob")
    guessed = np.where(np.isnan(likely), NAN, likely < np.log(UNSURE))
    return np.where(answers.right, 0.0, np.where(answers.wrong, 1.0, guessed))


def signs(answers: AnswerColumns, *, words: bool) -> Iterator[Sign]:
    """Each sign of each answer that has enough pictures; ``words``: the answers are words of captions.

    Maps that rest outside what was said are a sign only where it has less of them than its area would give by chance.
    """
    tried: dict[Kind, Values] = {
        **{"unowed": unowed(answers), "map checks": failed(answers), "outside": _by_area(answers)},
        **({"hallucination": np.where(answers.right | answers.wrong, answers.wrong, NAN)} if words else {}),
    }
    for kind, values in tried.items():
        known = ~np.isnan(values)
        for answer in answers.spoken():
            if words and answers.labels[answer] in FUNCTION_WORDS:
                continue
            which = known & (answers.said == answer)
            n = answers.pictures_of(which)
            if n >= FEWEST:
                yield _sign(answers, kind, answer, values, known, n)


def _sign(answers: AnswerColumns, kind: Kind, answer: int, values: Values, known: Which, n: int) -> Sign:
    which = known & (answers.said == answer)
    hits, pictures = values[which], answers.picture[which]
    p = above_nothing(hits, pictures).p if kind == "outside" else more_than_half(hits > 0, pictures)
    others, wrong = mean_of(values[known & ~which]), Tested()
    judged = answers.right | answers.wrong
    if kind != "hallucination" and judged.any():
        wrong, p_wrong = _goes_wrong(answers, which & (values > 0) & judged, judged)
        p = max(p, p_wrong)
    return Sign(kind, answer, mean_of(hits), *over_pictures(hits, pictures), others, wrong, n, p)


def _goes_wrong(answers: AnswerColumns, which: Which, judged: Which) -> tuple[Tested, float]:
    """How often some answers are wrong beside all others, and the p of no more often; 1 where it cannot be told."""
    there, wrong, pictures = which[judged], answers.wrong[judged], answers.picture[judged]
    alike = np.zeros(len(there), np.intp)
    rates = np.where(there, wrong, NAN), np.where(there, NAN, wrong)
    p = more_often(there, wrong, alike, pictures)
    return above(*rates, alike, pictures), p if p == p else 1.0


def _by_area(answers: AnswerColumns) -> Values:
    """The share of the cells that what was said covers, less its share of the map; NaN where either is not known."""
    less = answers.measured("own").copy()
    for number, answer in enumerate(answers.all):
        itself = answer.evidence.get(CONCEPTS, {}).get(answer.counted(answer.said))
        less[number] = NAN if itself is None else itself.area - less[number]
    return less


# The lists


def listed(answers: AnswerColumns, *, words: bool) -> dict[str, Listed]:
    """What is "outside", "hallucinated" and "unowed", the worst first; ``words``: the answers are words of captions."""
    inside, likely, seen, looked = (answers.measured(name) for name in ("own", "logprob", "seen", "looked"))
    lists = {
        "outside": _list(answers, outside(answers), 1 - inside, inside, _OUTSIDE, _NO_MASKS),
        "unowed": _list(answers, unowed(answers), seen, looked, _UNOWED, _UNTRIED),
    }
    if not words:
        return {**lists, "hallucinated": Listed(why="only words of captions are asked whether they are there")}
    surest = np.where(answers.wrong, -likely, 1e6 + likely)  # wrong and sure first, then what is least likely
    hallucinated = _list(answers, absent(answers), np.exp(likely), surest, _ABSENT, "no word has a p")
    return {**lists, "hallucinated": hallucinated}


_OUTSIDE = "more than half of the map lies outside the pixels of what was said"
_NO_MASKS = "the data tell no pixels of what was said"
_UNOWED = f"other pictures in its place move log p by less than {LITTLE} nats"
_ABSENT = f"words that are wrong by the data; where these do not tell, words with p under {UNSURE:.2f}"
_UNTRIED = "what is owed to the picture was not tried"


def _list(answers: AnswerColumns, hits: Values, told: Values, order: Values, how: str, why: str) -> Listed:
    """Answers with ``hits`` 1, by ``order`` from the smallest; NaN of ``hits`` was not looked at."""
    looked_at = int((~np.isnan(hits)).sum())
    if not looked_at:
        return Listed(why=why)
    rows = np.flatnonzero(hits == 1)
    rows = rows[np.argsort(order[rows], kind="stable")]
    first = [answers.all[row] for row in rows[:LISTED].tolist()]
    occurrences = tuple(
        Occurrence(one.key, one.said, float(value), one.text or one.question)
        for one, value in zip(first, told[rows[:LISTED]], strict=True)
    )
    return Listed(occurrences, len(rows), looked_at, how)
