"""An explanation in a notebook: the page in a frame, and a picture for viewers that drop frames and scripts.

GitHub, untrusted notebooks and printing keep images alone. Where the frame may stand, a rule of its own style sheet
hides the picture that follows it; whoever drops the one drops the other.
"""

import io

from markupsafe import Markup
from PIL import Image

from vlx.explanation.records import Explanation
from vlx.language import is_content
from vlx.report import figure, html, options, pictures, wording

COLORS = 256  # of the picture
DPI = 80
STYLE = Markup("<style>.vlx-shown > iframe + img { display: none }</style>")


def bundle(why: Explanation) -> dict[str, str | bytes]:
    """What Jupyter may show, by MIME type: the frame with its picture, the picture alone, and a line of text."""
    data = picture(why)
    return {"text/html": beside(why, data), "image/png": data, "text/plain": repr(why)}


def beside(why: Explanation, data: bytes) -> str:
    """The frame, and after it the picture; texts escaped."""
    shown = Markup('<img alt="{}" src="{}">').format(f"Maps of {why.text or '(nothing)'}", pictures.png_address(data))
    return f'<div class="vlx-shown">{STYLE}{html.frame(why)}{shown}</div>'


def picture(why: Explanation) -> bytes:
    """The figure of the words that say something, as a small PNG."""
    content = any(is_content(word.label) for word in why.words)
    content = content and (why.question is None or wording.in_words(why))
    wished = options.FigureOptions.of(why, {"dpi": DPI, "words": "content" if content else "all"})
    drawn = Image.open(io.BytesIO(figure.rendered(figure.draw(why, wished))))
    return small(drawn)


def small(drawn: Image.Image) -> bytes:
    """A picture as PNG of at most ``COLORS`` colours."""
    held = io.BytesIO()
    drawn.convert("RGB").quantize(COLORS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
        held, "PNG", optimize=True
    )
    return held.getvalue()
