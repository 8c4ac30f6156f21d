"""The cells of A are where the tracer says: formulas, pixel gradients, and a bright patch that is moved about."""

import copy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision.models as zoo
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from vlx.errors import ModelError
from vlx.pictures.layers import Follower
from vlx.pictures.placement import Grid
from vlx.pictures.receptive_fields import Tracer, trace_grid

MOBILENET = Path(__file__).parents[3] / "shared" / "real" / "mobilenet_v2"

Vision = Callable[[Tensor], Tensor]


def body(name: str, **options: Any) -> nn.Module:
    """A torchvision network up to its last feature map."""
    torch.manual_seed(0)
    network: nn.Module = zoo.get_model(name, weights=None, **options).eval()
    if isinstance(network, zoo.ResNet):
        return nn.Sequential(*list(network.children())[:-2])
    features: nn.Module = network.features  # type: ignore[assignment]
    return features


def real_mobilenet() -> nn.Module:
    """Google's MobileNetV2 with TensorFlow's SAME padding and its trained weights."""
    if not MOBILENET.is_dir():
        pytest.skip(f"needs the trained network of {MOBILENET}")
    sys.path.insert(0, str(MOBILENET))
    try:
        import model  # type: ignore[import-not-found]
    finally:
        sys.path.remove(str(MOBILENET))
    features: nn.Module = model.load().features
    return features


def averaging(network: nn.Module) -> nn.Module:
    """The network with convolutions that take weighted means: a bright patch is then brightest where it is."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            weights = torch.rand_like(module.weight)
            module.weight.data = weights / weights.sum((1, 2, 3), keepdim=True)
            if module.bias is not None:
                module.bias.data.zero_()
    return network


def settled(network: nn.Module) -> nn.Module:
    """The network after two passes over noise in training mode, for batch norms that fit the weights."""
    torch.manual_seed(1)
    network.train()
    with torch.no_grad():
        for _ in range(2):
            network(torch.randn(8, 3, 96, 96))
    return network.eval()


# The centres of known networks. All are (k − 1)/2 − p times the jump, summed by hand or found in the literature.

KNOWN = [
    ("resnet18", 0, 32),
    ("resnet50", 0, 32),
    ("vgg16", 15.5, 32),
    ("mobilenet_v2", 0, 32),
    ("mobilenet_v3_large", 0, 32),
    ("efficientnet_b0", 0, 32),
    ("densenet121", 14, 32),
    ("squeezenet1_1", 15, 16),
    ("alexnet", 31, 32),
    ("convnext_tiny", 15.5, 32),
]


LARGE = (
    "resnet50",
    "densenet121",
    "convnext_tiny",
    "efficientnet_b0",
    "vgg16",
)  # others, and `WAYS`, have their layers


@pytest.mark.parametrize(
    ("name", "offset", "stride"),
    [pytest.param(*one, id=one[0], marks=pytest.mark.slow if one[0] in LARGE else ()) for one in KNOWN],
)
def test_known_networks_at_odd_sizes(name: str, offset: float, stride: float) -> None:
    network = body(name)
    for size in ((96, 96), (101, 167)):
        grid = trace_grid(network, size)
        shape = tuple(network(torch.zeros(1, 3, *size)).shape[-2:])
        assert grid == Grid((offset, offset), (stride, stride), (shape[0], shape[1]), size, "layers")


def test_vgg_before_its_last_pool() -> None:
    grid = trace_grid(body("vgg16")[:30], (64, 80))  # type: ignore[index]
    assert (grid.offset, grid.stride) == ((7.5, 7.5), (16, 16))


def test_tensorflow_padding() -> None:
    network, picture = real_mobilenet(), torch.zeros(1, 3, 224, 224)
    with torch.no_grad(), Follower(picture) as follower:
        followed = follower.track(network(picture))
    assert followed is not None
    assert followed.grid((224, 224)) == Grid((31, 31), (32, 32), (7, 7), (224, 224), "layers")
    grid = trace_grid(network, (224, 224))
    assert grid.source == "measured, not by the layers"
    assert grid.offset == pytest.approx((21, 21), abs=3)  # of its trained weights, see benchmarks.placement


def test_transformer_with_windows_in_channels_last_layout() -> None:
    network = body("swin_t")
    grid = trace_grid(lambda x: network(x).permute(0, 3, 1, 2), (64, 96))
    assert (grid.offset, grid.stride, grid.shape) == ((15.5, 15.5), (32, 32), (2, 3))
    assert grid.source == "layers, one branch not followed"


# Against the definition: the centroid of the absolute pixel gradient of a cell whose field the borders do not cut.


def centroid(network: Vision, size: tuple[int, int], cell: tuple[int, int], like: Tensor) -> list[float]:
    torch.manual_seed(0)
    picture = (torch.rand(1, 3, *size, dtype=like.dtype) / 1e3).requires_grad_()  # far below the 6 of a ReLU6
    (gradient,) = torch.autograd.grad(network(picture)[..., cell[0], cell[1]].sum(), picture)
    total = gradient.abs().sum((0, 1))
    sides = [torch.arange(side, dtype=like.dtype) for side in size]
    return [float(total.sum(1 - axis) @ sides[axis] / total.sum()) for axis in (0, 1)]


def centre(grid: Grid, cell: tuple[int, int]) -> list[float]:
    return [grid.offset[axis] + grid.stride[axis] * cell[axis] for axis in (0, 1)]


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("mobilenet_v2", (608, 640)),
        pytest.param("real", (640, 640), marks=pytest.mark.slow),
        pytest.param("resnet18", (640, 576), marks=pytest.mark.slow),
        pytest.param("vgg16", (256, 224), marks=pytest.mark.slow),
    ],
)
def test_the_centre_is_the_centroid_of_the_pixel_gradient(name: str, size: tuple[int, int]) -> None:
    network = averaging(real_mobilenet() if name == "real" else body(name)).requires_grad_(False)
    grid = trace_grid(network, size)
    cell = (grid.shape[0] // 2, grid.shape[1] // 2)
    for number, layer in enumerate(network.children()):
        if isinstance(layer, nn.MaxPool2d):  # gives all of its gradient to one pixel of the window, by chance
            window: list[Any] = [layer.kernel_size, layer.stride, layer.padding]
            setattr(network, str(number), nn.AvgPool2d(*window))
    assert centroid(network, size, cell, torch.zeros(1)) == pytest.approx(centre(grid, cell), abs=2)


def stack(seed: int) -> nn.Sequential:
    """A few layers with random windows, strides, paddings and dilations, all of equal weights."""
    rng: Any = np.random.default_rng(seed)
    layers: list[nn.Module] = []
    for _ in range(rng.integers(2, 5)):
        kernel, stride = rng.integers(1, 5, 2).tolist(), rng.integers(1, 3, 2).tolist()
        padding, dilation = rng.integers(0, 3, 2).tolist(), rng.integers(1, 3, 2).tolist()
        half: Any = [min(p, k // 2) for p, k in zip(padding, kernel, strict=True)]
        convolution = nn.Conv2d(3, 3, kernel, stride, padding, dilation, bias=False).double()
        nn.init.ones_(convolution.weight)
        layers.append(
            [
                convolution,
                nn.AvgPool2d(kernel, stride, half, ceil_mode=bool(rng.integers(2))),
                nn.ZeroPad2d(rng.integers(0, 3, 4).tolist()),
                nn.ReflectionPad2d(rng.integers(0, 3, 4).tolist()),
                nn.Upsample(scale_factor=2, mode="bilinear"),
            ][rng.choice(5, p=[0.4, 0.2, 0.15, 0.15, 0.1])]
        )
    return nn.Sequential(*layers)


@pytest.mark.parametrize("seed", range(40))
def test_any_stack_of_layers_agrees_with_its_gradient(seed: int) -> None:
    network, size = stack(seed), (81, 94)
    grid = trace_grid(network, size, dtype=torch.float64)
    assert grid.source == "layers"
    cell = (grid.shape[0] // 2, grid.shape[1] // 2)
    found = centroid(network, size, cell, torch.zeros(1).double())
    assert found == pytest.approx(centre(grid, cell), abs=1e-9)


# A bright patch, moved about: where |A − A of the blank picture| is largest.


def differences(network: Vision, grid: Grid, places: NDArray[Any], value: float) -> NDArray[np.float64]:
    """Σ_k |A_k − A_k of the blank picture| for a patch half a cell wide at each place (y, x), [places, h, w]."""
    half = int(grid.stride[0]) // 4
    pictures = torch.zeros(len(places) + 1, 3, *grid.size)
    for picture, (y, x) in zip(pictures, places, strict=False):
        picture[:, y - half : y + half + 1, x - half : x + half + 1] = value
    with torch.no_grad():
        A = torch.cat([network(few) for few in torch.split(pictures, 6)]).double()
    return (A[:-1] - A[-1]).abs().sum(1).numpy()


def planted(grid: Grid, count: int) -> NDArray[Any]:
    """Places between the centres of the second and the last but one cell of each axis."""
    rng = np.random.default_rng(0)
    ends = [
        (
            int(grid.offset[axis] + grid.stride[axis]),
            int(grid.offset[axis] + grid.stride[axis] * (grid.shape[axis] - 2)),
        )
        for axis in (0, 1)
    ]
    return np.stack([rng.integers(low, high + 1, count) for low, high in ends], 1)


def largest(maps: NDArray[np.float64]) -> NDArray[np.float64]:
    """The largest cell (i, j) of each map."""
    return np.array([np.unravel_index(int(one.argmax()), one.shape) for one in maps], float)


def middle(maps: NDArray[np.float64]) -> NDArray[np.float64]:
    """The peak of each map between cells: the centroid of its fourth power."""
    power = maps**4 / (maps**4).sum((1, 2), keepdims=True)
    return np.stack([power.sum(2) @ np.arange(maps.shape[1]), power.sum(1) @ np.arange(maps.shape[2])], 1)


def errors(grid: Grid, cells: NDArray[np.float64], places: NDArray[Any]) -> NDArray[np.float64]:
    """Where the peaks are less where the patches are, [places, 2], in cells."""
    found: NDArray[np.float64] = (np.array(grid.offset) + np.array(grid.stride) * cells - places) / np.array(
        grid.stride
    )
    return found


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("resnet18", (225, 161)),
        ("mobilenet_v2", (200, 333)),
        pytest.param("resnet18", (200, 333), marks=pytest.mark.slow),
        pytest.param("mobilenet_v2", (225, 161), marks=pytest.mark.slow),
        pytest.param("vgg16", (133, 165), marks=pytest.mark.slow),
    ],
)
def test_the_largest_cell_follows_a_bright_patch(name: str, size: tuple[int, int]) -> None:
    network = averaging(body(name))
    grid = trace_grid(network, size)
    places = planted(grid, 6 if name == "vgg16" else 16)
    cells = largest(differences(network, grid, places, 0.1))
    assert np.abs(errors(grid, cells, places)).max() <= 0.5 + 1 / grid.stride[0]  # a tie may go either way


@pytest.mark.parametrize(
    ("name", "allowed"), [("resnet18", 0.5), pytest.param("vgg16", 0.5, marks=pytest.mark.slow), ("real", 1.0)]
)
def test_the_peak_follows_a_bright_patch_through_ordinary_weights(name: str, allowed: float) -> None:
    size = (200, 333) if name != "vgg16" else (150, 181)
    network = real_mobilenet() if name == "real" else body(name)
    network = settled(network) if name == "resnet18" else network
    grid = trace_grid(network, size)
    places = planted(grid, 6 if name == "vgg16" else 24)
    cells = middle(differences(network, grid, places, 1.0))
    assert np.abs(errors(grid, cells, places)).max() <= allowed
    assert np.abs(errors(grid, cells, places).mean(0)).max() <= 0.3
    if name == "resnet18":
        resized = errors(Grid.half_pixel(grid.shape, size), cells, places)
        assert np.abs(resized).max() > allowed


# Ways of writing a network.


class Written(nn.Module):
    """Convolutions 5/2 and 3/2 with padding: cells at 0 + 4 i. ``how`` stands between them, on [B, 6, h, w]."""

    def __init__(self, how: Vision = lambda x: x) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 5, 2, 2), nn.Conv2d(6, 4, 3, 2, 1)
        self.how = how

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.how(self.first(x)))  # type: ignore[no-any-return]


def squeezed(x: Tensor) -> Tensor:
    return x * torch.sigmoid(F.adaptive_avg_pool2d(x, 1))


def gated_by_place(x: Tensor) -> Tensor:
    return x * torch.sigmoid(x.mean(1, keepdim=True) + x.amax(1)[:, None])


def in_place(x: Tensor) -> Tensor:
    return F.relu_(x.mul_(2)).add_(1).clamp_(0, 5)


def shuffled(x: Tensor) -> Tensor:
    batch, channels, h, w = x.shape
    return x.view(batch, 2, channels // 2, h, w).transpose(1, 2).contiguous().view(batch, channels, h, w)


def channels_at_the_end(x: Tensor) -> Tensor:
    y = F.layer_norm(x.permute(0, 2, 3, 1), (6,))
    return F.gelu(F.linear(y, torch.eye(6, dtype=x.dtype))).permute(0, 3, 1, 2)


def flattened(x: Tensor) -> Tensor:
    tokens = x.flatten(2).transpose(1, 2)
    tokens = tokens + F.linear(tokens, torch.eye(6, dtype=x.dtype))
    return tokens.transpose(1, 2).reshape(x.shape)


def branched(x: Tensor) -> Tensor:
    halves = x.chunk(2, 1)
    return torch.cat([F.max_pool2d(halves[0], 3, 1, 1), F.avg_pool2d(halves[1], 5, 1, 2)], 1)


def attended(x: Tensor) -> Tensor:
    tokens = x.flatten(2).transpose(1, 2)
    return x + F.scaled_dot_product_attention(tokens, tokens, tokens).transpose(1, 2).reshape(x.shape)


def cut_and_grown(x: Tensor) -> Tensor:
    return F.pad(x[:, :, 1:, 2:-1], (2, 1, 1, 0), mode="replicate")


def up_and_down(x: Tensor) -> Tensor:
    return F.avg_pool2d(F.interpolate(x, scale_factor=2, mode="bilinear"), 2)


def lifted(x: Tensor) -> Tensor:
    return torch.stack([F.max_pool2d(one, 3, 1, 1) for one in x])


WAYS: list[Vision] = [
    squeezed, gated_by_place, in_place, shuffled, channels_at_the_end, flattened, branched, cut_and_grown, up_and_down,
    lifted,
]  # fmt: skip


@pytest.mark.parametrize("how", WAYS, ids=[how.__name__ for how in WAYS])
@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad, torch.inference_mode])
def test_ways_of_writing_a_layer(how: Vision, mode: Callable[[], Any]) -> None:
    network = Written(how).eval()
    with mode():
        A, grid = Tracer().run(network, torch.rand(2, 3, 30, 45))
    assert (grid.offset, grid.stride) == ((0, 0), (4, 4))
    assert grid.source.startswith("layers") and grid.source != "layers, branches averaged"
    assert grid.shape == tuple(A.shape[-2:]) == (8, 12)


def test_attention_beside_a_skip_connection_is_owned_up_to() -> None:
    assert trace_grid(Written(attended), (32, 40)).source == "layers, one branch not followed"


def test_branches_that_disagree_are_averaged() -> None:
    def shifted(x: Tensor) -> Tensor:
        return x + F.pad(x, (2, 0, 0, 0))[..., :-2]

    grid = trace_grid(Written(shifted), (32, 40))
    assert (grid.offset, grid.source) == ((0, -2), "layers, branches averaged")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_dtypes_and_channels_last(dtype: torch.dtype) -> None:
    network = Written(squeezed).to(dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
    pictures = torch.rand(2, 3, 32, 40, dtype=dtype).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        assert Tracer().run(network, pictures)[1].stride == (4, 4)
    assert trace_grid(network, (32, 40), dtype=dtype).offset == (0, 0)


def traced(network: nn.Module) -> Vision:
    module: Vision = torch.jit.trace(network, torch.rand(1, 3, 32, 40))  # type: ignore[no-untyped-call]
    return module


@pytest.mark.parametrize("wrap", [torch.jit.script, traced])
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")  # 2025-11: torch is taking it out
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:FutureWarning")
def test_torchscript_shows_through(wrap: Callable[[nn.Module], Vision]) -> None:
    network = nn.Sequential(nn.Conv2d(3, 6, 5, 2, 2), nn.ReLU(True), nn.MaxPool2d(3, 2, 1)).eval()
    grid = trace_grid(wrap(network), (32, 40))
    assert (grid.offset, grid.stride, grid.source) == ((0, 0), (4, 4), "layers")


def test_extents_and_other_channels() -> None:
    assert trace_grid(nn.Conv2d(1, 2, 3), (9, 11), channels=1).shape == (7, 9)
    assert trace_grid(nn.Conv2d(3, 2, (1, 3), (1, 2), (0, 1)), (9, 12)).stride == (1, 2)
    assert trace_grid(nn.AdaptiveAvgPool2d(1), (8, 12)).offset == (3.5, 5.5)


# Where the layers cannot be followed.


class Hidden(torch.autograd.Function):
    """A network inside an operation that nothing shows of."""

    @staticmethod
    def forward(context: Any, x: Tensor, network: nn.Module) -> Tensor:
        with torch.enable_grad():
            context.x = x.detach().requires_grad_()
            context.out = network(context.x)
        return torch.from_numpy(context.out.detach().numpy().copy())

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Any:
        return torch.autograd.grad(context.out, context.x, gradients[0], retain_graph=True)[0], None


@pytest.mark.parametrize(
    ("name", "offset", "stride", "near"),
    [pytest.param("resnet18", 0, 32, 4, marks=pytest.mark.slow), ("squeezenet1_1", 15, 16, 2)],
)
def test_hidden_layers_are_found_by_gradient(name: str, offset: float, stride: float, near: float) -> None:
    network = settled(body(name)) if name == "resnet18" else body(name)
    grid = trace_grid(lambda x: Hidden.apply(x, network), (193, 224))
    assert grid.source == "gradient"
    assert grid.stride == (stride, stride)
    assert grid.offset == pytest.approx((offset, offset), abs=near)


def mixed(x: Tensor) -> Tensor:
    tokens = F.adaptive_avg_pool2d(x, 4).flatten(2).transpose(1, 2)
    return tokens.mean(1, keepdim=True).expand_as(tokens).transpose(1, 2).reshape(len(x), 3, 4, 4)


def closed(x: Tensor) -> Tensor:
    return torch.from_numpy(F.avg_pool2d(x.detach(), 8).numpy().copy())


@pytest.mark.parametrize("features", [mixed, closed])
def test_the_half_pixel_rule_is_the_last_resort(features: Vision) -> None:
    assert trace_grid(features, (32, 32)) == Grid((3.5, 3.5), (8, 8), (4, 4), (32, 32), "half-pixel (assumed)")


# The tracer leaves everything as it is.


def test_the_tracer_gives_what_the_network_gives_and_remembers_sizes() -> None:
    network = settled(body("resnet18"))
    before = copy.deepcopy(network.state_dict())
    random_state = torch.get_rng_state()
    calls: list[int] = []

    def features(x: Tensor) -> Tensor:
        calls.append(1)
        return network(x)  # type: ignore[no-any-return]

    tracer = Tracer()
    pictures = torch.linspace(0, 1, 2 * 3 * 64 * 96).view(2, 3, 64, 96)
    with torch.no_grad():
        plain = network(pictures)
        (first, grid), (second, again) = tracer.run(features, pictures), tracer.run(features, pictures)
        assert tracer.run(features, pictures[..., :64])[1].shape == (2, 2)
    assert len(calls) == 3
    assert torch.equal(first, plain) and torch.equal(second, plain)
    assert grid is again
    assert torch.equal(torch.get_rng_state(), random_state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert not any(module._forward_hooks or module._backward_hooks for module in network.modules())


def test_a_changed_network_is_traced_anew() -> None:
    strides = iter([2, 4])
    stride = next(strides)

    def features(x: Tensor) -> Tensor:
        return F.avg_pool2d(x, stride)

    tracer = Tracer()
    assert tracer.run(features, torch.rand(1, 3, 8, 8))[1].stride == (2, 2)
    stride = next(strides)
    assert tracer.run(features, torch.rand(1, 3, 8, 8))[1].stride == (4, 4)


WRONG: list[tuple[Callable[[Tensor], Any], str]] = [
    (lambda x: x.mean((2, 3)), r"it gave \[2, 3\]$"),
    (lambda x: x[:1], r"it gave \[1, 3, 8, 8\]$"),
    (lambda x: [x], "it gave list$"),
]


@pytest.mark.parametrize(("features", "message"), WRONG)
def test_a_vision_part_that_gives_something_else_is_refused(features: Vision, message: str) -> None:
    with pytest.raises(ModelError, match=r"^the vision part must turn pictures \[2, C, H, W\] into A .*" + message):
        Tracer().run(features, torch.rand(2, 3, 8, 8))
