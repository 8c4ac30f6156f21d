"""How figures and maps are put into words; the same in the page, the figure, the terminal and Markdown."""

import math

import numpy as np

from vlx.explanation import WordExplanation

UNITS = {"logprob": "nats", "logit": "logits", "prob": "probability", "margin": "logits of lead"}
SCORES = {"logprob": "log p", "logit": "the logit", "prob": "p", "margin": "the lead over the runner-up"}
SATURATED = -0.05  # from this log p on its gradient is faint: ∂ log p/∂z = 1 − p


def unit(target: str) -> str:
    """The unit of a map's values for a kind of target."""
    return f"{UNITS.get(target, target)} per cell"


def meaning(word: WordExplanation, view: str) -> str:
    """What a map of this word shows in a view ("for", "against" or "signed")."""
    name = word.label if len(word.label) <= 60 else word.label[:59] + "…"
    what = f"{SCORES.get(word.target, 'the ' + word.target)} of “{name}”"
    return {
        "for": f"Regions whose features most raise {what}.",
        "against": f"Regions whose features most lower {what}: the counterfactual.",
        "signed": f"Warm: features that raise {what}. Blue: features that lower it.",
    }[view]


def figure(value: float, digits: int = 3) -> str:
    """A number with a true minus sign, in powers of ten when very small or large."""
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else ("∞" if value > 0 else "−∞")
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:.{digits}g}".replace("-", "−") if abs(value) < 1000 else f"{value:.0f}".replace("-", "−")
    mantissa, exponent = f"{value:.{max(digits - 2, 0)}e}".split("e")
    power = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{mantissa}×10{power}".replace("-", "−")


def log(value: float) -> str:
    """A log-probability with two places, or two digits near 0."""
    return f"{value:.2f}".replace("-", "−") if 0.1 <= abs(value) < math.inf else figure(value, 2)


def share(logprob: float) -> str:
    """A probability in percent."""
    p = probability(logprob)
    if math.isnan(p):
        return "–"
    if p < 0.0005:
        return "< 0.1 %"
    return "> 99.9 %" if p > 0.9995 and p < 1 else f"{100 * p:.1f} %"


def probability(logprob: float) -> float:
    """p of a log-probability in nats; rounding above 0 is taken for 0."""
    return math.exp(min(logprob, 0.0))


def seen(word: WordExplanation) -> str:
    """What the word owes to the picture, in nats, with its sign; empty when it was not asked for."""
    if word.seen is None:
        return ""
    return f"{word.seen:+.2f}".replace("-", "−") if math.isfinite(word.seen) else figure(word.seen)


def lost(word: WordExplanation) -> float | None:
    """1 − p(blank)/p, in [0, 1]: the part of p that is gone without the picture. Negative down to −1 when it grows."""
    if word.seen is None or math.isnan(word.seen):
        return None
    return 1 - math.exp(-word.seen) if word.seen >= 0 else math.exp(word.seen) - 1


def seen_said(word: WordExplanation) -> str:
    """The same in a sentence."""
    part = lost(word)
    if part is None:
        return ""
    if part < -0.05:
        return "the picture speaks against it: with a blank picture it would be likelier"
    if part < 0.1:
        return "comes from the words before it: hardly less likely with a blank picture"
    if part > 0.995:
        return "all but gone with a blank picture"
    return f"with a blank picture its p would be {100 * part:.0f} % less"


def strongest(values: object) -> float:
    """The largest positive finite value of a map, else 0."""
    finite = np.asarray(values, float)
    finite = finite[np.isfinite(finite)]
    return max(0.0, float(finite.max())) if finite.size else 0.0


def remarks(word: WordExplanation, top: float) -> list[str]:
    """What a reader of this word's map should know: its notes, a zero map, one faint by saturation, bad numbers."""
    found = list(word.notes)
    peak = max(strongest(word.signed), strongest(word.opposed))
    if not (np.isfinite(word.signed).all() and np.isfinite(word.opposed).all()):
        found.append("some values of the map are not finite; they are drawn as 0")
    if peak == 0:
        found += [] if any("zero" in note for note in found) else ["the map is zero everywhere"]
    elif word.target == "logprob" and 0 > word.logprob > SATURATED and peak < top / 10:
        found.append(
            f"p is {share(word.logprob)}: log p has almost nowhere to rise, so its map is faint; "
            "the logit (target logit) has no such ceiling"
        )
    return found


def runners_up(word: WordExplanation, count: int = 2) -> str:
    """The likeliest other words with their probabilities."""
    others = [(label, logprob) for label, logprob in word.alternatives if label != word.label][:count]
    return ", ".join(f"{label} {share(logprob)}" for label, logprob in others)
