"""Finding out what a ``prepare`` does to a picture's shape and colours, by showing it pictures that tell."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vlx.errors import ImageError, ModelError
from vlx.pictures.opening import Picture
from vlx.pictures.placement import Frame, Pair

Prepare = Callable[[Image.Image], Tensor]
COLOURS = (1, 3, 4)  # a last axis this long
SHORTEST = 16  # behind two at least this long holds channels, not columns
LONGEST = 100  # characters of the message of what a prepare raised
WANTED = "prepare must turn a PIL picture into a tensor [C, H, W], it gave"


@dataclass(frozen=True, eq=False)
class Shown:
    """A picture as the user has it, as the model gets it, and how the two lie upon each other."""

    picture: Picture
    inputs: Tensor
    frame: Frame


def prepared(prepare: Prepare, image: Image.Image) -> Tensor:
    """``prepare`` (PIL RGB → [C, H, W], any number of channels) of a picture.

    Raises ModelError that names it and the mend, when it fails or gives something else: several crops, a volume, a
    batch, a signal.
    """
    try:
        output = prepare(image)
    except ImageError:  # which names the picture and what is wrong with it
        raise
    except Exception as error:  # a prepare is anybody's code
        text = " ".join(str(error).split())
        raise ModelError(
            f"prepare fails on a picture of {image.width}×{image.height} pixels ({type(error).__name__}: "
            f"{text[:LONGEST]}); it is given PIL RGB pictures and must take any size: resize in it first"
        ) from error
    return checked(output)


def checked(output: Any) -> Tensor:
    """What a prepare gave, if it is a picture [C, H, W]. Raises ModelError."""
    if not isinstance(output, Tensor):
        raise ModelError(f"{WANTED} {type(output).__name__}; {_as_tensor(output)}")
    if output.ndim != 3 or not output.numel():
        raise ModelError(f"{WANTED} {list(output.shape)}; {_as_picture(output)}")
    if output.shape[2] in COLOURS and min(output.shape[:2]) >= SHORTEST:
        raise ModelError(
            f"{WANTED} {list(output.shape)}, channels last; end it with .permute(2, 0, 1), and turn back for a model "
            "that wants it so: call=lambda model, x: model(x.permute(0, 2, 3, 1))"
        )
    return output


def _as_tensor(output: Any) -> str:
    if isinstance(output, tuple | list):
        return f"of these {len(output)} give one: a single crop (CenterCrop, not FiveCrop), view or frame"
    if hasattr(output, "__array__") and not isinstance(output, Image.Image):
        return "give torch.from_numpy(array).permute(2, 0, 1) of an array [H, W, C]"
    return "end it with torchvision.transforms.ToTensor()"


def _as_picture(output: Tensor) -> str:
    if output.ndim == 2:
        return (
            "for a grey picture give tensor[None]. A signal is no picture: give its spectrogram [C, H, W], or "
            "tensor[:, None] to a model whose layers are 2-D"
        )
    if output.ndim == 4 and len(output) == 1 and output.shape[1] in (1, 3, 4):
        return "leave the batch axis out: tensor[0]"
    if output.ndim >= 4:
        return (
            "several crops, slices or frames are no picture: give one (CenterCrop, not FiveCrop; a slice, a frame) and "
            "put it among the others in Classifier(…, call=lambda model, x: …)"
        )
    return "an empty tensor is no picture"


Array = NDArray[Any]
USUAL = ((256, 256), (64, 64), (640, 640))  # sizes (H, W) of plain pictures that a prepare may take, tried in turn
ALONG, ACROSS = 0.8, 0.2  # the slope of a ramp along its axis and across it
ROUNDS = 3  # the ramps are narrowed to the part that is seen at most this often
EXACT = 0.1  # prepared pixels; edges found this near to the picture's own are the picture's own
STRAIGHT = 0.05  # of the picture's side; where places are further off their line than this, the line is given up
RESIZED = "as if the whole picture was resized"
IMAGENET_MEAN = (0.485, 0.456, 0.406)


def measure_frame(prepare: Prepare, size: tuple[int, int]) -> Frame:
    """How pictures of ``size`` (H, W) lie in what ``prepare`` (PIL RGB → [C, H', W']) makes of them.

    ``prepare`` is shown a black and a white picture and two grey ramps, which tell for each prepared pixel where it
    comes from: resizing, cropping, padding and flipping are found to a few hundredths of a pixel, whatever the
    normalisation and the order of the channels.

    Nothing is raised for a ``prepare`` that does something else (rotates, crops at random, changes colours by
    content): ``note`` then says so, and the frame is the best straight fit, or that of the whole picture resized where
    nothing straight comes near. Random state is left as it was. Costs six calls of ``prepare`` or a few more.
    """
    with same_random_state():
        black, white = (_prepared(prepare, np.full(size, level, np.uint8)) for level in (0, 255))
        if black.shape != white.shape:
            return Frame.whole(size, black.shape[1:], _note("its output changes in size", RESIZED))
        if not (np.isfinite(black).all() and np.isfinite(white).all() and (white != black).any()):
            return Frame.whole(
                size,
                black.shape[1:],
                _note("it shows black and white alike: what is owed to the picture cannot be tried", RESIZED),
            )
        return _Measurement(prepare, size, black, white).frame()


def refuse_on_its_side(prepare: Prepare, frame: Frame) -> None:
    """Raises ModelError where ``prepare`` exchanges height and width, so that no map could be laid on the picture."""
    if not frame.note.endswith(RESIZED):
        return
    with same_random_state():
        black, white = (_prepared(prepare, np.full(frame.size, level, np.uint8)) for level in (0, 255))
        if black.shape != white.shape or not np.isfinite(black - white).all() or not (white != black).any():
            return
        seen = _Measurement(prepare, frame.size, black, white)
        places = [seen.sure(line) for line in seen.places([(0.0, side - 1.0) for side in frame.size])]
    along = [float(np.ptp(places[axis].mean(1 - axis))) / frame.size[axis] for axis in (0, 1)]
    across = [float(np.ptp(places[axis].mean(axis))) / frame.size[axis] for axis in (0, 1)]
    if max(along) < STRAIGHT and min(across) > 0.5:
        h, w = frame.prepared
        raise ModelError(
            f"prepare lays pictures on their side: rows become columns in its [C, {h}, {w}]; give [C, H, W] as PIL "
            "shows it and turn it inside the model (call=lambda model, x: model(x.mT))"
        )


def mean_colour(prepare: Prepare, size: tuple[int, int] | None = None) -> tuple[float, float, float]:
    """The colour, RGB in [0, 1], that ``prepare`` turns into zeros: by custom the mean of the training pictures.

    ImageNet's mean when there is no such colour between 0.02 and 0.98; a grey where ``prepare`` keeps fewer channels
    than three. Plain pictures of ``size`` (H, W) tell, by default of a usual size that ``prepare`` takes. Raises
    ModelError when it takes none of them.
    """
    if size is not None:
        return _mean_colour(prepare, size)
    errors = []
    for usual in USUAL:
        try:
            return _mean_colour(prepare, usual)
        except ModelError as error:  # crops larger than the picture, least sizes
            errors.append(error)
    raise errors[0]


def _mean_colour(prepare: Prepare, size: tuple[int, int]) -> tuple[float, float, float]:
    shades = np.zeros((4, *size, 3), np.uint8)
    for channel in range(3):
        shades[channel + 1, ..., channel] = 255
    with same_random_state():
        black, *primaries = (_prepared(prepare, shade) for shade in shades)
    if any(primary.shape != black.shape for primary in primaries):
        return IMAGENET_MEAN
    with np.errstate(invalid="ignore"):
        gains = [primary - black for primary in primaries]
    seen = sum(np.abs(gain).sum(0) for gain in gains)
    if not np.isfinite(seen).all() or seen.max() == 0:
        return IMAGENET_MEAN
    inside = seen > 0.98 * seen.max()
    response = np.stack([gain[:, inside].mean(1, dtype=float) for gain in gains], 1)
    wanted = -black[:, inside].mean(1, dtype=float)
    if np.linalg.matrix_rank(response, 1e-6 * abs(response).max()) < 3:  # grey pictures: of many colours take the grey
        response = response.mean(1, keepdims=True).repeat(3, 1)
    red, green, blue = np.linalg.lstsq(response, wanted, rcond=None)[0].tolist()
    return (red, green, blue) if all(0.02 < value < 0.98 for value in (red, green, blue)) else IMAGENET_MEAN


class _Measurement:
    """One ``prepare`` at one size of picture, calibrated with black and white [C, H', W']."""

    def __init__(self, prepare: Prepare, size: tuple[int, int], black: Array, white: Array) -> None:
        self.prepare, self.size, self.black = prepare, size, black
        gain = white - black
        power = np.square(gain).sum(0)
        self.weights = gain / np.maximum(power, 1e-12 * power.max())
        seen = np.sqrt(power / power.max())  # the share of picture, not padding, in each prepared pixel
        self.window = _box(seen > 0.5)
        self.full = _cut(seen, self.window) > 0.98
        self.steady = True
        self.noise = np.random.default_rng(0).integers(0, 2**16, size, np.uint16)

    def frame(self) -> Frame:
        spans: list[Pair] = [(0.0, side - 1.0) for side in self.size]
        off = [0.0, 0.0]
        for number in range(ROUNDS):
            places = self.places(spans)
            lines = [self.line(places, axis, spans[axis]) for axis in (0, 1)]
            off = [max(off[axis], self.off(places, axis, lines[axis], spans[axis])) for axis in (0, 1)]
            narrowed = [self.narrowed(lines[axis], axis, spans[axis]) for axis in (0, 1)]
            if narrowed == spans or number == ROUNDS - 1:
                break
            spans = narrowed
        note = self.trouble(places, spans, off)
        if note.endswith(RESIZED):
            lines = [self.resized(axis) for axis in (0, 1)]
        scale, shift = zip(*(self.snapped(*lines[axis], axis) for axis in (0, 1)), strict=True)
        return Frame(scale, shift, self.size, (self.black.shape[1], self.black.shape[2]), self.window, note)

    def trouble(self, places: list[Array], spans: list[Pair], off: list[float]) -> str:
        """The note for the reader; empty when every prepared pixel was where a straight line has it."""
        if not self.steady:
            return _note("its output changes in size or is not finite", RESIZED)
        if any(np.abs(a - b).max() > 0.5 for a, b in zip(places, self.places(spans), strict=True)):
            return _note("it gives something else each time", RESIZED)
        shares = [off[axis] / self.size[axis] for axis in (0, 1)]
        if max(shares) > STRAIGHT:
            return _note("it turns, bends or recolours them", RESIZED)
        if max(shares) > 0:
            return _note("it turns, bends or recolours them", f"by a straight fit, off by up to {max(off):.0f} pixels")
        return ""

    def places(self, spans: list[Pair]) -> list[Array]:
        """The user's y and x that every pixel of the window shows, two arrays [rows, columns]."""
        steep = [self.read(_ramp(self.noise, spans, axis)) for axis in (0, 1)]
        both = ALONG**2 - ACROSS**2
        shares = [(ALONG * steep[axis] - ACROSS * steep[1 - axis]) / both for axis in (0, 1)]
        return [low + share * (high - low) for share, (low, high) in zip(shares, spans, strict=True)]

    def read(self, picture: Array) -> Array:
        """A grey picture as ``prepare`` shows it, black 0 and white 1, in the window."""
        shown = _prepared(self.prepare, picture)
        if shown.shape != self.black.shape or not np.isfinite(shown).all():
            self.steady = False
            shown = self.black
        return _cut((self.weights * (shown - self.black)).sum(0, dtype=float), self.window)

    def inner(self, places: list[Array], axis: int, span: Pair) -> tuple[Array, Array]:
        """Prepared pixels of one axis, away from the borders where resizing bends, and the place that each shows."""
        pixels = self.window[2 * axis] + np.flatnonzero(self.full.any(1 - axis))
        profile = self.sure(places[axis]).mean(1 - axis)
        pitch = float(np.median(np.abs(np.diff(profile)))) if len(profile) > 1 else 0.0
        for edge in (max(1.0, 3 * pitch), 1.0, 0.5):
            kept = (profile > span[0] + edge) & (profile < span[1] - edge)
            if kept.sum() >= 4:
                break
        return pixels[kept], profile[kept]

    def line(self, places: list[Array], axis: int, span: Pair) -> Pair:
        """(scale, shift) of one axis; the whole picture in the window where there is too little to measure."""
        pixels, profile = self.inner(places, axis, span)
        if len(pixels) >= 3:
            scale, shift = np.polyfit(pixels, profile, 1).tolist()
            if abs(scale) > 1e-6:
                return scale, shift
        return self.resized(axis)

    def resized(self, axis: int) -> Pair:
        """(scale, shift) of one axis when the whole picture is in the window."""
        first, stop = self.window[2 * axis : 2 * axis + 2]
        scale = self.size[axis] / (stop - first)
        return scale, scale * (0.5 - first) - 0.5

    def off(self, places: list[Array], axis: int, line: Pair, span: Pair) -> float:
        """How far the places of one axis are off its line at most, and how much they change along the other axis.

        In pixels of the user's picture, beyond what taking the nearest pixel and rounding to grey levels do. A line
        that leaves the picture is off by as much.
        """
        pixels, profile = self.inner(places, axis, span)
        if not len(pixels):
            return 0.0
        bend = np.abs(profile - line[0] * pixels - line[1]).max()
        drift = np.ptp(self.sure(places[axis]).mean(axis))
        ends = np.array([line[0] * (edge - 0.5) + line[1] for edge in self.window[2 * axis : 2 * axis + 2]])
        outside = np.abs(ends - np.clip(ends, -0.5, self.size[axis] - 0.5)).max()
        level = (span[1] - span[0]) / (255 * ALONG)
        return float(max(bend - 0.75 - level, drift - 1.5 - 2 * level, outside - max(1.0, abs(line[0])), 0.0))

    def narrowed(self, line: Pair, axis: int, span: Pair) -> Pair:
        """The part of the user's picture that is seen, where that is less than half of ``span``: for steeper ramps."""
        ends = sorted(line[0] * (edge - 0.5) + line[1] for edge in self.window[2 * axis : 2 * axis + 2])
        reserve = 2 + 3 * abs(line[0])
        low, high = max(ends[0] - reserve, 0.0), min(ends[1] + reserve, self.size[axis] - 1.0)
        return (low, high) if 0 < high - low < 0.5 * (span[1] - span[0]) else span

    def snapped(self, scale: float, shift: float, axis: int) -> Pair:
        """The line through the picture's own edges, if the one found runs through them but for rounding."""
        first, stop = self.window[2 * axis : 2 * axis + 2]
        near, far = (scale * (edge - 0.5) + shift for edge in (first, stop))
        begin, end = (-0.5, self.size[axis] - 0.5) if scale > 0 else (self.size[axis] - 0.5, -0.5)
        if max(abs(near - begin), abs(far - end)) > max(EXACT * abs(scale), 0.05):
            return scale, shift
        exact = (end - begin) / (stop - first)
        return exact, begin - exact * (first - 0.5)

    def sure(self, values: Array) -> Array:
        """The rows and columns of the window that hold nothing but picture."""
        rows, columns = self.full.any(1), self.full.any(0)
        return values[np.ix_(rows, columns)] if rows.any() and columns.any() else values


def _ramp(noise: NDArray[np.uint16], spans: list[Pair], axis: int) -> Array:
    """A grey picture, uint8 [H, W], rising over its span along one axis and a little along the other.

    The noise that is rounded with it, and the slope across, let each prepared column meet all the ways of rounding: the
    means are exact where single pixels are not.
    """
    level = noise.astype(np.uint32)  # in 1/65536 of a grey level
    for along, (side, (low, high)) in enumerate(zip(noise.shape, spans, strict=True)):
        share = np.clip((np.arange(side) - low) / max(high - low, 1e-9), 0, 1) * (ALONG if along == axis else ACROSS)
        level += np.expand_dims(np.round(share * 255 * 2**16).astype(np.uint32), 1 - along)
    return (level >> np.uint32(16)).astype(np.uint8)


def _prepared(prepare: Prepare, picture: Array) -> Array:
    """``prepare`` of a picture uint8 [H, W] or [H, W, 3], as float32 [C, H', W']."""
    out = prepared(prepare, Image.fromarray(picture).convert("RGB"))
    return out.detach().to("cpu", torch.float32).numpy()


def _box(seen: Array) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def _cut(values: Array, window: tuple[int, int, int, int]) -> Array:
    top, bottom, left, right = window
    return values[top:bottom, left:right]


def _note(trouble: str, how: str) -> str:
    return f"prepare does not only resize, crop, pad or flip pictures ({trouble}); heat maps are placed {how}"


@contextmanager
def same_random_state() -> Iterator[None]:
    """Leaves the random state of Python, numpy and torch as it was."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
