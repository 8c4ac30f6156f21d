"""How a picture comes to the vision part of a chat model: whole, as patches in a row, or in several crops.

What is prepared is a picture [3, H, W] in all three cases. Of a model that sees several crops it is the user's own
picture, and the processor belongs to the vision part: what is hidden or painted is so in every crop.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from vlx.errors import ImageError
from vlx.pictures.placement import Grid
from vlx.pictures.prepare import mean_colour
from vlx.tasks.huggingface.vision import PATCHES, grid_shape

Made = dict[str, Tensor]
Process = Callable[[Image.Image], Made]  # all that a processor makes of a picture
Size = tuple[int, int]


class Whole:
    """A model that sees one picture, resized and perhaps cut: [3, H, W] as its processor makes it."""

    sees = True  # A is differentiable in what is prepared

    def __init__(self, process: Process, processor: Any, model: Any) -> None:
        self.process, self.processor, self.model = process, processor, model
        self.prepare: Callable[[Image.Image], Tensor] = partial(_whole, process)

    @property
    def blank(self) -> tuple[float, float, float]:
        """RGB in [0, 1] of a picture that shows nothing: what is turned into zeros."""
        return mean_colour(self.prepare)

    def inputs(self, pictures: Tensor, names: Sequence[str]) -> Iterator[Made]:
        """Pictures [B, 3, H, W] → what the vision part takes of them, by ``names``: of all at once, or of each."""
        others = self.process(_picture_of_size(pictures))
        shape = others["pixel_values"].shape[1:]
        made = {"pixel_values": pictures.reshape(len(pictures), *shape)}
        for name in names:
            if name in others and name not in made:
                made[name] = others[name].repeat(len(pictures), *[1] * (others[name].ndim - 1))
        yield made

    def laid(self, tokens: Tensor, size: Size, name: str) -> Tensor:
        """Tokens [B, T, K] of pictures of a ``size`` (H, W) → A [B, K, h, w]."""
        h, w = grid_shape(tokens.shape[1], size, name)
        return tokens.transpose(1, 2).reshape(len(tokens), -1, h, w)

    def grid(self, A: Tensor, size: Size, counts: Sequence[int]) -> Grid:
        """Where A's cells are on a prepared picture of a ``size`` (H, W); ``counts``: of tokens by crop."""
        return Grid.half_pixel((A.shape[-2], A.shape[-1]), size, PATCHES)

    def beside(self, A: Tensor) -> Made:
        """What the text takes of the picture beside its tokens, for one row of A."""
        return {}


class Packed(Whole):
    """A model that takes the patches of one picture as a list, those of a merged cell together: Qwen-VL, GLM-V.

    Patches are an exact permutation of a canvas [3, H, W] (`prepare`), shown as many times as a patch has frames.
    """

    def __init__(self, process: Process, processor: Any, model: Any) -> None:
        super().__init__(process, processor, model)
        self._patch, self._merge, self._frames = (
            int(getattr(processor.image_processor, name))
            for name in ("patch_size", "merge_size", "temporal_patch_size")
        )
        self.prepare = partial(_canvas, process, self._patch, self._merge, self._frames)

    def inputs(self, pictures: Tensor, names: Sequence[str]) -> Iterator[Made]:
        """Pictures [B, 3, H, W] → their patches, one picture after the other."""
        B, P, M = len(pictures), self._patch, self._merge
        h, w = (side // P for side in pictures.shape[-2:])
        cut = pictures.reshape(B, -1, h // M, M, P, w // M, M, P).permute(0, 2, 5, 3, 6, 1, 4, 7)
        frames = cut[:, :, :, :, :, :, None].expand(-1, -1, -1, -1, -1, -1, self._frames, -1, -1)
        yield {
            "pixel_values": frames.reshape(B * h * w, -1),
            "image_grid_thw": torch.tensor([[1, h, w]] * B, device=pictures.device),
        }

    def beside(self, A: Tensor) -> Made:
        """The grid of patches, which the places of the text's tokens follow from."""
        h, w = (side * self._merge for side in A.shape[-2:])
        return {"image_grid_thw": torch.tensor([[1, h, w]], device=A.device)}


def _whole(process: Process, image: Image.Image) -> Tensor:
    return pieces_of(_made(process, image)["pixel_values"])[0]


def _canvas(process: Process, patch: int, merge: int, frames: int, image: Image.Image) -> Tensor:
    made = _made(process, image)
    _, h, w = made["image_grid_thw"][0].tolist()
    patches = made["pixel_values"].view(h // merge, w // merge, merge, merge, -1, frames, patch, patch)[..., 0, :, :]
    return patches.permute(4, 0, 2, 5, 1, 3, 6).reshape(-1, h * patch, w * patch)


def _made(process: Process, image: Image.Image) -> Made:
    """What the processor makes of a picture. Raises ImageError where it cannot."""
    try:
        return process(image)
    except (ValueError, RuntimeError, ZeroDivisionError) as error:
        raise ImageError(
            f"a picture of {image.width} × {image.height} pixels cannot be prepared ({error}); cut it to a less "
            "extreme shape"
        ) from None


def _picture_of_size(pictures: Tensor) -> Image.Image:
    return Image.new("RGB", (pictures.shape[-1], pictures.shape[-2]), (128, 128, 128))


def pieces_of(pixels: Tensor) -> Tensor:
    """Pixels [1, 3, h, w], [crops, 3, h, w] or [1, crops, 3, h, w] → [crops, 3, h, w]."""
    return pixels.reshape(-1, *pixels.shape[-3:])
