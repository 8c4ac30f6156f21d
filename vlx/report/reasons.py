"""Reasons as the page shows them: rows whose shares add up to the whole, the check's strip, maps for the script."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from markupsafe import Markup, escape

from vlx.explanation.reasons import Because, Check, Kind, Reason
from vlx.explanation.records import Array, WordExplanation
from vlx.report import maps, numbers, wording

SHOWN: dict[Kind, int] = {"because": 5, "despite": 3, "absence": 3}  # rows; only the first two kinds have maps
HEADS: dict[Kind, tuple[str, str]] = {
    "because": ("because of", "share of all evidence for it"),
    "despite": ("despite", "share of all evidence against it"),
    "absence": ("silent, and would speak against it", "by the weights alone"),
}
MARKS = {True: ("✓", "these units matter"), False: ("✗", "not shown to matter"), None: ("–", "not tried")}
NAMES = {True: "✓", False: "✗", None: "–"}
FEW = 4  # units that are listed without folding
UNNAMED = "unnamed units"


@dataclass(frozen=True, eq=False)
class ReasonRow:
    """One line of the table: a reason, what reasons of its kind are not listed, or what has no name.

    ``portion`` is of the evidence for (or against) the word, ``share`` of the heat map; both sum to 1 over all rows.
    ``number`` is that of its map on the page, None where it has none; ``tested`` whether its name was.
    """

    concept: str
    kind: Kind
    portion: float
    share: float
    reason: Reason | None = None
    map: Array | None = None
    number: int | None = None
    tested: bool = False

    @property
    def cold(self) -> bool:
        """Whether it speaks against the word."""
        return self.kind == "despite"

    @property
    def width(self) -> float:
        """Length of its bar, in percent."""
        return round(100 * min(max(self.portion, 0.0), 1.0), 1) if math.isfinite(self.portion) else 0.0

    @property
    def meter(self) -> Markup:
        """The portion as a bar with its figure; nothing for absences."""
        told = self.evidence
        cold = ' class="cold"' if self.cold else ""
        bar = f'<span class="meter" aria-hidden="true"><i{cold} style="width:{self.width}%"></i></span>'
        return Markup(f"{bar}<b>{escape(told)}</b>" if told else "")

    @property
    def evidence(self) -> str:
        """The portion in percent; absences have none."""
        return "" if self.kind == "absence" else percent(-self.portion if self.cold else self.portion, 0)

    @property
    def of_map(self) -> str:
        """The share of the heat map in percent."""
        return percent(self.share)

    @property
    def on_map(self) -> str:
        """How much of the units' masks lies where the heat map is positive; they have none where they are silent."""
        return percent(self.reason.on_map, 0) if self.reason is not None and self.kind != "absence" else ""

    @property
    def measure(self) -> str:
        """What tells how well the name fits: IoU, or AUC where captions gave it."""
        return "IoU" if self.reason is None or self.reason.auc is None else "AUC"

    @property
    def fit(self) -> str:
        """The IoU or AUC of the name with its error; a dash where the table tells none."""
        if self.reason is None:
            return ""
        value = self.reason.iou if self.reason.auc is None else self.reason.auc
        if math.isnan(value):
            return "–"
        error = self.reason.error
        return f"{value:.3f}" + (f" ± {error:.3f}" if error is not None and math.isfinite(error) else "")

    @property
    def wins(self) -> str:
        """In how many folds the name stayed the best."""
        one = self.reason
        return "" if one is None or one.wins is None or not one.folds else f"{one.wins}/{one.folds}"

    @property
    def units(self) -> str:
        """The numbers of its units."""
        return "" if self.reason is None else ", ".join(map(str, self.reason.units))

    @property
    def folded(self) -> str:
        """What stands for the units where they are many; else empty."""
        many = self.reason is not None and len(self.reason.units) > FEW
        return f"{len(self.reason.units)} units" if many and self.reason is not None else ""

    @property
    def effect(self) -> str:
        """The log-odds that the word loses by it alone; empty where that was not measured."""
        return "" if self.reason is None or self.reason.effect is None else figure(self.reason.effect)

    @property
    def mark(self) -> tuple[str, str, str] | None:
        """A sign, words and a p-value for whether its name holds together; None where that was not asked."""
        if self.reason is None or self.kind != "because" or not self.tested:
            return None
        p = self.reason.p_name
        return NAMES[self.reason.named], self.reason.mark, "" if p is None else f"p {p:.3f}"


@dataclass(frozen=True)
class Strip:
    """The check as dots on a line: places in percent from the left."""

    random: tuple[float, ...]
    band: tuple[float, float]
    effect: float
    needed: float
    zero: float
    said: str

    @classmethod
    def of(cls, check: Check) -> "Strip | None":
        """None where there is nothing to compare with."""
        finite = [value for value in check.random if math.isfinite(value)]
        if not finite or len(finite) < len(check.random) or not math.isfinite(check.effect):
            return None
        low, high = min(0.0, check.effect, *finite), max(check.effect, check.needed)
        room = (high - low or 1.0) * 0.04

        def place(value: float) -> float:
            return round(100 * (value - low + room) / (high - low + 2 * room), 2)

        left, right = check.interval
        said = (
            f"{check.measure} lost: {figure(check.effect)} with the units named off; {len(finite)} random sets "
            f"{figure(min(finite))} to {figure(max(finite))}, 95 % of them from {figure(left)} to {figure(right)}; "
            f"more than {figure(check.needed)} must be lost"
        )
        random, band = tuple(place(value) for value in finite), (place(left), place(right))
        return cls(random, band, place(check.effect), place(check.needed), place(0.0), said)


@dataclass(frozen=True, eq=False)
class ToldReason:
    """Why a word was said, ready to be shown."""

    because: Because
    signed: Array

    @classmethod
    def of(cls, word: WordExplanation, instead_of: str | None = None) -> "ToldReason | None":
        """None for a word without a because."""
        because = of_word(word, instead_of)
        return None if because is None else cls(because, word.signed)

    @property
    def badge(self) -> tuple[str, str]:
        """The check's verdict as a sign and words."""
        return badge(self.because)

    @property
    def tone(self) -> str:
        """The same as the name of a class."""
        return {"✓": "matters", "✗": "not-shown", "–": "not-tried"}[self.badge[0]]

    @property
    def sentence(self) -> str:
        """In one sentence, numbers unbroken."""
        return bound(wording.sentence(self.because.sentence))

    @property
    def verdict(self) -> str:
        """Both marks in words; empty where there is no reason."""
        return bound(wording.sentence(self.because.verdict))

    @property
    def tried(self) -> str:
        """What the check says without the words of the badge; empty where nothing was to be checked."""
        return bound(wording.sentence(self.because.effect.partition(": ")[2]))

    @property
    def names(self) -> str:
        """Which names hold together, in a sentence; empty where none was tested."""
        return bound(wording.sentence(self.because.names))

    @property
    def measure(self) -> str:
        """What the word loses when units are switched off."""
        return "log-odds" if self.because.check is None else self.because.check.measure

    @property
    def fit(self) -> str:
        """What tells how well names fit: IoU, or AUC where captions gave them."""
        return next((row.measure for row in self.rows if row.reason is not None), "IoU")

    @cached_property
    def strip(self) -> Strip | None:
        """The check as dots; None without one."""
        return None if self.because.check is None else Strip.of(self.because.check)

    @property
    def coverage(self) -> str:
        """How much has a name."""
        against = f", and {percent(self.because.coverage_against, 0)} of the evidence against it"
        silent = self.because.coverage_against == 0 and not self.because.of("despite")
        return f"Named units carry {percent(self.because.coverage, 0)} of the evidence for the word" + (
            "." if silent else f"{against}."
        )

    @cached_property
    def groups(self) -> list[tuple[str, str, list[ReasonRow]]]:
        """Heading, what portions are of, and rows, by kind; what has no name last."""
        numbers = iter(range(len(self.because.reasons) + 1))
        groups = [(*HEADS[kind], list(self._rows(kind, numbers))) for kind in HEADS]
        rest = None
        if not self.because.shares_of:
            rest = self.signed - np.sum([one.map for one in self.because.reasons], axis=0, dtype=np.float64)
        unnamed = ReasonRow(UNNAMED, "because", 1 - self.because.coverage, self.because.unnamed, map=rest)
        groups.append(("no name", "share of all evidence for it", [_numbered(unnamed, numbers)]))
        return [group for group in groups if group[2]]

    @property
    def rows(self) -> list[ReasonRow]:
        """All rows in order."""
        return [row for _, _, rows in self.groups for row in rows]

    @property
    def total(self) -> str:
        """What the shares of the heat map add up to."""
        return percent(sum(row.share for row in self.rows))

    @staticmethod
    def figure(value: float) -> str:
        """An effect, as the strip's legend writes it."""
        return figure(value)

    @property
    def maps(self) -> list[dict[str, Any]]:
        """For the script: each row's map as `maps.grid`."""
        return [maps.grid(row.map, "i1") for row in self.rows if row.number is not None and row.map is not None]

    def _rows(self, kind: Kind, numbers: Iterator[int]) -> Iterator[ReasonRow]:
        reasons = self.because.of(kind)
        listed, left = reasons[: SHOWN[kind]], reasons[SHOWN[kind] :]
        for reason in listed:
            heat, tested = None if self.because.shares_of else reason.map, self.because.check is not None
            yield _numbered(
                ReasonRow(reason.concept, kind, reason.portion, reason.share, reason, heat, tested=tested), numbers
            )
        if left:
            more = f"{len(left)} more concept{'s' * (len(left) > 1)}"
            rest = None
            if not self.because.shares_of:
                rest = np.asarray(np.sum([reason.map for reason in left], axis=0, dtype=np.float64))
            portion, share = sum(reason.portion for reason in left), sum(reason.share for reason in left)
            yield _numbered(ReasonRow(more, kind, portion, share, map=rest), numbers)


def of_word(word: WordExplanation, instead_of: str | None = None) -> Because | None:
    """The word's because; that of a contrast calls it by both answers."""
    if word.because is None or instead_of is None:
        return word.because
    return replace(word.because, word=f"{word.because.word}” rather than “{instead_of}")


def badge(because: Because) -> tuple[str, str]:
    """The check's verdict as a sign and words."""
    return MARKS[None if because.check is None else because.check.matters]


def named(because: Because) -> str:
    """The names that the sentence has, each with the sign of its test; empty where none was tested."""
    tried = because.check is not None and because.said
    return "names: " + ", ".join(f"{one.concept} {NAMES[one.named]}" for one in because.said) if tried else ""


def short(because: Because) -> tuple[str, str, str]:
    """For a table in a terminal: the check's sign, what speaks for the word with the signs of its names, what against.

    Nothing is said against a word that was not tried.
    """
    return badge(because)[0], _brief(because.said), _brief(because.said_against)


def percent(share: float, places: int = 1) -> str:
    """A share in percent with its sign where it is negative; a dash where it is unknown."""
    if not math.isfinite(share):
        return "–"
    return f"{round(100 * share, places) + 0.0:.{places}f} %".replace("-", "−")


def figure(value: float) -> str:
    """An effect with one place."""
    return f"{round(value, 1) + 0.0:.1f}".replace("-", "−") if math.isfinite(value) else numbers.figure(value)


def bound(text: str) -> str:
    """The text with its percentages kept on one line."""
    return text.replace(" %", "\u00a0%")


def _brief(reasons: Iterable[Reason]) -> str:
    signed = ((one, "" if one.kind == "despite" else f" {NAMES[one.named]}") for one in reasons)
    return ", ".join(f"{one.concept} {percent(one.portion, 0)}{sign}" for one, sign in signed)


def _numbered(row: ReasonRow, numbers: Iterator[int]) -> ReasonRow:
    """The row with its place among the maps, where it has anything to show; silent units have not."""
    there = row.kind != "absence" and row.map is not None and bool(np.nan_to_num(row.map).any())
    return replace(row, number=next(numbers)) if there else row
