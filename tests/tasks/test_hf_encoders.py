"""Encoders and decoders that `VisionEncoderDecoderModel` joins: class tokens, coarser grids, contexts, settings."""

from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest
import torch

pytest.importorskip("transformers")

import transformers

import vlx
from tests.hf import Tiny, grid, picture
from vlx.errors import InputError, ModelError
from vlx.tasks.captioning.vision_encoder_decoder import _prefix, adapter
from vlx.tasks.huggingface.loading import wrap
from vlx.tasks.huggingface.tiny.words import byte_pairs

VIT = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4}
VIT |= {"image_size": 32, "patch_size": 8}
SWIN = {"image_size": 64, "patch_size": 4, "embed_dim": 16, "depths": [1, 1], "num_heads": [2, 4], "window_size": 4}
BART = {"d_model": 32, "decoder_layers": 2, "decoder_attention_heads": 4, "decoder_ffn_dim": 32, "init_std": 0.3}
PAIRS = [
    ("ViT", "GPT2"),  # decoder of another width
    ("DeiT", "TrOCR"),
    ("Beit", "Roberta"),
    ("Dinov2", "GPT2"),
    ("Dinov2WithRegisters", "GPT2"),
    ("SiglipVision", "GPT2"),  # its tokens are found by trying
    ("Swinv2", "GPT2"),
    ("DonutSwin", "MBart"),
]
words = cache(byte_pairs)


def joined(encoder: str, decoder: str, size: tuple[int, int] | None = None) -> Any:
    """A task of random networks, for pictures of ``size`` (H, W), by default square."""
    end = words().eos_token_id
    ids: dict[str, Any] = {"vocab_size": len(words()), "bos_token_id": end, "eos_token_id": end}
    if decoder == "GPT2":
        ids |= {"n_embd": 24, "n_layer": 2, "n_head": 4, "n_positions": 64, "initializer_range": 0.3}
    elif decoder == "Roberta":
        ids |= {
            **VIT,
            "num_hidden_layers": 2,
            "max_position_embeddings": 66,
            "pad_token_id": 1,
            "initializer_range": 0.3,
        }
    else:
        ids |= {**BART, "max_position_embeddings": 64, "pad_token_id": end, "forced_eos_token_id": None}
    settings = {**(SWIN if "Swin" in encoder else VIT), **({} if size is None else {"image_size": size})}
    see = getattr(transformers, f"{encoder}Config")(**settings)
    tell = getattr(transformers, f"{decoder}Config")(**ids)
    config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(see, tell)
    config.decoder_start_token_id = config.pad_token_id = config.eos_token_id = end
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = transformers.VisionEncoderDecoderModel(config=config).eval()
    model.generation_config = transformers.GenerationConfig(
        decoder_start_token_id=end, bos_token_id=end, eos_token_id=end, pad_token_id=end
    )
    height, width = size or (see.image_size, see.image_size)
    processor = transformers.ViTImageProcessor(size={"height": height, "width": width})
    return wrap(model, (processor, words()), name=f"{encoder}+{decoder}")


@pytest.mark.parametrize(("encoder", "decoder"), PAIRS)
def test_every_encoder_and_decoder_passes(encoder: str, decoder: str) -> None:
    found = joined(encoder, decoder).self_test(picture(), caption="a greenish house", cells=20)
    assert found.passed, str(found)
    assert [found[name].value for name in ("patch probe", "patch probe 3:2")] == [1, 1]
    assert found["attention"].passed


@pytest.mark.parametrize("size", [(32, 64), (64, 32)], ids=["wide", "tall"])
@pytest.mark.parametrize(("encoder", "family"), [("ViT", "vit-gpt2"), ("Swinv2", "swin-bert")])
def test_cells_of_a_tower_that_is_not_square_lie_where_their_patches_do(
    encoder: str, family: str, size: tuple[int, int]
) -> None:
    """Every tiny tower is square: (h, w) for (w, h) showed in none of them."""
    task = joined(encoder, "GPT2", size)
    shown = task.place(task.prepare(picture())[None])
    assert shown.shape[-2:] == size
    features = task.features(shown)
    cells = (size[0] // 8, size[1] // 8)
    assert (features.A.shape[-2:], features.grid.shape) == (cells, cells)
    with torch.no_grad():
        tokens = task.model.encoder(shown).last_hidden_state
    assert torch.equal(features.A[0], grid(task, family, tokens, shown))
    why = vlx.explain(task, picture(1, 60, 40), caption="a greenish house", seen=False, check=False)
    assert {word.signed.shape for word in why} == {cells}
    found = task.self_test(picture(), caption="a greenish house", cells=8)
    assert [found[name].value for name in ("patch probe", "patch probe 3:2")] == [1, 1]


@pytest.mark.parametrize("decoder", ["GPT2", "Roberta", "MBart"])
def test_the_longest_text_fits_and_one_more_is_refused(decoder: str) -> None:
    task = joined("ViT", decoder)
    why = vlx.explain(task, picture(), caption=" a" * 63, seen=False)
    assert len(why) == 63
    with pytest.raises(InputError, match=r"the caption has 64 tokens, .* takes at most 63; shorten it"):
        vlx.explain(task, picture(), caption=" a" * 64)
    begun = " a" * 62
    assert len(vlx.explain(task, picture(), prompt=begun, seen=False)) <= 1


@pytest.mark.parametrize(
    ("encoder", "changes", "prefix"),
    [
        ("Dinov2WithRegisters", {"num_register_tokens": 4}, 5),
        ("Dinov2WithRegisters", {"num_register_tokens": 0}, 1),
        ("DINOv3ViT", {"num_register_tokens": 3}, 4),
        ("DeiT", {}, 2),
        ("CLIPVision", {}, 1),
        ("SiglipVision", {}, 0),
        ("IJepa", {}, 0),
    ],
)
def test_tokens_before_the_patches(encoder: str, changes: dict[str, Any], prefix: int) -> None:
    see = getattr(transformers, f"{encoder}Config")(**VIT, **changes)
    model: Any = torch.nn.Module()
    model.config = SimpleNamespace(encoder=see)
    with torch.random.fork_rng():
        model.encoder = getattr(transformers, f"{encoder}Model")(see).eval()
    processor = transformers.ViTImageProcessor(size={"height": 32, "width": 32})
    state = torch.get_rng_state()
    assert _prefix(model, processor, "x") == prefix
    assert torch.equal(torch.get_rng_state(), state)
    tokens = model.encoder(torch.zeros(1, 3, 32, 32)).last_hidden_state
    assert tokens.shape[1] == prefix + 16


def test_an_encoder_whose_tokens_are_no_patches_is_refused() -> None:
    class Mixed(torch.nn.Module):
        line: torch.nn.Linear

        def forward(self, pictures: torch.Tensor) -> Any:
            return SimpleNamespace(last_hidden_state=self.line(pictures.flatten(1)).view(len(pictures), 16, 8))

    model: Any = torch.nn.Module()
    model.config = SimpleNamespace(encoder=SimpleNamespace(model_type="mixed"))
    model.encoder = Mixed()
    with torch.random.fork_rng():
        model.encoder.line = torch.nn.Linear(3 * 32 * 32, 128)
    processor = transformers.ViTImageProcessor(size={"height": 32, "width": 32})
    with pytest.raises(ModelError, match=r"^x: its encoder is of type 'mixed'; .* no cell moves with its place"):
        adapter(model, processor, words(), name="x")


def test_how_the_model_is_set_to_generate_does_not_change_what_is_asked(tiny_models: Tiny) -> None:
    task, plain = tiny_models.task("vit-gpt2"), tiny_models.task("vit-gpt2")
    config = task.model.generation_config
    config.num_beams, config.max_length, config.num_return_sequences, config.output_scores = 4, 6, 2, True
    one, other = (vlx.explain(each, picture(), seen=False) for each in (task, plain))
    assert one.text == other.text
    assert [word.logprob for word in one] == pytest.approx([word.logprob for word in other], abs=1e-5)
    assert (config.num_beams, config.max_length) == (4, 6)


def test_a_caption_that_was_cut_says_so(tiny_models: Tiny) -> None:
    task = tiny_models.task("git")
    task.longest = 3
    why = vlx.explain(task, picture(), seen=False)
    assert "cut after 3 tokens: the model had not ended its caption" in why.notes
    assert len(vlx.explain(tiny_models.task("git"), picture(), seen=False).notes) < len(why.notes)
