"""The pointing game for words about photographs (Grad-CAM, arXiv 1610.02391v4: per word; Zhang et al. 1608.00507).

What people wrote about a photograph is forced upon a captioner. A noun that names a category of which an object is
outlined there scores a hit when the highest cell of its map is centred in any of those objects. Words of one picture
are not independent: all intervals are over pictures.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlx.data.captioned import words_of
from vlx.data.categories import named
from vlx.data.outlines import Outlined, OutlinedData
from vlx.errors import ImageError, InputError
from vlx.evaluation.cases import Case
from vlx.evaluation.maps import by_default, maps_of
from vlx.evaluation.pointing import hit, peaks_of
from vlx.evaluation.resampling import over_pictures
from vlx.evaluation.result import Figure, Result
from vlx.pictures.placement import Placement
from vlx.pictures.receptive_fields import measure_frame
from vlx.protocol.powers import powers_of
from vlx.protocol.targets import Prediction, Query, Target, TargetKind, sentence_target
from vlx.protocol.task import Features, Task
from vlx.tasks.captioning import CnnLstmCaptioner
from vlx.tasks.captioning.captioner import looked

ALL, SMALL = "all objects", "under a quarter"
QUARTER = 0.25  # of the picture, all objects of the word's category together
PAPER = 0.300  # Grad-CAM v4: 830 words about 1,000 photographs of COCO, another captioner; no baseline is given
KINDS: tuple[TargetKind, ...] = ("logprob", "logit")
ATTENTION = "attention"
HALF = 0.5  # of the captions' words must be known
LISTED = 3
BRACKETS = "in brackets: the 95 % interval, over photographs, of the value less the picture's centre"

Way = tuple[str, str]  # method, target


def word_pointing(
    task: Task,
    data: OutlinedData,
    n: int | None = None,
    *,
    called: str = "",
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> Result:
    """Do the words' maps point at the objects that they name, on the first ``n`` photographs with polygons, or on all?

    Every method on log p and logit, and a decoder's own attention, each beside its baselines: the picture's centre
    (with the interval of the difference), a random point, the map of the whole caption, the paper's figure. Words that
    the vocabulary lacks are left out of the captions; how many is told. ``called`` is how a command names the data.
    Raises InputError for what is no captioner, for one that knows under half of the captions' words, and where no word
    can be scored.
    """
    if task.kind != "captioning":
        raise InputError(f"{task.name} does {task.kind}; words about photographs judge a captioner")
    if n is not None and n < 1:
        raise InputError(f"n={n}; measure at least one photograph")
    tally = _Tally()
    words = _Words(task, data)
    for number, row in enumerate(progress(list(data.rows[:n]))):
        try:
            _measure(task, row, number, words, tally)
        except ImageError:
            tally.unread.append(row.path.name)
    if not tally.pictures:
        raise InputError(
            f"{data.name}: no word to score; of {len(data.rows[:n])} photographs none has a caption with a noun that "
            f"{task.name} knows and whose object is outlined"
        )
    told = f"vlx evaluate {task.name} {called or f'coco:{data.name}'} --metrics pointing" + (f" --n {n}" if n else "")
    figures = tuple(tally.figures())
    return Result(
        task.name, len(set(tally.pictures)), figures, told, "photographs", (BRACKETS, *tally.told(data), words.told())
    )


class _Words:
    """The words of captions that a task knows, and how many it does not."""

    def __init__(self, task: Task, data: OutlinedData) -> None:
        words = powers_of(task).vocabulary
        self._known = None if words is None else {word.lower() for word in words}
        self.lost: dict[str, int] = defaultdict(int)
        self.count = 0
        texts = [words_of(caption) for row in data.rows for caption in row.captions]
        known = sum(self.knows(word) for text in texts for word in text)
        whole = sum(map(len, texts))
        if known < HALF * whole:
            raise InputError(
                f"{task.name} knows {known / whole:.0%} of the words in these captions: they cannot be forced upon it. "
                "Measure it on what it was made for (vlx evaluate MODEL, for drawn scenes)"
            )

    def knows(self, word: str) -> bool:
        """Whether the vocabulary has it; a task that cuts words into pieces knows all."""
        return self._known is None or word in self._known

    def read(self, caption: str) -> tuple[str, dict[int, tuple[str, ...]]]:
        """A caption without the unknown words, and which of those left name which categories."""
        words = words_of(caption)
        names = named(words)
        kept = [place for place, word in enumerate(words) if self.knows(word)]
        self.count += len(words)
        for place in set(range(len(words))) - set(kept):
            self.lost[words[place]] += 1
        found = {new: names[old] for new, old in enumerate(kept) if old in names}
        return " ".join(words[place] for place in kept), found

    def told(self) -> str:
        """How many words were left out, and the commonest."""
        lost = sum(self.lost.values())
        often = sorted(self.lost, key=lambda word: (-self.lost[word], word))[:LISTED]
        return f"{lost} of {self.count} words of the captions left out: not in the vocabulary" + (
            f" ({', '.join(often)} …)" if often else ""
        )


@dataclass
class _Tally:
    """Of each word scored: its picture, its objects' share of it, and hits by method and target."""

    pictures: list[int] = field(default_factory=list)
    areas: list[float] = field(default_factory=list)
    centre: list[float] = field(default_factory=list)
    same: list[float] = field(default_factory=list)
    hits: dict[Way, list[float]] = field(default_factory=lambda: defaultdict(list))
    unread: list[str] = field(default_factory=list)
    unplaced: int = 0

    def figures(self) -> Iterator[Figure]:
        """One figure a group, method and target."""
        areas, pictures = np.array(self.areas), np.array(self.pictures)
        centre, same = np.array(self.centre), np.array(self.same)
        for group, own in ((ALL, np.ones(len(areas), bool)), (SMALL, areas < QUARTER)):
            if not own.any():
                continue
            for (method, target), found in self.hits.items():
                hits = np.array(found)[own]
                low, high = over_pictures(hits, pictures[own])
                ahead = hits - centre[own]
                yield Figure(
                    group,
                    method,
                    target,
                    "pointing",
                    float(hits.mean()),
                    low,
                    high,
                    float(areas[own].mean()),
                    float(centre[own].mean()),
                    float(same[own].mean()),
                    len(hits),
                    ahead=(float(ahead.mean()), *over_pictures(ahead, pictures[own])),
                    paper=PAPER if group == ALL else float("nan"),
                )

    def told(self, data: OutlinedData) -> list[str]:
        """What a reader must know of the words, and of photographs that are not among them."""
        small = sum(area < QUARTER for area in self.areas)
        notes = [f"{len(self.areas)} words scored, {small} of them of objects under a quarter of the picture"]
        if self.unplaced:
            notes.append(f"{self.unplaced} nouns not scored: the model's words are others than the caption's")
        if self.unread:
            notes.append(f"{len(self.unread)} photographs that cannot be read: {', '.join(self.unread[:LISTED])}")
        notes += [f"{len(names)} left out, {why}" for why, names in data.left_out.items()]
        return notes


def _measure(task: Task, row: Outlined, number: int, words: _Words, tally: _Tally) -> None:
    """All words of all captions of one photograph, in one batch a target."""
    image = row.image()
    features = task.features(task.place(task.prepare(image)[None]))
    placement = Placement(features.grid, measure_frame(task.prepare, row.size))
    mask, cases = cache(row.mask), list[Case]()
    for caption in row.captions:
        text, names = words.read(caption)
        present = {place: own for place, categories in names.items() if (own := mask(categories)).any()}
        if present:
            prediction = task.predict(features, [Query(caption=text)])[0]
            cases += _cases(prediction, text, present, tally)
    if not cases:
        return
    _count(cases, number, tally)
    for kind in KINDS:
        targets = [case.target(kind) for case in cases]
        for method, maps in maps_of(task, features, targets):
            _hits(cases, maps, placement, tally.hits[method, kind])
    weights = _attention(task, features, cases)
    if weights is not None:
        _hits(cases, weights, placement, tally.hits[ATTENTION, "–"])
    _hits(cases, _whole(task, features, cases), placement, tally.same)


def _cases(prediction: Prediction, text: str, present: dict[int, NDArray[np.bool_]], tally: _Tally) -> Iterator[Case]:
    """The words of a forced caption that name what is there; those that the model has as other words are counted."""
    labels, spoken = [word.label.lower().strip() for word in prediction.words], text.split()
    whole = sentence_target(prediction, 0)
    for place, mask in present.items():
        if labels == spoken:
            yield Case(ALL, 0, mask, prediction, place, whole)
        elif labels.count(spoken[place]) == spoken.count(spoken[place]):
            nth = spoken[:place].count(spoken[place])
            found = [n for n, label in enumerate(labels) if label == spoken[place]][nth]
            yield Case(ALL, 0, mask, prediction, found, whole)
        else:
            tally.unplaced += 1


def _count(cases: Sequence[Case], number: int, tally: _Tally) -> None:
    for case in cases:
        height, width = case.mask.shape
        tally.pictures.append(number)
        tally.areas.append(float(case.mask.mean()))
        tally.centre.append(float(case.mask[height // 2, width // 2]))


def _hits(cases: Sequence[Case], maps: Tensor, placement: Placement, found: list[float]) -> None:
    found += [hit(case, peak, placement) for case, peak in zip(cases, peaks_of(maps), strict=True)]


def _whole(task: Task, features: Features, cases: Sequence[Case]) -> Tensor:
    """The map of each case's whole caption, by the task's own method, [N, h, w]."""
    texts: dict[Target, int] = {}
    numbers = [texts.setdefault(case.other, len(texts)) for case in cases]
    return by_default(task, features, list(texts)).signed[numbers]


def _attention(task: Task, features: Features, cases: Sequence[Case]) -> Tensor | None:
    """How a decoder's own attention weighed the cells for each case's word, [N, h, w]; None without any."""
    if not isinstance(task, CnnLstmCaptioner):
        return None
    texts: dict[tuple[int, ...], Tensor | None] = {}
    found = []
    for case in cases:
        tokens = case.prediction.tokens
        if tokens not in texts:
            texts[tokens] = looked(task, features, tokens)
        weights = texts[tokens]
        if weights is None:
            return None
        found.append(weights[case.position])
    return torch.stack(found)
