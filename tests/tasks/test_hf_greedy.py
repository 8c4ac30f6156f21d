"""Words are chosen by their likelihood alone, whatever a checkpoint's ``generation_config`` sets, and that is told."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

hf = pytest.importorskip("transformers")

from tests.hf import QUESTION, Tiny, picture  # noqa: E402
from vlx.protocol.targets import Prediction, Query  # noqa: E402
from vlx.tasks.huggingface.greedy import PLAIN, plainly, switched_off  # noqa: E402
from vlx.tasks.huggingface.loading import load  # noqa: E402

FAMILIES = ("git", "vit-gpt2", "blip-vqa", "llava")
CHATS = FAMILIES[3:]
QWEN = {"do_sample": True, "temperature": 1e-6, "top_p": 0.001, "top_k": 1, "repetition_penalty": 1.05}
STRONG: dict[str, Any] = {
    "do_sample": True,
    "temperature": 5.0,
    "repetition_penalty": 1.9,
    "no_repeat_ngram_size": 2,
    "min_new_tokens": 9,
    "exponential_decay_length_penalty": (1, 5.0),
    "sequence_bias": [[[5], 50.0]],
    "guidance_scale": 3.0,
    "prompt_lookup_num_tokens": 3,
    "num_beams": 3,
    "max_time": 1e-6,
    "stop_strings": ["the"],
}


@pytest.fixture(scope="module")
def tiny(tiny_folder: Callable[[str], Path]) -> Callable[[str], Any]:
    """A family's task of its own, to be changed at will."""
    others = Tiny(tiny_folder)
    return lambda family: load(tiny_folder(family)) if family in CHATS else others.task(family)


def said(task: Any, family: str, **query: Any) -> Prediction:
    asked: dict[str, Any] = {} if task.kind == "captioning" else {"question": QUESTION}
    features = task.features(task.place(task.prepare(picture(2))[None]))
    found: Prediction = task.predict(features, [Query(**asked, **query)])[0]
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_what_a_checkpoint_sets_changes_no_word_and_no_figure(tiny: Callable[[str], Any], family: str) -> None:
    task = tiny(family)
    before = said(task, family)
    task = tiny(family)
    task.model.generation_config.update(**STRONG)
    after = said(task, family)
    assert after.words == before.words
    assert after.tokens == before.tokens
    forced = {"caption" if task.kind == "captioning" else "answer": after.text}
    again = said(task, family, **forced)
    assert [word.logprob for word in again.words] == pytest.approx([word.logprob for word in after.words], abs=1e-4)
    assert again.notes == (), "what is given was not generated"
    assert any("do_sample, repetition_penalty=1.9" in note for note in after.notes)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_stock_model_is_asked_in_the_same_way(tiny: Callable[[str], Any], family: str) -> None:
    task = tiny(family)
    query = Query(question=None if task.kind == "captioning" else QUESTION)
    before = task.stock(picture(2), query)
    task.model.generation_config.update(**STRONG)
    after = task.stock(picture(2), query)
    assert after.tokens == before.tokens
    assert torch.equal(after.logprobs, before.logprobs)


def test_a_penalty_that_is_left_on_is_told_by_the_self_test(
    tiny: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    task = tiny("llava")
    task.model.generation_config.update(repetition_penalty=5.0)
    assert task.self_test(picture(2), question=QUESTION, cells=4)["stock model"].passed
    generate = task.model.generate

    def penalised(**options: Any) -> Any:
        if "mm_encoder_outputs" in options:  # the adapter's own call
            options.pop("repetition_penalty")
        return generate(**options)

    monkeypatch.setattr(task.model, "generate", penalised)
    row = task.self_test(picture(2), question=QUESTION, cells=4)["stock model"]
    assert not row.passed
    assert "is not what the model says by itself" in row.remark or "the task's text ends where" in row.remark


def test_what_may_not_be_said_is_not_said(tiny: Callable[[str], Any]) -> None:
    task = tiny("llava")
    before = said(task, "llava")
    first = before.words[0].terms[0].token
    task.model.generation_config.update(suppress_tokens=[first])
    after = said(task, "llava")
    assert first not in after.tokens[after.start :]
    assert after.notes == before.notes
    assert after.words[0].alternatives[0].token == first, "its log-probability is the model's own"


def test_what_is_off_is_named() -> None:
    model = SimpleNamespace(generation_config=hf.GenerationConfig(**QWEN))
    assert switched_off(model) == (
        "its generation_config sets do_sample, repetition_penalty=1.05, temperature=1e-06, top_k=1, top_p=0.001; off "
        "here: words are chosen by their likelihood alone",
    )
    model.generation_config = hf.GenerationConfig(temperature=0.5, eos_token_id=3, max_length=9, suppress_tokens=[1])
    assert switched_off(model) == (), "without sampling a temperature does nothing"
    model.generation_config = hf.GenerationConfig(num_beams=4)
    assert "num_beams=4" in switched_off(model)[0]
    assert switched_off(model, beams=2) == ()
    model.generation_config = hf.GenerationConfig()
    assert switched_off(model) == ()
    model.generation_config.update(**STRONG)
    assert len(switched_off(model)[0]) < 300
    assert switched_off(object()) == ()


def test_only_settings_that_transformers_knows_are_given() -> None:
    config = hf.GenerationConfig()
    assert not config.update(**plainly(5)), "all of them are known"
    assert {name for name in PLAIN if hasattr(config, name)} <= set(plainly(5))
