"""`Words`: a one-dimensional CNN on words [B, L], explained by a map over them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from vlx.errors import InputError, ModelError
from vlx.pictures.receptive_fields import Given, Tracer
from vlx.tasks.beyond.unfolded import Line
from vlx.tasks.classification.classifier import Classifier

SIDE = 8  # pixels of a word
DIGITS = np.array([1, 251, 251**2])  # red, green and blue of its number


class Words(Classifier):
    """A CNN on token numbers [B, L], embedding and 1-D convolutions, split at ``layer``, whose map is [B, K, n].

    A text is one picture, a square of colour for each token: its number, red the lowest of three digits. Every colour
    is a word (numbers wrap round at ``size``, the vocabulary's), so that references made of a text are texts: its words
    shuffled, and others. `vlx.report.along` draws the map on the words. ``call(model, tokens)``, and other options,
    as of `Classifier`.

    >>> task = Words(net, "conv", ["good", "bad"], size=len(vocabulary))
    >>> why = vlx.explain(task, task.picture(tokens))
    """

    ranks = (3,)

    def __init__(
        self, model: nn.Module, layer: str, labels: Sequence[str] | None = None,
        *, size: int, pad: int = 0, call: Any = None, **options: Any,
    ) -> None:  # fmt: skip
        self.size, self._texts = size, call
        red, green, blue = (float(part) / 255 for part in _colours([pad])[0])
        more = {"blank": (red, green, blue), **options}
        super().__init__(model, layer, labels, self._line, call=self._run, **more)

    def picture(self, tokens: Any) -> Image.Image:
        """A text, the numbers of its tokens [L], as one picture. Raises InputError for numbers that are no token's."""
        numbers = np.asarray(tokens)
        if numbers.ndim != 1 or numbers.dtype.kind not in "iu" or not len(numbers):
            raise InputError(f"a text is the numbers of its tokens [L], got {numbers.dtype} {list(numbers.shape)}")
        if numbers.min() < 0 or numbers.max() >= self.size:
            raise InputError(f"tokens are numbered 0 to {self.size - 1}, got {numbers.min()} to {numbers.max()}")
        return Image.fromarray(_colours(numbers)[None].repeat(SIDE, 0).repeat(SIDE, 1))

    def place(self, inputs: Tensor) -> Tensor:
        """To the model's device; numbers keep their precision."""
        return inputs.to(super().place(inputs[:0]).device)

    def see(self, inputs: Tensor) -> Tensor:
        """As a classifier's. Raises ModelError for gradients in the numbers of tokens: these are no quantities."""
        if inputs.requires_grad and torch.is_grad_enabled():
            raise ModelError("a text has no gradients in pixels; leave guided out, and choose a method at A")
        return super().see(inputs)

    def _line(self, image: Image.Image) -> Tensor:
        """A picture → the numbers that its colours are, [1, 1, L]."""
        rows = (np.array([1 / 16, 15 / 16, 1 / 2]) * image.height).astype(int)  # no side is left unread
        parts = np.asarray(image)[rows, SIDE // 2 :: SIDE].astype(np.float32)  # [3, L, 3]
        return torch.from_numpy(np.einsum("tlt,t->l", parts, DIGITS.astype(np.float32)))[None, None]

    def _run(self, model: nn.Module, lines: Tensor) -> Any:
        tokens = lines[:, 0, 0].round().long() % self.size
        return model(tokens) if self._texts is None else self._texts(model, tokens)

    def _laying(self, given: Given) -> Tracer:
        return Line(self.model)


def _colours(numbers: Any) -> Any:
    """Numbers [L] as red, green and blue, uint8 [L, 3]."""
    return (np.asarray(numbers)[:, None] // DIGITS % 251).astype(np.uint8)
