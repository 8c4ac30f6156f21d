"""Tiny chat models that see a picture in several crops: LLaVA-NeXT, InternVL and their kin."""

from collections.abc import Callable
from typing import Any

from torch import nn

from vlx.tasks.huggingface.tiny.chats import SPREAD, VISION, fitted, text_sizes
from vlx.tasks.huggingface.tiny.templates import COHERE, IDEFICS, INST, PICTURES_FIRST, turns
from vlx.tasks.huggingface.tiny.tokens import byte_tokens, cohere_tokens, llama_tokens, qwen_tokens

SIDE, PATCH, FINE = 32, 8, 4  # of a crop and its patches, in pixels; FINE where 2 × 2 patches make a token
SQUARE = {"height": SIDE, "width": SIDE}
CROPS = 6  # of a picture at most, beside the whole
PINPOINTS = [[32, 64], [64, 32], [64, 64], [96, 32], [32, 96]]
WIDE, SHRUNK = [*PINPOINTS, [32, 32], [64, 96], [96, 64]], "anyres_max_3"  # 6 crops are shrunk to the tokens of 3
COMMAND = (
    *("<|START_OF_TURN_TOKEN|>", "<|USER_TOKEN|>", "<|CHATBOT_TOKEN|>", "<|SYSTEM_TOKEN|>"),
    *("<|START_RESPONSE|>", "<|END_RESPONSE|>"),
)


def _llava_next() -> Any:
    import transformers as hf

    tokenizer = llama_tokens(("<image>",))
    config = hf.LlavaNextConfig(
        vision_config=hf.CLIPVisionConfig(**VISION, image_size=SIDE, patch_size=PATCH),
        text_config=hf.MistralConfig(**text_sizes(tokenizer), head_dim=8, sliding_window=None),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        image_grid_pinpoints=PINPOINTS,
    )
    pictures = hf.LlavaNextImageProcessor(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}, image_grid_pinpoints=PINPOINTS
    )
    processor = hf.LlavaNextProcessor(
        pictures,
        tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=INST,
    )
    return fitted(hf.LlavaNextForConditionalGeneration(config), processor, ("</s>",))


def _internvl() -> Any:
    import transformers as hf

    names = {"start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>"}
    tokenizer = qwen_tokens(("<|im_start|>", "<|im_end|>"), names | {"video_token": "<video>"})
    side, patch = [SIDE, SIDE], [FINE, FINE]
    vision = hf.InternVLVisionConfig(**VISION, image_size=side, patch_size=patch, initializer_range=SPREAD)
    config = hf.InternVLConfig(
        vision_config=vision,
        text_config=hf.Qwen2Config(**text_sizes(tokenizer)),
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=16,
        downsample_ratio=0.5,
    )
    model = hf.InternVLForConditionalGeneration(config)
    embeddings = model.model.vision_tower.embeddings
    for zeros in (embeddings.cls_token, embeddings.position_embeddings):
        nn.init.normal_(zeros, std=SPREAD)
    pictures = hf.GotOcr2ImageProcessor(size=SQUARE, crop_to_patches=True, min_patches=1, max_patches=CROPS)
    videos = hf.InternVLVideoProcessor(size=SQUARE)
    template = turns("<IMG_CONTEXT>\n")
    processor = hf.InternVLProcessor(pictures, tokenizer, videos, image_seq_length=16, chat_template=template)
    return fitted(model, processor, ("<|im_end|>", "<|endoftext|>"))


def _llava_onevision() -> Any:
    import transformers as hf

    tokenizer = qwen_tokens(("<|im_start|>", "<|im_end|>", "<image>", "<video>"))
    special = {f"{name}_token_id": tokenizer.convert_tokens_to_ids(f"<{name}>") for name in ("image", "video")}
    config = hf.LlavaOnevisionConfig(
        vision_config=hf.SiglipVisionConfig(**VISION, image_size=SIDE, patch_size=PATCH, vision_use_head=False),
        text_config=hf.Qwen2Config(**text_sizes(tokenizer)),
        image_grid_pinpoints=WIDE,
        vision_aspect_ratio=SHRUNK,
        **special,
    )
    pictures = hf.LlavaOnevisionImageProcessor(size=SQUARE, image_grid_pinpoints=WIDE)
    processor = hf.LlavaOnevisionProcessor(
        pictures,
        tokenizer,
        hf.LlavaOnevisionVideoProcessor(size=SQUARE),
        num_image_tokens=(SIDE // PATCH) ** 2,
        vision_feature_select_strategy="full",
        vision_aspect_ratio=SHRUNK,
        chat_template=PICTURES_FIRST,
    )
    return fitted(hf.LlavaOnevisionForConditionalGeneration(config), processor, ("<|im_end|>", "<|endoftext|>"))


def _idefics(kind: str, start: str, marks: tuple[str, ...]) -> tuple[Any, Any, Any]:
    """Model, picture processor and tokenizer of Idefics 3 and of what was made of it; ``start``: of every text."""
    import transformers as hf

    rows = tuple(f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7))
    marks = (start, *marks, "<fake_token_around_image>", "<image>", "<end_of_utterance>", "<global-img>", *rows)
    tokenizer = byte_tokens(marks, bos_token=start, eos_token="<end_of_utterance>", pad_token=marks[1])
    config = getattr(hf, f"{kind}Config")(
        vision_config={**VISION, "image_size": SIDE, "patch_size": FINE, "initializer_range": SPREAD},
        text_config=hf.LlamaConfig(**text_sizes(tokenizer)),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
    )
    sizes = {"size": {"longest_edge": 3 * SIDE}, "max_image_size": {"longest_edge": SIDE}}
    pictures = getattr(hf, f"{kind}ImageProcessor")(**sizes)
    return getattr(hf, f"{kind}ForConditionalGeneration")(config), pictures, tokenizer


def _idefics3() -> Any:
    import transformers as hf

    model, pictures, tokenizer = _idefics("Idefics3", "<|begin_of_text|>", ("<|end_of_text|>",))
    template = "<|begin_of_text|>" + IDEFICS
    processor = hf.Idefics3Processor(pictures, tokenizer, image_seq_len=16, chat_template=template)
    return fitted(model, processor, ("<end_of_utterance>",))


def _smolvlm() -> Any:
    import transformers as hf

    model, pictures, tokenizer = _idefics("SmolVLM", "<|im_start|>", ("<|im_end|>",))
    sizes = {"size": {"longest_edge": SIDE}, "max_image_size": {"longest_edge": SIDE}}
    videos = hf.SmolVLMVideoProcessor(**sizes, video_sampling={"fps": 1, "max_frames": 4, "video_size": sizes["size"]})
    template = "<|im_start|>" + IDEFICS
    processor = hf.SmolVLMProcessor(pictures, tokenizer, videos, image_seq_len=16, chat_template=template)
    return fitted(model, processor, ("<end_of_utterance>",))


def _cohere(tokenizer: Any) -> tuple[Any, Any]:
    """Configurations of the vision part and of the text, which sees no further than a window in every other layer."""
    import transformers as hf

    vision = hf.SiglipVisionConfig(**VISION, image_size=SIDE, patch_size=FINE, vision_use_head=False)
    layers = ["sliding_attention", "full_attention"]
    return vision, hf.Cohere2Config(**text_sizes(tokenizer), layer_types=layers, sliding_window=64)


def _aya_vision() -> Any:
    import transformers as hf

    tiles = (f"TILE_{number}" for number in range(1, CROPS + 1))
    marks = (*COMMAND, "<image>", "<|START_OF_IMG|>", "<|END_OF_IMG|>", "<|IMG_PATCH|>", "TILE_GLOBAL", *tiles)
    tokenizer = cohere_tokens(marks)
    vision, text = _cohere(tokenizer)
    mark = tokenizer.convert_tokens_to_ids("<|IMG_PATCH|>")
    config = hf.AyaVisionConfig(vision_config=vision, text_config=text, image_token_index=mark, downsample_factor=2)
    pictures = hf.GotOcr2ImageProcessor(size=SQUARE, crop_to_patches=True, min_patches=1, max_patches=CROPS)
    template = COHERE.replace("IMAGE", "<image>")
    processor = hf.AyaVisionProcessor(
        pictures, tokenizer, patch_size=FINE, img_size=SIDE, downsample_factor=2, chat_template=template
    )
    return fitted(
        hf.AyaVisionForConditionalGeneration(config), processor, ("<|END_RESPONSE|>", "<|END_OF_TURN_TOKEN|>")
    )


def _cohere2_vision() -> Any:
    import transformers as hf

    names = {"boi_token": "<|START_OF_IMG|>", "eoi_token": "<|END_OF_IMG|>", "image_token": "<|IMG_PATCH|>"}
    tokenizer = cohere_tokens(COMMAND, names | {"img_line_break_token": "<|IMG_LINE_BREAK|>"})
    vision, text = _cohere(tokenizer)
    config = hf.Cohere2VisionConfig(
        vision_config=vision,
        text_config=text,
        image_token_id=tokenizer.convert_tokens_to_ids("<|IMG_PATCH|>"),
        downsample_factor=2,
        alignment_intermediate_size=64,
    )
    # its processor takes the root of the tokens of a crop for patch_size: 16 in the checkpoints, by chance both
    pictures = hf.Cohere2VisionImageProcessor(size=SQUARE, max_patches=CROPS, patch_size=4)
    template = COHERE.replace("IMAGE", "<|IMG_PATCH|>")
    processor = hf.Cohere2VisionProcessor(pictures, tokenizer, chat_template=template)
    model = hf.Cohere2VisionForConditionalGeneration(config)
    return fitted(model, processor, ("<|END_RESPONSE|>", "<|END_OF_TURN_TOKEN|>"), steps=80)


BUILDERS: dict[str, Callable[[], Any]] = {
    "llava_next": _llava_next,
    "llava_onevision": _llava_onevision,
    "idefics3": _idefics3,
    "smolvlm": _smolvlm,
    "internvl": _internvl,
    "aya_vision": _aya_vision,
    "cohere2_vision": _cohere2_vision,
}
