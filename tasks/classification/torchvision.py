"""torchvision's classifiers by name, with their own labels and preparation: ``vlx.load("torchvision:resnet50")``."""

import pickle
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision import models
from torchvision.models.vision_transformer import EncoderBlock

from vlx.errors import ModelError
from vlx.language import close_matches, shortened
from vlx.tasks.classification.classifier import Classifier

# The layer of each family's last feature map, by the beginning of the model's name. Where it ends in pooling, the ReLU
# before that is taken. Of a ViT the patches behind the last block reach no class: the tokens before it are taken, [B,
# 1 + N, D]. DenseNet's and Swin's maps are signed: they are rectified later by a function, or never.
LAYERS = {
    "alexnet": "features",
    "convnext": "features",
    "densenet": "features",
    "efficientnet": "features",
    "googlenet": "inception5b",
    "inception_v3": "Mixed_7c",
    "maxvit": "blocks.3",
    "mnasnet": "layers",
    "mobilenet": "features",
    "regnet": "trunk_output",
    "resnet": "layer4",
    "resnext": "layer4",
    "shufflenet": "conv5",
    "squeezenet": "features",
    "swin": "permute",
    "vgg": "features",
    "vit": "encoder.layers",
    "wide_resnet": "layer4",
}
# Their published weights expect the inputs scaled anew inside; building them without this also warns.
INCEPTIONS = {"transform_input": True, "aux_logits": True, "init_weights": False}


def load(
    name: str,
    *,
    weights: str | None = "DEFAULT",
    weights_file: str | Path | None = None,
    layer: str | None = None,
    outputs: Any = None,
) -> Classifier:
    """torchvision's classifier ``name`` in eval mode on the CPU, with the labels and the preparation of its weights.

    ``weights``: a name from torchvision's list, downloaded once; None leaves the model untrained. ``weights_file``: a
    state dict to load instead (.pth, or .safetensors), with nothing downloaded. ``layer``: by default the family's
    last feature map. ``outputs``: what its output means, as for `Classifier`; by default found by trying.

    Raises ModelError for an unknown name (with close matches), for a failed download, and for a file that is missing,
    broken or another model's.
    """
    names = models.list_models(module=models)
    if name not in names:
        near = close_matches(name, names)
        hint = f"close: {', '.join(near)}" if near else f"known are {', '.join(names[:8])} and {len(names) - 8} more"
        raise ModelError(f"torchvision has no classifier {shortened(name)!r}; {hint}")
    family = next((family for family in LAYERS if name.startswith(family)), None)
    if family is None and layer is None:
        raise ModelError(f"torchvision:{name} is of a family that vlx does not know; name one of its layers (layer=…)")
    entry = _entry(name, weights)
    if weights is None or weights_file is not None:
        model = models.get_model(name, weights=None, **_options(name))
    else:
        model = _downloaded(name, entry)
    if weights_file is not None:
        _fill(model, name, Path(weights_file))
    notes = ("untrained: its weights are random",) if weights is None and weights_file is None else ()
    return Classifier(
        model.eval(),
        layer or _layer(model, LAYERS[str(family)]),
        entry.meta["categories"],
        entry.transforms(),
        outputs=outputs,
        name=f"torchvision:{name}",
        notes=notes,
    )


def _entry(name: str, weights: str | None) -> Any:
    """The weights' entry: its ``url``, ``meta`` and ``transforms``; the default one stands in for none."""
    known = models.get_model_weights(name)
    if weights is None or weights == "DEFAULT":
        return known.DEFAULT
    if weights not in known.__members__:
        raise ModelError(f"torchvision:{name} has no weights {weights!r}; known: {', '.join(known.__members__)}")
    return known[weights]


def _options(name: str) -> dict[str, Any]:
    return INCEPTIONS if name in ("googlenet", "inception_v3") else {}


def _layer(model: nn.Module, layer: str) -> str:
    """The layer, or the one before its last pooling, or the last block but one where a class token alone is read."""
    block = model.get_submodule(layer)
    if isinstance(block, nn.Sequential) and isinstance(block[-1], EncoderBlock):
        return f"{layer}.{list(block._modules)[-2]}"
    if isinstance(block, nn.Sequential) and isinstance(block[-1], nn.MaxPool2d):
        return f"{layer}.{len(block) - 2}"
    return layer


def _downloaded(name: str, entry: Any) -> nn.Module:
    try:
        model: nn.Module = models.get_model(name, weights=entry)
    except (URLError, OSError, RuntimeError) as error:
        reason = getattr(error, "reason", None) or error
        raise ModelError(
            f"torchvision:{name}: its weights could not be downloaded from {entry.url} ({reason}). Try again with a "
            f"connection; or bring that file here and put it into {torch.hub.get_dir()}/checkpoints, or load it by "
            f"vlx.tasks.classification.torchvision.load({name!r}, weights_file=…)"
        ) from None
    return model


def _fill(model: nn.Module, name: str, file: Path) -> None:
    given, wanted = _state(file), model.state_dict()
    missing, strange = sorted(set(wanted) - set(given)), sorted(set(given) - set(wanted))
    other = sorted(key for key in set(wanted) & set(given) if wanted[key].shape != given[key].shape)
    if missing or strange or other:
        parts = {"missing": missing, "not in the model": strange, "of another shape": other}
        found = "; ".join(f"{len(keys)} {what} ({', '.join(keys[:2])}…)" for what, keys in parts.items() if keys)
        raise ModelError(f"{file} does not hold the weights of {name}: {found}")
    model.load_state_dict(given)


def _state(file: Path) -> dict[str, Tensor]:
    if not file.is_file():
        raise ModelError(f"{file}: there is no such file; weights_file must be a state dict (.pth or .safetensors)")
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        state = torch.load(file, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(f"{file}: cannot be read as weights ({reason})") from None
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ModelError(f"{file}: holds no state dict; save one with torch.save(model.state_dict(), …)")
    return state
