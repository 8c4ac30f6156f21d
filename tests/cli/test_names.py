"""`vlx names`: what is printed and written, and how wrong input is told."""

from pathlib import Path

import pytest

from tests.cli.test_cli import refused, run
from tests.tallies import dissected
from vlx.cli import names as cli_names
from vlx.neuron_names import formats, load, read

CLIP = "layer,unit,description,similarity\nlayer4,0,dog,0.21\nlayer4,1,cat,0.1\nfc,0,cat,0.3\n"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return dissected().save(tmp_path / "names.h5")


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "descriptions.csv"
    path.write_text(CLIP, encoding="utf-8")
    return path


@pytest.mark.parametrize("command", ["show", "import", "export"])
def test_every_command_shows_an_example(command: str) -> None:
    assert f"Example:  vlx names {command}" in run("names", command, "--help").output


def test_formats_are_those_of_the_library() -> None:
    assert cli_names.FORMATS == formats.FORMATS


def test_show_prints_detectors_and_both_counts(table: Path) -> None:
    names = load(table)
    result = run("names", "show", table)
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    best = max(names, key=lambda name: name.iou)
    assert lines[0].split() == ["unit", "name", "category", "IoU", "wins", "attainable", "quantile", "threshold"]
    assert lines[1].split()[:6] == [
        *(str(best.unit), best.concept, best.category),
        *(f"{best.iou:.3f}", "±", f"{best.error:.3f}"),
    ]
    assert names.tally is not None and best.quantile is not None
    number = [concept.name for concept in names.tally.concepts].index(best.concept)
    reach = names.tally.attainable(names.tally.quantile(best.quantile))[number]
    assert lines[1].split()[6:] == [
        *(f"{best.wins}/4", f"{reach:.2f}", f"{best.quantile:g}", f"{best.threshold:.3g}"),
    ]
    detectors = names.detectors()
    assert len(lines) == 1 + len(detectors) + 2
    assert lines[-2] == f"tiny layer4: 5 units, {len(detectors)} detectors above 0.04"
    assert lines[-1].startswith(
        f"concepts: {names.unique_detectors(rule='best')} by the one best name of a unit; "
        f"{names.unique_detectors()} by every category's best (object "
    )


def test_show_asks_for_other_categories_and_iou(table: Path) -> None:
    result = run("names", "show", table, "--categories", "part, ", "--iou", "0")
    names = load(table).choose(categories=["part"])
    assert "object" not in result.output
    assert f"{len(names.detectors(0))} detectors above 0" in result.output
    assert "0 detectors above 1" in run("names", "show", table, "--iou", "1").output
    refused("no unit has a name of category 'prt'; there are: part", "names", "show", table, "--categories", "prt")
    assert "name one at least, as in object,part" in run("names", "show", table, "--categories", " ,").stderr


def test_show_lists_all_names_of_a_unit(table: Path) -> None:
    lines = run("names", "show", table, "--unit", "1").output.splitlines()
    found = load(table).candidates(1)
    assert [line.split()[1] for line in lines[1:]] == [name.concept for name in found]
    refused("has no unit 5; its units are 0 to 4", "names", "show", table, "--unit", "5")


def test_import_export_and_show_of_a_table_without_iou(clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "clip.h5"
    refused(r"has 2 layers \(layer4, fc\)", "names", "import", clip, "-o", out)
    result = run("names", "import", clip, "-o", out, "--layer", "layer4")
    assert result.stdout.strip() == str(out)
    assert "descriptions.csv, read as clip-dissect, told by its columns" in result.stderr
    assert [name.concept for name in load(out)] == ["dog", "cat"]
    shown = run("names", "show", out).output
    assert shown.splitlines()[0].split() == ["unit", "name", "similarity"]
    assert "no IoU in this table (similarity instead)" in shown
    for ending in ("csv", "json"):
        assert run("names", "export", out, "-o", tmp_path / f"x.{ending}").output.strip().endswith(f"x.{ending}")
        assert [name.score for name in read(tmp_path / f"x.{ending}")] == [0.21, 0.1]


def test_import_takes_format_base_and_units(tmp_path: Path) -> None:
    path = tmp_path / "names.csv"
    path.write_text("unit,concept\n1,dog\n2,cat\n", encoding="utf-8")
    out = tmp_path / "names.h5"
    refused("give --base 1 if this file counts from 1", "names", "import", path, "-o", out)
    refused(r"give --base 1 .* \(options of vlx names import\)", "names", "show", path)
    assert run("names", "import", path, "-o", out, "--base", "1", "--units", "3", "--format", "csv").exit_code == 0
    assert [name.concept for name in load(out)] == ["dog", "cat", ""]


def test_a_summary_says_nothing_of_what_a_table_lacks(tmp_path: Path) -> None:
    path = tmp_path / "names.csv"
    path.write_text("unit,concept\n0,dog\n", encoding="utf-8")
    assert run("names", "show", path).output.endswith("1 units, no IoU in this table\n")
    path.write_text("unit,concept,iou\n0,dog,0.5\n", encoding="utf-8")
    assert run("names", "show", path).output.endswith("1 by every category's best (none 1)\n")


def test_text_of_a_table_is_no_markup(tmp_path: Path) -> None:
    path = tmp_path / "names.csv"
    path.write_text("unit,concept,iou\n0,[bold]dog[/nothing],0.5\n", encoding="utf-8")
    assert "[bold]dog[/nothing]" in run("names", "show", path).output


def test_text_of_a_table_cannot_steer_a_terminal(tmp_path: Path) -> None:
    path = tmp_path / "names.csv"
    path.write_text("unit,concept,iou\n0,\x1b[31mdog\x07,0.5\n", encoding="utf-8")
    assert "\x1b[31mdog" not in run("names", "show", path).output


def test_other_endings_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    result = run("names", "import", tmp_path / "none.csv", "-o", tmp_path / "x.csv")
    assert result.exit_code == 2
    assert "must end in .h5" in result.stderr
    result = run("names", "export", tmp_path / "none.h5", "-o", tmp_path / "x.h5")
    assert "must end in .csv or .json" in " ".join(result.stderr.split())
    refused("no such file", "names", "show", tmp_path / "none.h5")
