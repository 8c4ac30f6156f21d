"""From the answers of a run to findings: what was looked at is tested together, and what holds is said in a sentence.

All tests of an audit are corrected together by Holm's rule: in an audit of a model that leans on nothing the chance
that anything is found is at most `ALPHA`. What is certain and too small to matter is told and not found.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from vlx.auditing import sentences
from vlx.auditing.answered import ALIKE, CONCEPTS, KIND_OF_CELLS, UNITS, Answered
from vlx.auditing.answers import AnswerColumns
from vlx.auditing.leaning import Lean, carries, leans
from vlx.auditing.oftener import Oftener, oftener
from vlx.auditing.result import FEWEST, Finding, HidingTrial, Kind, Level
from vlx.auditing.sentences import Weight
from vlx.auditing.signs import Sign, signs
from vlx.auditing.statistics import NAN, Which, holm
from vlx.evaluation.intervals import mean_of
from vlx.language import FUNCTION_WORDS

ALPHA = 0.05  # the chance that anything is found where nothing is
MATERIAL = 0.75  # of an answer's errors where a concept is lead by less than its excess: fewer are told, not found
# Chosen on 20 biased and 20 balanced models of examples/bias.py (seeds 100 to 119, 800 pictures): 1.00 of every lean of
# the first on a place, .18 to .62 of those of the second, on the handles of umbrellas that they take for cars.
NAMELESS = 0.1  # of the pictures with much of what looks alike are wrong on its account: fewer are told, not found
# Chosen on seeds 100 to 109 without masks: .49 and more of the largest lean of biased models, .06 and less of balanced.
NAMED = 10  # answers with too few pictures that are told one by one


@dataclass(frozen=True)
class Findings:
    """All findings of a run, what was ``looked_at`` (how many tests), and how far the model leans.

    ``strength`` ranks models: the largest lower end of the 95 % interval of `Lean.often`, or how far that of the share
    of answers which owe nothing to the picture lies above a half; 0 where none does, NaN where nothing could be judged.
    """

    findings: tuple[Finding, ...]
    looked_at: int
    strength: float
    concepts_are: str = ""


def findings_of(answers: Sequence[Answered], unit: str = "", noun: str = "answer") -> Findings:
    """The findings of a run's answers: leans, then signs, then what is told and not judged.

    ``unit`` is that of signed sums, ``noun`` what was said of a picture: "class", "answer", "word".

    >>> findings_of(answers, "logits", "class").findings[0].concept
    'desert'
    """
    columns, told = AnswerColumns(answers), _Telling(unit, noun)
    only = list(_one_answer(columns, told))
    leaning = [] if only else [lean for source in _judged(columns) for lean in leans(columns, source)]
    often = [] if only or noun == "class" else list(oftener(columns))
    asked = list(signs(columns, words=noun == "word"))
    adjusted = holm(np.array([*_p(leaning), *_p(often), *_p(asked)], np.float64))
    of_leaning, of_often, of_signs = np.split(adjusted, np.cumsum([len(leaning), len(often)]))
    leant = [_lean(columns, told, one, p) for one, p in zip(leaning, of_leaning.tolist(), strict=True) if p <= ALPHA]
    by_count = [
        _oftener(columns, one, p) for one, p in zip(often, of_often.tolist(), strict=True) if p <= ALPHA and one.matters
    ]
    every = [
        *(*only, *_once(sorted(leant, key=lambda one: -one.effect), by_count)),
        *(_sign(columns, told, one, p) for one, p in zip(asked, of_signs.tolist(), strict=True) if p <= ALPHA),
        *([] if only else _one_of_a_kind(columns, told)),
        *_never_said(columns, told),
        *([] if only else _too_few(columns, told)),
        *([] if (columns.right | columns.wrong).any() else _of_unknown_truth(columns, told)),
    ]
    every.sort(key=lambda one: one.level == "note")
    return Findings(
        tuple(every), int((~np.isnan(adjusted)).sum()), _strength(columns, leaning, asked), *columns.sources[:1]
    )


def _p(tests: Sequence[Lean] | Sequence[Oftener] | Sequence[Sign]) -> list[float]:
    return [one.p for one in tests]


class _Telling(NamedTuple):
    unit: str
    noun: str


def after_trial(finding: Finding, trial: HidingTrial) -> Finding:
    """A finding with what hiding its concept did; one that this did not prove is told, not found.

    It holds where more wrong answers change than in the control (`HidingTrial.beside`), at 5 % (binomial, one-sided).
    Half a change is added to the control's: of a few answers none at all is no chance of 0.
    """
    from scipy.stats import binomtest

    if not trial.tried:
        return finding
    by_chance = min((trial.random + 0.5) / (trial.tried + 1), 1.0)
    held = binomtest(trial.changed, trial.tried, by_chance, "greater").pvalue <= ALPHA
    level = finding.level if held else "note"
    return replace(
        finding, trial=trial, level=level, sentence=finding.sentence + sentences.tried(trial, held=bool(held))
    )


def _judged(answers: AnswerColumns) -> tuple[str, ...]:
    """The sources whose concepts are judged: the data's; without these what looks alike, and names of units."""
    return (CONCEPTS,) if CONCEPTS in answers.sources else tuple(s for s in (UNITS, ALIKE) if s in answers.sources)


def _lean(answers: AnswerColumns, told: _Telling, lean: Lean, adjusted: float) -> Finding:
    has, (low, high) = carries(answers, lean), lean.excess.interval
    label, material = answers.labels[lean.answer], _matters(lean)
    return Finding(
        "leans",
        sentences.lean(label, lean, has, *told) + ("" if material else sentences.SMALL),
        "finding" if material else "note",
        answer=label,
        concept=lean.carried.concept,
        category=lean.carried.category,
        effect=lean.excess.effect,
        low=low,
        high=high,
        unit="nats",
        n=has.pictures,
        compared=sentences.compared(lean, has),
        p=lean.p,
        adjusted=adjusted,
    )


def _oftener(answers: AnswerColumns, one: Oftener, adjusted: float) -> Finding:
    label, (low, high) = answers.labels[one.answer], one.often.interval
    return Finding(
        "leans",
        sentences.oftener(label, one),
        answer=label,
        concept=one.carried.concept,
        category=one.carried.category,
        effect=one.often.effect,
        low=low,
        high=high,
        unit="share",
        n=one.pictures,
        compared=sentences.oftener_compared(one),
        p=one.p,
        adjusted=adjusted,
    )


def _once(leant: Sequence[Finding], by_count: Sequence[Finding]) -> Iterator[Finding]:
    """Leans by evidence and by how often, each pair once: by evidence where that is a finding."""
    found = {(one.answer, one.concept) for one in leant if one.level == "finding"}
    counted = {(one.answer, one.concept): one for one in by_count if (one.answer, one.concept) not in found}
    yield from (one for one in leant if (one.answer, one.concept) not in counted)
    yield from counted.values()


def _matters(lean: Lean) -> bool:
    """Whether most errors where the concept is are its work.

    What has no name may be a part of one thing, or the thing itself: there its pictures must err on its account.
    """
    if lean.carried.category == KIND_OF_CELLS:
        return lean.often.interval[0] >= NAMELESS
    return not lean.undone < MATERIAL


def _sign(answers: AnswerColumns, told: _Telling, sign: Sign, adjusted: float) -> Finding:
    label = answers.labels[sign.answer]
    return Finding(
        sign.kind,
        sentences.sign(label, sign, told.noun),
        answer=label,
        effect=sign.share,
        low=sign.low,
        high=sign.high,
        unit="share",
        n=sign.n,
        compared=sentences.sign_compared(sign),
        p=sign.p,
        adjusted=adjusted,
    )


def _one_answer(answers: AnswerColumns, told: _Telling) -> Iterator[Finding]:
    """That the same is said of every picture though other things are true of some: then nothing is compared."""
    spoken = list(answers.spoken())
    if len(spoken) == 1 and (answers.wrong & (answers.true != spoken[0])).any():
        label, n = answers.labels[spoken[0]], answers.pictures
        sentence = sentences.one_answer(label, n, told.noun)
        yield _fact("one answer", sentence, label, 1.0, n, "nothing: there is no other")


def _one_of_a_kind(answers: AnswerColumns, told: _Telling) -> Iterator[Finding]:
    """The same of the questions, or words, of one kind."""
    for group, kind in enumerate(answers.groups):
        which = answers.group == group
        (label, *others), wrong = np.unique(answers.said[which]).tolist(), answers.wrong & which
        if kind and not others and (wrong & (answers.true != label)).any():
            n = answers.pictures_of(which)
            sentence = sentences.one_of_a_kind(answers.labels[label], kind, n, told.noun)
            yield _fact("one answer", sentence, answers.labels[label], 1.0, n, "nothing: there is no other")


def _never_said(answers: AnswerColumns, told: _Telling) -> Iterator[Finding]:
    """What is true of pictures and was never said."""
    said = set(answers.spoken())
    counts = {label: answers.pictures_of(answers.true == label) for label in set(answers.true.tolist()) - said - {-1}}
    for label, n in sorted(counts.items(), key=lambda one: (-one[1], one[0]))[:NAMED]:
        sentence = sentences.never_said(answers.labels[label], n, told.noun)
        yield _fact("never said", sentence, answers.labels[label], 0.0, n, "what is true of these pictures")


def _fact(kind: Kind, sentence: str, label: str, effect: float, n: int, compared: str) -> Finding:
    """What needs no test; of fewer than `FEWEST` pictures it is told."""
    level: Level = "finding" if n >= FEWEST else "note"
    return Finding(kind, sentence, level, label, effect=effect, unit="share", n=n, compared=compared)


def _too_few(answers: AnswerColumns, told: _Telling) -> Iterator[Finding]:
    """Answers that are wrong on too few pictures to be judged, those with most first."""
    errs = {label: answers.wrong & (answers.said == label) for label in answers.spoken()}
    counts = {label: answers.pictures_of(which) for label, which in errs.items()}
    few = sorted((label for label, count in counts.items() if 0 < count < FEWEST), key=lambda label: -counts[label])
    for label in few[:NAMED]:
        n = answers.pictures_of(errs[label])
        most = _most(answers, errs[label], answers.labels[label])
        yield _note(sentences.too_few(answers.labels[label], n, most, told.unit), answers.labels[label], most, n, told)
    if rest := few[NAMED:]:
        yield Finding("told", sentences.others_too_few(len(rest), told.noun), "note")


def _of_unknown_truth(answers: AnswerColumns, told: _Telling) -> Iterator[Finding]:
    """What carries most of the answers that are given most often, where nobody knows which are right."""
    counts = {label: answers.pictures_of(answers.said == label) for label in answers.spoken()}
    words = {label for label in counts if told.noun == "word" and answers.labels[label] in FUNCTION_WORDS}
    for label in sorted(counts.keys() - words, key=lambda label: (-counts[label], label))[:NAMED]:
        if most := _most(answers, answers.said == label, answers.labels[label]):
            sentence = sentences.of_unknown_truth(answers.labels[label], counts[label], most, told.unit)
            yield _note(sentence, answers.labels[label], most, counts[label], told)


def _most(answers: AnswerColumns, which: Which, label: str) -> Weight | None:
    """What carries most of some answers, the signed mean over all of them, besides what they say."""
    carried = answers.carried(answers.sources[0]) if answers.sources else {}
    means = [
        Weight(one.concept, one.category, mean_of(one.spread(one.signed, len(answers))[which]))
        for one in carried.values()
        if one.concept != label
    ]
    return max((one for one in means if one.signed > 0), key=lambda one: one.signed, default=None)


def _note(sentence: str, label: str, most: Weight | None, n: int, told: _Telling) -> Finding:
    """What is told of an answer and of what carries it most."""
    concept, category, mean = most or ("", "", NAN)
    return Finding(
        "told",
        sentence,
        "note",
        answer=label,
        concept=concept,
        category=category,
        effect=mean,
        unit=told.unit,
        n=n,
    )


def _strength(answers: AnswerColumns, leaning: Sequence[Lean], asked: Sequence[Sign]) -> float:
    """See `Findings`."""
    if not (answers.right | answers.wrong).any():
        return NAN
    leant = [lean.often.interval[0] for lean in leaning if lean.excess.effect > 0]
    blind = [sign.low - 0.5 for sign in asked if sign.kind == "unowed" and sign.p <= ALPHA]
    return max([0.0, *leant, *blind])
