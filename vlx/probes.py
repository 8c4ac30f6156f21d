"""Questions put to the model by showing it other pictures: a blank one, this one blurred, and some of other things."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from PIL import Image, ImageFilter

from vlx import engine
from vlx.explanation import Look, WordExplanation
from vlx.kept import Kept
from vlx.nested import nested, tensors
from vlx.scenes import draw
from vlx.task import Features, Prediction, Query, Target, Task

KEPT = 8  # sets of foreign feature maps kept for each task
BLURS = (1 / 32, 1 / 16, 1 / 8)  # radius, of the shorter side: details go, then shapes, then all but the colours
SWAPS = tuple(range(10_900_000, 10_900_004))  # drawn scenes that stand for "some other picture"

_foreign = Kept()


def blank_features(task: Task, size: tuple[int, int]) -> Features:
    """The features of a picture of ``size`` (H, W) in the task's blank colour, kept until the weights change."""
    return _kept(task, "blank", size, lambda: [blank_picture(task, size)])


def swapped_features(task: Task, size: tuple[int, int], swaps: Sequence[Image.Image] | None = None) -> Features:
    """The features of pictures of something else, resized to ``size`` (H, W).

    By default four drawn scenes, drawn and seen once for a size and kept until the weights change.
    """
    width_first = (size[1], size[0])
    if swaps is not None:
        return _features(task, [other.convert("RGB").resize(width_first) for other in swaps])
    return _kept(task, "scenes", size, lambda: [draw(seed).image.resize(width_first) for seed in SWAPS])


def _kept(task: Task, what: str, size: tuple[int, int], pictures: Callable[[], list[Image.Image]]) -> Features:
    kept = _foreign.of(task)
    key = (what, size, task.version())
    features: Features | None = kept.get(key)
    if features is None:
        features = _features(task, pictures())
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
    return engine.ask(task, features, rows).float().tolist()


def looks(
    task: Task,
    picture: Image.Image,
    query: Query,
    prediction: Prediction,
    targets: Sequence[Target],
    *,
    others: bool = True,
    swaps: Sequence[Image.Image] | None = None,
) -> list[tuple[Look, ...]]:
    """For each target what the model makes of a blank picture in place of ``picture`` (RGB), and, with ``others``, of
    blurred and swapped ones.

    ``swaps`` are pictures of something else, by default four drawn scenes; they are resized to this one. The targets
    are the words of ``prediction`` in order, then others about the same text; all of them meet all pictures in one
    `scores` batch, as log-probabilities in nats (a contrast: the difference).

    What the model ``said`` there is its answer or class; of a word the likeliest after the same words, and of a whole
    caption the caption it would have given.
    """
    size = (picture.height, picture.width)
    shown = {"blank": blank_features(task, size)}
    if others:
        radii = [max(share * min(size), 1.0) for share in BLURS]
        shown["blurred"] = _features(task, [picture.filter(ImageFilter.GaussianBlur(radius)) for radius in radii])
        shown["swapped"] = swapped_features(task, size, swaps)
    features = joined(list(shown.values()))
    count = len(features.A)
    rows = [replace(target, row=row, kind="logprob") for target in targets for row in range(count)]
    values = engine.ask(task, features, rows).float().view(len(targets), count).tolist()
    said = _said(task, features, query, prediction, len(targets))
    found, first = [], 0
    for kind, part in shown.items():
        own = slice(first, first + len(part.A))
        found.append([Look(kind, tuple(v[own]), told[own]) for v, told in zip(values, said, strict=True)])
        first = own.stop
    return list(zip(*found, strict=True))


def sway(word: WordExplanation) -> float | None:
    """How far other pictures sway the word: the mean of |log p − log p′| over swapped pictures, in nats.

    Near 0 where the model answers without looking; None where no picture was swapped. Of the scores tried this alone
    told all questions that the biased twin of scenes/vqa answers without looking from its honest ones, and from the
    same questions to the honest model: a blank picture is like nothing the model has seen, and a mean of log p − log p′
    lets pictures that speak for the word make up for those that speak against it.
    """
    others = [logprob for look in word.looks if look.kind == "swapped" for logprob in look.logprobs]
    shown = _shown(word)
    return float(np.mean([abs(shown - other) for other in others])) if others else None


def _shown(word: WordExplanation) -> float:
    """log p with the picture; of a contrast the difference, which only what was seen and the blank picture tell."""
    blank = next((look for look in word.looks if look.kind == "blank"), None)
    return word.logprob if blank is None or word.seen is None else word.seen + blank.logprobs[0]


def _said(task: Task, features: Features, query: Query, prediction: Prediction, targets: int) -> list[tuple[str, ...]]:
    """What the model would say instead, for each target: the word after the same words, the caption, the answer."""
    own = replace(query, caption=None) if task.kind == "captioning" else query
    free = task.predict(features, [replace(own, answer=None, instead_of=None)] * len(features.A))
    whole = tuple(one.text for one in free)
    if task.kind != "captioning":
        return [whole] * targets
    forced = task.predict(features, [Query(caption=prediction.text)] * len(features.A))
    count = len(prediction.words)  # the last ones of the text: those of a prompt stand before them
    words = [tuple(_likeliest(one, n) for one in forced) for n in range(-count, 0)]
    return [*words, *[whole] * (targets - len(words))]


def _likeliest(prediction: Prediction, position: int) -> str:
    """The word the model holds likeliest at a position; "" where it does not tell its alternatives."""
    count = len(prediction.words)
    told = prediction.words[position].alternatives if -count <= position < count else ()
    return max(told, key=lambda other: other.logprob).label if told else ""


def joined(parts: Sequence[Features]) -> Features:
    """One batch of several features; their pictures have the same shape."""
    if len(parts) == 1:
        return parts[0]
    maps = {layer: torch.cat([part.maps[layer] for part in parts]) for layer in parts[0].maps}
    columns = zip(*(tensors(part.rest) for part in parts), strict=True)
    return replace(parts[0], maps=maps, rest=nested(lambda _: torch.cat(next(columns)), parts[0].rest))


def _features(task: Task, pictures: Sequence[Image.Image]) -> Features:
    with torch.no_grad():
        return task.features(task.place(torch.stack([task.prepare(picture) for picture in pictures])))
