"""Maps with a cell for each pixel: the gradient of a score at the picture, by a ReLU rule, and Guided Grad-CAM.

Each map is the L1 norm over the channels: how far a pixel moves the score, not whether up or down. What comes in at A
is the target's true gradient, of a classifier the head's by the rule (see `vlx.methods.pixels`); what of the picture
passes A by (class tokens, skip connections) is left as it was.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from vlx.errors import InputError
from vlx.methods import dependence, engine
from vlx.methods.cams import gradcam, importance_weights
from vlx.methods.engine import Attribution
from vlx.methods.method import Method, Site, by_rows
from vlx.methods.pixels import PixelGradients, pixel_gradients, top_gradients, up
from vlx.methods.relu_rules import Rule
from vlx.pictures.placement import Grid
from vlx.protocol.powers import Sees, lacking, powers_of
from vlx.protocol.targets import Target
from vlx.protocol.task import Task

CAUTION = "such maps hardly react to the weights of the upper layers (arXiv 1810.03292)"


def pixels(site: Site) -> Grid:
    """The grid of the prepared pictures' pixels. Raises InputError for a site without pictures."""
    if site.inputs is None:
        raise InputError("maps in pixels are of the prepared pictures, and none is at this site; give its inputs")
    return Grid.of_pixels((site.inputs.shape[2], site.inputs.shape[3]))


def can_see(task: Task) -> bool:
    """Whether a task's vision part has a graph back to the picture, and its targets are read where that ends."""
    powers = powers_of(task)
    return powers.sees is not None and powers.meets is None


def seeing(task: Task, method: str) -> Sees:
    """The task, which must have pixels. Raises InputError naming the method and what the task lacks."""
    powers = powers_of(task)
    if powers.sees is None:
        raise InputError(
            f"{task.name} has {lacking(task, Sees.see)}, which {method} needs for a gradient in pixels; take gradcam "
            "or occlusion"
        )
    if powers.meets is not None:
        raise InputError(
            f"{task.name} mixes text and picture before the map that it is explained at, so that {method} has no way "
            "back to the pixels; take occlusion"
        )
    return powers.sees


def unsigned(scores: Tensor, weights: Tensor, maps: Tensor, depends: Tensor, notes: tuple[str, ...]) -> Attribution:
    """The attribution of targets whose maps [N, H, W] have no sign: nothing in them speaks against a score."""
    return Attribution(scores, weights, maps, torch.zeros_like(maps), depends, notes)


@dataclass(frozen=True, eq=False)
class Carried:
    """N targets of one picture, carried to its pixels: ``scores`` [N], true gradients ``G`` [N, K, h, w] at A, and
    what a rule makes of them at the picture.
    """

    scores: Tensor
    G: Tensor
    pixels: PixelGradients

    @property
    def norms(self) -> Tensor:
        """The L1 norm over the channels of each pixel's gradient, [N, H, W]."""
        return self.pixels.values.abs().sum(1)


def carry(task: Task, site: Site, targets: Sequence[Target], rule: Rule, method: str) -> Carried:
    """Carry N targets at the one row of a site to its picture, by a rule. Raises as `seeing`, and NoGradient."""
    sees, features = seeing(task, method), site.features
    picture = site.prepared(0, method)
    scores, G = engine.gradients(task, features.A, targets, features.rest)
    dependence.refuse_cut(task, features, targets, G)
    powers = powers_of(task)
    ruled = rule != "gradient" and (powers.head_is_vision or powers.beneath is not None)
    above = top_gradients(task, features.A, targets, features.rest, rule) if ruled else G
    return Carried(scores, G, pixel_gradients(sees, task.place(picture[None]), above, rule))


def _attribute(
    rule: Rule, localized: bool, name: str, task: Task, site: Site, targets: Sequence[Target]
) -> Attribution:
    def explain(one: Site, own: Sequence[Target]) -> Attribution:
        chunks = engine.chunks(one.features.A, own)
        return engine.together([_explained(rule, localized, name, task, one, chunk) for chunk in chunks])

    return by_rows(site, targets, explain)


def _explained(
    rule: Rule, localized: bool, name: str, task: Task, site: Site, targets: Sequence[Target]
) -> Attribution:
    found, features = carry(task, site, targets, rule, name), site.features
    maps = found.norms
    if localized:
        maps = maps * up(features.grid.fold(gradcam(features.A, found.G)), features.grid).to(maps)
    depends = found.G.flatten(1).any(1)
    return unsigned(found.scores, importance_weights(found.G), maps, depends, found.pixels.notes)


def _method(name: str, paper: str, summary: str, sentence: str, rule: Rule, *, localized: bool = False) -> Method:
    evidence = rule == "gradient"
    return Method(
        name,
        paper,
        summary,
        partial(_attribute, rule, localized, name),
        grid=pixels,
        unit="{score} per unit of prepared colour" + " × Grad-CAM" * localized,
        sentence=sentence,
        noun="pixels",
        signed=False,
        evidence=evidence,
        caution="" if evidence else CAUTION,
        gradient=False,
        suits=can_see,
    )


GRADIENT = _method(
    "gradient",
    "1312.6034",
    "how far a small change of a pixel moves the score",
    "Pixels that, changed a little,",
    "gradient",
)
DECONVOLUTION = _method(
    "deconvolution",
    "1311.2901",
    "the gradient at the picture, of which ReLUs pass what is above 0",
    "Pixels that, by deconvolution,",
    "deconvolution",
)
GUIDED = _method(
    "guided",
    "1412.6806",
    "the gradient at the picture, of which active ReLUs pass what is above 0",
    "Pixels that, by guided backpropagation,",
    "guided",
)
GUIDED_GRADCAM = _method(
    "guided-gradcam",
    "1610.02391",
    "guided backpropagation where Grad-CAM is above 0",
    "Pixels that, by guided backpropagation within the Grad-CAM map,",
    "guided",
    localized=True,
)
DECONVOLUTION_GRADCAM = replace(
    _method(
        "deconvolution-gradcam",
        "1610.02391",
        "deconvolution where Grad-CAM is above 0: what the paper's human studies showed beside Guided Grad-CAM",
        "Pixels that, by deconvolution within the Grad-CAM map,",
        "deconvolution",
        localized=True,
    ),
    listed=False,
)
PIXEL_METHODS = (GRADIENT, DECONVOLUTION, GUIDED, GUIDED_GRADCAM, DECONVOLUTION_GRADCAM)
