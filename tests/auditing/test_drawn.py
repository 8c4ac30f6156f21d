"""The worst mistakes and their pictures: which they are, maps made anew, crops, files whole or not there."""

import base64
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import vlx
from tests.audits import LEAN, audited, wrong
from tests.fakes import captioner
from vlx.auditing import Audit, drawn, worst, writing
from vlx.auditing.answered import Answered, OnConcept
from vlx.auditing.result import Crop, Listed, Occurrence
from vlx.data import open_data
from vlx.data.example import Example
from vlx.errors import OutputError
from vlx.report import pictures, wording

SCENES = "scenes:3:10000000"


def pixels(address: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))).convert("RGB"))


def answered(key: str, lead: float, *, right: bool | None = False, **told: Any) -> Answered:
    return Answered(key, 0, "rocket", "car", right, instead="car", logprob=-0.1, lead=lead, **told)


def test_the_worst_are_the_surest_one_a_picture() -> None:
    nan = math.nan
    answers = [
        answered("a", 1.0),
        answered("a", 3.0),
        answered("a", 2.0),
        answered("b", 9.0, right=True),
        answered("c", 9.0, right=None),
        answered("d", nan),
        answered("e", 5.0),
        answered("f", 3.0),
    ]
    found = worst.mistakes(answers)
    assert [(one.key, one.lead) for one in found[:3]] == [("e", 5.0), ("a", 3.0), ("f", 3.0)]
    assert found[3].key == "d" and math.isnan(found[3].lead)
    assert found[0].true_logprob == pytest.approx(-5.1)
    assert len(worst.mistakes([answered(str(n), n) for n in range(30)])) == 20


def test_a_mistake_carries_the_first_source_that_there_is() -> None:
    def of(share: float, contrast: float) -> OnConcept:
        return OnConcept(9.0, share, contrast, 0.1, "scene")

    places = {"places": {"bottom": of(0.5, 1.0), "top": of(0.6, -1.0), "left": of(0.7, math.nan)}}
    (one,) = worst.mistakes([answered("a", 1.0, evidence={"concepts": {}, **places})])
    assert [(each.concept, each.share, each.signed) for each in one.carried] == [
        ("top", 0.6, -1.0),
        ("bottom", 0.5, 1.0),
    ]
    (one,) = worst.mistakes([answered("a", 1.0, evidence={**places, "concepts": {"sky": of(0.1, 2.0)}})])
    assert [(each.concept, each.category) for each in one.carried] == [("sky", "scene")]


@pytest.mark.parametrize("method", ["hirescam", "of another process"])
def test_maps_are_those_that_explain_makes(method: str) -> None:
    task, data = vlx.load("scenes/vqa"), open_data(SCENES)
    asked = next(ask.query.question for ask in data[1].asks if ask.query.question)
    why = vlx.explain(task, data[1].image, question=asked, seen=False, check=False)
    other = next(label for label, _ in why.words[0].alternatives if label != why.text)
    one = wrong(key=data[1].key, said=why.text, true=other, instead=other, question=asked)
    made = drawn.drawings(audited(mistakes=(one,), method=method), task, data).mistakes[0]
    assert made.why_not == ()
    way: dict[str, Any] = {"method": method} if method == "hirescam" else {}
    why = vlx.explain(task, data[1].image, question=asked, seen=False, check=False, **way)
    contrast = vlx.explain(task, data[1].image, question=asked, answer=why.text, instead_of=other, seen=False, **way)
    small = [pictures.Drawn.of(each, drawn.SIDE) for each in (why, contrast)]
    tops = [wording.ending(each.words[0]) for each in (why, contrast)]
    wanted = (small[0].under(why.words[0].signed, tops[0]), small[1].under_signed(contrast.words[0].signed, tops[1]))
    for address, expected in zip((each.address for each in made.maps), wanted, strict=True):
        assert address == pictures.address(expected)
    assert pixels(made.picture).shape == small[0].plain.shape
    assert made.maps[1].check == contrast.words[0].check.verdict  # type: ignore[union-attr]
    assert f"“{why.text}” rather than “{other}”" == made.maps[1].called


def test_a_caption_s_word_is_contrasted_in_its_place() -> None:
    task, data = captioner(), open_data(SCENES)
    why = vlx.explain(task, data[0].image, seen=False, check=False)
    other = next(label for label, _ in why.words[1].alternatives if label != why.words[1].label)
    one = wrong(key=data[0].key, said=why.words[1].label, instead=other, text=why.text, position=1)
    made = drawn.drawings(audited(mistakes=(one,)), task, data).mistakes[0]
    forced = vlx.explain(task, data[0].image, caption=why.text, seen=False, check=False)
    expected = pictures.Drawn.of(forced, drawn.SIDE).under(forced[1].signed, wording.ending(forced[1]))
    assert made.why_not == () and len(made.maps) == 2
    assert made.maps[0].address == pictures.address(expected)


@pytest.mark.parametrize(
    ("change", "maps", "said"),
    [
        ({"key": "gone.jpg"}, 0, "the data no longer have this picture"),
        ({"instead": "no such answer"}, 1, "no map of “{said}” rather than “no such answer”: "),
        ({"said": "something else"}, 0, "asked again it says “{said}”: no map of what it said before"),
        ({"question": ""}, 0, "its map cannot be made: "),
        ({"instead": ""}, 1, ""),
    ],
)
def test_what_cannot_be_drawn_is_told_in_its_place(change: dict[str, Any], maps: int, said: str) -> None:
    task, data = vlx.load("scenes/vqa"), open_data(SCENES)
    asked = next(ask.query.question for ask in data[0].asks if ask.query.question)
    text = vlx.explain(task, data[0].image, question=asked, seen=False, check=False).text
    one = wrong(**{"key": data[0].key, "said": text, "question": asked, "instead": text, **change})
    made = drawn.drawings(audited(mistakes=(one,)), task, data).mistakes[0]
    assert len(made.maps) == maps
    wanted = [said.format(said=text)] if said else []
    assert [note[: len(start)] for note, start in zip(made.why_not, wanted, strict=True)] == wanted


class Two:
    """Two pictures, of which one cannot be read."""

    name, licence = "two", ""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, number: int) -> Example:
        ramp = np.dstack([np.tile(np.arange(100, dtype=np.uint8), (50, 1)), *[np.zeros((50, 100), np.uint8)] * 2])
        return Example("broken", "no such file.png") if number else Example("ramp", Image.fromarray(ramp))

    def digest(self) -> str:
        return "two"


def test_crops_and_thumbnails_are_of_the_pictures() -> None:
    boxes = {
        "inside": (40.0, 10.0, 20.0, 20.0),
        "corner": (95.0, 45.0, 30.0, 30.0),
        "outside": (200.0, 200.0, 5.0, 5.0),
    }
    crops = tuple(Crop("ramp", box) for box in boxes.values())
    listed = Listed(tuple(Occurrence(key, "x", 0.9) for key in ("ramp", "broken", "gone")), 3, 3, "how")
    finding = Audit(
        "m", "d", 2, findings=(LEAN.__class__("leans", "…", examples=(*crops, Crop("broken", boxes["inside"]))),)
    )
    made = drawn.drawings(Audit("m", "d", 2, findings=finding.findings, unowed=listed), vlx.load("scenes/vqa"), Two())
    assert [*made.thumbs] == ["ramp"] and set(made.crops) == set(crops)
    assert pixels(made.thumbs["ramp"]).shape == (28, 56, 3)
    reds = pixels(made.crops[crops[0]])[..., 0].astype(int)
    assert abs(reds[:, :3].mean() - 37) < 4 and abs(reds[:, -3:].mean() - 62) < 4  # a fifth wider than its box
    assert all(max(pixels(address).shape) == drawn.CROP for address in made.crops.values())


def test_files_are_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    audit, task, data = audited(mistakes=()), vlx.load("scenes/vqa"), open_data(SCENES)
    assert writing.write(audit, task, data, tmp_path) == tmp_path / "index.html"
    told = json.loads((tmp_path / "audit.json").read_text())
    assert told == audit.to_json()
    found = json.loads((tmp_path / "findings.json").read_text())
    assert found["findings"] == told["findings"] and found["looked_at"] == 64 and "answers" not in found
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match=r"audit.json: cannot be written \(No space left on device\); choose another"):
        writing.write(audited(model="another", mistakes=()), task, data, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
