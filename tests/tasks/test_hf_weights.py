"""In which numbers and where a chat model is opened, and how much of a picture its processor lets through."""

import json
import re
import shutil
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn

hf = pytest.importorskip("transformers")

import vlx  # noqa: E402
from tests.cli.test_cli import run  # noqa: E402
from tests.hf import picture  # noqa: E402
from vlx.errors import InputError, ModelError  # noqa: E402
from vlx.protocol.identity import weights_digest, weights_of  # noqa: E402
from vlx.tasks.huggingface import weights as opening  # noqa: E402
from vlx.tasks.huggingface.limits import TOKENS, limited  # noqa: E402
from vlx.tasks.huggingface.loading import load, wrap  # noqa: E402
from vlx.tasks.huggingface.weights import Weights  # noqa: E402
from vlx.tasks.shared.devices import home_of  # noqa: E402
from vlx.tasks.shared.networks import Networks  # noqa: E402

QUESTION = "what color is the house?"
Folder = Callable[[str], Path]


@pytest.fixture
def half(tiny_folder: Folder, tmp_path: Path) -> Callable[..., Path]:
    """A tiny chat model in a folder of its own, its weights in another type."""

    def saved(dtype: torch.dtype) -> Path:
        folder = Path(shutil.copytree(tiny_folder("llava"), tmp_path / "llava"))
        hf.LlavaForConditionalGeneration.from_pretrained(folder, dtype=dtype).save_pretrained(folder)
        return folder

    return saved


def dtypes(task: Any) -> set[torch.dtype]:
    return {weight.dtype for weight in task.model.parameters()}


# Numbers


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_a_chat_model_is_opened_in_its_files_own_type(half: Callable[..., Path], dtype: torch.dtype) -> None:
    folder = half(dtype)
    task = load(folder)
    assert dtypes(task) == {dtype}
    why = vlx.explain(task, picture(2), question=QUESTION, check=False)
    assert why.text.startswith("the house")
    assert all(torch.isfinite(torch.tensor(word.signed)).all() for word in why)
    assert dtypes(load(folder, dtype="float64")) == {torch.float64}


def test_inputs_go_where_the_vision_part_is_whatever_the_first_weights_are(tiny_folder: Folder) -> None:
    task: Any = load(tiny_folder("llava"))
    task.model.model.language_model.to(torch.float64)
    task.model.lm_head.to(torch.float64)
    first = next(task.model.parameters())
    tower = task.model.model.vision_tower.to(torch.bfloat16)
    assert first.dtype is not torch.bfloat16 or next(tower.parameters()) is first
    assert task.place(torch.zeros(1, 3, 48, 48)).dtype is torch.bfloat16


def test_weights_that_are_not_computed_with_say_nothing_of_the_inputs() -> None:
    class Packed(nn.Module):
        def __init__(self, *numbers: torch.dtype) -> None:
            super().__init__()
            self.packed = nn.ParameterList(
                nn.Parameter(torch.zeros(2).to(dtype), requires_grad=False) for dtype in numbers
            )

    quantised = (torch.uint8, torch.int8, torch.float8_e4m3fn)
    assert home_of([Packed(*quantised, torch.bfloat16)]) == (torch.device("cpu"), torch.bfloat16)
    assert home_of([Packed(*quantised)]) is None
    assert home_of([]) is None
    away = Packed(torch.float16).to("meta")
    assert home_of([away]) == (None, torch.float16), "it is seen to when it is run"
    task: Any = Networks("net", prepare=lambda image: torch.zeros(3, 2, 2), name="mine", blank=(0, 0, 0))
    task.net = Packed(torch.float8_e4m3fn, torch.float16)
    assert task.place(torch.zeros(1, 3, 2, 2)).dtype is torch.float16
    task.net = away
    assert task.place(torch.zeros(1, 3, 2, 2)).device.type == "cpu"


# Where they go


@pytest.fixture
def asked_of(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What ``from_pretrained`` of a chat model is told beside what it always is."""
    told: dict[str, Any] = {}
    original = hf.LlavaForConditionalGeneration.from_pretrained

    def read(source: str, **options: Any) -> Any:
        told.update(options)
        mine = ("device_map", "quantization_config")
        return original(source, **{name: value for name, value in options.items() if name not in mine})

    monkeypatch.setattr(hf.LlavaForConditionalGeneration, "from_pretrained", read)
    monkeypatch.setattr(opening, "find_spec", lambda name: SimpleNamespace())
    return told


def test_options_of_transformers_are_handed_on(tiny_folder: Folder, asked_of: dict[str, Any]) -> None:
    config = {"quant_method": "quanto"}
    task: Any = vlx.load(
        f"hf:{tiny_folder('llava')}", device_map="auto", quantization_config=config, attn_implementation="eager"
    )
    assert asked_of["device_map"] == "auto"
    assert asked_of["quantization_config"] is config
    assert asked_of["dtype"] == "auto"
    assert task.model.config.text_config._attn_implementation == "eager"


def test_commands_hand_them_on(tiny_folder: Folder, asked_of: dict[str, Any], tmp_path: Path) -> None:
    shown = tmp_path / "picture.png"
    picture(2).save(shown)
    options = ("--device-map", "auto", "--quantization", "4bit", "--attention", "sdpa", "--dtype", "bfloat16")
    answered = run("answer", shown, QUESTION, "--model", tiny_folder("llava"), *options, "-o", tmp_path / "answers")
    assert answered.exit_code == 0, answered.output
    assert asked_of["device_map"] == "auto"
    assert asked_of["quantization_config"]["load_in_4bit"] is True
    assert (asked_of["attn_implementation"], asked_of["dtype"]) == ("sdpa", torch.bfloat16)
    manifest = (tmp_path / "answers" / "manifest.jsonl").read_text(encoding="utf-8")
    head = json.loads(manifest.splitlines()[0])
    assert "device_map" not in json.dumps(head), "where it runs decides no result"
    assert "quantization_config" in json.dumps(head)


def test_a_quantised_model_is_opened_where_it_is_to_be(asked_of: dict[str, Any]) -> None:
    assert Weights(device="cpu").options(chat=True, quantised=True)["device_map"] == {"": "cpu"}
    assert "device_map" not in Weights().options(chat=True, quantised=True)
    assert "device_map" not in Weights(device="cpu").options(chat=True, quantised=False)


def test_dispatched_and_quantised_models_are_not_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_given: Any) -> Any:
        raise AssertionError("moved")

    for name, value in (("hf_device_map", {"a": 0, "b": "cpu"}), ("is_quantized", True)):
        model = nn.Linear(1, 1)
        monkeypatch.setattr(model, "to", never)
        with pytest.raises(AssertionError):
            Weights().placed(model)
        setattr(model, name, value)
        assert Weights().placed(model) is model


def test_a_model_of_several_devices_is_explained_as_it_stands(tiny_folder: Folder, tmp_path: Path) -> None:
    """Parts that accelerate keeps on the disk, the vision part among them; skipped where there is no accelerate."""
    pytest.importorskip("accelerate")
    parts = ("model.vision_tower", "model.multi_modal_projector", "model.language_model", "lm_head")
    wanted = vlx.explain(load(tiny_folder("llava")), picture(2), question=QUESTION, check=False)
    for away in ("model.vision_tower", "model.language_model"):
        where = {part: "disk" if part == away else "cpu" for part in parts}
        task: Any = load(tiny_folder("llava"), device_map=where)
        assert any(weight.is_meta for weight in task.model.get_submodule(away).parameters())
        why = vlx.explain(task, picture(2), question=QUESTION, check=False)
        assert why.text == wanted.text
        for one, other in zip(why, wanted, strict=True):
            assert one.signed == pytest.approx(other.signed, abs=1e-6)
        assert task.digest()


def test_weights_that_are_kept_away_have_the_same_digest() -> None:
    """As accelerate keeps them: on the meta device, with a hook that knows where they are."""
    network, away = (nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1)) for _ in range(2))
    away.load_state_dict(network.state_dict())
    layer: Any = away[1]
    kept = SimpleNamespace(weights_map={name: weight.detach().clone() for name, weight in layer.named_parameters()})
    layer._hf_hook = SimpleNamespace(hooks=(SimpleNamespace(), kept))
    layer.to("meta")
    assert weights_digest(weights_of(away)) == weights_digest(weights_of(network))
    kept.weights_map["bias"] += 1
    assert weights_digest(weights_of(away)) != weights_digest(weights_of(network))
    del layer._hf_hook
    with pytest.raises(ModelError, match=r"^the weights 'weight' are nowhere \(on the meta device\); load them"):
        weights_digest(weights_of(away))


# What cannot be


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"device": "cpu", "device_map": "auto"}, "device and device_map both say where the model goes"),
        ({"device_map": "autos"}, "device='autos' is no device of torch"),
        ({"quantization_config": "3bit"}, "quantization_config='3bit' is none by name; known are 8bit, 4bit"),
        ({"quantization_config": {"load_in_4bit": True}}, "is a dict without a quant_method; give transformers.B"),
        ({"dtype": "auto"}, "dtype='auto' is not one that a model runs in"),
        ({"max_pixels": 100}, "takes no max_pixels: CLIPImageProcessor makes every picture one size"),
    ],
)
def test_options_that_cannot_be_are_refused(
    tiny_folder: Folder, asked_of: dict[str, Any], options: dict[str, Any], told: str
) -> None:
    with pytest.raises(InputError) as caught:
        load(tiny_folder("llava"), **options)
    assert told in str(caught.value)
    assert len(str(caught.value)) < 300


def test_without_accelerate_the_error_says_what_to_install(
    tiny_folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"^device_map needs accelerate, .*: pip install accelerate$"):
        load(tiny_folder("llava"), device_map="auto")


def test_options_of_chat_models_are_for_them(tiny_folder: Folder, asked_of: dict[str, Any]) -> None:
    different: tuple[dict[str, Any], ...] = ({"device_map": "auto"}, {"quantization_config": "4bit"})
    for options in different:
        with pytest.raises(InputError, match=rf"^{next(iter(options))}: for chat models"):
            load(tiny_folder("vilt"), **options)
    with pytest.raises(InputError, match=r"^max_pixels=100 is for chat models; .* is a ViltForQuestionAnswering$"):
        load(tiny_folder("vilt"), max_pixels=100)
    with pytest.raises(InputError, match=r"^'scenes/captioner' takes no device_map; these are for models of transf"):
        vlx.load("scenes/captioner", device_map="auto")


# Pixels

CELL = (14 * 2) ** 2
KINDS: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "qwen": (lambda: hf.Qwen2VLImageProcessor(size={"shortest_edge": 4 * CELL, "longest_edge": 16384 * CELL}), {}),
    "glm": (lambda: hf.Glm4vImageProcessor(), {}),
    "pixtral": (lambda: hf.PixtralImageProcessor(), {}),
    "idefics3": (lambda: hf.Idefics3ImageProcessor(), {"image_seq_len": 169}),
    "internvl": (
        lambda: hf.GotOcr2ImageProcessor(crop_to_patches=True, size={"height": 448, "width": 448}),
        {"image_seq_length": 256},
    ),
    "lfm2": (lambda: hf.Lfm2VlImageProcessor(), {}),
}


def tokens(kind: str, images: Any, width: int, height: int) -> float:
    """How many tokens a model of the kind makes of a picture, by what its image processor makes of it."""
    made = images(images=Image.new("RGB", (width, height), (9, 99, 200)), return_tensors="pt")
    if kind in ("qwen", "glm"):
        return int(made["image_grid_thw"].prod()) / 4
    if kind == "pixtral":
        return int(made["pixel_values"][0, 0].numel()) / 16**2
    if kind == "idefics3":
        return int(made["pixel_values"].shape[1]) * 169
    return len(made["pixel_values"]) * 256 if kind == "internvl" else int(made["spatial_shapes"].prod(1).sum()) / 4


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("max_pixels", [None, 300_000])
def test_a_large_picture_is_shrunk_by_its_own_processor(kind: str, max_pixels: int | None) -> None:
    make, beside = KINDS[kind]
    images, config = make(), SimpleNamespace(spatial_merge_size=None)
    limit = limited(SimpleNamespace(image_processor=images, **beside), config, max_pixels, kind)
    assert limit is not None
    assert limit.tokens <= TOKENS
    assert max_pixels is None or limit.pixels <= max_pixels
    for width, height in ((1600, 1200), (2400, 600), (700, 2000)):
        made = tokens(kind, images, width, height)
        assert made <= limit.tokens
        assert limit.told((width, height)), "a note says so"
    assert max(tokens(kind, images, *size) for size in ((1600, 1200), (2400, 600))) > limit.tokens / 2
    assert not limit.told((300, 200))
    assert len(limit.told((40000, 30000))[0]) < 300


def test_shapes_are_taken_off_the_list_of_the_model_too() -> None:
    own = [[336, 672], [672, 336], [672, 672], [1008, 336]]
    images = hf.LlavaNextImageProcessor(size={"shortest_edge": 336}, crop_size=336, image_grid_pinpoints=own)
    config = SimpleNamespace(image_grid_pinpoints=own)
    processor = SimpleNamespace(image_processor=images, patch_size=14)
    limit = limited(processor, config, None, "next")
    assert config.image_grid_pinpoints == images.image_grid_pinpoints == own[:2]
    assert limit is not None
    assert limit.tokens == 3 * 24**2, "the smallest that it has: none is made up"
    with pytest.raises(InputError, match="max_pixels=300000 is less than LlavaNextImageProcessor of next can do; give"):
        limited(processor, config, 300_000, "next")


@pytest.mark.parametrize("family", ["pixtral", "internvl"])
def test_a_picture_that_is_too_large_is_explained_small_with_a_note(tiny_folder: Folder, family: str) -> None:
    own: Any = load(tiny_folder(family))
    large = picture(2, 360, 240)
    before = own.features(own.place(own.prepare(large)[None])).A[0, 0].numel()
    assert own.picture_notes(large) == ()
    for max_pixels in (300, 2000, 6000):
        try:
            task: Any = load(tiny_folder(family), max_pixels=max_pixels)
        except InputError as error:
            assert re.search(r"is less than \w+ of .* can do; give \d+ or more$", str(error)), error
            continue
        break
    assert task.features(task.place(task.prepare(large)[None])).A[0, 0].numel() < before
    (note,) = task.picture_notes(large)
    assert note.startswith("a picture of 360 × 240 pixels is beyond max_pixels=")
    assert task.picture_notes(picture(2, 12, 8)) == ()
    if family == "pixtral":
        why = vlx.explain(task, large, question=QUESTION, check=False, seen=False)
        assert note in why.notes
        assert task.self_test(large, question=QUESTION, cells=4)["stock model"].passed


def test_a_limit_is_never_raised() -> None:
    images = hf.Qwen2VLImageProcessor(size={"shortest_edge": 4 * CELL, "longest_edge": 100 * CELL})
    processor, config = SimpleNamespace(image_processor=images), SimpleNamespace()
    for max_pixels in (None, 10**7):
        assert limited(processor, config, max_pixels, "qwen") is None
        assert images.size["longest_edge"] == 100 * CELL


@pytest.mark.parametrize("max_pixels", [0, -1, 1.5, True, "many"])
def test_what_is_no_number_of_pixels_is_refused(max_pixels: Any) -> None:
    processor = SimpleNamespace(image_processor=hf.Glm4vImageProcessor())
    with pytest.raises(InputError, match=r"^max_pixels=.* is no number of pixels: give a whole number$"):
        limited(processor, SimpleNamespace(), max_pixels, "glm")


# Prompts by hand, and processors of others


def bare(task: Any) -> Any:
    """Its processor without a chat template."""
    processor = deepcopy(task.prompting.processor)
    processor.chat_template = None
    return processor


PROMPT = "USER: <image>\n{question} ASSISTANT:"


def test_a_prompt_by_hand_is_as_good_as_a_template(tiny_folder: Folder) -> None:
    task: Any = load(tiny_folder("llava"))
    processor = bare(task)
    by_hand = wrap(task.model, processor, name="llava", prompt=PROMPT)
    assert processor.chat_template is None, "the one that is given is left"
    wanted, why = (vlx.explain(one, picture(2), question=QUESTION, check=False) for one in (task, by_hand))
    assert [word.logprob for word in why] == pytest.approx([word.logprob for word in wanted], abs=1e-5)
    forced = vlx.explain(by_hand, picture(2), question=QUESTION, answer=why.text, check=False)
    assert [word.logprob for word in forced] == pytest.approx([word.logprob for word in why], abs=1e-4)


def test_a_prompt_may_hold_any_signs(tiny_folder: Folder, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_folder("llava"), tmp_path / "llava"))
    (folder / "chat_template.jinja").unlink()
    prompt = "{{'it's' \\n \"\U0001f600\" %}\n<image> {question}\n"
    task: Any = load(folder, prompt=prompt)
    processor = task.prompting.processor
    content = [{"type": "image"}, {"type": "text", "text": "what {{x}}?"}]
    asked = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    assert asked == prompt.replace("{question}", "what {{x}}?")


def test_without_a_template_the_error_says_how_to_give_one(tiny_folder: Folder, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_folder("llava"), tmp_path / "llava"))
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(ModelError) as caught:
        load(folder)
    assert "has no chat template" in str(caught.value)
    assert "prompt='USER: <image>\\n{question} ASSISTANT:'" in str(caught.value)
    assert len(str(caught.value).replace(str(folder), "llava")) < 300
    shown = tmp_path / "picture.png"
    picture(2).save(shown)
    by_hand = ("--chat-prompt", PROMPT.replace("\n", "\\n"), "-o", tmp_path / "answers")
    answered = run("answer", shown, QUESTION, "--model", folder, *by_hand)
    assert answered.exit_code == 0, answered.output
    assert "it answers: the" in answered.stdout


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        ("USER: <image>\n ASSISTANT:", "must hold {question} once, where the question goes: prompt='USER: <image>"),
        ("<image> {question} {question}", "must hold {question} once"),
        ("USER: {question} ASSISTANT:", "must hold the mark of the picture of llava, <image>, once: prompt='USER: <im"),
        ("<image><image> {question}", "must hold the mark of the picture of llava, <image>, once"),
        (5, "prompt=5 must hold {question} once"),
    ],
)
def test_prompts_that_cannot_be_are_refused(tiny_folder: Folder, prompt: Any, told: str) -> None:
    task: Any = load(tiny_folder("llava"))
    with pytest.raises(InputError) as caught:
        wrap(task.model, bare(task), name="llava", prompt=prompt)
    assert told in str(caught.value)
    assert len(str(caught.value)) < 300
    with pytest.raises(InputError, match=r"^prompt='{question}' is for chat models; .*BlipForConditionalGeneration$"):
        load(tiny_folder("blip-captioning"), prompt="{question}")


def test_a_processor_that_marks_a_picture_otherwise_is_told(tiny_folder: Folder) -> None:
    task: Any = load(tiny_folder("llava"))
    processor = deepcopy(task.prompting.processor)
    processor.image_token = "house"
    told = r"^llava: its processor marks a picture by house \(token \d+\), the model by token \d+; take the processor"
    with pytest.raises(ModelError, match=told):
        wrap(task.model, processor, name="llava")
