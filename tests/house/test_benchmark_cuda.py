"""The instrument that compares a GPU with the CPU, tried where there is none."""

from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import vlx
from benchmarks import cuda
from vlx import scenes


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU: run python -m benchmarks.cuda")
def test_without_a_gpu_it_says_so_and_ends_well() -> None:
    result = CliRunner().invoke(cuda.main)
    assert result.exit_code == 0
    assert "skipped; nothing of this was tried" in result.output


def test_a_difference_in_any_figure_or_map_is_seen() -> None:
    why = vlx.explain(vlx.load("scenes/captioner"), scenes.draw(10_000_021, size=64).image)
    assert max(cuda.apart(why, why))[0] == 0
    first = why.words[0]
    moved = first.signed.copy()
    moved[0, 0] += 0.5 * np.abs(moved).max()
    for wrong in (replace(first, signed=moved), replace(first, score=first.score + 2), replace(first, alternatives=())):
        other = replace(why, words=(wrong, *why.words[1:]))
        assert max(cuda.apart(why, other))[0] > cuda.EQUAL


def test_chat_models_explain_a_landscape_by_each_kind_of_method() -> None:
    class Chat:
        kind = "vqa"

        def read_out(self, A: torch.Tensor, targets: object, rest: object = None) -> list[object]:
            return []

    asked = [(picture.size, options.get("method")) for picture, options in cuda.asks(cast(Any, Chat()))]
    assert asked == [((256, 256), None), ((256, 160), "hirescam"), ((256, 160), "lens-context")]
    assert [options.get("method") for _, options in cuda.asks(vlx.load("scenes/captioner"))] == [None]


def test_a_model_equals_itself_on_the_same_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "ROUNDS", 1)
    found = cuda.row("scenes/vqa", lambda: vlx.load("scenes/vqa"), "cpu")
    assert found.same
    assert found.apart == 0
    assert found.passed or found.half > cuda.HALF
