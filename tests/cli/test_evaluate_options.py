"""Options of single metrics: what they change, and what they are refused beside."""

import json
from pathlib import Path

import pytest

from tests.cli.test_cli import run
from tests.fakes import tiny_bundle
from vlx.evaluation.result import MACRO


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--twin", "scenes/captioner"), "--twin goes with --metrics labels"),
        (("--against", "scenes/captioner", "--metrics", "energy"), "--against goes with --metrics trust"),
        (("--towards", "dog"), "--towards goes with --metrics adversarial"),
        (("--tolerance", "5", "--metrics", "energy"), "--tolerance goes with --metrics pointing"),
        (("--resume",), "--resume goes with --out RUN"),
        (("--metrics", "pointing-px"), "no metrics 'pointing-px'"),
    ],
)
def test_an_option_without_its_metric_is_refused(tmp_path: Path, options: tuple[str, ...], told: str) -> None:
    result = run("evaluate", tiny_bundle(tmp_path / "tiny"), *options)
    assert result.exit_code == 2
    assert told in result.stderr


def test_a_tolerance_has_its_own_name_that_the_command_takes_again(tmp_path: Path) -> None:
    model = tiny_bundle(tmp_path / "tiny")
    asked = ("--n", 2, "--targets", "logit", "--methods", "gradcam", "--json")
    wide = json.loads(run("evaluate", model, "--tolerance", "500", *asked).stdout)
    assert {row["metric"] for row in wide["rows"]} == {"pointing-500px"}
    assert "--metrics pointing-500px" in wide["command"]
    again = json.loads(run("evaluate", model, "--metrics", "pointing-500px", *asked).stdout)
    assert again["rows"] == wide["rows"]
    hits = [row["value"] + row["empty"] / row["count"] for row in wide["rows"] if row["group"] != MACRO]
    assert hits == pytest.approx([1.0] * len(hits)), "whatever points anywhere lies within 500 pixels"


def test_a_second_model_stands_in_the_head_and_in_the_command(tmp_path: Path) -> None:
    model, other = tiny_bundle(tmp_path / "tiny"), tiny_bundle(tmp_path / "other")
    asked = ("--metrics", "trust", "--against", other, "--n", 2, "--targets", "logit", "--methods", "gradcam")
    result = run("evaluate", model, *asked, "--out", tmp_path / "run", "--json")
    assert f"--against {other}" in json.loads(result.stdout)["command"]
    head = json.loads((tmp_path / "run" / "records.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert len(head["weights"].split()) == 2
