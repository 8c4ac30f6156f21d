"""What the page's template is given: a panel an explanation, an item a word, and numbers for the script."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from vlx.explanation.records import Explanation, WordExplanation
from vlx.report import answers, colour, maps, numbers, pictures, sentences, strength, wording
from vlx.report.items import PageItem, first

GUIDED_SIDE = 400
FEW = 2  # function words are folded where there are more
LONG = 40  # words: a text of more is set small


@dataclass(frozen=True)
class Panel:
    """One explanation on the page.

    ``picture`` is its address, None where an earlier panel, the ``shows``-th, has the same; ``stills`` are small maps
    of words and answers, each on its own scale; ``hidden`` and ``guided`` what occlusion and Guided Grad-CAM found.
    """

    why: Explanation
    number: int
    shows: int
    words: list[PageItem]
    others: list[PageItem]
    more: list[PageItem]
    picture: str | None
    stills: dict[int, str]
    hidden: list[tuple[PageItem, str]]
    guided: list[tuple[PageItem, str]]
    data: dict[str, Any]

    @classmethod
    def of(cls, number: int, why: Explanation, first: Explanation, side: int) -> "Panel":
        """Draw what the page needs of one explanation; a picture that ``first`` shows already is not repeated."""
        items, painter = _items(why), maps.Painter(why.placement)
        same = number > 0 and why.placement == first.placement and answers.same_picture(why, first)
        scaled = [item for item in items if item.kind in ("word", "other") and item.mapped]
        return cls(
            why=why,
            number=number,
            shows=0 if same else number,
            words=[item for item in items if item.kind == "word"],
            others=[item for item in items if item.kind == "other"],
            more=[item for item in items if item.kind not in ("word", "other")],
            picture=None if same else pictures.shown(why, side),
            stills={item.number: _still(painter, item, why) for item in scaled},
            hidden=_hidden(painter, scaled) if answers.single(why) else [],
            guided=_guided(items, why),
            data=_data(why, items),
        )

    @property
    def title(self) -> str:
        """The heading: question and answer, or the text."""
        return " ".join(part for part in (self.why.question, self.short) if part)

    @property
    def short(self) -> str:
        """What is explained: the text without its reasoning, or both sides of a contrast."""
        return answers.said(self.why) if self.why.instead_of is None else answers.title(self.why)

    @property
    def shown(self) -> list[PageItem]:
        """What shares the shared scale: the words, or the answer and its alternatives."""
        return [*self.words, *self.others]

    @cached_property
    def thoughts(self) -> list[PageItem]:
        """The words that the model reasons with before it answers."""
        inside = {id(word) for word in answers.thoughts(self.why)}
        return [item for item in self.words if id(item.word) in inside]

    @cached_property
    def said(self) -> list[PageItem]:
        """The other words."""
        return [item for item in self.words if item not in self.thoughts]

    @property
    def unanswered(self) -> bool:
        """Whether reasoning is all that there is."""
        return answers.only_reasoning(self.why)

    @property
    def long(self) -> bool:
        """Whether the text is set small."""
        return len(self.words) > LONG

    @cached_property
    def unmapped(self) -> list[PageItem]:
        """What has no map."""
        return [item for item in self.shown if not item.mapped]

    @cached_property
    def told(self) -> list[PageItem]:
        """What has a place of its own under the picture: words that say something, or all where few do not."""
        return self._told_of if len(self.folded) == 0 else [item for item in self._told_of if item.content]

    @cached_property
    def folded(self) -> list[PageItem]:
        """The function words, where there are several."""
        rest = [item for item in self._told_of if not item.content]
        return rest if FEW < len(rest) < len(self._told_of) else []

    @cached_property
    def _told_of(self) -> list[PageItem]:
        """What has a map, less what is reasoned before an answer."""
        aside = [] if self.unanswered else self.thoughts
        return [item for item in self.shown if item.mapped and item not in aside]

    @property
    def rest(self) -> list[tuple[list[PageItem], str]]:
        """What is folded away under the maps, with what it is called."""
        aside = [] if self.unanswered else [item for item in self.thoughts if item.mapped]
        one = len(self.more) == 1
        groups = [
            (self.folded, f"function word{'s' * (len(self.folded) > 1)}"),
            (aside, f"word{'s' * (len(aside) > 1)} of its reasoning"),
            (self.unmapped, f"word{'s' * (len(self.unmapped) > 1)} without a map"),
            (self.more, "phrase and whole text" if one else "phrases and the whole text"),
        ]
        return [(group, name) for group, name in groups if group]

    @cached_property
    def first(self) -> PageItem | None:
        """What is shown to begin with."""
        return self.words[self.data["first"]] if self.words else None

    @property
    def noun(self) -> str:
        """What the buttons hold."""
        return wording.noun(self.why)

    @property
    def nouns(self) -> str:
        """Several of them."""
        return wording.PLURALS[self.noun]

    @property
    def bar(self) -> str:
        """What the bars show; empty where there are none."""
        return strength.measured(self.why)

    @property
    def ringed(self) -> bool:
        """Whether any word is language's."""
        return any(item.language for item in self.words)

    @property
    def faded(self) -> bool:
        """Whether any map is of a word that nothing carries."""
        return any(item.faded for item in self.shown)

    @property
    def cropped(self) -> bool:
        """Whether the model never saw a part of the picture."""
        return not all(bool(self.why.placement.frame.seen(axis).all()) for axis in (0, 1))

    @property
    def occluded(self) -> bool:
        """Whether there is an occlusion view."""
        return any(item.word.occlusion is not None for item in [*self.shown, *self.more])

    @property
    def tried(self) -> bool:
        """Whether there is a check of any map."""
        return any(item.word.check is not None for item in [*self.shown, *self.more])

    @property
    def reasoned(self) -> bool:
        """Whether anything has reasons."""
        return any(item.told is not None for item in [*self.shown, *self.more])

    @property
    def view(self) -> str:
        """The view to begin with: a contrast is a matter of both signs."""
        return "signed" if wording.both_signs(self.why) else "for"

    @property
    def signed(self) -> bool:
        """Whether maps tell what raises a score from what lowers it."""
        return wording.method_of(self.why).signed

    @property
    def did(self) -> str:
        """What the model did, over the text."""
        model = str(self.why.provenance.get("model", "the model"))
        if self.why.question is not None:
            return f"{model} was asked"
        if self.caption:
            return f"{model} was given" if self.why.forced else f"{model} said"
        if self.why.forced:
            return f"Why would {model} say"
        return f"{model} says" if self.why.words else f"{model} said nothing"

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
    def provenance(self) -> list[tuple[str, str]]:
        """What made this, for the foot of the page."""
        record = {name: value for name, value in self.why.provenance.items() if name != "command"}
        return [(str(name).replace("_", " "), _said(value)) for name, value in record.items()]

    @property
    def ends(self) -> str:
        """What the end of an item's own scale is called."""
        return "for" if self.view != "for" else wording.end(self.why)

    def end(self, item: PageItem) -> str:
        """What an item's own scale ends at."""
        return f"{numbers.figure(_top(item.word, self.why))} {item.unit}"

    @staticmethod
    def part(share: float | None) -> str:
        """A share in percent."""
        return "" if share is None else sentences.part(share)


def _items(why: Explanation) -> list[PageItem]:
    """All buttons in order: words, the other answers, phrases, the whole text."""
    top, noun = colour.scale(why), wording.noun(why)
    listed = [("word", word, why.instead_of) for word in why.words]
    listed += [("other", other.words[0], other.instead_of) for other in answers.beside(why)]
    listed += [("phrase", phrase, None) for phrase in why.phrases if phrase.label != why.sentence.label]
    listed += [("sentence", why.sentence, None)] if len(why.words) > 1 and noun == "word" else []
    return [PageItem(word, kind, number, top, noun, other) for number, (kind, word, other) in enumerate(listed)]


def _top(word: WordExplanation, why: Explanation) -> float:
    return strength.top(word, why, "own")


def _still(painter: maps.Painter, item: PageItem, why: Explanation) -> str:
    """What speaks for it; of a contrast both signs."""
    values = item.word.signed if wording.both_signs(why) else np.maximum(item.word.signed, 0)
    return painter.still(values, _top(item.word, why), item.fade)


def _hidden(painter: maps.Painter, items: Sequence[PageItem]) -> list[tuple[PageItem, str]]:
    """Stills of what occlusion found."""
    top = _falls_top(items)
    occlusions = [(item, item.word.occlusion) for item in items]
    return [(item, painter.still(one.falls, top)) for item, one in occlusions if one is not None]


def _guided(items: Sequence[PageItem], why: Explanation) -> list[tuple[PageItem, str]]:
    """Pictures of Guided Grad-CAM, where it is there."""
    there = [item for item in items if item.word.guided is not None]
    words = [item.word for item in there]
    if not words:
        return []
    drawn = pictures.guided(words, pictures.size(why, GUIDED_SIDE), pictures.guided_top(words))
    return [(item, pictures.address(one)) for item, one in zip(there, drawn, strict=True)]


def _falls_top(items: Sequence[PageItem]) -> float:
    """The end of occlusion's scale."""
    falls = [np.abs(item.word.occlusion.falls) for item in items if item.word.occlusion is not None]
    return max((wording.strongest(one) for one in falls), default=0.0)


def _data(why: Explanation, items: Sequence[PageItem]) -> dict[str, Any]:
    """Numbers only: what the script needs to paint."""
    sent = maps.Sent(why.placement)
    return {
        "size": list(why.image.shape[:2]),
        "grid": list(sent.grid),
        "bytes": 1 if sent.kind == "i1" else 2,
        "end": wording.end(why),
        "axes": [
            {"origin": axis.origin, "step": axis.step, "first": axis.first, "stop": axis.stop} for axis in sent.axes
        ],
        "words": sum(item.kind in ("word", "other") for item in items),
        "first": first(items[: len(why.words)]),
        "top": items[0].top if items else 0.0,
        "view": "signed" if wording.both_signs(why) else "for",
        "guidedTop": pictures.guided_top([item.word for item in items]),
        "fallsTop": _falls_top(items),
        "items": [_numbers(item, sent) for item in items],
    }


def _numbers(item: PageItem, sent: maps.Sent) -> dict[str, Any]:
    word, end = item.word, wording.ending(item.word)
    negated = not item.signed or not item.mapped or np.array_equal(word.opposed, -word.signed)
    return {
        "signed": sent.cells(word.signed, end) if item.mapped else None,
        "opposed": None if negated else sent.cells(word.opposed, end),
        "falls": None if word.occlusion is None else maps.grid(word.occlusion.falls),
        "fade": round(item.fade, 3),
        "reasons": [] if item.told is None else item.told.maps,
    }


def _said(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_said(part)}" for name, part in value.items())
    return " × ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
