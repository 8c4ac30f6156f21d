"""What the page of an audit shows of pictures: the worst mistakes with their maps made anew, crops, thumbnails."""

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from vlx.auditing.result import Audit, Crop, Mistake
from vlx.data.example import Box, Data, Example, example_of
from vlx.errors import Failure, VlxError
from vlx.explanation.records import Explanation, WordExplanation
from vlx.language import shortened
from vlx.methods import registry
from vlx.pipeline.explain import explain
from vlx.protocol.targets import usual
from vlx.protocol.task import Task
from vlx.report import pictures, wording

SIDE = 220  # pixels of the longer side of a mistake's pictures
CROP = 88  # of an example of a concept
THUMB = 56  # of a picture in a list
MARGIN = 0.15  # of a crop's sides, around it
THUMBS = 24  # pictures of each list that have one

Progress = Callable[[Iterable[Any]], Iterable[Any]]


@dataclass(frozen=True)
class MapOfMistake:
    """One map of a mistake on its picture: an ``address``, what it is ``called``, what its ``check`` said."""

    address: str
    called: str
    check: str = ""


@dataclass(frozen=True)
class DrawnMistake:
    """A mistake's picture and maps as data: addresses; ``why_not`` says which could not be made, and why."""

    picture: str = ""
    maps: tuple[MapOfMistake, ...] = ()
    why_not: tuple[str, ...] = ()


@dataclass(frozen=True)
class Drawings:
    """All that is drawn for a page: a `DrawnMistake` a mistake, crops and thumbnails by what they are of."""

    mistakes: tuple[DrawnMistake, ...] = ()
    crops: Mapping[Crop, str] = field(default_factory=dict)
    thumbs: Mapping[str, str] = field(default_factory=dict)


def drawings(audit: Audit, task: Task, data: Data, progress: Progress = iter) -> Drawings:
    """Make the maps of the worst mistakes anew, what was said and that rather than the truth, and cut crops.

    A picture that can no longer be read, and a map that cannot be made, are told in their place.
    """
    crops = [crop for finding in audit.findings for crop in finding.examples]
    lists = (audit.outside, audit.hallucinated, audit.unowed)
    listed = dict.fromkeys(one.key for each in lists for one in each.occurrences[:THUMBS])
    examples = _examples(data, {*(one.key for one in audit.mistakes), *(crop.key for crop in crops), *listed})
    return Drawings(
        mistakes=tuple(_mistake(task, one, examples.get(one.key), audit.method) for one in progress(audit.mistakes)),
        crops={crop: pixels for crop in crops if (pixels := _small(examples.get(crop.key), CROP, crop.box))},
        thumbs={key: pixels for key in listed if (pixels := _small(examples.get(key), THUMB))},
    )


def _examples(data: Data, keys: Collection[str]) -> dict[str, Example]:
    """The pictures of these names; nothing is opened."""
    left, examples = set(keys), {}
    for number in range(len(data)):
        if not left:
            break
        example = example_of(data, number)
        if example.key in left:
            examples[example.key] = example
            left.discard(example.key)
    return examples


def _mistake(task: Task, one: Mistake, example: Example | None, method: str) -> DrawnMistake:
    if example is None:
        return DrawnMistake(why_not=("the data no longer have this picture",))
    said = _explained(task, example, _asked(task, one, method), check=False)
    if isinstance(said, Failure):
        return DrawnMistake(_small(example, SIDE), (), (f"its map cannot be made: {_reason(said)}",))
    word = _word(said, one)
    drawn = pictures.Drawn.of(said, SIDE)
    if word is None:
        told = f"asked again it says “{shortened(said.text)}”: no map of what it said before"
        return DrawnMistake(pictures.address(drawn.plain), (), (told,))
    heat = pictures.address(drawn.under(word.signed, wording.ending(word)))
    maps = [MapOfMistake(heat, f"what speaks for “{one.said}”", one.check)]
    contrast = _contrast(task, one, word, example, method)
    if isinstance(contrast, str):
        return DrawnMistake(pictures.address(drawn.plain), tuple(maps), (contrast,) if contrast else ())
    return DrawnMistake(pictures.address(drawn.plain), (*maps, contrast))


def _contrast(task: Task, one: Mistake, said: WordExplanation, example: Example, method: str) -> MapOfMistake | str:
    """The map of what was said rather than the true answer; in words why there is none, "" where none is meant."""
    if not one.instead:
        return ""
    if usual(task.kind, "whole"):
        other: Any = {one.position: one.instead}
        asked = {name: value for name, value in _asked(task, one, method).items() if name != "words"}
    else:
        other = one.instead
        asked = {**_asked(task, one, method), "answer": said.label}
    why = _explained(task, example, {**asked, "instead_of": other}, check=True)
    if isinstance(why, Failure):
        return f"no map of “{shortened(one.said)}” rather than “{shortened(one.instead)}”: {_reason(why)}"
    word, drawn = why.words[0], pictures.Drawn.of(why, SIDE)
    both = wording.both_signs(why)
    top = wording.ending(word, both=both)
    painted = drawn.under_signed(word.signed, top) if both else drawn.under(word.signed, top)
    check = "" if word.check is None else word.check.verdict
    return MapOfMistake(pictures.address(painted), f"“{one.said}” rather than “{one.instead}”", check)


def _asked(task: Task, one: Mistake, method: str) -> dict[str, Any]:
    """What the task is asked, so that it says the same again, a caption being said for it; by the audit's method.

    The method of an audit that was made elsewhere may be unknown here: the task's own stands in for it.
    """
    known = {"method": method} if registry.named(method) is not None else {}
    if usual(task.kind, "whole"):
        return {**known, "caption": one.text, "words": [one.position]}
    return {**known, "question": one.question} if one.question else known


def _explained(task: Task, example: Example, asked: Mapping[str, Any], *, check: bool) -> Explanation | Failure:
    """One explanation, or why there is none, whatever went wrong: an audit is not lost by a map."""
    try:
        return explain(task, example.image, seen=False, check=check, **asked)
    except Exception as error:
        return Failure(example.key, error)


def _reason(failure: Failure) -> str:
    kind = "" if isinstance(failure.error, VlxError) else f"{type(failure.error).__name__}: "
    return shortened(" ".join(f"{kind}{failure.error}".split()), 160)


def _word(why: Explanation, one: Mistake) -> WordExplanation | None:
    """The word that was said, in its place or elsewhere; None where something else is said now."""
    here = [*why.words[one.position : one.position + 1], *why.words]
    return next((word for word in here if _plain(word.label) == _plain(one.said)), None)


def _plain(label: str) -> str:
    """A label as answers are compared: without case and signs around it."""
    return label.casefold().strip(" .,;:!?") or label


def _small(example: Example | None, side: int, box: Box | None = None) -> str:
    """A small picture, or a part of it with a margin, as a data: address; "" where it can no longer be read."""
    try:
        image = None if example is None else example.image
    except VlxError:
        return ""
    if image is None:
        return ""
    part = image if box is None else image.crop(_widened(box, image.size))
    ratio = side / max(part.size)
    size = tuple(max(round(length * ratio), 1) for length in part.size)
    resized = part.resize((size[0], size[1]), Image.Resampling.LANCZOS, reducing_gap=2.0)
    return pictures.address(np.asarray(resized.convert("RGB")))


def _widened(box: Box, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The corners of a box with its margin, inside the picture and at least a pixel large."""
    left, top, width, height = box
    x, y = MARGIN * width, MARGIN * height
    corners = [left - x, top - y, left + width + x, top + height + y]
    first = [int(min(max(corners[n], 0), size[n] - 1)) for n in (0, 1)]
    last = [int(min(max(math.ceil(corners[n + 2]), first[n] + 1), size[n])) for n in (0, 1)]
    return first[0], first[1], last[0], last[1]
