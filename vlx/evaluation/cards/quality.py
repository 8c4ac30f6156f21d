"""How good a captioner's captions of drawn scenes are, word by word and as a whole."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from vlx.protocol.targets import Query
from vlx.protocol.task import Task
from vlx.scenes import COLORS, HELD_OUT, KINDS, SCENES, TEXTURES, draw

BATCH = 50
WORLD: dict[str, Collection[str]] = {"object": KINDS, "color": COLORS, "texture": TEXTURES, "scene": SCENES}


@dataclass(frozen=True)
class CaptionQuality:
    """Shares, 0 to 1, on ``n`` held-out scenes.

    ``forced`` is the share of words (END left out) that are likeliest under the true caption's prefix; ``exact`` the
    share of generated captions that are right to the last word; ``words`` by category the share of the true caption's
    words that the generated caption has in the same noun phrase. BLEU-4 and METEOR are NLTK's, None without it.
    """

    n: int
    forced: float
    exact: float
    words: dict[str, float]
    bleu4: float | None
    meteor: float | None


def caption_quality(
    task: Task, n: int = 2000, *, first: int = HELD_OUT, progress: Callable[[Iterable[Any]], Iterable[Any]] = iter
) -> CaptionQuality:
    """Measure a captioner on scenes ``first`` to ``first + n − 1``; the default has never been trained on."""
    true: list[str] = []
    said: list[str] = []
    forced: list[bool] = []
    for start in progress(range(first, first + n, BATCH)):
        scenes = [draw(seed) for seed in range(start, min(start + BATCH, first + n))]
        features = task.features(task.place(torch.stack([task.prepare(scene.image) for scene in scenes])))
        true += [scene.caption for scene in scenes]
        said += [prediction.text for prediction in task.predict(features, [Query()] * len(scenes))]
        for prediction in task.predict(features, [Query(caption=scene.caption) for scene in scenes]):
            forced += [word.alternatives[0].token == word.terms[0].token for word in prediction.words]
    exact = sum(a == b for a, b in zip(true, said, strict=True)) / n
    return CaptionQuality(
        n, sum(forced) / len(forced), exact, _by_category(true, said), _bleu(true, said), _meteor(true, said)
    )


def _by_category(true: Sequence[str], said: Sequence[str]) -> dict[str, float]:
    shares = {}
    for category, members in WORLD.items():
        right = total = 0
        for wanted, given in zip(true, said, strict=True):
            phrases = given.split(" and ")
            for number, phrase in enumerate(wanted.split(" and ")):
                words = [word for word in phrase.split() if word in members]
                total += len(words)
                right += sum(word in phrases[number].split() for word in words) if number < len(phrases) else 0
        shares[category] = right / max(total, 1)
    return shares


def _bleu(true: Sequence[str], said: Sequence[str]) -> float | None:
    try:
        from nltk.translate.bleu_score import SmoothingFunction, corpus_bleu
    except ImportError:
        return None
    references, hypotheses = [[text.split()] for text in true], [text.split() for text in said]
    return float(corpus_bleu(references, hypotheses, smoothing_function=SmoothingFunction().method1))


def _meteor(true: Sequence[str], said: Sequence[str]) -> float | None:
    """NLTK's METEOR, which needs its WordNet data; None where that is not installed."""
    try:
        from nltk.translate.meteor_score import single_meteor_score

        scores = [single_meteor_score(a.split(), b.split()) for a, b in zip(true, said, strict=True)]
    except (ImportError, LookupError):
        return None
    return float(sum(scores)) / len(scores)
