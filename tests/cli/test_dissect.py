"""From the command line to a table of names and back to a caption's reasons."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import vlx
import vlx.models
from vlx import neuron_names
from vlx.cli.program import main
from vlx.neuron_names import tables
from vlx.neuron_names.table import require_fit


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("names") / "names.h5"
    said = run("dissect", "scenes/captioner", "scenes:24", "-o", str(path), "--quantile", "0.01", "--folds", "3")
    assert said.exit_code == 0, said.output
    assert "256 units" in said.output
    return path


def test_dissect_writes_a_table_and_leaves_nothing_else(table: Path) -> None:
    assert [file.name for file in table.parent.iterdir()] == ["names.h5"]
    names = neuron_names.load(table)
    assert [names.about[key] for key in ("model", "images", "dataset")] == ["scenes/captioner", 24, "scenes:24"]
    assert names.tally is not None
    assert len(names.tally.truth) == 3
    assert (
        names[0]
        == neuron_names.dissect(
            vlx.load("scenes/captioner"), neuron_names.open_data("scenes:24"), quantile=0.01, folds=3
        )[0]
    )


def test_several_layers_are_counted_in_one_run_into_a_file_each(tmp_path: Path) -> None:
    layers = ("--layer", "layers.2", "--layer", "layers.5")
    said = run("dissect", "scenes/captioner", "scenes:8", "-o", str(tmp_path / "n.h5"), *layers)
    assert said.exit_code == 0, said.output
    assert sorted(file.name for file in tmp_path.iterdir()) == ["n-layers.2.h5", "n-layers.5.h5"]
    assert neuron_names.load(tmp_path / "n-layers.2.h5").about["layer"] == "layers.2"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("scenes:4", "-o", "names.csv"), "name it names.h5"),
        (("scenes:4", "-o", "no/such/names.h5"), "no such folder"),
        (("nothing", "-o", "names.h5"), "no labelled pictures of that name"),
        (("scenes:4", "-o", "names.h5", "--layer", "layers.99"), "has no layer 'layers.99'"),
    ],
)
def test_what_cannot_be_done_is_refused_before_any_work(
    arguments: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = run("dissect", "scenes/captioner", *arguments)
    assert said.exit_code == 1
    assert message in said.output
    assert not list(tmp_path.iterdir())


def test_a_caption_is_explained_with_a_table(table: Path, tmp_path: Path) -> None:
    vlx.scenes.draw(10_000_021, size=64).image.save(tmp_path / "scene.png")

    def out(name: str) -> tuple[str, str]:
        return "--out", str(tmp_path / name)

    own = ("--model", "scenes/captioner")
    said = run("caption", str(tmp_path / "scene.png"), "--names", str(table), "-v", *own, *out("named"))
    assert said.exit_code == 0, said.output
    assert "because of" in said.output
    assert "20 random sets of" in said.output
    bare = run("caption", str(tmp_path / "scene.png"), "--names", "none", *own, *out("bare"))
    assert bare.exit_code == 0, bare.output
    assert "because of" not in bare.output
    asked = ("answer", str(tmp_path / "scene.png"), "is there a car?", "--answer", "yes", "--names", str(table))
    assert run(*asked, *out("answer")).exit_code == 0, "its CNN is the same"
    pooled = ("--model", "scenes/captioner-pooled")
    wrong = run("caption", str(tmp_path / "scene.png"), "--names", str(table), *pooled, *out("pooled"))
    assert wrong.exit_code == 1
    assert "names are valid for one network only" in wrong.output


def test_every_embedded_model_has_a_table_that_fits_it() -> None:
    for name in (row.name for row in vlx.models.known() if row.source == "embedded"):
        task = vlx.load(name)
        assert tables.comes_with(task)
        names = neuron_names.shipped(task)
        assert require_fit(names, task, "cnn", len(names)) == ()
        assert names.unique_detectors() > 30
        if name.startswith("photos/"):
            assert names.metric == "auc"
            assert names.about["dataset"] == "captions:f8k:train"
            continue
        assert names.about["dataset"] == "scenes:2000"
        assert names.tally is not None
        assert {"object", "part", "color", "texture", "scene"} == set(names.tally.categories)
