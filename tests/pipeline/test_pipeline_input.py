import inspect
import math
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch import nn

import vlx
from tests.fakes import (
    captioner,
    picture,
)
from vlx.errors import ImageError, InputError, MissingImage, ModelError
from vlx.pipeline.options import DEFAULTS, OptionsDict

TEXT = "a red dog on grass"
TOKENS = (3, 4, 6, 8, 9)


# Bad input


def test_something_that_is_no_task_is_refused() -> None:
    for wrong in ("scenes/captioner", None, nn.Linear(1, 1), torchvision.models.squeezenet1_1(weights=None)):
        with pytest.raises(InputError, match=r"^explain\(\) needs a task, got .{2,40}; make one with vlx\.load\(…\)"):
            vlx.explain(cast(Any, wrong), picture())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "gradcan"}, r"^no method 'gradcan'; close: gradcam.* Known: gradcam, hirescam"),
        ({"method": ""}, None),
        ({"target": "probability"}, r"^target='probability'; known are logprob, logit, prob, margin$"),
        ({"beams": 0}, r"^beams=0 must be 1 or more$"),
        ({"beams": 2**70}, r"^beams=1\.181e\+21 are more sentences than can be held at once; give up to 1024$"),
        ({"batch_size": 3}, r"^explain\(\) has no option 'batch_size'"),
        ({"caption": ["a", "dog"]}, r"caption"),
        ({"caption": 3}, r"caption"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], message: str | None) -> None:
    if message is None:
        assert vlx.explain(captioner("state"), picture(), **options).method == "layercam"
        return
    with pytest.raises(InputError, match=message):
        vlx.explain(captioner("state"), picture(), **options)


def test_an_unknown_option_is_named() -> None:
    wrong: dict[str, Any] = {"captions": "a dog"}
    with pytest.raises(InputError, match=r"^explain\(\) has no option 'captions'; close: caption"):
        vlx.explain(captioner("state"), picture(), **wrong)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("metod", "close: method"), ("layer", r"the layer belongs to the adapter: Classifier\(model, layer=…\)")],
)
def test_an_option_of_something_else_says_of_what(name: str, hint: str) -> None:
    with pytest.raises(InputError, match=rf"has no option '{name}'; {hint}"):
        vlx.explain_many(captioner("state"), [picture()], **cast(Any, {name: "body"}))


def test_options_are_refused_at_the_call() -> None:
    for wrong, message in (
        ({"beams": 0}, "beams=0"),
        ({"batch_size": 0}, "batch_size=0 must be 1 or more"),
        ({"words": 3}, "words=3"),
        ({"caption": 3}, "caption must be"),
    ):
        with pytest.raises(InputError, match=message):
            vlx.explain_many(captioner("state"), [picture()], **cast(Any, wrong))


def test_every_option_stands_in_the_signature_with_its_default() -> None:
    known = inspect.signature(vlx.explain).parameters
    assert list(known) == ["task", "image", *OptionsDict.__annotations__]
    assert {name: one.default for name, one in known.items() if name in DEFAULTS} == DEFAULTS
    assert list(inspect.signature(vlx.explain_many).parameters) == ["task", "images", "batch_size", "errors", *DEFAULTS]


@pytest.mark.parametrize("bad", ["missing.png", "folder", "empty.png", "text.png", "cut.jpg", "dot.png"])
def test_bad_pictures_are_refused_before_the_model_runs(tmp_path: Path, bad: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("not a picture")
    picture(0, 200, 200).save(tmp_path / "whole.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:2000])
    Image.new("RGB", (1, 1)).save(tmp_path / "dot.png")
    task = captioner("state")
    message = {
        "missing.png": "missing.png: no such file",
        "folder": "folder is a folder",
        "empty.png": r"empty.png is empty \(0 bytes\)",
        "text.png": "text.png is not a picture",
        "cut.jpg": "cut.jpg is cut off",
        "dot.png": "dot.png has 1×1 pixels: too small",
    }[bad]
    with pytest.raises(MissingImage if bad == "missing.png" else ImageError, match=message):
        vlx.explain(task, tmp_path / bad)
    assert task.cnn.seen == []


def test_pictures_of_no_known_type_are_refused() -> None:
    for wrong in (3, None, [picture()], np.zeros((5, 5)), torch.zeros(3, 20, 20, dtype=torch.long)):
        with pytest.raises(ImageError, match=r"give|must be|use vlx.explain_many"):
            vlx.explain(captioner("state"), wrong)


def test_nan_in_the_decoder_is_found_even_where_the_caption_does_not_meet_it() -> None:
    task = captioner("attention")
    with torch.no_grad():
        task.decoder.words.weight[6] = math.nan
    assert len(vlx.explain(task, picture(), caption="a red dog")) == 3  # "dog" is never read
    with pytest.raises(ModelError, match="the decoder gives NaN"):
        vlx.explain(task, picture(), caption="a red dog on")
