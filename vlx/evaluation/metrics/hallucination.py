"""Which statistic tells wrong words of captions from right ones?

Wrong are words of the model's own captions that the ground truth says are wrong, and foils: a true caption is forced
upon the model with one word swapped for another of its kind (`vlx.evaluation.said_words`). The figure is the area under
the ROC curve: the share of pairs of a right and a wrong word in which the right one has the higher value; .5 is chance.
Beside it stands what the model's own probability comes to, the better of log p and of the lead over the runner-up.

Statistics: "log p"; its "lead" in nats over the likeliest other word; "seen" and "looked", what the word owes to the
picture; of each method's map the "share" that its check gives, whether it is "confirmed", and whether its "peak" is on
anything that such a word can be about: on any thing, of words for places outside all things.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlx.data.captioned import words_of
from vlx.data.example import Data, Example, Mask
from vlx.errors import InputError
from vlx.evaluation import baselines
from vlx.evaluation.cases import tells
from vlx.evaluation.context import DrawnMap
from vlx.evaluation.figures import Telling, ordered
from vlx.evaluation.intervals import NONE, drawn_pictures
from vlx.evaluation.metric import Line, Metric, default_kind
from vlx.evaluation.metrics.check import tried_of
from vlx.evaluation.owed import owed_words
from vlx.evaluation.records import Columns, Record, Values
from vlx.evaluation.result import Figure
from vlx.evaluation.said_words import SCENE, foil, wording_of
from vlx.evaluation.shown import Setting, ShownBatch
from vlx.explanation.map_check import MapCheck
from vlx.language import shortened
from vlx.methods import several
from vlx.methods.method import Site
from vlx.pictures.placement import Placement
from vlx.protocol.powers import powers_of
from vlx.protocol.targets import Prediction, Query, Word, word_target
from vlx.protocol.task import Task

NAME = "hallucination"
NAN = float("nan")
SAID, TRUE, FOIL = "generated", "true", "foil"
PARTS: Mapping[str, tuple[str, ...]] = {"generated": (SAID,), "foils": (TRUE, FOIL)}
ALONE = ("log p", "lead")  # what the model's own probability tells
OWED = ("seen", "looked")
OF_MAPS = ("share", "confirmed", "peak")


@dataclass(frozen=True, eq=False)
class _Item:
    """One word whose truth is known: of which text, in which place, right or wrong."""

    prediction: Prediction
    position: int
    source: str
    group: str
    wrong: bool
    instead_of: str = ""

    @property
    def word(self) -> Word:
        return self.prediction.words[self.position]


class _Hallucination:
    """All words of one picture that are judged, with every statistic."""

    def __init__(self, setting: Setting) -> None:
        wording = wording_of(setting.data)
        assert wording is not None  # `_check` has refused other data
        self.wording, self.kinds = wording, default_kind(setting)
        self.methods = [one for one in setting.methods if one.name != baselines.SAME]
        vocabulary = powers_of(setting.task).vocabulary
        self._known = None if vocabulary is None else {word.lower() for word in vocabulary}

    def __call__(self, shown: ShownBatch) -> Iterator[Record]:
        (example,) = shown.examples
        items = self._items(shown, example)
        if not items:
            return
        owed = _owed(shown, items)
        maps = self._maps(shown, items)
        checks = _checks(shown, items, maps)
        things = _things(example)
        for line, drawn in maps.items():
            for number, item in enumerate(items):
                beside = {
                    **{"source": item.source, "word": item.word.label, "text": item.prediction.text},
                    **({"instead_of": item.instead_of} if item.instead_of else {}),
                    **{"position": item.position, "log p": item.word.logprob, "lead": _lead(item.word)},
                    **owed[number],
                    **_of_check(checks[line][number]),
                    "peak": _on(drawn[number], things, item.group),
                }
                yield Record(example.key, number, item.group, *line, NAME, float(item.wrong), beside=beside)

    def _knows(self, word: str) -> bool:
        return self._known is None or word in self._known

    def _items(self, shown: ShownBatch, example: Example) -> list[_Item]:
        """The judged words of what the model says by itself, of a true caption, and of its foils."""
        (said,) = shown.task.predict(shown.features, [Query()])
        found = [
            _Item(said, place, SAID, group, not right)
            for place, (group, right) in self.wording.judged(_labels(said), example).items()
        ]
        true = [word for word in words_of(example.texts[0]) if self._knows(word)] if example.texts else []
        right = {place: group for place, (group, is_right) in self.wording.judged(true, example).items() if is_right}
        texts, asked = [true], [(TRUE, place, "") for place in right]
        for place in right:
            other = foil(self.wording, true, place, example, self._knows)
            if other is not None:
                texts.append([*true[:place], other, *true[place + 1 :]])
                asked.append((FOIL, place, true[place]))
        if not right:
            return found
        queries = [Query(caption=" ".join(words)) for words in texts]
        made = shown.task.predict(shown.features.rows([0] * len(queries)), queries)
        fits = [_labels(one) == words for one, words in zip(made, texts, strict=True)]
        foils = iter(range(1, len(texts)))
        for source, place, instead_of in asked:
            number = 0 if source == TRUE else next(foils)
            if fits[number]:
                found.append(_Item(made[number], place, source, right[place], source == FOIL, instead_of))
        return found

    def _maps(self, shown: ShownBatch, items: Sequence[_Item]) -> dict[Line, list[DrawnMap]]:
        """Each word's map by every method and kind of target."""
        found: dict[Line, list[DrawnMap]] = {}
        frame = shown.placement(0).frame
        for kind in self.kinds:
            targets = [word_target(item.prediction, item.position, 0, kind) for item in items]
            site, own = Site.of(shown.task, shown.features, targets, shown.inputs, shown.filling)
            made = several.maps_of(shown.task, site, own, self.methods)
            for method in self.methods:
                place = Placement(method.grid(site), frame)
                maps = made[method.name].double().cpu().numpy()
                found[method.name, kind] = [DrawnMap(one, place) for one in maps]
        return found


def _labels(prediction: Prediction) -> list[str]:
    return [word.label.lower().strip(" .,;:!?") for word in prediction.words]


def _lead(word: Word) -> float:
    """How far log p is above that of the likeliest other word, in nats; NaN where none is told."""
    first = word.terms[0].token
    others = [one.logprob for one in word.alternatives if one.terms or one.token != first]
    return word.logprob - max(others) if others else NAN


def _owed(shown: ShownBatch, items: Sequence[_Item]) -> list[dict[str, float]]:
    """What each word owes to the picture: "seen" in nats, and "looked"."""
    words = [(item.word, word_target(item.prediction, item.position, 0, "logprob")) for item in items]
    return [{"seen": one.seen, "looked": one.looked} for one in owed_words(shown, words)]


def _checks(
    shown: ShownBatch, items: Sequence[_Item], maps: Mapping[Line, Sequence[DrawnMap]]
) -> dict[Line, list[MapCheck]]:
    targets = [word_target(item.prediction, item.position, 0, "logprob") for item in items]
    site, likely = Site.of(shown.task, shown.features, targets)
    asked = [(item.prediction, item.position) for item in items]
    signed = {line: [(one.signed, one.placement.grid) for one in drawn] for line, drawn in maps.items()}
    return tried_of(shown.task, site, likely, asked, signed)


def _of_check(check: MapCheck) -> dict[str, float]:
    tested = check.verdict != "cannot be tested"
    return {"share": check.share if tested else NAN, "confirmed": float(check.confirmed)}


def _things(example: Example) -> Mask | None:
    """The pixels of all things that are asked about; None where they are not known."""
    masks = [
        ask.truth.mask
        for ask in example.asks
        if ask.truth is not None and ask.truth.told_mask and ask.group != SCENE and ask.query.question is None
    ]
    known = [mask for mask in masks if mask is not None]
    return np.logical_or.reduce(known) if known else None


def _on(one: DrawnMap, things: Mask | None, group: str) -> float:
    """Whether a map's peak is on any thing, of a word for the place outside all; 0 of an empty map."""
    if things is None:
        return NAN
    if one.point is None:
        return 0.0
    y, x = (min(max(round(at), 0), side - 1) for at, side in zip(one.point, things.shape, strict=True))
    return float(bool(things[y, x]) != (group == SCENE))


# From records to figures


def _figures(metric: str, columns: Columns, _telling: Telling) -> Iterator[Figure]:
    """The area of each statistic for words of generated captions, and for foils; its interval over pictures."""
    found = list(_areas(columns))
    for part, statistic, line, area in found:
        best = _alone(found, part).value
        method, target = (f"{line[0]}: {statistic}", line[1]) if statistic in OF_MAPS else (statistic, "")
        yield Figure(
            *(part, method, target, metric, area.value, *area.interval, 0.5, NAN, best, area.count),
            unmeasured=area.unmeasured,
        )


@dataclass(frozen=True, eq=False)
class Area:
    """An area under the ROC curve, of ``count`` words of which ``unmeasured`` are left out, and of ``drawn`` ones."""

    value: float
    count: int
    unmeasured: int
    drawn: Values

    @property
    def interval(self) -> tuple[float, float]:
        """Its 95 % interval over pictures."""
        return _ends(self.drawn)


def _ends(drawn: Values) -> tuple[float, float]:
    known = drawn[np.isfinite(drawn)]
    if not len(known):
        return NONE
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)


def _areas(columns: Columns) -> Iterator[tuple[str, str, Line, Area]]:
    """Each part, statistic, method and target with its area; what no map tells is taken of the first line alone."""
    lines = ordered(columns.lines)
    for part, sources in PARTS.items():
        of_part = np.array([columns.beside[n].get("source") in sources for n in range(len(columns))], bool)
        for statistic in (*ALONE, *OWED, *OF_MAPS):
            for line in lines if statistic in OF_MAPS else lines[:1]:
                which = np.flatnonzero(of_part & (columns.line == columns.lines.index(line)))
                wrong = columns.value[which] == 1
                if wrong.any() and not wrong.all():
                    yield part, statistic, line, area_of(columns.told(statistic)[which], wrong, columns.picture[which])


def area_of(values: Values, wrong: NDArray[np.bool_], pictures: NDArray[Any]) -> Area:
    """The share of pairs of a right and a wrong one in which the right one has the higher value; ties count half.

    NaN is left out. The same pictures are drawn for all statistics of the same words.

    >>> area_of(np.array([0.1, 0.4, 0.3]), np.array([True, False, False]), np.array([0, 0, 1])).value
    1.0
    """
    known = ~np.isnan(values)
    count, unmeasured = len(values), int((~known).sum())
    order = np.flatnonzero(known)[np.argsort(values[known], kind="stable")]
    if not len(order):
        return Area(NAN, count, unmeasured, np.zeros(0))
    number, place = np.unique(pictures, return_inverse=True)
    weights = np.concatenate([np.ones((1, len(number))), drawn_pictures(len(number))])[:, place[order]]
    first = np.flatnonzero(np.r_[True, np.diff(values[order]) > 0])  # of each value that there is
    low, high = (np.add.reduceat(weights * which, first, 1) for which in (wrong[order], ~wrong[order]))
    below = low.cumsum(1) - low / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        areas = (high * below).sum(1) / (high.sum(1) * low.sum(1))
    return Area(float(areas[0]), count, unmeasured, areas[1:])


def _alone(found: Sequence[tuple[str, str, Line, Area]], part: str) -> Area:
    """The best that the model's own probability does."""
    own = (area for of, name, _, area in found if of == part and name in ALONE)
    return max(own, key=lambda area: -1.0 if area.value != area.value else area.value)


def _notes(columns: Columns) -> Iterator[str]:
    found = list(_areas(columns))
    for part in dict.fromkeys(of for of, *_ in found):
        own = [(statistic, line, area) for of, statistic, line, area in found if of == part]
        alone = _alone(found, part)
        for statistic, line, area in own:
            more = area.drawn - alone.drawn if len(area.drawn) == len(alone.drawn) else np.zeros(0)
            low, high = _ends(more)
            if statistic not in ALONE and low > 0:
                called = f"{statistic} of {line[0]} {line[1]}" if statistic in OF_MAPS else statistic
                told = f"{area.value - alone.value:.3f} ({low:.3f} to {high:.3f})"
                yield f"{part}: {called} tells right from wrong words better than p alone, by {told}"
    if len(columns) and not found:
        yield "no word is wrong, or none is right: nothing to tell apart"


def _check(task: Task, data: Data) -> None:
    if not tells(task):
        raise InputError(f"{task.name} does {task.kind}; --metrics {NAME} judges the words of captioners")
    if wording_of(data) is None:
        raise InputError(
            f"--metrics {NAME} needs to know what is not in a picture, and {shortened(data.name, 60)} does not tell: "
            "give drawn scenes, or coco:INSTANCES.json,CAPTIONS.json"
        )


HALLUCINATION = Metric(
    NAME,
    "which statistic tells wrong words from right ones?",
    begin=_Hallucination,
    figures=_figures,
    notes=_notes,
    check=_check,
    batch=1,
    own_words=True,
    anywhere=True,
)
