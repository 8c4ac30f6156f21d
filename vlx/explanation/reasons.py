"""Reasons for a word: concepts, and what they rest on. Frozen records that stay whole without the model."""

from dataclasses import dataclass, fields
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

Kind = Literal["because", "despite", "absence"]
SAID = 3  # reasons of a kind that a sentence names
OLDER = "the check of its reasons was made by an older version, on other units than are named: explain it again"
ABSENT = 2  # absences
LIFT = 1.25  # nats that a word must gain by the loss of a reason against it (95 % of random sets do less)
TINY = 1e-6  # a share that is none, but for rounding


@dataclass(frozen=True, eq=False)
class Reason:
    """One concept that speaks for a word (``because``), against it (``despite``), or for it by being absent.

    ``units`` are the units of that name. ``contribution`` is Σ gradient × activation over their cells, in the unit of
    the target; ``portion`` what that is of all positive (of ``despite``: all negative) contributions, 0 to 1: 0 where
    units that were taken by their α (``by="alpha"``) contribute to the other side.
    ``weight`` is the sum of their α (paper, eq. 1), ``activation`` of their mean activations. ``share`` is what of the
    heat map they own: over all reasons and what has no name it adds up to 1. ``map`` [h, w] is their part of the
    signed map, and ``on_map`` the share of their masks (cells above the threshold) where the heat map is positive.

    ``iou`` is the best of the units' (``auc`` where captions gave the names) with its standard ``error`` over folds of
    pictures; the name stayed the best in ``wins`` of ``folds``. ``effect`` is how much log-odds the word loses when
    these units alone are switched off, None where that was not tried.

    ``named``: whether all units of the name act together for the word more than randomly named ones, at ``p_name`` ≤
    .05 (`vlx.probes.name_marks`; of ``despite`` and ``absence`` it is not asked). None where it cannot be tested, as of
    a name that rests on one unit. It marks a grouping, not a label. ``repeats`` tells that the concept is the word
    itself.
    """

    concept: str
    category: str
    kind: Kind
    units: tuple[int, ...]
    iou: float
    error: float | None
    wins: int | None
    folds: int | None
    weight: float
    activation: float
    contribution: float
    portion: float
    share: float
    on_map: float
    map: NDArray[Any]
    effect: float | None = None
    named: bool | None = None
    p_name: float | None = None
    repeats: bool = False
    auc: float | None = None

    @property
    def mark(self) -> str:
        """What the test of the name says, in words; empty where it was not asked."""
        if self.kind != "because":
            return ""
        if self.named is None:
            return "name cannot be tested here"
        return f"name {'holds' if self.named else 'does not hold'} together"

    def to_dict(self) -> dict[str, Any]:
        """The fields by name; `from_dict` makes an equal record of them."""
        return {field.name: _plain(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> Self:
        """The record that `to_dict` was called on; of what older versions wrote, what still means the same."""
        units, shown = tuple(int(unit) for unit in saved["units"]), np.asarray(saved["map"])
        return cls(**{**_known(cls, saved), "units": units, "map": shown})


@dataclass(frozen=True)
class Check:
    """What became of the word when the units that the sentence names were switched off, the text before it unchanged.

    ``units`` are those of the reasons for the word that the sentence names, all of them. ``before`` are its log-odds in
    nats (of a ``contrast``: how far it leads), ``effect`` what they lose, ``logprob`` what its log-probability loses
    (of a contrast: the lead). ``random`` are the effects of random sets of ``size`` active units
    (`vlx.probes.unit_trials`), the same sets for all words of a text: ``size`` is that of the largest set named in it.
    ``predicted`` is what the contributions add up to, for comparison: it is first-order, and in another unit where the
    target is not a logit. Of a ``number`` all figures are the number's, in its own unit.
    """

    units: tuple[int, ...]
    before: float
    effect: float
    logprob: float
    random: tuple[float, ...]
    size: int
    predicted: float
    contrast: bool = False
    number: bool = False

    @property
    def measure(self) -> str:
        """What is lost."""
        if self.number:
            return "value"
        return "lead" if self.contrast else "log-odds"

    @property
    def rank(self) -> int:
        """1 + the number of random sets whose effect is as large; of ``len(random)`` + 1."""
        return 1 + sum(other >= self.effect for other in self.random)

    @property
    def interval(self) -> tuple[float, float]:
        """The range in which 95 % of the random sets' effects lie."""
        low, high = np.percentile(self.random, [2.5, 97.5])
        return float(low), float(high)

    @property
    def needed(self) -> float:
        """The most that a random set takes, and none: the effect must be larger."""
        return max(0.0, *self.random)

    @property
    def matters(self) -> bool:
        """Whether the word loses more than with any of the random sets off: with 20 of them p < .05."""
        return self.effect > self.needed

    def lifts(self, reason: Reason) -> bool:
        """Whether the word gains by the loss of a reason's units, clearly, and more than by that of any random set."""
        return reason.effect is not None and reason.effect < min(0.0 if self.number else -LIFT, *self.random)

    @property
    def verdict(self) -> str:
        """In a few words."""
        return "these units matter" if self.matters else "not shown to matter"

    def __str__(self) -> str:
        of = "the unit named" if len(self.units) == 1 else f"the {len(self.units)} units named"
        mean, highest = (_figure(value) for value in (float(np.mean(self.random)), max(self.random)))
        before, after = _figure(self.before), _figure(self.before - self.effect)
        what = f"its lead goes from {before} to {after} nats"
        if self.number:
            what = f"it goes from {before} to {after}"
        elif not self.contrast:
            changed = _figure(-self.logprob, 2)
            what = f"its log-odds go from {before} to {after} (log p changes by {changed})"
        sets = f"{len(self.random)} random sets of {self.size} active unit{'s' * (self.size != 1)}"
        return f"{self.verdict}: with {of} switched off {what}; {sets} take off {mean} on average, {highest} at most"

    def to_dict(self) -> dict[str, Any]:
        """The fields by name; `from_dict` makes an equal record of them."""
        return {field.name: _plain(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> Self:
        """The record that `to_dict` was called on."""
        units, random = tuple(map(int, saved["units"])), tuple(map(float, saved["random"]))
        return cls(**{**saved, "units": units, "random": random})


@dataclass(frozen=True, eq=False)
class Because:
    """Why a word was said, in concepts: ``reasons``, those that contribute most first, and their ``check``.

    ``coverage`` is the share of the evidence for the word that named units carry, ``coverage_against`` the same of the
    evidence against it, both 0 to 1; what is left has no name. ``unnamed`` is what of the heat map the units own that
    no reason stands for: the reasons' shares and this add up to 1. ``rule`` says how units were weighed
    (`vlx.probes.names_wish.RULES`). ``check`` is None where it was not asked for, or nothing was named. ``shares_of``
    names the method of the map that the shares divide where it is not the word's own: a map that is not made of units.
    """

    word: str
    reasons: tuple[Reason, ...]
    coverage: float
    coverage_against: float
    unnamed: float
    rule: str = "contribution"
    check: Check | None = None
    notes: tuple[str, ...] = ()
    shares_of: str = ""

    def of(self, kind: Kind) -> tuple[Reason, ...]:
        """The reasons of one kind."""
        return tuple(reason for reason in self.reasons if reason.kind == kind)

    def __str__(self) -> str:
        return f"{self.sentence}\n{self.verdict}" if self.verdict else self.sentence

    @property
    def said(self) -> tuple[Reason, ...]:
        """The reasons for the word that the sentence names: the first few."""
        return self.of("because")[:SAID]

    @property
    def tested(self) -> tuple[int, ...]:
        """The units that the sentence names for the word: those of the reasons ``said``; the check is theirs."""
        return tuple(sorted({unit for reason in self.said for unit in reason.units}))

    @property
    def said_against(self) -> tuple[Reason, ...]:
        """The reasons against it that the sentence names: those whose trial lifts the word more than random sets do."""
        if self.check is None:
            return ()
        said = {reason.concept for reason in self.said}
        return tuple(one for one in self.of("despite") if self.check.lifts(one) and one.concept not in said)[:SAID]

    @property
    def sentence(self) -> str:
        """In one sentence: because of what, despite what, what is missing, and what has no name.

        "Perhaps" is left out only where the check shows that the units named matter; ``despite`` names only what its
        own trial showed. Absences cannot be tried: of them it says what the weights say.
        """
        matters = self.check is not None and self.check.matters
        lead = f"{'' if matters else 'perhaps '}because of units named {_listed(self.said)}"
        told = f"“{self.word}” {lead if self.said else 'has no named reason'}"
        if self.said_against:
            told += f", despite {_listed(self.said_against)}"
        absent = [reason.concept for reason in self.of("absence")[:ABSENT]]
        if absent:
            told += f"; by their weights alone {_joined(absent)}, whose units are silent here, would speak against it"
        return f"{told}; {self._rest}"

    @property
    def _rest(self) -> str:
        """What of the evidence the sentence does not name."""
        others = self.coverage - sum(reason.portion for reason in self.said)
        lead = f"other concepts carry {_percent(others)}, unnamed units" if others >= 0.005 else "unnamed units carry"
        return f"{lead} {_percent(1 - self.coverage)} of the evidence"

    @property
    def verdict(self) -> str:
        """Both marks in words: whether these units matter, and which names hold together; empty without a reason."""
        return "; ".join(part for part in (self.effect, self.names) if part)

    @property
    def effect(self) -> str:
        """The first mark: what the check says; without one that the units were not switched off."""
        if self.check is not None:
            return f"{self.check}"
        return "not tried: the units named were not switched off" if self.of("because") else ""

    @property
    def names(self) -> str:
        """The second mark: which names that the sentence has hold together; empty without any."""
        tried = [one for one in self.said if one.named is not None]
        held, failed = ([one for one in tried if one.named is held] for held in (True, False))
        alone = [one.concept for one in self.said if one.named is None]
        of = "this name" if len(held) == 1 else "each name"
        parts = [f"{_tested(held)}: units of {of} act together for this word more than randomly named ones"] * bool(
            held
        )
        if failed:
            parts.append(f"no more than randomly named ones: {_tested(failed)}")
        if alone and self.check is not None:
            whose = "its name" if len(alone) == 1 else "their names"
            parts.append(f"{_joined(alone)}: {whose} cannot be tested here")
        return "; ".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """The fields by name; `from_dict` makes an equal record of them."""
        plain = {field.name: _plain(getattr(self, field.name)) for field in fields(self)}
        check = None if self.check is None else self.check.to_dict()
        return {**plain, "reasons": [reason.to_dict() for reason in self.reasons], "check": check}

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> Self:
        """The record that `to_dict` was called on.

        A check that an older version wrote was of other units than the sentence names: it is left out, and a note says
        so.
        """
        reasons = tuple(Reason.from_dict(one) for one in saved["reasons"])
        saved_check, notes = saved["check"], tuple(saved["notes"])
        if saved_check is not None and "size" not in saved_check:
            saved_check, notes = None, (*notes, OLDER)
        check = None if saved_check is None else Check.from_dict(saved_check)
        return cls(**{**saved, "reasons": reasons, "check": check, "notes": notes})


def _listed(reasons: tuple[Reason, ...]) -> str:
    """Concepts with their portions; one that is the word itself is told as such."""
    return _joined([f"{one.concept}{' itself' if one.repeats else ''} ({_percent(one.portion)})" for one in reasons])


def _tested(reasons: list[Reason]) -> str:
    """Concepts with the p-values of their names."""
    return _joined([f"{one.concept} (p {_p(one.p_name)})" for one in reasons])


def _p(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}".lstrip("0")


def _joined(parts: list[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else "".join(parts)


def _percent(share: float) -> str:
    """In percent; neither 0 nor 100 where it only rounds to it."""
    if TINY < share < 0.005 or 0.995 <= share < 1 - TINY:
        return "< 1 %" if share < 0.5 else "> 99 %"
    return f"{100 * share:.0f} %"


def _figure(value: float, places: int = 1) -> str:
    return f"{round(value, places) + 0.0:.{places}f}".replace("-", "−")


def _known(cls: type[Reason], saved: dict[str, Any]) -> dict[str, Any]:
    """What of a saved record the record still has."""
    names = {field.name for field in fields(cls)}
    return {name: value for name, value in saved.items() if name in names}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
