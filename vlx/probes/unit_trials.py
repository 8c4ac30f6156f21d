"""Do the units that a sentence names matter? They are switched off, beside random sets that speak for the text.

The null was chosen on scenes/captioner (training scenes): of content words, .75 pass it, and .33 under permuted names,
whose units matter too as they were picked by contribution; sets as active as those named instead .89 and .72.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vlx.explanation.reasons import SAID, Because, Check, Reason
from vlx.probes.units_off import log_odds, random_sets, switched_off
from vlx.protocol.targets import Target
from vlx.protocol.task import Features, Task

SETS = 20  # random sets of a text: an effect above all of theirs has p = 1 / 21
AGAINST = 1  # reasons against a word that are tried

Array = NDArray[Any]


def tried(
    task: Task,
    features: Features,
    likely: Sequence[Target],
    reasons: Sequence[Because],
    contribution: NDArray[np.float64],
    active: NDArray[np.bool_],
    values: Tensor | None = None,
) -> list[Because]:
    """The same with the units that each sentence names switched off, together and reason by reason.

    ``likely`` are the N targets as log-probabilities, ``contribution`` [N, K] what units add to them, ``active`` [K]
    which are on; units are switched off to 0, or to ``values`` [K]. All words of a text (targets with the same
    ``tokens``) share their random sets: one row of A a set, whatever the number of words.
    """
    sets = _shared(likely, reasons, np.where(active, contribution, 0.0))
    off = [_switches(because, random, len(active)) for because, random in zip(reasons, sets, strict=True)]
    scores = switched_off(task, features, likely, off, values=values)
    asked = zip(reasons, likely, scores, sets, contribution, strict=True)
    return [_with_check(because, target, *measured) for because, target, *measured in asked]


def _shared(likely: Sequence[Target], reasons: Sequence[Because], contribution: Array) -> list[Array]:
    """Random sets [20, K] for each target: as large as the largest set named in its text, of units that speak for it.

    A unit speaks for a text where its shares of the words' contributions add up to more than 0.
    """
    share = contribution / np.abs(contribution).sum(1, keepdims=True).clip(min=1e-30)
    texts: dict[tuple[int, ...], list[int]] = {}
    for n, target in enumerate(likely):
        texts.setdefault(target.tokens, []).append(n)
    sets: dict[tuple[int, ...], Array] = {}
    for text, members in texts.items():
        size = max(len(reasons[n].tested) for n in members)
        sets[text] = random_sets(share[members].sum(0), size, SETS, np.random.default_rng(0))
    return [sets[target.tokens] for target in likely]


def _switches(because: Because, sets: Array, units: int) -> Array:
    """Rows [R, K]: no unit, the units named, random sets, each reason alone; none where nothing is named."""
    if not because.tested:
        return np.zeros((0, units), bool)
    sets_off = [(), because.tested, *(reason.units for reason in _alone(because))]
    none, named, *alone = (np.isin(np.arange(units), chosen) for chosen in sets_off)
    return np.stack([none, named, *sets, *alone])


def _alone(because: Because) -> list[Reason]:
    return [*because.of("because")[:SAID], *because.of("despite")[:AGAINST]]


def _with_check(because: Because, target: Target, logprobs: Array, sets: Array, contribution: Array) -> Because:
    if not because.tested:
        return because
    contrast = any(term.weight < 0 for term in target.terms)
    number = target.kind == "logit" and not contrast  # there is no log-probability (`vlx.protocol.targets.word_target`)
    standing = logprobs if contrast or number else log_odds(logprobs)
    effects = standing[0] - standing
    check = Check(
        units=because.tested,
        before=float(standing[0]),
        effect=float(effects[1]),
        logprob=float(logprobs[0] - logprobs[1]),
        random=tuple(effects[2 : 2 + SETS].tolist()),
        size=int(sets[0].sum()),
        predicted=float(contribution[list(because.tested)].sum()),
        contrast=contrast,
        number=number,
    )
    alone = {id(one): float(effect) for one, effect in zip(_alone(because), effects[2 + SETS :], strict=True)}
    reasons = (replace(one, effect=alone[id(one)]) if id(one) in alone else one for one in because.reasons)
    return replace(because, reasons=tuple(reasons), check=check)
