"""Gradients in half precision: rounding drowns steps of A, so that a copy in float32 takes them."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("transformers")

from tests.hf import picture
from vlx.protocol.targets import Query
from vlx.selftest import differences, run
from vlx.selftest.result import Row
from vlx.tasks.huggingface.loading import load, wrap


@pytest.fixture
def task(tiny_folder: Any) -> Any:
    """A tiny LLaVA in bfloat16, to be changed at will."""
    read: Any = load(Path(tiny_folder("llava")))
    return wrap(deepcopy(read.model).to(torch.bfloat16), read.prompting.processor, name="llava")


def replayed(task: Any) -> Row:
    case = run._case(task, picture(2), Query(question="what color is the house?"))
    row: Row = differences.CHECKS["gradient = replay"](case)
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
