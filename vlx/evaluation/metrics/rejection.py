"""The pointing game with rejection (Grad-CAM, appendix): does a map also tell that a thing is not there?

Of classes the model's first five are asked for, at a word of a caption all names that can stand there: what is said,
what else the caption names, and what is not in the picture. A map whose maximum, in the score's unit, is below a
threshold is rejected: right is a hit on what is present, and a rejection of what is absent. The threshold of each
method is the one with the highest mean of both shares on the first half of the pictures; the figures are of the second.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from vlx.evaluation.cases import Case, answers, tells
from vlx.evaluation.context import context_of
from vlx.evaluation.figures import Telling
from vlx.evaluation.intervals import Array
from vlx.evaluation.metric import Measurer, Metric, default_kind
from vlx.evaluation.metrics.localization import rank_of
from vlx.evaluation.metrics.pointing import hit
from vlx.evaluation.records import Columns, Record, Values, Which
from vlx.evaluation.result import Figure
from vlx.evaluation.shown import AskedCases, Setting, ShownBatch
from vlx.evaluation.weighed import Numbers, by_weight, ratio_of

NAME = "pointing-rejection"
FIRST = 5  # of the model's classes are asked for
BATCH = 4  # pictures at once: of each much is asked that is absent
PAPER = f"{NAME}: right in .706 (Grad-CAM) and .603 (c-MWP) of all classes asked for in the paper, another network"


def _step(case: Case) -> tuple[object, ...]:
    """The picture and what is said before: where names take each other's place."""
    return (case.row, *(word.label for word in case.prediction.words[: case.position]))


def asked_for(shown: ShownBatch) -> AskedCases:
    """What is asked with rejection: classes among the model's first five; at words, all names."""
    cases = [case for case in shown.asked_with_absent.cases if case.absent or case.mask.size]
    if not (tells(shown.task) or answers(shown.task)):
        return AskedCases(shown, [case for case in cases if rank_of(case.prediction.words[case.position]) <= FIRST])
    steps = {_step(case) for case in cases if case.absent}
    words = [case for case in cases if _step(case) in steps]
    said = {_step(case): case for case in reversed(words) if not case.absent}
    others = [
        _at_step_of(one, there)
        for there in said.values()
        for one in said.values()
        if one.row == there.row and _single(one, there) and _label(one) != _label(there)
    ]
    return AskedCases(shown, [*(_in_text_of(case, said.get(_step(case))) for case in words), *others])


def _label(case: Case) -> str:
    return case.prediction.words[case.position].label


def _single(*cases: Case) -> bool:
    """Whether the words of the cases are one token each, in the text as a whole."""
    words = [case.prediction.words[case.position] for case in cases]
    return all(len(word.terms) == 1 and word.tokens is None for word in words)


def _at_step_of(case: Case, there: Case) -> Case:
    """What another word of the caption names, asked for where one stands: its token at that step, its own place."""
    (word, instead), (term, step) = (
        [each.prediction.words[each.position] for each in (case, there)],
        [each.prediction.words[each.position].terms[0] for each in (case, there)],
    )
    named = replace(instead, label=word.label, terms=(replace(term, step=step.step),), logprob=float("nan"))
    words = (*there.prediction.words[: there.position], named, *there.prediction.words[there.position + 1 :])
    return replace(case, prediction=replace(there.prediction, words=words), position=there.position, other=there.other)


def _in_text_of(case: Case, said: Case | None) -> Case:
    """An absent name asked for in the text that was said: what comes later is not read, and one run serves all names.

    As it is where the two texts differ in more than one token.
    """
    if said is None:
        return case
    own, texts = case.prediction, (case.prediction.tokens, said.prediction.tokens)
    steps = [[term.step for term in each.prediction.words[each.position].terms] for each in (case, said)]
    if (
        _single(case, said)
        and steps[0] == steps[1]
        and len(texts[0]) == len(texts[1])
        and sum(map(int.__ne__, *texts)) <= 1
    ):
        return replace(case, prediction=replace(own, tokens=texts[1]))
    return case


def _begin(setting: Setting) -> Measurer:
    kinds = default_kind(setting)

    def measure(shown: ShownBatch) -> Iterator[Record]:
        asked = shown.once(NAME, lambda: asked_for(shown))
        for number, case in enumerate(asked.cases):
            for line, one in context_of(asked, number, kinds).maps.items():
                pointed = 0.0 if case.absent else hit(case, one.peak, one.placement)
                beside = {"max": float(one.values.max()), "present": int(not case.absent)}
                beside |= {"empty": 1} if one.empty else {}
                key = shown.examples[case.row].key
                yield Record(key, asked.places[number], case.group, *line, NAME, pointed, case.area, beside)

    return measure


class _Told(NamedTuple):
    """What the figures need of all records."""

    present: Which
    right: Which  # whether the map points at it
    maximum: Values
    first: Which  # of the first half of the pictures


def _told(columns: Columns) -> _Told:
    pictures = np.unique(columns.picture)
    first = np.isin(columns.picture, pictures[: (len(pictures) + 1) // 2])
    return _Told(columns.told("present") == 1, columns.value == 1, columns.told("max"), first)


def threshold(told: _Told, own: Which) -> float:
    """The threshold with the highest mean of hits that are kept and of what is absent and rejected; the lowest of them.

    NaN where the records hold nothing present or nothing absent.
    """
    if not (told.present & own).any() or not (~told.present & own).any():
        return float("nan")
    tried = np.append(np.unique(told.maximum[own]), np.inf)
    hits = np.sort(told.maximum[own & told.present & told.right])
    absent = np.sort(told.maximum[own & ~told.present])
    kept = (len(hits) - np.searchsorted(hits, tried)) / (own & told.present).sum()
    rejected = np.searchsorted(absent, tried) / len(absent)
    return float(tried[np.argmax(kept + rejected)])


def _figures(metric: str, columns: Columns, telling: Telling) -> Iterator[Figure]:
    told, kept = _told(columns), np.zeros(len(columns), bool)
    second = ~told.first
    for number in range(len(columns.lines)):
        own = columns.line == number
        chosen = threshold(told, own & told.first)
        kept |= own & (told.maximum >= chosen)
        second &= ~own | (chosen == chosen)
    present, absent = told.present.astype(float), (~told.present).astype(float)
    hits, rejected = (told.right & kept) * present, ~kept * absent
    of_present, of_absent = ratio_of(hits, present), ratio_of(rejected, absent)

    def mean(numbers: Numbers, times: Array) -> Array:
        return np.asarray((of_present(numbers, times) + of_absent(numbers, times)) / 2)

    kinds = {
        metric: mean,
        f"{metric} hits": of_present,
        f"{metric} rejected": of_absent,
        f"{metric} right": ratio_of(hits + rejected, present + absent),
    }
    for name, figure in kinds.items():
        yield from by_weight(name, columns, telling, figure, second, groups=False)


def _notes(columns: Columns) -> Iterable[str]:
    if not len(columns):
        yield f"{NAME}: nothing absent was asked for: the data tell none that the model could say"
        return
    told = _told(columns)
    if told.first.all():
        yield f"{NAME}: the threshold is of one half of the pictures and the figures of the other; take two or more"
        return
    absent = float((~told.present[~told.first]).mean())
    yield f"{NAME}: to reject all is right in .500 of both kinds, in {absent:.3f} of all that is asked"
    yield PAPER


REJECTION = Metric(
    NAME,
    "do maps point at what is there, and are those of what is not there low?",
    begin=_begin,
    needs={"mask"},
    figures=_figures,
    notes=_notes,
    batch=BATCH,
    absent=True,
)
