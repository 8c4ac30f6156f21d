"""Pictures of any number of channels, and what a ``prepare`` may not give."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import v2

import vlx
from vlx.errors import ModelError
from vlx.pictures.prepare import mean_colour, measure_frame
from vlx.tasks.captioning import CnnLstmCaptioner
from vlx.tasks.classification import Classifier

SIDE = 64


def picture() -> Image.Image:
    """A light square at (8, 40), (y, x), on dark noise."""
    pixels = np.random.default_rng(0).integers(0, 60, (SIDE, SIDE, 3), np.uint8)
    pixels[8:24, 40:56] = 240
    return Image.fromarray(pixels)


def bands(count: int) -> Callable[[Image.Image], Tensor]:
    """A prepare of ``count`` channels, each another mixture of the colours."""
    mixture = torch.rand(count, 3, generator=torch.Generator().manual_seed(count)) + 0.1

    def prepare(image: Image.Image) -> Tensor:
        pixels = torch.from_numpy(np.asarray(image.convert("RGB").resize((SIDE, SIDE)), np.float32)) / 255
        return torch.einsum("kc,hwc->khw", mixture, pixels) - 0.5

    return prepare


def grey(image: Image.Image) -> Tensor:
    """An X-ray's prepare: one channel, mean .4 to 0."""
    return (torch.from_numpy(np.asarray(image.convert("L").resize((SIDE, SIDE)), np.float32)) / 255 - 0.4)[None]


class Light(nn.Module):
    """Dark or light, by the mean of what a convolution over all channels sees."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 2, 8, 8)
        self.conv.weight.data.fill_(1 / (64 * channels))
        self.fc = nn.Linear(2, 2)
        self.fc.weight.data = torch.tensor([[-9.0, -9.0], [9.0, 9.0]])

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc(torch.relu(self.conv(x) + 0.2).mean((2, 3)))
        return logits


@pytest.mark.parametrize("channels", [1, 2, 4, 5, 13])
def test_any_number_of_channels_is_explained(channels: int, tmp_path: Path) -> None:
    prepare = grey if channels == 1 else bands(channels)
    task = Classifier(Light(channels).eval(), "conv", ["dark", "light"], prepare, outputs="softmax")
    why = vlx.explain(task, picture(), answer="light", guided=True, occlusion=True, looks=True)
    y, x = np.unravel_index(why[0].heatmap.argmax(), (SIDE, SIDE))
    assert 8 <= y < 24
    assert 40 <= x < 56
    assert why.provenance["prepared"] == [channels, SIDE, SIDE]
    assert not [note for note in why.notes if not note.startswith("to the model these references are unlike")]
    frame = why.placement.frame
    assert (frame.scale, frame.shift, frame.note) == ((1.0, 1.0), (0.0, 0.0), "")
    assert why[0].occlusion is not None
    assert why[0].guided is not None
    assert why[0].guided.shape == (channels, SIDE, SIDE)
    hidden = vlx.explain(task, picture(), answer="light", method="occlusion")[0]
    y, x = np.unravel_index(hidden.heatmap.argmax(), (SIDE, SIDE))
    assert 8 <= y < 24
    assert 40 <= x < 56
    for name in ("why.html", "why.png", "why.h5"):
        why.save(tmp_path / name)


def test_the_self_test_of_an_x_ray_classifier() -> None:
    task = Classifier(Light(1).eval(), "conv", ["dark", "light"], grey, outputs="softmax")
    rows = {row.name: row for row in task.self_test(picture(), cells=8).rows}
    assert not [row for row in rows.values() if row.passed is False]


@pytest.mark.parametrize(("mean", "mode"), [(0.4, "L"), (0.7, "L")])
def test_the_blank_of_grey_pictures_is_a_grey(mean: float, mode: str) -> None:
    def prepare(image: Image.Image) -> Tensor:
        return torch.from_numpy(np.asarray(image.convert(mode), np.float32))[None] / 255 - mean

    assert mean_colour(prepare) == pytest.approx((mean,) * 3, abs=2e-3)
    assert measure_frame(prepare, (40, 60)).note == ""


REFUSED: dict[str, tuple[Any, str]] = {
    "FiveCrop": (v2.Compose([v2.Resize(80), v2.FiveCrop(SIDE)]), "of these 5 give one: a single crop"),
    "stacked crops": (
        lambda image: torch.stack(v2.Compose([v2.ToImage(), v2.Resize(80), v2.FiveCrop(SIDE)])(image)),
        r"\[5, 3, 64, 64\]; several crops, slices or frames .*CenterCrop, not FiveCrop; a slice, a frame.* call=",
    ),
    "volume": (lambda image: torch.rand(1, 8, 32, 32), r"\[1, 8, 32, 32\]; several crops, slices or frames"),
    "clip": (lambda image: torch.rand(1, 3, 8, 32, 32), r"\[1, 3, 8, 32, 32\]; several crops, slices or frames"),
    "batch": (lambda image: torch.rand(1, 3, 32, 32), r"\[1, 3, 32, 32\]; leave the batch axis out: tensor\[0\]"),
    "signal": (lambda image: torch.rand(1, 256), r"\[1, 256\]; .*A signal is no picture: give its spectrogram"),
    "grey": (lambda image: torch.rand(64, 64), r"\[64, 64\]; for a grey picture give tensor\[None\]"),
    "array": (np.asarray, r"ndarray; give torch.from_numpy\(array\)"),
    "picture": (lambda image: image, "Image; end it with torchvision.transforms.ToTensor"),
    "nothing": (lambda image: torch.rand(3, 0, 8), r"\[3, 0, 8\]; an empty tensor"),
}


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.parametrize("kind", ["classifier", "captioner"])
def test_what_is_no_picture_is_refused_with_the_mend(what: str, kind: str) -> None:
    prepare, mend = REFUSED[what]

    def explain() -> None:
        if kind == "classifier":
            vlx.explain(Classifier(Light(3).eval(), "conv", None, prepare), picture())
        else:
            vlx.explain(captioner(prepare), picture())

    with pytest.raises(
        ModelError, match=r"^prepare must turn a PIL picture into a tensor \[C, H, W\], .*" + mend
    ) as told:
        explain()
    assert len(str(told.value)) <= 300


def captioner(prepare: Any) -> CnnLstmCaptioner:
    class Decoder(nn.Module):
        def start(self, A: Tensor) -> Any:
            return (A.mean((2, 3)),)

        def step(self, tokens: Tensor, state: Any) -> Any:
            return state[0], state

    return CnnLstmCaptioner(nn.Conv2d(3, 2, 8, 8).eval(), Decoder().eval(), ["a", "b"], prepare, max_words=2)


def strict(image: Image.Image) -> Tensor:
    """Takes RGB pictures of at least 200 pixels only."""
    if min(image.size) < 200 or image.mode != "RGB":
        raise ValueError(f"picture too small: {image.size}")
    made: Tensor = v2.Compose([v2.CenterCrop(200), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])(image)
    return made - 0.3


def test_a_prepare_that_needs_a_size_is_probed_at_a_usual_one() -> None:
    assert mean_colour(strict) == pytest.approx((0.3,) * 3, abs=1e-3)
    crop = v2.Compose([v2.RandomCrop(300), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
    assert mean_colour(lambda image: crop(image) - 0.6) == pytest.approx((0.6,) * 3, abs=1e-3)
    task = Classifier(Light(3).eval(), "conv", None, strict, outputs="softmax")
    with pytest.raises(ModelError, match=r"prepare fails on a picture of 64×64 pixels \(ValueError: picture too small"):
        vlx.explain(task, picture())
    assert vlx.explain(task, picture().resize((256, 256)))[0].signed.shape == (25, 25)


def test_a_prepare_that_fails_is_named() -> None:
    def broken(image: Image.Image) -> Tensor:
        raise RuntimeError("no such file: mean.npy")

    with pytest.raises(
        ModelError, match=r"prepare fails on .* 256×256 pixels \(RuntimeError: no such file: mean.npy\)"
    ):
        Classifier(Light(3).eval(), "conv", None, broken)
