"""A batch of pictures as the model sees them, with what is asked about them and the maps of it, made when needed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from torch import Tensor

from vlx.data.example import Data, Example
from vlx.errors import InputError
from vlx.evaluation import baselines
from vlx.evaluation.baselines import Made
from vlx.evaluation.cases import Case, Reading, cases_of
from vlx.methods import registry, several
from vlx.methods.dependence import refuse_cut
from vlx.methods.engine import Attribution
from vlx.methods.method import Method, Site
from vlx.pictures.placement import Frame, Placement
from vlx.pictures.receptive_fields import measure_frame
from vlx.probes import references
from vlx.protocol.targets import Target, TargetKind
from vlx.protocol.task import Features, Task


@dataclass(frozen=True, eq=False)
class Setting:
    """What is measured: a task on data, by some methods, on some kinds of target (empty: as each metric has it).

    ``made`` makes the maps of the baselines that figures stand beside.
    """

    task: Task
    data: Data
    methods: tuple[Method, ...]
    kinds: tuple[TargetKind, ...] = ()
    made: Mapping[str, Made] = field(default_factory=baselines.made)
    frames: dict[tuple[int, int], Frame] = field(default_factory=dict)

    def frame(self, size: tuple[int, int]) -> Frame:
        """How pictures of ``size`` (H, W) lie in the task's input, measured once."""
        if size not in self.frames:
            self.frames[size] = measure_frame(self.task.prepare, size)
        return self.frames[size]


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
        self._maps: dict[TargetKind, dict[str, Tensor]] = {}
        self._baselines: dict[str, Tensor] = {}

    @cached_property
    def features(self) -> Features:
        """The features of all pictures, from one run of the vision part."""
        return self.task.features(self.task.place(self.inputs))

    @cached_property
    def cases(self) -> list[Case]:
        """All that is asked about the pictures and should point somewhere, the true texts forced upon the task."""
        return cases_of(self._reading(), self.features, self.examples, self.numbers)

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
        return [case.target(kind) for case in self.cases]

    def maps(self, kind: TargetKind) -> Mapping[str, Tensor]:
        """The cases' signed maps [N, h, w] on such targets, by each method of the setting.

        Raises NoGradient where the model cuts the gradient off: its maps would all be zero.
        """
        if kind not in self._maps:
            site, own = Site.of(self.task, self.features, self.targets(kind), self.inputs, self.filling)
            self._maps[kind] = several.maps_of(self.task, site, own, self.setting.methods)
        return self._maps[kind]

    def baseline(self, name: str) -> Tensor:
        """The cases' maps [N, h, w] by a baseline: "random", "centre", or the "same" picture's about something else."""
        if name not in self._baselines:
            h, w = self.features.grid.shape
            self._baselines[name] = (
                self._others() if name == "same" else self.setting.made[name]((len(self.cases), h, w))
            )
        return self._baselines[name]

    def _others(self) -> Tensor:
        """The maps of each case's other target, by the task's own method; equal ones are made once."""
        others: dict[Target, int] = {}
        numbers = [others.setdefault(case.other, len(others)) for case in self.cases]
        return by_default(self.task, self.features, list(others)).signed[numbers]

    def filling(self, row: int) -> Tensor:
        """A prepared picture [C, H, W] to take what hides a part of a picture from: its median colour."""
        return self.task.prepare(references.filling(self.examples[row].image))


def methods_of(task: Task) -> list[Method]:
    """What is measured of a task: every method that suits it and needs no more than its gradient."""
    return registry.compared(task)


def maps_of(task: Task, features: Features, targets: Sequence[Target]) -> Iterator[tuple[str, Tensor]]:
    """Each method's name and the targets' signed maps [N, h, w]; features are those of `Task.features`.

    Raises NoGradient where the model cuts the gradient off: its maps would all be zero.
    """
    site, own = Site.of(task, features, targets)
    yield from several.maps_of(task, site, own, methods_of(task)).items()


def by_default(task: Task, features: Features, targets: Sequence[Target]) -> Attribution:
    """The attribution of the targets by the task's own method. Raises InputError where that is none of A's."""
    method = registry.choose(task.defaults.method)
    if not method.on_cells:
        raise InputError(f"{task.name}: its default method, {method.name}, makes maps on another grid; measure another")
    site, own = Site.of(task, features, targets)
    found = method.attributed(task, site, own)
    if method.gradient and not found.depends.all():
        refuse_cut(task, site.features, own)
    return found
