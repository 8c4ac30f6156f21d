"""What is kept of a result: the line of the manifest, from which tables and gallery are made."""

import base64
import io

from PIL import Image

from vlx.explanation import Explanation
from vlx.report import table
from vlx.report.table import COLUMNS, Record, peak_box, rows

__all__ = ["COLUMNS", "Record", "of", "peak_box", "rows"]

SIDE = 56  # pixels of a thumbnail's longer side
QUALITY = 55


def of(why: Explanation) -> Record:
    """The text, the words with their figures (`vlx.report.table.words`) and a thumbnail, as plain JSON."""
    height, width = why.image.shape[:2]
    words = table.words(why)
    return {"text": why.text, "size": [width, height], "method": why.method, "words": words, "thumbnail": _small(why)}


def _small(why: Explanation) -> str:
    """A JPEG of the picture, at most ``SIDE`` pixels a side, in base64."""
    image = Image.fromarray(why.image)
    image.thumbnail((SIDE, SIDE))
    held = io.BytesIO()
    image.save(held, "JPEG", quality=QUALITY, optimize=True)
    return base64.b64encode(held.getvalue()).decode("ascii")
