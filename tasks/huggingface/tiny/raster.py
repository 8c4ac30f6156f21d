"""Tiny chat models that see a picture as one grid of tokens, row by row: Pixtral, PaliGemma, Gemma 3 and others."""

from collections.abc import Callable
from typing import Any
from warnings import catch_warnings, simplefilter

from PIL import Image
from torch import Tensor, nn

from vlx.tasks.huggingface.tiny.chats import SPREAD, VISION, fitted, text_sizes
from vlx.tasks.huggingface.tiny.templates import DEEPSEEK, GEMMA, MISTRAL
from vlx.tasks.huggingface.tiny.tokens import byte_tokens, gemma_tokens

IMG = ("[INST]", "[/INST]", "[IMG]", "[IMG_BREAK]", "[IMG_END]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]")


def _mistral_tokens() -> Any:
    return byte_tokens(("<s>", "</s>", "<pad>", *IMG), bos_token="<s>", eos_token="</s>", pad_token="<pad>")


def _pixtral() -> Any:
    import transformers as hf

    tokenizer = _mistral_tokens()
    text = hf.MistralConfig(**text_sizes(tokenizer), head_dim=8, sliding_window=None)
    vision = hf.PixtralVisionConfig(**VISION, head_dim=8, image_size=64, patch_size=8, initializer_range=SPREAD)
    config = hf.LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_id=tokenizer.convert_tokens_to_ids("[IMG]"),
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
    )
    pictures = hf.PixtralImageProcessor(size={"longest_edge": 64}, patch_size={"height": 8, "width": 8})
    processor = hf.PixtralProcessor(pictures, tokenizer, patch_size=8, chat_template=MISTRAL)
    return fitted(hf.LlavaForConditionalGeneration(config), processor, ("</s>",))


def _mistral3() -> Any:
    import transformers as hf

    tokenizer = _mistral_tokens()
    text = hf.MistralConfig(**text_sizes(tokenizer), head_dim=8, sliding_window=None)
    vision = hf.PixtralVisionConfig(**VISION, head_dim=8, image_size=64, patch_size=4, initializer_range=SPREAD)
    mark = tokenizer.convert_tokens_to_ids("[IMG]")
    config = hf.Mistral3Config(vision_config=vision, text_config=text, image_token_index=mark, spatial_merge_size=2)
    pictures = hf.PixtralImageProcessor(size={"longest_edge": 64}, patch_size={"height": 4, "width": 4})
    processor = hf.PixtralProcessor(pictures, tokenizer, patch_size=4, spatial_merge_size=2, chat_template=MISTRAL)
    return fitted(hf.Mistral3ForConditionalGeneration(config), processor, ("</s>",))


def _deepseek_vl() -> Any:
    import transformers as hf

    start, end = "<\uff5cbegin\u2581of\u2581sentence\uff5c>", "<\uff5cend\u2581of\u2581sentence\uff5c>"
    tokenizer = byte_tokens(
        (start, end), {"image_token": "<image_placeholder>"}, bos_token=start, eos_token=end, pad_token=end
    )
    vision = hf.SiglipVisionConfig(**VISION, image_size=48, patch_size=8)
    mark = tokenizer.convert_tokens_to_ids("<image_placeholder>")
    config = hf.DeepseekVLConfig(
        vision_config=vision, text_config=hf.LlamaConfig(**text_sizes(tokenizer)), image_token_id=mark
    )
    pictures = hf.DeepseekVLImageProcessor(size={"height": 48, "width": 48}, min_size=8)
    processor = hf.DeepseekVLProcessor(pictures, tokenizer, chat_template=DEEPSEEK, num_image_tokens=36)
    return fitted(hf.DeepseekVLForConditionalGeneration(config), processor, (end,), steps=90)


def prefix(processor: Any, picture: Image.Image, question: str, answer: str | None = None) -> dict[str, Tensor]:
    """A question as PaliGemma's "mix" checkpoints are asked, which have no chat template: behind the picture's tokens.

    ``answer``: what stands behind the question.
    """
    text = f"<image>answer en {question}"
    with catch_warnings():
        simplefilter("ignore", DeprecationWarning)  # of NumPy, about how the processor makes labels
        asked = dict(processor(images=picture, text=text, suffix=answer, return_tensors="pt"))
    if answer is not None:
        asked["input_ids"] = asked["input_ids"][:, :-1]  # the end that a suffix gets
    return asked


def _paligemma() -> Any:
    import transformers as hf

    tokenizer = gemma_tokens(())
    pictures = hf.SiglipImageProcessor(size={"height": 48, "width": 48})
    pictures.image_seq_length = 36
    processor = hf.PaliGemmaProcessor(pictures, tokenizer)
    vision = hf.SiglipVisionConfig(**VISION, image_size=48, patch_size=8, projection_dim=32)
    text = hf.GemmaConfig(**text_sizes(tokenizer, num_key_value_heads=1), head_dim=8)
    config = hf.PaliGemmaConfig(
        vision_config=vision, text_config=text, image_token_id=processor.image_token_id, projection_dim=32
    )
    model = hf.PaliGemmaForConditionalGeneration(config)
    return fitted(model, processor, ("<eos>",), fill={"token_type_ids": 1}, ask=prefix)


def _gemma3() -> Any:
    import transformers as hf

    names = {"image_token": "<image_soft_token>", "boi_token": "<start_of_image>", "eoi_token": "<end_of_image>"}
    tokenizer = gemma_tokens(("<start_of_turn>", "<end_of_turn>"), names)
    numbers = {
        f"{name}_id" if name != "image_token" else "image_token_id": tokenizer.convert_tokens_to_ids(mark)
        for name, mark in names.items()
    }
    text = text_sizes(tokenizer, head_dim=8, layer_types=["sliding_attention", "full_attention"], sliding_window=32)
    vision = VISION | {"image_size": 32, "patch_size": 4, "initializer_range": SPREAD}
    config = hf.Gemma3Config(vision_config=vision, text_config=text, mm_tokens_per_image=16, **numbers)
    model = hf.Gemma3ForConditionalGeneration(config)
    nn.init.normal_(model.model.multi_modal_projector.mm_input_projection_weight, std=0.1)  # zero at construction
    pictures = hf.Gemma3ImageProcessor(size={"height": 32, "width": 32})
    processor = hf.Gemma3Processor(pictures, tokenizer, chat_template=GEMMA, image_seq_length=16)
    return fitted(model, processor, ("<end_of_turn>", "<eos>"), fill={"token_type_ids": 0}, steps=100)


BUILDERS: dict[str, Callable[[], Any]] = {
    "pixtral": _pixtral,
    "mistral3": _mistral3,
    "deepseek_vl": _deepseek_vl,
    "paligemma": _paligemma,
    "gemma3": _gemma3,
}
