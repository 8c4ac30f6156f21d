"""The Task protocol: a model split at its feature map A, and every question about it a batch of rows.

Three functions are the whole interface: ``features`` (pictures → A), ``predict`` (A → what the model says) and
``scores`` (rows of (A, target) → one differentiable scalar each). What is asked of the model is a `Target`: a weighted
sum of scores of vocabulary entries at decoding steps. That covers a word (one term), a caption (one term a word), an
answer or a class (one term at step 0) and "why a, not b" (a term of weight −1 for b).
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from PIL import Image
from torch import Tensor

from vlx.pictures.placement import Grid
from vlx.protocol.nested import nested
from vlx.protocol.targets import GradientWay, Prediction, Query, Target, TargetKind, stated


@dataclass(frozen=True, eq=False)
class Features:
    """What the vision part hands on: feature maps by layer, each [B, K, h, w], and their geometry.

    ``rest`` is what is not a map (class tokens, patch indices): nested tensors whose first dimension is B. ``notes``
    are for the reader. Tokens of several crops are a strip [B, K, 1, T], whose grid is a `vlx.pictures.mosaic.Mosaic`.
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

    @property
    def cells(self) -> Tensor:
        """A on the cells of its grid, [B, K, h, w]; of tokens of several crops the mean of those that show a cell."""
        return self.grid.average(self.A)

    def rows(self, numbers: Sequence[int]) -> "Features":
        """The features of some of the B pictures, by number and in that order; one alone is a view of it.

        >>> features.rows([2]).A.shape
        torch.Size([1, 256, 12, 12])
        """
        index = slice(numbers[0], numbers[0] + 1) if len(numbers) == 1 else list(numbers)
        maps = {layer: A[index] for layer, A in self.maps.items()}
        return replace(self, maps=maps, rest=nested(lambda tensor: tensor[index], self.rest))


@dataclass(frozen=True)
class Defaults:
    """How an adapter is explained unless the user says otherwise; ``measured``: chosen so on that very model."""

    method: str = "layercam"
    target: TargetKind = "logprob"
    gradients: GradientWay = "batched"
    measured: bool = False


class Task(Protocol):
    """A model split at its feature map A. Writing these members is all it takes to be explained.

    ``kind`` is "captioning", "vqa" or "classification", a label for people; what is asked of a prediction the
    prediction says (see `Prediction`). ``notes`` are shown with every explanation.
    """

    name: str
    kind: str
    defaults: Defaults
    notes: tuple[str, ...]

    @property
    def blank(self) -> tuple[float, float, float]:
        """RGB in [0, 1] of a picture that shows nothing, by custom the mean training colour: ``(0.5, 0.5, 0.5)``."""
        ...

    @property
    def prepare(self) -> Callable[[Image.Image], Tensor]:
        """PIL RGB → [C, H, W]; never called from inside the model.

        >>> task.prepare(Image.open("photo.jpg").convert("RGB")).shape
        torch.Size([3, 224, 224])
        """
        ...

    def place(self, inputs: Tensor) -> Tensor:
        """Move prepared pictures [B, C, H, W] to the model's device and dtype.

        >>> inputs = task.place(task.prepare(image)[None])  # [1, 3, 224, 224]
        """
        ...

    def version(self) -> Hashable:
        """Something that changes when the weights do; what is kept for the model depends on it.

        >>> tuple((weights.data_ptr(), weights._version) for weights in self.net.parameters())
        """
        ...

    def features(self, inputs: Tensor) -> Features:
        """Pictures [B, C, H, W] → A and its geometry, in one run of the vision part, without a graph.

        >>> task.features(inputs).A.shape, task.features(inputs).grid.shape
        (torch.Size([1, 512, 7, 7]), (7, 7))
        """
        ...

    def predict(self, features: Features, queries: Sequence[Query]) -> list[Prediction]:
        """What the model says of each of the B pictures, without a graph.

        >>> task.predict(features, [Query()])[0].words[0]
        Word(label='dog', terms=(Term(step=0, token=6, weight=1.0),), logprob=-0.21, …)
        """
        ...

    def scores(self, A: Tensor, targets: Sequence[Target], rest: Any = None) -> Tensor:
        """A [M, K, h, w] and N targets, each naming its row of A → [N], differentiable in A.

        >>> task.scores(features.A, [Target(0, "dog", (Term(0, 6),)), Target(0, "cat", (Term(0, 9),))])
        tensor([-0.21, -3.40], grad_fn=…)
        """
        ...


def predict(task: Task, features: Features, queries: Sequence[Query]) -> list[Prediction]:
    """What ``task`` says of each of the B pictures, with all facts about it said; see `vlx.protocol.targets.stated`.

    >>> predict(vlx.load("scenes/captioner"), features, [Query()])[0].whole
    True
    """
    return [stated(prediction, task.kind) for prediction in task.predict(features, queries)]
