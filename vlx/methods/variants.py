"""Grad-CAM as its authors tried it and left it: the ablations of the paper (arXiv 1610.02391, section 8.7, appendix).

They are known by name, stand in no list of methods, and are no default of anything. Their maps are compared with
Grad-CAM's, which also says what speaks against a score.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from torch import Tensor

from vlx.methods import dependence, engine
from vlx.methods.cams import Weighting, gradcam, importance_weights, weighted
from vlx.methods.engine import Attribution
from vlx.methods.method import Method, Site, by_rows, cam
from vlx.methods.pixels import ruled_gradients
from vlx.methods.relu_rules import Rule
from vlx.protocol.targets import Target
from vlx.protocol.task import Features, Task

PAPER = "1610.02391"
NO_RELU = "no ReLU stands between A and the score: {name} equals gradcam"


def norelu(A: Tensor, G: Tensor) -> Tensor:
    """|S| of Grad-CAM's S: without the final ReLU, what speaks against the score counts as what speaks for it."""
    return gradcam(A, G).abs()


def norelu_shifted(A: Tensor, G: Tensor) -> Tensor:
    """S − min S of Grad-CAM's S: without the final ReLU, the least cell is 0."""
    signed = gradcam(A, G)
    return signed - signed.amin((1, 2), keepdim=True)


def absolute(A: Tensor, G: Tensor) -> Tensor:
    """S = Σ_k α_k A_k with α_k the mean of |G_k|: absolute gradients averaged."""
    return weighted(importance_weights(G.abs()), A)


def maximum(A: Tensor, G: Tensor) -> Tensor:
    """S = Σ_k α_k A_k with α_k the largest of G_k: the maximum over the cells instead of the mean."""
    return weighted(G.amax((2, 3)), A)


def _ruled(rule: Rule, name: str, task: Task, site: Site, targets: Sequence[Target]) -> Attribution:
    def explain(one: Site, own: Sequence[Target]) -> Attribution:
        chunks = engine.chunks(one.features.A, own)
        return engine.together([_by_ruled(rule, name, task, one.features, chunk) for chunk in chunks])

    return by_rows(site, targets, explain)


def _by_ruled(rule: Rule, name: str, task: Task, features: Features, targets: Sequence[Target]) -> Attribution:
    A, rest = features.A, features.rest
    scores, G = engine.gradients(task, A, targets, rest)
    dependence.refuse_cut(task, features, targets, G)
    ruled, met = ruled_gradients(task, A, targets, rest, rule)
    notes = () if met else (NO_RELU.format(name=name),)
    depends = G.flatten(1).any(1)
    return Attribution(scores, importance_weights(G), gradcam(A, ruled), -gradcam(A, G), depends, notes)


def _by_rule(rule: Rule, name: str, what: str) -> Method:
    return Method(
        name, PAPER, f"Grad-CAM with {what} from the score down to A", partial(_ruled, rule, name), against="gradcam"
    )


_MADE = (
    cam(Weighting("gradcam-norelu", norelu, False, PAPER, "Grad-CAM without its ReLU: absolute values", "gradcam")),
    cam(
        Weighting(
            "gradcam-norelu-shifted",
            norelu_shifted,
            False,
            PAPER,
            "Grad-CAM without its ReLU: from the least cell up",
            "gradcam",
        )
    ),
    cam(Weighting("gradcam-abs", absolute, False, PAPER, "units weighted by their mean absolute gradient", "gradcam")),
    cam(Weighting("gradcam-max", maximum, False, PAPER, "units weighted by their largest gradient", "gradcam")),
    _by_rule("guided", "gradcam-guided", "guided ReLUs"),
    _by_rule("deconvolution", "gradcam-deconvolution", "ReLUs as in deconvolution nets"),
)
VARIANTS = tuple(replace(method, listed=False) for method in _MADE)
