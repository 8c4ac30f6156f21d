"""`Classifier` splits any module at a layer by a hook, and leaves it as it was."""

from collections import OrderedDict, namedtuple
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from vlx.errors import InputError, ModelError
from vlx.methods import engine
from vlx.protocol.targets import GradientWay, Target, Term
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


def test_before_the_layer_one_picture_is_run_without_a_graph() -> None:
    model = net()
    task, x = task_of(model), pictures(3)
    features = task.features(x)
    runs: list[tuple[int, bool]] = []
    handle = model.stem.register_forward_hook(lambda module, arguments, out: runs.append((len(out), out.requires_grad)))
    engine.gradients(task, features.A, [target(n % 3, n % 5) for n in range(8)], features.rest)
    handle.remove()
    assert runs == [(1, False)]


def test_logits_are_the_pictures_own_when_the_grid_is_found_by_gradients() -> None:
    class Around(Net):
        def forward(self, x: Tensor) -> Any:
            return super().forward(torch.fft.ifft(torch.fft.fft(x)).real)  # no way to follow through the layers

    model, x = net(kind=Around), pictures(2)
    features = task_of(model).features(x)
    assert not features.grid.source.startswith("layers")
    torch.testing.assert_close(features.rest["logits"], model(x))
    assert not features.rest["logits"].requires_grad


@pytest.mark.parametrize("way", WAYS)
def test_a_target_that_does_not_depend_on_the_map_has_a_zero_gradient(way: GradientWay) -> None:
    class Deaf(Net):
        def forward(self, x: Tensor) -> Tensor:
            self.body(self.stem(x))
            return self.head.bias.repeat(len(x), 1)

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


class Cutting(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.stem(x))[: len(x)].mean((2, 3)))  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", [Skip, Beside, Counting, Cutting])
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
    with pytest.raises(ModelError, match=r"^3 feature maps came with 2 pictures; give one each, or one for all$"):
        task.scores(features.A, [target(0, 0)], {"inputs": pictures(2)})
    with pytest.raises(ModelError, match=r"the feature map put in is \[6, 2, 2\], the layer's own is \[6, 4, 6\]"):
        task.scores(features.A[..., :2, :2], [target(0, 0)], features.rest)
    with pytest.raises(ModelError, match=r"^Net: scores needs the `rest` of its features"):
        task.scores(features.A, [target(0, 0)])


# What layers and models may return.

Named = namedtuple("Named", "size map")


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
        lambda logits: (logits, logits[:, :2, None, None].expand(-1, -1, 3, 3), logits.mean()),
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

    with pytest.raises(ModelError, match=r"^Segmenter gives \[1, 6, 4, 6\], and no scores .* outputs="):
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
    model = net()
    compiled: Any = torch.compile(model, backend="eager")
    assert task_of(compiled).model is model


# Layers and models that cannot be explained.


def test_a_wrong_name_gets_the_list_and_the_close_ones() -> None:
    with pytest.raises(ModelError) as caught:
        task_of(net(), "boddy.0")
    assert str(caught.value) == (
        "Net has no layer 'boddy.0'; close: body.0, body.1, body. "
        "Layers that give a feature map, the last ones: stem, body.0, body.1, body"
    )
    for nothing in ("", None, 3):
        with pytest.raises(ModelError, match=r"^Net has no layer .*Layers that give a feature map"):
            task_of(net(), nothing)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=r"^a Classifier needs an nn.Module, got function$"):
        Classifier(prepare)  # type: ignore[arg-type]


def test_a_layer_without_a_map() -> None:
    with pytest.raises(
        ModelError,
        match=r"^layer 'head' of Net gives \[1, 5\], not a feature map \[B, K, h, w\]\. Layers .*: stem, body",
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

    with pytest.raises(
        ModelError, match=r"^layer 'shared' of Twice is called 2 times in one run.*: occurrence=0 for the first, … 1"
    ):
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
    with pytest.raises(ModelError, match=r"^Net gives NaN or infinite numbers; its weights or the picture hold some$"):
        task_of(model).features(x)
    x[0, 0, 0, 0] = torch.nan
    with pytest.raises(ModelError, match=r"^Net gives NaN"):
        task_of(net()).features(x)


def test_a_model_that_is_random_in_eval_mode_is_refused() -> None:
    class Random(Net):
        def forward(self, x: Tensor) -> Any:
            return super().forward(x) + torch.randn(CLASSES)

    with torch.random.fork_rng(), pytest.raises(ModelError, match=r"^Random gives another answer when it sees the"):
        task_of(net(kind=Random)).features(pictures())


def test_labels_must_be_as_many_as_the_classes() -> None:
    with pytest.raises(ModelError, match=r"^Net has 5 classes and 2 labels; give one label a class$"):
        task_of(net(), labels=["a", "b"]).features(pictures())
    with pytest.raises(InputError, match=r"^labels must be a list of names"):
        task_of(net(), labels="abcde")
