"""Image classifiers of transformers (``…ForImageClassification``) as tasks, split at their last useful block."""

from functools import partial
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from vlx.errors import ModelError
from vlx.methods import engine
from vlx.protocol.targets import Target, Term
from vlx.tasks.classification.classifier import Classifier
from vlx.tasks.classification.layers import blocks
from vlx.tasks.huggingface.vision import prepared

KIND = "ForImageClassification"
MEANINGS = {  # of a configuration's problem_type
    "single_label_classification": "softmax",
    "multi_label_classification": "sigmoid",
    "regression": "value",
}
EXAMPLE = (256, 256)  # pixels of the picture on which layers are tried


def classifies(model: Any) -> bool:
    """Whether it is an image classifier of transformers."""
    return any(KIND in made.__name__ for made in type(model).__mro__)


def adapter(
    model: nn.Module,
    processor: Any,
    _tokenizer: None = None,
    *,
    name: str,
    revision: str | None = None,
    layer: str | None = None,
    outputs: Any = None,
) -> Classifier:
    """A classifier of transformers with its own labels and preparation; there is no tokenizer.

    ``layer``: by default the last block whose cells are places and reach the classes: the last but one where a class
    token alone is read. ``outputs``: what its output means, by
    default what its configuration says.

    Raises ModelError where there is no such block.

    >>> task = vlx.load("hf:google/vit-base-patch16-224")
    """
    config: Any = model.config
    labels = [str(config.id2label[number]) for number in range(config.num_labels)]
    meaning = outputs or MEANINGS.get(
        str(getattr(config, "problem_type", None)), "softmax" if len(labels) > 1 else None
    )

    def made(layer: str) -> Classifier:
        task = Classifier(model, layer, labels, partial(prepared, processor), outputs=meaning, name=name)
        task.revision = revision
        return task

    if layer is not None:
        return made(layer)
    for tried in reversed(blocks(model, _example(model, processor))):
        task = made(tried)
        if _reached(task):
            return task
    raise ModelError(f"{name}: no block of it was seen to hold places that reach its classes; name a layer (layer=…)")


def _example(model: nn.Module, processor: Any) -> Tensor:
    weights = next(model.parameters())
    return prepared(processor, _noise())[None].to(weights.device, weights.dtype)


def _noise() -> Image.Image:
    levels = torch.rand(*EXAMPLE, 3, generator=torch.Generator().manual_seed(0)) * 255
    return Image.fromarray(levels.byte().numpy())


def _reached(task: Classifier) -> bool:
    """Whether a score moves with the cells: behind the last block with a class token it does not."""
    features = task.features(task.place(task.prepare(_noise())[None]))
    target = Target(0, "", (Term(0, 0),), "logit")
    return bool(engine.gradients(task, features.A, [target], features.rest)[1].any())
