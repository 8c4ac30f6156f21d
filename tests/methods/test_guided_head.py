"""ReLU rules through a classifier's head, as the official code has them: beside Captum's, and ReLUs swapped by hand."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

import vlx
from tests.answerers import QUESTION, vqa
from tests.fakes import UNITS, VOCABULARY, captioner, picture
from tests.methods.test_relu_rules import Swapped, far
from vlx.errors import InputError, ModelError
from vlx.methods import engine
from vlx.methods.pixels import RULES, pixel_gradients, top_gradients
from vlx.protocol.targets import Query, Target, word_target
from vlx.tasks.classification import Classifier

SIDE = 24
FORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "function": F.relu,
    "function in place": lambda x: F.relu(x, inplace=True),
    "method": lambda x: x.relu(),
    "method in place": lambda x: x.relu_(),
    "clamp": lambda x: x.clamp(min=0),
    "threshold": lambda x: F.threshold(x, 0.0, 0.0),
    "module": nn.ReLU(),
    "module in place": nn.ReLU(inplace=True),
}


class Vgg(nn.Module):
    """Two stages of convolutions and VGG's head: two layers of ReLU and dropout, then the classes."""

    def __init__(self, relu: Callable[[Tensor], Tensor] | None = None) -> None:
        super().__init__()
        torch.manual_seed(2)
        # Captum hooks ReLU modules one by one, so that each call needs its own
        self.relus = nn.ModuleList([nn.ReLU() for _ in range(4)]) if relu is None else [relu] * 4
        self.body = nn.Identity()  # what comes out of it is A
        self.first, self.second = nn.Conv2d(3, 7, 3, padding=1), nn.Conv2d(7, 9, 3, padding=1)
        self.fc6, self.fc7, self.fc8 = nn.Linear(9 * 36, 30), nn.Linear(30, 20), nn.Linear(20, 6)
        self.double().eval()

    def forward(self, images: Tensor) -> Tensor:
        below = F.max_pool2d(self.relus[0](self.first(images)), 2)
        A = F.max_pool2d(self.body(self.relus[1](self.second(below))), 2)
        six = F.dropout(self.relus[2](self.fc6(A.flatten(1))), training=self.training)
        seven = F.dropout(self.relus[3](self.fc7(six)), training=self.training)
        logits: Tensor = self.fc8(seven)
        return logits


def prepare(image: Image.Image) -> Tensor:
    return (
        torch.from_numpy(np.asarray(image.convert("RGB").resize((SIDE, SIDE))).copy()).permute(2, 0, 1).double() / 255
    )


def asked(task: Any, target: str, **query: Any) -> tuple[Tensor, Any, list[Target]]:
    """A prepared picture, its features, and the targets of what is said of it."""
    inputs = task.place(task.prepare(picture(5))[None])
    features = task.features(inputs)
    prediction = task.predict(features, [Query(**query)])[0]
    targets = [word_target(prediction, n, 0, target) for n in range(len(prediction.words))]  # type: ignore[arg-type]
    return inputs, features, targets


def score_of(logits: Tensor, target: Target) -> Tensor:
    read = logits.log_softmax(1) if target.kind == "logprob" else logits
    return torch.stack([term.weight * read[0, term.token] for term in target.terms]).sum()


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("kind", "query"), [("logit", {}), ("logprob", {"answer": "3"}), ("margin", {"answer": "1", "instead_of": "4"})]
)
def test_the_rule_holds_from_the_score_down(form: str, rule: str, kind: str, query: dict[str, str]) -> None:
    """Against a twin whose ReLUs are an autograd.Function with the rule as its backward."""
    task = Classifier(Vgg(FORMS[form]), "body", [str(n) for n in range(6)], prepare)
    inputs, features, targets = asked(task, kind, **query)
    above = top_gradients(task, features.A, targets, features.rest, rule)
    found = pixel_gradients(task, inputs, above, rule)
    leaf = inputs.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(score_of(Vgg(Swapped(rule, float("inf")))(leaf), targets[0]), leaf)
    assert wanted.abs().max() > 1e-4
    assert far(found.values, wanted) < 1e-12
    plain = pixel_gradients(task, inputs, engine.gradients(task, features.A, targets, features.rest)[1], rule)
    assert (far(plain.values, wanted) > 0.05) == (rule != "gradient")  # what stops at A is another thing


@pytest.mark.filterwarnings("ignore:Setting backward hooks:UserWarning")  # Captum's note of what it does
@pytest.mark.parametrize("method", ["guided", "deconvolution"])
@pytest.mark.parametrize("layer", ["body", "first", "relus.0"])
def test_captum_gives_the_same_of_a_vgg(layer: str, method: str) -> None:
    attr = pytest.importorskip("captum.attr")
    task = Classifier(Vgg(), layer, [str(n) for n in range(6)], prepare)
    inputs, features, targets = asked(task, "logit")
    captums = {"guided": attr.GuidedBackprop, "deconvolution": attr.Deconvolution}[method](Vgg())
    wanted = captums.attribute(inputs.clone().requires_grad_(), target=targets[0].terms[0].token)
    above = top_gradients(task, features.A, targets, features.rest, method)
    assert far(pixel_gradients(task, inputs, above, method).values, wanted) <= 1e-6


@pytest.mark.filterwarnings("ignore:Setting backward hooks:UserWarning")
def test_guided_gradcam_in_an_explanation_is_the_map_times_captums() -> None:
    attr = pytest.importorskip("captum.attr")
    task = Classifier(Vgg(), "body", [str(n) for n in range(6)], prepare)
    why = vlx.explain(task, picture(5), guided=True, method="gradcam", target="logit")
    inputs, features, targets = asked(task, "logit")
    wanted = attr.GuidedBackprop(Vgg()).attribute(inputs.clone().requires_grad_(), target=targets[0].terms[0].token)[0]
    # Grad-CAM itself stays the plain one
    (plain,) = torch.autograd.grad(_logits(task, features).max(), features.A)
    S = (plain.mean((2, 3), keepdim=True) * features.A).sum(1)[0]
    np.testing.assert_allclose(why[0].signed, S.detach().numpy(), rtol=1e-5, atol=1e-7)
    factor = vlx.pictures.placement.Placement(
        features.grid, vlx.pictures.placement.Frame.whole((SIDE, SIDE), (SIDE, SIDE))
    )
    product = wanted.numpy() * factor.paint(np.maximum(S.detach().numpy(), 0))
    assert why[0].guided is not None
    np.testing.assert_allclose(why[0].guided, product, rtol=1e-4, atol=1e-7 * float(np.abs(product).max()))


def _logits(task: Any, features: Any) -> Tensor:
    net, A = task.model, features.A.requires_grad_()
    flat = F.max_pool2d(A, 2).flatten(1)
    logits: Tensor = net.fc8(net.fc7(net.fc6(flat).relu()).relu())
    return logits


class Rectifying(nn.Module):
    """A decoder with a ReLU in its words."""

    def __init__(self) -> None:
        super().__init__()
        self.middle, self.output = nn.Linear(UNITS, 16), nn.Linear(16, len(VOCABULARY))

    def start(self, A: Tensor) -> Tensor:
        return A.mean((2, 3))

    def step(self, tokens: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        return self.output(torch.relu(self.middle(state))), state


@pytest.mark.parametrize("rule", RULES)
def test_the_language_part_is_left_alone(rule: str) -> None:
    for task, query in (
        (captioner(Rectifying(), torch.float64), {"caption": "a dog"}),
        (vqa("attention", torch.float64), {"question": QUESTION}),
    ):
        _, features, targets = asked(task, "logprob", **query)
        _, G = engine.gradients(task, features.A, targets, features.rest)
        assert G.abs().max() > 0
        assert torch.equal(top_gradients(task, features.A, targets, features.rest, rule), G)


def test_what_cannot_be_carried() -> None:
    task = Classifier(Vgg(), "body", [str(n) for n in range(6)], prepare)
    _, features, targets = asked(task, "logit")
    with pytest.raises(InputError, match=r"^rule='guidde'; known are gradient, deconvolution, guided$"):
        top_gradients(task, features.A, targets, features.rest, "guidde")
    weight = task.model.get_parameter("fc8.weight")
    kept = weight.detach().clone()
    before = {name: len(module._backward_hooks) for name, module in task.model.named_modules()}
    top_gradients(task, features.A, targets, features.rest, "guided")
    assert torch.equal(weight, kept)
    assert all(weights.grad is None for weights in task.model.parameters())
    assert {name: len(module._backward_hooks) for name, module in task.model.named_modules()} == before
    with torch.no_grad():
        weight.fill_(float("nan"))
    with pytest.raises(ModelError, match=r"^Vgg.* is not a finite number|NaN"):
        top_gradients(task, features.A, targets, features.rest, "guided")


def test_a_head_that_does_not_read_the_map_hands_nothing_down() -> None:
    class Blind(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.bias = nn.Conv2d(3, 4, 3, padding=1), nn.Parameter(torch.tensor([1.0, 0.0]))

        def forward(self, images: Tensor) -> Tensor:
            self.body(images)
            return self.bias.expand(len(images), 2)

    task = Classifier(Blind().double().eval(), "body", ["a", "b"], prepare)
    _, features, targets = asked(task, "logit")
    assert not top_gradients(task, features.A, targets, features.rest, "guided").any()
