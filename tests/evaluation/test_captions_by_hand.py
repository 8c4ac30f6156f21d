"""How good captions of painted scenes are, counted by hand: words under forcing, whole captions, words by phrase."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tests.painted import WORDS, Painted, as_seen, logprobs, painted, shown
from vlx.evaluation.cards.quality import CaptionQuality, caption_quality
from vlx.protocol.targets import Prediction, Query

SAID = {  # all true; with the colours exchanged; true but for one word near the end
    0: "a red house in a meadow",
    1: "a blue house and a striped red tree in a meadow",
    2: "a blue car and a blue tree on a beach",
}


class Telling(Painted):
    """Left to itself it says of each painted scene what is written above."""

    def predict(self, features: Any, queries: Sequence[Query]) -> list[Prediction]:
        means = {seed: as_seen(scene.image).mean((0, 1)) for seed, scene in painted().items()}
        asked = []
        for A, query in zip(features.A, queries, strict=True):
            seed = min(means, key=lambda one: float(np.abs(means[one] - A.mean((1, 2)).numpy()).sum()))
            asked.append(query if query.caption is not None else Query(caption=SAID[seed]))
        return super().predict(features, asked)


def measured(patch: pytest.MonkeyPatch) -> CaptionQuality:
    shown(patch, painted())
    return caption_quality(Telling(), 3, first=0)


def test_captions_are_right_to_the_last_word_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [scene.caption == SAID[seed] for seed, scene in painted().items()] == [True, False, False]
    assert measured(monkeypatch).exact == pytest.approx(1 / 3)


def test_forced_words_are_right_where_they_are_the_likeliest_after_the_true_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    right = []
    for scene in painted().values():
        likeliest = WORDS[int(logprobs(Painted().weights(()), as_seen(scene.image)).argmax())]
        right += [word == likeliest for word in scene.caption.split()]
    assert 0 < sum(right) < len(right) / 2
    assert measured(monkeypatch).forced == pytest.approx(np.mean(right))


def test_words_count_in_their_own_phrase_and_by_their_category(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = measured(monkeypatch).words
    assert shares == pytest.approx({"object": 1.0, "color": 2 / 5, "texture": 1.0, "scene": 1.0})
