"""The Task protocol: a model split at its feature map A, and every question about it a batch of rows.

Three functions are the whole interface: ``features`` (pictures → A), ``predict`` (A → what the model says) and
``scores`` (rows of (A, target) → one differentiable scalar each). What is asked of the model is a `Target`: a weighted
sum of scores of vocabulary entries at decoding steps. That covers a word (one term), a caption (one term a word), an
answer or a class (one term at step 0) and "why a, not b" (a term of weight −1 for b).
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from PIL import Image
from torch import Tensor

from vlx.pictures.placement import Grid
from vlx.protocol.targets import GradientWay, Prediction, Query, Target, TargetKind


@dataclass(frozen=True, eq=False)
class Features:
    """What the vision part hands on: feature maps by layer, each [B, K, h, w], and their geometry.

    ``rest`` is what is not a map (class tokens, patch indices): nested tensors whose first dimension is B. ``notes``
    are for the reader.
    """

    maps: dict[str, Tensor]
    layer: str
    grid: Grid
    rest: Any = None
    notes: tuple[str, ...] = ()

    @property
    def A(self) -> Tensor:
        """The feature map that is explained, [B, K, h, w]."""
        return self.maps[self.layer]


@dataclass(frozen=True)
class Defaults:
    """How an adapter is explained unless the user says otherwise; ``measured``: chosen so on that very model."""

    method: str = "layercam"
    target: TargetKind = "logprob"
    gradients: GradientWay = "batched"
    measured: bool = False


class Task(Protocol):
    """A model split at its feature map A. Writing these members is all it takes to be explained.

    ``kind`` is "captioning", "vqa" or "classification"; ``notes`` are shown with every explanation.
    """

    name: str
    kind: str
    defaults: Defaults
    notes: tuple[str, ...]

    @property
    def blank(self) -> tuple[float, float, float]:
        """RGB in [0, 1] of a picture that shows nothing, by custom the mean training colour."""
        ...

    @property
    def prepare(self) -> Callable[[Image.Image], Tensor]:
        """PIL RGB → [C, H, W]; never called from inside the model."""
        ...

    def place(self, inputs: Tensor) -> Tensor:
        """Move prepared pictures [B, C, H, W] to the model's device and dtype."""
        ...

    def version(self) -> Hashable:
        """Something that changes when the weights do; what is kept for the model depends on it."""
        ...

    def features(self, inputs: Tensor) -> Features:
        """Pictures [B, C, H, W] → A and its geometry, in one run of the vision part, without a graph."""
        ...

    def predict(self, features: Features, queries: Sequence[Query]) -> list[Prediction]:
        """What the model says of each of the B pictures, without a graph."""
        ...

    def scores(self, A: Tensor, targets: Sequence[Target], rest: Any = None) -> Tensor:
        """A [M, K, h, w] and N targets, each naming its row of A → [N], differentiable in A."""
        ...
