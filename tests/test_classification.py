"""The classifier adapter: split at a layer by a hook, for any module, leaving it as it was."""

import gc
import importlib.util
import threading
import weakref
from collections import OrderedDict, namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from vlx import engine
from vlx.errors import InputError, ModelError
from vlx.task import GradientWay, Query, Target, Term, word_target
from vlx.tasks.classification import Classifier
from vlx.tasks.classification.preparation import imagenet_prepare
from vlx.weighting import METHODS, importance_weights

SHARED = Path(__file__).resolve().parents[2] / "shared"
CLASSES = 5
NAMES = ["tench, Tinca tinca", "tabby, tabby cat", "tiger cat", "crane", "crane"]
WAYS: tuple[GradientWay, ...] = ("rows", "batched", "loop")


class Net(nn.Module):
    """Two convolutions, a ReLU in place, and a head that is not linear."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.body = nn.Sequential(nn.Conv2d(4, 6, 3, stride=2, padding=1), nn.ReLU(inplace=True))
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(6, CLASSES)

    def after(self, A: Tensor) -> Tensor:
        """What comes after ``body.0``, without anything in place."""
        logits: Tensor = self.head(self.drop((A.relu() ** 2).mean((2, 3))).tanh())
        return logits

    def forward(self, x: Tensor) -> Any:
        A = self.body(self.stem(x))
        return self.head(self.drop((A**2).mean((2, 3))).tanh())


def net(seed: int = 0, kind: Callable[[], nn.Module] = Net) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return kind().double().eval()


def pictures(count: int = 1, seed: int = 0, size: tuple[int, int] = (16, 24)) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, *size, generator=generator, dtype=torch.float64)


def prepare(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.asarray(image.resize((24, 16)), np.float32).copy()).permute(2, 0, 1) / 127.5 - 1


def task_of(model: nn.Module, layer: str = "body.0", **options: Any) -> Classifier:
    return Classifier(model, layer, prepare=prepare, **options)


def target(row: int, number: int, **options: Any) -> Target:
    return Target(row, str(number), (Term(0, number),), options.pop("kind", "logit"), **options)


def expected_gradient(after: Callable[[Tensor], Tensor], A: Tensor, number: int) -> Tensor:
    leaf = A.clone().requires_grad_()
    return torch.autograd.grad(after(leaf)[0, number], leaf)[0][0]


# What it computes.


@pytest.mark.parametrize("layer", ["stem", "body", "body.0"])
def test_features_are_the_layers_map_and_the_models_logits(layer: str) -> None:
    model, x = net(), pictures(3)
    features = task_of(model, layer).features(x)
    assert features.layer == layer
    A = model.stem(x) if layer == "stem" else model.body[0](model.stem(x))
    torch.testing.assert_close(features.A, A.relu() if layer == "body" else A)  # body.0 before the ReLU in place
    torch.testing.assert_close(features.rest["logits"], model(x))
    assert torch.equal(features.rest["inputs"], x)
    assert not features.A.requires_grad
    assert not features.rest["logits"].requires_grad
    step = 2.0 if layer == "stem" else 4.0
    assert (features.grid.stride, features.grid.offset) == ((step, step), (0.0, 0.0))
    assert features.grid.shape == tuple(features.A.shape[2:])


def test_a_batch_is_its_pictures_one_by_one() -> None:
    task, x = task_of(net()), pictures(3)
    whole, single = task.features(x), [task.features(x[n : n + 1]) for n in range(3)]
    torch.testing.assert_close(whole.A, torch.cat([one.A for one in single]))
    torch.testing.assert_close(whole.rest["logits"], torch.cat([one.rest["logits"] for one in single]))


@pytest.mark.parametrize("way", WAYS)
def test_gradients_are_those_of_the_rest_of_the_model(way: GradientWay) -> None:
    model = net()
    task, x = task_of(model), pictures(2)
    features = task.features(x)
    targets = [target(1, 0), target(0, 3), target(1, 4), target(1, 4, kind="logprob"), target(0, 2, kind="prob")]
    scores, gradients = engine.gradients(task, features.A, targets, features.rest, way=way)
    kinds: dict[str, Callable[[Tensor], Tensor]] = {
        "logit": model.after,
        "logprob": lambda A: model.after(A).log_softmax(1),
        "prob": lambda A: model.after(A).softmax(1),
    }
    for n, asked in enumerate(targets):
        after, A, number = kinds[asked.kind], features.A[asked.row, None], asked.terms[0].token
        torch.testing.assert_close(scores[n], after(A)[0, number].detach())
        torch.testing.assert_close(gradients[n], expected_gradient(after, A, number))
    assert (gradients.flatten(1).abs().amax(1) > 1e-9).all()


def test_a_contrast_is_the_difference_of_the_logits() -> None:
    model = net()
    task = task_of(model)
    features = task.features(pictures())
    contrast = Target(0, "a, not b", (Term(0, 1), Term(0, 2, -1.0)), "margin")
    scores, gradients = engine.gradients(task, features.A, [contrast, target(0, 1), target(0, 2)], features.rest)
    torch.testing.assert_close(scores[0], scores[1] - scores[2])
    torch.testing.assert_close(gradients[0], gradients[1] - gradients[2])


def test_edited_maps_go_through_the_rest_of_the_model() -> None:
    model = net()
    task = task_of(model)
    features = task.features(pictures())
    edited = features.A.repeat(6, 1, 1, 1)
    edited[range(6), range(6)] = 0
    scores = engine.scores(task, edited, [target(n, 2) for n in range(6)], features.rest)
    torch.testing.assert_close(scores, model.after(edited)[:, 2].detach())


def test_before_the_layer_one_picture_is_run() -> None:
    model = net()
    task, x = task_of(model), pictures(3)
    features = task.features(x)
    batches: list[int] = []
    handle = model.stem.register_forward_pre_hook(lambda module, arguments: batches.append(len(arguments[0])))
    engine.gradients(task, features.A, [target(n % 3, n % 5) for n in range(8)], features.rest)
    handle.remove()
    assert batches == [1]


@pytest.mark.parametrize("way", WAYS)
def test_a_target_that_does_not_depend_on_the_map_has_a_zero_gradient(way: GradientWay) -> None:
    class Deaf(Net):
        def forward(self, x: Tensor) -> Tensor:
            self.body(self.stem(x))
            return self.head.bias.repeat(len(x), 1)  # type: ignore[no-any-return]

    # the batch is taken from the pictures and not from A, so the layers before A run on all rows
    task = task_of(net(kind=Deaf))
    features = task.features(pictures())
    _, gradients = engine.gradients(task, features.A, [target(0, 1), target(0, 2)], features.rest, way=way)
    assert not gradients.any()
    assert gradients.shape == (2, *features.A.shape[1:])


# Ways past the layer: the layers before it must then see every row's own picture.


class Skip(Net):
    def forward(self, x: Tensor) -> Tensor:
        stem = self.stem(x)
        A = self.body[0](stem)
        return self.head((A.relu() + stem.mean((2, 3), keepdim=True).mean(1, keepdim=True)).mean((2, 3)))  # type: ignore[no-any-return]


class Beside(Net):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(10, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        stem = self.stem(x)
        return self.head(torch.cat([self.body(stem).mean((2, 3)), stem.mean((2, 3))], 1))  # type: ignore[no-any-return]


class Counting(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.stem(x)).view(len(x), 6, -1).mean(2))  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", [Skip, Beside, Counting])
@pytest.mark.parametrize("way", WAYS)
def test_rows_keep_their_own_picture(kind: type[Net], way: GradientWay) -> None:
    model = net(kind=kind)
    task, x = task_of(model), pictures(3)
    features = task.features(x)
    asked = [target(row, number) for row in (2, 0, 1) for number in (1, 4)]
    scores, gradients = engine.gradients(task, features.A, asked, features.rest, way=way)
    torch.testing.assert_close(scores, torch.stack([features.rest["logits"][t.row, t.terms[0].token] for t in asked]))
    for n, t in enumerate(asked):
        alone = task.features(x[t.row : t.row + 1])
        _, own = engine.gradients(task, alone.A, [target(0, t.terms[0].token)], alone.rest)
        torch.testing.assert_close(gradients[n], own[0])
        assert own.any()
    edited = features.A[1:2].repeat(4, 1, 1, 1)
    own_picture = {"inputs": x[1:2]}
    assert torch.allclose(
        engine.scores(task, edited, [target(3, 1)], own_picture), features.rest["logits"][1, 1], atol=1e-12
    )


def test_maps_and_pictures_must_match() -> None:
    task = task_of(net())
    features = task.features(pictures(3))
    with pytest.raises(ModelError, match="^3 feature maps came with 2 pictures; give one each, or one for all$"):
        task.scores(features.A, [target(0, 0)], {"inputs": pictures(2)})
    with pytest.raises(ModelError, match=r"the feature map put in is \[6, 2, 2\], the layer's own is \[6, 4, 6\]"):
        task.scores(features.A[..., :2, :2], [target(0, 0)], features.rest)
    with pytest.raises(ModelError, match="^Net: scores needs the `rest` of its features"):
        task.scores(features.A, [target(0, 0)])


# What layers and models may return.

Named = namedtuple("Named", "size map")  # noqa: PYI024


class Wrapping(nn.Module):
    def __init__(self, wrap: Callable[[Tensor], Any], take: Callable[[Any], Tensor]) -> None:
        super().__init__()
        self.inner, self.wrap, self.take = net(), wrap, take
        self.block = Block(self.inner, wrap)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner.after(self.take(self.block(x)))  # type: ignore[no-any-return]


class Block(nn.Module):
    def __init__(self, inner: Net, wrap: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.inner, self.wrap = inner, wrap

    def forward(self, x: Tensor) -> Any:
        return self.wrap(self.inner.body[0](self.inner.stem(x)))


@pytest.mark.parametrize(
    ("wrap", "take"),
    [
        (lambda A: (A, len(A)), lambda out: out[0]),
        (lambda A: [torch.ones(len(A), 1, dtype=A.dtype), A], lambda out: out[1] * out[0][..., None, None]),
        (lambda A: {"shape": A.shape, "out": A}, lambda out: out["out"]),
        (lambda A: OrderedDict(map=A, aux=None), lambda out: out["map"]),
        (lambda A: Named(torch.ones(len(A), dtype=A.dtype), A), lambda out: out.map * out.size.view(-1, 1, 1, 1)),
        (lambda A: (A, (A, "x")), lambda out: out[0]),
    ],
    ids=["tuple", "list", "dict", "OrderedDict", "namedtuple", "nested"],
)
def test_layers_may_return_more_than_a_map(wrap: Callable[[Tensor], Any], take: Callable[[Any], Tensor]) -> None:
    model = Wrapping(wrap, take).eval()
    task = task_of(model, "block")
    features = task.features(pictures(2))
    asked = [target(1, 3), target(0, 2), target(1, 1)]
    scores, gradients = engine.gradients(task, features.A, asked, features.rest)
    for n, t in enumerate(asked):
        number = t.terms[0].token
        torch.testing.assert_close(scores[n], features.rest["logits"][t.row, number])
        own = expected_gradient(model.inner.after, features.A[t.row, None], number)
        torch.testing.assert_close(gradients[n], own)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda logits: (logits, logits[:, :2]),
        lambda logits: [logits],
        lambda logits: {"loss": None, "logits": logits},
        lambda logits: {"out": logits},
        lambda logits: SimpleNamespace(logits=logits, hidden=logits[:, :2]),
    ],
    ids=["tuple", "list", "dict", "dict by another name", "object"],
)
def test_models_may_return_more_than_logits(wrap: Callable[[Tensor], Any]) -> None:
    class Wrapped(Net):
        def forward(self, x: Tensor) -> Any:
            return wrap(super().forward(x))

    plain, model = net(), net(kind=Wrapped)
    found = task_of(model).features(pictures(2))
    torch.testing.assert_close(found.rest["logits"], plain(pictures(2)))
    scores, _ = engine.gradients(task_of(model), found.A, [target(1, 2)], found.rest)
    torch.testing.assert_close(scores[0], found.rest["logits"][1, 2])


def test_other_outputs_are_refused() -> None:
    class Segmenter(Net):
        def forward(self, x: Tensor) -> Any:
            return self.body(self.stem(x))

    with pytest.raises(ModelError, match=r"must return logits \[B, classes\]; it returned \[1, 6, 4, 6\]"):
        task_of(net(kind=Segmenter)).features(pictures())


def test_a_model_that_shuts_gradients_off_around_the_layer() -> None:
    class Frozen(Net):
        def forward(self, x: Tensor) -> Any:
            with torch.no_grad():
                A = self.body[0](self.stem(x))
            return self.after(A)

    model = net(kind=Frozen)
    task = task_of(model)
    features = task.features(pictures())
    _, gradients = engine.gradients(task, features.A, [target(0, 3)], features.rest)
    torch.testing.assert_close(gradients[0], expected_gradient(model.after, features.A, 3))


def test_a_compiled_model_is_unwrapped() -> None:
    class Compiled(nn.Module):
        def __init__(self, model: nn.Module) -> None:
            super().__init__()
            self._orig_mod = model

    model = net()
    assert task_of(Compiled(model)).model is model


# Layers and models that cannot be explained.


def test_a_wrong_name_gets_the_list_and_the_close_ones() -> None:
    with pytest.raises(ModelError) as caught:
        task_of(net(), "boddy.0")
    assert str(caught.value) == (
        "Net has no layer 'boddy.0'; close: body.0, body.1, body. "
        "Layers that give a feature map, the last ones: stem, body.0, body.1, body"
    )
    for nothing in ("", None, 3):
        with pytest.raises(ModelError, match="^Net has no layer .*Layers that give a feature map"):
            task_of(net(), nothing)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="^a Classifier needs an nn.Module, got function$"):
        Classifier(prepare)  # type: ignore[arg-type]


def test_a_layer_without_a_map() -> None:
    with pytest.raises(
        ModelError, match=r"^layer 'head' of Net gives \[1, 5\], not a feature map \[B, K, h, w\]\. Layers .*: stem, body"
    ):
        task_of(net(), "head").features(pictures())


def test_a_layer_called_twice_or_never() -> None:
    class Twice(Net):
        def __init__(self) -> None:
            super().__init__()
            self.spare = nn.ReLU()
            self.shared = nn.ReLU()

        def forward(self, x: Tensor) -> Any:
            return self.head(self.shared(self.body(self.shared(self.stem(x)))).mean((2, 3)))

    with pytest.raises(ModelError, match=r"^layer 'shared' of Twice is called 2 times in one run.*: stem, body.0, body"):
        task_of(net(kind=Twice), "shared").features(pictures())
    with pytest.raises(ModelError, match=r"^layer 'spare' of Twice is never called\. Layers .*: stem, body.0, body"):
        task_of(net(kind=Twice), "spare").features(pictures())


def test_training_mode_is_refused() -> None:
    model = net()
    task = task_of(model)
    features = task.features(pictures())
    model.train()
    for ask in (lambda: task.features(pictures()), lambda: task.scores(features.A, [target(0, 0)], features.rest)):
        with pytest.raises(ModelError, match=r"^Net: it is in training mode; call model.eval\(\) first$"):
            ask()
    model.eval().drop.train()
    with pytest.raises(ModelError, match=r"^Net: its layer 'drop' is in training mode; call model.eval\(\) first$"):
        task.features(pictures())


def test_nan_is_refused() -> None:
    model, x = net(), pictures()
    with torch.no_grad():
        model.head.weight[0, 0] = torch.nan
    with pytest.raises(ModelError, match="^Net gives NaN or infinite numbers; its weights or the picture hold some$"):
        task_of(model).features(x)
    x[0, 0, 0, 0] = torch.nan
    with pytest.raises(ModelError, match="^Net gives NaN"):
        task_of(net()).features(x)


def test_a_model_that_is_random_in_eval_mode_is_refused() -> None:
    class Random(Net):
        def forward(self, x: Tensor) -> Any:
            return super().forward(x) + torch.randn(CLASSES)

    with torch.random.fork_rng(), pytest.raises(ModelError, match="^Random gives another answer when it sees the same"):
        task_of(net(kind=Random)).features(pictures())


def test_labels_must_be_as_many_as_the_classes() -> None:
    with pytest.raises(ModelError, match="^Net has 5 classes and 2 labels; give one label a class$"):
        task_of(net(), labels=["a", "b"]).features(pictures())
    with pytest.raises(InputError, match="^labels must be a list of names"):
        task_of(net(), labels="abcde")


# The model stays as it was.


def state_of(model: nn.Module) -> list[Any]:
    hooks = [
        [list(getattr(module, kind).values()) for kind in vars(module) if kind.endswith("_hooks")]
        for module in model.modules()
    ]
    grads = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    flags = [module.training for module in model.modules()], [p.requires_grad for p in model.parameters()]
    values = [value.clone() for value in model.state_dict().values()]
    return [hooks, flags, grads, values, torch.random.get_rng_state(), torch.is_grad_enabled()]


def assert_same(before: list[Any], after: list[Any]) -> None:
    def same(a: Any, b: Any) -> bool:
        if isinstance(a, Tensor):
            return torch.equal(a, b)
        if isinstance(a, (list, tuple)):
            return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
        return bool(a == b)

    assert same(before, after)


@pytest.fixture
def used() -> Iterator[Any]:
    """A model with hooks, gradients and a frozen part of its user's."""
    model = net()
    model.body[0].register_forward_hook(lambda module, arguments, output: None)
    model(pictures()).sum().backward()
    model.stem.weight.requires_grad_(False)
    yield model


def test_everything_stays_as_it_was(used: Any) -> None:
    before = state_of(used)
    task = task_of(used)
    features = task.features(pictures(2))
    task.predict(features, [Query(), Query(answer="2")])
    for way in WAYS:
        engine.gradients(task, features.A, [target(0, 1), target(1, 2)], features.rest, way=way)
    engine.scores(task, features.A, [target(0, 1)], features.rest)
    with pytest.raises(ModelError, match="has no layer"):
        task_of(used, "nothing")
    assert_same(before, state_of(used))


def test_everything_stays_as_it_was_after_an_exception(used: Any) -> None:
    task = task_of(used)
    features = task.features(pictures())
    before = state_of(used)

    def fail(module: nn.Module, arguments: Any) -> None:
        raise KeyError("the user's own trouble")

    handle = used.head.register_forward_pre_hook(fail)
    with pytest.raises(KeyError, match="the user's own trouble"):
        task.features(pictures())
    with pytest.raises(KeyError, match="the user's own trouble"):
        engine.gradients(task, features.A, [target(0, 1)], features.rest)
    with pytest.raises(ModelError, match=r"has no layer 'x'.* It cannot be run to see .*: stem, body, body.0, body.1, drop, head$"):
        task_of(used, "x")
    handle.remove()
    assert_same(before, state_of(used))
    torch.testing.assert_close(task.features(pictures()).A, features.A)


def test_a_users_own_hook_on_the_layer_still_counts() -> None:
    model = net()
    model.body[0].register_forward_hook(lambda module, arguments, output: 3 * output)
    task = task_of(model)
    features = task.features(pictures())
    torch.testing.assert_close(features.A, model.body[0].forward(model.stem(pictures())))
    scores, gradients = engine.gradients(task, features.A, [target(0, 1)], features.rest)
    torch.testing.assert_close(scores[0], features.rest["logits"][0, 1])
    torch.testing.assert_close(gradients[0], expected_gradient(lambda A: model.after(3 * A), features.A, 1))


def test_inputs_are_not_changed() -> None:
    class Centring(Net):
        def forward(self, x: Tensor) -> Any:
            return super().forward(x.sub_(0.5))

    task, x = task_of(net(kind=Centring)), pictures(2)
    features = task.features(x)
    scores = engine.scores(task, features.A, [target(1, 2)], features.rest)
    assert torch.equal(x, pictures(2))
    torch.testing.assert_close(scores[0], features.rest["logits"][1, 2])


def test_the_model_can_be_collected() -> None:
    model = net()
    task = task_of(model)
    features = task.features(pictures())
    engine.gradients(task, features.A, [target(0, 1)], features.rest)
    reference = weakref.ref(model)
    del model, task
    gc.collect()
    assert reference() is None


# Under any mode and in any dtype.


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
@pytest.mark.parametrize("frozen", [True, False])
def test_modes_and_frozen_weights(mode: Callable[[], Any], frozen: bool) -> None:
    model = net()
    model.requires_grad_(not frozen)
    task = task_of(model)
    with mode():
        features = task.features(pictures().clone())
        predicted = task.predict(features, [Query()])
        found = engine.attribute(task, features.A, [target(0, 3)], METHODS["gradcam"], features.rest)
    torch.testing.assert_close(
        found.weights[0], expected_gradient(model.after, features.A.clone(), 3).mean((1, 2)), check_dtype=False
    )
    assert not found.signed.requires_grad
    assert len(predicted) == 1


def test_weights_made_under_inference_mode_are_refused() -> None:
    with torch.inference_mode():
        model = net()
    with pytest.raises(ModelError, match=r"its weights were made under torch.inference_mode\(\)"):
        task_of(model).features(pictures())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dtypes(dtype: torch.dtype) -> None:
    exact, model = net(), net().to(dtype)
    task = task_of(model)
    inputs = task.place(pictures(2))
    assert inputs.dtype == dtype
    features = task.features(inputs)
    assert features.A.dtype == dtype
    scores, gradients = engine.gradients(task, features.A, [target(1, 3, kind="logprob")], features.rest)
    assert scores.dtype == torch.float32
    own = expected_gradient(lambda A: exact.after(A).log_softmax(1), features.A[1:].double(), 3)
    rounding = 1e-5 if dtype == torch.float32 else 0.05
    assert (gradients[0].double() - own).abs().max() < rounding * own.abs().max()
    assert task.predict(features, [Query()] * 2)[0].words[0].logprob < 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_on_a_gpu() -> None:
    task, x = task_of(net()), pictures(2)
    features = task.features(x)
    found = engine.attribute(task, features.A, [target(1, 3)], METHODS["gradcam"], features.rest)
    on_gpu = task_of(net().cuda())
    features = on_gpu.features(on_gpu.place(x))
    other = engine.attribute(on_gpu, features.A, [target(1, 3)], METHODS["gradcam"], features.rest)
    assert other.signed.is_cuda
    torch.testing.assert_close(other.signed.cpu(), found.signed)
    assert on_gpu.predict(features, [Query()] * 2)[0].words[0].logprob < 0


# Threads that share one model.


@pytest.mark.parametrize("kind", [Net, Skip])
def test_threads_do_not_meet(kind: type[Net]) -> None:
    model = net(kind=kind)
    threads, rounds = 4, 25

    def answer(task: Classifier, number: int) -> tuple[Tensor, Tensor]:
        features = task.features(pictures(2, seed=number))
        asked = [target(row, n % CLASSES) for n in range(3) for row in (0, 1)]
        return engine.gradients(task, features.A, asked, features.rest)

    expected = [answer(task_of(model), number) for number in range(threads)]
    plain = model(pictures(2)).detach()
    shared, wrong = task_of(model), list[str]()
    barrier = threading.Barrier(threads + 1)

    def explain(number: int) -> None:
        barrier.wait()
        try:
            for turn in range(rounds):
                task = shared if turn % 2 else task_of(model)
                for got, right in zip(answer(task, number), expected[number], strict=True):
                    torch.testing.assert_close(got, right)
        except Exception as error:
            wrong.append(f"{number}: {error}")

    def use() -> None:  # somebody who just uses the model
        barrier.wait()
        for _ in range(rounds * 3):
            if not torch.equal(model(pictures(2)), plain):
                wrong.append("a plain run was changed")

    workers = [threading.Thread(target=explain, args=(number,)) for number in range(threads)]
    workers.append(threading.Thread(target=use))
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong
    assert not model.body[0]._forward_hooks


# What it predicts.


def test_the_likeliest_class() -> None:
    model, x = net(), pictures(3)
    task = task_of(model, labels=NAMES, notes=["a note"])
    predictions = task.predict(task.features(x), [Query()] * 3)
    logprobs = model(x).detach().log_softmax(1)
    for row, prediction in enumerate(predictions):
        number = int(logprobs[row].argmax())
        (word,) = prediction.words
        assert prediction.text == word.label == NAMES[number]
        assert word.terms == (Term(0, number),)
        assert word.logprob == pytest.approx(float(logprobs[row, number]))
        order = logprobs[row].argsort(descending=True).tolist()
        assert [other.token for other in word.alternatives] == order
        assert [other.label for other in word.alternatives] == [NAMES[n] for n in order]
        assert sum(np.exp(other.logprob) for other in word.alternatives) == pytest.approx(1)
        assert (prediction.forced, prediction.tokens, prediction.notes) == (False, (), ("a note",))
        scored = engine.scores(
            task, task.features(x).A, [word_target(prediction, 0, row, "logprob")], {"inputs": x, "logits": None}
        )
        assert float(scored[0]) == pytest.approx(word.logprob)


def test_without_labels_classes_are_numbered() -> None:
    task = task_of(net())
    features = task.features(pictures())
    (prediction,) = task.predict(features, [Query()])
    assert prediction.text == f"class {int(features.rest['logits'].argmax())}"
    assert task.predict(features, [Query(answer="class 4")])[0].words[0].terms == (Term(0, 4),)
    with pytest.raises(InputError, match=r"^no class 'cat'; the model's classes have no names here, .* from 0 to 4$"):
        task.predict(features, [Query(answer="cat")])


@pytest.mark.parametrize(
    ("asked", "number"),
    [
        ("tabby", 1),
        ("Tabby Cat", 1),
        (" tabby, tabby cat ", 1),
        ("TINCA_TINCA", 0),
        ("tiger cat", 2),
        ("3", 3),
        ("class 4", 4),
    ],
)
def test_any_class_may_be_asked_for(asked: str, number: int) -> None:
    task = task_of(net(), labels=NAMES)
    features = task.features(pictures())
    (prediction,) = task.predict(features, [Query(answer=asked)])
    assert prediction.text == NAMES[number]
    assert prediction.words[0].terms == (Term(0, number),)
    assert prediction.words[0].logprob == pytest.approx(float(features.rest["logits"].log_softmax(1)[0, number]))
    assert prediction.forced


def test_a_contrast_has_a_second_term() -> None:
    task = task_of(net(), labels=NAMES)
    features = task.features(pictures())
    (prediction,) = task.predict(features, [Query(answer="tench", instead_of="tabby")])
    assert prediction.words[0].terms == (Term(0, 0), Term(0, 1, -1.0))
    assert prediction.words[0].notes == ("why this and not tabby, tabby cat",)
    top = int(features.rest["logits"].argmax())
    (prediction,) = task.predict(features, [Query(instead_of=str((top + 1) % CLASSES))])
    assert prediction.words[0].terms == (Term(0, top), Term(0, (top + 1) % CLASSES, -1.0))
    assert not prediction.forced


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (Query(answer="taby"), r"^no class 'taby' among 5; close: tabby \(1\)"),
        (Query(answer="cat"), r"^no class 'cat' among 5; close: .*tabby cat \(1\)"),
        (Query(answer="zeppelin"), r"^no class 'zeppelin' among 5$"),
        (Query(answer=""), r"^no class '' among 5$"),
        (Query(answer="crane"), r"^'crane' is the name of 2 classes: 3 \(crane\), 4 \(crane\); give the number$"),
        (Query(answer="5"), r"^there is no class 5; the model has classes 0 to 4$"),
        (Query(answer="-1"), r"^no class '-1' among 5$"),
        (Query(answer="tench", instead_of="dog"), r"^no class 'dog' among 5"),
        (Query(answer="tench", instead_of="0"), r"^'0' is the class that is explained; name another"),
        (Query(caption="a cat"), r"^a classifier takes no caption and no question; name a class with answer=…$"),
        (Query(question="what?"), r"^a classifier takes no caption and no question"),
    ],
)
def test_what_cannot_be_asked(query: Query, message: str) -> None:
    task = task_of(net(), labels=NAMES)
    with pytest.raises(InputError, match=message):
        task.predict(task.features(pictures()), [query])


def test_predict_without_kept_logits_puts_the_map_through() -> None:
    model = net()
    task = task_of(model)
    features = task.features(pictures())
    features.rest.pop("logits")
    features.maps["body.0"] = features.A * 0
    (prediction,) = task.predict(features, [Query(answer="1")])
    assert prediction.words[0].logprob == pytest.approx(float(model.after(features.A).log_softmax(1)[0, 1]))


# What an adapter has.


def test_the_protocols_fields() -> None:
    task = Classifier(net().float(), "body")
    assert (task.kind, task.name, task.layer, task.notes) == ("classification", "Net", "body", ())
    assert (task.defaults.method, task.defaults.target, task.defaults.gradients) == ("gradcam", "logit", "rows")
    assert task.prepare is imagenet_prepare
    assert task.blank == pytest.approx((0.485, 0.456, 0.406), abs=0.01)
    assert task_of(net(), blank=(0, 0, 1)).blank == (0, 0, 1)
    assert task_of(net(), name="mine").name == "mine"
    assert task_of(net()).place(torch.zeros(1, 3, 4, 4)).dtype == torch.float64
    weakref.ref(task)
    hash(task)


def test_version_changes_with_the_weights() -> None:
    task = task_of(net())
    versions = [task.version()]
    task.features(pictures())
    assert task.version() == versions[0]
    with torch.no_grad():
        task.model.head.bias.add_(1)  # type: ignore[operator, union-attr]
    versions.append(task.version())
    task.model.load_state_dict(net(1).state_dict())
    versions.append(task.version())
    assert len(set(versions)) == 3


def test_imagenet_prepare_is_torchvisions() -> None:
    presets = pytest.importorskip("torchvision.transforms._presets")
    pixels = np.random.default_rng(0).integers(0, 256, (300, 411, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    torch.testing.assert_close(imagenet_prepare(image), presets.ImageClassification(crop_size=224)(image))


# Real weights: MobileNetV2 ends in a mean over the cells and one linear layer, so the maps are known.


@pytest.fixture(scope="module")
def mobilenet() -> Any:
    file = SHARED / "real" / "mobilenet_v2" / "model.py"
    if not file.is_file():
        pytest.skip(f"{file} is not here")
    spec = importlib.util.spec_from_file_location("mobilenet_v2", file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return SimpleNamespace(model=module.load().double(), prepare=module.prepare, labels=module.LABELS)


@pytest.mark.parametrize("layer", ["features", "features.18"])
def test_class_activation_mapping_on_real_weights(mobilenet: Any, layer: str) -> None:
    task = Classifier(mobilenet.model, layer, mobilenet.labels, mobilenet.prepare, name="mobilenet_v2")
    image = Image.open(SHARED / "real" / "photos" / "parrot.jpg")
    features = task.features(task.place(task.prepare(image)[None]))
    prediction = task.predict(features, [Query()])[0]
    assert prediction.text == "macaw"
    numbers = [prediction.words[0].terms[0].token, *(other.token for other in prediction.words[0].alternatives[1:4])]
    asked = [target(0, number) for number in numbers]
    scores, G = engine.gradients(task, features.A, asked, features.rest)
    w, b = mobilenet.model.classifier.weight.detach()[numbers], mobilenet.model.classifier.bias.detach()[numbers]
    Z = features.A[0, 0].numel()

    def equal(found: Tensor, known: Tensor) -> None:
        assert float((found - known).abs().max() / known.abs().max()) < 1e-9

    gradcam = METHODS["gradcam"].map(features.A, G)
    equal(importance_weights(G), w / Z)
    equal(gradcam, torch.einsum("nk,khw->nhw", w / Z, features.A[0]))
    equal(gradcam.sum((1, 2)), scores - b)
    equal(METHODS["hirescam"].map(features.A, G), gradcam)
    equal(scores, features.rest["logits"][0, numbers])


@pytest.mark.parametrize(("file", "word"), [("cat_720p.jpg", "cat"), ("dog_test_0.bmp", "dog"), ("hot_dog.jpg", "hot")])
def test_real_photographs_get_sensible_classes(mobilenet: Any, file: str, word: str) -> None:
    task = Classifier(mobilenet.model, "features", mobilenet.labels, mobilenet.prepare)
    image = Image.open(SHARED / "real" / "photos" / file)
    features = task.features(task.place(task.prepare(image)[None]))
    (prediction,) = task.predict(features, [Query()])
    print(prediction.text)
    asked = task.predict(features, [Query(answer="tabby")])[0]
    assert asked.words[0].terms == (Term(0, mobilenet.labels.index("tabby, tabby cat")),)
