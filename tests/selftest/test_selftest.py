"""The self-test passes what is right and catches every trap: one broken model for each check."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torchvision.models as zoo
from click.testing import CliRunner
from PIL import Image
from torch import Tensor, nn

import vlx
from tests import answerers, patchy
from tests.fakes import TinyCnn, captioner, picture, prepare
from tests.patchy import SHAPE, START, Meeting, Patchy
from vlx import models
from vlx.cli.program import main
from vlx.errors import ImageError, InputError, ModelError, UnknownWords
from vlx.probes import references
from vlx.protocol.powers import Attended
from vlx.protocol.targets import Prediction, Query, Target
from vlx.protocol.task import Features
from vlx.scenes import draw
from vlx.selftest import patch_probe, run, trusting
from vlx.selftest.run import Row, SelfTest, self_test
from vlx.tasks.classification import Classifier

NAMES = [
    "forced = generated", "split", "no leak", "gradient", "gradients agree", "repeatable", "attention", "mixed",
    "gradient = replay", "nothing goes round A", "prepare is steady", "A in company", "scores in company",
    "stock model", "outputs", "axes are places", "sides are seen", "references plausible",
    "method beats chance", "patch probe", "patch probe 3:2", "every crop",
]  # fmt: skip
PROBES = ["patch probe", "patch probe 3:2"]
UNABLE = ["method beats chance", "every crop"]  # of few cells, of a picture in one piece
AXES = "axes are places"
STOCK = ["stock model", "outputs"]


def trial(task: Any, **options: Any) -> SelfTest:
    return self_test(task, picture(1, 60, 44), **options)


def failed(task: Any, **options: Any) -> list[str]:
    return [row.name for row in trial(task, **options).failed]


def idle(found: SelfTest) -> list[str]:
    return [row.name for row in found if row.passed is None]


# What is right passes


def test_a_default_that_chance_beats_is_not_proven(monkeypatch: pytest.MonkeyPatch) -> None:
    task: Any = vlx.load("scenes/captioner")
    case = run._case(task, draw(7, size=200).image, Query())
    assert trusting._default(case).passed
    right: Any = trusting._maps
    monkeypatch.setattr(trusting, "_maps", lambda case, targets: -np.abs(right(case, targets)))
    row = trusting._default(case)
    assert (row.told, row.passed) == ("NOT PROVEN", None)
    assert "its maps say nothing here; give another picture" in row.remark


def test_references_that_are_no_pictures_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    case = run._case(captioner(), picture(1, 60, 44), Query())
    assert trusting._references(case).passed
    monkeypatch.setattr(references, "ratio", lambda A, own: [9.0] * len(A))
    row = trusting._references(case)
    assert row.told == "NOT PROVEN"
    assert "give references= of your own" in row.remark


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        *((name, 4) for name in sorted(models.EMBEDDED) if name != "photos/captioner"),  # ten seconds alone
        *(pytest.param(name, 32, marks=pytest.mark.slow) for name in sorted(models.EMBEDDED)),
    ],
)
def test_embedded_models_pass(name: str, cells: int) -> None:
    task: Any = vlx.load(name)
    found = task.self_test(draw(7, size=200).image, cells=cells)
    assert found.passed, str(found)
    assert [row.name for row in found] == NAMES
    captions = task.kind == "captioning"
    said = ["split"] if captions else ["forced = generated", "no leak"]
    assert idle(found) == [*said, "attention", "mixed", "every crop"]
    found.raise_if_failed()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_tiny_models_pass_in_every_precision(dtype: torch.dtype) -> None:
    assert failed(captioner(dtype=dtype)) == []
    assert failed(answerers.vqa(dtype=dtype)) == []


def small() -> Classifier:
    torch.manual_seed(0)
    network = nn.Sequential(TinyCnn(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3)).eval()
    return Classifier(network, "0", ["cat", "dog", "cow"], prepare)


def test_a_classifier_passes() -> None:
    found = small().self_test(picture(1, 60, 44))
    assert found.passed, str(found)
    assert idle(found) == ["forced = generated", "no leak", "attention", "mixed", *UNABLE]


@pytest.mark.parametrize(
    ("task", "idles"), [(Patchy(), ["split", "mixed", *STOCK]), (Meeting(), [*NAMES[:3:2], *STOCK])]
)
def test_attention_and_mixing_pass(task: Any, idles: list[str]) -> None:
    found = trial(task)
    assert found.passed, str(found)
    assert idle(found) == [*idles, *UNABLE]
    assert "too few for random sets" in found["method beats chance"].remark
    assert [found[name].value for name in PROBES] == [1, 1]


def zoo_classifier(name: str) -> Classifier:
    torch.manual_seed(0)
    return Classifier(zoo.get_model(name, weights=None).eval(), "layer4" if name == "resnet18" else "features")


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("resnet18", 3),
        pytest.param("resnet18", 9, marks=pytest.mark.slow),
        pytest.param("mobilenet_v2", 9, marks=pytest.mark.slow),
    ],
)
def test_deep_cnns_pass(name: str, cells: int) -> None:
    found = trial(zoo_classifier(name), cells=cells)
    assert found.passed, str(found)


# Each trap is caught


class TextOfAnother(Patchy):
    """Teacher forcing without the words so far (T5, T6, T14, T17)."""

    def look(self, A: Tensor, tokens: Sequence[int]) -> tuple[Tensor, Tensor]:
        return super().look(A, [START] * len(tokens))


class Peeking(Patchy):
    """A word sees those after it (T5)."""

    def sofar(self, tokens: Sequence[int]) -> Tensor:
        given = super().sofar(tokens)
        return given + 0.01 * given[-1] * (torch.arange(len(given)) < len(tokens))[:, None]


class Deaf(Patchy):
    """What is read does not depend on A (T1, T2, T9)."""

    def look(self, A: Tensor, tokens: Sequence[int]) -> tuple[Tensor, Tensor]:
        return super().look(torch.ones_like(A) + 0 * A, tokens)

    def predict(self, features: Features, queries: Sequence[Query]) -> list[Prediction]:
        return super().predict(replace(features, maps={"patches": torch.ones_like(features.A)}), queries)


class Cut(Patchy):
    """What is read depends on A, and no gradient comes through."""

    def scores(self, A: Tensor, targets: Sequence[Target], rest: Any = None) -> Tensor:
        return super().scores(A.detach(), targets, rest)


class Broken(Patchy):
    """Infinite gradients."""

    def scores(self, A: Tensor, targets: Sequence[Target], rest: Any = None) -> Tensor:
        return super().scores(A, targets, rest) + (A - A.detach()).square().sum().sqrt()


class Shuffling(Patchy):
    """Cells in another random order each time (T3)."""

    def features(self, inputs: Tensor) -> Features:
        found = super().features(inputs)
        order = torch.randperm(SHAPE[0] * SHAPE[1])
        return replace(found, maps={"patches": found.A.flatten(2)[..., order].view_as(found.A)})


class Cold(Patchy):
    """Right until it has spoken (T7)."""

    spoken = 0

    def predict(self, features: Features, queries: Sequence[Query]) -> list[Prediction]:
        self.spoken += 1
        return super().predict(features, queries)

    def features(self, inputs: Tensor) -> Features:
        found = super().features(inputs)
        return replace(found, maps={"patches": found.A * (1 + 0.01 * max(self.spoken - 1, 0))})


class Together(Patchy):
    """Rows of a batch see each other (T19)."""

    def scores(self, A: Tensor, targets: Sequence[Target], rest: Any = None) -> Tensor:
        return super().scores(A + (A.mean(0) * torch.tensor(len(A) - 1)), targets, rest)


class Silent(Patchy):
    """Says nothing."""

    def predict(self, features: Features, queries: Sequence[Query]) -> list[Prediction]:
        return [Prediction("", (), ()) for _ in queries]


class Lukewarm(Meeting):
    """What it says is not what comes of A."""

    def scores(self, A: Tensor, targets: Sequence[Target], rest: Any = None) -> Tensor:
        return super().scores(A * 1.1, targets, rest)


class OneText(Meeting):
    """Every row meets the first text."""

    def meet(self, features: Features, texts: Sequence[tuple[int, tuple[int, ...]]]) -> Features:
        return super().meet(features, [(row, texts[0][1]) for row, _ in texts])


def attending(change: Callable[[Attended], Attended]) -> Patchy:
    class Attending(Patchy):
        def attend(self, A: Tensor, targets: Sequence[Target], rest: Any = None) -> Attended:
            return change(super().attend(A, targets, rest))

    return Attending()


@pytest.mark.parametrize(
    ("task", "names", "remark"),
    [
        (TextOfAnother(), ["forced = generated"], "feeds the model another text"),
        (Peeking(), ["forced = generated", "no leak", "scores in company"], "has another log p when the text is given"),
        (Deaf(), ["gradient"], "explain an earlier one"),
        (Cut(), ["gradient", "gradient = replay"], "no gradient comes through to 'blue', 'grass'"),
        (Together(), ["gradients agree", "scores in company"], "mixes the rows of a batch"),
        (Shuffling(), ["repeatable", "A in company", *PROBES], "in a random order"),
        (Cold(), ["repeatable", "A in company", "scores in company"], "a hook works only the first time"),
        (Lukewarm(), ["split"], "does not run what comes after A"),
        (OneText(), ["mixed", "scores in company"], "`meet` confuses rows"),
        (attending(lambda seen: replace(seen, scores=seen.scores + 1)), ["attention"], "not that of the scores"),
        (attending(lambda seen: replace(seen, layers=(seen.layers[0] * 2,))), ["attention"], "not probabilities"),
        (attending(lambda seen: replace(seen, layers=(seen.layers[0].detach(),))), ["attention"], "eager attention"),
        (attending(lambda seen: replace(seen, layers=(seen.layers[0][0],))), ["attention"], r"needed is \[R, heads, 5"),
        (attending(lambda seen: replace(seen, cells=seen.cells.T)), ["attention"], r"its cells are \[4, 3\]"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Patchy) else "",
)
def test_a_trap_is_caught(task: Any, names: list[str], remark: str) -> None:
    found = trial(task)
    assert [row.name for row in found.failed] == names, str(found)
    with pytest.raises(ModelError, match=f"fails its self-test: {names[0]}: .*{remark}"):
        found.raise_if_failed()


def test_an_error_in_a_check_is_a_failed_row() -> None:
    found = trial(Broken())
    assert "gradient of" in found["gradient"].remark and "not a finite number" in found["gradient"].remark
    assert found["forced = generated"].passed


def test_a_model_that_does_not_run_fails() -> None:
    task = captioner()
    task.cnn.train()
    (row,) = trial(task)
    assert (row.name, row.passed) == ("answers", False)
    assert "cnn is in training mode" in row.remark


def test_ways_that_a_model_cannot_do_are_named() -> None:
    class Lone(Patchy):
        def scores(self, A: Tensor, targets: Sequence[Target], rest: Any = None) -> Tensor:
            if len(A) > 1:
                raise RuntimeError("one row only")
            return super().scores(A, targets, rest)

    row = trial(Lone())["gradients agree"]
    assert row.passed
    assert row.remark.endswith("between batched, loop; rows raises RuntimeError")


# The patch probe


def placed(task: Any, change: Callable[[Features], Features]) -> Any:
    """The task with another arrangement of its cells."""
    plain = task.features
    task.features = lambda inputs: change(plain(inputs))
    return task


def rearranged(order: Callable[[Tensor], Tensor]) -> Callable[[Features], Features]:
    return lambda found: replace(found, maps={found.layer: order(found.A)})


def shifted(cells: float) -> Callable[[Features], Features]:
    def shift(found: Features) -> Features:
        y, x = (a + cells * b for a, b in zip(found.grid.offset, found.grid.stride, strict=True))
        return replace(found, grid=replace(found.grid, offset=(y, x)))

    return shift


def swapped(A: Tensor) -> Tensor:
    """Height and width confused: written column by column, read row by row."""
    return A.transpose(2, 3).reshape(A.shape)


def merged(A: Tensor) -> Tensor:
    """Cells of two columns at a time, as a merger takes them."""
    B, K, h, w = A.shape
    return A.view(B, K, h, w // 2, 2).transpose(2, 3).reshape(A.shape)


WRONG = {
    "swapped": (rearranged(swapped), "their order, height and width swapped"),
    "merged": (rearranged(merged), "their order, height and width swapped"),
    "mirrored": (rearranged(lambda A: A.flip(3)), "their order"),
    "half a cell": (shifted(0.5), r"patches -0.5 cells down and -0.5 right do better: the grid's offset is wrong"),
    "one cell": (shifted(1), "offset is wrong|their order"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_arrangement_of_patches_is_caught(wrong: str) -> None:
    change, remark = WRONG[wrong]
    found = trial(placed(Patchy(), change))
    assert [row.name for row in found.failed if row.name != AXES] == PROBES, str(found)
    assert any(re.search(remark, row.remark) for row in found.failed)


@pytest.mark.parametrize(
    ("wrong", "cells"),
    [  # `WRONG` is tried whole on patches above
        ("half a cell", 6),
        *(
            pytest.param(wrong, 16, marks=pytest.mark.slow)
            for wrong in ("swapped", "mirrored", "half a cell", "one cell")
        ),
    ],
)
def test_a_wrong_arrangement_of_cnn_cells_is_caught(wrong: str, cells: int) -> None:
    names = failed(placed(vlx.load("scenes/captioner-pooled"), WRONG[wrong][0]), cells=cells)
    assert [name for name in names if name != AXES] == PROBES


@pytest.mark.slow
def test_half_a_cell_off_is_caught_in_a_deep_cnn() -> None:
    task = placed(zoo_classifier("resnet18"), shifted(0.5))
    found = patch_probe.probe(
        task.prepare, task.place, lambda x: task.features(x).A, lambda x: task.features(x).grid, (96, 64), 4, 0
    )
    assert found is not None
    assert not found.passed
    assert found.shift == (-0.5, -0.5)


def test_a_map_of_another_shape_than_its_grid_is_caught() -> None:
    found = trial(placed(Patchy(), rearranged(lambda A: A.transpose(2, 3))))
    assert "its grid has (3, 4) cells: they must agree" in found["patch probe"].remark


class Mixing(Patchy):
    """All cells of A hold the same."""

    def features(self, inputs: Tensor) -> Features:
        found = super().features(inputs)
        return replace(found, maps={"patches": found.A + 50 * found.A.flip(2, 3)})


class ShallowMixing(Mixing):
    def shallow(self, inputs: Tensor) -> Tensor:
        return Patchy.features(self, inputs).A


def test_cells_that_have_mixed_are_tried_at_an_early_layer() -> None:
    assert set(PROBES) <= set(failed(Mixing()))
    assert not set(PROBES) & set(failed(ShallowMixing()))


def test_only_cells_that_the_model_sees_count() -> None:
    class Cropping(Patchy):
        @staticmethod
        def prepare(image: Image.Image) -> Tensor:
            wide, high = image.size
            return patchy.prepare(image.crop((wide // 4, 0, wide * 3 // 4, high)))

    assert failed(Cropping()) == []
    assert set(PROBES) <= set(failed(placed(Cropping(), rearranged(swapped))))


def test_the_sample_of_cells_is_drawn_by_the_seed() -> None:
    one, again = (trial(Patchy(), cells=5, seed=1) for _ in range(2))
    assert str(one) == str(again)
    assert one["patch probe"].remark.startswith("5 cells painted")


def test_cells_smaller_than_pixels_are_not_tried() -> None:
    assert self_test(captioner(), picture(1, 16, 16))["patch probe"].passed
    row = self_test(captioner(), picture(1, 12, 12))["patch probe"]
    assert row.passed is None
    assert "smaller than four pixels" in row.remark


# Questions and inputs


def test_a_model_of_few_words_is_asked_in_them() -> None:
    task = answerers.vqa(unknown=None)
    assert failed(task) == []
    with pytest.raises(UnknownWords):
        trial(task, question="where?")


def test_questions_and_captions_are_passed_on() -> None:
    assert failed(answerers.vqa(), question="what color is it") == []
    assert failed(captioner(), caption="a red dog") == []
    with pytest.raises(InputError, match="takes no question"):
        trial(captioner(), question="what?")
    with pytest.raises(InputError, match="cells=0"):
        trial(Patchy(), cells=0)
    with pytest.raises(ImageError, match="no such file"):
        self_test(Patchy(), "nowhere.png")


def test_a_silent_model_is_told_so() -> None:
    found = trial(Silent())
    assert (found.verdict, found.passed, found.failed) == ("not proven", False, ())
    assert "gradient" in [row.name for row in found.open]
    assert "said nothing of this picture; give another one or a caption" in found["forced = generated"].remark
    with pytest.raises(ModelError, match=r"is not proven by its self-test: forced = generated: .*; also no leak, grad"):
        found.raise_unless_passed()
    found.raise_if_failed()


# Tables


def test_the_table_is_readable_and_escaped() -> None:
    rows = (
        Row("small", 1e-7, 1e-3, True, "fine"),
        Row("large", 0.25, 1.0, False, "a <b>", at_least=True),
        Row("none", None, None, None, "why"),
        Row("open", None, None, None, "give more", decisive=True),
    )
    found = SelfTest("<m>", rows)
    assert str(found).splitlines() == [
        "<m>: self-test FAILED",
        "check  value  limit",
        "small  1e-07  ≤ 0.001  passed      fine",
        "large  0.25   ≥ 1      FAILED      a <b>",
        "none                   –           why",
        "open                   NOT PROVEN  give more",
    ]
    page = found._repr_html_()
    assert "&lt;m&gt;: self-test FAILED" in page and "a &lt;b&gt;" in page and "<b>" not in page
    verdicts = [SelfTest("m", some).verdict for some in (rows[::2], rows[2:], rows)]
    assert verdicts == ["passed", "not proven", "failed"]
    assert [SelfTest("m", some).passed for some in (rows[::2], rows[2:], rows)] == [True, False, False]
    assert SelfTest("m", rows[2:]).title == "m: self-test NOT PROVEN"


def test_errors_are_short_however_much_failed() -> None:
    rows = tuple(Row(f"row {n}", None, None, False, "far too much " * 20) for n in range(12))
    with pytest.raises(
        ModelError, match=r"^m fails its self-test: row 0: far too .*…; also row 1, row 2, .*row 11$"
    ) as told:
        SelfTest("m", rows).raise_if_failed()
    assert len(str(told.value)) <= 300


@pytest.fixture
def plugged(monkeypatch: pytest.MonkeyPatch) -> None:
    made = {"good": Patchy, "bad": Deaf, "silent": Silent}
    points = [SimpleNamespace(name=name, load=lambda task=task: task) for name, task in made.items()]
    monkeypatch.setattr(models, "entry_points", lambda group: points)


@pytest.mark.usefixtures("plugged")
def test_the_command_prints_the_table_and_ends_with_1_on_failure(tmp_path: Path) -> None:
    good = CliRunner().invoke(main, ["models", "--check", "good"])
    assert good.exit_code == 0, good.output
    assert "patchy: self-test passed" in good.output and "patch probe 3:2" in good.output
    picture(1, 60, 44).save(tmp_path / "p.png")
    bad = CliRunner().invoke(main, ["models", "--check", "bad", "--image", str(tmp_path / "p.png")])
    assert bad.exit_code == 1
    assert "FAILED" in bad.output and "explain an earlier one" in " ".join(bad.output.split())
    silent = CliRunner().invoke(main, ["models", "--check", "silent"])
    assert silent.exit_code == 1
    assert "self-test NOT PROVEN" in silent.output and "the model said nothing" in " ".join(silent.output.split())


@pytest.mark.usefixtures("plugged")
def test_the_command_refuses_what_makes_no_sense() -> None:
    alone = CliRunner().invoke(main, ["models", "--question", "what?"])
    assert alone.exit_code == 2
    assert "go with --check MODEL" in alone.output
    missing = CliRunner().invoke(main, ["models", "--check", "good", "--image", "nowhere.png"])
    assert missing.exit_code == 1
    assert "no such file" in missing.output
