"""The one sentence that a page says first of a word: its reasons, whether they held, what of p the picture gives."""

import math

from vlx.explanation.reasons import Because
from vlx.explanation.records import WordExplanation
from vlx.report import strength, wording

MOST = 1000.0  # times; beyond it only that it is more
JOINT = " · "


def concepts(because: Because) -> str:
    """What the word rests on, with the share of the evidence that these reasons carry.

    >>> concepts(word.because)
    'flame, window (62 % of the evidence)'
    """
    if not because.said:
        return "no named reason"
    perhaps = "" if because.check is not None and because.check.matters else "perhaps "
    names = ", ".join(f"{one.concept} itself" if one.repeats else one.concept for one in because.said)
    return f"{perhaps}{names} ({part(sum(one.portion for one in because.said))} of the evidence)"


def marks(because: Because) -> str:
    """Both marks of the reasons: whether these units matter, and whether their names hold together."""
    if not because.said:
        return ""
    if because.check is None:
        return "not tried"
    tried = [one.named for one in because.said if one.named is not None]
    held = bool(tried) and all(tried)
    if because.check.matters and held:
        return "both marks"
    units = "units matter" if because.check.matters else "units not shown to matter"
    if not tried:
        return f"{units}, names untested"
    if held:
        return f"{units}, names hold"
    return f"{units}, {sum(tried)}/{len(tried)} names hold" if any(tried) else f"{units}, names do not hold"


def shape(word: WordExplanation) -> str:
    """What the check of its map found: always where there are no reasons, else only where it does not hold."""
    if word.check is None or (word.because is not None and word.check.holds):
        return ""
    return f"map {word.check.verdict}"


def owed(word: WordExplanation, instead_of: str | None = None) -> str:
    """What of p comes from the picture, in percent; of a contrast how many times likelier the picture makes it.

    Empty when it was not asked for.

    >>> owed(word)
    '94 % of its p comes from the picture'
    """
    if word.seen is None or math.isnan(word.seen):
        return ""
    if word.outputs == "value":
        return wording.seen_said(word)
    if instead_of is not None:
        likelier = "likelier" if word.seen >= 0 else "less likely"
        return f"the picture makes it {times(abs(word.seen))} {likelier} against “{instead_of}”"
    if told := wording.anyway(word):
        return told
    if word.looked is not None and word.looked < wording.LITTLE:
        return "the picture hardly moves its p"
    if word.seen < 0:
        return f"the picture speaks against it: without it p is {times(-word.seen)} as large"
    only = "only " if wording.language(word) else ""
    return f"{only}{part(strength.share(word.seen))} of its p comes from the picture"


def owed_exactly(word: WordExplanation) -> str:
    """The same in nats, with what it is compared with; empty when it was not asked for."""
    if word.seen is None or math.isnan(word.seen):
        return ""
    unit = "" if word.outputs == "value" else " nats"
    span = [value for value in word.seen_by.values() if not math.isnan(value)]
    reach = f" ({wording.difference(min(span))} to {wording.difference(max(span))})" if len(span) > 1 else ""
    return f"{wording.seen(word)}{unit}{reach}, compared with {wording.compared(word)}"


def part(share: float) -> str:
    """A share in percent; neither 0 nor 100 where it only rounds to it.

    >>> part(0.94), part(0.999), part(0.001)
    ('94 %', '> 99 %', '< 1 %')
    """
    if math.isnan(share):
        return "–"
    if 0 < share < 0.005 or 0.995 <= share < 1:
        return "< 1 %" if share < 0.5 else "> 99 %"
    return f"{100 * share:.0f} %"


def times(nats: float) -> str:
    """A difference of log-probabilities as a factor.

    >>> times(0.0), times(1.5), times(4.0), times(50.0)
    ('1.0 ×', '4.5 ×', '55 ×', '> 1000 ×')
    """
    factor = math.exp(min(nats, 100.0))
    if factor > MOST:
        return f"> {MOST:.0f} ×"
    return f"{factor:.1f} ×" if factor < 10 else f"{factor:.0f} ×"
