"""Who sees what: a Latin square of conditions, quotas, and checks of attention."""

from collections import Counter

import numpy as np
import pytest

from vlx.errors import InputError
from vlx.studies import allotment
from vlx.studies.allotment import PARTS, latin_squares


@pytest.mark.parametrize("count", [2, 4, 6])
def test_conditions_are_latin_squares(count: int) -> None:
    squares = latin_squares(4 * count + 1, count, np.random.default_rng(0))
    for group in range(count):
        met = Counter(squares[: 4 * count, group].tolist())
        assert met == dict.fromkeys(range(count), 4)
    assert all(sorted(conditions) == [*range(count)] for conditions in squares)
    assert latin_squares(0, count, np.random.default_rng(0)).shape == (0, count)


def test_neither_number_nor_group_tells_a_condition() -> None:
    """Over many draws every place of a square has every condition equally often, whatever its neighbours have."""
    drawn = np.stack([latin_squares(4, 4, np.random.default_rng(seed)) for seed in range(400)])
    for condition in range(4):
        assert abs((drawn == condition).mean(0) - 0.25).max() < 0.08
    after = np.stack([np.bincount(one[:, 1] - one[:, 0] + 3, minlength=7) for one in drawn]).sum(0)
    assert after[3] == 0
    assert (after[after > 0] > 100).all(), "what one group is shown does not tell what the next is"


def test_either_model_is_shown_equally_often_and_in_no_order() -> None:
    whose = [allotment.model_for(question) for question in range(90)]
    assert sum(whose) == 45
    assert whose[::2] not in ([0] * 45, [1] * 45)
    together = Counter(zip(latin_squares(90, 4, np.random.default_rng(0))[:, 0].tolist(), whose, strict=True))
    assert len(together) == 8  # no condition is one model's alone


@pytest.mark.parametrize(
    ("n", "parts", "wanted"),
    [
        (90, PARTS, {"which": 45, "reasonable": 30, "where": 15}),
        (1, PARTS, {"which": 1, "reasonable": 0, "where": 0}),
        (7, ("which", "where"), {"which": 6, "where": 1}),
        (90, ("which",), {"which": 90}),
    ],
)
def test_quotas_add_up(n: int, parts: tuple[str, ...], wanted: dict[str, int]) -> None:
    assert allotment.quotas(n, parts) == wanted


def test_a_picture_goes_to_the_part_that_lacks_most() -> None:
    wanted = {"which": 4, "reasonable": 2}
    assert allotment.next_part(wanted, {"which": 2, "reasonable": 0}, ["which", "reasonable"]) == "reasonable"
    assert allotment.next_part(wanted, {"which": 2, "reasonable": 2}, ["reasonable"]) is None


def test_parts_are_named_and_misspellings_told() -> None:
    assert allotment.parts_of(["where", "which"]) == ("which", "where")
    with pytest.raises(InputError, match="no part 'wich' of a study; close: which"):
        allotment.parts_of("wich")
    with pytest.raises(InputError, match="asks nothing"):
        allotment.parts_of([])


def test_of_three_checks_one_may_be_missed() -> None:
    checks = allotment.checks(90, np.random.default_rng(0))
    assert len(checks) == 4
    assert all(allotment.CHECK_WORDS[one.expected] in one.prompt for one in checks)
    assert [allotment.attentive(passed, 4) for passed in range(5)] == [False, False, False, True, True]
    assert not allotment.attentive(1, 2)
