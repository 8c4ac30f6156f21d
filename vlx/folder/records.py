"""What is kept of a result: the line of the manifest, from which tables and gallery are made."""

import base64
import io
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from PIL import Image

from vlx.explanation import Explanation, WordExplanation
from vlx.language import is_content
from vlx.report import wording

SIDE = 56  # pixels of a thumbnail's longer side
QUALITY = 55
HEAD = ("picture", "question", "text", "position", "word", "logprob", "p", "seen", "owed", "check", "share")
BOX = ("peak_left", "peak_top", "peak_right", "peak_bottom")
COLUMNS = (*HEAD, *BOX, "method", "page")

Record = dict[str, Any]


def of(why: Explanation) -> Record:
    """The text, the words with their figures and a thumbnail, as plain JSON.

    ``logprob`` in nats (None of numbers), ``seen`` in nats, ``owed``: whether the picture carries the word (None where
    nobody asked), ``check`` and ``share`` of `vlx.map_check`, ``peak``: left, top, right and bottom of the cell at the
    map's peak, in pixels of the user's picture.
    """
    height, width = why.image.shape[:2]
    words = [_word(why, word) for word in why.words]
    return {"text": why.text, "size": [width, height], "method": why.method, "words": words, "thumbnail": _small(why)}


def rows(record: Mapping[str, Any]) -> Iterator[list[str]]:
    """The lines of results.csv that a record makes, one a word, in the order of ``COLUMNS``."""
    for position, word in enumerate(record.get("words", ())):
        p = None if word["logprob"] is None else math.exp(word["logprob"])
        figures = [_figure(one) for one in (word["logprob"], p, word["seen"])]
        owed = {True: "yes", False: "no", None: ""}[word["owed"]]
        told = [record["path"], record.get("question", ""), record["text"], str(position), word["word"], *figures]
        peak = [str(side) for side in word["peak"] or [""] * 4]
        yield [*told, owed, word["check"] or "", _figure(word["share"]), *peak, record["method"], record["page"]]


def _word(why: Explanation, word: WordExplanation) -> Record:
    check, number = word.check, word.outputs == "value"
    return {
        "word": word.label,
        "logprob": None if number else _rounded(word.logprob),
        "score": _rounded(word.score),
        "seen": _rounded(word.seen),
        "owed": None if wording.moved(word) is None else not wording.language(word),
        "check": None if check is None else check.verdict,
        "share": None if check is None else _rounded(check.share),
        "peak": peak_box(word),
        "content": wording.noun(why) != "word" or is_content(word.label),
    }


def peak_box(word: WordExplanation) -> list[int] | None:
    """Left, top, right, bottom of the cell where the map is highest, in pixels of the user's picture; None without."""
    signed = np.nan_to_num(np.asarray(word.signed, np.float64), nan=-np.inf)
    if not signed.size or not signed.max() > 0:
        return None
    i, j = np.unravel_index(int(signed.argmax()), signed.shape)
    y, x = word.placement.centre_of(int(i), int(j))
    tall, wide = word.placement.cell_size
    height, width = word.placement.frame.size
    sides = (x - wide / 2 + 0.5, y - tall / 2 + 0.5, x + wide / 2 + 0.5, y + tall / 2 + 0.5)
    return [int(np.clip(round(side), 0, most)) for side, most in zip(sides, (width, height) * 2, strict=True)]


def _small(why: Explanation) -> str:
    """A JPEG of the picture, at most ``SIDE`` pixels a side, in base64."""
    image = Image.fromarray(why.image)
    image.thumbnail((SIDE, SIDE))
    held = io.BytesIO()
    image.save(held, "JPEG", quality=QUALITY, optimize=True)
    return base64.b64encode(held.getvalue()).decode("ascii")


def _rounded(value: float | None) -> float | None:
    """Six figures; None for what is no number."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
