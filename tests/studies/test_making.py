"""A study is made: what its page shows and hides, which questions it has, and what is refused before a model runs."""

import itertools
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from torch import Tensor, nn

import vlx
from tests.fakes import captioner
from tests.studies import planted
from vlx import studies
from vlx.cli.program import main
from vlx.data.example import Ask
from vlx.errors import InputError, ModelError, OutputError
from vlx.protocol.targets import Query
from vlx.studies import making, parts, stimuli, study_files
from vlx.studies.drafts import unpacked_ranks
from vlx.studies.questions import Reader, said, sought
from vlx.studies.stimuli import ranks, reached
from vlx.tasks.classification import Classifier


def made(folder: Path, *, count: int = 60, methods: str = "gradcam,guided-gradcam", n: int = 12, **more: Any) -> Path:
    data = more.pop("data", None) or planted.Squares(count)
    return studies.make(data, planted.models(), methods, n=n, out=folder / "study.html", **more).page


def test_page_and_key_are_one_study_and_the_page_gives_nothing_away(tmp_path: Path) -> None:
    page = made(tmp_path)
    study = study_files.read(page)
    text = page.read_text(encoding="utf-8")
    told = re.sub(r"data:image/webp;base64,[^\"]*", "", text)
    for hidden in ("sharp", "blurred", "gradcam", "guided", 'option"', "model", "square-"):
        assert hidden not in told, hidden
    assert re.search(r"https?://", told) is None
    assert study.key["models"] == {"A": "sharp", "B": "blurred"}
    assert set(study.key["stimuli"]) < set(study.page["images"])
    pictures = [one["picture"] for one in study.key["questions"].values()]
    assert len(set(pictures)) == len(pictures) == 12
    for address in study.page["images"].values():
        assert planted.image_of(address).shape == (planted.SIZE, planted.SIZE, 3)


def test_the_source_of_a_page_does_not_tell_the_answers(tmp_path: Path) -> None:
    """What a participant could go by who reads the page: a question's number, its group, and the order of pictures."""
    study = study_files.read(made(tmp_path, count=200, n=64))
    places = {name: place for place, name in enumerate(study.page["images"])}
    clues: dict[str, list[bool]] = {"number": [], "order": [], "name": [], "group": []}
    for question in study.questions.values():
        shown = [one[0] for one in question.get("shown", []) if one]
        number = int(question["id"].split("-")[1]) - 1
        for group, name in enumerate(shown):
            known = study.key["stimuli"][name]
            side = known.get("option", known["model"])
            ranked = sorted(shown, key=lambda one: places[one])
            clues["number"].append((number + group) % 2 == side)
            clues["group"].append(group % 2 == side)
            clues["order"].append(ranked.index(name) % 2 == side)
            clues["name"].append(int(name, 16) % 2 == side)
    for clue, right in clues.items():
        assert len(right) == 216
        assert 0.38 < np.mean(right) < 0.62, clue


def test_who_knows_the_seed_does_not_know_who_is_shown_what(tmp_path: Path) -> None:
    """The lot is drawn by all that is shown, too: another model's maps, and no name is the same."""
    one, other = (
        study_files.read(
            studies.make(planted.Squares(60), planted.models(blur), n=12, out=tmp_path / f"{blur}.html").page
        )
        for blur in (9, 7)
    )
    assert [one.key["questions"][name]["picture"] for name in one.key["questions"]] == [
        other.key["questions"][name]["picture"] for name in other.key["questions"]
    ]
    assert len(set(one.key["stimuli"]) & set(other.key["stimuli"])) < 3


def test_each_group_sees_every_condition_and_each_picture_one_of_them(tmp_path: Path) -> None:
    study = study_files.read(made(tmp_path, n=24))
    stimuli = study.key["stimuli"]
    whiches = [one for name, one in study.questions.items() if name.startswith("which")]
    for group in range(study.page["groups"]):
        seen = [
            (stimuli[one["shown"][group][0]]["method"], stimuli[one["shown"][group][0]]["option"]) for one in whiches
        ]
        assert {seen.count(one) for one in seen} == {3}
    for name, one in study.questions.items():
        if name.startswith("reasonable"):
            pairs = [tuple(stimuli[shown]["model"] for shown in group) for group in one["shown"]]
            assert sorted(pairs) == [(0, 1), (0, 1), (1, 0), (1, 0)]
            assert all(len({stimuli[shown]["method"] for shown in group}) == 1 for group in one["shown"])


def test_the_maps_are_those_of_their_model_and_class(tmp_path: Path) -> None:
    study = study_files.read(made(tmp_path, n=24))
    focused: dict[int, list[float]] = {0: [], 1: []}
    for name, whose in study.key["stimuli"].items():
        question = next(q for q, one in study.questions.items() if any(name in shown for shown in one.get("shown", [])))
        if not question.startswith("which"):
            continue
        options = study.key["questions"][question]["options"]
        masks = planted.truth(study, question)
        pixels = planted.image_of(study.page["images"][name])
        share = planted.focus(pixels, masks[options[whose["option"]]])
        assert share > planted.focus(pixels, masks[options[1 - whose["option"]]])
        focused[whose["model"]] += [share] * (whose["method"] == "gradcam")
    assert min(focused[0]) > max(focused[1])


class Turned(nn.Module):
    """An eye whose scores come in another order."""

    def __init__(self, eye: nn.Module) -> None:
        super().__init__()
        self.eye = eye

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.eye(images).roll(1, 1)
        return scores


def turned(*labels: str) -> list[Classifier]:
    """Two models of which the second's classes come in another order, called ``labels``."""
    first, second = planted.models()
    other = Classifier(Turned(second.model).eval(), layer="eye.features", labels=labels, prepare=planted.prepare)
    return [first, other]


def test_models_whose_classes_come_in_another_order_are_asked_of_the_same(tmp_path: Path) -> None:
    page = studies.make(
        planted.Squares(40), turned("blue", "red", "green"), "gradcam", n=16, out=tmp_path / "s.html", parts="which"
    ).page
    scores = studies.score(page, planted.handed_in(page, tmp_path / "a", [planted.by_energy] * 2))
    assert scores.value("which", "gradcam", model="A") == scores.value("which", "gradcam", model="B") == 1
    assert study_files.read(page).key["right"] == [1, 1]


def test_how_often_each_model_is_right_is_told_of_each(tmp_path: Path) -> None:
    """The second model says "red" of what is blue and never what is there, where a picture shows one square."""
    data, tasks = planted.Squares(40, alone=True), turned("red", "green", "blue")
    page = studies.make(data, tasks, "gradcam", n=6, out=tmp_path / "s.html", parts="which").page
    assert study_files.read(page).key["right"] == [1, 0]
    notes = studies.score(page, planted.handed_in(page, tmp_path / "a", list(planted.lots(2)))).notes
    assert not any("was right in" in note for note in notes), "only of what both said is it asked who was right"


def test_whose_reasons_are_better_is_asked_only_where_both_are_right(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none are such that both models are right"):
        studies.make(
            *(planted.Squares(12, alone=True), turned("red", "green", "blue"), "gradcam"),
            n=2, out=tmp_path / "s.html", parts="reasonable",
        )  # fmt: skip


def test_the_same_again_is_the_same_and_another_seed_is_not(tmp_path: Path) -> None:
    first = made(tmp_path, n=6).read_bytes()
    assert made(tmp_path, n=6).read_bytes() == first
    assert made(tmp_path, n=6, seed=1, overwrite=True).read_bytes() != first


def test_another_study_is_not_overwritten(tmp_path: Path) -> None:
    page = made(tmp_path, n=6)
    before = page.read_bytes(), study_files.key_path(page).read_bytes()
    with pytest.raises(OutputError, match="another study, whose answers need it"):
        made(tmp_path, n=6, seed=1)
    assert before == (page.read_bytes(), study_files.key_path(page).read_bytes())
    page.write_text("<html>a page of mine</html>", encoding="utf-8")
    with pytest.raises(OutputError, match="--overwrite"):
        made(tmp_path, n=6, seed=1)


def test_pictures_of_one_class_are_asked_with_the_likeliest_other(tmp_path: Path) -> None:
    for number in range(9):
        image, masks = planted.drawn(number, 1)
        folder = tmp_path / "photos" / next(iter(masks))
        folder.mkdir(parents=True, exist_ok=True)
        image.save(folder / f"{number}.png")
    page = made(tmp_path, data=str(tmp_path / "photos"), n=6)
    study = study_files.read(page)
    for name, known in study.key["questions"].items():
        if known["part"] == "which":
            assert known["picture"].split("/")[0] in known["options"]
            assert study.questions[name]["options"] == sorted(known["options"])
            assert len(set(known["options"])) == 2
            assert known["rival"]


class Mixed(planted.Squares):
    """Every third picture has two squares, the others have one."""

    def __getitem__(self, number: int) -> Any:
        return planted.Squares(1, alone=number % 3 > 0)[number]


def test_pictures_of_one_class_are_asked_about_where_those_of_two_are_too_few(tmp_path: Path) -> None:
    enough = studies.make(Mixed(60), planted.models(), "gradcam", n=8, parts="which", out=tmp_path / "a.html")
    assert "which need not be there" not in str(enough)
    few = studies.make(Mixed(12), planted.models(), "gradcam", n=9, parts="which", out=tmp_path / "b.html")
    assert "5 of 9 questions of “which” are about pictures of one class" in str(few)
    key = study_files.read(few.page).key
    assert sum(one["rival"] for one in key["questions"].values()) == 5


def test_classes_that_a_model_does_not_know_are_named(tmp_path: Path) -> None:
    for number in range(2):
        folder = tmp_path / "photos" / f"wombat{number}"
        folder.mkdir(parents=True)
        planted.drawn(number)[0].save(folder / "a.png")
    with pytest.raises(InputError, match=r"sharp does not know wombat\d: tell with --classes FILE"):
        made(tmp_path, data=str(tmp_path / "photos"))


def test_fewer_pictures_than_questions_are_told(tmp_path: Path) -> None:
    made_study = studies.make(planted.Squares(8), planted.models(), n=90, out=tmp_path / "s.html")
    assert sum(made_study.questions.values()) == 8
    assert re.search(r"\d of 45 questions of “which”: of 8 pictures no more show two things", str(made_study))


def test_captioners_are_asked_about_words_for_things(tmp_path: Path) -> None:
    tasks = [vlx.load("scenes/captioner"), vlx.load("scenes/captioner-pooled")]
    page = studies.make("scenes:60", tasks, "gradcam", n=6, out=tmp_path / "s.html").page
    study = study_files.read(page)
    kinds = set(vlx.scenes.KINDS)
    options = [name for one in study.key["questions"].values() for name in one.get("options", [])]
    assert options
    assert set(options) <= kinds


def test_models_that_answer_are_asked_about_questions(tmp_path: Path) -> None:
    tasks = [vlx.load("scenes/vqa"), vlx.load("scenes/vqa-biased")]
    page = studies.make("scenes:30", tasks, "gradcam", n=6, out=tmp_path / "s.html").page
    study = study_files.read(page)
    whiches = [one["options"] for one in study.key["questions"].values() if one["part"] == "which"]
    assert all("?" in option for options in whiches for option in options)
    assert all("–" not in one["prompt"] for name, one in study.questions.items() if name.startswith("where"))


@pytest.mark.parametrize("shape", [(4, 5), (1, 1), (9, 3)])
def test_a_point_that_is_put_anywhere_reaches_a_half(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    seen = np.ones(shape, bool)
    seen[:, 3:] = False
    for values in (rng.random(shape), np.zeros(shape), np.round(rng.random(shape))):
        ranked = ranks(values, seen)
        places = [((x + 0.5) / shape[1], (y + 0.5) / shape[0]) for y in range(shape[0]) for x in range(shape[1])]
        everywhere = np.array([reached(ranked, place) for place in places]).reshape(shape)
        assert np.array_equal(np.isnan(everywhere), ~seen)
        assert np.nanmean(everywhere) == pytest.approx(0.5, abs=0.003)
        if len(np.unique(values)) > 2:
            assert np.nanargmax(everywhere) == np.where(seen, values, -1).argmax()


def cropped(image: Image.Image) -> Tensor:
    """The left half alone."""
    return planted.prepare(image.crop((0, 0, planted.SIZE // 2, planted.SIZE)))


def test_what_a_model_does_not_see_is_not_asked_about(tmp_path: Path) -> None:
    tasks = [Classifier(planted.Eye(blur).eval(), "features", [*planted.COLOURS], cropped) for blur in (1, 5)]
    made_study = studies.make(planted.Squares(40), tasks, "gradcam", n=12, out=tmp_path / "s.html")
    assert made_study.questions == {"reasonable": 4, "where": 2}  # of two squares one is seen
    study = study_files.read(made_study.page)
    for name, known in study.key["questions"].items():
        seen = planted.truth(study, name)[known["said"]][:, : planted.SIZE // 2]
        assert seen.any()


def test_points_are_compared_where_both_models_saw(tmp_path: Path) -> None:
    """Of two models one sees the left half alone: a point on the right is compared with neither's map."""
    tasks = [
        Classifier(planted.Eye(blur).eval(), "features", [*planted.COLOURS], prepare)
        for blur, prepare in ((1, planted.prepare), (5, cropped))
    ]
    page = studies.make(planted.Squares(20), tasks, "gradcam", n=2, out=tmp_path / "s.html", parts="where").page
    for known in study_files.read(page).key["questions"].values():
        for letter in "AB":
            ranked = unpacked_ranks(known["maps"][letter]["gradcam"])
            half = ranked.shape[1] // 2
            assert ranked[:, :half].all()
            assert not ranked[:, half:].any()


def test_a_full_page_has_smaller_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = {str(n): np.random.default_rng(n).integers(0, 256, (256, 192, 3), np.uint8) for n in range(4)}
    whole, notes = making._packed(images, 1)
    assert not notes
    monkeypatch.setattr(making, "LARGEST", sum(map(len, whole.values())) // 8)
    small, notes = making._packed(images, 1)
    assert notes
    assert sum(map(len, small.values())) < making.LARGEST
    assert {planted.image_of(one).shape for one in small.values()} != {(256, 192, 3)}
    monkeypatch.setattr(making, "LARGEST", 100)
    with pytest.raises(InputError, match="do not fit a page"):
        making._packed(images, 1)


class Unreadable(planted.Squares):
    def __getitem__(self, number: int) -> Any:
        if number % 2:
            return vlx.data.Example("gone", Path("no-such.png"), asks=[])
        return super().__getitem__(number)


def test_pictures_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    told = str(studies.make(Unreadable(20), planted.models(), n=6, out=tmp_path / "s.html"))
    assert re.search(r"\d+ pictures cannot be read, as no-such.png", told)


@pytest.mark.parametrize("error", [RuntimeError("singular"), ModelError("gradcam: no gradient")])
def test_a_picture_that_a_method_fails_on_is_left_out_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    drawn, calls = stimuli.drawn, itertools.count(1)

    def failing(*given: Any, **more: Any) -> Any:
        if next(calls) in (1, 9):
            raise error
        return drawn(*given, **more)

    monkeypatch.setattr(parts, "drawn", failing)
    told = studies.make(planted.Squares(60), planted.models(), "gradcam", n=12, out=tmp_path / "s.html")
    assert sum(told.questions.values()) == 12
    assert "2 pictures left out where a model or method failed, as" in str(told)
    assert str(error) in str(told)
    monkeypatch.setattr(parts, "drawn", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        studies.make(planted.Squares(60), planted.models(), "gradcam", n=12, out=tmp_path / "none.html")
    assert not (tmp_path / "none.html").exists()


@pytest.mark.parametrize("between", ["\n\n", "\r\n\r\n", "\n \t\n", "\r\r", "\n\n\n"])
def test_paragraphs_of_a_consent_are_kept_whatever_ends_their_lines(tmp_path: Path, between: str) -> None:
    (tmp_path / "consent.txt").write_bytes(f"\ufeffWe ask,\nat home.{between}Write to us.".encode())
    page = made(tmp_path, n=3, consent=(tmp_path / "consent.txt").read_bytes().decode())
    assert study_files.read(page).page["consent"] == ["We ask, at home.", "Write to us."]


def test_names_that_look_alike_are_one_and_turn_nothing(tmp_path: Path) -> None:
    """A right-to-left override turns whatever follows; two names that differ by it alone nobody could tell apart."""
    turned = Ask(label="\u202ecar\u202c, vehicle")
    assert said(turned) == said(Ask(label="car, railway")) == "car"
    assert sought(turned).isascii() is False
    assert "\u202e" not in sought(turned)
    assert said(Ask(Query(question="what\u202e?", answer="a\u2066b"))) == "what? – ab"
    assert said(Ask(label="\u05e1\u05d5\u05e1")) == "\u05e1\u05d5\u05e1"


def test_the_other_class_has_another_name(tmp_path: Path) -> None:
    """Model A's likeliest other class is called as the true one is: the next is asked about."""
    tasks = [
        Classifier(task.model, layer="features", labels=["red, warm", "green", "red, cold"], prepare=planted.prepare)
        for task in planted.models()
    ]
    reader = Reader(
        (tasks[0], tasks[1]), planted.Squares(9, alone=True), (), {name: [n] for n, name in enumerate(planted.COLOURS)}
    )
    for number in range(9):
        shared = reader.picture(number)
        assert shared.pair is not None
        assert len({said(ask) for ask in shared.pair}) == 2


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"models": ["scenes/captioner"]}, r"compares two models, 1 given \(scenes/captioner\)"),
        ({"models": []}, "compares two models, 0 given"),
        ({"models": "scenes/captioner"}, "compares two models, 1 given"),
        ({"models": planted.models()[:1] * 2}, "sharp is named twice"),
        ({"models": ["scenes/vqa", "scenes/vqa"]}, "scenes/vqa is named twice"),
        ({"models": [planted.models()[0], planted.models()[0]], "n": 4}, "all maps of sharp and sharp are equal"),
        ({"methods": "gradcm"}, "no method 'gradcm'; close: gradcam"),
        ({"methods": "gradcam,Grad-CAM"}, "gradcam is named twice"),
        ({"methods": []}, "without methods shows nothing"),
        ({"methods": "lens"}, "--methods lens: no method for"),
        ({"methods": "same"}, "leave it out"),
        ({"methods": "gradcam,hirescam,layercam,gradcam++,xgradcam,guided,random,centre,edges"}, "at most 8"),
        ({"n": 0}, "at least one question"),
        ({"n": True}, "at least one question"),
        ({"parts": "who"}, "no part 'who' of a study"),
        ({"out": "study.json"}, r"a name that ends in \.html"),
        ({"data": "nowhere-there"}, "no labelled pictures"),
    ],
)
def test_what_cannot_be_a_study_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    given: dict[str, Any] = {"data": planted.Squares(4), "models": planted.models(), "methods": "gradcam", **change}
    with pytest.raises(InputError, match=told) as caught:
        studies.make(**given)
    assert len(str(caught.value)) < 300
    assert not list(tmp_path.iterdir())


def test_two_kinds_of_models_are_no_pair(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="compares two that do the same"):
        studies.make(planted.Squares(4), [planted.models()[0], captioner()], out=tmp_path / "s.html")


def test_data_that_ask_nothing_are_refused(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    planted.drawn(0)[0].save(tmp_path / "plain" / "a.png")
    with pytest.raises(InputError, match="nothing to ask; of 1 pictures none"):
        made(tmp_path, data=f"pictures:{tmp_path / 'plain'}")
    assert not list(tmp_path.glob("study*"))


@pytest.mark.parametrize("out", ["gone/study.html", "folder.html"])
def test_a_place_that_cannot_be_written_is_told_before_a_model_runs(tmp_path: Path, out: str) -> None:
    (tmp_path / "folder.html").mkdir()
    models: Any = ["never", "loaded"]
    with pytest.raises(OutputError):
        studies.make(planted.Squares(4), models, out=tmp_path / out)


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bytes = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if path.suffix == ".html":
            write_bytes(path, data[: len(data) // 2])
            raise OSError(28, "No space left on device")
        return write_bytes(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match="No space left on device"):
        made(tmp_path, n=6)
    assert not list(tmp_path.iterdir())


# The command


def write_models(folder: Path) -> tuple[str, str]:
    code = "from tests.studies.planted import models\nsharp = lambda: models()[0]\nblurred = lambda: models()[1]\n"
    (folder / "mine.py").write_text(code, encoding="utf-8")
    return f"{folder / 'mine.py'}:sharp", f"{folder / 'mine.py'}:blurred"


def test_the_command_makes_a_study_and_scores_it(tmp_path: Path) -> None:
    for number in range(8):
        image, masks = planted.drawn(number, 1)
        folder = tmp_path / "photos" / next(iter(masks))
        folder.mkdir(parents=True, exist_ok=True)
        image.save(folder / f"{number}.png")
    page, own = tmp_path / "study.html", tmp_path / "own.txt"
    own.write_text("We are <b>Lab X</b>.\n\nAsk lab@example.org.", encoding="utf-8")
    wish = ["--methods", "gradcam", "--n", "6", "--consent", str(own), "--out", str(page)]
    result = CliRunner().invoke(main, ["study", str(tmp_path / "photos"), "--models", *write_models(tmp_path), *wish])
    assert result.exit_code == 0, result.output
    assert "6 questions a participant" in result.output
    assert study_files.read(page).page["consent"] == ["We are <b>Lab X</b>.", "Ask lab@example.org."]
    assert "<b>" not in page.read_text(encoding="utf-8")
    paths = planted.handed_in(page, tmp_path / "answers", list(planted.lots(2)))
    scored = CliRunner().invoke(main, ["study", "score", str(page), *map(str, paths), "--json"])
    assert scored.exit_code == 0, scored.output
    assert json.loads(scored.stdout)["participants"] == 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["photos", "--models", "a", "--methods", "gradcam"], "compares two models; a stands alone"),
        (["photos", "--models", "a"], "compares two models; a stands alone"),
        (["photos", "--models"], "a study compares two models"),
        (["photos"], "Missing option '--models'"),
        (["photos", "--models", "a", "b", "c"], "unexpected extra argument"),
        (["score", "study.html"], "Missing argument 'ANSWERS...'"),
    ],
)
def test_a_command_that_lacks_something_is_told_what(arguments: list[str], told: str) -> None:
    result = CliRunner().invoke(main, ["study", *arguments])
    assert result.exit_code == 2
    assert told in result.output


def test_a_place_is_tried_before_models_are_loaded(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        main, ["study", "x", "--models", "no", "model", "--out", str(tmp_path / "gone" / "s.html")]
    )
    assert result.exit_code == 1
    assert "no such folder; make it first" in result.output


def test_help_shows_both_commands() -> None:
    told = CliRunner().invoke(main, ["study", "--help"]).output
    assert "--models A B" in told
    assert "score" in told
    assert "study DATA" in told.replace("[OPTIONS] ", "")
    assert "PAGE ANSWERS..." in CliRunner().invoke(main, ["study", "score", "--help"]).output


def test_a_picture_is_shown_as_it_is(tmp_path: Path) -> None:
    study = study_files.read(made(tmp_path, n=6))
    named = {one["picture"]: name for name, one in study.key["questions"].items() if one["part"] == "where"}
    key, question = next(iter(named.items()))
    expected = np.asarray(planted.drawn(int(key.removeprefix("square-")))[0]).astype(float)
    seen = planted.image_of(study.page["images"][study.questions[question]["picture"]])
    assert np.abs(seen - expected).mean() < 6
