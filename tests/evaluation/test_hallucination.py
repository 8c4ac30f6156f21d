"""Which words are wrong, what foils are, and how well statistics tell them from right ones."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import vlx
from tests.evaluation.test_check_metric import Told
from tests.explanation.test_map_check import colours
from tests.fakes import VOCABULARY, captioner, picture
from vlx.data import SceneData, open_data
from vlx.data.categories import CategoryWords
from vlx.data.example import Ask, Example, Truth
from vlx.errors import InputError
from vlx.evaluation import Record, evaluate, read_run
from vlx.evaluation.figures import Telling
from vlx.evaluation.loop import measured
from vlx.evaluation.metrics.hallucination import HALLUCINATION, area_of
from vlx.evaluation.records import Columns
from vlx.evaluation.said_words import WIDER, CategoryWording, SceneWording, foil
from vlx.evaluation.shown import Setting
from vlx.methods.registry import choose

NAMES = ("dog", "house")
SCENE = SceneData(1, 10_000_001)[0]  # a striped blue bird and a white tree on a beach


def judged(caption: str, wording: Any, example: Example) -> dict[str, bool]:
    words = caption.split()
    return {f"{words[place]} {place}": right for place, (_, right) in wording.judged(words, example).items()}


# Words


def test_each_thing_of_a_scene_is_compared_with_the_true_one_it_is_most_like() -> None:
    assert SCENE.texts == ("a striped blue bird and a white tree on a beach",)
    assert judged("a striped white bird and a white tree on a beach", SceneWording(), SCENE) == {
        "striped 1": True, "white 2": False, "bird 3": True, "white 6": True, "tree 7": True, "beach 10": True
    }  # fmt: skip
    assert judged("a white tree and a striped red bird in a meadow", SceneWording(), SCENE) == {
        "white 1": True, "tree 2": True, "striped 5": True, "red 6": False, "bird 7": True, "meadow 10": False
    }  # fmt: skip
    assert judged("a blue bird and a blue bird on a beach", SceneWording(), SCENE) == {
        "blue 1": True, "bird 2": True, "blue 5": False, "bird 6": False, "beach 9": True
    }  # fmt: skip
    own = judged(SCENE.texts[0], SceneWording(), SCENE)
    assert len(own) == 6
    assert all(own.values())


def test_a_foil_is_another_word_of_the_kind_that_is_not_there() -> None:
    words = SCENE.texts[0].split()
    there = {concept.name for concept in SCENE.regions} | set(words)
    for place, (group, _) in SceneWording().judged(words, SCENE).items():
        other = foil(SceneWording(), words, place, SCENE, lambda word: True)
        assert other is not None
        assert other not in there
        swapped = [*words[:place], other, *words[place + 1 :]]
        assert SceneWording().judged(swapped, SCENE)[place] == (group, False)
        assert other == foil(SceneWording(), words, place, SCENE, lambda word: True)
        assert words[place - 1] != "a" or other[0] not in "aeiou"
    assert foil(SceneWording(), words, 3, SCENE, lambda word: False) is None
    assert foil(SceneWording(), words, 3, SCENE, lambda word: word == "car") == "car"


def test_words_of_categories_are_wrong_where_nobody_outlined_or_named_them() -> None:
    wording = CategoryWording(CategoryWords(["dog", "cat", "car", "person", "horse"]))
    example = Example(
        "a", "a.jpg", texts=["a man and his pet"], asks=[Ask(label="dog", truth=Truth(boxes=[(0, 0, 1, 1)]))]
    )
    caption = "a puppy with two cats and a woman"
    assert judged(caption, wording, example) == {"puppy 1": True, "cats 4": False, "woman 7": True}
    assert wording.others("a dog on grass".split(), 1, example) == ["cat", "horse"]
    assert wording.others("two dogs on grass".split(), 1, example) == ["cats", "horses"]
    assert (WIDER["dog"], WIDER["person"], len(WIDER)) == (3, 0, 80)
    assert WIDER["toothbrush"] == 11 != WIDER["refrigerator"]


# A run


@pytest.fixture(scope="module")
def run() -> tuple[Any, Columns]:
    task = vlx.load("scenes/captioner-pooled")
    setting = Setting(task, SceneData(3, 10_000_000), (choose("layercam"), choose("gradcam")), ("logit",))
    return task, measured(setting, [HALLUCINATION]).columns["hallucination"]


def _rows(columns: Columns, line: int = 0) -> list[dict[str, Any]]:
    return [
        {**columns.beside[n], "wrong": columns.value[n], "key": columns.keys[columns.picture[n]]}
        for n in np.flatnonzero(columns.line == line).tolist()
    ]


def test_p_and_what_is_owed_are_those_of_the_caption_with_the_foil(run: Any) -> None:
    task, columns = run
    rows = [row for row in _rows(columns) if row["source"] == "foil"][:4]
    assert rows
    for row in rows:
        image = SceneData(1, int(row["key"]))[0].image
        why = vlx.explain(task, image, caption=row["text"], method="layercam", target="logit", check=True)
        word = why[row["position"]]
        assert word.label == row["word"] != row["instead_of"]
        assert row["log p"] == pytest.approx(word.logprob, abs=1e-4)
        assert row["seen"] == pytest.approx(word.seen, abs=1e-3)
        check: Any = word.check
        assert row["confirmed"] == float(check.confirmed)
        assert check.verdict == "cannot be tested" or row["share"] == pytest.approx(check.share, abs=1e-3)
        true = SceneData(1, int(row["key"]))[0].texts[0].split()
        assert true[row["position"]] == row["instead_of"]
        assert row["text"].split() == [*true[: row["position"]], row["word"], *true[row["position"] + 1 :]]


def test_foils_are_wrong_and_what_they_stand_for_is_right(run: Any) -> None:
    task, columns = run
    rows = _rows(columns)
    assert {row["wrong"] for row in rows if row["source"] == "foil"} == {1.0}
    assert {row["wrong"] for row in rows if row["source"] == "true"} == {0.0}
    for row in (row for row in rows if row["source"] == "generated"):
        assert row["text"] == vlx.explain(task, SceneData(1, int(row["key"]))[0].image, method="gradcam").text
        assert (row["word"] in SceneData(1, int(row["key"]))[0].texts[0].split()) or row["wrong"] == 1
    assert [row["share"] for row in _rows(columns, 1)] != [row["share"] for row in rows]
    assert {row["peak"] for row in rows} == {0.0, 1.0}
    same = [{name: row[name] for name in ("log p", "seen", "looked")} for row in rows]
    assert same == [{name: row[name] for name in ("log p", "seen", "looked")} for row in _rows(columns, 1)]


def test_p_tells_foils_from_true_words_on_the_right_side(run: Any) -> None:
    _, columns = run
    figures = {(row.group, row.method): row for row in HALLUCINATION.figures("hallucination", columns, Telling())}
    foils = figures["foils", "log p"]
    assert foils.value > 0.9
    assert foils.low <= foils.value <= foils.high
    assert foils.same == max(foils.value, figures["foils", "lead"].value)
    assert figures["foils", "layercam: share"].target == "logit"


def test_what_cannot_tell_is_refused() -> None:
    with pytest.raises(InputError, match=r"^Colours does classification; --metrics hallucination judges the words of"):
        evaluate(colours(), 1, metrics=[HALLUCINATION])

    with pytest.raises(InputError, match=r"^--metrics hallucination needs to know what is not in a picture, and squar"):
        evaluate(captioner(), Told(), metrics=[HALLUCINATION])


def test_a_written_run_makes_the_same_table(tmp_path: Path) -> None:
    task = vlx.load("scenes/captioner-pooled")
    wish: Any = {"metrics": [HALLUCINATION], "methods": ["layercam"], "out": tmp_path}
    result = evaluate(task, 2, **wish)
    assert read_run(tmp_path, [HALLUCINATION]) == result


def test_outlines_alone_tell_which_words_of_the_models_own_captions_are_wrong(tmp_path: Path) -> None:
    categories = [{"id": 1, "name": "dog"}, {"id": 2, "name": "house"}]
    images, annotations = [], []
    for n in range(3):
        picture(n).save(tmp_path / f"{n}.png")
        images.append({"id": n, "file_name": f"{n}.png", "width": 40, "height": 30})
        box = {"id": n, "image_id": n, "category_id": 1, "bbox": [2, 2, 9, 9], "iscrowd": 0}
        annotations.append({**box, "segmentation": [[2, 2, 11, 2, 11, 11, 2, 11]], "area": 81})
    told = {"images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "instances.json").write_text(json.dumps(told))
    task = captioner("state")
    with torch.no_grad():  # it has a word for both
        task.decoder.output.bias[[VOCABULARY.index(name) for name in NAMES]] += 3
    spec = f"coco:{tmp_path / 'instances.json'}"
    setting = Setting(task, open_data(spec), (choose("gradcam"),), ("logit",))
    columns = measured(setting, [HALLUCINATION]).columns["hallucination"]
    assert {row["source"] for row in _rows(columns)} <= {"generated"}
    said = [vlx.explain(task, picture(n), method="gradcam").text.split() for n in range(3)]
    expected = [(str(n), word, float(word == "house")) for n, own in enumerate(said) for word in own if word in NAMES]
    assert [(row["key"].removesuffix(".png"), row["word"], row["wrong"]) for row in _rows(columns)] == expected
    assert expected


# Areas


def slow_area(values: Any, wrong: Any) -> float:
    pairs = [(r > w) + (r == w) / 2 for r in values[~wrong] for w in values[wrong]]
    return float(np.mean(pairs))


def test_an_area_is_the_share_of_pairs_in_order() -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        values, wrong = rng.integers(0, 6, 40).astype(float), rng.random(40) < 0.4
        pictures = np.repeat(np.arange(10), 4)
        area = area_of(values, wrong, pictures)
        assert area.value == pytest.approx(slow_area(values, wrong))
        assert area.interval[0] < area.value < area.interval[1]
        values[:5] = np.nan
        less = area_of(values, wrong, pictures)
        assert less.value == pytest.approx(slow_area(values[5:], wrong[5:]))
        assert (less.count, less.unmeasured) == (40, 5)
    assert area_of(np.array([2.0, 1.0]), np.array([False, True]), np.array([0, 1])).value == 1.0
    assert np.isnan(area_of(np.array([np.nan]), np.array([True]), np.array([0])).value)


def test_drawn_areas_are_those_of_the_drawn_pictures() -> None:
    from vlx.evaluation.intervals import drawn_pictures

    rng = np.random.default_rng(1)
    values, wrong, pictures = rng.normal(size=12), rng.random(12) < 0.5, np.repeat(np.arange(4), 3)
    times = drawn_pictures(4)
    for draw in (0, 17, 500):
        numbers = [n for n in range(12) for _ in range(int(times[draw][pictures[n]]))]
        assert area_of(values, wrong, pictures).drawn[draw] == pytest.approx(slow_area(values[numbers], wrong[numbers]))


def test_what_tells_more_than_p_is_said_with_its_interval() -> None:
    rng = np.random.default_rng(0)
    records = []
    for n in range(200):
        wrong = n % 2
        beside = {"source": "foil" if wrong else "true", "log p": rng.normal(), "lead": None, "seen": 3.0 - wrong}
        records.append(
            Record(str(n // 4), n % 4, "object", "gradcam", "logit", "hallucination", float(wrong), beside=beside)
        )
    notes = list(HALLUCINATION.notes(Columns(records)))
    assert len(notes) == 1
    assert notes[0].startswith("foils: seen tells right from wrong words better than p alone, by 0.")
    assert list(HALLUCINATION.notes(Columns(records[::2]))) == [
        "no word is wrong, or none is right: nothing to tell apart"
    ]
