"""The tests of an audit beside slow, obvious ones: permutations, scipy's for two samples, the rule of Holm by hand."""

from itertools import pairwise, permutations

import numpy as np
import pytest
from scipy import stats

from vlx.auditing.statistics import above, above_nothing, holm, more_often, more_than_half, parting

RNG = np.random.default_rng(0)


def test_holm_is_the_rule_as_it_is_written() -> None:
    p = np.array([0.02, np.nan, 0.004, 0.3, 0.011])
    order = sorted(value for value in p if value == value)
    expected, reached = {}, 0.0
    for place, value in enumerate(order):
        reached = max(reached, min(1.0, value * (len(order) - place)))
        expected[value] = reached
    adjusted = holm(p)
    assert np.isnan(adjusted[1])
    assert [adjusted[n] for n in (0, 2, 3, 4)] == pytest.approx([expected[p[n]] for n in (0, 2, 3, 4)])


def test_one_stratum_is_fishers_exact_test_one_sided() -> None:
    for seed in range(5):
        rng = np.random.default_rng(seed)
        there, said = rng.random(40) < 0.4, rng.random(40) < 0.3
        table = [[(there & said).sum(), (there & ~said).sum()], [(~there & said).sum(), (~there & ~said).sum()]]
        expected = stats.fisher_exact(table, alternative="greater").pvalue
        assert more_often(there, said, np.zeros(40, int), np.arange(40)) == pytest.approx(expected)


def test_strata_are_permuted_each_by_itself() -> None:
    there = np.array([1, 1, 0, 0, 1, 0, 0], bool)
    said = np.array([1, 0, 0, 1, 1, 0, 0], bool)
    strata = np.array([0, 0, 0, 0, 1, 1, 1])
    observed, count, more = int((there & said).sum()), 0, 0
    for first in permutations(range(4)):
        for second in permutations(range(4, 7)):
            count += 1
            more += int((there[[*first, *second]] & said).sum()) >= observed
    assert more_often(there, said, strata, np.arange(7)) == pytest.approx(more / count)


def test_less_often_is_not_more_often() -> None:
    there = np.arange(60) < 30
    assert more_often(there, ~there, np.zeros(60, int), np.arange(60)) == pytest.approx(1.0)
    assert more_often(there, there, np.zeros(60, int), np.arange(60)) < 1e-10


def test_a_mixture_of_strata_is_no_effect() -> None:
    """In each stratum it is said as often with it as without; in both together more often (Simpson)."""
    there = np.r_[np.ones(80), np.zeros(20), np.ones(20), np.zeros(80)].astype(bool)
    said = np.r_[np.ones(40), np.zeros(40), np.ones(10), np.zeros(10), np.zeros(100)].astype(bool)
    strata = np.r_[np.zeros(100, int), np.ones(100, int)]
    assert more_often(there, said, np.zeros(200, int), np.arange(200)) < 1e-4
    assert more_often(there, said, strata, np.arange(200)) > 0.5


def test_rows_of_one_picture_do_not_count_as_many() -> None:
    there = np.arange(12) < 6
    said = np.r_[np.ones(5), 0, 1, np.zeros(5)].astype(bool)
    alone = more_often(there, said, np.zeros(12, int), np.arange(12))
    ten = np.repeat(np.arange(12), 10)
    together = more_often(there[ten], said[ten], np.zeros(120, int), ten)
    assert together > alone / 10 and together > 100 * more_often(
        there[ten], said[ten], np.zeros(120, int), np.arange(120)
    )


def test_nothing_to_compare_is_no_test() -> None:
    rows = np.arange(10)
    assert np.isnan(more_often(np.ones(10, bool), rows < 5, np.zeros(10, int), rows))
    assert np.isnan(more_often(rows < 5, np.zeros(10, bool), np.zeros(10, int), rows))


def test_above_is_welchs_test_where_all_is_one_stratum() -> None:
    first, second = RNG.normal(0.4, 1, 60), RNG.normal(0, 2, 80)
    values, others = np.full(140, np.nan), np.full(140, np.nan)
    values[:60], others[60:] = first, second
    tested = above(values, others, np.zeros(140, int), np.arange(140))
    welch = stats.ttest_ind(first, second, equal_var=False, alternative="greater")
    assert tested.effect == pytest.approx(first.mean() - second.mean())
    assert tested.effect / tested.error == pytest.approx(welch.statistic, rel=0.02)
    assert tested.p == pytest.approx(welch.pvalue, rel=0.2)
    assert tested.interval[0] < tested.effect < tested.interval[1]


def test_above_pairs_what_is_of_one_picture() -> None:
    shared = RNG.normal(0, 10, 50)
    tested = above(shared + 1 + RNG.normal(0, 0.1, 50), shared, np.zeros(50, int), np.arange(50))
    assert tested.p < 1e-10 and tested.error < 0.1


def test_above_compares_within_strata() -> None:
    """The first stratum has high values and mostly the first side: no effect in either."""
    noise = RNG.normal(0, 1, 400)
    there = np.r_[np.arange(200) < 160, np.arange(200) < 40]
    strata = np.repeat([0, 1], 200)
    values = noise + 5 * (strata == 0)
    split = np.where(there, values, np.nan), np.where(there, np.nan, values)
    assert above(*split, np.zeros(400, int), np.arange(400)).p < 1e-6
    assert abs(above(*split, strata, np.arange(400)).effect) < 0.4


def test_the_error_is_over_pictures_and_not_over_answers() -> None:
    values = RNG.normal(0.3, 1, 30)
    ten = np.repeat(np.arange(30), 10)
    alone, together = above_nothing(values, np.arange(30)), above_nothing(values[ten], ten)
    assert together.error == pytest.approx(alone.error)
    assert together.p == pytest.approx(alone.p)
    assert alone.p == pytest.approx(stats.ttest_1samp(values, 0, alternative="greater").pvalue)


def test_below_is_not_above() -> None:
    assert above_nothing(np.array([-1.0, -1.1, -0.9]), np.arange(3)).p > 0.9
    assert above_nothing(np.array([-1.0, -1.0]), np.arange(2)).p == 1.0
    assert above_nothing(np.array([1.0, 1.0]), np.arange(2)).p == 0.0


def test_one_picture_tells_nothing() -> None:
    assert np.isnan(above_nothing(np.array([1.0, 2.0]), np.zeros(2, int)).p)
    assert np.isnan(above_nothing(np.array([np.nan]), np.zeros(1, int)).effect)
    assert np.isnan(above(np.array([1.0]), np.array([np.nan]), np.zeros(1, int), np.zeros(1, int)).p)


def test_more_than_half_counts_pictures() -> None:
    hits = np.r_[np.ones(30), np.zeros(3)].astype(bool)
    assert more_than_half(hits, np.arange(33)) == pytest.approx(stats.binomtest(30, 33, alternative="greater").pvalue)
    assert more_than_half(hits, np.r_[np.zeros(30, int), np.arange(1, 4)]) > 0.9
    assert np.isnan(more_than_half(np.array([True, False]), np.zeros(2, int)))


def test_parting_is_the_best_of_all_cuts() -> None:
    for seed in range(5):
        values = np.random.default_rng(seed).integers(0, 12, 30) / 10
        known = sorted(set(values.tolist()))
        cuts = [(low + high) / 2 for low, high in pairwise(known)]
        within = [sum(side.var() * len(side) for side in (values[values > c], values[values <= c])) for c in cuts]
        assert parting(values) == pytest.approx(cuts[int(np.argmin(within))])
    assert parting(np.array([0.3, 0.3])) == 0.3 and parting(np.zeros(0)) == 0.0


def test_the_interval_is_students_of_so_many_pictures() -> None:
    values = RNG.normal(1, 2, 25)
    low, high = stats.t.interval(0.95, 24, values.mean(), stats.sem(values))
    assert above_nothing(values, np.arange(25)).interval == pytest.approx((low, high))


def test_strata_weigh_by_what_can_be_compared_in_them() -> None:
    """By Mantel and Haenszel: n·m/(n+m); here 1·3/4 and 2·2/4, of effects 4 and 1."""
    values = np.array([5.0, *[np.nan] * 3, 2.0, 2.0, *[np.nan] * 2])
    others = np.array([np.nan, *[1.0] * 3, *[np.nan] * 2, 1.0, 1.0])
    strata = np.array([0] * 4 + [1] * 4)
    assert above(values, others, strata, np.arange(8)).effect == pytest.approx((0.75 * 4 + 1 * 1) / 1.75)
