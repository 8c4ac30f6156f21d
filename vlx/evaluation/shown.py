"""A batch of pictures as the model sees them, with what is asked about them and the maps of it, made when needed."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from vlx.data.example import Data, Example
from vlx.errors import InputError
from vlx.evaluation import baselines
from vlx.evaluation.cases import Case, Reading, cases_of, closed
from vlx.evaluation.class_asks import Table
from vlx.evaluation.records import Values
from vlx.evaluation.spoken import spoken_cases
from vlx.methods import engine, registry, several
from vlx.methods.dependence import refuse_cut
from vlx.methods.engine import Attribution
from vlx.methods.method import Method, Site
from vlx.pictures.placement import Frame, Grid, Placement
from vlx.pictures.receptive_fields import measure_frame
from vlx.probes import references
from vlx.protocol.targets import Target, TargetKind
from vlx.protocol.task import Features, Task

T = TypeVar("T")
BUDGET = 16 * 2**20  # bytes of prepared pictures shown at once


@dataclass(frozen=True, eq=False)
class Setting:
    """What is measured: a task on data, by some methods, on some kinds of target (empty: as each metric has it).

    ``classes`` says what the data's classes are called by the model, where it is not by their names.
    """

    task: Task
    data: Data
    methods: tuple[Method, ...]
    kinds: tuple[TargetKind, ...] = ()
    classes: Table | None = None
    frames: dict[tuple[int, int], Frame] = field(default_factory=dict)

    def frame(self, size: tuple[int, int]) -> Frame:
        """How pictures of ``size`` (H, W) lie in the task's input, measured once."""
        if size not in self.frames:
            self.frames[size] = measure_frame(self.task.prepare, size)
        return self.frames[size]


class AskedCases:
    """Cases of a batch of pictures, and the maps of them, made when they are first needed."""

    def __init__(self, shown: "ShownBatch", cases: list[Case]) -> None:
        self.shown, self.cases = shown, cases
        self._maps: dict[TargetKind, dict[str, Tensor]] = {}
        self._grids: dict[str, Grid] = {}
        self._baselines: dict[str, Tensor] = {}
        before: Counter[int] = Counter()
        self.places = [before.update([case.row]) or before[case.row] - 1 for case in cases]

    def targets(self, kind: TargetKind) -> list[Target]:
        """The cases' targets of one kind."""
        return [case.target(kind) for case in self.cases]

    def maps(self, kind: TargetKind) -> Mapping[str, Tensor]:
        """The cases' signed maps [N, h, w] on such targets, by each method of the setting.

        Raises NoGradient where the model cuts the gradient off: its maps would all be zero.
        """
        if kind not in self._maps:
            shown, own = self.shown, [one for one in self.shown.setting.methods if one.name != baselines.SAME]
            site, targets = Site.of(shown.task, shown.features, self.targets(kind), shown.inputs, shown.filling)
            made = several.maps_of(shown.task, site, targets, own)
            self._grids |= {method.name: method.grid(site) for method in own}
            if len(own) < len(shown.setting.methods):
                made[baselines.SAME] = self.baseline(baselines.SAME)
            self._maps[kind] = {method.name: made[method.name] for method in shown.setting.methods}
        return self._maps[kind]

    def baseline(self, name: str) -> Tensor:
        """The cases' maps [N, h, w] by a baseline, see `vlx.evaluation.baselines`; by "same" those of something else of
        the same picture.
        """
        if name not in self._baselines:
            shown = self.shown
            if name == baselines.SAME:
                self._baselines[name] = self._others()
            else:
                site = Site(shown.features, shown.inputs, shown.filling)
                targets = self.targets(shown.task.defaults.target)
                self._baselines[name] = baselines.METHODS[name].attribute(shown.task, site, targets).signed
        return self._baselines[name]

    def _others(self) -> Tensor:
        """The maps of each case's other target, by the task's own method; equal ones are made once."""
        others: dict[Target, int] = {}
        numbers = [others.setdefault(case.other, len(others)) for case in self.cases]
        shown = self.shown
        made = by_default(shown.task, shown.features, list(others), shown.inputs, shown.filling)
        return made.signed[numbers]

    def grid(self, name: str) -> Grid:
        """Where the cells of a method's maps are on the prepared picture."""
        return self._grids.get(name, self.shown.features.grid).plain


class ShownBatch:
    """Examples whose prepared pictures have one size, as the task of a setting sees them.

    ``inputs`` [B, C, H, W] are the prepared pictures, ``numbers`` the examples' places in the data.
    """

    def __init__(
        self,
        setting: Setting,
        reading: Callable[[], Reading],
        examples: Sequence[Example],
        inputs: Tensor,
        numbers: Sequence[int],
    ) -> None:
        self.setting, self.task, self._reading = setting, setting.task, reading
        self.examples, self.inputs, self.numbers = examples, inputs, numbers
        self._kept: dict[Hashable, object] = {}

    @property
    def reading(self) -> Reading:
        """How the task reads what the data ask."""
        return self._reading()

    @cached_property
    def features(self) -> Features:
        """The features of all pictures, from one run of the vision part."""
        return self.task.features(self.task.place(self.inputs))

    @cached_property
    def asked(self) -> AskedCases:
        """All that is asked about the pictures and should point somewhere, the true texts forced upon the task."""
        return AskedCases(self, cases_of(self._reading(), self.features, self.examples, self.numbers))

    @cached_property
    def asked_with_absent(self) -> AskedCases:
        """The same, and what is known not to be in the pictures; what could not be asked is counted by `asked`."""
        with self._reading().uncounted() as reading:
            return AskedCases(self, cases_of(reading, self.features, self.examples, self.numbers, absent=True))

    @cached_property
    def asked_anywhere(self) -> AskedCases:
        """All that is asked, whether it is known where it is or not; of drawn scenes what has its place.

        Where the data ask nothing, what the model says by itself.
        """
        reading = self.reading
        if reading.silent:
            return self.spoken
        if closed(self.setting.data) or all(map(reading.placed, self.examples)):
            return self.asked
        return AskedCases(self, self.everything)

    @cached_property
    def spoken(self) -> AskedCases:
        """What the model says by itself, to the questions of the data where it answers some."""
        return AskedCases(self, spoken_cases(self.task, self.features, self.examples, self.numbers))

    @property
    def cases(self) -> list[Case]:
        """The cases of `asked`."""
        return self.asked.cases

    @cached_property
    def everything(self) -> list[Case]:
        """The same, and what is known to point nowhere."""
        return cases_of(self._reading(), self.features, self.examples, self.numbers, pointed=False)

    def placement(self, row: int) -> Placement:
        """Where the cells of A lie on a picture."""
        image = self.examples[row].image
        return Placement(self.features.grid, self.setting.frame((image.height, image.width)))

    def targets(self, kind: TargetKind) -> list[Target]:
        """The cases' targets of one kind."""
        return self.asked.targets(kind)

    def maps(self, kind: TargetKind) -> Mapping[str, Tensor]:
        """The cases' signed maps [N, h, w] on such targets, see `AskedCases.maps`."""
        return self.asked.maps(kind)

    def baseline(self, name: str) -> Tensor:
        """The cases' maps [N, h, w] by a baseline, see `AskedCases.baseline`."""
        return self.asked.baseline(name)

    def filling(self, row: int) -> Tensor:
        """A prepared picture [C, H, W] to take what hides a part of a picture from: its median colour."""
        return self.once(("filling", row), lambda: self.task.prepare(references.filling(self.examples[row].image)))

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """What ``make`` gives, made once for this batch: what several cases, methods or metrics share."""
        if key not in self._kept:
            self._kept[key] = make()
        return cast(T, self._kept[key])

    def let_go(self) -> None:
        """Forget what was made of the batch: its cases know it, and would keep its pictures for long."""
        for name in ("asked", "asked_with_absent", "asked_anywhere", "spoken"):
            vars(self).pop(name, None)
        self._kept.clear()

    def scores(self, pictures: Tensor, targets: Sequence[Target]) -> Values:
        """Scores of targets on other prepared pictures [M, C, H, W], float64 [M, N], in batches of `BUDGET` bytes."""
        size = max(BUDGET // max(pictures[0].numel() * pictures.element_size(), 1), 1)
        found = []
        for first in range(0, len(pictures), size):
            chunk = pictures[first : first + size]
            rows = [replace(target, row=row) for row in range(len(chunk)) for target in targets]
            seen = self.task.features(self.task.place(chunk))
            found.append(engine.ask(self.task, seen, rows).view(len(chunk), len(targets)))
        return np.asarray(torch.cat(found).double().cpu().numpy())


def methods_of(task: Task) -> list[Method]:
    """What is measured of a task: every method that suits it and needs no more than its gradient."""
    return registry.compared(task)


def maps_of(task: Task, features: Features, targets: Sequence[Target]) -> Iterator[tuple[str, Tensor]]:
    """Each method's name and the targets' signed maps [N, h, w]; features are those of `Task.features`.

    Raises NoGradient where the model cuts the gradient off: its maps would all be zero.
    """
    site, own = Site.of(task, features, targets)
    yield from several.maps_of(task, site, own, methods_of(task)).items()


def by_default(
    task: Task,
    features: Features,
    targets: Sequence[Target],
    inputs: Tensor | None = None,
    filling: Callable[[int], Tensor] | None = None,
) -> Attribution:
    """The attribution of the targets by the task's own method, some of which show the task other pictures.

    Raises InputError where its maps are none of A's, and without ``inputs`` and ``filling`` where it needs them.
    """
    method = registry.choose(task.defaults.method)
    if not method.on_cells:
        raise InputError(f"{task.name}: its default method, {method.name}, makes maps on another grid; measure another")
    site, own = Site.of(task, features, targets, inputs, filling)
    found = method.attributed(task, site, own)
    if method.gradient and not found.depends.all():
        refuse_cut(task, site.features, own)
    return found
