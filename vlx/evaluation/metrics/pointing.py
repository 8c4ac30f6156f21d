"""The pointing game for every word of a caption, every answer and class (Zhang et al. 1608.00507; per word: Grad-CAM,
arXiv 1610.02391v4).

The true caption, answer or class is forced upon the model; a word scores a hit when the highest cell of its rectified
map is centred on the very object that the word speaks of, a scene word when it is centred outside all objects; an
answer when it is centred on what the answer rests on, or for parts within half a cell of it. A map without a positive
cell is a miss.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from vlx.errors import InputError
from vlx.evaluation.baselines import seeded
from vlx.evaluation.cases import Case, answers, closed, tells
from vlx.evaluation.context import MetricContext
from vlx.evaluation.figures import BASELINE, EVERY, QUARTER, Telling, by_group
from vlx.evaluation.metric import Line, Metric
from vlx.evaluation.records import Columns
from vlx.evaluation.result import Figure
from vlx.evaluation.shown import Setting, ShownBatch
from vlx.methods import engine
from vlx.methods.method import Site
from vlx.pictures.placement import Placement
from vlx.protocol.targets import TargetKind
from vlx.tasks.captioning import CnnLstmCaptioner
from vlx.tasks.captioning.captioner import looked

OF_ANSWERS: tuple[TargetKind, ...] = ("logprob", "logit", "margin")
USUAL: tuple[TargetKind, ...] = ("logprob", "logit")
PAPER = 0.300  # Grad-CAM v4: 830 words about 1,000 photographs of COCO, another captioner; no baseline is given
ATTENTION = "attention"
NO_TARGET = "–"
WINDOW = 12  # half the side, in prepared pixels, of the square that is hidden around a peak

Peak = tuple[int, int] | None  # a cell (row, column)


def kinds_of(setting: Setting) -> tuple[TargetKind, ...]:
    """The kinds of target that are measured: those asked for, else log p and logit, and of answers the margin."""
    return setting.kinds or (OF_ANSWERS if answers(setting.task) else USUAL)


def peaks_of(maps: Tensor) -> list[Peak]:
    """The highest cell of each map [N, h, w]; None where no cell is positive."""
    width = maps.shape[2]
    best, place = maps.flatten(1).max(1)
    return [divmod(p, width) if b > 0 else None for b, p in zip(best.tolist(), place.tolist(), strict=True)]


def hit(case: Case, peak: Peak, placement: Placement) -> float:
    """1 where the peak's cell is centred on what the case's word speaks of, else 0; of parts within half a cell."""
    if peak is None:
        return 0.0
    y, x = placement.centre_of(*peak)
    reach = _half_a_cell(placement) if case.group == "part" else (0.0, 0.0)
    (top, left), (bottom, right) = (
        [
            min(max(round(at + sign * far), 0), side - 1)
            for at, far, side in zip((y, x), reach, case.mask.shape, strict=True)
        ]
        for sign in (-1, 1)
    )
    return float(case.mask[top : bottom + 1, left : right + 1].any())


def _half_a_cell(placement: Placement) -> tuple[float, float]:
    """Half the distance of two cells' centres on the picture, (y, x)."""
    (y, x), (below, beside) = placement.centre_of(0, 0), placement.centre_of(1, 1)
    return abs(below - y) / 2, abs(beside - x) / 2


def _measure(tolerance: float, context: MetricContext) -> Mapping[Line, float]:
    """Hits of every map; baselines are a random point, the picture's centre, and the map of something else.

    A decoder's own attention is measured beside the methods, on people's captions.
    """
    case = _widened(context.case, tolerance)
    hits = {
        line: hit(case, peaks_of(torch.from_numpy(one.signed[None]))[0], one.placement)
        for line, one in context.maps.items()
    }
    hits["random", BASELINE] = float(case.mask.mean())
    hits["centre", BASELINE] = float(_middle(case))
    if tells(context.task) and not closed(context.shown.setting.data):
        weights = context.shown.once(ATTENTION, lambda: _attention(context.shown))
        if weights is not None:
            placement = context.shown.placement(case.row)
            peak = peaks_of(weights[context.number : context.number + 1])[0]
            hits[ATTENTION, NO_TARGET] = hit(case, peak, placement)
    return hits


def _middle(case: Case) -> bool:
    height, width = case.mask.shape
    return bool(case.mask[height // 2, width // 2])


def _widened(case: Case, tolerance: float) -> Case:
    """The case with all pixels in its mask that are no further than ``tolerance`` from one, as the crow flies."""
    if not tolerance or not case.mask.any():
        return case
    from scipy.ndimage import distance_transform_edt

    return replace(case, mask=np.asarray(distance_transform_edt(~case.mask) <= tolerance))


def _attention(shown: ShownBatch) -> Tensor | None:
    """How a decoder's own attention weighed the cells for each case's word, or whole text (the mean), [N, h, w].

    None without any.
    """
    task, found = shown.task, []
    if not isinstance(task, CnnLstmCaptioner):
        return None
    texts: dict[tuple[int, tuple[int, ...]], Tensor | None] = {}
    for case in shown.cases:
        text = (case.row, case.prediction.tokens)
        if text not in texts:
            texts[text] = looked(task, Site(shown.features).row(case.row).features, case.prediction.tokens)
        weights = texts[text]
        if weights is None:
            return None
        found.append(weights.mean(0) if case.ask.whole else weights[case.position])
    return torch.stack(found)


def _figures(metric: str, columns: Columns, telling: Telling) -> Iterator[Figure]:
    """By group; beside words of photographs' captions stands the figure of the paper."""
    for figure in by_group(metric, columns, telling):
        yield replace(figure, paper=PAPER) if telling.by_size and figure.group == EVERY else figure


def _notes(columns: Columns) -> Iterable[str]:
    areas = columns.area[columns.line == 0]
    if (areas < QUARTER).any():
        yield f"{len(areas)} asks scored, {(areas < QUARTER).sum()} of them of objects under a quarter of the picture"


def pointing(tolerance: float = 0.0) -> Metric:
    """The pointing game with a tolerance in pixels of the user's picture; TorchRay's figures have 15.

    One with a tolerance has it in its name, "pointing-15px". Raises InputError for what is no distance.

    >>> evaluate(task, data, metrics=[pointing(tolerance=15)])
    """
    if not 0 <= tolerance < math.inf:
        raise InputError(f"tolerance={tolerance!r}; give how many pixels beside a thing still count as a hit, from 0")
    return Metric(
        f"pointing-{tolerance:g}px" if tolerance else "pointing",
        "do maps point at the right things?",
        partial(_measure, float(tolerance)),
        needs={"mask"},
        figures=_figures,
        notes=_notes,
        kinds=kinds_of,
        pairs=True,
    )


POINTING = pointing()


def _measure_falls(context: MetricContext) -> Mapping[Line, float]:
    """How far log p falls when the picture is hidden around each map's peak, beside the fall at a random place."""
    shown, kinds = context.shown, context.kinds
    falls: dict[Line, list[float]] = {
        (method, kind): shown.once(("falls", method, kind), lambda m=maps, k=kind: _falls(shown, k, peaks_of(m)))  # type: ignore[misc]
        for kind in kinds
        for method, maps in shown.maps(kind).items()
    }
    falls["random", BASELINE] = shown.once(("falls", "random"), lambda: _falls(shown, "logprob", _anywhere(shown)))
    return {line: values[context.number] for line, values in falls.items()}


def _anywhere(shown: ShownBatch) -> list[Peak]:
    """A cell of each case's picture, by a seed of the picture and what is asked."""
    height, width = shown.features.grid.shape
    site = Site(shown.features, shown.inputs)
    draws = [seeded(site, target) for target in shown.targets("logprob")]
    return [(int(rng.integers(height)), int(rng.integers(width))) for rng in draws]


def _falls(shown: ShownBatch, kind: TargetKind, peaks: Sequence[Peak]) -> list[float]:
    """How far log p falls when the picture is hidden around each target's peak; 0 where there is none."""
    targets = shown.targets(kind)
    task, images, grid = shown.task, shown.inputs, shown.features.grid
    filling = images.flatten(2).median(2).values  # each picture's median colour
    edited = images[[target.row for target in targets]].clone()
    for n, peak in enumerate(peaks):
        if peak is not None:
            y, x = (round(o + s * c) for o, s, c in zip(grid.offset, grid.stride, peak, strict=True))
            square = np.s_[..., max(y - WINDOW, 0) : y + WINDOW, max(x - WINDOW, 0) : x + WINDOW]
            edited[n][square] = filling[targets[n].row, :, None, None]
    likely = [replace(target, kind="logprob") for target in targets]
    before = engine.ask(task, task.features(task.place(images)), likely)
    after = engine.ask(task, task.features(task.place(edited)), [replace(t, row=n) for n, t in enumerate(likely)])
    return (before - after).tolist()


FALL = Metric(
    "fall",
    "does the word fall when the picture is hidden around the map's peak?",
    _measure_falls,
    needs={"mask"},
    kinds=kinds_of,
    pairs=True,
)
