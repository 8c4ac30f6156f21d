"""The pointing game for every word of a caption (Zhang et al. 1608.00507; per word as in the Grad-CAM paper, v4).

The true caption is forced upon the model; a word scores a hit when the highest cell of its rectified map is centred on
the very object that the word speaks of, a scene word when it is centred outside all objects. A map without a positive
cell is a miss.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vlx import engine
from vlx.errors import InputError
from vlx.evaluation.result import Figure, Result, wilson
from vlx.geometry import Placement
from vlx.scenes import HELD_OUT, CaptionWord, Scene, draw
from vlx.task import Features, Prediction, Query, Target, TargetKind, Task, sentence_target, word_target
from vlx.tracing import measure_frame
from vlx.weighting import METHODS

TARGETS: tuple[TargetKind, ...] = ("logprob", "logit")
GROUPS = ("object", "color", "texture", "scene")
BATCH = 16


def evaluate(
    task: Task,
    n: int = 500,
    *,
    first: int = HELD_OUT,
    occlusion: bool = False,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> Result:
    """The pointing game on ``n`` held-out scenes with two named objects, for all weightings, log p and logit.

    With ``occlusion`` also the mean fall of log p (nats) when the picture is blanked around each map's peak, beside
    the fall at a random place.
    """
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


def _order(item: tuple[tuple[str, str, str], list[float]]) -> tuple[int, int, int]:
    """The order of the table: by target, then method, then group."""
    group, method, target = item[0]
    return TARGETS.index(cast(TargetKind, target)), list(METHODS).index(method), GROUPS.index(group)


@dataclass(frozen=True, eq=False)
class _Asked:
    """The words of a batch of scenes that have ground truth: a target and its caption word, in step."""

    rows: list[int]
    words: list[CaptionWord]
    positions: list[int]


def _measure(task: Task, scenes: Sequence[Scene], tally: _Tally, occlusion: bool) -> None:
    images = torch.stack([task.prepare(scene.image) for scene in scenes])
    features = task.features(task.place(images))
    predictions = task.predict(features, [Query(caption=scene.caption) for scene in scenes])
    size = (scenes[0].size, scenes[0].size)
    placement = Placement(features.grid, measure_frame(task.prepare, size))
    asked = _ask(scenes)
    same = _sentence_peaks(task, features, predictions, asked.rows)
    _count_baselines(tally, asked, placement, same)
    for kind in TARGETS:
        targets = [
            word_target(predictions[row], position, row, kind)
            for row, position in zip(asked.rows, asked.positions, strict=True)
        ]
        _, gradient = engine.gradients(task, features.A, targets, features.rest)
        for method in METHODS.values():
            peaks = _peaks(method.map(features.A[asked.rows], gradient))
            for word, peak in zip(asked.words, peaks, strict=True):
                tally.hits[str(word.category), method.name, kind].append(_hit(word, peak, placement))
            if occlusion:
                _count_falls(task, images, targets, asked, peaks, placement, tally, (method.name, kind))
    if occlusion:
        _count_random_falls(task, images, targets, asked, features, placement, tally)


def _ask(scenes: Sequence[Scene]) -> _Asked:
    found = [
        (row, word, position)
        for row, scene in enumerate(scenes)
        for position, word in enumerate(scene.words)
        if word.category in GROUPS
    ]
    rows, words, positions = (list(column) for column in zip(*found, strict=True))
    return _Asked(rows, words, positions)


def _peaks(maps: Tensor) -> list[tuple[int, int] | None]:
    """The highest cell of each map [N, h, w]; None where no cell is positive."""
    width = maps.shape[2]
    best, place = maps.flatten(1).max(1)
    return [divmod(p, width) if b > 0 else None for b, p in zip(best.tolist(), place.tolist(), strict=True)]


def _sentence_peaks(
    task: Task, features: Features, predictions: Sequence[Prediction], rows: Sequence[int]
) -> list[tuple[int, int] | None]:
    """The peak of each scene's sentence map, under the task's own method, once for every word of that scene."""
    targets = [sentence_target(prediction, row) for row, prediction in enumerate(predictions)]
    found = engine.attribute(task, features.A, targets, METHODS[task.defaults.method], features.rest)
    peaks = _peaks(found.signed)
    return [peaks[row] for row in rows]


def _hit(word: CaptionWord, peak: tuple[int, int] | None, placement: Placement) -> float:
    if peak is None or word.mask is None:
        return 0.0
    y, x = placement.centre_of(*peak)
    height, width = word.mask.shape
    return float(word.mask[min(max(round(y), 0), height - 1), min(max(round(x), 0), width - 1)])


def _count_baselines(
    tally: _Tally, asked: _Asked, placement: Placement, same: Sequence[tuple[int, int] | None]
) -> None:
    for word, peak in zip(asked.words, same, strict=True):
        assert word.mask is not None
        height, width = word.mask.shape
        tally.baselines[str(word.category), "pointing random"].append(float(word.mask.mean()))
        tally.baselines[str(word.category), "pointing centre"].append(float(word.mask[height // 2, width // 2]))
        tally.baselines[str(word.category), "pointing same"].append(_hit(word, peak, placement))


WINDOW = 12  # half the side, in prepared pixels, of the square that is blanked around a peak


def _count_falls(
    task: Task,
    images: Tensor,
    targets: Sequence[Target],
    asked: _Asked,
    peaks: Sequence[tuple[int, int] | None],
    placement: Placement,
    tally: _Tally,
    names: tuple[str, str],
) -> None:
    falls = _falls(task, images, targets, asked.rows, peaks, placement)
    for word, fall in zip(asked.words, falls, strict=True):
        tally.falls[str(word.category), *names].append(fall)


def _count_random_falls(
    task: Task,
    images: Tensor,
    targets: Sequence[Target],
    asked: _Asked,
    features: Features,
    placement: Placement,
    tally: _Tally,
) -> None:
    rng = np.random.default_rng(len(targets))
    height, width = features.A.shape[2:]
    peaks = [(int(rng.integers(height)), int(rng.integers(width))) for _ in targets]
    for word, fall in zip(asked.words, _falls(task, images, targets, asked.rows, peaks, placement), strict=True):
        tally.baselines[str(word.category), "fall random"].append(fall)


def _falls(
    task: Task,
    images: Tensor,
    targets: Sequence[Target],
    rows: Sequence[int],
    peaks: Sequence[tuple[int, int] | None],
    placement: Placement,
) -> list[float]:
    """How far log p falls when the picture is blanked around each target's peak; 0 where there is none."""
    blank = task.prepare(_blank_picture(task, images))
    edited = images[list(rows)].clone()
    grid = placement.grid
    for n, peak in enumerate(peaks):
        if peak is not None:
            y, x = (round(o + s * c) for o, s, c in zip(grid.offset, grid.stride, peak, strict=True))
            square = np.s_[..., max(y - WINDOW, 0) : y + WINDOW, max(x - WINDOW, 0) : x + WINDOW]
            edited[n][square] = blank[square]
    own = [replace(target, row=n, kind="logprob") for n, target in enumerate(targets)]
    before = engine.scores(task, task.features(task.place(images)).A, [replace(t, kind="logprob") for t in targets])
    after = engine.scores(task, task.features(task.place(edited)).A, own)
    return (before - after).tolist()


def _blank_picture(task: Task, images: Tensor) -> Any:
    height, width = images.shape[2:]
    return Image.new("RGB", (width, height), tuple(round(255 * channel) for channel in task.blank))
