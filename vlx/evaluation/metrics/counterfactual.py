"""Does the score rise where a map says that something speaks against it? Grad-CAM's counterfactual (section 3.3).

The model's own answers are asked about, the given one and its runner-up. The highest tenth of the pixels of what speaks
against each is taken away, into the picture's median colour, and the model asked again: beside the same of the heat
map, and of a disc of as many pixels anywhere in the picture.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, islice
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vlx.evaluation.baselines import SAME, by_picture
from vlx.evaluation.cases import Case
from vlx.evaluation.context import DrawnMap
from vlx.evaluation.figures import BASELINE, Telling, by_group
from vlx.evaluation.metric import Metric, default_kind
from vlx.evaluation.metrics.curves import KINDS, Canvas, Order, at_once
from vlx.evaluation.records import Columns, Record, Values
from vlx.evaluation.result import MACRO, Figure
from vlx.evaluation.shown import Setting, ShownBatch
from vlx.evaluation.spoken import WORDS, rival_targets, with_runner_up
from vlx.methods import engine, registry
from vlx.methods.method import Site
from vlx.pictures.edits import taken_from
from vlx.pictures.placement import Placement
from vlx.protocol.targets import Target
from vlx.protocol.task import Features

NAME = "counterfactual"
TENTH = 0.1  # of the picture's pixels are taken away
GIVEN, RUNNER_UP = "given", "runner-up"
AGAINST, HEAT = "against", "heat map"
CHANGES = ("Δ log p", "Δ logit", "changed")  # of the two scores, and 1 where another answer wins


class _Asked(NamedTuple):
    """An answer of a picture, the given one or its runner-up, and the given one that may lose."""

    case: Case
    group: str
    given: Case


class _Trial(NamedTuple):
    """A map of one of the answers, and the pixels of it that are taken away; None where nothing is marked."""

    number: int
    method: str
    target: str
    of: str
    gone: Order | None


@dataclass(frozen=True, eq=False)
class _Answers:
    """All answers of one picture of a batch, and the maps that are tried."""

    shown: ShownBatch
    asked: Sequence[_Asked]

    @classmethod
    def of(cls, shown: ShownBatch, given: Iterable[Case]) -> "_Answers":
        asked = []
        for case in given:
            asked.append(_Asked(case, GIVEN, case))
            other = with_runner_up(case.prediction, case.position)
            if other is not None:
                asked.append(_Asked(replace(case, prediction=other), RUNNER_UP, case))
        return cls(shown, asked)

    def records(self, setting: Setting) -> Iterator[Record]:
        """What each map's trials change, those of what speaks against and of the heat map together."""
        canvas = Canvas(self.shown, self.asked[0].case.row)
        trials = [*self._discs(canvas), *self._tops(canvas, setting)]
        pictures = (
            canvas.inputs if one.gone is None else taken_from(canvas.inputs, canvas.filling, one.gone)
            for one in (_Trial(0, "", "", "", None), *trials)
        )
        whole, *changed = self._states(pictures)
        told: dict[tuple[int, str, str], dict[str, float]] = {}
        for trial, state in zip(trials, changed, strict=True):
            beside = told.setdefault((trial.number, trial.method, trial.target), {})
            if trial.gone is not None:
                values = state[trial.number] - whole[trial.number]
                for name, value in zip(CHANGES, values, strict=True):
                    beside |= {f"{trial.of} {name}": float(value)} if np.isfinite(value) else {}
        for (number, method, target), beside in told.items():
            case, group, _ = self.asked[number]
            value = beside.get(f"{AGAINST} {CHANGES[1]}", np.nan)
            empty = {"empty": 1} if value != value else {}
            key = self.shown.examples[case.row].key
            yield Record(key, number, group, method, target, NAME, value, beside=beside | empty)

    def _discs(self, canvas: Canvas) -> Iterator[_Trial]:
        for number, one in enumerate(self.asked):
            gone = disc(canvas, round(len(canvas.pixels) * TENTH), repr(one.case.target("logit")))
            yield from (_Trial(number, "random", BASELINE, of, gone) for of in (AGAINST, HEAT))

    def _tops(self, canvas: Canvas, setting: Setting) -> Iterator[_Trial]:
        shown, frame = self.shown, self.shown.placement(canvas.row).frame
        for kind in default_kind(setting):
            targets = [one.case.target(kind) for one in self.asked]
            site, there = Site.of(shown.task, shown.features, targets, shown.inputs, shown.filling)
            for method in setting.methods:
                if method.name == SAME or not method.against:
                    continue
                made, placement = method.attributed(shown.task, site, there), Placement(method.grid(site), frame)
                for of, maps in ((AGAINST, made.opposed), (HEAT, made.signed)):
                    for number, signed in enumerate(maps.double().cpu().numpy()):
                        yield _Trial(number, method.name, kind, of, top(canvas, DrawnMap(signed, placement)))

    def _states(self, pictures: Iterator[Tensor]) -> Iterator[Values]:
        """log p, logit and whether the given answer has lost, of every answer on each picture: [answers, 3]."""
        task = self.shown.task
        while chunk := [*islice(pictures, at_once(self.shown))]:
            features = task.features(task.place(torch.stack(chunk)))
            targets = [[one.case.target(kind) for kind in KINDS] for one in self.asked]
            scores = _asked_of(self.shown, features, [target for own in targets for target in own])
            scores = scores.reshape(len(chunk), -1, len(KINDS))
            for number, own in enumerate(targets):
                scores[:, number, 0] = np.nan if own[0].kind == "logit" else scores[:, number, 0]  # a value has no p
            lost = {one.given: self._lost(features, one.given, len(chunk)) for one in self.asked}
            yield from np.concatenate([scores, np.stack([lost[one.given] for one in self.asked], 1)[..., None]], 2)

    def _lost(self, features: Features, given: Case, count: int) -> Values:
        """1 where the model gives another answer, of a caption's word where another likely one has overtaken it."""
        word = given.prediction.words[given.position]
        if given.group != WORDS:
            said = self.shown.task.predict(features, [given.ask.query] * count)
            return np.array([float(one.words[given.position].terms != word.terms) for one in said])
        targets = [given.target("logprob"), *rival_targets(given.prediction, given.position)]
        scores = _asked_of(self.shown, features, targets)
        return np.asarray(scores[:, 1:].max(1, initial=-np.inf) > scores[:, 0], float)


def _asked_of(shown: ShownBatch, features: Features, targets: Sequence[Target]) -> Values:
    """The scores of targets on every picture of some features, [M, N]."""
    rows = [replace(target, row=row) for row in range(len(features.A)) for target in targets]
    return np.asarray(engine.ask(shown.task, features, rows).double().cpu().numpy()).reshape(-1, len(targets))


def top(canvas: Canvas, drawn: DrawnMap) -> Order | None:
    """The highest tenth of the pixels of a map; None where it has nothing above 0."""
    return None if drawn.empty else canvas.falling(drawn.on_prepared)[: round(len(canvas.pixels) * TENTH)]


def disc(canvas: Canvas, count: int, seed: str) -> Order:
    """So many pixels around a random one of the picture: a disc, cut off at its edge."""
    y, x = np.divmod(canvas.pixels, canvas.inputs.shape[2])
    middle = int(by_picture(canvas.inputs, seed).integers(len(canvas.pixels)))
    return canvas.pixels[np.argsort((y - y[middle]) ** 2 + (x - x[middle]) ** 2, kind="stable")[:count]]


@dataclass(frozen=True, eq=False)
class _Measuring:
    """What taking away the top of the maps of each answer changes, a record a map."""

    setting: Setting

    def __call__(self, shown: ShownBatch) -> Iterator[Record]:
        for _, given in groupby(shown.spoken.cases, key=lambda case: case.row):
            yield from _Answers.of(shown, given).records(self.setting)


def _figures(_metric: str, columns: Columns, telling: Telling) -> Iterator[Figure]:
    """Every change, by whose map and for which answer; no mean over the two answers."""
    for of in (AGAINST, HEAT):
        for change in CHANGES:
            for figure in by_group(f"{of} blanked, {change}", columns.of(f"{of} {change}"), telling):
                if figure.group != MACRO:
                    yield figure


def _notes(columns: Columns) -> Iterable[str]:
    yield "counterfactual: a tenth of the picture is taken away, the top of the map; random: a disc of as many pixels"
    for name, _ in columns.lines:
        method = registry.named(name)
        if method is not None and method.against not in ("", name):
            yield f"{name} has no counterfactual by definition: what speaks against is the map of {method.against}"


COUNTERFACTUAL = Metric(
    NAME,
    "does an answer rise when what speaks against it is taken away?",
    begin=_Measuring,
    figures=_figures,
    notes=_notes,
    batch=4,
    anywhere=True,
    own_words=True,
)
