"""The tiny models of transformers: whole, the same every time, and able to say plain words."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

transformers = pytest.importorskip("transformers")

from tests.tasks import test_hf_towers, test_tiny_chats  # noqa: E402
from vlx.errors import InputError  # noqa: E402
from vlx.protocol.targets import Query  # noqa: E402
from vlx.protocol.task import Task  # noqa: E402
from vlx.tasks.huggingface import tiny  # noqa: E402
from vlx.tasks.huggingface.families import FAMILIES  # noqa: E402
from vlx.tasks.huggingface.loading import load  # noqa: E402

Folder = Callable[[str], Path]

FILES = {"config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"}
CAPTIONERS = ("blip-captioning", "vit-gpt2", "swin-bert", "git")
WRITERS = (*CAPTIONERS, "blip-vqa", "llava")
CLASSES = {
    "blip-captioning": "BlipForConditionalGeneration",
    "blip-vqa": "BlipForQuestionAnswering",
    "blip-itm": "BlipForImageTextRetrieval",
    "vit-gpt2": "VisionEncoderDecoderModel",
    "swin-bert": "VisionEncoderDecoderModel",
    "git": "GitForCausalLM",
    "vilt": "ViltForQuestionAnswering",
    "llava": "LlavaForConditionalGeneration",
}
KILOBYTES = 500


def pictures() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    squares = [np.kron(rng.integers(0, 256, (5, 6, 3)), np.ones((8, 10, 1))).astype("uint8") for _ in range(6)]
    noise = rng.integers(0, 256, (50, 70, 3)).astype("uint8")
    plain = [Image.new("RGB", (60, 30), color) for color in ("red", "black", "white")]
    return [*map(Image.fromarray, squares), Image.fromarray(noise), *plain]


def said(task: Task, question: str | None = None) -> list[str]:
    texts = []
    for picture in pictures():
        features = task.features(task.prepare(picture)[None])
        texts.append(task.predict(features, [Query(question=question)])[0].text)
    return texts


def test_every_family_that_vlx_loads_has_a_tiny_model() -> None:
    assert tuple(CLASSES) == tiny.FAMILIES
    made = {type_ for type_, _ in (*test_tiny_chats.CLASSES.values(), *test_hf_towers.CLASSES.values())}
    assert set(CLASSES.values()) | made == {name for _, name in FAMILIES}


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_the_folder_is_what_a_repository_holds(tiny_folder: Folder, family: str) -> None:
    folder = tiny_folder(family)
    wanted = FILES | ({"generation_config.json"} if family in WRITERS else set())
    if family == "llava":
        wanted = (wanted - {"preprocessor_config.json"}) | {"processor_config.json", "chat_template.jinja"}
    assert {path.name for path in folder.iterdir()} == wanted
    assert sum(path.stat().st_size for path in folder.iterdir()) < KILOBYTES * 1000
    config = transformers.AutoConfig.from_pretrained(folder)
    assert config.architectures == [CLASSES[family]]
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    assert processor(pictures()[0], return_tensors="pt")["pixel_values"].shape[:2] == (1, 3)
    text = "a greenish flower"
    assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text


@pytest.mark.parametrize("family", ["blip-captioning", "blip-vqa", "blip-itm", "git", "vilt", "llava"])
def test_families_with_a_combined_processor_open_as_one(tiny_folder: Folder, family: str) -> None:
    both = transformers.AutoProcessor.from_pretrained(tiny_folder(family))
    assert both.image_processor is not None
    assert both.tokenizer is not None


@pytest.mark.parametrize("family", CAPTIONERS)
def test_captions_are_a_few_plain_words_that_depend_on_the_picture(tiny_folder: Folder, family: str) -> None:
    captions = said(load(tiny_folder(family)))
    for caption in captions:
        assert re.fullmatch(r"[a-z]+( [a-z]+){2,9}", caption), caption
    assert len(set(captions)) >= 3


def test_answers_are_words_that_suit_the_question(tiny_folder: Folder) -> None:
    task = load(tiny_folder("blip-vqa"))
    assert set(said(task, "is there a boat in the picture?")) <= {"yes", "no"}
    assert all(re.fullmatch(r"[a-z]+( [a-z]+)?", answer) for answer in said(task, "what color is the house?"))


def test_a_chat_model_answers_what_it_was_asked_by_the_picture(tiny_folder: Folder) -> None:
    task = load(tiny_folder("llava"))
    colors, numbers = said(task, "what color is the house?"), said(task, "how many boats are there?")
    assert all(re.fullmatch(r"the house is [a-z]+", answer) for answer in colors)
    assert all(re.fullmatch(r"there are (one|two|three|four) boats", answer) for answer in numbers)
    assert len(set(colors)) >= 2
    assert len(set(numbers)) >= 2


def test_vilt_answers_from_its_labels_and_hears_the_question(tiny_folder: Folder) -> None:
    task = load(tiny_folder("vilt"))
    there, color = said(task, "is there a boat in the picture?"), said(task, "what color is the house?")
    assert set(there) | set(color) <= set(tiny.ANSWERS)
    assert there != color


def test_vilt_sees_pictures_in_their_own_shape(tiny_folder: Folder) -> None:
    task = load(tiny_folder("vilt"))
    shapes = [
        tuple(task.features(task.prepare(Image.new("RGB", size))[None]).A.shape[-2:])
        for size in ((60, 30), (30, 60), (64, 64))
    ]
    assert shapes == [(3, 6), (6, 3), (4, 4)]


def test_nothing_is_zero_that_random_models_leave_zero(tiny_folder: Folder) -> None:
    model = transformers.ViltForQuestionAnswering.from_pretrained(tiny_folder("vilt"))
    embeddings = model.vilt.embeddings
    assert all(weight.abs().min() > 0 for weight in (embeddings.position_embeddings, embeddings.cls_token))


def test_matching_says_both(tiny_folder: Folder) -> None:
    assert set(said(load(tiny_folder("blip-itm")), "a red house in the snow")) == {"match", "no match"}


def test_words_fall_into_pieces(tiny_folder: Folder) -> None:
    pieces = transformers.AutoTokenizer.from_pretrained(tiny_folder("blip-captioning"))
    assert pieces.tokenize("Greenish zq7 houses") == ["green", "##ish", "z", "##q", "##7", "house", "##s"]
    pairs = transformers.AutoTokenizer.from_pretrained(tiny_folder("vit-gpt2"))
    assert pairs.tokenize("a green boat") == ["a", "Ġgreen", "Ġboat"]
    assert len(pairs.tokenize(" greenish")) > 1


def test_blip_starts_with_a_token_that_its_tokenizer_lacks(tiny_folder: Folder) -> None:
    folder = tiny_folder("blip-captioning")
    text = transformers.AutoConfig.from_pretrained(folder).text_config
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    assert (text.bos_token_id, text.vocab_size) == (len(tokenizer), len(tokenizer) + 2)
    assert (text.sep_token_id, text.pad_token_id) == (tokenizer.sep_token_id, tokenizer.pad_token_id)


def test_gpt2_starts_and_ends_with_one_token(tiny_folder: Folder) -> None:
    found = transformers.GenerationConfig.from_pretrained(tiny_folder("vit-gpt2"))
    assert found.decoder_start_token_id == found.eos_token_id == found.pad_token_id


def test_the_same_model_every_time_and_the_callers_state_is_left() -> None:
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    with torch.inference_mode():
        one, other = tiny.build("blip-itm")[0], tiny.build("blip-itm")[0]
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not one.training
    assert all(weight.requires_grad and weight.grad is None for weight in one.parameters())
    assert all(torch.equal(weight, other.state_dict()[name]) for name, weight in one.state_dict().items())


def test_an_unknown_family_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^there is no tiny model of 'blip-vga'; close: blip-vqa.*\. Known: blip-cap"):
        tiny.save("blip-vga", tmp_path / "new")
    assert not (tmp_path / "new").exists()
