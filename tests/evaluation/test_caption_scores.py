"""Caption scores beside NLTK's, COCO's and slow second implementations; each planted mistake changes them."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from vlx.data.captioned import words_of
from vlx.errors import InputError
from vlx.evaluation.metrics import caption_scores
from vlx.evaluation.metrics.caption_scores import METRICS, Score, scored

Corpus = tuple[list[list[str]], list[list[list[str]]]]

WORDS = "a the dog man child red ball runs jumps on over grass snow with two is".split()
TOLD = ["A dog runs on the grass.", "A man jumps over a red ball.", "Two children in the snow."]
WRITTEN = [
    ["A dog runs over grass.", "The dog is running on the grass.", "One wet dog."],
    ["A man with a ball.", "The man jumps over a ball that is red."],
    ["Two children play in snow.", "A child in the snow.", "Children sit in the white snow."],
]


def cut(told: Sequence[str], written: Sequence[Sequence[str]]) -> Corpus:
    return [words_of(one, None) for one in told], [[words_of(one, None) for one in own] for own in written]


def random_corpus(seed: int, pictures: int = 30) -> Corpus:
    """Captions of 5 to 11 words, references of 4 to 12 that share words and stretches with them."""
    rng = np.random.default_rng(seed)
    said: list[list[str]] = [list(rng.choice(WORDS, rng.integers(5, 12))) for _ in range(pictures)]
    written = [
        [
            [*own[: rng.integers(1, 5)], *map(str, rng.choice(WORDS, rng.integers(3, 8)))]
            for _ in range(rng.integers(1, 6))
        ]
        for own in said
    ]
    return [list(map(str, own)) for own in said], written


def value(found: dict[str, Score | None], name: str) -> float:
    score = found[name]
    assert score is not None
    return score.value


def slow_cider(said: list[list[str]], written: list[list[list[str]]]) -> list[float]:
    """CIDEr-D by the paper's words (1411.5726, equations 2 to 4 and section 5), in plain dictionaries."""

    def grams(words: list[str], n: int) -> Counter[tuple[str, ...]]:
        return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))

    found = []
    for own, references in zip(said, written, strict=True):
        total = 0.0
        for n in (1, 2, 3, 4):
            rare: Counter[tuple[str, ...]] = Counter()
            for others in written:
                rare.update({gram for one in others for gram in grams(one, n)})

            def weighed(words: list[str], n: int = n, rare: Any = rare) -> dict[tuple[str, ...], float]:
                return {g: c * (math.log(len(said)) - math.log(max(rare[g], 1))) for g, c in grams(words, n).items()}

            c = weighed(own)
            for reference in references:
                s = weighed(reference)
                clipped = sum(min(c[g], s[g]) * s[g] for g in c if g in s)
                length = math.sqrt(sum(v * v for v in c.values())) * math.sqrt(sum(v * v for v in s.values()))
                apart = len(own) - len(reference)
                similar = clipped / length if length else 0.0
                total += similar * math.exp(-(apart**2) / (2 * 6.0**2)) / len(references)
        found.append(10 * total / 4)
    return found


@pytest.mark.parametrize("seed", range(3))
def test_bleu_is_nltks(seed: int) -> None:
    nltk = pytest.importorskip("nltk.translate.bleu_score")
    said, written = random_corpus(seed)
    found = scored(said, written)
    for n in range(1, 5):
        theirs = nltk.corpus_bleu(written, said, weights=[1 / n] * n)
        assert value(found, f"BLEU-{n}") == pytest.approx(theirs, abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_bleu_is_cocos(seed: int) -> None:
    coco = pytest.importorskip("pycocoevalcap.bleu.bleu")
    said, written = random_corpus(seed)
    theirs, _ = coco.Bleu(4).compute_score(
        {n: [" ".join(one) for one in own] for n, own in enumerate(written)},
        {n: [" ".join(own)] for n, own in enumerate(said)},
        verbose=0,
    )
    found = scored(said, written)
    assert [value(found, f"BLEU-{n}") for n in range(1, 5)] == pytest.approx(theirs, abs=1e-6)


@pytest.mark.parametrize("seed", range(2))
def test_cider_is_the_papers(seed: int) -> None:
    pytest.importorskip("pycocoevalcap")
    for said, written in (random_corpus(seed, 8), cut(TOLD, WRITTEN)):
        found = caption_scores.cider(said, written)
        assert found is not None
        assert found == pytest.approx(slow_cider(said, written), abs=1e-9)
        assert value(scored(said, written), "CIDEr-D") == pytest.approx(found.mean())
        assert found.max() > 0.5


def test_meteor_is_the_best_reference_by_nltk() -> None:
    nltk = pytest.importorskip("nltk.translate.meteor_score")
    said, written = random_corpus(0, 6)
    found = caption_scores.meteor(said, written)
    if found is None:
        pytest.skip("NLTK has no WordNet here")
    theirs = [max(nltk.single_meteor_score(one, own) for one in refs) for own, refs in zip(said, written, strict=True)]
    assert found == pytest.approx(theirs)


def test_what_is_not_installed_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("nltk.translate.meteor_score", "pycocoevalcap.cider.cider"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    found = scored(*cut(TOLD, WRITTEN))
    assert found["METEOR"] is None and found["CIDEr-D"] is None
    assert value(found, "BLEU-1") > 0.5


def test_references_of_another_picture_are_found_out() -> None:
    said, written = cut(TOLD, WRITTEN)
    right, wrong = scored(said, written), scored(said, [*written[1:], written[0]])
    for name in METRICS:
        if right[name] is not None:
            assert value(wrong, name) < value(right, name) * 0.7, name
    assert value(right, "BLEU-1") > 0.8


def test_letters_and_stops_do_not_count_but_words_do() -> None:
    said, written = cut(TOLD, WRITTEN)
    loud = scored(*cut([one.upper().replace(".", " !") for one in TOLD], WRITTEN))
    assert loud == scored(said, written)
    assert value(scored([[word.upper() for word in own] for own in said], written), "BLEU-1") == 0.0


def test_a_caption_that_is_its_own_reference_is_whole() -> None:
    said, written = cut(TOLD, WRITTEN)
    found = scored(said, [[*own, one] for one, own in zip(said, written, strict=True)])
    assert [value(found, f"BLEU-{n}") for n in range(1, 5)] == pytest.approx([1, 1, 1, 1])


def test_short_captions_are_punished_by_the_nearest_length() -> None:
    written = [[["a", "dog", "runs", "on", "grass"], ["a", "dog", "and", "two", "more", "dogs"]]]
    found = scored([["a", "dog"]], written)
    assert value(found, "BLEU-1") == pytest.approx(math.exp(1 - 5 / 2))
    assert value(found, "BLEU-2") == pytest.approx(math.exp(1 - 5 / 2))
    assert value(found, "BLEU-3") == 0.0
    assert value(scored([[]], written), "BLEU-1") == 0.0


def test_of_two_references_as_near_in_length_the_shorter_counts() -> None:
    written = [[["a", "dog", "runs", "on", "grass"], ["a", "dog", "runs"]]]
    assert value(scored([["a", "dog", "runs", "on"]], written), "BLEU-1") == 1.0


def test_words_said_over_and_over_count_once_for_each_time_they_stand_in_a_reference() -> None:
    found = scored([["the"] * 7], [[["the", "cat", "is", "on", "the", "mat"], ["there", "is", "a", "cat"]]])
    assert value(found, "BLEU-1") == pytest.approx(2 / 7)  # the example of 10.3115/1073083.1073135


def test_bleu_is_of_the_corpus_and_no_mean_of_pictures() -> None:
    said, written = [["a", "b"], ["c", "x", "y", "z"]], [[["a", "b"]], [["c", "d", "e", "f"]]]
    assert value(scored(said, written), "BLEU-1") == pytest.approx(3 / 6)


@pytest.mark.parametrize("pictures", [20, 80])
def test_intervals_are_of_pictures_drawn_again(pictures: int) -> None:
    said, written = random_corpus(5, pictures)
    rng = np.random.default_rng(1)
    naive = []
    for _ in range(300):
        chosen = rng.integers(pictures, size=pictures)
        counts = sum(caption_scores.counted(said[n], written[n]) for n in chosen)
        naive.append(caption_scores.bleu(np.asarray(counts))[1])
    score = scored(said, written)["BLEU-2"]
    assert score is not None and score.low < score.value < score.high
    low, high = np.quantile(naive, (0.025, 0.975))
    assert (score.low, score.high) == pytest.approx((low, high), abs=0.25 * (high - low))


def test_pictures_that_are_all_alike_leave_no_doubt() -> None:
    score = scored([["a", "dog"]] * 9, [[["a", "cat"]]] * 9)["BLEU-1"]
    assert score == Score(0.5, 0.5, 0.5)


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(InputError, match=r"2 captions and references of 1 pictures; needed is one each"):
        scored([["a"], ["b"]], [[["a"]]])
    with pytest.raises(InputError, match=r"picture 1 has no reference"):
        scored([["a"], ["b"]], [[["a"]], []])
    with pytest.raises(InputError, match=r"0 captions"):
        scored([], [])
