"""Models of transformers inside wrappers: taken out where they answer the same alone, else refused with the way out."""

from typing import Any

from torch import nn

from vlx.errors import ModelError
from vlx.tasks.shared.wrapped import plain

DEPTH = 3  # wrappers in wrappers


def unwrapped(model: Any) -> Any:
    """The model of transformers itself; anything else as it is.

    Of PEFT the base model, in whose layers LoRA stays. Raises ModelError for prompts that are learned beside the model,
    and for wrappers that are not known.
    """
    model = plain(model)
    if not isinstance(model, nn.Module) or _of(model, "transformers"):
        return model
    if _of(model, "peft"):
        config = getattr(model, "active_peft_config", None)
        if getattr(config, "is_prompt_learning", False):
            raise ModelError(
                f"{type(model).__name__} learns a prompt beside the model, without which its answers are others: vlx "
                "has no adapter for that; wrap the model's own get_base_model() to explain it without the prompt"
            )
        base: Any = model.get_base_model
        return plain(base())
    path, inner = _inside(model, DEPTH)
    if inner is not None:
        raise ModelError(
            f"{type(model).__name__} is a wrapper round {type(inner).__name__}; give what is in it: model{path}, or of "
            "PEFT model.get_base_model(), in which LoRA stays (merge_and_unload() makes it plain)"
        )
    return model


def _inside(model: nn.Module, depth: int) -> tuple[str, nn.Module | None]:
    """The one model of transformers in a wrapper, and the way to it."""
    children = dict(model.named_children())
    found = [(f".{name}", child) for name, child in children.items() if _of(child, "transformers")]
    if not found and depth > 1:
        deeper = [(name, *_inside(child, depth - 1)) for name, child in children.items()]
        found = [(f".{name}{path}", child) for name, path, child in deeper if child is not None]
    return found[0] if len(found) == 1 else ("", None)


def _of(model: Any, library: str) -> bool:
    return any(parent.__module__.partition(".")[0] == library for parent in type(model).__mro__)
