"""`Classifier` leaves the model as it was, works under any mode and dtype, and in threads that share one model."""

import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from vlx.errors import ModelError
from vlx.methods import engine
from vlx.methods.cams import METHODS
from vlx.protocol.targets import GradientWay, Query, Target, Term
from vlx.tasks.classification import Classifier

CLASSES = 5
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


class Skip(Net):
    def forward(self, x: Tensor) -> Tensor:
        stem = self.stem(x)
        A = self.body[0](stem)
        return self.head((A.relu() + stem.mean((2, 3), keepdim=True).mean(1, keepdim=True)).mean((2, 3)))  # type: ignore[no-any-return]


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
    with pytest.raises(ModelError, match=r"KeyError: .the user's own trouble") as told:
        task.features(pictures())
    with pytest.raises(KeyError, match="the user's own trouble"):
        engine.gradients(task, features.A, [target(0, 1)], features.rest)
    assert isinstance(told.value.__cause__, KeyError)
    with pytest.raises(
        ModelError, match=r"has no layer 'x'.* It cannot be run to see .*: stem, body, body.0, body.1, drop, head$"
    ):
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
        assert not features.A.is_inference()
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
