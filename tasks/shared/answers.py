"""Answers and classes from a fixed list: the likeliest, the one asked for, and contrasts."""

from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor

from vlx.errors import InputError
from vlx.language import close_matches, shortened
from vlx.protocol.outputs import Outputs
from vlx.protocol.targets import Alternative, Prediction, Query, Term, Word

ALTERNATIVES = 6
SOFTMAX = Outputs.of("softmax")


def predicted(
    scores: Tensor,
    query: Query,
    label: Callable[[int], str],
    find: Callable[[str], int],
    *,
    outputs: Outputs = SOFTMAX,
    tokens: tuple[int, ...] = (),
    noun: str = "answer",
    most: int = ALTERNATIVES,
) -> Prediction:
    """The entry with the highest of ``scores`` [C] (a row of `Outputs.table`), or the one the query's ``answer`` names.

    ``label`` names an entry, ``find`` finds one by name; ``instead_of`` makes a contrast. At ``most`` so many entries
    are its alternatives, masked ones (score −∞) never. Raises InputError for an entry that is compared with itself and
    for one that is masked.
    """
    scores = scores.double().cpu()
    likely = outputs.logprobs(scores)
    number = int(scores.argmax()) if query.answer is None else find(query.answer)
    terms: tuple[Term, ...] = (Term(0, number),)
    compared: tuple[int, ...] = ()
    if query.instead_of is not None:
        other = find(query.instead_of)
        if other == number:
            raise InputError(
                f"instead_of={query.instead_of!r} is the {noun} that is explained; name another to compare with"
            )
        terms += (Term(0, other, -1.0),)
        compared = (number, other)
    for one in (number, *compared):
        if scores[one].isneginf():
            raise InputError(f"the {noun} {label(one)!r} is masked (its score is −∞); there is nothing to explain")

    def alternative(one: int) -> Alternative:
        return Alternative(label(one), one, float(likely[one]))

    ranked = scores.argsort(descending=True)[:most].tolist() if outputs.meaning != "value" else []
    word = Word(
        label(number),
        terms,
        float(likely[number]),
        tuple(alternative(one) for one in ranked if not scores[one].isneginf()),
        sides=tuple(alternative(one) for one in compared),
        outputs=outputs.meaning or "softmax",
        number=_number(scores, terms) if outputs.meaning == "value" else float("nan"),
        choices=outputs.choices(len(scores)),
    )
    notes = _remarks(scores, number, query, outputs, label)
    return Prediction(word.label, (word,), tokens, query.answer is not None, notes)


def found(answer: str, labels: Sequence[str], name: str) -> int:
    """The number of an answer in the list; case does not matter. Raises InputError, with close ones, for any other."""
    numbers = {label.casefold(): number for number, label in reversed(list(enumerate(labels)))}
    number = numbers.get(" ".join(answer.split()).casefold())
    if number is None:
        near = close_matches(answer.casefold(), numbers)
        hint = f"close: {', '.join(near)}" if near else f"some of them: {', '.join(labels[:12])}"
        raise InputError(f"{shortened(answer)!r} is not among the {len(labels)} answers of {name}; {hint}")
    return number


def _number(scores: Tensor, terms: Sequence[Term]) -> float:
    return sum(term.weight * float(scores[term.token]) for term in terms)


def _remarks(
    scores: Tensor, number: int, query: Query, outputs: Outputs, label: Callable[[int], str]
) -> tuple[str, ...]:
    """What a reader should know of the entry that is explained."""
    if outputs.meaning == "sigmoid" and not outputs.pair and scores[number] < 0:
        return (f"the model says no to {label(number)}: its p is under one half",)
    if outputs.meaning == "value" and query.answer is None and len(scores) > 1:
        return (f"the largest of {len(scores)} numbers; ask for another with answer=…",)
    return ()


def labelled(
    scores: Tensor,
    query: Query,
    labels: Sequence[str],
    tokens: tuple[int, ...],
    name: str,
    outputs: Outputs = SOFTMAX,
) -> Prediction:
    """The likeliest of the labels by ``scores`` [labels], or the query's answer; ``instead_of`` makes a contrast.

    Raises InputError for an answer that is not among the labels, and for one that is compared to itself.
    """
    find = partial(found, labels=labels, name=name)
    return predicted(scores, query, labels.__getitem__, find, outputs=outputs, tokens=tokens)
