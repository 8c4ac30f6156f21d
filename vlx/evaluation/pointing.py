"""The pointing game for every word of a caption and every answer (Zhang et al. 1608.00507; per word: Grad-CAM, v4).

The true caption or answer is forced upon the model; a word scores a hit when the highest cell of its rectified map is
centred on the very object that the word speaks of, a scene word when it is centred outside all objects; an answer when
it is centred on what the answer rests on, or for parts within half a cell of it. A map without a positive cell is a
miss.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vlx.errors import InputError, ModelError, in_own_words
from vlx.evaluation.cases import Case, cases_of, check_scenes
from vlx.evaluation.maps import by_default, maps_of
from vlx.evaluation.result import Figure, Result, wilson
from vlx.methods import engine
from vlx.methods.registry import NAMES
from vlx.pictures.placement import Placement
from vlx.pictures.receptive_fields import measure_frame
from vlx.protocol.targets import Target, TargetKind
from vlx.protocol.task import Features, Task
from vlx.scenes import HELD_OUT, Scene, draw

TARGETS: dict[str, tuple[TargetKind, ...]] = {"captioning": ("logprob", "logit"), "vqa": ("logprob", "logit", "margin")}
ORDER = ("logprob", "logit", "margin")
BATCH = 16


@in_own_words("the evaluation cannot be made", ModelError)
def evaluate(
    task: Task,
    n: int = 500,
    *,
    first: int = HELD_OUT,
    occlusion: bool = False,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> Result:
    """The pointing game on ``n`` held-out scenes with two named objects, for all methods, log p and logit, and of
    answers the margin.

    With ``occlusion`` also the mean fall of log p (nats) when the picture is hidden around each map's peak, beside
    the fall at a random place.
    """
    check_scenes(task)
    if n < 1:
        raise InputError(f"n={n}; measure at least one scene")
    tally = _Tally()
    batches = list(_batches(list(islice(_two_objects(first), n))))
    for scenes in progress(batches):
        _measure(task, scenes, tally, occlusion)
    command = f"vlx evaluate {task.name} --n {n}" + (" --occlusion" if occlusion else "")
    return Result(task.name, n, tuple(tally.figures()), command)


def _two_objects(first: int) -> Iterator[Scene]:
    seed = first
    while True:
        scene = draw(seed)
        if len(scene.named) == 2:
            yield scene
        seed += 1


def _batches(scenes: Sequence[Scene]) -> Iterator[Sequence[Scene]]:
    for start in range(0, len(scenes), BATCH):
        yield scenes[start : start + BATCH]


@dataclass
class _Tally:
    hits: dict[tuple[str, str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    falls: dict[tuple[str, str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    baselines: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))

    def figures(self) -> Iterator[Figure]:
        for (group, method, target), hits in sorted(self.hits.items(), key=_order):
            low, high = wilson(sum(hits), len(hits))
            yield self._figure(group, method, target, "pointing", float(np.mean(hits)), low, high, len(hits))
        for (group, method, target), falls in sorted(self.falls.items(), key=_order):
            half = 1.96 * float(np.std(falls)) / max(len(falls), 1) ** 0.5
            mean = float(np.mean(falls))
            yield self._figure(group, method, target, "fall", mean, mean - half, mean + half, len(falls))

    def _figure(
        self, group: str, method: str, target: str, metric: str, value: float, low: float, high: float, count: int
    ) -> Figure:
        random, centre, same = (
            float(np.mean(found)) if (found := self.baselines[group, f"{metric} {name}"]) else float("nan")
            for name in ("random", "centre", "same")
        )
        return Figure(group, method, target, metric, value, low, high, random, centre, same, count)


def _order(item: tuple[tuple[str, str, str], list[float]]) -> tuple[int, int]:
    """The order of the table: by target, then method, then group as they came."""
    _, method, target = item[0]
    return ORDER.index(target), NAMES.index(method)


def _measure(task: Task, scenes: Sequence[Scene], tally: _Tally, occlusion: bool) -> None:
    images = torch.stack([task.prepare(scene.image) for scene in scenes])
    features = task.features(task.place(images))
    size = (scenes[0].size, scenes[0].size)
    placement = Placement(features.grid, measure_frame(task.prepare, size))
    cases = cases_of(task, features, scenes)
    _count_baselines(tally, cases, placement, _other_peaks(task, features, cases))
    for kind in TARGETS[task.kind]:
        targets = [case.target(kind) for case in cases]
        for method, maps in maps_of(task, features, targets):
            peaks = peaks_of(maps)
            for case, peak in zip(cases, peaks, strict=True):
                tally.hits[case.group, method, kind].append(hit(case, peak, placement))
            if occlusion:
                falls = _falls(task, images, targets, peaks, placement)
                for case, fall in zip(cases, falls, strict=True):
                    tally.falls[case.group, method, kind].append(fall)
    if occlusion:
        _count_random_falls(task, images, cases, features, placement, tally)


def peaks_of(maps: Tensor) -> list[tuple[int, int] | None]:
    """The highest cell of each map [N, h, w]; None where no cell is positive."""
    width = maps.shape[2]
    best, place = maps.flatten(1).max(1)
    return [divmod(p, width) if b > 0 else None for b, p in zip(best.tolist(), place.tolist(), strict=True)]


def _other_peaks(task: Task, features: Features, cases: Sequence[Case]) -> list[tuple[int, int] | None]:
    """The peak of each case's other map, under the task's own method: what a map owes to its own word or question."""
    return peaks_of(by_default(task, features, [case.other for case in cases]).signed)


def hit(case: Case, peak: tuple[int, int] | None, placement: Placement) -> float:
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


def _count_baselines(
    tally: _Tally, cases: Sequence[Case], placement: Placement, others: Sequence[tuple[int, int] | None]
) -> None:
    for case, peak in zip(cases, others, strict=True):
        height, width = case.mask.shape
        tally.baselines[case.group, "pointing random"].append(float(case.mask.mean()))
        tally.baselines[case.group, "pointing centre"].append(float(case.mask[height // 2, width // 2]))
        tally.baselines[case.group, "pointing same"].append(hit(case, peak, placement))


WINDOW = 12  # half the side, in prepared pixels, of the square that is hidden around a peak


def _count_random_falls(
    task: Task, images: Tensor, cases: Sequence[Case], features: Features, placement: Placement, tally: _Tally
) -> None:
    rng = np.random.default_rng(len(cases))
    height, width = features.A.shape[2:]
    peaks = [(int(rng.integers(height)), int(rng.integers(width))) for _ in cases]
    targets = [case.target("logprob") for case in cases]
    for case, fall in zip(cases, _falls(task, images, targets, peaks, placement), strict=True):
        tally.baselines[case.group, "fall random"].append(fall)


def _falls(
    task: Task,
    images: Tensor,
    targets: Sequence[Target],
    peaks: Sequence[tuple[int, int] | None],
    placement: Placement,
) -> list[float]:
    """How far log p falls when the picture is hidden around each target's peak; 0 where there is none."""
    filling = images.flatten(2).median(2).values  # each picture's median colour
    edited = images[[target.row for target in targets]].clone()
    grid = placement.grid
    for n, peak in enumerate(peaks):
        if peak is not None:
            y, x = (round(o + s * c) for o, s, c in zip(grid.offset, grid.stride, peak, strict=True))
            square = np.s_[..., max(y - WINDOW, 0) : y + WINDOW, max(x - WINDOW, 0) : x + WINDOW]
            edited[n][square] = filling[targets[n].row, :, None, None]
    own = [replace(target, row=n, kind="logprob") for n, target in enumerate(targets)]
    before = engine.ask(task, task.features(task.place(images)), [replace(t, kind="logprob") for t in targets])
    after = engine.ask(task, task.features(task.place(edited)), own)
    return (before - after).tolist()
