"""From a feature map A [N, K, h, w] and its gradient G [N, K, h, w] to a signed map S [N, h, w], one function a method.

All are pure. A may have one row for all N gradients (or be expanded from one); it is then not copied. Halves are
computed in float32. Nothing is rectified or normalised: S keeps its sign and its unit, score per cell.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from vlx.errors import InputError

HALVES = (torch.float16, torch.bfloat16)


def importance_weights(G: Tensor) -> Tensor:
    """α [N, K]: the mean of each unit's gradient over the cells (Grad-CAM, arXiv 1610.02391, eq. 1)."""
    return _exact(G).mean((2, 3))


def gradcam(A: Tensor, G: Tensor) -> Tensor:
    """S = Σ_k α_k A_k with α the `importance_weights` (Grad-CAM, arXiv 1610.02391, eq. 2 before its ReLU)."""
    return weighted(importance_weights(G), A)


def hirescam(A: Tensor, G: Tensor) -> Tensor:
    """S = Σ_k G_k ∘ A_k, cell by cell (HiResCAM, arXiv 2011.08891).

    Exact for nets that end in one linear layer after A: S then sums to the score less its bias.
    """
    return _cellwise(_exact(G), _lean(A))


def gradcampp(A: Tensor, G: Tensor) -> Tensor:
    """S = Σ_k w_k A_k, w_k = Σ_ij a max(G, 0), a = G² / (2 G² + (ΣA_k) G³) (Grad-CAM++, arXiv 1710.11063, eq. 19).

    Cells whose denominator is 0 count nothing. Negative gradients are dropped, so S(−G) is another map, not −S(G).
    """
    A, G = _lean(A), _exact(G)
    rise = G.clamp(min=0)
    below = 2 + A.sum((2, 3), keepdim=True) * rise  # the fraction divided by G²: small gradients do not underflow
    share = torch.where(below == 0, 0, rise / below)
    return weighted(share.sum((2, 3)), A)


def xgradcam(A: Tensor, G: Tensor) -> Tensor:
    """S = Σ_k w_k A_k with w_k = Σ_ij A_k G_k / Σ_ij A_k (XGrad-CAM, arXiv 2008.02312).

    A unit whose activations sum to 0 gets weight 0.
    """
    A, G = _lean(A), _exact(G)
    total = A.sum((2, 3))
    silent = total.abs() <= torch.finfo(A.dtype).eps * A.abs().sum((2, 3))
    products = torch.einsum("nkhw,nkhw->nk", G, A)
    return weighted(torch.where(silent, 0, products / total), A)


def layercam(A: Tensor, G: Tensor) -> Tensor:
    """S = Σ_k max(G_k, 0) ∘ A_k, cell by cell (LayerCAM, doi 10.1109/TIP.2021.3089943).

    Only gradients above 0 count, so S(−G) is another map, not −S(G).
    """
    return _cellwise(_exact(G).clamp(min=0), _lean(A))


@dataclass(frozen=True)
class Weighting:
    """``map(A, G) → S``; ``linear`` says that S(−G) = −S(G). ``paper`` is an arXiv id or a DOI.

    ``against`` names the weighting whose map of the negated score shows what speaks against it: only those linear in
    the gradient have one of their own. `vlx.methods.method.cam` makes a method of it.
    """

    name: str
    map: Callable[[Tensor, Tensor], Tensor]
    linear: bool
    paper: str
    summary: str
    against: str

    def __post_init__(self) -> None:
        if not callable(self.map):
            raise InputError(f"method {self.name!r}: a weighting's map is a function (A, G) → S, got {self.map!r:.60}")

    def maps(self, A: Tensor, G: Tensor) -> Tensor:
        """``map(A, G)``, which must be N maps of A's cells. Raises InputError."""
        return checked_maps(self.name, self.map(A, G), (len(G), *G.shape[2:]))


def checked_maps(name: str, maps: object, shape: tuple[int, ...]) -> Tensor:
    """The maps of the method of that name, where they have this shape and only numbers. Raises InputError."""
    if not isinstance(maps, Tensor):
        raise InputError(f"method {name!r} makes no maps but {type(maps).__name__}; return a tensor [N, h, w]")
    if maps.shape != shape:
        raise InputError(f"method {name!r} makes maps of shape {[*maps.shape]}, not [N, h, w] = {[*shape]}")
    if not maps.isfinite().all():
        raise InputError(f"method {name!r} makes maps with NaN or infinite values; give such cells 0")
    return maps


METHODS = {
    weighting.name: weighting
    for weighting in (
        Weighting("gradcam", gradcam, True, "1610.02391", "units weighted by their mean gradient", "gradcam"),
        Weighting("hirescam", hirescam, True, "2011.08891", "gradient times activation in every cell", "hirescam"),
        Weighting(
            "gradcam++",
            gradcampp,
            False,
            "1710.11063",
            "units weighted by their rising gradients, evened out",
            "gradcam",
        ),
        Weighting(
            "xgradcam",
            xgradcam,
            True,
            "2008.02312",
            "units weighted by their gradient where they are active",
            "xgradcam",
        ),
        Weighting(
            "layercam",
            layercam,
            False,
            "10.1109/TIP.2021.3089943",
            "rising gradient times activation in every cell",
            "hirescam",
        ),
    )
}


def opposed(weighting: Weighting, A: Tensor, G: Tensor) -> Tensor:
    """What speaks against the score, [N, h, w]: −S by ``weighting.against``, its own or that of its linear relative.

    Methods that rectify gradients light the same active cells up for the negated score; what they would call a
    counterfactual is the map again. LayerCAM takes HiResCAM's, Grad-CAM++ Grad-CAM's (Grad-CAM, section 3.3).
    """
    return -METHODS.get(weighting.against, weighting).maps(A, G)


def _exact(values: Tensor) -> Tensor:
    return values.float() if values.dtype in HALVES else values


def _lean(A: Tensor) -> Tensor:
    """A without the copies of an expanded row, at least float32."""
    return _exact(A[:1] if len(A) and A.stride(0) == 0 else A)


def weighted(weights: Tensor, A: Tensor) -> Tensor:
    """Σ_k w_k A_k of weights [N, K] and A of N rows or one, [N, h, w]."""
    return torch.einsum("nk,nkhw->nhw", _exact(weights), _lean(A))


def _cellwise(G: Tensor, A: Tensor) -> Tensor:
    """Σ_k G_k ∘ A_k row by row: less memory than all rows at once, and faster than einsum."""
    return torch.stack([(g * a).sum(0) for g, a in zip(G, A.expand_as(G), strict=True)])
