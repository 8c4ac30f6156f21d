"""A check for swapped labels by the model itself, where names are words that it can say.

A permutation of names over units is found by whether a name's units act together (`vlx.probes.name_marks`); labels that
were exchanged between whole groups are not. But where the model is about to say "red", units that detect red add more
to "red" than to "blue".
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vlx.errors import InputError
from vlx.methods import engine
from vlx.neuron_names.table.fit import require_fit
from vlx.neuron_names.table.names import DETECTOR, NeuronNames
from vlx.protocol.powers import powers_of
from vlx.protocol.targets import Prediction, Query, Target, Term
from vlx.protocol.task import Features, Task

PICTURES = 40  # of the data: enough for every word of 16 groups
LEAST = 2  # units of a name, words of a category that the model can say, and places at which one was said
LEADING_ERRORS = 2.0  # standard errors by which another word must lead before a label counts as swapped

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Testimony:
    """One name: its ``units``, and which word of its category they gain most for.

    ``gain`` is what they add to their own word more than to the mean word of the category, ``best`` the word that they
    add most to and ``best_gain`` what; in units of the model's logit, mean over ``places`` where a word of the category
    is said. ``error`` is the standard error of best_gain − gain over pictures. ``own`` is whether best is their own.
    """

    concept: str
    category: str
    units: tuple[int, ...]
    best: str
    gain: float
    best_gain: float
    error: float
    places: int

    @property
    def own(self) -> bool:
        """Whether they gain most for the word that they are named by."""
        return self.best == self.concept

    @property
    def other(self) -> bool:
        """Whether another word leads by more than 2 standard errors."""
        return not self.own and self.best_gain - self.gain > LEADING_ERRORS * self.error


@dataclass(frozen=True)
class Witness:
    """What the model says of a table's labels: one row a name that it can say, and what was left out."""

    rows: tuple[Testimony, ...]
    left_out: tuple[str, ...]
    pictures: int
    notes: tuple[str, ...] = ()

    @property
    def share(self) -> float:
        """The share of names whose units gain most for their own word."""
        return sum(row.own for row in self.rows) / len(self.rows)

    @property
    def swapped(self) -> tuple[Testimony, ...]:
        """Names whose units speak for another word and its units for theirs (or in a ring of several), or against own.

        Units of which another word only takes more (as desert of units that detect beach) are not told to be swapped.
        """
        leads = {(row.category, row.concept): (row.category, row.best) for row in self.rows if row.other}
        return tuple(row for row in self.rows if row.other and (row.gain < 0 or _returns(leads, row)))

    def __str__(self) -> str:
        gained = f"{sum(row.own for row in self.rows)} of {len(self.rows)} names gain most for their own word"
        wrong = ", ".join(f"{row.concept} (rather {row.best})" for row in self.swapped)
        return f"{gained}; {f'swapped, as it seems: {wrong}' if wrong else 'no label is seen to be swapped'}"


def _returns(leads: dict[tuple[str, str], tuple[str, str]], row: Testimony) -> bool:
    """Whether one comes back to a name by going from each to the word that its units speak for."""
    start = place = (row.category, row.concept)
    for _ in leads:
        place = leads.get(place, ("", ""))
        if place == start:
            return True
    return False


def witness(
    table: NeuronNames,
    task: Task,
    data: Any,
    *,
    question: str | None = None,
    pictures: int = PICTURES,
    iou: float = DETECTOR,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> Witness:
    """Which word of its category each name's units add most to, at the words that the model says of ``data``.

    ``data`` as in `vlx.neuron_names.open_data`, of which the first ``pictures`` are looked at; ``question`` is what a
    model is asked that answers questions. At each place where a word of a category is said, contributions (Σ over cells
    of gradient × activation of the word's logit) to every word of the category that is the name of a unit are taken,
    less their mean over the words; of a name those of its active units are added up.

    Raises InputError for a table that does not fit the model, and where it has no two names of a category that the
    model can say and did say.

    >>> print(witness(names, task, "scenes:40:10000000"))
    16 of 16 names gain most for their own word; no label is seen to be swapped
    """
    from vlx.data import open_data

    opened = open_data(data)
    notes: tuple[str, ...] = ()
    count, gains = min(pictures, len(opened)), None
    for number in progress(range(count)):
        features = task.features(task.place(task.prepare(opened[number].image)[None]))
        if gains is None:
            notes = require_fit(table, task, features.layer, features.A.shape[1])
            gains = _Gains(table, _sayable(table, task, features, question, iou), iou)
        gains.add(task, features, task.predict(features, [Query(question=question)])[0], number)
    if gains is None or not (rows := gains.rows()):
        raise InputError(
            f"{task.name} says no two names of one category of this table in {count} pictures of {opened.name}; labels "
            "cannot be tested by it: give more pictures, or a model that says these words"
        )
    return Witness(rows, gains.left_out(rows), count, notes)


def _sayable(table: NeuronNames, task: Task, features: Features, question: str | None, iou: float) -> dict[str, int]:
    """Names → the tokens by which the model says them; of answers and classes by forcing each."""
    names = sorted({name.concept for name in table if table.counts(name, iou)})
    words = powers_of(task).vocabulary
    if question is None and words is not None:
        places = {word: token for token, word in reversed(list(enumerate(words)))}
        return {name: places[name] for name in names if name in places}
    tokens = {}
    for name in names:
        try:
            word = task.predict(features, [Query(question=question, answer=name)])[0].words[0]
        except InputError:
            continue  # no such answer
        if len(word.terms) == 1:
            tokens[name] = word.terms[0].token
    return tokens


class _Gains:
    """Gains of every name for every word of its category, place by place."""

    def __init__(self, table: NeuronNames, tokens: dict[str, int], iou: float) -> None:
        self.tokens = tokens
        self.groups: dict[tuple[str, str], list[int]] = {}
        for name in table:
            if table.counts(name, iou):
                self.groups.setdefault((name.category, name.concept), []).append(name.unit)
        self.thresholds = np.array([0.0 if name.threshold is None else name.threshold for name in table])
        self.categories: dict[str, list[str]] = {}
        for category, concept in self.groups:
            if concept in tokens:
                self.categories.setdefault(category, []).append(concept)
        self.gains: dict[str, list[tuple[int, Array]]] = {}

    def add(self, task: Task, features: Features, said: Prediction, picture: int) -> None:
        """Take the gains at each word said that is a name."""
        active = (features.cells[0].amax((1, 2)).double().cpu().numpy() > self.thresholds).astype(float)
        for word in said.words:
            for category, words in self.categories.items():
                if word.label not in words or len(words) < LEAST or len(word.terms) > 1:
                    continue
                targets = [
                    Target(0, other, (Term(word.terms[0].step, self.tokens[other]),), "logit", said.tokens)
                    for other in words
                ]
                added = _contributions(task, features, targets) * active
                added -= added.mean(0)
                per_group = [added[:, self.groups[category, name]].sum(1) for name in words]
                self.gains.setdefault(category, []).append((picture, np.stack(per_group)))

    def rows(self) -> tuple[Testimony, ...]:
        """One a name of two units or more, of categories of which words were said."""
        rows = []
        for category, heard in self.gains.items():
            words = self.categories[category]
            gains = np.stack([gain for _, gain in heard])
            if len(heard) >= LEAST:
                numbers = np.array([picture for picture, _ in heard])
                several = [g for g, word in enumerate(words) if len(self.groups[category, word]) >= LEAST]
                rows += [self._row(category, words, g, gains[:, g], numbers) for g in several]
        return tuple(rows)

    def _row(
        self, category: str, words: Sequence[str], index: int, gains: Array, pictures: NDArray[np.intp]
    ) -> Testimony:
        mean = gains.mean(0)
        best = int(mean.argmax())
        lead = gains[:, best] - gains[:, index]
        by_picture = np.array([lead[pictures == one].mean() for one in np.unique(pictures)])
        error = float(by_picture.std(ddof=1) / np.sqrt(len(by_picture))) if len(by_picture) > 1 else float("inf")
        units = tuple(self.groups[category, words[index]])
        gain, most = float(mean[index]), float(mean[best])
        return Testimony(words[index], category, units, words[best], gain, most, error, len(gains))

    def left_out(self, rows: Sequence[Testimony]) -> tuple[str, ...]:
        """Names that could not be tested: no word of the model, alone in their category, or of one unit."""
        tested = {(row.category, row.concept) for row in rows}
        return tuple(sorted(concept for category, concept in self.groups if (category, concept) not in tested))


def _contributions(task: Task, features: Features, targets: Sequence[Target]) -> Array:
    """Σ over cells of gradient × activation, [N, K]."""
    sums = []
    for chunk in engine.chunks(features.A, targets):
        _, gradients = engine.gradients(task, features.A, chunk, features.rest)
        sums.append(torch.einsum("nkhw,khw->nk", gradients, features.A[0].to(gradients.dtype)).double().cpu().numpy())
    return np.concatenate(sums)
