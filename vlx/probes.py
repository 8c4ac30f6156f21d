"""Questions put to the model by showing it something else: here, a blank picture."""

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import replace
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

import torch
from PIL import Image

from vlx import engine
from vlx.task import Features, Target, Task

KEPT = 4  # blank feature maps kept for each task

_blanks: "WeakKeyDictionary[Any, OrderedDict[Hashable, Features]]" = WeakKeyDictionary()
_lock = Lock()


def blank_features(task: Task, size: tuple[int, int]) -> Features:
    """The features of a picture of ``size`` (H, W) in the task's blank colour, kept until the weights change."""
    key = (size, task.version())
    with _lock:
        kept = _blanks.setdefault(task, OrderedDict())
        if key in kept:
            kept.move_to_end(key)
            return kept[key]
    features = _blank(task, size)
    with _lock:
        kept[key] = features
        while len(kept) > KEPT:
            kept.popitem(last=False)
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
