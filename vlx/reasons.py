"""Reasons for a word: concepts, and what they rest on. Frozen records that stay whole without the model."""

from dataclasses import dataclass, fields
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

Kind = Literal["because", "despite", "absence"]
SAID = 3  # reasons of a kind that a sentence names
ABSENT = 2  # absences
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

    ``iou`` is the best of the units' with its standard ``error`` over folds of pictures; the name stayed the best in
    ``wins`` of ``folds``. ``effect`` is how much log-odds the word loses when these units alone are switched off;
    ``confirmed`` whether that is more than random units do; None where it was not measured. ``repeats`` tells that the
    concept is the word itself.
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
    confirmed: bool | None = None
    repeats: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The fields by name; `from_dict` makes an equal record of them."""
        return {field.name: _plain(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> Self:
        """The record that `to_dict` was called on."""
        return cls(**{**saved, "units": tuple(int(unit) for unit in saved["units"]), "map": np.asarray(saved["map"])})


@dataclass(frozen=True)
class Check:
    """What became of the word when the named units that speak for it were switched off, the text before it unchanged.

    ``before`` are its log-odds in nats (of a ``contrast``: how far it leads), ``effect`` what they lose, ``logprob``
    what its log-probability loses (of a contrast: the lead); ``alone`` are its log-odds with all other units switched
    off instead. ``random`` are the effects of random sets of as many active units with as much activation; ``rank`` is
    1 where none reaches the effect. ``floor`` is the least effect that counts. ``predicted`` is what the contributions
    add up to, for comparison: it is first-order, and in another unit where the target is not a logit.
    """

    units: tuple[int, ...]
    before: float
    effect: float
    logprob: float
    alone: float
    random: tuple[float, ...]
    floor: float
    predicted: float
    contrast: bool = False

    @property
    def measure(self) -> str:
        """What is lost."""
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
    def confirmed(self) -> bool:
        """Whether the effect is above the 95th percentile of the random sets' and reaches the floor."""
        return self.effect > float(np.percentile(self.random, 95)) and self.effect >= self.floor

    @property
    def verdict(self) -> str:
        """In a word or two."""
        return "confirmed" if self.confirmed else "not confirmed"

    def __str__(self) -> str:
        of = "the named unit" if len(self.units) == 1 else f"the {len(self.units)} named units"
        mean, highest = (_figure(value) for value in (float(np.mean(self.random)), max(self.random)))
        before, after = _figure(self.before), _figure(self.before - self.effect)
        what = f"its lead goes from {before} to {after} nats"
        if not self.contrast:
            changed = _figure(-self.logprob, 2)
            what = f"its log-odds go from {before} to {after} (log p changes by {changed})"
        return (
            f"{self.verdict}: with {of} switched off {what}; {len(self.random)} random sets of like strength take off "
            f"{mean} on average, {highest} at most{self._short}"
        )

    @property
    def _short(self) -> str:
        """What is missing where it was not confirmed."""
        if self.effect < self.floor:
            return f"; {_figure(self.floor)} at the least would have to go"
        return "" if self.confirmed else f"; {_figure(self.effect)} is no more than chance"

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
    """Why a word was said, in concepts: ``reasons``, those that weigh most by experiment first, and their ``check``.

    ``coverage`` is the share of the evidence for the word that named units carry, ``coverage_against`` the same of the
    evidence against it, both 0 to 1; what is left has no name. ``unnamed`` is what of the heat map the units own that
    no reason stands for: the reasons' shares and this add up to 1. ``rule`` says how units were weighed
    (`vlx.because.RULES`). ``check`` is None where it was not asked for, or nothing was named. ``shares_of`` names the
    method of the map that the shares divide where it is not the word's own: a map that is not made of units.
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
    def named(self) -> tuple[Reason, ...]:
        """The reasons for the word that the sentence names: of the first few those whose own trial did not fail.

        All of these where only the whole was confirmed, or nothing.
        """
        first = self.of("because")[:SAID]
        held = tuple(reason for reason in first if reason.confirmed is not False)
        return held if held and self.check is not None and self.check.confirmed else first

    @property
    def named_against(self) -> tuple[Reason, ...]:
        """The reasons against it that the sentence names: confirmed ones; without a check the first few."""
        held = self.of("despite")[:SAID] if self.check is None else self.of("despite")
        named = {reason.concept for reason in self.named}
        kept = [one for one in held if one.concept not in named and (self.check is None or one.confirmed)]
        return tuple(kept[:SAID])

    @property
    def sentence(self) -> str:
        """In one sentence: because of what, despite what, what is missing, and what has no name.

        "Perhaps" is left out only where the check confirmed the reasons; ``despite`` names only what its own trial
        confirmed. Absences cannot be tried: of them it says what the weights say.
        """
        confirmed = self.check is not None and self.check.confirmed
        lead = f"{'' if confirmed else 'perhaps '}because of {_listed(self.named)}"
        said = f"“{self.word}” {lead if self.named else 'has no named reason'}"
        if self.named_against:
            said += f", despite {_listed(self.named_against)}"
        absent = [reason.concept for reason in self.of("absence")[:ABSENT]]
        if absent:
            said += f"; {_joined(absent)}, whose units are silent here, would speak against it"
        return f"{said}; {self._rest}"

    @property
    def _rest(self) -> str:
        """What of the evidence the sentence does not name."""
        others = self.coverage - sum(reason.portion for reason in self.named)
        lead = f"other concepts carry {_percent(others)}, unnamed units" if others >= 0.005 else "unnamed units carry"
        return f"{lead} {_percent(1 - self.coverage)} of the evidence"

    @property
    def verdict(self) -> str:
        """What the check says, as a sentence; without one that it was not measured, or nothing to measure."""
        if self.check is not None:
            return f"{self.check}"
        return "not measured: the named units were not switched off" if self.of("because") else ""

    def to_dict(self) -> dict[str, Any]:
        """The fields by name; `from_dict` makes an equal record of them."""
        plain = {field.name: _plain(getattr(self, field.name)) for field in fields(self)}
        check = None if self.check is None else self.check.to_dict()
        return {**plain, "reasons": [reason.to_dict() for reason in self.reasons], "check": check}

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> Self:
        """The record that `to_dict` was called on."""
        reasons = tuple(Reason.from_dict(one) for one in saved["reasons"])
        check = None if saved["check"] is None else Check.from_dict(saved["check"])
        return cls(**{**saved, "reasons": reasons, "check": check, "notes": tuple(saved["notes"])})


def _listed(reasons: tuple[Reason, ...]) -> str:
    """Concepts with their portions; one that is the word itself is told as such."""
    return _joined([f"{one.concept}{' itself' if one.repeats else ''} ({_percent(one.portion)})" for one in reasons])


def _joined(parts: list[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else "".join(parts)


def _percent(share: float) -> str:
    """In percent; neither 0 nor 100 where it only rounds to it."""
    if TINY < share < 0.005 or 0.995 <= share < 1 - TINY:
        return "< 1 %" if share < 0.5 else "> 99 %"
    return f"{100 * share:.0f} %"


def _figure(value: float, places: int = 1) -> str:
    return f"{round(value, places) + 0.0:.{places}f}".replace("-", "−")


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
