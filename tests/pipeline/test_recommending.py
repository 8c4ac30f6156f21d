"""Which method to take: the rule by hand, the falls against the slow way, and what is said of few pictures."""

import math
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn

import vlx
from tests.answerers import vqa
from tests.explanation.test_map_check import Colours, colours, slow_edit, squares, whole
from tests.fakes import captioner, features_of, picture, slow_gradient, slow_score
from tests.patchy import Patchy
from vlx.cli.program import main
from vlx.errors import InputError, ModelError
from vlx.explanation.map_check import random_sets, top
from vlx.methods.cams import METHODS
from vlx.pipeline import recommend as recommending
from vlx.pipeline.recommend import candidates, decided, fall_of, interval, recommend, sizes
from vlx.protocol.targets import Query, Target, Term
from vlx.protocol.task import Defaults
from vlx.tasks.classification import Classifier

NAMES: Any = [("layercam", "logprob"), ("hirescam", "logprob"), ("gradcam", "logprob")]
TEXT = "a red dog on grass"


def falls(*columns: list[float]) -> np.ndarray[Any, Any]:
    return np.array(columns).T


# The rule


def test_layercam_is_kept_where_another_is_ahead_by_chance_and_left_where_it_surely_is() -> None:
    kept, random = [1.0, 1.2, 0.9, 1.1, 1.0], [0.1, 0.0, 0.1, 0.0, 0.1]
    worse = [0.2, 0.3, 0.1, 0.3, 0.2]
    chance = decided(falls(kept, [1.5, 1.1, 1.6, 0.9, 1.4], worse, random), NAMES, "layer", "m")
    assert (chance.method, chance.target, chance.layer) == ("layercam", "logprob", "layer")
    assert [row.worse for row in chance.rows] == [False, False, True]
    assert chance.told == (
        "kept: layercam on logprob; nothing else is surely ahead of it over 5 pictures",
        "clearly worse: gradcam on logprob",
        "cannot be told apart from layercam on logprob: hirescam on logprob",
    )
    sure = decided(falls(kept, [value + 0.5 for value in kept], worse, random), NAMES, "layer", "m")
    assert sure.method == "hirescam"
    assert sure.told[0].startswith("taken: hirescam on logprob; it is ahead of layercam on logprob by +0.50 nats [")


def test_the_bound_is_that_of_paired_differences() -> None:
    """Pictures differ by far more than methods do: intervals of the two overlap, that of the difference does not."""
    kept = [1.0, 9.0, 4.0, 7.0, 2.0]
    ahead = [0.4, 0.5, 0.4, 0.6, 0.5]
    other = [one + more for one, more in zip(kept, ahead, strict=True)]
    found = decided(falls(kept, other, kept, [0.0] * 5), NAMES, "layer")
    assert found.method == "hirescam"
    mean, error = np.mean(ahead), 4.60 * np.std(ahead, ddof=1) / math.sqrt(5)
    row = found.rows[1]
    assert (row.ahead, row.ahead_low, row.ahead_high) == pytest.approx((mean, mean - error, mean + error))
    assert row.low <= row.fall <= row.high
    assert (row.low, row.high) != pytest.approx((row.fall + row.ahead_low, row.fall + row.ahead_high))
    assert row.random == 0
    many = np.tile([1.0, 3.0], 5000)
    assert interval(many) == pytest.approx((2, 2 - 0.0258, 2 + 0.0258), abs=1e-4)
    assert interval(np.array([1.0, 3.0])) == pytest.approx((2, 2 - 63.66, 2 + 63.66))


@pytest.mark.parametrize("count", [3, 5, 11, 12, 13, 16, 31, 101])
def test_intervals_hold_as_often_as_they_say(count: int) -> None:
    draws = np.random.default_rng(count).normal(size=(20_000, count))
    held = [low <= 0 <= high for _, low, high in map(interval, draws)]
    assert np.mean(held) == pytest.approx(0.99, abs=0.0025)


def test_one_picture_tells_nothing_and_random_cells_may_do_as_much() -> None:
    single = decided(falls([1.0], [9.0], [0.0], [0.0]), NAMES, "layer", "m")
    assert single.method == "layercam"
    assert single.told == ("kept: layercam on logprob; one picture tells methods not apart, give five or so",)
    lost = decided(falls(*[[0.1, -0.2, 0.0, 0.2, -0.1]] * 3, [0.0, 0.1, -0.1, 0.1, 0.0]), NAMES, "layer", "m")
    assert not lost.beats_random
    assert lost.told[-1] == "no method surely beats random cells: maps at this layer say little"
    assert str(lost).endswith(f"{lost.told[-1]}.")


def test_rounding_is_no_lead() -> None:
    kept = [1.0, 1.2, 0.9]
    assert decided(falls(kept, [one + 1e-6 for one in kept], kept, [0.0] * 3), NAMES, "layer").method == "layercam"


# The falls


def test_sizes_go_up_to_a_tenth_of_the_cells() -> None:
    assert sizes((16, 16)) == [1, 2, 4, 8, 16, 26]
    assert sizes((1, 30)) == [1, 2, 3]
    assert sizes((4, 4)) == [1, 2]
    assert sizes((2, 2)) == [1]


def test_falls_are_those_of_the_maps_highest_cells_over_sizes_and_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recommending, "MOVED", 0.0)  # tiny models move little
    task = captioner("state", torch.float64)
    features = features_of(task, 0)
    prediction = task.predict(features, [Query(caption=TEXT)])[0]
    names = candidates(task)
    assert names[0] == ("layercam", "logprob")
    assert len(set(names)) == len(names) == 10
    found = fall_of(task, features, prediction, names)
    assert found is not None

    def score(A: Tensor, target: Target) -> float:
        return float(slow_score(task, A, target).detach())

    def without(cells: Any, target: Target) -> float:
        return score(features.A, target) - score(slow_edit(features.A, cells), target)

    slow, random = [], []
    for word in prediction.words:
        target = Target(0, word.label, word.terms, "logprob", prediction.tokens)
        own = []
        for name, kind in names:
            asked = Target(0, word.label, (Term(word.terms[0].step, word.terms[0].token),), kind, prediction.tokens)
            values = METHODS[name].map(features.A, slow_gradient(task, features.A, asked)[None])[0].numpy()
            own.append(np.mean([without(top(values, size), target) for size in (1, 2)]))
        others = [without(cells, target) for size in (1, 2) for cells in random_sets((4, 4), size, 5)]
        slow.append(own)
        random.append(np.mean(others))
    assert found[:-1] == pytest.approx(np.mean(slow, 0), abs=1e-9)
    assert found[-1] == pytest.approx(np.mean(random), abs=1e-9)


# On models


class Turned(nn.Module):
    """−x, as a layer of its own."""

    def forward(self, x: Tensor) -> Tensor:
        return -x


class Negative(nn.Module):
    """The colours of cells with their sign turned: features below 0, on which LayerCAM has nothing to show."""

    def __init__(self) -> None:
        super().__init__()
        inner: Any = Colours()
        self.body, self.head = nn.Sequential(inner.body, Turned()), inner.head

    def forward(self, images: Tensor) -> Tensor:
        return self.head(-self.body(images).mean((2, 3)))  # type: ignore[no-any-return]


def turned() -> Classifier:
    return Classifier(Negative().eval(), "body", ["red", "green", "blue"], whole)


SHOWN = [squares(*pair) for pair in ((0, 1), (1, 0), (0, 2), (2, 1), (1, 2))]


def test_layercam_is_left_where_it_surely_loses() -> None:
    found = recommend(turned(), SHOWN)
    assert found.method in ("hirescam", "gradcam", "xgradcam")
    assert found.rows[0].method == "layercam"
    assert found.beats_random
    assert recommend(colours(), SHOWN).method == "layercam"


@pytest.mark.parametrize(
    ("task", "asked"),
    [(captioner("attention"), None), (vqa(), "what color is the dog"), (Patchy(), None)],
    ids=["captioner", "vqa", "own"],
)
def test_models_of_all_kinds_are_recommended_something(
    task: Any, asked: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recommending, "MOVED", 0.0)
    found = recommend(task, [picture(seed) for seed in range(3)], question=asked)
    assert found.method in METHODS or found.method == "gradattention"
    assert {row.method for row in found.rows} >= set(METHODS)
    assert ("gradattention" in {row.method for row in found.rows}) == isinstance(task, Patchy)
    assert found.pictures <= 3
    assert task.name in str(found)


def test_what_cannot_be_recommended_is_refused() -> None:
    with pytest.raises(InputError, match="recommend\\(\\) takes several pictures, in a list"):
        recommend(captioner(), cast(Any, picture()))
    with pytest.raises(InputError, match="needs pictures of your own: give five or so"):
        recommend(captioner(), [])
    with pytest.raises(InputError, match="question is a list of 2 for 1 pictures; give one a picture, or one text"):
        recommend(vqa(), [picture()], question=["what color", "is there a dog"])
    with pytest.raises(InputError, match=r"no cells of A that were tried move any word by 0\.1 nat over 1 picture"):
        recommend(colours(outputs="softmax"), [squares()])


# The default, and "auto"


def test_the_default_of_what_nobody_measured_is_layercam_on_log_p() -> None:
    for task in (captioner("state"), vqa(), colours()):
        assert (task.defaults.method, task.defaults.target, task.defaults.measured) == ("layercam", "logprob", False)
    assert (Defaults().method, Defaults().target) == ("layercam", "logprob")
    why = vlx.explain(colours(), squares(0, 1), seen=False)
    assert (why.method, why.provenance["target"]) == ("layercam", "logprob")
    assert vlx.explain(colours(), squares(0, 1), method="gradcam", seen=False).method == "gradcam"
    for name, method in (("scenes/captioner", "hirescam"), ("scenes/vqa", "layercam")):
        measured = vlx.load(name).defaults
        assert (measured.method, measured.measured) == (method, True)


def test_a_sure_classifier_is_not_said_to_be_blind() -> None:
    """1 − p is lost in single precision; the gradient of log p is not."""
    image = squares(0)
    task = colours()
    with torch.no_grad():
        task.model.head.weight.mul_(6)  # type: ignore[union-attr, operator]
    why = vlx.explain(task, image, seen=False)
    assert -1e-7 < why[0].logprob < 0
    assert why[0].heatmap[40:80, 8:48].sum() > 0.9 * why[0].heatmap.sum() > 0


def test_auto_is_the_rule_once_for_a_task_and_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    task, tried = turned(), []
    fall = recommending.fall_of

    def counting(*given: Any) -> Any:
        tried.append(1)
        return fall(*given)

    monkeypatch.setattr(recommending, "fall_of", counting)
    first = vlx.explain(task, SHOWN[0], method="auto", seen=False)
    assert first.method == "layercam"  # one picture tells nothing
    assert "one picture tells methods not apart" in first.provenance["chosen"]
    found = list(vlx.explain_many(task, [*SHOWN, SHOWN[0]], method="auto", seen=False))
    assert {why.method for why in found} == {recommend(turned(), SHOWN).method}
    assert found[0].provenance["chosen"].startswith("taken: ")
    assert found[0].provenance["target"] == recommend(turned(), SHOWN).target
    before = len(tried)
    again = vlx.explain(task, SHOWN[1], method="auto", seen=False)
    assert again.method == found[0].method
    assert len(tried) == before, "chosen once"
    with torch.no_grad():
        task.model.head.bias.add_(0.0)  # type: ignore[union-attr, operator]
    vlx.explain(task, SHOWN[1], method="auto", seen=False)
    assert len(tried) == before + 1, "other weights"


def test_auto_keeps_what_was_measured_and_a_target_that_was_asked_for() -> None:
    task = captioner("state", defaults=Defaults("hirescam", "logit", "rows", measured=True))
    why = vlx.explain(task, picture(), method="auto")
    assert (why.method, why.provenance["target"]) == ("hirescam", "logit")
    assert "measured" in why.provenance["chosen"]
    asked = list(vlx.explain_many(turned(), SHOWN, method="auto", target="logit", seen=False))
    assert {one.provenance["target"] for one in asked} == {"logit"}


def test_the_command_prints_what_the_pictures_tell(tmp_path: Path) -> None:
    files = []
    for seed in range(2):
        files.append(str(tmp_path / f"{seed}.png"))
        vlx.scenes.draw(10_000_300 + seed, size=128).image.save(files[-1])
    run = CliRunner().invoke(main, ["models", "--recommend", "scenes/captioner-pooled", *files])
    assert run.exit_code == 0, run.output
    assert "layercam on logprob" in run.output
    assert "random cells" in run.output
    for wrong, message in (
        (["--recommend", "scenes/captioner"], "needs PICTURES"),
        (files, "--recommend MODEL needs PICTURES"),
        (["--check", "scenes/captioner", "--recommend", "scenes/captioner", *files], "one at a time"),
    ):
        refused = CliRunner().invoke(main, ["models", *wrong])
        assert refused.exit_code == 2
        assert message in refused.output


class Cut(nn.Module):
    """The colours of cells, read by a head that goes through NumPy."""

    def __init__(self) -> None:
        super().__init__()
        inner: Any = Colours()
        self.body, self.head = inner.body, inner.head

    def forward(self, images: Tensor) -> Tensor:
        return torch.from_numpy(self.head(self.body(images).mean((2, 3))).detach().numpy())


def test_a_model_that_cuts_its_gradient_is_refused_and_not_recommended_layercam() -> None:
    task = Classifier(Cut().eval(), "body", ["red", "green", "blue"], whole)
    with pytest.raises(ModelError, match=r'no gradient comes through .* or take method="occlusion"'):
        recommend(task, SHOWN)
