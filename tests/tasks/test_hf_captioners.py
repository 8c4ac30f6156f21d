"""Captioners of transformers: what they say and how they are explained, against the user's own stock model."""

from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("transformers")

import vlx
from tests.hf import (
    CAPTION,
    CAPTIONERS,
    PREFIX,
    Tiny,
    generated,
    grid,
    leaf,
    logits,
    louder,
    negated,
    output,
    overheard,
    picture,
    pixels,
    rolled_out,
)
from vlx.errors import InputError
from vlx.methods import attention, cams, engine
from vlx.pictures import edits
from vlx.protocol.targets import Query, Target, Term, word_target

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
    found = engine.attribute(task, seen.A, targets, cams.METHODS["gradcam"], seen.rest)
    for n, target in enumerate(targets):
        with leaf(task, family) as kept:
            logprobs = logits(task, family, shown, said.tokens).log_softmax(-1)
        score = torch.stack([logprobs[term.step, term.token] for term in target.terms]).sum()
        (gradient,) = torch.autograd.grad(score, kept[0])
        G, A = (grid(task, family, tokens.detach(), shown) for tokens in (gradient, kept[0]))
        torch.testing.assert_close(seen.A[0], A, rtol=0, atol=1e-10)
        alpha = torch.stack([unit.mean() for unit in G])
        torch.testing.assert_close(found.weights[n], alpha, rtol=1e-9, atol=1e-12)
        wanted = sum(weight * unit for weight, unit in zip(alpha, A, strict=True))
        torch.testing.assert_close(found.signed[n], wanted, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("family", ["blip-captioning", "vit-gpt2", "swin-bert"])
def test_gradattention_is_how_the_score_follows_its_words_attention(tiny_models: Tiny, family: str) -> None:
    """For less against = Σ gradient × probability over layers, heads and the word's queries, which is the score's slope
    in ε when these probabilities are multiplied by 1 + ε.
    """
    task, shown, seen, said, targets = case(tiny_models, family)
    word = targets[1]
    assert (word.label, len(word.terms) > 1) == ("greenish", True)
    method = attention.ATTENTION_METHODS["gradattention"]
    found = attention.attribute(task, seen.A, targets, method, seen.rest)
    falling = attention.attribute(task, seen.A, [negated(target) for target in targets], method, seen.rest).signed
    task.model.set_attn_implementation("eager")
    queries = [term.step for term in word.terms]
    h, w = seen.A.shape[-2:]
    shape, step = (len(said.tokens) + 1, PREFIX[family] + h * w), 1e-5

    def score(cell: int, by: float) -> float:
        with torch.no_grad(), louder(shape, queries, PREFIX[family] + cell, by):
            logprobs = logits(task, family, shown, said.tokens).log_softmax(-1)
        return sum(float(logprobs[term.step, term.token]) for term in word.terms)

    slopes = [(score(cell, step) - score(cell, -step)) / (2 * step) for cell in range(0, h * w, 3)]
    assert max(map(abs, slopes)) > 1e-4
    both = found.signed[1] - falling[1]
    assert both.flatten()[::3].tolist() == pytest.approx(slopes, rel=1e-5, abs=1e-8)
    with overheard(shape) as layers:
        logprobs = logits(task, family, shown, said.tokens).log_softmax(-1)
    gradients = torch.autograd.grad(torch.stack([logprobs[term.step, term.token] for term in word.terms]).sum(), layers)
    for sign, maps in ((1, found.signed), (-1, falling)):
        rising = [
            (p * (sign * g).clamp(min=0))[0, :, queries].sum((0, 1)) for p, g in zip(layers, gradients, strict=True)
        ]
        wanted = torch.stack(rising).sum(0)[PREFIX[family] :].detach()
        torch.testing.assert_close(maps[1].flatten(), wanted, rtol=1e-6, atol=1e-8)


def test_git_rolls_attention_out_through_the_whole_matrix(tiny_models: Tiny) -> None:
    task, shown, seen, said, targets = case(tiny_models, "git")
    method = attention.ATTENTION_METHODS["gradrollout"]
    found = attention.attribute(task, seen.A, targets, method, seen.rest)
    falling = attention.attribute(task, seen.A, [negated(target) for target in targets], method, seen.rest).signed
    rows, stock = output(task, "git", shown, said.tokens, output_attentions=True)
    logprobs, layers = rows.log_softmax(-1), stock.attentions
    first = layers[0].shape[-1] - len(said.tokens) - 1
    cells = seen.A[0, 0].numel()
    assert first == 1 + cells
    for n, target in enumerate(targets):
        score = torch.stack([logprobs[term.step, term.token] for term in target.terms]).sum()
        for sign, maps in ((1, found.signed), (-1, falling)):
            gradients = torch.autograd.grad(sign * score, layers, retain_graph=True)
            wanted = rolled_out(
                [layer[0].detach() for layer in layers],
                [gradient[0] for gradient in gradients],
                [first + term.step for term in target.terms],
            )
            torch.testing.assert_close(maps[n].flatten(), wanted[1 : 1 + cells], rtol=1e-8, atol=1e-12)
            assert maps[n].max() > 0


def test_git_is_explained_by_gradattention_too(tiny_models: Tiny) -> None:
    task, shown, seen, said, targets = case(tiny_models, "git")
    found = attention.attribute(task, seen.A, targets, attention.ATTENTION_METHODS["gradattention"], seen.rest)
    rows, stock = output(task, "git", shown, said.tokens, output_attentions=True)
    logprobs, layers = rows.log_softmax(-1), stock.attentions
    first = layers[0].shape[-1] - len(said.tokens) - 1
    for n, target in enumerate(targets):
        score = torch.stack([logprobs[term.step, term.token] for term in target.terms]).sum()
        gradients = torch.autograd.grad(score, layers, retain_graph=True)
        wanted = torch.zeros(first - 1, dtype=torch.float64)
        for layer, gradient in zip(layers, gradients, strict=True):
            for term in target.terms:
                wanted += (layer * gradient.clamp(min=0))[0, :, first + term.step, 1:first].sum(0).detach()
        torch.testing.assert_close(found.signed[n].flatten(), wanted, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("family", ["blip-captioning", "vit-gpt2", "swin-bert"])
def test_cross_attention_cannot_be_rolled_out(tiny_models: Tiny, family: str) -> None:
    with pytest.raises(
        InputError, match=f"^gradrollout needs attention among all tokens; {family} has cross-attention"
    ):
        vlx.explain(tiny_models.task(family), picture(), method="gradrollout")


@pytest.mark.parametrize("family", CAPTIONERS)
def test_occlusion_hides_parts_of_the_users_own_model_alike(tiny_models: Tiny, family: str) -> None:
    """The map of method="occlusion": how much log p falls, by a stock forward for every part that is hidden."""
    task = tiny_models.task(family)
    why = vlx.explain(task, picture(), caption=CAPTION, method="occlusion", seen=False)
    tokens = task.tokenizer(CAPTION, add_special_tokens=False)["input_ids"]
    said = task.predict(task.features(pixels(task, picture())), [Query(caption=CAPTION)])[0]
    median = edits.median_picture(picture())
    shown, empty = pixels(task, picture()), pixels(task, median)
    h, w = why[0].signed.shape
    high, wide = shown.shape[-2] // h, shown.shape[-1] // w

    def score(of: torch.Tensor, n: int) -> float:
        with torch.no_grad():
            logprobs = logits(task, family, of, tokens).log_softmax(-1)
        return sum(float(logprobs[term.step, term.token]) for term in said.words[n].terms)

    for row, column in ((0, 0), (1, w - 1), (h - 1, 2)):
        hidden = shown.clone()
        square = np.s_[..., row * high : (row + 1) * high, column * wide : (column + 1) * wide]
        hidden[square] = empty[square]
        for n in (0, 2):
            assert why[n].signed[row, column] == pytest.approx(score(shown, n) - score(hidden, n), abs=1e-4)
