"""Tiny chat models that see a picture in its own shape, as patches laid one after the other: Qwen and its kin."""

from collections.abc import Callable
from typing import Any

from vlx.tasks.huggingface.tiny.chats import SPREAD, VISION, fitted, text_sizes
from vlx.tasks.huggingface.tiny.templates import GLM, turns
from vlx.tasks.huggingface.tiny.tokens import THOUGHT, byte_tokens, qwen_tokens

PATCH, MERGE = 4, 2
PIXELS = {"shortest_edge": 24 * 24, "longest_edge": 48 * 72}
MARKS = ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
PICTURE = "<|vision_start|><|image_pad|><|vision_end|>"


def _qwen(kind: str, processor_class: str, vision: dict[str, Any], text: dict[str, Any], template: str) -> Any:
    """``kind``: the family's name in its classes, "Qwen2_5_VL"."""
    import transformers as hf

    tokenizer = qwen_tokens((*MARKS, *THOUGHT[:2]) if "3" in kind else MARKS)
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
        hf.Qwen2VLImageProcessor(**sizes), tokenizer, videos(**sizes), chat_template=template
    )
    return fitted(model, processor, ("<|im_end|>", "<|endoftext|>"), fill={"mm_token_type_ids": 0})


def _qwen2_vl() -> Any:
    return _qwen("Qwen2VL", "Qwen2VLProcessor", {"embed_dim": 32, "mlp_ratio": 2}, {}, turns(PICTURE, system=True))


def _qwen2_5_vl() -> Any:
    vision = {"intermediate_size": 48, "out_hidden_size": 32, "window_size": 16, "fullatt_block_indexes": [2]}
    return _qwen("Qwen2_5_VL", "Qwen2_5_VLProcessor", vision, {}, turns(PICTURE, system=True))


def _qwen3_vl() -> Any:
    vision: dict[str, Any] = {"intermediate_size": 48, "out_hidden_size": 32, "num_position_embeddings": 64}
    vision |= {"deepstack_visual_indexes": [0, 1]}
    return _qwen("Qwen3VL", "Qwen3VLProcessor", vision, {"head_dim": 8}, turns(PICTURE))


def _qwen3_5() -> Any:
    vision: dict[str, Any] = {"intermediate_size": 48, "out_hidden_size": 32, "num_position_embeddings": 64}
    text: dict[str, Any] = {"head_dim": 8, "layer_types": ["linear_attention", "full_attention"]}
    text |= {"linear_conv_kernel_dim": 4, "linear_num_key_heads": 2, "linear_num_value_heads": 4}
    text |= {"linear_key_head_dim": 8, "linear_value_head_dim": 8}
    return _qwen("Qwen3_5", "Qwen3VLProcessor", vision, text, turns(PICTURE, thought="<think>\n\n</think>\n\n"))


def _glm4v() -> Any:
    import transformers as hf

    marks = ("begin_of_image", "end_of_image", "image", "begin_of_video", "end_of_video", "video")
    names = ("image_start", "image_end", "image", "video_start", "video_end", "video")
    others = ("<|endoftext|>", "[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>")
    tokenizer = byte_tokens(
        (*others, *(f"<|{mark}|>" for mark in marks), *THOUGHT), eos_token="<|endoftext|>", pad_token="<|endoftext|>"
    )
    numbers = {
        f"{name}_token_id": tokenizer.convert_tokens_to_ids(f"<|{mark}|>")
        for name, mark in zip(names, marks, strict=True)
    }
    vision: dict[str, Any] = {
        "depth": 3,
        "hidden_size": 32,
        "num_heads": 4,
        "intermediate_size": 48,
        "out_hidden_size": 32,
    }
    vision |= {"patch_size": PATCH, "spatial_merge_size": MERGE, "temporal_patch_size": 2, "image_size": 48}
    vision["initializer_range"] = SPREAD
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2], "partial_rotary_factor": 1.0}
    text = text_sizes(tokenizer, rope_parameters=rope)
    model = hf.Glm4vForConditionalGeneration(hf.Glm4vConfig(vision_config=vision, text_config=text, **numbers))
    sizes = {"patch_size": PATCH, "merge_size": MERGE, "temporal_patch_size": 2, "size": PIXELS}
    processor = hf.Glm4vProcessor(
        hf.Glm4vImageProcessor(**sizes), tokenizer, hf.Glm4vVideoProcessor(**sizes), chat_template=GLM
    )
    says = "<think>look at the picture</think><answer>{}</answer>"
    return fitted(model, processor, ("<|endoftext|>", "<|user|>"), fill={"mm_token_type_ids": 0}, says=says)


def _lfm2_vl() -> Any:
    import transformers as hf

    others = ("<|pad|>", "<|startoftext|>", "<|endoftext|>", "<|im_start|>", "<|im_end|>")
    names = {"image_token": "<image>", "image_start_token": "<|image_start|>", "image_end_token": "<|image_end|>"}
    tiles = (f"<|img_row_{row}_col_{column}|>" for row in range(1, 5) for column in range(1, 5))
    tokenizer = byte_tokens(
        (*others, *tiles),
        names | {"image_thumbnail": "<|img_thumbnail|>"},
        bos_token="<|startoftext|>",
        eos_token="<|im_end|>",
        pad_token="<|pad|>",
    )
    text = hf.Lfm2Config(**text_sizes(tokenizer), layer_types=["conv", "full_attention"])
    vision = hf.Siglip2VisionConfig(**VISION, patch_size=PATCH, num_patches=64)
    config = hf.Lfm2VlConfig(
        vision_config=vision,
        text_config=text,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        projector_hidden_size=32,
        downsample_factor=MERGE,
    )
    pictures = hf.Lfm2VlImageProcessor(
        encoder_patch_size=PATCH,
        downsample_factor=MERGE,
        tile_size=32,
        max_tiles=6,
        min_image_tokens=16,
        max_image_tokens=54,
    )
    template = "{{ bos_token }}" + turns("<image>")
    processor = hf.Lfm2VlProcessor(pictures, tokenizer, chat_template=template)
    return fitted(hf.Lfm2VlForConditionalGeneration(config), processor, ("<|im_end|>",))


BUILDERS: dict[str, Callable[[], Any]] = {
    "qwen2_vl": _qwen2_vl,
    "qwen2_5_vl": _qwen2_5_vl,
    "qwen3_vl": _qwen3_vl,
    "qwen3_5": _qwen3_5,
    "glm4v": _glm4v,
    "lfm2_vl": _lfm2_vl,
}
