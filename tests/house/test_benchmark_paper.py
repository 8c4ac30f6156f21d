"""The page of the paper's tables: figures of stored runs where they belong, what is missing, commands that exist."""

import json
import re
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
from click.testing import CliRunner

from benchmarks import paper
from benchmarks.paper_changes import changes_table
from benchmarks.paper_page import Outcome, kept, number, page, table
from benchmarks.paper_places import PLACES
from benchmarks.paper_runs import COCO, REAL, Run, Section, noted
from benchmarks.paper_sections import SECTIONS
from benchmarks.photos import SHARED
from tests.pages import DOCS
from vlx.cli import program
from vlx.cli.evaluate import evaluate
from vlx.evaluation import Figure, Record, Result, read_run
from vlx.evaluation.batches import MeasuredBatch
from vlx.evaluation.omitted import Omitted
from vlx.evaluation.records import Columns
from vlx.evaluation.run_file import RunFile, RunHead

RUNS = [run for section in SECTIONS for run in section.runs]
ONE = next(run for run in RUNS if run.name == "localization-mobilenet")
FOLDERS = {REAL: "there", COCO: "here"}
VALUES = {  # of each measure: gradcam, layercam, then the baselines
    "pointing": {"gradcam": 1.0, "layercam": 0.75, "centre": 0.5, "random": 0.25, "same": 0.125},
    "energy": {"gradcam": 0.9, "layercam": 0.8, "centre": 0.7, "random": 0.6, "same": 0.3},
}


def stored(folder: Path) -> Result:
    """A run of two pictures, written and read again: every value is the same in both."""
    records = [
        Record(key, 0, "dog", method, "" if method in ("centre", "random", "same") else "logit", metric, value)
        for key in ("a.jpg", "b.jpg")
        for metric, values in VALUES.items()
        for method, value in values.items()
    ]
    head = RunHead("tiny", "w", "photos", "p", list(VALUES), ["gradcam", "layercam"], ["logit"], 2, "vlx", "0")
    with RunFile(folder, head) as file:
        file.write(MeasuredBatch(("a.jpg", "b.jpg"), tuple(records), 2, (), Omitted()))
    return read_run(folder)


def rows(text: str) -> Iterator[list[str]]:
    for line in text.splitlines():
        if line.startswith("| "):
            yield [cell.strip() for cell in line.strip("|").split("|")]


def section_of(*runs: Run) -> Section:
    return replace(next(one for one in SECTIONS if one.name == "localization"), runs=runs)


def test_figures_of_a_stored_run_stand_where_they_belong(tmp_path: Path) -> None:
    result = stored(tmp_path)
    text = page([section_of(ONE)], {ONE.name: Outcome("vlx evaluate tiny", result, seconds=61)})
    lines = list(rows(text.partition("\n## 4.1")[2]))
    assert lines[0] == ["", "pointing", "energy"]
    told = {row[0]: row[1:] for row in lines[2:]}
    assert told["gradcam"] == ["**1.000 ± .000**", "**.900 ± .000**"]
    assert told["layercam"] == ["**.750 ± .000**", "**.800 ± .000**"]
    assert told["*a bump in the middle*"] == [".500", ".700"]
    assert told["*random*"] == [".250", ".600"]
    assert told["*map of something else*"] == [".125", ".300"]
    assert "tiny, 2 pictures, 2 asks; dog; 61 CPU seconds." in text
    assert "```sh\nvlx evaluate tiny\n```" in text
    row = next(row for row in rows(text) if row[0].startswith("4.1"))
    assert row[3].startswith("pointing 1.000 ± .000 by gradcam on tiny, .250 by random; published: 56.51 / 46.41 %")
    assert row[3].endswith("see [4.1 Weakly-supervised localization](#41-weakly-supervised-localization)")
    assert "| VGG-16, Grad-CAM: error with the first / among the first five classes | 56.51 / 46.41 % |" in text


def test_only_what_beats_both_baselines_on_the_good_side_is_bold() -> None:
    def cells(better: str, ahead: Any, over_random: Any) -> str:
        row = Figure("g", "gradcam", "logit", "deletion logit", 0.2, 0.1, 0.3, 0.5, 0.5, 0.5, 4)
        row = replace(row, ahead=ahead, over_random=over_random)
        told = table(Result("m", 4, (row,), "", better={"deletion": better, "pointing": "high"}))
        return list(rows("\n".join(told)))[2][1]

    below, above, around = (-0.3, -0.4, -0.2), (0.3, 0.2, 0.4), (0.1, -0.1, 0.3)
    assert cells("low", below, below) == cells("high", above, above) == "**.200 ± .100**"
    others = [("low", above, above), ("high", below, below), ("low", below, around), ("high", around, above)]
    assert {cells(*one) for one in [*others, ("high", None, above)]} == {".200 ± .100"}


def test_a_figure_of_another_name_is_as_good_as_its_runs_only_measure_says() -> None:
    row = Figure("g", "gradcam", "logit", "rank correlation", 0.2, 0.1, 0.3, 0.0, 0.0, 0.0, 4)
    row = replace(row, ahead=(0.2, 0.1, 0.3), over_random=(0.2, 0.1, 0.3))
    several = {"occlusion": "high", "pointing": "high"}
    told = [[*table(Result("m", 4, (row,), "", better=one))][2] for one in ({"occlusion": "high"}, several)]
    assert told == ["| gradcam | **.200 ± .100** |", "| gradcam | .200 ± .100 |"]


def test_columns_are_the_wanted_group_else_what_stands_for_all_else_every_one() -> None:
    groups = ("object", "colour", "mean of groups")
    figures = [
        Figure(group, "gradcam", "logit", "pointing", n / 10, n / 10, n / 10, 0, 0, 0, n)
        for n, group in enumerate(groups)
    ]
    result = Result("m", 4, tuple(figures), "")
    told = {group: list(rows("\n".join(table(result, group))))[0::2] for group in ("", "colour", "*")}
    assert told[""][1][1:] == [".200 ± .000"]
    assert told["colour"][1][1:] == [".100 ± .000"]
    assert told["*"][0][1:] == [f"pointing: {group}" for group in groups]
    assert told["*"][1][1:] == [".000 ± .000", ".100 ± .000", ".200 ± .000"]


def test_numbers_are_told_to_three_places() -> None:
    told = [number(value) for value in (0.25, -0.25, 1.5, 0.9999, -0.0001, float("nan"))]
    assert told == [".250", "−.250", "1.500", "1.000", ".000", "–"]


def test_a_run_that_is_missing_is_told_with_its_reason() -> None:
    run = ONE
    text = page([section_of(run)], {run.name: Outcome("vlx evaluate x", why="data|set is not there; give --real DIR.")})
    assert f"*`{run.name}` not run: data\\|set is not there; give --real DIR.*" in text
    assert f"*`{run.name}` not run: not asked for.*" in page([section_of(run)], {})


def test_what_a_page_tells_of_a_command_is_kept_while_its_run_is_not_at_hand(tmp_path: Path) -> None:
    command, other = "vlx evaluate tiny", "vlx evaluate tiny --n 3"
    measured = page([section_of(ONE)], {ONE.name: Outcome(command, stored(tmp_path), seconds=5)})
    again = page([section_of(ONE)], {ONE.name: Outcome(command, why="not yet", kept=kept(measured, command))})
    assert again == measured
    assert kept(measured, other) == kept("", command) == ""
    missing = page([section_of(ONE)], {ONE.name: Outcome(other, why="not yet")})
    assert kept(missing, other) == ""
    told = kept(measured, command)
    newer = Outcome(command, replace(stored(tmp_path / "b"), n=7), seconds=6, kept=told)
    assert "tiny, 7 pictures" in page([section_of(ONE)], {ONE.name: newer})


def test_notes_that_are_asked_for_stand_below_their_table(tmp_path: Path) -> None:
    result = replace(stored(tmp_path), notes=("trust, named: 3 of 4\nare ties", "left out: 3"))
    texts = [page([section_of(run)], {run.name: Outcome("vlx a", result)}) for run in (ONE, noted(ONE, "trust"))]
    assert "are ties" not in texts[0]
    assert "0 CPU seconds. trust, named: 3 of 4 are ties.\n" in texts[1]
    assert "left out" not in texts[1]
    assert kept(texts[1], "vlx a").endswith("are ties.\n")


def test_what_a_variant_changes_is_told_in_points_beside_the_papers() -> None:
    values = {"gradcam": (1.0, 0.0, 1.0, 0.0), "gradcam-abs": (0.0, 0.0, 1.0, 0.0), "gradcam-max": (1.0, 1.0, 1.0, 1.0)}
    records = [
        Record(str(n), 0, group, method, "logit", "localization", value)
        for method, told in values.items()
        for n, value in enumerate(told)
        for group in ["thing" if n < 2 else "other"]
    ]
    section = replace(section_of(ONE), changes={"gradcam-abs": 1.46, "gradcam-max": -0.31, "gradcam-norelu": -15.33})

    told = "| | pointing | localization |\n| --- | ---: | ---: |\n| gradcam | .1 | **.500 ± .1** |\n"
    told += "| gradcam-abs | .9 | .250 |\n| *random* | .1 | – |\n\ntiny, 4 pictures, 4 asks."

    def cells(group: str, by_metric: dict[str, Columns]) -> list[list[str]]:
        run = replace(ONE, group=group)
        one = replace(section, runs=(run,))
        return [*rows("\n".join(changes_table(one, {run.name: told}, {run.name: by_metric})))]

    measured = {"localization": Columns(records)}
    every = cells("", measured)
    assert every[0] == ["change of the share that fits, in points", "paper, top-1", "tiny"]
    assert every[2][:2] == ["gradcam-abs less gradcam", "+1.5"]
    assert every[2][2].startswith("−25.0 ± ")
    assert every[3][1:] == ["−0.3", "+50.0 ± 50.0"]
    assert every[4][1:] == ["−15.3", "–"]
    assert [row[2] for row in cells("other", measured)[2:4]] == ["0.0 ± 0.0", "+50.0 ± 50.0"]
    assert [row[2] for row in cells("", {})[2:]] == ["−25.0", "–", "–"], "of a table alone, without its records"
    assert [*changes_table(section, {ONE.name: ""}, {})] == []


def test_a_run_is_made_once_and_again_for_another_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Sequence[str]] = []

    def run(words: Sequence[str], **_: Any) -> SimpleNamespace:
        started.append(words)
        folder = Path(words[words.index("--out") + 1])
        if not (folder / "records.jsonl").exists():
            stored(folder)
        return SimpleNamespace(returncode=0, stderr="")

    monkeypatch.setattr(subprocess, "run", run)
    asked = replace(ONE, needs=())
    made = [paper.outcome(asked, FOLDERS, n, tmp_path, start=True) for n in (3, 3, 2)]
    assert [words[words.index("--n") + 1] for words in started] == ["3", "2"]
    assert all("--resume" in words and words[3:5] == ["evaluate", asked.model] for words in started)
    assert all(one.result is not None and one.result.value("dog", "gradcam", "logit") == 1 for one in made)
    assert paper.outcome(asked, {**FOLDERS, REAL: "elsewhere"}, 3, tmp_path, start=False).why == "not yet"
    assert paper.outcome(replace(asked, needs=(COCO,)), FOLDERS, 3, tmp_path, start=True).why == (
        "here is not there; give --coco DIR"
    )


def test_a_page_can_be_told_without_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("a run was started"))
    target, page_now = tmp_path / "paper.md", (DOCS / "paper.md").read_text(encoding="utf-8")
    target.write_text(page_now, encoding="utf-8")
    asked = ["--tell", "--out", str(tmp_path / "none"), "--page", str(target)]
    assert CliRunner().invoke(paper.main, asked).exit_code == 0
    told, before = (list(rows(one.partition("\n## 3.3")[2])) for one in (target.read_text(encoding="utf-8"), page_now))
    assert len(told) > 200
    assert told == before, "tables whose runs are not at hand stay"


def test_why_a_command_failed_is_its_last_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = SimpleNamespace(returncode=2, stderr="Usage: vlx\n\nError: no metric 'seeds'\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    made = paper.outcome(replace(ONE, needs=()), FOLDERS, 1, tmp_path, start=True)
    assert (made.result, made.why) == (None, "no metric 'seeds'")
    assert list(tmp_path.iterdir()) == []


def test_a_section_that_is_not_there_is_refused() -> None:
    assert [one.name for one in paper.chosen("seeds, trust")] == ["seeds", "trust"]
    with pytest.raises(click.BadParameter, match=r"no section 'seed'; known: counterfactual, localization, seeds"):
        paper.chosen("seed")


@pytest.mark.parametrize("words", [run.words(FOLDERS, None) for run in RUNS], ids=[run.name for run in RUNS])
def test_every_command_of_the_page_is_one_of_vlx(words: list[str]) -> None:
    evaluate.make_context("vlx evaluate", words[1:])


@pytest.mark.parametrize("section", SECTIONS, ids=[section.name for section in SECTIONS])
def test_every_command_for_ones_own_data_is_one_of_vlx(section: Section) -> None:
    program, verb, *words = shlex.split(section.bring)
    assert (program, verb) == ("vlx", "evaluate")
    evaluate.make_context("vlx evaluate", words)


def test_a_wrong_command_is_seen() -> None:
    for wrong in (["--metrics", "seed"], ["--methods", "grdcam"], ["--againts", "m"]):
        with pytest.raises(click.UsageError):
            evaluate.make_context("vlx evaluate", ["scenes/captioner", *wrong])


def test_the_page_has_every_section_and_the_commands_of_its_runs() -> None:
    text = (DOCS / "paper.md").read_text(encoding="utf-8")
    assert text.count("\n## ") == len(SECTIONS) + 1, "and where each of the paper's is"
    missing = [section.name for section in SECTIONS if f"\n## {section.title}\n" not in text]
    missing += [section.name for section in SECTIONS if section.bring not in text]
    missing += [run.name for run in RUNS if " ".join(["vlx", *run.words(paper.SHOWN, None)]) not in text]
    assert missing == []


def test_every_part_of_the_paper_has_a_line_with_a_command_that_is_there() -> None:
    text = (DOCS / "paper.md").read_text(encoding="utf-8")
    table = text.partition("\n## Where each section is\n")[2].partition("\n## ")[0]
    lines = [*rows(table)][2:]
    assert [line[:2] for line in lines] == [[one.part, one.about] for one in PLACES]
    told = " ".join(one.part for one in PLACES)
    assert all(re.search(rf"(?<![\d.]){part}(?![\d.])", told) for part in (*range(1, 10), "3.1", "3.2", "3.3"))
    assert all(part in told for part in ("4.1", "4.2", "4.3", "5.1", "5.2", "5.3", "6.1", "6.2", "6.3", "8.1", "8.2"))
    figures = re.findall(r"figures? (\d+)(?: and (\d+))?", told)
    assert {int(number) for pair in figures for number in pair if number} == {*range(1, 13)}
    assert {"table 1", "table 2"} <= {*re.findall(r"table \d", told)}
    for one in PLACES:
        words = shlex.split(one.command)
        assert words[:1] != ["vlx"] or words[1] in program.main.commands, one.command
        assert words[:2] != ["python", "-m"] or find_spec(words[2]), one.command
        files = [word for word in words[1:] if word.endswith(".py")]
        assert all((DOCS.parent / file).is_file() for file in files), one.command


def test_sections_that_are_redone_are_led_to() -> None:
    places = {name for one in PLACES for name in one.there.split()}
    assert {section.name for section in SECTIONS} - places == {"sanity", "deletion"}, "these are not of the paper"
    assert {name for name in places if name.endswith(".md") and "/" not in name} <= {one.name for one in DOCS.iterdir()}


def test_runs_are_told_apart_and_name_classes_of_coco() -> None:
    assert len({run.name for run in RUNS}) == len(RUNS)
    told = json.loads(Path(paper.__file__).with_name("paper_classes.json").read_text(encoding="utf-8"))
    assert {name: [*labels] for name, labels in SHARED.items()} == told
