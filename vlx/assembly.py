"""From arrays to an `Explanation`: every word, phrase and answer with its maps, figures and notes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from torch import Tensor

from vlx import engine, language
from vlx.explanation import Explanation, WordExplanation
from vlx.geometry import Frame, Placement
from vlx.images import Picture
from vlx.task import Alternative, Features, Prediction, Task

UNUSED = "the score does not depend on the feature map: the map is zero everywhere"
BALANCED = (
    "evidence for and against cancel exactly: the score does not change when all features grow together (they are "
    "normalised); look at the signed map"
)
EXACT = 1e-4  # what is left of sums that cancel exactly, of the sum of their absolute values


@dataclass(frozen=True, eq=False)
class Shown:
    """A picture as the user has it, as the model gets it, and how the two lie upon each other."""

    picture: Picture
    inputs: Tensor
    frame: Frame

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the user's picture."""
        return self.picture.image.height, self.picture.image.width


def arrays(found: engine.Attribution) -> dict[str, Any]:
    """What the engine found, as numpy arrays by name."""
    return {
        name: getattr(found, name).cpu().numpy() if name != "scores" else found.scores.double().cpu().numpy()
        for name in ("scores", "weights", "signed", "opposed", "depends")
    }


def nothing(
    task: Task,
    shown: Shown,
    features: Features,
    prediction: Prediction,
    placement: Placement,
    provenance: dict[str, Any],
) -> Explanation:
    """The explanation of an empty text: no words, no score, no map."""
    units, *cells = features.A.shape[1:]
    empty = np.zeros(cells, np.float32)
    whole = WordExplanation("", 0.0, 0.0, (), np.zeros(units, np.float32), empty, empty, placement, "logprob")
    return _whole(task, shown, features, prediction, (), whole, placement, provenance)


def explanation(
    task: Task,
    shown: Shown,
    features: Features,
    prediction: Prediction,
    rivals: Sequence[Alternative],
    found: dict[str, Any],
    placement: Placement,
    provenance: dict[str, Any],
) -> Explanation:
    """The explanation of a prediction; ``found`` holds one entry a target: the words, the rivals, the sentence."""
    kind, method = provenance["target"], provenance["method"]
    words = tuple(_word(prediction, n, found, placement, kind, method) for n in range(len(prediction.words)))
    sentence = _sentence(prediction, found, placement, method) if task.kind == "captioning" else words[0]
    why = _whole(task, shown, features, prediction, words, sentence, placement, provenance)
    others = tuple(_rival(why, rival, len(words) + n, found) for n, rival in enumerate(rivals))
    return replace(why, others=others, question_words=found.get("question_words", ()))


def _whole(
    task: Task,
    shown: Shown,
    features: Features,
    prediction: Prediction,
    words: tuple[WordExplanation, ...],
    sentence: WordExplanation,
    placement: Placement,
    provenance: dict[str, Any],
) -> Explanation:
    sides = prediction.words[0].sides if prediction.words else ()
    return Explanation(
        text=prediction.text,
        words=words,
        sentence=sentence,
        phrases=_phrases(words) if task.kind == "captioning" else (),
        image=np.asarray(shown.picture.image),
        task=task.kind,
        method=provenance["method"],
        placement=placement,
        forced=prediction.forced,
        question=provenance.get("question"),
        instead_of=sides[1].label if sides else None,
        notes=_notes(task, prediction, shown, features, words),
        provenance=provenance,
    )


def _rival(why: Explanation, rival: Alternative, n: int, found: dict[str, Any]) -> Explanation:
    """Another answer to the same question about the same picture."""
    first = why.words[0]
    kind = "logit" if first.target == "margin" and why.instead_of is not None else first.target
    word = _maps(n, found, why.placement, kind, first.method)
    word = replace(word, label=rival.label, logprob=float(found["logprobs"][n]), alternatives=first.alternatives)
    return replace(
        why,
        text=rival.label,
        words=(word,),
        sentence=word,
        forced=True,
        instead_of=None,
        notes=tuple(note for note in why.notes if UNUSED not in note),
    )


def _maps(n: int, found: dict[str, Any], placement: Placement, kind: str, method: str) -> WordExplanation:
    """What is known of the n-th target, without its name."""
    signed, notes = found["signed"][n], []
    if not found["depends"][n]:
        notes.append(UNUSED)
    elif abs(float(signed.sum(dtype=np.float64))) < EXACT * float(np.abs(signed).sum(dtype=np.float64)):
        notes.append(BALANCED)
    return WordExplanation(
        label="",
        score=float(found["scores"][n]),
        logprob=0.0,
        alternatives=(),
        weights=found["weights"][n],
        signed=signed,
        opposed=found["opposed"][n],
        placement=placement,
        target=kind,
        method=method,
        seen=found["owed"][n] if "owed" in found else None,
        looks=found["looks"][n] if "looks" in found else (),
        occlusion=found["occlusion"][n] if "occlusion" in found else None,
        guided=found["guided"][n] if "guided" in found else None,
        because=found["because"][n] if "because" in found else None,
        notes=tuple(notes),
    )


def _word(
    prediction: Prediction, n: int, found: dict[str, Any], placement: Placement, kind: str, method: str
) -> WordExplanation:
    word, known = prediction.words[n], _maps(n, found, placement, kind, method)
    return replace(
        known,
        label=word.label,
        logprob=word.logprob,
        alternatives=tuple((other.label, other.logprob) for other in word.alternatives),
        notes=(*word.notes, *known.notes),
    )


def _sentence(prediction: Prediction, found: dict[str, Any], placement: Placement, method: str) -> WordExplanation:
    total = sum(word.logprob for word in prediction.words)
    return replace(_maps(-1, found, placement, "logprob", method), label=prediction.text, logprob=total)


def _phrases(words: Sequence[WordExplanation]) -> tuple[WordExplanation, ...]:
    """Noun phrases: their words' scores and signed maps summed."""
    spans = language.phrases([word.label for word in words])
    return tuple(_joined(words[first:stop]) for first, stop in spans)


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
        looks=(),
        occlusion=None,
        guided=None,
        because=None,
        notes=tuple(dict.fromkeys(note for word in words for note in word.notes)),
    )


def _notes(
    task: Task, prediction: Prediction, shown: Shown, features: Features, words: Sequence[WordExplanation]
) -> tuple[str, ...]:
    notes = [*task.notes, *shown.picture.notes, *prediction.notes]
    if shown.frame.note:
        notes.append(shown.frame.note)
    if features.grid.source.startswith("half-pixel"):
        notes.append("no receptive field was found; cells are placed by the half-pixel rule")
    notes += [note for word in words if word.because is not None for note in word.because.notes]
    unused = [word.label for word in words if UNUSED in word.notes]
    if unused:
        notes.append(f"{UNUSED} ({', '.join(unused)})")
    return tuple(dict.fromkeys(notes))
