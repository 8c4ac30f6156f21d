"""Each weighting against a slow loop written straight from its formula, and the identities they must keep."""

import math
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from vlx.methods.cams import METHODS, Weighting, importance_weights, opposed

SHAPE = (3, 5, 4, 6)  # N targets, K units, h × w cells
Z = SHAPE[2] * SHAPE[3]
SEEDS = range(4)
LINEAR = ("gradcam", "hirescam", "xgradcam")
RECTIFYING = ("gradcam++", "layercam")

Map = list[list[float]]


def example(seed: int, rectified: bool = True, shape: tuple[int, ...] = SHAPE) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    A, G = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))
    return A.relu() if rectified else A, G


# The second implementation: numbers, loops and the formula, one target at a time; A and G are [K][i][j].


def cells(A: list[Map]) -> Iterator[tuple[int, int]]:
    return ((i, j) for i in range(len(A[0])) for j in range(len(A[0][0])))


def slow_gradcam(A: list[Map], G: list[Map], k: int) -> float:
    return math.fsum(G[k][i][j] for i, j in cells(A)) / Z


def slow_xgradcam(A: list[Map], G: list[Map], k: int) -> float:
    total = math.fsum(A[k][i][j] for i, j in cells(A))
    return math.fsum(A[k][i][j] * G[k][i][j] for i, j in cells(A)) / total if total else 0.0


def slow_gradcampp(A: list[Map], G: list[Map], k: int) -> float:
    total, weight = math.fsum(A[k][i][j] for i, j in cells(A)), 0.0
    for i, j in cells(A):
        g = G[k][i][j]
        below = 2 * g**2 + total * g**3
        weight += (g**2 / below if below else 0.0) * max(g, 0)
    return weight


SLOW_WEIGHTS: dict[str, Callable[[list[Map], list[Map], int], float]] = {
    "gradcam": slow_gradcam,
    "gradcam++": slow_gradcampp,
    "xgradcam": slow_xgradcam,
}
SLOW_CELLS: dict[str, Callable[[float, float], float]] = {
    "hirescam": lambda a, g: g * a,
    "layercam": lambda a, g: max(g, 0) * a,
}


def slow(name: str, A: Tensor, G: Tensor) -> Tensor:
    maps = []
    for a, g in zip(A.tolist(), G.tolist(), strict=True):
        S = [[0.0] * len(a[0][0]) for _ in a[0]]
        for k in range(len(a)):
            weight = SLOW_WEIGHTS[name](a, g, k) if name in SLOW_WEIGHTS else 0.0
            for i, j in cells(a):
                S[i][j] += weight * a[k][i][j] if name in SLOW_WEIGHTS else SLOW_CELLS[name](a[k][i][j], g[k][i][j])
        maps.append(S)
    return torch.tensor(maps, dtype=torch.float64)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("rectified", [True, False], ids=["A >= 0", "A signed"])
@pytest.mark.parametrize("name", METHODS)
def test_map_equals_the_formula(name: str, rectified: bool, seed: int) -> None:
    A, G = example(seed, rectified)
    torch.testing.assert_close(METHODS[name].map(A, G), slow(name, A, G), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 7, 1, 9), (2, 3, 8, 2)])
@pytest.mark.parametrize("name", METHODS)
def test_any_grid(name: str, shape: tuple[int, ...]) -> None:
    A, G = example(5, shape=shape)
    maps = METHODS[name].map(A, G)
    assert maps.shape == (shape[0], *shape[2:])
    if name != "gradcam":  # its slow form divides by the cells of SHAPE
        torch.testing.assert_close(maps, slow(name, A, G), rtol=1e-10, atol=1e-12)


def test_importance_weights_are_mean_gradients() -> None:
    A, G = example(0)
    expected = [[slow_gradcam(a, g, k) for k in range(SHAPE[1])] for a, g in zip(A.tolist(), G.tolist(), strict=True)]
    torch.testing.assert_close(importance_weights(G), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("name", METHODS)
def test_one_row_serves_all_gradients(name: str) -> None:
    A, G = example(1)
    whole = METHODS[name].map(A[:1].repeat(SHAPE[0], 1, 1, 1), G)
    for shared in (A[:1], A[:1].expand(SHAPE[0], -1, -1, -1)):
        torch.testing.assert_close(METHODS[name].map(shared, G), whole)


@pytest.mark.parametrize("name", METHODS)
def test_rows_do_not_meet(name: str) -> None:
    A, G = example(2)
    one_by_one = torch.cat([METHODS[name].map(A[n : n + 1], G[n : n + 1]) for n in range(SHAPE[0])])
    torch.testing.assert_close(METHODS[name].map(A, G), one_by_one)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", METHODS)
def test_halves_are_computed_in_float32(name: str, dtype: torch.dtype) -> None:
    A, G = (values.to(dtype) for values in example(3))
    for shared in (A, A[:1].expand_as(A)):
        maps = METHODS[name].map(shared, G)
        assert maps.dtype == torch.float32
        torch.testing.assert_close(maps.double(), slow(name, shared.double(), G.double()), rtol=1e-4, atol=1e-5)
    assert importance_weights(G).dtype == torch.float32
    assert opposed(METHODS[name], A, G).dtype == torch.float32


@pytest.mark.parametrize("name", METHODS)
def test_zero_gradients_and_silent_units_give_no_nan(name: str) -> None:
    A, G = example(4)
    nothing = torch.zeros_like(G)
    assert not METHODS[name].map(A, nothing).any()
    assert not opposed(METHODS[name], A, nothing).any()
    assert not METHODS[name].map(nothing, G).any()
    A[:, 1], G[:, 2] = 0, 0
    torch.testing.assert_close(METHODS[name].map(A, G), slow(name, A, G))


def test_gradcampp_denominator_of_zero_counts_nothing() -> None:
    A = torch.full((1, 1, 1, 2), -1.0)  # ΣA = −2, so g = 1 makes 2 g² + ΣA g³ vanish
    G = torch.tensor([[[[1.0, 0.5]]]])
    expected = 0.5**2 / (2 * 0.5**2 - 2 * 0.5**3) * 0.5
    torch.testing.assert_close(METHODS["gradcam++"].map(A, G), torch.full((1, 1, 2), -expected))


def test_gradcampp_small_gradients_do_not_underflow() -> None:
    A, G = torch.ones(1, 1, 2, 2), torch.full((1, 1, 2, 2), 1e-20)  # g² is below the smallest float32
    torch.testing.assert_close(METHODS["gradcam++"].map(A, G), torch.full((1, 2, 2), 4 * 0.5e-20), rtol=1e-6, atol=0)


def test_xgradcam_cancelling_activations_count_as_silent() -> None:
    A = torch.tensor([[[[0.1, 0.2, -0.3]]]], dtype=torch.float64)  # sums to rounding, not to 0
    assert A.sum() != 0
    assert not METHODS["xgradcam"].map(A, torch.ones_like(A).cumsum(3)).any()


# The negated score.


@pytest.mark.parametrize("name", METHODS)
def test_opposed_is_the_map_of_the_negated_score_by_a_method_that_is_linear(name: str) -> None:
    A, G = example(6)
    method = METHODS[name]
    relative = {"layercam": "hirescam", "gradcam++": "gradcam"}.get(name, name)
    assert method.against == relative
    torch.testing.assert_close(opposed(method, A, G), slow(relative, A, -G), rtol=1e-10, atol=1e-12)
    negated = torch.allclose(method.map(A, -G), -method.map(A, G))
    assert negated == method.linear == (name in LINEAR)
    assert {*LINEAR, *RECTIFYING} == set(METHODS)


@pytest.mark.parametrize("name", LINEAR)
def test_signed_maps_of_linear_methods_add_up(name: str) -> None:  # invariant 3
    A, G = example(7)
    total = METHODS[name].map(A[:1], G.sum(0, keepdim=True))[0]
    torch.testing.assert_close(METHODS[name].map(A[:1], G).sum(0), total)


@pytest.mark.parametrize("name", LINEAR)
def test_map_and_counterfactual_part_the_signed_map(name: str) -> None:  # invariant 4
    A, G = example(8)
    S, against = METHODS[name].map(A, G), opposed(METHODS[name], A, G).relu()
    torch.testing.assert_close(S.relu() - against, S)
    assert not (S.relu() * against).any()


def test_xgradcam_sums_to_hirescam() -> None:  # invariant 5
    A, G = example(9)
    sums = [METHODS[name].map(A, G).sum((1, 2)) for name in ("xgradcam", "hirescam")]
    torch.testing.assert_close(*sums)


def test_layercam_less_that_of_the_negated_score_is_hirescam() -> None:  # invariant 6
    A, G = example(10, rectified=False)
    layercam = METHODS["layercam"]
    torch.testing.assert_close(layercam.map(A, G) - layercam.map(A, -G), METHODS["hirescam"].map(A, G))


def test_layercam_is_at_least_hirescam_on_rectified_maps() -> None:
    A, G = example(11)
    assert (METHODS["layercam"].map(A, G) >= METHODS["hirescam"].map(A, G)).all()


# Nets for which the maps are known in closed form: y = head(A), differentiated by torch.


def mean_net(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """y_n = Σ_k w_nk mean(A_k) + b_n for one A: A [1, K, h, w], G [N, K, h, w], w [N, K], y [N], b [N]."""
    A = example(seed)[0][:1].requires_grad_()
    generator = torch.Generator().manual_seed(seed)
    w = torch.randn(SHAPE[:2], generator=generator, dtype=torch.float64)
    b = torch.randn(SHAPE[0], generator=generator, dtype=torch.float64)
    y = (w * A.mean((2, 3))).sum(1) + b
    G = torch.cat([torch.autograd.grad(y[n], A, retain_graph=True)[0] for n in range(SHAPE[0])])
    return A.detach(), G, w, y.detach(), b


@pytest.mark.parametrize("seed", SEEDS)
def test_class_activation_mapping(seed: int) -> None:  # invariant 1
    A, G, w, y, b = mean_net(seed)
    S = METHODS["gradcam"].map(A, G)
    torch.testing.assert_close(importance_weights(G), w / Z)
    torch.testing.assert_close(S, torch.stack([(w[n, :, None, None] * A[0]).sum(0) / Z for n in range(SHAPE[0])]))
    torch.testing.assert_close(S.sum((1, 2)), y - b)
    torch.testing.assert_close(METHODS["hirescam"].map(A, G), S)


@pytest.mark.parametrize("seed", SEEDS)
def test_gradcampp_weight_of_a_mean_net(seed: int) -> None:  # invariant 7
    A, G, w, _, _ = mean_net(seed)
    weights = w.clamp(min=0) / (2 + w * A.mean((2, 3)))
    torch.testing.assert_close(METHODS["gradcam++"].map(A, G), torch.einsum("nk,khw->nhw", weights, A[0]))


@pytest.mark.parametrize("seed", SEEDS)
def test_contribution_of_a_unit_is_the_drop_without_it(seed: int) -> None:  # invariant 8
    A, G, w, y, b = mean_net(seed)
    for k in range(SHAPE[1]):
        without = A.clone()
        without[:, k] = 0
        drop = y - ((w * without.mean((2, 3))).sum(1) + b)
        torch.testing.assert_close(importance_weights(G)[:, k] * A[0, k].sum(), drop)


@pytest.mark.parametrize("seed", SEEDS)
def test_hirescam_is_exact_for_flatten_and_linear_and_gradcam_is_not(seed: int) -> None:  # invariant 2
    A = example(seed)[0][:1].requires_grad_()
    torch.manual_seed(seed)
    linear = torch.nn.Linear(A.numel(), 1).double()
    y = linear(A.flatten(1)).sum()
    (G,) = torch.autograd.grad(y, A)
    exact, averaged = (METHODS[name].map(A.detach(), G).sum() for name in ("hirescam", "gradcam"))
    torch.testing.assert_close(exact, (y - linear.bias.sum()).detach())
    assert abs(averaged - exact) > 1e-3


def test_every_method_says_what_it_is() -> None:
    for name, method in METHODS.items():
        assert isinstance(method, Weighting)
        assert method.name == name
        assert method.summary
        assert method.paper
        assert method.map.__doc__
        assert method.paper in method.map.__doc__
