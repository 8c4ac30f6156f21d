"""What chat models are not to be asked: each is refused with its name and the mend, before or instead of a result."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image

hf = pytest.importorskip("transformers")

import vlx  # noqa: E402
from tests.hf import picture  # noqa: E402
from vlx.errors import InputError, VlxError  # noqa: E402
from vlx.tasks.huggingface.loading import load, wrap  # noqa: E402

QUESTION = "what color is the house?"
FAMILIES = ("llava", "pixtral", "qwen2_5_vl", "gemma3", "internvl")


@pytest.fixture(scope="module")
def tiny(tiny_folder: Callable[[str], Path]) -> Callable[[str], Any]:
    """A family's task of its own, to be changed at will."""
    return lambda family: load(tiny_folder(family))


def refused(task: Any, **asked: Any) -> str:
    asked = {"question": QUESTION, "check": False, "seen": False, **asked}
    with pytest.raises(VlxError) as caught:
        vlx.explain(task, picture(2), **asked)
    assert len(str(caught.value)) < 300
    return str(caught.value)


@pytest.mark.parametrize("family", FAMILIES)
def test_marks_of_pictures_and_videos_are_refused_in_every_text(tiny: Callable[[str], Any], family: str) -> None:
    task = tiny(family)
    processor = task.prompting.processor
    kinds = ("image_token", "video_token", "boi_token", "image_break_token", "start_image_token")
    marks = {str(mark) for kind in kinds if (mark := getattr(processor, kind, None))}
    assert marks
    for mark in marks:
        for asked in (
            {"question": f"what is in {mark}?"},
            {"answer": f"a {mark} house"},
            {"prompt": f"the {mark}"},
            {"answer": "the house is red", "instead_of": {"red": mark}},
        ):
            assert mark in refused(task, **asked)
    told = refused(task, question=f"what is in {processor.image_token}{processor.image_token}?")
    assert "one picture is explained at a time, no video" in told


def test_a_mark_that_is_no_special_token_is_refused_too(tiny: Callable[[str], Any]) -> None:
    task = tiny("llava")
    processor = task.prompting.processor
    processor.video_token = "<video>"  # of the tokenizer it is no token at all
    again = wrap(task.model, processor, name="llava")
    assert "(<video>)" in refused(again, question="what is in <video>?")
    assert "(<video>)" in refused(again, answer="the <video> house")
    assert vlx.explain(task, picture(2), question="is 3 < 5 or > 4?", check=False, seen=False).text


def test_several_pictures_and_videos_are_refused_by_name(tiny: Callable[[str], Any]) -> None:
    task = tiny("llava")
    with pytest.raises(VlxError, match="list is no picture: for several pictures use"):
        vlx.explain(task, [picture(1), picture(2)], question=QUESTION)
    with pytest.raises(VlxError, match="this looks like a batch: give array"):
        vlx.explain(task, np.zeros((8, 40, 60, 3), np.uint8), question=QUESTION)


# Weights without gradients


class Detaching(torch.nn.Module):
    """A layer as a kernel without a backward has it: nothing goes back through it."""

    def __init__(self, layer: torch.nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return cast(torch.Tensor, self.layer(x).detach())


def quantised(task: Any, trainable: object) -> Any:
    task.model.hf_quantizer = SimpleNamespace(is_trainable=trainable, is_compileable=False)
    return wrap(task.model, task.prompting.processor, name="llava")


@pytest.mark.parametrize("trainable", [False, lambda: False])
def test_weights_without_gradients_are_explained_by_what_needs_none(
    tiny: Callable[[str], Any], trainable: object
) -> None:
    task = tiny("llava")
    for layer in task.model.model.language_model.layers:
        layer.mlp.down_proj = Detaching(layer.mlp.down_proj).eval()
    again = quantised(task, trainable)
    why = vlx.explain(again, picture(2), question=QUESTION, check=False)
    assert why.provenance["method"] == "occlusion"
    assert all(word.signed.any() for word in why)
    for method in ("gradattention", "hirescam", "gradcam"):
        told = refused(again, method=method)
        assert "quantised in a way that gives no gradients (SimpleNamespace), which this method needs; take m" in told


@pytest.mark.parametrize("trainable", [True, lambda: True])
def test_weights_with_gradients_are_explained_as_others(tiny: Callable[[str], Any], trainable: object) -> None:
    task = tiny("llava")
    again = quantised(task, trainable)
    assert again.defaults == task.defaults
    assert vlx.explain(again, picture(2), question=QUESTION, method="hirescam", check=False, seen=False).text


def test_roll_out_through_rows_that_are_not_there_is_refused(tiny: Callable[[str], Any]) -> None:
    """Flash attention forms no probabilities, and of no chat model those of all rows are formed."""
    assert "gradrollout needs the attention of all tokens" in refused(tiny("llava"), method="gradrollout")


def test_an_answer_of_no_word_is_refused(tiny: Callable[[str], Any]) -> None:
    for answer in ("", " ", "?!"):
        assert "holds no word; give at least one" in refused(tiny("llava"), answer=answer)


def test_a_picture_of_no_shape_that_a_model_takes_is_refused(tiny: Callable[[str], Any]) -> None:
    task = tiny("qwen2_5_vl")
    with pytest.raises(VlxError, match=r"2000 × 9 pixels cannot be prepared .*; cut it to a less extreme shape"):
        vlx.explain(task, Image.new("RGB", (2000, 9)), question=QUESTION)


def test_other_options_are_no_options(tiny_folder: Callable[[str], Path]) -> None:
    with pytest.raises(InputError, match=r"^load\(\) takes no max_pixel$"):
        load(tiny_folder("llava"), max_pixel=5)  # type: ignore[call-arg]
