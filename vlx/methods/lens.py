"""The logit lens: which word a model would go on with at each place of the picture. A readout, not an attribution.

The model's own last layer turns the hidden states at the picture's positions into logits; a map is the logit of the
explained word there (Neo et al. 2410.07149, section 4). What speaks there may never reach the place where the word is
said, and a model whose text half never was a language model says nothing there (`benchmarks.vlm_maps`). Words before it
leave their trace at the same positions; `lens-context` takes that off (Li et al. 2506.23270, its causal step).
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from vlx.errors import InputError
from vlx.methods import engine
from vlx.methods.engine import Attribution
from vlx.methods.method import Method, Site
from vlx.protocol.powers import powers_of
from vlx.protocol.readout import ReadOut
from vlx.protocol.targets import Target
from vlx.protocol.task import Task

READOUT = "a readout, not an attribution"
CAUTION = "it tells which word the model would go on with at each place, not what the word that it said rests on"


def plain(one: ReadOut) -> Tensor:
    """The logit of the token at each cell, [h, w]."""
    return one.cells


def without_context(one: ReadOut) -> Tensor:
    """The same without what other words of the text leave there, [h, w], none below 0.

    max(L − s C, 0): L the token's logits, C the mean of the context's, weighed by relevance, all of them none below 0,
    and s what fits C to L by least squares (Li et al. 2506.23270).
    """
    cells, relevance = one.cells.clamp(min=0), one.relevance.clamp(min=0)
    if not relevance.any():
        return cells
    context = torch.tensordot(relevance / relevance.sum(), one.context.clamp(min=0), 1)
    scale = (cells * context).sum() / context.square().sum().clamp(min=torch.finfo(context.dtype).tiny)
    left: Tensor = (cells - scale * context).clamp(min=0)
    return left


def _attribute(read: Callable[[ReadOut], Tensor], task: Task, site: Site, targets: Sequence[Target]) -> Attribution:
    reads_out = powers_of(task).reads_out
    if reads_out is None:
        raise InputError(
            f"{task.name} has no words at the places of the picture, which the logit lens reads out; take gradcam, or "
            "occlusion"
        )
    A, rest = site.features.A, site.features.rest
    scores = engine.scores(task, A, targets, rest)
    with torch.inference_mode(False), torch.no_grad():
        made = reads_out.read_out(A, targets, rest)
        maps, plainly = (_maps(one, made, targets) for one in (read, plain))
    unknown = torch.full((len(targets), A.shape[1]), torch.nan, device=A.device)
    return Attribution(scores, unknown, maps, -plainly, torch.ones_like(scores, dtype=torch.bool))


def _maps(read: Callable[[ReadOut], Tensor], made: Sequence[Sequence[ReadOut]], targets: Sequence[Target]) -> Tensor:
    """The targets' maps [N, h, w]: the sum of their terms', each with its weight."""
    return torch.stack(
        [
            torch.stack([term.weight * read(one) for one, term in zip(own, target.terms, strict=True)]).sum(0)
            for own, target in zip(made, targets, strict=True)
        ]
    )


def _suits(task: Task) -> bool:
    return powers_of(task).reads_out is not None


def _method(name: str, paper: str, summary: str, sentence: str, read: Callable[[ReadOut], Tensor]) -> Method:
    return Method(
        name,
        paper,
        summary,
        partial(_attribute, read),
        unit="logit at the cell",
        sentence=sentence,
        noun="places",
        linear=read is plain,
        against="lens",
        evidence=False,
        disclaimer=READOUT,
        caution=CAUTION,
        of_score=False,
        gradient=False,
        suits=_suits,
    )


LENS_METHODS = (
    _method(
        "lens",
        "2410.07149",
        "the word's logit at the picture's own positions, read out there",
        "Places that, read out as if the next word came there,",
        plain,
    ),
    _method(
        "lens-context",
        "2506.23270",
        "the same less what the words before leave there",
        "Places that, read out without the trace of the words before,",
        without_context,
    ),
)
