"""Tiny chat models that see a picture in its own shape, as patches laid one after the other: Qwen and its kin."""

from collections.abc import Callable
from typing import Any

from vlx.tasks.huggingface.tiny.chats import SPREAD, fitted, text_sizes
from vlx.tasks.huggingface.tiny.templates import turns
from vlx.tasks.huggingface.tiny.tokens import qwen_tokens

PATCH, MERGE = 4, 2
PIXELS = {"shortest_edge": 24 * 24, "longest_edge": 48 * 72}
MARKS = ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
PICTURE = "<|vision_start|><|image_pad|><|vision_end|>"
HELPFUL = "You are a helpful assistant."


def _qwen(kind: str, processor_class: str, vision: dict[str, Any], text: dict[str, Any], system: str = "") -> Any:
    """``kind``: the family's name in its classes, "Qwen2_5_VL"; ``system``: what is said where no system turn is."""
    import transformers as hf

    tokenizer = qwen_tokens(MARKS)
    vision |= {"depth": 3, "hidden_size": 32, "num_heads": 4, "patch_size": PATCH, "spatial_merge_size": MERGE}
    vision |= {"temporal_patch_size": 2, "initializer_range": SPREAD}
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]}
    text = text_sizes(tokenizer, rope_parameters=rope, **text)
    special = dict(zip(("vision_start", "vision_end", "image", "video"), MARKS[2:], strict=True))
    numbers = {f"{name}_token_id": tokenizer.convert_tokens_to_ids(mark) for name, mark in special.items()}
    config = getattr(hf, f"{kind}Config")(vision_config=vision, text_config=text, **numbers)
    model = getattr(hf, f"{kind}ForConditionalGeneration")(config)
    sizes: dict[str, Any] = {"patch_size": PATCH, "merge_size": MERGE, "temporal_patch_size": 2, "size": PIXELS}
    videos = hf.Qwen3VLVideoProcessor if "3" in kind else hf.Qwen2VLVideoProcessor
    processor = getattr(hf, processor_class)(
        hf.Qwen2VLImageProcessor(**sizes), tokenizer, videos(**sizes), chat_template=turns(PICTURE, system=system)
    )
    return fitted(model, processor, ("<|im_end|>", "<|endoftext|>"), fill={"mm_token_type_ids": 0})


def _qwen2_vl() -> Any:
    return _qwen("Qwen2VL", "Qwen2VLProcessor", {"embed_dim": 32, "mlp_ratio": 2}, {}, HELPFUL)


def _qwen2_5_vl() -> Any:
    vision = {"intermediate_size": 48, "out_hidden_size": 32, "window_size": 16, "fullatt_block_indexes": [2]}
    return _qwen("Qwen2_5_VL", "Qwen2_5_VLProcessor", vision, {}, HELPFUL)


def _qwen3_vl() -> Any:
    vision: dict[str, Any] = {"intermediate_size": 48, "out_hidden_size": 32, "num_position_embeddings": 64}
    vision |= {"deepstack_visual_indexes": [0, 1]}
    return _qwen("Qwen3VL", "Qwen3VLProcessor", vision, {"head_dim": 8})


BUILDERS: dict[str, Callable[[], Any]] = {
    "qwen2_vl": _qwen2_vl,
    "qwen2_5_vl": _qwen2_5_vl,
    "qwen3_vl": _qwen3_vl,
}
