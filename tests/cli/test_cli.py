import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image
from torch import nn

import vlx
from tests.fakes import TinyCnn, picture, prepare, tiny_bundle
from vlx import models
from vlx.cli.options import TARGETS
from vlx.cli.program import main
from vlx.methods import registry
from vlx.methods.cams import METHODS as KNOWN_METHODS
from vlx.methods.names import METHODS
from vlx.protocol.targets import TARGET_KINDS
from vlx.scenes import draw
from vlx.tasks.classification import Classifier


def run(*arguments: object) -> Result:
    """One command; a traceback is a failure whatever the exit code."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def refused(message: str, *arguments: object) -> None:
    result = run(*arguments)
    assert result.exit_code == 1
    assert re.search(message, " ".join(result.stderr.split())), result.stderr
    assert "Traceback" not in result.output


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bundle(tmp_path_factory.mktemp("cli") / "tiny", notes=("drawn scenes only",))


@pytest.fixture
def shown(tmp_path: Path) -> Path:
    picture(1, 60, 40).save(tmp_path / "shown.png")
    return tmp_path / "shown.png"


@pytest.fixture
def classifier(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A tiny classifier that another package offers."""
    torch.manual_seed(0)
    network = nn.Sequential(TinyCnn(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3)).eval()
    task = Classifier(network, "0", ["cat", "dog", "tabby, tiger cat"], prepare, name="pets")
    point = SimpleNamespace(name="pets", load=lambda: lambda: task)
    monkeypatch.setattr(models, "entry_points", lambda group: [point])
    yield "pets"


FOLDER = {"index.html", "manifest.jsonl", "results.csv"}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def pages(folder: Path) -> list[str]:
    """The results in a folder, beside what every run writes."""
    assert set(names(folder)) >= FOLDER
    return [name for name in names(folder) if name not in FOLDER]


# Help


@pytest.mark.parametrize("command", sorted(main.commands))
def test_every_command_shows_an_example(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"Example:  vlx {command}" in result.output


def test_the_promised_commands_are_there() -> None:
    assert set(main.commands) >= {"demo", "caption", "classify", "draw", "models", "evaluate"}
    assert run("--version").output.split() == ["vlx,", "version", vlx.__version__]
    assert isinstance(main, click.Group)


def test_choices_are_those_of_the_library() -> None:
    assert registry.NAMES == METHODS
    assert TARGET_KINDS == TARGETS


@pytest.mark.parametrize("arguments", [("caption",), ("classify",), ("draw", "3"), ("evaluate",), ("paint",)])
def test_a_command_that_lacks_something_says_what(arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert re.search(r"Missing (argument|option)|No such command", result.stderr)


# vlx caption


def test_caption_writes_a_report_and_prints_its_path(model: Path, shown: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "report"
    result = run("caption", shown, "--model", model, "--caption", "a red house", "--out", out)
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[-1] == str(out / "shown.html")
    assert pages(out) == ["shown.html"]
    page = (out / "shown.html").read_text(encoding="utf-8")
    assert all(word in page for word in ("red", "house", "drawn scenes only"))
    flat = " ".join(result.output.split())
    assert "house" in flat
    assert "drawn scenes only" in flat


def test_caption_passes_its_options_on(
    model: Path, shown: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []
    plain = vlx.explain_many

    def listening(task: Any, images: Any, **options: Any) -> Any:
        asked.append(options)
        return plain(task, images, **options)

    monkeypatch.setattr(vlx, "explain_many", listening)
    options = ("--method", "layercam", "--target", "margin", "--beams", "2")
    assert run("caption", shown, "--model", model, "--out", tmp_path / "out", *options).exit_code == 0
    wanted = {"beams": 2, "method": "layercam", "target": "margin", "names": None, "guided": False}
    assert asked[-1] == {**wanted, "batch_size": 1, "errors": "raise"}
    texts = ("--caption", "a red house", "--instead-of", "red=blue", "--method", "Hi-Res_CAM")
    assert run("caption", shown, "--model", model, "--out", tmp_path / "forced", *texts).exit_code == 0
    assert asked[-1]["method"] == "hirescam"
    assert (asked[-1]["caption"], asked[-1]["instead_of"]) == (["a red house"], [{"red": "blue"}])


def test_guided_is_drawn_and_its_command_printed(
    model: Path, shown: Path, tmp_path: Path, classifier: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[vlx.Explanation] = []
    plain = vlx.explain_many

    def kept(*given: Any, **options: Any) -> Iterator[vlx.Explanation]:
        for why in plain(*given, **options):
            found.append(why)
            yield why

    monkeypatch.setattr(vlx, "explain_many", kept)
    for command, named in (("caption", model), ("classify", classifier)):
        for flags in ((), ("--guided",)):
            out = tmp_path / f"{command}{len(flags)}"
            assert run(command, shown, "--model", named, "--out", out, *flags).exit_code == 0
            page = (out / "shown.html").read_text(encoding="utf-8")
            assert ('value="guided"' in page) == ("Guided Grad-CAM for" in page) == bool(flags)
            assert ("--guided" in page) == bool(flags)
            assert "--guided=" not in page
            assert [word.guided is not None for word in found[-1]] == [bool(flags)] * len(found[-1])


def test_one_broken_picture_does_not_stop_the_others(model: Path, shown: Path, tmp_path: Path) -> None:
    broken, out = tmp_path / "broken.jpg", tmp_path / "out"
    broken.write_bytes(b"\xff\xd8\xff no jpeg")
    (tmp_path / "last.png").write_bytes(shown.read_bytes())
    pictures = (shown, broken, tmp_path / "missing.png", tmp_path / "last.png")
    result = run("caption", *pictures, "--model", model, "--out", out)
    assert result.exit_code == 1
    assert pages(out) == ["last.html", "shown.html"]
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 2
    for error, name in zip(errors, ("broken.jpg", "missing.png"), strict=True):
        assert name in error
        assert name in result.stdout  # the summary names it, too
    assert "done: 2, failed: 2" in result.stdout
    assert result.stdout.splitlines()[-1] == str(out / "index.html")


def test_pictures_of_one_name_do_not_overwrite_each_other(model: Path, shown: Path, tmp_path: Path) -> None:
    for other in ("a", "b"):
        (tmp_path / other).mkdir()
        (tmp_path / other / "shown.png").write_bytes(shown.read_bytes())
    (tmp_path / "shown-2.png").write_bytes(shown.read_bytes())
    pictures = (shown, tmp_path / "a" / "shown.png", tmp_path / "b" / "shown.png", tmp_path / "shown-2.png")
    out = tmp_path / "out"
    assert run("caption", *pictures, "--model", model, "--caption", "a car", "--out", out).exit_code == 0
    assert len(pages(out)) == 4
    assert "shown-2.html" in pages(out)
    assert sum(re.fullmatch(r"shown-[0-9a-f]{8}\.html", name) is not None for name in pages(out)) == 3


@pytest.mark.parametrize("out", ["file", "file/below"])
def test_caption_refuses_a_folder_that_cannot_be_written(model: Path, shown: Path, tmp_path: Path, out: str) -> None:
    (tmp_path / "file").write_text("kept")
    refused(
        r"Error: .*file.*: cannot be written \(.+\); give another folder with --out",
        *("caption", shown, "--model", model, "--out", tmp_path / out),
    )
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--caption", ""), r"holds no word; give at least one"),
        (("--caption", "a zebra"), r"not in the vocabulary of .*'zebra'"),
        (("--caption", "a " * 500), r"the caption has 500 words, at most 100; shorten it"),
    ],
)
def test_bad_captions_end_with_their_message(
    model: Path, shown: Path, tmp_path: Path, options: tuple[str, str], message: str
) -> None:
    out = tmp_path / "out"
    refused(message, "caption", shown, "--model", model, "--out", out, *options)
    assert not out.exists() or pages(out) == []


@pytest.mark.parametrize("name", ["scenes/captionr", "model.pt", "empty"])
def test_a_model_that_cannot_be_loaded_leaves_nothing_behind(shown: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "model.pt").write_bytes(b"\x80\x04")
    (tmp_path / "empty").mkdir()
    given = name if name.startswith("scenes") else tmp_path / name
    message = {"scenes/captionr": "close: scenes/captioner", "model.pt": "never a pickle", "empty": r"no config\.json"}
    refused(f"^Error: .*{message[name]}", "caption", shown, "--model", given, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_commands_refuse_models_of_another_kind(model: Path, shown: Path, tmp_path: Path, classifier: str) -> None:
    out = tmp_path / "out"
    refused(
        r"pets classifies pictures: `vlx classify` explains it\. `vlx caption` takes one that captions",
        "caption",
        shown,
        "--model",
        classifier,
        "--out",
        out,
    )
    refused(
        r"tiny captions pictures: `vlx caption` .* `vlx classify` takes one that classifies pictures, such as",
        "classify",
        shown,
        "--model",
        model,
        "--out",
        out,
    )
    refused(r"pets does classification, and drawn scenes have true captions and answers", "evaluate", classifier)
    refused(r"tiny does captioning; whether it looks is asked of VQA models", "evaluate", model, "--metrics", "looking")
    refused(
        r"tiny captions pictures: .* `vlx answer` takes one that answers questions, such as scenes/vqa",
        "answer",
        shown,
        "what is this?",
        "--model",
        model,
        "--out",
        out,
    )
    assert not out.exists()


def test_unknown_methods_are_refused_with_the_list(shown: Path) -> None:
    result = run("caption", shown, "--method", "camera")
    assert result.exit_code == 2
    assert "hirescam" in result.stderr


# vlx classify


def test_classify_explains_a_class(shown: Path, tmp_path: Path, classifier: str) -> None:
    out = tmp_path / "out"
    asked = ((), None), (("--class", "dog"), "dog"), (("--class", "tabby", "--instead-of", "cat"), "tabby")
    for count, (options, label) in enumerate(asked, 1):
        result = run("classify", shown, "--model", classifier, "--out", out, *options)
        assert result.exit_code == 0, result.output
        assert label is None or label in result.output
        assert len(pages(out)) == count  # another class of the same picture has a page of its own
    assert "shown.html" in pages(out)


def test_classify_refuses_unknown_classes(shown: Path, tmp_path: Path, classifier: str) -> None:
    for options in (("--class", "horse"), ("--instead-of", "horse")):
        refused("horse", "classify", shown, "--model", classifier, "--out", tmp_path / "out", *options)


# vlx draw


def test_draw_writes_scenes(tmp_path: Path) -> None:
    result = run("draw", 2, "--out", tmp_path / "out", "--first", 10_000_000, "--size", 64)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [str(tmp_path / "out" / "scenes.json")]
    told = json.loads((tmp_path / "out" / "scenes.json").read_text(encoding="utf-8"))
    assert [caption["caption"] for caption in told["captions"]] == [draw(10_000_000 + n, 64).caption for n in (0, 1)]
    assert names(tmp_path / "out") == ["images", "scenes.json"]
    with Image.open(tmp_path / "out" / told["images"][1]["file_name"]) as image:
        assert np.array_equal(np.asarray(image), np.asarray(draw(10_000_001, 64).image))


def test_draw_refuses_bad_numbers_and_folders(tmp_path: Path) -> None:
    out = tmp_path / "out"
    refused(r"Error: draw\(seed=-3, size=256\): the seed is 0 or more", "draw", 2, "--out", out, "--first", -3)
    refused(r"Error: draw\(seed=0, size=20\): .* at least 64 pixels", "draw", 2, "--out", out, "--size", 20)
    assert not out.exists()
    assert run("draw", 0, "--out", out).exit_code == 2
    assert run("draw", "many", "--out", out).exit_code == 2
    out.write_text("a file")
    refused(r"out: cannot be written \(.+\); give another folder with --out", "draw", 1, "--out", out, "--size", 64)


# vlx models


def test_models_lists_what_can_be_loaded(classifier: str) -> None:
    result = run("models")
    assert result.exit_code == 0
    for row in models.known():
        assert any(line.split()[:1] == [row.name] for line in result.output.splitlines()), row.name
    assert classifier in result.output


# vlx evaluate


def test_evaluate_prints_a_table_or_json(model: Path) -> None:
    result = run("evaluate", model, "--n", 1)
    assert result.exit_code == 0
    for word in ("hirescam", "random point", "centre", "object", "vlx evaluate"):
        assert word in result.output
    told = json.loads(run("evaluate", model, "--n", 1, "--json").stdout)
    assert told["n"] == 1
    assert {row["method"] for row in told["rows"]} == set(KNOWN_METHODS)


def test_evaluate_json_is_json_with_occlusion_too(model: Path) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    out = run("evaluate", model, "--n", 1, "--json", "--occlusion").stdout
    told = json.loads(out, parse_constant=refuse)
    assert {row["metric"] for row in told["rows"]} == {"pointing", "fall"}


@pytest.mark.parametrize("n", ["0", "-1", "some"])
def test_evaluate_refuses_bad_numbers(model: Path, n: str) -> None:
    assert run("evaluate", model, "--n", n).exit_code == 2


# vlx answer


def test_answer_explains_the_answer_to_a_question(tmp_path: Path) -> None:
    scene = draw(10_000_021)
    scene.image.save(tmp_path / "scene.png")
    asked = next(question for question in scene.questions if question.kind == "color")
    asking = ("answer", tmp_path / "scene.png", asked.text, "--no-probes", "--guided", "--out", tmp_path / "out")
    result = run(*asking, "--verbose")
    assert result.exit_code == 0, result.output
    assert asked.answer in result.output
    assert " ".join(result.output.split()).count("named switched off") == 1
    page = (tmp_path / "out" / "scene.html").read_text(encoding="utf-8")
    assert asked.answer in page
    assert "Guided Grad-CAM for" in page
    assert "--guided" in run("answer", "--help").output
    rival = "red" if asked.answer != "red" else "blue"
    options = ("--answer", asked.answer, "--instead-of", rival, "--no-probes", "--out", tmp_path / "contrast")
    contrast = run("answer", tmp_path / "scene.png", asked.text, *options)
    assert contrast.exit_code == 0, contrast.output
    assert f"{asked.answer} rather than {rival}" in " ".join(contrast.output.split())


def test_answer_refuses_what_cannot_be_asked(tmp_path: Path) -> None:
    draw(10_000_021).image.save(tmp_path / "scene.png")
    out = ("--no-probes", "--out", tmp_path / "out")
    refused(r"holds no word; ask something", "answer", tmp_path / "scene.png", " ", *out)
    refused(r"'rod' is not among the .* close: red", "answer", tmp_path / "scene.png", "what?", "--answer", "rod", *out)
    assert pages(tmp_path / "out") == []


# vlx demo


def test_demo_explains_a_photograph_and_a_drawn_scene_of_any_seed(tmp_path: Path) -> None:
    result = run("demo", "--out", tmp_path / "demo", "--seed", "10000005")
    assert result.exit_code == 0, result.output
    assert names(tmp_path / "demo") == [
        "answer.html",
        "photo.png",
        "report.h5",
        "report.html",
        "scene.html",
        "scene.png",
    ]
    assert result.output.splitlines()[-1] == str(tmp_path / "demo" / "report.html")
    why = vlx.Explanation.load(tmp_path / "demo" / "report.h5")
    assert why.image.shape == (300, 451, 3)
    assert why.provenance["model"] == "photos/captioner"
    assert why.text in " ".join(result.output.split()).replace("°", "")
    assert draw(10_000_005).caption in " ".join(result.output.split())
    with Image.open(tmp_path / "demo" / "scene.png") as image:
        assert np.array_equal(np.asarray(image), np.asarray(draw(10_000_005, 512).image))


def test_demo_refuses_bad_seeds_and_folders(tmp_path: Path) -> None:
    refused(r"the seed is 0 or more", "demo", "--out", tmp_path / "out", "--seed", -1)
    assert not (tmp_path / "out").exists() or names(tmp_path / "out") == []
    (tmp_path / "file").write_text("kept")
    refused(r"file: cannot be written \(.+\); give another folder with --out", "demo", "--out", tmp_path / "file")


def test_the_embedded_captioner_says_what_it_knows(shown: Path, tmp_path: Path) -> None:
    result = run("caption", shown, "--model", "scenes/captioner", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "photographs" in " ".join(result.output.split())
    assert "photographs" in (tmp_path / "out" / "shown.html").read_text(encoding="utf-8")
