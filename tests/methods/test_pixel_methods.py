"""Maps in pixels as methods: beside Captum's, in several pictures, and what is refused."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch import Tensor, nn

import vlx
from tests.fakes import SIZE, TinyCnn, captioner, picture, slow_score
from tests.methods.test_relu_rules import far
from tests.patchy import Meeting, Patchy
from vlx.errors import InputError, ModelError, NoGradient
from vlx.methods import engine, pixels_captum, registry
from vlx.methods.method import Site
from vlx.methods.pixel_methods import PIXEL_METHODS
from vlx.methods.pixels import up
from vlx.methods.pixels_captum import CAPTUM_METHODS, NOISE, SAMPLES, STEPS
from vlx.protocol.targets import Query, Target, word_target
from vlx.tasks.classification import Classifier

NAMES = tuple(method.name for method in (*PIXEL_METHODS, *CAPTUM_METHODS))
RULES = {"gradient": "Saliency", "deconvolution": "Deconvolution", "guided": "GuidedBackprop"}


def site_of(task: Any, *pictures: Any, question: str | None = None) -> tuple[Site, list[Target], Any]:
    """The site of some pictures, and the targets of all their words, in turn of each picture, the last one first."""
    inputs = task.place(torch.stack([task.prepare(one) for one in pictures]))
    features = task.features(inputs)
    said = task.predict(features, [Query(question=question)] * len(pictures))
    kind = task.defaults.target
    targets = [word_target(one, n, row, kind) for row, one in enumerate(said) for n in range(len(one.words))]
    targets = [*targets[-1::-2], *targets[-2::-2]]
    site, own = Site.of(task, features, targets, inputs, lambda row: torch.full_like(inputs[row], 0.25))
    return site, own, task


def maps_of(name: str, task: Any, site: Site, targets: list[Target]) -> Tensor:
    return registry.choose(name).attributed(task, site, targets).signed


# Equal to Captum's.


def _relus_of_their_own(net: nn.Module) -> nn.Module:
    """Captum hooks ReLU modules one by one: each call its own, and none in place; torchvision's ResNet shares them."""
    for block in net.modules():
        if isinstance(block, torchvision.models.resnet.BasicBlock):
            first, second = nn.ReLU(), nn.ReLU()
            block.add_module("relu_a", first)
            block.add_module("relu_b", second)

            def run(x: Tensor, block: Any = block, first: nn.Module = first, second: nn.Module = second) -> Tensor:
                out = first(block.bn1(block.conv1(x)))
                out = block.bn2(block.conv2(out))
                kept: Tensor = second(out + (x if block.downsample is None else block.downsample(x)))
                return kept

            block.forward = run
    for module in net.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    return net


NETS: dict[str, tuple[Callable[..., nn.Module], str]] = {
    "resnet18": (torchvision.models.resnet18, "layer4"),
    "vgg16": (torchvision.models.vgg16, "features.29"),
}


@pytest.mark.filterwarnings("ignore:Setting backward hooks on ReLU:UserWarning")  # of Captum, 2026-11
@pytest.mark.parametrize("net", NETS)
def test_maps_are_captums_on(net: str) -> None:
    attr = pytest.importorskip("captum.attr")
    make, layer = NETS[net]
    torch.manual_seed(0)
    model = make(weights=None, num_classes=10).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(cast(Tensor, module.running_mean), -0.2, 0.2)
            nn.init.uniform_(cast(Tensor, module.running_var), 0.5, 2.0)
    image = torch.rand(3, 64, 64)
    task = Classifier(model, layer, prepare=lambda _: image)
    features = task.features(image[None])
    site = Site(features, image[None])
    target = word_target(task.predict(features, [Query(answer="3")])[0], 0, 0, "logit")
    captums = _relus_of_their_own(make(weights=None, num_classes=10)).eval()
    captums.load_state_dict(model.state_dict())
    for rule, called in RULES.items():
        kinds = {"abs": False} if rule == "gradient" else {}
        wanted = getattr(attr, called)(captums).attribute(image[None].clone().requires_grad_(), target=3, **kinds)
        assert far(maps_of(rule, task, site, [target])[0], wanted[0].abs().sum(0)) < 1e-6, rule


# Each by a slow second computation.


def slow_gradient(task: Any, inputs: Tensor, target: Target) -> Tensor:
    leaf = inputs.clone().requires_grad_()
    found: Tensor = torch.autograd.grad(slow_score(task, task.cnn(leaf), target), leaf)[0]
    return found[0]


@pytest.mark.parametrize("kind", ["first", "attention", "unrolled"])
def test_the_gradient_of_a_word_is_that_of_the_whole_model(kind: str) -> None:
    site, targets, task = site_of(captioner(kind, torch.float64), picture(), picture(3))
    found = maps_of("gradient", task, site, targets)
    assert found.shape == (len(targets), SIZE, SIZE)
    for n, target in enumerate(targets):
        wanted = slow_gradient(task, cast(Tensor, site.inputs)[target.row][None], replace(target, row=0))
        assert far(found[n], wanted.abs().sum(0)) < 1e-10


@pytest.mark.parametrize("rule", ["guided", "deconvolution"])
def test_guided_gradcam_is_the_guided_map_where_gradcam_is_above_0(rule: str) -> None:
    site, targets, task = site_of(captioner("attention", torch.float64), picture(), picture(3))
    ruled, found = (maps_of(name, task, site, targets) for name in (rule, f"{rule}-gradcam"))
    signed = registry.choose("gradcam").attributed(task, site, targets).signed
    assert signed.shape == (len(targets), 4, 4)
    assert far(found, ruled * up(signed, site.features.grid)) < 1e-6
    assert found.any()
    assert (found >= 0).all()


def test_integrated_gradients_sum_to_what_the_picture_adds() -> None:
    site, targets, task = site_of(captioner("attention", torch.float64), picture(), picture(3))
    made = registry.choose("integrated-gradients").attributed(task, site, targets)
    assert torch.equal(made.opposed, -made.signed)
    inputs = cast(Tensor, site.inputs)
    for n, target in enumerate(targets):
        there, blank = (
            slow_score(task, task.cnn(one[None]), replace(target, row=0)).detach()
            for one in (inputs[target.row], torch.full_like(inputs[target.row], 0.25))
        )
        added = float(there - blank)
        assert abs(float(made.signed[n].sum()) - added) < 0.02 * max(abs(added), 0.1)  # 32 steps across ReLUs


def test_integrated_gradients_by_hand() -> None:
    site, targets, task = site_of(captioner("first", torch.float64), picture())
    nodes, weights = np.polynomial.legendre.leggauss(STEPS)
    inputs = cast(Tensor, site.inputs)
    blank = torch.full_like(inputs, 0.25)
    steps = [
        slow_gradient(task, blank + (node + 1) / 2 * (inputs - blank), targets[0]) * weight / 2
        for node, weight in zip(nodes, weights, strict=True)
    ]
    wanted = (torch.stack(steps).sum(0) * (inputs - blank)[0]).sum(0)
    assert far(maps_of("integrated-gradients", task, site, targets[:1])[0], wanted) < 1e-5


def test_smoothgrad_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    site, targets, task = site_of(captioner("first", torch.float64), picture())
    drawn: list[Tensor] = []
    real = torch.randn

    def noted(*given: Any, **options: Any) -> Tensor:
        drawn.append(real(*given, **options))
        return drawn[-1]

    monkeypatch.setattr(torch, "randn", noted)
    found = maps_of("smoothgrad", task, site, targets[:1])[0]
    inputs = cast(Tensor, site.inputs)
    noise = torch.cat(drawn) * NOISE * (inputs.max() - inputs.min())
    assert len(noise) == SAMPLES
    wanted = torch.stack([slow_gradient(task, inputs + one, targets[0]) for one in noise]).mean(0).abs().sum(0)
    assert far(found, wanted) < 1e-6


# What must not matter, and must not change.


@pytest.mark.parametrize("name", NAMES)
def test_targets_of_several_pictures_are_each_ones_own(name: str) -> None:
    site, targets, task = site_of(captioner("attention"), picture(), picture(3))
    found = registry.choose(name).attributed(task, site, targets)
    for n, target in enumerate(targets):
        alone = registry.choose(name).attributed(task, site.row(target.row), [replace(target, row=0)])
        torch.testing.assert_close(found.signed[n], alone.signed[0], rtol=1e-4, atol=1e-7)
        torch.testing.assert_close(found.weights[n], alone.weights[0])
    assert registry.choose(name).grid(site).shape == (SIZE, SIZE)
    rows = [target.row for target in targets]
    assert rows not in (sorted(rows), sorted(rows, reverse=True))
    assert not torch.equal(found.signed[0], found.signed[-1])


@pytest.mark.parametrize("name", NAMES)
def test_random_state_flags_and_gradients_are_left_as_they_were(name: str) -> None:
    site, targets, task = site_of(captioner("attention"), picture())
    before = torch.get_rng_state()
    first = maps_of(name, task, site, targets)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(7)
    assert torch.equal(maps_of(name, task, site, targets), first)
    assert all(parameter.grad is None and parameter.requires_grad for parameter in task.cnn.parameters())
    with torch.inference_mode():
        assert torch.equal(maps_of(name, task, *site_of(task, picture())[:2]), first)


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    site, targets, task = site_of(captioner("attention"), picture())
    whole = {name: maps_of(name, task, site, targets) for name in NAMES}
    monkeypatch.setattr(pixels_captum, "BUDGET", 1)
    monkeypatch.setattr(engine.chunks, "__defaults__", (1,))
    for name in set(NAMES) - {"smoothgrad"}:
        torch.testing.assert_close(maps_of(name, task, site, targets), whole[name], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_precisions(name: str, dtype: torch.dtype) -> None:
    site, targets, task = site_of(captioner("first", dtype), picture())
    found = maps_of(name, task, site, targets)
    assert found.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert found.any()


def test_pictures_of_one_channel() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 64, 3)).eval()

    def grey(image: Image.Image) -> Tensor:
        return torch.from_numpy(np.array(image.convert("L").resize((8, 8))) / 255).float()[None]

    task = Classifier(net, "1", prepare=grey)
    for name in NAMES:
        why = vlx.explain(task, picture(), method=name)
        assert why[0].signed.shape == (8, 8)
        assert why[0].signed.any()


# What is told and what is refused.


def test_a_net_without_relu_is_told_that_guided_is_the_gradient() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.GELU(), nn.Flatten(), nn.Linear(4 * 64, 3)).eval()
    task = Classifier(net, "1", prepare=captioner().prepare)
    notes = vlx.explain(task, picture(), method="guided").notes
    assert "the vision part holds no ReLU that autograd shows: guided equals the plain gradient" in notes
    assert not [note for note in vlx.explain(task, picture(), method="gradient").notes if "ReLU" in note]
    assert not [note for note in vlx.explain(captioner(), picture(), method="guided").notes if "ReLU" in note]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("task", "said"),
    [
        (Patchy(), r"^patchy has no see\(\), which {name} needs for a gradient in pixels; take gradcam or occlusion$"),
        (Meeting(), r"^meeting has no see\(\)"),
    ],
    ids=["patchy", "meeting"],
)
def test_a_task_without_pixels(name: str, task: Any, said: str) -> None:
    task.name = said[1:].split()[0]
    with pytest.raises(InputError, match=said.format(name=name)):
        vlx.explain(task, picture(), method=name, question="a b" if isinstance(task, Meeting) else None)
    assert not registry.choose(name).suits(task)


@pytest.mark.parametrize("name", NAMES)
def test_a_task_whose_map_has_met_the_text(name: str) -> None:
    class Seeing(Meeting):
        name = "seeing"

        def see(self, inputs: Tensor) -> Tensor:
            return self.features(inputs).A

    task = cast(Any, Seeing())
    with pytest.raises(InputError, match=r"^seeing mixes text and picture before the map that it is explained at"):
        vlx.explain(task, picture(), question="a b", method=name)
    with pytest.raises(InputError, match=r"^seeing mixes .* leave guided=True out$"):
        vlx.explain(task, picture(), question="a b", guided=True)


@pytest.mark.parametrize("name", NAMES)
def test_a_site_without_pictures(name: str) -> None:
    site, targets, task = site_of(captioner(), picture())
    with pytest.raises(InputError, match=r"give"):
        registry.choose(name).attributed(task, Site(site.features), targets)


def test_without_captum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "captum", None)
    for name in ("integrated-gradients", "smoothgrad"):
        with pytest.raises(InputError, match=r"Captum's, which is not installed: pip install 'vlx\[captum\]'$"):
            vlx.explain(captioner(), picture(), method=name)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_that_are_cut(name: str) -> None:
    class Cut(TinyCnn):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images).detach()

    task = captioner()
    task.cnn = Cut().eval()
    with pytest.raises(ModelError, match=r"without a graph back to the picture"):
        vlx.explain(task, picture(), method=name)
    blind = captioner()
    inner = blind.decoder.start
    blind.decoder.start = lambda A: inner(A.detach())
    with pytest.raises(NoGradient, match=r"no gradient comes through"):
        vlx.explain(blind, picture(), method=name)
