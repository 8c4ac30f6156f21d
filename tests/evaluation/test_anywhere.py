"""Measures that need no truth: of asks without a place and, where data ask nothing, of what the model itself says."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.answerers import vqa as answerer
from tests.evaluation.test_run import Squares
from tests.explanation.test_map_check import colours, squares
from tests.fakes import captioner, picture
from vlx.data import open_data
from vlx.data.example import Ask, Example
from vlx.errors import InputError
from vlx.evaluation import Metric, MetricContext, evaluate
from vlx.evaluation.spoken import runner_up, spoken_cases, with_runner_up
from vlx.protocol.targets import Query, Term


def _asked(seen: list[MetricContext]) -> Metric:
    """Keeps what it is asked to measure."""

    def measure(context: MetricContext) -> Mapping[tuple[str, str], float]:
        seen.append(context)
        return {line: 1.0 for line in context.maps}

    return Metric("kept", "what is measured?", measure, anywhere=True)


def _folder(folder: Path, *names: str) -> str:
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        squares(number % 3).save(folder / name)
    return f"pictures:{folder}"


def test_a_folder_of_pictures_is_measured_by_what_the_model_says_of_them(tmp_path: Path) -> None:
    seen: list[MetricContext] = []
    spec = _folder(tmp_path / "mine", "b.png", "a.png", ".hidden.png")
    (tmp_path / "mine" / "notes.txt").write_text("none")
    result = evaluate(colours(), spec, metrics=[_asked(seen)], methods=["gradcam"], targets=["logit"])
    said = [(one.example.key, one.case.prediction.words[0].label, one.case.group) for one in seen]
    assert said == [("a.png", "green", "own classes"), ("b.png", "red", "own classes")]
    assert result.n == 2
    assert {row.count for row in result.rows} == {2}
    assert seen[0].mask.size == 0
    assert seen[0].boxes == ()
    assert {("gradcam", "logit"), ("random", ""), ("centre", ""), ("same", "")} == set(seen[0].maps)


@pytest.mark.parametrize("metrics", [["pointing"], ["localization"], ["energy", "hat"]])
def test_pictures_alone_are_refused_by_what_they_lack_with_the_metrics_that_do_without(
    tmp_path: Path, metrics: list[str]
) -> None:
    spec = _folder(tmp_path / "mine", "b.png", "a.png")
    told = rf"^--metrics {metrics[0]} needs .*there are pictures alone\. These need no truth: .*\bdeletion\b"
    with pytest.raises(InputError, match=told) as caught:
        evaluate(colours(), spec, metrics=metrics)
    assert "pointing" not in str(caught.value).partition("no truth:")[2]


def test_a_captioner_is_asked_for_the_content_words_of_its_own_caption() -> None:
    task = captioner("state")
    features = task.features(task.place(task.prepare(picture())[None]))
    said = task.predict(features, [Query()])[0]
    cases = spoken_cases(task, features, [Example("a", picture())])
    content = [n for n, word in enumerate(said.words) if word.label not in ("a", "on")]
    assert [case.position for case in cases] == content
    assert {case.group for case in cases} == {"own words"}
    assert all(case.other.label == said.text for case in cases)


def test_a_model_that_answers_is_asked_each_question_once_and_needs_some(tmp_path: Path) -> None:
    task: Any = answerer()
    question = "what color?"
    asks = [Ask(Query(question=question, answer=answer)) for answer in ("red", "blue")]
    features = task.features(task.place(task.prepare(picture())[None]))
    cases = spoken_cases(task, features, [Example("a", picture(), asks=asks)])
    assert [case.prediction.text for case in cases] == [task.predict(features, [Query(question=question)])[0].text]
    assert spoken_cases(task, features, [Example("a", picture())]) == []
    with pytest.raises(InputError, match=r"asks no questions, and .* answers such: --metrics kept needs data with"):
        evaluate(task, _folder(tmp_path / "mine", "a.png"), metrics=[_asked([])])


def test_the_runner_up_is_asked_for_at_the_words_own_step() -> None:
    task = captioner("first")
    features = task.features(task.place(task.prepare(picture())[None]))
    said = task.predict(features, [Query(caption="a red dog on grass")])[0]
    word = said.words[2]
    other = runner_up(word)
    assert other is not None
    assert other.logprob == max(one.logprob for one in word.alternatives if one.token != word.terms[0].token)
    instead = with_runner_up(said, 2)
    assert instead is not None
    assert instead.words[2].terms == (Term(word.terms[0].step, other.token),)
    assert (instead.words[:2], instead.words[3:]) == (said.words[:2], said.words[3:])


class Unplaced(Squares):
    """The same, of which the green square is asked for without its place."""

    name = "unplaced"

    def __getitem__(self, number: int) -> Example:
        example = super().__getitem__(number)
        return Example(example.key, example.image, asks=[example.asks[0], Ask(label="green", group="square")])


def test_what_has_no_known_place_is_measured_too_and_pointing_leaves_it_out() -> None:
    seen: list[MetricContext] = []
    result = evaluate(
        colours(), Unplaced(), metrics=["pointing", _asked(seen)], methods=["gradcam"], targets=["logit"], n=2
    )
    assert {row.metric: row.count for row in result.rows} == {"pointing": 2, "kept": 4}
    assert [one.case.ask.label for one in seen] == ["red", "green"] * 2


def test_maps_are_made_once_where_everything_has_its_place() -> None:
    seen: list[MetricContext] = []
    evaluate(colours(), Squares(), metrics=[_asked(seen)], methods=["gradcam"], targets=["logit"], n=1)
    assert seen[0].shown.asked_anywhere is seen[0].shown.asked


def test_a_metric_that_needs_what_is_asked_is_refused_beside_one_that_does_not(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"asks nothing of .*, which --metrics pointing needs; leave it out$"):
        evaluate(colours(), _folder(tmp_path / "mine", "a.png"), metrics=["pointing", "occlusion"])


@pytest.mark.parametrize(
    ("made", "told"),
    [
        ((), r": cannot be listed \(No such file or directory\); give the folder of your pictures$"),
        (("cats",), r"no pictures in it \(\.png, .*\), but 1 folders: classes:.* reads a folder a class$"),
    ],
)
def test_a_folder_without_pictures_is_refused_by_name(tmp_path: Path, made: tuple[str, ...], told: str) -> None:
    for name in made:
        (tmp_path / "mine" / name).mkdir(parents=True)
    with pytest.raises(InputError, match=told):
        open_data(f"pictures:{tmp_path / 'mine'}")


def test_a_picture_that_cannot_be_read_costs_itself_alone(tmp_path: Path) -> None:
    spec = _folder(tmp_path / "mine", "a.png", "b.png")
    (tmp_path / "mine" / "b.png").write_bytes(b"no picture")
    result = evaluate(colours(), spec, metrics=[_asked([])], methods=["gradcam"])
    assert (result.n, result.unread) == (1, ("b.png",))
