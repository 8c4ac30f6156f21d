"""Networks inside wrappers: the same maps as without, or a refusal that says the way out."""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import vlx
from vlx.errors import ModelError
from vlx.tasks.captioning import CnnLstmCaptioner
from vlx.tasks.classification import Classifier
from vlx.tasks.vqa import CnnLstmVqa


def prepare(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.asarray(image.convert("RGB").resize((16, 16)), np.float32)).permute(2, 0, 1) / 255


def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.Tanh())
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.body(x).mean((2, 3)) * 9)
        return logits


def made(kind: Callable[[], nn.Module] = Net) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return kind().eval()


def explained(model: nn.Module, layer: str) -> Any:
    return vlx.explain(Classifier(model, layer, None, prepare, outputs="softmax"), picture())[0].signed


WRAPPERS: dict[str, Callable[[Any], Any]] = {
    "compile": lambda model: torch.compile(model, backend="eager"),
    "DataParallel": nn.DataParallel,
    "both": lambda model: nn.DataParallel(cast(Any, torch.compile(model, backend="eager"))),
}


@pytest.mark.parametrize("how", WRAPPERS)
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
def test_wrappers_that_change_nothing_are_taken_off(how: str, prefix: str) -> None:
    np.testing.assert_array_equal(explained(WRAPPERS[how](made()), f"{prefix}body"), explained(made(), "body"))


def test_a_part_that_is_compiled() -> None:
    model = made()
    model.body = torch.compile(model.body, backend="eager")
    np.testing.assert_array_equal(explained(model, "body"), explained(made(), "body"))
    with pytest.raises(ModelError, match=r"never called by itself: it is in a part that torch.compile has compiled"):
        explained(model, "body._orig_mod.0")


@pytest.mark.filterwarnings("ignore:.*is deprecated")
@pytest.mark.parametrize("how", ["script", "trace"])
def test_torchscript_is_refused(how: str) -> None:
    net, jit = made(), cast(Any, torch.jit)
    example = prepare(picture())[None]
    script = jit.script(net) if how == "script" else jit.trace(net, example)
    with pytest.raises(ModelError, match=r"TorchScript, .* give the nn.Module that it was made from") as told:
        explained(script, "body")
    assert len(str(told.value)) <= 300
    net.body = script.body
    with pytest.raises(ModelError, match=r"^layer 'body.0' of Net is TorchScript"):
        explained(net, "body.0")


def test_parts_without_weights_are_refused() -> None:
    model = made()
    model.fc = model.fc.to("meta")
    with pytest.raises(ModelError, match=r"^Net: its part 'fc' is on the meta device, .* load it plain") as told:
        explained(model, "body")
    assert len(str(told.value)) <= 300
    for wrap in (
        lambda: CnnLstmCaptioner(nn.Conv2d(3, 2, 3).to("meta"), Decoder(), ["a"], prepare),
        lambda: CnnLstmVqa(nn.Conv2d(3, 2, 3), nn.Linear(2, 2).to("meta"), ["", "a"], ["b", "c"], prepare),
    ):
        with pytest.raises(ModelError, match="is on the meta device"):
            wrap()


def test_weights_spread_over_processes_are_refused() -> None:
    class FullyShardedDataParallel(nn.Module):
        def __init__(self, module: nn.Module) -> None:
            super().__init__()
            self._fsdp_wrapped_module = module

        def forward(self, x: Tensor) -> Any:
            return self._fsdp_wrapped_module(x)

    whole, part = FullyShardedDataParallel(made()).eval(), made()
    part.body = FullyShardedDataParallel(part.body).eval()
    zero = made()
    zero.fc.weight.ds_id = 3
    for model in (whole, part, zero):
        with pytest.raises(ModelError, match=r"spread over processes \(.*\); gather them into the plain model") as told:
            explained(model, "body")
        assert len(str(told.value)) <= 300


@pytest.mark.skipif("x86" not in torch.backends.quantized.supported_engines, reason="no int8 here")
@pytest.mark.filterwarnings("ignore")
def test_static_int8_is_refused_and_a_dynamic_head_is_occluded() -> None:
    ao: Any = pytest.importorskip("torch.ao.quantization")

    class Static(Net):
        def __init__(self) -> None:
            super().__init__()
            self.quant, self.dequant = ao.QuantStub(), ao.DeQuantStub()
            self.body = nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.ReLU())

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.dequant(super().forward(self.quant(x)))
            return logits

    model = made(Static)
    model.qconfig = ao.get_default_qconfig("x86")
    ao.prepare(model, inplace=True)
    Net.forward(model, prepare(picture())[None])
    int8 = ao.convert(model).eval()
    with pytest.raises(ModelError, match=r"gives quint8 numbers of a quantised network, .* load the float network"):
        explained(int8, "body")

    class Quantised(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.quantize_per_tensor(x.repeat(1, 1, 4, 4), 0.1, 128, torch.quint8)

    with pytest.raises(ModelError, match=r"^captioner: the CNN gives quint8 numbers"):
        vlx.explain(CnnLstmCaptioner(Quantised().eval(), Decoder().eval(), ["a", "b", "c"], prepare), picture())
    dynamic = ao.quantize_dynamic(made(), {nn.Linear}).eval()
    with pytest.raises(ModelError, match=r"no gradient comes through .* quantised layers"):
        explained(dynamic, "body")
    task = Classifier(dynamic, "body", None, prepare, outputs="softmax")
    assert vlx.explain(task, picture(), method="occlusion")[0].signed.any()


class Decoder(nn.Module):
    def start(self, A: Tensor) -> Any:
        return (A.mean((2, 3)),)

    def step(self, tokens: Tensor, state: Any) -> Any:
        return state[0] * 9, state


def test_the_parts_of_a_captioner_may_be_wrapped() -> None:
    cnn = made(lambda: nn.Conv2d(3, 3, 4, 4))

    def why(cnn: Any, decoder: Any) -> Any:
        return vlx.explain(CnnLstmCaptioner(cnn, decoder, ["a", "b", "c"], prepare, max_words=2), picture())[0].signed

    np.testing.assert_array_equal(
        why(nn.DataParallel(cnn), nn.DataParallel(Decoder()).eval()), why(cnn, Decoder().eval())
    )


def test_a_cnn_that_does_not_take_the_picture_says_so() -> None:
    with pytest.raises(ModelError, match=r"the CNN does not run on prepared pictures \[1, 3, 16, 16\] \(RuntimeError"):
        vlx.explain(CnnLstmCaptioner(nn.Conv2d(1, 3, 4, 4).eval(), Decoder().eval(), ["a", "b"], prepare), picture())


# Models of transformers


def blip() -> tuple[Any, Any]:
    transformers = pytest.importorskip("transformers")
    assert int(transformers.__version__.split(".")[0]) >= 5
    from vlx.tasks.huggingface import tiny

    model, images, tokenizer = tiny.build("blip-captioning")
    return model, (images, tokenizer)


@pytest.mark.parametrize("how", WRAPPERS)
def test_a_wrapped_model_of_transformers(how: str) -> None:
    from vlx.tasks.huggingface import loading

    model, processor = blip()
    task: Any = loading.wrap(WRAPPERS[how](model), processor)
    assert task.model is model
    assert task.name == loading.wrap(model, processor).name


class Holder(nn.Module):
    """A wrapper that nobody knows, with the model's own configuration, as PEFT has it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.base_model, self.config = model, getattr(model, "config", None)


def test_a_wrapper_that_is_not_known_is_refused_with_the_way_out() -> None:
    from vlx.tasks.huggingface import loading

    model, processor = blip()
    way = r"^Holder is a wrapper round BlipForConditionalGeneration; .* model{}, or of PEFT model.get_base_model\(\)"
    for wrapper, path in ((Holder(model), r"\.base_model"), (Holder(Holder(model)), r"\.base_model\.base_model")):
        with pytest.raises(ModelError, match=way.format(path)) as told:
            loading.wrap(wrapper, processor)
        assert len(str(told.value)) <= 300


def test_peft_keeps_lora_in_the_base_model_and_prompts_beside_it() -> None:
    from vlx.tasks.huggingface import loading

    class PeftModel(Holder):
        def get_base_model(self) -> nn.Module:
            return self.base_model

    PeftModel.__module__ = "peft.peft_model"
    model, processor = blip()
    wrapper: Any = PeftModel(model)
    task: Any = loading.wrap(wrapper, processor)
    assert task.model is model

    class Config:
        is_prompt_learning = True

    wrapper.active_peft_config = Config()
    with pytest.raises(ModelError, match="PeftModel learns a prompt beside the model"):
        loading.wrap(wrapper, processor)
