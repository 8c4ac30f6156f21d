"""What people are shown: maps of a model as pictures, of one size and without a trace of whose they are."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from scipy.stats import rankdata

from vlx.data.example import Mask
from vlx.evaluation.cases import Case
from vlx.methods import several
from vlx.methods.cams import gradcam
from vlx.methods.method import Method, Site
from vlx.methods.pixel_methods import carry
from vlx.methods.pixels import shown as in_colours
from vlx.methods.pixels import up
from vlx.methods.relu_rules import Rule
from vlx.pictures.placement import Grid, Placement, visible_at
from vlx.protocol.targets import Target
from vlx.report import colour
from vlx.studies.questions import View

Pixels = NDArray[np.uint8]
Values = NDArray[np.floating]
SIDE = 256  # pixels along the longer side of what is shown
RANKS = 48  # cells along the longer side of a map that points are compared with
STRONGEST = 0.995  # single pixels beyond this quantile do not stretch the colours of a map in pixels
RULES: dict[str, Rule] = {  # maps that the paper shows in the colours of the gradient, grey where it is 0
    "gradient": "gradient",
    "deconvolution": "deconvolution",
    "guided": "guided",
    "guided-gradcam": "guided",
}
LOCALIZED = "guided-gradcam"


@dataclass(frozen=True, eq=False)
class ShownMap:
    """One map: ``pixels`` as people see it, uint8 [H, W, 3], and its ``values`` there, [H, W], 0 where none speak."""

    pixels: Pixels
    values: Values


def size_of(view: View, side: int) -> tuple[int, int]:
    """(H, W) of the picture with its longer side at ``side`` pixels, or as it is where it is smaller."""
    image = view.shown.examples[0].image
    ratio = min(side / max(image.size), 1.0)
    return max(round(image.height * ratio), 1), max(round(image.width * ratio), 1)


def bare(view: View, side: int = SIDE) -> Pixels:
    """The picture alone."""
    return _resized(view.shown.examples[0].image, size_of(view, side))


def drawn(view: View, cases: Sequence[Case], methods: Sequence[Method], side: int = SIDE) -> dict[str, list[ShownMap]]:
    """The maps of some cases of a picture by each method, as people see them."""
    shown = view.shown
    kind, size = shown.task.defaults.target, size_of(view, side)
    site, targets = Site.of(
        shown.task, shown.features, [case.target(kind) for case in cases], shown.inputs, shown.filling
    )
    heated = [method for method in methods if method.name not in RULES]
    signed = several.maps_of(shown.task, site, targets, heated) if heated else {}
    maps: dict[str, list[ShownMap]] = {}
    for method in methods:
        if method.name in RULES:
            maps[method.name] = [_coloured(view, _channels(view, site, one, method), size) for one in targets]
        else:
            placement = Placement(method.grid(site).plain, shown.placement(0).frame)
            values = np.maximum(np.asarray(signed[method.name].double().cpu().numpy()), 0)
            maps[method.name] = [_heated(bare(view, side), one, placement) for one in values]
    return maps


def ranks(values: Values, seen: Mask) -> NDArray[np.uint8]:
    """For each pixel of a map which share of the pixels that were ``seen`` it exceeds, in 254ths above 1; 0 elsewhere.

    Those like it count half. The mean of such a map is a half, whatever the map: so much a point reaches that was put
    anywhere; see `reached`.
    """
    places = rankdata(values[seen], "average") if seen.any() else np.zeros(0)
    ranked = np.zeros(values.shape, np.uint8)
    ranked[seen] = np.rint(1 + 254 * (places - 0.5) / max(len(places), 1))
    return ranked


def reached(ranked: NDArray[np.uint8], points: ArrayLike) -> NDArray[np.float64]:
    """Which share of a map's pixels each point exceeds, [...]; NaN where the map has none.

    ``points`` [..., 2] are (x, y) from the left and the top, 0 to 1.

    >>> reached(np.array([[0, 1], [255, 128]]), [(0.2, 0.9), (0.2, 0.1)]).tolist()
    [1.0, nan]
    """
    height, width = ranked.shape
    places = np.asarray(points, np.float64)
    columns, rows = (
        np.minimum(places[..., axis] * size, size - 1).astype(int) for axis, size in enumerate((width, height))
    )
    values = ranked[rows, columns].astype(np.float64)
    return np.where(values > 0, (values - 1) / 254, np.nan)


def seen_at(view: View, size: tuple[int, int]) -> Mask:
    """Which pixels of the picture, drawn at a size (H, W), a model saw."""
    return visible_at(view.shown.placement(0), size)


def _heated(small: Pixels, values: Values, placement: Placement) -> ShownMap:
    size = (small.shape[0], small.shape[1])
    painted = colour.painted(values, placement, size)
    under = colour.hatched(colour.muted(small), visible_at(placement, size))
    return ShownMap(colour.overlay(under, painted, float(painted.max(initial=0.0))), painted)


def _coloured(view: View, values: Values, size: tuple[int, int]) -> ShownMap:
    """A map of three channels as the paper shows it: mid-grey is 0."""
    frame = view.shown.placement(0).frame
    placement = Placement(Grid.of_pixels((values.shape[1], values.shape[2])), frame)
    three = values if len(values) == 3 else np.broadcast_to(values.mean(0), (3, *values.shape[1:]))
    painted = np.stack([colour.painted(channel, placement, size) for channel in three])
    top = float(np.quantile(np.abs(painted), STRONGEST)) or float(np.abs(painted).max()) or 1.0
    pixels = colour.hatched(in_colours(painted, top), visible_at(placement, size))
    return ShownMap(pixels, np.abs(painted).sum(0))


def _channels(view: View, site: Site, target: Target, method: Method) -> Values:
    """A target's gradient at the picture, [C, H, W] by the method's rule; of Guided Grad-CAM times its heat map."""
    task, row = view.shown.task, site.row(target.row)
    carried = carry(task, row, [replace(target, row=0)], RULES[method.name], method.name)
    values, features = carried.pixels.values, row.features
    if method.name == LOCALIZED:
        values = values * up(features.grid.fold(gradcam(features.A, carried.G)), features.grid)[:, None].to(values)
    return np.asarray(values[0].double().cpu().numpy())


def encoded(pixels: Pixels, side: int, quality: int) -> bytes:
    """A picture as WebP with its longer side at most ``side`` pixels, nothing of where it is from in it."""
    image = Image.fromarray(pixels)
    ratio = min(side / max(image.size), 1.0)
    if ratio < 1:
        image = image.resize([max(round(length * ratio), 1) for length in image.size], Image.Resampling.LANCZOS)
    held = io.BytesIO()
    image.save(held, "WEBP", quality=quality)
    return held.getvalue()


def _resized(image: Image.Image, size: tuple[int, int]) -> Pixels:
    if (image.height, image.width) == size:
        return np.asarray(image)
    return np.asarray(image.resize(size[::-1], Image.Resampling.LANCZOS, reducing_gap=2.0))
