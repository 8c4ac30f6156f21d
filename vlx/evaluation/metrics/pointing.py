"""The pointing game for every word of a caption, every answer and class (Zhang et al. 1608.00507; per word: Grad-CAM,
arXiv 1610.02391v4).

The true caption, answer or class is forced upon the model; a word scores a hit when the highest cell of its rectified
map is centred on the very object that the word speaks of, a scene word when it is centred outside all objects; an
answer when it is centred on what the answer rests on, or for parts within half a cell of it. A map without a positive
cell is a miss. Words of people's captions of one picture are not independent: their intervals are over pictures.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlx.evaluation.cases import Case, answers, closed, tells
from vlx.evaluation.intervals import of_mean, over_pictures, wilson
from vlx.evaluation.metric import FigureTally, Ledger, Metric, Values
from vlx.evaluation.result import Figure
from vlx.evaluation.shown import Setting, ShownBatch
from vlx.methods import engine
from vlx.methods.method import Site
from vlx.pictures.placement import Placement
from vlx.protocol.targets import Target, TargetKind
from vlx.tasks.captioning import CnnLstmCaptioner
from vlx.tasks.captioning.captioner import looked

OF_ANSWERS: tuple[TargetKind, ...] = ("logprob", "logit", "margin")
USUAL: tuple[TargetKind, ...] = ("logprob", "logit")
ALL, SMALL = "all objects", "under a quarter"
QUARTER = 0.25  # of the picture, all objects of the word's category together
PAPER = 0.300  # Grad-CAM v4: 830 words about 1,000 photographs of COCO, another captioner; no baseline is given
ATTENTION = "attention"
NO_TARGET = "–"
BRACKETS = "in brackets: the 95 % interval, over photographs, of the value less the picture's centre"
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


def hits(shown: ShownBatch, maps: Tensor) -> list[float]:
    """Whether each case's map [h, w] points at what it should."""
    return [hit(case, peak, shown.placement(case.row)) for case, peak in zip(shown.cases, peaks_of(maps), strict=True)]


class _Pointing:
    """Hits by group of words; baselines are a random point, the picture's centre, and the map of something else."""

    def __init__(self, setting: Setting) -> None:
        self.setting, self.ledger = setting, Ledger()

    def update(self, shown: ShownBatch) -> None:
        if not shown.cases:
            return
        self.ledger.groups += [case.group for case in shown.cases]
        for kind in kinds_of(self.setting):
            for method, maps in shown.maps(kind).items():
                self.ledger.add(method, kind, hits(shown, maps))
        self.ledger.beside("random", (float(case.mask.mean()) for case in shown.cases))
        self.ledger.beside("centre", (float(_middle(case)) for case in shown.cases))
        self.ledger.beside("same", hits(shown, shown.baseline("same")))

    def figures(self) -> Iterator[Figure]:
        yield from self.ledger.figures("pointing", lambda values: wilson(sum(values), len(values)))

    def notes(self) -> Iterator[str]:
        yield from ()


def _middle(case: Case) -> bool:
    height, width = case.mask.shape
    return bool(case.mask[height // 2, width // 2])


class _OfCaptions:
    """Hits of nouns of people's captions, each figure with its lead over the picture's centre; by size of the objects
    where the data's groups are too many for a table. A decoder's own attention is measured beside the methods.
    """

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.by_size: bool = getattr(setting.data, "by_size", False)
        self.groups: list[str] = []
        self.pictures: list[int] = []
        self.areas: list[float] = []
        self.centre: list[float] = []
        self.same: list[float] = []
        self.hits: dict[tuple[str, str], list[float]] = {}

    def update(self, shown: ShownBatch) -> None:
        cases = shown.cases
        if not cases:
            return
        self.groups += [case.group for case in cases]
        self.pictures += [case.picture for case in cases]
        self.areas += [float(case.mask.mean()) for case in cases]
        self.centre += [float(_middle(case)) for case in cases]
        self.same += hits(shown, shown.baseline("same"))
        for kind in kinds_of(self.setting):
            for method, maps in shown.maps(kind).items():
                self.hits.setdefault((method, kind), []).extend(hits(shown, maps))
        weights = _attention(shown)
        if weights is not None:
            self.hits.setdefault((ATTENTION, NO_TARGET), []).extend(hits(shown, weights))

    def figures(self) -> Iterator[Figure]:
        pictures, areas, centre, same = map(np.array, (self.pictures, self.areas, self.centre, self.same))
        for group, own in self._parts(areas):
            for (method, target), values in self.hits.items():
                found = np.array(values)[own]
                ahead = found - centre[own]
                low, high = over_pictures(found, pictures[own])
                random, middle, other = (float(one[own].mean()) for one in (areas, centre, same))
                yield Figure(
                    group,
                    method,
                    target,
                    "pointing",
                    float(found.mean()),
                    low,
                    high,
                    random,
                    middle,
                    other,
                    len(found),
                    ahead=(float(ahead.mean()), *over_pictures(ahead, pictures[own])),
                    paper=PAPER if self.by_size and group == ALL else float("nan"),
                )

    def _parts(self, areas: Values) -> Iterator[tuple[str, NDArray[np.bool_]]]:
        """The groups of a table, and which words are of each."""
        groups = np.array(self.groups)
        by_size = ((ALL, np.ones(len(areas), bool)), (SMALL, areas < QUARTER))
        for group, own in by_size if self.by_size else ((one, groups == one) for one in dict.fromkeys(self.groups)):
            if own.any():
                yield group, own

    def notes(self) -> Iterator[str]:
        small = sum(area < QUARTER for area in self.areas)
        yield BRACKETS
        yield f"{len(self.areas)} words scored, {small} of them of objects under a quarter of the picture"


def _attention(shown: ShownBatch) -> Tensor | None:
    """How a decoder's own attention weighed the cells for each case's word, [N, h, w]; None without any."""
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
        found.append(weights[case.position])
    return torch.stack(found)


def _begun(setting: Setting) -> FigureTally:
    people = tells(setting.task) and not closed(setting.data)
    return _OfCaptions(setting) if people else _Pointing(setting)


POINTING = Metric("pointing", "do maps point at the right things?", _begun, pairs=True)


class _Falls:
    """How far log p falls when the picture is hidden around each map's peak, beside the fall at a random place."""

    def __init__(self, setting: Setting) -> None:
        self.setting, self.ledger = setting, Ledger()

    def update(self, shown: ShownBatch) -> None:
        if not shown.cases:
            return
        self.ledger.groups += [case.group for case in shown.cases]
        for kind in kinds_of(self.setting):
            targets = shown.targets(kind)
            for method, maps in shown.maps(kind).items():
                self.ledger.add(method, kind, _falls(shown, targets, peaks_of(maps)))
        rng = np.random.default_rng(len(shown.cases))
        height, width = shown.features.A.shape[2:]
        anywhere: list[Peak] = [(int(rng.integers(height)), int(rng.integers(width))) for _ in shown.cases]
        self.ledger.beside("random", _falls(shown, shown.targets("logprob"), anywhere))

    def figures(self) -> Iterator[Figure]:
        yield from self.ledger.figures("fall", of_mean)

    def notes(self) -> Iterator[str]:
        yield from ()


def _falls(shown: ShownBatch, targets: Sequence[Target], peaks: Sequence[Peak]) -> list[float]:
    """How far log p falls when the picture is hidden around each target's peak; 0 where there is none."""
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


FALL = Metric("fall", "does the word fall when the picture is hidden around the map's peak?", _Falls, pairs=True)
