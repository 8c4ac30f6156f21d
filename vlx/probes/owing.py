"""What each target of a picture owes to it: its log-probability there, and with references in the picture's place."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vlx.methods import engine
from vlx.probes import references
from vlx.probes.asked import Asked
from vlx.probes.probe import Context, Probe
from vlx.probes.references import Elsewhere
from vlx.protocol.targets import Prediction, Target, Word
from vlx.protocol.task import Features, Task

Table = NDArray[np.float64]


@dataclass(frozen=True)
class Owed:
    """What one target owes to the picture.

    ``by``: nats by reference, each within log C of C answers (of numbers: their own unit, not cut). ``looked``: L of
    `vlx.probes.references.looked`, None for numbers. ``logprobs``: log p with each reference (of a contrast: the
    difference).
    """

    by: dict[str, float]
    looked: float | None
    logprobs: tuple[float, ...]

    @property
    def seen(self) -> float:
        """The mean over the references."""
        return float(np.mean(list(self.by.values())))


def owing(
    task: Task,
    features: Features,
    prediction: Prediction,
    asked: Sequence[Asked],
    there: Sequence[float],
    shown: Elsewhere,
    gone: Table,
) -> list[Owed]:
    """One record a question; ``there`` are the targets' log-probabilities with the picture, ``features`` its own.

    ``gone`` are those of what `meets` names, with the references. Both sides of a contrast are bounded by themselves,
    and its figure is their difference; a whole text's is the sum of its words'.
    """
    single = _single(asked)
    words = [prediction.words[n if one.role == "word" else 0] for n, one in enumerate(single)]
    sides = [_sides(one.likely) for one in single]
    parts = [part for halves in sides for part in halves]
    here = (
        there if len(parts) == len(single) else engine.scores(task, features.A, parts, features.rest).double().tolist()
    )
    debts, first = [], 0
    for word, halves in zip(words, sides, strict=True):
        stop = first + len(halves)
        debts.append(_owed(shown.names, word, halves, here[first:stop], gone[first:stop]))
        first = stop
    whole = [one for one in asked if one.role == "whole"]
    return [*debts, *(_summed(debts, sum(there[: len(debts)])) for _ in whole)]


def meets(asked: Sequence[Asked]) -> list[Target]:
    """The targets that meet the references: of a contrast both sides, of a whole text its words alone."""
    return [side for one in _single(asked) for side in _sides(one.likely)]


def table(task: Task, features: Features, targets: Sequence[Target]) -> Table:
    """log p of N targets on each of R pictures, float64 [N, R]."""
    return tables(task, [(features, targets)])[0]


def tables(task: Task, asked: Sequence[tuple[Features, Sequence[Target]]]) -> list[Table]:
    """As `table`, for several pictures and the references of each, in one `scores` batch."""
    rows: list[Target] = []
    first = 0
    for features, targets in asked:
        span = range(first, first + len(features.A))
        rows += [replace(target, row=row, kind="logprob") for target in targets for row in span]
        first += len(features.A)
    scores = engine.ask(task, references.joined([features for features, _ in asked]), rows).double().cpu()
    columns, first = [], 0
    for features, targets in asked:
        values = scores[first : first + len(targets) * len(features.A)]
        columns.append(values.view(len(targets), len(features.A)).numpy())
        first += len(values)
    return columns


def _single(asked: Sequence[Asked]) -> list[Asked]:
    return [one for one in asked if one.role != "whole"]


def _sides(target: Target) -> list[Target]:
    """What is asked for and, of a contrast, what it is compared with, each by itself."""
    gained = tuple(term for term in target.terms if term.weight > 0)
    other = tuple(replace(term, weight=-term.weight) for term in target.terms if term.weight < 0)
    return [replace(target, terms=terms, kind="logprob") for terms in (gained, other) if terms]


def _owed(names: Sequence[str], word: Word, sides: Sequence[Target], here: Sequence[float], gone: Table) -> Owed:
    bounded = [
        references.owed(there, row.tolist(), _room(word, side))
        for side, there, row in zip(sides, here, gone, strict=True)
    ]
    signs = (1.0, -1.0)[: len(sides)]
    by = [sum(sign * value for sign, value in zip(signs, column, strict=True)) for column in zip(*bounded, strict=True)]
    left = np.sum([sign * row for sign, row in zip(signs, gone, strict=True)], 0)
    there = sum(sign * value for sign, value in zip(signs, here, strict=True))
    number = word.outputs == "value"
    return Owed(
        dict(zip(names, by, strict=True)),
        None if number else references.looked(there, left.tolist()),
        tuple(map(float, left)),
    )


def _room(word: Word, target: Target) -> float:
    """log C, as often as the target has steps; infinity where nobody counted."""
    if word.choices is None or word.outputs == "value":
        return math.inf
    return len({term.step for term in target.terms}) * math.log(word.choices)


def _summed(words: Sequence[Owed], there: float) -> Owed:
    by = {name: sum(word.by[name] for word in words) for name in words[0].by}
    left = tuple(float(sum(column)) for column in zip(*(word.logprobs for word in words), strict=True))
    return Owed(by, references.looked(there, left), left)


# As probes


def elsewhere(context: Context) -> Elsewhere:
    """The references of a picture as the model sees them."""
    return context.once(_elsewhere)


def owed(context: Context) -> list[Owed]:
    """What the targets of a picture owe to it."""
    return context.once(_owed_of)


def _elsewhere(context: Context) -> Elsewhere:
    return context.together(_all_elsewhere)


def _all_elsewhere(contexts: Sequence[Context]) -> Sequence[Elsewhere]:
    """The references of each of several pictures."""
    task, first = contexts[0].task, contexts[0]
    if first.options.references is None:
        pictures = [one.shown.picture.image for one in contexts]

        def see() -> list[Elsewhere]:
            return references.made_elsewhere(task, pictures, asked=first.likely)

        return see() if len(contexts) > 1 else first.latest.of(first.shown, task.version(), "references", see)
    return [
        references.elsewhere(task, one.shown.picture.image, one.shown.inputs, one.options.references)
        for one in contexts
    ]


def _owed_of(context: Context) -> list[Owed]:
    there = [one.logprob for one in context.rows]
    gone = context.together(_gone)
    return owing(context.task, context.features, context.prediction, context.asked, there, elsewhere(context), gone)


def _gone(contexts: Sequence[Context]) -> Sequence[Table]:
    """The log-probabilities of each one's words with its references."""
    return tables(contexts[0].task, [(elsewhere(one).features, meets(one.asked)) for one in contexts])


def _strange(context: Context) -> Sequence[tuple[str, ...]]:
    """A note where references are unlike the picture for the model; the same for all targets."""
    near, other = context.features, elsewhere(context).features
    if near.layer != other.layer or near.A.shape[1] != other.A.shape[1]:
        return [()] * len(context.asked)  # explained at a layer that has met the text
    ratios = references.ratio(other.A, near.A)
    note = references.strange(elsewhere(context).names, ratios, context.options.references is None)
    return [(note,) if note else ()] * len(context.asked)


def _wanted(context: Context) -> bool:
    return context.options.seen


SEEN = Probe("seen", _wanted, lambda context: [one.seen for one in owed(context)], every=True)
SEEN_BY = Probe("seen_by", _wanted, lambda context: [one.by for one in owed(context)], every=True)
LOOKED = Probe("looked", _wanted, lambda context: [one.looked for one in owed(context)], every=True)
STRANGE = Probe("strange", _wanted, _strange, every=True)
