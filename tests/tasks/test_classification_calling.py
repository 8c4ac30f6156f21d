"""Models that take more than a picture (``call=``) and layers that run several times (``occurrence=``)."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import vlx
from vlx.errors import ModelError
from vlx.methods import engine
from vlx.protocol.targets import Target, Term
from vlx.tasks.classification import Classifier

SIZE = 16


def prepare(image: Image.Image) -> Tensor:
    pixels = np.asarray(image.convert("RGB").resize((SIZE, SIZE)), np.float64)
    return torch.from_numpy(pixels).permute(2, 0, 1) / 255


def picture(seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (SIZE, SIZE, 3), np.uint8))


class Body(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.conv(x))


class Two(nn.Module):
    """A picture and the patient's data."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.fc = Body(), nn.Linear(6, 3)

    def after(self, A: Tensor, meta: Tensor) -> Tensor:
        logits: Tensor = self.fc(torch.cat([(A**2).mean((2, 3)), meta], 1).sin())
        return logits

    def forward(self, image: Tensor, meta: Tensor) -> Tensor:
        return self.after(self.body(image), meta)


class InADict(Two):
    def forward(self, batch: dict[str, Tensor]) -> Tensor:  # type: ignore[override]
        return super().forward(batch["image"], batch["meta"])


class Siamese(nn.Module):
    """Two pictures through one body; the class tells whether they are alike."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.fc = Body(), nn.Linear(4, 2)

    def after(self, A: Tensor, B: Tensor) -> Tensor:
        logits: Tensor = self.fc((A.mean((2, 3)) - B.mean((2, 3))) ** 2 * 9)
        return logits

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        return self.after(self.body(one), self.body(other))


def made(kind: Callable[[], nn.Module]) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return kind().double().eval()


META = torch.tensor([[0.5, -1.0]], dtype=torch.float64)
OTHER = prepare(picture(1))[None]
CALLS = {
    Two: lambda model, x: model(x, META.expand(len(x), -1)),
    InADict: lambda model, x: model({"image": x, "meta": META.expand(len(x), -1)}),
}


@pytest.mark.parametrize("kind", CALLS)
def test_other_inputs_are_bound_by_call(kind: type[Two]) -> None:
    model = made(kind)
    task = Classifier(model, "body", ["a", "b", "c"], prepare, call=CALLS[kind])
    x = torch.stack([prepare(picture()), prepare(picture(2))])
    features = task.features(x)
    torch.testing.assert_close(features.A, model.body(x))
    torch.testing.assert_close(features.rest["logits"], model.after(model.body(x), META.expand(2, -1)))
    targets = [Target(row, "", (Term(0, n),), "logit") for row in (0, 1) for n in range(3)]
    found = engine.gradients(task, features.A, targets, features.rest)[1]
    for target, own in zip(targets, found, strict=True):
        leaf = features.A[target.row, None].clone().requires_grad_()
        score = model.after(leaf, META)[0, target.terms[0].token]
        torch.testing.assert_close(own, torch.autograd.grad(score, leaf)[0][0], atol=1e-14, rtol=1e-12)
    assert vlx.explain(task, picture())[0].heatmap.max() > 0


@pytest.mark.parametrize(("kind", "raised"), [(Two, "TypeError"), (InADict, "IndexError")])
def test_without_it_the_refusal_tells_of_it(kind: type[Two], raised: str) -> None:
    with pytest.raises(
        ModelError, match=rf"{kind.__name__} does not run on .*{raised}.*call=lambda model, x: "
    ) as told:
        vlx.explain(Classifier(made(kind), "body", None, prepare), picture())
    assert len(str(told.value)) <= 300


def test_a_call_that_fails_says_so() -> None:
    task = Classifier(made(Two), "body", None, prepare, call=lambda model, x: model(x, META.expand(3, -1)))
    with pytest.raises(ModelError, match=r"call= failed with pictures \[1, 3, 16, 16\] .*len\(x\) rows"):
        task.features(prepare(picture())[None])
    with pytest.raises(ModelError, match="call=3 is no function"):
        Classifier(made(Two), "body", None, prepare, call=3)  # type: ignore[arg-type]


def siamese(**options: Any) -> tuple[Any, Classifier]:
    model = made(Siamese)
    first = options.pop("first", True)

    def call(model: nn.Module, x: Tensor) -> Any:
        other = OTHER.expand(len(x), -1, -1, -1)
        return model(x, other) if first else model(other, x)

    return model, Classifier(model, "body", ["same", "other"], prepare, call=call, **options)


@pytest.mark.parametrize("occurrence", [0, 1])
def test_which_call_of_a_layer_is_meant_can_be_said(occurrence: int) -> None:
    model, task = siamese(occurrence=occurrence, first=occurrence == 0)
    x = prepare(picture())[None]
    features = task.features(x)
    torch.testing.assert_close(features.A, model.body(x))
    asked = [Target(0, "", (Term(0, n),), "logit") for n in range(2)]
    found = engine.gradients(task, features.A, asked, features.rest)[1]
    for n in range(2):
        leaf = features.A.clone().requires_grad_()
        pair = (leaf, model.body(OTHER)) if occurrence == 0 else (model.body(OTHER), leaf)
        expected = torch.autograd.grad(model.after(*pair)[0, n], leaf)[0][0]
        assert float(expected.abs().max()) > 1e-3
        torch.testing.assert_close(found[n], expected, atol=1e-14, rtol=1e-12)
    grid = features.grid
    assert (grid.stride, grid.offset, grid.source) == ((4.0, 4.0), (1.5, 1.5), "layers")


def test_a_layer_that_runs_twice_needs_a_word_which() -> None:
    with pytest.raises(ModelError, match=r"'body' of Siamese is called 2 times .* occurrence=0 for the first, … 1 for"):
        siamese()[1].features(prepare(picture())[None])
    with pytest.raises(ModelError, match="is called 2 times, so occurrence=2 is none of them"):
        siamese(occurrence=2)[1].features(prepare(picture())[None])
    for wrong in (-1, 1.0, True):
        with pytest.raises(ModelError, match="must be the number of a call of the layer: 0, 1"):
            siamese(occurrence=wrong)


def test_the_call_that_sees_the_other_picture_is_refused() -> None:
    _, task = siamese(occurrence=1)
    for _ in range(2):  # not only the first time
        with pytest.raises(ModelError, match="same map whatever the picture shows: it reads another input"):
            task.features(prepare(picture())[None])


class Shared(nn.Module):
    """One ReLU behind both convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.relu = nn.Conv2d(3, 4, 2, 2), nn.Conv2d(4, 5, 2, 2), nn.ReLU()
        self.fc = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.relu(self.two(self.relu(self.one(x)))).mean((2, 3)))
        return logits


def test_a_shared_relu_gives_a_map_each_time() -> None:
    model, x = made(Shared), prepare(picture())[None]
    first, second = (Classifier(model, "relu", None, prepare, occurrence=n).features(x).A for n in (0, 1))
    torch.testing.assert_close(first, model.one(x).relu())
    torch.testing.assert_close(second, model.two(model.one(x).relu()).relu())
    with pytest.raises(ModelError, match="'relu' of Shared is called 2 times"):
        Classifier(model, "relu", None, prepare).features(x)
