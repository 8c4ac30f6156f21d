"""One thing that is asked about one picture, and all maps of it: what a metric measures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vlx.data.example import Box, Example, Mask
from vlx.evaluation import baselines
from vlx.evaluation.cases import Case
from vlx.evaluation.figures import BASELINE
from vlx.evaluation.records import Values
from vlx.evaluation.shown import AskedCases, ShownBatch
from vlx.pictures.placement import Frame, Grid, Placement
from vlx.protocol.targets import Target, TargetKind
from vlx.protocol.task import Task

Point = tuple[float, float]


@dataclass(frozen=True, eq=False)
class DrawnMap:
    """One map: ``signed`` float64 [h, w] in the score's unit, on the cells of ``placement``."""

    signed: Values
    placement: Placement

    @cached_property
    def values(self) -> Values:
        """What speaks for the score: max(S, 0), float64 [h, w]."""
        return np.maximum(self.signed, 0)

    @property
    def empty(self) -> bool:
        """Whether no cell is positive: such a map points nowhere."""
        return not bool((self.signed > 0).any())

    @cached_property
    def painted(self) -> NDArray[np.float32]:
        """The values on the user's picture, float32 [H, W]; bilinear between the cells' centres."""
        return self.placement.paint(self.values)

    @cached_property
    def on_prepared(self) -> NDArray[np.float32]:
        """The signed values on the prepared picture, float32 [H', W']; bilinear between the cells' centres."""
        grid = self.placement.grid
        return Placement(grid, Frame.whole(grid.size, grid.size)).paint(self.signed)

    @property
    def peak(self) -> tuple[int, int] | None:
        """The highest cell (row, column); None where no cell is positive."""
        if self.empty:
            return None
        row, column = divmod(int(self.signed.argmax()), self.signed.shape[1])
        return row, column

    @property
    def point(self) -> Point | None:
        """Where the highest cell is centred, (y, x) on the user's picture; None where no cell is positive."""
        return None if self.peak is None else self.placement.centre_of(*self.peak)


@dataclass(frozen=True, eq=False)
class MetricContext:
    """What is asked (``case``, the ``number``-th of its batch) about one picture, and the maps of it.

    ``shown`` is the batch as the model sees it, which keeps what several metrics share (`ShownBatch.once`), ``asked``
    all its cases; ``kinds`` are the kinds of target that are measured. ``maps`` are by (method, target), those of
    baselines by (name, "").
    """

    shown: ShownBatch
    number: int
    case: Case
    kinds: tuple[TargetKind, ...]
    maps: Mapping[tuple[str, str], DrawnMap]
    asked: AskedCases

    @property
    def task(self) -> Task:
        """The task that is measured."""
        return self.shown.task

    @property
    def example(self) -> Example:
        """The picture and what is known of it."""
        return self.shown.examples[self.case.row]

    @property
    def mask(self) -> Mask:
        """The pixels that it should rest on, bool [H, W]; of boxes all that lies in any."""
        return self.case.mask

    @property
    def boxes(self) -> tuple[Box, ...]:
        """The boxes (left, top, width, height) of what it should rest on; of a mask the one around it."""
        return self.case.boxes

    @property
    def human(self) -> NDArray[np.floating] | None:
        """How much people looked at each cell [h, w]; None where it is not known."""
        return None if self.case.ask.truth is None else self.case.ask.truth.human

    @property
    def inputs(self) -> Tensor:
        """The prepared picture [C, H', W']."""
        return self.shown.inputs[self.case.row]

    @property
    def filling(self) -> Tensor:
        """A prepared picture [C, H', W'] to take what hides a part from: the picture's median colour."""
        return self.shown.filling(self.case.row)

    def target(self, kind: TargetKind) -> Target:
        """The target that asks for it, at its picture's row of the features."""
        return self.case.target(kind)

    def scores(self, pictures: Tensor, kinds: Sequence[TargetKind]) -> Values:
        """Its scores of each kind on other prepared pictures [M, C, H', W'], float64 [M, kinds]."""
        return self.shown.scores(pictures, [self.target(kind) for kind in kinds])

    def __repr__(self) -> str:
        return f"MetricContext({self.example.key!r}, {self.case.group!r})"

    def on_prepared(self, one: DrawnMap) -> NDArray[np.float32]:
        """A map's signed values on the prepared picture, float32 [H', W']: bilinear between the cells."""
        return one.on_prepared


def context_of(asked: AskedCases, number: int, kinds: Sequence[TargetKind]) -> MetricContext:
    """One case of a batch, with its maps by every method and kind of target, and by the baselines beside them."""
    case, maps = asked.cases[number], dict[tuple[str, str], DrawnMap]()
    frame = asked.shown.placement(case.row).frame

    def drawn(signed: Tensor, grid: Grid) -> DrawnMap:
        return DrawnMap(np.asarray(signed.cpu().numpy(), np.float64), Placement(grid, frame))

    for kind in kinds:
        for name, made in asked.maps(kind).items():
            maps[name, kind] = drawn(made[number], asked.grid(name))
    for name in baselines.BESIDE:
        maps[name, BASELINE] = drawn(asked.baseline(name)[number], asked.shown.features.grid)
    return MetricContext(asked.shown, number, case, tuple(kinds), maps, asked)
