"""The test of names against the formula, one permutation at a time, and on names that are planted."""

from collections.abc import Sequence

import numpy as np
import pytest

from vlx.probes.name_marks import LEVEL, PERMUTATIONS, SEED, name_marks

K = 60


def slow(names: Sequence[str | None], c: np.ndarray, active: np.ndarray) -> dict[str, float]:
    """By the letter: z for each name, the largest under each of 500 permutations of names, p."""
    v = [np.sqrt(max(one, 0.0)) if on else 0.0 for one, on in zip(c, active, strict=True)]
    mean = sum(v) / len(v)
    sd = np.sqrt(sum((one - mean) ** 2 for one in v) / len(v))

    def z(named: Sequence[str | None]) -> dict[str, float]:
        found = {}
        for name in {one for one in named if one}:
            own = [k for k, one in enumerate(named) if one == name]
            n = len(own)
            if sum(v[k] > 0 for k in own) >= 2:
                spread = sd * np.sqrt(n * (1 - n / len(v)) * len(v) / (len(v) - 1))
                found[name] = (sum(v[k] for k in own) - n * mean) / spread
        return found

    observed = z(names)
    tiled = np.tile(np.arange(len(v)), (PERMUTATIONS, 1))
    orders = np.random.default_rng(SEED).permuted(tiled, axis=1)
    # Unit k's value moves where names are grouped in the order that they first appear, singles left out.
    listed = [name for name in dict.fromkeys(names) if name and list(names).count(name) > 1]
    places = [k for name in listed for k, one in enumerate(names) if one == name]
    labels = [one for name in listed for one in [name] * list(names).count(name)]
    highest = []
    for order in orders:
        permuted: list[str | None] = [None] * len(v)
        for place, label in zip(places, labels, strict=True):
            permuted[order[place]] = label
        highest.append(max(z(permuted).values(), default=-np.inf))
    return {
        name: (1 + sum(one >= value - 1e-9 for one in highest)) / (PERMUTATIONS + 1) for name, value in observed.items()
    }


def world(seed: int) -> tuple[list[str | None], np.ndarray, np.ndarray]:
    drawn = np.random.default_rng(seed)
    names = [None if drawn.random() < 0.2 else f"c{drawn.integers(9)}" for _ in range(K)]
    return [*names[:-1], "alone"], drawn.normal(size=(3, K)), drawn.random(K) < 0.7


@pytest.mark.parametrize("seed", range(3))
def test_p_is_what_the_formula_gives(seed: int) -> None:
    names, contribution, active = world(seed)
    found = name_marks(names, contribution, active)
    for one, c in zip(found, contribution, strict=True):
        wanted = slow(names, c, active)
        assert one.keys() == wanted.keys()
        assert one == pytest.approx(wanted, abs=1e-12)


def test_a_name_that_holds_together_is_marked_and_one_that_rests_on_one_unit_is_not_tested() -> None:
    names = [f"c{unit // 6}" for unit in range(K)]
    drawn = np.random.default_rng(0)
    c = drawn.uniform(0, 0.1, K)
    c[:6] = 1.0
    c[6:12] = -1.0
    c[6] = 5.0
    (found,) = name_marks(names, c[None], np.ones(K, bool))
    assert found["c0"] <= LEVEL
    assert "c1" not in found, "one of its units speaks for the word"
    assert all(p > LEVEL for name, p in found.items() if name != "c0")
    (silent,) = name_marks(names, c[None], np.arange(K) >= 5)
    assert "c0" not in silent, "silent units say nothing"


def test_names_that_are_random_get_a_mark_as_often_as_the_level_says() -> None:
    drawn = np.random.default_rng(1)
    c = drawn.exponential(size=(1, 120)) ** 2 * (drawn.random((1, 120)) < 0.6)
    base = [f"c{unit % 17}" for unit in range(120)]
    marked = 0
    for _ in range(150):
        names = [base[k] for k in drawn.permutation(120)]
        marked += min(name_marks(names, c, np.ones(120, bool))[0].values()) <= LEVEL
    assert marked / 150 <= 0.10, "any of 17 names, by chance"


def test_swapped_labels_change_nothing_as_it_tests_the_grouping() -> None:
    names, contribution, active = world(5)
    swapped = [None if name is None else {"c0": "c1", "c1": "c0"}.get(name, name) for name in names]
    for one, other in zip(
        name_marks(names, contribution, active), name_marks(swapped, contribution, active), strict=True
    ):
        assert {k: v for k, v in one.items() if k > "c1"} == {k: v for k, v in other.items() if k > "c1"}
        assert (one.get("c0"), one.get("c1")) == (other.get("c1"), other.get("c0"))


def test_the_test_leaves_random_state_alone_and_is_the_same_every_time() -> None:
    names, contribution, active = world(2)
    before = np.random.get_state()[1].tolist()  # type: ignore[index]
    assert name_marks(names, contribution, active) == name_marks(names, contribution, active)
    assert np.random.get_state()[1].tolist() == before  # type: ignore[index]


def test_without_names_or_evidence_nothing_is_tested() -> None:
    assert name_marks([None, "a", "b"], np.ones((2, 3)), np.ones(3, bool)) == [{}, {}]
    assert name_marks(["a"] * 4, np.zeros((1, 4)), np.ones(4, bool)) == [{}]
    assert name_marks(["a"] * 4, np.zeros((0, 4)), np.ones(4, bool)) == []
