"""A picture in several crops: the processor belongs to the vision part, and A is a strip of all crops' tokens."""

from collections.abc import Iterator, Sequence
from functools import partial
from inspect import signature
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vlx.errors import ModelError
from vlx.pictures.crops import crop_frames, crop_tokens
from vlx.pictures.mosaic import Mosaic
from vlx.pictures.placement import Frame, Grid
from vlx.pictures.prepare import mean_colour, measure_frame
from vlx.tasks.huggingface.chat_pictures import Made, Packed, Process, Size, Whole, pieces_of
from vlx.tasks.huggingface.vision import grid_shape

LARGE = ((1500, 3000), (3000, 1500))  # pictures that are cut into crops, if any are


class Crops(Whole):
    """A model that sees the picture in several crops, each with a grid of its own: A is a strip [B, K, 1, T].

    Where each crop lies on the user's picture is measured; its tokens lie in it in raster order, the crops in the order
    in which the processor gives them, or as the model's own ``pack_image_features`` lays them.
    """

    sees = False

    def __init__(self, process: Process, processor: Any, model: Any) -> None:
        super().__init__(process, processor, model)
        self.prepare = _levels
        self._known: dict[tuple[Size, tuple[int, ...]], Mosaic] = {}

    @property
    def blank(self) -> tuple[float, float, float]:
        """RGB in [0, 1] of a picture that shows nothing: what crops are turned into zeros by."""
        return mean_colour(lambda image: self.pieces(image)[0])

    def pieces(self, image: Image.Image) -> list[Tensor]:
        """The crops [3, h, w] that the model sees of a picture."""
        made = self.process(image)
        if "spatial_shapes" in made:
            return [
                _unpatched(patches, int(h), int(w))
                for patches, (h, w) in zip(made["pixel_values"], made["spatial_shapes"].tolist(), strict=True)
            ]
        return list(pieces_of(made["pixel_values"]))

    def inputs(self, pictures: Tensor, names: Sequence[str]) -> Iterator[Made]:
        """Pictures [B, 3, H, W] in levels 0 … 255 → what the vision part takes, picture by picture."""
        for picture in pictures:
            made = self.process(_image(picture))
            yield {name: made[name] for name in names if name in made}

    def laid(self, tokens: Tensor, size: Size, name: str) -> Tensor:
        """Tokens [B, T, K] → A [B, K, 1, T]."""
        return tokens.transpose(1, 2)[:, :, None]

    def grid(self, A: Tensor, size: Size, counts: Sequence[int]) -> Grid:
        """The mosaic of all crops' cells on the user's picture."""
        key = (size, tuple(counts))
        if key not in self._known:
            self._known[key] = self._mosaic(size, counts)
        return self._known[key]

    def _frames(self, size: Size) -> list[Frame]:
        """Where each crop lies on a picture of a ``size`` (H, W)."""
        shown = self.pieces(Image.new("RGB", size[::-1]))
        if len({piece.shape for piece in shown}) == 1:
            return crop_frames(lambda image: torch.stack(self.pieces(image)), size)
        return [measure_frame(partial(self._piece, number), size) for number in range(len(shown))]

    def _piece(self, number: int, image: Image.Image) -> Tensor:
        return self.pieces(image)[number]

    def _mosaic(self, size: Size, counts: Sequence[int]) -> Mosaic:
        frames = self._frames(size)
        packs = getattr(self.model.base_model, "pack_image_features", None)
        if packs is not None:
            side = self._side()
            counts = [side * side] * len(frames)
        elif len(counts) == 1 and counts[0] % len(frames) == 0:  # all crops' tokens as those of one picture
            counts = [counts[0] // len(frames)] * len(frames)
        if len(counts) != len(frames):
            raise ModelError(
                f"{type(self.model).__name__}: its processor makes {len(frames)} crops of a picture of {size[0]} × "
                f"{size[1]}, its vision part tokens of {len(counts)}; take the processor of the same repository"
            )
        cells = [
            _cells(frame, grid_shape(count, frame.prepared, "a crop"))
            for count, frame in zip(counts, frames, strict=True)
        ]
        places = torch.cat(cells) if packs is None else self._packed(torch.stack(cells), size)
        found = places.double().numpy()
        return Mosaic.of(found[:, :2], found[:, 2:], size)

    def _side(self) -> int:
        vision = self.model.config.vision_config
        return int(vision.image_size // vision.patch_size)

    def _packed(self, cells: Tensor, size: Size) -> Tensor:
        """Places [crops, T, 4] in the order in which the model packs its crops' tokens; NaN for what is no cell."""
        pack, config = self.model.base_model.pack_image_features, self.model.config
        known = signature(pack).parameters
        options: dict[str, Any] = {"image_newline": torch.full((cells.shape[-1],), torch.nan, dtype=cells.dtype)}
        for name in ("vision_feature_select_strategy", "vision_aspect_ratio"):
            if name in known:
                options[name] = getattr(config, name)
        packed: Tensor = pack([cells], torch.tensor([list(size)]), **options)[0][0]
        return torch.cat([packed[: cells.shape[1]], _as_far_as_apart(packed[cells.shape[1] :])])


def _as_far_as_apart(places: Tensor) -> Tensor:
    """Tokens of tiles [T, 4], row by row, as large as they lie apart: packing may have shrunk them to fewer."""
    steps = places[1:, 1] - places[:-1, 1]
    inside = steps > 0  # neighbours in a row, newlines left out
    if not inside.any():
        return places
    ratio = (steps / places[:-1, 3])[inside].median().clamp(min=1)
    return torch.cat([places[:, :2], places[:, 2:] * ratio], 1)


def _levels(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float()


def _image(levels: Tensor) -> Image.Image:
    whole = levels.detach().float().round().clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy()
    return Image.fromarray(whole)


def _unpatched(patches: Tensor, h: int, w: int) -> Tensor:
    """Patches [≥ h·w, P·P·3] in raster order → a picture [3, h·P, w·P]."""
    side = round((patches.shape[-1] // 3) ** 0.5)
    cut = patches[: h * w].reshape(h, w, side, side, 3).permute(4, 0, 2, 1, 3)
    return cut.reshape(3, h * side, w * side)


def _cells(frame: Frame, shape: tuple[int, int]) -> Tensor:
    """The cells of a crop on the user's picture: centre and extent [h · w, 4], in raster order."""
    return torch.from_numpy(np.concatenate(crop_tokens([frame], shape), 1))


def pictures_of(process: Process, processor: Any, model: Any) -> Whole:
    """The way of one model's pictures to its vision part, by what its processor makes of large ones."""
    made = [process(Image.new("RGB", size, (128, 128, 128))) for size in LARGE]
    if "image_grid_thw" in made[0]:
        return Packed(process, processor, model)
    several = any(len(pieces_of(one["pixel_values"])) > 1 for one in made)
    if several or "spatial_shapes" in made[0] or hasattr(model.base_model, "pack_image_features"):
        return Crops(process, processor, model)
    return Whole(process, processor, model)
