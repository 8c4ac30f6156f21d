"""Pictures of one or two flat shapes on a light ground, with a caption, labels and the pixels of each shape.

Unlike the drawn scenes in everything that matters to a probe: the ground is nearly white, the shapes are flat and have
no parts, and most of the picture is empty.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIZE = 64
COLORS = {
    "red": (214, 40, 40),
    "green": (40, 160, 60),
    "blue": (40, 80, 210),
    "yellow": (235, 200, 30),
    "purple": (130, 50, 160),
    "black": (25, 25, 25),
}
SHAPES = ("circle", "square", "triangle")
SMALL, LARGE = (7, 8), (12, 14)  # half the side, in pixels
GROUND = (226, 255)  # of each channel
MOST = 2  # shapes beside each other
GAP = 2  # pixels between two shapes, at least

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Shape:
    """One shape: what it is and the pixels [64, 64] that it covers."""

    size: str
    color: str
    shape: str
    mask: Mask

    @property
    def words(self) -> tuple[str, ...]:
        """How a caption calls it."""
        return "a", self.size, self.color, self.shape


@dataclass(frozen=True, eq=False)
class Drawn:
    """A picture uint8 [64, 64, 3] and its shapes, from left to right."""

    pixels: NDArray[np.uint8]
    shapes: tuple[Shape, ...]

    @property
    def image(self) -> Image.Image:
        """The picture as PIL has it."""
        return Image.fromarray(self.pixels)

    def caption(self) -> tuple[tuple[str, Mask | None], ...]:
        """The caption's words, each with the pixels it speaks of; None for words that no place shows."""
        words: list[tuple[str, Mask | None]] = []
        for number, shape in enumerate(self.shapes):
            words += [("left", None), ("of", None)] if number else []
            article, *rest = shape.words
            words += [(article, None), *((word, shape.mask) for word in rest)]
        return tuple(words)

    def labels(self) -> dict[str, Mask]:
        """Colours and shapes in the picture, each with the pixels of all that have it."""
        found: dict[str, Mask] = {}
        for shape in self.shapes:
            for label in (shape.color, shape.shape):
                found[label] = found.get(label, np.zeros_like(shape.mask)) | shape.mask
        return found


def draw(seed: int) -> Drawn:
    """One or two shapes beside each other, anywhere from top to bottom; the seed fixes all."""
    rng = np.random.default_rng(seed)
    ground = rng.integers(*GROUND, 3, endpoint=True)
    pixels = np.broadcast_to(ground, (SIZE, SIZE, 3)) + rng.integers(-2, 3, (SIZE, SIZE, 3))
    columns = np.sort(rng.permutation(MOST)[: rng.integers(1, MOST + 1)])
    width = SIZE / MOST
    shapes = []
    for column in columns:
        size = str(rng.choice(("small", "large")))
        half = float(rng.uniform(*(SMALL if size == "small" else LARGE)))
        x = rng.uniform(column * width + half + GAP / 2, (column + 1) * width - half - GAP / 2)
        y = rng.uniform(half + 1, SIZE - half - 1)
        name, color = str(rng.choice(SHAPES)), str(rng.choice(tuple(COLORS)))
        mask = _covered(name, x, y, half)
        paint = np.array(COLORS[color]) + rng.integers(-12, 13, 3)
        pixels = np.where(mask[..., None], paint + rng.integers(-4, 5, (SIZE, SIZE, 1)), pixels)
        shapes.append(Shape(size, color, name, mask))
    return Drawn(pixels.clip(0, 255).astype(np.uint8), tuple(shapes))


def _covered(name: str, x: float, y: float, half: float) -> Mask:
    rows, columns = np.mgrid[:SIZE, :SIZE] + 0.5
    down, right = (rows - y) / half, (columns - x) / half
    if name == "circle":
        return np.asarray(down**2 + right**2 <= 1)
    inside = (np.abs(down) <= 1) & (np.abs(right) <= 1)
    return np.asarray(inside if name == "square" else inside & (np.abs(right) <= (down + 1) / 2))
