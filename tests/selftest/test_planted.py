"""Faults planted on purpose: the self-test notices each, by the row that is meant for it, and passes what is sound."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.planted import FAULTS, OTHERS, SOUND, Fault, picture, sound
from vlx.selftest.run import SelfTest

pytest.importorskip("transformers")

CELLS = 4


def outcome(task: Any) -> SelfTest:
    found: SelfTest = task.self_test(picture(), cells=CELLS)
    return found


def test_there_are_twelve_kinds() -> None:
    assert len({fault.name for fault in FAULTS}) == 12
    assert {fault.model for fault in (*FAULTS, *OTHERS)} <= set(SOUND)


# One fault for each row that must notice; the others repeat a row on other models.
TELLING = {fault.row: fault for fault in reversed((*FAULTS, *OTHERS))}


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(fault, id=fault.name, marks=() if fault in TELLING.values() else pytest.mark.slow)
        for fault in (*FAULTS, *OTHERS)
    ],
)
def test_a_planted_fault_is_noticed(fault: Fault) -> None:
    task = sound(fault.model)
    fault.plant(task)
    found = outcome(task)
    assert found.verdict == "failed", str(found)
    assert fault.row in [row.name for row in found.failed], str(found)
    assert all(len(row.remark) <= 300 for row in found)


@pytest.mark.parametrize(
    "model",
    [
        *("scenes/captioner-pooled", "scenes/vqa", "git"),  # a task of each kind, and one of transformers
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("scenes/captioner", "blip-captioning", "vilt")),
    ],
)
def test_what_is_sound_passes_and_is_left_as_it_was(model: str) -> None:
    task = sound(model)
    parts = [task.model] if hasattr(task, "model") else [task.cnn, getattr(task, "decoder", None) or task.head]
    before = [{name: tensor.clone() for name, tensor in part.state_dict().items()} for part in parts]
    state = torch.get_rng_state()
    found = outcome(task)
    assert found.verdict == "passed", str(found)
    assert torch.equal(torch.get_rng_state(), state)
    for part, own in zip(parts, before, strict=True):
        assert all(torch.equal(tensor, own[name]) for name, tensor in part.state_dict().items())
        assert not any(module._forward_hooks for module in part.modules())


def halved(share: float) -> Callable[[Tensor], Tensor]:
    return lambda A: (1 - share) * A + share * A.detach()


@pytest.mark.parametrize(("share", "verdict"), [(0.2, "failed"), (1.0, "failed")])
def test_what_part_of_a_gradient_may_be_lost(share: float, verdict: str) -> None:
    task, head = sound("scenes/vqa"), sound("scenes/vqa").head
    change = halved(share)
    task.head = lambda A, tokens, lengths: head(change(A), tokens, lengths)
    found = outcome(task)
    assert found.verdict == verdict, str(found)
