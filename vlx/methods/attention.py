"""Maps from attention: its probabilities as a feature map of their own, weighted by their gradient.

The gradient of every target is taken at all layers' attention probabilities and at A in one vectorised backward, so
that importance weights α come with the maps at no cost of their own. Of a task whose attention comes row by row it is
taken at each word's own row, all words in one backward that does not go back to A.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

import torch
from torch import Tensor

from vlx.errors import InputError
from vlx.methods import engine
from vlx.methods.cams import METHODS, importance_weights
from vlx.methods.engine import BUDGET, Attribution
from vlx.methods.method import Method, Site
from vlx.protocol.powers import Attended, Attends, powers_of
from vlx.protocol.targets import Target
from vlx.protocol.task import Task

Layers = Sequence[Tensor]


@dataclass(frozen=True)
class AttentionWeighting:
    """``map(layers, gradients, queries) → [N, keys]`` from probabilities and gradients [N, heads, queries, keys].

    ``queries`` [N, queries] weighs the queries whose looking counts. ``linear`` says that the map of the negated score
    is the negated map, ``rolled`` that keys and queries must be the same tokens. ``paper`` is an arXiv id. ``against``
    names the weighting of A, taken at the same gradient, that shows what speaks against the score. `attending` makes a
    method of it.
    """

    name: str
    map: Callable[[Layers, Layers, Tensor], Tensor]
    linear: bool
    rolled: bool
    paper: str
    summary: str
    against: str = "hirescam"
    unit: str = "{score} per cell"


def gradient_attention(layers: Layers, gradients: Layers, queries: Tensor) -> Tensor:
    """Σ over layers, heads and the target's queries of max(gradient, 0) × probability, [N, keys].

    The gradient × cross-attention of ALBEF (arXiv 2107.07651, section 6.1), of all layers instead of one that is chosen
    by hand. Gradients below 0 are dropped as there: that points better (`benchmarks.transformers_maps`).
    """
    parts = [
        torch.einsum("nhqk,nhqk,nq->nk", p, g.clamp(min=0), queries) for p, g in zip(layers, gradients, strict=True)
    ]
    return torch.stack(parts).sum(0)


def gradient_rollout(layers: Layers, gradients: Layers, queries: Tensor) -> Tensor:
    """Relevance of every key to the target's queries, rolled out through self-attention layers, [N, keys].

    R ← R + Ā R with R = 1 at the start and Ā = mean over heads of max(gradient × probability, 0), first layer first
    (Chefer et al. 2021, arXiv 2103.15679, eq. 5 and 6). Only rows of R that are read are followed, last layer first.
    """
    relevance = queries / queries.sum(1, keepdim=True)
    for p, g in zip(reversed(layers), reversed(gradients), strict=True):
        mixing = (p * g).clamp(min=0).mean(1)
        relevance = relevance + torch.einsum("nq,nqk->nk", relevance, mixing)
    return relevance


ATTENTION_METHODS = {
    weighting.name: weighting
    for weighting in (
        AttentionWeighting(
            "gradattention", gradient_attention, False, False, "2107.07651", "gradient × cross-attention of the word"
        ),
        AttentionWeighting(
            "gradrollout",
            gradient_rollout,
            False,
            True,
            "2103.15679",
            "gradient × attention, rolled out through the layers",
            unit="relevance",
        ),
    )
}


def attribute(
    task: Task,
    A: Tensor,
    targets: Sequence[Target],
    weighting: AttentionWeighting,
    rest: object = None,
    *,
    budget: int = BUDGET,
) -> Attribution:
    """Explain N targets at A [M, K, h, w] by the task's attention; as `engine.attribute`.

    Targets are taken in chunks whose gradients of the attention probabilities fit ``budget`` bytes; of a task whose
    attention comes row by row those of one picture are taken together, and α are NaN. Raises InputError for a task
    without attention from text to picture, ModelError for a score that is NaN or infinite.
    """
    powers = powers_of(task)
    if (attends := powers.attends) is None:
        raise InputError(f"{task.name} shows no attention, which {weighting.name} needs; take gradcam or hirescam")
    if powers.attends_by_rows:
        return _by_rows(task, attends, A, targets, weighting, rest)
    parts, first, size = [], 0, 1
    while first < len(targets):
        chunk = tuple(targets[first : first + size])
        found, cost = _attributed(task, attends, A, chunk, weighting, rest)
        parts.append(found)
        first, size = first + size, max(budget // cost, 1)
    return engine.together(parts)


def _attributed(
    task: Task,
    attends: Attends,
    A: Tensor,
    targets: tuple[Target, ...],
    weighting: AttentionWeighting,
    rest: object,
) -> tuple[Attribution, int]:
    """The attribution of a few targets, and the bytes of the gradients that one of them takes."""
    with engine.differentiable():
        leaf = A.detach().clone().requires_grad_()
        seen = attends.attend(leaf, targets, rest)
        if weighting.rolled and seen.layers[0].shape[2] != seen.layers[0].shape[3]:
            raise InputError(
                f"{weighting.name} needs attention among all tokens; {task.name} has cross-attention: gradattention"
            )
        source = leaf if seen.A is None else seen.A
        slots = engine.slots_of([target.row for target in targets])
        pulled = engine.pull([seen.scores], [source, *seen.layers], [engine.one_hot(seen.scores, slots)])
    engine.check_finite(task, "score", seen.scores, targets)
    rows = [target.row for target in targets] if seen.A is None else list(seen.runs)
    gradient = pulled[0][slots, rows]
    weights = importance_weights(gradient)
    engine.check_finite(task, "gradient", weights.sum(1), targets)
    signed = _map(seen, slots, pulled[1:], weighting)
    with torch.no_grad():
        opposed = -METHODS[weighting.against].map(source.detach()[rows], gradient)
    cost = sum(layer[0].numel() * 4 for layer in seen.layers)
    depends = gradient.flatten(1).any(1)
    return Attribution(seen.scores.detach(), weights.detach(), signed, opposed, depends), cost


@torch.no_grad()
def _map(seen: Attended, slots: Sequence[int], pulled: Layers, weighting: AttentionWeighting) -> Tensor:
    """The targets' maps [N, h, w], at least float32; of several runs added up."""
    runs = list(seen.runs)
    owners = list(range(len(slots))) if seen.owners is None else list(seen.owners)
    layers = [_exact(layer[runs]) for layer in seen.layers]
    gradients = [_exact(gradient[[slots[n] for n in owners], runs]) for gradient in pulled]
    maps = weighting.map(layers, gradients, seen.queries.to(layers[0]))[:, seen.cells]
    return maps.new_zeros(len(slots), *maps.shape[1:]).index_add(0, torch.tensor(owners, device=maps.device), maps)


# Row by row


class RowRead(NamedTuple):
    """A query that a target reads: of run ``run``, with this weight."""

    target: int
    run: int
    query: int
    weight: float


def _by_rows(
    task: Task, attends: Attends, A: Tensor, targets: Sequence[Target], weighting: AttentionWeighting, rest: object
) -> Attribution:
    """The attribution of targets whose queries' graphs are their own, those of one row of A at a time."""
    if weighting.rolled:
        raise InputError(
            f"{weighting.name} needs the attention of all tokens; {task.name} shows that of its words: gradattention"
        )
    rows = [target.row for target in targets]
    numbers = {row: [n for n, other in enumerate(rows) if other == row] for row in dict.fromkeys(rows)}
    parts = [_of_row(task, attends, A, [targets[n] for n in own], weighting, rest) for own in numbers.values()]
    order = [n for own in numbers.values() for n in own]
    return engine.together(parts).chosen(sorted(range(len(order)), key=order.__getitem__))


def _of_row(
    task: Task, attends: Attends, A: Tensor, targets: Sequence[Target], weighting: AttentionWeighting, rest: object
) -> Attribution:
    """The attribution of targets of one row of A; those that read other queries share a backward."""
    with engine.differentiable():
        seen = attends.attend(A.detach(), targets, rest)
    engine.check_finite(task, "score", seen.scores, targets)
    scores = seen.scores.detach()
    maps = scores.new_zeros(2, len(targets), *seen.cells.shape, dtype=_exact(scores).dtype)
    depends = torch.zeros(len(targets), dtype=torch.bool, device=scores.device)
    for group in _apart(_readings(seen)):
        with engine.differentiable():
            pulled = engine.pull([seen.scores[[*dict.fromkeys(one.target for one in group)]].sum()], seen.layers)
        owners = torch.tensor([one.target for one in group], device=scores.device)
        layers, gradients = ([_read(tensor, group, scores) for tensor in each] for each in (seen.layers, pulled))
        weights = layers[0].new_tensor([[one.weight] for one in group])
        for both, sign in zip(maps, (1, -1), strict=True):
            found = weighting.map(layers, [sign * gradient for gradient in gradients], weights)
            both.index_add_(0, owners, found[:, seen.cells].to(both.dtype))
        moves = torch.stack([gradient[..., seen.cells].flatten(1).any(1) for gradient in gradients]).any(0)
        depends[owners[moves]] = True
    engine.check_finite(task, "gradient", maps.flatten(2).sum((0, 2)), targets)
    unknown = maps.new_full((len(targets), A.shape[1]), torch.nan)
    signed, opposed = maps
    return Attribution(scores, unknown, signed, opposed, depends, weighed=False, against=weighting.name)


def _readings(seen: Attended) -> list[RowRead]:
    """What the targets read, one query each."""
    owners = range(len(seen.runs)) if seen.owners is None else seen.owners
    return [
        RowRead(owner, run, query, float(marks[query]))
        for owner, run, marks in zip(owners, seen.runs, seen.queries, strict=True)
        for query in marks.nonzero()[:, 0].tolist()
    ]


def _apart(readings: Sequence[RowRead]) -> list[list[RowRead]]:
    """The readings in groups, a target's in one, in which no two targets read the same query."""
    groups: list[dict[tuple[int, int], RowRead]] = []
    for _, own in groupby(sorted(readings), key=attrgetter("target")):
        asked = {(one.run, one.query): one for one in own}
        free = next((group for group in groups if not group.keys() & asked.keys()), None)
        if free is None:
            groups.append(asked)
        else:
            free |= asked
    return [[*group.values()] for group in groups]


def _read(layer: Tensor, readings: Sequence[RowRead], like: Tensor) -> Tensor:
    """Of a layer's [R, heads, queries, keys] what readings read, each alone: [readings, heads, 1, keys]."""
    runs, queries = [one.run for one in readings], [one.query for one in readings]
    return _exact(layer.detach()[runs, :, queries][:, :, None].to(like.device))


def _exact(values: Tensor) -> Tensor:
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def attending(weighting: AttentionWeighting) -> Method:
    """The method that weighs attention so. It suits tasks that show their attention."""
    return Method(
        weighting.name,
        weighting.paper,
        weighting.summary,
        partial(_at_site, weighting),
        unit=weighting.unit,
        sentence="Regions that, attended to,",
        noun="attended regions",
        linear=weighting.linear,
        against=weighting.against,
        suits=partial(_suits, weighting),
    )


def _at_site(weighting: AttentionWeighting, task: Task, site: Site, targets: Sequence[Target]) -> Attribution:
    return attribute(task, site.features.A, targets, weighting, site.features.rest)


def _suits(weighting: AttentionWeighting, task: Task) -> bool:
    """Roll-out needs attention among all tokens, which a task says by its default."""
    return powers_of(task).attends is not None and (not weighting.rolled or task.defaults.method == weighting.name)
