"""Models of transformers are left as they were, and what is done to them is seen."""

import gc
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("transformers")

import vlx
from tests.fakes import alike
from tests.hf import CAPTION, CAPTIONERS, FAMILIES, QUESTION, SHORT, Tiny, logits, options, picture, pixels
from tests.protocol.test_state import unchanged
from vlx.errors import InputError, ModelError
from vlx.methods import engine
from vlx.protocol.targets import Query, word_target
from vlx.tasks.huggingface.twin import Twin


@contextmanager
def untouched(task: Any) -> Iterator[None]:
    """Nothing of the model or of torch changes inside, nor how any of its parts is configured."""

    def configured() -> list[Any]:
        parts = [module.config for module in task.model.modules() if hasattr(module, "config")]
        return [(id(config), config._attn_implementation, config.to_dict()) for config in parts]

    before = configured()
    with unchanged(task.model):
        yield
    assert configured() == before


def marked(tiny: Tiny, family: str) -> Any:
    """A task whose model has something to lose: gradients, a frozen layer, hooks of its owner."""
    task = tiny.task(family)
    for number, parameter in enumerate(task.model.parameters()):
        parameter.requires_grad_(number % 2 == 0)
        parameter.grad = torch.full_like(parameter, 0.5) if number % 4 == 0 else None
    next(task.model.children()).register_forward_hook(lambda module, given, out: None)
    linear = [module for module in task.model.modules() if isinstance(module, torch.nn.Linear)][-1]
    linear.register_full_backward_hook(lambda module, given, out: None)
    return task


@pytest.mark.parametrize("family", FAMILIES)
def test_an_explanation_leaves_everything_as_it_was(tiny_models: Tiny, family: str) -> None:
    task = marked(tiny_models, family)
    torch.manual_seed(11)
    with untouched(task):
        vlx.explain(task, picture(), **options(family), looks=True, method="gradcam")
        vlx.explain(task, picture(), **options(family), beams=2)
        vlx.explain(task, picture(), **options(family), method="occlusion", target="logit")
        list(vlx.explain_many(task, [picture(1), picture(2)], **options(family), occlusion=True))


@pytest.mark.parametrize("family", FAMILIES)
def test_so_does_a_self_test(tiny_models: Tiny, family: str) -> None:
    task = marked(tiny_models, family)
    with untouched(task):
        assert task.self_test(picture(), **options(family), cells=4).passed


@pytest.mark.parametrize("family", FAMILIES)
def test_so_does_an_explanation_that_fails(tiny_models: Tiny, monkeypatch: pytest.MonkeyPatch, family: str) -> None:
    task = marked(tiny_models, family)
    text = f"a {task.tokenizer.all_special_tokens[0]} dog"
    wrong: dict[str, Any] = {"caption": text} if family in CAPTIONERS else {"question": text}
    with untouched(task), pytest.raises(InputError, match="holds special tokens"):
        vlx.explain(task, picture(), **wrong)

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("out of memory, say")

    monkeypatch.setattr(engine, "pull", broken)
    with untouched(task), pytest.raises(RuntimeError, match="out of memory, say"):
        vlx.explain(task, picture(), **options(family))
    monkeypatch.undo()
    monkeypatch.setattr(Twin, "__call__", broken)
    with untouched(task), pytest.raises(RuntimeError, match="out of memory, say"):
        vlx.explain(task, picture(), **options(family))
    monkeypatch.undo()
    alike(
        vlx.explain(task, picture(), **options(family)),
        vlx.explain(tiny_models.task(family), picture(), **options(family)),
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_that_change_in_place_are_seen_at_once(tiny_models: Tiny, family: str) -> None:
    task, other = tiny_models.task(family), tiny_models.task(family)
    text = {"caption": CAPTION} if family in CAPTIONERS else options(family)
    before = vlx.explain(task, picture(), **text)
    version = task.version()
    for changed in (task, other):
        with torch.no_grad():
            for parameter in changed.model.parameters():
                parameter.mul_(1.1)
    assert task.version() != version
    found, wanted = vlx.explain(task, picture(), **text), vlx.explain(other, picture(), **text)
    alike(found, wanted)
    assert found[0].logprob != before[0].logprob or found[0].score != before[0].score
    digest = task.digest()
    task.model.load_state_dict(tiny_models.model(family).state_dict())
    alike(vlx.explain(task, picture(), **text), before)
    assert task.digest() != digest
    for name, parameter in list(task.model.named_parameters()):  # other tensors in the same places
        where, _, own = name.rpartition(".")
        if parameter.ndim == 2 and "embeddings" not in name:
            setattr(task.model.get_submodule(where), own, torch.nn.Parameter(parameter.detach() * 1.1))
    assert vlx.explain(task, picture(), **text)[0].score != before[0].score


@pytest.mark.parametrize("family", FAMILIES)
def test_models_may_be_moved_after_they_were_wrapped(tiny_models: Tiny, family: str) -> None:
    task = tiny_models.task(family)
    text = {"caption": CAPTION} if family in CAPTIONERS else options(family)
    plain = vlx.explain(task, picture(), **text)
    task.model.double()
    exact = vlx.explain(task, picture(), **text)
    alike(exact, plain, 1e-4)
    task.model.to(torch.bfloat16)
    half = vlx.explain(task, picture(), **text, looks=True)
    for word in [*half, half.sentence]:
        assert np.isfinite(word.signed).all()
        assert word.signed.dtype == np.float32
        assert np.isfinite(word.weights).all()
    assert half[0].logprob == pytest.approx(plain[0].logprob, abs=0.5)
    task.model.float()
    task.model.load_state_dict(tiny_models.model(family).state_dict())
    alike(vlx.explain(task, picture(), **text), plain)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_of_two_is_two_of_one(tiny_models: Tiny, family: str) -> None:
    task, shown = tiny_models.task(family), [picture(3), picture(4)]
    both = list(vlx.explain_many(task, shown, **options(family)))
    for found, one in zip(both, shown, strict=True):
        alike(found, vlx.explain(task, one, **options(family)), 2e-5)
    uneven = [picture(3), picture(4, 40, 60), picture(5)]
    for found, one in zip(vlx.explain_many(task, uneven, **options(family)), uneven, strict=True):
        alike(found, vlx.explain(task, one, **options(family)), 2e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_inference_mode_and_no_grad_make_no_difference(tiny_models: Tiny, family: str) -> None:
    wanted = vlx.explain(tiny_models.task(family), picture(), **options(family))
    task = tiny_models.task(family)
    for mode in (torch.inference_mode, torch.no_grad, torch.enable_grad):
        with mode():
            alike(vlx.explain(task, picture(), **options(family)), wanted)


@pytest.mark.parametrize("family", FAMILIES)
def test_random_numbers_neither_change_nor_matter(tiny_models: Tiny, family: str) -> None:
    """T3: ViLT draws the order of its patches."""
    task = tiny_models.task(family)
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        state = torch.get_rng_state()
        found.append(vlx.explain(task, picture(), **options(family)))
        assert torch.equal(torch.get_rng_state(), state)
    alike(found[0], found[1], 1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_that_is_no_longer_wanted_is_freed(tiny_models: Tiny, family: str) -> None:
    task = tiny_models.task(family)
    why = vlx.explain(task, picture(), **options(family))
    model, twin = weakref.ref(task.model), weakref.ref(task)
    del task
    gc.collect()
    assert model() is None
    assert twin() is None
    assert why.text


@pytest.mark.parametrize("family", FAMILIES)
def test_threads_that_share_a_model_get_what_one_gets(tiny_models: Tiny, family: str) -> None:
    task, shown = tiny_models.task(family), [picture(3), picture(4, 40, 60)]
    texts = [{"caption": CAPTION}, {}] if family in CAPTIONERS else [options(family), options(family, SHORT)]
    alone = tiny_models.task(family)
    wanted = [vlx.explain(alone, one, **text) for one, text in zip(shown, texts, strict=True)]
    barrier = Barrier(4)

    def work(thread: int) -> None:
        barrier.wait()
        alike(vlx.explain(task, shown[thread % 2], **texts[thread % 2]), wanted[thread % 2], 2e-5)

    before = torch.get_rng_state()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert torch.equal(torch.get_rng_state(), before)


def test_hooks_of_the_owner_are_part_of_the_model(tiny_models: Tiny) -> None:
    """One that keeps what it saw, as those of Grad-CAM tools do, is not copied; one that changes the model counts."""

    class Keeper:
        def __init__(self) -> None:
            self.kept: list[Any] = []

        def __call__(self, module: Any, given: Any, out: Any) -> None:
            self.kept.append(out)

    task, keeper = tiny_models.task("blip-captioning"), Keeper()
    wanted = vlx.explain(tiny_models.task("blip-captioning"), picture())
    handle = task.model.text_decoder.register_forward_hook(keeper)
    task.model(pixel_values=pixels(task, picture()), input_ids=torch.tensor([[1, 2]]))
    assert keeper.kept[0].logits.grad_fn is not None
    alike(vlx.explain(task, picture()), wanted)
    handle.remove()
    task = tiny_models.task("blip-captioning")
    task.model.text_decoder.register_forward_pre_hook(doubled, with_kwargs=True)
    with torch.no_grad():
        stock = logits(task, "blip-captioning", pixels(task, picture()), ids_of(task, CAPTION)).log_softmax(-1)
    found = vlx.explain(task, picture(), caption=CAPTION)
    assert found[0].logprob == pytest.approx(float(stock[0, ids_of(task, CAPTION)[0]]), abs=1e-4)
    plain = vlx.explain(tiny_models.task("blip-captioning"), picture(), caption=CAPTION)
    assert found.sentence.logprob != pytest.approx(plain.sentence.logprob, abs=1e-2)


def doubled(module: Any, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """A decoder's arguments with twice what it sees."""
    return given, {**named, "encoder_hidden_states": named["encoder_hidden_states"] * 2}


def ids_of(task: Any, text: str) -> list[int]:
    return list(task.tokenizer(text, add_special_tokens=False)["input_ids"])


def test_the_questions_of_a_batch_are_those_of_their_rows(tiny_models: Tiny) -> None:
    task = tiny_models.task("blip-vqa")
    seen = task.features(torch.cat([pixels(task, picture(n)) for n in range(2)]))
    both = task.predict(seen, [Query(question=QUESTION), Query(question=SHORT, answer="two")])
    assert both[1].text == "two"
    targets = [word_target(one, 0, row, "logprob") for row, one in enumerate(both)]
    found = task.scores(seen.A, targets, seen.rest).tolist()
    assert found == pytest.approx([one.words[0].logprob for one in both], abs=1e-4)
    with pytest.raises(ModelError, match="scores needs the `rest` of its features"):
        task.scores(seen.A, targets)
