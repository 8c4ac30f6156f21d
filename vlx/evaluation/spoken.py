"""What a model says of pictures by itself, as cases: content words of its caption, its answers, its likeliest class.

Where data ask nothing, measures that need no truth are taken of these.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from vlx.data.example import Ask, Example
from vlx.evaluation.cases import NOWHERE, Case, Turn, answers, said_in_rounds
from vlx.language import is_content
from vlx.protocol.targets import Alternative, Prediction, Query, Target, Term, Word, sentence_target, usual, word_target
from vlx.protocol.task import Features, Task

WORDS, ANSWERS, CLASSES = "own words", "own answers", "own classes"


def spoken_cases(
    task: Task, features: Features, examples: Sequence[Example], numbers: Sequence[int] = ()
) -> list[Case]:
    """The cases of what the task says of the examples whose features these are, nothing forced upon it.

    A model that answers is asked the questions of each example, each once; of a caption every content word is a case,
    of anything else the one that it gives. ``numbers`` are the examples' places in the data, from 0 where they are left
    out. What the case is compared with is the whole caption, else the runner-up.
    """
    turns = [[Turn(query) for query in _queries(task, example)] for example in examples]
    if not any(turns):
        return []
    rounds = said_in_rounds(task, features, turns)
    return [
        case
        for row, own in enumerate(turns)
        for number, turn in enumerate(own)
        for case in _cases(task, turn.query, rounds[number][row], row, numbers[row] if numbers else row)
    ]


def _queries(task: Task, example: Example) -> list[Query]:
    if not answers(task):
        return [Query()]
    return list(
        dict.fromkeys(Query(question=ask.query.question) for ask in example.asks if ask.query.question is not None)
    )


def _cases(task: Task, query: Query, prediction: Prediction, row: int, picture: int) -> Iterator[Case]:
    whole = usual(task.kind, "whole") if prediction.whole is None else prediction.whole
    group = WORDS if whole else ANSWERS if answers(task) else CLASSES
    for position, word in enumerate(prediction.words):
        if not whole or is_content(word.label):
            other = sentence_target(prediction, row) if whole else _rival(prediction, position, row)
            yield Case(group, row, NOWHERE, prediction, position, other, Ask(query), picture)


def runner_up(word: Word) -> Alternative | None:
    """The likeliest other thing that could have been said in a word's place; None where none is known."""
    return max(others(word), key=lambda one: one.logprob, default=None)


def others(word: Word) -> list[Alternative]:
    """What else is known that could have been said in a word's place."""
    return [one for one in word.alternatives if _terms(word, one)[0] != word.terms[0]]


def _terms(word: Word, other: Alternative) -> tuple[Term, ...]:
    """The terms that ask for something else in a word's place."""
    return other.terms or (replace(word.terms[0], token=other.token, weight=1.0),)


def with_runner_up(prediction: Prediction, position: int) -> Prediction | None:
    """The prediction with the runner-up in a word's place, as if it had been said there; None where none is known."""
    other = runner_up(prediction.words[position])
    return None if other is None else _with(prediction, position, other)


def rival_targets(prediction: Prediction, position: int) -> list[Target]:
    """What asks for log p of everything else that is known to be likely in a word's place."""
    rivals = others(prediction.words[position])
    return [word_target(_with(prediction, position, other), position, 0, "logprob") for other in rivals]


def _with(prediction: Prediction, position: int, other: Alternative) -> Prediction:
    word = prediction.words[position]
    terms = _terms(word, other)
    tokens = word.tokens if other.tokens is None else other.tokens
    instead = replace(
        word, label=other.label, terms=terms, logprob=other.logprob, alternatives=(), sides=(), tokens=tokens
    )
    words = (*prediction.words[:position], instead, *prediction.words[position + 1 :])
    return replace(prediction, words=words)


def _rival(prediction: Prediction, position: int, row: int) -> Target:
    return word_target(with_runner_up(prediction, position) or prediction, position, row, "logit")
