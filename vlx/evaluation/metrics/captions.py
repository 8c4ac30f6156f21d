"""How good a captioner's captions of photographs are, beside what any caption scores."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vlx.data.captioned import Photograph, words_of
from vlx.data.example import Data
from vlx.errors import InputError
from vlx.evaluation.cases import tells
from vlx.evaluation.figures import Telling
from vlx.evaluation.metric import Metric
from vlx.evaluation.metrics.caption_scores import METRICS, Score, scored
from vlx.evaluation.records import Columns, Record
from vlx.evaluation.result import Figure
from vlx.evaluation.shown import Setting, ShownBatch
from vlx.protocol.targets import Query
from vlx.protocol.task import Features, Task

BEAMS = (1, 3)
METRIC = "captions"
PERSON = "a person, against the others"
ABSENT = "not measured: pip install 'vlx[captions,language]', and python -m nltk.downloader wordnet"

Vectors = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class SaidCaptions:
    """What a captioner said of photographs: ``captions`` by beam width, one a row; ``unread``: what is no picture.

    ``looks``: how each looks to the CNN, see `looks`.
    """

    rows: tuple[Photograph, ...]
    captions: dict[int, tuple[str, ...]]
    unread: tuple[str, ...] = ()
    looks: Vectors = field(default_factory=dict)


class Captions:
    """What a captioner says of every picture by each beam width (1 is greedy), and what people wrote of it."""

    def __init__(self, beams: Sequence[int], setting: Setting) -> None:
        self.beams = tuple(beams)

    def __call__(self, shown: ShownBatch) -> Iterator[Record]:
        """Caption a batch of pictures."""
        for width in self.beams:
            told = shown.task.predict(shown.features, [Query(beams=width)] * len(shown.examples))
            for example, one in zip(shown.examples, told, strict=True):
                written = {"written": list(example.texts)} if width == self.beams[0] else {}
                beside = {"said": one.text, "beams": width, **written}
                yield Record(example.key, 0, "", _search(width), "", METRIC, float("nan"), beside=beside)


def said_of(columns: Columns) -> SaidCaptions:
    """All that was said, and what people wrote, of the records of a run."""
    rows: list[Photograph] = []
    told: dict[int, list[str]] = {}
    keys = list(columns.keys)
    for number, beside in sorted(columns.beside.items()):
        told.setdefault(int(beside["beams"]), []).append(str(beside["said"]))
        if "written" in beside:
            rows.append(Photograph(Path(keys[columns.picture[number]]), tuple(map(str, beside["written"]))))
    return SaidCaptions(tuple(rows), {width: tuple(texts) for width, texts in told.items()})


def _figures(_metric: str, columns: Columns, _telling: Telling) -> Iterator[Figure]:
    yield from figures_of(said_of(columns))


def _notes(columns: Columns) -> Iterator[str]:
    """Which scores could not be computed here."""
    if len({row.group for row in figures_of(said_of(columns))}) < len(METRICS):
        yield ABSENT


def looks(features: Features) -> NDArray[np.float32]:
    """How each picture looks to the CNN as a whole: the mean over cells of its last map, or of A by itself."""
    seen = features.maps.get("last", features.A)
    return np.asarray(seen.mean((2, 3)).float().cpu().numpy())


def captions_by(beams: Sequence[int]) -> Metric:
    """The metric of captions by each of these beam widths."""
    return Metric(
        METRIC,
        "are captions good?",
        begin=partial(Captions, beams),
        figures=_figures,
        notes=_notes,
        check=_check,
        own_words=True,
    )


def _check(task: Task, _data: Data) -> None:
    if not tells(task):
        raise InputError(f"{task.name} does {task.kind}; captions are measured of a captioner")


CAPTIONS = captions_by(BEAMS)


def figures_of(said: SaidCaptions) -> list[Figure]:
    """BLEU, METEOR and CIDEr-D of what a captioner said: a row a beam width, and one of what a person scores against
    the other people who captioned the same picture (one reference less).
    """
    rows = figures({_search(width): told for width, told in said.captions.items()}, said.rows)
    return rows + figures({PERSON: [row.captions[0] for row in said.rows]}, said.rows, first=1)


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
