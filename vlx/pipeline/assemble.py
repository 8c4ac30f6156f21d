"""From arrays to an `Explanation`: every word, phrase and answer with its maps, figures and notes."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import dropwhile, groupby
from math import nan
from typing import cast

import numpy as np

from vlx import language
from vlx.explanation.records import Explanation, WordExplanation
from vlx.methods import registry
from vlx.pictures.placement import Placement
from vlx.pipeline.provenance import Provenance
from vlx.probes.asked import Asked, Measured
from vlx.probes.mapped_words import NO_MAP
from vlx.probes.probe import Context
from vlx.protocol.targets import Prediction, Word

UNUSED = "the score does not depend on the feature map: the map is zero everywhere"
FLAT = (
    "small changes of the feature map leave the score as it is, larger ones do not: its gradient, and so the map, is "
    "zero everywhere here"
)
UNHIDDEN = "hiding any one part of the picture leaves the score as it is: the map is zero everywhere"
UNMOVED = "nothing that the method tries moves the score: the map is zero everywhere"
NO_WEIGHTS = "no gradient comes through the model: importance weights are not known (NaN)"
UNWEIGHED = "the method takes no gradient: importance weights are not known (NaN)"
GATHERED = (
    UNUSED,
    FLAT,
    UNHIDDEN,
    UNMOVED,
    NO_WEIGHTS,
    UNWEIGHED,
)  # notes of words that the whole tells once, with the words' labels
BALANCED = (
    "evidence for and against cancel exactly: the score does not change when all features grow together (they are "
    "normalised); look at the signed map"
)
EMPTY = "nothing in the map speaks for it: look at .against"
NOWHERE = "nothing in the map speaks for it or against it: the feature map is zero where the gradient is not"
BELOW = (
    "nothing in the map speaks for it or against it: where the gradient would raise the score features are below 0; "
    "method='hirescam' weighs both signs"
)
BARE = (EMPTY, NOWHERE, BELOW)
SURE = -1e-4  # log p from which a map of log p is empty because nothing can raise it
EXACT = 1e-4  # what is left of sums that cancel exactly, of the sum of their absolute values


def nothing(context: Context) -> Explanation:
    """The explanation of an empty text: no words, no score, no map."""
    units, *cells = context.features.A.shape[1:]
    empty = np.zeros(cells, np.float32)
    whole = WordExplanation("", 0.0, 0.0, (), np.zeros(units, np.float32), empty, empty, context.placement, "logprob")
    return _whole(context, (), whole)


def explanation(context: Context) -> Explanation:
    """The explanation of a prediction from what was asked about it and measured of each, row by row."""
    pairs = zip(context.asked, context.rows, strict=True)
    made = [_maps(asked, row, context.placement, context.options.method.name) for asked, row in pairs]
    roles = [asked.role for asked in context.asked]
    told = zip(context.prediction.words, made[: len(context.prediction.words)], strict=True)
    words = tuple(_word(word, known) for word, known in told)
    sentence = _sentence(context.prediction, made[roles.index("whole")]) if "whole" in roles else words[0]
    why = _whole(context, words, sentence)
    rivals = [_rival(why, one) for one, role in zip(made, roles, strict=True) if role == "rival"]
    strange = dict.fromkeys(note for row in context.rows for note in row.strange)
    return replace(why, others=tuple(rivals), notes=(*why.notes, *strange))


def _whole(context: Context, words: tuple[WordExplanation, ...], sentence: WordExplanation) -> Explanation:
    said, provenance = context.prediction, Provenance.of(context)
    sides = said.words[0].sides if said.words else ()
    return Explanation(
        text=said.text,
        words=words,
        sentence=sentence,
        phrases=_phrases(words, said.text) if said.whole and not sides else (),
        image=np.asarray(context.shown.picture.image),
        task=context.task.kind,
        method=provenance.method,
        placement=context.placement,
        forced=said.forced,
        question=provenance.question,
        instead_of=sides[1].label if sides else None,
        scope=context.scope,
        notes=_notes(context, words, provenance),
        provenance=provenance.to_record(),
    )


def _rival(why: Explanation, known: WordExplanation) -> Explanation:
    """Another answer to the same question about the same picture."""
    word = replace(known, alternatives=why.words[0].alternatives)
    return replace(
        why,
        text=word.label,
        words=(word,),
        sentence=word,
        forced=True,
        instead_of=None,
        notes=(*(note for note in why.notes if not note.startswith((*GATHERED, *BARE))), *_bare((word,))),
    )


def _maps(asked: Asked, row: Measured, placement: Placement, method: str) -> WordExplanation:
    """What is known of one target."""
    return WordExplanation(
        label=asked.label,
        score=row.score,
        logprob=nan if asked.outputs == "value" else row.logprob,
        alternatives=(),
        weights=row.weights,
        signed=row.signed,
        opposed=row.opposed,
        placement=placement,
        target="value" if asked.outputs == "value" else asked.target.kind,
        outputs=asked.outputs,
        method=method,
        seen=row.seen,
        seen_by=row.seen_by,
        looked=row.looked,
        looks=row.looks,
        occlusion=row.occlusion,
        guided=row.guided,
        because=row.because,
        notes=(*_remarks(asked, row, method), *row.told),
        check=row.checks[0],
        against_method=registry.choose(method).against,
        against_check=row.checks[1],
        measured=row.more,
        mapped=asked.with_map,
    )


def _remarks(asked: Asked, row: Measured, method: str) -> tuple[str, ...]:
    """What a reader must know of one map: that it is zero or empty and why, that its sum is, and of its weights."""
    if not asked.with_map:
        return (NO_MAP,)
    unknown = np.isnan(row.weights).any()
    if not registry.choose(method).of_score:
        return (*([EMPTY] if row.signed.max() <= 0 else []), *([UNWEIGHED] if unknown else []))
    return (*_of_map(asked, row, method), *([NO_WEIGHTS] if unknown else []))


def _of_map(asked: Asked, row: Measured, method: str) -> tuple[str, ...]:
    signed = row.signed
    if not row.depends:
        return (UNUSED,)
    if row.flat:
        moves = registry.choose(method).gradient
        return (FLAT if moves else UNHIDDEN if method == "occlusion" else UNMOVED,)
    if not signed.any() and not registry.choose(method).on_cells:
        return ()  # what the notes below say is said of A
    if signed.max() <= 0:
        sure = asked.target.kind in ("logprob", "prob") and row.logprob > SURE
        bare = EMPTY if row.opposed.max() > 0 else BELOW if signed.any() else NOWHERE
        return () if sure else (bare,)
    cancels = abs(float(signed.sum(dtype=np.float64))) < EXACT * float(np.abs(signed).sum(dtype=np.float64))
    return (BALANCED,) if cancels else ()


def _word(word: Word, known: WordExplanation) -> WordExplanation:
    return replace(
        known,
        label=word.label,
        logprob=word.logprob,
        alternatives=tuple((other.label, other.logprob) for other in word.alternatives),
        reasoning=word.reasoning,
        notes=(*word.notes, *known.notes),
    )


def _sentence(prediction: Prediction, known: WordExplanation) -> WordExplanation:
    return replace(known, logprob=sum(word.logprob for word in prediction.words))


def _phrases(words: Sequence[WordExplanation], text: str) -> tuple[WordExplanation, ...]:
    """Noun phrases: their words' scores and signed maps summed; none where the text is made of pieces or characters.

    One does not reach out of what the model reasons. Of one whose first words have no map the rest is told, where that
    is a phrase by itself.
    """
    labels = [word.label for word in words]
    if not language.are_words(labels, text):
        return ()
    parts = [list(part) for _, part in groupby(words, key=lambda word: word.reasoning)]
    spans = [(part, *span) for part in parts for span in language.phrases([word.label for word in part])]
    told = [_mapped(part[first:stop]) for part, first, stop in spans]
    return tuple(_joined(phrase) for phrase in told if phrase)


def _mapped(phrase: Sequence[WordExplanation]) -> Sequence[WordExplanation]:
    """The phrase from its first word that has a map; nothing where one of the rest has none, or one word is left."""
    rest = list(dropwhile(lambda word: not word.mapped, phrase))
    whole = len(rest) == len(phrase) or len(rest) > 1
    return rest if whole and all(word.mapped for word in rest) else ()


def _joined(words: Sequence[WordExplanation]) -> WordExplanation:
    return replace(
        words[0],
        label=" ".join(word.label for word in words),
        score=sum(word.score for word in words),
        logprob=sum(word.logprob for word in words),
        alternatives=(),
        weights=np.sum([word.weights for word in words], 0),
        signed=np.sum([word.signed for word in words], 0),
        opposed=np.sum([word.opposed for word in words], 0),
        seen=None if words[0].seen is None else sum(cast(float, word.seen) for word in words),
        seen_by={name: sum(word.seen_by[name] for word in words) for name in words[0].seen_by},
        looked=None,
        looks=(),
        occlusion=None,
        guided=None,
        because=None,
        check=None,
        against_check=None,
        measured={},
        notes=tuple(dict.fromkeys(note for word in words for note in word.notes)),
    )


def _bare(words: Sequence[WordExplanation]) -> list[str]:
    """That the map of the only answer or class is empty."""
    return [note for word in words for note in word.notes if note in BARE] if len(words) == 1 else []


def _notes(context: Context, words: Sequence[WordExplanation], provenance: Provenance) -> tuple[str, ...]:
    shown, features = context.shown, context.features
    notes = [*context.task.notes, *features.notes, *shown.picture.notes, *context.prediction.notes]
    if shown.frame.note:
        notes.append(shown.frame.note)
    if not context.options.method.evidence:
        method = context.options.method
        notes.append(f"{method.name} is {method.disclaimer}: {method.caution}")
    if features.grid.source.startswith("half-pixel"):
        notes.append("no receptive field was found; cells are placed by the half-pixel rule")
    if features.grid.source.startswith("measured"):
        notes.append("cells are placed where their weights look (measured), not at the middle of their fields")
    notes += [note for row in context.rows for note in row.made]
    notes += [note for word in words if word.because is not None for note in word.because.notes]
    notes += [provenance.words] if provenance.words else []
    notes += _bare(words)
    for note in GATHERED:
        labels = [word.label for word in words if note in word.notes]
        if labels:
            notes.append(f"{note} ({', '.join(labels)})")
    return tuple(dict.fromkeys(notes))
