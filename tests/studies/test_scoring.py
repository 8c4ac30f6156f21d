"""Answers are scored: raters whose answers are known beforehand, mistakes that were planted, files that are refused."""

import json
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from tests.studies import planted
from vlx import studies
from vlx.cli.program import main
from vlx.errors import InputError
from vlx.evaluation.intervals import DRAWS, drawn_pictures, wilson
from vlx.studies import scoring, study_files
from vlx.studies.agreement import SEEDS, Ratings, interval
from vlx.studies.answers import read_sheet
from vlx.studies.drafts import unpacked_ranks
from vlx.studies.stimuli import reached
from vlx.studies.study_files import StudyFiles

METHODS = ("gradcam", "guided-gradcam")
GROUPS = 4


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study, and a folder of answers by two who see and two who do not."""
    folder = tmp_path_factory.mktemp("study")
    made = studies.make(planted.Squares(200), planted.models(), METHODS, n=48, out=folder / "study.html").page
    planted.handed_in(made, folder / "answers", [planted.by_energy] * 2 + list(planted.lots(2)))
    return made


@pytest.fixture
def page(made: Path, tmp_path: Path) -> Path:
    """The study and its answers, a copy for each test."""
    shutil.copytree(made.parent, tmp_path, dirs_exist_ok=True)
    return tmp_path / made.name


def scored(page: Path, raters: Sequence[planted.Rater]) -> studies.Scores:
    return studies.score(page, planted.handed_in(page, page.parent / "more", raters))


def test_a_rater_who_sees_is_right_and_one_who_does_not_is_at_chance(page: Path) -> None:
    seen, blind = scored(page, [planted.by_energy] * GROUPS), scored(page, list(planted.lots(16)))
    for method in METHODS:
        assert seen.value("which", method) >= 0.9
        assert 0.4 <= blind.value("which", method) <= 0.6
        assert abs(blind.value("reasonable", method)) < 0.35
        for letter in ("A", "B"):
            assert seen.value("where", method, model=letter) > 0.9
            assert 0.4 <= blind.value("where", method, model=letter) <= 0.6
    assert seen.value("reasonable", "gradcam") > 1.5  # the sharp one's maps are more focused
    assert abs(blind.value("which", "guided-gradcam", against="gradcam")) < 0.2


def test_figures_by_hand(page: Path) -> None:
    scores = studies.score(page, page.parent / "answers")
    study = study_files.read(page)
    stimuli, sheets = study.key["stimuli"], [read_sheet(page.parent / "answers" / f"{n}.json", study) for n in range(4)]
    for method in METHODS:
        right, trust = [], []
        for sheet in sheets:
            for name, answer in sheet.answers.items():
                whose = [stimuli[one] for one in study.questions[name].get("shown", [[]] * GROUPS)[sheet.group]]
                if len(whose) == 1 and whose[0]["method"] == method:
                    right.append(whose[0]["option"] == answer)
                if len(whose) == 2 and whose[0]["method"] == method:
                    trust.append(answer * (1 if whose[0]["model"] == 0 else -1))
        assert scores.value("which", method) == pytest.approx(np.mean(right))
        assert scores.value("reasonable", method) == pytest.approx(np.mean(trust))
        for number, letter in enumerate("AB"):
            of_model = [
                stimuli[shown[0]]["option"] == sheet.answers[name]
                for sheet in sheets
                for name, one in study.questions.items()
                if len(shown := one.get("shown", [[]] * GROUPS)[sheet.group]) == 1
                and (stimuli[shown[0]]["method"], stimuli[shown[0]]["model"]) == (method, number)
            ]
            assert scores.value("which", method, model=letter) == pytest.approx(np.mean(of_model))
    one = next(figure for figure in scores.figures if figure.part == "which" and not figure.model)
    assert one.low < one.value < one.high
    assert one.answers == 48
    assert one.chance == 0.5


def test_places_by_hand(page: Path) -> None:
    """The share of its own map that each point exceeds, beside that of points set in the other pictures."""
    scores, study = studies.score(page, page.parent / "answers"), study_files.read(page)
    sheets = [read_sheet(page.parent / "answers" / f"{n}.json", study) for n in range(4)]
    asked = {name: one["maps"] for name, one in study.key["questions"].items() if one["part"] == "where"}
    for letter, method in product("AB", METHODS):
        reach = {
            (name, other, n): reached(unpacked_ranks(maps[letter][method]), np.array(sheet.answers[other]).tolist())
            for name, maps in asked.items()
            for other in asked
            for n, sheet in enumerate(sheets)
        }
        own, others = ([value for (a, b, _), value in reach.items() if (a == b) is same] for same in (True, False))
        told = next(one for one in scores.figures if (one.part, one.method, one.model) == ("where", method, letter))
        assert (told.value, told.others) == pytest.approx((np.mean(own), np.mean(others)))
        assert told.value != pytest.approx(told.others)
    values = {scores.value("where", "gradcam", model=letter) for letter in "AB"}
    assert len(values) == 2, "two models that cannot be mistaken for one another"


def always(answer: int, study: StudyFiles, question: str, _shown: object) -> Any:
    return [0.5, 0.5] if study.key["questions"][question]["part"] == "where" else answer


def test_a_rater_who_always_says_the_same_is_at_chance(page: Path) -> None:
    """The square is balanced: of four such raters exactly half is right, and nobody is trusted more."""
    scores = scored(page, [partial(always, 1)] * GROUPS)
    for method in METHODS:
        assert scores.value("which", method) == 0.5
        assert scores.value("reasonable", method) == 0


def test_intervals_by_a_slow_bootstrap(page: Path) -> None:
    """People and pictures drawn again one by one: a rating counts as often as its person times its picture."""
    scores, study = studies.score(page, page.parent / "answers"), study_files.read(page)
    sheets = [read_sheet(page.parent / "answers" / f"{n}.json", study) for n in range(4)]
    for part in ("which", "reasonable"):
        names = [name for name, one in study.key["questions"].items() if one["part"] == part]
        people, pictures = drawn_pictures(4, DRAWS, SEEDS[0]), drawn_pictures(len(names), DRAWS, SEEDS[1])
        rated = []
        for person, sheet in enumerate(sheets):
            for picture, name in enumerate(names):
                known = study.key["stimuli"][study.questions[name]["shown"][sheet.group][0]]
                answer = sheet.answers[name]
                assert isinstance(answer, int)
                value = answer == known["option"] if part == "which" else answer if known["model"] == 0 else -answer
                if known["method"] == "gradcam":
                    rated.append((people[:, person] * pictures[:, picture], float(value)))
        means = sum(times * value for times, value in rated) / sum(times for times, _ in rated)
        one = next(figure for figure in scores.figures if (figure.part, figure.method) == (part, "gradcam"))
        assert (one.low, one.high) == pytest.approx(np.nanpercentile(means, [2.5, 97.5]))


def by_method(study: StudyFiles, question: str, shown: Sequence[str]) -> Any:
    """Right about Grad-CAM alone, and a friend of its sharp model."""
    seen = planted.by_energy(study, question, shown)
    known = study.key["stimuli"].get(shown[0], {}) if shown else {}
    return seen if known.get("method") != "guided-gradcam" else 1 - seen if "option" in known else 0


def test_the_interval_of_a_difference_is_about_it(page: Path) -> None:
    scores = scored(page, [by_method] * 3 + [planted.by_energy])
    for part in ("which", "reasonable"):
        (one,) = (figure for figure in scores.figures if figure.part == part and figure.against)
        assert one.low <= one.value <= one.high < 0, part
        assert one.value == pytest.approx(
            scores.value(part, "guided-gradcam") - scores.value(part, "gradcam"),
        )


def test_intervals_of_all_differences_hold_together() -> None:
    """Of three methods there are three differences: each has the interval of one in three (Bonferroni)."""
    rng = np.random.default_rng(0)
    drawn = {name: (rng.normal(0, 1, 999), Ratings(rng.normal(0, 1, 9), *np.divmod(np.arange(9), 3))) for name in "abc"}
    for one in scoring._compared("which", drawn):
        among = interval(drawn[one.method][0] - drawn[one.against][0], among=3)
        assert (one.low, one.high) == among
        assert among[0] < interval(drawn[one.method][0] - drawn[one.against][0])[0]


def test_where_all_are_right_there_are_as_many_ratings_as_people(page: Path) -> None:
    scores = scored(page, [planted.by_energy] * GROUPS)
    one = next(figure for figure in scores.figures if (figure.part, figure.method) == ("which", "gradcam"))
    assert (one.value, one.answers) == (1, 48)
    assert (one.low, one.high) == wilson(GROUPS, GROUPS)


def test_agreement_is_told_where_several_saw_the_same(page: Path) -> None:
    alike = scored(page, [planted.by_energy] * 2 * GROUPS)
    blind = scored(page, list(planted.lots(4 * GROUPS)))
    kappas = [
        {(one.part, one.method): one.kappa for one in scores.figures if not one.against and not one.model}
        for scores in (alike, blind)
    ]
    assert kappas[0]["which", "gradcam"] == 1
    assert all(abs(kappas[1][part, "gradcam"]) < 0.2 for part in ("which", "reasonable"))


def test_a_key_that_has_options_the_wrong_way_round_is_seen(page: Path) -> None:
    """A planted mistake, for which every file but the raters is consistent."""
    study = study_files.read(page)
    stimuli = {
        name: {**one, "option": 1 - one["option"]} if "option" in one else one
        for name, one in study.key["stimuli"].items()
    }
    other = page.parent / "other.html"
    bare = {name: value for name, value in study.page.items() if name != "digest"}
    study_files.write(other, bare, {**study.key, "stimuli": stimuli})
    assert scored(other, [planted.by_energy] * 2).value("which", "gradcam") < 0.1


def test_where_a_point_is_matters(page: Path) -> None:
    def across(study: StudyFiles, question: str, shown: Any) -> Any:
        answer = planted.by_energy(study, question, shown)
        return [1 - answer[0], answer[1]] if isinstance(answer, list) else answer

    mirrored, straight = (
        scored(page, [rater] * 2).value("where", "gradcam", model="A") for rater in (across, planted.by_energy)
    )
    assert mirrored < straight - 0.2


def test_one_participant_has_intervals_over_pictures(page: Path) -> None:
    scores = studies.score(page, page.parent / "answers" / "2.json")
    assert "1 participant: intervals are over pictures alone" in scores.notes
    assert all(np.isfinite(one.low) for one in scores.figures if one.part == "which" and not one.against)


def test_what_is_told_can_be_read_as_json_and_as_a_table(page: Path) -> None:
    scores = studies.score(page, page.parent / "answers")
    told = json.loads(json.dumps(scores.to_json(), allow_nan=False))
    assert told["participants"] == 4
    assert told["models"] == {"A": "sharp", "B": "blurred"}
    assert {row["part"] for row in told["rows"]} == {"which", "reasonable", "where"}
    assert len(told["rows"]) == scores.table().row_count
    with pytest.raises(InputError, match="no figure of 'which' by 'lens'"):
        scores.value("which", "lens")


def test_each_model_s_right_answers_are_told_as_its_own(page: Path) -> None:
    study, other = study_files.read(page), page.parent / "other.html"
    bare = {name: value for name, value in study.page.items() if name != "digest"}
    study_files.write(other, bare, {**study.key, "right": [0.75, 0.5]})
    assert any(
        "A was right in 0.750, B was right in 0.500" in note for note in scored(other, [planted.by_energy]).notes
    )


def test_names_are_told_as_they_are_and_steer_nothing(page: Path) -> None:
    """What stands in brackets is no markup of the terminal's, as in hf:org/model[v2] or in a stray closing tag."""
    study, other = study_files.read(page), page.parent / "other.html"
    bare = {name: value for name, value in study.page.items() if name != "digest"}
    models = {"A": "mine [/x] [red]one", "B": "other\u202e\x1b[31m"}
    study_files.write(other, bare, {**study.key, "models": models})
    planted.handed_in(other, page.parent / "named", [planted.by_energy])
    result = run(other, page.parent / "named")
    assert result.exit_code == 0, result.output
    assert "mine [/x] [red]one" in result.output
    assert "\u202e" not in result.output
    assert "\x1b" not in result.output


# Files that do not count


def first(change: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], None]:
    """A change of the first answer to a question of a part."""

    def changed(content: dict[str, Any]) -> None:
        change(content["answers"][0])

    return changed


def of_part(part: str, answer: Any) -> Callable[[dict[str, Any]], None]:
    def changed(content: dict[str, Any]) -> None:
        next(one for one in content["answers"] if one["question"].startswith(part))["answer"] = answer

    return changed


BAD: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "another study": (lambda c: c.update(study="0" * 64), "answers of another study"),
    "no study": (lambda c: c.update(study=None), "answers of another study"),
    "another file": (lambda _: {"hello": 1}, "no answers to a study"),
    "a list": (lambda _: [1, 2], "no answers to a study"),
    "a newer version": (lambda c: c.update(schema_version=2), "of version 2"),
    "markup as participant": (lambda c: c.update(participant="<script>alert(1)</script>"), "participant is '<script>"),
    "a number as participant": (lambda c: c.update(participant=7), "participant is 7"),
    "a group beyond": (lambda c: c.update(group=4), "group is 4, and should be a whole number from 0 to 3"),
    "a true group": (lambda c: c.update(group=True), "group is True"),
    "another group": (lambda c: c.update(group=(c["group"] + 1) % 4), "what group"),
    "a field more": (lambda c: c.update(comment="<b>hi</b>"), "a field is 'comment'"),
    "a field less": (lambda c: c.pop("group") and None, "lacks 'group'"),
    "no list": (lambda c: c.update(answers={"a": 1}), "answers is {'a': 1}, and should be a list"),
    "a text as answer": (of_part("which", "<img src=x>"), "'<img src=x>', and should be a whole number from 0 to 1"),
    "half an answer": (of_part("which", 0.5), "should be a whole number from 0 to 1"),
    "a true answer": (of_part("which", True), "which-1 is True"),
    "beyond the scale": (of_part("reasonable", 3), "is 3, and should be a whole number from -2 to 2"),
    "a point outside": (of_part("where", [0.5, 1.5]), "a point"),
    "a point of three": (of_part("where", [0.5, 0.5, 0.5]), "a point"),
    "no point": (of_part("where", None), "a point"),
    "a check of nothing": (of_part("check", 9), "check-1 is 9"),
    "an unknown question": (first(lambda one: one.update(question="which-999")), "a question is 'which-999'"),
    "markup as question": (first(lambda one: one.update(question="<b>")), "a question is '<b>'"),
    "a list as question": (first(lambda one: one.update(question=[1])), "a question is"),
    "another picture": (first(lambda one: one.update(shown=["ffffffff"])), "shown is"),
    "negative seconds": (first(lambda one: one.update(seconds=-1)), "seconds is -1"),
    "text as seconds": (first(lambda one: one.update(seconds="1")), "seconds is '1'"),
    "a field in an answer": (first(lambda one: one.update(note="x")), "a field is 'note'"),
    "an answer twice": (lambda c: c["answers"].append(c["answers"][0]), "which-1 is answered twice"),
    "an answer less": (lambda c: c["answers"].pop() and None, "of 50 questions are answered"),
    "an answer that is none": (lambda c: c["answers"].append(3), "an answer is 3"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_the_page_did_not_write_is_refused(page: Path, name: str) -> None:
    change, told = BAD[name]
    answers = page.parent / "answers"
    planted.changed(answers / "0.json", change)
    scores = studies.score(page, answers)
    assert scores.participants == 3
    ((file, why),) = scores.refused
    assert file.endswith("0.json")
    assert told in why
    assert len(why) < 300
    with pytest.raises(InputError, match=r"none of 1 files can be scored: .*0\.json"):
        studies.score(page, answers / "0.json")


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"format": "vlx study answers", "group": 1e999}', b"null"],
)
def test_a_file_that_is_no_json_is_refused(page: Path, data: bytes) -> None:
    (page.parent / "answers" / "0.json").write_bytes(data)
    assert len(studies.score(page, page.parent / "answers").refused) == 1


def test_a_file_that_was_cut_off_is_refused(page: Path) -> None:
    path = page.parent / "answers" / "1.json"
    path.write_bytes(path.read_bytes()[:-40])
    ((file, why),) = studies.score(page, page.parent / "answers").refused
    assert file == str(path)
    assert "is not whole JSON" in why


def test_a_participant_counts_once(page: Path) -> None:
    answers = page.parent / "answers"
    shutil.copy(answers / "0.json", answers / "again.json")
    scores = studies.score(page, answers)
    assert scores.participants == 4
    assert [(Path(file).name, "handed in twice" in why) for file, why in scores.refused] == [("again.json", True)]
    planted.changed(answers / "again.json", of_part("reasonable", 1))
    planted.changed(answers / "0.json", of_part("reasonable", -1))
    scores = studies.score(page, answers)
    assert scores.participants == 3
    assert sorted(Path(file).name for file, _ in scores.refused) == ["0.json", "again.json"]


def test_who_did_not_read_along_is_left_out(page: Path) -> None:
    study = study_files.read(page)
    wrong = (next(iter(study.key["checks"].values())) + 1) % 5
    planted.changed(page.parent / "answers" / "3.json", of_part("check", wrong))
    scores = studies.score(page, page.parent / "answers")
    assert scores.participants == 3
    assert [(Path(file).name, why) for file, why in scores.left_out] == [
        ("3.json", "missed 1 of 2 checks of attention")
    ]
    assert not scores.refused


def test_a_study_without_its_key_or_with_another_is_refused(page: Path) -> None:
    key = study_files.key_path(page)
    kept = key.read_text(encoding="utf-8")
    key.unlink()
    with pytest.raises(InputError, match=r"study\.key\.json: not there; the key"):
        studies.score(page, page.parent / "answers")
    for other in (kept.replace('"option": 1', '"option": 0'), kept.replace('"vlx study key"', '"key"'), "{", "[]"):
        key.write_text(other, encoding="utf-8")
        with pytest.raises(InputError):
            studies.score(page, page.parent / "answers")
    key.write_text(kept, encoding="utf-8")
    page.write_text(page.read_text(encoding="utf-8").replace("Which of the two?", "Which?"), encoding="utf-8")
    with pytest.raises(InputError, match="not of one study, or one was changed"):
        studies.score(page, page.parent / "answers")


@pytest.mark.parametrize("content", ["", "<html></html>", '<script type="application/json" id="study">{</script>'])
def test_a_page_of_something_else_is_refused(page: Path, content: str) -> None:
    page.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=r"study\.html"):
        studies.score(page, page.parent / "answers")


# The command


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["study", "score", *map(str, arguments)])


def test_the_command_tells_figures_and_ends_with_0(page: Path) -> None:
    result = run(page, page.parent / "answers" / "*.json")
    assert result.exit_code == 0, result.output
    for told in ("4 participants", "which: accuracy", "reasonable: trust", "where: place", "guided-gradcam − gradcam"):
        assert told in result.output


def test_the_command_names_what_it_refuses_and_ends_with_1(page: Path) -> None:
    planted.changed(page.parent / "answers" / "0.json", lambda c: c.update(participant="\x1b[31m<b>"))
    result = run(page, page.parent / "answers")
    assert result.exit_code == 1
    assert "3 participants" in result.stdout
    assert "Refused:" in result.stderr
    assert "0.json" in result.stderr
    assert "\x1b[31m" not in result.output


def test_the_key_among_the_answers_is_no_answer(page: Path) -> None:
    for path in (page.parent / "answers").iterdir():
        shutil.move(path, page.parent / path.name)
    result = run(page, page.parent / "*.json")
    assert result.exit_code == 0, result.output


def test_no_files_at_all_are_told(page: Path) -> None:
    result = run(page, page.parent / "none-*.json")
    assert result.exit_code == 1
    assert "no answers given; name the files that participants downloaded" in result.output
