"""`vlx.audit` end to end in a world whose truth is known: a mark at the corner that a model takes for red."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vlx
from tests.auditing.marked import COLOURS, Marked, misled
from vlx.errors import InputError
from vlx.scenes.export import export

MARKS = tuple(int(n) for n in np.flatnonzero(np.random.default_rng(5).random(120) < 0.5))


@pytest.mark.parametrize("told", [True, False], ids=["masks", "no-masks"])
def test_the_mark_is_found_tried_and_nothing_else(told: bool) -> None:
    """Without masks a kind of cells that look alike is the mark: its examples lie in the corner."""
    audit = vlx.audit(misled(), Marked(120, MARKS, told=told))
    (lean,) = [one for one in audit.findings if one.level == "finding"]
    assert lean.kind == "leans" and lean.answer == "red" and lean.low > 5
    assert lean.trial is not None and lean.trial.changed == lean.trial.tried > 20 and lean.trial.random < 2
    if told:
        assert lean.concept == "mark"
    else:
        assert lean.examples and all(one.box[0] < 8 and one.box[1] < 8 for one in lean.examples)
    blues_marked = sum(n % 2 for n in MARKS)
    assert (audit.right, audit.judged) == (120 - blues_marked, 120)


def test_a_model_that_the_mark_does_not_mislead_is_told_so() -> None:
    audit = vlx.audit(misled(mark=0.0), Marked(120, MARKS))
    assert not [one for one in audit.findings if one.level == "finding"]
    assert audit.right == audit.judged == 120


def test_a_plain_folder_of_classes_is_audited_and_its_page_written(tmp_path: Path) -> None:
    data = Marked(60, MARKS)
    for number in range(60):
        folder = tmp_path / "squares" / [*COLOURS][number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        data[number].image.save(folder / f"{number:03}.png")
    audit = vlx.audit(misled(), tmp_path / "squares", out=tmp_path / "run")
    assert audit.judged == 60 and audit.concepts_are == "regions alike"
    assert json.loads((tmp_path / "run" / "audit.json").read_text())["n"] == 60
    assert "<html" in (tmp_path / "run" / "index.html").read_text()
    again = vlx.audit(misled(), tmp_path / "squares", out=tmp_path / "run", resume=True)
    assert again.to_json() == audit.to_json()
    with pytest.raises(InputError, match="resume"):
        vlx.audit(misled(), tmp_path / "squares", out=tmp_path / "run")
    with pytest.raises(InputError, match="weights was"):
        vlx.audit(misled(mark=1.0), tmp_path / "squares", out=tmp_path / "run", resume=True)


def test_a_run_that_is_cut_short_goes_on(tmp_path: Path) -> None:
    whole = vlx.audit(misled(), Marked(60, MARKS), out=tmp_path / "whole")

    def cut(batches):  # type: ignore[no-untyped-def]
        for number, batch in enumerate(batches):
            if number == 2:
                raise KeyboardInterrupt
            yield batch

    with pytest.raises(KeyboardInterrupt):
        vlx.audit(misled(), Marked(60, MARKS), out=tmp_path / "cut", progress=cut)
    lines = (tmp_path / "cut" / "records.jsonl").read_text().splitlines()
    assert sum('"done"' in line for line in lines) == 2
    gone_on = vlx.audit(misled(), Marked(60, MARKS), out=tmp_path / "cut", resume=True)
    assert gone_on.to_json() == whole.to_json()


def test_pictures_of_which_nothing_is_known_are_not_judged(tmp_path: Path) -> None:
    for number in range(4):
        Image.fromarray(np.full((32, 32, 3), 60 * number, np.uint8)).save(tmp_path / f"{number}.png")
    audit = vlx.audit(misled(), tmp_path)
    assert audit.judged == 0 and audit.n == 4 and audit.strength != audit.strength


@pytest.mark.parametrize("n", [0, -1])
def test_no_pictures_are_no_audit(n: int) -> None:
    with pytest.raises(InputError, match="at least one"):
        vlx.audit(misled(), Marked(4, ()), n=n)


def test_a_folder_that_says_what_it_is_is_read_as_that(tmp_path: Path) -> None:
    export(3, tmp_path / "drawn", first=10_000_000, size=64)
    audit = vlx.audit(vlx.load("scenes/captioner"), tmp_path / "drawn", n=1)
    assert not audit.data.startswith("classes:") and audit.concepts_are == "concepts"


def test_which_pictures_were_asked_about_is_told() -> None:
    (note,) = vlx.audit(misled(), Marked(8, MARKS), n=4).notes
    assert note == "4 of 8 pictures, by --n: taken by lot, seed 0, each class as evenly as the data go"
    assert vlx.audit(misled(), Marked(4, MARKS), n=4).notes == ()


def test_captions_and_questions_are_taken_by_the_plain_lot() -> None:
    (note,) = vlx.audit(vlx.load("scenes/captioner"), vlx.data.SceneData(5, 10_000_000, 64), n=1).notes
    assert note == "1 of 5 pictures, by --n: taken by lot, seed 0"
