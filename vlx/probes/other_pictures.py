"""Questions put to the model by showing it other pictures: references, this one blurred, and some of other things."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from PIL import Image, ImageFilter

from vlx.explanation.records import Look
from vlx.probes.owing import elsewhere, table
from vlx.probes.probe import Context, Probe
from vlx.probes.references import Elsewhere, batches
from vlx.protocol.identity import Kept
from vlx.protocol.targets import Prediction, Query, Target, Word
from vlx.protocol.task import Features, Task
from vlx.scenes import draw

KEPT = 8  # sets of foreign feature maps kept for each task
BLURS = (1 / 32, 1 / 16, 1 / 8)  # radius, of the shorter side: details go, then shapes, then all but the colours
SWAPS = tuple(range(10_900_000, 10_900_004))  # drawn scenes that stand for "some other picture"
OWN = "your own"
PLAIN = "plain colour"  # a picture of one colour is read as that colour: it is no evidence of not looking

_foreign = Kept()


def swapped_features(task: Task, size: tuple[int, int], swaps: Sequence[Image.Image] | None = None) -> Features:
    """The features of pictures of something else, resized to ``size`` (H, W).

    By default four drawn scenes, drawn and seen once for a size and kept until the weights change.
    """
    width_first = (size[1], size[0])
    if swaps is not None:
        return _features(task, [other.convert("RGB").resize(width_first) for other in swaps])
    return _known(task, "scenes", size, lambda: [draw(seed).image.resize(width_first) for seed in SWAPS])


def _known(task: Task, what: str, size: tuple[int, int], pictures: Callable[[], list[Image.Image]]) -> Features:
    kept = _foreign.of(task)
    key = (what, size, task.version())
    features: Features | None = kept.get(key)
    if features is None:
        features = _features(task, pictures())
        for old in list(kept)[: max(len(kept) + 1 - KEPT, 0)]:
            kept.pop(old, None)
        kept[key] = features
    return features


def looks(
    task: Task,
    picture: Image.Image,
    query: Query,
    prediction: Prediction,
    targets: Sequence[Target],
    shown: Elsewhere,
    *,
    others: bool = True,
    swaps: Sequence[Image.Image] | None = None,
) -> list[tuple[Look, ...]]:
    """For each target what the model makes of the references in place of ``picture`` (RGB), and, with ``others``, of
    blurred and swapped ones.

    ``shown`` are the references: each one made of the picture is a look of its own, those of the user's own are one.
    ``swaps`` are pictures of something else, by default four drawn scenes; they are resized to this one. The targets
    are the words of ``prediction`` in order, then others about the same text; all of them meet all pictures in one
    `scores` batch (two where references are at half their sides), as log-probabilities in nats (a contrast: the
    difference).

    What the model ``said`` there is its answer or class; of a word the likeliest after the same words, and of a whole
    caption the caption it would have given.
    """
    size, parts = (picture.height, picture.width), [shown.features]
    kinds = [PLAIN if flat else OWN for flat in shown.flat] if shown.own else list(shown.names)
    if others:
        radii = [max(share * min(size), 1.0) for share in BLURS]
        parts.append(_features(task, [picture.filter(ImageFilter.GaussianBlur(radius)) for radius in radii]))
        parts.append(swapped_features(task, size, swaps))
        kinds += ["blurred"] * len(parts[1].A) + ["swapped"] * len(parts[2].A)
    seen = batches(parts)
    values = np.concatenate([table(task, features, targets) for features in seen], axis=1)
    told_by = [_said(task, features, query, prediction, len(targets)) for features in seen]
    said = [sum(texts, ()) for texts in zip(*told_by, strict=True)]
    rows = {kind: [row for row, other in enumerate(kinds) if other == kind] for kind in dict.fromkeys(kinds)}
    return [
        tuple(Look(kind, tuple(map(float, nats[at])), tuple(told[row] for row in at)) for kind, at in rows.items())
        for nats, told in zip(values, said, strict=True)
    ]


def _said(task: Task, features: Features, query: Query, prediction: Prediction, targets: int) -> list[tuple[str, ...]]:
    """What the model would say instead, for each target: the word after the same words, the caption, the answer."""
    free = replace(query, caption=None if prediction.whole else query.caption, answer=None, instead_of=None)
    whole = tuple(one.text for one in task.predict(features, [free] * len(features.A)))
    if not prediction.whole:
        return [whole] * targets
    text = prediction.text
    again = Query(question=query.question, answer=text) if prediction.question else Query(caption=text)
    forced = task.predict(features, [again] * len(features.A))
    if prediction.words and prediction.words[0].is_contrast:  # one place, whichever of its words is asked for
        return [tuple(_likeliest(one, _place(one, prediction.words[0])) for one in forced)] * targets
    count = len(prediction.words)  # the last ones of the text: those of a prompt stand before them
    words = [tuple(_likeliest(one, n) for one in forced) for n in range(-count, 0)]
    return [*words, *[whole] * (targets - len(words))]


def _place(prediction: Prediction, word: Word) -> int:
    """Which word of a text begins at the step at which ``word`` does; one too many where none does."""
    steps = [other.terms[0].step for other in prediction.words]
    return steps.index(word.terms[0].step) if word.terms[0].step in steps else len(steps)


def _likeliest(prediction: Prediction, position: int) -> str:
    """The word the model holds likeliest at a position; "" where it does not tell its alternatives."""
    count = len(prediction.words)
    told = prediction.words[position].alternatives if -count <= position < count else ()
    return max(told, key=lambda other: other.logprob).label if told else ""


def _features(task: Task, pictures: Sequence[Image.Image]) -> Features:
    with torch.no_grad():
        return task.features(task.place(torch.stack([task.prepare(picture) for picture in pictures])))


def _wanted(context: Context) -> bool:
    """Of answers to a question and contrasts what is said of the references is told too, else of the user's own."""
    options, said = context.options, context.prediction
    answers = said.question and not said.whole
    told = answers or options.contrast is not None or options.references is not None
    return options.looks or (options.seen and told)


def _run(context: Context) -> Sequence[tuple[Look, ...]]:
    options = context.options
    return looks(
        context.task,
        context.shown.picture.image,
        options.query,
        context.prediction,
        context.likely,
        elsewhere(context),
        others=options.looks,
        swaps=options.swaps,
    )


LOOKS = Probe("looks", _wanted, _run, every=True)
