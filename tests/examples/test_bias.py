"""examples/bias.py at small size: what it tells is true, and its figures are those of the arithmetic."""

import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from examples import bias
from vlx import scenes
from vlx.tasks.classification import Classifier

COUNT = 56  # pictures: each of the other things once with each group


@cache
def model(name: str) -> Classifier:
    share = {"biased": bias.BIAS, "balanced": 0.5}[name]
    return bias.trained(name, share, 0, bias.stock(90))


@cache
def seen(name: str) -> list[bias.Seen]:
    return [*bias.look(model(name), bias.pictures(COUNT))]


def test_the_biased_model_fails_where_the_place_is_unusual_and_its_background_says_so() -> None:
    right = {name: bias.column(seen(name), "right") for name in ("biased", "balanced")}
    usual = np.array([bias.USUAL[one.place] == one.kind for one in seen("biased")])
    assert usual.sum() == COUNT / 2
    assert right["biased"][usual].mean() > 0.9 > 0.5 > right["biased"][~usual].mean()
    assert right["balanced"].mean() > right["biased"].mean() + 0.1
    evidence = {name: bias.column(seen(name), "background") for name in ("biased", "balanced")}
    assert evidence["biased"].mean() > 1 > abs(evidence["balanced"].mean())


def test_a_balanced_set_is_as_large_as_the_biased_one_and_the_shares_are_as_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stock = bias.stock(90)
    sets: list[tuple[torch.Tensor, torch.Tensor]] = []

    def fitted(means: torch.Tensor, labels: torch.Tensor) -> torch.nn.Linear:
        sets.append((means, labels))
        return torch.nn.Linear(means.shape[1], 2)

    monkeypatch.setattr(bias, "fitted", fitted)
    for share in (bias.BIAS, 0.5):
        bias.trained("", share, 3, stock)
    for (means, labels), (usual, unusual) in zip(sets, [(57, 3), (30, 30)], strict=True):
        counts = {
            group: sum(bool((stock.means[group] == row).all(1).any()) for row in means[labels == number])
            for number, kind in enumerate(bias.KINDS)
            for group in bias.GROUPS
            if group[0] == kind
        }
        wanted = [usual if bias.USUAL[place] == kind else unusual for kind, place in bias.GROUPS]
        assert [*counts.values()] == wanted


def test_the_evidence_of_the_background_is_that_of_the_cells_by_hand() -> None:
    """A(cell) · (w of the place's class − w of the other) / cells, each over its own pixels of the background.

    The map is painted smoothly between cells, so that the two are alike and not the same.
    """
    network = model("biased").model
    assert isinstance(network, bias.CarOrRocket)
    network.requires_grad_(False)
    data, by_hand = bias.pictures(COUNT), []
    for number, one in enumerate(seen("biased")):
        A = network.cnn(model("biased").prepare(data[number].image)[None])[0]
        car, rocket = (network.head.weight[n] for n in range(2))
        weights, constant = car - rocket, network.head.bias[0] - network.head.bias[1]
        cells = torch.einsum("khw,k->hw", A, weights) / A[0].numel()
        assert ((cells.sum() + constant > 0) == (one.kind == "car")) == one.right
        (background,) = (mask for concept, mask in data[number].regions.items() if concept.name == one.place)
        pixels = np.kron(cells.numpy() / 64, np.ones((8, 8)))
        by_hand.append(pixels[background].sum() * (1 if one.place == "desert" else -1))
    reported = bias.column(seen("biased"), "background")
    assert np.corrcoef(by_hand, reported)[0, 1] > 0.97
    assert np.abs(np.array(by_hand) - reported).mean() < 0.15 * np.abs(reported).mean()


def test_what_is_told_of_a_model() -> None:
    lines = [*bias.told("biased", seen("biased"))]
    assert lines[0].startswith("biased: right 0.") and lines[0].endswith("of 56 balanced pictures")
    assert [line.split()[:2] for line in lines[1:5]] == [[*group] for group in bias.GROUPS]
    assert "nats" in lines[5] and "heat" in lines[6]


def test_an_example_that_is_run_hides_no_module_of_python() -> None:
    """`python examples/bias.py` looks into examples/ first: a signal.py there would be everybody's signal."""
    names = {path.stem for path in Path(bias.__file__).parent.glob("*.py")}
    assert "bias" in names and not names & {*sys.stdlib_module_names, "torch", "numpy", "vlx", "tasks"}


def test_the_pictures_are_balanced_and_ask_for_the_two_kinds_alone() -> None:
    data = bias.pictures(COUNT)
    assert data.classes == bias.KINDS
    groups = [(one.kind, one.place) for one in seen("biased")]
    assert all(groups.count(group) == COUNT / 4 for group in bias.GROUPS)
    assert {ask.label for n in range(8) for ask in data[n].asks if ask.label} == {*bias.KINDS}
    beside = {concept.name for n in range(COUNT) for concept in data[n].regions if concept.category == "object"}
    assert beside == {*scenes.KINDS}
