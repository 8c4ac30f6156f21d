"""Two models, methods or texts on the same pictures: the same has no difference, what was planted comes first."""

import copy
import csv
import io
import json
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from scipy.stats import spearmanr

import vlx
from tests.explanations import answer_explanation, caption_explanation, contrast_explanation
from tests.fakes import captioner, picture, tiny_bundle
from vlx import Explanation
from vlx.cli.program import main
from vlx.comparing import PicturePair, maps, page, words
from vlx.comparing.comparison import COLUMNS
from vlx.errors import InputError
from vlx.pictures.placement import Frame, Grid, Placement

LABELS = ("a", "red", "house", "in", "snow")


def why(**options: Any) -> Explanation:
    return caption_explanation(labels=LABELS, cropped=False, **options)


def changed(given: Explanation, position: int, **changes: Any) -> Explanation:
    told = list(given.words)
    told[position] = replace(told[position], **changes)
    return replace(given, words=tuple(told), text=" ".join(word.label for word in told))


# Words


@pytest.mark.parametrize(
    ("a", "b", "places"),
    [
        ("a red car", "a red car", [(0, 0), (1, 1), (2, 2)]),
        ("a red car", "a blue car", [(0, 0), (1, 1), (2, 2)]),
        ("a red car", "a car", [(0, 0), (1, None), (2, 1)]),
        ("a car", "a big red car", [(0, 0), (None, 1), (None, 2), (1, 3)]),
        ("A Car", "a car", [(0, 0), (1, 1)]),
        ("x y", "z", [(0, 0), (1, None)]),
        ("", "a", [(None, 0)]),
        ("", "", []),
    ],
)
def test_words_are_paired_by_their_texts(a: str, b: str, places: list[tuple[int | None, int | None]]) -> None:
    found = list(words.aligned(a.split(), b.split()))
    assert found == places


def test_frequent_words_of_long_texts_are_paired() -> None:
    a = ["a", "b"] * 150
    assert list(words.aligned(a, a[1:])) == [(0, None), *((n, n - 1) for n in range(1, 300))]


def test_every_word_of_both_texts_is_there_once_and_in_order() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        a, b = (["abcd"[n] for n in rng.integers(0, 4, rng.integers(0, 9))] for _ in "ab")
        found = list(words.aligned(a, b))
        for side, text in enumerate((a, b)):
            places = [pair[side] for pair in found if pair[side] is not None]
            assert places == list(range(len(text)))


# What is the same, and what was planted


def test_the_same_explanation_twice_has_no_difference() -> None:
    found = vlx.compare(why(), why())
    assert found.same
    assert {one.pair.difference for one in found.ranked} == {0.0}
    assert {one.pair.by for one in found.ranked} == {""}
    assert str(found).endswith("nothing differs")
    assert "Nothing differs" in found._page()


MIRRORED = why()[4].signed[:, ::-1]


@pytest.mark.parametrize("position", [0, 2, 4])
@pytest.mark.parametrize(
    ("changes", "by"),
    [
        ({"logprob": -3.0}, "log p"),
        ({"logprob": -math.inf}, "log p"),
        ({"seen": -2.0}, "seen"),
        ({"signed": MIRRORED}, "map"),
        ({"label": "elephant"}, "words"),
        ({"signed": np.zeros((4, 4), np.float32)}, "map"),
    ],
)
def test_a_planted_difference_is_ranked_first(position: int, changes: dict[str, Any], by: str) -> None:
    found = vlx.compare(why(), changed(why(), position, **changes))
    first, *rest = found.ranked
    assert first.pair.a is not None
    assert first.pair.a.position == position
    assert first.pair.by == by
    assert first.pair.difference > 0.2
    assert {one.pair.difference for one in rest} == {0.0}
    assert not found.same


def test_a_word_that_only_one_says_is_ranked_first() -> None:
    a = why()
    b = replace(a, words=(a[0], *a.words[2:]), text="a house in snow")
    for one, other, told in ((a, b, "only A says “red”"), (b, a, "only B says “red”")):
        found = vlx.compare(one, other)
        assert found.ranked[0].pair.label in ("red → –", "– → red")
        assert told in str(found)
        assert found.ranked[0].pair.maps is None
        after = [pair.pair.after_others for pair in sorted(found.ranked, key=lambda each: each.rank)]
        assert after.count(True) == 3  # house, in, snow


def test_numbers_are_compared_by_their_change() -> None:
    def number(score: float) -> Explanation:
        told = why()
        word = replace(
            told[0], label="age", outputs="value", target="value", logprob=float("nan"), score=score, seen=None
        )
        return replace(told, words=(word,), text="age", task="classification")

    found = vlx.compare(number(20.0), number(30.0))
    first = found.ranked[0].pair
    assert first.by == "value"
    assert first.difference == pytest.approx(1 / 3)
    assert "“age”: 20 → 30" in str(found)
    assert dict(found.summary)["value, B − A"] == "mean +10.00 (in size 10.00)"
    row = dict(zip(COLUMNS, next(found.rows()), strict=True))
    assert (row["score_a"], row["score_b"], row["logprob_a"]) == (20.0, 30.0, None)
    assert "20" in found._page()
    assert vlx.compare(number(0.0), number(0.0)).same


def test_means_leave_out_what_stands_after_other_words() -> None:
    b = changed(changed(changed(why(), 0, logprob=-1.01), 1, label="blue"), 4, logprob=-9.0)
    told = dict(vlx.compare(why(), b).summary)
    assert told["said by both"] == "4 of 5"
    assert told["log p, B − A"] == "mean −1.00 nats (in size 1.00)"  # of the first word, before the one that differs


def test_one_weight_changed_is_seen_and_the_same_model_twice_is_not(tmp_path: Path) -> None:
    task = vlx.load(tiny_bundle(tmp_path / "tiny"))
    other = copy.deepcopy(task)
    image = picture(1, 64, 48)
    assert vlx.compare(task, other, image).same
    networks = [part for part in vars(other).values() if isinstance(part, torch.nn.Module)]
    with torch.no_grad():
        next(networks[0].parameters()).view(-1)[0] += 1.0
    found = vlx.compare(task, other, image)
    assert not found.same
    assert found.ranked[0].pair.difference > 0


# Maps


def test_maps_on_one_grid_are_compared_by_the_obvious_formulas() -> None:
    a, b = why()[0], why(seed=5)[0]
    found = maps.between(a, b)
    assert found.correlation == pytest.approx(spearmanr(a.signed.ravel(), b.signed.ravel())[0], abs=1e-6)
    p, q = (np.maximum(one.signed, 0).astype(float) for one in (a, b))
    assert found.elsewhere == pytest.approx(np.abs(p / p.sum() - q / q.sum()).sum() / 2, abs=1e-6)
    assert maps.between(a, replace(b, signed=b.signed * 1e-9)) == found  # whatever the unit
    same = maps.between(a, a)
    assert (same.correlation, same.elsewhere, same.size) == (1.0, 0.0, 0.0)


def on_grid(cells: int, values: Any, frame: Frame | None = None) -> vlx.WordExplanation:
    placement = Placement(Grid.half_pixel((cells, cells), (32, 32)), frame or Frame.whole((60, 90), (32, 32)))
    return replace(why()[0], signed=np.asarray(values, np.float32), placement=placement)


def test_what_differs_below_zero_is_a_difference_too() -> None:
    a = why()[0]
    turned = np.where(a.signed < 0, -np.abs(a.signed[::-1]), a.signed)
    found = maps.between(a, replace(a, signed=turned))
    assert found.elsewhere is not None
    assert found.elsewhere < 0.01
    assert found.size == pytest.approx((1 - (found.correlation or 0.0)) / 2)
    assert found.size > 0.01


def test_grids_of_different_size_are_compared_on_the_picture() -> None:
    coarse = np.zeros((8, 8))
    coarse[2, 2] = 1.0
    fine = np.kron(coarse, np.ones((2, 2)))
    near = maps.between(on_grid(8, coarse), on_grid(16, fine))
    far = maps.between(on_grid(8, coarse), on_grid(16, fine[:, ::-1]))
    assert "8×8 and 16×16 cells, compared on the picture" in near.grids
    assert near.elsewhere is not None
    assert near.elsewhere < 0.3
    assert far.elsewhere == 1.0


def test_only_what_both_saw_is_compared() -> None:
    left = Frame((60 / 32, 45 / 32), (0.4, 0.2), (60, 90), (32, 32), (0, 32, 0, 32))
    right = replace(left, shift=(0.4, 45.2))
    assert maps.between(on_grid(4, np.eye(4), left), on_grid(4, np.eye(4), right)).note.endswith("parts of the picture")
    whole = maps.between(on_grid(4, np.eye(4)), on_grid(4, np.eye(4), left))
    assert whole.grids == "grids that lie otherwise, compared on the picture"
    assert whole.elsewhere is not None


def test_empty_and_broken_maps_are_told_of() -> None:
    empty, full = on_grid(4, -np.eye(4)), on_grid(4, np.eye(4))
    assert maps.between(empty, full).note == "the map of A is empty"
    assert maps.between(full, empty).elsewhere == 1.0
    assert maps.between(empty, empty).elsewhere is None
    assert maps.between(empty, empty).size == 0.0
    flat = maps.between(on_grid(4, np.ones((4, 4))), full)
    assert flat.correlation is None
    broken = np.eye(4)
    broken[0, 0] = np.nan
    assert maps.between(on_grid(4, broken), full).elsewhere == pytest.approx(0.25)


# What cannot be compared


def test_what_cannot_be_compared_is_refused() -> None:
    task = captioner()
    with pytest.raises(InputError, match=r"two tasks and pictures, or two explanations; not one of each"):
        vlx.compare(task, why(), picture())
    with pytest.raises(InputError, match=r"leave pictures and options out"):
        vlx.compare(why(), why(), [picture()])
    with pytest.raises(InputError, match=r"A's has 90×60 pixels, B's 30×30"):
        vlx.compare(why(), replace(why(), image=np.zeros((30, 30, 3), np.uint8)))
    with pytest.raises(InputError, match=r"compare\(\) needs pictures"):
        vlx.compare(task, task)
    with pytest.raises(InputError, match=r"explain\(\) has no option 'methd'; close: method"):
        vlx.compare(task, task, picture(), methd="gradcam")  # type: ignore[call-arg]
    with pytest.raises(InputError, match=r"compared.txt: a comparison is saved as .html or .csv, not .txt"):
        vlx.compare(why(), why()).save("compared.txt")


def test_what_makes_a_comparison_unfair_is_told() -> None:
    told = vlx.compare(why(), changed(why(), 1, label="blue")).pictures[0].notes
    assert any("the texts differ" in note for note in told)
    other = replace(answer_explanation(), question="where?")
    told = vlx.compare(answer_explanation(), other).pictures[0].notes
    assert "A was asked “what color is the car?”, B “where?”" in told
    told = vlx.compare(why(), replace(why(), image=why(seed=3).image)).pictures[0].notes
    assert "the pictures of A and B are of one size and not the same" in told
    logit = replace(why(), words=tuple(replace(word, target="logit") for word in why()))
    assert any("have different units" in note for note in vlx.compare(why(), logit).pictures[0].notes)


def test_a_broken_picture_costs_itself_alone() -> None:
    task = captioner()
    given = [picture(1), "nowhere.png", picture(2)]
    found = vlx.compare(task, task, given, errors="keep", check=False)
    assert [one.name for one in found.pictures] == ["picture 0", "picture 2"]
    assert [one.name for one in found.failures] == ["nowhere.png"]
    assert "failed: nowhere.png: no such file" in str(found)
    with pytest.raises(vlx.VlxError, match=r"nowhere.png"):
        vlx.compare(task, task, given, check=False)


def test_an_iterator_that_raises_costs_one_picture() -> None:
    class Source(Iterator[Any]):
        turn = 0

        def __next__(self) -> Any:
            self.turn += 1
            if self.turn == 2:
                raise OSError("a torn page")
            if self.turn > 3:
                raise StopIteration
            return picture(self.turn)

    task = captioner()
    found = vlx.compare(task, task, Source(), errors="keep", check=False, batch_size=2)
    assert [one.name for one in found.pictures] == ["picture 0", "picture 2"]
    assert [str(one) for one in found.failures] == ["picture 1: OSError: a torn page"]
    assert found.same


def test_what_a_side_makes_of_the_others_word_is_told() -> None:
    b = changed(why(), 1, label="blue", alternatives=(("blue", -0.2), ("red", -2.0)))
    found = vlx.compare(why(), b)
    first = found.ranked[0].pair
    assert first.a is not None
    assert first.b is not None
    assert first.a.rival == ("blue", -3.0)  # as the explanation made by hand has it
    assert first.b.rival == ("red", -2.0)
    assert "A says “red” (with B p 13.5 %), B “blue” (with A p 5.0 %)" in str(found)
    assert found.ranked[1].pair.a is not None
    assert found.ranked[1].pair.a.rival is None


# Options


def test_options_of_one_side_name_it() -> None:
    task = captioner()
    found = vlx.compare(
        task, task, picture(), a_options={"method": "gradcam"}, b_options={"method": "hirescam"}, check=False
    )
    assert found.a.endswith(", method gradcam")
    assert found.b.endswith(", method hirescam")
    assert all(one.pair.said_by_both for one in found.ranked)
    assert {one.pair.logprob_change for one in found.ranked} == {0.0}


def test_b_may_be_made_to_say_what_a_says() -> None:
    torch.manual_seed(0)
    a, b = captioner(), captioner()
    with torch.no_grad():
        for parameter in b.decoder.parameters():
            parameter.mul_(-1)
    free = vlx.compare(a, b, [picture(3)], check=False)
    forced = vlx.compare(a, b, [picture(3)], check=False, same_text=True)
    assert free.pictures[0].text_a != free.pictures[0].text_b
    assert forced.pictures[0].text_b == free.pictures[0].text_a
    assert all(one.pair.said_by_both for one in forced.ranked)
    assert forced.b.endswith("saying A's text")
    with pytest.raises(InputError, match=r"same_text goes with one caption for all pictures"):
        vlx.compare(a, b, [picture(3)], caption=["a red dog"], same_text=True)


# The page and the table

NASTY = "</script><img src=x onerror=alert(1)>\u2028\"'&"


def test_what_a_user_wrote_is_never_markup_or_a_formula(tmp_path: Path) -> None:
    a = changed(why(), 1, label=NASTY)
    b = changed(why(), 1, label="=1+1", notes=(NASTY,))
    a = replace(a, provenance={"model": NASTY, "image": NASTY}, notes=(NASTY,), question=NASTY)
    found = vlx.compare(a, replace(b, provenance={"model": "@b"}))
    written = found.save(tmp_path / "c.html").read_text(encoding="utf-8")
    assert "<img src=x" not in written
    assert written.count("<script") == 1
    assert unescape(written).count(NASTY) >= 5
    assert not re.search(r"https?://|@import|url\(", written)
    assert "default-src 'none'" in written
    lines = list(csv.DictReader(io.StringIO(found.save(tmp_path / "c.csv").read_bytes().decode(), newline="")))
    assert tuple(lines[0]) == COLUMNS
    assert lines[0]["word_b"] == "'=1+1"
    assert lines[0]["rank"] == "1"
    assert "srcdoc" in found._repr_html_()


@pytest.mark.parametrize(
    ("methods", "told"),
    [
        (("hirescam", "gradcam"), "warm is what speaks for the word. Heat"),
        (
            ("smoothgrad", "smoothgrad"),
            "warm is what moves the word’s score, up or down: these maps have no sign. Heat",
        ),
        (("hirescam", "smoothgrad"), "warm is what speaks for the word; in maps of B, without a sign, what moves"),
    ],
)
def test_the_page_says_what_is_warm_by_whether_maps_have_a_sign(methods: tuple[str, str], told: str) -> None:
    words_by = [tuple(replace(word, method=method) for word in why().words) for method in methods]
    a, b = (replace(why(), method=method, words=by) for method, by in zip(methods, words_by, strict=True))
    assert told in page.page(vlx.compare(a, b))


def test_texts_are_shown_as_they_were_written() -> None:
    a = replace(why(), text="A red house, in (snow)!", words=changed(why(), 0, label="A").words)
    told = [list(page.pieces(vlx.compare(a, changed(why(), 1, label="blue")).pictures[0], letter)) for letter in "AB"]
    assert "".join(before + word for before, word, _ in told[0]) == a.text
    assert [word for _, word, both in told[0] if not both] == ["red"]
    assert [word for _, word, both in told[1] if not both] == ["blue"]
    contrast = vlx.compare(contrast_explanation(), contrast_explanation()).pictures[0]
    assert "".join(before + word for before, word, _ in page.pieces(contrast, "A")) == "red rather than white"


def test_a_comparison_is_the_same_when_its_record_is_read_again() -> None:
    pair = PicturePair.of("a.png", why(), changed(why(seed=2), 2, label="barn"))
    again = PicturePair.from_dict(json.loads(json.dumps(pair.to_dict())))
    both = [vlx.comparing.Comparison("A", "B", (one,)) for one in (pair, again)]
    assert both[0]._page() == both[1]._page()
    assert list(both[0].rows()) == list(both[1].rows())


def test_the_data_frame_is_the_ranked_table() -> None:
    pytest.importorskip("pandas")
    found = vlx.compare(why(), changed(why(), 2, seen=-4.0)).to_dataframe()
    assert tuple(found.columns) == COLUMNS
    assert found["word_a"][0] == "house"
    assert found["by"][0] == "seen"
    assert found["seen_change"][0] == pytest.approx(-3.7)


# The command


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(main, ["compare", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bundle(tmp_path_factory.mktemp("compare") / "tiny")


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for name in ("a", "b"):
        picture(ord(name), 60, 40).save(tmp_path / "photos" / f"{name}.png")
    (tmp_path / "photos" / "c.png").write_text("no picture")
    return Path("photos")


def files_of(out: str) -> dict[str, str]:
    plain = {path.name: path.read_text() for path in Path(out).iterdir()}
    return {name: re.sub(r'"seconds":[\d.]+', "", text) for name, text in plain.items()}


def test_two_methods_of_one_model_over_a_folder_with_a_broken_picture(model: Path, photos: Path) -> None:
    given = (model, photos, "--method", "Grad-CAM,hirescam", "-o", "out")
    first = run(*given)
    assert first.exit_code == 1
    assert "photos/c.png" in first.stderr
    assert re.search(r"^A: .*tiny, method gradcam$", first.stdout, re.M)
    assert first.stdout.splitlines()[-1] == "out/index.html"
    assert set(files_of("out")) == {"index.html", "differences.csv", "manifest.jsonl"}
    picture(3, 60, 40).save(photos / "c.png")
    again = run(*given)
    assert again.exit_code == 0
    assert "photos/a.png:" not in again.stdout  # it is not compared again
    assert "pictures: 3" in again.stdout
    whole = run(*given[:-1], "whole")
    assert whole.exit_code == 0
    assert files_of("out") == files_of("whole")
    refused = run(model, photos, "--method", "gradcam,layercam", "-o", "out")
    assert refused.exit_code == 1
    assert "holds other results" in refused.stderr


def test_a_model_and_itself_have_no_difference_and_json_says_so(model: Path, photos: Path) -> None:
    (photos / "c.png").unlink()
    told = run(model, model, photos, "-o", "out", "--json")
    lines = [json.loads(line) for line in told.stdout.splitlines()]
    assert [line["path"] for line in lines] == ["photos/a.png", "photos/b.png"]
    assert {word["difference"] for line in lines for word in line["words"]} == {0.0}
    assert "nothing differs" in told.stderr
    assert run(model, model, photos, "-o", "out", "--json").stdout == told.stdout  # done before
    assert len(run(model, model, photos, "-o", "out", "--json", "--overwrite").stdout.splitlines()) == 2
    assert run(model, model, photos, "-o", "out2", "--quiet").stdout == ""


def test_two_captions_of_one_picture(model: Path, photos: Path) -> None:
    told = run(model, photos / "a.png", "--caption", "a red car", "--caption", "a blue car", "-o", "out")
    assert told.exit_code == 0
    assert "A says “red”, B “blue”" in told.stdout
    with Path("out/differences.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["rank"] for row in rows] == ["1", "2", "3"]
    assert all(float(one["difference"]) >= float(other["difference"]) for one, other in pairwise(rows))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("{photos}/a.png", "{model}"), r"photos/a.png is a picture; models come first"),
        (("{model}",), r"the pictures are missing"),
        (("{model}", "{photos}"), r"one model, .*: name B, too, or give two of --method"),
        (("{model}", "{photos}", "--method", "a,b,c"), r"give one for both, or A's and B's with a comma"),
        (("{model}", "{photos}", "--method", "gradcam,nothing"), r"no method 'nothing'. Known: gradcam"),
        (
            ("{model}", "{photos}", "--caption", "a", "--caption", "b", "--caption", "c"),
            r"given 3 times; once for both",
        ),
        (("{model}", "scenes/captoner", "{photos}"), r"no model 'scenes/captoner'; close: scenes/captioner"),
        (
            ("{model}", "scenes/vqa", "{photos}"),
            r"captions pictures and scenes/vqa answers questions: compare two that do the same",
        ),
        (("scenes/vqa", "scenes/vqa-biased", "{photos}/a.png"), r"none is asked of photos/a.png; give --question"),
        (("{model}", "{model}", "{photos}", "-o", "x.html"), r"results go into a folder, a page each; give --out x"),
    ],
)
def test_what_the_command_cannot_do_is_told(
    model: Path, photos: Path, arguments: tuple[str, ...], message: str
) -> None:
    told = run(*(one.format(model=model, photos=photos) for one in arguments))
    assert told.exit_code in (1, 2)
    assert re.search(message, told.output)
    assert not Path("vlx-compare").exists()
