"""A data set is added once: twenty lines from outside; units are named, maps measured and folders explained on it."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.fakes import captioner, tiny_bundle
from vlx import evaluation, neuron_names
from vlx.cli import main
from vlx.data import open_data

MINE = '''
import numpy as np
from PIL import Image
from vlx.data import Ask, Concept, Example, Truth
from vlx.protocol import Query

RED, DOG = Concept("red", "color"), Concept("dog", "object")

class Blocks:
    """A red block a picture, which its caption calls a dog."""
    name, licence, concepts = "mine:blocks", "my own", (RED, DOG)
    def __len__(self):
        return 8
    def digest(self):
        return "1"
    def __getitem__(self, number):
        pixels, mask = np.full((32, 32, 3), 90, np.uint8), np.zeros((32, 32), bool)
        mask[4 * (number % 4) :][:12, 2 * number :][:, :12] = True
        pixels[mask] = (220, 30, 30)
        asks = [Ask(Query(caption="a red dog"), place, group="red", truth=Truth(mask)) for place in (1, 2)]
        regions = {RED: mask, DOG: mask}
        return Example(str(number), Image.fromarray(pixels), texts=["a red dog"], asks=asks, regions=regions)

def blocks():
    return Blocks()
'''


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "mine.py").write_text(MINE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "mine", None)
    monkeypatch.delitem(sys.modules, "mine")  # and what it is then is forgotten afterwards
    return "mine:blocks"


def test_it_is_twenty_five_lines_at_most() -> None:
    assert len([line for line in MINE.splitlines() if line.strip()]) <= 25


def test_units_are_named_on_it(mine: str) -> None:
    names = neuron_names.dissect(captioner(), mine, quantile=0.1)
    assert names.about["dataset"] == mine
    assert names.tally is not None
    assert [concept.name for concept in names.tally.concepts] == ["red", "dog"]
    assert names.tally.truth.sum(0).tolist() == [names.tally.truth[:, 0].sum()] * 2
    assert names.tally.truth.sum() > 0


def test_a_folder_of_results_is_made_of_it(mine: str, tmp_path: Path) -> None:
    bundle = str(tiny_bundle(tmp_path / "bundle"))
    done = CliRunner().invoke(main, ["caption", mine, "--model", bundle, "-o", "out"])
    assert done.exit_code == 0, done.output
    lines = [json.loads(line) for line in (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()[1:]]
    assert [line["path"] for line in lines] == [f"mine:blocks/{n}" for n in range(8)]
    assert len({line["digest"] for line in lines if len(line["digest"]) == 64}) == 8, "each picture is its own"
    again: Any = CliRunner().invoke(main, ["caption", mine, "--model", bundle, "-o", "out"])
    assert "8 done before" in again.output or again.exit_code == 0


def test_maps_are_measured_on_it(mine: str) -> None:
    result = evaluation.evaluate(captioner(), mine, n=4)
    assert (result.n, result.command) == (4, f"vlx evaluate {captioner().name} {mine} --metrics pointing --n 4")
    figure = next(row for row in result.rows if row.method == "gradcam")
    assert (figure.group, figure.count, figure.random, figure.centre) == ("red", 8, 144 / 1024, 1 / 4)
    data: Any = open_data(mine)
    assert evaluation.evaluate(captioner(), data, n=4).to_json() == result.to_json()


def test_it_stays_the_same_data(mine: str) -> None:
    data = open_data(mine)
    assert (len(data), data.name, data[3].asks[1].position) == (8, mine, 2)
