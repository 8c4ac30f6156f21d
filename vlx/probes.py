"""Questions put to the model by showing it something else: here, a blank picture."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from PIL import Image

from vlx import engine
from vlx.kept import Kept
from vlx.task import Features, Target, Task

KEPT = 4  # blank feature maps kept for each task

_blanks = Kept()


def blank_features(task: Task, size: tuple[int, int]) -> Features:
    """The features of a picture of ``size`` (H, W) in the task's blank colour, kept until the weights change."""
    kept = _blanks.of(task)
    key = (size, task.version())
    features: Features | None = kept.get(key)
    if features is None:
        features = _blank(task, size)
        for old in list(kept)[: max(len(kept) + 1 - KEPT, 0)]:
            kept.pop(old, None)
        kept[key] = features
    return features


def blank_logprobs(task: Task, size: tuple[int, int], targets: Sequence[Target]) -> list[float]:
    """The targets' log-probabilities (of a contrast: their difference) with nothing to see, same prefix, in nats."""
    features = blank_features(task, size)
    rows = tuple(replace(target, row=0, kind="logprob") for target in targets)
    return engine.scores(task, features.A, rows, features.rest).float().tolist()


def _blank(task: Task, size: tuple[int, int]) -> Features:
    color = tuple(round(255 * channel) for channel in task.blank)
    picture = Image.new("RGB", (size[1], size[0]), color)
    with torch.no_grad():
        return task.features(task.place(task.prepare(picture)[None]))
