"""Every map carries its check: cells away, the model asked again, beside random sets; against the slow way."""

import io
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import vlx
from tests.answerers import vqa as answerer
from tests.fakes import captioner, features_of, picture, prepare, slow_score
from tests.patchy import Meeting, Patchy
from vlx.errors import InputError
from vlx.explanation import map_check
from vlx.explanation.map_check import MapCheck, judged, random_sets, top
from vlx.methods.replay import without_cells
from vlx.pictures.placement import Grid
from vlx.pipeline.recommend import recommend
from vlx.probes.asked import lead, questions
from vlx.probes.map_trials import Trial, cell_falls, on_cells, tried
from vlx.protocol.targets import Query, Target, Term, softmax_read, word_target
from vlx.tasks.classification import Classifier

TEXT = "a red dog on grass"
COLOURS = ((230, 30, 30), (30, 200, 30), (30, 30, 230))
RANDOM = tuple(float(n) for n in range(20))  # 95th percentile 18.05, mean 9.5


def slow_edit(A: Tensor, cells: NDArray[np.bool_]) -> Tensor:
    """A [1, K, h, w] with the cells of a set at A's mean cell, one by one."""
    edited, mean = A.clone(), A.double().flatten(2).mean(2)[0].to(A.dtype)
    for y, x in zip(*np.nonzero(cells), strict=True):
        edited[0, :, y, x] = mean
    return edited


class Colours(nn.Module):
    """Red-, green-, blue-ness of each block of 8 × 8 pixels, then a linear head on the mean: [B, 3]."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.pool, self.head = nn.Conv2d(3, 3, 1), nn.AvgPool2d(8), nn.Linear(3, 3)
        self.body = nn.Sequential(self.conv, nn.ReLU(), self.pool)
        with torch.no_grad():
            self.conv.weight.copy_(torch.full((3, 3), -0.5).fill_diagonal_(1.0)[:, :, None, None])
            self.conv.bias.fill_(-0.1)  # type: ignore[union-attr]
            self.head.weight.copy_(torch.eye(3) * 60)
            self.head.bias.zero_()

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.body(images).mean((2, 3)))  # type: ignore[no-any-return]


def whole(image: Any) -> Tensor:
    return torch.from_numpy(np.asarray(image.convert("RGB").resize((128, 128))).copy()).permute(2, 0, 1).float() / 255


def squares(*colours: int) -> Any:
    """A picture 128 × 128 in the blank colour with a square of 40 pixels for each colour, side by side."""
    from PIL import Image

    image = Image.new("RGB", (128, 128), (124, 116, 104))
    for n, colour in enumerate(colours):
        image.paste(COLOURS[colour], (8 + 64 * n, 40, 48 + 64 * n, 80))
    return image


def colours(**options: Any) -> Classifier:
    return Classifier(Colours().eval(), "body", ["red", "green", "blue"], whole, **options)


# Sets of cells


@pytest.mark.parametrize("shape", [(16, 16), (7, 7), (1, 30), (5, 5), (24, 13)])
def test_random_sets_are_ten_scattered_and_ten_compact_of_the_same_size(shape: tuple[int, int]) -> None:
    size = map_check.count(shape)
    assert size == max(1, math.floor(shape[0] * shape[1] / 10 + 0.5))
    sets = random_sets(shape, size)
    assert sets.shape == (20, *shape)
    assert (sets.sum((1, 2)) == size).all()

    def spread(one: NDArray[np.bool_]) -> float:
        places = np.argwhere(one).astype(float)
        return float(((places - places.mean(0)) ** 2).sum())

    scattered, compact = ([spread(one) for one in half] for half in (sets[:10], sets[10:]))
    assert max(compact) < np.median(scattered) or size < 4
    assert len({one.tobytes() for one in sets}) > 10


def test_sets_are_the_same_each_time_and_leave_random_state_alone() -> None:
    task = captioner("state")
    np.random.seed(3)
    torch.manual_seed(3)
    before = np.random.get_state()[1].copy(), torch.get_rng_state()  # type: ignore[index]
    first = random_sets((7, 7), 5)
    vlx.explain(task, picture(), caption=TEXT)
    assert (first == random_sets((7, 7), 5)).all()
    assert (np.random.get_state()[1] == before[0]).all()  # type: ignore[index]
    assert (torch.get_rng_state() == before[1]).all()


def test_the_highest_cells_are_taken_and_ties_are_not_taken_in_raster_order() -> None:
    values = np.array([[0.0, 5.0, -1.0], [2.0, 0.0, 3.0]])
    assert np.argwhere(top(values, 3)).tolist() == [[0, 1], [1, 0], [1, 2]]
    flat = top(np.zeros((10, 10)), 10)
    assert flat.sum() == 10
    assert flat[0].sum() < 5, "not the first row"


# The rule


@pytest.mark.parametrize(
    ("own", "random", "most", "verdict"),
    [
        (19.5, RANDOM, -math.inf, "confirmed"),
        (18.04, RANDOM, -math.inf, "not confirmed"),  # below the 95th percentile
        (18.06, RANDOM, -math.inf, "confirmed"),
        (18.06, RANDOM, 26.63, "weak"),  # (18.06 − 9.5) / (26.63 − 9.5) < .5
        (18.06, RANDOM, 26.6, "confirmed"),
        (0.09, (0.0,) * 19 + (0.01,), -math.inf, "cannot be tested"),
        (0.11, (0.0,) * 19 + (0.01,), -math.inf, "confirmed"),
        (0.01, (0.0,) * 19 + (0.2,), -math.inf, "not confirmed"),
        (-0.02, (-0.5,) * 20, -math.inf, "not confirmed"),  # the score rises: nothing is lost
        (0.01, (-0.5,) * 20, -math.inf, "not confirmed"),
    ],
)
def test_verdicts(own: float, random: tuple[float, ...], most: float, verdict: str) -> None:
    check = judged(own, random, most=most)
    assert check.verdict == verdict
    assert check.confirmed == (verdict == "confirmed")
    assert check.holds == (verdict in ("confirmed", "weak"))
    assert str(check).startswith(f"{verdict}: ")
    assert len(str(check)) < 300
    spread = max(own, *random, most) - np.mean(random)
    assert check.share == pytest.approx((own - np.mean(random)) / spread)


def test_the_check_says_what_changed_and_by_how_much() -> None:
    check = judged(2.5, (-0.1, 0.2, 0.3), cells=5)
    assert str(check) == (
        "confirmed: log p changes by −2.50 nats without the 5 cells that the map ranks highest, by −0.30 to +0.10 "
        "without random ones"
    )
    rises = judged(2.5, (-0.1, 0.2, 0.3), cells=5, unit="lead", rises=True)
    assert "the lead changes by +2.50 nats" in str(rises)
    assert "by −0.10 to +0.30 without random ones" in str(rises)


# Against the slow way


@pytest.mark.parametrize("kind", ["first", "state", "attention", "logits", "unrolled", "in place"])
def test_falls_are_those_of_cells_taken_away_one_by_one(kind: str) -> None:
    task = captioner(kind, torch.float64)
    features = features_of(task, 0)
    prediction = task.predict(features, [Query(caption=TEXT)])[0]
    rng, asked = np.random.default_rng(0), questions(task, prediction, "logprob")
    maps = [Trial(one.likely, None, rng.normal(size=(4, 4)), -9.0) for one in asked]
    found = tried(task, features, maps)
    random = random_sets((4, 4), 2)
    for one, check in zip(maps, found, strict=True):

        def fall(cells: NDArray[np.bool_], one: Trial = one) -> float:
            whole, edited = (slow_score(task, A, one.target) for A in (features.A, slow_edit(features.A, cells)))
            return float((whole - edited).detach())

        order = np.argsort(-one.values.ravel())
        own = np.isin(np.arange(16), order[:2]).reshape(4, 4)
        others = [cells for cells in random if (cells != own).any()]
        assert check.cells == 2
        assert check.fall == pytest.approx(fall(own), abs=1e-9)
        assert list(check.random) == pytest.approx([fall(cells) for cells in others], abs=1e-9)
    assert {len(check.random) for check in found} <= {18, 19, 20}
    rising = tried(task, features, [replace(one, rises=True) for one in maps])
    assert [check.fall for check in rising] == pytest.approx([-check.fall for check in found])
    assert rising[0].random == pytest.approx([-value for value in found[0].random])


def test_the_sets_are_shared_by_the_words_and_the_vision_part_is_not_run_again() -> None:
    task = captioner("state", torch.float64)
    features = features_of(task, 0)
    prediction = task.predict(features, [Query(caption=TEXT)])[0]
    asked = questions(task, prediction, "logprob")
    rows: list[int] = []
    begin = task.begin

    def counting(A: Tensor, rest: Any = None) -> Any:
        rows.append(len(A))
        return begin(A, rest)

    task.begin = counting
    seen = len(task.cnn.seen)
    maps = np.random.default_rng(4).permuted(np.tile(np.arange(16.0), (len(asked), 1)), axis=1).reshape(-1, 4, 4)
    distinct = len({frozenset(np.argsort(values.ravel())[-2:].tolist()) for values in maps})
    tried(task, features, [Trial(one.likely, None, values, -9.0) for one, values in zip(asked, maps, strict=True)])
    assert sum(rows) == 1 + 20 + distinct
    assert len(task.cnn.seen) == seen


def test_log_p_and_lead_come_from_one_run_and_equal_sets_are_tried_once() -> None:
    task = captioner("state", torch.float64)
    features = features_of(task, 0)
    prediction = task.predict(features, [Query(caption=TEXT)])[0]
    asked = [one for one in questions(task, prediction, "logprob") if one.role == "word"]
    texts: list[int] = []
    step, read, logits = task.decoder.step, [], task.decoder.logits

    def stepping(tokens: Tensor, state: Any) -> Any:
        texts.append(len(tokens))
        return step(tokens, state)

    def reading(hidden: Tensor) -> Tensor:
        read.append(len(hidden))
        return logits(hidden)  # type: ignore[no-any-return]

    values = np.random.default_rng(0).normal(size=(4, 4))
    maps = [Trial(one.likely, lead(prediction, one), values, -9.0) for one in asked]
    assert all(one.lead is not None for one in maps)
    task.decoder.step, task.decoder.logits = stepping, reading
    both = tried(task, features, [*maps, *(replace(one, rises=True) for one in maps)])
    assert texts == [22] * len(asked), "21 shared rows and one for the set of all words, each unrolled once"
    assert read == [22 * len(asked)]
    alone = [tried(task, features, [one])[0] for one in maps]
    assert [check.fall for check in both[: len(maps)]] == pytest.approx([check.fall for check in alone], abs=1e-12)
    assert [check.unit for check in both[: len(maps)]] == [check.unit for check in alone]


def test_log_p_without_a_graph_is_that_of_double() -> None:
    rng = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(40, 3000, generator=rng)
    logits[::4, 7] += 40  # all but sure
    logits[1, :5] = -math.inf
    exact = logits.double().log_softmax(-1)
    found = softmax_read(logits, "logprob").double()
    assert torch.allclose(found, exact, rtol=3e-7, atol=2e-6)
    assert torch.allclose(found[::4, 7], exact[::4, 7], rtol=1e-5, atol=3e-15)  # in single they would be 0
    assert (found[1, :5] == -math.inf).all()
    assert 0 > float(found[0, 7]) > -1e-6
    assert torch.allclose(softmax_read(logits.clone().requires_grad_(), "logprob").double(), exact, atol=1e-5)
    logits[3, 0] = math.nan
    assert softmax_read(logits, "logprob")[3].isnan().all()


def test_a_chunk_of_rows_changes_nothing() -> None:
    task = captioner("attention", torch.float64)
    features = features_of(task, 0)
    prediction = task.predict(features, [Query(caption=TEXT)])[0]
    asked = [one.likely for one in questions(task, prediction, "logprob")]
    sets = random_sets((4, 4), 3)
    whole_, cut = (without_cells(task, features, sets, [asked] * 20, budget=budget) for budget in (2**26, 3000))
    assert np.allclose(whole_, cut, atol=1e-12)


def test_single_cells_are_tried_on_request() -> None:
    task = captioner("state", torch.float64)
    features = features_of(task, 0)
    prediction = task.predict(features, [Query(caption=TEXT)])[0]
    target = questions(task, prediction, "logprob")[1].likely
    falls = cell_falls(task, features, [target])[0]
    for n in (0, 5, 15):
        cell = (np.arange(16) == n).reshape(4, 4)
        slow = slow_score(task, features.A, target) - slow_score(task, slow_edit(features.A, cell), target)
        assert falls.ravel()[n] == pytest.approx(float(slow.detach()), abs=1e-9)
    plain, singly = (tried(task, features, [Trial(target, None, falls, -9.0)], singly=one)[0] for one in (False, True))
    assert plain.fall == singly.fall
    most = max(plain.fall, *plain.random, falls.max())
    assert singly.share == pytest.approx((plain.fall - np.mean(plain.random)) / (most - np.mean(plain.random)))


# Saturated words


class Sure(nn.Module):
    """Logits [B, 2] of which the first leads by 60 where the middle is bright: log p has no room."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.AvgPool2d(8)

    def forward(self, images: Tensor) -> Tensor:
        there = self.body(images)[:, :, 4:12, 4:12].mean((1, 2, 3))
        return torch.stack([60 * there, 0 * there], 1)


def test_what_log_p_is_too_sure_of_is_tried_by_its_lead() -> None:
    task = Classifier(Sure().eval(), "body", ["yes", "no"], whole)
    from PIL import Image

    image = Image.new("RGB", (128, 128), (90, 90, 90))
    image.paste((255, 255, 255), (40, 40, 88, 88))
    why = vlx.explain(task, image, method="layercam", target="logit", seen=False)
    assert why[0].logprob > -1e-6
    check = why[0].check
    assert check is not None
    assert (check.verdict, check.unit) == ("confirmed", "lead")
    assert check.fall > 3
    features = task.features(task.place(whole(image)[None]))
    prediction = task.predict(features, [Query()])[0]
    target = word_target(prediction, 0, 0, "logprob")
    alone = tried(task, features, [Trial(target, None, why[0].signed, 0.0)])[0]
    assert alone.verdict == "cannot be tested"
    assert alone.reason == "no cells that were tried move log p by 0.10"


def test_leads_are_over_the_runner_up_and_of_a_rival_over_the_answer() -> None:
    task = answerer()
    features = task.features(task.place(prepare(picture())[None]))
    prediction = task.predict(features, [Query(question="what color is the dog")])[0]
    asked = questions(task, prediction, "logit")
    first, rival = lead(prediction, asked[0]), lead(prediction, asked[1])
    given, other = prediction.words[0].terms[0].token, prediction.words[0].alternatives[1].token
    assert first is not None
    assert rival is not None
    assert [(term.token, term.weight) for term in first.terms] == [(given, 1.0), (other, -1.0)]
    assert [(term.token, term.weight) for term in rival.terms] == [(other, 1.0), (given, -1.0)]
    assert first.kind == rival.kind == "margin"
    contrast = task.predict(features, [Query(question="what color is the dog", instead_of=asked[1].label)])[0]
    assert lead(contrast, questions(task, contrast, "logit")[0]) is None


# Maps that cannot be tried


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (-np.ones((4, 4)), "nothing in the map speaks for it"),
        (np.zeros((4, 4)), "nothing in the map speaks for it"),
        (np.full((4, 4), np.nan), "the map holds numbers that are not finite"),
        (np.ones((3, 4)), "the map's cells [3, 4] are not those of A [4, 4]"),
    ],
)
def test_a_map_that_cannot_be_tried_says_why(values: NDArray[np.float64], reason: str) -> None:
    task = captioner("state")
    target = Target(0, "a", (Term(0, 3),), "logprob", (3,))
    check = tried(task, features_of(task, 0), [Trial(target, None, values, -1.0)])[0]
    assert check.verdict == "cannot be tested"
    assert str(check) == f"cannot be tested: {reason}"
    assert not check.confirmed


def test_too_few_cells_cannot_be_tested() -> None:
    why = vlx.explain(Patchy(), picture())  # 3 × 4 cells: 12 sets of one
    assert why[0].check is not None
    assert why[0].check.reason == "12 cells are too few for random sets to compare with"


# Maps on other grids


def test_parts_of_the_picture_are_laid_on_cells_by_area() -> None:
    parts, grid = Grid((7.5, 4.5), (16.0, 10.0), (3, 2), (48, 20)), Grid((3.0, 2.0), (8.0, 4.0), (6, 5), (48, 20))
    values = np.random.default_rng(0).normal(size=(3, 2))
    fine = 4  # samples a pixel
    dense = np.repeat(np.repeat(values, 16 * fine, 0), 10 * fine, 1)  # parts cover pixels 0 … 47 and 0 … 19
    found = on_cells(values, parts, grid)
    for i in range(6):
        for j in range(5):
            spans = []
            for axis, n in ((0, i), (1, j)):
                middle = grid.offset[axis] + grid.stride[axis] * n + 0.5
                ends = (middle - grid.stride[axis] / 2, middle + grid.stride[axis] / 2)
                spans.append(slice(*(round(min(max(end, 0), (48, 20)[axis]) * fine) for end in ends)))
            assert found[i, j] == pytest.approx(dense[spans[0], spans[1]].mean())


def test_occlusions_map_is_tried_on_the_cells_of_a() -> None:
    task = colours()
    why = vlx.explain(task, squares(0, 1), method="occlusion", answer="red", seen=False)
    check = why[0].check
    assert check is not None
    assert check.confirmed
    assert check.cells == 26  # of 16 × 16, though the map has 8 × 8 parts
    assert why[0].against_method == "occlusion"


# In explanations


def test_a_map_of_the_wrong_place_is_not_confirmed_and_the_right_one_is() -> None:
    task = colours()
    image = squares(0, 1)
    features = task.features(task.place(whole(image)[None]))
    prediction = task.predict(features, [Query(answer="red")])[0]
    asked = questions(task, prediction, "logit")[0]
    right = vlx.explain(task, image, answer="red", method="layercam", seen=False)[0].signed
    wrong = right[:, ::-1]
    first, second = tried(task, features, [Trial(asked.likely, None, values, -1.0) for values in (right, wrong)])
    assert (first.verdict, second.verdict) == ("confirmed", "not confirmed")
    assert tried(task, features, [Trial(asked.likely, None, -right, -1.0)])[0].verdict in (
        "not confirmed",
        "cannot be tested",
    )


@pytest.mark.parametrize("task", [captioner("attention"), captioner("state"), Patchy()], ids=["rows", "state", "own"])
def test_every_word_and_the_whole_text_has_its_check(task: Any) -> None:
    why = vlx.explain(task, picture())
    for word in (*why, why.sentence):
        assert isinstance(word.check, MapCheck)
        assert isinstance(word.against_check, MapCheck)
        assert word.against_check.rises


def test_rivals_and_models_of_one_stream_have_theirs() -> None:
    for task in (answerer(), Meeting()):
        why = vlx.explain(task, picture(), question="what color is the dog")
        assert len(why.others) > 0
        assert all(isinstance(other[0].check, MapCheck) for other in (why, *why.others))


def test_check_false_leaves_it_out_and_others_values_are_refused() -> None:
    task = captioner("state")
    why = vlx.explain(task, picture(), caption=TEXT, check=False)
    assert all(word.check is None and word.against_check is None and not word.counterfactual for word in why)
    assert vlx.explain(task, picture(), caption=TEXT, check="cells")[1].check is not None
    with pytest.raises(InputError, match="check='cell'; give True, False, or \"cells\" to try each cell of A alone"):
        vlx.explain(task, picture(), check="cell")


# In files and reports


@pytest.mark.parametrize("ending", [".json", ".h5"])
def test_checks_are_saved_and_files_of_before_load(tmp_path: Path, ending: str) -> None:
    why = vlx.explain(captioner("attention"), picture(), caption=TEXT, method="layercam")
    again = vlx.Explanation.load(why.save(tmp_path / f"why{ending}"))
    for a, b in zip((*why, why.sentence), (*again, again.sentence), strict=True):
        assert repr(a.check) == repr(b.check)  # NaN is not equal to itself
        assert repr(a.against_check) == repr(b.against_check)
        assert a.against_method == b.against_method == "hirescam"
        assert (a.check is None) == (b.check is None)


def test_a_file_of_before_has_no_check_and_no_counterfactual_that_was_none(tmp_path: Path) -> None:
    why = vlx.explain(captioner("attention"), picture(), caption=TEXT, method="layercam")
    path = why.save(tmp_path / "old.json")
    record = json.loads(path.read_text("utf-8"))
    for word in (*record["words"], *record["phrases"], record["sentence"]):
        for name in ("check", "against_method", "against_check"):
            del word[name]
    del record["digest"]
    path.write_text(json.dumps(record), "utf-8")
    old = vlx.Explanation.load(path)
    assert old[0].check is None
    assert old[0].against_method == ""
    assert "it was not tried" in old._repr_html_()


def test_reports_carry_the_mark_and_say_what_it_is_of(tmp_path: Path) -> None:
    from vlx.report import figure, text, wording

    why = vlx.explain(colours(), squares(0, 1), answer="red", method="layercam", seen=False)
    page = why.save(tmp_path / "why.html").read_text("utf-8")
    markdown = why.save(tmp_path / "why.md").read_text("utf-8")
    told = wording.checked(why[0])
    assert told.startswith("✓ map confirmed: log p changes by −")
    assert wording.sentence(told) in page
    assert told in markdown
    assert "of effect, not of place" in page
    assert figure._title(why, why[0]).endswith("· ✓")
    from rich.console import Console

    console = Console(width=120, record=True, file=io.StringIO())
    console.print(text.table(why))
    printed = console.export_text()
    assert "✓" in printed.split("check:")[0]
    assert "of effect, not of place" in printed


@pytest.mark.parametrize(
    ("outputs", "labels", "unit"), [("sigmoid", ["red", "green", "blue"], "lead"), ("value", None, "logit")]
)
def test_outputs_of_another_meaning_are_tried_in_their_own_unit(outputs: str, labels: Any, unit: str) -> None:
    task = Classifier(Colours().eval(), "body", labels, whole, outputs=outputs)
    why = vlx.explain(task, squares(0, 1), answer=None if labels is None else "red", method="layercam", seen=False)
    check = why[0].check
    assert check is not None
    assert check.unit in (unit, "log p")
    features = task.features(task.place(whole(squares(0, 1))[None]))
    prediction = task.predict(features, [Query(answer=None if labels is None else "red")])[0]
    asked = questions(task, prediction, "logit")[0]
    if outputs == "sigmoid":
        own = lead(prediction, asked)
        assert own is not None
        assert [(term.token, term.weight) for term in own.terms] == [(0, 1.0)]
    A, size = features.A, check.cells
    edited = slow_edit(A, top(why[0].signed, size))
    with torch.no_grad():
        body: Any = task.model.head
        before, after = (float(body(at.mean((2, 3)))[0, asked.target.terms[0].token]) for at in (A, edited))
    if check.unit != "log p":
        assert check.fall == pytest.approx(before - after, rel=1e-4)


def test_scores_that_are_not_finite_are_not_judged() -> None:
    assert str(judged(math.inf, RANDOM)) == "cannot be tested: scores without some cells are not finite"


@pytest.mark.parametrize("size", [1.0, 0.001])
def test_numbers_are_told_in_their_own_unit_with_three_figures(size: float) -> None:
    model = Colours().eval()
    head: Any = model.head
    with torch.no_grad():
        head.weight.mul_(size)
        head.bias.mul_(size)
    task = Classifier(model, "body", ["red", "green", "blue"], whole, outputs="value")
    check = vlx.explain(task, squares(0, 1), answer="red", instead_of="green", seen=False)[0].check
    assert check is not None
    assert check.unit == "logit"
    assert " nats" not in str(check)
    assert "the lead" not in str(check)
    plain = vlx.explain(task, squares(0, 1), answer="red", seen=False)[0].check
    assert plain is not None
    assert f"{-plain.fall:+.3g}".replace("-", "−") in str(plain)
    told = [row.remark for row in task.self_test(squares(0, 1), cells=2).rows]
    assert not [remark for remark in told if "log p" in remark or "nats" in remark]
    found = recommend(task, [squares(0, 1), squares(1, 0)])
    assert found.number
    assert "nats" not in str(found)
    assert "logprob" not in str(found)
    assert found.target == "logit"
