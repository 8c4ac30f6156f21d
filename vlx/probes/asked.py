"""What is asked of the model about one prediction, one scalar a row, and what was measured of each."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import isnan, nan
from typing import Any, Literal

import numpy as np

from vlx.explanation.map_check import MapCheck
from vlx.explanation.reasons import Because
from vlx.explanation.records import Array, Look, Occlusion
from vlx.methods import engine
from vlx.probes.mapped_words import Wish, mapped, reasoned
from vlx.protocol.targets import (
    Alternative,
    Prediction,
    Target,
    TargetKind,
    Term,
    sentence_target,
    stated,
    word_target,
)
from vlx.protocol.task import Features, Task

RIVALS = 5  # other answers explained beside the one asked for

Role = Literal["word", "rival", "whole"]


@dataclass(frozen=True)
class Asked:
    """One question about a picture: the ``target`` that is explained, and the same as a log-probability (``likely``).

    ``role`` says what it is of the explanation: a word (or answer), a ``rival`` answer beside it, the ``whole`` text;
    ``outputs`` what the model's output means. Of a number ``likely`` asks for the number. ``told`` is what the model
    gave ``likely`` when it answered, NaN where that is not known yet. ``with_map``: whether a map is made of it,
    ``with_reasons``: whether reasons are, where a table of names is given.
    """

    target: Target
    likely: Target
    role: Role
    label: str
    outputs: str = "softmax"
    told: float = nan
    with_map: bool = True
    with_reasons: bool = False


@dataclass(frozen=True, eq=False)
class Measured:
    """What was measured of one question: its score, α ``weights`` [K], maps ``signed`` and ``opposed`` [h, w].

    ``depends`` is False where the score does not rest on A, ``flat`` True where the map is zero though it does, both by
    trial (see `vlx.methods.dependence`). Weights are NaN where no gradient comes through. One field a probe, at its
    default where nobody asked for it (see `vlx.probes.registry`); ``logprob`` and ``seen`` are in nats, ``checks`` are
    those of the map and of what speaks against it, ``strange`` notes on references, ``made`` notes on how the map was
    made, ``against`` the method of ``opposed`` where it is not `Method.against`, ``weighed`` whether α were taken.
    ``more`` is what the user's own probes say, by name, and ``told`` their sentences.
    """

    score: float
    weights: Array
    signed: Array
    opposed: Array
    depends: bool
    flat: bool = False
    logprob: float = 0.0
    seen: float | None = None
    seen_by: dict[str, float] = field(default_factory=dict)
    looked: float | None = None
    strange: tuple[str, ...] = ()
    looks: tuple[Look, ...] = ()
    occlusion: Occlusion | None = None
    guided: Array | None = None
    because: Because | None = None
    checks: tuple[MapCheck | None, MapCheck | None] = (None, None)
    more: dict[str, Any] = field(default_factory=dict)
    told: tuple[str, ...] = ()
    made: tuple[str, ...] = ()
    against: str = ""
    weighed: bool = True


def questions(task: Task, prediction: Prediction, kind: TargetKind, wish: Wish = None) -> list[Asked]:
    """All that is asked about a prediction: its words in order, what else it could have answered, the text as a whole.

    Of a contrast, instead of the whole, both its sides. ``wish`` says which words have maps and reasons
    (`vlx.probes.mapped_words`); rivals have both, the whole has a map. Raises WordNotFound for words that are not
    there.
    """
    prediction = stated(prediction, task.kind)
    contrast = any(word.is_contrast for word in prediction.words)
    text = bool(prediction.whole) and not contrast
    with_map, with_reasons = (choose(wish, prediction.words, text) for choose in (mapped, reasoned))
    words = [
        Asked(
            word_target(prediction, n, 0, kind),
            word_target(prediction, n, 0, "logprob"),
            "word",
            word.label,
            word.outputs,
            nan if word.is_contrast else word.standing,
            n in with_map,
            n in with_reasons,
        )
        for n, word in enumerate(prediction.words)
    ]
    if words and (prediction.rivals or contrast):
        outputs = prediction.words[0].outputs
        rivals = [(rival, _alone(prediction, rival, kind)) for rival in _rivals(prediction)]
        words += [
            Asked(target, _as_logprob(target, outputs), "rival", rival.label, outputs, rival.logprob, True, True)
            for rival, target in rivals
        ]
    if words and text:
        whole = sentence_target(prediction, 0)
        words.append(
            Asked(whole, whole, "whole", prediction.text, told=sum(word.standing for word in prediction.words))
        )
    return words


def lead(prediction: Prediction, asked: Asked) -> Target | None:
    """The target by its lead over the runner-up (of a rival: over the answer that was given), a difference of logits.

    Yes or no of a label leads over its own no. None for a contrast, which is one already, for a whole caption, and
    where a rival is a text of its own.
    """
    target = asked.likely
    if target.kind != "logprob" or asked.role == "whole" or any(term.weight < 0 for term in target.terms):
        return None
    for position, word in enumerate(prediction.words):
        margin = word_target(prediction, position, target.row, "margin")
        if word.terms == target.terms and margin.tokens == target.tokens:
            return margin if len(margin.terms) == 2 or word.outputs == "sigmoid" else None
    given = prediction.words[0]
    if given.is_contrast or prediction.tokens != target.tokens or len(target.terms) > 1 or len(given.terms) > 1:
        return None
    return replace(target, kind="margin", terms=(*target.terms, replace(given.terms[0], weight=-1.0)))


def measured(attribution: engine.Attribution) -> list[Measured]:
    """What the engine found, one record a target, as numpy arrays."""
    arrays = (getattr(attribution, name).cpu().numpy() for name in ("weights", "signed", "opposed", "depends"))
    how: dict[str, Any] = {"made": attribution.notes, "against": attribution.against, "weighed": attribution.weighed}
    return [
        Measured(score, weights, signed, opposed, bool(depends), **how)
        for score, weights, signed, opposed, depends in zip(attribution.scores.double().tolist(), *arrays, strict=True)
    ]


def logprobs(task: Task, features: Features, asked: Sequence[Asked]) -> list[float]:
    """The targets' log-probabilities (a contrast's difference) with the picture, in nats; of numbers the numbers.

    The model is asked again only where its answer did not tell them.
    """
    told = [one.told for one in asked]
    if not any(map(isnan, told)):
        return told
    return engine.scores(task, features.A, [one.likely for one in asked], features.rest).tolist()


def with_unmapped(
    task: Task,
    features: Features,
    asked: Sequence[Asked],
    measures: Sequence[Measured],
    there: Sequence[float],
    cells: tuple[int, int],
) -> list[Measured]:
    """The records of what has a map with those of what has none between them, NaN in the maps' place, in order.

    ``measures`` are those of what has a map, ``there`` the log-probabilities of all, ``cells`` the grid (h, w) that
    maps lie on.
    """
    told = {one.target: logprob for one, logprob in zip(asked, there, strict=True) if one.target == one.likely}
    unknown = [one.target for one in asked if not one.with_map and one.target not in told]
    if unknown:
        told |= zip(unknown, engine.scores(task, features.A, unknown, features.rest).double().tolist(), strict=True)
    units = measures[0].weights.shape if measures else features.A.shape[1:2]
    weights, none = np.full(units, np.nan, np.float32), np.full(cells, np.nan, np.float32)
    given = iter(measures)
    return [next(given) if one.with_map else Measured(told[one.target], weights, none, none, True) for one in asked]


def _rivals(prediction: Prediction) -> list[Alternative]:
    """Answers that are explained beside the one asked for: of a contrast its two sides, else the likeliest others."""
    first = prediction.words[0]
    if first.is_contrast:
        return list({(side.asked, side.tokens): side for word in prediction.words for side in word.sides}.values())
    asked = [
        (word.terms, (None, prediction.tokens if word.tokens is None else word.tokens)) for word in prediction.words
    ]
    others = first.alternatives
    return [o for o in others if not any(o.asked == terms and o.tokens in tokens for terms, tokens in asked)][:RIVALS]


def _alone(prediction: Prediction, rival: Alternative, kind: TargetKind) -> Target:
    """The target that asks for a rival answer: by itself, or as a margin its lead over the answer that was given."""
    terms, tokens = rival.asked, prediction.tokens if rival.tokens is None else rival.tokens
    if kind == "margin":
        answer = prediction.words[0]
        if answer.is_contrast or rival.terms or answer.outputs == "sigmoid":
            kind = "logit"
        else:
            terms += (Term(0, answer.terms[0].token, -1.0),)
    return Target(0, rival.label, terms, kind, tokens)


def _as_logprob(target: Target, outputs: str) -> Target:
    """A rival's log-probability (of a number the number), without what it is compared with."""
    kind: TargetKind = "logit" if outputs == "value" else "logprob"
    return replace(target, kind=kind, terms=tuple(term for term in target.terms if term.weight > 0))
