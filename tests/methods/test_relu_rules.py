"""The three ReLU rules against slow second implementations: by hand, with ReLUs swapped, and Captum's."""

import copy
from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torch.nn.grad import conv2d_input
from torch.utils.checkpoint import checkpoint

from vlx.errors import InputError, ModelError
from vlx.methods.pixels import RULES, pixel_gradients

Relu = Callable[[Tensor], Any]
INFINITE = float("inf")


def passed(rule: str, G: Tensor, opened: Tensor) -> Tensor:
    """What a ReLU hands down of G, cell by cell, straight from the papers."""
    held = {"gradient": opened, "deconvolution": G > 0, "guided": opened & (G > 0)}[rule]
    return torch.where(held, G, torch.zeros_like(G))


class Residual(nn.Module):
    """relu(b(z) + z) with z = relu(a(x)), by any ReLU; what the ReLU returns is not read if it works in place."""

    def __init__(self, relu: Relu, *, in_place: bool = False) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.a, self.b = nn.Conv2d(3, 6, 3, 2, 1).double(), nn.Conv2d(6, 6, 3, 1, 1).double()
        self.relu, self.in_place = relu, in_place
        self.eval()

    def rectified(self, x: Tensor) -> Tensor:
        found = self.relu(x)
        return x if self.in_place else cast(Tensor, found)

    def forward(self, images: Tensor) -> Tensor:
        z = self.rectified(self.a(images))
        out = self.b(z)
        out += z
        return self.rectified(out)

    def slow(self, images: Tensor, G: Tensor, rule: str, ceiling: float) -> Tensor:
        """The gradient of one G [1, 6, h, w] at the pictures, by hand."""
        a, b = self.a.weight.detach(), self.b.weight.detach()
        below = self.a(images).detach()
        z = below.clamp(0, ceiling)
        above = self.b(z).detach() + z
        G = passed(rule, G, (above > 0) & (above < ceiling))
        G = G + conv2d_input(list(z.shape), b, G, 1, 1)  # type: ignore[no-untyped-call]
        G = passed(rule, G, (below > 0) & (below < ceiling))
        return cast(Tensor, conv2d_input(list(images.shape), a, G, 2, 1))  # type: ignore[no-untyped-call]


FORMS: dict[str, Relu] = {
    "nn.ReLU": nn.ReLU(),
    "F.relu": F.relu,
    "torch.relu": torch.relu,
    "Tensor.relu": lambda x: x.relu(),
    "clamp(min=0)": lambda x: x.clamp(min=0),
    "torch.clamp": lambda x: torch.clamp(x, 0.0),
    "clamp_min": lambda x: x.clamp_min(0),
    "threshold": lambda x: F.threshold(x, 0, 0),
    "nn.Threshold": nn.Threshold(0, 0),
    "checkpoint": lambda x: checkpoint(F.relu, x, use_reentrant=False),
}
IN_PLACE: dict[str, Relu] = {
    "nn.ReLU(inplace=True)": nn.ReLU(inplace=True),
    "F.relu(inplace=True)": lambda x: F.relu(x, inplace=True),
    "torch.relu_": torch.relu_,
    "relu_ of a view": lambda x: x.flatten(2).relu_(),
    "clamp_": lambda x: x.clamp_(min=0),
    "clamp_min_": lambda x: x.clamp_min_(0),
    "threshold_": lambda x: F.threshold(x, 0, 0, inplace=True),
}
CAPPED: dict[str, tuple[Relu, float]] = {
    "nn.ReLU6": (nn.ReLU6(), 6.0),
    "F.relu6": (F.relu6, 6.0),
    "F.hardtanh": (lambda x: F.hardtanh(x, 0.0, 1.5), 1.5),
    "nn.Hardtanh": (nn.Hardtanh(0, 1.5), 1.5),
    "clamp(0, 1.5)": (lambda x: x.clamp(0, 1.5), 1.5),
}


def pictures(seed: int = 0) -> Tensor:
    return 8 * torch.randn(1, 3, 12, 10, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gradients(count: int = 4) -> Tensor:
    return torch.randn(count, 6, 6, 5, generator=torch.Generator().manual_seed(9), dtype=torch.float64)


def check(net: Residual, rule: str, ceiling: float = INFINITE) -> None:
    found = pixel_gradients(net, pictures(), gradients(), rule)
    wanted = torch.cat([net.slow(pictures(), G[None], rule, ceiling) for G in gradients()])
    assert found.notes == ()
    assert found.values.dtype == torch.float64
    assert far(found.values, wanted) < 1e-12


def far(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).abs().max() / wanted.abs().max())


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("form", FORMS)
def test_each_rule_by_hand(form: str, rule: str) -> None:
    check(Residual(FORMS[form]), rule)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("form", IN_PLACE)
def test_each_rule_by_hand_in_place(form: str, rule: str) -> None:
    check(Residual(IN_PLACE[form], in_place=True), rule)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("form", CAPPED)
def test_each_rule_by_hand_below_a_ceiling(form: str, rule: str) -> None:
    relu, ceiling = CAPPED[form]
    net = Residual(relu)
    assert (net.a(pictures()) > ceiling).any()
    check(net, rule, ceiling)


def test_the_rules_differ() -> None:
    found = [pixel_gradients(Residual(F.relu), pictures(), gradients(), rule).values for rule in RULES]
    assert min(far(a, b) for a, b in zip(found, found[1:] + found[:1], strict=True)) > 0.1


def test_guided_is_plain_where_no_relu_sees_a_negative_gradient() -> None:
    net = Residual(F.relu)
    with torch.no_grad():
        net.b.weight.abs_()
    plain, guided = (
        pixel_gradients(net, pictures(), gradients().abs(), rule).values for rule in ("gradient", "guided")
    )
    assert plain.abs().max() > 0
    assert torch.equal(plain, guided)
    assert not torch.equal(guided, pixel_gradients(net, pictures(), gradients().abs(), "deconvolution").values)


def test_guided_is_zero_where_the_picture_is_rectified_away() -> None:
    net = nn.Sequential(nn.ReLU(), nn.Conv2d(3, 6, 3, 2, 1).double(), nn.ReLU()).eval()
    off = (pictures() <= 0).expand(4, -1, -1, -1)
    guided, deconvolution = (
        pixel_gradients(net, pictures(), gradients(), rule).values for rule in ("guided", "deconvolution")
    )
    assert not guided[off].any()
    assert (guided >= 0).all()
    assert guided[~off].any()
    assert deconvolution[off].any()


@pytest.mark.parametrize("form", ["F.relu", "clamp_min"])
def test_every_branch_is_ruled(form: str) -> None:
    ones = torch.ones(1, 3, 4, 4)
    found = pixel_gradients(lambda x: x + 2 * FORMS[form](x + 1), ones, -ones)
    assert torch.equal(found.values, -ones)  # past the ReLU, and not through it


@pytest.mark.parametrize("rule", RULES)
def test_a_relu_of_zeros_passes_only_what_deconvolution_passes(rule: str) -> None:
    found = pixel_gradients(F.relu, torch.zeros(1, 3, 4, 4), torch.ones(1, 3, 4, 4), rule).values
    assert torch.equal(found, torch.full_like(found, float(rule == "deconvolution")))


OTHERS: dict[str, Relu] = {
    "LeakyReLU": F.leaky_relu,
    "ELU": F.elu,
    "GELU": F.gelu,
    "SiLU": F.silu,
    "Hardswish": F.hardswish,
    "tanh": torch.tanh,
    "Hardtanh": F.hardtanh,
    "threshold 0.5": lambda x: F.threshold(x, 0.5, 0.0),
    "clamp 0.5": lambda x: x.clamp(min=0.5),
    "clamp below 0": lambda x: x.clamp(max=0),
}


@pytest.mark.parametrize("other", OTHERS)
def test_other_activations_keep_their_gradients_and_a_net_without_relus_is_noted(other: str) -> None:
    net = Residual(OTHERS[other])
    plain = pixel_gradients(net, pictures(), gradients(), "gradient")
    assert plain.notes == ()
    for rule in ("deconvolution", "guided"):
        found = pixel_gradients(net, pictures(), gradients(), rule)
        assert torch.equal(found.values, plain.values)
        assert found.notes == (f"the vision part holds no ReLU that autograd shows: {rule} equals the plain gradient",)


def test_relus_beside_the_way_to_the_picture_do_not_count() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(2.0, dtype=torch.float64))

        def forward(self, images: Tensor) -> Tensor:
            return images * F.relu(self.scale) * self.scale.clamp(min=0)

    found = pixel_gradients(Scaled().eval(), pictures(), -pictures(1), "guided")
    assert torch.equal(found.values, -4 * pictures(1))
    assert len(found.notes) == 1


@pytest.mark.parametrize("name", ["Guided", "relu", ""])
def test_unknown_rules(name: str) -> None:
    with pytest.raises(InputError, match=rf"^rule='{name}'; known are gradient, deconvolution, guided$"):
        pixel_gradients(F.relu, pictures(), pictures(), name)


def test_a_compiled_network_is_refused_where_its_relus_matter() -> None:
    class CompiledFunction(torch.autograd.Function):  # torch.compile's own bears this name, and takes seconds
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.clamp_min(0)

        @staticmethod
        def backward(ctx: Any, G: Tensor) -> Tensor:
            return G

    def vision(images: Tensor) -> Tensor:
        return cast(Tensor, CompiledFunction.apply(images))

    assert torch.equal(pixel_gradients(vision, pictures(), pictures(1), "gradient").values, pictures(1))
    for rule in ("deconvolution", "guided"):
        with pytest.raises(ModelError, match=r"compiled \(CompiledFunctionBackward\), which hides its ReLUs"):
            pixel_gradients(vision, pictures(), pictures(1), rule)


# Captum's, and ReLUs swapped for an autograd.Function, on torchvision's networks.


class Swapped(nn.Module):
    """A ReLU up to ``ceiling`` by an autograd.Function of its own."""

    def __init__(self, rule: str, ceiling: float) -> None:
        super().__init__()

        class Ruled(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, x: Tensor) -> Tensor:
                ctx.save_for_backward(x)
                return x.clamp(0, ceiling)

            @staticmethod
            def backward(ctx: Any, G: Tensor) -> Tensor:
                (x,) = ctx.saved_tensors
                return passed(rule, G, (x > 0) & (x < ceiling))

        self.function = Ruled

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.function.apply(x))


def swapped(net: nn.Module, make: Callable[[float], nn.Module]) -> nn.Module:
    """A copy of the network with other modules in place of its ReLUs, made from their ceilings."""
    other = copy.deepcopy(net)
    for parent in list(other.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.ReLU | nn.ReLU6):
                setattr(parent, name, make(6.0 if isinstance(child, nn.ReLU6) else INFINITE))
    return other


NETWORKS = ("resnet18", "vgg11", "mobilenet_v2")


def network(name: str) -> nn.Module:
    torch.manual_seed(0)
    return cast(nn.Module, torchvision.models.get_model(name).eval())


def small() -> Tensor:
    return torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", NETWORKS)
def test_torchvision_networks_with_relus_swapped(name: str, rule: str) -> None:
    net, G = network(name), torch.randn(2, 1000, generator=torch.Generator().manual_seed(2))
    other, leaf = swapped(net, lambda ceiling: Swapped(rule, ceiling)), small().requires_grad_()
    wanted = torch.cat([torch.autograd.grad((other(leaf) * own).sum(), leaf)[0] for own in G])
    assert far(pixel_gradients(net, small(), G, rule).values, wanted) < 1e-5


@pytest.mark.filterwarnings("ignore:Setting backward hooks:UserWarning")  # Captum's note of what it does
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", NETWORKS)
def test_captum_gives_the_same(name: str, rule: str) -> None:
    """Captum leaves ReLU6 alone, so it gets a copy with ReLUs, which is the same network where nothing reaches 6."""
    attr = pytest.importorskip("captum.attr")
    net, token, leaf = network(name), 5, small().requires_grad_()
    other = swapped(net, lambda ceiling: nn.ReLU())
    assert torch.equal(net(small()), other(small()))
    method, options = {
        "gradient": (attr.Saliency, {"abs": False}),
        "deconvolution": (attr.Deconvolution, {}),
        "guided": (attr.GuidedBackprop, {}),
    }[rule]
    wanted = method(other).attribute(leaf, target=token, **options)
    assert far(pixel_gradients(net, small(), torch.eye(1000)[[token]], rule).values, wanted) < 1e-5
