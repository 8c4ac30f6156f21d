"""`Signal`: a one-dimensional CNN on signals [B, C, L], explained by a map over positions."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from vlx.errors import InputError
from vlx.pictures.receptive_fields import Given, Tracer
from vlx.tasks.beyond.unfolded import Line
from vlx.tasks.classification.classifier import Classifier

BAND, SIDE = 8, 4  # pixels: rows for a channel, columns for a position
TOP_TO_BOTTOM = np.array([1 / 16, 1 / 2, 15 / 16])  # of a band: so that no side of it is left unread


class Signal(Classifier):
    """A 1-D CNN on signals [B, C, L], split at ``layer``, whose map is [B, K, n]; its heat map lies on L positions.

    A signal is one picture, four pixels wide for each position, its channels under one another, black at the lower end
    of ``span`` and white at the upper: it is read in 256 steps. `vlx.report.along` draws the map over the signal.
    ``channels``: C. ``call(model, signals)``, and other options, as of `Classifier`.

    >>> task = Signal(net, "conv3", ["normal", "ectopic"], span=(-2, 2))
    >>> why = vlx.explain(task, task.picture(ecg))  # ecg: numbers [L] or [C, L]
    """

    ranks = (3,)

    def __init__(
        self, model: nn.Module, layer: str, labels: Sequence[str] | None = None,
        *, span: tuple[float, float], channels: int = 1, call: Any = None, **options: Any,
    ) -> None:  # fmt: skip
        if not span[0] < span[1]:
            raise InputError(f"span={span} must be the lowest and the highest value of signals, e.g. (-1, 1)")
        self.low, self.high, self.channels, self._signals = float(span[0]), float(span[1]), channels, call
        grey = min(max(-self.low / (self.high - self.low), 0.0), 1.0)
        step = f"the signal is read in steps of {(self.high - self.low) / 255:.2g}, from {self.low:g} to {self.high:g}"
        more = {"blank": (grey, grey, grey), **options, "notes": (*options.get("notes", ()), step)}
        super().__init__(model, layer, labels, self._line, call=self._run, **more)

    def picture(self, signal: Any) -> Image.Image:
        """A signal [L] or [C, L] as one picture. Raises InputError for other shapes, and values outside of the span."""
        values = np.atleast_2d(np.asarray(signal.detach().cpu() if isinstance(signal, Tensor) else signal, float))
        if values.shape[0] != self.channels or values.ndim != 2 or values.shape[1] < BAND // SIDE:
            raise InputError(f"a signal is [{self.channels}, L] with L of 2 or more, got {list(values.shape)}")
        if not (values.min() >= self.low and values.max() <= self.high):
            raise InputError(f"the signal goes from {values.min():.4g} to {values.max():.4g}; give a span around it")
        levels = np.rint((values - self.low) / (self.high - self.low) * 255).astype(np.uint8)
        return Image.fromarray(levels.repeat(BAND, 0).repeat(SIDE, 1)).convert("RGB")

    def _line(self, image: Image.Image) -> Tensor:
        """A picture → [C, 1, L]: of each channel's band the mean of red at its top, green in it, blue at its bottom."""
        rows = (np.arange(self.channels)[:, None] + TOP_TO_BOTTOM) * image.height / self.channels
        levels = np.asarray(image)[rows.astype(int), SIDE // 2 :: SIDE]  # [C, 3, L, 3]
        mean = torch.from_numpy(np.einsum("ctlt->cl", levels.astype(np.float32)) / 3)
        return (self.low + mean / 255 * (self.high - self.low))[:, None]

    def _run(self, model: nn.Module, lines: Tensor) -> Any:
        return model(lines[:, :, 0]) if self._signals is None else self._signals(model, lines[:, :, 0])

    def _laying(self, given: Given) -> Tracer:
        return Line(self.model)
