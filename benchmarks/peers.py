"""Twelve raw Grad-CAM maps of a caption's words by other libraries, each used as its documentation says.

All return the maps [T, h, w] after the ReLU, before any normalisation. Each library is imported when it is asked for:
``pip install -e ".[peers]"``.
"""

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.model import Forced

PACKAGES = {"pytorch_grad_cam": "grad-cam", "captum": "captum", "torchcam": "torchcam"}

Peer = Callable[[Forced, Tensor, list[int]], Tensor]


def missing() -> list[str]:
    """The packages that are not installed, by their names for pip."""
    return [package for module, package in PACKAGES.items() if find_spec(module) is None]


def grad_cam_loop(model: Forced, image: Tensor, words: list[int]) -> Tensor:
    """pytorch-grad-cam, a call for each word: what its maintainer advises (issue 564)."""
    from pytorch_grad_cam import GradCAM

    maps = []
    with GradCAM(model, [model.cnn.get_submodule("layer4")]) as cam:
        for place in enumerate(words):
            cam(image, targets=[partial(_read, place)])
            maps.append(_raw(cam))
    return torch.cat(maps)


def grad_cam_batch(model: Forced, image: Tensor, words: list[int]) -> Tensor:
    """pytorch-grad-cam, the image repeated for each word."""
    from pytorch_grad_cam import GradCAM

    with GradCAM(model, [model.cnn.get_submodule("layer4")]) as cam:
        cam(image.repeat(len(words), 1, 1, 1), targets=[partial(_read, place) for place in enumerate(words)])
        return _raw(cam)


def captum_loop(model: Forced, image: Tensor, words: list[int]) -> Tensor:
    """Captum, a call for each word, each result detached."""
    from captum.attr import LayerGradCam

    layer = LayerGradCam(model, model.cnn.get_submodule("layer4"))
    maps = [layer.attribute(image, target=place, relu_attributions=True)[:, 0].detach() for place in enumerate(words)]
    return torch.cat(maps)


def captum_batch(model: Forced, image: Tensor, words: list[int]) -> Tensor:
    """Captum, the image repeated for each word."""
    from captum.attr import LayerGradCam

    layer = LayerGradCam(model, model.cnn.get_submodule("layer4"))
    images = image.repeat(len(words), 1, 1, 1)
    maps: Tensor = layer.attribute(images, target=list(enumerate(words)), relu_attributions=True)[:, 0]
    return maps.detach()


def torchcam_loop(model: Forced, image: Tensor, words: list[int]) -> Tensor:
    """torch-cam as in its README: a forward and an extraction for each word."""
    from torchcam.methods import GradCAM

    maps = []
    with GradCAM(model, model.cnn.get_submodule("layer4")) as extractor:
        for place in enumerate(words):
            scores = model(image)
            maps.append(extractor(scores=scores, targets=partial(_read, place), normalized=False)[0])
    return torch.cat(maps)


def torchcam_retain(model: Forced, image: Tensor, words: list[int]) -> Tensor:
    """torch-cam as its troubleshooting page says: one forward, its graph kept for all words."""
    from torchcam.methods import GradCAM

    maps = []
    with GradCAM(model, model.cnn.get_submodule("layer4")) as extractor:
        scores = model(image)
        for place in enumerate(words):
            keep = place[0] + 1 < len(words)
            maps.append(extractor(scores=scores, targets=partial(_read, place), normalized=False, retain_graph=keep)[0])
    return torch.cat(maps)


def ablation_cam_loop(model: nn.Module, layer: nn.Module, image: Tensor, words: list[int]) -> Tensor:
    """Maps [T, h, w] of pytorch-grad-cam's AblationCAM, a call for each word, before the ReLU and times the score."""
    from pytorch_grad_cam import AblationCAM

    maps: list[Any] = []
    with AblationCAM(model, [layer]) as cam:
        weighted = cam.get_cam_image

        def kept(*given: Any, **named: Any) -> Any:
            maps.append(weighted(*given, **named))
            return maps[-1]

        cam.get_cam_image = kept
        scores = []
        for place in enumerate(words):
            cam(image, targets=[partial(_read, place)])
            scores.append(_read(place, cam.outputs[0]).detach())
    return torch.stack(scores)[:, None, None] * torch.cat([torch.as_tensor(one) for one in maps])


PEERS: dict[str, Peer] = {
    "pytorch-grad-cam, loop": grad_cam_loop,
    "pytorch-grad-cam, batch": grad_cam_batch,
    "captum, loop": captum_loop,
    "captum, batch": captum_batch,
    "torch-cam, loop": torchcam_loop,
    "torch-cam, retain_graph": torchcam_retain,
}


def _read(place: tuple[int, int], logprobs: Tensor) -> Tensor:
    """The log-probability of the word (step, token), of one image [T, V] or of each [B, T, V]."""
    return logprobs[..., place[0], place[1]]


def _raw(cam: object) -> Tensor:
    """The map before it was normalised, rebuilt from what pytorch-grad-cam keeps."""
    kept = cam.activations_and_grads  # type: ignore[attr-defined]
    gradient, A = kept.gradients[0], kept.activations[0]
    return torch.einsum("nk,nkhw->nhw", gradient.mean((2, 3)), A).clamp(min=0)
