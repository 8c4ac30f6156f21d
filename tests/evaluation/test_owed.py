"""What words owe to their pictures is measured once: for the metric "hallucination", for audits, as a picture's own."""

import numpy as np
import pytest
import torch

import vlx
from tests.fakes import captioner, picture
from vlx.data.example import Example
from vlx.evaluation.owed import owed_words
from vlx.evaluation.shown import Setting, ShownBatch
from vlx.methods.registry import choose
from vlx.protocol.targets import Query, word_target


def shown(count: int) -> ShownBatch:
    task = captioner()
    examples = [Example(str(seed), picture(seed)) for seed in range(count)]
    inputs = np.stack([task.prepare(one.image).numpy() for one in examples])
    setting = Setting(task, vlx.data.SceneData(1), (choose("gradcam"),), ("logprob",))
    return ShownBatch(setting, None, examples, torch.from_numpy(inputs), range(count))  # type: ignore[arg-type]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_words_of_several_pictures_owe_what_explain_says_of_each(order: tuple[int, int]) -> None:
    batch = shown(2)
    said = batch.task.predict(batch.features, [Query(), Query()])
    words = [(said[row].words[n], word_target(said[row], n, row, "logprob")) for n in (0, 1) for row in order]
    owed = owed_words(batch, words)
    for row in (0, 1):
        why = vlx.explain(batch.task, batch.examples[row].image, check=False)
        for n in (0, 1):
            one = owed[2 * n + order.index(row)]
            assert one.seen == pytest.approx(why.words[n].seen, abs=1e-5)
            assert one.looked == pytest.approx(why.words[n].looked, abs=1e-5)
    assert len({round(one.seen, 4) for one in owed}) > 1


def test_of_no_words_nothing_is_shown() -> None:
    assert owed_words(shown(1), []) == []
