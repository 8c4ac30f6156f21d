"""Excitation backprop and c-MWP: against dense matrices written from the formula, and what they owe to any network."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

import vlx
from tests.fakes import captioner, picture
from vlx.errors import ModelError
from vlx.methods import engine, registry
from vlx.methods.excitation import probabilities
from vlx.methods.method import Site
from vlx.methods.tape import Tape
from vlx.protocol.targets import Query, Target, Term, word_target
from vlx.tasks.classification.classifier import Classifier

CLASS = 2
Module = Callable[[Tensor], Tensor]


class Net(nn.Module):
    """Convolution, batch norm with weights of either sign, ReLU, both poolings, a hidden linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU())
        self.conv, self.norm = nn.Conv2d(5, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.most, self.mean = nn.MaxPool2d(2), nn.AvgPool2d(2)
        self.hidden, self.top = nn.Linear(6 * 4, 7), nn.Linear(7, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.mean(self.most(self.norm(self.conv(self.stem(x))).relu()))
        return cast(Tensor, self.top(torch.relu(self.hidden(x.flatten(1)))))


class InPlace(Net):
    """The same numbers by functions and changes in place."""

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem[0](x), inplace=True)
        x = self.norm(self.conv(self.stem[1](x)))
        x = F.avg_pool2d(F.max_pool2d(x.relu_(), 2), 2)
        hidden = F.linear(x.reshape(len(x), -1), self.hidden.weight, self.hidden.bias)
        hidden.clamp_(min=0)
        return F.dropout(hidden, training=False) @ self.top.weight.T + self.top.bias


def seeded(net: nn.Module, seed: int = 0) -> nn.Module:
    """The net in float64 and eval mode, its weights drawn anew and its batch norms far from the identity."""
    torch.manual_seed(seed)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data = torch.randn_like(module.weight) if isinstance(net, Net) else module.weight.data + 0.1
            module.bias.data = 0.3 * torch.randn_like(module.bias)
            module.running_mean = 0.1 * torch.randn_like(cast(Tensor, module.running_mean))
            module.running_var = torch.rand_like(cast(Tensor, module.running_var)) + 0.5
    return net.double().eval()


def split(net: nn.Module, layer: str, size: int = 8) -> tuple[Any, Any]:
    task = Classifier(net, layer, prepare=lambda image: torch.zeros(3, size, size), outputs="softmax")
    torch.manual_seed(7)
    return task, task.features(torch.rand(1, 3, size, size, dtype=torch.float64))


def asked(*terms: tuple[int, float], kind: Any = "logprob") -> Target:
    return Target(0, "asked", tuple(Term(0, token, weight) for token, weight in terms), kind)


def shares(task: Any, features: Any, target: Target) -> tuple[Tensor, Tensor]:
    ((p, dual),) = probabilities(task, features, [target])
    return p, dual


# The second implementation: every layer as a matrix, and the formula as it stands in the paper


def matrix(layer: Module, shape: Sequence[int]) -> Tensor:
    """The matrix [out, in] of a linear layer for inputs of a shape, its constant left out."""
    size = torch.Size(shape).numel()
    with torch.no_grad():
        nothing = layer(torch.zeros(1, *shape, dtype=torch.float64))
        return (layer(torch.eye(size, dtype=torch.float64).view(-1, *shape)) - nothing).flatten(1).T


def down(x: Tensor, p: Tensor, layer: Module, *, sign: float = 1) -> Tensor:
    """p_in[j] = x_j Σ_i w⁺_ij p_i / Σ_k w⁺_ik x_k."""
    W = (sign * matrix(layer, x.shape[1:])).clamp(min=0)
    below, z = x.flatten().clamp(min=0), W @ x.flatten().clamp(min=0)
    given = [float(above / total) if total > 0 else 0.0 for above, total in zip(p.flatten(), z, strict=True)]
    return (below * (W.T @ torch.tensor(given, dtype=torch.float64))).view(x.shape)


def to_the_winner(x: Tensor, p: Tensor, side: int) -> Tensor:
    """A maximum hands all of its p to the cell that won."""
    below = torch.zeros_like(x)
    for k in range(x.shape[1]):
        for i in range(p.shape[2]):
            for j in range(p.shape[3]):
                patch = x[0, k, side * i : side * i + side, side * j : side * j + side]
                row, column = divmod(int(patch.argmax()), patch.shape[1])
                below[0, k, side * i + row, side * j + column] += p[0, k, i, j]
    return below


def by_hand(net: Net, A: Tensor, sign: float) -> Tensor:
    """What excites class `CLASS`, or with ``sign`` −1 its dual, at A, which goes into ``net.conv``."""
    with torch.no_grad():
        convolved = net.norm(net.conv(A)).relu()
        most = net.most(convolved)
        mean = net.mean(most)
        hidden = net.hidden(mean.flatten(1)).relu()
    one = torch.zeros(1, 4, dtype=torch.float64)
    one[0, CLASS] = 1
    p = down(hidden, one, net.top, sign=sign)
    p = down(mean, p, lambda x: net.hidden(x.flatten(1)))
    p = down(most, p, net.mean)
    p = to_the_winner(convolved, p, 2)
    return down(A, p, lambda x: net.norm(net.conv(x)))


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("kind", [Net, InPlace])
def test_a_conv_net_by_matrices(kind: type[Net], seed: int) -> None:
    net = cast(Net, seeded(kind(), seed))
    task, features = split(net, "stem.1")
    p, dual = shares(task, features, asked((CLASS, 1)))
    torch.testing.assert_close(p[None], by_hand(net, features.A, 1), rtol=0, atol=1e-12)
    torch.testing.assert_close(dual[None], by_hand(net, features.A, -1), rtol=0, atol=1e-12)
    site = Site(features)
    excitation, contrast = (
        registry.choose(name).attributed(task, site, [asked((CLASS, 1))]) for name in ("excitation", "c-mwp")
    )
    torch.testing.assert_close(excitation.signed[0], p.sum(0))
    torch.testing.assert_close(excitation.opposed[0], dual.sum(0))
    torch.testing.assert_close(contrast.signed[0], (p - dual).sum(0))
    torch.testing.assert_close(contrast.opposed, -contrast.signed)
    assert float(contrast.signed.abs().max()) > 1e-3
    for one in (net.hidden.bias, net.norm.bias, net.norm.running_mean):
        cast(Tensor, one).data.zero_()  # a unit that is active by its bias alone has nothing to hand its share to
    p, dual = shares(task, features, asked((CLASS, 1)))
    assert float(p.sum()) == pytest.approx(1, abs=1e-12)
    assert float(dual.sum()) == pytest.approx(1, abs=1e-12)


def by_blocks(net: Any, A: Tensor, stages: Sequence[str], sign: float) -> Tensor:
    """ResNet-18 from the class down to A, which goes into the first of the stages."""
    blocks = [block for stage in stages for block in getattr(net, stage)]
    kept = [A]
    with torch.no_grad():
        for block in blocks:
            kept.append(block(kept[-1]))
    pooled = kept[-1].mean((2, 3))
    one = torch.zeros(1, net.fc.out_features, dtype=torch.float64)
    one[0, CLASS] = 1
    p = down(kept[-1], down(pooled, one, net.fc, sign=sign), lambda x: x.mean((2, 3)))
    for block, x in zip(reversed(blocks), reversed(kept[:-1]), strict=True):
        p = through_block(block, x, p)
    return p


def through_block(block: Any, x: Tensor, p: Tensor) -> Tensor:
    short = block.downsample or (lambda x: x)
    with torch.no_grad():
        inner = block.bn1(block.conv1(x)).relu()
        branch, passing = block.bn2(block.conv2(inner)).clamp(min=0), short(x).clamp(min=0)
    total = branch + passing
    split = torch.where(total > 0, branch / total, 0)
    below = down(x, down(inner, p * split, lambda x: block.bn2(block.conv2(x))), lambda x: block.bn1(block.conv1(x)))
    rest = torch.where(total > 0, p - p * split, 0)
    return below + (rest if block.downsample is None else down(x, rest, short))


@pytest.mark.parametrize(("layer", "stages"), [("layer4", ()), ("layer3", ("layer4",))])
def test_resnet_18_by_matrices(layer: str, stages: Sequence[str]) -> None:
    net = seeded(torchvision.models.resnet18(weights=None, num_classes=5))
    task, features = split(net, layer, 32)
    p, dual = shares(task, features, asked((CLASS, 1)))
    torch.testing.assert_close(p[None], by_blocks(net, features.A, stages, 1), rtol=0, atol=1e-10)
    torch.testing.assert_close(dual[None], by_blocks(net, features.A, stages, -1), rtol=0, atol=1e-10)
    assert float(p.sum()) == pytest.approx(1, abs=1e-6)
    assert float((p - dual).sum()) == pytest.approx(0, abs=1e-6)


def test_the_same_as_zennit_on_a_net_of_modules() -> None:
    composites = pytest.importorskip("zennit.composites")
    torch.manual_seed(3)
    net = nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU()),
        nn.Conv2d(5, 6, 3, bias=False),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 2, bias=False),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(8, 4, bias=False),
    )
    net = net.double().eval()
    task, features = split(net, "0", 8)
    p, _ = shares(task, features, asked((CLASS, 1)))
    leaf = features.A.clone().requires_grad_()
    behind = net[1:]
    with composites.ExcitationBackprop(stabilizer=1e-12).context(behind) as changed:
        scores = changed(leaf)
        (theirs,) = torch.autograd.grad(scores, leaf, torch.eye(4, dtype=torch.float64)[[CLASS]])
    torch.testing.assert_close(p[None], theirs, rtol=0, atol=1e-9)
    assert float(p.sum()) == pytest.approx(1)


# What is not in the formula


def test_the_score_of_a_softmax_is_its_logit() -> None:
    net = seeded(Net())
    task, features = split(net, "stem.1")
    p, dual = shares(task, features, asked((CLASS, 1)))
    for kind in ("logit", "prob"):
        assert torch.equal(shares(task, features, asked((CLASS, 1), kind=kind))[0], p)
    squashed = Classifier(nn.Sequential(net, nn.Softmax(1)).eval(), "0.stem.1", prepare=task.prepare)
    there = squashed.features(features.rest["inputs"])
    torch.testing.assert_close(shares(squashed, there, asked((CLASS, 1))), (p, dual))


def test_a_difference_of_classes_is_one_unit_with_the_difference_of_their_weights() -> None:
    net = cast(Net, seeded(Net()))
    task, features = split(net, "stem.1")
    p, dual = shares(task, features, asked((0, 1), (CLASS, -1), kind="margin"))
    with torch.no_grad():
        net.top.weight[0] -= net.top.weight[CLASS]
    torch.testing.assert_close(shares(task, features, asked((0, 1))), (p, dual))
    torch.testing.assert_close(shares(task, features, asked((0, -1))), (dual, p))


def test_a_column_for_yes_and_no_has_its_dual_for_no() -> None:
    net = cast(Net, seeded(Net()))
    net.top = nn.Linear(7, 1).double().eval()
    task = Classifier(net, "stem.1", ["cat"], prepare=lambda image: torch.zeros(3, 8, 8), outputs="sigmoid")
    features = task.features(torch.rand(1, 3, 8, 8, dtype=torch.float64))
    yes, no = (shares(task, features, asked((number, 1))) for number in (0, 1))
    torch.testing.assert_close(yes, (no[1], no[0]))
    assert not torch.allclose(*yes)


class Folded(nn.Module):
    """A network that ends in a convolution, its batch norm apart or folded into it; a class for each unit."""

    def __init__(self, *, folded: bool) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.stem = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU())
        self.top, self.norm = nn.Conv2d(5, 4, 3, bias=False), nn.BatchNorm2d(4)
        self.norm.weight.data = torch.tensor([1.5, -0.5, -2.0, 0.7])
        self.norm.running_var = torch.tensor([0.5, 2.0, 1.0, 3.0])
        if folded:
            scale = self.norm.weight.data / (self.norm.running_var + self.norm.eps).sqrt()
            self.top.weight.data *= scale.view(-1, 1, 1, 1)
            self.norm = nn.BatchNorm2d(4, eps=1e-15)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.norm(self.top(self.stem(x))).relu().mean((2, 3)))


@pytest.mark.parametrize("terms", [[(1, 1)], [(0, 1)], [(2, 1), (3, -1)], [(0, 1), (1, -1)]])
def test_a_batch_norm_is_folded_into_the_last_layer(terms: Any) -> None:
    apart, folded = (split(Folded(folded=folded).double().eval(), "stem") for folded in (False, True))
    pairs = [shares(task, features, asked(*terms, kind="margin")) for task, features in (apart, folded)]
    torch.testing.assert_close(*pairs, rtol=1e-5, atol=1e-8)
    p, dual = pairs[0]
    assert not torch.allclose(p, dual)


def test_a_skip_past_the_layer_takes_its_share() -> None:
    net = seeded(torchvision.models.resnet18(weights=None, num_classes=5))
    task, features = split(net, "layer4.1.bn2", 64)
    p, _ = shares(task, features, asked((CLASS, 1)))
    assert 0.01 < float(p.sum()) < 0.99


@pytest.mark.parametrize("name", ["mobilenet_v2", "squeezenet1_1", "densenet121", "shufflenet_v2_x0_5"])
def test_networks_of_torchvision_keep_the_probability(name: str) -> None:
    layer = {"densenet121": "features.denseblock4", "shufflenet_v2_x0_5": "stage4"}
    torch.manual_seed(0)
    net = torchvision.models.get_model(name, weights=None).double().eval()
    task, features = split(net, layer.get(name, "features"), 64)
    for part in shares(task, features, asked((CLASS, 1))):
        assert float(part.sum()) == pytest.approx(1, abs=1e-9)
        assert float(part.min()) >= 0


class Odd(Net):
    """A net with one more operation behind A."""

    def __init__(self, act: Callable[["Odd", Tensor], Tensor]) -> None:
        super().__init__()
        self.act, self.silu, self.attention = act, nn.SiLU(), nn.MultiheadAttention(5, 1, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self, self.stem(x))
        x = self.mean(self.most(self.norm(self.conv(x)).relu()))
        return cast(Tensor, self.top(torch.relu(self.hidden(x.flatten(1)))))


def _attended(net: Odd, x: Tensor) -> Tensor:
    tokens = x.flatten(2).transpose(1, 2)
    return cast(Tensor, net.attention(tokens, tokens, tokens)[0]).transpose(1, 2).view_as(x)


def _part_in_place(_net: Odd, x: Tensor) -> Tensor:
    x = x + 0
    x[:, :2].mul_(2)
    return x


@pytest.mark.parametrize(
    ("act", "told"),
    [
        (lambda net, x: net.silu(x), r"no rule for silu \(SiLU in Odd\): it passes convolution, linear"),
        (lambda net, x: F.gelu(x), r"no rule for gelu \(Odd\): "),
        (lambda net, x: F.leaky_relu(x), r"no rule for leaky_relu"),
        (lambda net, x: x * x.mean((2, 3), keepdim=True).sigmoid(), r"no rule for mul"),
        (lambda net, x: x.softmax(1), r"no rule for _softmax"),
        (lambda net, x: -2 * (x - 1), r"no rule for mul \(Odd\) by a factor below 0: "),
        (lambda net, x: x - x.flip(2), r"no rule for sub"),
        (lambda net, x: F.hardtanh(x), r"no rule for hardtanh"),
        (lambda net, x: torch.einsum("bkhw,blhw->bkhw", x, x), r"no rule for \w+"),
        (_attended, r"no rule for \w+"),
        (_part_in_place, r"^a part of a tensor is changed in place"),
    ],
)
def test_what_the_rule_does_not_know_is_refused_by_name(act: Any, told: str) -> None:
    task, features = split(seeded(Odd(act)), "stem.1")
    with pytest.raises(ModelError, match=told) as raised:
        shares(task, features, asked((CLASS, 1)))
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize(
    "act",
    [
        lambda net, x: 2 * x / 3,
        lambda net, x: F.relu6(x * 0.01) * 100,
        lambda net, x: x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2),
        lambda net, x: torch.cat([x[:, :2], x[:, 2:].clone()], 1),
        lambda net, x: torch.stack(x.unbind(1), 1) + 0,
        lambda net, x: F.pad(x, (1, 1))[..., 1:-1],
        lambda net, x: (x + 1e-30).sub(1e-30),
        lambda net, x: x + x,
    ],
)
def test_operations_that_only_move_or_scale_change_nothing(act: Any) -> None:
    task, features = split(seeded(Odd(act)), "stem.1")
    plain, there = split(seeded(Odd(lambda net, x: x)), "stem.1")
    torch.testing.assert_close(shares(task, features, asked((CLASS, 1)))[0].sum(), torch.ones((), dtype=torch.float64))
    found, wanted = shares(task, features, asked((CLASS, 1))), shares(plain, there, asked((CLASS, 1)))
    if torch.equal(
        task.scores(features.A, [asked((1, 1))], features.rest), plain.scores(there.A, [asked((1, 1))], there.rest)
    ):
        torch.testing.assert_close(found, wanted)


def test_no_weights_behind_a_are_nothing_to_begin_with() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).double().eval()
    task, features = split(net, "1")
    with pytest.raises(ModelError, match=r"^excitation backprop begins at a layer with weights: there is none"):
        shares(task, features, asked((1, 1)))


def test_the_model_stays_as_it_was_and_pictures_do_not_meet() -> None:
    net = seeded(Net())
    task, features = split(net, "stem.1")
    before = {name: value.clone() for name, value in net.state_dict().items()}
    both = task.features(torch.cat([features.rest["inputs"], features.rest["inputs"].flip(2)]))
    targets = [replace(asked((CLASS, 1)), row=row) for row in (1, 0, 1)]
    method = registry.choose("c-mwp")
    found = method.attributed(task, Site(both), targets)
    torch.testing.assert_close(found.signed[1], method.attributed(task, Site(features), targets[1:2]).signed[0])
    assert torch.equal(found.signed[0], found.signed[2])
    assert not torch.allclose(found.signed[0], found.signed[1])
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(one.grad is None for one in net.parameters())
    assert not any(module._forward_hooks for module in net.modules())


def test_half_precision_is_computed_in_single() -> None:
    net = seeded(Net()).to(torch.bfloat16)
    task = Classifier(net, "stem.1", prepare=lambda image: torch.zeros(3, 8, 8), outputs="softmax")
    features = task.features(torch.rand(1, 3, 8, 8).to(torch.bfloat16))
    p, _ = shares(task, features, asked((CLASS, 1)))
    assert p.dtype == torch.float32
    assert float(p.sum()) == pytest.approx(1, abs=1e-5)


def test_a_head_of_words_is_passed_by_its_gradient() -> None:
    task = captioner()
    features = task.features(task.place(task.prepare(picture()))[None])
    said = task.predict(features, [Query()])[0]
    targets = [word_target(said, n, 0, "logprob") for n in range(len(said.words))]
    _, gradients = engine.gradients(task, features.A, targets, features.rest)
    products = gradients * features.A
    for (p, dual), one in zip(probabilities(task, features, targets), products, strict=True):
        speaks, against = one.clamp(min=0), (-one).clamp(min=0)
        torch.testing.assert_close(p, speaks / speaks.sum())
        torch.testing.assert_close(dual, against / against.sum())


def test_a_whole_explanation_says_what_it_is() -> None:
    why = vlx.explain(captioner(), picture(), method="Excitation Backprop", seen=False)
    assert why.method == why[0].method == "excitation" == why[0].against_method
    assert why[0].signed.sum() == pytest.approx(1, abs=1e-5)
    assert vlx.explain(captioner(), picture(), method="C-MWP", seen=False)[0].signed.sum() == pytest.approx(0, abs=1e-5)
    assert {"excitation", "c-mwp"}.isdisjoint(method.name for method in registry.compared(captioner()))


def test_a_tape_keeps_what_was_changed_in_place() -> None:
    leaf = torch.tensor([-1.0, 2.0])
    with torch.no_grad(), Tape(leaf) as tape:
        y = leaf * 3
        z = y.view(2)
        y.relu_()
        total = y + 1
    assert [value.tolist() for value in tape.values] == [[-1, 2], [-3, 6], [-3, 6], [0, 6], [1, 7]]
    assert [step.name for step in tape.steps] == ["mul", "view", "relu", "add"]
    assert (tape.number(total), tape.number(z), tape.number(torch.ones(1))) == (4, None, None)
