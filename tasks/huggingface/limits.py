"""How many pixels of a picture reach a chat model: by its own processor's setting, and by default not without end.

A picture of a telephone is 16,384 tokens to some models. What a processor makes of one is bounded by a setting of its
own, which every kind of processor has in another form (`KNOBS`): pixels, a side, a list of shapes, a number of tiles.
"""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from math import ceil, isqrt
from typing import Any, NamedTuple

from vlx.errors import InputError
from vlx.language import shortened

TOKENS = 1280  # of a picture, where nobody says otherwise and a processor can make as few
LARGE = 2**12  # a side in pixels, against which a cell is small


@dataclass(frozen=True)
class Limit:
    """What a processor was set to: at most ``pixels`` of a picture, all crops together, which are ``tokens``.

    ``side``: where a side is bounded, and not an area.

    >>> Limit(1_003_520, 1280).told((4000, 3000))
    ('a picture of 4000 × 3000 pixels is beyond max_pixels=1003520 (1280 image tokens): its processor shrank it; …',)
    """

    pixels: int
    tokens: int
    side: int | None = None

    def told(self, size: tuple[int, int]) -> tuple[str, ...]:
        """A note where a picture of ``size`` (width, height) is shrunk; none where it is not."""
        width, height = size
        if width * height <= self.pixels and (self.side is None or max(size) <= self.side):
            return ()
        return (
            f"a picture of {width} × {height} pixels is beyond max_pixels={self.pixels} ({self.tokens} image tokens): "
            "its processor shrank it; vlx.load(…, max_pixels=…) sets another limit",
        )


class Knob(NamedTuple):
    """How one kind of processor bounds what it makes of a picture, in pixels of all crops together.

    ``fits``: whether a processor is of the kind. ``token``: the pixels that stand for one token. ``most``: what is let
    through now. ``turn``: let no more through than so many pixels, as near to that as the kind can.
    """

    fits: Callable[[Any], bool]
    token: Callable[[Any, Any], float]
    most: Callable[[Any, Any], int]
    turn: Callable[[Any, Any, int], None]


def limited(processor: Any, config: Any, max_pixels: int | None, name: str) -> Limit | None:
    """Set a processor, and where it must agree the model's ``config``, to ``max_pixels``, by default `TOKENS` tokens.

    None where nothing is bounded: the processor lets less through by itself. A limit is never raised above its own.
    Raises InputError for no whole number of pixels, for fewer than the processor can make, and for models whose
    pictures are all of one size.
    """
    if max_pixels is not None and (isinstance(max_pixels, bool) or not isinstance(max_pixels, int) or max_pixels < 1):
        raise InputError(f"max_pixels={shortened(repr(max_pixels), 40)} is no number of pixels: give a whole number")
    images = processor.image_processor
    knob = next((knob for knob in KNOBS if knob.fits(images)), None)
    if knob is None:
        if max_pixels is not None:
            raise InputError(
                f"{shortened(name, 80)} takes no max_pixels: {type(images).__name__} makes every picture one size"
            )
        return None
    token = knob.token(processor, config)
    wished = round(TOKENS * token) if max_pixels is None else max_pixels
    if knob.most(images, config) <= wished:
        return None
    knob.turn(images, config, wished)
    pixels = knob.most(images, config)
    if max_pixels is not None and pixels > max_pixels:
        raise InputError(
            f"max_pixels={max_pixels} is less than {type(images).__name__} of {shortened(name, 60)} can do; give "
            f"{pixels} or more"
        )
    side = _sizes(images).get("longest_edge") if knob is SIDE else None
    return Limit(pixels, int(pixels / token), side)


# An area in pixels: Qwen2-VL, 2.5, 3, GLM-4V


def _is_area(images: Any) -> bool:
    return hasattr(images, "merge_size") and {"shortest_edge", "longest_edge"} <= set(_sizes(images))


def _frames(images: Any) -> int:
    """How often a pixel of a picture counts: to GLM-4V's processor a picture is as many frames as it makes of it."""
    widest = copy(images)
    _resize(widest, shortest_edge=1, longest_edge=LARGE**2)
    patches = int(widest.get_number_of_image_patches(2 * LARGE, 2 * LARGE, {}))
    return round(LARGE**2 / (patches * int(images.patch_size) ** 2))


def _area_most(images: Any, _config: Any) -> int:
    return int(_sizes(images)["longest_edge"]) // _frames(images)


def _area_turn(images: Any, _config: Any, pixels: int) -> None:
    least = (int(images.patch_size) * int(images.merge_size)) ** 2
    longest = max(pixels, least) * _frames(images)
    _resize(images, shortest_edge=min(_sizes(images)["shortest_edge"], longest), longest_edge=longest)


AREA = Knob(
    _is_area,
    lambda processor, _: (processor.image_processor.patch_size * processor.image_processor.merge_size) ** 2,
    _area_most,
    _area_turn,
)


# The longer side: Pixtral, Mistral 3


def _is_side(images: Any) -> bool:
    return set(_sizes(images)) == {"longest_edge"} and hasattr(images, "patch_size") and not _is_split(images)


def _cell(images: Any, config: Any) -> int:
    patch = images.patch_size
    side = patch if isinstance(patch, int) else dict(patch)["height"]
    return int(side) * int(getattr(config, "spatial_merge_size", None) or 1)


def _side_turn(images: Any, config: Any, pixels: int) -> None:
    cell = _cell(images, config)
    _resize(images, longest_edge=max(isqrt(pixels) // cell, 1) * cell)


SIDE = Knob(
    _is_side,
    lambda processor, config: _cell(processor.image_processor, config) ** 2,
    lambda images, _: _sizes(images)["longest_edge"] ** 2,
    _side_turn,
)


# A side that is cut into squares, and the whole: Idefics3, SmolVLM


def _is_split(images: Any) -> bool:
    return hasattr(images, "max_image_size")


def _crop(images: Any) -> int:
    return int(dict(images.max_image_size)["longest_edge"])


def _split_most(images: Any, _config: Any) -> int:
    across = ceil(_sizes(images)["longest_edge"] / _crop(images)) if images.do_image_splitting else 1
    return _crop(images) ** 2 * (across**2 + (across > 1))


def _split_turn(images: Any, _config: Any, pixels: int) -> None:
    across = max(isqrt(max(pixels // _crop(images) ** 2 - 1, 1)), 1)
    _resize(images, longest_edge=across * _crop(images))


SPLIT = Knob(
    _is_split,
    lambda processor, _: _crop(processor.image_processor) ** 2 / processor.image_seq_len,
    _split_most,
    _split_turn,
)


# A list of shapes, the whole, and a mark behind each row: LLaVA-NeXT, LLaVA-OneVision


def _tile(images: Any) -> int:
    sizes = _sizes(images)
    return int(sizes.get("shortest_edge") or sizes["height"])


def _shown(images: Any, shape: Sequence[int]) -> int:
    return int(shape[0]) * int(shape[1]) + _tile(images) ** 2


def _shapes_turn(images: Any, config: Any, pixels: int) -> None:
    shapes = [list(shape) for shape in images.image_grid_pinpoints]
    least = min(_shown(images, shape) for shape in shapes)
    kept = [shape for shape in shapes if _shown(images, shape) <= max(pixels, least)]
    images.image_grid_pinpoints = config.image_grid_pinpoints = kept


def _shapes_token(processor: Any, _config: Any) -> float:
    tokens = getattr(processor, "num_image_tokens", None)
    area = _tile(processor.image_processor) ** 2
    return area / tokens if tokens else float(processor.patch_size**2)


SHAPES = Knob(
    lambda images: hasattr(images, "image_grid_pinpoints"),
    _shapes_token,
    lambda images, _: max(_shown(images, shape) for shape in images.image_grid_pinpoints),
    _shapes_turn,
)


# A number of tiles, and the whole where there are several: InternVL, Aya Vision, Cohere 2 Vision


def _tiles_most(images: Any, _config: Any) -> int:
    tiles = int(images.max_patches) if images.crop_to_patches else 1
    return _tile(images) ** 2 * (tiles + (tiles > 1))


def _tiles_turn(images: Any, _config: Any, pixels: int) -> None:
    tiles = max(pixels // _tile(images) ** 2 - 1, 1)
    images.max_patches, images.min_patches = tiles, min(int(images.min_patches), tiles)


def _tiles_token(processor: Any, _config: Any) -> float:
    images = processor.image_processor
    area, tokens = _tile(images) ** 2, getattr(processor, "image_seq_length", None)
    if tokens is None and hasattr(processor, "img_size"):
        tokens = (processor.img_size // processor.patch_size) ** 2
    return area / int(tokens or processor.patch_size**2)


TILES = Knob(lambda images: hasattr(images, "max_patches"), _tiles_token, _tiles_most, _tiles_turn)


# A number of tiles of which each is an area, and the whole: LFM2-VL


def _thumbnail(images: Any) -> int:
    return int(images.max_image_tokens) * (int(images.encoder_patch_size) * int(images.downsample_factor)) ** 2


def _areas_most(images: Any, _config: Any) -> int:
    tiles = int(images.max_tiles) if images.do_image_splitting else 0
    return tiles * int(images.tile_size) ** 2 + _thumbnail(images)


def _areas_turn(images: Any, _config: Any, pixels: int) -> None:
    tiles = (pixels - _thumbnail(images)) // int(images.tile_size) ** 2
    if tiles >= int(images.min_tiles):
        images.max_tiles = tiles
        return
    images.do_image_splitting = False
    cell = (int(images.encoder_patch_size) * int(images.downsample_factor)) ** 2
    images.max_image_tokens = max(min(int(images.max_image_tokens), pixels // cell), 1)
    images.min_image_tokens = min(int(images.min_image_tokens), images.max_image_tokens)


AREAS = Knob(
    lambda images: hasattr(images, "max_tiles"),
    lambda processor, _: (
        (processor.image_processor.encoder_patch_size * processor.image_processor.downsample_factor) ** 2
    ),
    _areas_most,
    _areas_turn,
)

KNOBS = (AREA, SIDE, SPLIT, SHAPES, TILES, AREAS)


def _sizes(images: Any) -> dict[str, int]:
    size = getattr(images, "size", None)
    return {} if size is None or isinstance(size, int) else dict(size)


def _resize(images: Any, **edges: int) -> None:
    images.size = type(images.size)(**edges)
