"""A word of a caption against another one in its place: which word is meant, and what is then asked of the model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import nan
from typing import Any

from vlx.errors import InputError, WordNotFound
from vlx.language import close_matches, shortened
from vlx.methods import engine
from vlx.protocol.powers import Contrasts, lacking, powers_of
from vlx.protocol.targets import Alternative, Prediction, Target, Term, Word, usual
from vlx.protocol.task import Features, Task

EXAMPLE = "instead_of={'dog': 'cat'}"
SHOWN = 40  # characters of the words before it


@dataclass(frozen=True)
class Contrast:
    """Why ``word`` (as the caption has it, or its position there) and not ``other``."""

    word: str | int
    other: str

    @classmethod
    def of(cls, task: Task, given: Any) -> "Contrast | None":
        """What the option ``instead_of`` says to a task; None for a text, which tasks without texts of words take.

        Raises InputError where captions are given a text, answers a mapping, and for anything else.

        >>> Contrast.of(vlx.load("scenes/captioner"), {"dog": "cat"})
        Contrast(word='dog', other='cat')
        """
        if powers_of(task).contrasts is None and not usual(task.kind, "whole"):
            if isinstance(given, Mapping):
                raise InputError(
                    f"instead_of={_told(given)} names a word of a caption; of an answer or a class give the other one "
                    "alone: instead_of='blue'"
                )
            return None
        if given is None:
            return None
        if isinstance(given, str):
            caption = usual(task.kind, "whole")
            whose = "this is a captioner, name the word of its caption" if caption else "name the word of its answer"
            raise InputError(
                f"instead_of={shortened(given, 40)!r}: {whose}, too: {EXAMPLE} asks why dog and not cat; force the "
                f"text with {'caption' if caption else 'answer'}=…"
            )
        if not isinstance(given, Mapping):
            several = "; one for each picture is for explain_many()" if isinstance(given, list | tuple) else ""
            raise InputError(f"instead_of must be such as {EXAMPLE}, got {type(given).__name__}{several}")
        if len(given) != 1:
            raise InputError(f"instead_of={_told(given)} names {len(given)} words; give one at a time: {EXAMPLE}")
        ((word, other),) = given.items()
        if not isinstance(word, str | int) or isinstance(word, bool) or not isinstance(other, str):
            raise InputError(
                f"instead_of={_told(given)}: give a word of the caption, or its position, and the other word: {EXAMPLE}"
            )
        return cls(word, other)


def contrasted(task: Task, features: Features, prediction: Prediction, wish: Contrast | None) -> Prediction:
    """The same caption of which nothing is explained but why one word and not another; as it is without a wish.

    ``features`` are those of the one picture. Raises WordNotFound where the caption lacks the word or has it twice,
    InputError for a word against itself and a captioner that cannot be asked.
    """
    if wish is None:
        return prediction
    if (contrasts := powers_of(task).contrasts) is None:
        raise InputError(
            f"{task.name} has {lacking(task, Contrasts.rather)}, which a contrast of words needs; leave instead_of out"
        )
    position = _position(prediction, wish.word)
    word = contrasts.rather(prediction, position, wish.other)
    said, other = word.sides
    if _written(said) == _written(other):
        raise InputError(
            f"instead_of={_told({wish.word: wish.other})}: {shortened(said.label, 40)!r} is the word that is "
            "explained; name another to compare with"
        )
    tokens = prediction.tokens if other.tokens is None else other.tokens
    (logprob,) = engine.scores(task, features.A, [Target(0, "", other.terms, "logprob", tokens)], features.rest)
    sides = (said, replace(other, logprob=float(logprob)))
    notes = (*prediction.notes, *_notes(prediction, position, said, other))
    return replace(prediction, words=(replace(word, sides=sides),), notes=notes)


def contrasted_word(
    word: Word, other: str, terms: Sequence[Term], tokens: tuple[int, ...] | None = None, joint: Any = None
) -> Word:
    """A word whose target is its own score less that of ``other``.

    ``terms`` and ``tokens`` are those of a target that asks for ``other`` alone; ``tokens`` are left out where the
    caption's own serve it. Else ``joint`` holds what a target that asks for both has: the other's terms there, tokens.
    """
    there, both = (terms, word.tokens) if joint is None else joint
    said = Alternative(word.label, word.terms[0].token, word.logprob, word.terms, word.tokens)
    against = Alternative(other, terms[0].token, nan, tuple(terms), tokens)
    opposed = tuple(replace(term, weight=-term.weight) for term in there)
    return replace(word, terms=(*word.terms, *opposed), sides=(said, against), tokens=both)


def _position(prediction: Prediction, word: str | int) -> int:
    """Where the word that is meant stands."""
    labels = [one.label for one in prediction.words]
    text = shortened(prediction.text, 100)
    if isinstance(word, int):
        if not -len(labels) <= word < len(labels):
            raise WordNotFound(f"instead_of: there is no word {word}; the caption has {len(labels)}: {text!r}")
        return word % len(labels)
    found = [n for n, label in enumerate(labels) if label == word]
    found = found or [n for n, label in enumerate(labels) if label.casefold() == word.casefold()]
    if not found:
        near = close_matches(word, labels)
        hint = f"close: {', '.join(near)}" if near else "name one of its words, or give another text with caption=…"
        raise WordNotFound(f"instead_of: {shortened(word, 30)!r} is no word of the caption {text!r}; {hint}")
    if len(found) > 1:
        places = ", ".join(f"{{{n}: …}}" for n in found)
        raise WordNotFound(
            f"instead_of: {shortened(word, 30)!r} stands {len(found)} times in {text!r}; give its position: {places}"
        )
    return found[0]


def _written(side: Alternative) -> tuple[int, ...]:
    """The tokens of one side."""
    return tuple(term.token for term in side.terms)


def _notes(prediction: Prediction, position: int, said: Alternative, other: Alternative) -> list[str]:
    """What both come after, and where one of them is the beginning of the other."""
    before = " ".join(word.label for word in prediction.words[:position])
    before = before if len(before) <= SHOWN else f"…{before[-SHOWN:]}"
    place = f"after the same words, “{before}”" if before else "as the first word"
    notes = [f"“{said.label}” and “{other.label}” are compared {place}; what follows is not looked at"]
    short, long = sorted((_written(said), _written(other)), key=len)
    if long[: len(short)] == short:
        notes.append("the model writes one of the two as the other and more: the longer one cannot be likelier")
    return notes


def _told(given: Mapping[Any, Any]) -> str:
    return shortened(repr(dict(given)), 60)
