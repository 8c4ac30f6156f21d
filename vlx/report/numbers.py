"""Numbers as a reader sees them: figures, shares, nats as bits."""

import math


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
    """A log-probability with two places, or two digits near 0; "–" where there is none."""
    if math.isnan(value):
        return "–"
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


def signed_bits(nats: float) -> str:
    """Nats as bits, with one place and a sign."""
    return ("+" if nats > 0 and bits(nats) != "0.0" else "") + bits(nats)


def bits(nats: float) -> str:
    """Nats as bits, with one place."""
    return f"{round(nats / math.log(2), 1) + 0.0:.1f}".replace("-", "−") if math.isfinite(nats) else figure(nats)


def percent(p: float) -> str:
    """A share from 0 to 1 in percent, as `share` writes it."""
    return share(math.log(p) if p > 0 else -math.inf)


def signed(value: float, digits: int = 3) -> str:
    """A figure that shows its sign, whichever it is."""
    return ("+" if value > 0 else "") + figure(value, digits)
