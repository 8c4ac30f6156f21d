"""What two models can both be asked about a picture, and which of it makes a question for people."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations

import numpy as np

from vlx.data.example import Ask, Data, Example, Mask, example_of
from vlx.evaluation.cases import Case, Reading, answers, cases_of, closed, tells
from vlx.evaluation.class_asks import Table
from vlx.evaluation.metrics.localization import rank_of
from vlx.evaluation.shown import Setting, ShownBatch
from vlx.methods.method import Method
from vlx.pictures.placement import visible_at
from vlx.protocol.targets import Query
from vlx.protocol.task import Task
from vlx.report.text import plain

MODELS = ("A", "B")
LEAST = 0.002  # of the picture that each of two things has for itself: less is not seen on a map
NAMED_THINGS = "object"  # what drawn scenes call the words for things


@dataclass(frozen=True, eq=False)
class View:
    """One picture as one model sees it, and what the model is asked of it: a case by the identity of its ask."""

    shown: ShownBatch
    cases: Mapping[int, Case]


@dataclass(frozen=True, eq=False)
class SharedPicture:
    """One picture, the views of both models, and the asks that both can be asked.

    ``rival`` is an ask for the first model's likeliest other class, of a picture that has one class alone.
    """

    example: Example
    views: tuple[View, View]
    asks: tuple[Ask, ...]
    grouped: bool = False
    rival: Ask | None = None

    @cached_property
    def seen(self) -> Mask:
        """The pixels that both models saw, bool [H, W]: what was cropped away is on no map."""
        image = self.example.image
        size = (image.height, image.width)
        a, b = (visible_at(view.shown.placement(0), size) for view in self.views)
        return a & b

    def cases(self, ask: Ask) -> tuple[Case, Case]:
        """What each model is asked."""
        return self.views[0].cases[id(ask)], self.views[1].cases[id(ask)]

    @property
    def pair(self) -> tuple[Ask, Ask] | None:
        """The two things of which a map is to be told apart, in order of their names; None where there are none.

        Of several pairs the one whose smaller thing is largest, without what both have and what a model did not see.
        """
        asks = [*self.asks, *([] if self.rival is None else [self.rival])]
        pairs = [(self._apart(*pair), pair) for pair in combinations(asks, 2)]
        size, best = max(pairs, key=lambda one: one[0], default=(0.0, None))
        if best is None or size < LEAST:
            return None
        first, second = sorted(best, key=said)
        return first, second

    @property
    def agreed(self) -> Ask | None:
        """What both models say and the data confirm; None where one of them says something else."""
        right = [ask for ask in self.asks if all(is_right(case) for case in self.cases(ask))]
        return next(iter(sorted(right, key=lambda ask: self.grouped and ask.group != NAMED_THINGS)), None)

    @property
    def place(self) -> Ask | None:
        """What a person is asked to look for: something whose place is known, if there is any."""
        ranked = sorted(self.asks, key=lambda ask: (self.grouped and ask.group != NAMED_THINGS, not self._seen_of(ask)))
        return next(iter(ranked), None)

    def _seen_of(self, ask: Ask) -> bool:
        """Whether the data tell where it is, and the models saw of it."""
        mask = self.cases(ask)[0].mask
        return bool(mask.size and (mask & self.seen).any())

    def _apart(self, one: Ask, other: Ask) -> float:
        """The share of the picture that the smaller of two things has for itself; 0 where they are no pair."""
        if said(one) == said(other) or (self.grouped and not _are_alike(one, other)):
            return 0.0
        masks = [self.cases(ask)[0].mask for ask in (one, other)]
        if not all(mask.size for mask in masks):  # a class of the picture as a whole
            return LEAST if all(ask.label is not None for ask in (one, other)) else 0.0
        return float(min(np.count_nonzero(alone & self.seen) for alone in exclusive(*masks)) / masks[0].size)


def _are_alike(one: Ask, other: Ask) -> bool:
    """Whether two asks of drawn scenes make a pair: words for things, or questions of a kind.

    A map is drawn over grey: of two colours nobody could tell which it is of.
    """
    return one.group == other.group and (one.query.caption is None or one.group == NAMED_THINGS)


def exclusive(one: Mask, other: Mask) -> tuple[Mask, Mask]:
    """Two masks without what both have."""
    return one & ~other, other & ~one


def is_right(case: Case) -> bool:
    """Whether the model says by itself what it is asked for."""
    return rank_of(case.prediction.words[case.position]) == 1


def said(ask: Ask) -> str:
    """How an ask is called before people: the class by its first name, the word, the question with its answer.

    Without signs that turn what is written after them: two names are one where they look the same.

    >>> said(Ask(Query(caption="a red car"), 2)), said(Ask(label="tench, Tinca tinca"))
    ('car', 'tench')
    """
    if ask.label is not None:
        return plain(ask.label.split(",")[0]).strip() or plain(ask.label)
    if ask.query.question is not None:
        return plain(f"{ask.query.question} – {ask.query.answer}")
    return plain((ask.query.caption or "").split()[ask.position])


def sought(ask: Ask) -> str:
    """What a person is asked to look for, without telling an answer.

    >>> sought(Ask(label="cat"))
    'Where would you look to tell that this picture shows “cat”?'
    """
    if ask.query.question is not None:
        return f"Where would you look to answer “{plain(ask.query.question)}”?"
    return f"Where would you look to tell that this picture shows “{said(ask)}”?"


class Reader:
    """How two models read the pictures of data. Raises InputError for data that cannot be asked of one of them."""

    def __init__(
        self, tasks: tuple[Task, Task], data: Data, methods: tuple[Method, ...], classes: Table | None = None
    ) -> None:
        self.data = data
        self.settings = [Setting(task, data, methods, (), classes) for task in tasks]
        self._readings = [Reading(task, data, classes) for task in tasks]
        self._classifying = not (tells(tasks[0]) or answers(tasks[0]))
        self.right, self.asked = [0] * len(MODELS), 0
        self._counted: set[int] = set()

    @property
    def unknown(self) -> tuple[list[str], list[str]]:
        """What each model was to be asked for and does not know, the commonest first."""
        a, b = (list(reading.omitted.unknown) for reading in self._readings)
        return a, b

    def picture(self, number: int) -> SharedPicture:
        """Picture ``number`` as both models see it; raises ImageError where it cannot be read."""
        example = example_of(self.data, number)
        a, b = (self._view(setting, which, example, number) for which, setting in enumerate(self.settings))
        grouped = bool(closed(self.data)) and not self._classifying
        asks = tuple(ask for ask in example.asks if not ask.whole and id(ask) in a.cases and id(ask) in b.cases)
        shared = SharedPicture(example, (a, b), asks, grouped)
        if number not in self._counted:
            self._count(shared)
        self._counted.add(number)
        return self._rivalled(shared, number) if self._classifying and len(set(map(said, asks))) == 1 else shared

    def _count(self, shared: SharedPicture) -> None:
        """Count how often each model is right: of classes once a picture, where it says one of those that are there."""
        right = [[is_right(case) for case in shared.cases(ask)] for ask in shared.asks]
        if self._classifying and right:
            right = [[any(of_one) for of_one in zip(*right, strict=True)]]
        self.asked += len(right)
        for which in range(len(MODELS)):
            self.right[which] += sum(row[which] for row in right)

    def _view(self, setting: Setting, which: int, example: Example, number: int) -> View:
        inputs = setting.task.prepare(example.image)[None]
        shown = ShownBatch(setting, self._asked_by(which), [example], inputs, [number])
        return View(shown, {id(case.ask): case for case in shown.everything})

    def _asked_by(self, which: int) -> Callable[[], Reading]:
        return lambda: self._readings[which]

    def _rivalled(self, shared: SharedPicture, number: int) -> SharedPicture:
        """The same with the class that the first model holds likeliest beside the true one, if the second knows it."""
        ask = next(self._others(shared), None)
        if ask is None:
            return shared
        alone = Example(shared.example.key, shared.example.image, asks=[ask])
        views = []
        for view, reading in zip(shared.views, self._readings, strict=True):
            more = cases_of(reading, view.shown.features, [alone], [number], pointed=False)
            views.append(replace(view, cases={**view.cases, **{id(case.ask): case for case in more}}))
        if not all(id(ask) in view.cases for view in views):
            return shared
        return replace(shared, views=(views[0], views[1]), rival=ask)

    def _others(self, shared: SharedPicture) -> Iterator[Ask]:
        """Asks for other classes than the true one, the first model's likeliest first."""
        first, second = self._readings
        called = {said(ask) for ask in shared.asks}
        true = {name for ask in shared.asks for name in (ask.label or "", *first.classes.of(ask))}
        word = first.task.predict(shared.views[0].shown.features, [Query()])[0].words[0]
        ranked = sorted([(word.logprob, word.label), *((one.logprob, one.label) for one in word.alternatives)])
        for _, label in reversed(ranked):
            ask = Ask(label=label, group=label)
            if label not in true and said(ask) not in called and first.classes.of(ask) and second.classes.of(ask):
                yield ask
