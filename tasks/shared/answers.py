"""Answers and classes from a fixed list: the likeliest, the one asked for, and contrasts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from vlx.errors import InputError
from vlx.language import close_matches, shortened
from vlx.protocol.outputs import Outputs
from vlx.protocol.targets import Alternative, Prediction, Query, Term, Word

ALTERNATIVES = 6
SOFTMAX = Outputs.of("softmax")


class Entries(Protocol):
    """What there is to choose from: a name for each entry, and the entry that a person means."""

    def __getitem__(self, number: int) -> str:
        """The name of an entry."""
        ...

    def find(self, asked: str, count: int) -> int:
        """The entry asked for, of ``count``; raises InputError, with close ones, for any other."""
        ...


@dataclass(frozen=True)
class Answers:
    """The answers of the model called ``name``, by number.

    >>> Answers(["yes", "no"], "a net").find("No", 2)
    1
    """

    labels: Sequence[str]
    name: str

    def __getitem__(self, number: int) -> str:
        return self.labels[number]

    def find(self, asked: str, count: int) -> int:
        """The number of an answer; case does not matter. Raises InputError, with close ones, for any other."""
        numbers = {label.casefold(): number for number, label in reversed(list(enumerate(self.labels)))}
        number = numbers.get(" ".join(asked.split()).casefold())
        if number is None:
            near = close_matches(asked.casefold(), numbers)
            hint = f"close: {', '.join(near)}" if near else f"some of them: {', '.join(self.labels[:12])}"
            raise InputError(f"{shortened(asked)!r} is not among the {len(self.labels)} answers of {self.name}; {hint}")
        return number


def answered(
    scores: Tensor,
    labels: Entries,
    query: Query,
    *,
    outputs: Outputs = SOFTMAX,
    tokens: tuple[int, ...] = (),
    noun: str = "answer",
    most: int = ALTERNATIVES,
) -> Prediction:
    """The entry with the highest of ``scores`` [C] (a row of `Outputs.table`), or the one the query's ``answer`` names.

    ``instead_of`` makes a contrast. At ``most`` so many entries are its alternatives, masked ones (score −∞) never;
    ``noun`` is what an entry is called. Raises InputError for an entry that there is not, that is compared with itself
    or is masked.

    >>> logprobs = torch.tensor([0.7, 0.3]).log()
    >>> answered(logprobs, Answers(["yes", "no"], "a net"), Query(question="is it red?")).text
    'yes'
    """
    scores = scores.double().cpu()
    likely = outputs.logprobs(scores)
    number = int(scores.argmax()) if query.answer is None else labels.find(query.answer, len(scores))
    terms: tuple[Term, ...] = (Term(0, number),)
    compared: tuple[int, ...] = ()
    if query.instead_of is not None:
        other = labels.find(query.instead_of, len(scores))
        if other == number:
            raise InputError(
                f"instead_of={query.instead_of!r} is the {noun} that is explained; name another to compare with"
            )
        terms += (Term(0, other, -1.0),)
        compared = (number, other)
    for one in (number, *compared):
        if scores[one].isneginf():
            raise InputError(f"the {noun} {labels[one]!r} is masked (its score is −∞); there is nothing to explain")

    def alternative(one: int) -> Alternative:
        return Alternative(labels[one], one, float(likely[one]))

    ranked = scores.argsort(descending=True)[:most].tolist() if outputs.meaning != "value" else []
    word = Word(
        labels[number],
        terms,
        float(likely[number]),
        tuple(alternative(one) for one in ranked if not scores[one].isneginf()),
        sides=tuple(alternative(one) for one in compared),
        outputs=outputs.meaning or "softmax",
        number=_number(scores, terms) if outputs.meaning == "value" else float("nan"),
        choices=outputs.choices(len(scores)),
    )
    notes = _remarks(scores, number, query, outputs, labels)
    return Prediction(
        word.label,
        (word,),
        tokens,
        query.answer is not None,
        notes,
        whole=False,
        rivals=True,
        question=query.text is not None,
        pieces=False,
    )


def _number(scores: Tensor, terms: Sequence[Term]) -> float:
    return sum(term.weight * float(scores[term.token]) for term in terms)


def _remarks(scores: Tensor, number: int, query: Query, outputs: Outputs, labels: Entries) -> tuple[str, ...]:
    """What a reader should know of the entry that is explained."""
    if outputs.meaning == "sigmoid" and not outputs.pair and scores[number] < 0:
        return (f"the model says no to {labels[number]}: its p is under one half",)
    if outputs.meaning == "value" and query.answer is None and len(scores) > 1:
        return (f"the largest of {len(scores)} numbers; ask for another with answer=…",)
    return ()
