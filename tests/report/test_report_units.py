"""A unit's top pictures with its mask, and `vlx names show --data`."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import vlx
from tests.cli.test_cli import refused, run
from tests.fakes import captioner, tiny_bundle
from tests.tallies import dissected
from vlx.data import SceneData
from vlx.errors import InputError
from vlx.neuron_names import NeuronNames, dissect
from vlx.pictures.placement import Placement
from vlx.pictures.receptive_fields import measure_frame
from vlx.report import units

COUNT, UNIT = 6, 3


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bundle(tmp_path_factory.mktemp("units") / "tiny")


@pytest.fixture(scope="module")
def data() -> SceneData:
    return SceneData(COUNT)


@pytest.fixture(scope="module")
def names(model: Path, data: SceneData) -> NeuronNames:
    return dissect(vlx.load(str(model)), data, quantile=0.1, folds=2)


def slow_mask(A: np.ndarray[Any, Any], placement: Placement, T: float) -> np.ndarray[Any, Any]:
    """Where A lies above T: pixel by pixel, bilinear between the centres of receptive fields."""
    (top, left), (below, right) = placement.centre_of(0, 0), placement.centre_of(1, 1)
    h, w = A.shape
    mask = np.zeros(placement.frame.size, bool)
    for y in range(mask.shape[0]):
        for x in range(mask.shape[1]):
            i = min(max((y - top) / (below - top), 0.0), h - 1.0)
            j = min(max((x - left) / (right - left), 0.0), w - 1.0)
            a, b = min(int(i), h - 2), min(int(j), w - 2)
            upper = A[a, b] * (1 - j + b) + A[a, b + 1] * (j - b)
            lower = A[a + 1, b] * (1 - j + b) + A[a + 1, b + 1] * (j - b)
            mask[y, x] = upper * (1 - i + a) + lower * (i - a) > T
    return mask


def test_masks_are_where_the_map_lies_above_the_threshold(model: Path, data: SceneData, names: NeuronNames) -> None:
    task = vlx.load(str(model))
    seen, notes = units.look(task, names, data, UNIT)
    assert notes == ()
    assert names.tally is not None
    assert [one.number for one in seen] == names.tally.examples[UNIT].tolist()
    assert [one.peak for one in seen] == sorted((one.peak for one in seen), reverse=True)
    T = names[UNIT].threshold
    assert T is not None and seen[0].peak > T
    for one in seen[:2]:
        image = data[one.number].image
        np.testing.assert_array_equal(one.image, np.asarray(image))
        features = task.features(task.prepare(image)[None])
        placement = Placement(features.grid, measure_frame(task.prepare, (image.height, image.width)))
        wanted = slow_mask(features.A[0, UNIT].double().numpy(), placement, T)
        assert 0 < wanted.sum() < wanted.size
        assert (one.mask != wanted).sum() <= 2  # pixels on the threshold itself
        assert one.peak == pytest.approx(float(features.A[0, UNIT].max()))


def test_the_picture_is_bright_inside_the_mask_and_dim_outside() -> None:
    image, mask = np.full((20, 30, 3), 200, np.uint8), np.zeros((20, 30), bool)
    mask[5:10, 5:10] = True
    shown = units.masked(image, mask)
    assert (shown[mask] == 200).all()
    assert (shown[4, 5:10] == units.EDGE).all()
    outside = ~mask
    outside[4:11, 4:11] = False
    assert (shown[outside] == int(200 * units.DIM)).all()
    np.testing.assert_array_equal(image, np.full((20, 30, 3), 200))
    np.testing.assert_array_equal(units.masked(image, np.zeros_like(mask)), (image * units.DIM).astype(np.uint8))


def test_the_figure_is_titled_with_name_and_iou(model: Path, data: SceneData, names: NeuronNames) -> None:
    seen, _ = units.look(vlx.load(str(model)), names, data, UNIT)
    name = replace(names[UNIT], concept="$x_1$ <b>", category="part", iou=0.125, error=0.004)
    figure = units.draw(name, seen, names)
    assert figure.get_suptitle() == f"unit 3: $x_1$ <b> (part), IoU 0.125 ± 0.004\nT = {name.threshold:.3g}"
    assert len([axis for axis in figure.axes if axis.images]) == len(seen) == COUNT
    assert figure.axes[0].get_title().startswith(f"picture {seen[0].number} · peak ")
    figure.canvas.draw()
    assert units.title(replace(name, concept="")) == "unit 3, without a name"
    assert units.title(replace(name, iou=float("nan"), category="")) == "unit 3: $x_1$ <b>"
    assert units.draw(name, [], names).axes


def test_a_unit_without_a_name_has_the_highest_threshold(names: NeuronNames) -> None:
    assert names.tally is not None
    bare = replace(names, categories=())
    assert bare[UNIT].threshold is None
    assert units.threshold(bare, UNIT) == names.tally.thresholds[:, UNIT].max()


def test_tables_and_pictures_that_do_not_fit_are_refused(model: Path, data: SceneData, names: NeuronNames) -> None:
    task = vlx.load(str(model))
    with pytest.raises(InputError, match=r"made from scenes:6, and scenes:7 is not the same"):
        units.look(task, names, SceneData(7), UNIT)
    unknown = replace(names, about={**names.about, "dataset_hash": ""})
    with pytest.raises(InputError, match=r"pictures go up to number 5, scenes:2 has only 2"):
        units.look(task, unknown, SceneData(2), UNIT)
    assert names.tally is not None
    for bare in (
        replace(names, tally=None),
        replace(names, tally=replace(names.tally, examples=np.zeros((0, 0), np.int32))),
    ):
        with pytest.raises(InputError, match=r"does not tell in which pictures its units are most active.*vlx dissect"):
            units.look(task, bare, data, UNIT)
    with pytest.raises(InputError, match="was made for other weights"):
        units.look(task, replace(names, about={**names.about, "model_hash": "other"}), data, UNIT)
    with pytest.raises(InputError, match="has 16 units, layer 'cnn' of tiny has 5"):
        units.look(captioner(), names, data, UNIT)


def test_what_cannot_be_made_sure_of_is_noted(model: Path, data: SceneData, names: NeuronNames, tmp_path: Path) -> None:
    task = vlx.load(str(model))
    assert units.save(task, names, data, UNIT, tmp_path / "unit.png") == ()
    unknown = replace(names, about={**names.about, "dataset_hash": "", "model_hash": ""})
    notes = units.save(task, unknown, data, UNIT, tmp_path / "unit.png")
    assert [note.split(":")[0] for note in notes] == [
        "of the table of names it cannot be told",
        "whether these are the table's pictures is not known",
    ]
    with Image.open(tmp_path / "unit.png") as image:
        assert image.format == "PNG"


# On the command line


def test_show_draws_the_pictures_of_a_unit(model: Path, names: NeuronNames, tmp_path: Path) -> None:
    table, out = names.save(tmp_path / "names.h5"), tmp_path / "unit.png"
    result = run("names", "show", table, "--unit", UNIT, "--data", f"scenes:{COUNT}", "--model", model, "-o", out)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == str(out)
    assert names[UNIT].concept in result.stdout
    with Image.open(out) as image:
        assert image.format == "PNG"
    asked = ("names", "show", table, "--unit", UNIT, "--model", model, "-o", tmp_path / "x.png", "--data")
    refused("the table was made from scenes:6, and scenes:9 is not the same", *asked, "scenes:9")
    assert not (tmp_path / "x.png").exists()


def test_show_names_the_file_after_the_unit(
    model: Path, names: NeuronNames, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = replace(names, about={**names.about, "model": str(model)}).save(tmp_path / "names.h5")
    monkeypatch.chdir(tmp_path)
    result = run("names", "show", table, "--unit", UNIT, "--data", f"scenes:{COUNT}")
    assert result.stdout.splitlines()[-1] == "unit-3.png"
    assert (tmp_path / "unit-3.png").stat().st_size > 1000


def test_show_refuses_what_makes_no_sense(names: NeuronNames, tmp_path: Path) -> None:
    table = names.save(tmp_path / "names.h5")
    for options, message in (
        (("--data", "scenes:6"), "give --unit too"),
        (("--unit", 1, "-o", tmp_path / "x.png"), "give --data"),
        (("--unit", 1, "--model", "x"), "give --data"),
        (("--unit", 1, "--data", "scenes:6", "-o", tmp_path / "x.jpg"), "must end in .png"),
    ):
        result = run("names", "show", table, *options)
        assert result.exit_code == 2
        assert message in " ".join(result.stderr.split())
    about = {key: value for key, value in names.about.items() if key != "model"}
    bare = replace(names, about=about).save(tmp_path / "bare.h5")
    refused(
        "does not tell which model its units are of; give --model", "names", "show", bare, "--unit", 1, "--data", "x"
    )
    own = replace(names, about={**names.about, "model": "mine"}).save(tmp_path / "own.h5")
    asked = ("names", "show", own, "--unit", 1, "--data", f"scenes:{COUNT}")
    refused("no model 'mine'.*; the table names it so: give --model, a name or a bundle folder", *asked)
    slim = replace(dissected(), tally=replace(dissected().tally, examples=np.zeros((0, 0), np.int32)))  # type: ignore[type-var]
    path = slim.save(tmp_path / "slim.h5")
    refused("does not tell in which pictures its units", "names", "show", path, "--unit", 1, "--data", "scenes:6")
