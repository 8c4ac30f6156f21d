"""The five backgrounds: each with its own light, ground texture and noise, the same at every picture size.

All noise is drawn on a fixed 128-cell lattice and enlarged, so that a seed gives one scene whatever its size.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[Any]  # floating point, [S, S] or [S, S, 3]
LATTICE = 128


def noise(rng: np.random.Generator, size: int, cells: int) -> Pixels:
    """Smooth noise in about [−1, 1] with ``cells`` bumps a side, float32 [size, size]."""
    small = rng.uniform(-1, 1, (cells, cells)).astype(np.float32)
    if cells == size:
        return small
    return np.asarray(Image.fromarray(small).resize((size, size), Image.Resampling.BICUBIC))


def _mix(low: Pixels, high: Pixels, share: Pixels) -> Pixels:
    mixed: Pixels = low + (high - low) * share[..., None]
    return mixed


def _rgb(*color: float) -> Pixels:
    return np.array(color, np.float32)


def _over(picture: Pixels, layer: Pixels, share: Pixels) -> Pixels:
    return _mix(picture, layer, np.clip(share, 0, 1))


def _ground(y: Pixels, line: Pixels) -> Pixels:
    """Share of ground in each pixel: 0 above the line, 1 below, soft over one lattice cell."""
    ground: Pixels = np.clip((y - line) * LATTICE + 0.5, 0, 1)
    return ground


def _meadow(rng: np.random.Generator, x: Pixels, y: Pixels, size: int) -> Pixels:
    horizon = rng.uniform(0.36, 0.52)
    sky = _mix(_rgb(116, 176, 232), _rgb(206, 230, 246), np.clip(y / horizon, 0, 1))
    cloud = np.clip(noise(rng, size, 5) * 1.6 - 0.25, 0, 1) * (y < horizon)
    sky = _over(sky, np.broadcast_to(_rgb(250, 252, 255), sky.shape), cloud * 0.8)
    hill = horizon - 0.07 + 0.05 * np.sin(x * rng.uniform(4, 8) + rng.uniform(0, 6))
    picture = _over(sky, np.broadcast_to(_rgb(120, 168, 104), sky.shape), _ground(y, hill))
    blades = noise(rng, size, 64) * 0.5 + noise(rng, size, 16) * 0.6
    grass = _mix(_rgb(122, 186, 84), _rgb(84, 148, 58), np.clip((y - horizon) / (1 - horizon), 0, 1))
    return _over(picture, grass + blades[..., None] * _rgb(20, 22, 12), _ground(y, horizon + 0.01 * np.sin(9 * x)))


def _beach(rng: np.random.Generator, x: Pixels, y: Pixels, size: int) -> Pixels:
    horizon, shore = rng.uniform(0.26, 0.38), rng.uniform(0.52, 0.64)
    sky = _mix(_rgb(140, 204, 240), _rgb(232, 242, 240), np.clip(y / horizon, 0, 1))
    waves = np.sin((y - horizon) * rng.uniform(90, 130) + 1.5 * noise(rng, size, 8))
    sea = _mix(_rgb(36, 136, 178), _rgb(112, 202, 204), np.clip((y - horizon) / (shore - horizon), 0, 1))
    picture = _over(sky, sea + (waves * 9)[..., None], _ground(y, np.full_like(x, horizon)))
    edge = shore + 0.025 * np.sin(x * rng.uniform(5, 9) + rng.uniform(0, 6))
    picture = _over(picture, np.broadcast_to(_rgb(244, 250, 250), sky.shape), _ground(y, edge - 0.018))
    grain = noise(rng, size, LATTICE) * 0.7 + noise(rng, size, 12) * 0.5
    return _over(picture, _rgb(236, 214, 166) + grain[..., None] * _rgb(13, 13, 14), _ground(y, edge))


def _desert(rng: np.random.Generator, x: Pixels, y: Pixels, size: int) -> Pixels:
    sky = _mix(_rgb(246, 196, 146), _rgb(252, 232, 196), np.clip(y / 0.5, 0, 1))
    sun_x, sun_y = rng.uniform(0.1, 0.9), rng.uniform(0.08, 0.2)
    sun = np.clip((0.06 - np.hypot(x - sun_x, y - sun_y)) * LATTICE, 0, 1)
    picture = _over(sky, np.broadcast_to(_rgb(255, 246, 214), sky.shape), sun)
    for depth, color in ((0.0, _rgb(206, 142, 86)), (0.16, _rgb(218, 158, 98)), (0.36, _rgb(226, 172, 112))):
        base = rng.uniform(0.38, 0.46) + depth
        crest = base + 0.055 * np.sin(x * rng.uniform(3, 6) + rng.uniform(0, 6))
        ripple = np.sin((y - crest) * rng.uniform(70, 100) + 4 * x + noise(rng, size, 6))
        picture = _over(picture, color + (ripple * 6)[..., None], _ground(y, crest))
    return picture


def _snow(rng: np.random.Generator, x: Pixels, y: Pixels, size: int) -> Pixels:
    horizon = rng.uniform(0.4, 0.54)
    sky = _mix(_rgb(150, 168, 190), _rgb(204, 216, 228), np.clip(y / horizon, 0, 1))
    peaks = horizon - 0.16 * np.abs(np.sin(x * rng.uniform(4, 7) + rng.uniform(0, 6)))
    picture = _over(sky, np.broadcast_to(_rgb(176, 192, 212), sky.shape), _ground(y, peaks))
    drift = noise(rng, size, 7)
    ground = _rgb(226, 234, 244) + drift[..., None] * _rgb(12, 9, 5)
    picture = _over(picture, ground, _ground(y, horizon + 0.02 * np.sin(7 * x)))
    flakes = _dots(rng, x, y, 45, 0.006, 0.011)
    return _over(picture, np.broadcast_to(_rgb(255, 255, 255), sky.shape), flakes * 0.95)


def _night(rng: np.random.Generator, x: Pixels, y: Pixels, size: int) -> Pixels:
    horizon = rng.uniform(0.55, 0.68)
    sky = _mix(_rgb(12, 16, 48), _rgb(48, 50, 104), np.clip(y / horizon, 0, 1))
    stars = _dots(rng, x, y * 1.0, 40, 0.003, 0.007) * (y < horizon)
    sky = _over(sky, np.broadcast_to(_rgb(246, 244, 220), sky.shape), stars)
    moon_x, moon_y = rng.uniform(0.12, 0.88), rng.uniform(0.1, 0.2)
    moon = np.clip((0.055 - np.hypot(x - moon_x, y - moon_y)) * LATTICE, 0, 1)
    bite = np.clip((0.05 - np.hypot(x - moon_x - 0.025, y - moon_y + 0.012)) * LATTICE, 0, 1)
    sky = _over(sky, np.broadcast_to(_rgb(250, 244, 206), sky.shape), moon * (1 - bite))
    line = horizon + 0.03 * np.sin(x * rng.uniform(4, 8) + rng.uniform(0, 6))
    ground = _rgb(24, 40, 44) + (noise(rng, size, 32) * 6)[..., None]
    return _over(sky, ground, _ground(y, line))


def _dots(rng: np.random.Generator, x: Pixels, y: Pixels, count: int, small: float, large: float) -> Pixels:
    """Share of each pixel covered by ``count`` random discs of radius ``small`` to ``large``."""
    size = len(x)
    cover = np.zeros_like(x)
    for cx, cy, radius in np.column_stack([rng.random((count, 2)), rng.uniform(small, large, count)]):
        reach = int(np.ceil((radius + 1 / LATTICE) * size))
        i, j = int(cy * size), int(cx * size)
        window = np.s_[max(i - reach, 0) : i + reach + 1, max(j - reach, 0) : j + reach + 1]
        disc = np.clip((radius - np.hypot(x[window] - cx, y[window] - cy)) * LATTICE + 0.5, 0, 1)
        cover[window] = np.maximum(cover[window], disc)
    return cover


PAINTERS: dict[str, Callable[[np.random.Generator, Pixels, Pixels, int], Pixels]] = {
    "meadow": _meadow,
    "beach": _beach,
    "desert": _desert,
    "snow": _snow,
    "night": _night,
}


def paint(scene: str, rng: np.random.Generator, size: int) -> Pixels:
    """The empty scene, float32 [size, size, 3] in [0, 255]."""
    axis = (np.arange(size, dtype=np.float32) + 0.5) / size
    y, x = np.meshgrid(axis, axis, indexing="ij")
    return PAINTERS[scene](rng, x, y, size)


def light(picture: Pixels, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Put the day's light and the camera's noise over a finished picture; uint8 [size, size, 3]."""
    size = len(picture)
    axis = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    slope = rng.uniform(-0.12, 0.12, 2).astype(np.float32)
    gain = rng.uniform(0.88, 1.08) + slope[0] * axis[:, None] + slope[1] * axis[None, :]
    grain = noise(rng, size, LATTICE) * rng.uniform(1.5, 5.0)
    lit: NDArray[np.uint8] = np.clip(picture * gain[..., None] + grain[..., None], 0, 255).round().astype(np.uint8)
    return lit
