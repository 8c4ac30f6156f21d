"""The vision half of adapters for transformers: a tower's tokens as a feature map on the grid of their patches."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from vlx.errors import ImageError, ModelError
from vlx.pictures.placement import Grid
from vlx.protocol.targets import Query
from vlx.protocol.task import Features
from vlx.tasks.huggingface import stock
from vlx.tasks.huggingface.twin import GivenTokens, Twin
from vlx.tasks.shared.networks import Networks

PATCHES = "patches"


class TransformerTask(Networks):
    """What all adapters for transformers have: the model, its image processor and tokenizer, and the user's picture.

    Raises ModelError for a tokenizer with more tokens than the model.
    """

    def __init__(
        self,
        model: nn.Module,
        processor: Any,
        tokenizer: Any,
        *,
        name: str,
        revision: str | None = None,
        notes: Sequence[str] = (),
        prepare: Callable[[Image.Image], Tensor] | None = None,
        blank: tuple[float, float, float] | None = None,
    ) -> None:
        prepare = prepare or partial(prepared, processor)  # holds no task: what was measured of it is kept by it
        super().__init__("model", prepare=prepare, name=name, blank=blank, notes=notes)
        self.model, self.processor, self.tokenizer, self.revision = model, processor, tokenizer, revision

    def given(self, image: Image.Image, query: Query) -> dict[str, Tensor]:
        """What the untouched model takes: all that its processor and tokenizer make of a picture and a text."""
        return stock.given(self.model, self.vision(), self.processor, self.tokenizer, image, query.text)


class TransformerVision(TransformerTask):
    """A task split behind its vision tower: A = the tower's last tokens without its first ``prefix``, [B, D, h, w].

    ``tower`` is the tower's name in the model. ``rest`` holds the tokens that are no cells (a class token). ``eager``:
    see `Twin`.
    """

    def __init__(
        self,
        model: nn.Module,
        processor: Any,
        tokenizer: Any,
        *,
        tower: str,
        prefix: int,
        name: str,
        revision: str | None = None,
        notes: Sequence[str] = (),
        eager: str | None = None,
    ) -> None:
        super().__init__(model, processor, tokenizer, name=name, revision=revision, notes=notes)
        self.layer, self.prefix = tower, prefix
        self.besides = besides_of(prefix)
        self.twin = Twin(model, {tower: GivenTokens(self._tower.config)}, eager=eager)
        self._whole = Twin(model, {})

    def vision(self) -> Sequence[nn.Module]:
        """The tower."""
        return [self._tower]

    def features(self, inputs: Tensor) -> Features:
        """Pictures [B, 3, H, W] → A [B, D, h, w], its geometry and the tokens that are no cells, without a graph.

        Raises ModelError in training mode, for tokens that make no grid, and for NaN.
        """
        self.refuse_training()
        with torch.inference_mode(False), torch.no_grad():
            tokens = self._tower(unbound(inputs)).last_hidden_state
        check_features(tokens, self.name, self.layer)
        A, others = self._split(tokens, inputs)
        size = (inputs.shape[-2], inputs.shape[-1])
        grid = Grid.half_pixel((A.shape[-2], A.shape[-1]), size, PATCHES)
        return Features({self.layer: A}, self.layer, grid, {"others": others})

    def see(self, inputs: Tensor) -> Tensor:
        """Pictures [B, 3, H, W] → A as `features` gives it, with a graph where gradients are on (`Sees`)."""
        self.refuse_training()
        return self._split(self._tower(inputs).last_hidden_state, inputs)[0]

    def shallow(self, inputs: Tensor) -> Tensor:
        """Pictures → the tokens of the earliest block with as many as A, arranged as A is; see `Shallow`."""
        with torch.no_grad():
            tower = self._whole().get_submodule(self.layer)  # transformers leaves hooks where it is asked for more
            output = tower(unbound(inputs), output_hidden_states=True)
        count = output.last_hidden_state.shape[1]
        early = next(tokens for tokens in output.hidden_states[1:] if tokens.shape[1] == count)
        return self._split(early, inputs)[0]

    def hidden(self, A: Tensor, rest: Any) -> Tensor:
        """A [M, D, h, w] and the other tokens → the tower's tokens [M, T, D], differentiable in A."""
        return with_others(A, rest, self.name)

    def cells(self, A: Tensor, first: int) -> Tensor:
        """The numbers [h, w] of A's cells among tokens whose first cell is number ``first``."""
        h, w = A.shape[-2:]
        return first + torch.arange(h * w, device=A.device).view(h, w)

    @property
    def _tower(self) -> Any:
        return self.model.get_submodule(self.layer)

    def _split(self, tokens: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens [B, T, D] → cells [B, D, h, w] and the others [B, prefix, D]."""
        others, cells = tokens[:, : self.prefix], tokens[:, self.prefix :]
        h, w = grid_shape(cells.shape[1], (inputs.shape[-2], inputs.shape[-1]), self.name)
        return cells.transpose(1, 2).reshape(len(cells), -1, h, w), others


def prepared(processor: Any, image: Image.Image) -> Tensor:
    """A PIL RGB picture as the processor makes it, [3, H, W]. Raises ImageError where it cannot."""
    try:
        pixels: Tensor = processor(images=image, return_tensors="pt")["pixel_values"][0]
    except (ValueError, RuntimeError, ZeroDivisionError) as error:
        raise ImageError(
            f"a picture of {image.width} × {image.height} pixels cannot be prepared by {type(processor).__name__} "
            f"({error}); cut it to a less extreme shape"
        ) from None
    return pixels


def unbound(inputs: Tensor) -> Tensor:
    """The pictures, free of ``torch.inference_mode``."""
    return inputs.clone() if inputs.is_inference() else inputs


def besides_of(prefix: int) -> dict[str, str]:
    """What of `Features.rest` a text reads of a tower whose first ``prefix`` tokens are no cells; see `Besides`."""
    return {"others": "the class token" if prefix == 1 else "the class tokens"} if prefix else {}


def with_others(A: Tensor, rest: Any, name: str) -> Tensor:
    """A [M, D, h, w] and the tokens that are no cells, of `Features.rest` → all of a tower's tokens [M, T, D].

    Raises ModelError without them.
    """
    if not isinstance(rest, dict) or "others" not in rest:
        raise ModelError(f"{name}: scores needs the `rest` of its features: the tokens that are no cells")
    others = rest["others"].to(A)
    others = others.expand(len(A), -1, -1) if len(others) == 1 else others
    return torch.cat([others, A.flatten(2).transpose(1, 2)], 1)


def check_features(features: Tensor, name: str, layer: str) -> None:
    """Raises ModelError for features that hold NaN or infinite numbers."""
    if not torch.isfinite(features).all():
        raise ModelError(f"{name}: {layer} gives NaN or infinite features; check its weights and dtype")


def grid_shape(cells: int, size: tuple[int, int], name: str) -> tuple[int, int]:
    """(h, w) of a grid of square cells that tiles a picture of ``size`` (H, W). Raises ModelError."""
    shapes = [(h, cells // h) for h in range(1, cells + 1) if cells % h == 0]
    h, w = min(shapes, key=lambda shape: abs(shape[0] * size[1] - shape[1] * size[0]))
    if size[0] * w != size[1] * h:
        raise ModelError(f"{name}: {cells} tokens make no grid of square cells on a picture of {size[0]} × {size[1]}")
    return h, w
