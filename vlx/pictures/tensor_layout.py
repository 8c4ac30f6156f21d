"""How a tensor that holds a feature map is laid out, and how it is made [B, K, h, w] and back: `Layout`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vlx.errors import ModelError


@dataclass(frozen=True)
class Layout:
    """Where a tensor has its batch, its units and its places, and how it is made [B, K, h, w] and back.

    ``places`` are the vertical and the horizontal dimension, or the one that holds h · w cells as tokens, row by row
    or, with ``columns``, column by column; ``before`` and ``after`` count tokens around them that are no cells.
    """

    shape: tuple[int, int]
    batch: int = 0
    units: int = 1
    places: tuple[int, ...] = (2, 3)
    before: int = 0
    after: int = 0
    columns: bool = False

    @property
    def plain(self) -> bool:
        """Whether it is [B, K, h, w] already."""
        return (self.batch, self.units, *self.places) == (0, 1, 2, 3)

    @property
    def others(self) -> int:
        """Tokens that are no cells."""
        return self.before + self.after

    def fits(self, shape: Sequence[int], count: int) -> bool:
        """Whether a tensor of ``shape`` made of ``count`` pictures can be laid out like this."""
        sides = self.shape if len(self.places) == 2 else (self.others + math.prod(self.shape),)
        if len(shape) != 2 + len(self.places) or shape[self.batch] != count:
            return False
        return tuple(shape[dim] for dim in self.places) == sides

    def split(self, tensor: Tensor) -> tuple[Tensor, Tensor | None]:
        """A tensor in this layout → A [B, K, h, w], and its tokens that are no cells, [B, T, K], if there are any."""
        if self.plain:
            return tensor, None
        moved = tensor.permute(self.batch, self.units, *self.places)
        if len(self.places) == 2:
            return moved.contiguous(), None
        stop = self.before + math.prod(self.shape)
        cells, others = moved[..., self.before : stop], torch.cat([moved[..., : self.before], moved[..., stop:]], -1)
        h, w = self.shape
        A = cells.reshape(*cells.shape[:2], w, h).mT if self.columns else cells.reshape(*cells.shape[:2], h, w)
        return A.contiguous(), others.transpose(1, 2) if self.others else None

    def join(self, A: Tensor, others: Tensor | None = None) -> Tensor:
        """A [M, K, h, w] and the other tokens [1 or M, T, K] → the tensor in this layout: `split` backwards."""
        if self.plain:
            return A
        moved = A
        if len(self.places) == 1:
            cells = (A.mT if self.columns else A).flatten(2)
            moved = torch.cat([*self._around(A, others, 0), cells, *self._around(A, others, 1)], 2)
        order = [self.batch, self.units, *self.places]
        return moved.permute([order.index(dim) for dim in range(len(order))]).contiguous()

    def told(self) -> str:
        """In words, for the reader."""
        letters = dict(
            zip((self.batch, self.units, *self.places), "BKhw" if len(self.places) == 2 else "BKN", strict=True)
        )
        text = f"[{', '.join(letters[dim] for dim in sorted(letters))}]"
        if len(self.places) == 2:
            return text
        h, w = self.shape
        sides = [(self.before, "before"), (self.after, "after")]
        around = " and ".join(f"{n} token{'s' * (n > 1)} {side}" for n, side in sides if n)
        return (
            f"{text} with N = {h} × {w} cells{', column by column' * self.columns}{f', {around} them' * bool(around)}"
        )

    def _around(self, A: Tensor, others: Tensor | None, side: int) -> list[Tensor]:
        if not self.others:
            return []
        if others is None:
            raise ModelError("scores needs the `rest` of its features: the tokens that are no cells")
        tokens = others.to(A).transpose(1, 2).expand(len(A), -1, -1)
        return [tokens[..., self.before :] if side else tokens[..., : self.before]]
