"""Pictures by lot: the same of the same data in any order, of classes evenly; evaluate keeps the first, and says so."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import vlx
from tests.auditing.marked import COLOURS, misled
from tests.fakes import captioner
from vlx.data.example import Ask, Example
from vlx.errors import ImageError, InputError
from vlx.evaluation import Metric, evaluate, lots
from vlx.evaluation.lots import by_lot, later_classes
from vlx.evaluation.shown import Setting
from vlx.methods.registry import choose


class Listed:
    """Pictures by name with their classes, in the order in which they are given."""

    name, licence = "listed", ""

    def __init__(self, pictures: Sequence[tuple[str, Sequence[str]]]) -> None:
        self.pictures = pictures
        self.classes = tuple(dict.fromkeys(name for _, names in pictures for name in names))

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, number: int) -> Example:
        key, names = self.pictures[number]

        def asks() -> list[Ask]:
            if "broken" in key:
                raise ImageError(f"{key}: cannot be read")
            return [Ask(label=name, group=name) for name in names]

        return Example(key, picture, asks=asks)

    def digest(self) -> str:
        return "the same"


def picture() -> Image.Image:
    return Image.new("RGB", (32, 32), (180, 40, 40))


def folder(**counts: int) -> list[tuple[str, Sequence[str]]]:
    return [(f"{name}/{n:04}.png", [name]) for name, count in counts.items() for n in range(count)]


def drawn(pictures: Sequence[tuple[str, Sequence[str]]], count: int, task: Any = None) -> list[str]:
    setting = Setting(task or misled(), Listed(pictures), (choose("gradcam"),), ("logit",))
    return [pictures[place][0] for place in by_lot(setting, count)]


def classes(keys: Sequence[str]) -> Counter[str]:
    return Counter(key.partition("/")[0] for key in keys)


def test_of_a_folder_of_classes_each_is_taken_as_often() -> None:
    keys = drawn(folder(red=300, blue=300), 120)
    assert classes(keys[:120]) == {"red": 60, "blue": 60}
    assert sorted(keys) == sorted(key for key, _ in folder(red=300, blue=300))
    assert len({key for key in keys[:120] if int(key[-8:-4]) >= 150}) > 30  # and not the first ones of each


def test_a_small_class_is_taken_whole() -> None:
    assert classes(drawn(folder(red=300, blue=7), 40)[:40]) == {"red": 33, "blue": 7}
    assert classes(drawn(folder(red=3, blue=3), 40)) == {"red": 3, "blue": 3}


@pytest.mark.parametrize("task", [None, captioner()], ids=["classes", "captions"])
def test_the_same_pictures_are_taken_in_whatever_order_they_are_listed(task: Any) -> None:
    pictures = folder(red=50, blue=90)
    shuffled = [pictures[n] for n in np.random.default_rng(1).permutation(len(pictures))]
    assert drawn(pictures, 30, task) == drawn(shuffled, 30, task) == drawn(pictures[::-1], 30, task)
    assert drawn(pictures, 30, task)[:30] != [key for key, _ in pictures[:30]]


def test_what_the_model_does_not_know_is_taken_last() -> None:
    keys = drawn([*folder(red=20, green=90, blue=20), *((f"none/{n}", []) for n in range(90))], 60)
    assert classes(keys[:40]) == {"red": 20, "blue": 20}
    assert classes(keys[40:60]).keys() <= {"green", "none"}


def test_pictures_of_several_classes_are_dealt_by_the_rarest() -> None:
    pictures = [(f"{n}", ["red"] if n % 10 else ["red", "blue"]) for n in range(200)]
    first = drawn(pictures, 20)[:20]
    blues = sum(int(key) % 10 == 0 for key in first)
    assert len(set(first)) == 20 and blues >= 9


def test_where_classes_are_not_asked_for_it_is_the_plain_lot() -> None:
    counted = classes(drawn(folder(red=900, blue=100), 100, captioner())[:100])
    assert counted["red"] > 80


def test_a_picture_that_cannot_be_read_and_names_that_are_no_text() -> None:
    pictures = [*folder(red=5, blue=5), ("broken", ["red"]), ("\udcff/ä.png", ["blue"]), ("\udcff/ä.png", ["blue"])]
    keys = drawn(pictures, 12)
    assert len(keys) == 13 and keys[-1] == "broken"


def test_of_very_many_some_places_are_drawn_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lots, "MOST", 50)
    keys = drawn(folder(red=300, blue=300), 20)
    assert len(keys) == len(set(keys)) == 50 and set(classes(keys[:20]).values()) == {10}


# An audit


def export(root: Path, **counts: int) -> Path:
    for key, _ in folder(**counts):
        path = root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(len(key))
        pixels = rng.integers(90, 110, (32, 32, 3))
        pixels[8:24, 8:24] = COLOURS[path.parent.name]
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    return root


def test_an_audit_of_some_pictures_takes_them_by_lot_and_says_so(tmp_path: Path) -> None:
    root = export(tmp_path / "squares", blue=24, red=8)
    audit = vlx.audit(misled(), root, n=12, out=tmp_path / "run")
    assert {one.answer: one.true for one in audit.answers} == {"red": 6, "blue": 6} and audit.n == 12
    assert audit.notes == ("12 of 32 pictures, by --n: taken by lot, seed 0, each class as evenly as the data go",)
    again = vlx.audit(misled(), root, n=12, out=tmp_path / "run", resume=True)
    assert again.to_json() == audit.to_json()
    assert vlx.audit(misled(), root, n=99).notes == ()


def test_a_run_of_the_first_pictures_is_not_gone_on_with_by_lot(tmp_path: Path) -> None:
    root = export(tmp_path / "squares", blue=24, red=8)
    vlx.audit(misled(), root, n=12, out=tmp_path / "run")
    path = tmp_path / "run" / "records.jsonl"
    path.write_text(path.read_text().replace(', "chosen": "by lot, seed 0"', "", 1))
    with pytest.raises(InputError, match="chosen was the first pictures"):
        vlx.audit(misled(), root, n=12, out=tmp_path / "run", resume=True)


# Evaluation keeps the first ones


METRIC = Metric("one", "1", lambda context: dict.fromkeys(context.maps, 1.0), anywhere=True)


def keys_of(root: Path, metric: Metric, n: int, out: Path) -> list[str]:
    evaluate(misled(), f"classes:{root}", metrics=[metric], methods=["gradcam"], n=n, out=out)
    lines = map(json.loads, (out / "records.jsonl").read_text().splitlines()[1:])
    return [key for line in lines if "done" in line for key in line["done"]]


def test_an_evaluation_takes_the_first_and_tells_the_classes_that_come_later(tmp_path: Path) -> None:
    root = export(tmp_path / "squares", blue=12, red=12)
    assert keys_of(root, METRIC, 8, tmp_path / "run") == [f"blue/{n:04}.png" for n in range(8)]
    told = evaluate(misled(), f"classes:{root}", metrics=[METRIC], methods=["gradcam"], n=8).notes
    assert "1 left out, classes of none of the first 8 pictures: red" in told
    told = evaluate(misled(), f"classes:{root}", metrics=[METRIC], methods=["gradcam"], n=16).notes
    assert not any("left out" in note for note in told)
    assert classes(keys_of(root, replace(METRIC, by_lot=True), 8, tmp_path / "lot")) == {"blue": 4, "red": 4}


@pytest.mark.parametrize(
    ("order", "later"),
    [("rrrrbb", ["blue"]), ("rbrrbb", []), ("rbrbrb", []), ("rrbbrr", []), ("rrr.bb", []), ("rrrr..", [])],
)
def test_data_in_order_of_class_are_known_by_their_first_pictures(order: str, later: list[str]) -> None:
    names = {"r": ["red"], "b": ["blue"], ".": []}
    data = Listed([(f"{n}", names[one]) for n, one in enumerate(order)])
    setting = Setting(misled(), data, (choose("gradcam"),), ("logit",))
    assert later_classes(setting, 4) == later
    assert later_classes(setting, 6) == later_classes(setting, None) == later_classes(setting, 60) == []
    assert later_classes(replace(setting, task=captioner()), 4) == []
