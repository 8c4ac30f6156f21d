"""Chat models that no row of the table names: tried as one whose image tokens lie in raster order, or not explained.

Nothing is known of them but what their processor and their own code show, so that the self-test decides.
"""

from typing import Any

import numpy as np
from PIL import Image
from torch import nn

from vlx.errors import ModelError
from vlx.tasks.huggingface import chat
from vlx.tasks.huggingface.chat_families import ChatFamily

NOTE = "unlisted family: vlx has no row for it, and explains it because its self-test passes on a picture of noise"
CELLS = 16  # that the patch probe tries on each of its pictures
SIZE = (96, 144)  # (H, W) of the picture of noise
TOLD = 3  # failed checks that a refusal names


def adapter(model: nn.Module, processor: Any, *, name: str, **named: Any) -> chat.ChatTask:
    """A chat model of a family that is not listed, as a task; ``named`` as for `vlx.tasks.huggingface.chat.ChatTask`.

    Raises ModelError where its self-test fails, naming the checks.
    """
    config: Any = model.config
    family = ChatFamily(type(model).__name__, _parts(model))
    task = chat.adapter(model, processor, family=family, name=name, **named)
    noise = np.random.default_rng(0).integers(0, 256, (*SIZE, 3)).astype(np.uint8)
    result = task.self_test(Image.fromarray(noise), cells=CELLS)
    if not result.passed:
        failed = ", ".join(row.name for row in result.failed[:TOLD])
        raise ModelError(
            f"{name} is of type {config.model_type!r}, which vlx has no row for; tried as one with its image tokens in "
            f"raster order it fails the self-test ({failed}): update vlx, or write an adapter"
        )
    task.notes = (*task.notes, NOTE)
    return task


def _parts(model: Any) -> tuple[str, ...]:
    """The modules from the picture to the text: all beside the text's own, by their order in the model."""
    body = model.base_model
    prefix = next((f"{name}." for name, module in model.named_children() if module is body), "")
    words = model.get_input_embeddings()
    return tuple(
        f"{prefix}{name}"
        for name, module in body.named_children()
        if all(inner is not words for inner in module.modules()) and any(True for _ in module.parameters())
    )
