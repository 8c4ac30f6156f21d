"""Where the cells of A are on the prepared picture, for any vision part: `Tracer`, `trace_grid`."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vlx.errors import ModelError
from vlx.pictures import pixel_fields, spatial_dims
from vlx.pictures.layers import Follower, Track
from vlx.pictures.placement import Grid
from vlx.pictures.prepare import mean_colour, measure_frame, refuse_on_its_side
from vlx.pictures.tensor_layout import Layout

__all__ = ["Tracer", "mean_colour", "measure_frame", "refuse_on_its_side", "trace_grid"]

CUSTOMARY = 1.5  # a cell may be so much longer than wide where nothing but the shape speaks

FeatureFunction = Callable[[Tensor], Tensor]


class Unplaced(ModelError):
    """What a vision part gave is no feature map, or cannot be told how it lies; ``told`` says what."""

    def __init__(self, count: int, gave: Any, more: str = "") -> None:
        shape = list(gave.shape) if isinstance(gave, Tensor) else type(gave).__name__
        self.told = f"{shape}{more}"
        super().__init__(
            f"the vision part must turn pictures [{count}, C, H, W] into A [{count}, K, h, w]; it gave {self.told}"
        )


@dataclass(frozen=True)
class Given:
    """What the user says of tokens: ``grid`` (h, w) of the cells, and how many (``prefix``) come before them.

    Both may be left open; a ``prefix`` of 0 is open where there are more tokens than cells.
    """

    grid: tuple[int, int] | None = None
    prefix: int = 0

    def allows(self, layout: Layout) -> bool:
        """Whether a layout is as the user says."""
        return self.grid in (None, layout.shape) and self.prefix in (0, layout.before)

    def __bool__(self) -> bool:
        return self.grid is not None or self.prefix > 0

    def __str__(self) -> str:
        return f"grid={self.grid}, prefix={self.prefix}"


class Laid(NamedTuple):
    """What a vision part gave, as a feature map: A [B, K, h, w], its grid, and what goes along with it.

    ``others`` [B, T, K] are the tokens that are no cells, None without any; ``notes`` are for the reader.
    """

    A: Tensor
    grid: Grid
    others: Tensor | None
    notes: tuple[str, ...]


class _Known(NamedTuple):
    layout: Layout
    grid: Grid
    notes: tuple[str, ...]


class Tracer:
    """Runs a vision part and says which dimensions of what it gives are places, and where the cells of its A are.

    Both are found once for each picture size: by following the layers, or else by trying.
    """

    def __init__(self, given: Given | None = None) -> None:
        self._known: dict[tuple[int, int], _Known] = {}
        self._layouts: dict[tuple[int, ...], Layout] = {}
        self._given = given or Given()

    def run(self, features: FeatureFunction, inputs: Tensor) -> tuple[Tensor, Grid]:
        """Pictures [B, C, H, W] → A [B, K, h, w] and its grid; see `lay`."""
        laid = self.lay(features, inputs)
        return laid.A, laid.grid

    def lay(self, features: FeatureFunction, inputs: Tensor) -> Laid:
        """Pictures [B, C, H, W] → what ``features`` makes of them, as it is without a tracer, as a feature map.

        Raises `Unplaced` where it is no map, or may be one but cannot be told how it lies.
        """
        size = (inputs.shape[-2], inputs.shape[-1])
        record = self._known.get(size)
        if record is not None:
            output = _checked(features(inputs), len(inputs))
            if record.layout.fits(output.shape, len(inputs)):
                return _laid(output, record)
        follower = Follower(inputs)
        with follower:
            output = _checked(features(inputs), len(inputs))
        track = follower.track(output)
        layout, notes = self._decided(features, inputs, output, track)
        grid = _placed(lambda x: layout.split(features(x))[0], inputs, layout.shape, track)
        record = self._known[size] = _Known(layout, grid, notes)
        laid = _laid(output, record)
        self._layouts[tuple(laid.A.shape[1:])] = layout
        return laid

    def laid(self, made: Tensor, size: tuple[int, int]) -> Laid:
        """What a vision part made of pictures of a ``size`` (H, W) that `lay` knows, as a feature map."""
        return _laid(made, self._known[size])

    def see(self, features: FeatureFunction, inputs: Tensor) -> Tensor:
        """As ``features(inputs)``, laid out as `lay` does it, with its graph; pictures of a new size are run twice."""
        with torch.no_grad():
            self.known(features, inputs)
        return self.laid(features(inputs), (inputs.shape[-2], inputs.shape[-1])).A

    def known(self, features: FeatureFunction, inputs: Tensor) -> None:
        """Find out about pictures of such a size, where it is a new one, in runs of their own."""
        if (inputs.shape[-2], inputs.shape[-1]) not in self._known:
            self.lay(features, inputs.detach().clone())

    def join(self, A: Tensor, others: Tensor | None = None) -> Tensor:
        """A [M, K, h, w] and the other tokens [1 or M, T, K] → the vision part's own layout."""
        return self.layout(A).join(A, others)

    def layout(self, A: Tensor) -> Layout:
        """The layout that A [M, K, h, w] has in the model."""
        return self._layouts.get(tuple(A.shape[1:])) or Layout((A.shape[2], A.shape[3]))

    def _decided(
        self, features: FeatureFunction, inputs: Tensor, output: Tensor, track: Track | None
    ) -> tuple[Layout, tuple[str, ...]]:
        """The layout of what was made of the inputs, and a note: from the layers, by trial, as told, or by custom."""
        count, size = len(inputs), (inputs.shape[-2], inputs.shape[-1])
        layout, seen = _followed(track, output, count) if track is not None else None, None
        if layout is None:
            layout, seen = spatial_dims.tried(features, inputs, output)
        if layout is not None and not self._given.allows(layout):
            raise Unplaced(count, output, f", that is {layout.told()}, not {self._given}; leave these out")
        if layout is not None:
            return layout, () if layout.plain else (f"A was {layout.told()} and is laid out as [B, K, h, w]",)
        layout = self._as_told(features, inputs, output) if self._given else _by_custom(output, count, size)
        if layout is None or (seen is not None and seen.scrambled and not self._given):
            raise Unplaced(count, output, _trouble(output, self._given))
        if math.prod(layout.shape) == 1:
            return layout, ("A has one cell: its map cannot tell places apart",)
        return layout, (f"A is taken as {layout.told()} untried: no cell of it moved with its place",)

    def _as_told(self, features: FeatureFunction, inputs: Tensor, output: Tensor) -> Layout | None:
        """The user's layout, of those that they leave open the one that agrees best."""
        size = (inputs.shape[-2], inputs.shape[-1])
        candidates = [one for one in spatial_dims.layouts(output.shape, 0, size) if self._given.allows(one)]
        exact = [one for one in candidates if one.before == self._given.prefix and not one.columns]
        return spatial_dims.tried(features, inputs, output, self._given.allows)[0] or next(
            iter(exact or candidates), None
        )


def _laid(output: Tensor, record: _Known) -> Laid:
    A, others = record.layout.split(output)
    return Laid(A, record.grid, others, record.notes)


def _placed(features: FeatureFunction, inputs: Tensor, shape: tuple[int, int], track: Track | None) -> Grid:
    """Where the cells are: by the layers, or by the gradient where these do not tell."""
    size = (inputs.shape[-2], inputs.shape[-1])
    if track is None or track.cells != shape:
        return pixel_fields.probed(features, inputs, shape)
    grid = track.grid(size)
    wide = any(reach >= pixel_fields.WIDE * jump for reach, jump in zip(track.reach, track.jump, strict=True))
    return pixel_fields.measured(features, inputs, grid) if wide else grid


def _followed(track: Track, output: Tensor, count: int) -> Layout | None:
    """The layout of a tensor whose cells were followed to it; None where its pictures are not a dimension."""
    rest = [dim for dim in range(output.ndim) if dim not in track.dims]
    batch = next((dim for dim in rest if output.shape[dim] == count), None)
    if len(rest) != 2 or batch is None or (track.flat and output.shape[track.dims[0]] != track.length):
        return None
    units = next(dim for dim in rest if dim != batch)
    dims = track.dims[:1] if track.flat else track.dims
    return Layout(track.cells, batch, units, dims, track.before, track.after)


def _by_custom(output: Tensor, count: int, size: tuple[int, int]) -> Layout | None:
    """[B, K, h, w] where its cells are about square, and are no more so in another order."""
    if output.ndim != 4 or len(output) != count:
        return None
    if output.shape[2:] == (1, 1):
        return Layout((1, 1))
    long = {one: spatial_dims.oblong(one.shape, size) for one in spatial_dims.layouts(output.shape, 0, size)}
    plain = Layout((output.shape[2], output.shape[3]))
    return plain if long[plain] < CUSTOMARY and long[plain] <= min(long.values()) + 1e-9 else None


def _trouble(output: Tensor, given: Given) -> str:
    if given:
        return f", which cannot be laid out by {given}"
    if output.ndim == 4:
        K, h, w = output.shape[1:]
        return f": with K={K}, h={h}, w={w} no cell moves with its place, nor in another order; permute it to that"
    return ": no cell moves with its place; if these are tokens, say how they lie by grid=(h, w) and prefix=…"


def trace_grid(
    features: FeatureFunction,
    size: tuple[int, int],
    *,
    channels: int = 3,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Grid:
    """Where the cells of ``features``' output [1, K, h, w] are, for pictures [1, channels, H, W] of ``size`` (H, W).

    The picture's way through the layers is followed once, without a graph; strides, paddings and dilations add up to
    the centre of each cell's receptive field:

    >>> trace_grid(torch.nn.Conv2d(3, 8, 7, stride=4, padding=3), (64, 96)).stride
    (4.0, 4.0)

    ``source`` tells how it was found: "layers…"; "measured…" where fields are many cells wide and the weights look
    elsewhere than in their middle (`vlx.pictures.pixel_fields`); "gradient" when the way was lost and the centroids of
    the pixel gradient of some cells were taken; "half-pixel (assumed)" when that failed too. Raises ModelError as
    `Tracer.run`.
    """
    generator = torch.Generator().manual_seed(0)
    picture = torch.rand(1, channels, *size, generator=generator).to(device, dtype)
    with torch.no_grad():
        return Tracer().run(features, picture)[1]


def _checked(output: Any, count: int) -> Tensor:
    if isinstance(output, Tensor) and output.ndim in (3, 4) and output.is_floating_point() and count in output.shape:
        return output
    raise Unplaced(count, output)
