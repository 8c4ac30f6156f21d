"""Are the reasons true, and what are their two marks worth? Every figure beside the same under permuted names.

True captions and answers are forced upon the model. A reason is true when its concept is in the mask of the very object
that the word speaks of (a scene word: outside all objects); an answer's, when it is in the things that the answer rests
on. Twenty tables with the same names on other units tell what a figure is by chance.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlx.evaluation.cases import Case
from vlx.evaluation.figures import Telling
from vlx.evaluation.intervals import over_pictures
from vlx.evaluation.metric import Metric
from vlx.evaluation.records import Columns, Record
from vlx.evaluation.result import Figure
from vlx.evaluation.shown import Setting, ShownBatch
from vlx.explanation.reasons import Because
from vlx.methods import engine, registry
from vlx.methods.cams import METHODS as WEIGHTINGS
from vlx.methods.cams import Weighting
from vlx.methods.method import Site
from vlx.neuron_names.table import NeuronNames
from vlx.neuron_names.table.names import permuted
from vlx.neuron_names.tables import shipped
from vlx.probes.because import evidence, reasoned, reasons_for
from vlx.probes.grouping import name_units
from vlx.probes.names_wish import NamesWish
from vlx.protocol.targets import Target, TargetKind
from vlx.protocol.task import Features, Task

NAN = float("nan")
NAME = "because"
TABLES = 20  # permuted ones: a single unlucky one marks up to .18 of words
ALL = "all"  # words, or answers, whose reasons can be true or false
METRICS = (
    "first reason",
    "first marked",
    "any marked",
    "first true, marked",
    "first true, unmarked",
    "all true, marked",
    "all true, unmarked",
    "matters",
    "coverage",
)

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class _Asked:
    """A word or an answer at one row of features: the groups it counts in, and the pixels [H, W] it should rest on."""

    groups: tuple[str, ...]
    mask: Mask | None
    case: Case

    @classmethod
    def of(cls, case: Case) -> "_Asked":
        truth = case.ask.truth
        if case.ask.query.question is None:
            return cls((ALL, case.group), case.ask.mask, case)
        mask = None if truth is None else truth.things
        return cls(("nothing there",) if mask is None else (ALL, case.group), mask, case)


@dataclass(frozen=True)
class Reasons:
    """How reasons are measured: by the table ``names``, the shipped one where it is None, beside ``tables`` permuted
    ones; one line for each of the ``rules`` by which units are weighed.
    """

    names: NeuronNames | None = None
    rules: tuple[str, ...] = ("contribution",)
    tables: int = TABLES

    @property
    def metric(self) -> Metric:
        """The metric that measures so."""
        return Metric(
            NAME,
            "are reasons true, and are they marked right?",
            begin=partial(_Reasons, self),
            figures=_figures,
            batch=1,
        )


class _Reasons:
    """Reasons for all content words, or answers, of one picture at a time.

    "first reason" is the share whose first reason is true, beside a random one of their reasons; "first marked" and
    "any marked" the shares where the first reason's name, or any of those that the sentence names, holds together;
    "first true, marked" and "…, unmarked" how many first reasons are true where their name holds and where it does not,
    "all true, …" the same of all that the sentence names; "matters" the share whose named units matter (the other
    mark); "coverage" the mean share of evidence that has a name. ``permuted`` is each figure under tables of permuted
    names ("matters": a table a picture, in turn).
    """

    def __init__(self, wish: Reasons, setting: Setting) -> None:
        self.rules = wish.rules
        self.kind: TargetKind = setting.kinds[0] if setting.kinds else setting.task.defaults.target
        self.table = shipped(setting.task) if wish.names is None else wish.names
        orders = np.random.default_rng(0)
        self.wrong = [permuted(self.table, orders.permutation(len(self.table))) for _ in range(wish.tables)]

    def __call__(self, shown: ShownBatch) -> Iterator[Record]:
        (example,) = shown.examples
        asked = [_Asked.of(case) for case in shown.everything]
        if not asked:
            return
        there = {concept.name: mask for concept, mask in example.regions.items()}
        turn = int(example.key) if example.key.isdigit() else shown.numbers[0]
        site, targets = Site.of(shown.task, shown.features, [one.case.target(self.kind) for one in asked])
        for row in dict.fromkeys(target.row for target in targets):
            numbers = [n for n, target in enumerate(targets) if target.row == row]
            one = _Row(shown.task, site.row(row).features, [asked[n] for n in numbers], self.kind)
            for rule in self.rules:
                for number, told in zip(numbers, self._told(one, rule, there, turn), strict=True):
                    first = told["own"].get("first reason", [NAN])[0]
                    group = asked[number].case.group
                    yield Record(example.key, number, group, rule, self.kind, NAME, first, beside=told)

    def _told(self, row: "_Row", rule: str, there: dict[str, Mask], turn: int) -> list[dict[str, Any]]:
        """What each word adds to each metric, by the table and by every permuted one, and the groups it counts in."""
        told: list[dict[str, Any]] = [
            {"groups": list(one.groups), "own": counted(because, one.mask, there), "permuted": []}
            for one, because in zip(row.asked, row.explained(self.table, rule), strict=True)
        ]
        for by_chance in row.by_chance(self.wrong, rule, turn):
            for own, one, because in zip(told, row.asked, by_chance, strict=True):
                own["permuted"].append(counted(because, one.mask, there))
        return told


@dataclass(frozen=True, eq=False)
class _Row:
    """What is asked at one row of features [1, K, h, w]."""

    task: Task
    features: Features
    asked: Sequence[_Asked]
    kind: TargetKind

    def explained(self, table: NeuronNames, rule: str) -> list[Because]:
        """Reasons with both marks, as `vlx.explain` gives them."""
        targets, likely = self._targets(self.kind), self._targets("logprob")
        wish = NamesWish(table, rule=rule)
        return reasons_for(self.task, self.features, targets, likely, self._maps(), self._weighting, wish)

    def by_chance(self, tables: Sequence[NeuronNames], rule: str, turn: int) -> Iterator[list[Because]]:
        """The same by each permuted table; units are switched off by one of them only, another each picture."""
        said = evidence(self.task, self.features, self._targets(self.kind), self._maps(), self._weighting, rule)
        for number, table in enumerate(tables):
            if number == turn % len(tables):
                yield self.explained(table, rule)
            else:
                yield reasoned(said, name_units(table, self.features.cells[0]), rule)

    def _targets(self, kind: TargetKind) -> list[Target]:
        return [replace(one.case.target(kind), row=0) for one in self.asked]

    def _maps(self) -> NDArray[Any]:
        features, targets = self.features, self._targets(self.kind)
        signed = engine.attribute(self.task, features.A, targets, self._weighting, features.rest).signed
        return features.grid.fold(signed).cpu().numpy()

    @property
    def _weighting(self) -> Weighting:
        """How the default method weighs A; HiResCAM where its maps are not made of units, as in `vlx.explain`."""
        return registry.choose(self.task.defaults.method).weighting or WEIGHTINGS["hirescam"]


@dataclass
class _Tally:
    """What was counted, by metric, rule and group; of permuted tables by table too."""

    found: dict[tuple[str, str, str], dict[int, list[float]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )

    def add(self, rule: str, groups: Iterable[str], counted: Mapping[str, Sequence[float]], table: int = 0) -> None:
        """Count one word: whether its reasons are true, its marks, how much of the evidence has a name."""
        for metric, values in counted.items():
            for group in groups:
                self.found[metric, rule, group][table] += values

    def mean(self, metric: str, rule: str, group: str) -> float:
        """Over tables, each counting alike; NaN where nothing was counted."""
        tables = [float(np.mean(values)) for values in self.found[metric, rule, group].values() if values]
        return float(np.mean(tables)) if tables else NAN


def counted(because: Because, mask: Mask | None, there: dict[str, Mask]) -> dict[str, list[float]]:
    """What one word adds to each metric, 0 to 1 each: nothing to those that it does not bear on."""
    every, said = because.of("because"), because.said
    marked = [one.named is True for one in said]
    found: dict[str, list[float]] = {
        "first marked": [float(bool(marked) and marked[0])],
        "any marked": [float(any(marked))],
        "coverage": [because.coverage],
    }
    if because.check is not None or not said:
        found["matters"] = [float(because.check is not None and because.check.matters)]
    if mask is None:
        return found
    true = [_is_in(reason.concept, mask, there) for reason in every]
    found["first reason"] = [float(bool(true) and true[0])]
    found["random"] = [float(np.mean(true)) if true else 0.0]
    for name, wanted in (("marked", True), ("unmarked", False)):
        kept = [float(t) for t, m in zip(true, marked, strict=False) if m is wanted]
        found[f"all true, {name}"] = kept
        found[f"first true, {name}"] = kept[:1] if marked and marked[0] is wanted else []
    return found


def _figures(_metric: str, columns: Columns, _telling: Telling) -> Iterator[Figure]:
    """One for each metric, rule and group."""
    own, chance, pictures = _Tally(), _Tally(), _Tally()
    target = columns.lines[0][1] if columns.lines else ""
    for number, told in sorted(columns.beside.items()):
        rule, groups = columns.lines[columns.line[number]][0], told["groups"]
        own.add(rule, groups, told["own"])
        picture = float(columns.picture[number])
        pictures.add(rule, groups, {metric: [picture] * len(values) for metric, values in told["own"].items()})
        for table, counts in enumerate(told["permuted"]):
            chance.add(rule, groups, counts, table)
    for metric in METRICS:
        for (known, rule, group), tables in list(own.found.items()):
            if known != metric or not tables[0]:
                continue
            values = np.array(tables[0])
            low, high = over_pictures(values, np.array(pictures.found[known, rule, group][0]))
            random = own.mean("random", rule, group) if metric == "first reason" else NAN
            yield Figure(
                *(group, rule, target, metric, float(np.mean(values)), low, high, random, NAN, NAN, len(values)),
                permuted=chance.mean(metric, rule, group),
            )


def _is_in(concept: str, mask: Mask, there: dict[str, Mask]) -> bool:
    return concept in there and bool((there[concept] & mask).any())


BECAUSE = Reasons().metric
