"""Switching units off: the rows are those asked for, and random sets are as many and as strong."""

from typing import Any

import numpy as np
import pytest
import torch

from tests.fakes import captioner, features_of
from vlx.ablation import log_odds, random_sets, switched_off
from vlx.task import Query, word_target


def test_units_are_off_one_by_one_as_in_a_loop_and_in_any_batches() -> None:
    task: Any = captioner("attention", torch.float64)
    features = features_of(task, 0)
    prediction = task.predict(features, [Query(caption="a red dog on grass")])[0]
    targets = [word_target(prediction, n, 0, "logprob") for n in range(5)]
    generator = np.random.default_rng(0)
    off = [generator.random((n + 1, 5)) < 0.4 for n in range(5)]
    found = switched_off(task, features, targets, off)
    for target, switches, values in zip(targets, off, found, strict=True):
        for row, value in zip(switches, values, strict=True):
            A = features.A.clone()
            for unit in np.flatnonzero(row):
                A[0, unit] = 0
            assert value == pytest.approx(task.scores(A, [target]).item(), abs=1e-12)
    small = switched_off(task, features, targets, off, budget=1)
    assert all(np.allclose(one, other, atol=1e-12) for one, other in zip(found, small, strict=True))


def test_units_may_be_off_to_other_values_than_zero() -> None:
    task: Any = captioner("first", torch.float64)
    features = features_of(task, 0)
    prediction = task.predict(features, [Query()])[0]
    target = word_target(prediction, 0, 0, "logprob")
    values = torch.arange(5.0)
    A = features.A.clone()
    A[0, 3] = 3.0
    found = switched_off(task, features, [target], [np.eye(5, dtype=bool)[3:4]], values=values)
    assert found[0][0] == pytest.approx(task.scores(A, [target]).item(), abs=1e-12)


def test_the_feature_map_is_left_alone() -> None:
    task: Any = captioner("attention")
    features = features_of(task, 0)
    before = features.A.clone()
    target = word_target(task.predict(features, [Query()])[0], 0, 0, "logprob")
    switched_off(task, features, [target], [np.ones((2, 5), bool)])
    assert torch.equal(features.A, before)


def test_random_sets_have_as_many_units_and_about_as_much_activation() -> None:
    mass = np.exp(np.random.default_rng(1).normal(0, 2, 400))
    mass[::4] = 0
    strong = np.argsort(-mass)[:20].tolist()
    weak = [int(unit) for unit in np.argsort(mass) if mass[unit] > 0][:20]
    for units in (strong, weak, strong[:3] + weak[:5]):
        sets = random_sets(units, mass, 50, np.random.default_rng(0))
        assert (sets.sum(1) == len(units)).all()
        assert not sets[:, mass == 0].any(), "silent units stand for nothing"
        assert 0.5 < (sets @ mass).mean() / mass[units].sum() < 1.5
    assert len({row.tobytes() for row in random_sets(strong, mass, 50, np.random.default_rng(0))}) > 25


def test_random_sets_are_not_matched_to_a_set_of_none() -> None:
    assert not random_sets([], np.ones(10), 5, np.random.default_rng(0)).any()


def test_a_silent_unit_is_matched_by_itself() -> None:
    sets = random_sets([2], np.array([1.0, 1.0, 0.0]), 20, np.random.default_rng(0))
    assert (sets.sum(1) == 1).all()


def test_log_odds_are_exact_and_end_where_float32_does() -> None:
    p = np.array([0.01, 0.5, 0.99, 1 - 1e-6])
    assert log_odds(np.log(p)) == pytest.approx(np.log(p / (1 - p)), rel=1e-6)
    assert log_odds(np.array([0.0]))[0] == pytest.approx(24 * np.log(2))
    assert log_odds(np.array([1e-9]))[0] == log_odds(np.array([0.0]))[0]
    assert log_odds(np.array([-1e-4], np.float32))[0] == pytest.approx(np.log(1 / np.expm1(1e-4)), rel=1e-3)
