"""How far other pictures move an answer, on scenes painted by hand: every figure once more, in NumPy."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image

from tests.evaluation.drawn import interval
from tests.painted import ANSWERS, Painted, answers, as_seen, logprobs, painted, painting, scene, shown
from vlx import evaluation
from vlx.evaluation import Result
from vlx.evaluation.metrics.looking import roc_area
from vlx.pictures.edits import made_of
from vlx.scenes.scene import Scene

MADE, OTHERS = "looked, references of the picture", "looked, other scenes"
SWAPS = range(10_900_000, 10_900_004)  # the drawn scenes that stand for some other picture
BIASED = ("texture", "count", "relation", "scene")  # kinds of question that the biased model was misled on


def others() -> dict[int, Scene]:
    """Four pictures that are nothing like the painted ones: one after the other in the place of a drawn scene."""
    colours = ((200, 20, 20), (10, 30, 240), (120, 120, 120), (250, 240, 10))
    return {seed: scene(seed, painting(own), "snow", [], []) for seed, own in zip(SWAPS, colours, strict=True)}


def moved(question: str, image: Image.Image, gone: Sequence[Image.Image]) -> float:
    """The mean over pictures of how far log p of the answer that the model gives goes, each up to 1 nat."""
    W = answers(question)
    there = logprobs(W, as_seen(image))
    said = int(there.argmax())
    return float(np.mean([min(abs(there[said] - logprobs(W, as_seen(one))[said]), 1.0) for one in gone]))


def by_hand() -> dict[str, dict[str, list[float]]]:
    found: dict[str, dict[str, list[float]]] = {MADE: defaultdict(list), OTHERS: defaultdict(list)}
    for own in painted().values():
        for one in own.questions:
            found[MADE][one.kind].append(moved(one.text, own.image, list(made_of(own.image).values())))
            found[OTHERS][one.kind].append(moved(one.text, own.image, [other.image for other in others().values()]))
    return found


def measured(patch: pytest.MonkeyPatch) -> Result:
    shown(patch, {**painted(), **others()})
    return evaluation.looking(Painted("vqa"), 3, first=0)


def test_every_kind_of_question_is_moved_as_far_as_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted, result = by_hand(), measured(monkeypatch)
    rows = [row for row in result.rows if row.metric == "nats"]
    assert [(row.method, row.group) for row in rows] == [(name, kind) for name, own in wanted.items() for kind in own]
    for row in rows:
        values = wanted[row.method][row.group]
        pictures = [n for n, own in enumerate(painted().values()) for one in own.questions if one.kind == row.group]
        bounds = interval(values, pictures)
        assert (row.value, row.low, row.high) == pytest.approx((np.mean(values), *bounds)), row
        assert row.count == len(values)


def test_the_area_is_the_share_of_pairs_in_which_the_honest_question_is_moved_further(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    result = measured(monkeypatch)
    for row in (row for row in result.rows if row.metric == "auc"):
        own = by_hand()[row.method]
        biased, honest = (
            [value for kind, values in own.items() for value in values if (kind in BIASED) is misled]
            for misled in (True, False)
        )
        pairs = [(0.5 if a == b else float(b > a)) for a in biased for b in honest]
        assert row.value == pytest.approx(np.mean(pairs))
        assert (row.random, row.count) == (0.5, len(biased) + len(honest))
        assert row.value not in (0.5, 1 - row.value)
    assert [row.method for row in result.rows if row.metric == "auc"] == [MADE, OTHERS]


def area(low: Sequence[float], high: Sequence[float]) -> float:
    return roc_area(low, high)


def test_pairs_that_are_alike_count_half() -> None:
    assert area([1.0, 2.0], [2.0, 3.0]) == pytest.approx(3.5 / 4)
    assert area([1.0, 1.0], [1.0]) == 0.5


def test_this_world_can_tell_the_figures_apart() -> None:
    """Some are held at 1 nat and some lie below; the answers given are not all the true ones."""
    wanted = by_hand()
    for kind, values in wanted[MADE].items():
        assert np.mean(values) != pytest.approx(np.mean(wanted[OTHERS][kind]), abs=0.01)
    single = [
        moved(one.text, own.image, [other.image])
        for own in painted().values()
        for one in own.questions
        for other in others().values()
    ]
    assert max(single) == 1.0 > 0.5 > min(single)
    asked = [(one, as_seen(own.image)) for own in painted().values() for one in own.questions]
    said = [ANSWERS[int(logprobs(answers(one.text), pixels).argmax())] for one, pixels in asked]
    assert {answer == one.answer for answer, (one, _) in zip(said, asked, strict=True)} == {True, False}
