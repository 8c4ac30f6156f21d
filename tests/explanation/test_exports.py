"""Figures as one wishes, PDF, SVG, CSV, data frames, and maps laid over pictures."""

import csv
import io
import math
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image

import vlx
from tests.explanations import answer_explanation, caption_explanation, contrast_explanation
from vlx import Explanation
from vlx.errors import ImageError, InputError, WordNotFound
from vlx.folder import records
from vlx.pictures.placement import Frame, Grid, Placement
from vlx.report import colour, figure, table

LABELS = ("a", "red", "a", "in", "house")


def panels(why: Explanation, **options: Any) -> list[str]:
    """The titles of a figure's panels behind the picture's."""
    drawn = why.plot(**options)
    return [axis.get_title() for axis in drawn.axes if axis.images][1:]


@pytest.mark.parametrize(
    ("words", "labels"),
    [
        (None, LABELS),
        ("all", LABELS),
        ("content", ("red", "house")),
        (["house", 1], ("house", "red")),
        (["a"], ("a", "a")),
        ([("a", 1), -1], ("a", "house")),
        (["red", "red", 1], ("red",)),
        (["a red house", "in"], ("a red house", "in")),
    ],
)
def test_the_words_that_are_wished_for_are_drawn_in_this_order(words: Any, labels: tuple[str, ...]) -> None:
    why = caption_explanation(labels=LABELS)
    named = list(panels(why, words=words, titles=lambda word: word.label))
    assert tuple(named) == labels


def test_an_answers_alternatives_are_words_of_its_figure() -> None:
    why = answer_explanation()
    assert panels(why, words=["blue", "red"], titles=["one", "two"]) == ["one", "two"]
    assert any("left out" in axis.get_title() for axis in why.plot(words=["red"]).axes)
    assert not any("left out" in axis.get_title() for axis in why.plot(words=["blue"]).axes)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"words": ["hose"]}, WordNotFound, r"words='hose' is not there \(close: house"),
        ({"words": [5]}, WordNotFound, r"words=5 is not there; the text has 5 words: a, red"),
        ({"words": [("a", 2)]}, WordNotFound, r"'a' stands there 2 time"),
        ({"words": "house"}, InputError, r"give \"all\", \"content\", or a list: words=\['house'\]"),
        ({"words": []}, InputError, r"a list of one label or position or more"),
        ({"words": [True]}, InputError, r"words holds True; give labels"),
        ({"columns": 0}, InputError, r"columns=0 must be a whole number from 1"),
        ({"columns": True}, InputError, r"columns=True must be"),
        ({"dpi": 5000}, InputError, r"dpi=5000 must be a whole number from 10 to 1200"),
        ({"dpi": math.nan}, InputError, r"dpi=nan must be"),
        ({"cmap": "viridris"}, InputError, r"no colormap of this name; close: viridis"),
        ({"cmap": 3}, InputError, r"a name of matplotlib's or a Colormap, got int"),
        ({"titles": ["one"]}, InputError, r"titles has 1 texts for 5 words"),
        ({"titles": "abcde"}, InputError, r"titles must be True, False, a list"),
        ({"titles": lambda word: 3}, InputError, r"titles must be True, False, a list"),
    ],
)
def test_what_cannot_be_drawn_is_refused(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        caption_explanation(labels=LABELS).plot(**options)
    assert len(str(caught.value)) < 300


def test_columns_dpi_and_titles_are_those_that_were_asked_for() -> None:
    why = caption_explanation()
    drawn = why.plot(columns=2, dpi=50, titles=False)
    assert drawn.dpi == 50
    places = {axis.get_subplotspec().get_geometry()[:2] for axis in drawn.axes if axis.images}
    assert places == {(3, 2)}
    assert {axis.get_title() for axis in drawn.axes} == {""}  # the picture's own, too
    with (
        Image.open(io.BytesIO(figure.rendered(drawn))) as small,
        Image.open(io.BytesIO(figure.rendered(why.plot(2)))) as usual,
    ):
        assert abs(usual.width / small.width - 140 / 50) < 0.02


def test_a_colormap_of_ones_own_paints_the_strongest_with_its_end_and_nothing_at_zero() -> None:
    why = caption_explanation(cropped=False)
    peaked = np.zeros((4, 4), np.float32)
    peaked[1, 2] = 2.0
    word = replace(why[0], signed=peaked, opposed=-peaked)
    why = replace(why, words=(word,), image=np.full((60, 90, 3), 200, np.uint8))
    drawn = [np.asarray(axis.images[0].get_array()) for axis in why.plot(cmap="winter").axes if axis.images]
    muted = colour.muted(np.full((1, 1, 3), 200, np.uint8))[0, 0].astype(float)
    end = 255 * np.array(matplotlib.colormaps["winter"](1.0)[:3])
    wanted = muted * (1 - colour.OPACITY) + end * colour.OPACITY
    pixels = np.asarray(drawn[1], float)
    assert np.abs(pixels - wanted).sum(2).min() < 12
    assert np.array_equal(pixels[0, 0], muted)
    named = why.plot(cmap=matplotlib.colormaps["winter"])
    assert np.array_equal(drawn[1], [axis.images[0].get_array() for axis in named.axes if axis.images][1])


def test_a_contrast_has_the_colormaps_middle_at_zero() -> None:
    why = contrast_explanation()
    bars = [axis for axis in why.plot(cmap="bwr").axes if axis.collections or axis.images]
    shown = np.asarray(bars[1].images[0].get_array(), float)
    red, blue = shown[..., 0] - shown[..., 2], shown[..., 2] - shown[..., 0]
    signed = why[0].placement.paint(why[0].signed)
    assert red[np.unravel_index(signed.argmax(), signed.shape)] > 60
    assert blue[np.unravel_index(signed.argmin(), signed.shape)] > 60


@pytest.mark.parametrize("ending", ["pdf", "svg", "png", "csv"])
def test_the_same_explanation_gives_the_same_bytes(tmp_path: Path, ending: str) -> None:
    options: Any = {} if ending == "csv" else {"words": ["red"], "dpi": 50}
    first = caption_explanation().save(tmp_path / f"one.{ending}", **options)
    second = caption_explanation().save(tmp_path / f"two.{ending}", **options)
    assert first.read_bytes() == second.read_bytes()


def test_a_pdf_has_its_fonts_and_no_date(tmp_path: Path) -> None:
    why = caption_explanation(labels=("a", "red", "漢字", "in", "🙂"))
    found = why.save(tmp_path / "why.pdf", words=["漢字", "🙂"], dpi=50).read_bytes()
    assert found.startswith(b"%PDF-")
    assert b"/FontFile2" in found
    assert b"/Type3" not in found
    assert b"CreationDate" not in found


def test_an_svgs_text_is_text(tmp_path: Path) -> None:
    why = caption_explanation(labels=("a", "red", "<b>&", "in", "house"))
    found = why.save(tmp_path / "why.svg", words=["red", "<b>&"], dpi=50).read_text(encoding="utf-8")
    texts = re.findall(r"<text [^>]*>([^<]*)</text>|<tspan[^>]*>([^<]*)</tspan>", found)
    told = " ".join(one + two for one, two in texts)
    assert "red" in told
    assert "&lt;b&gt;&amp;" in told
    assert "house\np" not in told
    assert "dc:date" not in found


def test_settings_of_matplotlib_are_as_they_were(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    caption_explanation().save(tmp_path / "why.pdf", words=["red"], dpi=50)
    assert dict(matplotlib.rcParams) == before


def test_options_go_into_figures_and_nowhere_else(tmp_path: Path) -> None:
    why = caption_explanation()
    small, large = (why.save(tmp_path / f"{dpi}.png", dpi=dpi, words=["red"]) for dpi in (50, 100))
    with Image.open(small) as one, Image.open(large) as two:
        assert two.width == pytest.approx(2 * one.width, abs=2)
    with pytest.raises(InputError, match=r"why.csv: words is for figures \(.png, .pdf, .svg\); leave it out"):
        why.save(tmp_path / "why.csv", words=["red"])
    with pytest.raises(InputError, match=r"plot\(\) has no option 'colums'; close: columns"):
        why.save(tmp_path / "why.pdf", colums=3)  # type: ignore[call-arg]
    assert {path.name for path in tmp_path.iterdir()} == {"50.png", "100.png"}


def test_a_csv_has_a_row_a_word_and_the_columns_of_a_folders_results(tmp_path: Path) -> None:
    nasty = ('say "cheese", please\nnow', "red", "ünï", "in", "-")
    why = caption_explanation(labels=nasty)
    why = replace(why, provenance={**why.provenance, "image": "a.png"})
    saved = why.save(tmp_path / "why.csv").read_bytes()
    assert saved.count(b"\r\n") == 6
    found = list(csv.DictReader(io.StringIO(saved.decode("utf-8"), newline="")))
    assert tuple(found[0]) == records.COLUMNS
    assert [row["word"] for row in found] == list(nasty)
    assert {row["picture"] for row in found} == {"a.png"}
    of_folder = {**records.of(why), "path": "a.png", "page": ""}
    assert [list(row.values()) for row in found] == list(records.rows(of_folder))


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1+2", "@SUM(A1)", "\t=1", "\r=1", "＝1"])  # noqa: RUF001
def test_no_text_is_a_formula_in_a_spreadsheet(tmp_path: Path, text: str) -> None:
    why = caption_explanation(labels=("a", text, "b", "c", "d"))
    why = replace(why, text=text, question=text, provenance={"image": text})
    saved = why.save(tmp_path / "why.csv").read_bytes().decode()
    row = list(csv.DictReader(io.StringIO(saved, newline="")))[1]
    assert {row[name] for name in ("word", "text", "question", "picture")} == {f"'{text}"}
    assert row["logprob"] == "-0.51"  # numbers stay numbers
    assert table.cell("-") == "-"


def test_a_data_frame_has_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    pandas = pytest.importorskip("pandas")
    why = caption_explanation(labels=("=1+1", "red", "house", "in", "x"))
    found = why.to_dataframe()
    assert tuple(found.columns) == records.COLUMNS
    assert list(found["word"]) == ["=1+1", "red", "house", "in", "x"]
    assert found["logprob"].dtype.kind == "f"
    assert found["p"][1] == pytest.approx(math.exp(-0.51))
    assert list(found["owed"]) == [True, False, False, True, False]
    assert pandas.isna(found["peak_left"][3])  # no map


def test_without_pandas_a_data_frame_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(InputError, match=r"pip install \"vlx\[pandas\]\", or save as .csv"):
        caption_explanation().to_dataframe()


GREY = np.full((40, 60, 3), 120, np.uint8)


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor, lambda values: values.tolist()])
def test_cells_lie_where_an_even_grid_has_them(kind: Any) -> None:
    heat = np.zeros((4, 6), np.float32)
    heat[1, 4] = 3.0
    laid = vlx.overlay(GREY, kind(heat), cmap="gray")
    assert laid.size == (60, 40)
    assert laid.mode == "RGB"
    y, x = divmod(int(np.asarray(laid)[..., 0].argmax()), 60)  # the end of grey is white
    assert abs(y - 14.5) <= 1
    assert abs(x - 44.5) <= 1
    untouched = np.asarray(laid)[:4, :4]
    assert np.array_equal(untouched, colour.muted(GREY)[:4, :4])


def test_a_word_lies_where_its_own_frame_has_it_at_any_size() -> None:
    why = caption_explanation()
    for scale in (1, 2):
        image = Image.fromarray(why.image).resize((90 * scale, 60 * scale))
        laid = np.asarray(vlx.overlay(image, why["red"], muted=False)).astype(float)
        painted = np.abs(laid - np.asarray(image)).sum(2)
        assert painted[:, 20 * scale : 70 * scale].max() > 60
    word = why["red"]
    given = vlx.overlay(why.image, np.maximum(word.signed, 0), placement=word.placement)
    assert np.array_equal(np.asarray(given), np.asarray(vlx.overlay(why.image, word)))
    on_pixels = vlx.overlay(why.image, word.heatmap, top=float(np.maximum(word.signed, 0).max()))
    middle = (slice(None), slice(20, 70))
    assert np.abs(np.asarray(on_pixels)[middle].astype(int) - np.asarray(given)[middle]).max() <= 1


def test_what_the_model_never_saw_is_hatched() -> None:
    why = caption_explanation()  # of the middle 60 of 90 columns
    laid = np.asarray(vlx.overlay(np.full((60, 90, 3), 120, np.uint8), why["red"], alpha=0.0))
    seen = np.abs(laid.astype(int) - colour.muted(GREY)[0, 0]).sum(2) == 0
    assert seen[:, 20:70].all()
    assert not seen[:, :10].any()


def test_negative_numbers_are_blue_and_nan_is_nothing() -> None:
    heat = np.array([[1.0, -1.0], [np.nan, 0.0]])
    pixels = np.asarray(vlx.overlay(GREY, heat)).astype(int)
    assert pixels[2, 2, 0] > pixels[2, 2, 2] + 40
    assert pixels[2, -3, 2] > pixels[2, -3, 0] + 30
    assert np.array_equal(pixels[-1, 0], colour.muted(GREY)[0, 0])
    purple = np.asarray(vlx.overlay(GREY, heat, cmap="bwr", alpha=1.0, muted=False))
    assert tuple(purple[0, 0]) == (255, 0, 0)
    assert tuple(purple[0, -1]) == (0, 0, 255)


def test_alpha_and_top_set_how_strong_it_is() -> None:
    heat = np.ones((2, 2))
    full = np.asarray(vlx.overlay(GREY, heat, alpha=1.0, muted=False))
    assert np.array_equal(full[0, 0], colour.ramp("for")[-1])
    assert np.array_equal(np.asarray(vlx.overlay(GREY, heat, alpha=0, muted=False)), GREY)
    assert np.array_equal(np.asarray(vlx.overlay(GREY, 0 * heat, muted=False)), GREY)
    faint = np.asarray(vlx.overlay(GREY, heat, alpha=1.0, top=100.0, muted=False)).astype(int)
    assert np.abs(faint - GREY).max() < 20


PLACED = Placement(Grid.half_pixel((4, 4), (32, 32)), Frame.whole((40, 60), (32, 32)))


@pytest.mark.parametrize(
    ("heat", "options", "message"),
    [
        (np.zeros((2, 3, 3)), {}, r"shape \(2, 3, 3\): one map \[h, w\] is needed; give one of them, heat\[0\]"),
        (np.zeros(4), {}, r"one map \[h, w\] is needed"),
        (np.zeros((0, 3)), {}, r"one map \[h, w\] is needed"),
        (np.full((2, 2), np.nan), {}, r"no finite number"),
        ([["a", "b"]], {}, r"heat must be numbers"),
        ("dog", {}, r"heat must be numbers"),
        (np.ones((2, 2), complex), {}, r"heat must be numbers"),
        ([[1, 2], [3]], {}, r"heat must be numbers"),
        (np.ones((2, 2)), {"alpha": 1.5}, r"alpha=1.5 must be a number from 0 to 1"),
        (np.ones((2, 2)), {"alpha": math.nan}, r"alpha=nan must be a number"),
        (np.ones((2, 2)), {"top": -1}, r"top=-1 must be a number of 0 or more"),
        (np.ones((2, 2)), {"cmap": "jett"}, r"no colormap of this name; close: jet"),
        (np.ones((3, 2)), {"placement": PLACED}, r"shape \(3, 2\); the placement's grid has \(4, 4\) cells"),
        (np.ones((4, 4)), {"placement": "here"}, r"placement must be that of an explanation"),
        (np.ones((4, 4)), {"placement": replace(PLACED, frame=Frame.whole((60, 40), (32, 32)))}, r"another shape"),
    ],
)
def test_what_cannot_be_laid_over_is_refused(heat: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        vlx.overlay(GREY, heat, **options)
    assert len(str(caught.value)) < 300


def test_what_is_no_picture_is_refused() -> None:
    with pytest.raises(ImageError):
        vlx.overlay("nowhere.png", np.ones((2, 2)))
