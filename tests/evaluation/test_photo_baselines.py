"""Captions that nobody made for a picture, and what a vocabulary knows: beside slow second implementations."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from vlx.data.captioned import Photograph, words_of
from vlx.errors import InputError
from vlx.evaluation.cards import knowledge, neighbours
from vlx.evaluation.cards.neighbours import kept_vectors, nearest, one_for_all
from vlx.evaluation.metrics.caption_scores import scored

WORDS = "a the dog man child red ball runs jumps on over grass snow".split()


def photograph(name: str, *captions: str) -> Photograph:
    return Photograph(Path(name), captions)


def training(seed: int) -> list[Photograph]:
    """Pictures whose captions share stretches of words."""
    rng = np.random.default_rng(seed)
    stretches = [" ".join(rng.choice(WORDS, 4)) for _ in range(4)]

    def caption() -> str:
        return " ".join([rng.choice(stretches), *rng.choice(WORDS, rng.integers(0, 5)), rng.choice(stretches)])

    return [photograph(f"{n}.jpg", *(caption() for _ in range(rng.integers(1, 5)))) for n in range(12)]


@pytest.mark.parametrize("seed", range(4))
def test_the_one_caption_for_all_is_the_best_of_all_training_captions(seed: int) -> None:
    rows = training(seed)
    written = [[words_of(text, None) for text in row.captions] for row in rows]

    def score(caption: str) -> float:
        found = scored([caption.split()] * len(rows), written)["BLEU-4"]
        assert found is not None
        return found.value

    best = max(score(text) for row in rows for text in row.captions)
    assert best > 0.05
    assert score(one_for_all(rows)) == pytest.approx(best)


def test_there_must_be_a_caption_to_choose() -> None:
    with pytest.raises(InputError, match=r"no training caption to choose one from"):
        one_for_all([])


def test_the_nearest_photograph_is_the_one_of_the_highest_cosine() -> None:
    known = {"up": np.array([0, 9], np.float32), "right": np.array([0.1, 0], np.float32)}
    asked = {"a": np.array([5, 4], np.float32), "b": np.array([0.1, 0.2], np.float32), "none": np.zeros(2, np.float32)}
    assert nearest(known, asked) == {"a": "right", "b": "up", "none": "up"}
    with pytest.raises(InputError, match=r"up is in both sets"):
        nearest(known, {"up": np.ones(2, np.float32)})
    with pytest.raises(InputError, match=r"none to look among"):
        nearest({}, asked)


def test_vectors_are_means_over_cells_of_the_very_picture(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows, wanted = [], {}
    for number in range(5):
        pixels = rng.integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        rows.append(photograph(str(tmp_path / f"{number}.png"), "x"))
        wanted[f"{number}.png"] = pixels.mean((0, 1))
    task: Any = SimpleNamespace(
        prepare=lambda image: torch.from_numpy(np.asarray(image, np.float32)).permute(2, 0, 1),
        place=lambda one: one,
        features=lambda images: SimpleNamespace(maps={"last": images}, A=images[:, :1]),
    )
    found = neighbours.vectors(task, rows)
    assert list(found) == list(wanted)
    for name, vector in wanted.items():
        assert found[name] == pytest.approx(vector, rel=1e-5)


def test_kept_maps_give_the_same_vectors(tmp_path: Path) -> None:
    last = np.random.default_rng(0).random((600, 4, 2, 3)).astype(np.float16)
    names = [f"{n}.jpg" for n in range(600)]
    np.save(tmp_path / "last.npy", last)
    (tmp_path / "names.json").write_text(json.dumps(names))
    found = kept_vectors(tmp_path)
    for n in (0, 511, 512, 599):
        assert found[f"{n}.jpg"] == pytest.approx(last[n].astype(np.float64).mean((1, 2)), rel=1e-3)
    (tmp_path / "names.json").write_text(json.dumps(names[1:]))
    with pytest.raises(InputError, match=r"last.npy is \[600, 4, 2, 3\], names.json holds 599 names"):
        kept_vectors(tmp_path)
    np.save(tmp_path / "last.npy", np.array([{"a": 1}]), allow_pickle=True)
    with pytest.raises(InputError, match=r"no maps of a training there"):
        kept_vectors(tmp_path)


def test_coverage_is_of_words_as_often_as_they_are_written() -> None:
    found = knowledge.coverage(["<unk>", "a", "dog"], ["A dog and a DOG.", "a cat"])
    assert (found.words, found.distinct) == (7, 4)
    assert (found.share, found.distinct_share) == pytest.approx((5 / 7, 2 / 4))
    with pytest.raises(InputError, match=r"hold no word"):
        knowledge.coverage(["a"], [" . "])


def test_things_are_nouns_by_their_lemma_with_the_counts_of_training(monkeypatch: pytest.MonkeyPatch) -> None:
    lemmas = {"dogs": "dog", "children": "child"}
    nouns = {"dog", "child", "front", "swing"}

    def tagged(texts: list[list[str]]) -> list[list[tuple[str, str]]]:
        def tag(word: str, words: list[str]) -> tuple[str, str]:
            lemma = lemmas.get(word, word)
            return lemma, "NOUN" if lemma in nouns and not (word == "swing" and "they" in words) else "VERB"

        return [[tag(word, words) for word in words] for words in texts]

    monkeypatch.setattr(knowledge, "tagged", tagged)
    captions = ["A dog runs in front.", "Two dogs, two children.", "A swing.", "They swing.", "A child."]
    counts = {"dog": 9, "dogs": 2, "children": 20, "child": 1, "runs": 30, "front": 40, "swing": 50, "unseen": 60}
    assert knowledge.things(counts, captions) == [(("children", 20), ("child", 1)), (("dog", 9), ("dogs", 2))]
    assert knowledge.things(counts, captions, 1) == [(("children", 20), ("child", 1))]
    monkeypatch.setattr(knowledge, "tagged", lambda texts: None)
    with pytest.raises(InputError, match=r"found by spaCy: pip install"):
        knowledge.things(counts, captions)


def test_spacy_tells_things_from_the_rest() -> None:
    captions = ["A black dog runs over the green grass.", "Two dogs are running.", "A man in a red shirt stands."]
    counts = {"dog": 3, "dogs": 2, "runs": 9, "green": 9, "grass": 1, "red": 9, "over": 9, "man": 2}
    try:
        found = knowledge.things(counts, captions)
    except InputError:
        pytest.skip("spaCy or its English model is not installed")
    assert found == [(("dog", 3), ("dogs", 2)), (("man", 2),), (("grass", 1),)]


def test_categories_are_counted_by_captions_and_only_by_words_that_are_known() -> None:
    captions = ["A dog and two dogs.", "A puppy on a couch.", "A man with a hot dog."]
    found = knowledge.categories(["dog", "dogs", "man", "couch"], captions)
    assert (found["dog"], found["person"], found["couch"], found["cat"]) == (1, 1, 1, 0)
    assert found["hot dog"] == 1  # the word that is looked for is "dog"
    assert knowledge.categories(["puppy"], captions)["dog"] == 1
    assert len(found) == 80 and list(found.values()) == sorted(found.values())
