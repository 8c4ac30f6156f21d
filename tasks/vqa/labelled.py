"""Answers from a fixed list of labels: the likeliest, the one asked for, and contrasts."""

from collections.abc import Sequence

from torch import Tensor

from vlx.errors import InputError
from vlx.language import close_matches
from vlx.task import Alternative, Prediction, Query, Term, Word
from vlx.tasks.vqa.questions import no_such_answer

ALTERNATIVES = 6


def predicted(logprobs: Tensor, query: Query, labels: Sequence[str], tokens: tuple[int, ...], name: str) -> Prediction:
    """The likeliest of the labels by ``logprobs`` [labels], or the query's answer; ``instead_of`` makes a contrast.

    Raises InputError for an answer that is not among the labels, and for one that is compared to itself.
    """
    number = int(logprobs.argmax()) if query.answer is None else _found(query.answer, labels, name)
    terms: tuple[Term, ...] = (Term(0, number),)
    sides: tuple[Alternative, ...] = ()
    if query.instead_of is not None:
        other = _found(query.instead_of, labels, name)
        if other == number:
            raise InputError(
                f"instead_of={query.instead_of!r} is the answer that is explained; name another to compare with"
            )
        terms += (Term(0, other, -1.0),)
        sides = tuple(Alternative(labels[n], n, float(logprobs[n])) for n in (number, other))
    values, likely = logprobs.topk(min(ALTERNATIVES, len(logprobs)))
    others = tuple(Alternative(labels[n], n, value) for n, value in zip(likely.tolist(), values.tolist(), strict=True))
    word = Word(labels[number], terms, float(logprobs[number]), others, sides=sides)
    return Prediction(word.label, (word,), tokens, query.answer is not None)


def _found(answer: str, labels: Sequence[str], name: str) -> int:
    numbers = {label.casefold(): number for number, label in reversed(list(enumerate(labels)))}
    number = numbers.get(" ".join(answer.split()).casefold())
    if number is None:
        near = close_matches(answer.casefold(), numbers)
        hint = f"close: {', '.join(near)}" if near else f"some of them: {', '.join(labels[:12])}"
        raise no_such_answer(answer, len(labels), name, hint)
    return number
