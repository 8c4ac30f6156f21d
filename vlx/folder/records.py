"""What is kept of a result: the line of the manifest, from which tables and gallery are made."""

import base64
import io
import re
from typing import Any, get_args

from PIL import Image

from vlx.explanation.map_check import Verdict
from vlx.explanation.records import Explanation
from vlx.explanation.schema import Rule, Unfit, finite, flag, one_of, parts, perhaps, several, text, whole
from vlx.report import table
from vlx.report.table import COLUMNS, Record, peak_box, rows

__all__ = ["COLUMNS", "Record", "checked", "of", "peak_box", "rows"]

SIDE = 56  # pixels of a thumbnail's longer side
QUALITY = 55


def _matching(pattern: str, wanted: str) -> Rule:
    """A text that is like the pattern as a whole."""

    def check(value: Any, what: str) -> None:
        if not (isinstance(value, str) and re.fullmatch(pattern, value)):
            raise Unfit(f"{what} is not {wanted}")

    return check


def _log_probability(value: Any, what: str) -> None:
    finite(value, what)
    if value > 1:
        raise Unfit(f"{what} is not a log probability")


LINE = parts(
    {"key": text, "path": text, "status": one_of("started", "done", "failed")},
    {
        **{"digest": perhaps(text), "error": perhaps(text), "question": perhaps(text)},
        "page": perhaps(_matching(r"[^/\\\0]+\.html", "the name of a page in the folder")),
        "thumbnail": _matching(r"[A-Za-z0-9+/=]*", "base64"),
    },
    alone=False,
)
FAILED = parts({"error": text}, alone=False)
WORD = parts(
    {
        **{"word": text, "logprob": perhaps(_log_probability), "score": perhaps(finite), "seen": perhaps(finite)},
        **{"owed": perhaps(flag), "check": perhaps(one_of(*get_args(Verdict))), "share": perhaps(finite)},
        **{"peak": perhaps(several(whole, 4)), "content": flag},
    },
    alone=False,
)
DONE = parts({"page": text, "error": perhaps(text), "text": text, "method": text, "words": several(WORD)}, alone=False)
COMPARED = parts({"pair": lambda _value, _what: None}, alone=False)


def of(why: Explanation) -> Record:
    """The text, the words with their figures (`vlx.report.table.words`) and a thumbnail, as plain JSON."""
    height, width = why.image.shape[:2]
    words = table.words(why)
    return {
        "text": why.text,
        "size": [width, height],
        "method": why.method,
        "words": words,
        "thumbnail": _thumbnail(why),
    }


def checked(record: Any) -> Record:
    """The record, if tables and gallery can be made of it; raises Unfit naming the part that is not what it should be.

    A comparison's pair is looked at where it is read.
    """
    LINE(record, "it")
    if record["status"] == "failed":
        FAILED(record, "it")
    if record["status"] == "done":
        (COMPARED if "pair" in record else DONE)(record, "it")
    typed: Record = record
    return typed


def _thumbnail(why: Explanation) -> str:
    """A JPEG of the picture, at most ``SIDE`` pixels a side, in base64."""
    image = Image.fromarray(why.image)
    image.thumbnail((SIDE, SIDE))
    held = io.BytesIO()
    image.save(held, "JPEG", quality=QUALITY, optimize=True)
    return base64.b64encode(held.getvalue()).decode("ascii")
