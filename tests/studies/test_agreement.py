"""Fleiss' κ and intervals over people and pictures, beside the published example and slow second computations."""

import itertools

import numpy as np
import pytest

from vlx.evaluation.intervals import drawn_pictures
from vlx.studies import agreement
from vlx.studies.agreement import Ratings, TwoWays, fleiss_kappa, interval

PUBLISHED = [  # Fleiss 1971 as textbooks have it: 10 things, 5 classes, 14 raters; κ = .210
    [0, 0, 0, 0, 14],
    [0, 2, 6, 4, 2],
    [0, 0, 3, 5, 6],
    [0, 3, 9, 2, 0],
    [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0],
    [3, 2, 6, 3, 0],
    [2, 5, 3, 2, 2],
    [6, 5, 2, 1, 0],
    [0, 2, 2, 3, 7],
]


def test_kappa_is_the_published_one() -> None:
    assert fleiss_kappa(PUBLISHED) == pytest.approx(0.210, abs=5e-4)


def slow_kappa(counts: list[list[int]]) -> float:
    """By pairs of raters."""
    raters = [[chosen for chosen, count in enumerate(row) for _ in range(count)] for row in counts]
    raters = [row for row in raters if len(row) > 1]
    agreed = np.mean([np.mean([a == b for a, b in itertools.permutations(row, 2)]) for row in raters])
    every = [chosen for row in raters for chosen in row]
    by_chance = sum((every.count(chosen) / len(every)) ** 2 for chosen in set(every))
    return float((agreed - by_chance) / (1 - by_chance))


@pytest.mark.parametrize("counts", [PUBLISHED, [[2, 1], [4, 0], [1, 0], [0, 2]], [[1, 1, 1], [3, 0, 2]]])
def test_kappa_by_pairs_of_raters(counts: list[list[int]]) -> None:
    assert fleiss_kappa(counts) == pytest.approx(slow_kappa(counts))


@pytest.mark.parametrize("counts", [[[1, 0], [0, 1]], [[3, 0], [2, 0]], np.zeros((0, 2))])
def test_kappa_is_not_known_where_nothing_can_be_compared(counts: list[list[int]]) -> None:
    assert np.isnan(fleiss_kappa(counts))


def drawn_ratings(people: int, pictures: int, seed: int, share: float = 1.0) -> Ratings:
    """Ratings whose true mean is 0: a part by the person, a part by the picture, and noise."""
    rng = np.random.default_rng(seed)
    of_people, of_pictures = rng.normal(size=people), rng.normal(size=pictures)
    values = of_people[:, None] + of_pictures + rng.normal(size=(people, pictures))
    person, picture = np.nonzero(rng.random((people, pictures)) < share)
    return Ratings(values[person, picture], person, picture)


def test_draws_are_those_of_a_loop() -> None:
    ratings = drawn_ratings(5, 7, 0, share=0.6)
    means = TwoWays(5, 7, draws=20).means(ratings)
    people, pictures = (drawn_pictures(n, 20, seed) for n, seed in zip((5, 7), agreement.SEEDS, strict=True))
    for number, mean in enumerate(means):
        times = people[number, ratings.people] * pictures[number, ratings.pictures]
        assert mean == pytest.approx(np.repeat(ratings.values, times.astype(int)).mean())


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    held, alone = 0, 0
    for seed in range(100):
        ratings = drawn_ratings(12, 15, seed)
        low, high = interval(TwoWays(12, 15, draws=200).means(ratings))
        held += low <= 0 <= high
        same_people = Ratings(ratings.values, np.zeros_like(ratings.people), ratings.pictures)
        low, high = interval(TwoWays(1, 15, draws=200).means(same_people))
        alone += low <= 0 <= high
    assert held >= 90
    assert alone < 85  # who draws pictures alone takes these people for all


def test_several_intervals_are_wider_and_none_is_told_of_equal_answers() -> None:
    means = TwoWays(6, 6).means(drawn_ratings(6, 6, 3))
    (low, high), (lower, higher) = interval(means), interval(means, among=3)
    assert lower < low < high < higher
    assert np.isnan(interval(np.ones(50))).all()
    assert np.isnan(interval(np.full(50, np.nan))).all()


def test_what_is_not_known_is_left_out() -> None:
    ratings = Ratings(np.array([1.0, np.nan, 0.0]), np.array([0, 0, 1]), np.array([0, 1, 0]))
    assert ratings.mean == 0.5
    assert np.nanmax(TwoWays(2, 2).means(ratings)) == 1.0
