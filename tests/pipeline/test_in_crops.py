"""Models that see a picture in crops: what is told of tokens lies on the picture, in every view, file and measure."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import vlx
from tests.fakes import alike, captioner, tiny_bundle
from tests.mosaics import TOKENS, Box, Colours, Cropped, InCrops, mosaic, noise, spotted
from vlx import neuron_names
from vlx.evaluation import evaluate
from vlx.methods import registry, several
from vlx.methods.method import Site
from vlx.methods.replay import cells_gone
from vlx.pictures.placement import Grid
from vlx.probes.map_trials import cell_falls
from vlx.protocol.targets import Query, word_target
from vlx.report.units import look

Size = tuple[int, int]
SPOTS: dict[Size, tuple[Box, Box]] = {  # on whole tokens of every crop
    (96, 144): ((24, 96, 24, 24), (72, 24, 24, 24)),
    (144, 96): ((96, 16, 36, 32), (0, 64, 36, 16)),
}


def picture(size: Size) -> Image.Image:
    return spotted(size, *SPOTS[size])


def scenic(folder: Path) -> InCrops:
    return InCrops(vlx.load(tiny_bundle(folder)))


@pytest.mark.parametrize("size", SPOTS)
def test_words_point_where_their_colour_is(size: Size) -> None:
    why = vlx.explain(Colours(), picture(size), method="hirescam", target="logit")
    assert [word.label for word in why] == ["red", "blue"]
    for word, (top, left, height, width) in zip(why, SPOTS[size], strict=True):
        inside = np.zeros(size, bool)
        inside[int(top) : int(top + height), int(left) : int(left + width)] = True
        assert inside[np.unravel_index(int(word.heatmap.argmax()), size)]
        rows, columns = np.nonzero(word.signed > word.signed.max() / 100)
        for i, j in zip(rows.tolist(), columns.tolist(), strict=True):
            y, x = word.placement.centre_of(i, j)
            assert top - 36 < y < top + height + 36 and left - 24 < x < left + width + 24  # a token of the whole
        assert word.signed.sum() == pytest.approx(word.score, rel=1e-5)  # the logit is the sum over all tokens
        shown = word.placement.paint(word.signed)
        assert shown[inside].mean() > 8 * shown[~inside].mean()


def test_what_has_no_place_is_told_where_it_is_much() -> None:
    size = (96, 144)
    plain = vlx.explain(Colours(), picture(size), method="hirescam", target="logit")
    lost = vlx.explain(Colours(newline=0.9), picture(size), method="hirescam", target="logit")
    told = [note for note in lost.notes if "show no part of the picture" in note]
    assert not [note for note in plain.notes if "show no part of the picture" in note]
    share = 3 * 0.9 / (3 * 0.9 + plain["red"].score)
    assert told == [f"up to {share:.0%} of a map's values lie on tokens that show no part of the picture (line breaks, "
                    "padding), and are not drawn"]  # fmt: skip
    np.testing.assert_allclose(lost["red"].signed, plain["red"].signed, atol=1e-6)


def test_pictures_on_their_side_in_one_batch_are_not_mixed_up() -> None:
    pictures = [picture(size) for size in SPOTS]
    together = vlx.explain_many(Colours(), pictures, method="gradcam", target="logit", batch_size=2)
    for many, image in zip(together, pictures, strict=True):
        assert isinstance(many, vlx.Explanation)
        alike(many, vlx.explain(Colours(), image, method="gradcam", target="logit"))


@pytest.mark.parametrize("name", [*registry.NAMES])
def test_every_method_makes_maps_of_the_picture(name: str) -> None:
    task, method = Cropped(), registry.choose(name)
    if not method.suits(task):
        return
    why = vlx.explain(task, noise((96, 144)), method=name, words=[0])
    size = why[0].placement.grid.shape
    assert type(why.placement.grid) is Grid and why[0].signed.shape == why[0].opposed.shape == size
    if method.on_cells:
        assert size == (4, 12)


def test_maps_that_share_a_gradient_are_those_made_alone() -> None:
    task = InCrops(captioner())
    features = task.features(task.place(task.prepare(noise((96, 144)))[None]))
    prediction = task.predict(features, [Query()])[0]
    targets = [word_target(prediction, n, 0, "logit") for n in range(2)]
    site, methods = (
        Site(features, task=task),
        [registry.choose(name) for name in ("gradcam", "hirescam", "ablationcam")],
    )
    for name, maps in several.maps_of(task, site, targets, methods).items():
        alone = registry.choose(name).attributed(task, site, targets)
        torch.testing.assert_close(maps, alone.signed, rtol=1e-4, atol=1e-6)
        assert maps.shape == (2, *features.grid.shape)


def test_a_place_is_hidden_in_all_crops_by_as_much_as_they_show_of_it() -> None:
    task = Cropped()
    features = task.features(task.prepare(noise((96, 144)))[None])
    sets = np.zeros((2, *features.grid.shape), bool)
    sets[1, 0, :3] = True  # 24 × 36 pixels: of the whole picture a token and a half, of the left half three
    A = features.A
    made = cells_gone(features, sets, [[], []]).edit(slice(0, 2))
    assert torch.equal(made[0], A[0])
    mean = A[..., torch.from_numpy(features.grid.placed)].mean(3)[..., None]
    expected = A.clone()
    for token, share in {0: 1.0, 1: 0.5, TOKENS: 1.0, TOKENS + 1: 1.0, TOKENS + 2: 1.0}.items():
        expected[..., token] = (1 - share) * A[..., token] + share * mean[..., 0]
    torch.testing.assert_close(made[1:], expected)


def test_falls_of_single_cells_are_those_of_the_picture() -> None:
    task = Colours()
    size = (96, 144)
    features = task.features(task.prepare(picture(size))[None])
    prediction = task.predict(features, [Query()])[0]
    falls = cell_falls(task, features, [word_target(prediction, 0, 0, "logit")])[0]
    assert falls.shape == features.grid.shape
    top, left, height, width = SPOTS[size][0]
    y, x = np.unravel_index(int(falls.argmax()), falls.shape)
    assert top <= 24 * y + 12 < top + height and left <= 12 * x + 6 < left + width


def test_the_check_takes_the_map_at_its_word() -> None:
    why = vlx.explain(Colours(), picture((96, 144)), method="hirescam", target="logit", check=True, occlusion=True)
    for word in why:
        assert word.check is not None and word.check.cells == 5 and word.check.confirmed, str(word.check)
        assert word.occlusion is not None and word.occlusion.falls.shape == (4, 12)
        assert word.occlusion.agreement > 0.4


def test_files_and_pages_have_the_picture_and_its_cells(tmp_path: Path) -> None:
    why = vlx.explain(Colours(), picture((96, 144)), check=True)
    for ending in ("html", "png", "md", "json", "h5", "csv"):
        why.save(tmp_path / f"it.{ending}")
    for ending in ("json", "h5"):
        again = vlx.Explanation.load(tmp_path / f"it.{ending}")
        alike(again, why)
        assert again.placement == why.placement and again.placement.grid == mosaic((96, 144)).plain
    assert why.provenance["feature_map"] == [12, 1, 3 * TOKENS]


def test_units_are_named_and_shown_on_the_picture(tmp_path: Path) -> None:
    task, data = scenic(tmp_path / "model"), neuron_names.open_data("scenes:6:10000000")
    names = neuron_names.dissect(task, data, quantile=0.05)
    assert names.about["feature_map"] == [8, 16] or names.about["feature_map"] == [16, 8]
    A = task.features(task.place(task.prepare(data[0].image)[None]))
    peaks = np.array([float(A.cells[0, unit].max()) for unit in range(len(names))])
    assert names.examples is not None
    shown = [unit for unit in range(len(names)) if 0 in names.examples[unit] and peaks[unit] > 0]
    seen, _ = look(task, names, data, shown[0])
    assert any(one.peak == pytest.approx(peaks[shown[0]], rel=1e-5) for one in seen if one.number == 0)
    why = vlx.explain(task, data[0].image, caption="a red bird in a beach", names=names, check=True, words="content")
    reasons = [word.because for word in why if word.because is not None]
    assert reasons
    for because in reasons:
        for reason in because.reasons:
            assert reason.map.shape == why.placement.grid.shape


def test_an_evaluation_measures_what_is_drawn(tmp_path: Path) -> None:
    metrics = ["pointing", "energy", "check", "deletion", "fall"]
    task: Any = scenic(tmp_path / "model")
    result = evaluate(task, "scenes:1:10000000", metrics=metrics, methods=["gradcam", "hirescam"], targets=["logit"])
    assert {row.metric for row in result.rows} >= {"pointing", "check"}
    assert result.n == 1
