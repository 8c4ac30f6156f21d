"""Whether an image processor and a tokenizer belong to a model."""

from typing import Any

from vlx.errors import ModelError

_MARKS = ("image_token", "img_patch_token")  # the latter of Aya, which puts the former into texts only
_SAME = (("temporal_patch_size", "temporal_patch_size"),)
FLEXIBLE = ("vilt", "swin", "swinv2", "donut-swin", "dinov2", "dinov2_with_registers", "convnext")  # take any size


def check_parts(config: Any, processor: Any, tokenizer: Any, name: str) -> None:
    """Raises ModelError for pictures of a size that the model does not take, and for tokens that it does not have."""
    _check_size(config, processor, name)
    _check_tokens(config, tokenizer, name)


def check_marks(config: Any, processor: Any, name: str) -> None:
    """Raises ModelError for a chat model's processor that marks or cuts a picture otherwise than the model takes it."""
    tokenizer, images = processor.tokenizer, processor.image_processor
    wanted = getattr(config, "image_token_id", None)
    wanted = getattr(config, "image_token_index", None) if wanted is None else wanted
    marks = [str(mark) for part in (processor, tokenizer) for name in _MARKS if (mark := getattr(part, name, None))]
    numbers = [tokenizer.convert_tokens_to_ids(mark) for mark in marks]
    if numbers and wanted is not None and wanted not in numbers:  # Gemma 3 has one that a picture begins with, too
        raise ModelError(
            f"{name}: its processor marks a picture by {marks[0]} (token {numbers[0]}), the model by token {wanted}; "
            "take the processor of the same repository"
        )
    vision = getattr(config, "vision_config", None)
    for cut, known in (("patch_size", "patch_size"), ("merge_size", "spatial_merge_size"), *_SAME):
        ours, theirs = getattr(images, cut, None), getattr(vision, known, None)
        if isinstance(ours, int) and isinstance(theirs, int) and ours != theirs:
            raise ModelError(
                f"{name}: its processor has {cut}={ours}, the model {known}={theirs}; take the processor of the same "
                "repository"
            )


def _check_size(config: Any, processor: Any, name: str) -> None:
    vision = getattr(config, "vision_config", None) or getattr(config, "encoder", None) or config
    wanted = _pair(getattr(vision, "image_size", None))
    size = output_size(processor)
    if vision.model_type in FLEXIBLE or wanted is None or size is None or size == wanted:
        return
    raise ModelError(
        f"{name}: its image processor makes pictures of {size[0]} × {size[1]} pixels, the model takes "
        f"{wanted[0]} × {wanted[1]}; take the processor of the same repository, or set its size to the model's"
    )


def output_size(processor: Any) -> tuple[int, int] | None:
    """(height, width) of what an image processor makes of every picture; None where that depends on the picture."""
    cropped = getattr(processor, "do_center_crop", None) and getattr(processor, "crop_size", None)
    size = cropped or (getattr(processor, "size", None) if getattr(processor, "do_resize", True) else None)
    if size is None or isinstance(size, int):
        return _pair(size)
    sides = dict(size)
    height, width = sides.get("height"), sides.get("width")
    return None if height is None or width is None else (int(height), int(width))


def _pair(size: Any) -> tuple[int, int] | None:
    if size is None:
        return None
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


def _check_tokens(config: Any, tokenizer: Any, name: str) -> None:
    text = getattr(config, "text_config", None) or getattr(config, "decoder", None) or config
    numbers = tokenizer.get_vocab().values()
    if len(numbers) <= len(tokenizer.all_special_ids):
        raise ModelError(f"{name}: its tokenizer has no words, only special tokens; its vocabulary file is missing")
    most, rows = max(numbers) + 1, int(text.vocab_size)
    if most > rows:
        raise ModelError(
            f"{name}: its tokenizer has {most} tokens, the model knows {rows}; take the tokenizer of the same "
            "repository, or call model.resize_token_embeddings after adding tokens"
        )
