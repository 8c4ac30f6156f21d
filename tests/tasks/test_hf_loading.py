"""Models of transformers by name and by folder: what reaches the adapter, and what is refused with which words."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

transformers = pytest.importorskip("transformers")

import vlx  # noqa: E402
from tests.hf import CAPTIONERS  # noqa: E402
from vlx.errors import InputError, ModelError  # noqa: E402
from vlx.tasks.huggingface import families, loading, refusals  # noqa: E402
from vlx.tasks.huggingface.families import FAMILIES, KNOWN  # noqa: E402
from vlx.tasks.huggingface.files import revision_of  # noqa: E402
from vlx.tasks.huggingface.loading import load, wrap  # noqa: E402
from vlx.tasks.huggingface.refusals import quiet  # noqa: E402

Folder = Callable[[str], Path]

CLASSES = {
    "blip-captioning": "vlx.tasks.huggingface.captioner.TransformerCaptioner",
    "blip-vqa": "vlx.tasks.vqa.blip.BlipVqa",
    "blip-itm": "vlx.tasks.vqa.blip_matching.BlipMatcher",
    "vit-gpt2": "vlx.tasks.huggingface.captioner.TransformerCaptioner",
    "swin-bert": "vlx.tasks.huggingface.captioner.TransformerCaptioner",
    "git": "vlx.tasks.huggingface.captioner.TransformerCaptioner",
    "vilt": "vlx.tasks.vqa.vilt.ViltVqa",
}
COMMIT = "0123456789abcdef0123456789abcdef01234567"
NAME = "someone/blip-captioning"


@pytest.fixture
def received(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What `load` and `wrap` hand to the adapter of any family, which does nothing else here."""
    found: dict[str, Any] = {}

    def adapter(model: Any, processor: Any, tokenizer: Any, *, name: str, revision: str | None = None) -> Any:
        found.update(model=model, processor=processor, tokenizer=tokenizer, name=name, revision=revision)
        return SimpleNamespace(**found)

    fake = ModuleType("vlx.tasks.captioning.fake")
    fake.__dict__["adapter"] = adapter
    monkeypatch.setitem(sys.modules, fake.__name__, fake)
    for key in FAMILIES:
        monkeypatch.setitem(FAMILIES, key, replace(FAMILIES[key], maker=f"{fake.__name__}:adapter"))
    return found


@pytest.fixture
def copy(tiny_folder: Folder, tmp_path: Path) -> Folder:
    """A family's tiny model in a folder that may be spoiled."""
    return lambda family: Path(shutil.copytree(tiny_folder(family), tmp_path / family))


@pytest.fixture
def hub(tiny_folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A local cache of the hub that holds one repository, NAME at COMMIT; the folder of that."""
    place = tmp_path / "hub" / f"models--{NAME.replace('/', '--')}"
    snapshot = place / "snapshots" / COMMIT
    shutil.copytree(tiny_folder("blip-captioning"), snapshot)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(COMMIT)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return snapshot


def change(folder: Path, file: str = "config.json", **values: Any) -> None:
    found = json.loads((folder / file).read_text(encoding="utf-8"))
    found |= values
    (folder / file).write_text(
        json.dumps({key: value for key, value in found.items() if value is not None}), encoding="utf-8"
    )


def pickle_weights(folder: Path) -> None:
    from safetensors.torch import load_file

    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


# What is loaded


@pytest.mark.parametrize("family", CLASSES)
def test_every_family_becomes_its_task(tiny_folder: Folder, family: str) -> None:
    task = load(tiny_folder(family))
    made = type(task)
    assert f"{made.__module__}.{made.__qualname__}" == CLASSES[family]
    assert task.kind == ("captioning" if family in CAPTIONERS else "vqa")
    assert task.name == str(tiny_folder(family))


def test_the_adapter_gets_the_saved_parts(tiny_folder: Folder, received: dict[str, Any]) -> None:
    folder = tiny_folder("blip-itm")
    load(folder)
    model, saved = received["model"], transformers.BlipForImageTextRetrieval.from_pretrained(folder)
    assert type(model) is type(saved)
    assert not any(module.training for module in model.modules())
    assert all(torch.equal(weight, saved.state_dict()[name]) for name, weight in model.state_dict().items())
    assert type(received["processor"]).__name__ == "BlipImageProcessor"
    assert received["tokenizer"]("a boat")["input_ids"][1:-1] == received["tokenizer"].convert_tokens_to_ids(
        ["a", "boat"]
    )
    assert received["revision"] == revision_of(folder)


def test_a_name_of_the_hub_is_taken_from_the_cache_at_its_commit(hub: Path, received: dict[str, Any]) -> None:
    load(NAME)
    assert received["name"] == f"hf:{NAME}"
    assert received["revision"] == COMMIT
    load(NAME, revision=COMMIT)
    assert received["revision"] == COMMIT


def test_all_files_come_from_the_commit_of_the_configuration(
    hub: Path, received: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, str] = {}

    def spied(reader: str) -> Callable[..., Any]:
        original = getattr(transformers, reader).from_pretrained

        def read(source: str, **options: Any) -> Any:
            seen[reader] = options["revision"]
            assert options.get("use_safetensors", True) is True
            return original(source, **options)

        return read

    readers = ("AutoImageProcessor", "AutoTokenizer", "BlipForConditionalGeneration")
    for reader in readers:
        monkeypatch.setattr(getattr(transformers, reader), "from_pretrained", spied(reader))
    load(NAME, revision="main")
    assert seen == dict.fromkeys(readers, COMMIT)


def test_a_folder_has_a_version_that_follows_its_weights(copy: Folder, hub: Path) -> None:
    folder = copy("blip-itm")
    before = revision_of(folder)
    assert before.startswith("local-")
    assert len(before) == len("local-") + 12
    change(folder, "tokenizer_config.json", something=1)
    assert revision_of(folder) == before
    with (folder / "model.safetensors").open("ab") as file:
        file.write(b" ")
    assert revision_of(folder) != before
    assert revision_of(hub) == COMMIT


@pytest.mark.parametrize(
    ("dtype", "wanted"),
    [(None, torch.float32), ("bfloat16", torch.bfloat16), ("float16", torch.float16), (torch.float64, torch.float64)],
)
def test_weights_have_the_type_asked_for(
    copy: Folder, received: dict[str, Any], dtype: str | torch.dtype | None, wanted: torch.dtype
) -> None:
    folder = copy("blip-itm")
    transformers.BlipForImageTextRetrieval.from_pretrained(folder, dtype=torch.float16).save_pretrained(folder)
    load(folder, dtype=dtype, device="cpu")
    assert {weight.dtype for weight in received["model"].parameters()} == {wanted}


def test_the_settings_of_transformers_are_left(tiny_folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers.utils import logging

    monkeypatch.delenv(loading.NO_CONVERSION, raising=False)
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_info()
    logging.enable_progress_bar()
    before = logging.INFO, True, dict(os.environ)
    load(tiny_folder("blip-itm"))
    with pytest.raises(ModelError, match="does vqa, not captioning"):
        load(tiny_folder("blip-itm"), task="captioning")
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled(), dict(os.environ)) == before
    with pytest.raises(KeyError), quiet():
        assert not logging.is_progress_bar_enabled()
        raise KeyError
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before[:2]
    logging.set_verbosity(level)
    if not bars:
        logging.disable_progress_bar()


def test_loading_prints_nothing(tiny_folder: Folder, capfd: pytest.CaptureFixture[str]) -> None:
    load(tiny_folder("vilt"))
    assert capfd.readouterr() == ("", "")


def test_loading_leaves_the_random_state_and_takes_gradients(tiny_folder: Folder, received: dict[str, Any]) -> None:
    folder = tiny_folder("blip-itm")
    before = torch.random.get_rng_state()
    with torch.inference_mode():
        load(folder)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not any(weight.is_inference() for weight in received["model"].parameters())


def test_folders_of_older_versions_are_read(copy: Folder, received: dict[str, Any]) -> None:
    folder = copy("vit-gpt2")
    found = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    (folder / "vocab.json").write_text(json.dumps(found["vocab"]))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *(" ".join(pair) for pair in found["merges"])]))
    (folder / "tokenizer.json").unlink()
    start = json.loads((folder / "generation_config.json").read_text())["decoder_start_token_id"]
    (folder / "generation_config.json").unlink()
    change(folder, decoder_start_token_id=start, pad_token_id=start, eos_token_id=start)
    older = {"feature_extractor_type": "ViTFeatureExtractor", "size": 32, "do_resize": True, "do_normalize": True}
    (folder / "preprocessor_config.json").write_text(
        json.dumps(older | {"image_mean": [0.5] * 3, "image_std": [0.5] * 3})
    )
    load(folder)
    assert type(received["processor"]).__name__ == "ViTImageProcessor"
    assert received["tokenizer"].tokenize("a green boat") == ["a", "Ġgreen", "Ġboat"]
    assert received["model"].generation_config.decoder_start_token_id == start


def test_a_vocabulary_in_plain_text_is_read(copy: Folder, received: dict[str, Any]) -> None:
    folder = copy("git")
    found = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    (folder / "vocab.txt").write_text("\n".join(sorted(found, key=found.__getitem__)), encoding="utf-8")
    (folder / "tokenizer.json").unlink()
    load(folder)
    assert received["tokenizer"].tokenize("greenish") == ["green", "##ish"]
    (folder / "vocab.txt").write_text("", encoding="utf-8")
    with pytest.raises(ModelError, match=r"its tokenizer "):
        load(folder)


# What is in memory


def test_a_model_in_memory_is_wrapped_as_it_is(tiny_folder: Folder, received: dict[str, Any]) -> None:
    folder = tiny_folder("blip-itm")
    model = transformers.BlipForImageTextRetrieval.from_pretrained(folder).train()
    both = transformers.AutoProcessor.from_pretrained(folder)
    wrap(model, both)
    assert received["model"] is model
    assert model.training
    assert (received["processor"], received["tokenizer"]) == (both.image_processor, both.tokenizer)
    assert (received["name"], received["revision"]) == (str(folder), None)
    wrap(model, (both.image_processor, both.tokenizer), name="mine", revision="2")
    assert (received["processor"], received["tokenizer"]) == (both.image_processor, both.tokenizer)
    assert (received["name"], received["revision"]) == ("mine", "2")


def test_a_subclass_is_of_its_family(tiny_folder: Folder, received: dict[str, Any]) -> None:
    folder = tiny_folder("blip-itm")
    own: Any = type("MyRetrieval", (transformers.BlipForImageTextRetrieval,), {})
    wrap(own.from_pretrained(folder), transformers.AutoProcessor.from_pretrained(folder))
    assert type(received["model"]) is own


def test_what_cannot_be_wrapped_is_refused(tiny_folder: Folder) -> None:
    folder = tiny_folder("blip-itm")
    both = transformers.AutoProcessor.from_pretrained(folder)
    model = transformers.BlipForImageTextRetrieval.from_pretrained(folder)
    with pytest.raises(ModelError, match=r"^wrap\(\) takes a model of transformers, got Linear; wrap a module of your"):
        wrap(torch.nn.Linear(1, 1), both)
    for wrong in (both.tokenizer, both.image_processor, (both.tokenizer, both.image_processor), None, "blip"):
        with pytest.raises(InputError, match=r"^wrap\(\) takes a processor with .* in that order; got "):
            wrap(model, wrong)
    with pytest.raises(ModelError, match=r"image processor makes pictures of 48 × 48 pixels, the model takes 40 × 40"):
        wrap(model, transformers.AutoProcessor.from_pretrained(tiny_folder("blip-captioning")))


# What does not fit


def test_a_processor_of_another_size_is_refused(copy: Folder) -> None:
    folder = copy("git")
    change(folder, "preprocessor_config.json", crop_size={"height": 48, "width": 40})
    with pytest.raises(ModelError, match=r"makes pictures of 48 × 40 pixels, the model takes 48 × 48; take the proc"):
        load(folder)


@pytest.mark.parametrize("family", ["swin-bert", "vilt"])
def test_families_that_take_any_size_take_it(copy: Folder, received: dict[str, Any], family: str) -> None:
    folder = copy(family)
    size = {"height": 96, "width": 96} if family == "swin-bert" else {"shortest_edge": 48}
    change(folder, "preprocessor_config.json", size=size)
    load(folder)
    assert received["processor"].size["height" if family == "swin-bert" else "shortest_edge"] == max(size.values())


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(copy: Folder) -> None:
    folder = copy("git")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    rows = len(tokenizer)
    tokenizer.add_tokens(["unheardof", "neverseen"])
    tokenizer.save_pretrained(folder)
    with pytest.raises(ModelError, match=rf"its tokenizer has {rows + 2} tokens, the model knows {rows}; take"):
        load(folder)


def test_weights_of_another_model_are_refused(copy: Folder) -> None:
    folder = copy("blip-captioning")
    change(folder, architectures=["BlipForQuestionAnswering"])
    with pytest.raises(ModelError, match=r"its files lack \d+ weights of BlipForQuestionAnswering \(text_encoder\."):
        load(folder)


# What is not there


@pytest.mark.parametrize(
    ("file", "named"),
    [
        ("config.json", r"it lacks config\.json\. Copy all files"),
        ("model.safetensors", r"it lacks model\.safetensors or model\.safetensors\.index\.json\. Copy all files"),
        ("preprocessor_config.json", r"it lacks preprocessor_config\.json or processor_config\.json\. Copy"),
        ("tokenizer.json", r"it lacks tokenizer\.json or vocab\.txt or "),
    ],
)
def test_missing_files_are_named(copy: Folder, file: str, named: str) -> None:
    folder = copy("blip-itm")
    (folder / file).unlink()
    with pytest.raises(ModelError, match=named):
        load(folder)


def test_all_missing_files_are_named_at_once(copy: Folder) -> None:
    folder = copy("blip-itm")
    for file in ("model.safetensors", "preprocessor_config.json", "tokenizer.json"):
        (folder / file).unlink()
    with pytest.raises(ModelError, match=r"model\.safetensors or .*; preprocessor_config\.json or .*; tokenizer\.json"):
        load(folder)


def test_missing_shards_are_named(copy: Folder) -> None:
    folder = copy("blip-itm")
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "model-00001-of-00002.safetensors").touch()
    with pytest.raises(ModelError, match=r"it lacks model-00002-of-00002\.safetensors\. Copy"):
        load(folder)


def test_shards_are_loaded(copy: Folder, received: dict[str, Any]) -> None:
    folder = copy("blip-itm")
    model = transformers.BlipForImageTextRetrieval.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="100KB")
    assert (folder / "model.safetensors.index.json").is_file()
    load(folder)
    assert torch.equal(received["model"].itm_head.weight, model.itm_head.weight)


def test_pickled_weights_are_opened_only_when_told_to(
    tiny_folder: Folder, copy: Folder, received: dict[str, Any]
) -> None:
    folder = copy("blip-itm")
    pickle_weights(folder)
    with pytest.raises(ModelError, match=r"only as a pickle \(pytorch_model\.bin\).* pass safetensors_only=False"):
        load(folder)
    load(folder, safetensors_only=False)
    saved = transformers.BlipForImageTextRetrieval.from_pretrained(tiny_folder("blip-itm"))
    assert torch.equal(received["model"].itm_head.weight, saved.itm_head.weight)
    assert received["revision"] != "local-e3b0c44298fc"  # the digest of nothing


def test_a_repository_with_pickled_weights_is_refused_too(hub: Path) -> None:
    pickle_weights(hub)
    with pytest.raises(ModelError, match=rf"{COMMIT}: its weights are there only as a pickle"):
        load(NAME)


def test_a_pickle_that_runs_code_runs_none(copy: Folder, tmp_path: Path) -> None:
    folder = copy("blip-itm")
    (folder / "model.safetensors").unlink()
    torch.save({"itm_head.weight": Trap(tmp_path / "ran")}, folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="its weights cannot be loaded"):
        load(folder, safetensors_only=False)
    assert not (tmp_path / "ran").exists()


class Trap:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_broken_weights_are_refused(copy: Folder) -> None:
    folder = copy("blip-itm")
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match=r"not whole safetensors files .*; copy or download them again"):
        load(folder)


def test_a_broken_configuration_is_refused(copy: Folder) -> None:
    folder = copy("blip-itm")
    (folder / "config.json").write_text("{")
    with pytest.raises(ModelError, match=r"config\.json is no configuration of transformers: it is not JSON"):
        load(folder)


@pytest.mark.parametrize("path", ["./nowhere", "/nowhere/at/all", "~/nowhere", "a/b/c"])
def test_a_folder_that_is_not_there_is_not_looked_for_on_the_hub(path: str) -> None:
    with pytest.raises(ModelError, match=rf"^there is no folder '{path}'; give a model's folder, or a name"):
        load(path)


def test_a_model_that_is_not_in_the_cache_says_how_to_bring_it(hub: Path) -> None:
    with pytest.raises(ModelError) as caught:
        load("someone/else")
    assert str(caught.value) == (
        "someone/else: its config.json is not in the local cache, and the hub cannot be reached. On a machine with a "
        "network run `hf download someone/else --local-dir else`, copy that folder here and give its path: hf:./else"
    )
    with pytest.raises(ModelError, match=rf"not in the local cache at revision 'v2', .* {NAME} --revision v2 --local"):
        load(NAME, revision="v2")


@pytest.mark.parametrize("name", ["two words", "owner/..name"])
def test_what_is_no_name_of_the_hub_is_refused(hub: Path, name: str) -> None:
    with pytest.raises(ModelError, match=r"is no name of the hub \(OWNER/NAME\), and there is no such folder; check"):
        load(name)


@pytest.mark.parametrize("file", ["model.safetensors", "preprocessor_config.json", "tokenizer.json"])
def test_a_cache_that_holds_but_a_part_is_told(hub: Path, file: str) -> None:
    (hub / file).unlink()
    with pytest.raises(ModelError, match=rf"{COMMIT} is not a whole model of .* it lacks {file}.*`hf download NAME"):
        load(NAME)


def raise_as_transformers_does() -> None:
    with refusals.explained(NAME, None, "its weights"):
        raise OSError("x does not appear to have a file named y and thus cannot be loaded with `safetensors`. Please")


def test_what_the_hub_refuses_is_said_with_a_remedy() -> None:
    from huggingface_hub import errors

    def refused(kind: type[Exception], words: str) -> None:
        error = kind.__new__(kind)
        error.args = ("long text",)
        with pytest.raises(ModelError, match=words), refusals.explained(NAME, "v9", "its config.json"):
            raise OSError("You are trying") from error

    refused(errors.GatedRepoError, rf"^{NAME} is a gated repository: accept its terms at https://.*{NAME}, then run")
    refused(errors.RepositoryNotFoundError, rf"^the hub has no model '{NAME}', or it is private: .*hf auth login")
    refused(errors.RevisionNotFoundError, rf"^{NAME} has no revision 'v9'; give a branch, a tag or a commit")
    refused(
        errors.LocalEntryNotFoundError, r"config\.json is not in the local cache at revision 'v9', .* --revision v9"
    )
    with pytest.raises(ModelError, match=rf"^{NAME}: its weights are there only as a pickle \(pytorch_model\.bin\)"):
        raise_as_transformers_does()
    refused(ZeroDivisionError, rf"^{NAME}: its config\.json cannot be loaded \(You are trying\)$")


# What vlx does not know


def saved(folder: Path, config: Any, architecture: str) -> Path:
    config.architectures = [architecture]
    config.save_pretrained(folder)
    return folder


def test_models_of_text_have_no_vision_part(tmp_path: Path) -> None:
    for config, made in (
        (transformers.BertConfig(), "BertForMaskedLM"),
        (transformers.GPT2Config(), "GPT2LMHeadModel"),
    ):
        with pytest.raises(ModelError, match=rf"\({made}\), which has no vision part: .* vlx knows LLaVA, Qwen-VL"):
            load(saved(tmp_path / made, config, made))


def test_an_unknown_family_is_told_what_is_known_and_where_its_tower_is(tmp_path: Path) -> None:
    sizes: dict[str, Any] = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    vision, text = {**sizes, "image_size": 32, "patch_size": 8}, {**sizes, "vocab_size": 9}
    folder = saved(tmp_path, transformers.CLIPConfig(vision_config=vision, text_config=text), "CLIPModel")
    with pytest.raises(ModelError) as caught:
        load(folder)
    told = str(caught.value)
    assert told.startswith(f"{folder} is of type 'clip' (CLIPModel), for which vlx has no adapter")
    assert all(kind in told for kind in KNOWN)
    assert "Its vision tower looks to be vision_model; an adapter" in told
    assert len(told) < 300


@pytest.mark.parametrize(
    ("config", "made", "called"),
    [
        ("Gemma3nConfig", "Gemma3nForConditionalGeneration", "Gemma 3n"),
        ("Molmo2Config", "Molmo2ForConditionalGeneration", "Molmo 2"),
        ("MllamaConfig", "MllamaForConditionalGeneration", r"Llama 3\.2 Vision \(Mllama\)"),
    ],
)
def test_families_that_are_not_done_are_told_to_be(tmp_path: Path, config: str, made: str, called: str) -> None:
    folder = saved(tmp_path / "it", getattr(transformers, config)(), made)
    with pytest.raises(ModelError, match=rf"/it is a {called}, a family listed as not done: .* update vlx") as caught:
        load(folder)
    assert len(str(caught.value)) < 300


def test_a_model_that_cannot_be_built_is_still_known_to_see(tmp_path: Path) -> None:
    with pytest.raises(
        ModelError, match=r"\(LlavaOfMine\), for .* no adapter\. It knows [^:]*\. Update vlx or tra.*\.$"
    ):
        load(saved(tmp_path, transformers.LlavaConfig(), "LlavaOfMine"))


def test_a_class_without_the_words_is_not_taken_for_one_with_them(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"of type 'blip' \(BlipModel\), .* knows BlipForC.*looks to be vision_model"):
        load(saved(tmp_path, transformers.BlipConfig(), "BlipModel"))


def test_a_type_that_transformers_does_not_know_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "seer"}')
    told = r"its config\.json cannot be loaded \(.*`seer`.*\); update vlx or transformers: pip install -U vlx transf"
    with pytest.raises(ModelError, match=told):
        load(tmp_path)


def test_code_of_a_repository_is_not_run_unasked(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "seer", "auto_map": {"AutoConfig": "code.SeerConfig"}})
    )
    (tmp_path / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(ModelError, match=r"brings Python code of its own, .* then pass trust_remote_code=True$"):
        load(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_a_configuration_that_names_no_class(copy: Folder, received: dict[str, Any]) -> None:
    vilt = copy("vilt")
    change(vilt, architectures=None)
    load(vilt)
    assert type(received["model"]).__name__ == "ViltForQuestionAnswering"


def test_a_configuration_that_names_no_class_where_several_would_do(copy: Folder) -> None:
    folder = copy("blip-captioning")
    change(folder, architectures=None)
    with pytest.raises(ModelError, match=r"does not say which of BlipForConditionalGeneration, BlipForQuestionAnswer"):
        load(folder)
    assert load(folder, task="captioning").kind == "captioning"
    with pytest.raises(ModelError, match=r"which of BlipForQuestionAnswering, BlipForImageTextRetrieval it is; add"):
        load(folder, task="vqa")


def test_tasks_are_checked(tiny_folder: Folder) -> None:
    with pytest.raises(InputError, match=r"^task='chat' is no task of these models; known are captioning, vqa$"):
        load(tiny_folder("vilt"), task="chat")
    with pytest.raises(ModelError, match=r" is a ViltForQuestionAnswering, which does vqa, not captioning$"):
        load(tiny_folder("vilt"), task="captioning")


def test_a_row_says_the_kinds_of_its_family() -> None:
    assert {kind for row in FAMILIES.values() for kind in row.kinds} == set(families.TASKS)
    assert FAMILIES["llava", "LlavaForConditionalGeneration"].kinds == ("vqa", "captioning")


def test_a_family_that_older_versions_cannot_split_is_refused_by_name(
    tiny_folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["transformers"], "__version__", "5.16.2")
    told = r'a LlavaForConditionalGeneration, needs transformers 5\.20 or newer, found 5\.16\.2: pip install -U "vlx'
    with pytest.raises(ModelError, match=told):
        load(tiny_folder("llava"))
    assert load(tiny_folder("vilt")).kind == "vqa"


# Options and surroundings


@pytest.mark.parametrize("dtype", ["int8", "float33", torch.int64, 16, "auto"])
def test_unknown_dtypes_are_refused(tiny_folder: Folder, dtype: Any) -> None:
    with pytest.raises(InputError, match=r"^dtype=.* known are float32, bfloat16, float16, float64$"):
        load(tiny_folder("vilt"), dtype=dtype)


def test_devices_that_are_not_there_are_refused(tiny_folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r'^device=\'gpu\' is no device of torch; write "cpu", "cuda"'):
        load(tiny_folder("vilt"), device="gpu")
    for there, device in ((0, "cuda"), (1, "cuda:1")):
        monkeypatch.setattr(torch.cuda, "device_count", lambda there=there: there)
        with pytest.raises(InputError, match=rf'^device="{device}": torch finds {there} cuda devices on this machine'):
            load(tiny_folder("vilt"), device=device)


def test_a_folder_has_no_other_revision(tiny_folder: Folder) -> None:
    with pytest.raises(InputError, match=r"^revision='v2' is for models of the hub; .* is a folder"):
        load(tiny_folder("vilt"), revision="v2")


def test_without_transformers_the_error_says_what_to_install(
    tiny_folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_folder("vilt")
    # Not the module imported above: transformers puts another in its place while it is imported.
    monkeypatch.setattr(sys.modules["transformers"], "__version__", "4.57.1")
    with pytest.raises(ModelError, match=r'needs transformers 5 or newer, found 4\.57\.1: pip install -U "vlx\[hf\]"$'):
        load(folder)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ModelError, match=r'which is not installed: pip install "vlx\[hf\]"$'):
        vlx.load(folder)


# vlx.load


@pytest.mark.parametrize("prefix", ["hf:", ""])
def test_vlx_loads_folders_with_the_prefix_and_without(
    tiny_folder: Folder, received: dict[str, Any], prefix: str
) -> None:
    folder = tiny_folder("vilt")
    vlx.load(f"{prefix}{folder}", dtype="float64", task="vqa")
    assert received["name"] == str(folder)
    assert next(received["model"].parameters()).dtype == torch.float64


def test_vlx_loads_names_of_the_hub(hub: Path, received: dict[str, Any]) -> None:
    vlx.load(f"hf:{NAME}", revision="main", safetensors_only=True, trust_remote_code=False, device="cpu")
    assert (received["name"], received["revision"]) == (f"hf:{NAME}", COMMIT)
    vlx.load(received["name"])


def test_options_of_other_models_are_refused(tiny_folder: Folder) -> None:
    with pytest.raises(
        InputError, match=r"^'scenes/captioner' takes no revision; these are for models of transformers"
    ):
        vlx.load("scenes/captioner", device="cpu", revision="main")
    with pytest.raises(InputError, match=r"^a model of transformers takes no devise; known are device, dtype, "):
        vlx.load(tiny_folder("vilt"), devise="cpu")
    with pytest.raises(ModelError, match=r'^"hf:" lacks a name: hf:OWNER/NAME'):
        vlx.load("hf:")


def test_unknown_names_hint_at_the_prefix() -> None:
    with pytest.raises(
        ModelError, match=r"FILE\.py:FUNCTION, torchvision:NAME, hf:NAME\. For a model of the .* hub write hf:Org/blip$"
    ):
        vlx.load("Org/blip")
    with pytest.raises(ModelError, match=r"torchvision:NAME, hf:NAME$"):
        vlx.load("scenes/nothing")
    assert "hf:NAME" in [row.name for row in vlx.models.known()]


def test_other_models_do_without_transformers() -> None:
    code = "import vlx, sys; vlx.load('scenes/captioner'); print('transformers' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"
