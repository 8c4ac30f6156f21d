"""The tiny chat models: stock classes and stock processors, whole in a folder, that answer in words offline."""

import re
from collections.abc import Callable
from functools import cache
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

transformers = pytest.importorskip("transformers")

from vlx.tasks.huggingface import tiny  # noqa: E402
from vlx.tasks.huggingface.refusals import quiet  # noqa: E402
from vlx.tasks.huggingface.tiny.tokens import THOUGHT  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # PaliGemma's labels

Folder = Callable[[str], Path]
Whole = Callable[[str], tuple[Any, Any]]

QUESTION = "what color is the house?"
LANDSCAPE, PORTRAIT = (90, 60), (60, 90)
KILOBYTES = 800
CLASSES = {
    "pixtral": ("LlavaForConditionalGeneration", "PixtralProcessor"),
    "mistral3": ("Mistral3ForConditionalGeneration", "PixtralProcessor"),
    "deepseek_vl": ("DeepseekVLForConditionalGeneration", "DeepseekVLProcessor"),
    "paligemma": ("PaliGemmaForConditionalGeneration", "PaliGemmaProcessor"),
    "gemma3": ("Gemma3ForConditionalGeneration", "Gemma3Processor"),
    "qwen2_vl": ("Qwen2VLForConditionalGeneration", "Qwen2VLProcessor"),
    "qwen2_5_vl": ("Qwen2_5_VLForConditionalGeneration", "Qwen2_5_VLProcessor"),
    "qwen3_vl": ("Qwen3VLForConditionalGeneration", "Qwen3VLProcessor"),
    "qwen3_5": ("Qwen3_5ForConditionalGeneration", "Qwen3VLProcessor"),
    "glm4v": ("Glm4vForConditionalGeneration", "Glm4vProcessor"),
    "lfm2_vl": ("Lfm2VlForConditionalGeneration", "Lfm2VlProcessor"),
    "llava_next": ("LlavaNextForConditionalGeneration", "LlavaNextProcessor"),
    "llava_onevision": ("LlavaOnevisionForConditionalGeneration", "LlavaOnevisionProcessor"),
    "idefics3": ("Idefics3ForConditionalGeneration", "Idefics3Processor"),
    "smolvlm": ("SmolVLMForConditionalGeneration", "SmolVLMProcessor"),
    "internvl": ("InternVLForConditionalGeneration", "InternVLProcessor"),
    "aya_vision": ("AyaVisionForConditionalGeneration", "AyaVisionProcessor"),
    "cohere2_vision": ("Cohere2VisionForConditionalGeneration", "Cohere2VisionProcessor"),
}
CROPS = {"llava_next": 5} | dict.fromkeys(
    ("llava_onevision", "idefics3", "smolvlm", "internvl", "aya_vision", "cohere2_vision"), 7
)  # of a picture of 90 × 60
SQUASHED = ("paligemma", "gemma3", "deepseek_vl")
PREFIXED = ("paligemma",)
WORDS = r"[a-z]+( [a-z]+){1,12}"
THOUGHTFUL = rf"<think>{WORDS}</think><answer>{WORDS}(</answer>)?"


def picture(size: tuple[int, int], seed: int = 0) -> Image.Image:
    """Squares about a colour."""
    rng = np.random.default_rng(seed)
    colors = rng.integers(0, 256, 3) + rng.integers(-64, 64, (6, 6, 3))
    return Image.fromarray(np.clip(colors, 0, 255).astype("uint8")).resize(size, Image.Resampling.NEAREST)


def asked(
    family: str, processor: Any, image: Image.Image, question: str = QUESTION, **options: Any
) -> dict[str, Tensor]:
    """As the family's model cards say."""
    if family in PREFIXED:
        made = processor(text=f"<image>answer en {question}", images=image, return_tensors="pt")
        return {name: value for name, value in made.items() if name != "labels"}
    content = [{"type": "image", "image": image}, {"type": "text", "text": question}]
    options = {"add_generation_prompt": True, "tokenize": True, "return_dict": True, "return_tensors": "pt"} | options
    return dict(processor.apply_chat_template([{"role": "user", "content": content}], **options))


def answered(model: Any, processor: Any, inputs: dict[str, Tensor], **options: Any) -> str:
    with torch.no_grad(), quiet():
        written = model.generate(**inputs, do_sample=False, max_new_tokens=32, **options)
    text: str = processor.tokenizer.decode(written[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return text.strip()


def handed(model: Any, inputs: dict[str, Tensor]) -> int:
    """How many tokens the vision part hands to the text."""
    features = model.base_model.get_image_features
    given = {name: value for name, value in inputs.items() if name in signature(features).parameters}
    with torch.no_grad():
        tokens = features(**given, return_dict=True).pooler_output
    return sum(len(one) for one in tokens) if not isinstance(tokens, Tensor) else tokens[..., 0].numel()


def marks(model: Any, inputs: dict[str, Tensor]) -> int:
    mark = getattr(model.config, "image_token_id", None) or model.config.image_token_index
    return int((inputs["input_ids"] == mark).sum())


@pytest.fixture(scope="module")
def whole(tiny_folder: Folder) -> Whole:
    """A family's model and its processor, read from its folder as a stranger reads them."""

    @cache
    def read(family: str) -> tuple[Any, Any]:
        with quiet():
            model = transformers.AutoModelForImageTextToText.from_pretrained(tiny_folder(family))
            return model.eval(), transformers.AutoProcessor.from_pretrained(tiny_folder(family))

    return read


@pytest.mark.parametrize("family", tiny.CHATS)
def test_the_folder_holds_stock_classes(tiny_folder: Folder, whole: Whole, family: str) -> None:
    assert tuple(type(part).__name__ for part in whole(family)) == CLASSES[family]
    names = {path.name for path in tiny_folder(family).iterdir()}
    assert {"config.json", "generation_config.json", "model.safetensors", "processor_config.json"} <= names
    assert ("chat_template.jinja" in names) == (family not in PREFIXED)
    assert sum(path.stat().st_size for path in tiny_folder(family).iterdir()) < KILOBYTES * 1000


@pytest.mark.parametrize("size", [LANDSCAPE, PORTRAIT])
@pytest.mark.parametrize("family", tiny.CHATS)
def test_the_untouched_model_answers_in_words_that_the_picture_tells(
    whole: Whole, family: str, size: tuple[int, int]
) -> None:
    model, processor = whole(family)
    answers = []
    for seed in range(4):
        inputs = asked(family, processor, picture(size, seed))
        assert marks(model, inputs) == handed(model, inputs) > 0
        answers.append(answered(model, processor, inputs))
    for answer in answers:
        assert re.fullmatch(THOUGHTFUL if family == "glm4v" else WORDS, answer), answer
    assert len(set(answers)) >= 2, answers


@pytest.mark.parametrize("family", tiny.CHATS)
def test_what_is_next_depends_on_the_picture_and_is_no_guess(whole: Whole, family: str) -> None:
    model, processor = whole(family)
    told = []
    for seed in (1, 2):
        with torch.no_grad():
            logits = model(**asked(family, processor, picture(LANDSCAPE, seed))).logits[0, -1]
        told.append(logits.log_softmax(-1))
    assert max(one.max() for one in told) > -3  # one of 600 would be -6.4
    assert (told[0] - told[1]).abs().max() > 0.01


@pytest.mark.parametrize("family", tiny.CHATS)
def test_the_shape_of_a_picture_is_seen_in_its_tokens(whole: Whole, family: str) -> None:
    model, processor = whole(family)
    landscape = asked(family, processor, picture(LANDSCAPE))
    if family in CROPS:
        crops = landscape["pixel_values"]
        assert (len(crops) if crops.dim() == 4 else crops.shape[1]) == CROPS[family]
    counts = []
    for size in ((120, 40), (60, 60), (24, 24), (40, 160)):
        inputs = asked(family, processor, picture(size))
        assert marks(model, inputs) == handed(model, inputs) > 0, size
        counts.append(marks(model, inputs))
    assert (counts[0] == counts[1]) == (family in SQUASHED)


@pytest.mark.parametrize("family", [name for name in tiny.CHATS if name not in PREFIXED])
def test_an_answer_stands_behind_its_question(whole: Whole, family: str) -> None:
    _, processor = whole(family)
    image, answer = picture(LANDSCAPE), "the house is greenish"
    turns = [
        {"role": "user", "content": [{"type": "image", "image": image}, {"type": "text", "text": QUESTION}]},
        {"role": "assistant", "content": [{"type": "text", "text": answer}]},
    ]
    options = {"tokenize": True, "return_dict": True, "return_tensors": "pt"}
    longer = processor.apply_chat_template(turns, continue_final_message=True, **options)["input_ids"][0].tolist()
    question = asked(family, processor, image)["input_ids"][0].tolist()
    if family == "llava_onevision":  # its own template puts "assistant \n" before an answer, and asks by "assistant\n"
        assert longer[: len(question)] != question
        return
    assert longer[: len(question)] == question
    assert processor.tokenizer.decode(longer[len(question) :]).strip() == answer


@pytest.mark.parametrize("family", tiny.CHATS)
def test_special_tokens_never_come_out(whole: Whole, family: str) -> None:
    model, processor = whole(family)
    ends = model.generation_config.eos_token_id
    kept = set(ends) if isinstance(ends, list) else {ends}
    known = {*processor.tokenizer.all_special_ids, *processor.tokenizer.added_tokens_decoder}
    thought = {number for number in known if processor.tokenizer.decode(number) in THOUGHT}
    assert set(model.generation_config.suppress_tokens) == known - kept - thought
    assert model.config.get_text_config().vocab_size == len(processor.tokenizer)


@pytest.mark.parametrize("family", tiny.CHATS)
def test_no_weight_is_left_at_zero_that_others_are_multiplied_by(whole: Whole, family: str) -> None:
    model, _ = whole(family)
    blank = [name for name, weight in model.named_parameters() if not weight.any()]
    assert [name for name in blank if not name.endswith(("bias", "norm.weight"))] == []  # Gemma's norms add 1


def test_gemma_can_be_told_to_pan_and_scan(whole: Whole) -> None:
    model, processor = whole("gemma3")
    options = {"do_pan_and_scan": True, "pan_and_scan_min_crop_size": 16}
    inputs = asked("gemma3", processor, picture(LANDSCAPE), processor_kwargs={"images_kwargs": options})
    assert inputs["pixel_values"].shape == (3, 3, 32, 32)
    assert marks(model, inputs) == handed(model, inputs) == 3 * 16
    assert answered(model, processor, inputs)


def test_a_system_turn_takes_the_place_of_the_usual_one(whole: Whole) -> None:
    turns = [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]
    told = [{"role": "system", "content": [{"type": "text", "text": "be brief"}]}]
    for family, usual in (("qwen2_5_vl", True), ("qwen3_vl", False), ("gemma3", False), ("pixtral", False)):
        _, processor = whole(family)
        assert ("helpful assistant" in processor.apply_chat_template(turns, tokenize=False)) == usual
        text = processor.apply_chat_template(told + turns, tokenize=False)
        assert "be brief" in text
        assert "helpful" not in text
