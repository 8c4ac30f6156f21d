"""Captioners of transformers: what they say and how they are explained, against the user's own stock model."""

from typing import Any

import pytest
import torch

pytest.importorskip("transformers")

from tests.hf import CAPTION, CAPTIONERS, Tiny, generated, grid, leaf, logits, picture, pixels
from vlx import engine, weighting
from vlx.task import Query, Target, Term, word_target

PROMPT = "a red"


def case(tiny: Tiny, family: str, query: Query | None = None, dtype: torch.dtype = torch.float64) -> tuple[Any, ...]:
    """A task, a picture's pixels, its features, what is said of it and a log p target a word."""
    task = tiny.task(family, dtype)
    shown = pixels(task, picture())
    seen = task.features(shown)
    said = task.predict(seen, [query or Query(caption=CAPTION)])[0]
    return task, shown, seen, said, [word_target(said, n, 0, "logprob") for n in range(len(said.words))]


@pytest.mark.parametrize("family", CAPTIONERS)
def test_scores_are_those_of_the_stock_forward(tiny_models: Tiny, family: str) -> None:
    task, shown, seen, said, targets = case(tiny_models, family)
    assert [word.label for word in said.words] == CAPTION.split()
    with torch.no_grad():
        stock = logits(task, family, shown, said.tokens)
    logprobs = stock.log_softmax(-1)
    found = engine.scores(task, seen.A, targets, seen.rest)
    for value, target, word in zip(found.tolist(), targets, said.words, strict=True):
        wanted = sum(float(logprobs[term.step, said.tokens[term.step]]) for term in target.terms)
        assert value == pytest.approx(wanted, abs=1e-9)
        assert word.logprob == pytest.approx(wanted, abs=1e-9)
    raw = [Target(0, "", (Term(2, 7), Term(1, 3, -1.0)), kind, said.tokens) for kind in ("logit", "prob")]
    read = [stock, stock.softmax(-1)]
    differences = [float(values[2, 7] - values[1, 3]) for values in read]
    assert engine.scores(task, seen.A, raw, seen.rest).tolist() == pytest.approx(differences, abs=1e-9)


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("prompt", [None, PROMPT])
@pytest.mark.parametrize("family", CAPTIONERS)
def test_captions_are_those_of_stock_generate(tiny_models: Tiny, family: str, prompt: str | None, beams: int) -> None:
    task = tiny_models.task(family)
    begun = () if prompt is None else tuple(task.tokenizer(prompt, add_special_tokens=False)["input_ids"])
    for seed in range(4):
        shown = pixels(task, picture(seed))
        said = task.predict(task.features(shown), [Query(prompt=prompt, beams=beams)])[0]
        wanted = generated(task, family, shown, begun, num_beams=beams)
        assert said.tokens == wanted
        assert said.text == task.tokenizer.decode(wanted, skip_special_tokens=True).strip()
        with torch.no_grad():
            logprobs = logits(task, family, shown, wanted).log_softmax(-1)
        for word in said.words:
            assert word.terms[0].step >= len(begun)
            own = sum(float(logprobs[term.step, wanted[term.step]]) for term in word.terms)
            assert word.logprob == pytest.approx(own, abs=1e-4)
        assert " ".join([prompt or "", *(word.label for word in said.words)]).strip() == said.text


@pytest.mark.parametrize("family", CAPTIONERS)
def test_gradcam_is_that_of_a_leaf_in_the_users_own_model(tiny_models: Tiny, family: str) -> None:
    task, shown, seen, said, targets = case(tiny_models, family)
    found = engine.attribute(task, seen.A, targets, weighting.choose("gradcam"), seen.rest)
    for n, target in enumerate(targets):
        with leaf(task, family) as kept:
            logprobs = logits(task, family, shown, said.tokens).log_softmax(-1)
        score = sum(logprobs[term.step, term.token] for term in target.terms)
        (gradient,) = torch.autograd.grad(score, kept[0])
        G, A = (grid(task, family, tokens.detach(), shown) for tokens in (gradient, kept[0]))
        torch.testing.assert_close(seen.A[0], A, rtol=0, atol=1e-10)
        alpha = torch.stack([unit.mean() for unit in G])
        torch.testing.assert_close(found.weights[n], alpha, rtol=1e-9, atol=1e-12)
        wanted = sum(weight * unit for weight, unit in zip(alpha, A, strict=True))
        torch.testing.assert_close(found.signed[n], wanted, rtol=1e-9, atol=1e-11)
