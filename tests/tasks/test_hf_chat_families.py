"""The tiny chat model of every family passes its self-test, in float32 and in bfloat16."""

from collections.abc import Callable
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("transformers")

from tests.hf import picture
from vlx.selftest.checks import LIMITS
from vlx.tasks.huggingface import tiny
from vlx.tasks.huggingface.loading import load, wrap

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

LANDSCAPE, PORTRAIT = (90, 60), (60, 90)
CELLS = 8
PROBES = ("patch probe", "patch probe 3:2", "every crop")


@pytest.fixture(scope="module")
def sound(tiny_folder: Callable[[str], Path]) -> Callable[[str], Any]:
    return cache(lambda family: load(tiny_folder(family)))


@pytest.mark.parametrize(
    ("dtype", "size"), [(torch.float32, LANDSCAPE), (torch.bfloat16, PORTRAIT)], ids=["float32", "bfloat16"]
)
@pytest.mark.parametrize("family", tiny.CHATS)
def test_the_self_test_passes(
    sound: Callable[[str], Any], family: str, dtype: torch.dtype, size: tuple[int, int]
) -> None:
    task: Any = sound(family)
    if dtype != torch.float32:
        task = wrap(deepcopy(task.model).to(dtype), task.prompting.processor, name=family)
    found = task.self_test(picture(2, *size), question="what color is the house?", cells=CELLS)
    assert found.verdict == "passed", str(found)
    assert found["stock model"].value <= LIMITS[dtype][0]
    for name in ("forced = generated", "nothing goes round A", "stock model", "sides are seen"):
        assert found[name].passed, str(found)
    assert all(found[name].value in (1, None) for name in PROBES), str(found)
    assert found["patch probe"].value == 1, str(found)
