"""How a score goes as more and more of a picture is changed in the order of a map: deletion, insertion, ROAD.

All are taken on the prepared picture, pixels in falling order of the signed map, which is bilinear between its cells;
equal ones in a random order of a seed of the picture. What is padding is no pixel of it. The share f that is changed
goes from 0 to 1 by tenths, and the value is the area under the score (trapezoids). Maps that several words of a picture
share are tried once, with all their words, and a picture's ends once for all maps.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlx.evaluation.baselines import by_picture
from vlx.evaluation.context import DrawnMap, MetricContext, context_of
from vlx.evaluation.metric import Line
from vlx.evaluation.records import Values
from vlx.evaluation.shown import BUDGET, AskedCases, ShownBatch
from vlx.pictures.edits import Box
from vlx.protocol.targets import Target, TargetKind

STEPS = 10  # of the share that is changed
KINDS: tuple[TargetKind, TargetKind] = ("logprob", "logit")
Order = NDArray[np.intp]  # numbers of pixels


@dataclass(frozen=True, eq=False)
class Canvas:
    """One picture of a batch, whose pixels are changed: where it is no padding, and what its equal pixels go by."""

    shown: ShownBatch
    row: int

    @property
    def inputs(self) -> Tensor:
        """The prepared picture [C, H, W]."""
        return self.shown.inputs[self.row]

    @property
    def filling(self) -> Tensor:
        """The same in its median colour."""
        return self.shown.filling(self.row)

    @cached_property
    def window(self) -> Box:
        """(top, bottom, left, right) of what is no padding."""
        return self.shown.placement(self.row).frame.window

    @cached_property
    def pixels(self) -> Order:
        """The numbers of the pixels that are no padding, in a random order of a seed of the picture."""
        (top, bottom, left, right), (height, width) = self.window, self.inputs.shape[1:]
        inside = np.arange(height * width).reshape(height, width)[top:bottom, left:right].ravel()
        return by_picture(self.inputs).permutation(inside)

    def falling(self, values: NDArray[np.floating]) -> Order:
        """The pixels in falling order of a map [H, W]."""
        return self.pixels[np.argsort(-values.ravel()[self.pixels], kind="stable")]


@dataclass(frozen=True, eq=False)
class Changing:
    """A way of changing pictures, known by its ``name``.

    ``ends(canvas)`` gives the picture at f = 0 and at f = 1, ``between(canvas, order)`` those between, for each of
    ``tracks`` ways of going from one to the other all, in rising order of f.
    """

    name: str
    ends: Callable[[Canvas], tuple[Tensor, Tensor]]
    between: Callable[[Canvas, Order], Iterator[Tensor]]
    tracks: int = 1


def shares(order: Order) -> Iterator[int]:
    """How many of the pixels are changed at each share between 0 and 1."""
    return (round(len(order) * step / STEPS) for step in range(1, STEPS))


def curves(context: MetricContext, changing: Changing) -> dict[Line, Values]:
    """Each map's scores, p (of a number the number) and logit, at every share: float64 [tracks, 11, 2].

    NaN where the model gives none. Made for all that is asked about a picture together.
    """
    key = ("curves", changing.name, id(context.asked), context.case.row, context.kinds)
    made = context.shown.once(key, partial(_of_picture, context.asked, context.case.row, context.kinds, changing))
    return made[context.number]


def _of_picture(
    asked: AskedCases, row: int, kinds: Sequence[TargetKind], changing: Changing
) -> dict[int, dict[Line, Values]]:
    """The curves of every map of a picture, by the number of the case."""
    canvas = Canvas(asked.shown, row)
    contexts = {n: context_of(asked, n, kinds) for n, case in enumerate(asked.cases) if case.row == row}
    targets = {n: [context.target(kind) for kind in KINDS] for n, context in contexts.items()}
    ends = _scores(asked.shown, iter(changing.ends(canvas)), [one for own in targets.values() for one in own])
    whole = dict(zip(contexts, np.moveaxis(ends.reshape(2, -1, len(KINDS)), 1, 0), strict=True))
    made: dict[int, dict[Line, Values]] = {n: {} for n in contexts}
    for numbers, maps in _shared(contexts):
        pictures = (one for drawn, _ in maps for one in changing.between(canvas, canvas.falling(drawn.on_prepared)))
        table = _scores(asked.shown, pictures, [target for n in numbers for target in targets[n]])
        table = table.reshape(len(maps), changing.tracks, STEPS - 1, len(numbers), len(KINDS))
        for (_, lines), of_map in zip(maps, table, strict=True):
            for place, n in enumerate(numbers):
                first, last = (np.broadcast_to(end, (changing.tracks, 1, len(KINDS))) for end in whole[n])
                curve = np.concatenate([first, of_map[:, :, place], last], 1)
                told = _told(curve, targets[n])
                made[n] |= {line: told for number, line in lines if number == n}
    return made


Lines = list[tuple[int, Line]]


def _shared(contexts: dict[int, MetricContext]) -> Iterator[tuple[list[int], list[tuple[DrawnMap, Lines]]]]:
    """Distinct maps with the cases and lines that they are of, those of the same cases together."""
    distinct: dict[tuple[bytes, str], tuple[DrawnMap, Lines]] = {}
    for n, context in contexts.items():
        for line, drawn in context.maps.items():
            key = (drawn.signed.tobytes(), repr(drawn.placement.grid))
            distinct.setdefault(key, (drawn, []))[1].append((n, line))
    groups: dict[tuple[int, ...], list[tuple[DrawnMap, Lines]]] = {}
    for drawn, lines in distinct.values():
        groups.setdefault(tuple(dict.fromkeys(n for n, _ in lines)), []).append((drawn, lines))
    yield from ((list(numbers), maps) for numbers, maps in groups.items())


def _scores(shown: ShownBatch, pictures: Iterator[Tensor], targets: Sequence[Target]) -> Values:
    """Scores of targets on pictures [M, N], made and shown so many at a time."""
    parts = []
    while chunk := [*islice(pictures, at_once(shown))]:
        parts.append(shown.scores(torch.stack(chunk), targets))
    return np.concatenate(parts)


def at_once(shown: ShownBatch) -> int:
    """How many other pictures are shown to the model at once."""
    return max(BUDGET // (shown.inputs[0].numel() * shown.inputs.element_size()), 1)


def _told(curve: Values, targets: Sequence[Target]) -> Values:
    """Scores [tracks, 11, 2] with p for log p, NaN for what is no number; a value has no p and stays."""
    told = curve.copy()
    if targets[0].kind == "logprob":
        told[..., 0] = np.exp(told[..., 0])
    told[~np.isfinite(told)] = np.nan
    return told


def area(curve: Values) -> float:
    """The area under scores [11] at even shares from 0 to 1.

    >>> area(np.arange(11.0))
    5.0
    """
    return float(np.trapezoid(curve, dx=1 / STEPS))
