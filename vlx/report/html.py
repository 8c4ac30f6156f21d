"""The page: one self-contained HTML file, no network, everything from the user escaped.

Maps travel as their native grids; the page paints them with the numbers of `Placement`, so that a map on the page lies
where `Placement.paint` puts it.
"""

import base64
import html as escaping
import io
import json
import math
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup
from PIL import Image

from vlx.explanation import Array, Explanation, WordExplanation
from vlx.geometry import Placement
from vlx.report import colour, text

SIDE = 1280  # longest side of the embedded picture
PRINT_SIDE = 260  # longest side of a map in print
DIGITS = 5  # significant digits of embedded maps
FRAME_HEIGHT = 760


def page(why: Explanation) -> str:
    """The whole page as one string."""
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            why=why,
            data=_script(_data(why)),
            prints=[(word, _figures(word), _uri(_print(why, word), "JPEG")) for word in why.words],
            heat=_gradient(colour.ramp(colour.HEAT)),
            provenance=_provenance(why),
            cropped=not bool(why.visible.all()),
        )
    )


def frame(why: Explanation) -> str:
    """The page in a frame for notebooks; its own styles cannot touch the notebook's."""
    content = escaping.escape(page(why), quote=True)
    style = f"width:100%;height:{FRAME_HEIGHT}px;border:0"
    return f'<iframe title="vlx explanation" sandbox="allow-scripts" style="{style}" srcdoc="{content}"></iframe>'


@cache
def _environment() -> jinja2.Environment:
    folder = files("vlx.report") / "templates"
    sources = {name: (folder / name).read_text(encoding="utf-8") for name in ("page.html.j2", "page.css", "page.js")}
    return jinja2.Environment(loader=jinja2.DictLoader(sources), autoescape=True, undefined=jinja2.StrictUndefined)


def _data(why: Explanation) -> dict[str, Any]:
    items = [
        *(_item(word, "word") for word in why.words),
        *(_item(phrase, "phrase") for phrase in why.phrases),
        *([_item(why.sentence, "sentence")] if len(why.words) > 1 else []),
    ]
    height, width = why.image.shape[:2]
    return {
        "items": items,
        "words": len(why.words),
        "size": [height, width],
        "image": _uri(_shrunk(colour.hatched(why.image, why.visible), SIDE), "JPEG"),
        "cells": _cells(why.placement),
        "seen": _visible_box(why),
        "top": colour.scale(why),
        "heat": colour.ramp(colour.HEAT),
        "diverging": colour.ramp(colour.DIVERGING),
    }


def _item(word: WordExplanation, kind: str) -> dict[str, Any]:
    mirrored = np.array_equal(word.opposed, -word.signed)
    return {
        "kind": kind,
        "label": word.label,
        "logprob": word.logprob,
        "p": math.exp(min(word.logprob, 0.0)),
        "score": word.score,
        "target": word.target,
        "unit": text.unit(word.target),
        "seen": word.seen,
        "alternatives": [[label, math.exp(logprob)] for label, logprob in word.alternatives],
        "notes": list(word.notes),
        "signed": _rounded(word.signed),
        "opposed": None if mirrored else _rounded(word.opposed),
    }


def _cells(placement: Placement) -> list[list[float]]:
    """(a, b) an axis: pixel p of the user's picture lies at cell a·p + b."""
    grid, frame = placement.grid, placement.frame
    return [
        [
            1 / (frame.scale[axis] * grid.stride[axis]),
            -(frame.shift[axis] / frame.scale[axis] + grid.offset[axis]) / grid.stride[axis],
        ]
        for axis in (0, 1)
    ]


def _visible_box(why: Explanation) -> list[int]:
    """(top, bottom, left, right) of what the model saw, in pixels of the user's picture; bottom and right excluded."""
    rows, columns = np.flatnonzero(why.visible.any(1)), np.flatnonzero(why.visible.any(0))
    if not len(rows) or not len(columns):
        return [0, 0, 0, 0]
    return [int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1]


def _print(why: Explanation, word: WordExplanation) -> Array:
    ratio = min(PRINT_SIDE / max(why.image.shape[:2]), 1.0)
    picture = colour.muted(colour.hatched(why.image, why.visible))
    painted = colour.overlay(picture, word.heatmap, colour.scale(why))
    return _shrunk(painted, max(round(max(why.image.shape[:2]) * ratio), 1))


def _figures(word: WordExplanation) -> str:
    seen = "" if word.seen is None else f" · seen {word.seen:+.2f}"
    return f"log p {word.logprob:.2f}{seen}"


def _provenance(why: Explanation) -> list[tuple[str, str]]:
    return [(name.replace("_", " "), _said(value)) for name, value in why.provenance.items()]


def _said(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {part}" for name, part in value.items())
    if isinstance(value, list | tuple):
        return " × ".join(map(str, value))
    return str(value)


def _rounded(values: Array) -> list[list[float]]:
    return [[float(f"{value:.{DIGITS}g}") for value in row] for row in values.tolist()]


def _gradient(ramp: list[tuple[int, int, int]]) -> str:
    return ", ".join(f"rgb({r} {g} {b})" for r, g, b in ramp[:: len(ramp) // 8])


def _shrunk(pixels: Array, side: int) -> Array:
    image = Image.fromarray(pixels)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return np.asarray(image)


def _uri(pixels: Array, kind: str) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, quality=88)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def _script(data: dict[str, Any]) -> Markup:
    """JSON that cannot end the script element it stands in."""
    plain = json.dumps(data, ensure_ascii=True, allow_nan=False)
    return Markup(plain.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))
