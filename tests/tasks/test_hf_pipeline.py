"""From a picture to a saved explanation, for every family of transformers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("transformers")

import vlx
from tests.fakes import alike
from tests.hf import ASKED, CAPTION, CAPTIONERS, FAMILIES, QUESTION, Tiny, logits, options, picture, pixels
from vlx import neuron_names
from vlx.errors import InputError
from vlx.neuron_names.table import NeuronNames
from vlx.pictures import edits
from vlx.protocol.targets import Query

METHODS = ("gradcam", "hirescam", "layercam", "occlusion", "gradattention", "gradrollout")
LINEAR = ("gradcam", "hirescam", "occlusion")
ROLLED = ("git", "vilt")
SIDES = {"blip-vqa": ("red", "dark blue"), "blip-itm": ("match", "no match"), "vilt": ("red", "blue")}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_method_makes_maps_that_can_be_saved_and_loaded(tiny_models: Tiny, tmp_path: Path, family: str) -> None:
    task = tiny_models.task(family)
    text = {"caption": CAPTION} if family in CAPTIONERS else options(family)
    for method in METHODS:
        if method == "gradrollout" and family not in ROLLED:
            continue
        looks = method == task.defaults.method
        why = vlx.explain(task, picture(), **text, method=method, looks=looks, subword_map="sum")
        assert (why.method, why.task) == (method, task.kind)
        assert any(word.heatmap.max() > 0 for word in why)
        for word in why:
            assert word.heatmap.shape == (40, 60)
            assert word.seen is not None
            if method in LINEAR:
                assert np.array_equal(word.opposed, -word.signed)
        for ending in (".json", ".h5") if looks else (".json",):
            again = vlx.Explanation.load(why.save(tmp_path / f"{method}{ending}"))
            alike(again, why, 1e-6)
            assert (again.provenance["method"], again.question) == (method, why.question)
            for a, b in zip(again.question_words, why.question_words, strict=True):
                assert (a.word, a.left_out, a.gradient) == (b.word, b.left_out, b.gradient)
            assert [word.looks for word in again] == [word.looks for word in why]
    assert "<html" in why.save(tmp_path / "why.html").read_text("utf-8")
    if family in ROLLED:  # one that writes and one that answers: matplotlib takes its time
        assert why.save(tmp_path / "why.png").stat().st_size > 1000
    assert json.loads((tmp_path / "gradcam.json").read_text("utf-8"))


@pytest.mark.parametrize("family", FAMILIES)
def test_what_was_seen_is_the_stock_models_difference_to_each_reference(tiny_models: Tiny, family: str) -> None:
    task = tiny_models.task(family)
    text = {"caption": CAPTION} if family in CAPTIONERS else {**options(family), "answer": SIDES[family][0]}
    why = vlx.explain(task, picture(), **text, looks=True)
    target = task.predict(task.features(pixels(task, picture())), [Query(**text)])[0]
    made = edits.made_of(picture())
    own = target.tokens[target.tokens.index(-1) + 1 :] if family == "blip-vqa" else target.tokens

    def stock(shown: Any, n: int) -> float:
        with torch.no_grad():
            logprobs = logits(task, family, pixels(task, shown), own).log_softmax(-1)
        terms = target.words[n].terms
        if family in ("blip-itm", "vilt"):
            return float(logprobs[terms[0].token])
        return sum(float(logprobs[term.step, term.token]) for term in terms)

    for n, word in enumerate(why):
        assert word.logprob == pytest.approx(stock(picture(), n), abs=1e-4)
        choices = target.words[n].choices
        assert choices is not None
        room = np.log(choices) * len(target.words[n].terms)
        looks = {look.kind: look for look in word.looks}
        for name, image in made.items():
            assert looks[name].logprobs[0] == pytest.approx(stock(image, n), abs=1e-4)
            owed = max(stock(picture(), n), -room) - max(stock(image, n), -room)
            assert word.seen_by[name] == pytest.approx(owed, abs=2e-4)
        assert word.seen == pytest.approx(np.mean(list(word.seen_by.values())), abs=1e-9)
        assert (len(looks["blurred"].said), len(looks["swapped"].said)) == (3, 4)


@pytest.mark.parametrize("family", CAPTIONERS)
def test_what_would_have_been_said_is_read_behind_the_prompt(tiny_models: Tiny, family: str) -> None:
    task = tiny_models.task(family)
    why = vlx.explain(task, picture(), prompt="a red", caption="house at night", looks=True)
    median = edits.median_picture(picture())
    tokens = task.tokenizer("a red house at night", add_special_tokens=False)["input_ids"]
    said = task.predict(task.features(pixels(task, picture())), [Query(caption=why.text)])[0]
    with torch.no_grad():
        rows = logits(task, family, pixels(task, median), tokens)
    for n, word in enumerate(why):
        step = said.words[2 + n].terms[0].step
        assert word.looks[0].said[0] == task.tokenizer.decode([int(rows[step].argmax())]).strip()


@pytest.mark.parametrize("family", ASKED)
def test_rivals_and_contrasts_are_explained_beside_the_answer(tiny_models: Tiny, family: str) -> None:
    task, (one, other) = tiny_models.task(family), SIDES[family]
    free = vlx.explain(task, picture(), question=QUESTION)
    assert free.others
    assert all(rival.text != free.text for rival in free.others)
    for rival in free.others[:2]:
        forced = vlx.explain(task, picture(), question=QUESTION, answer=rival.text)
        assert rival[0].logprob == pytest.approx(forced[0].logprob, abs=1e-4)
        assert np.allclose(rival[0].signed, forced[0].signed, atol=1e-5)
    for method in ("gradcam", "hirescam", "occlusion"):
        why = vlx.explain(task, picture(), question=QUESTION, answer=one, instead_of=other, method=method)
        alone = [vlx.explain(task, picture(), question=QUESTION, answer=text, method=method) for text in (one, other)]
        assert (why.text, why.instead_of) == (one, other)
        assert [side.text for side in why.others] == [one, other]
        a, b = (found[0] for found in alone)
        assert np.allclose(why[0].signed, a.signed - b.signed, atol=2e-5)
        assert np.allclose(why[0].weights, a.weights - b.weights, atol=2e-6)
        assert why[0].score == pytest.approx(a.score - b.score, abs=1e-5)
        assert a.seen is not None and b.seen is not None
        assert why[0].seen == pytest.approx(a.seen - b.seen, abs=1e-4)
        for side, own in zip(why.others, alone, strict=True):
            assert np.allclose(side[0].signed, own[0].signed, atol=2e-5)
            assert side[0].logprob == pytest.approx(own[0].logprob, abs=1e-4)


@pytest.mark.parametrize("family", ASKED)
def test_question_words_are_left_out_of_the_stock_models_question(tiny_models: Tiny, family: str) -> None:
    task, answer = tiny_models.task(family, torch.float64), SIDES[family][0]
    why = vlx.explain(task, picture(), question=QUESTION, answer=answer)
    shown = pixels(task, picture())
    said = task.predict(task.features(shown), [Query(question=QUESTION, answer=answer)])[0]
    own = said.tokens[said.tokens.index(-1) + 1 :] if family == "blip-vqa" else ()

    def stock(question: str) -> float:
        with torch.no_grad():
            logprobs = logits(task, family, shown, own, question).log_softmax(-1)
        terms = said.words[0].terms
        return float(logprobs[terms[0].token]) if not own else sum(float(logprobs[t.step, t.token]) for t in terms)

    words = QUESTION.rstrip("?").split()
    assert [word.word for word in why.question_words] == words
    for n, word in enumerate(why.question_words):
        shorter = " ".join([*words[:n], *words[n + 1 :]]) + "?"
        assert word.left_out == pytest.approx(stock(QUESTION) - stock(shorter), abs=1e-5)


@pytest.mark.parametrize("family", ASKED)
def test_gradients_of_question_words_are_those_of_the_stock_embeddings(tiny_models: Tiny, family: str) -> None:
    task, answer = tiny_models.task(family, torch.float64), SIDES[family][0]
    why = vlx.explain(task, picture(), question=QUESTION, answer=answer)
    shown = pixels(task, picture())
    said = task.predict(task.features(shown), [Query(question=QUESTION, answer=answer)])[0]
    own = said.tokens[said.tokens.index(-1) + 1 :] if family == "blip-vqa" else ()
    part = task.model.vilt.embeddings.text_embeddings if family == "vilt" else task.model.text_encoder.embeddings
    kept: list[torch.Tensor] = []

    def cut(module: Any, given: Any, out: torch.Tensor) -> torch.Tensor:
        kept.append(out.detach().requires_grad_())
        return kept[-1].clone()  # BLIP adds to it in place

    with part.word_embeddings.register_forward_hook(cut):
        rows = logits(task, family, shown, own)
    terms = said.words[0].terms
    kind = task.defaults.target
    if own:
        logprobs = rows.log_softmax(-1)
        score = torch.stack([logprobs[term.step, term.token] for term in terms]).sum()
    else:
        score = (rows if kind == "logit" else rows.log_softmax(-1))[terms[0].token]
    (gradient,) = torch.autograd.grad(score, kept[0])
    products = (gradient * kept[0])[0].sum(1).tolist()
    for word, places in zip(why.question_words, task.questions.words(said.tokens[: len(products)]), strict=True):
        assert word.gradient == pytest.approx(sum(products[place] for place in places[1]), rel=1e-5, abs=1e-7)


# Names


@pytest.fixture(scope="module")
def named(tiny_models: Tiny) -> Callable[[str], tuple[Any, NeuronNames]]:
    def make(family: str) -> tuple[Any, NeuronNames]:
        task = tiny_models.task(family)
        with_data = neuron_names.open_data("scenes:12")
        return task, neuron_names.dissect(task, with_data, quantile=0.05, folds=2)

    return make


@pytest.mark.parametrize("family", ["swin-bert", "git", "blip-vqa", "blip-itm"])
def test_units_have_names_and_words_have_reasons(
    named: Callable[[str], tuple[Any, NeuronNames]], tiny_models: Tiny, tmp_path: Path, family: str
) -> None:
    task, names = named(family)
    text = {"caption": CAPTION, "words": "all"} if family in CAPTIONERS else options(family)
    why = vlx.explain(task, picture(), **text, names=names)
    for word in why:
        assert word.because is not None
        assert word.because.reasons or word.because.coverage == 0
    checked = [word.because.check for word in why if word.because is not None and word.because.check is not None]
    assert checked
    assert all(np.isfinite([check.before, check.effect, *check.random]).all() for check in checked)
    for method in ("gradcam", "gradattention"):  # of a word's pieces together, whatever its map shows
        rules = [
            vlx.explain(task, picture(), **text, names=names, method=method, subword_map=r) for r in ("max", "sum")
        ]
        for one, other in zip(*rules, strict=True):
            assert one.because is not None and other.because is not None
            assert one.because.unnamed == pytest.approx(other.because.unnamed, abs=1e-5)
    again = vlx.Explanation.load(why.save(tmp_path / "why.h5"))
    assert [word.because is not None for word in again] == [True] * len(why)
    assert "<html" in why.save(tmp_path / "why.html").read_text("utf-8")
    changed = tiny_models.task(family)
    with torch.no_grad():
        next(changed.model.get_submodule(changed.layer).parameters()).mul_(1.5)
    with pytest.raises(InputError, match=r"weights"):
        vlx.explain(changed, picture(), **text, names=names)


def test_units_of_cells_that_have_met_the_question_have_no_names(
    named: Callable[[str], tuple[Any, NeuronNames]],
) -> None:
    task, names = named("vilt")
    with pytest.raises(InputError, match=r"^vilt is explained at what its cells hold after they have met the question"):
        vlx.explain(task, picture(), question=QUESTION, names=names)
