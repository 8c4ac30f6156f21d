"""How an audit is put into words: headline, figures, a mistake's sentence; the same on the page and in the terminal."""

import math
import re
from collections.abc import Sequence

from vlx.auditing.answered import ALIKE, CONCEPTS, PLACES, UNITS
from vlx.auditing.result import FEWEST, Audit, ConceptEvidence, Finding, Mistake, Weighed
from vlx.evaluation.intervals import wilson
from vlx.report import numbers, sentences, wording
from vlx.report.text import plain

NAMED = 3  # concepts of a mistake's sentence
SLIGHT = 0.02  # of the evidence: a concept that carries less is not named
SOURCES = {
    CONCEPTS: "the masks of the data",
    ALIKE: "regions that look alike to the model, named by nobody: see the examples",
    PLACES: "the nine parts of the picture",
    UNITS: "what the units of the model are named after",
}
KINDS = {
    "leans": "where it leans",
    "unowed": "not owed to the picture",
    "map checks": "maps that failed their check",
    "outside": "outside what is named",
    "hallucination": "not in the picture",
    "one answer": "one answer",
    "never said": "never said",
    "told": "told",
}


def clauses(sentence: str) -> tuple[str, str]:
    """A sentence before and after its first semicolon that stands in no parentheses.

    >>> clauses("night carries most (+2 nats; 40 pictures); hidden, 9 of 12 change; and so on")
    ('night carries most (+2 nats; 40 pictures)', 'hidden, 9 of 12 change; and so on')
    """
    for at in re.finditer("; ", sentence):
        before = sentence[: at.start()]
        if before.count("(") == before.count(")"):
            return before, sentence[at.end() :]
    return sentence, ""


def noun(audit: Audit, count: int) -> str:
    """What is said of a picture, one or several: "class", "classes"."""
    return audit.answer_is if count == 1 else wording.PLURALS.get(audit.answer_is, f"{audit.answer_is}s")


def headline(audit: Audit) -> str:
    """How many findings there are, in a line.

    >>> headline(Audit("m", "d", 200))
    'Nothing was found on 200 pictures'
    """
    count, few = len(found(audit)), len(slight(audit))
    pictures = f"{audit.n:,} picture{'s' * (audit.n != 1)}"
    if not count:
        certain = f"; {few} lean{'s are' if few > 1 else ' is'} certain, and slight" if few else ""
        return f"Nothing was found on {pictures}{certain}"
    return f"{count} finding{'s' * (count != 1)} on {pictures}"


def found(audit: Audit) -> list[Finding]:
    """The findings that passed their test."""
    return [one for one in audit.findings if one.level == "finding"]


def slight(audit: Audit) -> list[Finding]:
    """Leans that passed their test and make few of the errors."""
    return [one for one in told(audit) if one.kind == "leans" and one.trial is None and one.adjusted <= audit.alpha]


def told(audit: Audit) -> list[Finding]:
    """What is told and was not judged."""
    return [one for one in audit.findings if one.level != "finding"]


def standing(audit: Audit) -> str:
    """How many answers are right, with an interval; or that nobody knows."""
    if not audit.judged:
        return (
            f"Which {noun(audit, 2)} are right is not known: the data tell none that this model knows. What they rest "
            "on is told; where the model errs is not."
        )
    low, high = wilson(audit.right, audit.judged)
    wrong = audit.judged - audit.right
    share = sentences.part(audit.right / audit.judged)
    one_each = audit.answer_is == "class"  # 9 of 10 classes right would be another thing
    what = ("picture" if audit.judged == 1 else "pictures") if one_each else noun(audit, audit.judged)
    return (
        f"{audit.right:,} of {audit.judged:,} {what} right ({share}, {100 * low:.0f} to "
        f"{100 * high:.0f} %), {wrong:,} wrong."
    )


def tested(audit: Audit) -> str:
    """How many pairs were looked at, and how often something is found where nothing is."""
    if not audit.looked_at:
        few = f"no {audit.answer_is} has {FEWEST} pictures to compare"
        return f"Nothing could be tested: {few}, or nobody knows which are right."
    tests = f"{audit.looked_at:,} test{'s' * (audit.looked_at != 1)}"
    return (
        f"{tests} corrected together: on a model that leans on nothing, anything at all is found in at most "
        f"{sentences.part(audit.alpha)} of audits."
    )


def interval(finding: Finding) -> str:
    """The effect with its interval and unit; empty where there is none.

    >>> interval(Finding("leans", "", effect=1.7, low=1.2, high=2.1, unit="logits"))
    '+1.70 logits (+1.20 to +2.10)'
    """
    if math.isnan(finding.effect):
        return ""
    share = finding.unit == "share"
    written = sentences.part if share else wording.difference
    unit = f" {finding.unit}" if finding.unit and not share else ""
    ends = (finding.low, finding.high)
    span = "" if any(map(math.isnan, ends)) else f" ({written(ends[0])} to {written(ends[1])})"
    return f"{written(finding.effect)}{unit}{span}"


def chance(p: float) -> str:
    """The p of a test, as short as it can be.

    >>> chance(0.0312), chance(1e-9)
    ('.03', '< .001')
    """
    if math.isnan(p):
        return "–"
    return "< .001" if p < 0.001 else f"{p:.3f}".lstrip("0") if p < 0.01 else f"{p:.2f}".lstrip("0")


def figures(finding: Finding) -> list[tuple[str, str]]:
    """What stands under a finding's sentence: name and figure."""
    told = [
        ("effect", interval(finding)),
        ("pictures", f"{finding.n:,}" if finding.n else ""),
        ("compared", plain(finding.compared)),
        ("p", "" if math.isnan(finding.p) else f"{chance(finding.p)}, corrected {chance(finding.adjusted)}"),
        ("trial", trial(finding)),
    ]
    return [(name, figure) for name, figure in told if figure]


def trial(finding: Finding) -> str:
    """Of a lean whether it was tried by hiding the concept; what that did stands in its sentence."""
    if finding.kind != "leans" or (finding.trial is not None and finding.trial.tried):
        return ""
    return "not proven: hiding it was not tried"


def mistake(one: Mistake, answer_is: str) -> str:
    """What was said, what is true, and what that rests on.

    >>> mistake(audit.mistakes[0], "class")
    'said “rocket” (p 98.0 %), true is “car” (p 1.2 %): night speaks for it (62 % of the evidence, +3.1 nats)'
    """
    said, true = f"“{plain(one.said)}”", f"“{plain(one.true)}”" if one.true else ""
    chances = [f" (p {numbers.share(p)})" if not math.isnan(p) else "" for p in (one.said_logprob, one.true_logprob)]
    if true:
        right = f", true is {true}{chances[1]}"
    else:
        right = f" where it is wrong; the likeliest other is “{plain(one.instead)}”{chances[1]}" if one.instead else ""
    return f"said {said}{chances[0]}{right}: {rests_on(one, answer_is)}"


def rests_on(one: Mistake, answer_is: str = "answer") -> str:
    """What speaks most for a wrong answer, by its share of the evidence, and what most against it.

    Concepts of one category share the picture out; those of two are the same pixels twice: one of each is named.
    """
    telling = [each for each in one.carried if each.share >= SLIGHT and each.signed]
    if not telling:
        return f"no concept that was looked at carries this {answer_is}"
    strongest: dict[str, ConceptEvidence] = {}
    for each in telling:
        if each.signed > 0:
            strongest.setdefault(each.category, each)
    first = [*strongest.values()][:NAMED]
    against = min((each for each in telling if each.signed < 0), key=lambda each: each.signed, default=None)
    verb = f"speak{'s' * (len(first) == 1)} for it"
    speaks = f"{_listed(first, one.unit)} {verb}" if first else "nothing named speaks for it"
    return speaks + (f"; {_listed([against], one.unit)} against it" if against else "")


def _listed(concepts: Sequence[ConceptEvidence], unit: str) -> str:
    """Concepts, each with its share of the evidence and its signed sum."""
    pieces = [
        f"{plain(one.concept)} ({sentences.part(one.share)} of the evidence, {wording.difference(one.signed)} {unit})"
        for one in concepts
    ]
    return pieces[0] if len(pieces) == 1 else f"{', '.join(pieces[:-1])} and {pieces[-1]}"


def weighed(one: Weighed) -> tuple[str, str]:
    """A concept's share and signed sum as two figures; dashes where there are no pictures."""
    if not one.n or math.isnan(one.signed):
        return "–", "–"
    return "–" if math.isnan(one.share) else sentences.part(one.share), wording.difference(one.signed)


def kind(finding: Finding) -> str:
    """What sort of a finding it is, in words."""
    return KINDS.get(finding.kind, finding.kind)


def source(audit: Audit) -> str:
    """On what evidence was summed; empty where on nothing."""
    return SOURCES.get(audit.concepts_are, audit.concepts_are)
