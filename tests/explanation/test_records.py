import pickle
from typing import Any, cast

import numpy as np
import pytest
import torch

import vlx
from tests.fakes import (
    alike,
    captioner,
    picture,
)
from vlx.errors import WordNotFound

TEXT = "a red dog on grass"
TOKENS = (3, 4, 6, 8, 9)


# Asking an explanation


@pytest.fixture(scope="module")
def twice() -> vlx.Explanation:
    return vlx.explain(captioner("state"), picture(), caption="a dog on a red dog")


def test_words_by_position_label_and_occurrence(twice: vlx.Explanation) -> None:
    assert len(twice) == 6
    assert [word.label for word in twice] == "a dog on a red dog".split()
    assert twice[1] is twice.words[1]
    assert twice[-1] is twice.words[5]
    assert twice[cast(Any, np.int64(2))] is twice.words[2]
    assert twice["red"] is twice.words[4]
    assert twice["red", 0] is twice.words[4]
    assert twice["dog", 0] is twice.words[1]
    assert twice["dog", 1] is twice.words[5]
    assert twice["dog", -1] is twice.words[5]


def test_words_that_are_not_there_are_named(twice: vlx.Explanation) -> None:
    with pytest.raises(WordNotFound, match=r"^'cat' is not among the words: a, dog, on, a, red, dog$"):
        twice["cat"]
    message = (
        r'^\'dog\' stands there 2 times; choose one: why\["dog", 0\] at position 1, why\["dog", 1\] at position 5$'
    )
    with pytest.raises(WordNotFound, match=message):
        twice["dog"]
    with pytest.raises(WordNotFound, match=r"^'dog' stands there 2 time\(s\); there is no number 2$"):
        twice["dog", 2]
    with pytest.raises(KeyError, match="there is no number -2"):
        twice["red", -2]
    with pytest.raises(IndexError, match=r"^there is no word 6; the text has 6: 'a dog on a red dog'$"):
        twice[6]
    with pytest.raises(IndexError, match=r"^there is no word -7"):
        twice[-7]


def test_results_are_plain_values(twice: vlx.Explanation) -> None:
    alike(pickle.loads(pickle.dumps(twice)), twice, 0.0)
    assert repr(twice) == "Explanation('a dog on a red dog', 6 words, picture 40×30, layercam, captioning)"
    assert repr(twice["red"]).startswith("WordExplanation('red', logprob=-")
    assert repr(twice["red"]).endswith(", map 4×4, 5 units)")
    for word in twice:
        assert isinstance(word.score, float)
        assert isinstance(word.signed, np.ndarray)
        assert word.because is None
    with pytest.raises(AttributeError, match="cannot assign"):
        twice.text = "other"  # type: ignore[misc]


def test_provenance_says_what_made_it(twice: vlx.Explanation) -> None:
    assert twice.provenance == {
        **twice.provenance,
        "model": "tiny",
        "layer": "cnn",
        "method": "layercam",
        "target": "logprob",
        "gradients": "rows",
        "feature_map": [5, 4, 4],
        "prepared": [3, 16, 16],
        "image": "PIL picture 40×30",
        "beams": 1,
    }
    assert twice.provenance["versions"] == {"vlx": vlx.__version__, "torch": torch.__version__}
    assert twice.forced
    assert not vlx.explain(captioner("state"), picture()).forced
