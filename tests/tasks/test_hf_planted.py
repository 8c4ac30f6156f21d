"""Faults planted in chat adapters: each fails the self-test, by the row that says what it is."""

from collections.abc import Callable
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers")

from tests import chat_faults as faults
from tests.hf import picture
from vlx.selftest.result import SelfTest
from vlx.tasks.huggingface.loading import load, wrap

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

QUESTION = "what color is the house?"
LANDSCAPE, PORTRAIT = (90, 60), (60, 90)
STOCK, FORCED, AROUND, BATCH = "stock model", "forced = generated", "nothing goes round A", "scores in company"
PROBE, WIDE, AXES, SIDES, CROPS = "patch probe", "patch probe 3:2", "axes are places", "sides are seen", "every crop"
Sound = Callable[[str], Any]


@pytest.fixture(scope="module")
def sound(tiny_folder: Callable[[str], Path]) -> Sound:
    """A chat task of its own, to be spoilt at will, by family; of "gemma3 panning" with pan & scan."""
    read = cache(lambda family: load(tiny_folder(family)))

    def made(family: str) -> Any:
        name, *how = family.split()
        task: Any = read(name)
        processor = task.prompting.processor
        return wrap(deepcopy(task.model), faults.panning(processor) if how else processor, name=name)

    return made


def outcome(task: Any, size: tuple[int, int], cells: int = 6) -> SelfTest:
    found: SelfTest = task.self_test(picture(2, *size), question=QUESTION, cells=cells)
    return found


# Beside each fault: the family that it is planted in, and the rows that must notice it.
TEXT = {
    "no picture marked": ("qwen2_5_vl", faults.types_zero, (STOCK,)),
    "types missing (Qwen2.5)": ("qwen2_5_vl", faults.types_missing, (STOCK,)),
    "types missing (Gemma 3)": ("gemma3", faults.types_missing, (STOCK,)),
    "types missing (PaliGemma)": ("paligemma", faults.types_missing, (FORCED,)),
    "types 0 on the answer (PaliGemma)": ("paligemma", faults.answer_types(0), (FORCED,)),
    "types 1 on the answer (Gemma 3)": ("gemma3", faults.answer_types(1), (FORCED,)),
    "types 1 on the answer (Qwen2.5)": ("qwen2_5_vl", faults.answer_types(1), (FORCED,)),
    "types left out of the processor's (Gemma 3)": ("gemma3", faults.types_unmade, (STOCK,)),
    "types left out of the processor's (Qwen2.5)": ("qwen2_5_vl", faults.types_unmade, (STOCK,)),
    "row breaks missing": ("pixtral", faults.left_out("[IMG_BREAK]"), (STOCK,)),
    "picture's end missing": ("pixtral", faults.left_out("[IMG_END]"), (STOCK,)),
    "picture behind the question (LLaVA)": ("llava", faults.picture_behind, (STOCK,)),
    "picture behind the question (Gemma 3)": ("gemma3", faults.picture_behind, (STOCK,)),
    "picture behind the question (PaliGemma)": ("paligemma", faults.picture_behind, (STOCK,)),
    "picture behind the question (Qwen2.5)": ("qwen2_5_vl", faults.picture_behind, (STOCK,)),
    "system prompt dropped": ("qwen2_5_vl", faults.without_system, (STOCK,)),
    "first token twice": ("gemma3", faults.first_twice, (STOCK,)),
    "turn not begun": ("pixtral", faults.last_missing, (STOCK,)),
    "padded in front": ("qwen2_vl", faults.left_padded, (BATCH,)),
    "a step late": ("llava", faults.read_late, (FORCED,)),
    "the end is said": ("pixtral", faults.end_said, (STOCK,)),
    "repetition penalty": ("pixtral", faults.penalised, (STOCK,)),
    "sampling": ("pixtral", faults.generating_with(do_sample=True, temperature=3.0), (STOCK,)),
    "counted places": ("qwen2_vl", faults.counted_places, (STOCK,)),
    "places of the first picture": ("qwen2_5_vl", faults.places_of_the_first, (AROUND,)),
}
SEEN = {
    "cells turned (Qwen2)": ("qwen2_vl", faults.turned_cells, (AXES, PROBE, WIDE)),
    "cells turned (PaliGemma)": ("paligemma", faults.turned_cells, (AXES, PROBE, WIDE)),
    "h and w swapped (Qwen2)": ("qwen2_vl", faults.swapped_sides, (PROBE,)),
    "h and w swapped (Pixtral)": ("pixtral", faults.swapped_sides, (PROBE,)),
    "h and w swapped for the text": ("qwen2_vl", faults.swapped_grid, (STOCK,)),
    "image_sizes are (W, H)": ("pixtral", faults.swapped_sizes, ("answers",)),
    "merger hooked": ("qwen2_5_vl", faults.merger_hooked(put_back=True), (WIDE,)),
    "merger hooked and handed on": ("qwen2_5_vl", faults.merger_hooked(put_back=False), (STOCK, WIDE)),
    "DeepStack in rest": ("qwen3_vl", faults.deep_streams("rest"), (AROUND,)),
    "DeepStack of the picture seen last": ("qwen3_vl", faults.deep_streams("last"), (AROUND,)),
    "DeepStack declared": ("qwen3_vl", faults.deep_streams("declared"), (AROUND,)),
    "DeepStack left out": ("qwen3_vl", faults.deep_streams("gone"), (STOCK,)),
    "last layer": ("llava", faults.last_layer, (STOCK,)),
    "cut inside": ("llava", faults.cut_inside, (SIDES,)),
    "squeezed": ("llava", faults.squeezed, (STOCK,)),
    "blue for red": ("pixtral", faults.blue_for_red, (STOCK,)),
    "thumbnail first (InternVL)": ("internvl", faults.frames(faults.whole_first), (PROBE, CROPS)),
    "whole crop last (LLaVA-NeXT)": ("llava_next", faults.frames(faults.whole_last), (PROBE, CROPS)),
    "tile order": ("llava_next", faults.packed(faults.by_tile), (PROBE, CROPS)),
    "tile order between newlines": ("llava_next", faults.packed(faults.by_tile_between_newlines), (CROPS,)),
    "newlines forgotten": ("llava_next", faults.packed(faults.newlines_forgotten), (PROBE, CROPS)),
    "latents taken for a grid": ("llava", faults.places_of_latents, (PROBE, WIDE)),
    "whole crop first (Idefics3)": ("idefics3", faults.frames(faults.whole_first), (PROBE, CROPS)),
    "whole crop first (SmolVLM)": ("smolvlm", faults.frames(faults.whole_first), (PROBE, CROPS)),
    "whole crop first (Aya Vision)": ("aya_vision", faults.frames(faults.whole_first), (PROBE, CROPS)),
    "pan & scan: whole crop last": ("gemma3 panning", faults.frames(faults.whole_last), (PROBE, CROPS)),
    "not shrunk (OneVision)": ("llava_onevision", faults.unshrunk, (PROBE, CROPS)),
    "zero crop": ("smolvlm", faults.zero_crop, ("answers",)),
    "newlines are cells": ("llava_next", faults.packed(faults.newlines_are_cells), (CROPS,)),
}
Case = tuple[str, faults.Plant, tuple[str, ...]]


def check(sound: Sound, case: Case, size: tuple[int, int]) -> None:
    family, plant, rows = case
    task = sound(family)
    plant(task)
    found = outcome(task, size)
    assert found.verdict == "failed", str(found)
    assert {row.name for row in found.failed} >= set(rows), str(found)
    assert all(len(row.remark) <= 300 for row in found if row.name in rows)


@pytest.mark.parametrize("name", TEXT)
def test_a_fault_of_the_text_is_noticed(sound: Sound, name: str) -> None:
    check(sound, TEXT[name], LANDSCAPE)


@pytest.mark.parametrize("size", [LANDSCAPE, PORTRAIT])
@pytest.mark.parametrize("name", SEEN)
def test_a_fault_of_the_picture_is_noticed(sound: Sound, name: str, size: tuple[int, int]) -> None:
    check(sound, SEEN[name], size)


def test_gemma_with_pan_and_scan_is_sound(sound: Sound) -> None:
    found = outcome(sound("gemma3 panning"), LANDSCAPE)
    assert found.verdict == "passed", str(found)
    assert found[CROPS].value == 1, str(found)


def test_an_adapter_of_a_chat_model_without_a_stock_call_is_not_proven(sound: Sound) -> None:
    task = sound("llava")
    task.stock = None
    found = outcome(task, LANDSCAPE)
    assert [row.name for row in found.open] == [STOCK], str(found)
    assert "give the task `stock(image, query)`" in found[STOCK].remark
