"""Models of transformers that are asked: answers and maps against the user's own stock model."""

from typing import Any, cast

import pytest
import torch
from torch import Tensor

pytest.importorskip("transformers")

import vlx
from tests.hf import (
    ASKED,
    QUESTION,
    SHORT,
    Tiny,
    asked,
    end,
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
    placed,
    raster,
    rolled_out,
)
from vlx.errors import ModelError
from vlx.methods import attention, cams, engine
from vlx.protocol.powers import meet
from vlx.protocol.targets import Query, Target, TargetKind, Term
from vlx.protocol.task import Features
from vlx.tasks.huggingface.texts import packed

LABELLED = ("blip-itm", "vilt")


def case(tiny: Tiny, family: str, dtype: torch.dtype = torch.float64) -> tuple[Any, Tensor, Features]:
    task = tiny.task(family, dtype)
    shown = pixels(task, picture())
    return task, shown, task.features(shown)


def tokens(task: Any, question: str = QUESTION) -> tuple[int, ...]:
    return tuple(task.tokenizer(question)["input_ids"])


def answer(task: Any, text: str) -> tuple[int, ...]:
    return (*task.tokenizer(text, add_special_tokens=False)["input_ids"], end("blip-vqa", task.model))


def said(task: Any, question: str, text: str, kind: Any = "logprob", row: int = 0) -> Target:
    """BLIP's target that asks for an answer of its own."""
    own = answer(task, text)
    return Target(row, text, tuple(map(Term, range(len(own)), own)), kind, packed(tokens(task, question), own))


def met(task: Any, seen: Features, target: Target) -> Features:
    """The features at which a model is explained."""
    return meet(task, seen, [target])[0]


def one(task: Any, family: str) -> Target:
    return (
        said(task, QUESTION, "greenish")
        if family == "blip-vqa"
        else Target(0, "", (Term(0, 1),), "logit", tokens(task))
    )


def stock_score(task: Any, family: str, shown: Tensor, target: Target) -> Tensor:
    """The score of `one` by the stock model."""
    own = [term.token for term in target.terms] if family == "blip-vqa" else ()
    rows = logits(task, family, shown, own)
    if family != "blip-vqa":
        return cast(Tensor, rows[1])
    read = rows.log_softmax(-1)
    return torch.stack([read[step, token] for step, token in enumerate(own)]).sum()


@pytest.mark.parametrize("family", LABELLED)
def test_scores_of_labels_are_those_of_the_stock_forward(tiny_models: Tiny, family: str) -> None:
    task, shown, seen = case(tiny_models, family)
    for question in (QUESTION, SHORT):
        with torch.no_grad():
            stock = logits(task, family, shown, (), question)
        read: dict[TargetKind, Tensor] = {"logprob": stock.log_softmax(-1), "prob": stock.softmax(-1)}
        for kind, wanted in {**read, "logit": stock}.items():
            targets = [Target(0, "", (Term(0, n),), kind, tokens(task, question)) for n in range(len(stock))]
            site = met(task, seen, targets[0])
            for found in (engine.ask(task, seen, targets), engine.scores(task, site.A, targets, site.rest)):
                assert found.tolist() == pytest.approx(wanted.tolist(), abs=1e-10)
        told = task.predict(seen, [Query(question=question)])[0]
        likely = [(label.label, label.logprob) for label in told.words[0].alternatives]
        names = ("no match", "match") if family == "blip-itm" else list(task.model.config.id2label.values())
        order = sorted(zip(stock.log_softmax(-1).tolist(), names, strict=True), reverse=True)[: len(likely)]
        assert [name for name, _ in likely] == [name for _, name in order]
        assert [value for _, value in likely] == pytest.approx([value for value, _ in order], abs=1e-9)
        assert told.text == order[0][1]


def test_scores_have_one_meaning_at_features_that_have_met_the_question(tiny_models: Tiny) -> None:
    task, _, seen = case(tiny_models, "vilt")
    target = Target(0, "", (Term(0, 1),), "logit", tokens(task, QUESTION))
    for rest in (seen.rest, None):
        with pytest.raises(ModelError, match=r"^vilt: scores are taken at features that have met the question; .*meet"):
            task.scores(seen.A, [target], rest)


@pytest.mark.parametrize("text", ["red", "greenish", "dark blue"])
def test_scores_of_written_answers_are_those_of_a_hook_on_the_stock_decoder(tiny_models: Tiny, text: str) -> None:
    task, shown, seen = case(tiny_models, "blip-vqa")
    for question in (QUESTION, SHORT):
        with torch.no_grad():
            logprobs = logits(task, "blip-vqa", shown, answer(task, text), question).log_softmax(-1)
        wanted = sum(float(logprobs[step, token]) for step, token in enumerate(answer(task, text)))
        assert engine.scores(task, seen.A, [said(task, question, text)], seen.rest).item() == pytest.approx(wanted)
        told = task.predict(seen, [Query(question=question, answer=text)])[0]
        assert (told.text, told.forced, told.tokens) == (text, True, packed(tokens(task, question), answer(task, text)))
        assert told.words[0].logprob == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize("beams", [1, 3])
def test_answers_are_those_of_stock_generate(tiny_models: Tiny, beams: int) -> None:
    task = tiny_models.task("blip-vqa")
    for seed in range(4):
        shown = pixels(task, picture(seed))
        told = task.predict(task.features(shown), [Query(question=QUESTION, beams=beams)])[0]
        wanted = generated(task, "blip-vqa", shown, num_beams=beams)
        assert told.tokens == packed(tokens(task), (*wanted, end("blip-vqa", task.model)))
        assert told.text == task.tokenizer.decode(wanted)
        with torch.no_grad():
            logprobs = logits(task, "blip-vqa", shown, wanted).log_softmax(-1)
        own = (*wanted, end("blip-vqa", task.model))
        likely = sum(float(logprobs[step, token]) for step, token in enumerate(own))
        assert told.words[0].logprob == pytest.approx(likely, abs=1e-4)


def test_alternatives_are_what_stock_beams_find_best_first(tiny_models: Tiny) -> None:
    task, shown, seen = case(tiny_models, "blip-vqa")
    told = task.predict(seen, [Query(question=QUESTION)])[0].words[0].alternatives
    more = {"num_beams": 6, "num_return_sequences": 6, "length_penalty": 0.0, "max_new_tokens": 10}
    stock = task.model.generate(pixel_values=shown, **asked(task), **more, do_sample=False)
    texts = task.tokenizer.batch_decode(stock, skip_special_tokens=True)
    assert {other.label for other in told} <= {text.strip() for text in texts} | {told[0].label}
    assert len(told) >= 5
    assert [other.logprob for other in told] == sorted((other.logprob for other in told), reverse=True)


def test_other_answers_are_asked_for_as_texts_of_their_own(tiny_models: Tiny) -> None:
    task = tiny_models.task("blip-vqa", torch.float64)
    why = vlx.explain(task, picture(), question=QUESTION, target="logprob", seen=False, check=False)
    likely = dict(why[0].alternatives)
    assert len(why.others) > 1
    for other in why.others:
        assert other[0].score == pytest.approx(likely[other.text], abs=1e-6)


@pytest.mark.parametrize("family", ASKED)
def test_gradcam_is_that_of_a_leaf_in_the_users_own_model(tiny_models: Tiny, family: str) -> None:
    task, shown, seen = case(tiny_models, family)
    target = one(task, family)
    at = met(task, seen, target)
    found = engine.attribute(task, at.A, [target], cams.METHODS["gradcam"], at.rest)
    with leaf(task, family) as kept, placed(task.model) as places:
        score = stock_score(task, family, shown, target)
    (gradient,) = torch.autograd.grad(score, kept[0])
    G, A = (
        raster(values, places[0]) if family == "vilt" else grid(task, family, values, shown)
        for values in (gradient, kept[0].detach())
    )
    assert float(G.abs().max()) > 1e-6
    torch.testing.assert_close(at.A[0], A, rtol=0, atol=1e-10)
    alpha = G.mean((1, 2))
    torch.testing.assert_close(found.weights[0], alpha, rtol=1e-8, atol=1e-12)
    torch.testing.assert_close(found.signed[0], torch.einsum("k,khw->hw", alpha, A), rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("family", ["blip-vqa", "blip-itm"])
def test_gradattention_is_how_the_score_follows_the_questions_attention(tiny_models: Tiny, family: str) -> None:
    task, shown, seen = case(tiny_models, family)
    target = one(task, family)
    method = attention.ATTENTION_METHODS["gradattention"]
    found, falling = (
        attention.attribute(task, seen.A, [asked], method, seen.rest) for asked in (target, negated(target))
    )
    cells, length, step = seen.A[0, 0].numel(), len(tokens(task)), 1e-5

    def score(cell: int, by: float) -> float:
        with torch.no_grad(), louder((length, 1 + cells), range(length), 1 + cell, by):
            return float(stock_score(task, family, shown, target))

    slopes = [(score(cell, step) - score(cell, -step)) / (2 * step) for cell in range(cells)]
    assert max(map(abs, slopes)) > 1e-4
    assert (found.signed - falling.signed)[0].flatten().tolist() == pytest.approx(slopes, rel=1e-5, abs=1e-8)
    with overheard((length, 1 + cells)) as layers:
        total = stock_score(task, family, shown, target)
    gradients = torch.autograd.grad(total, layers)
    rising = [(p * g.clamp(min=0))[0].sum((0, 1)) for p, g in zip(layers, gradients, strict=True)]
    wanted = torch.stack(rising).sum(0)[1:].detach()
    torch.testing.assert_close(found.signed[0].flatten(), wanted, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("method", ["gradrollout", "gradattention"])
def test_vilt_shows_the_attention_of_the_stock_model_unshuffled(tiny_models: Tiny, method: str) -> None:
    task, shown, seen = case(tiny_models, "vilt")
    target = one(task, "vilt")
    at = met(task, seen, target)
    found, falling = (
        attention.attribute(task, at.A, [asked], attention.ATTENTION_METHODS[method], at.rest)
        for asked in (target, negated(target))
    )
    with placed(task.model) as places:
        rows, stock = output(task, "vilt", shown, (), output_attentions=True)
    for sign, maps in ((1, found.signed), (-1, falling.signed)):
        gradients = torch.autograd.grad(sign * rows[1], stock.attentions, retain_graph=True)
        layers = [layer[0].detach() for layer in stock.attentions]
        own = [gradient[0] for gradient in gradients]
        if method == "gradrollout":
            wanted = rolled_out(layers, own, [0])
        else:
            wanted = torch.stack([(p * g.clamp(min=0))[:, 0].sum(0) for p, g in zip(layers, own, strict=True)]).sum(0)
        torch.testing.assert_close(maps[0], raster(wanted[None, :, None], places[0])[0], rtol=1e-8, atol=1e-12)
    torch.testing.assert_close(found.scores[0], rows[1].detach(), rtol=0, atol=1e-10)


# Several questions at once


@pytest.mark.parametrize("family", ASKED)
def test_questions_of_different_length_share_a_batch_and_change_nothing(tiny_models: Tiny, family: str) -> None:
    task = tiny_models.task(family, torch.float64)
    seen = task.features(torch.cat([pixels(task, picture(n)) for n in range(2)]))
    if family == "blip-vqa":
        targets = [
            said(task, question, text, row=row)
            for row, question in enumerate((QUESTION, SHORT))
            for text in ("red", "dark blue")
        ]
    else:
        targets = [
            Target(row, "", (Term(0, 0),), "logit", tokens(task, question))
            for row, question in enumerate((QUESTION, SHORT))
        ]
    together = engine.ask(task, seen, targets)
    for n, target in enumerate(targets):
        alone = engine.ask(task, seen, [target])
        assert together[n].item() == pytest.approx(alone.item(), abs=1e-10)
    both = task.predict(seen, [Query(question=QUESTION), Query(question=SHORT)])
    for row, question in enumerate((QUESTION, SHORT)):
        own = task.features(pixels(task, picture(row)))
        single = task.predict(own, [Query(question=question)])[0]
        assert both[row].text == single.text
        assert both[row].words[0].logprob == pytest.approx(single.words[0].logprob, abs=1e-9)


@pytest.mark.parametrize("family", ASKED)
def test_attention_in_a_batch_is_that_of_each_alone(tiny_models: Tiny, family: str) -> None:
    task, _, seen = case(tiny_models, family)
    targets = [
        said(task, q, "red") if family == "blip-vqa" else Target(0, "", (Term(0, 1),), "logit", tokens(task, q))
        for q in (QUESTION, SHORT)
    ]
    method = attention.ATTENTION_METHODS[task.defaults.method]
    if family == "vilt":
        at = task.meet(seen, [(0, target.tokens) for target in targets])
        rows = [Target(n, "", target.terms, "logit", target.tokens) for n, target in enumerate(targets)]
    else:
        at, rows = seen, targets
    together = attention.attribute(task, at.A, rows, method, at.rest)
    for n, target in enumerate(targets):
        own = met(task, seen, target)
        alone = attention.attribute(task, own.A, [target], method, own.rest)
        torch.testing.assert_close(together.signed[n], alone.signed[0], rtol=1e-9, atol=1e-13)
        torch.testing.assert_close(together.weights[n], alone.weights[0], rtol=1e-9, atol=1e-13)
