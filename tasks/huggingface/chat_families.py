"""Which chat models of transformers vlx knows, and what each family does in its own way: one row of data a family."""

from collections.abc import Mapping
from dataclasses import dataclass, field

DESCRIBE = "Describe the picture in one sentence."  # what is asked where nobody asks anything
PROJECTED = ("model.vision_tower", "model.multi_modal_projector")
MERGED = ("model.visual",)
CONNECTED = ("model.vision_model", "model.connector")


@dataclass(frozen=True)
class Tower:
    """A family whose text reads latents that have no place in the picture: A is what its vision tower gives.

    The tower's first ``prefix`` tokens are no cells. ``latents``: where the configuration tells how many tokens the
    text gets; by default one of the whole picture and one a cell. ``writer``: the submodule whose ``generate`` it is,
    by default the model. ``connector``: the submodule from the tower's tokens to the latents, where the model takes
    latents; where it does not, its tower is replaced in a `vlx.tasks.huggingface.twin.Twin`.

    >>> Tower(1, "num_query_tokens", writer="language_model")
    """

    prefix: int = 0
    latents: str = ""
    writer: str = ""
    connector: str = ""


@dataclass(frozen=True)
class ChatFamily:
    """What one family of chat models does in its own way; all else is asked of its processor and its model.

    ``architecture``: the model's class. ``parts``: the modules from the picture to A; the last one hands A to the text.
    ``fill``: what a token of the answer has in each input of the text that has one number a token beside its ids; in
    the question they are the processor's. ``describe``: what is asked where nobody asks anything. ``prefix``: the
    question stands before the answer as it is, without a chat template. ``form``: a question is put so, with {} in its
    place, and the processor marks the picture by itself; ``describe`` then is the whole text where nobody asks.
    ``apart``: inputs of a question that are a text of their own, each with its mask's name. ``tower``: see `Tower`.

    >>> ChatFamily("PaliGemmaForConditionalGeneration", PROJECTED, fill={"token_type_ids": 1}, prefix=True)
    """

    architecture: str
    parts: tuple[str, ...] = PROJECTED
    fill: Mapping[str, int] = field(default_factory=dict)
    describe: str = DESCRIBE
    prefix: bool = False
    form: str = ""
    apart: Mapping[str, str] = field(default_factory=dict)
    tower: Tower | None = None


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
    "blip-2": ChatFamily(
        "Blip2ForConditionalGeneration",
        ("vision_model",),
        describe="",
        form="Question: {} Answer:",
        tower=Tower(1, "num_query_tokens", writer="language_model"),
    ),
    "instructblip": ChatFamily(
        "InstructBlipForConditionalGeneration",
        ("vision_model",),
        describe="Write a short description for the image.",
        form="{}",
        apart={"qformer_input_ids": "qformer_attention_mask"},
        tower=Tower(1, "num_query_tokens", writer="language_model"),
    ),
    "kosmos-2": ChatFamily(
        "Kosmos2ForConditionalGeneration",
        ("vision_model",),
        {"image_embeds_position_mask": 0},
        describe="An image of",
        form="Question: {} Answer:",
        tower=Tower(1, "latent_query_num", writer="text_model"),
    ),
    "idefics2": ChatFamily(
        "Idefics2ForConditionalGeneration",
        ("model.vision_model",),
        tower=Tower(0, "perceiver_config.resampler_n_latents", connector="model.connector"),
    ),
    "florence2": ChatFamily(
        "Florence2ForConditionalGeneration",
        ("model.vision_tower",),
        describe="<CAPTION>",
        form="{}",
        tower=Tower(),
    ),
}
