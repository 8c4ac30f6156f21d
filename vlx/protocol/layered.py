"""Tasks that can be split at another layer of their vision part, and those that were.

Both are powers as `vlx.protocol.powers` has them: a task offers them by having these members.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor

from vlx.protocol.task import Features, Task


class Layered(Protocol):
    """Optional: a task that can be split at another layer of its vision part, for ``method="gradcam@layer3"``.

    >>> task.layers()
    {'conv1': (112, 112), 'layer1': (56, 56), 'layer2': (28, 28), 'layer3': (14, 14), 'layer4': (7, 7)}
    >>> task.at("layer3").features(inputs).A.shape
    torch.Size([1, 1024, 14, 14])
    """

    def layers(self) -> Mapping[str, tuple[int, int]]:
        """The layers that give a feature map up to A, with the cells (h, w) of each, in the order in which they end."""
        ...

    def at(self, layer: str) -> Task:
        """The same model split at that layer, the same task each time. Raises ModelError for a layer that is no map."""
        ...


class Beneath(Protocol):
    """Optional: a task split beneath the A of another one, which is ``above``; its head is that task's.

    >>> beneath.risen(features.A, features.rest).A.shape  # A of the task above, of A of this one
    torch.Size([1, 256, 16, 16])
    """

    above: Task

    def risen(self, A: Tensor, rest: Any = None) -> Features:
        """A [M, K, h, w] of this task → the features of the task above, differentiable, by vision layers alone."""
        ...
