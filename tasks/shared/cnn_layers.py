"""A task with a CNN split at a layer inside that CNN, beneath its A: `CnnLayer`."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from vlx.errors import ModelError
from vlx.pictures.receptive_fields import Tracer, Unplaced
from vlx.protocol.targets import Prediction, Query, Target
from vlx.protocol.task import Features
from vlx.tasks.classification.split import Split

OTHERS = "others"  # tokens that are no cells


class CnnLayer:
    """The task ``above``, whose A is what ``cnn`` makes of pictures, split at the submodule ``layer`` of ``network``.

    What comes behind that layer in the CNN runs again for each row; the head is that of the task above (see
    `vlx.protocol.layered.Beneath`). ``call(network, pictures)`` runs the CNN. Raises ModelError for a name that no
    submodule bears, with close ones and those that give a feature map.

    >>> vlx.load("scenes/captioner").at("layers.5").features(inputs).A.shape
    torch.Size([1, 48, 64, 64])
    """

    def __init__(self, above: Any, network: nn.Module, layer: str, call: Callable[[nn.Module, Tensor], Any]) -> None:
        self.above = above  # a `vlx.tasks.shared.cnn_vision.CnnVision`, which is made of this
        self.name, self.notes, self.blank, self.kind = above.name, above.notes, above.blank, above.kind
        self.defaults = replace(above.defaults, gradients="batched")  # its rows are A's, which are large
        self.layer, self.cnn = layer, above.cnn
        self._shapes: dict[int, tuple[int, ...]] = {}  # of what the CNN makes of a picture, by its size
        self._split = Split(network, layer, above.example, call, None, self._flattened)
        self._tracer = Tracer()

    @property
    def prepare(self) -> Callable[[Image.Image], Tensor]:
        """PIL RGB → [C, H, W], as the task above has it."""
        prepare: Callable[[Image.Image], Tensor] = self.above.prepare
        return prepare

    def place(self, inputs: Tensor) -> Tensor:
        """As the task above."""
        placed: Tensor = self.above.place(inputs)
        return placed

    def version(self) -> Hashable:
        """As the task above."""
        version: Hashable = self.above.version()
        return version

    def features(self, inputs: Tensor) -> Features:
        """Pictures [B, C, H, W] → A [B, K, h, w] of the layer and its geometry, in one run of the CNN, without a graph.

        The first time some runs more. Raises ModelError in training mode and for a layer that gives no map.
        """
        self.above.refuse_training()
        made = torch.empty(0)

        def run(pictures: Tensor) -> Tensor:
            nonlocal made
            A, found = self._split.read(pictures)
            if pictures is inputs:  # the tracer may ask about pictures of its own
                made = found
            return A

        with torch.inference_mode(False), torch.no_grad():
            inputs = inputs.detach()
            try:
                laid = self._tracer.lay(run, inputs)
            except Unplaced as error:
                raise self._split.trouble(f"gives {error.told}") from None
            self._split.batch = self._tracer.layout(laid.A).batch
            self._split.settle(inputs, self._tracer.join(laid.A, laid.others), made)
        rest = {"inputs": inputs} if laid.others is None else {"inputs": inputs, OTHERS: laid.others}
        return Features({self.layer: laid.A}, self.layer, laid.grid, rest, laid.notes)

    def see(self, inputs: Tensor) -> Tensor:
        """Pictures [B, C, H, W] → A as `features` gives it, with a graph where gradients are on; see `Sees`."""
        self.above.refuse_training()
        return self._tracer.see(self._split.see, inputs)

    def risen(self, A: Tensor, rest: Any = None) -> Features:
        """A [M, K, h, w] and the rest of `features` → the features of the task above, by the CNN behind the layer."""
        flat = self._split.replay(rest["inputs"], self._tracer.join(A, rest.get(OTHERS)))
        made = flat.view(len(flat), *self._shapes[flat.shape[1]])
        features: Features = self.above.laid(made, rest["inputs"])
        return features

    def predict(self, features: Features, queries: Sequence[Query]) -> list[Prediction]:
        """What the task above says."""
        with torch.no_grad():
            predictions: list[Prediction] = self.above.predict(self.risen(features.A, features.rest), queries)
        return predictions

    def scores(self, A: Tensor, targets: Sequence[Target], rest: Any = None) -> Tensor:
        """A [M, K, h, w] of the layer and N targets → [N], differentiable in A."""
        above = self.risen(A, rest)
        scores: Tensor = self.above.scores(above.A, targets, above.rest)
        return scores

    def _flattened(self, output: Any, rows: int) -> Tensor:
        """What the CNN gives for ``rows`` pictures, a row each."""
        if not isinstance(output, Tensor) or len(output) != rows:
            raise ModelError(
                f"{self.name}: its CNN does not give a row for each picture, so that no other layer of it can be taken"
            )
        flat = output.flatten(1)
        self._shapes[flat.shape[1]] = tuple(output.shape[1:])
        return flat
