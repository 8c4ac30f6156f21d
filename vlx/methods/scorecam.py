"""Score-CAM: units weighted by the score of the picture masked by each unit's own map; no gradient is needed."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from vlx.errors import InputError
from vlx.methods.ablation import ABLATION, drops
from vlx.methods.cams import weighted
from vlx.methods.dependence import vary
from vlx.methods.engine import Attribution
from vlx.methods.hiding import scores_of_edits
from vlx.methods.method import Method, Site, attribution, by_rows
from vlx.protocol.targets import Target
from vlx.protocol.task import Task

NAME = "scorecam"


def scorecam(units: int | None = None) -> Method:
    """Score-CAM by all units of A, or by the ``units`` of the highest mean activation: as many runs of the vision part.

    S = Σ_k w_k A_k with w the softmax over k of y(x ∘ m_k) − y(blank), m_k = (up A_k − min) / (max − min) (arXiv
    1910.01279). Up is bilinear with the corners of A on the corners of the picture, as others have it. x is the
    prepared picture: where the mask is 0 it is 0, which is the blank one. A unit that is the same in every cell shows
    nothing: it counts as blank in the softmax and weighs 0. No weight is below 0: what speaks against the score is
    Ablation-CAM's map, negated, of drops as shares of all. Raises InputError for fewer than one unit.

        >>> vlx.explain(task, picture, method=scorecam(units=64))  # by name, later: "scorecam-64"
    """
    if units is not None and (not isinstance(units, int) or units < 1):
        raise InputError(f"units={units!r} of Score-CAM must be a number from 1; leave it out to take them all")
    return Method(
        NAME if units is None else f"{NAME}-{units}",
        "1910.01279",
        "units weighted by the score of what each shows of the picture"
        + (f"; the {units} most active" if units is not None else ""),
        partial(_attribute, units),
        unit="relevance",
        sentence="Regions that, shown alone,",
        noun="regions shown alone",
        against=ABLATION.name,
        gradient=False,
    )


def shown_alone(task: Task, site: Site, targets: Sequence[Target], units: int | None = None) -> Tensor:
    """w [N, K] of a site of one row: the softmax over units of the score of the picture masked by each.

    Units that are left out weigh 0, and all do where no mask moves the score beyond rounding.
    """
    A, picture = site.features.A, site.picture(0, NAME)
    cells = site.features.cells[0].to(torch.promote_types(A.dtype, torch.float32))
    asked = cells.mean((1, 2)).argsort(descending=True, stable=True)[:units]
    lowest, highest = cells[asked].flatten(1).aminmax(dim=1)
    uneven = asked[lowest < highest]

    def masked(rows: slice) -> Tensor:
        masks = _masks(cells[uneven[rows]], (picture.shape[1], picture.shape[2]))
        nothing = masks.new_zeros(rows.stop - rows.start - len(masks), *masks.shape[1:])  # the last of all is blank
        return picture.to(A.device) * torch.cat([masks, nothing])

    scores = scores_of_edits(task, picture, len(uneven) + 1, masked, targets)
    rises = (scores[:-1] - scores[-1:]).to(cells.dtype)
    blank = rises.new_zeros(len(asked) - len(uneven), len(targets))
    weights = cells.new_zeros(len(targets), len(cells))
    weights[:, uneven] = torch.cat([rises, blank]).softmax(0)[: len(uneven)].T * vary(scores, A)[:, None]
    return weights


def _masks(cells: Tensor, size: tuple[int, int]) -> Tensor:
    """The maps of units [R, h, w] as masks of the picture, [R, 1, H, W] from 0 to 1."""
    wide = interpolate(cells[:, None], size, mode="bilinear", align_corners=True)
    lowest, highest = wide.amin((2, 3), keepdim=True), wide.amax((2, 3), keepdim=True)
    return (wide - lowest) / (highest - lowest).clamp_min(torch.finfo(wide.dtype).tiny)


def _of_row(units: int | None, task: Task, site: Site, targets: Sequence[Target]) -> Attribution:
    A, weights, falls = site.features.A, shown_alone(task, site, targets, units), drops(task, site.features, targets)
    shares = falls / falls.abs().sum(1, keepdim=True).clamp_min(torch.finfo(falls.dtype).tiny)
    with torch.autocast(A.device.type, enabled=False):
        maps, known = (weighted(each, A.to(each.dtype)) for each in (weights, shares))
    return attribution(task, site, targets, maps, -known)


def _attribute(units: int | None, task: Task, site: Site, targets: Sequence[Target]) -> Attribution:
    return by_rows(site, targets, partial(_of_row, units, task))


SCORECAM = scorecam()
