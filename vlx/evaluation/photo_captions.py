"""How good a captioner's captions of photographs are, beside what any caption scores."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from vlx.data.captioned import UNREADABLE, Photograph, Photographs, omissions, words_of
from vlx.errors import ImageError, InputError
from vlx.evaluation.caption_scores import METRICS, Score, scored
from vlx.evaluation.photo_baselines import Vectors, looks
from vlx.evaluation.result import Figure, Result
from vlx.pictures.opening import open_image
from vlx.protocol.targets import Query
from vlx.protocol.task import Task

BATCH = 16
BEAMS = (1, 3)
METRIC = "captions"
PERSON = "a person, against the others"
ABSENT = "not measured: pip install 'vlx[captions,language]', and python -m nltk.downloader wordnet"


@dataclass(frozen=True)
class Said:
    """What a captioner said of photographs: ``captions`` by beam width, one a row; ``unread``: what is no picture.

    ``looks``: how each looks to the CNN, see `photo_baselines.looks`.
    """

    rows: tuple[Photograph, ...]
    captions: dict[int, tuple[str, ...]]
    unread: tuple[str, ...] = ()
    looks: Vectors = field(default_factory=dict)


def say(
    task: Task,
    rows: Sequence[Photograph],
    beams: Sequence[int] = BEAMS,
    *,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> Said:
    """Caption photographs by each beam width (1 is greedy).

    Raises InputError for a task that does not caption, and where no picture can be read.
    """
    if task.kind != "captioning":
        raise InputError(f"{task.name} does {task.kind}; captions are measured of a captioner")
    read: list[Photograph] = []
    unread: list[str] = []
    seen: dict[str, NDArray[np.float32]] = {}
    found: dict[int, list[str]] = {width: [] for width in beams}
    for batch in progress([rows[first : first + BATCH] for first in range(0, len(rows), BATCH)]):
        opened = list(_opened(batch, unread))
        if not opened:
            continue
        read += [row for row, _ in opened]
        features = task.features(task.place(torch.stack([task.prepare(image) for _, image in opened])))
        seen.update(zip((row.name for row, _ in opened), looks(features), strict=True))
        for width, told in found.items():
            told += [one.text for one in task.predict(features, [Query(beams=width)] * len(opened))]
    if not read:
        raise InputError(f"none of {len(rows)} pictures can be read, as {', '.join(unread[:3])}")
    return Said(tuple(read), {width: tuple(told) for width, told in found.items()}, tuple(unread), seen)


def _opened(rows: Sequence[Photograph], unread: list[str]) -> Iterator[tuple[Photograph, Image.Image]]:
    for row in rows:
        try:
            yield row, open_image(row.path).image
        except ImageError:
            unread.append(row.name)


def measured(task: Task, data: Photographs, name: str, n: int | None = None, **options: Any) -> Result:
    """BLEU, METEOR and CIDEr-D of a captioner on the first ``n`` photographs of a data set called ``name``.

    One row a beam width, and one of what a person scores against the other people who captioned the same picture (one
    reference less). ``options``: see `say`. The command of the result repeats it.
    """
    said = say(task, data.rows[:n], **options)
    command = f"vlx evaluate {task.name} {name} --metrics captions" + (f" --n {n}" if n else "")
    return result_of(task.name, said, command, data.left_out)


def result_of(model: str, said: Said, command: str, left: Mapping[str, Sequence[str]]) -> Result:
    """The figures of what a captioner said, one row a beam width, and a person's; ``left``: pictures left out, why."""
    rows = figures({_search(width): told for width, told in said.captions.items()}, said.rows)
    rows += figures({PERSON: [row.captions[0] for row in said.rows]}, said.rows, first=1)
    notes = omissions({**left, **({UNREADABLE: said.unread} if said.unread else {})})
    notes += [ABSENT] if len({row.group for row in rows}) < len(METRICS) else []
    return Result(model, len(said.rows), tuple(rows), command, "photographs", tuple(notes))


def figures(told: Mapping[str, Sequence[str]], rows: Sequence[Photograph], first: int = 0) -> list[Figure]:
    """The figures of captions, one a row, by who said them; against the references from number ``first`` on.

    Pictures without such a reference are left out. A metric is the figure's ``group``, who said it its ``method``.
    """
    kept = [number for number, row in enumerate(rows) if len(row.captions) > first]
    written = [[words_of(one, None) for one in rows[number].captions[first:]] for number in kept]
    found = []
    for who, captions in told.items():
        if not kept:
            continue
        scores = scored([words_of(captions[number], None) for number in kept], written)
        found += [_figure(metric, who, score, len(kept)) for metric, score in scores.items() if score is not None]
    return found


def _figure(metric: str, who: str, score: Score, count: int) -> Figure:
    none = float("nan")
    return Figure(metric, who, "", METRIC, score.value, score.low, score.high, none, none, none, count)


def _search(width: int) -> str:
    return "greedy" if width == 1 else f"{width} beams"
