"""Which chat models of transformers vlx knows, and what each family does in its own way: one row of data a family."""

from collections.abc import Mapping
from dataclasses import dataclass, field

DESCRIBE = "Describe the picture in one sentence."  # what is asked where nobody asks anything
PROJECTED = ("model.vision_tower", "model.multi_modal_projector")
MERGED = ("model.visual",)
CONNECTED = ("model.vision_model", "model.connector")


@dataclass(frozen=True)
class ChatFamily:
    """What one family of chat models does in its own way; all else is asked of its processor and its model.

    ``architecture``: the model's class. ``parts``: the modules from the picture to A; the last one hands A to the text.
    ``fill``: what a token of the answer has in each input of the text that has one number a token beside its ids; in
    the question they are the processor's. ``describe``: what is asked where nobody asks anything. ``prefix``: the
    question stands before the answer as it is, without a chat template.

    >>> ChatFamily("PaliGemmaForConditionalGeneration", PROJECTED, fill={"token_type_ids": 1}, prefix=True)
    """

    architecture: str
    parts: tuple[str, ...] = PROJECTED
    fill: Mapping[str, int] = field(default_factory=dict)
    describe: str = DESCRIBE
    prefix: bool = False


_TYPES = {"mm_token_type_ids": 0}

CHAT: dict[str, ChatFamily] = {
    "llava": ChatFamily("LlavaForConditionalGeneration"),  # and Pixtral
    "llava_next": ChatFamily("LlavaNextForConditionalGeneration"),
    "llava_onevision": ChatFamily("LlavaOnevisionForConditionalGeneration"),
    "qwen2_vl": ChatFamily("Qwen2VLForConditionalGeneration", MERGED, _TYPES),
    "qwen2_5_vl": ChatFamily("Qwen2_5_VLForConditionalGeneration", MERGED, _TYPES),
    "qwen3_vl": ChatFamily("Qwen3VLForConditionalGeneration", MERGED, _TYPES),
    "qwen3_5": ChatFamily("Qwen3_5ForConditionalGeneration", MERGED, _TYPES),
    "glm4v": ChatFamily("Glm4vForConditionalGeneration", MERGED, _TYPES),
    "paligemma": ChatFamily(
        "PaliGemmaForConditionalGeneration", fill={"token_type_ids": 1}, describe="caption en", prefix=True
    ),
    "gemma3": ChatFamily("Gemma3ForConditionalGeneration", fill={"token_type_ids": 0}),
    "smolvlm": ChatFamily("SmolVLMForConditionalGeneration", CONNECTED),
    "idefics3": ChatFamily("Idefics3ForConditionalGeneration", CONNECTED),
    "internvl": ChatFamily("InternVLForConditionalGeneration"),
    "aya_vision": ChatFamily("AyaVisionForConditionalGeneration"),
    "cohere2_vision": ChatFamily("Cohere2VisionForConditionalGeneration"),
    "mistral3": ChatFamily("Mistral3ForConditionalGeneration"),
    "deepseek_vl": ChatFamily("DeepseekVLForConditionalGeneration", ("model.vision_model", "model.aligner")),
    "lfm2_vl": ChatFamily("Lfm2VlForConditionalGeneration"),
}
