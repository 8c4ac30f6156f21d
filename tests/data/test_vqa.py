"""VQA with human maps: questions, the answer most gave, what ten people said, and where people looked."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests import sets
from tests.sets import ANSWERED, ASKED
from vlx.data import VqaData, human_map, open_data
from vlx.data.coco import MISSING
from vlx.data.human_maps import human_maps
from vlx.data.vqa import EMPTY, UNANSWERED, UNASKED, UNSEEN, UNTYPED, UNWATCHED
from vlx.errors import ImageError, InputError

BOTH = [
    (42, "What color is the star?", "red", "other"),
    (42, "Is it night?", "yes", "yes/no"),
    (73, "How many dogs?", "2", "number"),
]


def asked(data: Any) -> list[tuple[Any, ...]]:
    examples = [data[n] for n in range(len(data))]
    return [
        (int(Path(one.key).stem.rpartition("_")[2]), ask.query.question, ask.query.answer, ask.group)
        for one in examples
        for ask in one.asks
    ]


@pytest.mark.parametrize(
    ("name", "kind", "subtype"),
    [
        ("COCO_val2014_{:012d}.jpg", "mscoco", "val2014"),
        ("mscoco/val2014/COCO_val2014_{:012d}.jpg", "mscoco", "val2014"),
        ("abstract_v002/val2015/abstract_v002_val2015_{:012d}.png", "abstract_v002", "val2015"),
        ("val2017/{:012d}.jpg", "mscoco", "val2014"),
        ("{}.png", "", ""),
    ],
)
def test_questions_answers_and_pictures_in_each_layout(tmp_path: Path, name: str, kind: str, subtype: str) -> None:
    data: Any = open_data(sets.vqa(tmp_path, name=name, kind=kind, subtype=subtype))
    assert isinstance(data, VqaData)
    assert (asked(data), len(data), data.left_out) == (BOTH, 2, {})
    star, night = data[0].asks
    assert star.answers == ("red",) * 7 + ("dark red",) * 3
    assert (star.truth, night.truth, data[0].image.size) == (None, None, sets.SIZE)


def test_of_two_pictures_of_a_number_the_questions_tell_which(tmp_path: Path) -> None:
    name = sets.vqa(tmp_path)
    sets.picture(tmp_path / "train2014" / "COCO_train2014_000000000042.jpg")
    sets.picture(tmp_path / "abstract_v002_val2014_000000000042.png")
    data: Any = open_data(name)
    assert data[0].key == "COCO_val2014_000000000042.jpg"
    sets.picture(tmp_path / "more" / "COCO_val2014_000000000042.jpg")
    with pytest.raises(InputError, match=r"two pictures of number 42; give the folder of one set"):
        open_data(name)


def test_with_human_maps_those_questions_are_asked_that_have_some(tmp_path: Path) -> None:
    name = sets.vqa(tmp_path)
    Image.new("L", (9, 9)).save(tmp_path / "hat" / "99_1.png")
    data: Any = open_data(f"{name},hat={tmp_path / 'hat'}")
    assert (asked(data), data.left_out) == (BOTH[:1], {UNWATCHED: ("42001", "73000"), UNSEEN: ("99",)})
    assert [path.name for path in data.files(0)] == ["COCO_val2014_000000000042.jpg", "42000_1.png", "42000_2.png"]
    human = data[0].asks[0].truth.human
    assert human.shape == (14, 14)
    left, upper = np.arange(14) < 7, (np.arange(14) < 7)[:, None]
    assert human == pytest.approx((upper * 255 + left * 127) / 510 * np.ones((14, 14)))


def test_human_maps_are_not_opened_before_they_are_asked_for(tmp_path: Path) -> None:
    name = sets.vqa(tmp_path)
    (tmp_path / "hat" / "42000_2.png").write_bytes(b"broken")
    (ask,) = open_data(f"{name},hat={tmp_path / 'hat'}")[0].asks
    assert ask.truth is not None
    with pytest.raises(ImageError, match=r"42000_2.png .*\(a human map\)"):
        _ = ask.truth.human


@pytest.mark.parametrize("size", [(14, 14), (28, 14), (100, 60), (7, 5), (15, 33)])
def test_a_human_map_is_the_mean_over_areas(tmp_path: Path, size: tuple[int, int]) -> None:
    values = np.random.default_rng(0).integers(0, 256, (2, size[1], size[0]), np.uint8)
    paths = []
    for n, one in enumerate(values):
        paths.append(tmp_path / f"5_{n}.png")
        Image.fromarray(one, "L").convert("RGB" if n else "L").save(paths[-1])
    fine = np.repeat(np.repeat(values.mean(0) / 255, 14, 0), 14, 1)  # each cell is now a whole number of pixels
    slow = fine.reshape(14, size[1], 14, size[0]).mean((1, 3))
    assert human_map(paths) == pytest.approx(slow, abs=1e-5)
    assert human_maps(tmp_path) == {5: tuple(paths)}


def test_human_maps_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no human maps; they are named by their question"):
        human_maps(tmp_path)
    with pytest.raises(InputError, match=r"nowhere: no such folder"):
        human_maps(tmp_path / "nowhere")
    for folder in ("a", "b"):
        sets.picture(tmp_path / folder / "5_1.png")
    with pytest.raises(InputError, match=r"5_1.png: two maps of one person"):
        human_maps(tmp_path)
    with pytest.raises(InputError, match=r"no human maps to average"):
        human_map([])


def changed(records: list[Any], place: int, **members: Any) -> list[Any]:
    records = copy.deepcopy(records)
    records[place] = {name: value for name, value in {**records[place], **members}.items() if value is not ...}
    return records


@pytest.mark.parametrize(
    ("questions", "annotations", "message"),
    [
        (changed(ASKED, 1, question=...), ANSWERED, r"questions.json: questions\[1\] lacks question; give it as VQA"),
        (changed(ASKED, 1, question_id="1"), ANSWERED, r"questions\[1\] has question_id '1'"),
        (changed(ASKED, 1, image_id=True), ANSWERED, r"questions\[1\] has image_id True"),
        (changed(ASKED, 1, question=" "), ANSWERED, r"questions\[1\] has an empty question"),
        ([*ASKED, ASKED[0]], ANSWERED, r"questions\[3\] has question_id 42000, as one before it; keep one"),
        (ASKED, [*ANSWERED, ANSWERED[1]], r"annotations.json: annotations\[3\] has question_id 42001, as one before"),
        (
            ASKED,
            changed(ANSWERED, 2, image_id=42),
            r"annotations\[2\] is about picture 42, its question 73000 about 73",
        ),
        (ASKED, changed(ANSWERED, 2, answers=[]), r"annotations\[2\] has no answers"),
        (ASKED, changed(ANSWERED, 2, answers=["2"]), r"annotations\[2\] has answers\[0\] '2'; give \{\"answer\""),
        (ASKED, changed(ANSWERED, 0, multiple_choice_answer=3), r"annotations\[0\] has multiple_choice_answer 3"),
    ],
)
def test_broken_records_are_named(tmp_path: Path, questions: Any, annotations: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_data(sets.vqa(tmp_path, questions, annotations))


def test_the_answer_of_most_is_counted_where_it_is_not_told(tmp_path: Path) -> None:
    people = [{"answer": one} for one in ["blue", *["dark red"] * 2, *["red"] * 3]]
    told = changed(ANSWERED, 0, multiple_choice_answer=..., answer_type=..., answers=people)
    assert asked(open_data(sets.vqa(tmp_path, ASKED, told))) == [(*BOTH[0][:3], UNTYPED), *BOTH[1:]]


def test_what_cannot_be_asked_is_counted(tmp_path: Path) -> None:
    stranger = {"image_id": 99, "question": "Who?", "question_id": 99000}
    lost = {"image_id": 42, "question": "Why?", "question_id": 42009}
    told = [
        *changed(ANSWERED, 1, multiple_choice_answer=" "),
        sets.answered(stranger, "other", ["me"]),
        sets.answered({**lost, "question_id": 1}, "other", ["so"]),
    ]
    data: Any = open_data(sets.vqa(tmp_path, [*ASKED, stranger, lost], told))
    assert asked(data) == [BOTH[0], BOTH[2]]
    assert data.left_out == {EMPTY: ("42001",), UNASKED: ("1",), UNANSWERED: ("42009",), MISSING: ("99",)}


@pytest.mark.parametrize(
    "rest",
    [
        "",
        "a.json",
        "a.json,b.json",
        "a.json,b.json,c,d",
        "a.json,b.json,c,hat=",
        "a.json,b.json,hat=c",
        "a,b,c,hat=d,hat=e",
    ],
)
def test_a_name_that_lacks_a_part_is_refused(rest: str) -> None:
    with pytest.raises(InputError, match=r"write vqa2:QUESTIONS.json,ANNOTATIONS.json,DIR"):
        open_data(f"vqa2:{rest}")


def test_pictures_that_are_elsewhere_are_told(tmp_path: Path) -> None:
    name = sets.vqa(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty: none of the 2 pictures that are asked about is there"):
        open_data(name.rpartition(",")[0] + f",{tmp_path / 'empty'}")
    with pytest.raises(InputError, match=r"nowhere: no such folder"):
        open_data(name.rpartition(",")[0] + f",{tmp_path / 'nowhere'}")
    with pytest.raises(InputError, match=r"nothing.json: no such file"):
        open_data(f"vqa2:{tmp_path}/nothing.json,b.json,{tmp_path}")


def test_a_digest_tells_other_answers_and_maps(tmp_path: Path) -> None:
    name = f"{sets.vqa(tmp_path)},hat={tmp_path / 'hat'}"
    before = open_data(name).digest()
    assert open_data(name).digest() == before
    (tmp_path / "annotations.json").write_text(json.dumps({"annotations": changed(ANSWERED, 0, answer_type="number")}))
    other = open_data(name).digest()
    (tmp_path / "hat" / "42000_2.png").unlink()
    assert len({before, other, open_data(name).digest()}) == 3
