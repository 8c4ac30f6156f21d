"""Does hiding what a map marks cost the score? Rank correlation of heat maps with occlusion (paper, section 6.2)."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from vlx.errors import ModelError, in_own_words
from vlx.evaluation.cases import cases_of, check_scenes
from vlx.evaluation.maps import maps_of, methods_of
from vlx.evaluation.result import Figure, Result
from vlx.probes import references
from vlx.probes.occlusion import occlude, rank_correlation
from vlx.protocol.task import Task
from vlx.scenes import HELD_OUT, draw

METRIC = "rank correlation"


@in_own_words("the evaluation cannot be made", ModelError)
def agreement(
    task: Task,
    n: int = 30,
    *,
    first: int = HELD_OUT,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> Result:
    """The mean rank correlation of occlusion's falls with each method's heat map, on ``n`` held-out scenes.

    Targets are the task's default kind. Baselines: a random map, one that falls off from the centre, and the map of
    another word or question about the same picture under the task's default method.
    """
    check_scenes(task)
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    rng = np.random.default_rng(0)
    for seed in progress(range(first, first + n)):
        scene = draw(seed)
        inputs = task.prepare(scene.image)
        features = task.features(task.place(inputs[None]))
        cases = cases_of(task, features, [scene])
        targets = [case.target(task.defaults.target) for case in cases]
        maps = {name: signed.cpu().numpy() for name, signed in maps_of(task, features, targets)}
        filling = task.prepare(references.filling(scene.image))
        own = maps[task.defaults.method]
        hidden = occlude(task, inputs, filling, features, targets, list(own))
        h, w = own[0].shape
        y, x = np.mgrid[:h, :w]
        central = -((y - (h - 1) / 2) ** 2 + (x - (w - 1) / 2) ** 2)
        for number, (case, occlusion) in enumerate(zip(cases, hidden, strict=True)):
            falls = np.asarray(occlusion.falls, np.float64).ravel()
            shown = {name: np.maximum(signed[number], 0) for name, signed in maps.items()}
            shown["random"] = rng.normal(size=(h, w))
            shown["centre"] = central
            shown["same"] = np.maximum(own[(number + len(own) // 2) % len(own)], 0)
            for name, heat in shown.items():
                found[case.group, name].append(rank_correlation(falls, np.asarray(heat, np.float64).ravel()))
    groups = dict.fromkeys(group for group, _ in found)
    names = [method.name for method in methods_of(task)]
    rows_of = [_figure(found, group, name, task.defaults.target) for name in names for group in groups]
    return Result(task.name, n, tuple(rows_of), f"vlx evaluate {task.name} --metrics occlusion --n {n}")


def _figure(found: dict[tuple[str, str], list[float]], group: str, method: str, target: str) -> Figure:
    values = found[group, method]
    mean = float(np.nanmean(values)) if not np.isnan(values).all() else float("nan")
    half = 1.96 * float(np.nanstd(values)) / max(len(values), 1) ** 0.5
    random, centre, same = (float(np.nanmean(found[group, name])) for name in ("random", "centre", "same"))
    return Figure(group, method, target, METRIC, mean, mean - half, mean + half, random, centre, same, len(values))
