"""`Video`: a network on clips [B, C, T, H, W], explained by a map a frame."""

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from vlx.errors import ModelError
from vlx.pictures.prepare import Prepare, mean_colour
from vlx.pictures.receptive_fields import Given, Tracer
from vlx.tasks.beyond.frames import cut, reel, refuse_other
from vlx.tasks.beyond.unfolded import Reel, by_frame
from vlx.tasks.classification.classifier import Classifier


class Video(Classifier):
    """A 3-D CNN on clips [B, C, T, H, W] of ``frames``, split at ``layer``, whose map is [B, K, t, h, w].

    A clip is one picture, its frames under one another (`picture`); so is its map, [T·h, w], cells in frame after
    frame. `vlx.report.film` draws it with a slider. ``prepare``: one frame, PIL RGB → [C, H, W], which may resize it
    but not crop: crop the frames first. ``call(model, clips)``, and other options, as of `Classifier`.

    >>> task = Video(r3d_18, "layer4", labels, prepare, frames=16)
    >>> why = vlx.explain(task, task.picture(frames))  # uint8 [16, 112, 112, 3]
    """

    ranks = (5, 4, 3)

    def __init__(
        self, model: nn.Module, layer: str, labels: Sequence[str] | None, prepare: Prepare,
        *, frames: int, call: Any = None, **options: Any,
    ) -> None:  # fmt: skip
        self.frames, self._one, self._clips = frames, prepare, call
        blank = options.pop("blank", None) or mean_colour(prepare)
        super().__init__(model, layer, labels, self._clip, call=self._run, blank=blank, **options)

    def picture(self, frames: Any) -> Image.Image:
        """A clip as one picture; ``frames`` as for `vlx.tasks.beyond.frames.pictures`."""
        return reel(frames, self.frames)

    def picture_notes(self, image: Image.Image) -> tuple[str, ...]:
        """How a clip comes to the network. Raises InputError for a picture that is no reel."""
        _, rows, columns = self._clip(image).shape
        refuse_other(image, self.frames, (rows // self.frames, columns))
        return (f"a reel of {self.frames} frames of {image.width}×{image.height // self.frames} pixels",)

    def shallow(self, inputs: Tensor) -> Tensor:
        """Each frame's own map when it is there alone, [B, K, T·h, w]: moments not mixed, for the self-test."""
        clips, maps = by_frame(inputs, self.frames), list[Tensor]()
        for n in range(self.frames):
            alone = torch.zeros_like(clips)
            alone[:, :, n] = clips[:, :, n]
            maps.append(by_frame(self.see(alone.flatten(2, 3)), self.frames)[:, :, n])
        return torch.cat(maps, 2)

    def _clip(self, image: Image.Image) -> Tensor:
        """A reel → its frames under one another, prepared one by one, [C, T·H, W]."""
        return torch.cat([self._one(frame) for frame in cut(image, self.frames)], 1)

    def _run(self, model: nn.Module, reels: Tensor) -> Any:
        clips = by_frame(reels, self.frames)
        return model(clips) if self._clips is None else self._clips(model, clips)

    def _laying(self, given: Given) -> Tracer:
        if given:
            raise ModelError("of a clip the cells are found by trying: leave grid and prefix out")
        return Reel(self.frames)

    def _example(self) -> Tensor:
        return self.place(self._clip(Image.new("RGB", (128, 128 * self.frames), (128, 128, 128)))[None])
