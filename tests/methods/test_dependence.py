"""No gradient is not no dependence: scores without a gradient are replayed with other feature maps."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import vlx
from vlx.errors import ModelError
from vlx.methods import engine
from vlx.methods.dependence import partly_cut, refuse_cut, verdicts
from vlx.protocol.no_grad import part_is_cut, regardless
from vlx.protocol.targets import Target, Term
from vlx.protocol.task import Features
from vlx.tasks.captioning import CnnLstmCaptioner
from vlx.tasks.classification import Classifier
from vlx.tasks.vqa import CnnLstmVqa


def prepare(image: Image.Image) -> Tensor:
    pixels = np.asarray(image.convert("RGB").resize((16, 16)), np.float32)
    return torch.from_numpy(pixels).permute(2, 0, 1) / 255


def pixels() -> Tensor:
    return torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def convolution() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Conv2d(3, 4, 4, 4).eval()


class Net(nn.Module):
    """A head over A that can be spoiled in many ways."""

    def __init__(self, after: Callable[["Net", Tensor], Tensor]) -> None:
        super().__init__()
        self.body, self.fc, self.after = nn.Conv2d(3, 4, 4, 4), nn.Linear(4, 3), after

    def head(self, A: Tensor) -> Tensor:
        logits: Tensor = self.fc(torch.tanh(A).mean((2, 3)) * 3)
        return logits

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self, self.body(x))


def under_no_grad(net: Net, A: Tensor) -> Tensor:
    with torch.no_grad():
        return net.head(A)


def after_no_grad_ended(net: Net, A: Tensor) -> Tensor:
    with torch.no_grad():
        middle = torch.tanh(A)
    return net.head(middle)


def in_inference_mode(net: Net, A: Tensor) -> Tensor:
    with torch.inference_mode():
        return net.head(A)


def through_numpy(net: Net, A: Tensor) -> Tensor:
    return net.head(torch.from_numpy(A.numpy()))


def rounded(net: Net, A: Tensor) -> Tensor:
    return net.head((A * 64).round() / 64)


def checkpointed(net: Net, A: Tensor) -> Tensor:
    made: Any = checkpoint(net.head, A, use_reentrant=True)
    return made  # type: ignore[no-any-return]


SPOILED: dict[str, Callable[[Net, Tensor], Tensor]] = {
    "detach": lambda net, A: net.head(A.detach()),
    "data": lambda net, A: net.head(A.data),
    "numpy": lambda net, A: net.head(torch.from_numpy(A.detach().numpy())),
    "item": lambda net, A: net.head(torch.full_like(A, A.mean().item())),
    "rounded": rounded,
    "inference mode": in_inference_mode,
}
MENDED = {"no_grad": under_no_grad, "no_grad for a part": after_no_grad_ended}
RAISING = {"numpy of a graph": through_numpy, "reentrant checkpoint": checkpointed}


def task_of(after: Callable[[Net, Tensor], Tensor]) -> tuple[Classifier, Features, list[Target]]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = Net(after).eval()
    task = Classifier(net, "body", ["a", "b", "c"], prepare, name="net")
    features = task.features(pixels())
    return task, features, [Target(0, name, (Term(0, n),), "logit") for n, name in enumerate("abc")]


@pytest.mark.parametrize("how", SPOILED)
def test_a_cut_gradient_is_told_from_no_dependence(how: str) -> None:
    task, features, targets = task_of(SPOILED[how])
    assert verdicts(task, features, targets) == ["cut"] * 3
    told = r"^net: no gradient comes through to 'a', 'b', …, though .* torch\.no_grad or .*, detach"
    with pytest.raises(ModelError, match=told) as raised:
        refuse_cut(task, features, targets)
    assert len(str(raised.value)) <= 300


@pytest.mark.parametrize("how", MENDED)
def test_a_models_own_no_grad_is_passed_over(how: str) -> None:
    task, features, targets = task_of(MENDED[how])
    plain, same, _ = task_of(Net.head if how == "no_grad" else lambda net, A: net.head(torch.tanh(A)))
    torch.testing.assert_close(same.A, features.A)
    for way in ("rows", "batched", "loop"):
        found, expected = (engine.gradients(t, features.A, targets, features.rest, way=way) for t in (task, plain))
        assert float(expected[1].abs().max()) > 1e-3
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other)
    assert verdicts(task, features, targets) == ["moves"] * 3
    with torch.no_grad():
        assert not torch.is_grad_enabled()


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize("how", RAISING)
def test_code_that_refuses_gradients_is_named(how: str) -> None:
    task, features, targets = task_of(RAISING[how])
    with pytest.raises(ModelError, match=r"^net: no gradient comes through \(RuntimeError: .*Likely causes") as raised:
        engine.gradients(task, features.A, targets, features.rest)
    assert len(str(raised.value)) <= 300
    assert isinstance(raised.value.__cause__, RuntimeError)


def test_no_dependence_is_that() -> None:
    task, features, targets = task_of(lambda net, A: net.fc(torch.ones(len(A), 4)))
    assert refuse_cut(task, features, targets) == ["independent"] * 3
    task, features, targets = task_of(lambda net, A: net.head(A) * torch.tensor([1.0, 0.0, 1.0]))
    assert refuse_cut(task, features, targets) == ["moves", "independent", "moves"]


@pytest.mark.parametrize("blind_to", ["cells in order", "sizes", "all but the largest"])
def test_scores_that_some_changes_leave_alone_are_found_to_depend(blind_to: str) -> None:
    def read(net: Net, A: Tensor) -> Tensor:
        B = A.detach()
        if blind_to == "sizes":
            return net.head(nn.functional.normalize(B.flatten(1), dim=1).view_as(B))
        if blind_to == "cells in order":
            return net.head(B)
        return net.head(B.amax((2, 3), keepdim=True).expand_as(B))

    task, features, targets = task_of(read)
    assert verdicts(task, features, targets) == ["cut"] * 3


def test_flat_is_neither() -> None:
    task, features, targets = task_of(lambda net, A: net.head((A - 9).relu()))
    assert refuse_cut(task, features, targets) == ["flat"] * 3


class Decoder(nn.Module):
    """Says "red green"; the second word's path to the picture can be cut."""

    def __init__(self, second: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.second = second

    def start(self, A: Tensor) -> Any:
        return A.mean((2, 3)), torch.zeros(len(A), dtype=torch.long)

    def step(self, tokens: Tensor, state: Any) -> Any:
        seen, turn = state
        looked = torch.where((turn == 1)[:, None], self.second(seen), seen)
        said = torch.nn.functional.one_hot((turn + 1).clamp(max=3) % 4, 4) * 5.0
        return said + looked @ (torch.eye(4) * 2), (seen, turn + 1)


def test_one_words_path_is_cut_and_the_others_not() -> None:
    cnn = convolution()
    task = CnnLstmCaptioner(cnn.eval(), Decoder(Tensor.detach).eval(), ["<end>", "red", "green", "."], prepare, end=0)
    features = task.features(pixels())
    targets = [Target(0, word, (Term(n, n + 1),), "logprob", (1, 2)) for n, word in enumerate(("red", "green"))]
    assert verdicts(task, features, targets) == ["moves", "cut"]
    with pytest.raises(ModelError, match="no gradient comes through to 'green', though"):
        refuse_cut(task, features, targets)


@pytest.mark.parametrize("cut", [False, True])
def test_a_step_under_no_grad_gives_the_gradient_all_the_same(cut: bool) -> None:
    class Quiet(Decoder):
        @torch.no_grad()
        def step(self, tokens: Tensor, state: Any) -> Any:
            return super().step(tokens, state)

    cnn = convolution()
    own, plain = (
        CnnLstmCaptioner(cnn, kind(lambda seen: seen).eval(), ["<end>", "red", "green", "."], prepare, end=0)
        for kind in (Quiet if cut else Decoder, Decoder)
    )
    A = own.features(pixels()).A
    targets = [Target(0, word, (Term(n, n + 1),), "logprob", (1, 2)) for n, word in enumerate(("red", "green"))]
    (some, found), (others, expected) = (engine.gradients(task, A, targets) for task in (own, plain))
    torch.testing.assert_close(some, others)
    torch.testing.assert_close(found, expected)
    assert (expected.flatten(1).abs().amax(1) > 1e-5).all()


def test_an_answer_of_a_head_under_no_grad() -> None:
    class Head(nn.Module):
        @torch.no_grad()
        def forward(self, A: Tensor, tokens: Tensor, lengths: Tensor) -> Tensor:
            return A.mean((2, 3)) * tokens.sum(1, keepdim=True)

    task = CnnLstmVqa(convolution(), Head().eval(), ["", "what"], ["a", "b", "c", "d"], prepare)
    features = task.features(pixels())
    target = Target(0, "b", (Term(0, 1),), "logit", (1,))
    gradient = engine.gradients(task, features.A, [target])[1][0]
    assert torch.allclose(gradient[1], torch.full((4, 4), 1 / 16))
    assert not gradient[[0, 2, 3]].any()


def test_only_switching_off_goes_unheard() -> None:
    leaf = torch.ones(2, requires_grad=True)
    with regardless():
        with torch.no_grad():
            assert (leaf * 2).requires_grad
        with torch.set_grad_enabled(False):
            assert (leaf * 2).requires_grad
        assert torch.is_grad_enabled()
    with torch.no_grad():
        assert not (leaf * 2).requires_grad
        with regardless():
            assert (leaf * 2).requires_grad
        assert not torch.is_grad_enabled()


PARTS: dict[str, tuple[bool, Callable[[Net, Tensor], Tensor]]] = {
    "units": (True, lambda net, A: net.head(torch.cat([A[:, :2].detach(), A[:, 2:]], 1))),
    "cells": (True, lambda net, A: net.head(torch.cat([A[..., :2].detach(), A[..., 2:]], 3))),
    "a branch": (True, lambda net, A: net.head(A[..., :2]) + net.head(A.detach())),
    "not read": (False, lambda net, A: net.head(A[..., :2])),
    "closed": (False, lambda net, A: net.head(A.relu())),
    "at the kink": (False, lambda net, A: net.head(A.relu().relu())),
    "largest": (False, lambda net, A: net.head(nn.functional.max_pool2d(A, 2))),
    "largest of ties": (False, lambda net, A: net.head(nn.functional.max_pool2d(A.relu(), 2))),
    "products": (False, lambda net, A: net.head((A * (A > 0)).prod(3, keepdim=True) * 50)),
    "whole": (False, Net.head),
}


@pytest.mark.parametrize("kinked", [False, True], ids=["", "zeros in A"])
@pytest.mark.parametrize("how", PARTS)
def test_a_gradient_that_is_cut_in_part_is_told_from_one_that_is_zero(how: str, kinked: bool) -> None:
    cut, read = PARTS[how]
    task, features, targets = task_of(read)
    if kinked:
        features = replace(features, maps={layer: A.relu() for layer, A in features.maps.items()})
    assert [partly_cut(task, features, target) for target in targets] == [cut] * 3


@pytest.mark.parametrize("cut", [False, True])
def test_an_empty_map_of_a_head_that_is_cut_in_part_is_refused(cut: bool) -> None:
    def read(net: Net, A: Tensor) -> Tensor:
        with torch.no_grad():
            net.fc.weight.copy_(torch.tensor([[3.0, 3, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]))
        B = torch.cat([A[:, :2].abs().detach() if cut else A[:, :2].abs(), A[:, 2:].abs()], 1)
        return net.fc(B.mean((2, 3)))  # type: ignore[no-any-return]

    task, image = task_of(read)[0], Image.new("RGB", (16, 16), (200, 90, 30))
    if not cut:
        assert vlx.explain(task, image, seen=False, method="hirescam", answer="a")[0].signed.max() > 0
        return
    told = r'^net: part of the gradient to \'a\' is cut: parts of A .* or take method="occlusion"'
    with pytest.raises(ModelError, match=told) as raised:
        vlx.explain(task, image, seen=False, method="hirescam", answer="a", target="logprob")
    assert len(str(raised.value)) <= 300
    assert len(str(part_is_cut("n" * 99, "l" * 99))) <= 300
    assert vlx.explain(task, image, seen=False, method="occlusion", answer="a").words
