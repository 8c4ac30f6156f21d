"""`vlx audit`: one command on a folder of labelled pictures, what it prints, writes, resumes and refuses."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.auditing.marked import COLOURS, Marked
from tests.cli.test_cli import refused, run

MARKS = tuple(int(n) for n in np.flatnonzero(np.random.default_rng(5).random(120) < 0.5))
MINE = """from tests.auditing.marked import misled

def model():
    return misled()

def deaf():
    return misled(1e4)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with models in a file and marked squares, a folder a class."""
    top = tmp_path_factory.mktemp("audited")
    (top / "mine.py").write_text(MINE, "utf-8")
    data = Marked(120, MARKS)
    for name in COLOURS:
        (top / "squares" / name).mkdir(parents=True)
    for number in range(len(data)):
        data[number].image.save(top / "squares" / [*COLOURS][number % 2] / f"{number:03}.png")
    return top


@pytest.fixture(scope="module")
def audited(place: Path) -> tuple[str, Path]:
    """What the command printed, and where."""
    result = run("audit", f"{place}/mine.py:model", place / "squares", "--out", place / "run")
    assert result.exit_code == 0, result.output
    return result.stdout, place / "run"


def test_it_prints_findings_first_and_last_where_the_page_is(audited: tuple[str, Path]) -> None:
    told, folder = audited
    lines = told.splitlines()
    assert lines[0] == "1 finding on 120 pictures"
    assert lines[-1] == str(folder / "index.html")
    text = " ".join(told.split())
    places = [
        text.index(part) for part in ("1. For “red”, ", "p < .001, corrected", "tests corrected together", "┃ class")
    ]
    assert places == sorted(places)


def test_its_page_says_the_same_and_shows_what_it_leans_on(audited: tuple[str, Path]) -> None:
    folder = audited[1]
    page, told = (folder / "index.html").read_text("utf-8"), json.loads((folder / "audit.json").read_text("utf-8"))
    assert told["findings"] == json.loads((folder / "findings.json").read_text("utf-8"))["findings"]
    assert "1 finding on 120 pictures" in page and page.count('<img src="data:') > 20
    assert page.index("What ") < page.index('<section aria-labelledby="tables">')
    assert len(told["mistakes"]) == 20 and "cannot be made" not in page
    assert told["command"] in page.replace("&#39;", "'")
    assert {path.name for path in folder.iterdir()} == {"index.html", "audit.json", "findings.json", "records.jsonl"}


def test_a_whole_run_makes_its_page_again_and_measures_nothing(place: Path, audited: tuple[str, Path]) -> None:
    asked = ("audit", f"{place}/mine.py:model", place / "squares", "--out", audited[1])
    refused("holds a run already; go on with it by --resume", *asked)
    before = {path.name: path.read_bytes() for path in audited[1].iterdir()}
    (audited[1] / "index.html").unlink()
    result = run(*asked, "--resume", "--json")
    assert result.exit_code == 0 and json.loads(result.stdout) == json.loads(before["audit.json"])
    assert {path.name: path.read_bytes() for path in audited[1].iterdir()} == before
    refused("weights was", "audit", f"{place}/mine.py:deaf", place / "squares", "--out", audited[1], "--resume")
    assert {path.name: path.read_bytes() for path in audited[1].iterdir()} == before


def test_a_model_that_says_one_thing_is_told_as_that(place: Path, tmp_path: Path) -> None:
    marked = tmp_path / "squares"
    for number in MARKS:
        kind = [*COLOURS][number % 2]
        (marked / kind).mkdir(parents=True, exist_ok=True)
        (marked / kind / f"{number:03}.png").write_bytes((place / "squares" / kind / f"{number:03}.png").read_bytes())
    told = " ".join(run("audit", f"{place}/mine.py:deaf", marked, "--out", tmp_path / "run").stdout.split())
    assert "“red” is the only class that is ever said" in told and "nothing can be compared" in told


def test_pictures_without_labels_are_told_about_and_not_judged(place: Path, tmp_path: Path) -> None:
    plain = place / "squares" / "red"
    result = run("audit", f"{place}/mine.py:model", plain, "--out", tmp_path / "run", "--n", 5)
    assert result.exit_code == 0
    assert "Which classes are right is not known: the data tell none that this model knows." in " ".join(
        result.stdout.split()
    )
    assert "where wrong" not in result.stdout
    assert "pictures with it" in (tmp_path / "run" / "index.html").read_text("utf-8")


def test_a_picture_that_cannot_be_read_is_told_and_the_command_ends_with_1(place: Path, tmp_path: Path) -> None:
    for number, kind in enumerate(COLOURS):
        (tmp_path / "some" / kind).mkdir(parents=True)
        Image.new("RGB", (32, 32), COLOURS[kind]).save(tmp_path / "some" / kind / f"{number}.png")
    (tmp_path / "some" / "red" / "\u202e[bold]<b>.png").write_bytes(b"no picture")
    result = run("audit", f"{place}/mine.py:model", tmp_path / "some", "--out", tmp_path / "run")
    assert result.exit_code == 1
    assert "1 left out, cannot be read: [bold]<b>.png." in " ".join(result.stdout.split())
    page = (tmp_path / "run" / "index.html").read_text("utf-8")
    assert "cannot be read: [bold]&lt;b&gt;.png." in page and "\u202e" not in page


def test_what_cannot_be_audited_is_refused_in_words(place: Path, tmp_path: Path) -> None:
    mine, squares, out = f"{place}/mine.py:model", place / "squares", tmp_path / "run"
    refused("no labelled pictures of that name", "audit", "no/such/model", place / "sqares", "--out", out)
    assert not out.exists()
    refused("results go into a folder", "audit", mine, squares, "--out", tmp_path / "audit.html")
    refused("scenes/vqa|question", "audit", "scenes/vqa", squares, "--out", out)
    (tmp_path / "file").write_text("", "utf-8")
    refused("cannot be written", "audit", mine, squares, "--out", tmp_path / "file" / "run")
    assert run("audit", mine, squares).exit_code == 2
    assert not list(tmp_path.glob("**/*.html"))
