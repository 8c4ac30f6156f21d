"""The trial of a lean: do wrong answers change when what the concept has of A is taken away, and nothing else is?

Of cells, those that lie on the concept by half become what some pictures of the data show besides it, their mean cell:
the picture's own would be more of the same where the concept covers most of it. Of names of units, the units become 0.
Beside it stand as many random cells, or units, of the same picture. Where the concept covers most of the pictures
random cells are nearly the same ones, and little is left that could decide: then the same cells become the mean cell of
the concept in other pictures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlx.auditing import contrasts
from vlx.auditing.answered import UNITS, Answered
from vlx.auditing.judging import judge_of
from vlx.auditing.named_units import UnitGroups
from vlx.auditing.parts import OnCells, Shows, seen_by_lot
from vlx.auditing.result import HidingTrial
from vlx.data.example import example_of
from vlx.errors import VlxError
from vlx.evaluation.shown import Setting
from vlx.evaluation.spoken import spoken_cases
from vlx.methods import engine
from vlx.methods.method import Site
from vlx.methods.replay import without_cells
from vlx.neuron_names.table import NeuronNames
from vlx.protocol.targets import Target
from vlx.protocol.task import Features

MOST = 40  # wrong answers that are tried
RANDOM = 8  # random sets beside each concept
HALF = 0.5

Scores = NDArray[np.float64]
Cells = NDArray[np.bool_]


class Fills(NamedTuple):
    """What cells are hidden under: the mean cell [K] ``besides`` a concept, and ``itself`` where that is the control.

    None where there is none: the picture's own mean is then taken, and random cells are the control.
    """

    besides: Tensor | None = None
    itself: Tensor | None = None


class Hiding:
    """Hides concepts in the pictures of a setting, on which answers have been given."""

    def __init__(self, setting: Setting, names: NeuronNames | None = None) -> None:
        self.setting, self.shows, self.judge = setting, Shows(setting), judge_of(setting)
        self.units = None if names is None else UnitGroups(names)
        self._numbers: dict[str, int] = {}

    def trial(self, answers: Sequence[Answered], source: str, concept: str) -> HidingTrial:
        """What became of some answers, all wrong ones of one kind, when a concept of a source was hidden.

        At most 40 of them, evenly spaced, are asked again; those whose alternative then leads have changed. Answers
        that do not come again, and pictures without the concept, are not counted.
        """
        there = [one for one in answers if concept in one.evidence.get(source, {})]
        step = max(len(there) / MOST, 1.0)
        some = [there[int(n * step)] for n in range(min(len(there), MOST))]
        if not some:
            return HidingTrial(0, 0, 0.0)
        fills = Fills() if source == UNITS else self._fills(source, concept)
        if fills.itself is not None and np.median([one.evidence[source][concept].area for one in some]) <= HALF:
            fills = Fills(fills.besides)
        leads = [lead for one in some if (lead := self._leads(one, source, concept, fills)) is not None]
        changed, random = sum(bool(lead[0] < 0) for lead in leads), float(sum((lead[1:] < 0).mean() for lead in leads))
        return HidingTrial(len(leads), changed, random, "random" if fills.itself is None else "same")

    def _leads(self, answer: Answered, source: str, concept: str, fills: Fills) -> Scores | None:
        """By how much an answer leads with the concept hidden, and by chance, [1 + R]; None where not tried."""
        task, number = self.setting.task, self._number(answer.key)
        if number is None:
            return None
        example = example_of(self.setting.data, number)
        try:
            inputs = task.place(task.prepare(example.image)[None])
            features = task.features(inputs)
            target = self._asked(features, answer, number)
            if target is None:
                return None
            site, (moved,) = Site.of(task, features, [target], inputs)
            here = site.features.rows([moved.row])
            rng = np.random.default_rng(number)
            if source == UNITS:
                return self._without_units(here, moved, concept, rng)
            parts = self.shows.parts(features, 0, example, features.grid.plain).get(source, {})
            cells = parts[concept].weights >= HALF if concept in parts else np.zeros(0, bool)
            return self._without(here, moved, cells, rng, fills) if cells.any() else None
        except VlxError:
            return None

    def _fills(self, source: str, concept: str) -> Fills:
        """The mean cells of some pictures of the data besides a concept, and on it."""
        sides: tuple[list[Tensor], list[Tensor]] = [], []
        for cells, parts in self._some:
            part = parts.get(source, {}).get(concept)
            on = np.zeros(cells.shape[1:], bool) if part is None else part.weights >= HALF
            for side, mask in zip(sides, (~on, on), strict=True):
                side.append(cells[:, torch.from_numpy(mask).to(cells.device)].double())
        besides, itself = (torch.cat(side, 1) for side in sides)
        return Fills(*(some.mean(1) if some.shape[1] else None for some in (besides, itself)))

    @cached_property
    def _some(self) -> list[tuple[Tensor, Mapping[str, Mapping[str, OnCells]]]]:
        """The cells [K, h, w] of some pictures, and what they show."""
        return [
            (features.cells[0], self.shows.parts(features, 0, example, features.grid.plain))
            for example, features in seen_by_lot(self.setting.task, self.setting.data)
        ]

    def _number(self, key: str) -> int | None:
        """The place of a picture in the data."""
        if not self._numbers:
            data = self.setting.data
            self._numbers = {example_of(data, number).key: number for number in range(len(data))}
        return self._numbers.get(key)

    def _asked(self, features: Features, answer: Answered, number: int) -> Target | None:
        """The target of an answer rather than its alternative, given again; None where the model says another thing."""
        example = example_of(self.setting.data, number)
        for case in spoken_cases(self.setting.task, features, [example], [number]):
            judged = self.judge(case, example, features)
            same = (judged.said, case.position, case.ask.query.question or "")
            if same == (answer.said, answer.position, answer.question):
                (contrast,) = contrasts.of_cases(self.setting.task, features, [case], [judged])
                return None if contrast is None else contrast.target
        return None

    def _without(self, here: Features, target: Target, cells: Cells, rng: np.random.Generator, fills: Fills) -> Scores:
        if fills.itself is not None:
            both = (fills.besides, fills.itself)
            return np.concatenate([self._filled(here, target, cells[None], fill) for fill in both])
        count, size = cells.size, int(cells.sum())
        sets = np.zeros((1 + RANDOM, count), bool)
        sets[0] = cells.ravel()
        for row in sets[1:]:
            row[rng.choice(count, size, replace=False)] = True
        return self._filled(here, target, sets.reshape(-1, *cells.shape), fills.besides)

    def _filled(self, here: Features, target: Target, sets: Cells, fill: Tensor | None) -> Scores:
        """The lead with the cells of each set [R, h, w] made ``fill``, [R]."""
        asked = [[replace(target, row=0)]] * len(sets)
        return np.concatenate(without_cells(self.setting.task, here, sets, asked, fill=fill))

    def _without_units(self, here: Features, target: Target, concept: str, rng: np.random.Generator) -> Scores | None:
        units = [] if self.units is None else self.units.of(concept)
        if not units:
            return None
        count = here.A.shape[1]
        sets = [units, *(rng.choice(count, len(units), replace=False).tolist() for _ in range(RANDOM))]
        rows = here.rows([0] * len(sets))
        A = rows.A.clone()
        for row, off in enumerate(sets):
            A[row, off] = 0
        asked = [replace(target, row=row) for row in range(len(sets))]
        return _numbers(engine.scores(self.setting.task, A, asked, rows.rest))


def _numbers(scores: Tensor) -> Scores:
    with torch.no_grad():
        return np.asarray(scores.double().cpu().numpy())
