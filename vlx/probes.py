"""Questions put to the model by showing it other pictures: a blank one, this one blurred, and some of other things."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch
from PIL import Image, ImageFilter

from vlx import engine
from vlx.explanation import Look
from vlx.kept import Kept
from vlx.scenes import draw
from vlx.task import Features, Prediction, Query, Target, Task

KEPT = 4  # blank feature maps kept for each task
BLURS = (1 / 32, 1 / 16, 1 / 8)  # radius, of the shorter side: details go, then shapes, then all but the colours
SWAPS = tuple(range(10_900_000, 10_900_004))  # drawn scenes that stand for "some other picture"

_blanks = Kept()


def blank_features(task: Task, size: tuple[int, int]) -> Features:
    """The features of a picture of ``size`` (H, W) in the task's blank colour, kept until the weights change."""
    kept = _blanks.of(task)
    key = (size, task.version())
    features: Features | None = kept.get(key)
    if features is None:
        features = _features(task, [blank_picture(task, size)])
        for old in list(kept)[: max(len(kept) + 1 - KEPT, 0)]:
            kept.pop(old, None)
        kept[key] = features
    return features


def blank_picture(task: Task, size: tuple[int, int]) -> Image.Image:
    """A picture of ``size`` (H, W) in the task's blank colour."""
    color = tuple(round(255 * channel) for channel in task.blank)
    return Image.new("RGB", (size[1], size[0]), color)


def blank_logprobs(task: Task, size: tuple[int, int], targets: Sequence[Target]) -> list[float]:
    """The targets' log-probabilities (of a contrast: their difference) with nothing to see, same prefix, in nats."""
    features = blank_features(task, size)
    rows = tuple(replace(target, row=0, kind="logprob") for target in targets)
    return engine.scores(task, features.A, rows, features.rest).float().tolist()


def looks(
    task: Task,
    picture: Image.Image,
    query: Query,
    prediction: Prediction,
    targets: Sequence[Target],
    *,
    others: bool = True,
    swaps: Iterable[Image.Image] | None = None,
) -> list[tuple[Look, ...]]:
    """For each target what the model makes of a blank picture in place of ``picture`` (RGB), and, with ``others``, of
    blurred and swapped ones.

    ``swaps`` are pictures of something else, by default four drawn scenes; they are resized to this one. All targets
    meet all pictures in one `scores` batch a kind.
    """
    size = (picture.height, picture.width)
    shown = {"blank": blank_features(task, size)}
    if others:
        radii = [max(share * min(size), 1.0) for share in BLURS]
        shown["blurred"] = _features(task, [picture.filter(ImageFilter.GaussianBlur(radius)) for radius in radii])
        shown["swapped"] = swapped_features(task, size, swaps)
    columns = [_look(task, kind, features, query, prediction, targets) for kind, features in shown.items()]
    return list(zip(*columns, strict=True))


def swapped_features(task: Task, size: tuple[int, int], swaps: Iterable[Image.Image] | None = None) -> Features:
    """The features of pictures of something else, by default four drawn scenes, resized to ``size`` (H, W)."""
    foreign = [draw(seed).image for seed in SWAPS] if swaps is None else swaps
    return _features(task, [other.convert("RGB").resize((size[1], size[0])) for other in foreign])


def _look(
    task: Task, kind: str, features: Features, query: Query, prediction: Prediction, targets: Sequence[Target]
) -> list[Look]:
    count = len(features.A)
    rows = [replace(target, row=row, kind="logprob") for target in targets for row in range(count)]
    values = engine.scores(task, features.A, rows, features.rest).float().view(len(targets), count).tolist()
    said = _said(task, features, query, prediction, len(targets))
    return [Look(kind, tuple(own), told) for own, told in zip(values, said, strict=True)]


def _said(task: Task, features: Features, query: Query, prediction: Prediction, targets: int) -> list[tuple[str, ...]]:
    """What the model would say instead, for each target: the word after the same words, the caption, the answer."""
    free = task.predict(features, [replace(query, caption=None, answer=None, instead_of=None)] * len(features.A))
    whole = tuple(one.text for one in free)
    if task.kind != "captioning":
        return [whole] * targets
    forced = task.predict(features, [Query(caption=prediction.text)] * len(features.A))
    words = [tuple(one.words[n].alternatives[0].label for one in forced) for n in range(len(prediction.words))]
    return [*words, *[whole] * (targets - len(words))]


def _features(task: Task, pictures: Sequence[Image.Image]) -> Features:
    with torch.no_grad():
        return task.features(task.place(torch.stack([task.prepare(picture) for picture in pictures])))
