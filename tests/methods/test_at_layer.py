"""Any method at another layer of the model: the maps are those of that layer, written out by hand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import vlx
from tests.fakes import ALL_KINDS, TinyCnn, captioner, picture
from vlx.errors import InputError, ModelError
from vlx.explanation import Explanation
from vlx.methods import engine, registry
from vlx.methods.at_layer import ablated_layers, at_layer
from vlx.methods.cams import METHODS
from vlx.methods.excitation import probabilities
from vlx.methods.method import Site
from vlx.methods.pixels import top_gradients
from vlx.pictures.placement import Grid
from vlx.protocol.powers import powers_of
from vlx.protocol.targets import Query, Target, Term, word_target
from vlx.protocol.task import Features
from vlx.tasks.captioning.captioner import CnnLstmCaptioner
from vlx.tasks.classification.classifier import Classifier


class Deep(nn.Module):
    """Three resolutions, the last two of them blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())
        self.middle = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(4, 6, 3, padding=1), nn.ReLU(inplace=True))
        self.last = nn.Sequential(nn.Conv2d(6, 8, 2, 2), nn.ReLU(inplace=True))
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.head(self.last(self.middle(self.stem(x))).mean((2, 3))))


def classifier() -> Classifier:
    torch.manual_seed(0)
    return Classifier(Deep().double().eval(), "last", prepare=lambda image: small(picture()), name="deep")


def small(image: Any) -> Tensor:
    return torch.from_numpy(np.asarray(image.resize((16, 16)), np.float64).transpose(2, 0, 1) / 255)


def site_of(task: Any, count: int = 1) -> Site:
    torch.manual_seed(1)
    inputs = task.place(torch.rand(count, 3, 16, 16))
    return Site(task.features(inputs), inputs, task=task)


@pytest.mark.parametrize("name", ["gradcam", "hirescam", "layercam", "gradcam++"])
def test_a_classifiers_other_layer_by_hand(name: str) -> None:
    task = classifier()
    targets = [Target(row, "one", (Term(0, token),), "logit") for row, token in ((0, 1), (1, 1), (0, 3))]
    site = site_of(task, 2)
    method = registry.choose(f"{name}@middle")
    found = method.attributed(task, site, targets)
    assert site.inputs is not None
    net = cast(Deep, task.model)
    A = net.middle(net.stem(site.inputs)).detach().requires_grad_()
    logits = net.head(net.last(A.clone()).mean((2, 3)))
    for n, target in enumerate(targets):
        score = logits[target.row, target.terms[0].token]
        G = torch.autograd.grad(score, A, retain_graph=True)[0][[target.row]]
        wanted = METHODS[name].map(A.detach()[[target.row]], G)[0]
        torch.testing.assert_close(found.signed[n], wanted)
        torch.testing.assert_close(found.scores[n], score.detach())
        torch.testing.assert_close(found.weights[n], G.mean((2, 3))[0])
    grid = method.grid(site)
    assert (grid.shape, grid.stride, grid.offset) == ((8, 8), (2.0, 2.0), (0.5, 0.5))


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_a_captioners_other_layer_by_hand(kind: str) -> None:
    task = captioner(kind)
    inputs = task.place(torch.stack([task.prepare(picture(seed)) for seed in range(2)]))
    features = task.features(inputs)
    said = task.predict(features, [Query()] * 2)
    targets = [word_target(said[row], n, row, "logprob") for n in range(2) for row in (1, 0)]
    found = registry.choose("hirescam@layers.2").attributed(task, Site(features, inputs), targets)
    _, G = engine.gradients(task, features.A, targets, features.rest)
    layers = cast(TinyCnn, task.cnn).layers
    for n, target in enumerate(targets):
        A = layers[:3](inputs[[target.row]]).detach().requires_grad_()
        (gradient,) = torch.autograd.grad(layers[3:](A), A, G[n : n + 1])
        torch.testing.assert_close(found.signed[n], (gradient * A.detach()).sum((0, 1)), rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(found.scores, engine.scores(task, features.A, targets, features.rest))


def test_excitation_carries_on_beneath_the_head_of_words() -> None:
    task = captioner()
    inputs = task.place(task.prepare(picture())[None])
    features = task.features(inputs)
    targets = [word_target(task.predict(features, [Query()])[0], 0, 0, "logprob")]
    ((above, _),) = probabilities(task, features, targets)
    beneath = task.at("layers.2")
    there = beneath.features(inputs)
    ((p, _),) = probabilities(cast(Any, beneath), there, targets)
    weights = cast(nn.Conv2d, cast(TinyCnn, task.cnn).layers[3]).weight.detach().clamp(min=0)
    A = there.A.clone().requires_grad_()
    z = torch.conv2d(A, weights, None, 2, 1)
    (pulled,) = torch.autograd.grad(z, A, torch.where(z > 0, above / z, 0).detach())
    torch.testing.assert_close(p, (there.A * pulled)[0])
    found = registry.choose("c-mwp@layers.2").attributed(task, Site(features, inputs), targets)
    assert float(found.signed.sum()) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("rule", ["guided", "deconvolution"])
def test_rules_of_relus_hold_between_the_layer_and_the_head_of_words(rule: Any) -> None:
    task = captioner()
    inputs = task.place(task.prepare(picture())[None])
    features = task.features(inputs)
    targets = [word_target(task.predict(features, [Query()])[0], n, 0, "logprob") for n in range(2)]
    beneath = cast(Any, task.at("layers.2"))
    there = beneath.features(inputs)
    found = top_gradients(beneath, there.A, targets, there.rest, rule)
    _, G = engine.gradients(task, features.A, targets, features.rest)
    conv = cast(nn.Conv2d, cast(TinyCnn, task.cnn).layers[3])
    for n in range(2):
        x = conv(there.A).detach()
        passed = (G[n] * (G[n] > 0))[None] * ((x > 0) if rule == "guided" else 1)
        leaf = there.A.clone().requires_grad_()
        torch.testing.assert_close(found[n], torch.autograd.grad(conv(leaf), leaf, passed)[0][0])
    own = registry.choose("guided-gradcam").attributed(task, Site(features, inputs), targets).signed
    other = registry.choose("guided-gradcam@layers.2").attributed(task, Site(features, inputs), targets).signed
    assert own.shape == other.shape == (2, 16, 16)
    assert not torch.allclose(own, other)


def test_methods_at_one_layer_share_a_run_and_its_task(monkeypatch: pytest.MonkeyPatch) -> None:
    task = classifier()
    site, beneath = site_of(task), task.at("middle")
    features, runs = beneath.features, list[Tensor]()

    def counted(inputs: Tensor) -> Features:
        runs.append(inputs)
        return features(inputs)

    monkeypatch.setattr(beneath, "features", counted)
    target = Target(0, "one", (Term(0, 1),), "logit")
    for name in ("gradcam", "hirescam", "excitation", "c-mwp", "ablationcam"):
        method = registry.choose(f"{name}@middle")
        assert method.grid(site).shape == (8, 8)
        method.attributed(task, site, [target])
    assert len(runs) == 1
    assert task.at("middle") is beneath
    assert task.at("last") is task
    own = registry.choose("gradcam@last").attributed(task, site, [target])
    assert torch.equal(own.signed, registry.choose("gradcam").attributed(task, site, [target]).signed)


def test_layers_are_named_up_to_a_and_the_last_of_each_size_is_kept() -> None:
    task = classifier()
    assert [*task.layers()][-1] == "last"
    assert {"stem": (16, 16), "middle": (8, 8), "last": (4, 4)}.items() <= task.layers().items()
    assert ablated_layers(task) == ("stem", "middle")
    padded = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), task.model.get_submodule("middle.1"), nn.ReLU())
    net = nn.Sequential(task.model.get_submodule("stem"), nn.MaxPool2d(2), padded, nn.Conv2d(6, 8, 2, 2), nn.Flatten())
    other = Classifier(net.double().eval(), "3", prepare=task.prepare, outputs="softmax")
    assert other.layers()["2.0"] == (9, 9), "padding makes no resolution of its own"
    assert ablated_layers(other) == ("0", "2")
    assert "middle" not in task.at("stem").layers()
    assert [*cast(Any, vlx.load("scenes/captioner")).layers()][-1] == "context"
    assert ablated_layers(vlx.load("scenes/captioner")) == ("layers.5", "layers.11")


def lonely() -> Any:
    """A task that is its own: none of the adapters that vlx knows."""
    task = captioner()

    class Lonely:
        name, kind, defaults, notes, blank = "lonely", task.kind, task.defaults, task.notes, task.blank
        prepare, place, version = task.prepare, task.place, task.version
        features, predict, scores = task.features, task.predict, task.scores

    return Lonely()


def function() -> Any:
    net, fake = TinyCnn().eval(), captioner()
    return CnnLstmCaptioner(lambda x: net(x), fake.decoder, fake.vocabulary, fake.prepare, end=1)


@pytest.mark.parametrize(
    ("task", "method", "error", "told"),
    [
        (lonely, "gradcam@layer3", InputError, r"^lonely can be explained at its own layer only: .*Layered$"),
        (function, "gradcam@0", ModelError, r"its CNN is a function, whose layers have no names"),
        (captioner, "gradcam@layers.9", ModelError, r"^TinyCnn has no layer 'layers\.9'; close: layers\.\d"),
        (captioner, "gradcam@", InputError, r"^method gradcam@: name the layer behind @"),
        (captioner, "gradcam@a\nb", InputError, r"^method gradcam@: name the layer behind @"),
        (
            captioner,
            "occlusion@layers.2",
            InputError,
            r"^occlusion makes no map of a layer's cells: leave @layers\.2 out",
        ),
        (captioner, "grdcam@layers.2", InputError, r"^no method 'grdcam@layers\.2'; close: gradcam"),
        (classifier, "gradcam@head", ModelError, r"^layer 'head' of Deep gives .*Layers that give a feature map"),
    ],
)
def test_what_cannot_be_is_refused_by_name(task: Callable[[], Any], method: str, error: Any, told: str) -> None:
    with pytest.raises(error, match=told) as raised:
        vlx.explain(task(), picture(), method=method)
    assert len(str(raised.value)) < 300


def test_a_method_with_a_layer_keeps_it_in_files(tmp_path: Path) -> None:
    why = vlx.explain(captioner(), picture(), method="LayerCAM@layers.2", seen=False)
    assert why.method == why[0].method == "layercam@layers.2"
    assert why[0].against_method == "hirescam@layers.2"
    assert why[0].signed.shape == (8, 8)
    assert why[0].weights.shape == (6,)
    assert why.provenance["layer"] == "layers.2"
    assert why.provenance["feature_map"] == [6, 8, 8]
    assert why[0].check is not None
    for ending in ("h5", "json"):
        why.save(tmp_path / f"why.{ending}")
        again = Explanation.load(tmp_path / f"why.{ending}")
        assert again.method == "layercam@layers.2"
        assert np.allclose(again[0].signed, why[0].signed, atol=1e-3)
        assert "layercam@layers.2" in again._repr_html_()
    foreign = registry.named("occlusion@nowhere"), registry.named("gradcam@"), registry.named("theirs@x")
    assert foreign == (None, None, None)


def test_names_of_layers_are_left_as_they_are_written() -> None:
    assert registry.choose("Grad-CAM++@Block_1.Conv-2").name == "gradcam++@Block_1.Conv-2"
    assert registry.choose("gradcam@x") is registry.choose(registry.choose("Grad CAM@ x "))
    record = at_layer(registry.choose("gradcam"), "x")
    assert registry.choose(record) is record
    with pytest.raises(InputError, match=r"^method 'mine@x': @ parts a method from a layer"):
        registry.register(cast(Any, _named("mine@x")))


def _named(name: str) -> Any:
    from vlx.methods.method import Method

    return Method(
        name, "", "", lambda task, site, targets: engine.attribute(task, site.features.A, targets, METHODS["gradcam"])
    )


def test_reasons_are_those_of_a_whatever_layer_the_map_is_at() -> None:
    task = vlx.load("scenes/captioner")
    picture_ = vlx.scenes.draw(10_000_021).image
    own = vlx.explain(task, picture_, names="shipped", check=False, seen=False, words=[1])
    other = vlx.explain(task, picture_, method="gradcam@layers.11", names="shipped", check=False, seen=False, words=[1])
    assert other[1].because is not None
    assert own[1].because is not None
    assert "not of the gradcam@layers.11 map" in " ".join(other[1].because.notes)


def test_the_power_is_had_by_what_can_be_split() -> None:
    assert powers_of(classifier()).layered is not None
    assert powers_of(captioner()).layered is not None
    assert powers_of(captioner().at("layers.2")).beneath is not None
    assert powers_of(lonely()).layered is None
    assert isinstance(registry.choose("gradcam@middle").grid(site_of(classifier())), Grid)
