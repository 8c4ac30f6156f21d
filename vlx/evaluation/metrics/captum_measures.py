"""Captum's two measures of an explanation: how wrong it is about what hiding a part does, and how unsteady it is.

Both are of Yeh et al. (1901.09392) and computed by Captum, which comes with ``pip install 'vlx[captum]'``. Infidelity
is the mean squared error of a map's sum over a random square, scaled as fits best, as the fall of the score when that
square is taken away; sensitivity the greatest relative change of a map under noise of 2 % of the range. A map that
knows nothing of the picture has sensitivity 0.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vlx.data.example import Data
from vlx.errors import InputError
from vlx.evaluation import baselines
from vlx.evaluation.baselines import by_picture
from vlx.evaluation.context import MetricContext
from vlx.evaluation.figures import BASELINE
from vlx.evaluation.metric import Line, Metric
from vlx.evaluation.metrics.curves import Canvas
from vlx.evaluation.records import Columns
from vlx.evaluation.shown import by_default
from vlx.methods.method import Site
from vlx.pictures.edits import taken_from, value_range
from vlx.protocol.targets import Target
from vlx.protocol.task import Features, Task

SQUARES = 32  # random ones that are taken away
SIDE = 1 / 4  # of the picture's shorter side
NOISY = 10  # pictures
NOISE = 0.02  # of the range of prepared values, the most that one moves


def _captum(name: str) -> Any:
    """Captum's measures. Raises InputError without it."""
    try:
        from captum import metrics
    except ImportError:
        raise InputError(f"--metrics {name} is Captum's, which is not installed: pip install 'vlx[captum]'") from None
    return metrics


def _check(name: str, _task: Task, _data: Data) -> None:
    _captum(name)


@dataclass(eq=False)
class _Hidden:
    """A picture with squares taken away, as a function of masks [M, 1, H, W] that are 1 where it is left."""

    context: MetricContext
    canvas: Canvas

    def __post_init__(self) -> None:
        self._known: dict[tuple[bytes, Target], float] = {}

    def squares(self) -> Tensor:
        """Random squares of a seed of the picture, 1 inside: [32, 1, H, W]."""
        (top, bottom, left, right), rng = self.canvas.window, by_picture(self.canvas.inputs, "squares")
        side = max(round(min(bottom - top, right - left) * SIDE), 1)
        made = torch.zeros(SQUARES, 1, *self.canvas.inputs.shape[1:])
        for square in made:
            y, x = (int(rng.integers(first, last - side + 1)) for first, last in ((top, bottom), (left, right)))
            square[:, y : y + side, x : x + side] = 1
        return made

    def scores(self, target: Target, masks: Tensor) -> Tensor:
        """The score of a target under each mask, [M]; those of a mask are asked for once."""
        keys = [mask.numpy().tobytes() for mask in masks]
        new = {key: mask for key, mask in zip(keys, masks, strict=True) if (key, target) not in self._known}
        if new:
            inputs, filling = self.canvas.inputs, self.canvas.filling
            pictures = [taken_from(inputs, filling, np.flatnonzero(mask.numpy().ravel() == 0)) for mask in new.values()]
            asked = self.context.shown.scores(torch.stack(pictures), [target])[:, 0]
            self._known |= {(key, target): float(score) for key, score in zip(new, asked, strict=True)}
        return torch.tensor([self._known[key, target] for key in keys], dtype=torch.float64)


def _infidelity(context: MetricContext) -> Mapping[Line, float]:
    measure = _captum("infidelity").infidelity
    row = context.case.row
    hidden = _Hidden(context, Canvas(context.shown, row))
    squares = context.shown.once(("squares", row), hidden.squares)
    whole = torch.ones(1, *squares.shape[1:])
    found = {}
    for line, one in context.maps.items():
        target = context.target(context.kinds[-1] if line[1] == BASELINE else line[1])  # type: ignore[arg-type]
        values = torch.from_numpy(one.on_prepared)[None, None].double()
        error = measure(
            partial(hidden.scores, target),
            lambda masks: (squares.double(), masks - squares),
            whole,
            values,
            n_perturb_samples=SQUARES,
            normalize=True,
        )
        found[line] = _number(error)
    return found


def _number(found: Tensor) -> float:
    value = float(found)
    return value if np.isfinite(value) else float("nan")


def _sensitivity(context: MetricContext) -> Mapping[Line, float]:
    measure = _captum("sensitivity").sensitivity_max
    noise = context.shown.once(("sensitivity's noise", context.case.row), partial(_noise, context))
    whole = context.shown.task.place(context.inputs[None])
    found = {}
    for line, one in context.maps.items():
        explain, noisy = partial(_explained, context, line), partial(_added, noise.to(whole))
        greatest = measure(explain, whole, noisy, n_perturb_samples=NOISY)
        found[line] = float("nan") if one.empty else _number(greatest)
    return found


def _added(noise: Tensor, pictures: Tensor) -> Tensor:
    return pictures + noise


def _noise(context: MetricContext) -> Tensor:
    """What is added to the picture's values, by a seed of it: [10, C, H, W]."""
    low, high = value_range(context.task.prepare, context.example.image, context.inputs)
    drawn = by_picture(context.inputs, "noise").uniform(-NOISE, NOISE, (NOISY, *context.inputs.shape))
    return torch.from_numpy(drawn) * (high - low).double()[:, None, None]


def _explained(context: MetricContext, line: Line, given: Any) -> Any:
    """The map of a line on each of some pictures, [M, cells]; in a tuple where they are in one."""
    return (_maps(context, line, given[0]),) if isinstance(given, tuple) else _maps(context, line, given)


def _maps(context: MetricContext, line: Line, pictures: Tensor) -> Tensor:
    shown, task = context.shown, context.task
    features: Features = shown.once(("features", context.case.row, len(pictures)), lambda: task.features(pictures))
    name, kind = line
    target = context.case.other if name == baselines.SAME else context.target(kind or context.kinds[-1])  # type: ignore[arg-type]
    targets = [replace(target, row=row) for row in range(len(pictures))]
    if name == baselines.SAME:
        return by_default(task, features, targets).signed.flatten(1)
    method = baselines.METHODS.get(name) or next(one for one in shown.setting.methods if one.name == name)
    site, there = Site.of(task, features, targets, pictures, lambda _: context.filling)
    return method.attributed(task, site, there).signed.flatten(1)


def _notes(_columns: Columns) -> Iterable[str]:
    yield f"infidelity: {SQUARES} random squares, a quarter of the side, in the picture's median colour; low is good"


def _noted(_columns: Columns) -> Iterable[str]:
    yield f"sensitivity: {NOISY} pictures with noise of {NOISE:.0%} of the range; low is good, 0 is what ignores them"


def _metric(
    name: str,
    summary: str,
    measure: Callable[[MetricContext], Mapping[Line, float]],
    notes: Callable[[Columns], Iterable[str]],
) -> Metric:
    return Metric(
        name, summary, measure, better="low", notes=notes, check=partial(_check, name), batch=4, anywhere=True
    )


INFIDELITY = _metric(
    "infidelity", "how far is a map from telling what the score loses by hidden squares?", _infidelity, _notes
)
SENSITIVITY = _metric("sensitivity", "how far does a map change when the picture hardly does?", _sensitivity, _noted)
