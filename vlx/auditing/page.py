"""An audit as one self-contained page: findings first, then tables, the worst mistakes, lists, and how it was made."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from markupsafe import Markup

from vlx.auditing import telling
from vlx.auditing.answered import ALIKE
from vlx.auditing.drawn import Drawings, DrawnMistake
from vlx.auditing.result import FEWEST, AnswerTally, Audit, ConceptRow, Finding, Listed, Mistake, Occurrence
from vlx.files import templates
from vlx.report import numbers, sentences, text, wording

ANSWERS = 150  # that have a row on the page; all are in audit.json
CONCEPTS = 12  # of an answer that have a row
FINDINGS = 60
LISTED = 100  # occurrences of each list
SHOWN = 3  # pictures beside a finding
SAFE = 4_600_000  # bytes of pictures: what is over is left out, the last first


@dataclass(frozen=True)
class FindingView:
    """A finding on the page, with pictures beside it: ``crops``, else mistakes it explains (``shown``, by number)."""

    finding: Finding
    figures: list[tuple[str, str]]
    crops: list[str]
    shown: list[tuple[int, str]]
    span: "Span | None"

    @property
    def sentence(self) -> str:
        """What was found: its first clause."""
        return _kept(wording.sentence(self._parts[0]))

    @property
    def further(self) -> str:
        """The other clauses."""
        return _kept(wording.sentence(self._parts[1]))

    @property
    def _parts(self) -> tuple[str, str]:
        return telling.clauses(text.plain(self.finding.sentence))

    @property
    def kind(self) -> str:
        """What sort of a finding it is."""
        return telling.kind(self.finding)


@dataclass(frozen=True)
class Span:
    """An effect and its interval on an axis that all findings of its unit share, in percent of its width."""

    zero: float
    low: float
    high: float
    effect: float
    said: str


@dataclass(frozen=True)
class MistakeView:
    """One of the worst mistakes on the page."""

    number: int
    mistake: Mistake
    drawn: DrawnMistake
    sentence: str

    @property
    def said_of(self) -> str:
        """The question, or the whole text; empty where that is what was said."""
        one = self.mistake
        return one.question or ("" if one.text == one.said else one.text)

    @property
    def facts(self) -> list[str]:
        """What else is known of it, in words."""
        one = self.mistake
        lead = "" if math.isnan(one.lead) else f"{wording.difference(one.lead)} nats ahead of the other"
        owed = "" if math.isnan(one.seen) else f"{wording.difference(one.seen)} nats are owed to the picture"
        return [fact for fact in (lead, owed) if fact]


@dataclass(frozen=True)
class TallyView:
    """One answer's row, and those of its concepts."""

    tally: AnswerTally
    concepts: list[ConceptRow]
    left: int

    @property
    def few(self) -> bool:
        """Whether it was said too seldom to be judged."""
        return self.tally.said < FEWEST

    @property
    def cells(self) -> list[str]:
        """Its figures: said, right, owed to the picture, owing nothing, failed checks."""
        one = self.tally
        right = (
            "–" if one.right is None else f"{one.right:,} ({sentences.part(one.right / one.said)})" if one.said else "0"
        )
        return [
            f"{one.said:,}",
            right,
            "–" if math.isnan(one.seen) else wording.difference(one.seen),
            _of(one.unowed, one.owed_tried),
            _of(one.failed, one.tried),
        ]


def page(audit: Audit, drawn: Drawings) -> str:
    """The whole page as one string; what is over five megabytes of pictures is left out of it, and said."""
    drawn, left = _within(drawn)
    findings, told = [_finding(one, audit, drawn) for one in telling.found(audit)], telling.told(audit)[:FINDINGS]
    return templates.template("vlx.auditing", "audit.html.j2").render(
        audit=audit,
        findings=findings[:FINDINGS],
        unshown=max(len(findings) - FINDINGS, 0),
        slight=[_finding(one, audit, drawn) for one in told if one.kind == "leans"],
        told=[_kept(wording.sentence(text.plain(one.sentence))) for one in told if one.kind != "leans"],
        headline=telling.headline(audit),
        standing=telling.standing(audit),
        tested=telling.tested(audit),
        source=telling.source(audit),
        other="the true one" if any(one.true for one in audit.mistakes) else f"the likeliest other {audit.answer_is}",
        unnamed=audit.concepts_are == ALIKE,
        tallies=[_tally(one) for one in audit.answers[:ANSWERS]],
        untold=max(len(audit.answers) - ANSWERS, 0),
        mistakes=_mistakes(audit, drawn),
        pictures_left=left,
        lists=_lists(audit),
        thumbs=drawn.thumbs,
        plain=text.plain,
        weighed=telling.weighed,
        capital=wording.sentence,
        many=telling.noun(audit, 2),
        fewest=FEWEST,
        style=Markup(templates.text("vlx.auditing", "audit.css")),
    )


def _within(drawn: Drawings) -> tuple[Drawings, int]:
    """The drawings that a page has room for, and of how many mistakes the maps are left out."""
    room = SAFE - sum(map(len, [*drawn.crops.values(), *drawn.thumbs.values()]))
    kept: list[DrawnMistake] = []
    left = 0
    for one in drawn.mistakes:
        room -= len(one.picture) + sum(len(each.address) for each in one.maps)
        kept.append(one if room > 0 else DrawnMistake())
        left += room <= 0
    return Drawings(tuple(kept), drawn.crops, drawn.thumbs), left


def _finding(one: Finding, audit: Audit, drawn: Drawings) -> FindingView:
    crops = [drawn.crops[crop] for crop in one.examples if crop in drawn.crops][: 2 * SHOWN]
    return FindingView(one, telling.figures(one), crops, [] if crops else _shown(one, audit, drawn), _span(one, audit))


def _shown(one: Finding, audit: Audit, drawn: Drawings) -> list[tuple[int, str]]:
    """The first mistakes that a finding explains: the same answer, with the concept speaking for it."""
    if one.kind != "leans":
        return []
    fitting = [
        (number, made.maps[-1].address)
        for number, (mistake, made) in enumerate(zip(audit.mistakes, drawn.mistakes, strict=False), 1)
        if made.maps
        and (mistake.counted or mistake.said) == one.answer
        and any(each.concept == one.concept and each.signed > 0 for each in mistake.carried)
    ]
    return fitting[:SHOWN]


def _span(one: Finding, audit: Audit) -> Span | None:
    """Where its interval lies on the axis of its unit; None where there is no interval."""
    if any(map(math.isnan, (one.effect, one.low, one.high))):
        return None
    same = [each for each in audit.findings if each.unit == one.unit and each.kind == one.kind]
    ends = [end for each in same for end in (each.low, each.high, each.effect) if math.isfinite(end)]
    least, most = min([*ends, 0.0]), max([*ends, 0.0])
    if most - least <= 0:
        return None
    low, high, effect, zero = (
        round(100 * (end - least) / (most - least), 2) for end in (one.low, one.high, one.effect, 0.0)
    )
    return Span(zero, min(max(low, 0.0), 100.0), min(max(high, 0.0), 100.0), effect, telling.interval(one))


def _mistakes(audit: Audit, drawn: Drawings) -> list[MistakeView]:
    made = [*drawn.mistakes, *[DrawnMistake()] * len(audit.mistakes)]
    return [
        MistakeView(number, one, made[number - 1], _kept(wording.sentence(telling.mistake(one, audit.answer_is))))
        for number, one in enumerate(audit.mistakes, 1)
    ]


def _tally(one: AnswerTally) -> TallyView:
    return TallyView(one, [*one.concepts[:CONCEPTS]], max(len(one.concepts) - CONCEPTS, 0))


@dataclass(frozen=True)
class ListView:
    """One list of the page: what its figures are, and its first rows, each an occurrence with its figure."""

    name: str
    listed: Listed
    figure: str
    rows: list[tuple[Occurrence, str]]


def _lists(audit: Audit) -> list[ListView]:
    many = telling.noun(audit, 2).capitalize()
    kinds = [
        (f"{many} that rest outside their own mask", audit.outside, "outside", sentences.part),
        (f"{many} that the picture does not carry", audit.hallucinated, "p", numbers.percent),
        (f"{many} that owe nothing to the picture", audit.unowed, "nats owed", wording.difference),
    ]
    return [
        ListView(name, one, figure, [(each, _figure(each, written)) for each in one.occurrences[:LISTED]])
        for name, one, figure, written in kinds
        if one.how or one.why
    ]


def _figure(one: Occurrence, written: Callable[[float], str]) -> str:
    return "–" if math.isnan(one.value) else written(one.value)


def _of(count: int, of: int) -> str:
    return f"{count:,} of {of:,}" if of else numbers.log(math.nan)


def _kept(sentence: str) -> str:
    """The sentence with its figures kept beside their percent signs."""
    return sentence.replace(" %", "\N{NO-BREAK SPACE}%")
