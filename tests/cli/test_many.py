"""The commands over many pictures: what they take, print, write, refuse and end with."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from click.testing import CliRunner, Result
from torch import nn

from tests.fakes import TinyCnn, picture, prepare, tiny_bundle
from tests.heads import vqa
from vlx import models
from vlx.cli.program import main
from vlx.tasks.classification import Classifier


def run(*arguments: object, stdin: str = "") -> Result:
    """One command; a traceback is a failure whatever the exit code."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], input=stdin)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bundle(tmp_path_factory.mktemp("many") / "tiny")


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiny classifier, pets, and a tiny VQA model, colours, that another package offers."""
    torch.manual_seed(0)
    network = nn.Sequential(TinyCnn(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3)).eval()
    made = {
        "pets": Classifier(network, "0", ["cat", "dog", "owl"], prepare, name="pets"),
        "colours": vqa(3, lambda z: z, ["red", "green", "blue"]),
    }
    points = [SimpleNamespace(name=name, load=lambda task=task: lambda: task) for name, task in made.items()]
    monkeypatch.setattr(models, "entry_points", lambda group: points)


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two pictures, and one that is broken; the program is started beside their folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for name in ("a", "b"):
        picture(ord(name), 60, 40).save(tmp_path / "photos" / f"{name}.png")
    (tmp_path / "photos" / "c.png").write_text("no picture")
    return Path("photos")


def lines(out: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()[1:]]


def test_a_folder_with_a_broken_picture_is_captioned_and_gone_on_with(model: Path, photos: Path) -> None:
    given = ("caption", photos, "--model", model, "-o", "out")
    first = run(*given)
    assert first.exit_code == 1
    said = first.stdout.splitlines()
    assert [line.split(":")[0] for line in said[:2]] == ["photos/a.png", "photos/b.png"]
    assert said[0].endswith("→ out/a.html")
    assert said[2] == "done: 2, failed: 1"
    assert "c.png" in said[3]
    assert said[-1] == "out/index.html"
    picture(3, 60, 40).save(photos / "c.png")
    again = run(*given)
    assert again.exit_code == 0
    assert "done: 3 (2 of them before)" in again.stdout
    assert [line["status"] for line in lines(Path("out"))] == ["done"] * 3
    assert "photos/c.png" in again.stdout
    assert "photos/a.png:" not in again.stdout


def test_json_prints_a_line_a_result_and_quiet_nothing(model: Path, photos: Path) -> None:
    told = run("caption", photos, "--model", model, "-o", "out", "--json")
    found = [json.loads(line) for line in told.stdout.splitlines()]
    assert [(one["path"], one["status"]) for one in found] == [
        ("photos/a.png", "done"),
        ("photos/b.png", "done"),
        ("photos/c.png", "failed"),
    ]
    assert "thumbnail" not in found[0]
    assert "failed: 1" in told.stderr
    again = run("caption", photos, "--model", model, "-o", "out", "--json")
    assert {json.loads(line)["path"] for line in again.stdout.splitlines()} == {one["path"] for one in found}
    silent = run("caption", photos / "a.png", photos / "b.png", "--model", model, "-o", "quiet", "-q")
    assert (silent.exit_code, silent.stdout, silent.stderr) == (0, "", "")
    loud = run("caption", photos / "a.png", photos / "b.png", "--model", model, "-o", "loud", "-v")
    assert loud.stdout.count("owed to the picture · peak") == 2


def test_a_folder_of_other_results_is_refused_or_passed_by(model: Path, photos: Path) -> None:
    given = ("caption", photos / "a.png", "--model", model)
    assert run(*given, "-o", "out").exit_code == 0
    page = Path("out/a.html").read_bytes()
    other = run(*given, "-o", "out", "--method", "gradcam")
    assert other.exit_code == 1
    assert "out holds other results: method was not given. Give another --out, or --overwrite them" in other.stderr
    assert run(*given, "-o", "out", "--no-resume").exit_code == 1
    assert Path("out/a.html").read_bytes() == page
    again = run(*given, "-o", "out")
    assert again.exit_code == 0
    assert "done before; --overwrite explains it again" in again.stdout
    for flags, where in (
        ((), "vlx-report"),
        (("--method", "gradcam"), "vlx-report-2"),
        (("--method", "layercam"), "vlx-report-3"),
        (("--method", "Grad-CAM"), "vlx-report-2"),
    ):
        result = run(*given, *flags)
        assert result.exit_code == 0
        assert f"{where}/a.html" in result.stdout
    assert run(*given, "-o", "out", "--method", "gradcam", "--overwrite").exit_code == 0
    assert Path("out/a.html").read_bytes() != page
    wrong = run(*given, "-o", "report.html")
    assert wrong.exit_code == 1
    assert "--out report.html: results go into a folder, a page each; give --out report" in wrong.stderr


def test_lists_and_standard_input_give_texts_of_their_own(model: Path, photos: Path) -> None:
    Path("list.csv").write_text("path,caption\nphotos/a.png,a red house\nphotos/b.png,\n")
    assert run("caption", "list.csv", "--model", model, "-o", "out", "--caption", "a car").exit_code == 0
    assert [(line["caption"], line["text"]) for line in lines(Path("out"))] == [
        ("a red house", "a red house"),
        ("a car", "a car"),
    ]
    page = Path("out/a.html").read_text()
    assert "--caption=a red house" in page.replace("&#39;", "")
    piped = run("caption", "-", "--model", model, "-o", "piped", stdin="photos/a.png\nphotos/b.png\n")
    assert piped.exit_code == 0
    assert len(lines(Path("piped"))) == 2


@pytest.mark.usefixtures("plugins")
def test_every_picture_is_asked_every_question(photos: Path) -> None:
    options = ("--model", "colours", "--no-probes", "-o", "out")
    (photos / "c.png").unlink()
    assert run("answer", photos / "a.png", "what color?", *options).exit_code == 0
    second = run("answer", photos / "a.png", "color?", *options)
    assert second.exit_code == 0, second.output
    pages = {str(line["page"]) for line in lines(Path("out"))}
    assert len(pages) == 2
    assert "a.html" in pages
    assert all((Path("out") / page).is_file() for page in pages)
    Path("asked.jsonl").write_text(
        '{"question": "what?", "answer": "red"}\n{"question": "color what?", "instead_of": "blue"}'
    )
    asked = run("answer", photos, "--questions", "asked.jsonl", *options)
    assert asked.exit_code == 0
    assert " of 4 answers" in asked.stdout
    assert [(line["path"], line["question"]) for line in lines(Path("out"))[2:]] == [
        (f"photos/{name}.png", question) for name in "ab" for question in ("what?", "color what?")
    ]
    Path("own.csv").write_text("path,question,answer\nphotos/b.png,color color?,green\n")
    assert run("answer", "--questions", "own.csv", *options).exit_code == 0
    assert (lines(Path("out"))[-1]["question"], lines(Path("out"))[-1]["text"]) == ("color color?", "green")
    assert len(lines(Path("out"))) == 7
    assert len({line["page"] for line in lines(Path("out"))}) == 7


@pytest.mark.usefixtures("plugins", "photos")
@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("what is this?", "photos/a.png"), "the question comes last: vlx answer photos/a.png 'what is this?'"),
        (("photos/a.png", "photos/b.png"), "photos/b.png is a file; the question is missing"),
        (("photos/a.png",), "photos/a.png is a file; the question is missing"),
        (("photos/a.png", "--questions", "own.csv"), r"own.csv has pictures of its own (path); leave out photos/a.png"),
        (("--questions", "plain.csv"), "plain.csv has no column path; add one, or name the pictures"),
        (("--questions", "none.csv"), "none.csv: no such list"),
        (("photos/*.gif", "what?"), "no file has a name like it"),
    ],
)
def test_questions_and_pictures_in_the_wrong_place_are_told_apart(given: tuple[str, ...], message: str) -> None:
    Path("own.csv").write_text("path,question\nphotos/b.png,which?\n")
    Path("plain.csv").write_text("question\nwhich?\n")
    result = run("answer", *given, "--model", "colours", "-o", "out")
    assert result.exit_code == 1
    assert message in result.stderr
    assert not Path("out").exists()


@pytest.mark.usefixtures("plugins")
def test_classes_come_from_a_list(photos: Path) -> None:
    Path("list.jsonl").write_text('{"path": "photos/a.png", "class": "owl"}\n{"path": "photos/b.png"}\n')
    assert run("classify", "list.jsonl", "--model", "pets", "-o", "out", "--class", "dog").exit_code == 0
    assert [line["text"] for line in lines(Path("out"))] == ["owl", "dog"]
    assert "--class=owl" in Path("out/a.html").read_text()
