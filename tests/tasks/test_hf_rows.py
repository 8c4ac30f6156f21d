"""Attention row by row: its gradients are those of the whole graph at each word's own row, and nothing is touched."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from copy import deepcopy
from functools import partial, update_wrapper
from importlib.util import module_from_spec, spec_from_file_location
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

hf = pytest.importorskip("transformers")

from vlx.errors import ModelError  # noqa: E402
from vlx.tasks.huggingface import rows  # noqa: E402
from vlx.tasks.huggingface.borrowed import borrowed, configs_of  # noqa: E402
from vlx.tasks.huggingface.rows import Text, attended  # noqa: E402

SHARED = Path(__file__).parents[3] / "shared" / "reference"
FILES = {"tiny_vlms": SHARED / "tiny_vlms.py", "more_vlms": SHARED / "vlm" / "more_vlms.py"}
ANSWER = [30, 31, 32, 33]
FAMILIES = (
    "llava llava_next llava_onevision pixtral mistral3 qwen2_vl qwen2_5_vl qwen3_vl qwen3_5 glm4v paligemma gemma3 "
    "smolvlm idefics2 idefics3 internvl internvl_tiles aya_vision cohere2_vision deepseek_vl lfm2_vl"
).split()
Layers = list[Tensor]


@pytest.fixture(scope="module")
def reference() -> Any:
    """The tiny models of ../shared, by family."""
    if not all(file.is_file() for file in FILES.values()):
        pytest.skip("../shared/reference is not here")
    for name, file in FILES.items():
        spec = spec_from_file_location(name, file)
        assert spec is not None and spec.loader is not None
        sys.modules[name] = module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules["tiny_vlms"]


def built(reference: Any, family: str, other: Any = None, **changed: Any) -> tuple[Any, dict[str, Any], int]:
    """A model of a family, what its ``forward`` takes of the prompt with the answer, and the prompt's length."""
    model, inputs = reference.FAMILIES[family].build()
    model = model if other is None else other
    reference.sharpen(model).requires_grad_(False)
    inputs = {**inputs, **changed}
    look = model.base_model.get_image_features
    seen = look(**{name: inputs[name] for name in signature(look).parameters if name in inputs}, return_dict=True)
    longer = reference.with_answer(family, inputs, ANSWER[:-1])
    used = ("pixel_values", *(name for name in signature(look).parameters if "grid" not in name))
    given = {name: value for name, value in longer.items() if name not in used}
    return model, {**given, "mm_encoder_outputs": {"image": seen}}, inputs["input_ids"].shape[1]


def logprobs(logits: Tensor) -> Tensor:
    return logits.double().log_softmax(-1).gather(1, torch.tensor(ANSWER)[:, None])[:, 0]


def whole(model: Any, inputs: dict[str, Any], first: int) -> tuple[Tensor, Layers, Layers]:
    """Log p of the answer, and each token's own row of probabilities and of gradients, [heads, T, S] a layer."""
    before = model.config.get_text_config()._attn_implementation
    model.set_attn_implementation("eager")
    weights = model.get_input_embeddings().weight.requires_grad_()
    output = model(**inputs, use_cache=False, output_attentions=True)
    weights.requires_grad_(False)
    model.set_attn_implementation(before)
    scores = logprobs(output.logits[0, first - 1 :])
    layers = [layer for layer in output.attentions if layer is not None]
    pulled = [torch.autograd.grad(score, layers, retain_graph=True) for score in scores]
    own = [
        torch.stack([gradient[n][0, :, first - 1 + t] for t, gradient in enumerate(pulled)], 1)
        for n in range(len(layers))
    ]
    return scores.detach(), [layer[0, :, first - 1 :].detach() for layer in layers], own


def by_rows(model: Any, inputs: dict[str, Any], first: int) -> tuple[Tensor, Layers, Layers]:
    """The same by one run of the rows and one backward."""
    seen = attended(model, [Text(inputs, first - 1)])
    scores = logprobs(seen.logits[0])
    pulled = torch.autograd.grad(scores.sum(), seen.layers)
    return scores.detach(), [layer[0].detach() for layer in seen.layers], [gradient[0] for gradient in pulled]


def apart(one: Layers, other: Layers, weights: Layers | None = None) -> float:
    """The largest difference relative to the largest value, with ``weights`` of what these keep."""
    weights = [torch.ones_like(tensor) for tensor in one] if weights is None else weights
    pairs = [(a * w, b * w) for a, b, w in zip(one, other, weights, strict=True)]
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)


def agree(model: Any, inputs: dict[str, Any], first: int, limit: float = 1e-5) -> None:
    wanted, found = whole(model, inputs, first), by_rows(model, inputs, first)
    assert torch.allclose(found[0], wanted[0], atol=1e-5)
    assert apart(found[1], wanted[1]) < limit
    seen = [(layer > 0).float() for layer in wanted[1]]  # elsewhere the mask decides, and the product is 0
    assert apart(found[2], wanted[2], seen) < limit


@pytest.mark.parametrize("family", FAMILIES)
def test_each_words_gradient_is_that_of_the_whole_graph(reference: Any, family: str) -> None:
    agree(*built(reference, family))


@pytest.mark.parametrize("family", ["llava", "gemma3", "paligemma", "qwen2_5_vl", "lfm2_vl"])
def test_a_model_that_was_loaded_eager_is_the_same(reference: Any, family: str) -> None:
    model, inputs, first = built(reference, family)
    model.set_attn_implementation("eager")
    agree(model, inputs, first)
    assert model.config.get_text_config()._attn_implementation == "eager"


def test_a_window_that_slides_past_the_picture_hides_it(reference: Any) -> None:
    model, inputs, first = built(reference, "gemma3")
    text = model.config.get_text_config()
    assert "sliding_attention" in text.layer_types
    text.sliding_window = 6
    for module in model.modules():
        if getattr(module, "sliding_window", None):
            module.sliding_window = 6
    agree(model, inputs, first)
    for layer in by_rows(model, inputs, first)[1]:
        for row in range(len(ANSWER)):
            seen = (layer[:, row] > 0).all(0).nonzero()[:, 0].tolist()
            assert seen == [*range(first - 1 + row - 5, first + row)]


def test_scores_are_capped_where_the_model_caps_them(reference: Any) -> None:
    model, inputs, first = rebuilt(reference, "paligemma", capped())
    model.set_attn_implementation("eager")  # sdpa knows no cap
    agree(model, inputs, first)


def capped() -> Any:
    sizes = {name: value for name, value in sys.modules["tiny_vlms"].TEXT.items() if "token_id" not in name}
    return hf.Gemma2Config(**sizes, num_key_value_heads=2, head_dim=8, attn_logit_softcapping=0.5, sliding_window=64)


def rebuilt(reference: Any, family: str, text: Any) -> tuple[Any, dict[str, Any], int]:
    """As `built`, with another language model."""
    model, _ = reference.FAMILIES[family].build()
    config = deepcopy(model.config)
    config.text_config = text
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        other = type(model)(config).eval()
    _, inputs = reference.FAMILIES[family].build()
    return built(reference, family, other, **inputs)


def test_a_convolution_behind_attention_mixes_no_rows(reference: Any) -> None:
    text = deepcopy(reference.FAMILIES["lfm2_vl"].build()[0].config.text_config)
    text.layer_types, text.num_hidden_layers = ["full_attention", "conv", "full_attention"], 3
    agree(*rebuilt(reference, "lfm2_vl", text))


def test_linear_attention_behind_attention_mixes_no_rows(reference: Any) -> None:
    text = deepcopy(reference.FAMILIES["qwen3_5"].build()[0].config.text_config)
    text.layer_types = ["full_attention", "linear_attention", "full_attention"]
    text.num_hidden_layers = 3
    agree(*rebuilt(reference, "qwen3_5", text))


def test_fewer_keys_are_the_last_ones() -> None:
    kept = rows._Kept(1, 3, 9)
    row = torch.rand(2, 1, 4)
    seen = rows._Run(kept, 0, 1, 8).through(row)
    assert torch.equal(seen, row)
    assert torch.equal(kept.layers[0][0, :, 1:2, 4:8], row)
    (gradient,) = torch.autograd.grad((seen * row).sum(), kept.layers)
    assert torch.equal(gradient[0, :, 1:2, 4:8], row)
    assert float(gradient.count_nonzero()) == 8


def test_rows_of_several_texts_keep_to_themselves(reference: Any) -> None:
    model, inputs, first = built(reference, "llava")
    shorter = {**inputs, **{name: inputs[name][:, :-2] for name in ("input_ids", "attention_mask")}}
    both = attended(model, [Text(shorter, first - 1), Text(inputs, first - 1)])
    alone = attended(model, [Text(shorter, first - 1)])
    for two, one in zip(both.layers, alone.layers, strict=True):
        assert torch.equal(two[0, :, :2, : one.shape[3]], one[0])
        assert not two[0, :, 2:].any()
        assert not two[0, :, :, one.shape[3] :].any()
    scores = both.logits[0].log_softmax(-1)[:, 7].sum()
    of_both = torch.autograd.grad(scores, both.layers)
    of_one = torch.autograd.grad(alone.logits[0].log_softmax(-1)[:, 7].sum(), alone.layers)
    for two, one in zip(of_both, of_one, strict=True):
        assert torch.equal(two[0, :, :2, : one.shape[3]], one[0])
        assert not two[1].any(), "the score is of the first text"


# A good guest in the model


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """The model's modules, their attributes and its configs are what they were."""

    def state() -> list[Any]:
        attributes = [{name: value for name, value in vars(one).items() if name[0] != "_"} for one in model.modules()]
        hooks = [len(value) for one in model.modules() for name, value in vars(one).items() if name.endswith("_hooks")]
        kinds = [(config._attn_implementation, config.to_dict()) for config in configs_of(model)]
        return [[*map(id, model.modules())], [*map(id, model.parameters())], [*map(str, attributes)], hooks, kinds]

    before = state()
    yield
    assert state() == before


@pytest.mark.parametrize("family", ["llava", "qwen2_vl", "lfm2_vl"])
def test_the_users_model_is_left_as_it_is(reference: Any, family: str) -> None:
    model, inputs, first = built(reference, family)
    with untouched(model):
        by_rows(model, inputs, first)
    assert all(weights.grad is None for weights in model.parameters())


def test_threads_that_share_a_model_do_not_meet(reference: Any) -> None:
    wide = built(reference, "qwen2_vl")
    grid, pixels = torch.tensor([[1, 8, 4]]), torch.randn(32, 96, generator=torch.Generator().manual_seed(0))
    ids = wide[1]["input_ids"][0].tolist()
    mark = max(set(ids), key=ids.count)
    fewer = ids[: first_of(ids, mark)] + [mark] * 8 + [token for token in ids[first_of(ids, mark) :] if token != mark]
    prompt = torch.tensor([fewer[: -len(ANSWER) + 1]])
    changed = {"input_ids": prompt, "attention_mask": torch.ones_like(prompt), "pixel_values": pixels}
    changed |= {"image_grid_thw": grid, "mm_token_type_ids": (prompt == mark).int()}
    _, narrow, first = built(reference, "qwen2_vl", **changed)
    asked = [(wide[1], wide[2]), (narrow, first)]
    alone = [by_rows(wide[0], *one) for one in asked]

    def wrong(number: int) -> bool:
        found = by_rows(wide[0], *asked[number % 2])
        return max(apart(found[1], alone[number % 2][1]), apart(found[2], alone[number % 2][2])) > 1e-6

    with ThreadPoolExecutor(2) as pool:
        assert sum(pool.map(wrong, range(24))) == 0


def first_of(ids: list[int], token: int) -> int:
    return ids.index(token)


def test_attention_of_its_own_kind_is_refused(reference: Any) -> None:
    model, inputs, first = built(reference, "llava")
    with pytest.MonkeyPatch.context() as patch:
        module = sys.modules[type(model.model.language_model.layers[0].self_attn).__module__]
        patch.setattr(module, "ALL_ATTENTION_FUNCTIONS", Plain())
        with pytest.raises(ModelError, match="LlavaForConditionalGeneration has attention of its own kind"):
            by_rows(model, inputs, first)


class Plain:
    """A registry that knows one kind of attention."""

    def get_interface(self, _name: str, default: Any) -> Any:
        return default


def test_sinks_are_refused_and_not_left_out() -> None:
    q = torch.randn(1, 2, 3, 4)
    with pytest.raises(ModelError, match="attention with s_aux cannot be followed row by row; take method='hirescam'"):
        rows._isolated(nn.Module(), q, q, q, None, s_aux=torch.zeros(2))


# Borrowed modules


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(2, 2)
        self.met: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.last = x
        return self.inner(x)  # type: ignore[no-any-return]


def hooked(module: Any) -> Any:
    """As accelerate hooks a module: an instance's ``forward`` bound by `partial`, and the old one kept."""

    def forward(module: Any, *args: Any) -> Any:
        module.met.append(id(module))
        return module._old_forward(*args)

    module._old_forward = module.forward
    module.forward = update_wrapper(partial(forward, module), module._old_forward)
    return module


def test_what_was_hooked_is_borrowed_with_its_hooks_and_weights() -> None:
    model: Any = nn.Sequential(hooked(Layer()), Layer())
    mine: Any = borrowed(model)
    x = torch.randn(1, 2)
    assert torch.equal(mine(x), model(x))
    assert [*map(id, mine.parameters())] == [*map(id, model.parameters())]
    assert model[0].met == [id(model[0])]
    assert mine[0].met == [id(mine[0])]
    model[0].last = None
    mine(x)
    assert model[0].last is None, "what a forward leaves on the borrowed modules stays there"
    with torch.no_grad():
        model[1].inner.weight.zero_()
    assert torch.equal(mine(x), model(x)), "weights are shared, not copied"


def test_a_compiled_module_runs_as_it_was_written() -> None:
    model = Layer()
    model._compiled_call_impl = lambda *_: pytest.fail("the compiled call is bound to the user's modules")
    assert borrowed(model)(torch.ones(1, 2)).shape == (1, 2)
    assert deepcopy(model) is not model
