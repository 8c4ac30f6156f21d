"""Deletion and insertion: what a score loses when a map's highest pixels go first, or gains when they come first.

Deletion (RISE, Petsiuk et al. 1806.07421) takes pixels away, into the picture's median colour; insertion shows them on
the picture blurred by σ = side / 16. Ranked by the signed map: a rectified one leaves what speaks against to chance.
"""

from collections.abc import Iterable, Iterator, Mapping

from torch import Tensor

from vlx.evaluation.context import MetricContext
from vlx.evaluation.figures import Telling, by_group
from vlx.evaluation.metric import Line, Metric
from vlx.evaluation.metrics.curves import Canvas, Changing, Order, area, curves, shares
from vlx.evaluation.records import Columns, Values
from vlx.evaluation.result import Figure
from vlx.pictures.edits import blurred, taken_from

SOFT = 16  # σ of the blur is a picture's longer side by so much

Measured = tuple[float, dict[str, float]]


def _deleted(canvas: Canvas, order: Order) -> Iterator[Tensor]:
    return (taken_from(canvas.inputs, canvas.filling, order[:count]) for count in shares(order))


def _soft(canvas: Canvas) -> Tensor:
    top, bottom, left, right = canvas.window
    sigma = max(bottom - top, right - left) / SOFT
    return canvas.shown.once(("blurred", canvas.row), lambda: blurred(canvas.inputs, canvas.window, sigma))


def _inserted(canvas: Canvas, order: Order) -> Iterator[Tensor]:
    return (taken_from(_soft(canvas), canvas.inputs, order[:count]) for count in shares(order))


def _blank(canvas: Canvas) -> tuple[Tensor, Tensor]:
    return canvas.inputs, taken_from(canvas.inputs, canvas.filling, canvas.pixels)


DELETING = Changing("deletion", _blank, _deleted)
INSERTING = Changing("insertion", lambda canvas: (_soft(canvas), canvas.inputs), _inserted)


def measured(curve: Values) -> Measured:
    """The area under p, and beside it that under the logit, where it is known: of scores [11, 2]."""
    logit = area(curve[:, 1])
    return area(curve[:, 0]), {} if logit != logit else {"logit": logit}


def _deletion(context: MetricContext) -> Mapping[Line, Measured]:
    return {line: measured(made[0]) for line, made in curves(context, DELETING).items()}


def _insertion(context: MetricContext) -> Mapping[Line, Measured]:
    return {line: measured(made[0]) for line, made in curves(context, INSERTING).items()}


def figures(metric: str, columns: Columns, telling: Telling) -> Iterator[Figure]:
    """By group, of p and of the logit."""
    yield from by_group(metric, columns, telling)
    yield from by_group(f"{metric}, logit", columns.of("logit"), telling)


def _notes_of_deletion(_columns: Columns) -> Iterable[str]:
    yield "deletion: pixels in falling order of the signed map become the picture's median colour; low is good"


def _notes_of_insertion(_columns: Columns) -> Iterable[str]:
    yield f"insertion: they are shown on the picture blurred by 1/{SOFT} of its side; high is good"


DELETION = Metric(
    "deletion",
    "does the score fall when what a map marks most is taken away first?",
    _deletion,
    better="low",
    figures=figures,
    notes=_notes_of_deletion,
    batch=4,
    anywhere=True,
)
INSERTION = Metric(
    "insertion",
    "does the score come back when what a map marks most is shown first?",
    _insertion,
    figures=figures,
    notes=_notes_of_insertion,
    batch=4,
    anywhere=True,
)
