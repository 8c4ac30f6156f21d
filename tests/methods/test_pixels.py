from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from tests.fakes import SIZE, UNITS, TinyCnn, captioner, picture, slow_score
from tests.methods.test_relu_rules import Swapped, far, swapped
from tests.protocol.test_state import unchanged
from vlx.errors import InputError, ModelError
from vlx.methods import engine
from vlx.methods.pixels import RULES, guided_gradcam, pixel_gradients
from vlx.pictures.placement import Grid
from vlx.protocol.powers import powers_of
from vlx.protocol.targets import Query, Target, sentence_target, word_target
from vlx.tasks.classification import Classifier
from vlx.tasks.vqa import CnnLstmVqa


class Net(nn.Module):
    """A classifier whose ReLUs stand before, in and after the layer ``body.3`` that is explained."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(inplace=True), nn.Conv2d(6, 7, 3, 2, 1), nn.ReLU(inplace=True)
        )
        self.head = nn.Sequential(nn.Linear(7, 9), nn.ReLU(), nn.Linear(9, 4))

    def forward(self, x: Tensor) -> Tensor:
        A = self.body(x.mul_(1.5))
        logits: Tensor = self.head(A.mean((2, 3)))
        return logits


class GoesOn(Net):
    """It goes on in place where the layer ends, on what the layer's ReLU keeps for its gradient."""

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(x).sub_(0.05).mean((2, 3)))
        return logits


def classifier(dtype: torch.dtype = torch.float64, layer: str = "body.3", net: type[Net] = Net) -> Classifier:
    torch.manual_seed(0)
    return Classifier(net().eval().to(dtype), layer, prepare=captioner().prepare)


def asked(task: Any, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Any, list[Target], Tensor]:
    """Inputs [1, 3, 16, 16], features, one target a word and one for the text, and their G at A."""
    inputs = task.prepare(picture())[None].to(dtype)
    features = task.features(inputs)
    prediction = task.predict(features, [Query()])[0]
    kind = task.defaults.target
    targets = [word_target(prediction, n, 0, kind) for n in range(len(prediction.words))]
    targets.append(sentence_target(prediction, 0))
    return inputs, features, targets, engine.gradients(task, features.A, targets, features.rest)[1]


def ruled_copy(net: nn.Module, rule: str) -> nn.Module:
    return swapped(net, lambda ceiling: Swapped(rule, ceiling))


def slow(vision: nn.Module, inputs: Tensor, G: Tensor) -> Tensor:
    leaf = inputs.clone().requires_grad_()
    return torch.cat([torch.autograd.grad((vision(leaf.clone()) * own).sum(), leaf)[0] for own in G])


# A caption's words and a class, end to end.


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("kind", ["first", "attention", "unrolled"])
def test_a_captions_words(kind: str, rule: str) -> None:
    task = captioner(kind, torch.float64)
    inputs, _, targets, G = asked(task)
    assert len(targets) > 3
    found = pixel_gradients(task, inputs, G, rule)
    assert (found.rule, found.notes) == (rule, ())
    assert found.values.shape == (len(targets), 3, SIZE, SIZE)
    assert far(found.values, slow(ruled_copy(task.cnn, rule), inputs, G)) < 1e-12


def test_the_plain_gradient_of_a_word_is_that_of_the_whole_model() -> None:
    task = captioner("attention", torch.float64)
    inputs, _, targets, G = asked(task)
    leaf = inputs.clone().requires_grad_()
    wanted = [torch.autograd.grad(slow_score(task, task.cnn(leaf), target), leaf)[0] for target in targets]
    assert far(pixel_gradients(task, inputs, G, "gradient").values, torch.cat(wanted)) < 1e-10


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("layer", ["body.3", "body.2", "body.0"])
def test_a_class_with_the_rule_up_to_its_layer_only(layer: str, rule: str) -> None:
    task = classifier(layer=layer)
    inputs, features, _, G = asked(task)
    assert task.see(inputs.clone()).grad_fn is not None
    assert torch.equal(task.see(inputs.clone()), features.A)
    body = cast(Any, ruled_copy(task.model, rule)).body[: int(layer[-1]) + 1]
    found = pixel_gradients(task, inputs, G, rule)
    assert far(found.values, slow(nn.Sequential(Times(), body), inputs, G)) < 1e-12
    assert bool(found.notes) == (layer == "body.0" and rule != "gradient")


@pytest.mark.parametrize("rule", RULES)
def test_a_classifier_that_goes_on_in_place_behind_the_layer(rule: str) -> None:
    task = classifier(net=GoesOn)
    inputs, _, _, G = asked(task)
    found = pixel_gradients(task, inputs, G, rule).values
    assert far(found, slow(cast(Any, ruled_copy(task.model, rule)).body, inputs, G)) < 1e-12


class Times(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 1.5 * x


def test_the_adapters_see_what_they_say_they_see() -> None:
    for task in (captioner(), classifier(torch.float32)):
        assert powers_of(task).sees
        inputs, features, _, _ = asked(task, torch.float32)
        A = task.see(inputs.clone().requires_grad_().clone())
        assert torch.equal(A, features.A)
        assert A.requires_grad
        with torch.no_grad():
            assert not task.see(inputs.clone()).requires_grad


def test_a_compiled_cnn_is_seen_as_it_was_before() -> None:
    task = captioner()

    class Compiled(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self._orig_mod = inner

        def forward(self, images: Tensor) -> Tensor:
            return cast(Tensor, self._orig_mod(images)).detach()

    task.cnn = Compiled(task.cnn).eval()
    inputs, features, _, _ = asked(task, torch.float32)
    assert torch.equal(task.see(inputs), features.A)
    assert task.see(inputs).requires_grad


@pytest.mark.parametrize("training", ["captioner", "classifier", "module"])
def test_training_mode_is_refused(training: str) -> None:
    task: Any = {"captioner": captioner(), "classifier": classifier(torch.float32), "module": TinyCnn().eval()}[
        training
    ]
    inputs = captioner().prepare(picture())[None]
    {"captioner": lambda: task.cnn, "classifier": lambda: task.model, "module": lambda: task}[training]().train()
    with pytest.raises(ModelError, match=r"is in training mode; call (cnn|model)?\.eval\(\) first$"):
        pixel_gradients(task, inputs, torch.zeros(1, UNITS, 4, 4))


class Head(nn.Module):
    """Answers from the mean of A and the mean of the question's words, behind a ReLU that no rule may touch."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.out = nn.Embedding(4, UNITS), nn.Linear(UNITS, 3)

    def forward(self, A: Tensor, tokens: Tensor, lengths: Tensor) -> Tensor:
        logits: Tensor = self.out((A.mean((2, 3)) * self.words(tokens).mean(1)).relu())
        return logits


@pytest.mark.parametrize("rule", RULES)
def test_an_answer(rule: str) -> None:
    torch.manual_seed(0)
    cnn, head = TinyCnn().eval().double(), Head().eval().double()
    task = CnnLstmVqa(cnn, head, ["<pad>", "what", "color", "car"], ["red", "blue", "two"], captioner().prepare)
    inputs = task.prepare(picture())[None].double()
    A = task.features(inputs).A
    prediction = task.predict(task.features(inputs), [Query(question="what color")])[0]
    G = engine.gradients(task, A, [word_target(prediction, 0, 0, "logit")])[1]
    assert G.any()
    assert far(pixel_gradients(task, inputs, G, rule).values, slow(ruled_copy(cnn, rule), inputs, G)) < 1e-12
    cnn.train()
    with pytest.raises(ModelError, match=r"the cnn is in training mode"):
        task.see(inputs)


# What must not matter, and must not change.


def frozen(task: Any) -> Any:
    for module in (task.cnn, task.decoder):
        module.requires_grad_(False)
    return task


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_callers_modes_and_frozen_weights_do_not_matter(mode: Any, rule: str) -> None:
    inputs, _, _, G = asked(captioner("first"), torch.float32)
    wanted = pixel_gradients(captioner("first"), inputs, G, rule).values
    task = frozen(captioner("first"))
    with mode():
        inside = asked(task, torch.float32)
        found = pixel_gradients(task, inside[0], inside[3] * 1, rule).values
        assert torch.is_inference_mode_enabled() == (mode is torch.inference_mode)
        assert torch.is_grad_enabled() == (mode is torch.enable_grad)
    assert not found.requires_grad
    assert not found.is_inference()
    assert torch.equal(found, wanted)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("make", [captioner, classifier])
def test_dtypes(make: Any, rule: str) -> None:
    found = {}
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        task = make(dtype=dtype)
        inputs = task.prepare(picture())[None].to(dtype)
        A = task.features(inputs).A
        G = torch.randn(2, *A.shape[1:], generator=torch.Generator().manual_seed(0)).to(dtype)
        found[dtype] = pixel_gradients(task, inputs, G, rule).values
        assert found[dtype].dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert far(found[torch.float32].double(), found[torch.float64]) < 1e-4
    coarse, exact = found[torch.bfloat16].double(), found[torch.float64]  # ReLUs near 0 may open or close
    assert float((coarse - exact).norm() / exact.norm()) < 0.1


def marked(net: nn.Module) -> nn.Module:
    """A network with something to lose: gradients, frozen layers, its owner's hooks."""
    for number, parameter in enumerate(net.parameters()):
        parameter.requires_grad_(number % 2 == 0)
        parameter.grad = torch.full_like(parameter, 0.5) if number % 4 == 0 else None
    relu = next(module for module in net.modules() if isinstance(module, nn.ReLU))
    relu.register_forward_hook(lambda module, given, out: None)
    return net


@pytest.mark.parametrize("rule", RULES)
def test_the_models_are_left_as_they_were(rule: str) -> None:
    captions, classes = captioner("attention"), classifier(torch.float32)
    for task, parts in ((captions, (captions.cnn, captions.decoder)), (classes, (classes.model,))):
        marked(parts[0])
        inputs, _, _, G = asked(task, torch.float32)
        given, above = inputs.clone(), G.clone()
        with unchanged(*parts):
            first = pixel_gradients(task, inputs, G, rule)
        assert torch.equal(inputs, given)
        assert torch.equal(G, above)
        assert torch.equal(pixel_gradients(task, inputs, G, rule).values, first.values)


class Fails(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, G: Tensor) -> Tensor:
        raise RuntimeError("the network broke")


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("where", ["forward", "backward"])
def test_so_are_those_that_fail(where: str, rule: str) -> None:
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            if where == "forward" and torch.is_grad_enabled():
                raise RuntimeError("the network broke")
            return cast(Tensor, Fails.apply(x))

    torch.manual_seed(0)
    net = cast(Net, marked(Net().eval()))
    net.body.insert(0, Broken().eval())
    task = Classifier(net, "body.4", prepare=captioner().prepare)
    inputs = task.prepare(picture())[None]
    A = task.features(inputs).A
    told = {
        "forward": (ModelError, r"\(RuntimeError: the network broke\)"),
        "backward": (RuntimeError, r"^the network b"),
    }
    with unchanged(net), pytest.raises(told[where][0], match=told[where][1]):
        pixel_gradients(task, inputs, torch.ones_like(A), rule)
    x = torch.tensor([1.0, -1.0], requires_grad=True)  # ReLUs are themselves again
    assert torch.autograd.grad(-x.relu().sum(), x)[0].tolist() == [-1.0, 0.0]


def test_threads_share_a_model_each_with_its_own_rule() -> None:
    task, threads = classifier(), 6
    inputs, _, _, G = asked(task)
    wanted = {rule: pixel_gradients(task, inputs, G, rule).values for rule in RULES}
    barrier = Barrier(threads)

    def hammer(thread: int) -> list[str]:
        barrier.wait()
        order = [RULES[(thread + turn) % 3] for turn in range(30)]
        return [rule for rule in order if not torch.equal(pixel_gradients(task, inputs, G, rule).values, wanted[rule])]

    with ThreadPoolExecutor(threads) as pool:
        assert list(pool.map(hammer, range(threads))) == [[]] * threads


# What is refused.


def test_a_task_that_cannot_see() -> None:
    class Bare:
        name = "bare"

    with pytest.raises(
        ModelError,
        match=r"^bare cannot be explained in pixels: Bare has no see\(inputs\).*vlx\.protocol\.powers\.Sees$",
    ):
        pixel_gradients(cast(Any, Bare()), torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4))
    with pytest.raises(ModelError, match=r"^'resnet50' cannot be explained in pixels: str has no see"):
        pixel_gradients(cast(Any, "resnet50"), torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4))


@pytest.mark.parametrize("shape", [(UNITS, 4, 4), (2, UNITS, 4, 5), (2, UNITS + 1, 4, 4), (1, UNITS, 1, 1)])
def test_gradients_that_do_not_fit_the_feature_map(shape: tuple[int, ...]) -> None:
    task = captioner()
    with pytest.raises(InputError, match=rf"^gradients G \[{', '.join(map(str, shape))}\] do not fit A \[1, 5, 4, 4\]"):
        pixel_gradients(task, asked(task, torch.float32)[0], torch.zeros(shape))


def test_a_vision_part_that_makes_two_maps_of_one_picture() -> None:
    with pytest.raises(InputError, match=r"^gradients G \[1, 3, 4, 4\] do not fit A \[2, 3, 4, 4\]"):
        pixel_gradients(lambda x: torch.cat([x, x]), torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4))


def test_layers_that_give_no_map() -> None:
    task = classifier(layer="head.0")
    with pytest.raises(ModelError, match=r"^layer 'head\.0' of Net gives \[1, 9\], not a feature map"):
        task.see(torch.zeros(1, 3, SIZE, SIZE, dtype=torch.float64))


def test_behind_the_layer_nothing_is_kept_for_gradients() -> None:
    task, modes = classifier(), list[bool]()
    for layer in ("body.0", "head.0"):
        task.model.get_submodule(layer).register_forward_hook(lambda *_: modes.append(torch.is_grad_enabled()))
    task.see(torch.zeros(1, 3, SIZE, SIZE, dtype=torch.float64))  # the first time the axes of A are tried, too
    modes.clear()
    task.see(torch.zeros(1, 3, SIZE, SIZE, dtype=torch.float64))
    assert modes == [True, False]
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("shape", [(3, 16, 16), (2, 3, 16, 16), (0, 3, 16, 16)])
def test_one_picture_at_a_time(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"^pixel gradients are taken of one prepared picture \[1, C, H, W\], got \["):
        pixel_gradients(captioner(), torch.zeros(shape), torch.zeros(1, UNITS, 4, 4))


@pytest.mark.parametrize("rule", RULES)
def test_a_vision_part_that_cuts_the_graph(rule: str) -> None:
    def cut(images: Tensor) -> Tensor:
        with torch.no_grad():
            return images + 1

    def parted(images: Tensor) -> Tensor:
        return images.detach() * torch.ones(1, requires_grad=True)

    for vision in (cut, parted):
        with pytest.raises(ModelError, match=r"^the vision part gives A without a graph back to the picture \(it runs"):
            pixel_gradients(vision, torch.zeros(1, 3, 4, 4), torch.ones(1, 3, 4, 4), rule)


def test_gradients_that_overflow() -> None:
    with pytest.raises(ModelError, match=r"^the guided in pixels is not a finite number"):
        pixel_gradients(lambda x: x.relu() * 1e30, torch.ones(1, 3, 4, 4), torch.full((1, 3, 4, 4), 1e30))


def test_no_targets() -> None:
    found = pixel_gradients(captioner(), torch.zeros(1, 3, SIZE, SIZE), torch.zeros(0, UNITS, 4, 4))
    assert found.values.shape == (0, 3, SIZE, SIZE)
    assert found.notes == ()
    grid = Grid((0, 0), (4, 4), (4, 4), (SIZE, SIZE))
    assert guided_gradcam(torch.zeros(0, 4, 4), grid, found.values).shape == (0, 3, SIZE, SIZE)
