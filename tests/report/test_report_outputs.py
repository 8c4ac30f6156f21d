"""Reports and files speak of a number as a number, and of yes or no label by label."""

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import vlx
from tests.heads import classifier, picture, vqa
from vlx.report import answers, chances, numbers, panels, text, wording
from vlx.report.figure import draw

RGB = ["red", "green", "blue"]
MENTIONS = re.compile(r"\bp \d|probabilit|log p|\bbits\b|\bnats\b|\bclass", re.IGNORECASE)


def printed(why: vlx.Explanation) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(text.table(why))
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def number(**options: Any) -> vlx.Explanation:
    return vlx.explain(classifier(1, lambda z: z * 30 + 40, ["age"], outputs="value"), picture(), **options)


def told(why: vlx.Explanation, tmp_path: Path) -> dict[str, str]:
    """Everything that is written about it, by place, without what stands there of every model."""
    page = why.save(tmp_path / "why.html").read_text(encoding="utf-8")
    page = re.sub(
        r"<(style|script).*?</\1>|data:[^\"]*|class=\"[^\"]*\"|outputs are read as numbers[^<]*",
        "",
        page,
        flags=re.DOTALL,
    )
    marks = why.save(tmp_path / "why.md").read_text(encoding="utf-8")
    marks = re.sub(r"data:[^)]*|outputs are read as numbers.*", "", marks)
    shown = " ".join(axis.get_title() for axis in draw(why).axes)
    table = re.sub("outputs are read as numbers.*", "", printed(why))
    return {"page": page, "markdown": marks, "terminal": table, "figure": shown, "repr": repr(why[0])}


def test_of_a_number_no_probability_is_told(tmp_path: Path) -> None:
    why = number(looks=True)
    value = numbers.figure(why[0].score, 4)
    for place, words in told(why, tmp_path).items():
        assert not MENTIONS.search(words), (place, MENTIONS.search(words))
        assert "nan" not in words.lower().replace("name", ""), place
        assert "not a number" not in words, place
        if place != "repr":
            assert value in words, place


def test_what_the_picture_adds_to_a_number_is_in_its_own_unit() -> None:
    why = number()
    assert why[0].seen is not None
    assert wording.seen_said(why[0]).startswith("the picture adds ")
    assert wording.verdict(why[0]) == wording.seen_said(why[0])
    assert wording.unit(why[0]) == "units of the value per cell"
    assert "seen: its own unit owed to the picture" in printed(why)
    assert wording.noun(why) == "value"
    assert wording.meaning(why[0], "for") == "Regions whose features most raise “age”."
    assert "not a number" not in numbers.log(float("nan"))


def test_a_number_on_other_pictures_is_a_number() -> None:
    why = number(looks=True)
    rows = answers.rows(why[0])
    assert rows[0].figures == numbers.figure(why[0].score)
    for row, look in zip(rows[1:], why[0].looks, strict=True):
        assert row.numbers == look.logprobs
        assert numbers.figure(float(np.median(look.logprobs))) in row.figures
    assert {min(min(row.chances) for row in rows), max(max(row.chances) for row in rows)} == {0.0, 1.0}


def test_the_difference_of_two_numbers(tmp_path: Path) -> None:
    task = classifier(3, labels=["x", "y", "size"], outputs="value")
    why = vlx.explain(task, picture(), answer="x", instead_of="y", looks=True)
    for place, words in told(why, tmp_path).items():
        assert not MENTIONS.search(words), (place, MENTIONS.search(words))
    assert wording.verdict(why[0], "y").startswith("the picture adds ")


@pytest.mark.parametrize("ending", ["json", "h5"])
@pytest.mark.parametrize("outputs", ["value", "sigmoid", "softmax"])
def test_files_keep_what_an_output_means(tmp_path: Path, ending: str, outputs: Any) -> None:
    why = vlx.explain(classifier(3, labels=RGB, outputs=outputs), picture(), answer=["red", "blue"], looks=True)
    again = vlx.Explanation.load(why.save(tmp_path / f"why.{ending}"))
    for own, other in zip(why, again, strict=True):
        assert (own.outputs, own.target, own.alternatives) == (other.outputs, other.target, other.alternatives)
        assert np.array_equal([own.score, own.logprob], [other.score, other.logprob], equal_nan=True)
        assert np.isnan(other.logprob) == (outputs == "value")
    assert printed(again) == printed(why)


def test_labels_are_told_one_by_one(tmp_path: Path) -> None:
    task = classifier(3, labels=RGB, outputs="sigmoid")
    why = vlx.explain(task, picture())
    assert wording.noun(why) == "label"
    page = why.save(tmp_path / "why.html").read_text(encoding="utf-8")
    assert "All labels, each yes or no by itself" in page
    for label, logprob in why[0].alternatives:
        assert numbers.share(logprob) in page, label
    assert "its outputs are read as yes or no of each label by itself (sigmoid)" in printed(why)


def test_a_contrast_of_labels_has_one_lead(tmp_path: Path) -> None:
    task = classifier(3, labels=RGB, outputs="sigmoid")
    z = task.model.z(task.model.map(picture()))
    why = vlx.explain(task, picture(), answer="red", instead_of="green", looks=True)
    assert wording.lead(why[0]) == pytest.approx(z[0] - z[1])
    assert answers.rows(why[0], "green")[0].chances[0] == pytest.approx(1 / (1 + np.exp(z[1] - z[0])))
    assert why.save(tmp_path / "why.html").is_file()


def test_several_classes_are_no_text() -> None:
    why = vlx.explain(classifier(3, labels=RGB), picture(), answer=["red", "blue"])
    panel = panels.Panel.of(0, why, why, 100)
    assert [item.kind for item in [*panel.shown, *panel.more]] == ["word", "word"]
    assert printed(why).count("red") >= 2


def test_a_counting_head_is_told_as_a_number(tmp_path: Path) -> None:
    why = vlx.explain(vqa(1, lambda z: z, ["how many"], outputs="value"), picture(), question="what")
    for place, words in told(why, tmp_path).items():
        assert not MENTIONS.search(words), (place, MENTIONS.search(words))
    assert chances.short(why[0]) == f"= {numbers.figure(why[0].score, 4)}"


def test_what_a_contrast_of_labels_owes_is_counted_in_log_p() -> None:
    """Of labels that do not exclude each other both sides are log σ, with the picture and with each reference."""
    task = classifier(3, labels=RGB, outputs="sigmoid")
    why = vlx.explain(task, picture(), answer="red", instead_of="green", references=[picture(1)])
    rows = [task.model.z(task.model.map(picture(seed).resize(picture().size))) for seed in (0, 1)]
    own, other = (np.maximum(np.log(1 / (1 + np.exp(-z))), -np.log(2)) for z in rows)
    assert why[0].seen == pytest.approx((own[0] - other[0]) - (own[1] - other[1]), abs=1e-6)
