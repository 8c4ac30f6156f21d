"""A way of making maps as one record, and the site in a model where it is asked to make them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from vlx.errors import InputError
from vlx.methods import dependence, engine
from vlx.methods.cams import Weighting, checked_maps
from vlx.methods.engine import Attribution
from vlx.pictures.placement import Grid
from vlx.protocol.powers import meet
from vlx.protocol.targets import Target
from vlx.protocol.task import Features, Task

REMAINDER = 0.1  # of a map: as much of the cells as a map check takes away, so that less cannot turn its verdict
UNPLACED = "of a map's values lie on tokens that show no part of the picture (line breaks, padding), and are not drawn"


@dataclass(frozen=True, eq=False)
class Site:
    """Where a model is split for some targets, and the pictures that it was shown.

    ``features`` [M, K, h, w] have met the targets' texts; a target's ``row`` is one of their M rows. ``inputs``
    [B, C, H, W] are the prepared pictures, ``filling(b)`` is a prepared picture [C, H, W] to take what stands for
    nothing in picture b from; methods that show the model other pictures need both. ``pictures`` says which of the B
    pictures each row of the features is of, empty where row m is of picture m. ``task`` is the one that is split here;
    only methods at another layer of it ask for it.

        >>> site, own = Site.of(task, task.features(inputs), targets)
        >>> method.attribute(task, site, own).signed  # [N, h, w]
    """

    features: Features
    inputs: Tensor | None = None
    filling: Callable[[int], Tensor] | None = None
    pictures: tuple[int, ...] = ()
    task: Task | None = None

    @classmethod
    def of(
        cls,
        task: Task,
        features: Features,
        targets: Sequence[Target],
        inputs: Tensor | None = None,
        filling: Callable[[int], Tensor] | None = None,
    ) -> "tuple[Site, list[Target]]":
        """The site of targets about pictures whose features are as `Task.features` gives them, and the targets there.

        Of a single-stream model the features meet the targets' texts first, which gives the targets other rows.
        """
        there, own = meet(task, features, targets)
        pictures = dict(zip((target.row for target in own), (target.row for target in targets), strict=True))
        return cls(there, inputs, filling, tuple(pictures.get(row, 0) for row in range(len(there.A))), task), own

    def row(self, row: int) -> "Site":
        """The site of one row of the features, and of its picture."""
        return replace(self, features=self.features.rows([row]), pictures=(self.picture_of(row),))

    def picture_of(self, row: int) -> int:
        """Which picture a row of the features is of."""
        return self.pictures[row] if self.pictures else row

    def picture(self, row: int, method: str) -> Tensor:
        """The prepared picture [C, H, W] that a row is of. Raises InputError, naming the ``method``, without any."""
        if self.inputs is None:
            raise InputError(f"{method} shows the model other pictures, and this site has none: give inputs")
        return self.inputs[self.picture_of(row)]

    def shown(self, row: int, method: str) -> tuple[Tensor, Tensor]:
        """The prepared picture that a row is of, and its filling, both [C, H, W].

        Raises InputError, naming the ``method``, where the site has none.
        """
        if self.inputs is None or self.filling is None:
            raise InputError(
                f"{method} shows the model other pictures, and this site has none: give inputs and filling"
            )
        return self.prepared(row, method), self.filling(self.picture_of(row))

    def prepared(self, row: int, method: str) -> Tensor:
        """The prepared picture [C, H, W] that a row is of. Raises InputError, naming the ``method``, without one."""
        if self.inputs is None:
            raise InputError(f"{method} needs the prepared picture, and this site has none: give inputs")
        return self.inputs[self.picture_of(row)]


def _any_task(_task: Task) -> bool:
    return True


def cells(site: Site) -> Grid:
    """The grid of A's cells, on which most maps lie when they are folded (`vlx.pictures.mosaic.Mosaic`)."""
    return site.features.grid


def plain_cells(site: Site) -> Grid:
    """The same without a fold, for maps that are made of the picture's cells and not of A's own places."""
    return site.features.grid.plain


@dataclass(frozen=True, eq=False)
class Method:
    """A way of making maps: how it is called, what its maps say, and how they are made.

    ``attribute(task, site, targets)`` makes the N targets' `Attribution`, whose maps lie on ``grid(site)``: one of
    several crops folds them, and they are made for its tokens [N, 1, T], as the last axes of A are. ``paper``
    is an arXiv id or a DOI, ``summary`` a line for lists. ``unit`` is that of the maps' values, where ``{score}``
    stands for the score's own; ``sentence`` is how a sentence about a map begins (… most raise log p), ``noun`` what
    its warm and blue places are. ``linear``: the map of the negated score is the negated map; ``against`` names the
    method whose map shows what speaks against the score, by default itself. ``signed`` is False for maps that say how
    far the score is moved and not whether up or down: nothing in them speaks against it. ``evidence`` is False for
    pictures that hardly depend on the model, and for what is no attribution: ``disclaimer`` says which, ``caution`` in
    what way. ``of_score`` is False for a readout, whose maps tell of something else than the score that is explained:
    they speak for a word, and raise nothing. ``gradient``: the map is made from the gradient at A, and empty where the
    model lets none through; all such methods are compared with each other (`vlx.recommend`, ``vlx evaluate``) on tasks
    that they ``suit``. ``listed`` is False for those that are known by name and in no list: ablations of a paper. A CAM
    has its ``weighting``: then methods share a gradient, and pictures a backward. ``layer`` is the one that it is at,
    empty for the task's own (`vlx.methods.at_layer`).

        >>> half = Method("half", "", "half of a picture", attribute=halves, unit="share", gradient=False)
        >>> vlx.explain(task, picture, method=half)
    """

    name: str
    paper: str
    summary: str
    attribute: Callable[[Task, Site, Sequence[Target]], Attribution]
    grid: Callable[[Site], Grid] = cells
    unit: str = "{score} per cell"
    sentence: str = "Regions whose features"
    noun: str = "features"
    linear: bool = False
    evidence: bool = True
    against: str = ""
    gradient: bool = True
    suits: Callable[[Task], bool] = _any_task
    weighting: Weighting | None = None
    signed: bool = True
    caution: str = "it hardly depends on the model"
    disclaimer: str = "an illustration, not evidence"
    of_score: bool = True
    listed: bool = True
    layer: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.isprintable():
            raise InputError(f"a method's name is a word, got {self.name!r:.60}")
        for what, function in (("attribute", self.attribute), ("grid", self.grid)):
            if not callable(function):
                raise InputError(f"method {self.name!r}: {what} is a function, got {function!r:.60}")
        if not self.against and self.signed:
            object.__setattr__(self, "against", self.name)

    def attributed(self, task: Task, site: Site, targets: Sequence[Target]) -> Attribution:
        """What ``attribute`` makes of N targets, held to what it owes: N maps on ``grid(site)``, and N of all else.

        Maps of tokens of several crops are folded on the picture, [N, h, w]; a note says what of them has no place
        there. Raises InputError, naming the method, where it is something else.
        """
        site = replace(site, task=task)
        made = self.attribute(task, site, targets)
        if not isinstance(made, Attribution):
            raise InputError(
                f"method {self.name!r} makes {type(made).__name__}, not an Attribution; "
                "vlx.methods.method.attribution makes one of maps [N, h, w]"
            )
        grid = self.grid(site)
        shape = (len(targets), *grid.tokens)
        checked_maps(self.name, made.signed, shape)
        checked_maps(f"{self.name} (against)", made.opposed, shape)
        return folded(made, grid)

    @property
    def on_cells(self) -> bool:
        """Whether its maps lie on A's cells."""
        return self.grid in (cells, plain_cells)


def folded(made: Attribution, grid: Grid) -> Attribution:
    """The attribution with its maps [N, *tokens] on the cells [N, h, w], and a note where much of one has no place."""
    if grid.plain is grid:
        return made
    left = float(grid.remainder(made.signed).max()) if len(made.signed) else 0.0
    notes = (f"up to {left:.0%} {UNPLACED}",) if left > REMAINDER else ()
    signed, opposed = grid.fold(made.signed), grid.fold(made.opposed)
    return replace(made, signed=signed, opposed=opposed, notes=(*made.notes, *notes))


def cam(weighting: Weighting) -> Method:
    """The method that weighs A by its gradient so."""
    return Method(
        weighting.name,
        weighting.paper,
        weighting.summary,
        partial(_weighed, weighting),
        linear=weighting.linear,
        against=weighting.against,
        weighting=weighting,
    )


def _weighed(weighting: Weighting, task: Task, site: Site, targets: Sequence[Target]) -> Attribution:
    return engine.attribute(task, site.features.A, targets, weighting, site.features.rest)


def by_rows(
    site: Site, targets: Sequence[Target], explain: Callable[[Site, Sequence[Target]], Attribution]
) -> Attribution:
    """The attribution of N targets, those of one row of the site at a time, in order.

    ``explain`` is given the site of one row and the targets there, whose row is 0.
    """
    order = [target.row for target in targets]
    rows = {row: [n for n, other in enumerate(order) if other == row] for row in dict.fromkeys(order)}
    made = [explain(site.row(row), [replace(targets[n], row=0) for n in numbers]) for row, numbers in rows.items()]
    place = [n for numbers in rows.values() for n in numbers]
    return engine.together(made).chosen(sorted(range(len(place)), key=place.__getitem__))


def attribution(
    task: Task, site: Site, targets: Sequence[Target], maps: Tensor, opposed: Tensor | None = None
) -> Attribution:
    """All that is known of N targets from their signed ``maps`` [N, h, w], for methods that need no gradient.

    What speaks against a score is the negated map, or ``opposed`` [N, h, w]. The importance weights are those of A, NaN
    where the model lets no gradient through.
    """
    A, rest = site.features.A, site.features.rest
    scores = engine.scores(task, A, targets, rest)
    weights = torch.cat([dependence.weights(task, site.features, chunk) for chunk in engine.chunks(A, targets)])
    return Attribution(scores, weights, maps, -maps if opposed is None else opposed, maps.flatten(1).any(1))
