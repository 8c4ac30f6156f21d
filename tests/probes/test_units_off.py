"""Switching units off: the rows are those asked for, and random sets are as many and as strong."""

from typing import Any

import numpy as np
import pytest
import torch

from tests.fakes import captioner, features_of
from vlx.probes.units_off import log_odds, random_sets, switched_off
from vlx.protocol.targets import Query, word_target


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


def test_a_set_that_targets_share_is_one_row() -> None:
    task: Any = captioner("attention", torch.float64)
    features = features_of(task, 0)
    prediction = task.predict(features, [Query(caption="a red dog on grass")])[0]
    targets = [word_target(prediction, n, 0, "logprob") for n in range(5)]
    generator = np.random.default_rng(0)
    shared, own = generator.random((3, 5)) < 0.4, generator.random((5, 5)) < 0.4
    rows: list[int] = []
    begin = task.begin

    def counted(A: torch.Tensor, rest: Any = None) -> Any:
        rows.append(len(A))
        return begin(A, rest)

    task.begin = counted
    found = switched_off(task, features, targets, [np.stack([*shared, one]) for one in own])
    assert sum(rows) == len({row.tobytes() for row in (*shared, *own)}) <= 8
    for target, values, one in zip(targets, found, own, strict=True):
        for row, value in zip((*shared, one), values, strict=True):
            A = features.A * torch.from_numpy(~row)[:, None, None]
            assert value == pytest.approx(task.scores(A, [target]).item(), abs=1e-12)


def test_random_sets_are_of_units_that_speak_for_the_text_each_as_often() -> None:
    support = np.array([0.5, -1.0, 0.0, 2.0, 1e-9, 3.0, 0.1, -0.2])
    sets = random_sets(support, 3, 4000, np.random.default_rng(0))
    assert (sets.sum(1) == 3).all()
    assert not sets[:, support <= 0].any()
    assert sets[:, support > 0].mean(0) == pytest.approx(3 / 5, abs=0.05), "whatever their strength"


def test_where_too_few_units_speak_for_a_text_the_next_best_fill_the_set() -> None:
    sets = random_sets(np.array([1.0, -3.0, 0.0, -1.0]), 3, 20, np.random.default_rng(0))
    assert sets.tolist() == [[True, False, True, True]] * 20
    assert not random_sets(np.ones(10), 0, 5, np.random.default_rng(0)).any()


def test_log_odds_are_exact_and_end_where_float32_does() -> None:
    p = np.array([0.01, 0.5, 0.99, 1 - 1e-6])
    assert log_odds(np.log(p)) == pytest.approx(np.log(p / (1 - p)), rel=1e-6)
    assert log_odds(np.array([0.0]))[0] == pytest.approx(24 * np.log(2))
    assert log_odds(np.array([1e-9]))[0] == log_odds(np.array([0.0]))[0]
    assert log_odds(np.array([-1e-4], np.float32))[0] == pytest.approx(np.log(1 / np.expm1(1e-4)), rel=1e-3)
