"""Tiny chat models that see a picture in several crops: LLaVA-NeXT, InternVL and their kin."""

from collections.abc import Callable
from typing import Any

from torch import nn

from vlx.tasks.huggingface.tiny.chats import SPREAD, VISION, fitted, text_sizes
from vlx.tasks.huggingface.tiny.templates import INST, turns
from vlx.tasks.huggingface.tiny.tokens import llama_tokens, qwen_tokens

SIDE, PATCH = 32, 8  # of a crop, in pixels
PINPOINTS = [[32, 64], [64, 32], [64, 64], [96, 32], [32, 96]]


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
    side, patch = [SIDE, SIDE], [PATCH // 2, PATCH // 2]
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
    pictures = hf.GotOcr2ImageProcessor(
        size={"height": SIDE, "width": SIDE}, crop_to_patches=True, min_patches=1, max_patches=6
    )
    videos = hf.InternVLVideoProcessor(size={"height": SIDE, "width": SIDE})
    template = turns("<IMG_CONTEXT>\n")
    processor = hf.InternVLProcessor(pictures, tokenizer, videos, image_seq_length=16, chat_template=template)
    return fitted(model, processor, ("<|im_end|>", "<|endoftext|>"))


BUILDERS: dict[str, Callable[[], Any]] = {
    "llava_next": _llava_next,
    "internvl": _internvl,
}
