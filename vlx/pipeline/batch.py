"""From what the model says of the pictures of a batch to their explanations: maps, probes, records.

Rows of several pictures and words go through the model together where that is cheaper and changes nothing; whatever
fails so is done again one picture at a time, so that a broken one costs itself alone.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import groupby
from typing import TypeVar

import torch
from torch import Tensor

from vlx.errors import Failure, ModelError, in_own_words
from vlx.explanation.records import Explanation
from vlx.methods import engine, subwords
from vlx.methods.method import Site
from vlx.pictures.placement import Placement
from vlx.pictures.prepare import Shown
from vlx.pipeline import assemble
from vlx.pipeline.options import Options
from vlx.probes import references
from vlx.probes.asked import Measured, logprobs, measured, questions, with_unmapped
from vlx.probes.contrast import contrasted
from vlx.probes.probe import Company, Context
from vlx.probes.question_words import question_words
from vlx.probes.registry import probed
from vlx.probes.wishes import Wishes
from vlx.probes.zero_maps import tried
from vlx.protocol.identity import Kept, Latest
from vlx.protocol.nested import joined
from vlx.protocol.powers import meet, powers_of
from vlx.protocol.targets import Prediction, sentence_target
from vlx.protocol.task import Features, Task

T = TypeVar("T")
CACHED = 4 * 2**20  # bytes of gradients of A that are taken in one backward on a CPU, whose caches they should fit
HELD = 64 * 2**20  # bytes of A of pictures and their references that are held for a batch
ROWS = 6  # of A that a picture has: its own and its references'


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
        attempt(name, partial(_begun, task, one, features.rows([row]), prediction, wish))
        for row, (name, one, prediction, wish) in enumerate(zip(names, shown, predictions, options, strict=True))
    ]
    parts = {id(one): one.with_maps for one in begun if isinstance(one, Context)}
    maps = _together([part for part in parts.values() if part.asked])
    mapped = {
        id(one): attempt(names[place], partial(_mapped, one, parts[id(one)], maps.get(id(parts[id(one)])), latest))
        for place, one in enumerate(begun)
        if isinstance(one, Context) and one.asked
    }
    probing = iter(_companies([one for one in mapped.values() if isinstance(one, Context)]))
    for name, one in zip(names, begun, strict=True):
        known = mapped.get(id(one), one)
        if isinstance(known, Failure):
            yield known
        else:
            yield attempt(name, partial(_finished, next(probing) if known.rows else known))


def attempt(name: str, act: Callable[[], T]) -> "T | Failure":
    """What a function returns, or its failure; its frames are done by then, and can let go of their tensors."""
    try:
        with in_own_words(f"{name} cannot be explained", ModelError):
            return act()
    except Exception as error:
        return Failure(name, error)


def _begun(task: Task, one: Shown, seen: Features, prediction: Prediction, options: Options) -> Context:
    """One picture and all that is asked of what the model said."""
    features, _ = meet(task, seen, [sentence_target(prediction, 0)])
    prediction = contrasted(task, features, prediction, options.contrast)
    kind = options.scored(prediction)
    scoped = powers_of(task).scoped
    return Context(
        task,
        one,
        seen,
        features,
        prediction,
        options,
        Placement(options.method.grid(_site(task, features, one, options)), one.frame),
        kind,
        questions(task, prediction, kind, options.words),
        () if scoped is None else scoped.scope(seen, one.picture.image, prediction.text),
    )


def _mapped(context: Context, part: Context, attribution: engine.Attribution | None, latest: Latest) -> Context:
    """The picture with the maps of its ``part`` that has some; taken together with others' before, or now."""
    task, features, asked = context.task, context.features, context.asked
    needs = context.options.method.gradient or context.options.naming is not None
    measures: list[Measured] = []
    if part.asked:
        measures = measured(_attributed(part) if attribution is None else attribution)
        measures = tried(task, features, part.asked, measures, needs_gradient=needs)
    there = logprobs(task, features, asked)
    if part is not context:
        measures = with_unmapped(task, features, asked, measures, there, context.grid.shape)
    known = [replace(one, logprob=logprob) for one, logprob in zip(measures, there, strict=True)]
    return replace(context, rows=known, crosses=attribution is not None, latest=latest)


def _finished(context: Context) -> Explanation:
    """The explanation of one prediction, and beside an answer of the other likely ones."""
    if not context.asked:
        return assemble.nothing(context)
    why = assemble.explanation(replace(context, rows=probed(context)))
    question = context.options.query.text
    if not context.prediction.question or question is None:
        return why
    first = context.asked[0]
    heard = question_words(context.task, context.seen, question, first.target, first.likely)
    return replace(why, question_words=heard)


# Several pictures at once

_crossing = Kept()


def _together(pictures: Sequence[Context]) -> dict[int, engine.Attribution]:
    """Attributions of pictures whose rows share a backward, by the picture's id; those that are left out go alone."""
    together: dict[int, engine.Attribution] = {}
    for group in _groups(pictures):
        with suppress(Exception):  # of one of them: each meets its own when its turn comes
            maps = _attributed_together(group)
            if _crosses(group, maps):
                together |= zip(map(id, group), maps, strict=True)
    return together


def _groups(pictures: Sequence[Context]) -> Iterator[list[Context]]:
    """Runs of pictures, two or more, whose A have one shape and whose gradients fit what is taken in one backward."""
    group: list[Context] = []
    held = 0
    for one in pictures:
        A = one.features.A
        cost = len(one.asked) * A[0].numel() * max(A.element_size(), 4)
        same = not group or group[0].features.A.shape == A.shape
        if group and (not same or held + cost > (CACHED if A.device.type == "cpu" else engine.BUDGET)):
            yield from [group] if len(group) > 1 else []
            group, held = [], 0
        apart = powers_of(one.task).meets is not None or one.features.grid.plain is not one.features.grid
        if one.options.method.weighting is not None and not apart:
            group, held = [*group, one], held + cost
    yield from [group] if len(group) > 1 else []


def _attributed_together(group: Sequence[Context]) -> list[engine.Attribution]:
    """The attribution of each picture of a group, from one of all their targets."""
    parts = [subwords.pieces(one.targets, _in_pieces(one), one.options.subwords) for one in group]
    targets = [replace(target, row=row) for row, pieces in enumerate(parts) for tokens in pieces for target in tokens]
    first, rest = group[0].features, joined([one.features.rest for one in group])
    A = torch.cat([one.features.A for one in group])
    site = Site(replace(first, maps={first.layer: A}, rest=rest))
    attribution = group[0].options.method.attributed(group[0].task, site, targets)
    made, start = [], 0
    for one, pieces in zip(group, parts, strict=True):
        stop = start + sum(map(len, pieces))
        made.append(subwords.merged(attribution.rows(start, stop), pieces, one.options.subwords))
        start = stop
    return made


def _crosses(group: Sequence[Context], maps: Sequence[engine.Attribution]) -> bool:
    """Whether a picture's maps are the same in company as alone; tried on two, once for the weights of a task."""
    task = group[0].task
    known, version = _crossing.of(task), task.version()
    if version not in known:
        alone = [_attributed(one) for one in group[:2]]
        same = all(_alike(one, other) for one, other in zip(alone, maps, strict=False))
        known.clear()
        known[version] = same
    return bool(known[version])


def _alike(one: engine.Attribution, other: engine.Attribution) -> bool:
    """Whether two attributions differ by no more than rounding: half of the digits."""
    limit = torch.finfo(one.scores.dtype).eps ** 0.5
    pairs = [(one.scores[:, None], other.scores[:, None], 1.0), (one.signed, other.signed, 0.0)]
    return all(bool((a - b).abs().amax() <= limit * max(float(a.abs().amax()), least)) for a, b, least in pairs)


def _companies(pictures: Sequence[Context]) -> Iterator[Context]:
    """The same pictures, those that may be asked about together in companies; in order."""
    for crossing, run in groupby(pictures, key=lambda one: (one.crosses, one.features.A.shape)):
        members = list(run)
        A = members[0].features.A
        size = max(HELD // (ROWS * A[0].numel() * A.element_size()), 1) if crossing[0] else 1
        for first in range(0, len(members), size):
            yield from Company.of(members[first : first + size])


# One picture


def _in_pieces(one: Context) -> int:
    """How many of the targets have a map for each token of a word, before the whole, which has one."""
    return sum(asked.role != "whole" for asked in one.asked) if one.prediction.pieces else 0


def _site(task: Task, features: Features, one: Shown, options: Wishes) -> Site:
    def filling(_number: int) -> Tensor:
        return task.prepare(references.filling(one.picture.image, options.references))

    return Site(features, one.inputs[None], filling, task=task)


def _attributed(one: Context) -> engine.Attribution:
    """Maps of all targets of one picture by the method wished for."""
    site = _site(one.task, one.features, one.shown, one.options)
    explained = partial(one.options.method.attributed, one.task, site)
    return subwords.attribute(one.targets, _in_pieces(one), one.options.subwords, explained)
