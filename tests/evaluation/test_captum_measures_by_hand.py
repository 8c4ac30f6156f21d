"""Infidelity and sensitivity: Captum's, of maps whose values are known."""

import sys
from typing import Any

import numpy as np
import pytest
import torch

from tests.evaluation.test_curves_by_hand import SIDE, Noise, linear, picture, plain
from vlx.errors import InputError
from vlx.evaluation import evaluate
from vlx.evaluation.baselines import by_picture
from vlx.methods.method import Method, attribution

METRICS = ("infidelity", "sensitivity")


def made_by(name: str, maps: Any) -> Method:
    """A method whose maps [H, W] are a function of the prepared picture [3, H, W]."""

    def attribute(task: Any, site: Any, targets: Any) -> Any:
        made = torch.stack([maps(site.prepared(target.row, name).double(), target) for target in targets])
        return attribution(task, site, targets, made)

    return Method(name, "", name, attribute, gradient=False)


def value(metric: str, method: Any) -> float:
    pytest.importorskip("captum")
    (row, *_) = evaluate(linear(), Noise(("a",)), metrics=[metric], methods=[method], targets=["logit"]).rows
    return row.value


def weights() -> torch.Tensor:
    task: Any = linear()
    return task.model.head.weight.detach()[0].view(3, SIDE, SIDE).double()  # type: ignore[no-any-return]


def median() -> torch.Tensor:
    return torch.from_numpy(np.median(np.asarray(picture()), (0, 1)).astype(np.uint8) / 255)[:, None, None]


def test_what_tells_exactly_what_squares_cost_has_no_infidelity() -> None:
    exact = made_by("exact", lambda inputs, _: (weights() * (inputs - median())).sum(0))
    scaled = made_by("scaled", lambda inputs, _: 7 * (weights() * (inputs - median())).sum(0))
    assert value("infidelity", exact) == pytest.approx(0, abs=1e-6)
    assert value("infidelity", scaled) == pytest.approx(0, abs=1e-6)


def test_infidelity_is_the_error_of_the_best_scaled_sums_over_squares() -> None:
    share = (weights() * (plain(picture()).double() - median())).sum(0).numpy()
    rng, falls, sums = by_picture(plain(picture()), "squares"), [], []
    ramp = np.arange(SIDE * SIDE, dtype=float).reshape(SIDE, SIDE)
    for _ in range(32):
        y, x = (int(rng.integers(0, SIDE - 4)) for _ in range(2))
        falls.append(share[y : y + 5, x : x + 5].sum())
        sums.append(ramp[y : y + 5, x : x + 5].sum())
    some, others = np.array(sums), np.array(falls)
    scale = (some * others).mean() / (some**2).mean()
    expected = ((scale * some - others) ** 2).mean()
    found = value("infidelity", made_by("ramp", lambda inputs, _: torch.from_numpy(ramp)))
    assert found == pytest.approx(expected, rel=1e-4)


def test_sensitivity_is_the_greatest_relative_change_under_noise() -> None:
    mean = made_by("mean", lambda inputs, _: inputs.sum(0))
    inputs = plain(picture()).double()
    noise = torch.from_numpy(by_picture(plain(picture()), "noise").uniform(-0.02, 0.02, (10, 3, SIDE, SIDE)))
    expected = max(float(one.sum(0).norm() / inputs.sum(0).norm()) for one in noise)
    assert value("sensitivity", mean) == pytest.approx(expected, rel=1e-4)
    assert value("sensitivity", "centre") == 0


def test_an_empty_map_is_not_steady_but_left_out() -> None:
    assert np.isnan(value("sensitivity", made_by("nothing", lambda inputs, _: -inputs.sum(0))))


@pytest.mark.parametrize("metric", METRICS)
def test_all_baselines_are_measured_and_random_state_is_left_alone(metric: str) -> None:
    pytest.importorskip("captum")
    task = linear()
    torch.manual_seed(3)
    before = torch.get_rng_state()
    once, again = (
        evaluate(task, Noise(), metrics=[metric], methods=["hirescam", "same"], targets=["logit"]).rows
        for _ in range(2)
    )
    assert (torch.get_rng_state() == before).all()
    assert once == again
    assert all(np.isfinite([row.value, row.random, row.centre, row.same]).all() for row in once)


@pytest.mark.parametrize("metric", METRICS)
def test_without_captum_they_are_refused_with_the_remedy(metric: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "captum", None)
    with pytest.raises(InputError, match=rf"^--metrics {metric} is Captum's, .*: pip install 'vlx\[captum\]'$"):
        evaluate(linear(), Noise(), metrics=[metric])
