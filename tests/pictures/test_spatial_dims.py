"""Which dimensions of what a vision part gives are places: found by following, by trying, or refused."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlx.errors import ModelError
from vlx.pictures import spatial_dims
from vlx.pictures.receptive_fields import Given, Tracer
from vlx.pictures.tensor_layout import Layout

Look = Callable[[Tensor], Tensor]
K = 5


class Patches(nn.Module):
    """Patches of 4 pixels → [B, K, h, w] and tokens, by a convolution (``followed``) or by what cannot be followed."""

    def __init__(self, followed: bool) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = torch.randn(K, 3, 4, 4, generator=generator, dtype=torch.double)
        self.tokens = torch.randn(8, K, generator=generator, dtype=torch.double)
        self.followed = followed

    def map(self, x: Tensor) -> Tensor:
        """[B, K, h, w] as it is."""
        if self.followed:
            return F.conv2d(x, self.weight, stride=4)
        h, w = x.shape[2] // 4, x.shape[3] // 4
        return (self.weight.flatten(1) @ F.unfold(x, 4, stride=4)).reshape(len(x), K, h, w)

    def sequence(self, x: Tensor, before: int = 0, after: int = 0, turned: bool = False) -> Tensor:
        """[B, N, K] with tokens around it that mix all cells, as a class token does."""
        A = self.map(x)
        cells = (A.mT if turned else A).flatten(2).mT
        own = self.tokens.expand(len(x), -1, -1) + A.mean((2, 3))[:, None]
        return torch.cat([own[:, :before], cells, own[:, before : before + after]], 1)


WAYS: dict[str, tuple[Callable[[Patches, Tensor], Tensor], str]] = {
    "plain": (lambda net, x: net.map(x), "[B, K, h, w]"),
    "channels last": (lambda net, x: net.map(x).permute(0, 2, 3, 1), "[B, h, w, K]"),
    "turned": (lambda net, x: net.map(x).mT, "[B, K, w, h]"),
    "turned, channels last": (lambda net, x: net.map(x).permute(0, 3, 2, 1), "[B, w, h, K]"),
    "tokens": (lambda net, x: net.sequence(x), "[B, N, K]"),
    "class token": (lambda net, x: net.sequence(x, 1), "1 token before them"),
    "distilled": (lambda net, x: net.sequence(x, 2), "2 tokens before them"),
    "registers": (lambda net, x: net.sequence(x, 5), "5 tokens before them"),
    "registers behind": (lambda net, x: net.sequence(x, 1, 4), "1 token before and 4 tokens after them"),
    "units first": (lambda net, x: net.sequence(x, 1).mT, "[B, K, N]"),
    "sequence first": (lambda net, x: net.sequence(x, 1).transpose(0, 1), "[N, B, K]"),
    "by columns": (lambda net, x: net.sequence(x, 1, turned=True), "column by column"),
}
SIZES = [(16, 24), (24, 16), (16, 16), (28, 28)]


def pictures(count: int, size: tuple[int, int]) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(count, 3, *size, generator=generator, dtype=torch.double)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("followed", [True, False], ids=["followed", "tried"])
@pytest.mark.parametrize("way", WAYS)
def test_every_layout_becomes_the_natural_one_and_goes_back(way: str, followed: bool, size: tuple[int, int]) -> None:
    net, (lay, told) = Patches(followed), WAYS[way]
    x, tracer = pictures(2, size), Tracer()
    with torch.no_grad():
        laid = tracer.lay(lambda x: lay(net, x), x)
        assert torch.equal(laid.A, net.map(x))
        assert torch.equal(tracer.join(laid.A, laid.others), lay(net, x))
        assert torch.equal(tracer.see(lambda x: lay(net, x), x), net.map(x))
    assert (laid.grid.stride, laid.grid.offset) == ((4, 4), (1.5, 1.5))
    assert told in tracer.layout(laid.A).told()
    assert not laid.notes if way == "plain" else told in laid.notes[0]
    later = tracer.lay(lambda x: lay(net, x), pictures(3, size))
    assert len(later.A) == 3 and later.grid is laid.grid


@pytest.mark.parametrize("way", WAYS)
def test_followed_layouts_cost_one_run(way: str) -> None:
    net, runs = Patches(True), list[int]()

    def look(x: Tensor) -> Tensor:
        runs.append(len(x))
        return WAYS[way][0](net, x)

    if way != "by columns":  # flattening by columns is not followed
        Tracer().lay(look, pictures(2, (16, 24)))
        assert runs == [2]


@pytest.mark.parametrize(("h", "w"), [(4, 6), (6, 4)])
def test_a_grid_and_its_turned_twin_are_told_apart(h: int, w: int) -> None:
    net = Patches(False)
    laid = Tracer().lay(lambda x: net.sequence(x, 1), pictures(1, (4 * h, 4 * w)))
    assert laid.grid.shape == (h, w)


def mixing(depth: int) -> Look:
    """Tokens of an untrained transformer that mixes them strongly, with a class token and nothing to follow."""
    torch.manual_seed(0)
    layers = [nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, norm_first=True) for _ in range(depth)]
    net, line = nn.Sequential(*layers).eval(), nn.Linear(48, 16)
    with torch.no_grad():
        for layer in layers:
            for weights in layer.self_attn.parameters():
                weights.mul_(3)

    def look(x: Tensor) -> Tensor:
        cells = line(F.unfold(x, 4, stride=4).mT)
        made: Tensor = net(torch.cat([cells.mean(1, keepdim=True), cells], 1))
        return made

    return look


@pytest.mark.parametrize("depth", [1, 4])
def test_cells_that_mix_still_move_most_in_their_own_place(depth: int) -> None:
    tracer = Tracer()
    with torch.no_grad():
        laid = tracer.lay(mixing(depth), pictures(1, (40, 24)).float())
    assert tracer.layout(laid.A) == Layout((10, 6), 0, 2, (1,), 1)


# What cannot be told.


def scrambled(x: Tensor) -> Tensor:
    """[B, 16, 16, 3] in no order."""
    order = torch.randperm(768, generator=torch.Generator().manual_seed(0))
    return F.avg_pool2d(x, 2).flatten(1)[:, order].reshape(len(x), 16, 16, 3)


def reshaped(x: Tensor) -> Tensor:
    """Tokens [B, 64, 5] made a map without turning them first: each cell is a bit of everything."""
    return Patches(False).sequence(x).reshape(len(x), K, 8, 8)


def same(x: Tensor) -> Tensor:
    """A map that mixes all places."""
    return x.mean((2, 3), keepdim=True).expand(-1, -1, 4, 4) * torch.rand(4, 4, generator=torch.Generator()).double()


REFUSED: list[tuple[Look, Given, str]] = [
    (
        scrambled,
        Given(),
        r"gave \[1, 16, 16, 3\]: with K=16, h=16, w=3 no cell moves with its place, nor in another or",
    ),
    (
        lambda x: same(x).flatten(2),
        Given(),
        r"gave \[1, 3, 16\]: no cell moves .* say how they lie by grid=\(h, w\) and",
    ),
    (
        lambda x: same(x).flatten(2),
        Given((3, 5), 2),
        r"\[1, 3, 16\], which cannot be laid out by grid=\(3, 5\), prefix=2$",
    ),
    (lambda x: x.flatten(1), Given(), r"it gave \[1, 3072\]$"),
    (
        lambda x: Patches(True).sequence(x, 1),
        Given((4, 16)),
        r"N = 8 × 8 cells, 1 token before them, not grid=\(4, 16\)",
    ),
    (
        lambda x: Patches(False).sequence(x, 1),
        Given(None, 2),
        r"N = 8 × 8 cells, 1 token before them, not grid=None, p",
    ),
]


@pytest.mark.parametrize(("look", "given", "message"), REFUSED)
def test_what_stays_open_is_refused(look: Look, given: Given, message: str) -> None:
    with pytest.raises(ModelError, match=message) as raised:
        Tracer(given).lay(look, pictures(1, (32, 32)))
    assert len(str(raised.value)) <= 300


def test_a_plain_shape_that_says_nothing_is_kept_and_noted() -> None:
    laid = Tracer().lay(same, pictures(1, (32, 32)))
    assert laid.grid.shape == (4, 4)
    assert laid.notes == ("A is taken as [B, K, h, w] untried: no cell of it moved with its place",)


def test_one_cell_is_kept_and_noted() -> None:
    laid = Tracer().lay(lambda x: torch.fft.fft(x).real.mean((2, 3), keepdim=True), pictures(1, (32, 32)))
    assert laid.notes == ("A has one cell: its map cannot tell places apart",)


def test_what_the_user_says_of_mixed_tokens_holds() -> None:
    def look(x: Tensor) -> Tensor:
        return same(x).flatten(2).mT

    tracer = Tracer(Given((3, 5), 1))
    x = pictures(1, (32, 32))
    laid = tracer.lay(look, x)
    assert laid.A.shape == (1, 3, 3, 5) and laid.others is not None
    assert torch.equal(laid.A.flatten(2).mT, look(x)[:, 1:])
    assert "untried" in laid.notes[0]


def test_tokens_that_are_missing_are_asked_for() -> None:
    net, tracer = Patches(True), Tracer()
    laid = tracer.lay(lambda x: net.sequence(x, 1), pictures(1, (16, 16)))
    with pytest.raises(ModelError, match="scores needs the `rest` of its features: the tokens that are no cells"):
        tracer.join(laid.A)


# The trial itself.


def test_bands_change_one_after_the_other_and_nothing_else() -> None:
    state = torch.get_rng_state()
    x = pictures(2, (10, 12))
    made = spatial_dims.banded(x, 4)
    assert torch.equal(torch.get_rng_state(), state)
    assert made.shape == (9, 3, 10, 12) and made.dtype == x.dtype
    changed = (made[1:] != made[:1]).all(1)
    rows = [(0, 2), (2, 5), (5, 8), (8, 10)]
    for band, (first, stop) in enumerate(rows):
        expected = torch.zeros(10, 12, dtype=torch.bool)
        expected[first:stop] = True
        assert torch.equal(changed[band], expected)
    for band in range(4):
        expected = torch.zeros(10, 12, dtype=torch.bool)
        expected[:, 3 * band : 3 * band + 3] = True
        assert torch.equal(changed[4 + band], expected)


def test_agreement_by_hand() -> None:
    changes = torch.zeros(9, 1, 4, 4, dtype=torch.double)
    for band in range(4):
        changes[1 + band, :, band] = 2.0
        changes[5 + band, :, :, band] = 3.0
    found = spatial_dims.answers(changes, 0, 4)
    assert spatial_dims.agreement(Layout((4, 4)), found) == pytest.approx((1, 1, 1))
    turned = spatial_dims.agreement(Layout((4, 4), places=(3, 2)), found)
    assert turned[0] < 0.5


def test_a_model_that_takes_one_picture_at_a_time_is_tried_one_by_one() -> None:
    net = Patches(False)

    def look(x: Tensor) -> Tensor:
        if len(x) > 1:
            raise RuntimeError("one at a time")
        return net.map(x).permute(0, 2, 3, 1)

    laid = Tracer().lay(look, pictures(1, (16, 24)))
    assert laid.A.shape == (1, K, 4, 6)


def test_a_layout_of_another_shape_is_found_anew() -> None:
    net, turn = Patches(True), [False]

    def look(x: Tensor) -> Tensor:
        return net.map(x).permute(0, 2, 3, 1) if turn[0] else net.map(x)

    tracer: Any = Tracer()
    x = pictures(1, (16, 24))
    assert tracer.lay(look, x).A.shape == (1, K, 4, 6)
    turn[0] = True
    assert tracer.lay(look, x).A.shape == (1, K, 4, 6)
