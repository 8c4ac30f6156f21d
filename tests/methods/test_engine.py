from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from tests.fakes import (
    ALL_KINDS,
    KINDS,
    UNITS,
    VOCABULARY,
    Blind,
    captioner,
    feature_map,
    slow_gradient,
    slow_logits,
    slow_score,
)
from vlx.errors import ModelError
from vlx.methods import engine
from vlx.methods.cams import METHODS
from vlx.protocol.nested import nested
from vlx.protocol.targets import GradientWay, Target, TargetKind, Term

WAYS: tuple[GradientWay, ...] = ("rows", "batched", "loop")
TEXTS = ((3, 4, 6, 8, 9), (3, 7), (5, 6, 3, 3, 9))


def word(row: int, step: int, text: tuple[int, ...], kind: TargetKind = "logprob", weight: float = 1.0) -> Target:
    return Target(row, f"word {step}", (Term(step, text[step], weight),), kind, text)


def uneven() -> list[Target]:
    """Row 0 has one target, row 1 five about two texts, row 2 two; not sorted by row."""
    return [
        word(1, 2, TEXTS[0]),
        word(0, 1, TEXTS[1]),
        word(1, 0, TEXTS[2], "logit"),
        word(2, 4, TEXTS[2], "prob", 100.0),
        word(1, 4, TEXTS[0], "logprob", 0.5),
        Target(1, "both", (Term(1, 6), Term(1, 5, -1.0), Term(3, 3, 2.0)), "margin", TEXTS[2]),
        word(2, 0, TEXTS[1]),
        word(1, 2, TEXTS[0], "logit"),
    ]


def far(found: Tensor, wanted: Tensor) -> float:
    """The largest difference, in units of the largest value."""
    return float((found.double() - wanted.double()).abs().max() / wanted.double().abs().max())


def reference(task: Any, A: Tensor, targets: list[Target]) -> tuple[Tensor, Tensor]:
    scores = torch.stack([slow_score(task, A, target).detach() for target in targets])
    return scores, torch.stack([slow_gradient(task, A, target) for target in targets])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ALL_KINDS)
def test_each_way_gives_every_target_the_gradient_of_its_own_row(kind: str, way: GradientWay) -> None:
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 1e-5)):
        task, A = captioner(kind, dtype), feature_map(3, dtype)
        scores, gradient = engine.gradients(task, A, uneven(), way=way)
        wanted_scores, wanted = reference(task, A, uneven())
        assert scores.shape == (8,)
        assert gradient.shape == (8, *A.shape[1:])
        assert gradient.dtype == dtype
        assert far(scores, wanted_scores) < tolerance
        for found, own in zip(gradient, wanted, strict=True):
            assert float(own.abs().max()) > 1e-8
            assert far(found, own) < tolerance


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_equal_finite_differences(kind: str) -> None:
    task, A, targets = captioner(kind, torch.float64), feature_map(), uneven()
    _, gradient = engine.gradients(task, A, targets)
    generator = torch.Generator().manual_seed(3)
    for _ in range(4):
        step = 1e-5 * torch.randn(A.shape, generator=generator, dtype=A.dtype)
        rise = (engine.scores(task, A + step, targets) - engine.scores(task, A - step, targets)) / 2
        predicted = torch.stack([(g * step[t.row]).sum() for g, t in zip(gradient, targets, strict=True)])
        assert far(predicted, rise) < 1e-6


@pytest.mark.parametrize("way", WAYS)
def test_one_map_serves_many_targets(way: GradientWay) -> None:
    task, A = captioner("attention", torch.float64), feature_map(1)
    targets = [word(0, step, TEXTS[0]) for step in range(5)]
    _, gradient = engine.gradients(task, A, targets, way=way)
    assert far(gradient, reference(task, A, targets)[1]) < 1e-10


def test_the_adapter_chooses_the_way_unless_told() -> None:
    task, A = captioner("first", torch.float64), feature_map(1)
    with pytest.raises(KeyError, match="sideways"):
        engine.gradients(task, A, uneven()[1:2], way=cast(Any, "sideways"))
    task.defaults = replace(task.defaults, gradients="sideways")
    with pytest.raises(KeyError, match="sideways"):
        engine.gradients(task, A, uneven()[1:2])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("way", WAYS)
def test_chunks_change_nothing(method: str, way: GradientWay) -> None:
    task, A = captioner("attention", torch.float64), feature_map()
    whole = engine.attribute(task, A, uneven(), METHODS[method], way=way)
    one = A[0].numel() * A.element_size()
    for budget in (1, one, 3 * one):
        cut = engine.attribute(task, A, uneven(), METHODS[method], way=way, budget=budget)
        for name in ("scores", "weights", "signed", "opposed"):
            assert far(getattr(cut, name), getattr(whole, name)) < 1e-10, name
        assert cut.depends.tolist() == whole.depends.tolist()


def test_chunks_hold_as_many_targets_as_the_budget() -> None:
    A, targets = feature_map(), uneven()
    one = A[0].numel() * A.element_size()
    assert [len(chunk) for chunk in engine.chunks(A, targets, 1)] == [1] * 8
    assert [len(chunk) for chunk in engine.chunks(A, targets, 3 * one)] == [3, 3, 2]
    assert [target for chunk in engine.chunks(A, targets, 3 * one) for target in chunk] == targets
    assert [len(chunk) for chunk in engine.chunks(A.bfloat16(), targets, 3 * A[0].numel() * 4)] == [3, 3, 2]


def test_weights_and_maps_are_those_of_the_formulas() -> None:
    task, A = captioner("attention", torch.float64), feature_map()
    found = engine.attribute(task, A, uneven(), METHODS["gradcam"])
    for n, target in enumerate(uneven()):
        gradient, own = slow_gradient(task, A, target), A[target.row]
        alpha = [sum(float(gradient[k, i, j]) for i in range(4) for j in range(4)) / 16 for k in range(UNITS)]
        signed = sum(alpha[k] * own[k] for k in range(UNITS))
        assert isinstance(signed, Tensor)
        assert found.weights[n].tolist() == pytest.approx(alpha, rel=1e-9)
        assert far(found.signed[n], signed) < 1e-10
        assert far(found.opposed[n], -signed) < 1e-10


def conditions() -> Iterator[tuple[str, AbstractContextManager[Any]]]:
    yield "plain", nullcontext()
    yield "no_grad", torch.no_grad()
    yield "inference_mode", torch.inference_mode()


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("kind", [*KINDS, "unrolled"])
def test_frozen_weights_and_gradient_modes_change_nothing(kind: str, frozen: bool) -> None:
    task, A = captioner(kind, torch.float64), feature_map()
    wanted = reference(task, A, uneven())[1]
    task.decoder.requires_grad_(not frozen)
    for name, condition in conditions():
        with condition:
            own = A * 1  # made here: an inference tensor under inference_mode
            for way in WAYS:
                scores, gradient = engine.gradients(task, own, uneven(), way=way)
                assert far(gradient, wanted) < 1e-10, (name, way)
                assert not gradient.requires_grad
                assert not scores.requires_grad


@pytest.mark.parametrize("way", WAYS)
def test_the_users_tensor_stays_as_it_is(way: GradientWay) -> None:
    task, A = captioner("attention", torch.float64), feature_map()
    before = A.clone()
    engine.attribute(task, A, uneven(), METHODS["layercam"], way=way)
    assert torch.equal(A, before)
    assert not A.requires_grad
    assert A.grad is None
    asking = A.clone().requires_grad_()
    engine.gradients(task, asking, uneven(), way=way)
    assert asking.requires_grad
    assert asking.grad is None


@pytest.mark.parametrize("kind", KINDS)
def test_precisions(kind: str) -> None:
    exact = engine.attribute(captioner(kind, torch.float64), feature_map(), uneven(), METHODS["hirescam"])
    for dtype, tolerance, given in (
        (torch.float32, 1e-4, torch.float32),
        (torch.bfloat16, 0.2, torch.float32),
    ):
        found = engine.attribute(captioner(kind, dtype), feature_map(3, dtype), uneven(), METHODS["hirescam"])
        assert found.signed.dtype == found.weights.dtype == given
        assert far(found.scores, exact.scores) < tolerance
        assert far(found.signed, exact.signed) < tolerance


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", [*KINDS, "unrolled"])
def test_the_gpu_gives_the_same(kind: str, way: GradientWay) -> None:
    task, A = captioner(kind, torch.float64), feature_map()
    wanted = engine.gradients(task, A, uneven(), way="loop")[1]
    task.cnn.cuda()
    task.decoder.cuda()
    found = engine.gradients(task, A.cuda(), uneven(), way=way)[1]
    assert found.is_cuda
    assert far(found.cpu(), wanted) < 1e-8
    assert torch.backends.cudnn.enabled


@pytest.mark.parametrize("detached", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_a_target_that_does_not_depend_on_the_map_gives_zeros(way: GradientWay, detached: bool) -> None:
    torch.manual_seed(0)
    task = captioner(cast(Any, Blind(detached)))
    for frozen in (False, True):
        task.decoder.requires_grad_(not frozen)
        found = engine.attribute(task, feature_map(3, torch.float32), uneven(), METHODS["gradcam"], way=way)
        assert not found.depends.any()
        assert not found.signed.any()
        assert not found.weights.any()
    seeing = engine.attribute(captioner("first"), feature_map(3, torch.float32), uneven(), METHODS["gradcam"], way=way)
    assert seeing.depends.all()


def test_one_blind_target_among_others_is_told_apart() -> None:
    class OneWordBlind(nn.Module):
        def start(self, A: Tensor) -> Tensor:
            return A.mean((2, 3))

        def step(self, tokens: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
            logits = torch.cat([state, state.new_zeros(len(state), len(VOCABULARY) - UNITS)], 1)
            return logits, state

    task = captioner(cast(Any, OneWordBlind()))
    targets = [word(0, 0, (9,), "logit"), word(0, 0, (3,), "logit")]
    for way in WAYS:
        found = engine.attribute(task, feature_map(1, torch.float32), targets, METHODS["gradcam"], way=way)
        assert found.depends.tolist() == [False, True]
        assert not found.signed[0].any()
        assert found.signed[1].any()


@pytest.mark.parametrize("way", WAYS)
def test_nan_weights_are_an_error_that_names_the_word(way: GradientWay) -> None:
    task = captioner("first")
    with torch.no_grad():
        task.decoder.output.weight[4] = float("nan")
    with pytest.raises(ModelError, match=r"^tiny: the score of 'word 2' is not a finite number; check the weights"):
        engine.gradients(task, feature_map(3, torch.float32), uneven()[:1], way=way)


@pytest.mark.parametrize("way", WAYS)
def test_a_gradient_that_is_not_finite_is_an_error_too(way: GradientWay) -> None:
    class Rooted(nn.Module):
        def start(self, A: Tensor) -> Tensor:
            return A.mean((2, 3)).sqrt()  # infinite slope where a unit is silent

        def step(self, tokens: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
            return torch.cat([state, -state], 1), state

    task, A = captioner(cast(Any, Rooted())), feature_map(1, torch.float32)
    A[0, 3] = 0
    with pytest.raises(ModelError, match=r"^tiny: .*gradient.*'word 0'.* finite"):
        engine.gradients(task, A, [word(0, 0, (3,))], way=way)


def test_every_kind_of_score_is_what_it_says() -> None:
    task, A, text = captioner("attention", torch.float64), feature_map(), TEXTS[0]
    logits = slow_logits(task, A, word(1, 3, text))[3].detach()
    shares = [float(value.exp()) for value in logits]
    rival = (Term(3, text[3]), Term(3, 5, -1.0))
    asked = {
        "logit": (word(1, 3, text, "logit"), float(logits[text[3]])),
        "prob": (word(1, 3, text, "prob"), shares[text[3]] / sum(shares)),
        "logprob": (word(1, 3, text), float(torch.tensor(shares[text[3]] / sum(shares)).double().log())),
        "margin": (Target(1, "", rival, "margin", text), float(logits[text[3]] - logits[5])),
        "difference": (Target(1, "", rival, "logprob", text), float(logits[text[3]] - logits[5])),
    }
    found = engine.scores(task, A, [target for target, _ in asked.values()])
    for name, value in zip(asked, found.tolist(), strict=True):
        assert value == pytest.approx(asked[name][1], rel=1e-6), name
    assert not found.requires_grad


def test_a_margin_has_the_gradient_of_the_difference_of_log_probabilities() -> None:
    task, A, text = captioner("first", torch.float64), feature_map(), TEXTS[0]
    pair = (Term(3, text[3]), Term(3, 5, -1.0))
    targets = [
        Target(1, "", pair, "margin", text),
        Target(1, "", pair, "logprob", text),
        word(1, 3, text),
        Target(1, "", pair[1:], "logprob", text),
    ]
    _, gradient = engine.gradients(task, A, targets)
    assert far(gradient[0], gradient[1]) < 1e-10
    assert far(gradient[2] + gradient[3], gradient[1]) < 1e-10


@pytest.mark.parametrize("method", [name for name, method in METHODS.items() if method.linear])
def test_a_sentences_map_is_the_sum_of_its_words_maps(method: str) -> None:
    task, A, text = captioner("attention", torch.float64), feature_map(), TEXTS[0]
    words = [word(1, step, text) for step in range(len(text))]
    whole = Target(1, "all", tuple(term for one in words for term in one.terms), "logprob", text)
    found = engine.attribute(task, A, [*words, whole], METHODS[method])
    assert far(found.signed[:-1].sum(0), found.signed[-1]) < 1e-10
    assert found.scores[-1].item() == pytest.approx(found.scores[:-1].sum().item(), rel=1e-10)


@pytest.mark.parametrize("method", METHODS)
def test_k_times_the_score_gives_k_times_the_map(method: str) -> None:
    task, A, text = captioner("attention", torch.float64), feature_map(), TEXTS[0]
    once, thrice = (engine.attribute(task, A, [word(1, 2, text, "logprob", k)], METHODS[method]) for k in (1.0, 3.0))
    assert thrice.scores.item() == pytest.approx(3 * once.scores.item(), rel=1e-10)
    assert far(thrice.weights, 3 * once.weights) < 1e-10
    if method != "gradcam++":  # whose weights are ratios of powers of the gradient
        assert far(thrice.signed, 3 * once.signed) < 1e-10


def test_nested_keeps_the_kinds_of_its_containers() -> None:
    from typing import NamedTuple

    class Pair(NamedTuple):
        left: Tensor
        right: object

    given = torch.ones(2)
    value = {"a": [given, (torch.ones(1), "text")], "b": Pair(torch.ones(3), None), "c": None}
    found = nested(lambda tensor: tensor + 1, value)
    assert found["a"][0].tolist() == [2, 2]
    assert found["a"][1][1] == "text"
    assert isinstance(found["a"][1], tuple)
    assert isinstance(found["b"], Pair)
    assert found["b"].left.tolist() == [2, 2, 2]
    assert found["c"] is None
    assert given.tolist() == [1, 1]
