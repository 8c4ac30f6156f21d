"""An explanation made by hand, for the tests of what is done with one."""

from dataclasses import replace
from typing import Any

import numpy as np

from vlx import Explanation, WordExplanation
from vlx.explanation.reasons import Because, Check, Kind, Reason
from vlx.explanation.records import Look, Occlusion, QuestionWord
from vlx.pictures.placement import Frame, Grid, Placement

LOOKS = (
    Look("median colour", (-2.75,), ("white",)),
    Look("blurred", (-0.1, -0.7, -2.3), ("red", "red", "white")),
    Look("swapped", (-6.0, -0.2, -4.0, -5.0), ("blue", "red", "blue", "green")),
)
VERDICT = "3.9 bits come from the picture (+2.2 to +5.6 by reference), compared with 2 references made of it"
LABELS = ("a", "red", "house", "in", "<script>alert('x')</script>")


def caption_explanation(seed: int = 0, labels: tuple[str, ...] = LABELS, cropped: bool = True) -> Explanation:
    """Five words on a picture 60 × 90 of which the model saw the middle 60 × 60; the fourth word has no map."""
    rng = np.random.default_rng(seed)
    grid = Grid((3.0, 3.0), (8.0, 8.0), (4, 4), (32, 32))
    middle = Frame((60 / 32, 60 / 32), (0.4375, 15.4375), (60, 90), (32, 32), (0, 32, 0, 32))
    placement = Placement(grid, middle if cropped else Frame.whole((60, 90), (32, 32)))

    def word(number: int, label: str) -> WordExplanation:
        signed = rng.normal(size=(4, 4)).astype(np.float32) * (number != 3) * 10.0**-number
        return WordExplanation(
            label=label,
            score=-0.5 * number,
            logprob=-0.5 * number - 0.01,
            alternatives=((label, -0.5 * number - 0.01), ("<b>bold</b>", -2.0), ("blue", -3.0)),
            weights=rng.normal(size=6).astype(np.float32),
            signed=signed,
            opposed=-signed if number != 1 else np.abs(signed),
            placement=placement,
            target="logprob",
            seen=(2.5, 0.01, -0.3, 1.0, 0.2)[number],
            seen_by={"median colour": (2.5, 0.01, -0.3, 1.0, 0.2)[number]},
            looked=(1.0, 0.01, 0.3, 1.0, 0.2)[number],
            notes=("the score does not depend on the feature map",) if number == 3 else (),
        )

    words = tuple(word(number, label) for number, label in enumerate(labels))
    return Explanation(
        text=" ".join(labels),
        words=words,
        sentence=word(0, " ".join(labels)),
        phrases=(word(2, "a red house"),),
        image=rng.integers(0, 255, (60, 90, 3), np.uint8),
        task="captioning",
        method="hirescam",
        placement=placement,
        notes=('a note with <i>markup</i> & "quotes"',),
        provenance={"model": "tiny</script>", "layer": "cnn", "versions": {"vlx": "0.1.0"}, "feature_map": [6, 4, 4]},
    )


def answer_explanation(
    question: str = "what color is the car?", text: str = "red", others: tuple[str, ...] = ("white", "blue")
) -> Explanation:
    """An answer with everything that can be known of it, on the picture of `caption_explanation`."""
    base = caption_explanation(cropped=False)
    grid, rng = base.placement.grid, np.random.default_rng(7)
    alternatives = tuple(zip((text, *others), (-0.05, -3.5, -5.0), strict=False))

    def one(number: int, label: str, more: bool) -> Explanation:
        word = replace(
            base[number],
            label=label,
            score=5.0 - number,
            logprob=alternatives[number][1],
            alternatives=alternatives,
            target="logit",
            seen=(2.7, -0.6, 0.01)[number],
            seen_by={"median colour": (1.5, -0.6, 0.01)[number], "inverted": (3.9, -0.6, 0.01)[number]},
            looked=(0.8, 0.6, 0.01)[number],
            looks=LOOKS if more else (),
            occlusion=Occlusion(rng.normal(size=grid.shape).astype(np.float32), 0.61, 16) if more else None,
            notes=(),
        )
        return replace(
            base, text=label, words=(word,), sentence=word, phrases=(), task="vqa", question=question, notes=()
        )

    told = tuple(one(number, label, False) for number, label in enumerate(others, 1))
    return replace(one(0, text, True), question_words=asked(question), others=told)


def contrast_explanation() -> Explanation:
    """Why red rather than white; both alone beside it."""
    why, other = answer_explanation(), answer_explanation().others[0]
    rng = np.random.default_rng(8)
    difference = rng.normal(size=(4, 4)).astype(np.float32)
    looks = (Look("inverted", (-0.85,), ("white",)), Look("swapped", (-2.0, 0.0, 2.0), ("white", "white", "red")))
    word = replace(why[0], score=3.45, signed=difference, opposed=-difference, seen=4.3, looks=looks)
    word = replace(word, seen_by={"inverted": 4.3})
    alone = replace(why, words=(replace(why[0], looks=(), occlusion=None),), question_words=(), others=())
    return replace(why, words=(word,), sentence=word, instead_of="white", others=(alone, other), forced=True)


def asked(question: str) -> tuple[QuestionWord, ...]:
    """The question's words: the last one matters, the one before speaks against the answer."""
    words = question.rstrip("?").split()
    lost = [*[0.001] * (len(words) - 2), -1.5, 3.0]
    return tuple(QuestionWord(word, nats, nats / 2) for word, nats in zip(words, lost, strict=True))


def with_guided(why: Explanation) -> Explanation:
    """The answer and its first alternative with Guided Grad-CAM."""
    maps = np.random.default_rng(9).normal(size=(2, 3, 32, 32)).astype(np.float32) * 1e-4
    first = why.others[0]
    first = replace(first, words=(replace(first[0], guided=maps[1] / 10),))
    return replace(why, words=(replace(why[0], guided=maps[0]),), others=(first, *why.others[1:]))


RANDOM = (-0.5, 0.1, 0.4, 0.9, 1.2, 3.0)
CHECK = Check((2, 3, 5), before=6.0, effect=8.5, logprob=2.59, random=RANDOM, size=4, predicted=7.0)


def reason(concept: str, kind: Kind, portion: float, seed: int, **options: Any) -> Reason:
    """One reason with a map of its own; ``share`` is settled by `reasoned`."""
    there = np.random.default_rng(seed).random((4, 4)).astype(np.float32) * portion * (-1 if kind == "despite" else 1)
    known: dict[str, Any] = {
        **{"category": "part", "units": (seed,), "iou": 0.21, "error": 0.02, "wins": 3, "folds": 4, "weight": portion},
        **{"activation": 1.0, "contribution": portion, "portion": portion, "share": 0.0, "on_map": 0.5},
    }
    return Reason(**{**known, "concept": concept, "kind": kind, "map": there, **options})


def because(word: WordExplanation, reasons: tuple[Reason, ...], check: Check | None = CHECK) -> Because:
    """A because whose shares are those of the word's map."""
    there = word.signed > 0
    whole = float(word.signed[there].sum()) or 1.0
    shared = tuple(replace(one, share=float(one.map[there].sum()) / whole) for one in reasons)
    portions = {kind: sum(one.portion for one in reasons if one.kind == kind) for kind in ("because", "despite")}
    return Because(
        word.label,
        shared,
        coverage=portions["because"],
        coverage_against=portions["despite"],
        unnamed=1 - sum(one.share for one in shared),
        check=check,
    )


def some_reasons(concept: str = "fur") -> tuple[Reason, ...]:
    """Twelve for a word, the first three tried, one against it, one tried; two absences."""
    tried: tuple[dict[str, Any], ...] = (
        {"effect": 4.2, "named": True, "p_name": 0.002, "units": tuple(range(2, 12))},
        {"effect": 0.3, "named": False, "p_name": 0.25, "units": (1, 12), "repeats": True},
        {"effect": 2.0, "iou": float("nan"), "error": None, "wins": None, "folds": None},
    )
    first = [reason(f"{concept} {n}", "because", 0.2 / (n + 1), n, **options) for n, options in enumerate(tried)]
    more = [reason(f"{concept} {n}", "because", 0.02, n) for n in range(3, 12)]
    against = reason("snow", "despite", 0.3, 20, effect=-2.0)
    weak = reason("sand", "despite", 0.1, 21)
    absent = [
        reason(name, "absence", 0.0, 30, map=np.zeros((4, 4), np.float32), on_map=0.0) for name in ("pole", "stem")
    ]
    return (*first, *more, against, weak, *absent)


def reasoned(why: Explanation, concept: str = "fur", check: Check | None = CHECK) -> Explanation:
    """The explanation with reasons for every word, and for the other answers."""

    def told(one: Explanation) -> Explanation:
        words = tuple(replace(word, because=because(word, some_reasons(concept), check)) for word in one.words)
        return replace(one, words=words, others=tuple(map(told, one.others)))

    return told(why)
