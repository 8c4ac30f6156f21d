"""Published sets are measured as they unpack: boxes of ImageNet and VOC, phrases of regions, questions of VQA."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import vlx
from tests import sets
from tests.heads import Net, prepare
from vlx import scenes
from vlx.data import open_data
from vlx.errors import InputError
from vlx.evaluation import Metric, evaluate, of_maps
from vlx.evaluation.cases import Case, Reading, cases_of
from vlx.evaluation.class_asks import LACKED
from vlx.protocol.targets import sentence_target
from vlx.protocol.task import Task
from vlx.tasks.classification import Classifier

LABELS = ["tench", "crane", "crane", "hen"]  # as torchvision has them: by the order of synsets, two of one name
BOXES = (32 * 32 / 3072 + (16 * 16 + 32 * 32) / 3072 + 62 * 45 / 3072) / 3


def classifier(labels: list[str]) -> Classifier:
    torch.manual_seed(0)
    return Classifier(Net(len(labels)), "body", labels, prepare)


def cases(task: Task, data: Any) -> list[Case]:
    examples = [data[n] for n in range(len(data))]
    features = task.features(task.place(torch.stack([task.prepare(one.image) for one in examples])))
    return cases_of(Reading(task, data), features, examples)


def figures(result: Any, method: str = "gradcam") -> dict[str, tuple[float, int]]:
    return {row.group: (row.random, row.count) for row in result.rows if row.method == method}


def test_imagenets_boxes_judge_a_classifier_by_synset(tmp_path: Path) -> None:
    (sets.imagenet(tmp_path) / "LOC_synset_mapping.txt").write_text(sets.SYNSETS + "n09999999 hen\n")
    data = open_data(f"imagenet:{tmp_path}")
    assert [case.prediction.words[0].terms[0].token for case in cases(classifier(LABELS), data)] == [0, 1, 2]
    result = evaluate(classifier(LABELS), data, methods=["gradcam"], targets=["logit"])
    told = figures(result)
    assert {name: count for name, (_, count) in told.items() if name[0] in "tc"} == {
        "tench": 1,
        "crane (n02012849)": 1,
        "crane (n03126707)": 1,
    }
    assert told["mean of groups"][0] == pytest.approx(BOXES), "a random point lies in them by their share"


def test_vocs_boxes_and_masks_judge_a_classifier_and_other_classes_are_listed(tmp_path: Path) -> None:
    data = open_data(f"voc:{sets.voc(tmp_path)}")
    task = classifier(["dog", "sofa"])
    first, second = cases(task, data)
    assert (first.mask.sum(), second.mask.sum()) == (900, 10 * 10), "a mask, and the box where there is none"
    result = evaluate(task, data, methods=["gradcam"], targets=["logit"])
    assert {row.count for row in result.rows} == {2}
    assert any(note.startswith(f"18 left out, {LACKED}: aeroplane, ") for note in result.notes)
    assert any("2 left out, marked as difficult: dog in 000001, cat in 000001" in note for note in result.notes)


def drawn(root: Path, count: int = 2) -> list[Any]:
    """Drawn scenes as pictures in a folder, by their numbers."""
    made = [scenes.draw(10_000_000 + n) for n in range(count)]
    for n, scene in enumerate(made):
        scene.image.save(root / f"{n}.png")
    return made


@pytest.fixture(scope="module")
def captioner() -> Task:
    return vlx.load("scenes/captioner")


def test_a_phrase_of_a_region_is_asked_about_as_a_whole(tmp_path: Path, captioner: Task) -> None:
    texts = [[scene.caption, "a red car at night zzz"] for scene in drawn(tmp_path)]
    described = [
        {"id": n, "regions": [sets.region(k, n, text, 10 * k, 5, 40, 30) for k, text in enumerate(own)]}
        for n, own in enumerate(texts)
    ]
    (tmp_path / "r.json").write_text(json.dumps(described))
    data = open_data(f"regions:{tmp_path}/r.json,{tmp_path}")
    asked = cases(captioner, data)
    assert [case.prediction.text for case in asked] == [text.replace(" zzz", "") for own in texts for text in own]
    for n, case in enumerate(asked):
        other = asked[n + 1 - 2 * (n % 2)]
        assert case.target("logprob") == sentence_target(case.prediction, case.row)
        assert case.other == sentence_target(other.prediction, case.row), "the map of another phrase to compare with"
        assert (case.position, case.mask.sum()) == (0, 40 * 30)
    why = vlx.explain(captioner, tmp_path / "0.png", caption=texts[0][0], method="gradcam", check=False)
    maps: list[Any] = []

    def kept(case: Case, values: Any, _shown: Any) -> float:
        maps.append((case.prediction.text, values))
        return 1.0

    metrics = [Metric("kept", "", of_maps("kept", kept))]
    result = evaluate(captioner, data, metrics=metrics, methods=["gradcam"], targets=["logprob"])
    assert {row.count for row in result.rows} == {4}
    assert why.sentence is not None
    text, values = maps[0]
    assert text == texts[0][0]
    assert values == pytest.approx(np.maximum(why.sentence.signed, 0), rel=1e-3, abs=1e-6), "the paper's sentence"
    assert (
        asked[0].target("logprob").terms == tuple(term for word in why.prediction.words for term in word.terms)
        if hasattr(why, "prediction")
        else True
    )
    assert any("2 of" in note and "zzz" in note for note in result.notes)


def test_questions_of_vqa_are_asked_with_where_people_looked(tmp_path: Path) -> None:
    asked, told = [], []
    for n, scene in enumerate(drawn(tmp_path)):
        for k, question in enumerate(scene.questions[:3]):
            record = {"image_id": n, "question": question.text, "question_id": 10 * n + k}
            asked.append(record)
            told.append(sets.answered(record, "other", [question.answer] * 10))
    asked.append({"image_id": 0, "question": "Why is it?", "question_id": 9})
    told.append(sets.answered(asked[-1], "other", ["because of the law"] * 10))
    name = sets.vqa(tmp_path, asked, told, name="{}.png")
    for number in (0, 9, 11):
        sets.picture(tmp_path / "hat" / f"{number}_1.png", (64, 64))
    task, data = vlx.load("scenes/vqa"), open_data(f"{name},hat={tmp_path / 'hat'}")
    known = [case.prediction.text for case in cases(task, data)]
    assert known == [told[0]["multiple_choice_answer"], told[4]["multiple_choice_answer"]]
    for case in cases(task, data):
        assert case.ask.truth is not None
        assert np.asarray(case.ask.truth.human).shape == (14, 14)
    with pytest.raises(InputError, match=r"pointing needs masks or boxes of what is asked about"):
        evaluate(task, data, metrics=["pointing"])
