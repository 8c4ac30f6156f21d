"""A model's folder that would have something read from outside of it is refused, whichever way it names it."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import vlx
from tests.fakes import tiny_bundle
from vlx.errors import ModelError
from vlx.tasks.huggingface.files import check_files

SHARD = "model-00001-of-00001.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files of a model of transformers, by their names alone, and a file of the machine beside it."""
    (tmp_path / "secret.safetensors").write_bytes(b"another's weights")
    (tmp_path / "model" / "sub").mkdir(parents=True)
    for name in ("model.safetensors", "tokenizer.json", "preprocessor_config.json"):
        (tmp_path / "model" / name).write_text("{}")
    (tmp_path / "model" / "config.json").write_text('{"model_type": "blip"}')
    return tmp_path / "model"


def check(folder: Path) -> None:
    check_files(folder, safetensors_only=False)


def indexed(name: Any, pickled: bool = False) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        index = "pytorch_model.bin.index.json" if pickled else "model.safetensors.index.json"
        (folder / index).write_text(json.dumps({"weight_map": {"a": name}}))

    return spoil


def configured(name: Any) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / "config.json").write_text(json.dumps({"model_type": "blip", "transformers_weights": name}))

    return spoil


def linked(name: str, target: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(target)

    return spoil


OUT = "../secret.safetensors"
NAMES: list[Any] = [
    OUT,
    "/etc/passwd",
    "sub/x.safetensors",
    "..",
    ".",
    "",
    "C:x.safetensors",
    "..\\x",
    "\\\\host\\x",
    3,
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", [indexed, lambda name: indexed(name, True), configured])
def test_names_outside_of_the_folder(kind: Callable[[Any], Callable[[Path], None]], name: Any, folder: Path) -> None:
    kind(name)(folder)
    with pytest.raises(ModelError, match=r"names weights outside of its folder \(.*\); do not trust it"):
        check(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json", "vocab.txt"])
@pytest.mark.parametrize("target", [OUT, "/etc/hostname", "sub/../../secret.safetensors"])
def test_links_out_of_the_folder(name: str, target: str, folder: Path) -> None:
    if name == "config.json":
        shutil.copy(folder / "config.json", folder.parent / "secret.safetensors")
        target = OUT
    linked(name, target)(folder)
    with pytest.raises(ModelError, match=rf"{name} is a link out of its folder \(.*\); put a copy of the file there"):
        check(folder)


def test_a_link_to_a_link_out_of_the_folder(folder: Path) -> None:
    linked("inner.dat", OUT)(folder)
    linked("model.safetensors", "inner.dat")(folder)
    with pytest.raises(ModelError, match=r"model.safetensors is a link out of its folder"):
        check(folder)


def test_an_adapter_that_names_a_model_elsewhere(folder: Path) -> None:
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "/another/model"}')
    with pytest.raises(ModelError, match=r"has an adapter of PEFT .* merge the two"):
        check(folder)


def test_what_stays_inside_is_let_in(folder: Path) -> None:
    check(folder)
    linked("tokenizer.json", "preprocessor_config.json")(folder)
    (folder.parent / "named").symlink_to(folder)  # who gives a link to the whole folder means it
    check(folder.parent / "named")
    indexed(SHARD)(folder)
    (folder / SHARD).touch()
    check(folder)


def test_the_hubs_cache_links_to_its_own_blobs(folder: Path) -> None:
    snapshot = folder.parent / "models--a--b" / "snapshots" / ("0" * 40)
    shutil.copytree(folder, snapshot)
    blobs = snapshot.parents[1] / "blobs"
    blobs.mkdir()
    os.replace(snapshot / "model.safetensors", blobs / "1234")
    linked("model.safetensors", "../../blobs/1234")(snapshot)
    check(snapshot)
    linked("model.safetensors", f"../../../{folder.parent.name}/secret.safetensors")(snapshot)
    with pytest.raises(ModelError, match="is a link out of its folder"):
        check(snapshot)


@pytest.mark.parametrize("name", ["weights.safetensors", "config.json"])
def test_a_bundle_with_a_link_out_of_it(name: str, tmp_path: Path) -> None:
    whole = tiny_bundle(tmp_path / "whole")
    own = Path(shutil.copytree(whole, tmp_path / "own"))
    linked(name, f"../whole/{name}")(own)
    with pytest.raises(ModelError, match=rf"{name} is a link out of its folder"):
        vlx.load(own)
