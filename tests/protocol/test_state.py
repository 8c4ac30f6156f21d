import gc
import random
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import vlx
from tests.fakes import VOCABULARY, TinyCnn, captioner, decoder, picture, prepare
from vlx.errors import ModelError
from vlx.tasks.captioning import CnnLstmCaptioner

HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_state_dict_hooks",
    "_load_state_dict_pre_hooks",
)


def state_of(*modules: nn.Module) -> dict[str, Any]:
    """Everything of a model and of torch that an explanation must not change."""
    submodules = [one for module in modules for one in module.modules()]
    parameters = [one for module in modules for one in module.parameters()]
    numpy_state: Any = np.random.get_state()  # words, place in them, and a second normal number that waits
    return {
        "training": [module.training for module in submodules],
        "hooks": [{name: dict(getattr(module, name, {})) for name in HOOKS} for module in submodules],
        "attributes": [sorted(vars(module)) for module in submodules],
        "requires_grad": [parameter.requires_grad for parameter in parameters],
        "grad": [None if parameter.grad is None else parameter.grad.clone() for parameter in parameters],
        "weights": [{name: tensor.clone() for name, tensor in module.state_dict().items()} for module in modules],
        "versions": [parameter._version for parameter in parameters],
        "random": (torch.get_rng_state(), random.getstate(), list(numpy_state)),
        "modes": (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_default_dtype()),
        "cudnn": torch.backends.cudnn.enabled,
    }


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor | np.ndarray):
        return type(one) is type(other) and bool(np.array_equal(np.asarray(one), np.asarray(other)))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(equal(a, b) for a, b in zip(one, other, strict=True))
    return bool(one == other)


@contextmanager
def unchanged(*modules: nn.Module) -> Iterator[None]:
    before = state_of(*modules)
    yield
    after = state_of(*modules)
    for name in before:
        assert equal(before[name], after[name]), name


def marked(kind: str) -> CnnLstmCaptioner:
    """A captioner that has something to lose: gradients, a frozen layer, hooks of its owner."""
    task: Any = captioner(kind)
    for module in (task.cnn, task.decoder):
        for number, parameter in enumerate(module.parameters()):
            parameter.requires_grad_(number % 2 == 0)
            parameter.grad = torch.full_like(parameter, 0.5) if number % 4 == 0 else None
    task.cnn.layers[0].register_forward_hook(lambda module, given, out: None)
    next(task.decoder.children()).register_full_backward_hook(lambda module, given, out: None)
    return cast(CnnLstmCaptioner, task)


@pytest.mark.parametrize("kind", ["first", "state", "attention", "logits", "unrolled"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"beams": 3, "method": "hirescam"},
        {"caption": "a zebra on grass", "target": "margin", "method": "gradcam++"},
    ],
)
def test_an_explanation_leaves_everything_as_it_was(kind: str, options: dict[str, Any]) -> None:
    task: Any = marked(kind)
    torch.manual_seed(11)
    with unchanged(task.cnn, task.decoder):
        vlx.explain(task, picture(), **options)
    with unchanged(task.cnn, task.decoder):
        list(vlx.explain_many(task, [picture(1), picture(2)], **options))


@pytest.mark.parametrize("way", ["rows", "batched", "loop"])
def test_so_does_every_way_of_taking_gradients(way: str) -> None:
    task: Any = marked("attention")
    task.defaults = replace(task.defaults, gradients=way)
    with unchanged(task.cnn, task.decoder):
        vlx.explain(task, picture())


class Failing(nn.Module):
    """A decoder whose step fails when it has been called ``after`` times."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.inner, self.after, self.calls = decoder("state"), after, [0]

    def start(self, A: Tensor) -> Any:
        return cast(Any, self.inner).start(A)

    def step(self, tokens: Tensor, state: Any) -> Any:
        self.calls[0] += 1
        if self.calls[0] > self.after:
            raise RuntimeError("the decoder broke")
        return cast(Any, self.inner).step(tokens, state)

    def logits(self, hidden: Tensor) -> Tensor:
        return cast(Tensor, cast(Any, self.inner).logits(hidden))


@pytest.mark.parametrize("after", [0, 3, 7, 9, 15])
def test_so_does_one_that_fails(after: int) -> None:
    """In generation (at most 7 steps), in the gradients, and in the probe with the blank picture."""
    torch.manual_seed(0)
    cnn, broken = TinyCnn().eval(), Failing(after).eval()
    task = CnnLstmCaptioner(cnn, cast(Any, broken), VOCABULARY, prepare, max_words=7)
    kind = ModelError if after == 0 else RuntimeError  # while the decoder is tried it is told with its name
    with unchanged(cnn, broken), pytest.raises(kind, match=r"the decoder broke"):
        vlx.explain(task, picture())
    broken.after = 10**6
    assert len(vlx.explain(task, picture())) == 7


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_the_callers_gradient_mode_neither_matters_nor_changes(mode: Any) -> None:
    task, other_task = marked("attention"), marked("attention")
    wanted = vlx.explain(task, picture())
    with mode():
        before = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        found = vlx.explain(other_task, picture())
        assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == before
    for one, other in zip(found, wanted, strict=True):
        assert np.allclose(one.signed, other.signed, rtol=1e-5, atol=1e-8)
        assert one.seen == pytest.approx(other.seen, abs=1e-5)
    again = vlx.explain(other_task, picture())  # with what was kept for the model in that mode
    assert [word.seen for word in again] == [word.seen for word in wanted]


def test_weights_made_in_inference_mode_are_refused() -> None:
    with torch.inference_mode():
        task = captioner("attention")
        with pytest.raises(ModelError, match=r"^tiny: .*torch\.inference_mode\(\)"):
            vlx.explain(task, picture())
    with pytest.raises(ModelError, match=r"^tiny: .*torch\.inference_mode\(\)"):
        vlx.explain(task, picture())


def test_a_model_with_random_layers_uses_no_random_numbers() -> None:
    torch.manual_seed(0)
    cnn = nn.Sequential(TinyCnn(), nn.Dropout(0.5))
    task = CnnLstmCaptioner(cnn.eval(), cast(Any, decoder("first").eval()), VOCABULARY, prepare, end=1)
    with unchanged(cnn):
        once = vlx.explain(task, picture())
    assert np.array_equal(once[0].signed, vlx.explain(task, picture())[0].signed)


def test_nothing_is_drawn_from_the_global_generators_by_a_random_prepare() -> None:
    def jittering(image: Any) -> Tensor:
        return prepare(image) + 0.0 * torch.rand(1) + 0.0 * float(np.random.rand()) + 0.0 * random.random()

    task: Any = captioner("state")
    task.prepare = jittering
    torch.manual_seed(4)
    np.random.seed(4)
    random.seed(4)
    jittering(picture())  # what explaining the picture itself draws
    wanted = torch.get_rng_state()
    torch.manual_seed(4)
    np.random.seed(4)
    random.seed(4)
    vlx.explain(task, picture(), seen=False)
    assert torch.equal(torch.get_rng_state(), wanted)


def test_the_picture_is_not_changed() -> None:
    task = captioner("state")
    array = np.asarray(picture()).copy()
    tensor = torch.from_numpy(array.copy()).permute(2, 0, 1).float() / 255
    tensor.requires_grad_()
    kept = array.copy(), tensor.detach().clone()
    vlx.explain(task, array)
    vlx.explain(task, tensor)
    assert np.array_equal(array, kept[0])
    assert torch.equal(tensor.detach(), kept[1])
    assert tensor.requires_grad
    assert tensor.grad is None


def test_a_model_can_be_collected_after_it_was_explained() -> None:
    task: Any = captioner("attention")
    why = vlx.explain(task, picture())
    watched = [weakref.ref(task), weakref.ref(task.cnn), weakref.ref(task.decoder)]
    del task
    gc.collect()
    assert [reference() for reference in watched] == [None] * 3
    assert why[0].heatmap.any() or why[0].against.any()
