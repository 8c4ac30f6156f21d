"""What is measured of every target besides its map: one entry a probe, each for all targets of a picture at once."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from vlx import language
from vlx.errors import InputError
from vlx.explanation.map_check import MapCheck
from vlx.explanation.records import Array
from vlx.methods import engine
from vlx.methods.cams import METHODS
from vlx.methods.pixels import guided_gradcam, pixel_gradients, top_gradients
from vlx.pictures.placement import Grid
from vlx.pipeline.assemble import Shown
from vlx.pipeline.options import Options
from vlx.probes import asked as asking
from vlx.probes import other_pictures, owing, references
from vlx.probes.asked import Asked, Measured
from vlx.probes.because import becauses
from vlx.probes.map_trials import Trial, on_cells, trials, tried_all
from vlx.probes.occlusion import occlude
from vlx.probes.owing import Owed
from vlx.probes.references import Elsewhere
from vlx.protocol.identity import Latest
from vlx.protocol.powers import Sees, lacking, powers_of
from vlx.protocol.targets import Prediction, Target
from vlx.protocol.task import Features, Task


@dataclass(frozen=True, eq=False)
class Context:
    """One picture and what the model said of it: all that a probe may need.

    ``features`` are those at which the targets are explained (of a single-stream model, after the text), ``maps``
    [N, h, w] the targets' signed maps and ``opposed`` what speaks against them, on ``grid``.
    """

    task: Task
    shown: Shown
    features: Features
    prediction: Prediction
    asked: Sequence[Asked]
    maps: Array
    opposed: Array
    grid: Grid
    options: Options
    company: "Company" = field(default_factory=lambda: Company())
    latest: Latest = field(default_factory=Latest)

    @property
    def targets(self) -> list[Target]:
        """The targets that are explained."""
        return [one.target for one in self.asked]

    @property
    def likely(self) -> list[Target]:
        """The same as log-probabilities."""
        return [one.likely for one in self.asked]

    @cached_property
    def logprobs(self) -> list[float]:
        """Their log-probabilities with the picture, in nats."""
        return asking.logprobs(self.task, self.features, self.asked)

    @cached_property
    def elsewhere(self) -> Elsewhere:
        """The references as the model sees them."""
        found: Elsewhere = self.company.asked(self, _elsewhere)
        return found

    @cached_property
    def owed(self) -> list[Owed]:
        """What the targets owe to the picture."""
        gone = self.company.asked(self, _gone)
        return owing.owing(self.task, self.features, self.prediction, self.asked, self.logprobs, self.elsewhere, gone)


class Company:
    """Pictures of one batch that are asked about together: what one of them needs first is found for all.

    Where that fails each is asked about alone, so that a broken one costs itself alone. ``members`` have one task, A of
    one shape, and the same options but for their texts.
    """

    def __init__(self) -> None:
        self.members: list[Context] = []
        self._known: dict[Any, dict[int, Any]] = {}

    @classmethod
    def of(cls, contexts: "Sequence[Context]") -> "list[Context]":
        """The contexts, which are members of one company from now on."""
        company = cls()
        company.members = [replace(one, company=company) for one in contexts]
        return company.members

    def asked(self, context: Context, find: "Callable[[Sequence[Context]], Sequence[Any]]") -> Any:
        """What ``find`` says of one of the pictures, when it is given all of them."""
        if find not in self._known:
            self._known[find] = {}
            if len(self.members) > 1:
                with suppress(Exception):  # of one of them; each meets its own when its turn comes
                    self._known[find] = dict(zip(map(id, self.members), find(self.members), strict=True))
        known = self._known[find]
        return known.pop(id(context)) if id(context) in known else find([context])[0]


def _elsewhere(contexts: Sequence[Context]) -> Sequence[Elsewhere]:
    """The references of each as the model sees them."""
    task, first = contexts[0].task, contexts[0]
    if first.options.references is None:
        pictures = [one.shown.picture.image for one in contexts]

        def see() -> list[Elsewhere]:
            return references.made_elsewhere(task, pictures, asked=first.likely)

        return see() if len(contexts) > 1 else first.latest.of(first.shown, task.version(), "references", see)
    return [
        references.elsewhere(task, one.shown.picture.image, one.shown.inputs, one.options.references)
        for one in contexts
    ]


def _gone(contexts: Sequence[Context]) -> Sequence[owing.Table]:
    """The log-probabilities of each one's words with its references."""
    asked = [(one.elsewhere.features, owing.meets(one.asked)) for one in contexts]
    return owing.tables(contexts[0].task, asked)


@dataclass(frozen=True)
class Probe:
    """Fills the field of that name in `Measured`, where it is ``wanted``: ``run`` gives one value a target."""

    field: str
    wanted: Callable[[Context], bool]
    run: Callable[[Context], Sequence[Any]]


def probed(context: Context, found: Sequence[Measured]) -> list[Measured]:
    """The records with what the probes that were wished for say of each."""
    values = {probe.field: probe.run(context) for probe in PROBES if probe.wanted(context)}
    return [replace(one, **{field: column[n] for field, column in values.items()}) for n, one in enumerate(found)]


def _looks(context: Context) -> Sequence[Any]:
    return other_pictures.looks(
        context.task,
        context.shown.picture.image,
        context.options.query,
        context.prediction,
        context.likely,
        context.elsewhere,
        others=context.options.looks,
        swaps=context.options.swaps,
    )


def _looks_wanted(context: Context) -> bool:
    """Of answers to a question and contrasts what is said of the references is told too, else of the user's own."""
    options, said = context.options, context.prediction
    answers = said.question and not said.whole
    told = answers or options.contrast is not None or options.references is not None
    return options.looks or (options.seen and told)


def _strange(context: Context) -> Sequence[tuple[str, ...]]:
    """A note where references are unlike the picture for the model; the same for all targets."""
    own, other = context.features, context.elsewhere.features
    if own.layer != other.layer or own.A.shape[1] != other.A.shape[1]:
        return [()] * len(context.asked)  # explained at a layer that has met the text
    ratios = references.ratio(other.A, own.A)
    note = references.strange(context.elsewhere.names, ratios, context.options.references is None)
    return [(note,) if note else ()] * len(context.asked)


def _occlusion(context: Context) -> Sequence[Any]:
    task, shown = context.task, context.shown
    filling = task.prepare(references.filling(shown.picture.image, context.options.references))
    maps, window = list(context.maps), shown.frame.window
    return occlude(task, shown.inputs, filling, context.features, context.targets, maps, window=window)


def _guided(context: Context) -> Sequence[Array]:
    """Guided Grad-CAM of each target on the prepared picture, [3, H', W'] each."""
    task, features = context.task, context.features
    if (sees := powers_of(task).sees) is None:
        raise InputError(
            f"{task.name} has {lacking(task, Sees.see)}, which Guided Grad-CAM needs; leave guided=True out"
        )
    found: list[Array] = []
    for chunk in engine.chunks(features.A, context.targets):
        above = top_gradients(task, features.A, chunk, features.rest, "guided")
        carried = pixel_gradients(sees, task.place(context.shown.inputs[None]), above, "guided")
        signed = torch.from_numpy(context.maps[len(found) : len(found) + len(chunk)])
        product = guided_gradcam(signed.to(carried.values), features.grid, carried.values)
        found += list(product.float().cpu().numpy())
    return found


def _checks(context: Context) -> Sequence[tuple[MapCheck | None, MapCheck | None]]:
    """What the scores lose by the cells that the maps rank highest, and gain by those that speak against them."""
    found = context.company.asked(context, _tried)
    return list(zip(found[::2], found[1::2], strict=True))


def _tried(contexts: Sequence[Context]) -> Sequence[Sequence[MapCheck]]:
    singly = contexts[0].options.check == "cells"
    return tried_all(contexts[0].task, [(one.features, _trials(one)) for one in contexts], singly=singly)


def _trials(context: Context) -> list[Trial]:
    """For each target two trials: of its map, and of what speaks against it."""
    own = context.grid == context.features.grid

    def placed(values: Array) -> Array:
        return values if own else on_cells(values, context.grid, context.features.grid)

    pairs = [
        trials(context.prediction, one, logprob, placed(signed), placed(opposed))
        for one, logprob, signed, opposed in zip(
            context.asked, context.logprobs, context.maps, context.opposed, strict=True
        )
    ]
    return [trial for pair in pairs for trial in pair]


def _because(context: Context) -> Sequence[Any]:
    """Why each target was said, in concepts, of those that were meant; a whole caption has no reasons of its own."""
    naming, wished = context.options.naming, context.options.method
    assert naming is not None
    meant = _meant(context)
    if not meant:
        return [None] * len(context.asked)
    targets, maps = [context.targets[n] for n in meant], context.maps[meant]
    merged = context.prediction.pieces and any(len(target.terms) > 1 for target in targets)
    weighting = wished.weighting
    remade = weighting is None or (merged and context.options.subwords != "sum")  # not made of units
    weighting = weighting or METHODS["hirescam"]
    if remade:
        features = context.features
        maps = engine.attribute(context.task, features.A, targets, weighting, features.rest).signed.cpu().numpy()
    found = becauses(
        context.task,
        context.features,
        targets,
        [context.likely[n] for n in meant],
        maps,
        weighting,
        naming.table,
        rule=naming.rule,
        check=naming.check,
        off=naming.off,
    )
    if wished.weighting is None:
        note = f"Shares are of the gradient × activation of units, not of the {wished.name} map."
        found = [replace(one, shares_of=weighting.name, notes=(*one.notes, note)) for one in found]
    told = dict(zip(meant, found, strict=True))
    return [told.get(n) for n in range(len(context.asked))]


def _meant(context: Context) -> list[int]:
    """Which targets have reasons: of a text the words that were meant, of answers all where they were not chosen."""
    words = [n for n, one in enumerate(context.asked) if one.role == "word"]
    rivals = [n for n, one in enumerate(context.asked) if one.role == "rival"]
    wish = context.options.words
    if wish == "content" and not any(one.role == "whole" for one in context.asked):
        wish = "all"  # an answer says something, whatever word it is
    return [*(words[n] for n in language.chosen(wish, [context.asked[n].label for n in words])), *rivals]


PROBES = (
    Probe("logprob", lambda context: True, lambda context: context.logprobs),
    Probe("looks", _looks_wanted, _looks),
    Probe("seen", lambda context: context.options.seen, lambda context: [one.seen for one in context.owed]),
    Probe("seen_by", lambda context: context.options.seen, lambda context: [one.by for one in context.owed]),
    Probe("looked", lambda context: context.options.seen, lambda context: [one.looked for one in context.owed]),
    Probe("strange", lambda context: context.options.seen, _strange),
    Probe("occlusion", lambda context: context.options.occlusion, _occlusion),
    Probe("guided", lambda context: context.options.guided, _guided),
    Probe("checks", lambda context: bool(context.options.check), _checks),
    Probe("because", lambda context: context.options.naming is not None, _because),
)


def stacked(found: Sequence[Measured]) -> tuple[Array, Array]:
    """The records' signed maps as one array [N, h, w], and those of what speaks against them."""
    return np.stack([one.signed for one in found]), np.stack([one.opposed for one in found])
