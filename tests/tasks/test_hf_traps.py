"""The self-test on models of transformers: it passes, and each trap that is sprung on purpose makes it fail."""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

pytest.importorskip("transformers")

import vlx
from tests.hf import (
    ASKED,
    CAPTION,
    CAPTIONERS,
    FAMILIES,
    QUESTION,
    SHORT,
    TOWERS,
    Tiny,
    generated,
    options,
    picture,
    pixels,
)
from vlx.methods import engine
from vlx.protocol.targets import Query, Target
from vlx.selftest import differences
from vlx.selftest.run import SelfTest, self_test
from vlx.tasks.huggingface.twin import GivenTokens, Twin
from vlx.tasks.vqa import blip, vilt
from vlx.tasks.vqa.questions import Runs

WRITERS = (*CAPTIONERS, "blip-vqa")


def outcome(task: Any, family: str, **more: Any) -> SelfTest:
    return self_test(task, picture(), **{**options(family), "cells": 12, **more})


def failed(found: SelfTest) -> set[str]:
    return {row.name for row in found.failed}


@pytest.mark.parametrize("size", [(60, 40), (45, 110)])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_passes_whatever_the_pictures_shape(tiny_models: Tiny, family: str, size: tuple[int, int]) -> None:
    task = tiny_models.task(family)
    found = self_test(task, picture(2, *size), question=options(family).get("question"))
    assert found.passed, str(found)
    assert [found[name].value for name in ("patch probe", "patch probe 3:2")] == [1, 1]
    same = "forced = generated" if family in WRITERS else "split"
    assert (found[same].value or 0) <= 1e-5
    assert found[same].passed
    assert found["gradient"].value == 1
    assert found["attention"].passed
    assert task.self_test(picture(2, *size), **options(family), cells=2).passed


@pytest.mark.parametrize("family", ["blip-captioning", "vilt"])
def test_a_large_model_in_half_precision_is_sent_to_full_precision_once(
    tiny_models: Tiny, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = tiny_models.task(family, torch.bfloat16)
    monkeypatch.setattr(differences, "COPIED", 10)
    found = outcome(task, family)
    assert found.verdict == "not proven", str(found)
    assert [row.name for row in found.open] == ["gradient = replay"]
    assert "test the model once in float32" in found.open[0].remark


# T3, T8, T12, T16: cells


def test_shuffled_patches_of_vilt_are_told(tiny_models: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """T3: patches as ViLT hands them on, in another order each time."""
    task = tiny_models.task("vilt")

    def shuffled(inputs: Tensor) -> tuple[Tensor, tuple[int, int]]:
        mask = torch.ones(len(inputs), *inputs.shape[-2:], dtype=torch.long)
        tokens, _, (_, size) = task.model.vilt.embeddings.visual_embed(inputs, mask, max_image_length=-1)
        return tokens, size

    monkeypatch.setattr(task, "_embedded", shuffled)
    assert {"patch probe", "repeatable"} <= failed(outcome(task, "vilt"))


@pytest.mark.parametrize("family", ["blip-captioning", "blip-vqa", "blip-itm", "vit-gpt2", "git"])
def test_a_class_token_in_the_wrong_place_is_told(
    tiny_models: Tiny, monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    """T8: the last token is dropped in place of the first."""
    task = tiny_models.task(family)
    right = task._split

    def wrong(tokens: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
        found: tuple[Tensor, Tensor] = right(tokens.roll(1, 1), inputs)
        return found

    monkeypatch.setattr(task, "_split", wrong)
    assert "patch probe" in failed(outcome(task, family))


@pytest.mark.parametrize("family", ["blip-captioning", "git"])
def test_a_class_token_that_stays_makes_no_grid(tiny_models: Tiny, family: str) -> None:
    task = tiny_models.task(family)
    task.prefix = 0
    found = outcome(task, family)
    assert failed(found) == {"answers"}
    assert "37 tokens make no grid of square cells on a picture of 48 × 48" in str(found)


@pytest.mark.parametrize("family", TOWERS)
def test_height_and_width_swapped_are_told(tiny_models: Tiny, monkeypatch: pytest.MonkeyPatch, family: str) -> None:
    """T16."""
    task = tiny_models.task(family)
    right, hidden = task._split, task.hidden
    monkeypatch.setattr(task, "_split", lambda tokens, inputs: (lambda A, o: (A.mT, o))(*right(tokens, inputs)))
    monkeypatch.setattr(task, "hidden", lambda A, rest: hidden(A.mT, rest))
    assert failed(outcome(task, family)) == {"axes are places", "patch probe", "patch probe 3:2"}


def test_height_and_width_of_vilts_patches_swapped_are_told(tiny_models: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    task = tiny_models.task("vilt")
    right = task._embedded
    monkeypatch.setattr(task, "_embedded", lambda inputs: (lambda t, size: (t, size[::-1]))(*right(inputs)))
    assert {"patch probe", "patch probe 3:2"} <= failed(outcome(task, "vilt"))


def test_what_the_processor_cut_off_stays_dark(tiny_models: Tiny) -> None:
    """T16: GIT's processor cuts the middle out."""
    why = vlx.explain(tiny_models.task("git"), picture(width=120, height=40), caption=CAPTION)
    for word in why:
        assert not word.heatmap[:, :38].any()
        assert not word.heatmap[:, 82:].any()
    assert any(word.heatmap[:, 40:80].any() for word in why)


# T14, T17: texts


@pytest.mark.parametrize("family", CAPTIONERS)
def test_logits_of_the_step_before_are_told(tiny_models: Tiny, family: str) -> None:
    """T17."""
    task = tiny_models.task(family)
    right = task.family.logits

    def late(*given: Any) -> Any:
        logits, layers = right(*given)
        return logits.roll(1, 1), layers

    task.family = replace(task.family, logits=late)
    assert "forced = generated" in failed(outcome(task, family))


def test_logits_of_the_picture_are_told(tiny_models: Tiny) -> None:
    """T17: GIT's logits are of the picture's tokens first."""
    task = tiny_models.task("git")

    def uncut(twin: Any, tokens: Tensor, ids: Tensor, attentions: bool) -> Any:
        output = twin(pixel_values=tokens[:, None], input_ids=ids, use_cache=False, output_attentions=attentions)
        return output.logits[:, : ids.shape[1]], output.attentions or ()

    task.family = replace(task.family, logits=uncut)
    assert "forced = generated" in failed(outcome(task, "git"))


def test_answers_read_a_step_late_are_told(tiny_models: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    task = tiny_models.task("blip-vqa")
    right = blip._place
    monkeypatch.setattr(blip, "_place", lambda texts, step: (right(texts, step)[0], max(right(texts, step)[1] - 1, 0)))
    assert {"forced = generated", "split"} <= failed(outcome(task, "blip-vqa"))


def test_blips_generate_changes_no_ids_and_drops_no_word(tiny_models: Tiny) -> None:
    """T14: generate writes START over the first id in place and drops the last one."""
    task = tiny_models.task("blip-captioning")
    shown = pixels(task, picture())
    seen, begun = task.features(shown), tuple(task.tokenizer("a red", add_special_tokens=False)["input_ids"])
    query = Query(prompt="a red")
    assert task.predict(seen, [query])[0].tokens[:2] == begun
    start, given = task.model.config.text_config.bos_token_id, torch.tensor([[9, *begun]])
    tokens = task.hidden(seen.A, seen.rest)
    task.family.generate(task.twin(), tokens, given, {"max_new_tokens": 3})
    assert given.tolist() == [[9, *begun]]

    def careless(twin: Any, tokens: Tensor, ids: Tensor, more: dict[str, Any]) -> Any:
        return twin.generate(pixel_values=tokens[:, None], input_ids=ids, **more)

    task.family = replace(task.family, generate=careless)
    task.family.generate(task.twin(), tokens, given, {"max_new_tokens": 3})
    assert given.tolist() == [[start, *begun]], "the trap is still there"
    said, forced = task.predict(seen, [query])[0], generated(task, "blip-captioning", shown, begun)
    assert said.tokens != forced


@pytest.mark.parametrize("family", ["vit-gpt2", "swin-bert"])
def test_a_text_that_is_tokenised_again_is_told(
    tiny_models: Tiny, monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    """T14: what was generated is "g", "r", "e"…, and not what the tokenizer makes of the text."""
    task = tiny_models.task(family)
    tokenizer, right = task.tokenizer, task.family.generate
    letters = ["a", "Ġ", *"green"] if family == "vit-gpt2" else ["a", "g", "##r", "##e", "##e", "##n"]
    spelled = tokenizer.convert_tokens_to_ids(letters)

    def spelling(twin: Any, tokens: Tensor, ids: Tensor, more: dict[str, Any]) -> Any:
        found = right(twin, tokens, ids, {**more, "max_new_tokens": 1})
        begun = ids[0].tolist()
        said = task.family.logits(twin, tokens, torch.tensor([[*begun, *spelled]]), False)[0][0]
        found.logits = tuple(row[None] for row in said)
        found.sequences = torch.tensor([[*begun, *spelled, *task.family.end(task.model)]])
        return found

    task.family = replace(task.family, generate=spelling)
    assert task.predict(task.features(pixels(task, picture())), [Query()])[0].tokens == tuple(spelled)
    assert failed(outcome(task, family)) == {"stock model"}, "the model itself does not spell"
    predict = task.predict

    def again(features: Any, queries: Any) -> Any:
        (said,) = predict(features, queries)
        text = tuple(tokenizer(said.text, add_special_tokens=False)["input_ids"])
        (told,) = predict(features, [Query(caption=said.text)])
        assert len(text) < len(spelled)
        words = [replace(w, logprob=g.logprob) for w, g in zip(told.words, said.words, strict=True)]
        return [replace(told, words=tuple(words))]

    monkeypatch.setattr(task, "predict", again)
    assert "forced = generated" in failed(outcome(task, family))


# T1, T7, T15: gradients and attention


def test_vilts_last_block_has_no_gradient_and_is_told(tiny_models: Tiny) -> None:
    """T1."""
    task = tiny_models.task("vilt")
    task.block += 1
    task.layer = f"vilt.encoder.layer.{task.block}"
    task._behind.change = partial(vilt._cut, first=task.block + 1)
    found = outcome(task, "vilt")
    assert "gradient" in failed(found)
    assert "reads another layer, or only a class token" in found["gradient"].remark


@pytest.mark.parametrize("family", ["vit-gpt2", "swin-bert"])
def test_attention_that_is_not_eager_is_told(tiny_models: Tiny, family: str) -> None:
    """T15: SDPA shows no probabilities."""
    task = tiny_models.task(family)
    assert task.model.decoder.config._attn_implementation == "sdpa"
    task.twin = Twin(task.model, {"encoder": GivenTokens(task.model.encoder.config)})
    assert "attention" in failed(outcome(task, family))


@pytest.mark.parametrize("family", FAMILIES)
def test_earlier_calls_of_the_users_own_change_nothing(tiny_models: Tiny, family: str) -> None:
    """T7: transformers hangs hooks of its own into a model in the first call that asks for more."""
    cold, warm = tiny_models.task(family), tiny_models.task(family)
    shown = pixels(warm, picture())
    if family in WRITERS:
        generated(warm, family, shown)
    if family in TOWERS:
        tower = warm.model.get_submodule(TOWERS[family])
        tower(shown, output_hidden_states=True, output_attentions=True)
        one, other = tower(shown), cold.model.get_submodule(TOWERS[family])(shown)
        assert torch.equal(one.last_hidden_state, other.last_hidden_state)
    wanted, found = (vlx.explain(task, picture(), **options(family)) for task in (cold, warm))
    for a, b in zip(wanted, found, strict=True):
        assert (a.label, a.logprob, a.seen) == (b.label, b.logprob, b.seen)
        assert np.array_equal(a.signed, b.signed)


# Padding


@pytest.mark.parametrize("family", ASKED)
def test_padding_that_is_not_masked_changes_scores(
    tiny_models: Tiny, monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    task = tiny_models.task(family)
    seen = task.features(torch.cat([pixels(task, picture(n)) for n in range(2)]))
    targets = []
    for row, question in enumerate((QUESTION, SHORT)):
        said = task.predict(seen, [Query(question=question)] * 2)[row]
        targets.append(Target(row, "", said.words[0].terms, "logprob", said.tokens))

    def gap() -> float:
        alone = torch.cat([engine.ask(task, seen, [target]) for target in targets])
        return float((engine.ask(task, seen, targets) - alone).abs().max())

    assert gap() < 1e-5
    right = Runs.make

    def seen_padding(*given: Any) -> Runs:
        runs = right(*given)
        return replace(runs, mask=torch.ones_like(runs.mask))

    monkeypatch.setattr(Runs, "make", seen_padding)
    assert gap() > 1e-4


def test_without_traps_nothing_here_fails(tiny_models: Tiny) -> None:
    """The lambdas above that stand in place of methods are not what makes the tests fail."""
    task: Any = tiny_models.task("git")
    task.family, right = replace(task.family, logits=task.family.logits), task._split
    task._split = lambda tokens, inputs: right(tokens, inputs)
    assert outcome(task, "git").passed
