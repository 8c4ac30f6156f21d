"""Gradients in half precision: rounding drowns steps of A, so that a copy in float32 takes them."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("transformers")

from tests.hf import picture
from vlx.protocol.targets import Alternative, Prediction, Term, Word
from vlx.selftest import differences
from vlx.selftest.company import unlike
from vlx.selftest.result import Row
from vlx.tasks.huggingface.loading import load, wrap


@pytest.fixture
def task(tiny_folder: Any) -> Any:
    """A tiny LLaVA in bfloat16, to be changed at will."""
    read: Any = load(Path(tiny_folder("llava")))
    return wrap(deepcopy(read.model).to(torch.bfloat16), read.prompting.processor, name="llava")


def replayed(task: Any) -> Row:
    row: Row = task.self_test(picture(2), question="what color is the house?", cells=4)["gradient = replay"]
    return row


def test_they_are_tried_by_a_copy_in_float32(task: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found = replayed(task)
    assert found.passed
    assert "copy in float32" in found.remark
    assert {weights.dtype for weights in task.model.parameters()} == {torch.bfloat16}
    monkeypatch.setattr(differences, "COPIED", 10)
    assert replayed(task).passed is None, "a large model is not copied"


def test_a_part_that_is_detached_is_found(task: Any) -> None:
    norm = task.model.model.language_model.layers[1].post_attention_layernorm
    given = norm.forward
    norm.forward = lambda hidden: given(hidden).detach()
    assert replayed(task).passed is False


def test_of_two_words_that_are_equally_likely_either_may_be_said() -> None:
    blue = Word("blue", (Term(0, 2),), -0.95, (Alternative("pink", 1, -0.94), Alternative("blue", 2, -0.95)))
    pinkish = Word(
        "pinkish", (Term(0, 1), Term(1, 3)), -2.46, (Alternative("pink", 1, -0.93), Alternative("blue", 2, -0.96))
    )
    red = replace(blue, label="red", terms=(Term(0, 9),), logprob=-3.0)
    said = [Prediction(word.label, (word,), (1,)) for word in (pinkish, blue, red)]
    assert unlike(said[0], said[1]) == pytest.approx(0.03)
    assert unlike(said[1], said[2]) == pytest.approx(2.05)
