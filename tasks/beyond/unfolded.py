"""Maps over time or along a line, laid out as a picture's: [B, K, t, h, w] frame under frame, [B, K, n] in one row."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from vlx.errors import ModelError
from vlx.pictures.placement import Grid
from vlx.pictures.receptive_fields import Laid, Tracer, Unplaced
from vlx.pictures.tensor_layout import Layout
from vlx.tasks.beyond.fields import ASSUMED, Along, along, by_gradient

Look = Callable[[Tensor], Tensor]


class Unfolded(Tracer):
    """Lays a map of other dimensions than a picture's out as A [B, K, h, w]; where its cells are is tried, once a size.

    ``shape`` tells the map's dimensions. What is left to write is `found`, `unfold` and `fold`.
    """

    shape = "[B, K, n]"

    def __init__(self) -> None:
        super().__init__()
        self._grids: dict[tuple[int, ...], tuple[Grid, tuple[str, ...]]] = {}

    def found(self, features: Look, inputs: Tensor, output: Tensor) -> tuple[Grid, tuple[str, ...]]:
        """The grid of A, and notes for the reader."""
        raise NotImplementedError

    def unfold(self, output: Tensor) -> Tensor:
        """What the layer gives → A [B, K, h, w]."""
        raise NotImplementedError

    def fold(self, A: Tensor) -> Tensor:
        """A [M, K, h, w] → as the layer gives it: `unfold` backwards."""
        raise NotImplementedError

    def lay(self, features: Look, inputs: Tensor) -> Laid:
        """What ``features`` makes of the inputs, as a feature map. Raises `Unplaced` for other dimensions."""
        output = features(inputs)
        if output.ndim != len(self.shape.split(",")) or len(output) != len(inputs):
            raise Unplaced(len(inputs), output, f", no map {self.shape}: name a layer where these are not yet gone")
        size = tuple(inputs.shape[1:])
        if size not in self._grids:
            self._grids[size] = self.found(features, inputs[:1], output)
        return Laid(self.unfold(output), self._grids[size][0], None, self._grids[size][1])

    def see(self, features: Look, inputs: Tensor) -> Tensor:
        """As `lay`, with its graph."""
        with torch.no_grad():
            if tuple(inputs.shape[1:]) not in self._grids:
                self.lay(features, inputs.detach().clone())
        return self.unfold(features(inputs))

    def join(self, A: Tensor, others: Tensor | None = None) -> Tensor:
        """A [M, K, h, w] → the layer's own layout."""
        return self.fold(A)

    def layout(self, A: Tensor) -> Layout:
        """Its batch comes first."""
        return Layout((A.shape[2], A.shape[3]))


class Line(Unfolded):
    """A map [B, K, n] or [B, n, K] that ``model`` makes of inputs [B, C, 1, L]: A is [B, K, 1, n]."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._model, self._last = model, False  # whether units come last

    def found(self, features: Look, inputs: Tensor, output: Tensor) -> tuple[Grid, tuple[str, ...]]:
        """The cells along the line, tried. Raises ModelError where attention or a state has mixed all of them."""
        line, turned = along(features, inputs, 3), Along(0, 0, ASSUMED)
        if line.source == ASSUMED:
            turned = along(lambda x: features(x).mT, inputs, 3)
        self._last = turned.source != ASSUMED
        line, count = (turned, output.shape[1]) if self._last else (line, output.shape[2])
        kinds = [type(one).__name__ for one in self._model.modules() if isinstance(one, nn.RNNBase) or _attends(one)]
        if line.source == ASSUMED and count > 1 and kinds:
            raise ModelError(
                f"{type(self._model).__name__} mixes all positions ({kinds[0]}) before this layer, so that no cell of "
                "it is a place: name a convolution before that; language models are explained by vlx.load"
            )
        notes = _assumed("the whole line", line) if count > 1 else ("A has one cell: its map cannot tell places apart",)
        grid = Grid((0.0, line.offset), (1.0, line.stride), (1, count), (1, inputs.shape[3]), line.source)
        return grid, (*notes, *("A was [B, n, K] and is laid out as [B, K, 1, n]",) * self._last)

    def unfold(self, output: Tensor) -> Tensor:
        """What the layer gives → [B, K, 1, n]."""
        return (output.mT if self._last else output).unsqueeze(2)

    def fold(self, A: Tensor) -> Tensor:
        """[M, K, 1, n] → as the layer gives it."""
        return A.squeeze(2).mT if self._last else A.squeeze(2)


class Reel(Unfolded):
    """A map [B, K, t, h, w] of clips [B, C, T·H, W], frame under frame: A is [B, K, T·h, w].

    Where the network has fewer moments t than there are frames, each frame shows the moment nearest to it, and what is
    put in its place counts for its part of that moment, so that sums over A are those over the map.
    """

    shape = "[B, K, t, h, w]"

    def __init__(self, frames: int) -> None:
        super().__init__()
        self.frames, self._moments = frames, torch.zeros(0, dtype=torch.long)

    def found(self, features: Look, inputs: Tensor, output: Tensor) -> tuple[Grid, tuple[str, ...]]:
        """The cells in time, down and across, each axis tried."""
        (t, h, w), T = output.shape[2:], self.frames
        H, W = inputs.shape[2] // T, inputs.shape[3]
        clip = by_frame(inputs, T)

        time, down, across = by_gradient(lambda x: features(x.flatten(2, 3)), clip, (2, 3, 4))
        even = down.even(h, H)
        if even is None:
            raise ModelError(
                f"{h} rows of cells, {down.stride:g} pixels apart, do not share out the {H} rows of a frame: name a "
                "layer with padding, or give frames whose height its stride divides"
            )
        moments = (torch.arange(T) - time.offset) / time.stride  # a frame halfway between two shows the earlier one
        nearest = (moments - 0.5).ceil().long().clamp(0, t - 1)
        if len(set(nearest.tolist())) < t:
            raise ModelError(f"the layer has {t} moments for {T} frames, and some are no frame's: name another layer")
        self._moments = nearest
        grid = Grid((even.offset, across.offset), (even.stride, across.stride), (T * h, w), (T * H, W), even.source)
        few = (f"the layer has {t} moments for {T} frames: each frame shows the map of the moment nearest to it",)
        return grid, (*few * (t < T), *_assumed("all frames", time), *_assumed("the whole frame", down))

    def unfold(self, output: Tensor) -> Tensor:
        """[B, K, t, h, w] → [B, K, T·h, w]."""
        return output.index_select(2, self._moments.to(output.device)).flatten(2, 3)

    def fold(self, A: Tensor) -> Tensor:
        """[M, K, T·h, w] → [M, K, t, h, w], the mean of each moment's frames."""
        frames, moments = by_frame(A, self.frames), self._moments.to(A.device)
        counts = moments.bincount().to(A)
        summed: Tensor = frames.new_zeros((*A.shape[:2], len(counts), *frames.shape[3:])).index_add(2, moments, frames)
        return summed / counts.view(-1, 1, 1)


def by_frame(reels: Tensor, frames: int) -> Tensor:
    """[N, C, T·H, W] → [N, C, T, H, W]."""
    *whole, rows, columns = reels.shape
    return reels.reshape(*whole, frames, rows // frames, columns)


def _attends(module: nn.Module) -> bool:
    return "attention" in type(module).__name__.lower()


def _assumed(what: str, axis: Along) -> tuple[str, ...]:
    if axis.source != ASSUMED:
        return ()
    return (f"every cell reads {what}, or nearly: which place is its own is assumed, not tried",)
