"""Maps beside pytorch-grad-cam's raw weights × A, on ResNet-18 and VGG-16 of seeded random weights.

Its guards against division by 0 (1e-6 in Grad-CAM++, 1e-7 in XGrad-CAM, 1e-8 in Score-CAM) are not small beside a
small gradient: Grad-CAM++ on ResNet-18 differs by 2 % for nothing else. They are made 1e-30 here. It keeps scores in
float32, whatever the net has; here they have the net's digits.
"""

import inspect
import re
import textwrap
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from vlx.methods import registry
from vlx.methods.method import Site
from vlx.protocol.targets import Target, Term
from vlx.tasks.classification import Classifier

peers = pytest.importorskip("pytorch_grad_cam", reason="pip install -e '.[peers]'")

THEIRS = {
    "gradcam": "GradCAM",
    "hirescam": "HiResCAM",
    "gradcam++": "GradCAMPlusPlus",
    "xgradcam": "XGradCAM",
    "layercam": "LayerCAM",
    "ablationcam": "AblationCAM",
    "scorecam": "ScoreCAM",
}
CLASSES = (3, 7)
OFF = {torch.float32: 1e-4, torch.float64: 1e-10}


@dataclass(frozen=True)
class Net:
    """A classifier whose units are explained at a layer, and what comes after the layer, by itself."""

    whole: nn.Module
    layer: str
    after: nn.Module
    size: int


def resnet(early: bool) -> Net:
    net = models.resnet18(weights=None, num_classes=10)
    return Net(
        net, "layer1" if early else "layer4", nn.Sequential(net.avgpool, nn.Flatten(), net.fc), 32 if early else 64
    )


def vgg(early: bool) -> Net:
    """Its convolutions, for Score-CAM the first five: fully connected layers of 4,096 only take time."""
    layers = models.vgg.make_layers(models.vgg.cfgs["D"])[: 12 if early else 30]
    after = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(1024 if early else 2048, 64), nn.ReLU())
    after.append(nn.Linear(64, 10))
    return Net(nn.Sequential(layers, after), "0.4" if early else "0.29", after, 32)


NETS = {"resnet18": resnet, "vgg16": vgg}


@pytest.fixture(params=list(OFF), ids=str)
def dtype(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The net's digits, which pytorch-grad-cam keeps its scores in, too."""
    exact = {torch.float32: np.float32, torch.float64: np.float64}[request.param]
    numbers = SimpleNamespace(**{**vars(np), "float32": exact})
    monkeypatch.setattr("pytorch_grad_cam.ablation_cam.np", numbers)
    monkeypatch.setattr("tqdm.tqdm", lambda steps: steps)
    torch.set_default_dtype(request.param)
    yield request.param
    torch.set_default_dtype(torch.float32)


def unguarded(name: str) -> Any:
    """pytorch-grad-cam's method with guards against division by 0 that are too small to matter."""
    method = getattr(peers, THEIRS[name])
    if "get_cam_weights" not in vars(method):
        return method
    code = textwrap.dedent(inspect.getsource(method.get_cam_weights))
    inside: dict[str, Any] = dict(vars(inspect.getmodule(method) or ModuleType("none")))
    exec(re.sub(r"1e-7|1e-8|0\.000001", "1e-30", code), inside)
    return type(name, (method,), {"get_cam_weights": inside["get_cam_weights"]})


def theirs(name: str, net: nn.Module, layer: nn.Module, given: Tensor, number: int) -> Tensor:
    """Raw weights × A of one class, [h, w]."""
    raw: list[Any] = []
    with unguarded(name)(net, [layer]) as cam:
        cam.batch_size = 64
        image = cam.get_cam_image

        def kept(*args: Any, **options: Any) -> Any:
            raw.append(image(*args, **options))
            return raw[-1]

        cam.get_cam_image = kept
        cam(given, targets=[lambda logits: logits[number]])
    return torch.as_tensor(raw[0][0])


def both(name: str, net: str, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Our maps [2, h, w] and theirs."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = NETS[net](early=name == "scorecam")  # one run a unit: of 64 of them
        inputs = torch.randn(1, 3, made.size, made.size)
    model = made.whole.eval().to(dtype)
    task = Classifier(model, layer=made.layer, prepare=lambda image: inputs[0], labels=list("0123456789"))
    targets = [Target(0, str(number), (Term(0, number),), "logit") for number in CLASSES]
    features = task.features(inputs)
    site, there = Site.of(task, features, targets, inputs)
    ours = registry.choose(name).attributed(task, site, there).signed
    layer, given, asked = model.get_submodule(made.layer), inputs, model
    if name == "ablationcam":  # one run a unit, from A on
        layer, given = nn.Identity(), features.A
        asked = nn.Sequential(layer, made.after)
    known = [theirs(name, asked, layer, given, number) for number in CLASSES]
    if name == "ablationcam":
        known = [float(score) * one for score, one in zip(model(inputs).detach()[0, list(CLASSES)], known, strict=True)]
    return ours, torch.stack(known)


@pytest.mark.parametrize("net", list(NETS))
@pytest.mark.parametrize("name", list(THEIRS))
def test_maps_are_pytorch_grad_cams_weights_times_a(name: str, net: str, dtype: torch.dtype) -> None:
    ours, known = both(name, net, dtype)
    assert ours.dtype == dtype
    assert known.abs().max() > 0
    assert float((ours - known).abs().max()) <= OFF[dtype] * max(1.0, float(known.abs().max()))
