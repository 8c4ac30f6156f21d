"""`Policy`: a network that chooses an action from the last frames, stacked as channels; the last one is shown."""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import functional

from vlx.pictures.prepare import Prepare
from vlx.probes.references import same
from vlx.tasks.beyond.frames import pictures, refuse_memory
from vlx.tasks.classification.classifier import Classifier


def grey(frame: Image.Image) -> Tensor:
    """A frame as it is, grey in [0, 1]: [1, H, W]."""
    pixels: Tensor = functional.to_tensor(frame.convert("L"))
    return pixels


@dataclass(frozen=True)
class Stack:
    """The newest frame on those before it, [F·c, H, W]; any other picture in the place of all ``count`` frames."""

    one: Prepare
    count: int
    frames: tuple[Image.Image, ...] = ()

    def __call__(self, image: Image.Image) -> Tensor:
        """A picture → what the policy sees, [F·c, H, W]."""
        shown = image.resize(self.frames[-1].size) if self.frames else image
        now = bool(self.frames) and same(shown, self.frames[-1])
        return torch.cat([self.one(frame) for frame in (self.frames if now else [shown] * self.count)])


class Policy(Classifier):
    """A policy on stacks [B, F·c, H, W] of the last ``frames``, split at ``layer``; an action's logit or Q value.

    ``prepare``: one frame, PIL RGB → [c, H, W], by default grey as it is. `seeing` binds a moment; a picture by itself,
    and each reference, stands in all frames, so that what is owed to the picture is owed to the stack. ``outputs``:
    "value" for Q values. Other options are those of `Classifier`.

    >>> now = Policy(net, "conv3", ["left", "right"], outputs="value").seeing(observation)  # uint8 [4, 84, 84]
    >>> vlx.explain(now, now.picture, answer="left")
    """

    def __init__(
        self, model: nn.Module, layer: str, actions: Sequence[str] | None = None, prepare: Prepare = grey,
        *, frames: int = 4, **options: Any,
    ) -> None:  # fmt: skip
        refuse_memory(model, options.get("call"), f"the {frames} frames")
        self.stack = Stack(prepare, frames)
        super().__init__(model, layer, actions, self.stack, **options)

    def seeing(self, frames: Any) -> "Policy":
        """The same policy at the moment of these frames, the last one the newest; see `vlx.tasks.beyond.frames`."""
        made = copy(self)
        made.prepare = made.stack = replace(self.stack, frames=tuple(pictures(frames, self.stack.count)))
        return made

    @property
    def picture(self) -> Image.Image:
        """The newest frame."""
        return self.stack.frames[-1]

    def picture_notes(self, image: Image.Image) -> tuple[str, ...]:
        """How the picture comes to the policy; see `vlx.protocol.powers.NotesPictures`."""
        F = self.stack.count
        if self.stack.frames and same(image, self.picture):
            return (f"the last of {F} frames is shown; A, and so the map, is made of all of them",)
        return (f"one picture stands in all {F} frames: nothing moves in it; bind a moment with seeing(frames)",)
