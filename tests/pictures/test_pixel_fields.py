"""Where the weights of cells with wide fields look, when their layers say something else."""

import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn

from tests.pictures.test_receptive_fields import body
from vlx.pictures import pixel_fields
from vlx.pictures.layers import Follower
from vlx.pictures.placement import Grid
from vlx.pictures.receptive_fields import trace_grid

KERNEL = 11


def leaning(*taps: tuple[int, int], kernel: int = KERNEL) -> nn.Sequential:
    """Convolutions of stride 2, each reading one pixel of its window: ``taps`` right and below the middle."""
    layers = []
    for down, right in taps:
        layer = nn.Conv2d(3, 3, kernel, 2, kernel // 2, groups=3, bias=False)
        with torch.no_grad():
            layer.weight.zero_()
            layer.weight[:, :, kernel // 2 + down, kernel // 2 + right] = 1
        layers.append(layer)
    return nn.Sequential(*layers).eval()


def test_cells_are_where_their_weights_look() -> None:
    grid = trace_grid(leaning((0, 0), (0, 0), (-1, 1)), (96, 80))
    assert grid == Grid((-4.0, 4.0), (8, 8), (12, 10), (96, 80), "measured, not by the layers")
    assert trace_grid(leaning((1, 0), (1, 0), (0, 0)), (96, 80)).offset == pytest.approx((3, 0))


def test_weights_that_look_at_the_middle_of_their_field_change_nothing() -> None:
    for lean in (0, 1):  # an eighth of a cell is none
        assert trace_grid(leaning((lean, 0), (0, 0), (0, 0)), (96, 80)) == Grid((0, 0), (8, 8), (12, 10), (96, 80))


@pytest.mark.parametrize(
    ("features", "size"),
    [
        (leaning((0, 0), (0, 0), (-1, 1), kernel=5), (96, 80)),  # a field of less than eight cells
        (leaning((0, 0), (0, 0), (-1, 1)), (40, 80)),  # five cells high
        (leaning((0, 0), (0, 0), (4, 4)), (96, 80)),  # two cells aside: not where a cell may be
        (lambda x: leaning((0, 0), (0, 0), (-1, 1))(x).detach(), (96, 80)),  # no gradient
        (lambda x: leaning((0, 0), (0, 0), (-1, 1))(x) * 0, (96, 80)),  # an empty one
    ],
)
def test_the_layers_stand_where_nothing_better_is_known(features: nn.Module, size: tuple[int, int]) -> None:
    grid = trace_grid(features, size)
    assert (grid.offset, grid.source) == ((0, 0), "layers")


def test_random_weights_look_at_the_middle() -> None:
    assert trace_grid(body("resnet18"), (192, 192)) == Grid((0, 0), (32, 32), (6, 6), (192, 192))


@pytest.mark.parametrize(("name", "reach"), [("resnet18", 435), ("alexnet", 195)])
def test_fields_are_as_wide_as_published(name: str, reach: int) -> None:
    """Araujo, Norris and Sim, Computing Receptive Fields of Convolutional Neural Networks (Distill, 2019)."""
    picture = torch.zeros(1, 3, 96, 96)
    with torch.no_grad(), Follower(picture) as follower:
        followed = follower.track(body(name)(picture))
    assert followed is not None
    assert followed.reach == (reach, reach)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_precisions_and_modes(dtype: torch.dtype) -> None:
    network = leaning((0, 0), (0, 0), (-1, 1)).to(dtype)
    for mode in (torch.no_grad, torch.enable_grad, torch.inference_mode):
        with mode():
            assert trace_grid(network, (96, 80), dtype=dtype).offset == (-4, 4)
    assert all(weight.grad is None for weight in network.parameters())


def test_what_is_measured_is_the_same_every_time_and_leaves_the_random_state_alone() -> None:
    torch.manual_seed(3)
    network = nn.Sequential(*(nn.Conv2d(3, 3, KERNEL, 2, 3) for _ in range(3)))
    picture, plain = torch.zeros(1, 3, 96, 96), Grid((0, 0), (8, 8), (10, 10), (96, 96))
    state = torch.get_rng_state()
    one, again = (pixel_fields._looked(network, picture, plain) for _ in range(2))
    assert (one == again).all()
    assert torch.equal(state, torch.get_rng_state())


def test_soft_noise_is_smooth_and_of_one_spread() -> None:
    noise: Tensor = pixel_fields._soft(torch.Size((3, 64, 48)), torch.Generator().manual_seed(0))
    assert noise.shape == (1, 3, 64, 48)
    assert (float(noise.mean()), float(noise.std())) == pytest.approx((0, 1), abs=1e-5)
    assert float((noise[..., 1:] - noise[..., :-1]).std()) < 1.0  # of white noise: 1.41


def test_following_layers_does_not_load_the_compiler_of_torch() -> None:
    code = (
        "import sys, torch; from vlx.pictures.receptive_fields import trace_grid\n"
        "trace_grid(torch.nn.Conv2d(3, 4, 3), (16, 16)); print('torch._dynamo' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "False"
