"""Findings in sentences: an effect, its interval, and what was compared."""

import math
from typing import NamedTuple

from vlx.auditing.answered import KIND_OF_CELLS
from vlx.auditing.leaning import Carries, Lean
from vlx.auditing.oftener import Oftener
from vlx.auditing.result import FEWEST, HidingTrial
from vlx.auditing.signs import Sign
from vlx.language import shortened
from vlx.report.sentences import part
from vlx.report.wording import PLURALS, difference

SMALL = "; certain, but it makes few of these errors"
SIGNS = {
    "unowed": "the picture hardly moves “{}”",
    "map checks": "the map of “{}” does not hold in its check",
    "hallucination": "“{}” is not in the picture",
    "outside": "the map of “{}” has less on what it names than its area gives by chance",
}


def lean(label: str, one: Lean, has: Carries, unit: str, noun: str) -> str:
    """What an answer leans on where it errs.

    >>> lean("rocket", one, has, "logits", "class")
    'for “rocket”, night carries +1.90 logits where the class is wrong, +0.20 where it is right; said of 38 % of other
    pictures with night, of 4 % without; speaks for it by +2.70 nats more than others of its kind (+2.10 to +3.30; 212
    pictures)'
    """
    right = f", {difference(has.where_right)} where it is right" if has.right else ""
    carries = f"{_named(one)} carries {difference(has.where_wrong)}{_unit(unit)} where the {noun} is wrong{right}"
    rates = f"{part(one.often.first)} of other pictures with {_much(one)}, of {part(one.often.second)} without"
    low, high = map(difference, one.excess.interval)
    more = " more than others of its kind" if one.beside_others else ""
    speaks = f"speaks for it by {difference(one.excess.effect)} nats{more}"
    return f"for {quoted(label)}, {carries}; said of {rates}; {speaks} ({low} to {high}; {pictures(has.pictures)})"


def compared(one: Lean, has: Carries) -> str:
    """What the tests of a lean compared."""
    sides = f"other pictures with {_much(one)} and without, at least {one.often.pictures} each"
    others = "others of its kind where these are there" if one.beside_others else "none"
    fall = f"{part(one.undone)} of the wrong ones with it lead by less than that"
    return (
        f"{sides}, whatever is said of them; its evidence with that of {others}; "
        f"{has.wrong} wrong and {has.right} right ones, {fall}"
    )


def oftener(label: str, one: Oftener) -> str:
    """What an answer is said with so much more often.

    >>> oftener("red", one)
    '“red” goes with car: said of 78 % of other pictures with it, of 5 % without (73 % more, 63 % to 82 %; 364
    pictures); 78 % of the wrong ones are on its account'
    """
    low, high = map(part, one.often.interval)
    rates = f"said of {part(one.often.first)} of other pictures with it, of {part(one.often.second)} without"
    more = f"{part(one.often.effect)} more, {low} to {high}; {pictures(one.pictures)}"
    return (
        f"{quoted(label)} goes with {_short(one.carried.concept)}: {rates} ({more}); {part(min(one.account, 1.0))} of "
        "the wrong ones are on its account"
    )


def oftener_compared(one: Oftener) -> str:
    """What the test of it compared."""
    return (
        f"pictures that show something else with {_short(one.carried.concept)} and without, at least "
        f"{one.often.pictures} each, whatever is said of them"
    )


def tried(trial: HidingTrial, *, held: bool) -> str:
    """What hiding the concept did, as the end of a sentence."""
    random = f"{trial.random:.1f}".removesuffix(".0")
    beside = "random cells hidden" if trial.beside == "random" else "the same from other pictures in its place"
    told = f"; hidden, {trial.changed} of {trial.tried} wrong ones change, {random} with {beside}"
    return told if held else f"{told}: not proven"


def sign(label: str, one: Sign, noun: str) -> str:
    """How often an answer has a sign.

    >>> sign("beach", one, "answer")
    'the picture hardly moves “beach”: 97 % of times (91 % to 99 %; 120 pictures), 20 % of other answers; 82 % of these
    are wrong, 31 % of all others'
    """
    told = SIGNS[one.kind].format(_short(label))
    span = f"{part(one.low)} to {part(one.high)}; {pictures(one.n)}"
    if one.kind == "outside":
        return f"{told}: {part(one.share)} of the map less ({span})"
    others = "" if math.isnan(one.others) else f", {part(one.others)} of other {PLURALS.get(noun, noun)}"
    known = not math.isnan(one.wrong.effect)
    wrong = f"; {part(one.wrong.first)} of these are wrong, {part(one.wrong.second)} of all others" if known else ""
    return f"{told}: {part(one.share)} of times ({span}){others}{wrong}"


def sign_compared(one: Sign) -> str:
    """What the test of a sign compared."""
    told = "its share of the picture" if one.kind == "outside" else "half of its pictures"
    return told if math.isnan(one.wrong.effect) else f"{told}; how often these and all other answers are wrong"


def one_answer(label: str, n: int, noun: str) -> str:
    """That nothing else is ever said."""
    return f"{quoted(label)} is the only {noun} that is ever said, of all {pictures(n)}: nothing can be compared"


def one_of_a_kind(label: str, kind: str, n: int, noun: str) -> str:
    """That nothing else is ever said of one kind."""
    return f"{quoted(label)} is the only {noun} of the kind “{_short(kind)}” that is ever said, of {pictures(n)}"


def never_said(label: str, n: int, noun: str) -> str:
    """That a truth is never said."""
    return f"{quoted(label)} is never said; it is the true {noun} of {pictures(n)}"


class Weight(NamedTuple):
    """What a concept of a category carries on the mean, in the target's unit."""

    concept: str
    category: str
    signed: float


def too_few(label: str, n: int, most: Weight | None, unit: str) -> str:
    """What is told of an answer that is wrong on too few pictures."""
    told = f"; {_short(most.concept)} carries most there, {difference(most.signed)}{_unit(unit)}" if most else ""
    return f"{quoted(label)} is wrong on {pictures(n)}, fewer than {FEWEST}: told, not judged{told}"


def of_unknown_truth(label: str, n: int, most: Weight, unit: str) -> str:
    """What is told of an answer where nobody knows which are right."""
    carries = f"{_short(most.concept)} carries most, {difference(most.signed)}{_unit(unit)}"
    return f"for {quoted(label)}, {carries}; {pictures(n)}, of which nobody knows which are right: told, not judged"


def others_too_few(count: int, noun: str) -> str:
    """The same of all the rest."""
    return f"{count} more {PLURALS.get(noun, noun)} are wrong on fewer than {FEWEST} pictures each: not judged"


def quoted(label: str) -> str:
    """What was said, in quotation marks."""
    return f"“{_short(label)}”"


def pictures(n: int) -> str:
    """A number of pictures."""
    return f"{n:,} picture{'s' * (n != 1)}"


def _named(one: Lean) -> str:
    return _short(one.carried.concept)


def _much(one: Lean) -> str:
    return f"much of {_named(one)}" if one.carried.category == KIND_OF_CELLS else _named(one)


def _short(name: str) -> str:
    return shortened(name, 60)


def _unit(unit: str) -> str:
    return f" {unit}" if unit else ""
