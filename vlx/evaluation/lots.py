"""Which pictures are measured where not all are: the first, or some by lot, of data with classes as evenly as they go.

A lot is drawn by the pictures' names: the same pictures come of the same data in whatever order these list them.
"""

import hashlib
from collections import Counter, deque
from collections.abc import Callable, Sequence
from itertools import groupby

import numpy as np

from vlx.data.example import Ask, Example, example_of
from vlx.errors import ImageError
from vlx.evaluation.cases import answers, tells
from vlx.evaluation.class_asks import ClassAsks
from vlx.evaluation.metric import Metric
from vlx.evaluation.run_file import CHOSEN
from vlx.evaluation.shown import Setting

FIRST, LOT = CHOSEN["chosen"], "by lot, seed 0"
SEED = 0
MOST = 100_000  # pictures that are in one lot: of more, so many places are drawn first
LOOKED_AT = 20  # pictures whose classes are looked at, for each that is wanted
FEWEST_LOOKED_AT = 2_000


def some_by_lot(setting: Setting, metrics: Sequence[Metric], count: int | None) -> bool:
    """Whether not all pictures are measured, and by what takes them by lot."""
    return count is not None and count < len(setting.data) and any(metric.by_lot for metric in metrics)


def by_lot(setting: Setting, count: int) -> list[int]:
    """Places of the data in the order in which a lot takes them, the first ``count`` of classes as evenly as they go.

    Classes are those that a classifier knows; pictures without one come last. Of other tasks it is the plain lot.

    >>> by_lot(Setting(classifier, open_data("classes:birds"), methods, ()), 4)[:4]
    [312, 7, 90, 255]
    """
    places = _drawn(setting)
    if tells(setting.task) or answers(setting.task):
        return places
    asks, data = ClassAsks(setting.task, setting.data, setting.classes), setting.data
    looked_at = places[: max(LOOKED_AT * count, FEWEST_LOOKED_AT)]
    first = _evenly([(place, _classes(asks, example_of(data, place))) for place in looked_at], count)
    taken = set(first)
    return [*first, *(place for place in places if place not in taken)]


def later_classes(setting: Setting, count: int | None) -> list[str]:
    """The classes of data in order of class of which the first ``count`` pictures show none; empty of other data.

    In order are data whose first pictures are of one class each, all those of a class one after the other.
    """
    data, named = setting.data, list(getattr(setting.data, "classes", ()))
    if count is None or count >= len(data) or tells(setting.task) or answers(setting.task):
        return []
    labels = [_labels(example_of(data, place)) for place in range(count)]
    runs = [label for label, _ in groupby(labels)]
    if count < 2 or any(len(label) != 1 for label in runs) or len(set(runs)) < len(runs) or len(runs) == count:
        return []
    shown = {name for label in runs for name in label}
    return [name for name in named if name not in shown]


def _drawn(setting: Setting) -> list[int]:
    """All places of the data by lot, or `MOST` of them."""
    data, many = setting.data, len(setting.data)
    places = range(many) if many <= MOST else np.random.default_rng(SEED).choice(many, MOST, replace=False).tolist()
    return sorted(places, key=lambda place: (_ticket(example_of(data, place).key), place))


def _ticket(key: str) -> bytes:
    return hashlib.sha256(f"{SEED} {key}".encode(errors="backslashreplace")).digest()


def _evenly(known: Sequence[tuple[int, Sequence[str]]], count: int) -> list[int]:
    """``count`` places, each time the next one of the class of which fewest are taken; those without a class last."""
    waiting: dict[str, deque[int]] = {}
    for place, names in known:
        for name in names:
            waiting.setdefault(name, deque()).append(place)
    of, left = dict(known), dict.fromkeys(place for place, names in known if names)
    taken, order = Counter[str](), list[int]()
    while left and len(order) < count:
        name = min(waiting, key=lambda one: taken[one])
        place = waiting[name].popleft()
        if not waiting[name]:
            del waiting[name]
        if place in left:
            del left[place]
            order.append(place)
            taken.update(of[place])
    return order


def _classes(asks: ClassAsks, example: Example) -> tuple[str, ...]:
    """The classes of a picture that the task knows, as the data call them."""
    return _labels(example, lambda ask: bool(asks.of(ask)))


def _labels(example: Example, known: Callable[[Ask], bool] = lambda _: True) -> tuple[str, ...]:
    """The classes that a picture is asked for; none of one that cannot be read."""
    try:
        return tuple(dict.fromkeys(ask.label for ask in example.asks if ask.label is not None and known(ask)))
    except ImageError:
        return ()
