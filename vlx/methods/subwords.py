"""Words of several tokens: one map from those of their sub-words."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from vlx.errors import InputError
from vlx.methods.engine import Attribution, together
from vlx.protocol.targets import Target

RULES = ("max", "first", "sum")
GROUNDED = 0.5  # of the highest peak among a word's sub-words: the first that reaches it is the first that is grounded


def checked(rule: str) -> str:
    """The rule, when it is one. Raises InputError."""
    if rule not in RULES:
        raise InputError(f"subword_map={rule!r}; known are {', '.join(RULES)}")
    return rule


def attribute(
    targets: Sequence[Target], words: int, rule: str, explain: Callable[[Sequence[Target]], Attribution]
) -> Attribution:
    """The attribution of all targets; the first ``words`` of them are words, whose maps follow the rule.

    ``rule`` "max": in every cell the highest of the sub-words' maps; "first": the map of the first sub-word that is
    visually grounded; "sum": the map of the word's log-probability as one score, which drowns a telling piece in the
    others (xmed-lab/TAM#11). Scores and importance weights are sums in any case.
    """
    parts = pieces(targets, words, rule)
    return merged(explain([piece for own in parts for piece in own]), parts, rule)


def pieces(targets: Sequence[Target], words: int, rule: str) -> list[list[Target]]:
    """What each target is explained by: itself, or a target for each of its sub-words."""
    return [_pieces(target, rule if n < words else "sum") for n, target in enumerate(targets)]


def merged(found: Attribution, parts: Sequence[Sequence[Target]], rule: str) -> Attribution:
    """The attribution of the targets from that of their pieces, in order."""
    if len(parts) == sum(map(len, parts)):
        return found
    made, first = [], 0
    for own in parts:
        made.append(_merged(found.rows(first, first + len(own)), rule))
        first += len(own)
    return together(made)


def _pieces(target: Target, rule: str) -> list[Target]:
    """A target for each sub-word, where the rule tells them apart; differences stay whole."""
    if rule == "sum" or len(target.terms) == 1 or any(term.weight < 0 for term in target.terms):
        return [target]
    return [replace(target, terms=(term,)) for term in target.terms]


def _merged(part: Attribution, rule: str) -> Attribution:
    if len(part.scores) == 1:
        return part
    signed, opposed = (_one(maps, rule)[None] for maps in (part.signed, part.opposed))
    sums: dict[str, Any] = {name: getattr(part, name).sum(0, keepdim=True) for name in ("scores", "weights")}
    return replace(part, **sums, signed=signed, opposed=opposed, depends=part.depends.any(0, keepdim=True))


def _one(maps: Tensor, rule: str) -> Tensor:
    if rule == "max":
        return maps.amax(0)
    peaks = maps.flatten(1).amax(1)
    return maps[int((peaks >= GROUNDED * peaks.max()).nonzero()[0])]
