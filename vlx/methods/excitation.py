"""Excitation backprop and its contrast, c-MWP: what excites the unit of a score, passed down by positive weights.

A head that belongs to the vision part, as a classifier's does, is passed by the rule from its last linear layer on
(`vlx.methods.top_down`). Any other head, an LSTM or one with gates, has no such rule: it stands for one linear layer
whose weights are its gradient at A, and p at A is max(G ∘ A, 0), normalised to 1. Either way the score's dual is the
same with the layer's weights negated.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from vlx.methods import engine
from vlx.methods.dependence import refuse_cut
from vlx.methods.engine import Attribution
from vlx.methods.method import Method, Site, attribution, by_rows
from vlx.methods.tape import Tape
from vlx.methods.top_down import descended, excited
from vlx.protocol.layered import Beneath
from vlx.protocol.powers import powers_of
from vlx.protocol.targets import Target
from vlx.protocol.task import Features, Task

Pair = tuple[Tensor, Tensor]
Kind = Callable[[Tensor, Tensor], Pair]  # what excites a score and its dual, [h, w] each → what is for it and against


def probabilities(task: Task, features: Features, targets: Sequence[Target]) -> list[Pair]:
    """For N targets at one picture's features what excites the score, and its dual, each p [K, h, w] at A.

    Each sums to 1, as far as the rule's denominators are above 0. Raises ModelError, naming it, for an operation of the
    vision part that the rule does not know.
    """
    powers = powers_of(task)
    if powers.beneath is not None:
        return _risen(powers.beneath, features, targets)
    return _by_rule(task, features, targets) if powers.head_is_vision else _by_gradient(task, features, targets)


def _by_rule(task: Task, features: Features, targets: Sequence[Target]) -> list[Pair]:
    asked = [replace(target, kind="logit") for target in targets]  # the rule knows no softmax
    leaf = features.A.detach().clone()
    with torch.inference_mode(False), torch.no_grad(), Tape(leaf) as tape:
        scores = task.scores(leaf, asked, features.rest)
    at = tape.number(scores)
    if at is None:
        nothing = torch.zeros_like(leaf[0])
        return [(nothing, nothing)] * len(targets)
    seeds = torch.eye(len(targets), dtype=scores.dtype, device=scores.device)
    return [(p[0], dual[0]) for p, dual in (excited(tape, at, seed) for seed in seeds)]


def _by_gradient(task: Task, features: Features, targets: Sequence[Target]) -> list[Pair]:
    pairs: list[Pair] = []
    for chunk in engine.chunks(features.A, targets):
        _, gradients = engine.gradients(task, features.A, chunk, features.rest)
        refuse_cut(task, features, chunk, gradients)
        pairs += [(_share(one), _share(-one)) for one in gradients * features.A.to(gradients.dtype)]
    return pairs


def _risen(beneath: Beneath, features: Features, targets: Sequence[Target]) -> list[Pair]:
    """As the task above has it, passed on by the rule to a layer beneath its A."""
    leaf = features.A.detach().clone()
    with torch.inference_mode(False), torch.no_grad(), Tape(leaf) as tape:
        above = beneath.risen(leaf, features.rest)
    at = tape.number(above.A)
    pairs = probabilities(beneath.above, above, targets)
    if at is None:
        return [(torch.zeros_like(leaf[0]), torch.zeros_like(leaf[0]))] * len(targets)
    return [(descended(tape, at, p[None])[0], descended(tape, at, dual[None])[0]) for p, dual in pairs]


def _share(contributions: Tensor) -> Tensor:
    """What speaks for a score, of all that does; 0 where nothing does."""
    wide = torch.promote_types(contributions.dtype, torch.float32)
    speaks = contributions.to(wide).clamp_min(0)
    total = speaks.sum()
    return torch.where(total > 0, speaks / total, 0)


def _attribute(kind: Kind, task: Task, site: Site, targets: Sequence[Target]) -> Attribution:
    def of_row(one: Site, asked: Sequence[Target]) -> Attribution:
        pairs = [kind(p.sum(0), dual.sum(0)) for p, dual in probabilities(task, one.features, asked)]
        signed, opposed = (torch.stack([pair[n] for pair in pairs]) for n in (0, 1))
        return attribution(task, one, asked, signed, opposed)

    return by_rows(site, targets, of_row)


def _excitation(task: Task, site: Site, targets: Sequence[Target]) -> Attribution:
    return _attribute(lambda p, dual: (p, dual), task, site, targets)


def _contrast(task: Task, site: Site, targets: Sequence[Target]) -> Attribution:
    return _attribute(lambda p, dual: (p - dual, dual - p), task, site, targets)


EXCITATION = Method(
    "excitation",
    "1608.00507",
    "where the units are that excite the score's unit, layer by layer (the logit's: it knows no softmax)",
    _excitation,
    unit="probability of winning",
    sentence="Regions whose features, by excitation,",
    gradient=False,
)
C_MWP = Method(
    "c-mwp",
    "1608.00507",
    "excitation of the score's unit less that of its dual, the unit with negated weights",
    _contrast,
    unit="difference of probabilities of winning",
    sentence="Regions whose features, by contrastive excitation,",
    linear=True,
    gradient=False,
)
EXCITATION_METHODS = (EXCITATION, C_MWP)
