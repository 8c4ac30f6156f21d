"""What a ``prepare`` gives, if that is one picture; else what to write instead."""

from collections.abc import Callable
from typing import Any

from PIL import Image
from torch import Tensor

from vlx.errors import ImageError, ModelError

Prepare = Callable[[Image.Image], Tensor]
COLOURS = (1, 3, 4)  # a last axis this long
SHORTEST = 16  # behind two at least this long holds channels, not columns
LONGEST = 100  # characters of the message of what a prepare raised
WANTED = "prepare must turn a PIL picture into a tensor [C, H, W], it gave"


def prepared(prepare: Prepare, image: Image.Image) -> Tensor:
    """``prepare`` (PIL RGB → [C, H, W], any number of channels) of a picture.

    Raises ModelError that names it and the mend, when it fails or gives something else: several crops, a volume, a
    batch, a signal.
    """
    try:
        made = prepare(image)
    except ImageError:  # which names the picture and what is wrong with it
        raise
    except Exception as error:  # a prepare is anybody's code
        text = " ".join(str(error).split())
        raise ModelError(
            f"prepare fails on a picture of {image.width}×{image.height} pixels ({type(error).__name__}: "
            f"{text[:LONGEST]}); it is given PIL RGB pictures and must take any size: resize in it first"
        ) from error
    return checked(made)


def checked(made: Any) -> Tensor:
    """What a prepare gave, if it is a picture [C, H, W]. Raises ModelError."""
    if not isinstance(made, Tensor):
        raise ModelError(f"{WANTED} {type(made).__name__}; {_as_tensor(made)}")
    if made.ndim != 3 or not made.numel():
        raise ModelError(f"{WANTED} {list(made.shape)}; {_as_picture(made)}")
    if made.shape[2] in COLOURS and min(made.shape[:2]) >= SHORTEST:
        raise ModelError(
            f"{WANTED} {list(made.shape)}, channels last; end it with .permute(2, 0, 1), and turn back for a model "
            "that wants it so: call=lambda model, x: model(x.permute(0, 2, 3, 1))"
        )
    return made


def _as_tensor(made: Any) -> str:
    if isinstance(made, tuple | list):
        return f"of these {len(made)} give one: a single crop (CenterCrop, not FiveCrop), view or frame"
    if hasattr(made, "__array__") and not isinstance(made, Image.Image):
        return "give torch.from_numpy(array).permute(2, 0, 1) of an array [H, W, C]"
    return "end it with torchvision.transforms.ToTensor()"


def _as_picture(made: Tensor) -> str:
    if made.ndim == 2:
        return (
            "for a grey picture give tensor[None]. A signal is no picture: give its spectrogram [C, H, W], or "
            "tensor[:, None] to a model whose layers are 2-D"
        )
    if made.ndim == 4 and len(made) == 1 and made.shape[1] in (1, 3, 4):
        return "leave the batch axis out: tensor[0]"
    if made.ndim >= 4:
        return (
            "several crops, slices or frames are no picture: give one (CenterCrop, not FiveCrop; a slice, a frame) and "
            "put it among the others in Classifier(…, call=lambda model, x: …)"
        )
    return "an empty tensor is no picture"
