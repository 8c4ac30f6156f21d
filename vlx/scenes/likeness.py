"""Whether a picture is one of the drawn world, by evidence: its colours by place, and how they lie in it.

A drawn scene is a sky over a ground, each of few known colours under a light that changes them little, and objects in
known paints; the rest of the picture is smooth. Nothing else is told of a picture than whether it shows all of that, or
far too little: what lies between is left open. ``python -m benchmarks.scope drawn`` counts the errors.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vlx.scenes.backgrounds import PAINTERS, paint
from vlx.scenes.world import COLORS, PAINTS

SIDE = 48  # pixels along each side of what is looked at
WIDTH = 8  # grey levels of a colour's box
EMPTY = 24  # empty scenes a place whose colours are known
LIGHTS = np.arange(0.8, 1.17, 0.03)
SHADES = (1.0, 0.9, 0.78, 0.58, 0.45, 0.42)  # of an object's paint: light, shaded parts, textures, edges
EDGE = 6  # rows at the top and the bottom
GREY = 12  # grey levels between channels that no picture without colour passes

Table = NDArray[np.bool_]


@dataclass(frozen=True)
class SceneLikeness:
    """How much of a picture is as in a drawn scene.

    ``ground``: the share of pixels in the colours of the likeliest place's sky (upper half) and ground (lower half);
    ``known``: with those in the colours of objects; ``top``, ``bottom``: ``ground`` of the first and last rows;
    ``apart``: the distance between the median colours of these, in grey levels summed over channels; ``steps``: the
    median, and ``edges`` the share above 12, of grey levels' changes between neighbours in a row; ``colour``: how far
    the channels of the most colourful hundredth of pixels lie apart, in grey levels.
    """

    ground: float
    known: float
    top: float
    bottom: float
    apart: float
    steps: float
    edges: float
    colour: float

    @property
    def drawn(self) -> bool | None:
        """True where all is as in a drawn scene, False where too little is, None where it cannot be told."""
        if self.ground < 0.6 or self.known < 0.8 or self.colour < GREY:
            return False
        smooth = self.steps <= 4 and self.edges <= 0.22
        both = self.top >= 0.6 and self.bottom >= 0.6 and self.apart >= 25
        return True if 0.7 <= self.ground <= 0.96 and self.known >= 0.86 and smooth and both else None


def likeness(picture: Image.Image) -> SceneLikeness:
    """What a picture has of a drawn scene; its size and shape do not matter.

    >>> likeness(draw(10_000_000).image).drawn
    True
    """
    pixels = np.asarray(picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX), np.float32)
    boxes = tuple(np.moveaxis(pixels, 2, 0).astype(int) // WIDTH)
    grounds = [np.concatenate([upper[_rows(boxes, 0)], lower[_rows(boxes, 1)]]) for upper, lower in _places()]
    ground = max(grounds, key=lambda one: float(one.mean()))
    changes = np.abs(np.diff(pixels.mean(2), axis=1))
    first, last = (np.median(pixels[rows], (0, 1)) for rows in (slice(EDGE), slice(-EDGE, None)))
    return SceneLikeness(
        ground=float(ground.mean()),
        known=float((ground | _objects()[boxes]).mean()),
        top=float(ground[:EDGE].mean()),
        bottom=float(ground[-EDGE:].mean()),
        apart=float(np.abs(first - last).sum()),
        steps=float(np.median(changes)),
        edges=float((changes > 12).mean()),
        colour=float(np.quantile(np.ptp(pixels, axis=2), 0.99)),
    )


def _rows(boxes: tuple[NDArray[Any], ...], half: int) -> tuple[NDArray[Any], ...]:
    """The boxes of the upper (0) or lower (1) half of the picture."""
    return tuple(box[SIDE // 2 * half : SIDE // 2 * (half + 1)] for box in boxes)


@cache
def _places() -> tuple[tuple[Table, Table], ...]:
    """Which colours the upper and the lower half of each place's empty scenes show, bool [32, 32, 32] each."""
    tables = []
    for place in PAINTERS:
        empty = [paint(place, np.random.default_rng(seed), SIDE) for seed in range(EMPTY)]
        tables.append((_table([one[: SIDE // 2] for one in empty]), _table([one[SIDE // 2 :] for one in empty])))
    return tuple(tables)


@cache
def _objects() -> Table:
    """Which colours objects show, with a box more to each side, bool [32, 32, 32]."""
    tints = np.random.default_rng(0).uniform(-12, 12, (16, 1, 3))
    paints = [np.array(list(COLORS.values())) + tints, np.array(list(PAINTS))[None]]
    table = _table([one * shade for one in paints for shade in SHADES])
    padded = np.pad(table, 1)
    middle = slice(1, -1)
    for axis in range(3):
        for shift in (slice(None, -2), slice(2, None)):
            table |= padded[tuple(shift if dim == axis else middle for dim in range(3))]
    return table


def _table(colours: list[NDArray[Any]]) -> Table:
    """The boxes that colours [..., 3] in 0 to 255 lie in, under every light."""
    table = np.zeros((256 // WIDTH,) * 3, bool)
    for one in colours:
        for light in LIGHTS:
            table[tuple(np.moveaxis(np.clip(one * light, 0, 255).astype(int) // WIDTH, -1, 0))] = True
    return table
