"""Painting one object: anti-aliased parts, textures, light and shadow, and the pixels that each part covers."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from vlx.scenes.backgrounds import Pixels
from vlx.scenes.world import COLORS, KINDS, PAINTS, Part, Polygon

FINE = 4  # sub-pixels a side for anti-aliasing
OUTLINE = 0.008  # width of a part's dark edge, of the picture's side
DARKER = 0.58  # the second tone of a texture, and of shaded parts

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Pose:
    """What an object is, and where: ``x``, ``y``, ``scale`` as shares of the picture's side, ``angle`` in degrees."""

    kind: str
    color: str
    accent: str
    texture: str
    x: float
    y: float
    scale: float
    angle: float


@dataclass(frozen=True)
class Window:
    """The part of the picture that an object touches, with its own coordinates there."""

    top: int
    left: int
    u: Pixels
    v: Pixels

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns of the picture."""
        return slice(self.top, self.top + self.u.shape[0]), slice(self.left, self.left + self.u.shape[1])


def paint_object(picture: Pixels, pose: Pose, rng: np.random.Generator) -> dict[str, Mask]:
    """Paint into ``picture`` (float32 [S, S, 3], in place); returns the pixels of each part, bool [S, S].

    A pixel belongs to the last part that covers at least half of it.
    """
    size = len(picture)
    window = _window(pose, size)
    if not KINDS[pose.kind].flies:
        _shadow(picture, pose, window)
    paints = {"color": _tint(pose.color, rng), "accent": _tint(pose.accent, rng)}
    paints["shade"] = paints["color"] * 0.78
    tones = 1 + (1 - DARKER) * -_pattern(pose, window)
    view = picture[window.slices]
    masks: dict[str, Mask] = {}
    for part in KINDS[pose.kind].parts:
        base = paints[part.paint] if isinstance(part.paint, str) else np.array(part.paint, np.float32)
        color = base * np.ones_like(view)
        if part.paint == "color":
            color = color * tones[..., None]
        color = color * (1.04 - 0.1 * (window.u + window.v))[..., None]
        cover, edge = _coverage(part, pose, window, size)
        view += (color - view) * cover[..., None]
        view += (base * 0.42 - view) * (edge * 0.85)[..., None]
        covered = cover >= 0.5
        for other in masks.values():
            other[window.slices] &= ~covered
        masks[part.name] = np.zeros((size, size), bool)
        masks[part.name][window.slices] = covered
    return masks


def union(masks: Iterable[Mask]) -> Mask:
    """Pixels of any of the masks, bool [S, S]."""
    whole: Mask = np.logical_or.reduce(list(masks))
    return whole


def painted_with(pose: Pose) -> dict[str, str]:
    """Part name → colour name, for the parts painted in one of the world's colours."""
    chosen = {"color": pose.color, "accent": pose.accent, "shade": pose.color}
    parts = KINDS[pose.kind].parts
    return {part.name: chosen[part.paint] for part in parts if isinstance(part.paint, str)}


def paint_names(pose: Pose) -> dict[str, str]:
    """Part name → the name of what it is painted with, for all parts: fixed paints have names of their own."""
    fixed = {part.name: PAINTS[part.paint] for part in KINDS[pose.kind].parts if not isinstance(part.paint, str)}
    return {**fixed, **painted_with(pose)}


def textured(pose: Pose) -> tuple[str, ...]:
    """Names of the parts that carry the object's texture."""
    return tuple(part.name for part in KINDS[pose.kind].parts if part.paint == "color")


def area(kind: str) -> float:
    """Area of a kind's silhouette in its own units, for making kinds comparably large."""
    scale, half = 100, 130
    canvas = Image.new("1", (2 * half, 2 * half))
    pen = ImageDraw.Draw(canvas)
    for part in KINDS[kind].parts:
        for polygon in part.polygons:
            pen.polygon([(float(x), float(y)) for x, y in polygon * scale + half], fill=1)
    return float(np.asarray(canvas).sum()) / scale**2


def _tint(color: str, rng: np.random.Generator) -> Pixels:
    return np.clip(np.array(COLORS[color]) + rng.uniform(-12, 12, 3), 0, 255).astype(np.float32)


def _window(pose: Pose, size: int) -> Window:
    reach = 1.45 * pose.scale * size + 2
    x, y = pose.x * size, pose.y * size
    left, right = max(int(x - reach), 0), min(int(x + reach) + 1, size)
    top, bottom = max(int(y - reach), 0), min(int(y + reach) + 1, size)
    rows = (np.arange(top, bottom, dtype=np.float32) + 0.5 - y)[:, None] / (pose.scale * size)
    columns = (np.arange(left, right, dtype=np.float32) + 0.5 - x)[None, :] / (pose.scale * size)
    cos, sin = np.cos(np.radians(pose.angle)), np.sin(np.radians(pose.angle))
    return Window(
        top, left, (cos * columns + sin * rows).astype(np.float32), (cos * rows - sin * columns).astype(np.float32)
    )


def _coverage(part: Part, pose: Pose, window: Window, size: int) -> tuple[Pixels, Pixels]:
    height, width = window.u.shape
    fill = Image.new("L", (width * FINE, height * FINE))
    edge = Image.new("L", fill.size)
    fill_pen, edge_pen = ImageDraw.Draw(fill), ImageDraw.Draw(edge)
    outlines = [[(float(x), float(y)) for x, y in _place(polygon, pose, window, size)] for polygon in part.polygons]
    for points in outlines:
        fill_pen.polygon(points, fill=255)
        edge_pen.line([*points, points[0]], fill=255, width=max(round(2 * OUTLINE * size * FINE), 1), joint="curve")
    for points in outlines:
        edge_pen.polygon(points, fill=0)
    return tuple(np.asarray(layer.reduce(FINE), np.float32) / 255 for layer in (fill, edge))  # type: ignore[return-value]


def _place(polygon: Polygon, pose: Pose, window: Window, size: int) -> Polygon:
    cos, sin = np.cos(np.radians(pose.angle)), np.sin(np.radians(pose.angle))
    turned = polygon @ np.array([[cos, sin], [-sin, cos]]) * pose.scale * size
    corner = np.array([window.left, window.top])
    placed: Polygon = (turned + np.array([pose.x, pose.y]) * size - corner) * FINE
    return placed


def _pattern(pose: Pose, window: Window) -> Pixels:
    """1 where the texture is dark, 0 where it is light, soft between; periods are about 6 pixels in 128."""
    period = 0.052 / pose.scale
    u, v = window.u / period, window.v / period
    sharp = 1.6
    if pose.texture == "striped":
        return _soft(np.sin(2 * np.pi * (u + v) * 0.72) * sharp)
    if pose.texture == "checkered":
        return _soft(np.sin(np.pi * u) * np.sin(np.pi * v) * 2 * sharp)
    if pose.texture == "dotted":
        row = np.floor(v)
        du, dv = (u + 0.5 * (row % 2)) % 1 - 0.5, v - row - 0.5
        return _soft((0.3 - np.hypot(du, dv)) * 9)
    return np.zeros_like(u)


def _soft(values: Pixels) -> Pixels:
    return np.clip(values + 0.5, 0, 1)


def _shadow(picture: Pixels, _pose: Pose, window: Window) -> None:
    ellipse = np.hypot(window.u / 1.05, (window.v - 0.95) / 0.22)
    picture[window.slices] *= 1 - 0.32 * np.clip(1.15 - ellipse, 0, 1)[..., None]
