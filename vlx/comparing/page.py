"""A comparison as one self-contained page: no network, everything from the user escaped."""

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray
from PIL import Image

from vlx.comparing.pairs import PicturePair, Ranked, said
from vlx.comparing.words import Side, WordPair
from vlx.files import templates
from vlx.language import are_words, shortened
from vlx.pictures.placement import visible_at
from vlx.report import colour, numbers, pictures, wording

DRAWN_PAIRS = 80  # pairs of words that have their maps on the page; the others are in the table below them
LISTED_PAIRS = 1000  # rows of that table
LISTED_PICTURES = 200  # pictures whose texts are listed
FEW_PICTURES = 5  # pictures whose texts stand above all else
FRAME_HEIGHT = 800
SIDES = ("A", "B")


class PageComparison(Protocol):
    """What a page is made of: see `vlx.comparing.comparison.Comparison`."""

    @property
    def a(self) -> str:
        """The name of A."""
        ...

    @property
    def b(self) -> str:
        """The name of B."""
        ...

    @property
    def pictures(self) -> tuple[PicturePair, ...]:
        """The words of each picture side by side."""
        ...

    @property
    def ranked(self) -> tuple[Ranked, ...]:
        """All pairs of words, those that differ most first."""
        ...


@dataclass(frozen=True)
class Map:
    """One side's map of a word as it is drawn: its picture as a data address, and its figures."""

    letter: str
    side: Side | None
    address: str

    @property
    def facts(self) -> list[tuple[str, str]]:
        """Its figures with their names."""
        side = self.side
        if side is None:
            return []
        check = [] if side.check is None else [("check", f"{wording.CHECKED.get(side.check, '')} {side.check}")]
        seen = [] if side.seen is None else [("seen", wording.difference(side.seen))]
        value = side.score is not None and side.logprob is None
        chance = [("value", numbers.figure(side.score or 0.0))] if value else [("p", _share(side.logprob))]
        rival = [] if side.rival is None else [(f"p of “{shortened(side.rival[0], 24)}”", _share(side.rival[1]))]
        peak = f"{numbers.figure(side.top)} {side.unit}" if side.mapped else "no map was asked for"
        return [*chance, *rival, *seen, *check, ("peak", peak)]


@dataclass(frozen=True)
class PairRow:
    """One pair of words on the page."""

    ranked: Ranked
    maps: tuple[Map, ...]

    @property
    def pair(self) -> WordPair:
        """The pair itself."""
        return self.ranked.pair

    @property
    def said(self) -> str:
        """In what they differ most."""
        return said(self.pair)

    @property
    def figures(self) -> list[tuple[str, str]]:
        """What their difference is made of."""
        pair, maps = self.pair, self.pair.maps
        figures = [
            ("log p, B − A", None if pair.logprob_change is None else wording.difference(pair.logprob_change)),
            ("seen, B − A", None if pair.seen_change is None else wording.difference(pair.seen_change)),
            ("heat elsewhere", None if maps is None or maps.elsewhere is None else f"{100 * maps.elsewhere:.0f} %"),
            ("rank correlation", None if maps is None else _correlation(maps.correlation)),
        ]
        return [(name, figure) for name, figure in figures if figure is not None]

    @property
    def notes(self) -> list[str]:
        """What limits the comparison."""
        after = ["after other words: its log p is that of another question"] if self.pair.after_others else []
        maps = self.pair.maps
        return [*after, *([maps.note] if maps is not None and maps.note else [])]

    @property
    def keys(self) -> dict[str, float]:
        """The numbers by which the page can be sorted; −1 where there is none to compare."""
        pair, maps = self.pair, self.pair.maps
        changes = {"logp": pair.logprob_change, "seen": pair.seen_change, "map": None if maps is None else maps.size}
        sizes = {name: -1.0 if change is None else abs(change) for name, change in changes.items()}
        return {"difference": round(pair.difference, 6), **sizes}


def page(comparison: PageComparison) -> str:
    """The whole page as one string."""
    ranked, script = comparison.ranked, templates.text("vlx.comparing", "compare.js")
    drawn = [PairRow(one, _maps(one.picture, one.pair)) for one in ranked[:DRAWN_PAIRS]]
    return templates.template("vlx.comparing", "compare.html.j2").render(
        comparison=comparison,
        rows=drawn,
        rest=[PairRow(one, ()) for one in ranked[DRAWN_PAIRS : DRAWN_PAIRS + LISTED_PAIRS]],
        left=max(len(ranked) - DRAWN_PAIRS - LISTED_PAIRS, 0),
        pictures=comparison.pictures[:LISTED_PICTURES],
        unlisted=max(len(comparison.pictures) - LISTED_PICTURES, 0),
        few=FEW_PICTURES,
        warmth=_warmth(row.pair for row in drawn),
        wordless=all(row.pair.content for row in drawn),
        pieces=pieces,
        style=Markup(templates.text("vlx.comparing", "compare.css")),
        script=Markup(script),
        digest=templates.script_digest(script),
        marks=wording.MARKS,
    )


def frame(comparison: PageComparison) -> str:
    """The page in a frame for notebooks; its own styles and script cannot touch the notebook's."""
    style = f"width:100%;height:{FRAME_HEIGHT}px;border:0;border-radius:8px"
    content = escape(page(comparison))
    return f'<iframe title="vlx comparison" sandbox="allow-scripts" style="{style}" srcdoc="{content}"></iframe>'


def pieces(picture: PicturePair, letter: str) -> Iterator[tuple[str, str, bool]]:
    """One side's text in pieces: what stands before a word, the word, whether the other says it, too."""
    text, other = (picture.text_a, picture.text_b) if letter == "A" else (picture.text_b, picture.text_a)
    sides = [(pair.a if letter == "A" else pair.b, pair.said_by_both) for pair in picture.words]
    words = [(side.word, both) for side, both in sides if side is not None]
    if not are_words([word for word, _ in words], text):
        yield from [("", text, text == other)] if text else []
        return
    for word, both in words:
        before, _, text = text.partition(word)
        yield before, word, both
    yield text, "", True


def _warmth(pairs: Iterable[WordPair]) -> str:
    """What is warm on the maps: what speaks for a word, where a map's sign tells it."""
    sides = [
        (letter, side.signed) for pair in pairs for letter, side in zip(SIDES, (pair.a, pair.b), strict=True) if side
    ]
    without = [letter for letter in SIDES if (letter, False) in sides]
    moves = "what moves its score, up or down"
    if not without:
        return "warm is what speaks for the word."
    if all(not signed for _, signed in sides):
        return f"warm is {moves.replace('its', 'the word’s')}: these maps have no sign."
    return f"warm is what speaks for the word; in maps of {' and '.join(without)}, without a sign, {moves}."


def _maps(picture: PicturePair, pair: WordPair) -> tuple[Map, ...]:
    image = np.asarray(Image.open(io.BytesIO(picture.jpeg)).convert("RGB"))
    return tuple(
        Map(letter, side, "" if side is None else pictures.address(_under(image, side)))
        for letter, side in zip(SIDES, (pair.a, pair.b), strict=True)
    )


def _under(image: NDArray[np.uint8], side: Side) -> NDArray[np.uint8]:
    """The small picture under what speaks for a word, on a scale that ends at the map's own peak."""
    size = (image.shape[0], image.shape[1])
    heat = np.maximum(side.drawn, 0)
    muted = colour.hatched(colour.muted(image), visible_at(side.placement, size))
    return colour.overlay(muted, colour.painted(heat, side.placement, size), float(heat.max(initial=0.0)))


def _share(logprob: float | None) -> str:
    return "–" if logprob is None else numbers.share(logprob)


def _correlation(value: float | None) -> str | None:
    return None if value is None else f"{value:.2f}".replace("-", "−")
