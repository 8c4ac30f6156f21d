"""What the page's template is given: a panel an explanation, an item a word, and numbers for the script."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from vlx.explanation import Array, Explanation, WordExplanation
from vlx.report import answers, cells, chances, colour, pictures, wording
from vlx.report.reasons import Told

THUMBNAIL = 320
FAINT = 0.1
DIGITS = 5  # significant digits of embedded maps
VIEWS = ("for", "against", "signed", "occlusion", "guided")
GUIDED_SIDE = 480
KINDS = {
    "word": "",
    "other": "another answer, asked for by name",
    "phrase": "phrase: the maps of its words summed",
    "sentence": "the whole text as one target",
}


@dataclass(frozen=True)
class Item:
    """One button: a word, an answer, a phrase or the whole text, with everything that is said about it."""

    word: WordExplanation
    kind: str
    number: int
    top: float
    noun: str = "word"
    instead_of: str | None = None

    @property
    def label(self) -> str:
        """How it is called; a contrast by both answers."""
        return self.word.label if self.instead_of is None else f"{self.word.label} rather than {self.instead_of}"

    @property
    def said(self) -> str:
        """What kind of thing it is, where that needs a word."""
        return KINDS[self.kind]

    @property
    def unit(self) -> str:
        """The unit of its map."""
        return wording.unit(self.word)

    @property
    def remarks(self) -> list[str]:
        """What a reader of its map should know."""
        return wording.remarks(self.word, self.top)

    @property
    def strength(self) -> float:
        """Peak of the map on the shared scale, 0 to 1."""
        return min(wording.strongest(self.word.signed) / self.top, 1.0) if self.top > 0 else 0.0

    @property
    def moved(self) -> float | None:
        """How far other pictures move it, negative where this one speaks against it; None when nobody asked."""
        return wording.moved(self.word)

    @property
    def language(self) -> bool:
        """Whether it is a caption's word that the picture hardly carries."""
        return self.kind == "word" and self.noun == "word" and self.instead_of is None and wording.language(self.word)

    @property
    def ink(self) -> int:
        """How dark the word is written, in percent: words that other pictures hardly move are pale."""
        return 100 if self.moved is None or self.instead_of else round(100 * min(max(self.moved, 0.0) * 1.6, 1.0))

    @property
    def seen_said(self) -> str:
        """The same in a sentence."""
        return wording.seen_said(self.word)

    @property
    def verdict(self) -> str:
        """How much of it comes from the picture, in bits."""
        return wording.verdict(self.word, self.instead_of)

    @property
    def looks(self) -> list[answers.Row]:
        """Its chance on other pictures."""
        return answers.rows(self.word, self.instead_of)

    @property
    def agreement(self) -> str:
        """Whether occlusion bears the map out."""
        return wording.agreement(self.word)

    @property
    def checked(self) -> str:
        """What the map's check found."""
        return wording.sentence(wording.checked(self.word))

    @property
    def spoken(self) -> str:
        """The button for who hears it."""
        seen = (
            ""
            if self.word.seen is None
            else f", seen {wording.seen(self.word)}{'' if self.word.outputs == 'value' else ' nats'}"
        )
        owed = ", owed to language" if self.language else ""
        return f"{self.label}: {chances.spoken(self.word)}{seen}{owed}, map {100 * self.strength:.0f} % of the scale"

    @property
    def meanings(self) -> dict[str, str]:
        """What its map shows in each view."""
        return {view: wording.meaning(self.word, view, self.instead_of) for view in VIEWS}

    @property
    def part(self) -> str:
        """What the map of one of its reasons shows, after the reason's name."""
        return f"the part that its units have in this map. {self.meanings['signed']}"

    @property
    def facts(self) -> list[tuple[str, str]]:
        """Its figures with their names."""
        word = self.word
        name = word.target if self.instead_of is None else f"{word.target}, less that of {self.instead_of}"
        own = [] if name == "logprob" else [(name, wording.figure(word.score, 4))]
        return [
            *chances.facts(word),
            *own,
            ("peak for", f"{wording.figure(wording.strongest(word.signed))} {self.unit}"),
            ("peak against", f"{wording.figure(wording.strongest(word.opposed))} {self.unit}"),
        ]

    @cached_property
    def told(self) -> Told | None:
        """Why it was said, in concepts; None where that was not asked for."""
        return Told.of(self.word, self.instead_of)

    @property
    def alternatives(self) -> Iterator[dict[str, Any]]:
        """What could have stood in its place."""
        for label, logprob in self.word.alternatives:
            p = wording.probability(logprob)
            width = 0.0 if math.isnan(p) else round(100 * p, 2)
            yield {"label": label, "share": wording.share(logprob), "width": width, "said": label == self.word.label}


@dataclass(frozen=True)
class Panel:
    """One explanation on the page."""

    why: Explanation
    number: int
    words: list[Item]
    others: list[Item]
    more: list[Item]
    picture: str | None
    thumbnails: list[str]
    hidden: list[tuple[Item, str]]
    guided: list[tuple[Item, str]]
    bare: str
    data: dict[str, Any]

    @classmethod
    def of(cls, number: int, why: Explanation, first: Explanation, side: int) -> "Panel":
        """Draw what the page needs of one explanation; a picture that ``first`` shows already is not repeated."""
        top, items = colour.scale(why), _items(why)
        small = pictures.Drawn.of(why, THUMBNAIL)
        same = number > 0 and why.placement == first.placement and np.array_equal(why.image, first.image)
        scaled = [item for item in items if item.kind in ("word", "other")]
        draw = small.under if why.instead_of is None else small.under_signed
        return cls(
            why=why,
            number=number,
            words=[item for item in items if item.kind == "word"],
            others=[item for item in items if item.kind == "other"],
            more=[item for item in items if item.kind not in ("word", "other")],
            picture=None if same else pictures.address(pictures.Drawn.of(why, side).plain),
            thumbnails=[pictures.address(draw(item.word.signed, top)) for item in scaled],
            hidden=_hidden(small, scaled) if answers.single(why) else [],
            guided=_guided(items, pictures.Drawn.of(why, GUIDED_SIDE).plain.shape),
            bare=pictures.address(small.plain),
            data=_data(why, items, top),
        )

    @property
    def title(self) -> str:
        """The heading: question and answer, or the text."""
        return " ".join(part for part in (self.why.question, answers.title(self.why)) if part)

    @property
    def shown(self) -> list[Item]:
        """What shares the scale: the words, or the answer and its alternatives."""
        return [*self.words, *self.others]

    @property
    def noun(self) -> str:
        """What the buttons hold."""
        return wording.noun(self.why)

    @property
    def nouns(self) -> str:
        """Several of them."""
        return wording.PLURALS[self.noun]

    @property
    def cropped(self) -> bool:
        """Whether the model never saw a part of the picture."""
        return not bool(self.why.visible.all())

    @property
    def occluded(self) -> bool:
        """Whether there is an occlusion view."""
        return any(item.word.occlusion is not None for item in [*self.shown, *self.more])

    @property
    def tried(self) -> bool:
        """Whether there is a check of any map."""
        return any(item.word.check is not None for item in [*self.shown, *self.more])

    @property
    def reasoned(self) -> list[Item]:
        """What has reasons, in order."""
        return [item for item in [*self.shown, *self.more] if item.told is not None]

    @property
    def view(self) -> str:
        """The view to begin with: a contrast is a matter of both signs."""
        return "for" if self.why.instead_of is None else "signed"

    @property
    def unit(self) -> str:
        """The unit of the maps."""
        return wording.unit(self.why.words[0] if self.why.words else self.why.sentence)

    @property
    def said(self) -> str:
        """What the model did, over the text."""
        model = str(self.why.provenance.get("model", "the model"))
        if self.why.question is not None:
            return f"{model} was asked"
        if self.caption:
            return f"{model} was given" if self.why.forced else f"{model} said"
        if self.why.forced:
            return f"Why would {model} say"
        return f"Why did {model} say" if self.why.words else f"{model} said nothing"

    @property
    def caption(self) -> str:
        """The text that a word of a contrast stands in; empty where all of it is explained."""
        return self.why.text if answers.in_caption(self.why) else ""

    @property
    def answered(self) -> str:
        """What stands between question and answer."""
        if self.why.instead_of is not None:
            return "Why"
        return "Why would it answer" if self.why.forced else "Why did it answer"

    @property
    def faint(self) -> int:
        """How many words' maps are weaker than a tenth of the scale."""
        return sum(item.strength < FAINT for item in self.shown)

    @property
    def provenance(self) -> list[tuple[str, str]]:
        """What made this, for the foot of the page."""
        record = {name: value for name, value in self.why.provenance.items() if name != "command"}
        return [(str(name).replace("_", " "), _said(value)) for name, value in record.items()]


def _items(why: Explanation) -> list[Item]:
    """All buttons in order: words, the other answers, phrases, the whole text."""
    top, noun = colour.scale(why), wording.noun(why)
    found = [("word", word, why.instead_of) for word in why.words]
    found += [("other", other.words[0], other.instead_of) for other in answers.beside(why)]
    found += [("phrase", phrase, None) for phrase in why.phrases if phrase.label != why.sentence.label]
    found += [("sentence", why.sentence, None)] if len(why.words) > 1 and noun == "word" else []
    return [Item(word, kind, number, top, noun, other) for number, (kind, word, other) in enumerate(found)]


def _hidden(drawn: pictures.Drawn, items: Sequence[Item]) -> list[tuple[Item, str]]:
    """Thumbnails of what occlusion found."""
    found = [(item, item.word.occlusion) for item in items]
    top = _falls_top(items)
    return [(item, pictures.address(drawn.under_signed(one.falls, top))) for item, one in found if one is not None]


def _guided(items: Sequence[Item], shape: tuple[int, ...]) -> list[tuple[Item, str]]:
    """Pictures of Guided Grad-CAM, where it is there."""
    there = [item for item in items if item.word.guided is not None]
    words = [item.word for item in there]
    drawn = pictures.guided(words, (shape[0], shape[1]), pictures.guided_top(words)) if words else []
    return [(item, pictures.address(one)) for item, one in zip(there, drawn, strict=True)]


def _falls_top(items: Sequence[Item]) -> float:
    """The end of occlusion's scale."""
    falls = [np.abs(item.word.occlusion.falls) for item in items if item.word.occlusion is not None]
    return max((wording.strongest(one) for one in falls), default=0.0)


def _data(why: Explanation, items: Sequence[Item], top: float) -> dict[str, Any]:
    """Numbers only: what the script needs to paint."""
    return {
        "size": list(why.image.shape[:2]),
        "axes": [
            {"origin": axis.origin, "step": axis.step, "first": axis.first, "stop": axis.stop}
            for axis in cells.axes(why.placement)
        ],
        "words": sum(item.kind in ("word", "other") for item in items),
        "first": _first(items[: len(why.words)]),
        "top": top,
        "view": "for" if why.instead_of is None else "signed",
        "guidedTop": pictures.guided_top([item.word for item in items]),
        "fallsTop": _falls_top(items),
        "items": [
            {
                "signed": _rounded(item.word.signed),
                "opposed": None if _mirrored(item.word) else _rounded(item.word.opposed),
                "falls": None if item.word.occlusion is None else _rounded(item.word.occlusion.falls),
                "reasons": [] if item.told is None else item.told.maps,
            }
            for item in items
        ],
    }


def _first(words: Sequence[Item]) -> int:
    """The word to begin with: a strong map, and owed to the picture."""
    return max(range(len(words)), key=lambda n: words[n].strength * max(words[n].moved or 0.0, 0.01), default=0)


def _mirrored(word: WordExplanation) -> bool:
    return np.array_equal(word.opposed, -word.signed)


def _rounded(values: Array) -> list[list[float]]:
    finite = np.nan_to_num(np.asarray(values, np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    return [[float(f"{value:.{DIGITS}g}") for value in row] for row in finite.tolist()]


def _said(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_said(part)}" for name, part in value.items())
    return " × ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
