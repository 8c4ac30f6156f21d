"""Does the box of a map's largest connected segment fit a box of the thing? (Grad-CAM 4.1; MaxBoxAcc of 2001.07437)

The map max(S, 0) is painted and cut at a share of its highest pixel, the box is that around the largest segment (all
eight neighbours), and it fits where intersection over union with any box of the thing is at least a half. .15 of the
maximum, the paper's, suits broad maps only; so `maxbox` takes the threshold that is best on the data as a whole.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from vlx.data.example import Box
from vlx.evaluation.cases import answers, tells
from vlx.evaluation.context import MetricContext
from vlx.evaluation.figures import BASELINE, Telling, by_group
from vlx.evaluation.footprint import footprint_of, placements
from vlx.evaluation.intervals import Array
from vlx.evaluation.metric import Line, Measured, Metric
from vlx.evaluation.records import Columns, Values
from vlx.evaluation.result import Figure
from vlx.evaluation.segments import largest_boxes
from vlx.evaluation.weighed import Numbers, by_weight
from vlx.protocol.targets import Word

THRESHOLD = 0.15  # of the highest pixel
THRESHOLDS = tuple(round(0.05 * n, 2) for n in range(20))
FITS = 0.5  # intersection over union
HARDLY = 1.5  # times the centre's figure: less is told


def overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes (left, top, width, height).

    >>> overlap((0, 0, 2, 2), (1, 0, 2, 2))
    0.333...
    """
    (left, top, width, height), (x, y, w, h) = one, other
    shared = max(min(left + width, x + w) - max(left, x), 0) * max(min(top + height, y + h) - max(top, y), 0)
    union = width * height + w * h - shared
    return shared / union if union > 0 else 0.0


def fits(box: Box | None, boxes: Sequence[Box]) -> bool:
    """Whether a box fits any of others."""
    return box is not None and any(overlap(box, other) >= FITS for other in boxes)


def rank_of(word: Word) -> float:
    """The place of what is asked for among all that the model could have said, 1 for what it says; NaN without p.

    Told as far as the word's alternatives go: past them it is one more than their number.
    """
    if word.logprob != word.logprob:
        return float("nan")
    return 1 + sum(other.logprob > word.logprob for other in word.alternatives)


def boxes_of(context: MetricContext, share: float) -> dict[Line, Box | None]:
    """The box of the largest segment of every map above a share of its highest pixel."""
    found: dict[Line, Box | None] = {}
    for placement, maps in placements(context).items():
        footprint, values = footprint_of(context, placement), np.array([one.values for one in maps.values()])
        found |= zip(maps, largest_boxes(values, footprint, share * footprint.highest(values)), strict=True)
    return found


def _localization(context: MetricContext) -> Mapping[Line, Measured]:
    """1 where the box of a map fits; of classes beside it the rank of the class among the model's."""
    classes = not (tells(context.task) or answers(context.task))
    beside = {"rank": rank_of(context.case.prediction.words[context.case.position])} if classes else {}
    known = {name: value for name, value in beside.items() if value == value}
    return {line: (float(fits(box, context.boxes)), known) for line, box in boxes_of(context, THRESHOLD).items()}


def _localized(metric: str, columns: Columns, telling: Telling) -> Iterator[Figure]:
    """With the class known; of classes also where it is the model's first, or among its first five."""
    yield from by_group(metric, columns, telling)
    ranks = columns.told("rank")
    if not np.isnan(ranks).all():
        for most in (1, 5):
            right = columns.revalued(np.where(np.isnan(ranks), np.nan, columns.value * (ranks <= most)))
            yield from by_group(f"{metric} top{most}", right, telling)


def _notes(columns: Columns) -> Iterable[str]:
    """Where boxes are large, the middle of the picture fits them, too."""
    lines = {line: columns.value[columns.line == number] for number, line in enumerate(columns.lines)}
    centre = lines.get(("centre", BASELINE))
    best = max((float(np.mean(values)) for line, values in lines.items() if line[1] != BASELINE), default=0.0)
    if centre is not None and len(centre) and 0 < best < HARDLY * float(np.mean(centre)):
        yield (
            f"localization: boxes are large here, a bump in the middle fits {np.mean(centre):.3f} of them, the best "
            f"map {best:.3f}; read it beside its baselines"
        )


def _maxbox(context: MetricContext) -> Mapping[Line, Measured]:
    """1 where the box fits at any threshold; beside it the thresholds at which it does."""
    hits: dict[Line, list[float]] = {line: [] for line in context.maps}
    for share in THRESHOLDS:
        for line, box in boxes_of(context, share).items():
            hits[line] += [share] if fits(box, context.boxes) else []
    return {line: (float(bool(shares)), {"fits": shares}) for line, shares in hits.items()}


def _best(metric: str, columns: Columns, telling: Telling) -> Iterator[Figure]:
    """The share that fits at the threshold which is best for a method, over all of its records."""
    hits: Values = np.zeros((len(columns), len(THRESHOLDS)))
    for number, beside in columns.beside.items():
        hits[number, [THRESHOLDS.index(share) for share in beside.get("fits", ()) if share in THRESHOLDS]] = 1

    def best(numbers: Numbers, times: Array) -> Array:
        return np.asarray((times @ hits[numbers]).max(1) / times.sum(1))

    yield from by_weight(metric, columns, telling, best)


LOCALIZATION = Metric(
    "localization",
    "does the box of a map's largest segment fit the thing?",
    _localization,
    needs={"boxes"},
    figures=_localized,
    notes=_notes,
)
MAXBOX = Metric(
    "maxbox", "does it at the threshold that is best for all of them?", _maxbox, needs={"boxes"}, figures=_best
)
