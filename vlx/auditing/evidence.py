"""From a batch of pictures to the answers of an audit: what the model says, and what the maps of it have where."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np

from vlx.auditing import contrasts, maxima
from vlx.auditing.answered import ALIKE, NAME, NAN, UNITS, Answered, OnConcept, to_record
from vlx.auditing.contrasts import InsteadOf
from vlx.auditing.judging import Judgement, judge_of
from vlx.auditing.named_units import UnitGroups
from vlx.auditing.parts import OnCells, Shows, evidence_on
from vlx.data.example import Data, Mask
from vlx.errors import InputError
from vlx.evaluation.cases import Case, answers
from vlx.evaluation.footprint import Footprint
from vlx.evaluation.metric import Measurer, Metric, default_kind
from vlx.evaluation.metrics.check import tried_of
from vlx.evaluation.owed import OwedWord, owed_words
from vlx.evaluation.records import Record, Values
from vlx.evaluation.shown import Setting, ShownBatch
from vlx.methods import several
from vlx.methods.method import Site
from vlx.neuron_names.table import NeuronNames
from vlx.pictures.placement import Grid
from vlx.protocol.targets import Target
from vlx.protocol.task import Task

TOGETHER = 4  # pictures: all their answers' gradients are taken at once, which more would need gigabytes for
TRIED = 200  # pictures on which it is tried what answers owe to them, and whether the maps hold
Sums = Mapping[str, tuple[float, float]]


def audit_metric(names: NeuronNames | None = None, tried: int = 1) -> Metric:
    """What an audit measures, as a metric of `vlx.evaluation`: a record an answer (`vlx.auditing.answered`).

    ``names``: a table of the units of the layer that is explained, whose names carry evidence, too. One picture of
    every ``tried`` is shown to the model with references in its place, and its maps are checked; see `is_tried`.
    """
    return Metric(
        NAME,
        "what carries right and wrong answers?",
        begin=partial(_begin, names, tried),
        check=_check,
        batch=TOGETHER,
        own_words=True,
        anywhere=True,
        by_lot=True,
        told=f"--names {names.about.get('source', 'TABLE')}" if names is not None else "",
    )


def is_tried(number: int, every: int) -> bool:
    """Whether a picture is the one of its ``every`` neighbours that is tried, by a lot that is the same at every run.

    Not each ``every``-th: data whose kinds come by turns would have some of them tried and others never.
    """
    return number % every == int(np.random.default_rng(number // every).integers(every))


def _begin(names: NeuronNames | None, tried: int, setting: Setting) -> Measurer:
    return _Audit(setting, names, tried)


def _check(task: Task, data: Data) -> None:
    """Raises InputError where the data ask no questions of a task that answers such."""
    if answers(task) and not any(ask.query.question for n in range(min(len(data), 50)) for ask in data[n].asks):
        raise InputError(f"{task.name} answers questions, and {data.name[:60]} asks none; give data with questions")


@dataclass(frozen=True, eq=False)
class _Maps:
    """The signed maps of N answers and of their contrasts on the cells of a grid; None where there is no contrast."""

    grid: Grid
    said: Values
    contrast: Sequence[Values | None]


@dataclass(eq=False)
class _Shown:
    """A batch with what is said of it, judged, each beside its alternative."""

    batch: ShownBatch
    cases: Sequence[Case]
    judged: Sequence[Judgement]
    contrasts: Sequence[InsteadOf | None]


class _Audit:
    """All that is said of a batch of pictures, with its evidence."""

    def __init__(self, setting: Setting, names: NeuronNames | None, tried: int) -> None:
        (self.method,), (self.kind, *_) = setting.methods, default_kind(setting)
        self.setting, self.names, self.tried = setting, names, tried
        self.judge, self.shows = judge_of(setting), Shows(setting)

    @cached_property
    def units(self) -> UnitGroups | None:
        return None if self.names is None else UnitGroups(self.names)

    def __call__(self, shown: ShownBatch) -> Iterator[Record]:
        places, cases = _said(shown)
        if not cases:
            return
        alone = {row: shown.features.rows([row]) for row in {case.row for case in cases}}
        judged = [self.judge(case, shown.examples[case.row], alone[case.row]) for case in cases]
        instead = contrasts.of_cases(shown.task, shown.features, cases, judged)
        batch = _Shown(shown, cases, judged, instead)
        targets = [case.target(self.kind) for case in cases]
        against = [one.target for one in instead if one is not None]
        site, moved = Site.of(shown.task, shown.features, [*targets, *against], shown.inputs, shown.filling)
        maps = self._maps(batch, site, moved)
        units = [] if self.units is None else self.units.evidence(shown.task, site, moved, len(cases), instead)
        owed, checks = self._trials(batch, maps)
        for number, place in enumerate(places):
            answer = self._answer(batch, maps, number, place)
            seen, looked = owed.get(number, (NAN, NAN))
            evidence = {**answer.evidence, **({UNITS: units[number]} if units else {})}
            told = replace(answer, evidence=evidence, seen=seen, looked=looked, check=checks.get(number, ""))
            yield to_record(told, self.method.name, self.kind)

    def _maps(self, batch: _Shown, site: Site, targets: Sequence[Target]) -> _Maps:
        made = several.maps_of(batch.batch.task, site, targets, [self.method])[self.method.name].double().cpu().numpy()
        rest = iter(made[len(batch.cases) :])
        return _Maps(
            self.method.grid(site).plain,
            made[: len(batch.cases)],
            [None if one is None else next(rest) for one in batch.contrasts],
        )

    def _trials(self, batch: _Shown, maps: _Maps) -> tuple[dict[int, OwedWord], dict[int, str]]:
        """What the answers about the pictures that are tried owe to them, and the verdicts on their maps."""
        rows = {row for row, number in enumerate(batch.batch.numbers) if is_tried(number, self.tried)}
        which = [number for number, case in enumerate(batch.cases) if case.row in rows]
        return (
            _owed_to(batch.batch, batch.cases, which),
            _checks(batch.batch, batch.cases, which, maps.said, maps.grid),
        )

    def _answer(self, batch: _Shown, maps: _Maps, number: int, place: int) -> Answered:
        case, judged, contrast = batch.cases[number], batch.judged[number], batch.contrasts[number]
        example, features = batch.batch.examples[case.row], batch.batch.features
        footprint, placed = self.shows.placed(maps.grid, example)
        parts = batch.batch.once(("parts", case.row), lambda: self.shows.parts(features, case.row, example, maps.grid))
        signed, against = maps.said[number], maps.contrast[number]
        word, positive = case.prediction.words[case.position], np.maximum(signed, 0)
        return Answered(
            example.key,
            place,
            judged.said,
            judged.true,
            judged.right,
            group=judged.group,
            question=case.ask.query.question or "",
            text=case.prediction.text,
            position=case.position,
            instead=contrast.label if contrast else "",
            logprob=word.logprob,
            lead=contrast.lead if contrast else NAN,
            evidence={source: _evidence(of_source, signed, against) for source, of_source in parts.items()},
            total=float(signed.sum()),
            absolute=float(np.abs(signed).sum()),
            own=_own(positive, judged.mask, footprint),
            empty=not bool(positive.any()),
            classes={
                label: judged.classes[label]
                for label in (judged.said, judged.true, contrast.label if contrast else "")
                if label in judged.classes
            },
            regions=maxima.regions(positive, signed, placed, parts.get(ALIKE, {})),
        )


def _owed_to(shown: ShownBatch, cases: Sequence[Case], which: Sequence[int]) -> dict[int, OwedWord]:
    """What some cases owe to their pictures, by number."""
    words = [
        (cases[number].prediction.words[cases[number].position], cases[number].target("logprob")) for number in which
    ]
    return dict(zip(which, owed_words(shown, words), strict=True))


def _checks(shown: ShownBatch, cases: Sequence[Case], which: Sequence[int], maps: Values, grid: Grid) -> dict[int, str]:
    """The verdicts of `vlx.explanation.map_check` on the maps [N, h, w] of some cases, by number."""
    if not which:
        return {}
    targets = [cases[number].target("logprob") for number in which]
    site, likely = Site.of(shown.task, shown.features, targets)
    words = [(cases[number].prediction, cases[number].position) for number in which]
    line = ("", "")
    drawn = {line: [(maps[number], grid) for number in which]}
    verdicts = [check.verdict for check in tried_of(shown.task, site, likely, words, drawn)[line]]
    return dict(zip(which, verdicts, strict=True))


def _said(shown: ShownBatch) -> tuple[list[int], list[Case]]:
    """What is said of the pictures, with each one's number among that of its picture; without reasoning.

    Raises InputError for a task that gives numbers.
    """
    kept = [
        (place, case)
        for place, case in zip(shown.spoken.places, shown.spoken.cases, strict=True)
        if not case.prediction.words[case.position].reasoning
    ]
    if any(case.prediction.words[case.position].outputs == "value" for _, case in kept):
        raise InputError(
            f"{shown.task.name} gives a number, which is neither right nor wrong; audit what says words or classes"
        )
    return [place for place, _ in kept], [case for _, case in kept]


def _evidence(parts: Mapping[str, OnCells], signed: Values, against: Values | None) -> dict[str, OnConcept]:
    sums = evidence_on(parts, signed)
    other: Sums = {} if against is None else evidence_on(parts, against)
    return {
        name: OnConcept(*sums[name], other[name][0] if other else NAN, part.area, part.category)
        for name, part in parts.items()
    }


def _own(positive: Values, mask: Mask | None, footprint: Footprint) -> float:
    """The share of a map on the pixels of what was said; NaN where they are not known, 0 of an empty map."""
    if mask is None:
        return NAN
    total = float((positive * footprint.total).sum())
    return float((positive * footprint.on(mask)).sum()) / total if total > 0 else 0.0
