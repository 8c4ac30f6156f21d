"""The worst mistakes: the wrong answers that a model was surest of, one a picture."""

from collections.abc import Iterable, Mapping

from vlx.auditing.answered import SOURCES, Answered, OnConcept
from vlx.auditing.result import WORST, ConceptEvidence, Mistake

CONTRASTED = "nats"  # of log odds, in which `OnConcept.contrast` is
KEPT = 8  # concepts that are kept of each


def mistakes(answers: Iterable[Answered], most: int = WORST) -> tuple[Mistake, ...]:
    """The wrong answers with the largest lead over what is true (or over the likeliest other), one a picture.

    A lead that is not known, as of a model without probabilities, comes last. Pictures keep their order among equals.

    >>> mistakes(answers)[0].lead
    6.1
    """
    worst: dict[str, Answered] = {}
    for one in answers:
        if one.right is False and (one.key not in worst or _lead(one) > _lead(worst[one.key])):
            worst[one.key] = one
    return tuple(_mistake(one) for one in sorted(worst.values(), key=_lead, reverse=True)[:most])


def _lead(one: Answered) -> float:
    return float("-inf") if one.lead != one.lead else one.lead


def _mistake(one: Answered) -> Mistake:
    return Mistake(
        key=one.key,
        said=one.said,
        true=one.counted(one.true),
        instead=one.instead,
        said_logprob=one.logprob,
        true_logprob=one.logprob - one.lead,
        lead=one.lead,
        question=one.question,
        text=one.text,
        position=one.position,
        carried=_carried(one.evidence),
        unit=CONTRASTED,
        seen=one.seen,
        check=one.check,
        counted="" if (counted := one.counted(one.said)) == one.said else counted,
    )


def _carried(evidence: Mapping[str, Mapping[str, OnConcept]]) -> tuple[ConceptEvidence, ...]:
    """What each concept of the first source carries of the answer rather than the other, the largest shares first."""
    source = next((name for name in SOURCES if evidence.get(name)), None)
    if source is None:
        return ()
    carried = [
        ConceptEvidence(name, one.category or source, one.share, one.contrast)
        for name, one in evidence[source].items()
        if one.contrast == one.contrast and one.share == one.share
    ]
    return tuple(sorted(carried, key=lambda each: each.share, reverse=True)[:KEPT])
