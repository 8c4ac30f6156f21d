import json
import pickle
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import vlx
from tests.fakes import picture, tiny_bundle
from vlx import models
from vlx.errors import ModelError
from vlx.scenes.vocabulary import caption_vocabulary
from vlx.tasks.captioning import bundle
from vlx.tasks.shared import bundle_format as folders


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bundle(tmp_path_factory.mktemp("bundles") / "whole")


@pytest.fixture
def copied(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "copied"))


def refused(folder: Path, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        vlx.load(folder)


def change(folder: Path, **values: Any) -> None:
    path = folder / "config.json"
    raw = json.loads(path.read_text(encoding="utf-8"))
    raw.update(values)
    path.write_text(json.dumps(raw), encoding="utf-8")


@pytest.mark.parametrize("entry", bundle.ENTRIES)
def test_what_is_saved_is_loaded(tmp_path: Path, entry: bundle.Entry) -> None:
    torch.manual_seed(3)
    config = bundle.CaptionerConfig(
        tuple(caption_vocabulary()),
        entry,
        units=16,
        size=64,
        cells=(8, 8),
        mean=(0.4, 0.5, 0.6),
        std=(0.2, 0.3, 0.25),
        max_words=9,
        method="hirescam",
        target="logit",
        notes=("drawn pictures only",),
    )
    networks = bundle.build(config)
    with torch.no_grad():
        networks["cnn"].get_buffer("layers.1.running_mean").add_(0.25)
    bundle.save(tmp_path / "new" / "folder", config, networks)
    assert bundle.read_config(tmp_path / "new" / "folder") == config
    task: Any = vlx.load(str(tmp_path / "new" / "folder"))
    for name, module in (("cnn", task.cnn), ("decoder", task.decoder)):
        for key, tensor in module.state_dict().items():
            given = networks[name].state_dict()[key]
            assert tensor.dtype == given.dtype
            assert torch.equal(tensor, given.half().float() if given.is_floating_point() else given)
    assert not any(module.training for network in (task.cnn, task.decoder) for module in network.modules())
    assert (task.start, task.end, task.max_words) == (0, 1, 9)
    assert task.vocabulary == caption_vocabulary()
    assert (task.blank, task.notes) == ((0.4, 0.5, 0.6), ("drawn pictures only",))
    assert (task.defaults.method, task.defaults.target) == ("hirescam", "logit")
    why = vlx.explain(task, picture())
    assert (why.method, why[0].target, why.notes[:1]) == ("hirescam", "logit", ("drawn pictures only",))
    grey = task.prepare(picture().resize((64, 64)))
    values = np.asarray(picture().resize((64, 64)))[10, 20] / 255
    assert grey[:, 10, 20].tolist() == pytest.approx((values - (0.4, 0.5, 0.6)) / (0.2, 0.3, 0.25), abs=1e-5)


def test_weights_are_kept_as_halves(whole: Path) -> None:
    tensors = load_file(whole / "weights.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16, torch.int64}
    assert sorted(path.name for path in whole.iterdir()) == ["config.json", "weights.safetensors"]


def test_an_interrupted_save_leaves_the_old_bundle(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path.name: path.read_bytes() for path in copied.iterdir()}
    config = bundle.read_config(copied)

    def broken(tensors: dict[str, Any], path: Path) -> None:
        Path(path).write_bytes(b"half of i")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folders, "save_file", broken)
    with pytest.raises(OSError, match="No space left"):
        bundle.save(copied, config, bundle.build(config))
    assert {name: (copied / name).read_bytes() for name in before} == before


# Files that are missing, broken or foreign


def test_no_such_model_names_close_ones() -> None:
    with pytest.raises(
        ModelError, match=r"^no model 'scenes/captoner'; close: scenes/captioner.*\. Known: photos/captioner, .*bundle"
    ):
        vlx.load("scenes/captoner")


def test_a_pickle_is_not_opened(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return (Path.touch, (tmp_path / "sprung",))  # type: ignore[return-value]

    file = tmp_path / "model.pt"
    file.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ModelError, match=r"model\.pt is a file; vlx opens a bundle folder .* never a pickle$"):
        vlx.load(file)
    assert not (tmp_path / "sprung").exists()


def test_pickled_weights_are_not_opened(copied: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, tuple[Path]]:
            return (Path.touch, (copied / "sprung",))

    weights = copied / "weights.safetensors"
    weights.write_bytes(pickle.dumps(Trap()))
    refused(copied, r"weights\.safetensors: not a whole safetensors file \(.+\); copy or download it again$")
    weights.unlink()
    (copied / "weights.pt").write_bytes(pickle.dumps(Trap()))
    refused(
        copied, r"no weights\.safetensors here; weights\.pt is a pickle, which can run code, so vlx does not open it"
    )
    assert not (copied / "sprung").exists()


@pytest.mark.parametrize("kept", [0, 4, 8, 300, -1, -1000])
def test_truncated_weights(copied: Path, kept: int) -> None:
    weights = copied / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:kept])
    refused(copied, r"weights\.safetensors: not a whole safetensors file \(.+\); copy or download it again$")


def test_missing_files(copied: Path, tmp_path: Path) -> None:
    (copied / "weights.safetensors").unlink()
    refused(copied, r"copied: no weights\.safetensors here$")
    (copied / "config.json").unlink()
    refused(copied, r"copied: no config\.json; a vlx bundle holds config\.json and weights\.safetensors$")
    refused(tmp_path / "nowhere", r"^no model '.*nowhere'")


def test_weights_of_other_shapes(copied: Path) -> None:
    change(copied, units=20)
    refused(copied, r"these weights do not fit config\.json: cnn\.layers\.15\.weight is \(16, 192, 1, 1\), needed \(20")
    change(copied, units=16, entry="first")
    refused(copied, r"do not fit config\.json: .*needed.* \(\d+ in all\)$")
    change(copied, entry="attention")
    tensors = load_file(copied / "weights.safetensors")
    save_file({**tensors, "extra": torch.zeros(2)}, copied / "weights.safetensors")
    refused(copied, r"extra is not part of this model \(1 in all\)$")
    save_file({n: t for n, t in tensors.items() if n != "decoder.output.bias"}, copied / "weights.safetensors")
    refused(copied, r"decoder\.output\.bias is missing, needed \(\d+,\) \(1 in all\)$")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_nan_weights(copied: Path, bad: float) -> None:
    tensors = load_file(copied / "weights.safetensors")
    tensors["decoder.output.weight"][3, 2] = bad
    save_file(tensors, copied / "weights.safetensors")
    refused(
        copied, r"weights\.safetensors: NaN or infinite weights in decoder\.output\.weight; the training that wrote"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"config\.json: not readable as JSON"),
        (b'{"task": ', r"config\.json: not readable as JSON"),
        (b"\xff\xfe\x00\x01", r"config\.json: not readable as JSON"),
        (b"[1, 2]", r"config\.json: this is not the configuration of a vlx model \(task=None\)"),
        (b"null", r"config\.json: this is not the configuration of a vlx model \(task=None\)"),
        (b'{"kind": "blip"}', r"config\.json: this is not the configuration of a vlx model \(task=None\)"),
        (b'{"task": "vqa", "schema": 1}', r"config\.json: .*vocabulary"),
        (b'{"task": "chess", "schema": 1}', r"config\.json: task='chess'; this vlx knows captioning, vqa"),
        (b'{"task": "captioning", "schema": 1}', r"config\.json: .*vocabulary"),
    ],
)
def test_foreign_configurations(copied: Path, content: bytes, message: str) -> None:
    (copied / "config.json").write_bytes(content)
    refused(copied, message)


def test_a_configuration_that_is_a_folder(copied: Path) -> None:
    (copied / "config.json").unlink()
    (copied / "config.json").mkdir()
    refused(copied, r"config\.json: not readable as JSON \(.*directory")


@pytest.mark.parametrize("schema", [2, 99, "1", None, 1.5])
def test_a_newer_or_odd_schema(copied: Path, schema: Any) -> None:
    change(copied, schema=schema)
    refused(copied, rf"config\.json: schema {schema!r}, this vlx reads up to 1; update vlx$")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("vocabulary", 5),
        ("vocabulary", []),
        ("vocabulary", ["a", "b"]),
        ("vocabulary", ["<start>", "<end>", 3]),
        ("entry", "sideways"),
        ("entry", ["attention"]),
        ("units", -1),
        ("units", "16"),
        ("units", 1.5),
        ("size", 0),
        ("size", "64"),
        ("cells", [8]),
        ("cells", 8),
        ("cells", [8, 0]),
        ("mean", [0.5]),
        ("mean", ["a", "b", "c"]),
        ("std", [1, 0, 1]),
        ("max_words", 0),
        ("method", "grad"),
        ("method", ["gradcam"]),
        ("target", "score"),
        ("notes", "one"),
        ("notes", [1]),
    ],
)
def test_odd_values_are_named(copied: Path, name: str, value: Any) -> None:
    change(copied, **{name: value})
    refused(copied, rf"config\.json: {name}=.*; needed is ")


def test_unknown_settings_are_named(copied: Path) -> None:
    change(copied, layers=3)
    refused(copied, r"config\.json: .*'layers'")


# Names


@pytest.mark.parametrize("wrong", [None, 3, torch.nn.Linear(1, 1), b"scenes/captioner"])
def test_only_names_are_loaded(wrong: Any) -> None:
    with pytest.raises(ModelError, match=r"^load\(\) takes a name or a folder, got \w+; wrap a module of your own in"):
        vlx.load(wrong)


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    task = object()
    points = [SimpleNamespace(name=name, load=lambda: lambda: task) for name in ("mine/one", "scenes/captioner")]
    monkeypatch.setattr(models, "entry_points", lambda group: points if group == "vlx.tasks" else [])
    yield task


def test_other_packages_offer_models(plugin: object) -> None:
    assert vlx.load("mine/one") is plugin
    assert "mine/one" in [row.name for row in models.known()]
    with pytest.raises(ModelError, match=r"close: mine/one"):
        vlx.load("mine/onne")


@pytest.mark.usefixtures("plugin")
def test_embedded_names_cannot_be_taken() -> None:
    assert [row.name for row in models.known()].count("scenes/captioner") == 1
    assert "scenes/captioner" not in models._plugins()


def test_every_embedded_model_that_is_listed_can_be_loaded() -> None:
    rows = [row for row in models.known() if row.source == "embedded"]
    assert {("scenes/captioner", "captioning"), ("scenes/vqa", "vqa")} <= {(row.name, row.kind) for row in rows}
    for row in rows:
        task: Any = vlx.load(row.name)
        assert (task.name, task.kind) == (row.name, row.kind)
        assert replace(task.defaults).method
