"""The words of the embedded world, and the shapes behind them.

A kind of object is a tuple of parts, back to front. A part is polygons in the object's own frame (x right, y down,
about −1 to 1; none thinner than a few pixels of a 128-pixel picture) and a paint: the object's colour (with its
texture), its accent colour, a shade of its colour, or a fixed RGB.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Polygon = NDArray[np.float64]
RGB = tuple[int, int, int]

COLORS: dict[str, RGB] = {
    "red": (212, 38, 40),
    "orange": (245, 128, 28),
    "yellow": (250, 212, 50),
    "green": (52, 160, 70),
    "blue": (40, 96, 208),
    "purple": (128, 58, 168),
    "pink": (250, 140, 188),
    "white": (244, 244, 244),
}
TEXTURES = ("plain", "striped", "dotted", "checkered")
SCENES: dict[str, str] = {
    "meadow": "in a meadow",
    "beach": "on a beach",
    "desert": "in a desert",
    "snow": "in the snow",
    "night": "at night",
}

GLASS: RGB = (178, 216, 232)
WOOD: RGB = (122, 82, 48)
DARK: RGB = (46, 44, 52)
STEEL: RGB = (120, 126, 138)
CREAM: RGB = (236, 222, 190)
OLIVE: RGB = (92, 118, 48)
FLAME: RGB = (255, 176, 60)
PAINTS: dict[RGB, str] = {  # fixed paints by the eleven basic colour terms, which are also Broden's
    GLASS: "blue",
    WOOD: "brown",
    DARK: "black",
    STEEL: "grey",
    CREAM: "white",
    OLIVE: "green",
    FLAME: "orange",
}


@dataclass(frozen=True)
class Part:
    """One named part: its polygons and what it is painted with."""

    name: str
    polygons: tuple[Polygon, ...]
    paint: Literal["color", "accent", "shade"] | RGB


@dataclass(frozen=True)
class Kind:
    """One kind of object: its parts back to front, where it may stand, and how far it may lean (degrees)."""

    name: str
    parts: tuple[Part, ...]
    flies: bool = False
    lean: float = 8.0


def _ellipse(x: float, y: float, rx: float, ry: float, start: float = 0, stop: float = 360, n: int = 36) -> Polygon:
    angle = np.radians(np.linspace(start, stop, n))
    return np.stack([x + rx * np.cos(angle), y + ry * np.sin(angle)], 1)


def _box(x0: float, y0: float, x1: float, y1: float) -> Polygon:
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], float)


def _shape(*points: tuple[float, float]) -> Polygon:
    return np.array(points, float)


def _petals(count: int, distance: float, radius: float, x: float, y: float) -> tuple[Polygon, ...]:
    angles = np.radians(np.arange(count) * 360 / count - 90)
    return tuple(_ellipse(x + distance * np.cos(a), y + distance * np.sin(a), radius, radius, n=20) for a in angles)


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "house",
            (
                Part("wall", (_box(-0.8, -0.2, 0.8, 0.9),), "color"),
                Part("roof", (_shape((-1.05, -0.15), (0, -1.0), (1.05, -0.15)),), "accent"),
                Part("door", (_box(-0.18, 0.3, 0.18, 0.9),), WOOD),
                Part("window", (_box(-0.62, 0.1, -0.32, 0.42), _box(0.32, 0.1, 0.62, 0.42)), GLASS),
            ),
        ),
        Kind(
            "car",
            (
                Part(
                    "body",
                    (
                        _shape(
                            (-1.1, 0.35),
                            (-1.05, -0.05),
                            (-0.68, -0.12),
                            (-0.42, -0.55),
                            (0.4, -0.55),
                            (0.7, -0.12),
                            (1.05, 0.0),
                            (1.1, 0.35),
                        ),
                    ),
                    "color",
                ),
                Part(
                    "window",
                    (
                        _shape((-0.5, -0.12), (-0.34, -0.43), (-0.05, -0.43), (-0.05, -0.12)),
                        _shape((0.05, -0.12), (0.05, -0.43), (0.33, -0.43), (0.52, -0.12)),
                    ),
                    GLASS,
                ),
                Part("wheel", (_ellipse(-0.6, 0.36, 0.26, 0.26), _ellipse(0.6, 0.36, 0.26, 0.26)), DARK),
            ),
        ),
        Kind(
            "tree",
            (
                Part("trunk", (_shape((-0.14, 0.2), (0.14, 0.2), (0.22, 1.0), (-0.22, 1.0)),), WOOD),
                Part(
                    "crown",
                    (
                        _ellipse(-0.38, -0.1, 0.46, 0.46),
                        _ellipse(0.38, -0.1, 0.46, 0.46),
                        _ellipse(0, -0.5, 0.52, 0.52),
                        _ellipse(0, 0.05, 0.5, 0.4),
                    ),
                    "color",
                ),
            ),
        ),
        Kind(
            "boat",
            (
                Part("mast", (_box(-0.1, -1.05, 0.08, 0.3),), WOOD),
                Part(
                    "sail",
                    (
                        _shape((0.08, -1.0), (0.95, 0.2), (0.08, 0.2)),
                        _shape((-0.1, -0.8), (-0.82, 0.2), (-0.1, 0.2)),
                    ),
                    CREAM,
                ),
                Part("hull", (_shape((-1.1, 0.22), (1.1, 0.22), (0.7, 0.9), (-0.7, 0.9)),), "color"),
            ),
        ),
        Kind(
            "flower",
            (
                Part("stem", (_box(-0.13, 0.1, 0.13, 1.05),), OLIVE),
                Part("leaf", (_ellipse(0.38, 0.68, 0.36, 0.2), _ellipse(-0.38, 0.78, 0.36, 0.2)), OLIVE),
                Part("petal", _petals(6, 0.44, 0.36, 0, -0.32), "color"),
                Part("center", (_ellipse(0, -0.32, 0.27, 0.27),), "accent"),
            ),
            lean=12,
        ),
        Kind(
            "mushroom",
            (
                Part("stem", (_shape((-0.26, -0.05), (0.26, -0.05), (0.34, 0.9), (-0.34, 0.9)),), CREAM),
                Part("cap", (_ellipse(0, 0.08, 1.0, 0.92, 180, 360),), "color"),
            ),
        ),
        Kind(
            "umbrella",
            (
                Part(
                    "handle",
                    (
                        _box(-0.11, -0.1, 0.11, 0.8),
                        np.concatenate(
                            [_ellipse(0.24, 0.78, 0.13, 0.12, 180, 0, 14), _ellipse(0.24, 0.78, 0.35, 0.34, 0, 180, 14)]
                        ),
                    ),
                    WOOD,
                ),
                Part(
                    "canopy",
                    (
                        np.concatenate(
                            [
                                _ellipse(0, 0.06, 1.05, 1.0, 180, 360),
                                _ellipse(0.7, 0.06, 0.35, 0.16, 0, -180, 10),
                                _ellipse(0, 0.06, 0.35, 0.16, 0, -180, 10),
                                _ellipse(-0.7, 0.06, 0.35, 0.16, 0, -180, 10),
                            ]
                        ),
                    ),
                    "color",
                ),
            ),
            lean=20,
        ),
        Kind(
            "lamp",
            (
                Part("pole", (_box(-0.16, -0.2, 0.16, 0.8),), STEEL),
                Part("base", (_shape((-0.62, 0.98), (-0.42, 0.66), (0.42, 0.66), (0.62, 0.98)),), STEEL),
                Part("shade", (_shape((-0.44, -1.0), (0.44, -1.0), (0.86, 0.0), (-0.86, 0.0)),), "color"),
            ),
        ),
        Kind(
            "balloon",
            (
                Part("rope", (_shape((-0.3, 0.4), (0.3, 0.4), (0.26, 0.68), (-0.26, 0.68)),), DARK),
                Part("basket", (_shape((-0.34, 0.62), (0.34, 0.62), (0.27, 1.05), (-0.27, 1.05)),), WOOD),
                Part(
                    "envelope",
                    (np.concatenate([_ellipse(0, -0.28, 0.8, 0.76, 150, 390), _shape((0.3, 0.48), (-0.3, 0.48))]),),
                    "color",
                ),
            ),
            flies=True,
        ),
        Kind(
            "bird",
            (
                Part("tail", (_shape((-0.55, -0.16), (-1.2, -0.48), (-1.15, 0.24), (-0.55, 0.34)),), "shade"),
                Part("beak", (_shape((0.9, -0.55), (1.38, -0.26), (0.9, -0.02)),), FLAME),
                Part("body", (_ellipse(-0.02, 0.12, 0.8, 0.62), _ellipse(0.6, -0.3, 0.44, 0.44)), "color"),
                Part(
                    "wing", (_shape((0.3, -0.02), (-0.1, 0.46), (-0.62, 0.32), (-0.9, -0.3), (-0.3, -0.2)),), "accent"
                ),
                Part("eye", (_ellipse(0.7, -0.38, 0.1, 0.1, n=14),), DARK),
            ),
            flies=True,
            lean=20,
        ),
        Kind(
            "rocket",
            (
                Part("flame", (_shape((-0.3, 0.6), (0.3, 0.6), (0.17, 0.9), (0, 1.16), (-0.17, 0.9)),), FLAME),
                Part(
                    "fin",
                    (
                        _shape((-0.45, 0.0), (-0.98, 0.8), (-0.36, 0.68)),
                        _shape((0.45, 0.0), (0.98, 0.8), (0.36, 0.68)),
                    ),
                    "accent",
                ),
                Part(
                    "body",
                    (
                        np.concatenate(
                            [_shape((-0.42, 0.66)), _ellipse(0, -0.28, 0.55, 0.6, 170, 370, 20), _shape((0.42, 0.66))]
                        ),
                    ),
                    "color",
                ),
                Part(
                    "nose",
                    (_shape((-0.45, -0.6), (-0.27, -0.92), (0, -1.16), (0.27, -0.92), (0.45, -0.6)),),
                    "accent",
                ),
                Part("window", (_ellipse(0, -0.22, 0.22, 0.22, n=20),), GLASS),
            ),
            flies=True,
            lean=25,
        ),
        Kind(
            "butterfly",
            (
                Part(
                    "wing",
                    (
                        _ellipse(-0.56, -0.36, 0.5, 0.46),
                        _ellipse(0.56, -0.36, 0.5, 0.46),
                        _ellipse(-0.44, 0.42, 0.38, 0.38),
                        _ellipse(0.44, 0.42, 0.38, 0.38),
                    ),
                    "color",
                ),
                Part(
                    "antenna",
                    (
                        _shape((-0.07, -0.5), (-0.32, -0.94), (-0.2, -1.0), (0.05, -0.5)),
                        _shape((0.07, -0.5), (0.32, -0.94), (0.2, -1.0), (-0.05, -0.5)),
                    ),
                    DARK,
                ),
                Part("body", (_ellipse(0, 0, 0.15, 0.68, n=24),), DARK),
            ),
            flies=True,
            lean=25,
        ),
    )
}
