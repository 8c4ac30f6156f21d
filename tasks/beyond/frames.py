"""Frames of a clip or a stack as pictures, and as one picture: a reel, frame under frame."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor, nn

from vlx.errors import InputError, ModelError
from vlx.pictures.opening import open_image

STRETCHED = 3.0  # a frame is not prepared so much wider or higher than it is


def pictures(frames: Any, count: int | None = None) -> list[Image.Image]:
    """Frames as pictures in RGB, the first one first.

    ``frames``: pictures in a list, or an array or tensor [T, H, W] or [T, H, W, 3] of uint8. Raises InputError for
    another number than ``count``, frames of several sizes, and anything else.
    """
    if isinstance(frames, Tensor):
        frames = frames.detach().cpu().numpy()
    if isinstance(frames, np.ndarray):
        if frames.dtype != np.uint8 or frames.ndim not in (3, 4) or (frames.ndim == 4 and frames.shape[3] != 3):
            raise InputError(
                f"frames are uint8 [T, H, W] or [T, H, W, 3], got {frames.dtype} {list(frames.shape)}; of floats in "
                "[0, 1] give (frames * 255).astype('uint8')"
            )
        frames = [Image.fromarray(frame).convert("RGB") for frame in frames]
    if isinstance(frames, str | Image.Image) or not isinstance(frames, Iterable):
        raise InputError(f"frames are pictures in a list, or an array [T, H, W, 3], got {type(frames).__name__}")
    made = [open_image(frame).image for frame in frames]
    if len({one.size for one in made}) > 1:
        raise InputError(f"frames are of one size, got {sorted({one.size for one in made})[:3]}; resize them first")
    if not made or (count is not None and len(made) != count):
        raise InputError(f"{len(made)} frames were given, {count or 'one or more'} are wanted; the last is the latest")
    return made


def reel(frames: Any, count: int | None = None) -> Image.Image:
    """One picture of a clip: its frames under one another, the first at the top; ``frames`` as for `pictures`.

    >>> reel(np.zeros((8, 48, 64), np.uint8)).size
    (64, 384)
    """
    return Image.fromarray(np.concatenate([np.asarray(one) for one in pictures(frames, count)]))


def cut(image: Image.Image, count: int) -> list[Image.Image]:
    """A picture as the frames of a reel, of one size; rows that cannot be shared out are resized before."""
    height = max(round(image.height / count), 1)
    whole = image if image.height == height * count else image.resize((image.width, height * count))
    return [whole.crop((0, n * height, whole.width, (n + 1) * height)) for n in range(count)]


def refuse_other(image: Image.Image, count: int, prepared: tuple[int, int]) -> None:
    """Raises InputError for a picture that is no reel of ``count`` frames, each ``prepared`` as (H, W)."""
    stretched = image.width * count / image.height * prepared[0] / prepared[1]
    if image.height % count or not 1 / STRETCHED < stretched < STRETCHED:
        raise InputError(
            f"a picture of {image.width}×{image.height} is no reel of {count} frames: give task.picture(frames), its "
            "frames under one another"
        )


def refuse_memory(model: nn.Module, call: Any, sees: str) -> None:
    """Raises ModelError for a model with a recurrent layer whose state nobody has bound by ``call``."""
    layers = (nn.RNNBase, nn.RNNCellBase)
    remembers = next((type(one).__name__ for one in model.modules() if isinstance(one, layers)), None)
    if remembers and call is None:
        raise ModelError(
            f"{type(model).__name__} has a state ({remembers}), made of what is not among {sees}; bind it, so that the "
            "map is of this step alone: call=lambda model, x: model(x, state.expand(len(x), -1))"
        )
