"""The one interface of probes: something to ask of a model besides a map, and the picture it is asked about.

>>> def area(context):  # one value a target
...     return [float((one.signed > 0).mean()) for one in context.rows]
>>> registry.register(Probe("area", wanted=lambda context: True, run=area))
>>> vlx.explain(task, picture)["dog"].measured
{'area': 0.3125}
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np

from vlx.explanation.records import Array
from vlx.pictures.placement import Grid, Placement
from vlx.pictures.prepare import Shown
from vlx.probes.asked import Asked, Measured
from vlx.probes.wishes import Wishes
from vlx.protocol.identity import Latest
from vlx.protocol.targets import Prediction, Target, TargetKind
from vlx.protocol.task import Features, Task

T = TypeVar("T")


@dataclass(frozen=True)
class Probe:
    """Something that is asked of a model besides a map: ``run`` it where it is ``wanted``, one value for each target.

    ``run`` gives as many values as `Context.asked` has targets, in that order. A value goes to the field of that name
    in `Measured`; where there is none, to ``measured[name]`` of the word as what ``to_record`` makes of it: numbers,
    texts, arrays, lists and mappings of these, which are saved with the explanation; ``from_record`` makes it the value
    again. ``told`` says in a sentence what the value means, for reports; an empty one says nothing. It is asked of what
    has a map; with ``every`` of words without one, too, whose rows hold NaN in its place.
    """

    name: str
    wanted: Callable[["Context"], bool]
    run: Callable[["Context"], Sequence[Any]]
    to_record: Callable[[Any], Any] = lambda value: value
    from_record: Callable[[Any], Any] = lambda record: record
    told: Callable[[Any], str] = lambda _value: ""
    every: bool = False


@dataclass(frozen=True, eq=False)
class Context:
    """One picture, what the model said of it, and what is asked of it: all that a probe may need.

    ``seen`` is its row of the batch's features, ``features`` [1, …] those at which the targets are explained (of a
    single-stream model, after the text); ``kind`` is how targets are scored, ``asked`` all that is asked, and ``rows``
    what was measured of each by now, maps among it, on ``placement.grid``. ``scope`` is what the task can prove to lie
    outside of what it was made for. ``crosses``: its rows may share a run of the model with other pictures'.
    """

    task: Task
    shown: Shown
    seen: Features
    features: Features
    prediction: Prediction
    options: Wishes
    placement: Placement
    kind: TargetKind
    asked: Sequence[Asked]
    scope: tuple[str, ...] = ()
    rows: Sequence[Measured] = ()
    crosses: bool = False
    company: "Company" = field(default_factory=lambda: Company())  # noqa: PLW0108  (the class stands below)
    latest: Latest = field(default_factory=Latest)
    known: dict[Any, Any] = field(default_factory=dict)

    @property
    def with_maps(self) -> "Context":
        """The same with that alone which has a map, and what was measured of it; known to no company."""
        kept = [n for n, one in enumerate(self.asked) if one.with_map]
        if len(kept) == len(self.asked):
            return self
        rows = [self.rows[n] for n in kept] if self.rows else ()
        return replace(self, asked=[self.asked[n] for n in kept], rows=rows, known={}, company=Company())

    @property
    def targets(self) -> list[Target]:
        """The targets that are explained."""
        return [one.target for one in self.asked]

    @property
    def likely(self) -> list[Target]:
        """The same as log-probabilities."""
        return [one.likely for one in self.asked]

    @property
    def grid(self) -> Grid:
        """The grid that the maps are on."""
        return self.placement.grid

    @property
    def maps(self) -> Array:
        """The targets' signed maps [N, h, w]."""
        return np.stack([one.signed for one in self.rows])

    def once(self, find: "Callable[[Context], T]") -> T:
        """What ``find`` says of this picture; found once, whichever probes need it."""
        if find not in self.known:
            self.known[find] = find(self)
        value: T = self.known[find]
        return value

    def together(self, find: "Callable[[Sequence[Context]], Sequence[T]]") -> T:
        """What ``find`` says of this picture when it is given all pictures that are asked about with it."""
        value: T = self.company.asked(self, find)
        return value


class Company:
    """Pictures of one batch that are asked about together: what one of them needs first is found for all.

    Where that fails each is asked about alone, so that a broken one costs itself alone. ``members`` have one task, A of
    one shape, and the same options but for their texts.
    """

    def __init__(self) -> None:
        self.members: list[Context] = []
        self._known: dict[Any, dict[int, Any]] = {}

    @classmethod
    def of(cls, contexts: Sequence[Context]) -> list[Context]:
        """The contexts, which are members of one company from now on."""
        company = cls()
        company.members = [replace(one, company=company) for one in contexts]
        return company.members

    def asked(self, context: Context, find: Callable[[Sequence[Context]], Sequence[Any]]) -> Any:
        """What ``find`` says of one of the pictures, when it is given all of them."""
        if find not in self._known:
            self._known[find] = {}
            if len(self.members) > 1:
                with suppress(Exception):  # of one of them; each meets its own when its turn comes
                    self._known[find] = dict(zip(map(id, self.members), find(self.members), strict=True))
        known = self._known[find]
        return known.pop(id(context)) if id(context) in known else find([context])[0]
