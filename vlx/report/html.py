"""The page: one self-contained HTML file, no network, everything from the user escaped.

All words are written here, by Jinja with autoescape; the script gets numbers only. Maps travel as their native grids
and the script paints them by `cells.Axis`, so a map on the page lies where `Placement.paint` puts it. Without a script,
and in print, the thumbnails and the table say the same.
"""

import base64
import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup, escape

from vlx.explanation import Array, Explanation, WordExplanation
from vlx.report import cells, colour, pictures, wording

SIDE = 1600  # longest side of the embedded picture, in pixels
FRAME_SIDE = 960  # the same in a notebook, where pages add up
THUMBNAIL = 320
FAINT = 0.1
DIGITS = 5  # significant digits of embedded maps
FRAME_HEIGHT = 800
VIEWS = ("for", "against", "signed")
KINDS = {"word": "", "phrase": "phrase: the maps of its words summed", "sentence": "the whole text as one target"}


def page(why: Explanation, side: int = SIDE) -> str:
    """The whole page as one string."""
    panels = [_Panel.of(number, one, why, side) for number, one in enumerate([why, *why.others])]
    script = _part("page.js")
    return _template().render(
        why=why,
        panels=panels,
        style=Markup(_part("page.css")),
        script=Markup(script),
        digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
        data=_script({"panels": [panel.data for panel in panels], "ramps": _ramps(), "rise": colour.RISE}),
        gradient={view: Markup(_gradient(view)) for view in colour.RAMPS},
        wording=wording,
        opacity=round(100 * colour.OPACITY),
    )


def frame(why: Explanation) -> str:
    """The page in a frame for notebooks; its own styles and script cannot touch the notebook's."""
    style = f"width:100%;height:{FRAME_HEIGHT}px;border:0;border-radius:8px"
    content = escape(page(why, FRAME_SIDE))
    return f'<iframe title="vlx explanation" sandbox="allow-scripts" style="{style}" srcdoc="{content}"></iframe>'


@dataclass(frozen=True)
class _Item:
    """One button: a word, a phrase or the whole text, with everything that is said about it."""

    word: WordExplanation
    kind: str
    number: int
    top: float

    @property
    def said(self) -> str:
        return KINDS[self.kind]

    @property
    def unit(self) -> str:
        return wording.unit(self.word.target)

    @property
    def remarks(self) -> list[str]:
        return wording.remarks(self.word, self.top)

    @property
    def strength(self) -> float:
        """Peak of the map on the shared scale, 0 to 1."""
        return min(wording.strongest(self.word.signed) / self.top, 1.0) if self.top > 0 else 0.0

    @property
    def lost(self) -> float | None:
        return wording.lost(self.word)

    @property
    def ink(self) -> int:
        """How dark the word is written, in percent: pale words come from the words before them."""
        return 100 if self.lost is None else round(100 * min(max(self.lost, 0.0) * 1.6, 1.0))

    @property
    def spoken(self) -> str:
        """The button for who hears it."""
        seen = "" if self.word.seen is None else f", seen {wording.seen(self.word)} nats"
        likely = f"probability {wording.share(self.word.logprob)}"
        return f"{self.word.label}: {likely}{seen}, map {100 * self.strength:.0f} % of the scale"

    @property
    def meanings(self) -> dict[str, str]:
        return {view: wording.meaning(self.word, view) for view in VIEWS}

    @property
    def facts(self) -> list[tuple[str, str]]:
        word = self.word
        own = [] if word.target == "logprob" else [(word.target, wording.figure(word.score, 4))]
        return [
            ("probability", wording.share(word.logprob)),
            ("log p", f"{wording.log(word.logprob)} nats"),
            *own,
            ("peak for", f"{wording.figure(wording.strongest(word.signed))} {self.unit}"),
            ("peak against", f"{wording.figure(wording.strongest(word.opposed))} {self.unit}"),
        ]

    @property
    def alternatives(self) -> Iterator[dict[str, Any]]:
        for label, logprob in self.word.alternatives:
            p = wording.probability(logprob)
            width = 0.0 if math.isnan(p) else round(100 * p, 2)
            yield {"label": label, "share": wording.share(logprob), "width": width, "said": label == self.word.label}


@dataclass(frozen=True)
class _Panel:
    """One explanation on the page."""

    why: Explanation
    number: int
    words: list[_Item]
    more: list[_Item]
    picture: str | None
    thumbnails: list[str]
    bare: str
    data: dict[str, Any]

    @classmethod
    def of(cls, number: int, why: Explanation, first: Explanation, side: int) -> "_Panel":
        top = colour.scale(why)
        words = [_Item(word, "word", n, top) for n, word in enumerate(why.words)]
        joined = [("phrase", phrase) for phrase in why.phrases if phrase.label != why.sentence.label]
        joined += [("sentence", why.sentence)] if len(why.words) > 1 else []
        more = [_Item(word, kind, len(words) + n, top) for n, (kind, word) in enumerate(joined)]
        small = pictures.Drawn.of(why, THUMBNAIL)
        same = number > 0 and why.placement == first.placement and np.array_equal(why.image, first.image)
        return cls(
            why=why,
            number=number,
            words=words,
            more=more,
            picture=None if same else pictures.address(pictures.Drawn.of(why, side).plain),
            thumbnails=[pictures.address(small.under(word.signed, top)) for word in why.words],
            bare=pictures.address(small.plain),
            data=_data(why, [*words, *more], top),
        )

    @property
    def cropped(self) -> bool:
        return not bool(self.why.visible.all())

    @property
    def unit(self) -> str:
        return wording.unit(self.why.words[0].target if self.why.words else "logprob")

    @property
    def said(self) -> str:
        """What the model did, over the text."""
        model = str(self.why.provenance.get("model", "the model"))
        if self.why.forced:
            return f"Why would {model} say"
        return f"Why did {model} say" if self.why.words else f"{model} said nothing"

    @property
    def faint(self) -> int:
        """How many words' maps are weaker than a tenth of the scale."""
        return sum(item.strength < FAINT for item in self.words)

    @property
    def provenance(self) -> list[tuple[str, str]]:
        record = {name: value for name, value in self.why.provenance.items() if name != "command"}
        return [(str(name).replace("_", " "), _said(value)) for name, value in record.items()]


@cache
def _part(name: str) -> str:
    return (files("vlx.report") / "templates" / name).read_text(encoding="utf-8")


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_part("page.html.j2"))


def _data(why: Explanation, items: list[_Item], top: float) -> dict[str, Any]:
    """Numbers only: what the script needs to paint."""
    return {
        "size": list(why.image.shape[:2]),
        "axes": [
            {"origin": axis.origin, "step": axis.step, "first": axis.first, "stop": axis.stop}
            for axis in cells.axes(why.placement)
        ],
        "words": len(why.words),
        "first": _first(items[: len(why.words)]),
        "top": top,
        "items": [
            {
                "signed": _rounded(item.word.signed),
                "opposed": None if _mirrored(item.word) else _rounded(item.word.opposed),
            }
            for item in items
        ],
    }


def _first(words: list[_Item]) -> int:
    """The word to begin with: a strong map, and owed to the picture."""
    return max(range(len(words)), key=lambda n: words[n].strength * max(words[n].lost or 0.0, 0.01), default=0)


def _mirrored(word: WordExplanation) -> bool:
    return np.array_equal(word.opposed, -word.signed)


def _rounded(values: Array) -> list[list[float]]:
    finite = np.nan_to_num(np.asarray(values, np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    return [[float(f"{value:.{DIGITS}g}") for value in row] for row in finite.tolist()]


def _ramps() -> dict[str, list[list[int]]]:
    return {view: [list(color) for color in colour.ramp(view)] for view in colour.RAMPS}


def _gradient(view: str) -> str:
    return ", ".join(f"rgb({r} {g} {b})" for r, g, b in colour.ramp(view)[::7])


def _said(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_said(part)}" for name, part in value.items())
    return " × ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _script(data: dict[str, Any]) -> Markup:
    """JSON that cannot end the script element it stands in; ASCII, so no line separators either."""
    plain = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return Markup(plain.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))
