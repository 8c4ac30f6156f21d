"""Intervals of caption scores: pictures drawn again by the seed, and every metric once more of what was drawn."""

import numpy as np
import pytest

from vlx.evaluation.metrics import caption_scores
from vlx.evaluation.metrics.caption_scores import Score, scored

SAID = ["a dog runs", "a cat", "two dogs sit on grass", "a man", "a red ball on grass"]
WRITTEN = [
    ["a dog runs", "one dog"],
    ["two cats sit"],
    ["two dogs on grass", "dogs"],
    ["a man walks", "a man"],
    ["a blue ball"],
]
VALUES = np.array([0.9, 0.1, 0.5, 0.3, 0.7])  # of a metric that is a mean over pictures


def found(patch: pytest.MonkeyPatch, seed: int = 0) -> dict[str, Score | None]:
    patch.setattr(caption_scores, "meteor", lambda said, written: VALUES)
    patch.setattr(caption_scores, "cider", lambda said, written: 10 * VALUES)
    return scored([one.split() for one in SAID], [[one.split() for one in own] for own in WRITTEN], seed)


def draws(seed: int = 0) -> list[list[int]]:
    """2,000 times which pictures were drawn, each as often as it was."""
    times = np.random.default_rng(seed).multinomial(5, np.full(5, 1 / 5), 2000)
    return [np.repeat(np.arange(5), row).tolist() for row in times]


def bleu_1(pictures: list[int]) -> float:
    """Words that stand in a reference, as often as they may, and the punishment of what is too short."""
    met = said = nearest = 0
    for n in pictures:
        words, references = SAID[n].split(), [one.split() for one in WRITTEN[n]]
        met += sum(min(words.count(one), max(own.count(one) for own in references)) for one in set(words))
        said += len(words)
        nearest += min((abs(len(own) - len(words)), len(own)) for own in references)[1]
    return float(met / said * np.exp(min(1 - nearest / said, 0)))


def test_an_interval_holds_95_percent_of_what_was_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = found(monkeypatch)
    for name, again, whole in (
        ("METEOR", [VALUES[own].mean() for own in draws()], VALUES.mean()),
        ("CIDEr-D", [10 * VALUES[own].mean() for own in draws()], 10 * VALUES.mean()),
        ("BLEU-1", [bleu_1(own) for own in draws()], bleu_1([0, 1, 2, 3, 4])),
    ):
        low, high = np.quantile(again, (0.025, 0.975))
        score = scores[name]
        assert score is not None
        assert (score.value, score.low, score.high) == pytest.approx((whole, low, high)), name


def test_the_seed_fixes_what_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(monkeypatch) == found(monkeypatch)
    assert found(monkeypatch) != found(monkeypatch, 1)
