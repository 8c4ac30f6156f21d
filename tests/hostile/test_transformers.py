"""Folders of transformers that ask for more than there is: refused before a network is made, and without its memory."""

import json
import os
import resource
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers")

import vlx
from vlx.errors import ModelError
from vlx.tasks.huggingface import families, loading
from vlx.tasks.huggingface.files import check_config


@pytest.fixture
def folder(tiny_folder: Callable[[str], Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_folder("blip-captioning"), tmp_path / "blip"))


def change(path: Path, value: Any, *names: str) -> None:
    whole = json.loads(path.read_text("utf-8"))
    at = whole
    for name in names[:-1]:
        at = at[name]
    at[names[-1]] = value
    path.write_text(json.dumps(whole), "utf-8")


@pytest.mark.parametrize(
    ("names", "value", "message"),
    [
        (("vision_config", "num_hidden_layers"), 10**6, r"num_hidden_layers=1e\+06 is more than any model has"),
        (("text_config", "num_hidden_layers"), 40, r"its files lack \d+ weights of"),
        pytest.param(("text_config", "num_hidden_layers"), 900, r"its files lack \d+ weights", marks=pytest.mark.slow),
        (("text_config", "vocab_size"), 2**30, r"is of a network of [\d.e+]+ weights, and the files have"),
        (("text_config", "max_position_embeddings"), 2**29, r"is of a network of [\d.e+]+ weights"),
        (("vision_config", "intermediate_size"), 2**28, r"is of a network of [\d.e+]+ weights"),
        (("vision_config", "hidden_size"), 2**40, r"hidden_size=1\.1e\+12 is more than any model has"),
        (("num_labels",), 2**30, r"num_labels=1\.074e\+09 is more than any model has"),
    ],
)
def test_a_configuration_that_asks_for_more(folder: Path, names: tuple[str, ...], value: int, message: str) -> None:
    vlx.load(folder)
    change(folder / "config.json", value, *names)
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(ModelError, match=message) as found:
        vlx.load(folder)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000
    assert time.process_time() - began < 15
    assert len(str(found.value)) < 300


def test_pictures_are_not_made_larger_than_any_model_takes(folder: Path) -> None:
    change(folder / "preprocessor_config.json", {"height": 10**6, "width": 10**6}, "size")
    with pytest.raises(ModelError, match=r"(height|width)=1e\+06 is more than any model has \(16384\)"):
        vlx.load(folder)


def test_a_network_that_cannot_be_made_without_memory_is_made_as_before(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "unfilled", lambda *_: None)
    assert vlx.load(folder).kind == "captioning"
    assert families.unfilled(object(), "BlipForConditionalGeneration") is None
    assert families.unfilled(object(), "NoSuchClass") is None


@pytest.mark.parametrize("value", ["x" * 10_000, ["x" * 10_000], {"x" * 10_000: 1}, 10**30, None, True, [], -1])
@pytest.mark.parametrize("name", ["model_type", "architectures"])
def test_messages_are_short_whatever_a_configuration_holds(folder: Path, name: str, value: Any) -> None:
    change(folder / "config.json", value, name)
    try:
        vlx.load(folder)
    except ModelError as error:
        assert len(str(error)) < 300


def test_a_pipe_in_a_folder_is_not_waited_for(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    os.mkfifo(folder / "tokenizer.json")
    with pytest.raises(ModelError, match=r"tokenizer\.json is no file but a pipe or a device"):
        vlx.load(folder)


@pytest.mark.parametrize(
    ("setting", "passes"),
    [
        ({"merge_size": 2, "size": {"shortest_edge": 3136, "longest_edge": 12_845_056}}, True),  # Qwen2.5-VL's
        ({"merge_size": 2, "min_pixels": 3136, "max_pixels": 12_845_056, "max_video_tokens": 128_000}, True),
        ({"size": {"shortest_edge": 3136, "longest_edge": 12_845_056}}, False),
        ({"merge_size": 2, "size": {"shortest_edge": 10**9, "longest_edge": 10**9}}, False),
        ({"merge_size": 2, "min_pixels": 10**9}, False),
    ],
)
def test_areas_are_no_sides(folder: Path, setting: dict[str, Any], passes: bool) -> None:
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | setting), "utf-8")
    if passes:
        return check_config(folder)
    with pytest.raises(ModelError, match="is more than any model has"):
        check_config(folder)
    return None
