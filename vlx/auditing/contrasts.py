"""What was said rather than something else: the truth where it is wrong and known, else the likeliest other."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from vlx.auditing.answered import NAN
from vlx.auditing.judging import Judgement
from vlx.errors import InputError
from vlx.evaluation.cases import Case
from vlx.evaluation.spoken import others, runner_up
from vlx.methods.method import Site
from vlx.protocol.targets import Prediction, Query, Target, usual, word_target
from vlx.protocol.task import Features, Task


@dataclass(frozen=True)
class InsteadOf:
    """An answer beside its alternative: the alternative's ``label``, the ``target`` that asks for the difference.

    ``lead``: log p of the answer less that of the alternative, in nats.
    """

    label: str
    target: Target
    lead: float


def of_cases(
    task: Task, features: Features, cases: Sequence[Case], judged: Sequence[Judgement]
) -> list[InsteadOf | None]:
    """The contrast of each case; None where nothing else is known that could have been said.

    ``features`` are those of all pictures, to whose rows cases belong.
    """
    made: list[InsteadOf | None] = [None] * len(cases)
    asked: dict[int, list[tuple[int, Query]]] = {}
    for number, (case, one) in enumerate(zip(cases, judged, strict=True)):
        if _of_text(task, case.prediction):
            made[number] = _of_word(case)
        elif (label := _instead(case, one)) is not None:
            said = case.prediction.words[case.position].label
            query = Query(question=case.ask.query.question, answer=said, instead_of=label)
            asked.setdefault(case.row, []).append((number, query))
    for number, prediction in _contrasted(task, features, asked):
        made[number] = _of_answer(prediction, cases[number])
    return made


def _of_text(task: Task, prediction: Prediction) -> bool:
    return usual(task.kind, "whole") if prediction.whole is None else prediction.whole


def _instead(case: Case, judged: Judgement) -> str | None:
    """What an answer or class is compared with; None where nothing is known."""
    word = case.prediction.words[case.position]
    if judged.right is False and judged.true and judged.true != word.label:
        return judged.true
    counted = judged.counted(word.label)
    of_others = [one for one in others(word) if judged.counted(one.label) != counted]
    return max(of_others, key=lambda one: one.logprob).label if of_others else None


def _of_word(case: Case) -> InsteadOf | None:
    """A word of a text beside the likeliest other word in its place: of the first of its tokens."""
    word = case.prediction.words[case.position]
    other, target = runner_up(word), word_target(case.prediction, case.position, case.row, "margin")
    if other is None or not any(term.weight < 0 for term in target.terms):
        return None
    return InsteadOf(other.label.lower().strip(" .,;:!?"), target, word.logprob - other.logprob)


def _contrasted(
    task: Task, features: Features, asked: dict[int, list[tuple[int, Query]]]
) -> Sequence[tuple[int, Prediction]]:
    """What the task makes of contrasts, by the number of the case; those that it cannot be asked are left out.

    Pictures are asked together, one question each at a time.
    """
    made: list[tuple[int, Prediction]] = []
    rounds = max(map(len, asked.values()), default=0)
    for turn in range(rounds):
        rows = [row for row, own in asked.items() if len(own) > turn]
        numbers, queries = zip(*(asked[row][turn] for row in rows), strict=True)
        try:
            made += zip(numbers, task.predict(features.rows(rows), list(queries)), strict=True)
        except InputError:  # a true answer that is none of the model's
            for row, number, query in zip(rows, numbers, queries, strict=True):
                made += _alone(task, features, row, number, query)
    return made


def _alone(task: Task, features: Features, row: int, number: int, query: Query) -> Sequence[tuple[int, Prediction]]:
    seen = Site(features).row(row).features
    try:
        return [(number, task.predict(seen, [query])[0])]
    except InputError:
        pass
    try:
        said = task.predict(seen, [replace(query, instead_of=None)])[0]
        other = runner_up(said.words[0])
        return [] if other is None else [(number, task.predict(seen, [replace(query, instead_of=other.label)])[0])]
    except InputError:
        return []


def _of_answer(prediction: Prediction, case: Case) -> InsteadOf | None:
    word = prediction.words[0]
    if not word.is_contrast:
        return None
    lead = word.sides[0].logprob - word.sides[1].logprob if len(word.sides) == 2 else NAN
    label = word.sides[1].label if len(word.sides) == 2 else ""
    return InsteadOf(label, word_target(prediction, 0, case.row, "margin"), lead)
