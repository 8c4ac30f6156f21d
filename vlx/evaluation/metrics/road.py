"""ROAD: as deletion, with removed pixels filled in from those around them, so that their shape tells less.

Noisy linear imputation (Rong et al. 2202.00449): no pixel that is gone can be told from its surroundings. Most and
least relevant pixels go first, and the value is how far apart the two lie. It favours blurry maps (2304.13836).
"""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlx.evaluation.baselines import by_picture
from vlx.evaluation.context import MetricContext
from vlx.evaluation.figures import Telling, by_group
from vlx.evaluation.metric import Line, Metric
from vlx.evaluation.metrics.curves import Canvas, Changing, Order, area, curves, shares
from vlx.evaluation.records import Columns
from vlx.evaluation.result import Figure
from vlx.pictures.edits import imputed, taken_from, value_range

NOISE = 0.01  # of the range of the prepared picture's values


def _noise(canvas: Canvas) -> NDArray[np.float64]:
    """What is added to a picture's imputed pixels, [C, H, W]: the same whichever they are."""
    picture = canvas.shown.examples[canvas.row].image
    low, high = value_range(canvas.shown.task.prepare, picture, canvas.inputs)
    drawn = by_picture(canvas.inputs, "noise").standard_normal(canvas.inputs.shape)
    return np.asarray(drawn * NOISE * (high - low).double().cpu().numpy()[:, None, None])


def _filled(canvas: Canvas, gone: Order) -> Tensor:
    """The prepared picture without some of its pixels."""
    noise = canvas.shown.once(("road's noise", canvas.row), lambda: _noise(canvas))
    which = np.zeros(canvas.inputs.shape[1:], bool)
    which.flat[gone] = True
    top, bottom, left, right = canvas.window
    part = np.s_[:, top:bottom, left:right]
    pixels = canvas.inputs.double().cpu().numpy()
    pixels[part] = imputed(pixels[part], which[part[1:]])
    other = torch.from_numpy(pixels + noise).to(canvas.inputs)
    return taken_from(canvas.inputs, other, gone)


def _ends(canvas: Canvas) -> tuple[Tensor, Tensor]:
    """The picture, and what it is when nothing is left to impute from: the filling, with the noise."""
    noise = torch.from_numpy(_noise(canvas)).to(canvas.inputs)
    return canvas.inputs, taken_from(canvas.inputs, canvas.filling + noise, canvas.pixels)


def _removed(canvas: Canvas, order: Order) -> Iterator[Tensor]:
    yield from (_filled(canvas, order[:count]) for count in shares(order))
    yield from (_filled(canvas, order[len(order) - count :]) for count in shares(order))


REMOVING = Changing("road", _ends, _removed, tracks=2)


def _measure(context: MetricContext) -> Mapping[Line, tuple[float, dict[str, float]]]:
    found = {}
    for line, (most, least) in curves(context, REMOVING).items():
        first, last = area(most[:, 0]), area(least[:, 0])
        told = {"most": first, "least": last, "logit": area(least[:, 1]) - area(most[:, 1])}
        found[line] = (last - first, {name: value for name, value in told.items() if value == value})
    return found


def _figures(metric: str, columns: Columns, telling: Telling) -> Iterator[Figure]:
    yield from by_group(metric, columns, telling)
    yield from by_group(f"{metric}, most relevant first", columns.of("most"), telling)
    yield from by_group(f"{metric}, least relevant first", columns.of("least"), telling)
    yield from by_group(f"{metric}, logit", columns.of("logit"), telling)


def _notes(_columns: Columns) -> Iterable[str]:
    yield (
        "road: least relevant pixels first less most relevant first; what is gone is imputed from around it. It "
        "favours blurry maps (arXiv 2304.13836)"
    )


ROAD = Metric(
    "road",
    "the same with what is gone filled in from around it: how far are the two ends of a map apart?",
    _measure,
    figures=_figures,
    notes=_notes,
    batch=2,
    anywhere=True,
)
