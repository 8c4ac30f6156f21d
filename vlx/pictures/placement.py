"""Where a cell of A is: A's grid → the prepared picture → the picture as the user has it.

All pairs are (vertical, horizontal). Pixels are counted from 0 at their centres, on both pictures.
"""

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlx.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

Pair = tuple[float, float]
PIXELS = "pixels of the prepared picture"


class _Saved:
    """To and from plain dicts of numbers, lists and strings, for JSON and HDF5 attributes."""

    def to_dict(self) -> dict[str, Any]:
        """The fields as numbers, strings, lists and dicts; `from_dict` makes an equal object of them."""
        return {field.name: _plain(getattr(self, field.name)) for field in fields(self)}  # type: ignore[arg-type]

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> Self:
        """The object that `to_dict` was called on."""
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in saved.items()})


def _plain(value: Any) -> Any:
    if isinstance(value, _Saved):
        return value.to_dict()
    return list(value) if isinstance(value, tuple) else value


@dataclass(frozen=True)
class Grid(_Saved):
    """Cell (i, j) of A sees the prepared picture around (offset[0] + stride[0]·i, offset[1] + stride[1]·j).

    All pairs are (vertical, horizontal). Pixels are counted from 0 at their centres. ``shape`` is (h, w) in cells,
    ``size`` is (H, W) of the prepared picture in pixels, ``source`` says how it was found.
    """

    offset: Pair
    stride: Pair
    shape: tuple[int, int]
    size: tuple[int, int]
    source: str = "layers"

    @classmethod
    def of_pixels(cls, size: tuple[int, int]) -> Self:
        """The grid with a cell for each pixel of a prepared picture (H, W)."""
        return cls((0.0, 0.0), (1.0, 1.0), size, size, PIXELS)

    @property
    def in_pixels(self) -> bool:
        """Whether its cells are pixels: of many that one drawn pixel shows it shows the mean."""
        return self.source == PIXELS

    @classmethod
    def half_pixel(cls, shape: tuple[int, int], size: tuple[int, int], source: str = "half-pixel (assumed)") -> Self:
        """The grid whose cells (h, w) share the picture (H, W) out evenly, as resizing does: right for patches."""
        stride = (size[0] / shape[0], size[1] / shape[1])
        return cls((stride[0] / 2 - 0.5, stride[1] / 2 - 0.5), stride, shape, size, source)

    @property
    def plain(self) -> "Grid":
        """The grid that maps lie on in the end: itself, but for a `vlx.pictures.mosaic.Mosaic`."""
        return self

    @property
    def tokens(self) -> tuple[int, int]:
        """The shape of maps before they are folded, which is that of A's last two axes."""
        return self.shape

    @property
    def centres(self) -> NDArray[np.float64]:
        """The middles (y, x) of A's own places on the prepared picture, in A's order, [n, 2]; NaN for those of none."""
        return np.asarray(np.indices(self.shape).reshape(2, -1).T * np.array(self.stride) + self.offset)

    @property
    def extents(self) -> NDArray[np.float64]:
        """The heights and widths of A's own places on the prepared picture, [n, 2]; NaN for those of none."""
        return np.broadcast_to(np.array(self.stride, np.float64), (self.shape[0] * self.shape[1], 2))

    @property
    def placed(self) -> NDArray[np.bool_]:
        """Which of A's own places show a part of the picture, bool [n]: here all of them."""
        return np.ones(self.shape[0] * self.shape[1], bool)

    def fold(self, maps: "Tensor") -> "Tensor":
        """Maps on A's own places […, *tokens] → on the cells […, h, w]: here they are the same."""
        return maps

    def average(self, maps: "Tensor") -> "Tensor":
        """As `fold`, of what is no sum (A itself): the mean of what A's own places show of a cell; here it is A's."""
        return maps

    def cover(self, maps: "Tensor") -> "Tensor":
        """Maps of cells [N, h, w] → of A's own places, the mean of the cells under each: here they are the same."""
        return maps

    def remainder(self, maps: "Tensor") -> "Tensor":
        """The share [N] of Σ|values| of maps [N, *tokens] that has no place on the picture: none."""
        return maps.new_zeros(len(maps))


@dataclass(frozen=True)
class Frame(_Saved):
    """How the prepared picture lies on the user's: pixel p of it shows the user's pixel scale·p + shift, on each axis.

    ``size`` is (H, W) of the user's picture, ``prepared`` (H', W') of the prepared one; a negative scale is a flip.
    ``window`` is (top, bottom, left, right): prepared rows top…bottom − 1 and columns left…right − 1 hold the picture,
    the rest is padding. ``note`` is for the reader when the frame is no more than a guess, else empty.
    """

    scale: Pair
    shift: Pair
    size: tuple[int, int]
    prepared: tuple[int, int]
    window: tuple[int, int, int, int]
    note: str = ""

    @classmethod
    def whole(cls, size: tuple[int, int], prepared: tuple[int, int], note: str = "") -> Self:
        """The frame of a picture (H, W) resized to ``prepared`` (H', W') with nothing cut off or added."""
        scale = (size[0] / prepared[0], size[1] / prepared[1])
        window = (0, prepared[0], 0, prepared[1])
        return cls(scale, (scale[0] / 2 - 0.5, scale[1] / 2 - 0.5), size, prepared, window, note)

    def prepared_at(self, axis: int, pixels: NDArray[Any]) -> NDArray[np.float64]:
        """Places on the prepared picture that show the user's pixels, along one axis (0 vertical, 1 horizontal)."""
        return (pixels - self.shift[axis]) / self.scale[axis]

    def seen(self, axis: int) -> NDArray[np.bool_]:
        """Which of the user's rows (axis 0) or columns (axis 1) are in the prepared picture."""
        first, stop = self.window[2 * axis : 2 * axis + 2]
        places = self.prepared_at(axis, np.arange(self.size[axis]))
        return (places >= first - 0.5) & (places <= stop - 0.5)


@dataclass(frozen=True)
class Placement(_Saved):
    """A's grid laid on the user's picture: paints maps, and finds cells and pixels from each other.

    Of a grid whose maps are folded it keeps the plain one: what is painted is folded by then.
    """

    grid: Grid
    frame: Frame

    def __post_init__(self) -> None:
        object.__setattr__(self, "grid", self.grid.plain)

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> Self:
        """The placement that `to_dict` was called on."""
        return cls(Grid.from_dict(saved["grid"]), Frame.from_dict(saved["frame"]))

    @property
    def cell_size(self) -> Pair:
        """Distance between the centres of neighbouring cells, in pixels of the user's picture."""
        rows, columns = (abs(self.frame.scale[axis]) * self.grid.stride[axis] for axis in (0, 1))
        return rows, columns

    def centre_of(self, i: int, j: int) -> Pair:
        """Where cell (i, j) is centred, as (y, x) on the user's picture; border cells may lie outside of it."""
        y, x = (
            self.frame.scale[axis] * (self.grid.offset[axis] + self.grid.stride[axis] * cell) + self.frame.shift[axis]
            for axis, cell in enumerate((i, j))
        )
        return y, x

    def cell_at(self, y: float, x: float) -> tuple[int, int]:
        """The cell (i, j) whose centre is nearest to pixel (y, x) of the user's picture."""
        i, j = (
            int(np.clip(np.rint(self._cells(axis, np.asarray(pixel))), 0, self.grid.shape[axis] - 1))
            for axis, pixel in enumerate((y, x))
        )
        return i, j

    def paint(self, cells: ArrayLike) -> NDArray[np.float32]:
        """A map [h, w] on the user's picture: float32 [H, W], in the map's unit.

        Bilinear between the centres of the cells; beyond the outermost centres their values are held. Of prepared
        pixels that are finer than the user's it is their weighted mean. 0 where the model never saw the picture. Raises
        InputError for a map of another shape.
        """
        values = np.asarray(cells, np.float64)
        if values.shape != self.grid.shape:
            raise InputError(f"a map of shape {values.shape} cannot be painted: the grid has {self.grid.shape} cells")
        return paint_at(values, self, self.frame.size)

    def visible(self) -> NDArray[np.bool_]:
        """Which pixels of the user's picture are in the prepared one, bool [H, W]."""
        return self.frame.seen(0)[:, None] & self.frame.seen(1)[None, :]

    def _cells(self, axis: int, pixels: NDArray[Any]) -> NDArray[np.float64]:
        """User's pixels → places between the cells; 0 is the centre of the first cell."""
        return (self.frame.prepared_at(axis, pixels) - self.grid.offset[axis]) / self.grid.stride[axis]


@dataclass(frozen=True)
class Axis:
    """One axis of a placement in two numbers: pixel p of the user's picture lies at cell (p − origin) / step.

    ``pixels`` and ``cells`` are counts; pixels ``first`` … ``stop`` − 1 were seen by the model. ``fine``: the cells are
    pixels, see `Grid.in_pixels`.
    """

    origin: float
    step: float
    pixels: int
    cells: int
    first: int
    stop: int
    fine: bool = False

    def mixing(self, samples: int) -> NDArray[np.float64]:
        """Weights [samples, cells] of the cells at ``samples`` even steps along the picture; page.js has a twin.

        Linear between the centres of cells, the outermost held; the mean of those near by where cells are pixels, and
        more than samples; rows of zeros where nothing was seen.
        """
        pixel = (np.arange(samples) + 0.5) * self.pixels / samples - 0.5
        reach = max(self.pixels / samples / abs(self.step), 1.0) if self.fine else 1.0
        weights = triangles(np.clip((pixel - self.origin) / self.step, 0, self.cells - 1), self.cells, reach)
        if reach > 1:
            weights /= weights.sum(1, keepdims=True)
        weights[(pixel < self.first - 0.5) | (pixel > self.stop - 0.5)] = 0
        return weights


def axes(placement: Placement) -> tuple[Axis, Axis]:
    """The vertical and the horizontal axis of a placement."""
    start, following = placement.centre_of(0, 0), placement.centre_of(1, 1)
    shown = [placement.frame.seen(axis) for axis in (0, 1)]
    both = []
    for axis in (0, 1):
        seen = np.flatnonzero(shown[axis]) if shown[1 - axis].any() else np.empty(0)
        first, stop = (int(seen[0]), int(seen[-1]) + 1) if len(seen) else (0, 0)
        step = following[axis] - start[axis]
        size, cells = placement.frame.size[axis], placement.grid.shape[axis]
        both.append(Axis(start[axis], step, size, cells, first, stop, placement.grid.in_pixels))
    return both[0], both[1]


def triangles(places: NDArray[Any], count: int, reach: float = 1.0) -> NDArray[np.float64]:
    """Weights [places, count] of points 0 … count − 1 at each place: 1 at the point itself, 0 from ``reach`` away.

    With a reach of 1 this is linear interpolation, the only one that vlx has.

    >>> triangles(np.array([0.25]), 3)
    array([[0.75, 0.25, 0.  ]])
    """
    return np.maximum(0, 1 - np.abs(places[:, None] - np.arange(count)) / reach)


def visible_at(placement: Placement, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Which pixels of the picture drawn at ``size`` (H, W) the model saw, bool [H, W]."""
    rows, columns = (axis.mixing(length).any(1) for axis, length in zip(axes(placement), size, strict=True))
    return np.logical_and.outer(rows, columns)


def paint_at(values: ArrayLike, placement: Placement, size: tuple[int, int]) -> NDArray[np.float32]:
    """A map [h, w] on the picture drawn at ``size`` (H, W): float32; at the picture's own size it is `Placement.paint`.

    What is not finite stays so in every pixel that it touches.
    """
    rows, columns = axes(placement)
    cells = np.asarray(values, np.float64)
    painted: NDArray[np.float32] = (rows.mixing(size[0]) @ cells @ columns.mixing(size[1]).T).astype(np.float32)
    return painted
