"""From what the model says of the pictures of a batch to their explanations: maps, probes, records.

Rows of several pictures and words go through the model together where that is cheaper and changes nothing; whatever
fails so is done again one picture at a time, so that a broken one costs itself alone.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from vlx import __version__
from vlx.errors import Failure, ModelError, in_own_words
from vlx.explanation.records import Explanation
from vlx.methods import engine, subwords
from vlx.methods.method import Site
from vlx.pictures.edits import MADE
from vlx.pictures.placement import Placement
from vlx.pipeline import assemble
from vlx.pipeline.assemble import Shown
from vlx.pipeline.options import Options
from vlx.pipeline.probing import Company, Context, probed, stacked
from vlx.probes import references
from vlx.probes.asked import Asked, Measured, measured, questions
from vlx.probes.contrast import contrasted
from vlx.probes.question_words import question_words
from vlx.probes.zero_maps import tried
from vlx.protocol.identity import Kept, Latest
from vlx.protocol.nested import joined, nested
from vlx.protocol.outputs import settled
from vlx.protocol.powers import meet, powers_of
from vlx.protocol.targets import Prediction, Target, TargetKind, sentence_target
from vlx.protocol.task import Features, Task

T = TypeVar("T")
CACHED = 4 * 2**20  # bytes of gradients of A that are taken in one backward on a CPU, whose caches they should fit
HELD = 64 * 2**20  # bytes of A of pictures and their references that are held for a batch
ROWS = 6  # of A that a picture has: its own and its references'


@dataclass(frozen=True, eq=False)
class Begun:
    """One picture and what is asked of it: ``seen`` is its row of the batch's features, ``features`` [1, …] those at
    which it is explained (of a single-stream model, after the text).
    """

    shown: Shown
    seen: Features
    features: Features
    prediction: Prediction
    options: Options
    placement: Placement
    asked: Sequence[Asked]
    provenance: dict[str, Any]
    scope: tuple[str, ...]

    @property
    def targets(self) -> list[Target]:
        """The targets that are explained."""
        return [one.target for one in self.asked]

    def site(self, task: Task) -> Site:
        """Where its maps are made."""
        return _site(task, self.features, self.shown, self.options)


@dataclass(frozen=True, eq=False)
class Known:
    """What is known of a picture once it has its maps; ``together``: they were taken together with others'."""

    context: Context
    found: Sequence[Measured]
    together: bool = False


def explained(
    task: Task,
    names: Sequence[str],
    features: Features,
    shown: Sequence[Shown],
    predictions: Sequence[Prediction],
    options: Sequence[Options],
    latest: Latest,
) -> Iterator[Explanation | Failure]:
    """An explanation of each picture of a batch, or a failure by its name, in order.

    ``latest`` knows what was seen of the picture before, should the next question be about the same one.
    """
    begun = [
        attempt(name, partial(_begun, task, one, rows(features, [row]), prediction, wish))
        for row, (name, one, prediction, wish) in enumerate(zip(names, shown, predictions, options, strict=True))
    ]
    maps = _together(task, [one for one in begun if isinstance(one, Begun) and one.asked])
    contexts = [
        attempt(name, partial(_context, task, one, maps.get(id(one)), latest))
        if isinstance(one, Begun) and one.asked
        else None
        for name, one in zip(names, begun, strict=True)
    ]
    joint = iter(_companies([one for one in contexts if isinstance(one, Known)]))
    for name, one, context in zip(names, begun, contexts, strict=True):
        if isinstance(one, Failure) or isinstance(context, Failure):
            yield context if isinstance(context, Failure) else cast(Failure, one)
        else:
            own = None if context is None else next(joint)
            yield attempt(name, partial(_finished, task, one, own))


def attempt(name: str, act: Callable[[], T]) -> "T | Failure":
    """What a function returns, or its failure; its frames are done by then, and can let go of their tensors."""
    try:
        with in_own_words(f"{name} cannot be explained", ModelError):
            return act()
    except Exception as error:
        return Failure(name, error)


def rows(features: Features, numbers: list[int]) -> Features:
    """The features of some pictures of a batch."""
    own = slice(numbers[0], numbers[0] + 1) if len(numbers) == 1 else numbers  # a slice is not copied
    maps = {layer: A[own] for layer, A in features.maps.items()}
    return replace(features, maps=maps, rest=nested(lambda tensor: tensor[own], features.rest))


def _begun(task: Task, one: Shown, seen: Features, prediction: Prediction, options: Options) -> Begun:
    features, _ = meet(task, seen, [sentence_target(prediction, 0)])
    prediction = contrasted(task, features, prediction, options.contrast)
    placement = Placement(options.method.grid(_site(task, features, one, options)), one.frame)
    kind = _kind(prediction, options)
    provenance = _provenance(task, features, one, options, prediction, kind)
    asked = questions(task, prediction, kind)
    scoped = powers_of(task).scoped
    scope = () if scoped is None else scoped.scope(seen, one.picture.image, prediction.text)
    return Begun(one, seen, features, prediction, options, placement, asked, provenance, scope)


def _context(task: Task, one: Begun, attribution: engine.Attribution | None, latest: Latest) -> Known:
    """The picture with its maps, which were taken together with others' or are taken now."""
    needs = one.options.method.gradient or one.options.naming is not None
    found = measured(_attributed(task, one) if attribution is None else attribution)
    found = tried(task, one.features, one.asked, found, needs_gradient=needs)
    grid = one.placement.grid
    context = Context(
        task, one.shown, one.features, one.prediction, one.asked, *stacked(found), grid, one.options, latest=latest
    )
    return Known(context, found, attribution is not None)


def _finished(task: Task, one: Begun, known: Known | None) -> Explanation:
    """The explanation of one prediction, and beside an answer of the other likely ones."""
    told = (task, one.shown, one.features, one.prediction)
    if known is None:
        return replace(assemble.nothing(*told, one.placement, one.provenance), scope=one.scope)
    found = probed(known.context, known.found)
    why = assemble.explanation(*told, one.asked, found, one.placement, one.provenance)
    why = replace(why, scope=one.scope, others=tuple(replace(other, scope=one.scope) for other in why.others))
    if one.prediction.question and one.options.query.text is not None:
        first = one.asked[0]
        heard = question_words(task, one.seen, one.options.query.text, first.target, first.likely)
        why = replace(why, question_words=heard)
    return why


# Several pictures at once

_crossing = Kept()


def _together(task: Task, begun: Sequence[Begun]) -> dict[int, engine.Attribution]:
    """Attributions of pictures whose rows share a backward, by the picture's id; those that are left out go alone."""
    found: dict[int, engine.Attribution] = {}
    for group in _groups(task, begun):
        with suppress(Exception):  # of one of them: each meets its own when its turn comes
            maps = _attributed_together(task, group)
            if _crosses(task, group, maps):
                found |= zip(map(id, group), maps, strict=True)
    return found


def _groups(task: Task, begun: Sequence[Begun]) -> Iterator[list[Begun]]:
    """Runs of pictures, two or more, whose A have one shape and whose gradients fit what is taken in one backward."""
    group: list[Begun] = []
    held = 0
    for one in begun:
        A = one.features.A
        cost = len(one.asked) * A[0].numel() * max(A.element_size(), 4)
        same = not group or group[0].features.A.shape == A.shape
        if group and (not same or held + cost > (CACHED if A.device.type == "cpu" else engine.BUDGET)):
            yield from [group] if len(group) > 1 else []
            group, held = [], 0
        if one.options.method.weighting is not None and powers_of(task).meets is None:
            group, held = [*group, one], held + cost
    yield from [group] if len(group) > 1 else []


def _attributed_together(task: Task, group: Sequence[Begun]) -> list[engine.Attribution]:
    """The attribution of each picture of a group, from one of all their targets."""
    parts = [subwords.pieces(one.targets, _in_pieces(one), one.options.subwords) for one in group]
    targets = [replace(target, row=row) for row, own in enumerate(parts) for pieces in own for target in pieces]
    first, rest = group[0].features, joined([one.features.rest for one in group])
    A = torch.cat([one.features.A for one in group])
    site = Site(replace(first, maps={first.layer: A}, rest=rest))
    found = group[0].options.method.attribute(task, site, targets)
    made, start = [], 0
    for one, own in zip(group, parts, strict=True):
        stop = start + sum(map(len, own))
        made.append(subwords.merged(found.rows(start, stop), own, one.options.subwords))
        start = stop
    return made


def _crosses(task: Task, group: Sequence[Begun], maps: Sequence[engine.Attribution]) -> bool:
    """Whether a picture's maps are the same in company as alone; tried on two, once for the weights of a task."""
    known, version = _crossing.of(task), task.version()
    if version not in known:
        alone = [_attributed(task, one) for one in group[:2]]
        same = all(_alike(one, other) for one, other in zip(alone, maps, strict=False))
        known.clear()
        known[version] = same
    return bool(known[version])


def _alike(one: engine.Attribution, other: engine.Attribution) -> bool:
    """Whether two attributions differ by no more than rounding: half of the digits."""
    limit = torch.finfo(one.scores.dtype).eps ** 0.5
    pairs = [(one.scores[:, None], other.scores[:, None], 1.0), (one.signed, other.signed, 0.0)]
    return all(bool((a - b).abs().amax() <= limit * max(float(a.abs().amax()), least)) for a, b, least in pairs)


def _companies(known: Sequence[Known]) -> Iterator[Known]:
    """The same pictures, those that may be asked about together in companies; in order."""
    for crossing, run in groupby(known, key=lambda one: (one.together, one.context.features.A.shape)):
        members = list(run)
        A = members[0].context.features.A
        size = max(HELD // (ROWS * A[0].numel() * A.element_size()), 1) if crossing[0] else 1
        for first in range(0, len(members), size):
            own = members[first : first + size]
            contexts = Company.of([one.context for one in own])
            yield from (replace(one, context=context) for one, context in zip(own, contexts, strict=True))


# One picture


def _in_pieces(one: Begun) -> int:
    """How many of the targets have a map for each token of a word, before the whole, which has one."""
    return sum(own.role != "whole" for own in one.asked) if one.prediction.pieces else 0


def _kind(prediction: Prediction, options: Options) -> TargetKind:
    """The kind of target that is meant, by what the model's output means."""
    for word in prediction.words[:1]:
        return settled(word.outputs, options.kind, options.told, word.is_contrast)
    return options.kind


def _site(task: Task, features: Features, one: Shown, options: Options) -> Site:
    def filling(number: int) -> Tensor:
        return task.prepare(references.filling(one.picture.image, options.references))

    return Site(features, one.inputs[None], filling)


def _attributed(task: Task, one: Begun) -> engine.Attribution:
    """Maps of all targets of one picture by the method wished for."""
    explained = partial(one.options.method.attribute, task, one.site(task))
    return subwords.attribute(one.targets, _in_pieces(one), one.options.subwords, explained)


def _provenance(
    task: Task, features: Features, one: Shown, options: Options, prediction: Prediction, kind: TargetKind
) -> dict[str, Any]:
    outputs = prediction.words[0].outputs if prediction.words else "softmax"
    return {
        "model": task.name,
        **({} if (revision := powers_of(task).revision) is None else {"revision": revision}),
        "layer": features.layer,
        "method": options.method.name,
        "target": "value" if outputs == "value" else kind,
        **({} if outputs == "softmax" else {"outputs": outputs}),
        **({"chosen": options.chosen} if options.chosen else {}),
        "gradients": task.defaults.gradients,
        "feature_map": list(features.A.shape[1:]),
        "prepared": list(one.inputs.shape),
        "geometry": features.grid.source,
        "image": one.picture.name,
        **({"question": options.query.text} if prediction.question and options.query.text is not None else {}),
        "beams": options.query.beams,
        **({} if not options.seen else {"references": _named(options)}),
        **({} if options.query.prompt is None else {"prompt": options.query.prompt}),
        **({} if options.naming is None else {"names": options.naming.origin}),
        "versions": {"vlx": __version__, "torch": torch.__version__},
    }


def _named(options: Options) -> str:
    own = options.references
    return f"made of the picture: {', '.join(MADE)}" if own is None else f"{len(own.names)} pictures of the user's own"
