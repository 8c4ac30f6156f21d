"""Measures of place on classes with known places: their figures by hand, what is refused, a run made anew."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import vlx
from tests.evaluation.drawn import interval
from tests.explanation.test_map_check import COLOURS, colours
from vlx.data.example import Ask, Example, Truth
from vlx.errors import InputError
from vlx.evaluation import Record, Result, evaluate, read_run
from vlx.evaluation.figures import Telling
from vlx.evaluation.metrics import METRICS, human, named, rejection
from vlx.evaluation.metrics.pointing import pointing
from vlx.evaluation.metrics.trust import trust
from vlx.evaluation.records import Columns
from vlx.pictures.placement import Frame, Grid, Placement

NAMES = ("red", "green", "blue")
Place = tuple[int, int]


class Squares:
    """Pictures of squares of 40 pixels, each colour a class at its place; the other colours are absent."""

    name, licence, by_size = "squares", "none", False

    def __init__(self, *pictures: Mapping[str, Place], told: str = "mask") -> None:
        self.pictures, self.told = pictures, told

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, number: int) -> Example:
        shown = self.pictures[number]
        image = Image.new("RGB", (128, 128), (124, 116, 104))
        for name, (x, y) in shown.items():
            image.paste(COLOURS[NAMES.index(name)], (x, y, x + 40, y + 40))
        asks = [Ask(label=name, group="square", truth=self._truth(*place)) for name, place in shown.items()]
        absent = [Ask(label=name, group="square", truth=Truth(absent=True)) for name in NAMES if name not in shown]
        return Example(str(number), image, asks=asks, absent=absent)

    def _truth(self, x: int, y: int) -> Truth:
        if self.told == "boxes":
            return Truth(boxes=[(float(x), float(y), 40.0, 40.0)])
        if self.told == "human":
            return Truth(human=np.pad(np.ones((5, 5)), ((y // 8, 11 - y // 8), (x // 8, 11 - x // 8))))
        mask = np.zeros((128, 128), bool)
        mask[y : y + 40, x : x + 40] = self.told == "mask"
        return Truth(mask)

    def digest(self) -> str:
        return f"squares {self.pictures} {self.told}"


TWO = ({"red": (8, 40), "green": (72, 40)}, {"green": (8, 8), "blue": (80, 80)}, {"blue": (40, 8), "red": (40, 80)})
WISH: dict[str, Any] = {"methods": ["hirescam"], "targets": ["logit"]}


def told(result: Result, metric: str, group: str = "square") -> Any:
    return next(row for row in result.rows if (row.metric, row.group) == (metric, group))


def test_a_map_that_lies_on_its_square_scores_best_in_every_measure_of_place() -> None:
    names = ["energy", "in-out", "localization", "maxbox", "seeds", "discrimination", "pointing-rejection"]
    result = evaluate(colours(), Squares(*TWO), metrics=names, **WISH)
    assert told(result, "energy").value > 0.85
    assert told(result, "in-out").value > 30
    for name in ("localization", "localization top5", "maxbox", "discrimination", "pointing-rejection"):
        assert told(result, name).value == 1, name
    assert told(result, "seeds").value > 0.8
    assert told(result, "seeds precision").value > 0.95
    for name in ("energy", "in-out", "localization", "maxbox", "seeds"):
        row = told(result, name)
        assert row.ahead[1] > 0 and row.over_random[1] > 0, name
        assert row.low <= row.value <= row.high
    assert 1 / 2 <= told(result, "localization top1").value < 1, "one of two classes is what it says"
    assert told(result, "in-out").random == pytest.approx(1, abs=0.3)
    assert told(result, "discrimination").count == 6
    assert told(result, "pointing-rejection hits").value == told(result, "pointing-rejection rejected").value == 1


def test_boxes_stand_for_masks_and_masks_for_the_box_around_them() -> None:
    for name in ("energy", "in-out", "localization"):
        data = [Squares(*TWO, told=one) for one in ("mask", "boxes")]
        masks, boxes = (evaluate(colours(), one, metrics=[name], **WISH) for one in data)
        assert masks.rows == boxes.rows


def test_people_who_looked_at_the_square_agree_with_a_map_of_it() -> None:
    data = Squares(*TWO, told="human")
    result = evaluate(colours(), data, metrics=["hat"], **WISH)
    row = told(result, "hat")
    assert row.value > 0.5 > row.random
    with pytest.raises(InputError, match=r"^--metrics energy needs masks or boxes of what is asked about; squares"):
        evaluate(colours(), data, metrics=["energy"], **WISH)
    with pytest.raises(InputError, match=r"^--metrics hat needs maps of where people looked; squares tells none"):
        evaluate(colours(), Squares(*TWO), metrics=["hat"], **WISH)


def test_parts_of_a_picture_are_means_of_its_pixels() -> None:
    rng = np.random.default_rng(0)
    placement = Placement(Grid.half_pixel((5, 7), (224, 224)), Frame.whole((28 * 4, 28 * 6), (224, 224)))
    cells = rng.random((5, 7))
    painted = placement.paint(cells).astype(float)
    blocks = painted.reshape(14, 8, 14, 12).mean((1, 3))
    np.testing.assert_allclose(human.parts_of(cells, placement), blocks, atol=2e-3)
    looked = rng.random((28, 42))
    np.testing.assert_allclose(human.people_of(looked), looked.reshape(14, 2, 14, 3).mean((1, 3)))
    small = rng.random((2, 7))
    np.testing.assert_allclose(human.people_of(small), small.repeat(7, 0).repeat(2, 1))


def test_what_has_no_pixels_is_left_out_and_counted() -> None:
    bare = Squares(*TWO, told="nothing")
    with pytest.raises(InputError, match="nothing to measure"):
        evaluate(colours(), bare, metrics=["energy"], **WISH)

    class Outside(Squares):
        def __getitem__(self, number: int) -> Example:
            example = super().__getitem__(number)
            away = Ask(label="red", group="square", truth=Truth(boxes=[(200.0, 10.0, 30.0, 30.0)]))
            return Example(example.key, example.image, asks=[*example.asks, away])

    result = evaluate(colours(), Outside(*TWO), metrics=["energy", "localization"], **WISH)
    assert told(result, "energy").count == 6
    assert "3 asks left out: their masks have no pixels (square …)" in result.notes


def test_one_thing_a_picture_cannot_be_told_apart() -> None:
    result = evaluate(colours(), Squares({"red": (8, 40)}), metrics=["discrimination"], **WISH)
    assert result.rows == ()
    assert "discrimination: no picture shows two things that are asked for: nothing to tell apart" in result.notes


def test_rejection_needs_two_halves_and_something_absent() -> None:
    single = evaluate(colours(), Squares(TWO[0]), metrics=["pointing-rejection"], **WISH)
    assert single.rows == ()
    assert any(note.endswith("figures of the other; take two or more") for note in single.notes)
    result = evaluate(vlx.load("scenes/captioner"), 2, metrics=["pointing-rejection"], methods=["hirescam"], first=0)
    assert {row.group for row in result.rows} == {"object"}
    assert [row.metric.partition(" ")[2] for row in result.rows] == ["", "hits", "rejected", "right"]


def records(maxima: Sequence[Sequence[float]], present: Sequence[bool], hits: Sequence[bool]) -> list[Record]:
    """One picture after the other, asked for the same things; a hit is one where it is present."""
    return [
        Record(
            *(str(picture), ask, "thing", "made", "logit", rejection.NAME, float(hits[ask] and there)),
            beside={"max": own[ask], "present": int(there)},
        )
        for picture, own in enumerate(maxima)
        for ask, there in enumerate(present)
    ]


def rejected_by_hand(own: Sequence[Record], at: float) -> tuple[float, float]:
    """Hits of what is present that are kept, and absent things that are rejected."""
    here, gone = ([one for one in own if one.beside["present"] == there] for there in (1, 0))
    kept = sum(one.value == 1 and one.beside["max"] >= at for one in here) / len(here)
    return kept, sum(one.beside["max"] < at for one in gone) / len(gone)


def test_the_threshold_is_of_the_first_half_and_the_figures_are_of_the_second(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    maxima = [[*(rng.random(2) + 0.6 - 0.4 * (n > 4)), *(rng.random(3) * (0.5 if n > 4 else 1))] for n in range(9)]
    made = records(maxima, (True, True, False, False, False), (True, False, False, False, False))
    first, second = ([one for one in made if (int(one.key) < 5) == half] for half in (True, False))
    tried = sorted({one.beside["max"] for one in first})
    best = max(tried, key=lambda at: (sum(rejected_by_hand(first, at)), -at))
    wrong = max(tried, key=lambda at: sum(rejected_by_hand(second, at)))
    hits, gone = rejected_by_hand(second, best)
    assert (hits, gone) != rejected_by_hand(second, wrong)

    def figures() -> list[float]:
        return [row.value for row in METRICS[rejection.NAME].figures(rejection.NAME, Columns(made), Telling())]

    wanted = [(hits + gone) / 2, hits, gone, (2 * hits + 3 * gone) / 5]
    assert figures() == pytest.approx(wanted)
    halves = rejection._told
    monkeypatch.setattr(rejection, "_told", lambda columns: halves(columns)._replace(first=~halves(columns).first))
    assert figures() != pytest.approx(wanted)


def in_out(pairs: Sequence[tuple[float, float]]) -> list[Record]:
    return [
        Record(str(n // 2), n % 2, "box", "made", "logit", "in-out", 0.0, beside={"inside": inside, "outside": outside})
        for n, (inside, outside) in enumerate(pairs)
    ]


def test_a_ratio_is_one_of_means_and_beside_it_stands_the_median_of_ratios() -> None:
    pairs = [(4.0, 1.0), (1.0, 1.0), (3.0, 2.0), (0.5, 0.0), (0.0, 0.0), (2.0, 0.5)]
    ratio, median = METRICS["in-out"].figures("in-out", Columns(in_out(pairs)), Telling())
    assert ratio.value == pytest.approx(10.5 / 4.5)
    assert median.value == pytest.approx(4.0), "of 1, 1.5, 4, 4 and one without end; 0 / 0 is none"
    whole = [sum(one[:2]) for one in zip(*[iter([inside for inside, _ in pairs])] * 2, strict=True)]
    drawn = np.random.default_rng(0).integers(0, 3, (1000, 3))
    below = [sum(one[:2]) for one in zip(*[iter([outside for _, outside in pairs])] * 2, strict=True)]
    with np.errstate(divide="ignore", invalid="ignore"):
        again = np.array(whole)[drawn].sum(1) / np.array(below)[drawn].sum(1)
    low, high = np.percentile(again[np.isfinite(again)], [2.5, 97.5])
    assert (ratio.low, ratio.high) == pytest.approx((low, high))


def test_the_best_threshold_is_that_of_all_data_and_not_of_each_picture() -> None:
    fits = [[0.1, 0.2], [0.2], [0.5], [0.2, 0.5], []]
    made = [
        Record(str(n), 0, "box", "made", "logit", "maxbox", float(bool(own)), beside={"fits": own})
        for n, own in enumerate(fits)
    ]
    (best,) = METRICS["maxbox"].figures("maxbox", Columns(made), Telling())
    assert best.value == pytest.approx(3 / 5)


def test_groups_are_told_apart_and_together() -> None:
    pairs = [*[(4.0, 1.0)] * 2, *[(1.0, 1.0)] * 2]
    made = [replace(one, group="first" if one.key == "0" else "second") for one in in_out(pairs)]
    rows = {(row.group, row.metric): row.value for row in METRICS["in-out"].figures("in-out", Columns(made), Telling())}
    assert rows["first", "in-out"] == pytest.approx(4)
    assert rows["second", "in-out"] == pytest.approx(1)
    assert rows["all", "in-out"] == rows["all", "in-out median"] == pytest.approx(2.5)
    pooled = list(METRICS["in-out"].figures("in-out", Columns(made), Telling(by_size=True)))
    assert pooled[0].value == pytest.approx(2.5)


def test_a_second_figure_of_each_record_has_intervals_of_its_own() -> None:
    made = [
        Record(
            str(n // 2),
            n % 2,
            "box",
            "made",
            "logit",
            "localization",
            float(n % 3 == 0),
            beside={"rank": 1 + 2 * (n % 4)},
        )
        for n in range(12)
    ]
    known, top1, top5 = METRICS["localization"].figures("localization", Columns(made), Telling())
    for row, most in ((known, 99), (top1, 1), (top5, 5)):
        values = [one.value * (one.beside["rank"] <= most) for one in made]
        assert (row.low, row.high) == pytest.approx(interval(values, [int(one.key) for one in made]))
        assert row.value == pytest.approx(np.mean(values))


@pytest.mark.parametrize(("tolerance", "hit"), [(0, False), (4.9, False), (5, True), (6, True)])
def test_a_point_may_lie_beside_a_thing(tolerance: float, hit: bool) -> None:
    class Beside(Squares):
        """The peak of red is at its square; what is asked for lies a few pixels away, up and to the left."""

        def __getitem__(self, number: int) -> Example:
            example = super().__getitem__(number)
            y, x = peak
            mask = np.zeros((128, 128), bool)
            mask[y - 4, x - 3] = True
            return Example(example.key, example.image, asks=[Ask(label="red", group="square", truth=Truth(mask))])

    seen: list[Any] = []

    def measure(context: Any) -> Mapping[Any, float]:
        seen.append(context)
        return {}

    from vlx.evaluation import Metric

    evaluate(colours(), Squares(*TWO[:1]), metrics=[Metric("seen", "", measure)], **WISH)
    peak = tuple(round(at) for at in seen[0].maps["hirescam", "logit"].point)
    row = told(evaluate(colours(), Beside(*TWO[:1]), metrics=[pointing(tolerance)], **WISH), pointing(tolerance).name)
    assert row.value == hit
    wide = sum((y * y + x * x <= tolerance**2) for y in range(-6, 7) for x in range(-6, 7))
    assert row.random == pytest.approx(wide / 128**2)


def test_a_distance_is_no_other_number_and_stands_in_the_name() -> None:
    assert (pointing(15).name, pointing().name) == ("pointing-15px", "pointing")
    assert named("pointing-2.5px").name == "pointing-2.5px"  # type: ignore[union-attr]
    assert named("pointing-px") is None
    for wrong in (-1, float("nan"), float("inf")):
        with pytest.raises(InputError, match=r"; give how many pixels beside a thing still count as a hit, from 0$"):
            pointing(wrong)


def test_two_models_are_compared_where_both_are_right() -> None:
    worse = colours()
    with torch.no_grad():
        worse.model.get_parameter("conv.bias").add_(0.3)  # what is grey counts, too
    data = Squares(*TWO, {"red": (40, 40)})
    result = evaluate(colours(), data, metrics=[trust(worse)], **WISH)
    here, there = (evaluate(task, data, metrics=["energy"], **WISH) for task in (colours(), worse))
    row = told(result, "trust")
    assert row.value > 0.1
    assert row.unmeasured, "of two classes in a picture one is what the model says"
    assert told(here, "energy").value > told(there, "energy").value
    same = told(evaluate(colours(), data, metrics=[trust(colours())], **WISH), "trust")
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_trust_needs_another_model_of_the_same_kind() -> None:
    with pytest.raises(InputError, match=r"^--metrics trust compares two models; name the other one: --against MODEL"):
        evaluate(colours(), Squares(*TWO), metrics=["trust"], **WISH)
    with pytest.raises(InputError, match=r"^--metrics trust: .* does classification and .* captioning; give a model"):
        evaluate(colours(), Squares(*TWO), metrics=[trust(vlx.load("scenes/captioner"))], **WISH)


def test_the_table_is_made_anew_from_the_file_of_a_run(tmp_path: Path) -> None:
    names = ["pointing-3px", "pointing-rejection", "in-out", "localization", "maxbox", "seeds"]
    result = evaluate(colours(), Squares(*TWO), metrics=names, out=tmp_path / "run", **WISH)
    assert repr(read_run(tmp_path / "run").rows) == repr(result.rows)


@pytest.mark.parametrize("name", ["pointing", "energy"])
def test_quantus_measures_the_same(name: str) -> None:
    quantus: Any = pytest.importorskip("quantus")
    seen: list[Any] = []

    def measure(context: Any) -> Mapping[Any, float]:
        seen.append(context)
        return {}

    from vlx.evaluation import Metric

    evaluate(colours(), Squares(*TWO), metrics=[Metric("seen", "", measure)], **WISH)
    theirs = (
        quantus.PointingGame(abs=False, normalise=False, disable_warnings=True)
        if name == "pointing"
        else quantus.RelevanceMassAccuracy(abs=False, normalise=False, disable_warnings=True)
    )
    for context in seen:
        one = context.maps["hirescam", "logit"]
        found = theirs(
            model=colours().model,
            x_batch=context.inputs[None].numpy(),
            y_batch=np.array([0]),
            a_batch=one.painted[None, None].astype(np.float64),
            s_batch=context.mask[None, None],
            device="cpu",
        )
        ours: Callable[..., Any] | None = METRICS[name].measure
        assert ours is not None
        assert ours(context)["hirescam", "logit"] == pytest.approx(float(found[0]), rel=1e-5)
