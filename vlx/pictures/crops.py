"""Where the crops that a processor makes of a picture lie on it: measured on what it makes, whatever its rules."""

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vlx.errors import ModelError
from vlx.pictures.placement import Frame
from vlx.pictures.prepare import Prepare, measure_frame, same_random_state

PrepareCrops = Callable[[Image.Image], Tensor]
SHARED = 4  # pictures that the measurement of every crop begins with: black, white and two ramps


def crop_frames(prepare_crops: PrepareCrops, size: tuple[int, int]) -> list[Frame]:
    """How pictures of ``size`` (H, W) lie in each crop of what ``prepare_crops`` (PIL RGB → [crops, 3, h, w]) makes.

    As `vlx.pictures.prepare.measure_frame`, one frame for each crop, in order: pixel p of a crop shows the user's pixel
    scale·p + shift, and what of it is padding lies outside of the frame's ``window``, which is empty in a crop that
    shows no part of the picture. Costs about six calls of ``prepare_crops`` a crop.

    Raises ModelError for what is no [crops, 3, h, w].

    >>> crop_frames(lambda image: processor(image, return_tensors="pt")["pixel_values"][0], (500, 900))[0].scale
    (1.488, 2.679)
    """
    shown = _Shown(prepare_crops)
    with same_random_state():
        first = shown.frame(0, size)
        return [first, *(shown.frame(number, size) for number in range(1, shown.count))]


def crop_tokens(frames: Sequence[Frame], shape: tuple[int, int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centres and extents, [crops · h · w, 2] each, of the tokens (h, w) of every crop on the user's picture.

    Crop after crop, in each row by row, as `vlx.pictures.mosaic.Mosaic.of` takes them: (y, x) and (height, width) in
    pixels, and NaN in crops that show no part of the picture.

    >>> Mosaic.of(*crop_tokens(frames, (24, 24)), (500, 900)).tokens
    (1, 2880)
    """
    centres, extents = zip(*(_tokens(frame, shape) for frame in frames), strict=True)
    return np.concatenate(centres), np.concatenate(extents)


def _tokens(frame: Frame, shape: tuple[int, int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    sides = np.array(frame.prepared) / shape
    cells = np.indices(shape).reshape(2, -1).T
    if not _shows(frame.window):
        return np.full(cells.shape, np.nan), np.full(cells.shape, np.nan)
    centres = np.array(frame.scale) * (sides * (cells + 0.5) - 0.5) + frame.shift
    return centres, np.broadcast_to(np.abs(frame.scale) * sides, cells.shape)


def _shows(window: tuple[int, int, int, int]) -> bool:
    """Whether a crop shows a part of the picture, and not padding alone."""
    return window[0] < window[1] and window[2] < window[3]


class _Shown:
    """What the crops show of the pictures that are asked about; the first of them are made once for all crops."""

    def __init__(self, prepare: PrepareCrops) -> None:
        self.prepare, self.count = prepare, 1
        self.known: dict[tuple[bytes, int], Tensor] = {}

    def frame(self, number: int, size: tuple[int, int]) -> Frame:
        """The frame of one crop."""
        crop = self.crop(number)
        plain = [crop(Image.new("RGB", size[::-1], (level,) * 3)) for level in (0, 255)]
        if number and plain[0].equal(plain[1]):
            whole = Frame.whole(size, (plain[0].shape[1], plain[0].shape[2]))
            return Frame(whole.scale, whole.shift, size, whole.prepared, (0, 0, 0, 0))
        return measure_frame(self.crop(number), size)

    def crop(self, number: int) -> Prepare:
        """The n-th asking of a picture is shared by all crops, so that two askings may still differ."""
        asked: Counter[bytes] = Counter()

        def prepare(image: Image.Image) -> Tensor:
            picture = image.tobytes()
            asked[picture] += 1
            key = picture, asked[picture]
            crops = self.known.get(key)
            if crops is None:
                crops = self.made(image)
                if len(self.known) < SHARED:
                    self.known[key] = crops
            return crops[number]

        return prepare

    def made(self, image: Image.Image) -> Tensor:
        """The crops of a picture, [crops, 3, h, w]."""
        crops = self.prepare(image)
        if not isinstance(crops, Tensor) or crops.ndim != 4 or not crops.numel():
            got = list(crops.shape) if isinstance(crops, Tensor) else type(crops).__name__
            raise ModelError(f"crops of a picture are a tensor [crops, 3, h, w], got {got}")
        self.count = len(crops)
        return crops
