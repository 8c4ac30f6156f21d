"""Figures from records: what is paired with what, which no mean of differences tells."""

import numpy as np
import pytest

from vlx.evaluation.figures import Telling, by_group
from vlx.evaluation.records import Columns, Record
from vlx.evaluation.result import MACRO

BASE = np.random.default_rng(0).random((8, 3))  # of eight pictures, three asks each


def columns(groups: tuple[str, str, str] = ("dog", "dog", "dog")) -> Columns:
    """A method .1 above the centre and .3 above the random map at every ask, which come in other orders."""
    asked = [(picture, ask) for picture in range(8) for ask in range(3)]
    told = (
        ("gradcam", "logit", 0.3, asked),
        ("centre", "", 0.2, asked[::-1]),
        ("random", "", 0.0, asked[1::2] + asked[::2]),
    )
    return Columns(
        Record(str(picture), ask, groups[ask], method, target, "energy", float(BASE[picture, ask] + above))
        for method, target, above, order in told
        for picture, ask in order
    )


@pytest.mark.parametrize("groups", [("dog", "dog", "dog"), ("dog", "cat", "bird")])
def test_a_difference_is_of_the_very_same_ask(groups: tuple[str, str, str]) -> None:
    rows = list(by_group("energy", columns(groups), Telling()))
    assert {row.group for row in rows} == {*groups, *([MACRO] if len(set(groups)) > 1 else [])}
    for row in rows:
        assert row.ahead == pytest.approx((0.1, 0.1, 0.1)), "asks differ much more than the method from the centre"
        assert row.over_random == pytest.approx((0.3, 0.3, 0.3))
        assert row.high - row.low > 0.05


def test_an_ask_that_a_baseline_lacks_is_compared_with_nothing() -> None:
    records = [
        Record("a", 0, "dog", "gradcam", "logit", "energy", 0.9),
        Record("a", 1, "dog", "gradcam", "logit", "energy", 0.1),
        Record("a", 1, "dog", "centre", "", "energy", 0.3),
    ]
    (row,) = by_group("energy", Columns(records), Telling())
    assert row.ahead == pytest.approx((-0.2, -0.2, -0.2))
    assert row.value == pytest.approx(0.5)
