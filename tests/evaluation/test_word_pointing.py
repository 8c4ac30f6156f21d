"""Word pointing on outlined photographs: a captioner that points right scores 1, and planted mistakes are seen."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from tests.cli.test_cli import refused, run
from tests.fakes import tiny_bundle
from tests.heads import classifier
from vlx.data import CocoData
from vlx.data.categories import CATEGORIES_OF, WORDS, named
from vlx.data.coco import Outlined
from vlx.errors import InputError
from vlx.evaluation import datasets, evaluate
from vlx.evaluation.cards import sheet
from vlx.evaluation.figures import EVERY as ALL
from vlx.evaluation.figures import SMALL
from vlx.evaluation.intervals import over_pictures
from vlx.evaluation.metrics import pointing
from vlx.evaluation.metrics.pointing import peaks_of
from vlx.evaluation.result import Result
from vlx.pictures.placement import Placement
from vlx.tasks.captioning import CnnLstmCaptioner

VOCABULARY = ["<start>", "<end>", "a", "dog", "and", "car"]
WIDE, HIGH, CELL = 128, 96, 16  # of a picture and of one cell on it; the model sees half of that: 6 × 8 cells
COLOURS = {"dog": (255, 0, 0), "car": (0, 0, 255)}
PICTURES = 12


class Colours(nn.Module):
    """How red, green and blue each cell of 8 × 8 pixels is: [B, 3, 6, 8]."""

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(images, 8)


class Namer(nn.Module):
    """Says "dog" of red and "car" of blue, by the mean over all cells; its attention is on the red, always."""

    def start(self, A: Tensor) -> tuple[Tensor, ...]:
        red = A[:, 0].flatten(1)
        return A.mean((2, 3)), red / red.sum(1, keepdim=True)

    def step(self, tokens: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        return state[0], state

    def logits(self, hidden: Tensor) -> Tensor:
        red, _, blue = hidden.T
        none = torch.zeros_like(red)
        return torch.stack([none, none, none, 9 * red, none, 9 * blue], 1)


def prepare(image: Image.Image) -> Tensor:
    small = image.resize((WIDE // 2, HIGH // 2), Image.Resampling.BOX)
    return torch.from_numpy(np.asarray(small, np.float32) / 255).permute(2, 0, 1)


def namer(**changes: Any) -> CnnLstmCaptioner:
    options: dict[str, Any] = {"start": 0, "end": 1, "name": "namer", **changes}
    return CnnLstmCaptioner(Colours().eval(), Namer().eval(), VOCABULARY, prepare, **options)


def square(i: int, j: int, cells: int) -> list[float]:
    """The outline of some cells each way from cell (i, j), a pixel inside their edge, as COCO has it."""
    top, left, side = CELL * i + 1, CELL * j + 1, CELL * cells - 2
    return [left, top, left + side, top, left + side, top + side, left, top + side]


def places() -> list[dict[str, tuple[int, int, int]]]:
    """Of each picture where its dog and its car are, (i, j, cells): a dog of one cell, or one over a quarter."""
    rng = np.random.default_rng(0)
    found = []
    for number in range(PICTURES):
        dog = (1, 1, 4) if number % 4 == 3 else (int(rng.integers(6)), int(rng.integers(4)), 1)
        found.append({"dog": dog, "car": (int(rng.integers(6)), int(rng.integers(6, 8)), 1)})
    return found


def written(folder: Path, **changes: Any) -> Path:
    """A folder as COCO's: pictures of a red dog and a blue car, their outlines and two captions each."""
    (folder / "images").mkdir(parents=True)
    images, notes, told = [], [], []
    for number, both in enumerate(places()):
        picture = Image.new("RGB", (WIDE, HIGH))
        for category, (i, j, cells) in both.items():
            box = (CELL * j, CELL * i, CELL * (j + cells), CELL * (i + cells))
            picture.paste(COLOURS[category], box)
            notes.append({"image_id": number, "category_id": category, "segmentation": [square(i, j, cells)]})
        picture.save(folder / "images" / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "width": WIDE, "height": HIGH})
        told += [{"image_id": number, "caption": text} for text in ("A dog and a car.", "Two dogs, a big dog")]
    categories = [{"id": name, "name": name} for name in COLOURS]
    whole = {"images": images, "annotations": notes, "categories": categories, "captions": told, **changes}
    (folder / "instances.json").write_text(json.dumps(whole))
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> CocoData:
    return CocoData(written(tmp_path_factory.mktemp("coco") / "data"))


def word_pointing(task: Any, data: CocoData, n: int | None = None) -> Result:
    return evaluate(task, data, n=n)


def measured(data: CocoData, **changes: Any) -> Result:
    return word_pointing(namer(**changes), data)


def as_by_hand(result: Result) -> None:
    """The figures of a captioner that points right, worked out from where things were painted."""
    spoken = [(both[name], name) for both in places() for name in ("dog", "car", "dog")]
    pixels = [(cells * CELL - 2) ** 2 / (WIDE * HIGH) for (_, _, cells), _ in spoken]
    centre = [i < 3 < i + cells and j < 4 < j + cells for (i, j, cells), _ in spoken]
    for group, counted in ((ALL, [True] * len(spoken)), (SMALL, [share < 0.25 for share in pixels])):
        for kind in ("logit", "logprob"):
            row = next(r for r in result.rows if (r.group, r.method, r.target) == (group, "hirescam", kind))
            assert row.value == 1.0
            assert row.count == sum(counted)
            assert row.random == pytest.approx(np.mean([p for p, own in zip(pixels, counted, strict=True) if own]))
            assert row.centre == pytest.approx(np.mean([c for c, own in zip(centre, counted, strict=True) if own]))
            assert row.ahead is not None
            assert row.ahead[0] == pytest.approx(row.value - row.centre)
            assert row.ahead[1] <= row.ahead[0] <= row.ahead[2]
        told = [name == "dog" for _, name in spoken]
        share = np.mean([said for said, own in zip(told, counted, strict=True) if own])
        assert result.value(group, "attention", "–") == pytest.approx(share)


def test_a_captioner_that_points_right_scores_one(data: CocoData) -> None:
    result = measured(data)
    as_by_hand(result)
    assert result.n == PICTURES
    told = f"{3 * PICTURES} asks scored, {3 * PICTURES - 6} of them of objects under a quarter of the picture"
    assert told in result.notes
    assert f"{3 * PICTURES} of {10 * PICTURES} words of the captions left out" in result.notes[-1]


Plant = Callable[[pytest.MonkeyPatch], None]
middle = pointing._middle


def _peaks(change: Callable[[int, int], tuple[int, int]]) -> Plant:
    def plant(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(pointing, "peaks_of", lambda maps: [peak and change(*peak) for peak in peaks_of(maps)])

    return plant


def _shifted(y: float, x: float) -> Plant:
    def plant(patch: pytest.MonkeyPatch) -> None:
        centre_of = Placement.centre_of

        def moved(self: Placement, i: int, j: int) -> tuple[float, float]:
            at = centre_of(self, i, j)
            return at[0] + y * CELL, at[1] + x * CELL

        patch.setattr(Placement, "centre_of", moved)

    return plant


def _masks(change: Callable[[Any], Any]) -> Plant:
    def plant(patch: pytest.MonkeyPatch) -> None:
        mask = Outlined.mask
        patch.setattr(Outlined, "mask", lambda self, names: change(mask(self, names)))

    return plant


def _of_another(patch: pytest.MonkeyPatch) -> None:
    outlined = CocoData.outlined

    def mixed(self: CocoData, number: int) -> Outlined:
        own, before = outlined(self, number), outlined(self, max(number - 1, 0))
        return Outlined(own.path, own.size, own.captions, before.outlines)

    patch.setattr(CocoData, "outlined", mixed)


def _centre_twice(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(pointing, "_middle", lambda case: min(2 * middle(case) + 1, 2))


def _corner_for_centre(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(pointing, "_middle", lambda case: case.mask[0, 0])


PLANTS: dict[str, Plant] = {
    "height and width swapped": _peaks(lambda i, j: (j, i)),
    "mirrored": _peaks(lambda i, j: (i, 7 - j)),
    "upside down": _peaks(lambda i, j: (5 - i, j)),
    "one cell off": _peaks(lambda i, j: (i, j + 1)),
    "half a cell down": _shifted(0.5, 0),
    "half a cell right": _shifted(0, 0.5),
    "half a cell up and left": _shifted(-0.5, -0.5),
    "masks mirrored": _masks(lambda mask: mask[:, ::-1]),
    "masks of the ground": _masks(lambda mask: ~mask),
    "masks of another picture": _of_another,
    "the centre counted twice": _centre_twice,
    "the corner for the centre": _corner_for_centre,
}


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_mistake_is_seen(name: str, data: CocoData, monkeypatch: pytest.MonkeyPatch) -> None:
    PLANTS[name](monkeypatch)
    with pytest.raises(AssertionError):
        as_by_hand(measured(data))


def test_words_of_one_picture_are_not_independent() -> None:
    rng = np.random.default_rng(1)
    once, number = (rng.random(30) < 0.5).astype(float), np.arange(30)
    alone = over_pictures(once, number)
    assert over_pictures(np.repeat(once, 25), np.repeat(number, 25)) == pytest.approx(alone)
    assert alone[1] - alone[0] == pytest.approx(2 * 1.96 * once.std() / 30**0.5, rel=0.15)
    assert (
        over_pictures(np.repeat(once, 25), np.arange(750))[1] - over_pictures(np.repeat(once, 25), np.arange(750))[0]
        < 0.1
    )


def test_an_interval_is_that_of_drawing_pictures_by_hand() -> None:
    rng = np.random.default_rng(2)
    pictures = np.sort(rng.integers(0, 9, 40))
    values = rng.random(40)
    by_hand = []
    names = np.unique(pictures)
    drawn = np.random.default_rng(0).integers(0, len(names), (300, len(names)))
    for row in drawn:
        own = np.concatenate([values[pictures == names[n]] for n in row])
        by_hand.append(own.mean())
    assert over_pictures(values, pictures, 300) == pytest.approx(tuple(np.percentile(by_hand, [2.5, 97.5])))


def test_crowds_are_no_objects_and_what_is_missing_is_told(tmp_path: Path) -> None:
    folder = written(tmp_path / "data")
    content = json.loads((folder / "instances.json").read_text())
    for note in content["annotations"]:
        if note["image_id"] == 0:
            note |= {"segmentation": {"counts": [0, WIDE * HIGH], "size": [HIGH, WIDE]}, "iscrowd": 1}
    content["captions"] = [one for one in content["captions"] if one["image_id"] != 1]
    (folder / "images" / "2.png").unlink()
    (folder / "images" / "3.png").write_bytes(b"no picture")
    Image.new("RGB", (HIGH, WIDE)).save(folder / "images" / "4.png")
    (folder / "instances.json").write_text(json.dumps(content))
    found = CocoData(folder)
    assert found.left_out == {"no such picture": ("2.png",)}
    assert found.unasked == {"nothing outlined": ("0.png",), "no caption": ("1.png",)}
    result = measured(found)
    for why, name in (("no such picture", 2), ("nothing outlined", 0), ("no caption", 1)):
        assert f"1 left out, {why}: {name}.png" in result.notes
    assert result.n == PICTURES - 5
    assert result.value(ALL, "hirescam", "logit") == 1.0
    assert any(note == "2 left out, cannot be read: 3.png, 4.png" for note in result.notes)


def test_captions_may_stand_in_a_file_of_their_own(tmp_path: Path) -> None:
    folder = written(tmp_path / "data", captions=[])
    with pytest.raises(InputError, match=r"no captions_\*\.json beside the outlines; give one with --captions FILE$"):
        measured(CocoData(folder))
    told = {"annotations": [{"image_id": 5, "caption": "a car"}, {"image_id": 99, "caption": "a dog"}]}
    (tmp_path / "told.json").write_text(json.dumps(told))
    found = CocoData(folder, tmp_path / "told.json")
    assert [(row.path.name, row.captions) for row in found.captioned()] == [("5.png", ("a car",))]
    assert measured(found).n == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": [{"id": 0}]}, r"images\[0\] lacks file_name, height, width$"),
        ({"annotations": [{"image_id": 0}]}, r"annotations\[0\] lacks category_id$"),
        ({"annotations": "none"}, r"not a COCO instance file; it needs lists of images, annotations, categories$"),
        ({"annotations": []}, r"nothing to measure; of [1-9]\d* pictures none asks for anything"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        measured(CocoData(written(tmp_path / "data", **changes)))
    assert len(str(caught.value)) <= 400


def test_a_captioner_of_other_words_and_what_is_none_are_refused(data: CocoData, tmp_path: Path) -> None:
    nothing = r": nothing to measure; of 12 pictures none .* Net knows .*; it does not know dog, car$"
    with pytest.raises(InputError, match=nothing):
        word_pointing(classifier(3), data)
    other = CnnLstmCaptioner(
        Colours().eval(), Namer().eval(), ["<s>", "<e>", "un", "chien", "et", "voiture"], prepare, end=1
    )
    with pytest.raises(InputError, match=r"knows 0% of the words in these captions: they cannot be forced upon it"):
        word_pointing(other, data)
    with pytest.raises(InputError, match=r"^n=0; measure at least one photograph$"):
        word_pointing(namer(), data, 0)


def test_words_name_categories() -> None:
    assert named("a hot dog and a dog on a tennis racket".split()) == {
        2: ("hot dog",), 5: ("dog",), 9: ("tennis racket",)
    }  # fmt: skip
    assert named("bikes at a train station by a bus stop near buses".split()) == {
        0: ("bicycle", "motorcycle"), 10: ("bus",)
    }  # fmt: skip
    assert named("two puppies and women with knives".split()) == {1: ("dog",), 3: ("person",), 5: ("knife",)}
    assert len(WORDS) == 80
    assert CATEGORIES_OF["people"] == ("person",)


def test_every_category_of_coco_can_be_named_by_itself() -> None:
    for category in WORDS:
        words = category.split()
        assert category in named(words).get(len(words) - 1, ()), category


def test_the_command_prints_the_figures(tmp_path: Path) -> None:
    folder = written(tmp_path / "data")
    with pytest.raises(InputError, match="flickr8k have no outlines"):
        datasets.opened(f"flickr8k:{folder}")
    model = tiny_bundle(tmp_path / "tiny")
    told = run("evaluate", model, f"coco:{folder}", "--metrics", "pointing", "--n", 3, "--json")
    assert told.exit_code == 0
    found = json.loads(told.stdout)
    assert (found["n"], len(found["rows"])) == (3, 2 * 11)
    assert found["command"].endswith(f"coco:{folder} --metrics pointing --n 3")
    (tmp_path / "names.txt").write_text("5.png\n6.png")
    listed = datasets.opened(f"coco:{folder}", None, tmp_path / "names.txt")
    assert [listed[n].key for n in range(len(listed))] == ["5.png", "6.png"]
    content = json.loads((folder / "instances.json").read_text())
    other = [{"image_id": 0, "caption": "Two big dogs sleeping outdoors near their car"}]
    (folder / "instances.json").write_text(json.dumps({**content, "captions": other}))
    refused(r"knows 12% of the words in these captions", "evaluate", model, f"coco:{folder}", "--metrics", "pointing")
    result = run("evaluate", model, f"coco:{folder}", "--captions", "x")
    assert result.exit_code == 2
    assert "--captions goes with coco:DIR --metrics pointing" in result.stderr


def test_words_of_a_file_overrule_and_what_is_asked_for_and_not_there_is_counted(tmp_path: Path) -> None:
    folder, model = written(tmp_path / "data"), tiny_bundle(tmp_path / "tiny")
    words, names = tmp_path / "words.json", tmp_path / "names.txt"
    words.write_text('{"dogs": [], "car": "dog"}')
    names.write_text("5.png\nnope.png")
    asked = ("evaluate", model, f"coco:{folder}", "--metrics", "pointing", "--only", names)
    for options, groups in (((), ["dog", "car"]), (("--words", words), ["dog", "dog"])):
        data = datasets.opened(f"coco:{folder}", only=names, words=words if options else None)
        told = [ask.group for ask in data[0].asks if ask.query.caption == "a dog and a car"]
        assert told == groups
        assert sum(ask.query.caption == "two dogs a big dog" for ask in data[0].asks) == 2 - bool(options)
        found = json.loads(run(*asked, *options, "--json").stdout)
        assert "1 left out, asked for, not in the data: nope.png" in found["notes"]
        assert ("--words" in found["command"]) == bool(options)
    words.write_text('{"dogs": "cat"}')
    refused(r"'dogs' names 'cat', which is no category of the data", *asked, "--words", words)
    result = run("evaluate", model, "--words", words)
    assert result.exit_code == 2
    assert "--words goes with coco:DIR" in result.stderr
    both = (f"coco:{folder / 'instances.json'},{folder / 'instances.json'}", "--metrics", "pointing")
    refused("names its captions; leave out --captions", "evaluate", model, *both, "--captions", words)


def test_the_table_shows_how_far_the_centre_is_passed(data: CocoData) -> None:
    from rich.console import Console

    console = Console(width=200, record=True, file=io.StringIO())
    result = measured(data)
    console.print(result.table())
    text = console.export_text()
    assert "Grad-CAM's paper" in text
    assert "0.300" in text
    low, high = next(row.ahead for row in result.rows if row.ahead is not None)[1:]
    assert f"({low:+.3f} to {high:+.3f})" in text
    lines = sheet.pointing_table(result).splitlines()
    assert lines[2].startswith("| gradcam | logprob |")
    assert f"({low:+.3f} to {high:+.3f})" in lines[2]
    assert lines[-1] == "| Grad-CAM's paper, other photographs | | 0.300 | – | – |"
    told = result.to_json()
    assert told["rows"][0]["ahead"][1] == pytest.approx(low)
