"""Measures of place once more, slowly: every map is painted pixel by pixel, every segment grown from a seed."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tests.painted import CELL, CELLS, SIDE
from vlx.data.example import Box

Values = NDArray[np.float64]
Mask = NDArray[np.bool_]
EIGHT = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx]


def painted_by_hand(cells: Values) -> Values:
    """The map [4, 8] on the 128 × 128 pixels of a painted scene: linear between the centres of cells."""
    across = np.array([np.interp(np.arange(SIDE), CELL * np.arange(CELLS[1]) + 7.5, row) for row in cells])
    return np.array([np.interp(np.arange(SIDE), 32 * np.arange(CELLS[0]) + 15.5, line) for line in across.T]).T


def filled(above: Mask) -> list[list[tuple[int, int]]]:
    """The pixels of each segment, in reading order of where they begin."""
    left, found = set(zip(*np.nonzero(above), strict=True)), []
    for seed in sorted(left):
        if seed not in left:
            continue
        left.remove(seed)
        segment, ahead = [seed], [seed]
        while ahead:
            y, x = ahead.pop()
            for dy, dx in EIGHT:
                if (y + dy, x + dx) in left:
                    left.remove((y + dy, x + dx))
                    segment.append((y + dy, x + dx))
                    ahead.append((y + dy, x + dx))
        found.append(segment)
    return found


def box_by_hand(above: Mask) -> Box | None:
    """The box around the largest segment."""
    segments = filled(above)
    if not segments:
        return None
    rows, columns = zip(*max(segments, key=len), strict=True)
    (top, bottom), (left, right) = (min(rows), max(rows)), (min(columns), max(columns))
    return float(left), float(top), float(right - left + 1), float(bottom - top + 1)


def pixels_of(box: Box) -> Mask:
    """The pixels of a box with whole numbers, on a picture with room to the right and below."""
    left, top, width, height = map(int, box)
    pixels = np.zeros((2 * SIDE, 2 * SIDE), bool)
    pixels[max(top, 0) : top + height, max(left, 0) : left + width] = True
    return pixels


def fits_by_hand(box: Box | None, boxes: Sequence[Box]) -> bool:
    """Whether shared pixels are at least half of all pixels of the two."""
    if box is None:
        return False
    own = pixels_of(box)
    return any(2 * (own & other).sum() >= (own | other).sum() for other in map(pixels_of, boxes))


def precision_by_hand(painted: Values, mask: Mask) -> float:
    """Σ over thresholds of how much more of the mask is above, times the share of it among all that is above."""
    found, before = 0.0, 0
    for height in sorted(set(painted.ravel().tolist()), reverse=True):
        above = painted >= height
        hits = int((above & mask).sum())
        found += (hits - before) / int(mask.sum()) * hits / int(above.sum())
        before = hits
    return found
