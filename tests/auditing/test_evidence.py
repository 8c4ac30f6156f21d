"""What an audit measures of answers, against slow and obvious computations."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import vlx
from vlx.auditing.answered import ALIKE, CONCEPTS, PLACES, UNITS, Answered, answers_of
from vlx.auditing.evidence import audit_metric, is_tried
from vlx.data import open_data
from vlx.errors import InputError
from vlx.evaluation.run import records_of
from vlx.neuron_names.table import NeuronNames, UnitName
from vlx.protocol.targets import Query, word_target
from vlx.protocol.task import Task
from vlx.tasks.classification import Classifier

SCENES = "scenes:3:10000021"


def audited(task: Task, data: str, **options: object) -> list[Answered]:
    _, ran = records_of(task, data, [audit_metric(**options)], (["default"], None))  # type: ignore[arg-type]
    return list(answers_of(ran.columns["audit"]))


@pytest.fixture(scope="module")
def captioner() -> Task:
    return vlx.load("scenes/captioner")


@pytest.fixture(scope="module")
def said(captioner: Task) -> list[Answered]:
    return audited(captioner, SCENES)


def test_every_content_word_is_judged_by_the_scene(said: list[Answered]) -> None:
    data = open_data(SCENES)
    for number in range(len(data)):
        there = {concept.name for concept in data[number].regions}
        for answer in (one for one in said if one.key == data[number].key):
            if answer.group == "object":
                assert answer.right is (answer.said in there)
            assert answer.said in answer.text.split()[answer.position]


def test_signed_sums_are_those_of_the_explained_map(captioner: Task, said: list[Answered]) -> None:
    """By `vlx.explain` and pixels: the painted map over the mask, in cells' worth of pixels."""
    example = open_data(SCENES)[0]
    why = vlx.explain(captioner, example.image)
    for answer in (one for one in said if one.key == example.key):
        word = why[answer.position]
        assert answer.total == pytest.approx(float(word.signed.sum()), rel=1e-4)
        assert answer.absolute == pytest.approx(float(np.abs(word.signed).sum()), rel=1e-4)
        own = answer.evidence[CONCEPTS]
        masks = {concept.name: mask for concept, mask in example.regions.items()}
        assert set(own) <= set(masks)
        if answer.group == "scene" and answer.right:
            heat, place = word.heatmap, masks[answer.said]
            assert answer.own == pytest.approx(float(heat[place].sum() / heat.sum()), abs=1e-3)


def test_concepts_that_share_out_the_picture_share_out_the_map(said: list[Answered]) -> None:
    """The place and the things' kinds cover every pixel once: their sums are the map's."""
    for answer in said:
        whole = [one for one in answer.evidence[CONCEPTS].values() if one.category in ("object", "scene")]
        assert sum(one.area for one in whole) == pytest.approx(1, abs=0.02)
        assert sum(one.signed for one in whole) == pytest.approx(answer.total, abs=0.02 * answer.absolute)
        assert sum(one.share for one in whole) == pytest.approx(1, abs=0.02)


def test_the_contrast_is_of_the_likeliest_other(captioner: Task, said: list[Answered]) -> None:
    example = open_data(SCENES)[0]
    features = captioner.features(captioner.place(captioner.prepare(example.image)[None]))
    (prediction,) = captioner.predict(features, [Query()])
    for answer in (one for one in said if one.key == example.key):
        word = prediction.words[answer.position]
        other = max((one for one in word.alternatives if one.token != word.terms[0].token), key=lambda one: one.logprob)
        assert answer.instead == other.label
        assert answer.lead == pytest.approx(word.logprob - other.logprob, abs=1e-4)
        assert word_target(prediction, answer.position, 0, "margin").terms[1].token == other.token


def test_one_picture_of_every_n_is_tried(captioner: Task) -> None:
    answers = audited(captioner, SCENES, tried=2)
    keys = [open_data(SCENES)[number].key for number in range(3)]
    wanted = {key for number, key in enumerate(keys) if is_tried(number, 2)}
    assert 0 < len(wanted) < 3
    tried = {one.key for one in answers if one.check}
    assert tried == wanted == {one.key for one in answers if one.seen == one.seen}


@pytest.mark.parametrize("every", [1, 2, 3, 4, 10])
def test_pictures_of_kinds_by_turns_are_tried_of_every_kind(every: int) -> None:
    """Each second of cars in a desert, cars at night, rockets in a desert, … would be of a desert alone."""
    tried = [number for number in range(400) if is_tried(number, every)]
    assert [number // every for number in tried] == [*range(400 // every)]
    for turns in (2, 4, 5):
        counts = np.bincount([number % turns for number in tried], minlength=turns)
        assert counts.min() > 0.4 * len(tried) / turns


def test_questions_are_judged_by_their_answers() -> None:
    task = vlx.load("scenes/vqa")
    answers = audited(task, "scenes:1:10000024")  # it errs here, once
    example = open_data("scenes:1:10000024")[0]
    truth = {ask.query.question: ask.query.answer for ask in example.asks if ask.query.question}
    mine = [one for one in answers if one.key == example.key]
    assert {one.question for one in mine} == set(truth) and not all(one.right for one in mine)
    for one in mine:
        assert one.right is (one.said == truth[one.question])
        if not one.right:
            assert one.true == truth[one.question] == one.instead


def test_folders_of_pictures_are_judged_by_class(tmp_path: Path, classifier: Task) -> None:
    folder = pictures(tmp_path)
    answers = audited(classifier, f"classes:{folder}")
    assert [one.right for one in answers] == [one.said == one.key.split("/")[0] for one in answers]
    for one in answers:
        assert set(one.evidence) == {PLACES, ALIKE} and len(one.evidence[PLACES]) == 9
        for source in (PLACES, ALIKE):
            assert sum(on.signed for on in one.evidence[source].values()) == pytest.approx(one.total, rel=1e-3)
            assert sum(on.area for on in one.evidence[source].values()) == pytest.approx(1)
        wrong = not one.right
        assert one.instead == (one.true if wrong else next(n for n in ("red", "blue") if n != one.said))


def test_unit_names_have_the_gradient_times_a(tmp_path: Path) -> None:
    """By autograd on the net itself: the gradient of log p at A times A, of the units of a name."""
    listed = [UnitName(unit, name, "scene", 0.5, 0.5) for unit, name in enumerate(("sky", "sky", "sea", ""))]
    names = NeuronNames(tuple((one,) for one in listed), {"layer": "1"})
    data, net = f"classes:{pictures(tmp_path)}", _net(2)
    opened = open_data(data)
    examples = [opened[number] for number in range(len(opened))]
    task = Classifier(net, "1", ["red", "blue"], _prepare, outputs="softmax")
    answers = audited(task, data, names=names)
    assert any(answer.evidence[UNITS] for answer in answers)
    for answer in answers:
        example = next(one for one in examples if one.key == answer.key)
        A = net[:2](_prepare(example.image)[None]).detach().requires_grad_()
        logits = net[2](A)[0]
        this, other = (["red", "blue"].index(name) for name in (answer.said, answer.instead))
        for score, which in ((logits.log_softmax(0)[this], 0), (logits[this] - logits[other], 2)):
            (gradient,) = torch.autograd.grad(score, A, retain_graph=True)
            added, on = (gradient * A).sum((0, 2, 3)).detach(), (A > 0).any(3).any(2)[0]
            units = {name: of for name, of in (("sky", [0, 1]), ("sea", [2])) if on[of].any()}
            assert set(answer.evidence[UNITS]) == set(units)
            for name, of in units.items():
                assert answer.evidence[UNITS][name][which] == pytest.approx(float(added[of].sum()), rel=1e-4)


def test_numbers_are_no_answers(tmp_path: Path, regressor: Task) -> None:
    with pytest.raises(InputError, match="number"):
        audited(regressor, f"pictures:{pictures(tmp_path) / 'red'}")


def pictures(folder: Path) -> Path:
    for name, colour in (("red", (200, 30, 30)), ("blue", (30, 30, 200))):
        (folder / name).mkdir(parents=True)
        for number in range(3):
            rng = np.random.default_rng(number)
            noise = rng.integers(0, 40, (32, 32, 3)) + np.array(colour)
            Image.fromarray(noise.clip(0, 255).astype(np.uint8)).save(folder / name / f"{number}.png")
    return folder


def _net(classes: int) -> torch.nn.Sequential:
    torch.manual_seed(0)
    conv = torch.nn.Conv2d(3, 4, 4, 4)
    head = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(4, classes))
    return torch.nn.Sequential(conv, torch.nn.ReLU(), head).eval()


def _prepare(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.asarray(image.resize((32, 32)), np.float32) / 255).permute(2, 0, 1)


@pytest.fixture(scope="module")
def classifier() -> Task:
    return Classifier(_net(2), "1", ["red", "blue"], _prepare, outputs="softmax")


@pytest.fixture(scope="module")
def regressor() -> Task:
    return Classifier(_net(1), "1", ["age"], _prepare, outputs="value")
