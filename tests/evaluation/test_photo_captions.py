"""Captions of photographs in a folder, measured: the right picture's, by the search that is named."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from rich.console import Console

from tests.cli.test_cli import refused, run
from tests.fakes import tiny_bundle
from tests.heads import classifier
from vlx.data import captioned
from vlx.data.captioned import Photographs
from vlx.data.flickr import PhotographData
from vlx.errors import InputError
from vlx.evaluation import datasets, evaluate
from vlx.evaluation.cards.photo import say
from vlx.evaluation.metrics.captions import PERSON, captions_by, figures
from vlx.evaluation.result import Result

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


class Namer:
    """A captioner that names a picture's strongest channel; with more than one beam it says it in a longer way."""

    kind, name = "captioning", "namer"

    def prepare(self, image: Image.Image) -> torch.Tensor:
        return torch.tensor(image.getpixel((4, 4)), dtype=torch.float32)

    def place(self, images: torch.Tensor) -> torch.Tensor:
        return images

    def features(self, images: torch.Tensor) -> Any:
        return SimpleNamespace(A=images[:, :, None, None], maps={})

    def predict(self, features: Any, queries: Sequence[Any]) -> list[Any]:
        assert len(features.A) == len(queries)
        words = [list(COLOURS)[int(row.argmax())] for row in features.A]
        tail = ["" if query.beams == 1 else " in front" for query in queries]
        return [SimpleNamespace(text=f"a {word} wall{end}") for word, end in zip(words, tail, strict=True)]


def coco(folder: Path, count: int = 40) -> Path:
    """Pictures of one colour with two captions each, numbered; some more captions than pictures."""
    (folder / "val2017").mkdir(parents=True)
    told = []
    for number in range(count):
        word = list(COLOURS)[number % 3]
        Image.new("RGB", (8, 8), COLOURS[word]).save(folder / "val2017" / f"{number:03}.png")
        told += [{"image_id": number, "caption": f"A {word} wall."}, {"image_id": number, "caption": f"One {word}."}]
    images = [{"id": number, "file_name": f"{number:03}.png"} for number in range(count)]
    (folder / "captions_val2017.json").write_text(json.dumps({"images": images, "annotations": told}))
    return folder


def measured(task: Any, data: Photographs, name: str, beams: Sequence[int] = (1, 3)) -> Result:
    return evaluate(task, PhotographData(data, name), metrics=[captions_by(beams)])


def flickr(folder: Path) -> Path:
    (folder / "Images").mkdir(parents=True)
    lines = ["image,caption"]
    for name, word in (("a.jpg", "red"), ("b.jpg", "green"), ("c.jpg", "blue")):
        Image.new("RGB", (8, 8), COLOURS[word]).save(folder / "Images" / name)
        lines.append(f"{name},A {word} wall .")
    (folder / "captions.txt").write_text("\n".join(lines))
    (folder / "Flickr_8k.testImages.txt").write_text("c.jpg\nb.jpg\n")
    return folder


def test_every_caption_is_held_against_its_own_picture(tmp_path: Path) -> None:
    data = datasets.photographs(f"coco:{coco(tmp_path)}")
    result = measured(Namer(), data, "coco:DIR", beams=(1, 3))
    assert result.value("BLEU-1", "greedy", "", "captions") == pytest.approx(1.0)
    assert result.value("BLEU-1", "3 beams", "", "captions") == pytest.approx(3 / 5)
    assert result.n == 40
    wrong = say(Namer(), data.rows, (1,)).captions[1]  # type: ignore[arg-type]
    turned = figures({"turned": [*wrong[1:], wrong[0]]}, data.rows)
    assert next(row.value for row in turned if row.group == "BLEU-1") == pytest.approx(81 / 120)


def test_a_broken_picture_in_the_middle_is_counted_named_and_moves_no_caption(tmp_path: Path) -> None:
    folder = coco(tmp_path)
    (folder / "val2017" / "005.png").write_bytes(b"no picture")
    result = measured(Namer(), datasets.photographs(f"coco:{folder}"), "coco:DIR")
    assert result.n == 39
    assert result.value("BLEU-1", "greedy", "", "captions") == pytest.approx(1.0)
    said = say(Namer(), datasets.photographs(f"coco:{folder}").rows, (1,))  # type: ignore[arg-type]
    assert list(said.looks) == [row.name for row in said.rows]
    colours = [list(COLOURS)[int(said.looks[row.name].argmax())] for row in said.rows]
    assert colours == [caption.split()[1] for caption in said.captions[1]]
    assert "1 left out, cannot be read: 005.png" in result.notes
    assert result.to_json()["notes"][0] == "1 left out, cannot be read: 005.png"
    with pytest.raises(InputError, match=r"none of 1 pictures can be read, as 005.png"):
        say(Namer(), [row for row in datasets.photographs(f"coco:{folder}").rows if row.name == "005.png"])  # type: ignore[arg-type]


def test_a_person_is_not_compared_with_himself(tmp_path: Path) -> None:
    data = datasets.photographs(f"coco:{coco(tmp_path)}")
    result = measured(Namer(), data, "coco:DIR")
    row = next(row for row in result.rows if (row.method, row.group) == (PERSON, "BLEU-1"))
    assert row.value == pytest.approx(1 / 3)  # "a red wall" against "one red"


def test_a_picture_with_one_caption_has_no_others_to_compare_a_person_with(tmp_path: Path) -> None:
    data = datasets.photographs(f"flickr8k:{flickr(tmp_path)}")
    methods = {row.method for row in measured(Namer(), data, "x").rows}
    assert methods == {"greedy", "3 beams"}


def test_the_table_says_what_was_measured_on_what(tmp_path: Path) -> None:
    model, folder = tiny_bundle(tmp_path / "tiny"), coco(tmp_path / "data", 5)
    result = run("evaluate", model, f"coco:{folder}", "--n", 4)
    assert result.exit_code == 0
    for word in ("4 photographs", "--metrics captions --n 4", "greedy", "3 beams", "BLEU-4", PERSON):
        assert word in " ".join(result.output.split())
    assert "target" not in result.output
    told = json.loads(run("evaluate", model, f"coco:{folder}", "--metrics", "captions", "--json").stdout)
    assert told["n"] == 5
    assert {row["count"] for row in told["rows"]} == {5}


def test_the_official_test_split_is_taken_unless_a_list_is_given(tmp_path: Path) -> None:
    folder = flickr(tmp_path)
    assert [row.name for row in datasets.photographs(f"flickr8k:{folder}").rows] == ["b.jpg", "c.jpg"]
    for text in ('["a.jpg", "z.jpg"]', "a.jpg\nz.jpg\n\na.jpg\n"):
        (tmp_path / "list").write_text(text)
        found = datasets.photographs(f"flickr8k:{folder}", tmp_path / "list")
        assert [row.name for row in found.rows] == ["a.jpg"]
        assert found.left_out[datasets.UNKNOWN] == ("z.jpg",)
    (folder / "Flickr_8k.testImages.txt").unlink()
    with pytest.raises(InputError, match=r"Flickr_8k.testImages.txt is missing"):
        datasets.photographs(f"flickr8k:{folder}")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("voc:x", r"^voc:x: 'voc' is no kind of data set; write flickr8k:DIR or coco:DIR"),
        ("photos", r"^photos: a data set is named by its kind and its folder; write flickr8k:DIR or coco:DIR"),
        ("coco:", r"is no kind of data set|named by its kind"),
        ("coco:/nowhere", r"/nowhere is no folder"),
    ],
)
def test_names_of_other_data_are_refused(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        datasets.parsed(name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]", r"not all of its entries are names"),
        ('["a"', r"no list of names"),
        (" \n ", r"the list of names is empty"),
        ("q.jpg", r"none of its 1 names is a captioned picture of flickr8k:.*, as 'q.jpg'"),
    ],
)
def test_lists_that_name_nothing_are_refused(tmp_path: Path, text: str, message: str) -> None:
    folder = flickr(tmp_path)
    (tmp_path / "list").write_text(text)
    with pytest.raises(InputError, match=message):
        datasets.photographs(f"flickr8k:{folder}", tmp_path / "list")
    with pytest.raises(InputError, match=r"no list of names"):
        datasets.photographs(f"flickr8k:{folder}", tmp_path / "nowhere")


def test_questions_without_a_sense_are_refused(tmp_path: Path) -> None:
    model, folder = tiny_bundle(tmp_path / "tiny"), coco(tmp_path / "data", 2)
    assert run("evaluate", model, "--metrics", "captions").exit_code == 2
    assert run("evaluate", model, "--only", tmp_path / "x").exit_code == 2
    assert run("evaluate", model, f"coco:{folder}", "--metrics", "because").exit_code == 1
    refused(r"voc:x: no ", "evaluate", model, "voc:x")
    with pytest.raises(InputError, match=r"Net does classification; captions are measured of a captioner"):
        say(classifier(3), [])
    assert captioned.omissions({}) == []


def test_what_notes_hold_is_no_markup() -> None:
    told = Result(
        "tiny", 1, (), "vlx evaluate tiny coco:x", notes=("pip install 'vlx[captions]'", "1 left out: [/a].jpg")
    )
    shown = io.StringIO()
    Console(file=shown, width=130).print(told.table())
    read = "".join(shown.getvalue().split())
    assert "pipinstall'vlx[captions]'" in read and "[/a].jpg" in read
