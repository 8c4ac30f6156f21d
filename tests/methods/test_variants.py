"""The paper's ablations of Grad-CAM, by closed forms on a net with one hidden layer of ReLUs behind A."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import vlx
from tests.fakes import captioner, picture
from vlx.errors import NoGradient
from vlx.methods import names, registry
from vlx.methods.method import Site
from vlx.methods.variants import VARIANTS
from vlx.pipeline.recommend import candidates
from vlx.protocol.targets import Query, Target, word_target
from vlx.tasks.classification import Classifier

UNITS, SIDE, HIDDEN, CLASSES = 3, 4, 6, 2


class OneHidden(nn.Module):
    """A [3, 4, 4] by a convolution, then a hidden layer of ReLUs, then two classes."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.body = nn.Conv2d(3, UNITS, 2, 2)
        self.hidden, self.out = nn.Linear(UNITS * SIDE**2, HIDDEN), nn.Linear(HIDDEN, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.out(self.hidden(self.body(x).flatten(1)).relu())
        return logits


def small(image: Any) -> Tensor:
    return torch.from_numpy(np.array(image.resize((2 * SIDE, 2 * SIDE))) / 127.5 - 1).permute(2, 0, 1)


def asked(dtype: torch.dtype = torch.float64) -> tuple[Any, Site, list[Target]]:
    """Both classes of each of two pictures, the later one first."""
    task = Classifier(OneHidden().eval().to(dtype), "body", prepare=lambda image: small(image).to(dtype))
    inputs = torch.stack([task.prepare(picture(seed)) for seed in (0, 3)])
    features = task.features(inputs)
    said = [task.predict(features, [Query(answer=str(label))] * 2) for label in range(CLASSES)]
    targets = [word_target(said[label][row], 0, row, "logit") for row in (1, 0) for label in range(CLASSES)]
    return task, Site(features, inputs), targets


def by_hand(name: str, net: OneHidden, A: Tensor, label: int) -> Tensor:
    """The signed map [4, 4] of A [3, 4, 4] from the weights of the net."""
    x = net.hidden.weight @ A.flatten() + net.hidden.bias
    v = net.out.weight[label]
    passed = {
        "gradcam-guided": v * (x > 0) * (v > 0),
        "gradcam-deconvolution": v * (v > 0),
    }.get(name, v * (x > 0))
    G = (passed @ net.hidden.weight).view_as(A)
    S = (G.mean((1, 2))[:, None, None] * A).sum(0)
    return {
        "gradcam-norelu": S.abs(),
        "gradcam-norelu-shifted": S - S.min(),
        "gradcam-abs": (G.abs().mean((1, 2))[:, None, None] * A).sum(0),
        "gradcam-max": (G.amax((1, 2))[:, None, None] * A).sum(0),
    }.get(name, S)


@pytest.mark.parametrize("name", names.ABLATIONS)
def test_by_closed_form(name: str) -> None:
    task, site, targets = asked()
    found = registry.choose(name).attributed(task, site, targets)
    plain = registry.choose("gradcam").attributed(task, site, targets)
    differs = False
    with torch.no_grad():
        for n, target in enumerate(targets):
            wanted = by_hand(name, task.model, site.features.A[target.row], target.terms[0].token)
            torch.testing.assert_close(found.signed[n], wanted, rtol=1e-10, atol=1e-12)
            torch.testing.assert_close(plain.signed[n], by_hand("", task.model, site.features.A[target.row], n % 2))
            differs |= not torch.allclose(found.signed[n], plain.signed[n])
    assert differs
    torch.testing.assert_close(found.weights, plain.weights)
    torch.testing.assert_close(found.opposed, -plain.signed)
    assert found.notes == ()


@pytest.mark.parametrize("name", names.ABLATIONS)
def test_halves_are_computed_in_float32(name: str) -> None:
    task, site, targets = asked(torch.bfloat16)
    found = registry.choose(name).attributed(task, site, targets)
    assert found.signed.dtype == found.opposed.dtype == torch.float32


@pytest.mark.parametrize("rule", ["guided", "deconvolution"])
def test_the_rule_holds_in_a_captioners_head_too(rule: str) -> None:
    """Between y and A stands whatever is behind A; without a ReLU there the map is Grad-CAM's, and a note says so."""
    why = vlx.explain(captioner(), picture(), method=f"gradcam-{rule}")
    assert f"no ReLU stands between A and the score: gradcam-{rule} equals gradcam" in why.notes
    plain = vlx.explain(captioner(), picture(), method="gradcam")
    for word, other in zip(why, plain, strict=True):
        np.testing.assert_allclose(word.signed, other.signed, rtol=1e-4, atol=1e-7)
        assert (word.method, word.against_method) == (f"gradcam-{rule}", "gradcam")


def test_no_list_has_them() -> None:
    assert tuple(method.name for method in VARIANTS) == names.ABLATIONS
    assert not set(names.ABLATIONS) & {*names.METHODS, *registry.NAMES, *(one.name for one in registry.methods())}
    task = captioner()
    assert not set(names.ABLATIONS) & {method.name for method in registry.compared(task)}
    assert {method for method, _ in candidates(task, ["logit"])}.isdisjoint(names.ABLATIONS)


@pytest.mark.parametrize(
    ("spelled", "name"),
    [
        ("Grad-CAM max", "gradcam-max"),
        ("gradcam_norelu", "gradcam-norelu"),
        ("GradCAM-NoReLU-shifted", "gradcam-norelu-shifted"),
        ("gradcam deconv", "gradcam-deconvolution"),
        ("Guided Grad-CAM", "guided-gradcam"),
        ("Deconvolution Grad-CAM", "deconvolution-gradcam"),
        ("deconv-grad-cam", "deconvolution-gradcam"),
        ("Grad-CAM guided", "gradcam-guided"),
    ],
)
def test_they_are_known_by_name(spelled: str, name: str) -> None:
    assert registry.choose(spelled).name == name


@pytest.mark.parametrize("name", names.ABLATIONS)
def test_gradients_that_are_cut(name: str) -> None:
    task = captioner()
    inner = task.decoder.start
    task.decoder.start = lambda A: inner(A.detach())
    with pytest.raises(NoGradient, match=r"no gradient comes through"):
        vlx.explain(task, picture(), method=name)
