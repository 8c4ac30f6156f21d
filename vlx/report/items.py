"""What a page says of one word, answer, phrase or whole text: an item."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from vlx.explanation.records import WordExplanation
from vlx.language import is_content, shortened, unmarked
from vlx.report import answers, chances, numbers, sentences, strength, wording
from vlx.report.reasons import ToldReason, bound

VIEWS = ("for", "against", "signed", "occlusion", "guided")
KINDS = {
    "word": "",
    "other": "another answer, asked for by name",
    "phrase": "phrase: the maps of its words summed",
    "sentence": "the whole text as one target",
}


@dataclass(frozen=True)
class PageItem:
    """One button: a word, an answer, a phrase or the whole text, with everything that is said about it.

    ``top`` is the end of the scale that all words share.
    """

    word: WordExplanation
    kind: str
    number: int
    top: float
    noun: str = "word"
    instead_of: str | None = None

    @property
    def label(self) -> str:
        """How it is called; a contrast by both answers."""
        if self.kind == "sentence":
            return unmarked(self.word.label)
        return self.word.label if self.instead_of is None else f"{self.word.label} rather than {self.instead_of}"

    @property
    def name(self) -> str:
        """The same in short."""
        return "the whole text" if self.kind == "sentence" else self.label

    @property
    def said(self) -> str:
        """What kind of thing it is, where that needs a word."""
        return KINDS[self.kind]

    @property
    def content(self) -> bool:
        """Whether it says something of its own: no article, preposition or auxiliary of a text."""
        return self.noun != "word" or self.kind != "word" or self.instead_of is not None or is_content(self.word.label)

    @property
    def mapped(self) -> bool:
        """Whether a map of it was made."""
        return self.word.mapped

    @property
    def unit(self) -> str:
        """The unit of its map."""
        return wording.unit(self.word)

    @cached_property
    def strength(self) -> float | None:
        """How strongly the picture carries it, 0 to 1; None when nobody asked."""
        return strength.of(self.word)

    @cached_property
    def fade(self) -> float:
        """What its map's opacity is multiplied by on its own scale."""
        return strength.fade(self.word)

    @property
    def faded(self) -> bool:
        """Whether nothing that was tried carries it."""
        return not strength.carried(self.word)

    @property
    def remarks(self) -> list[str]:
        """What a reader of its map should know."""
        return wording.remarks(self.word, self.top)

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
    def parts(self) -> list[tuple[str, str, str]]:
        """The one sentence in parts: a term of the glossary, the text, and what hovering it tells."""
        because = None if self.told is None else self.told.because
        parts = (
            [("reasons", sentences.concepts(because), ""), ("marks", sentences.marks(because), "")] if because else []
        )
        parts += [("check", sentences.shape(self.word), self.checked), ("seen", self.owed, self.owed_exactly)]
        return [(name, bound(text).replace(" ×", "\u00a0×"), title) for name, text, title in parts if text]

    @cached_property
    def owed(self) -> str:
        """What of its p comes from the picture."""
        return sentences.owed(self.word, self.instead_of)

    @property
    def owed_exactly(self) -> str:
        """The same in nats."""
        return sentences.owed_exactly(self.word)

    @property
    def looks(self) -> list[answers.AnswerRow]:
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
        owed = f", {self.owed}" if self.owed else ""
        language = ", owed to language" if self.language else ""
        bar = "" if self.strength is None else f", bar {sentences.part(self.strength)}"
        bare = "" if self.mapped else ", no map"
        return f"{self.label}: {chances.spoken(self.word)}{owed}{language}{bar}{bare}"

    @property
    def meanings(self) -> dict[str, str]:
        """What its map shows in each view."""
        if not self.mapped:
            return dict.fromkeys(VIEWS, f"No map of “{shortened(self.label)}” was asked for.")
        return {view: wording.meaning(self.word, view, self.instead_of) for view in VIEWS}

    @property
    def brief(self) -> str:
        """What the map of the view "for" shows, in few words; the rest is told on hover."""
        told = wording.illustration(self.word)
        if self.instead_of is not None or told or not self.mapped:
            return self.meanings["for"]
        return f"Warm: {'raises' if self.signed else 'moves'} {wording.scored(self.word)}."

    @property
    def signed(self) -> bool:
        """Whether its map tells what raises the score from what lowers it."""
        return wording.method_of(self.word).signed

    @property
    def part(self) -> str:
        """What the map of one of its reasons shows, after the reason's name."""
        return f"the part that its units have in this map. {wording.meaning(self.word, 'signed', self.instead_of)}"

    @property
    def facts(self) -> list[tuple[str, str]]:
        """Its figures with their names."""
        word = self.word
        name = word.target if self.instead_of is None else f"{word.target}, less that of {self.instead_of}"
        score = [] if name == "logprob" else [(name, numbers.figure(word.score, 4))]
        seen = [("seen", self.owed_exactly)] if self.owed else []
        sides = [("for", "signed"), ("against", "opposed")]
        peaks = [(f"peak {name}", side) for name, side in sides] if self.signed else [("peak", "signed")]
        return [
            *chances.facts(word),
            *score,
            *seen,
            *((name, f"{strength.peak(word, side)} {self.unit}") for name, side in peaks if self.mapped),
        ]

    @cached_property
    def told(self) -> ToldReason | None:
        """Why it was said, in concepts; None where that was not asked for."""
        return ToldReason.of(self.word, self.instead_of)

    @property
    def alternatives(self) -> Iterator[dict[str, Any]]:
        """What could have stood in its place."""
        for label, logprob in self.word.alternatives:
            p = numbers.probability(logprob)
            width = 0.0 if math.isnan(p) else round(100 * p, 2)
            yield {"label": label, "share": numbers.share(logprob), "width": width, "said": label == self.word.label}


def first(items: Sequence[PageItem]) -> int:
    """The number of the word to begin with: one that says something, that the picture carries most."""
    return max(range(len(items)), key=lambda n: _weight(items[n]), default=0)


def _weight(item: PageItem) -> tuple[bool, float]:
    strong = 1.0 if item.strength is None else item.strength
    owed = 1.0 if item.moved is None else max(item.moved, 0.0)
    seen = strength.share(item.word.seen) if item.moved is not None and item.word.seen is not None else owed
    return item.mapped and item.content, (strong + 0.01) * (seen + 0.01) * (wording.strongest(item.word.signed) > 0)
