"""Deletion, insertion and ROAD on a linear model, whose curves are known exactly; against Quantus and grad-cam."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from tests.evaluation.test_run import Squares
from vlx.data.example import Ask, Example
from vlx.errors import ModelError
from vlx.evaluation import evaluate
from vlx.evaluation.metrics.curves import area
from vlx.methods.method import Method, attribution
from vlx.pictures.edits import blurred, imputed, taken_from, value_range
from vlx.tasks.classification import Classifier

SIDE = 20
Values = NDArray[Any]


class Linear(nn.Module):
    """Two classes, linear in every value of the picture: [B, 3, 20, 20] → [B, 2]; some weights speak against."""

    def __init__(self, side: int = SIDE) -> None:
        super().__init__()
        self.body, self.head = nn.Conv2d(3, 3, 1, bias=False), nn.Linear(3 * side * side, 2)
        with torch.no_grad():
            self.body.weight.copy_(torch.eye(3)[:, :, None, None])
            drawn = torch.randn(self.head.weight.shape, generator=torch.Generator().manual_seed(5))
            self.head.weight.copy_(drawn / 10)
            self.head.bias.zero_()

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.body(images).flatten(1))  # type: ignore[no-any-return]


def plain(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float() / 255


def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(2).integers(0, 256, (SIDE, SIDE, 3), np.uint8))


class Noise:
    """One picture of noise, of which both classes are asked for."""

    name, licence = "noise", "none"

    def __init__(self, labels: Sequence[str] = ("a", "b"), image: Image.Image | None = None) -> None:
        self.labels, self.image = labels, picture() if image is None else image

    def __len__(self) -> int:
        return 1

    def __getitem__(self, number: int) -> Example:
        return Example("0", self.image, asks=[Ask(label=label, group=label) for label in self.labels])

    def digest(self) -> str:
        return "noise"


def linear(prepare: Any = plain) -> Classifier:
    return Classifier(Linear().eval(), "body", ["a", "b"], prepare)


def exact(net: nn.Module, pictures: Sequence[Values], number: int) -> tuple[float, float]:
    """The areas under p and the logit of class ``number``, the slow way."""
    with torch.no_grad():
        logits = net(torch.from_numpy(np.stack(pictures)).float()).double()
    p = logits.softmax(1)[:, number].tolist()
    sums = [sum((some[n] + some[n + 1]) / 20 for n in range(10)) for some in (p, logits[:, number].tolist())]
    return sums[0], sums[1]


def signed(net: Any, pixels: Values, number: int) -> Values:
    """HiResCAM of a linear model: every pixel's share of the logit."""
    weights = net.head.weight[number].detach().numpy().reshape(3, SIDE, SIDE)
    return np.asarray((weights * pixels).sum(0))


def moved(start: Values, other: Values, ranks: Values) -> list[Values]:
    """Pictures in which the pixels of the highest ranks, a tenth more each time, are those of another."""
    made = []
    for step in range(11):
        cut = np.sort(ranks.ravel())[::-1][: round(ranks.size * step / 10)]
        there = ranks >= cut[-1] if len(cut) else np.zeros(ranks.shape, bool)
        made.append(np.where(there, other, start))
    return made


def values_of(
    metric: str, task: Classifier, data: Any = None, method: Any = "hirescam"
) -> dict[tuple[str, str], float]:
    result = evaluate(task, data or Noise(), metrics=[metric], methods=[method], targets=["logit"])
    return {(row.group, row.metric): row.value for row in result.rows}


@pytest.mark.parametrize("number", [0, 1])
def test_deletion_of_a_linear_model_is_known_exactly(number: int) -> None:
    task = linear()
    pixels = plain(picture()).numpy()
    median = np.median(np.asarray(picture()), (0, 1)).astype(np.uint8)[:, None, None] / 255
    pictures = moved(pixels, np.broadcast_to(median, pixels.shape), signed(task.model, pixels, number))
    p, logit = exact(task.model, pictures, number)
    found, group = values_of("deletion", task), "ab"[number]
    assert found[group, "deletion"] == pytest.approx(p, abs=1e-5)
    assert found[group, "deletion, logit"] == pytest.approx(logit, abs=1e-4)


@pytest.mark.parametrize("number", [0, 1])
def test_insertion_shows_the_same_pixels_on_the_blurred_picture(number: int) -> None:
    task = linear()
    pixels = plain(picture()).numpy()
    soft = np.stack([gaussian_filter(channel.astype(float), SIDE / 16, mode="nearest") for channel in pixels])
    p, logit = exact(task.model, moved(soft, pixels, signed(task.model, pixels, number)), number)
    found, group = values_of("insertion", task), "ab"[number]
    assert found[group, "insertion"] == pytest.approx(p, abs=1e-5)
    assert found[group, "insertion, logit"] == pytest.approx(logit, abs=1e-4)


def test_road_is_how_far_both_ends_of_the_map_lie_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vlx.evaluation.metrics.road.NOISE", 0.0)
    task = linear()
    pixels = plain(picture()).double().numpy()
    median = np.median(np.asarray(picture()), (0, 1)).astype(np.uint8)[:, None, None] / 255
    ranks = signed(task.model, pixels, 0)
    tracks = []
    for order in (ranks, -ranks):
        gone = [np.asarray((one != pixels).any(0)) for one in moved(pixels, pixels + 1, order)]
        tracks.append([*(imputed(pixels, one) for one in gone[:-1]), np.broadcast_to(median, pixels.shape)])
    (most, high), (least, low) = (exact(task.model, track, 0) for track in tracks)
    found = values_of("road", task)
    assert found["a", "road"] == pytest.approx(least - most, abs=1e-5)
    assert found["a", "road, most relevant first"] == pytest.approx(most, abs=1e-5)
    assert found["a", "road, least relevant first"] == pytest.approx(least, abs=1e-5)
    assert found["a", "road, logit"] == pytest.approx(low - high, abs=1e-4)
    monkeypatch.undo()
    assert 0 < abs(values_of("road", task)["a", "road"] - found["a", "road"]) < 0.05, "with its noise"


def test_equal_pixels_go_in_a_random_order_that_is_the_pictures_own() -> None:
    def flat(task: Any, site: Any, targets: Any) -> Any:
        return attribution(task, site, targets, torch.zeros(len(targets), SIDE, SIDE, dtype=torch.float64))

    method = Method("flat", "", "the same everywhere", flat, gradient=False)
    once, again = (values_of("deletion", linear(), method=method) for _ in range(2))
    assert once == again
    raster = Method("raster", "", "in raster order", _raster, gradient=False)
    assert once != pytest.approx(values_of("deletion", linear(), method=raster), abs=1e-3)


def _raster(task: Any, site: Any, targets: Any) -> Any:
    maps = -torch.arange(SIDE * SIDE, dtype=torch.float64).view(1, SIDE, SIDE)
    return attribution(task, site, targets, maps.repeat(len(targets), 1, 1))


def test_padding_is_no_pixel_of_the_picture() -> None:
    def letterboxed(image: Image.Image) -> Tensor:
        inputs = torch.full((3, SIDE, SIDE), 0.7)
        inputs[:, 5:15] = plain(image.resize((SIDE, 10)))
        return inputs

    image = picture().resize((40, 20), Image.Resampling.NEAREST)
    task = linear(letterboxed)
    pixels = letterboxed(image).numpy()
    median = np.median(np.asarray(image), (0, 1)).astype(np.uint8)[:, None, None] / 255
    ranks = signed(task.model, pixels, 0)[5:15]
    inside = moved(pixels[:, 5:15], np.broadcast_to(median, (3, 10, SIDE)), ranks)
    padded = [np.concatenate([pixels[:, :5], one, pixels[:, 15:]], 1) for one in inside]
    found = values_of("deletion", task, Noise(image=image))
    assert found["a", "deletion"] == pytest.approx(exact(task.model, padded, 0)[0], abs=1e-5)


def test_words_that_share_a_map_have_the_values_that_each_has_alone() -> None:
    both, *single = (
        evaluate(linear(), Noise(labels), metrics=["deletion"], methods=["hirescam", "centre"], targets=["logit"])
        for labels in (("a", "b"), ("a",), ("b",))
    )
    for one, label in zip(single, "ab", strict=True):
        for method in ("hirescam", "centre"):
            alone = one.value(label, method, "logit", "deletion")
            assert both.value(label, method, "logit", "deletion") == pytest.approx(alone, abs=1e-6)


def test_a_map_is_tried_once_for_all_that_share_it(monkeypatch: pytest.MonkeyPatch) -> None:
    task: Any = linear()
    shown: list[int] = []
    features = task.features

    def counted(inputs: Tensor) -> Any:
        shown.append(len(inputs))
        return features(inputs)

    monkeypatch.setattr(task, "features", counted)
    evaluate(task, Noise(), metrics=["deletion"], methods=["centre"], targets=["logit"])
    maps = 1 + 2 + 2  # the centre's once; of each class random ones, and the map of the other
    assert sum(shown) == 1 + 2 + 9 * maps


def test_pictures_are_made_and_shown_so_many_at_a_time_and_none_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = values_of("deletion", linear())
    for module in ("metrics.curves", "shown"):
        monkeypatch.setattr(f"vlx.evaluation.{module}.BUDGET", 4 * 3 * SIDE * SIDE * 4)
    assert values_of("deletion", linear()) == pytest.approx(whole, abs=1e-6)


def test_both_are_measured_of_pictures_that_ask_for_places_too() -> None:
    from tests.explanation.test_map_check import colours

    result = evaluate(colours(), Squares(), metrics=["deletion", "insertion"], methods=["gradcam"], targets=["logit"])
    rows = {row.metric: row for row in result.rows}
    assert rows["deletion"].value < min(rows["deletion"].centre, rows["deletion"].random) - 0.1
    assert rows["insertion"].value > max(rows["insertion"].centre, rows["insertion"].random)
    assert result.better["deletion"] == "low"
    assert any("median colour" in note for note in result.notes)


def test_what_is_no_number_is_left_out_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    from vlx.evaluation.shown import ShownBatch

    scores = ShownBatch.scores
    monkeypatch.setattr(ShownBatch, "scores", lambda self, *asked: np.full_like(scores(self, *asked), np.inf))
    (row,) = evaluate(linear(), Noise(("a",)), metrics=["deletion"], methods=["centre"], targets=["logit"]).rows[:1]
    assert np.isnan(row.value)
    assert row.unmeasured == 1


def test_a_model_in_training_mode_is_refused() -> None:
    task = linear()
    task.model.train()
    with pytest.raises(ModelError, match="training mode"):
        values_of("deletion", task)


# Edits


def test_the_area_is_by_trapezoids() -> None:
    assert area(np.array([1.0] + [0.0] * 10)) == pytest.approx(0.05)
    assert area(np.ones(11)) == pytest.approx(1)


def test_pixels_are_taken_by_number_in_raster_order() -> None:
    inputs = torch.zeros(2, 2, 3)
    made = taken_from(inputs, torch.ones(2, 2, 3), np.array([1, 5]))
    assert made.tolist() == [[[0, 1, 0], [0, 0, 1]]] * 2
    assert not inputs.any()


def test_blur_stays_inside_the_window() -> None:
    inputs = torch.rand(3, 12, 10, generator=torch.Generator().manual_seed(1))
    made = blurred(inputs, (2, 10, 1, 9), 1.5)
    expected = inputs.numpy().copy()
    for channel in expected:
        channel[2:10, 1:9] = gaussian_filter(channel[2:10, 1:9].astype(float), 1.5, mode="nearest")
    np.testing.assert_allclose(made, expected, atol=1e-6)


def test_imputed_pixels_are_the_weighted_mean_of_their_eight_neighbours() -> None:
    rng = np.random.default_rng(4)
    pixels, gone = rng.random((2, 7, 9)), rng.random((7, 9)) < 0.6
    made = imputed(pixels, gone)
    np.testing.assert_array_equal(made[:, ~gone], pixels[:, ~gone])
    for y, x in np.argwhere(gone):
        total, weights = np.zeros(2), 0.0
        for down in (-1, 0, 1):
            for right in (-1, 0, 1):
                if (down or right) and 0 <= y + down < 7 and 0 <= x + right < 9:
                    weight = 1 / 12 if down and right else 1 / 6
                    total, weights = total + weight * made[:, y + down, x + right], weights + weight
        np.testing.assert_allclose(made[:, y, x], total / weights)


@pytest.mark.filterwarnings("ignore")  # theirs
def test_imputing_is_that_of_pytorch_grad_cam() -> None:
    road = pytest.importorskip("pytorch_grad_cam.metrics.road")
    rng = np.random.default_rng(0)
    pixels, gone = rng.random((3, 30, 41), np.float32), rng.random((30, 41)) < 0.6
    theirs = road.NoisyLinearImputer(noise=0)(torch.from_numpy(pixels), torch.from_numpy((~gone).astype(int)))
    np.testing.assert_allclose(imputed(pixels, gone), theirs.numpy(), atol=1e-6)


@pytest.mark.filterwarnings("ignore")  # theirs
def test_deletion_is_quantus_pixel_flipping() -> None:
    quantus = pytest.importorskip("quantus")
    task = linear()
    image = Image.fromarray(np.maximum(np.asarray(picture()).astype(int) - 140, 0).astype(np.uint8))  # median black
    pixels = plain(image).numpy()
    metric = quantus.PixelFlipping(
        features_in_step=3 * SIDE * SIDE // 10,  # values, where we count pixels
        perturb_baseline="black",
        normalise=False,
        abs=False,
        disable_warnings=True,
        return_auc_per_sample=False,
    )
    net = nn.Sequential(nn.Unflatten(2, (3, SIDE)), nn.Flatten(1, 2), task.model).eval()  # one channel, three high
    tall, ranks = pixels.reshape(1, 1, -1, SIDE), np.tile(signed(task.model, pixels, 0), (3, 1))[None, None]
    (flipped,) = metric(net, tall, np.array([0]), a_batch=ranks, softmax=True)
    whole = exact(task.model, [pixels] * 11, 0)[0]
    assert values_of("deletion", task, Noise(("a",), image))["a", "deletion"] == pytest.approx(
        area(np.array([whole, *np.ravel(flipped)])), abs=1e-4
    )


def test_the_range_of_prepared_values_is_that_of_black_and_white() -> None:
    image = picture()

    def normalised(picture: Image.Image) -> Tensor:
        return (plain(picture) - torch.tensor([0.5, 0.4, 0.3])[:, None, None]) / torch.tensor([-0.2, 0.1, 1])[
            :, None, None
        ]

    low, high = value_range(normalised, image, normalised(image))
    np.testing.assert_allclose(low, [-2.5, -4.0, -0.3], rtol=1e-5)
    np.testing.assert_allclose(high, [2.5, 6.0, 0.7], rtol=1e-5)

    def by_itself(picture: Image.Image) -> Tensor:
        values = plain(picture)
        return (values - values.mean()) / (values.std() + 1e-6)

    low, high = value_range(by_itself, image, by_itself(image))
    np.testing.assert_allclose(low, by_itself(image).flatten(1).amin(1))
    np.testing.assert_allclose(high, by_itself(image).flatten(1).amax(1))
