"""One convention of options over all commands, and what a stranger's slips are answered."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

import vlx
from tests.cli.test_cli import run
from tests.fakes import picture, tiny_bundle
from vlx.cli.evaluate import BASELINES, METRICS, Several
from vlx.cli.program import main
from vlx.errors import InputError, ModelError
from vlx.methods.names import METHODS, method_name
from vlx.models import kind_of, kinds_of


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bundle(tmp_path_factory.mktemp("options") / "tiny")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    picture(1, 60, 40).save("p.png")
    return tmp_path


def commands() -> Iterator[tuple[str, click.Command]]:
    for name, command in main.commands.items():
        yield from command.commands.items() if isinstance(command, click.Group) else [(name, command)]


def options(command: click.Command) -> dict[str, Any]:
    return {flag: one for one in command.params for flag in one.opts if isinstance(one, click.Option)}


def said(*arguments: object) -> str:
    """What a refused command says, in one line."""
    result = run(*arguments)
    assert result.exit_code in (1, 2), result.output
    assert "Traceback" not in result.output
    return " ".join(result.stderr.split())


# One convention


@pytest.mark.parametrize(("name", "command"), list(commands()), ids=[name for name, _ in commands()])
def test_every_option_is_called_the_same_everywhere(name: str, command: click.Command) -> None:
    there = options(command)
    assert ("-o" in there) == ("--out" in there)
    assert there.get("-o") is there.get("--out")
    loads = "model" in [one.name for one in command.params] or name in ("models", "compare")
    if loads:
        wanted = {"--device"} if name in ("show", "check") else {"--device", "--dtype", "--revision"}
        assert wanted <= set(there), name
    if "--method" in there and name != "compare":
        assert set(there["--method"].type.choices) == {*METHODS, "auto"}
    help_ = there.get("--model")
    assert name in ("show", "check") or help_ is None or "FILE.py:FUNCTION" in str(help_.help)
    assert "FILE.py:FUNCTION" in str(command.help) or "model" not in [
        one.name for one in command.params if isinstance(one, click.Argument)
    ]


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        *((spelled, "gradcam") for spelled in ("gradcam", "grad-cam", "Grad-CAM", "GradCAM", "GRAD_CAM", "grad cam")),
        *((spelled, "gradcam++") for spelled in ("Grad-CAM++", "gradcam++", "GradCAMPlusPlus", "gradcampp")),
        *(("LayerCAM", "layercam"), ("layer-cam", "layercam"), ("HiRes-CAM", "hirescam"), ("XGrad-CAM", "xgradcam")),
        *(("gradient × attention", "gradattention"), ("rollout", "gradrollout"), ("Occlusion", "occlusion")),
    ],
)
def test_methods_are_spelled_freely_and_the_same_in_python(given: str, meant: str) -> None:
    assert method_name(given) == meant
    assert vlx.methods.registry.choose(given).name == meant


@pytest.mark.parametrize(("listed", "noun"), [(METRICS, "metrics"), (BASELINES, "method"), (("in-out",), "metrics")])
def test_metrics_and_baselines_are_spelled_as_they_are_listed(listed: tuple[str, ...], noun: str) -> None:
    taken = Several(listed, noun)
    assert taken.convert(",".join(listed), None, None) == listed
    assert taken.convert(listed[0].replace("-", " ").upper(), None, None) == listed[:1]


def test_devices_and_dtypes_are_for_every_model(model: Path) -> None:
    for name in ("scenes/captioner", "scenes/vqa", "photos/captioner", str(model)):
        task: Any = vlx.load(name, device="cpu", dtype="float64")
        asked: dict[str, Any] = {"question": "what is this?"} if task.kind == "vqa" else {}
        why = vlx.explain(task, picture(1, 60, 40), seen=False, check=False, **asked)
        assert why.words[0].signed.dtype == "float64", name
    with pytest.raises(InputError, match=r'^device=\'gpu\' is no device of torch; write "cpu"'):
        vlx.load("scenes/captioner", device="gpu")
    with pytest.raises(InputError, match=r"^dtype='int8' is not one that a model runs in; known are float32"):
        vlx.load("scenes/captioner", dtype="int8")
    with pytest.raises(
        InputError, match=r"^'scenes/captioner' takes no outputs; these are for torchvision:NAME and mod"
    ):
        vlx.load("scenes/captioner", outputs="sigmoid")


# Slips


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("captoin", "p.png"), r"No such command 'captoin'. Did you mean 'caption'?"),
        (("p.png",), r"p.png is a file; say what to do with it, for example: vlx caption p.png"),
        (("caption", "p.png", "--modle", "x"), r"'--model'"),
        (("caption", "p.png", "--method", "gradcamm"), r"no method 'gradcamm'; close: gradcam"),
        (("caption", "p.png", "--target", "logits"), r"no target 'logits'; close: logit"),
        (("caption", "p.png", "--beams", "0"), r"Invalid value for '--beams': 0 is not in the range x>=1"),
        (("caption", "pp.png"), r"pp.png: no such file; close: p.png"),
        (("caption", "https://example.org/a.jpg"), r"vlx does not download; save the picture and give its path"),
        (("caption", "p.png", "-o", "x.html"), r"--out x.html: results go into a folder, a page each; give --out x"),
        (("demo", "-o", "a/x.pdf"), r"--out a/x.pdf: results go into a folder, a page each; give --out a/x"),
        (("draw", "2", "-o", "x.json"), r"--out x.json: results go into a folder"),
        (("answer", "p.png"), r"p.png is a file; the question is missing: it comes last, quoted"),
        (("answer", "is it red?"), r"the picture is missing: vlx answer PICTURE… QUESTION"),
        (("answer", "is it red?", "p.png"), r"the question comes last: vlx answer p.png 'is it red?'"),
        (("caption", "p.png", "--model", "hf:"), r'"hf:" lacks a name: hf:OWNER/NAME'),
        (("caption", "p.png", "--model", "scenes/captoner"), r"close: scenes/captioner"),
        (("caption", "p.png", "--model", "p.png"), r"p.png is a file; vlx opens a bundle folder"),
        (("caption", "p.png", "--device", "gpu"), r"device='gpu' is no device of torch; write \"cpu\""),
        (("classify", "p.png", "--outputs", "logits"), r"'logits' is not one of 'softmax', 'sigmoid'"),
    ],
)
def test_slips_are_answered_with_what_to_write(here: Path, arguments: tuple[str, ...], message: str) -> None:
    assert message.replace('\\"', '"') in said(*arguments)
    assert not (here / "x.html").exists() and not (here / "x").exists()


@pytest.mark.parametrize(
    ("command", "name", "message"),
    [
        (
            "caption",
            "scenes/vqa",
            "scenes/vqa answers questions: `vlx answer` explains it. `vlx caption` takes one that",
        ),
        ("caption", "torchvision:resnet50", "torchvision:resnet50 classifies pictures: `vlx classify` explains it"),
        ("classify", "photos/captioner", "photos/captioner captions pictures: `vlx caption` explains it."),
        ("answer", "torchvision:vit_b_16", "`vlx answer` takes one that answers questions, such as scenes/vqa"),
    ],
)
def test_a_model_of_another_kind_is_refused_before_it_is_loaded(
    here: Path, monkeypatch: pytest.MonkeyPatch, command: str, name: str, message: str
) -> None:
    def load(*_: Any, **__: Any) -> None:
        raise AssertionError("loaded")

    monkeypatch.setattr(vlx, "load", load)
    question = ["what?"] if command == "answer" else []
    assert message in said(command, "p.png", *question, "--model", name)


def test_the_kind_of_a_model_is_known_without_its_weights(model: Path, here: Path) -> None:
    (model / "weights.safetensors").rename(model / "away")
    try:
        assert kind_of(model) == "captioning"
    finally:
        (model / "away").rename(model / "weights.safetensors")
    assert kind_of("photos/captioner") == "captioning"
    assert kind_of("nobody/knows") is None
    assert kind_of("mine.py:make") is None


@pytest.mark.parametrize("group", [main, main.commands["names"]], ids=["vlx", "names"])
def test_help_is_short_and_nothing_in_it_is_cut(group: click.Group) -> None:
    lines = group.get_help(click.Context(group, info_name="vlx", terminal_width=60)).splitlines()
    assert not [line for line in lines if line.endswith("...") and not line.startswith("Usage")]
    assert max(map(len, lines)) <= 60
    assert len(lines) <= 35


def test_vlx_alone_helps() -> None:
    alone = run()
    assert alone.exit_code == 0
    assert alone.stdout == run("--help").stdout
    assert "vlx demo" in alone.stdout and "vlx caption photo.jpg" in alone.stdout


# The hub


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without a network, and with an empty cache of the hub."""
    pytest.importorskip("transformers")
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")


@pytest.mark.usefixtures("unreachable")
def test_a_hub_that_cannot_be_reached_is_told_at_once_with_the_folder_beside(here: Path) -> None:
    began = time.monotonic()
    for ask in (vlx.load, kind_of):
        with pytest.raises(
            ModelError, match=r"^some/model: its config\.json is not in the local cache, and the hub cann"
        ):
            ask("hf:some/model")
    (here / "model").mkdir()
    (here / "model" / "config.json").write_text('{"model_type": "blip"}')
    with pytest.raises(ModelError, match=r"A folder of that name is here: give its path, hf:\./model$"):
        vlx.load("hf:some/model")
    assert time.monotonic() - began < 20, "no retries"


def test_a_folder_of_transformers_tells_its_kind(tmp_path: Path) -> None:
    tiny = pytest.importorskip("vlx.tasks.huggingface.tiny")
    folder = tiny.save("vilt", tmp_path / "vilt")
    for path in folder.glob("*.safetensors"):
        path.unlink()
    assert kind_of(f"hf:{folder}") == kind_of(folder) == "vqa"
    assert kinds_of(folder) == ("vqa",)
    picture(1, 60, 40).save(tmp_path / "p.png")
    told = said("caption", tmp_path / "p.png", "--model", folder, "-o", tmp_path / "out")
    assert "vilt answers questions: `vlx answer` explains it" in told
