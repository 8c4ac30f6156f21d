"""Following pictures through the layers of a vision part, operation by operation, to the centres of A's cells.

What is kept for a tensor is where its cells are on the prepared picture, for each axis: the centre of the first one
(offset) and the way to the next (jump), in pixels. A window of k pixels with padding p moves the offset by
((k − 1)/2 · dilation − p) · jump, and its stride multiplies the jump.
"""

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from vlx.pictures.placement import Grid, Pair

COMPOUND = torch._C.DispatchKey.CompositeImplicitAutograd


@dataclass(frozen=True)
class Track:
    """Cell n of an axis is centred at pixel offset + jump·n.

    ``dims`` are the vertical and horizontal dimension of the tensor, one and the same when they are flattened, alone or
    behind the batch; then ``before`` and ``after`` count entries around the cells that are none (class tokens).
    ``reach`` is how many pixels wide the field of a cell is. ``doubt`` says what was not certain on the way.
    """

    dims: tuple[int, int]
    cells: tuple[int, int]
    offset: Pair
    jump: Pair
    doubt: str = ""
    before: int = 0
    after: int = 0
    reach: Pair = (1.0, 1.0)

    @property
    def flat(self) -> bool:
        """Whether one dimension holds all cells."""
        return self.dims[0] == self.dims[1]

    @property
    def length(self) -> int:
        """Entries of a dimension that holds all cells, flattened."""
        return self.before + math.prod(self.cells) + self.after

    def fits(self, shape: Sequence[int]) -> bool:
        """Whether a tensor of ``shape`` may have its cells there."""
        if not all(0 <= dim < len(shape) for dim in self.dims):
            return False
        if self.flat:
            return shape[self.dims[0]] % self.length == 0
        return (shape[self.dims[0]], shape[self.dims[1]]) == self.cells

    def grid(self, size: tuple[int, int]) -> Grid:
        """The grid of these cells on pictures of ``size`` (H, W)."""
        return Grid(self.offset, self.jump, self.cells, size, "layers" + self.doubt)

    def at(self, vertical: int, horizontal: int) -> "Track":
        """The same cells in other dimensions."""
        return replace(self, dims=(vertical, horizontal))

    def step(self, shape: Sequence[int], offset: Sequence[float], stride: Sequence[float]) -> "Track":
        """Cells ``offset``, ``offset`` + ``stride``, … of this track, for a result of ``shape``."""
        return replace(
            self,
            cells=(shape[self.dims[0]], shape[self.dims[1]]),
            offset=(self.offset[0] + offset[0] * self.jump[0], self.offset[1] + offset[1] * self.jump[1]),
            jump=(self.jump[0] * stride[0], self.jump[1] * stride[1]),
        )


Call = dict[str, Any]
Rule = Callable[[Track, Call, tuple[int, ...]], Track | None]
Operands = list[tuple[Tensor, Track | None]]


class Follower(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes where the cells are of every tensor that is made from ``pictures``; None for tensors whose way was lost."""

    def __init__(self, pictures: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._tracks = WeakTensorKeyDictionary()
        if pictures.ndim == 4:
            self._tracks[pictures] = Track((2, 3), (pictures.shape[2], pictures.shape[3]), (0.0, 0.0), (1.0, 1.0))

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: torch would load its compiler, which takes more than a second, to hide `__torch_dispatch__` from it."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        compiler = sys.modules.get("torch._dynamo")  # there once something was compiled, which must not trace this
        follow = self._followed if compiler is None else compiler.disable(self._followed)
        return follow(func, args, kwargs or {})

    def _followed(self, func: Any, args: Any, kwargs: Any) -> Any:
        if torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), COMPOUND.name):
            with self:  # inference mode hands on linear, conv2d… in one piece; taken apart as torch itself would
                return func._op_dk(COMPOUND, *args, **kwargs)
        out = func(*args, **kwargs)
        self._note(func, args, kwargs, out)
        return out

    def track(self, tensor: Tensor) -> Track | None:
        """Where the cells of a tensor are, if the way from the pictures to it was followed."""
        track: Track | None = self._tracks.get(tensor)  # type: ignore[no-untyped-call]
        return track if track is not None and track.fits(tensor.shape) else None

    def _note(self, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        names = [argument.name for argument in func._schema.arguments]
        call = {a.name: a.default_value for a in func._schema.arguments if a.has_default_value()}
        call |= dict(zip(names, args, strict=False)) | kwargs
        leaves = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        operands = [(leaf, self._tracks[leaf]) for leaf in leaves if leaf in self._tracks]
        for result in tree_leaves(out) if operands else ():
            if isinstance(result, Tensor):
                track = _next(func, call, operands, tuple(result.shape))
                self._tracks[result] = track if track and track.fits(result.shape) else None


def _next(func: Any, call: Call, operands: Operands, shape: tuple[int, ...]) -> Track | None:
    """Where the cells of a result of ``shape`` are, or None."""
    name = func._schema.name.removeprefix("aten::")
    name = name if name in _RULES else name.removesuffix("_")
    if name == "cat":
        return _joined(operands, call, shape)
    if name in _RULES:
        main = next(call[key] for key in ("self", "input", "mat1") if isinstance(call.get(key), Tensor))
        main = call["mat1"] if name == "addmm" else main
        track = next((track for tensor, track in operands if tensor is main), None)
        return _RULES[name](track, call, shape) if track else None
    if name in _KEPT or torch.Tag.pointwise in func.tags:
        return _merged(operands, shape)
    return None


# Results whose cells are where their operands' cells are. Elementwise operations are known by their tag.
_KEPT = frozenset(
    """native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training _batch_norm_with_update
    cudnn_batch_norm miopen_batch_norm native_layer_norm native_group_norm _fused_rms_norm native_dropout clone detach
    alias _to_copy copy lift_fresh _softmax _log_softmax stack expand hardswish rsub _prelu_kernel""".split()
)
_RULES: dict[str, Rule] = {}


def _rule(names: str) -> Callable[[Rule], Rule]:
    def enter(rule: Rule) -> Rule:
        _RULES.update(dict.fromkeys(names.split(), rule))
        return rule

    return enter


def _merged(operands: Operands, shape: tuple[int, ...]) -> Track | None:
    """The cells of operands of one extent, broadcast from the right; branches that disagree are averaged."""
    tracks: list[Track] = []
    lost = False
    for tensor, track in operands:
        shift = len(shape) - tensor.ndim
        if track is None:
            lost = lost or tuple(tensor.shape[-2:]) == shape[-2:] != (1, 1)
        elif (moved := track.at(track.dims[0] + shift, track.dims[1] + shift)).fits(shape):
            tracks.append(moved)
    if not tracks or len({(track.dims, track.before, track.after) for track in tracks}) > 1:
        return None
    doubt = "".join(dict.fromkeys(track.doubt for track in tracks))
    values = np.array([(track.offset, track.jump) for track in tracks])
    if np.ptp(values, axis=0).max() > 1e-6:
        doubt = doubt or ", branches averaged"
    elif lost:
        doubt = doubt or ", one branch not followed"
    offset, jump = values.mean(0).tolist()
    reach = tuple(np.max([track.reach for track in tracks], axis=0).tolist())
    return replace(tracks[0], offset=tuple(offset), jump=tuple(jump), doubt=doubt, reach=reach)


def _window(
    track: Track,
    shape: tuple[int, ...],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int] = (1,),
) -> Track | None:
    """A window of ``kernel`` pixels slides over the last two dimensions; a single number counts for both axes."""
    if len(kernel) > 2 or track.dims != (len(shape) - 2, len(shape) - 1):
        return None
    k, s, p, d = (tuple(value) * (2 // len(value)) for value in (kernel, stride or kernel, padding, dilation))
    wide = [track.reach[axis] + (k[axis] - 1) * d[axis] * track.jump[axis] for axis in (0, 1)]
    return replace(track, reach=(wide[0], wide[1])).step(
        shape, [(k[axis] - 1) / 2 * d[axis] - p[axis] for axis in (0, 1)], s
    )


@_rule("convolution _convolution")
def _convolution(track: Track, call: Call, shape: tuple[int, ...]) -> Track | None:
    if call["transposed"]:
        return None
    return _window(track, shape, call["weight"].shape[2:], call["stride"], call["padding"], call["dilation"])


@_rule("max_pool2d_with_indices avg_pool2d")
def _pool(track: Track, call: Call, shape: tuple[int, ...]) -> Track | None:
    return _window(track, shape, call["kernel_size"], call["stride"], call["padding"], call.get("dilation", [1]))


@_rule("_adaptive_avg_pool2d adaptive_max_pool2d")
def _adaptive_pool(track: Track, _call: Call, shape: tuple[int, ...]) -> Track | None:
    kernel = [cells // out for cells, out in zip(track.cells, shape[-2:], strict=True)]
    even = all(k * out == cells for k, out, cells in zip(kernel, shape[-2:], track.cells, strict=True))
    return _window(track, shape, kernel, kernel, [0]) if even else None


@_rule("upsample_nearest2d upsample_bilinear2d _upsample_bilinear2d_aa upsample_bicubic2d")
def _upsampled(track: Track, call: Call, shape: tuple[int, ...]) -> Track | None:
    if track.dims != (len(shape) - 2, len(shape) - 1):
        return None
    if call.get("align_corners"):
        return track.step(
            shape, (0, 0), [(c - 1) / max(n - 1, 1) for c, n in zip(track.cells, shape[-2:], strict=True)]
        )
    ratio = [cells / out for cells, out in zip(track.cells, shape[-2:], strict=True)]
    return track.step(shape, [(r - 1) / 2 for r in ratio], ratio)


@_rule("constant_pad_nd reflection_pad2d replication_pad2d")
def _padded(track: Track, call: Call, shape: tuple[int, ...]) -> Track | None:
    pad = call.get("pad") or call["padding"]
    before = dict(zip(range(len(shape) - 1, -1, -1), pad[::2], strict=False))  # the last dimension comes first
    if track.flat:
        return _same_length(track, call, shape)
    return track.step(shape, [-before.get(dim, 0) for dim in track.dims], (1, 1))


@_rule("slice")
def _sliced(track: Track, call: Call, shape: tuple[int, ...]) -> Track | None:
    dim = call["dim"] % len(shape)
    if dim not in track.dims:
        return track
    if track.flat:
        return _tokens_left(track, call, shape)
    start, length = call["start"] or 0, track.cells[track.dims.index(dim)]
    start = min(start if start >= 0 else max(start + length, 0), length)
    return track.step(
        shape,
        [start * (dim == place) for place in track.dims],
        [call["step"] if dim == place else 1 for place in track.dims],
    )


def _tokens_left(track: Track, call: Call, shape: tuple[int, ...]) -> Track | None:
    """Entries around flattened cells may be cut off, cells may not."""
    dim, length = track.dims[0], track.length
    start = call["start"] or 0
    start = max(start + length, 0) if start < 0 else start
    gone = length - start - shape[dim]
    whole = call["self"].shape[dim] == length and call["step"] == 1
    if not whole or start > track.before or not 0 <= gone <= track.after:
        return None
    return replace(track, before=track.before - start, after=track.after - gone)


def _joined(operands: Operands, call: Call, shape: tuple[int, ...]) -> Track | None:
    """Entries that are no cells may be put around flattened ones; otherwise branches of the same extent are joined."""
    parts, dim = call["tensors"], call["dim"] % len(shape)
    followed = [(tensor, track) for tensor, track in operands if track is not None]
    if not any(dim in track.dims for _, track in followed):
        return _merged(operands, shape)
    number = [n for n, part in enumerate(parts) if any(part is tensor for tensor, _ in followed)]
    track = followed[0][1]
    if len(number) != 1 or not track.flat or parts[number[0]].shape[dim] != track.length:
        return None
    before, after = (sum(part.shape[dim] for part in some) for some in (parts[: number[0]], parts[number[0] + 1 :]))
    return replace(track, before=track.before + before, after=track.after + after)


@_rule("select unbind mean sum amax amin max min")
def _reduced(track: Track, call: Call, shape: tuple[int, ...]) -> Track | None:
    """Dimensions that are no places are taken away, or kept with one entry."""
    size = call["self"].ndim
    dims = call.get("dim")
    gone = {dim % size for dim in ([dims] if isinstance(dims, int) else dims or range(size))}
    if gone & set(track.dims):
        return None
    if len(shape) == size:
        return track
    vertical, horizontal = (dim - sum(other < dim for other in gone) for dim in track.dims)
    return track.at(vertical, horizontal)


@_rule("split split_with_sizes")
def _same_length(track: Track, call: Call, shape: tuple[int, ...]) -> Track | None:
    """Channels are cut or added, places are not."""
    return track if all(shape[dim] == call["self"].shape[dim] for dim in track.dims) else None


@_rule("permute transpose t")
def _permuted(track: Track, call: Call, shape: tuple[int, ...]) -> Track | None:
    size = len(shape)
    order = list(range(size))
    if "dims" in call:
        order = [dim % size for dim in call["dims"]]
    else:
        a, b = call.get("dim0", 0) % size, call.get("dim1", -1) % size
        order[a], order[b] = order[b], order[a]
    return track.at(order.index(track.dims[0]), order.index(track.dims[1]))


@_rule("mm addmm bmm")
def _mixed_channels(track: Track, _call: Call, shape: tuple[int, ...]) -> Track | None:
    """A linear layer over the last dimension; attention, where places mix, has a followed tensor on the right too."""
    return track if len(shape) - 1 not in track.dims else None


@_rule("view _unsafe_view _reshape_alias unsqueeze squeeze")
def _reshaped(track: Track, call: Call, shape: tuple[int, ...]) -> Track | None:
    """Places stay where as many numbers stand before them; they may be flattened into one dimension and back."""
    old, (h, w) = tuple(call["self"].shape), track.cells
    vertical, horizontal = track.dims
    length = track.length if track.flat else h * w
    above = math.prod(old[:vertical]) * (old[vertical] // length if track.flat else 1)
    left = above * h if track.flat else math.prod(old[:horizontal])
    near = sorted(range(len(shape)), key=lambda dim: abs(dim - vertical))
    rows = [dim for dim in near if shape[dim] == h and math.prod(shape[:dim]) == above]
    columns = [dim for dim in near if shape[dim] == w and math.prod(shape[:dim]) == left]
    pairs = [(row, column) for row in rows for column in columns if row != column and length == h * w]
    if pairs:
        return track.at(*(track.dims if track.dims in pairs else pairs[0]))
    if left != above * h:
        return None
    joined = [dim for dim in near if math.prod(shape[: dim + 1]) == above * length and shape[dim] % length == 0]
    return track.at(joined[0], joined[0]) if joined else None
