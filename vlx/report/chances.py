"""How sure the model is of a word, an answer or a class; of a number, the number: told in one place for both."""

from vlx.explanation.records import Explanation, WordExplanation
from vlx.report import numbers

NUMBER = ("value",)
CHANCE = ("p", "log p")


def is_number(word: WordExplanation) -> bool:
    """Whether it is a number, which has no probability."""
    return word.outputs == "value"


def heads(why: Explanation) -> tuple[str, ...]:
    """The columns' names of a table of all words."""
    return NUMBER if is_number(_first(why)) else CHANCE


def cells(word: WordExplanation) -> tuple[str, ...]:
    """A word's cells under `heads`."""
    if is_number(word):
        return (numbers.figure(word.score, 4),)
    return numbers.share(word.logprob), numbers.log(word.logprob)


def bare(word: WordExplanation) -> str:
    """On a button: "72.3 %", or the number."""
    return cells(word)[0]


def short(word: WordExplanation) -> str:
    """In a caption: "p 72.3 %", or "= 49.6"."""
    return f"{'=' if is_number(word) else 'p'} {bare(word)}"


def spoken(word: WordExplanation) -> str:
    """The same for who hears it."""
    return f"value {numbers.figure(word.score, 4)}" if is_number(word) else f"probability {numbers.share(word.logprob)}"


def facts(word: WordExplanation) -> list[tuple[str, str]]:
    """The same with names; none of a number, whose score says it."""
    if is_number(word):
        return []
    return [("probability", numbers.share(word.logprob)), ("log p", f"{numbers.log(word.logprob)} nats")]


def seen_unit(why: Explanation) -> str:
    """The unit of what is owed to the picture."""
    return "its own unit" if is_number(_first(why)) else "nats"


def owed_unit(why: Explanation) -> str:
    """The same in full."""
    return seen_unit(why) if is_number(_first(why)) else "nats of log p"


def nats(why: Explanation) -> str:
    """What log-probabilities are counted in; nothing for numbers."""
    return "" if is_number(_first(why)) else "nats"


def by_picture(word: WordExplanation, instead_of: str | None = None) -> str:
    """What is told of other pictures: p, a number, or of a contrast the share of the two."""
    if is_number(word):
        return "value"
    return "p" if instead_of is None else f"share of “{word.label}” between the two"


def _first(why: Explanation) -> WordExplanation:
    return why.words[0] if why.words else why.sentence
