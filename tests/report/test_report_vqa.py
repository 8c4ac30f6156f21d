import json
import re
import shutil
import subprocess
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.explanations import answer_explanation, caption_explanation, contrast_explanation, with_guided
from tests.report.test_report import NASTY, TEMPLATES, Page, page_data
from vlx import Explanation
from vlx.explanation.records import Look, QuestionWord
from vlx.methods import pixels
from vlx.pictures.placement import Frame
from vlx.report import answers, colour, html, maps, numbers, pictures, strength, wording


def without_script(page: str) -> str:
    """What a reader finds who runs no script."""
    return "".join(Page(re.sub(r"<(script|template)\b.*?</\1>", "", page, flags=re.S)).texts)


def nasty_answer() -> Explanation:
    """Markup wherever a user or a model can put a text."""
    why = answer_explanation(question=NASTY + " why?", text=NASTY, others=(NASTY + " 1", NASTY + " 2"))
    looks = (Look("blank", (-2.0,), (NASTY,)), Look(NASTY, (-2.0, -1.0), (NASTY, "x")))
    words = (QuestionWord(NASTY, 2.0, 1.0), QuestionWord("why", -1.0, None))
    return replace(why, words=(replace(why[0], looks=looks),), question_words=words)


# The page


def test_the_page_holds_question_answer_and_alternatives_on_one_scale() -> None:
    why = answer_explanation()
    page = html.page(why)
    found = Page(page)
    assert len(found.named("article", "panel")) == 1
    buttons = found.named("button", "word")
    assert [button["data-item"] for button in buttons] == ["0", "1", "2"]
    assert ["answer" in (button["class"] or "").split() for button in buttons] == [True, False, False]
    assert ["other" in (button["class"] or "").split() for button in buttons] == [False, True, True]
    spoken = "white: probability 3.0 %, the picture speaks against it: without it p is 1.8 × as large, bar 0 %"
    assert buttons[1]["aria-label"] == spoken
    assert [attributes["data-item"] for attributes in found.named("article", "one")] == ["0", "1", "2"]
    panel = page_data(page)["panels"][0]
    assert (panel["words"], panel["first"], panel["view"]) == (3, 0, "for")
    assert (
        panel["top"] == pytest.approx(colour.scale(why)) == max(np.abs(o[0].signed).max() for o in (why, *why.others))
    )
    sent = maps.cells_of(panel["items"][2]["signed"], (4, 4))
    np.testing.assert_allclose(sent, why.others[1][0].signed, atol=1e-4 * np.abs(sent).max())
    shown = without_script(page)
    assert shown.index("what") < shown.index("Why did it answer") < shown.index("rather than")


def test_the_scale_is_that_of_the_strongest_alternative() -> None:
    why = answer_explanation()
    strong = replace(why.others[1], words=(replace(why.others[1][0], signed=np.full((4, 4), 99.0, np.float32)),))
    assert colour.scale(replace(why, others=(why.others[0], strong))) == 99.0


def test_answers_that_do_not_fit_have_panels_of_their_own() -> None:
    why = answer_explanation()
    elsewhere = replace(why.others[0], placement=caption_explanation().placement)
    darker = replace(why.others[1], image=why.image // 2)
    mixed = replace(why, others=(elsewhere, darker, why.others[0]))
    assert answers.beside(mixed) == (why.others[0],)
    assert answers.apart(mixed) == (elsewhere, darker)
    assert len(Page(html.page(mixed)).named("article", "panel")) == 3


def test_the_words_of_the_question_are_coloured_by_what_the_answer_loses() -> None:
    why = answer_explanation()
    found = Page(html.page(why))
    tints = [found_one for _, found_one in found.tags if "tint" in (found_one.get("class") or "").split()]
    assert [tint["class"] for tint in tints] == ["tint", "tint", "tint", "tint cold", "tint"]
    assert [tint["style"] for tint in tints] == [
        f"--share:{share}" for share in ("0.000", "0.000", "0.000", "0.500", "1.000")
    ]
    shown = without_script(html.page(why))
    assert re.search(r"car\s*\+3\.00\s*\+1\.50", shown)
    assert "nats that the answer loses without each word of the question; the colours end at ±3" in shown
    titles = [piece["title"] for piece in found.named("span", "tint")]
    assert titles[3] == "left out: −1.5 nats; gradient × embedding: −0.75"


def test_words_that_hardly_matter_do_not_reach_the_end_of_the_colours() -> None:
    why = replace(
        answer_explanation(), question_words=tuple(QuestionWord(w, 0.05) for w in "what color is the car".split())
    )
    assert [piece.strength for piece in answers.pieces(why)] == [0.1] * 5
    page = html.page(why)
    assert "gradient × embedding" not in page
    odd = replace(why, question_words=(QuestionWord("what", np.nan), QuestionWord("car", np.inf, -np.inf)))
    assert [piece.strength for piece in answers.pieces(odd)] == [0.0, 1.0]
    looks = (Look("blank", (np.nan,), ("x",)), Look("swapped", (np.nan, -np.inf), ()))
    page = html.page(replace(odd, words=(replace(why[0], looks=looks),)))
    assert not re.search(r"\bnan\b|\binf\b|:nan|:inf", page)
    assert [row.figures for row in answers.rows(replace(why[0], looks=looks))] == ["95.1 %", "–", "< 0.1 %"]


@pytest.mark.parametrize(
    ("question", "words", "cut"),
    [
        ("What color is the CAR?", ["what", "color", "is", "the", "car"], ["What", "color", "is", "the", "CAR?"]),
        ("  the car, the “boat”?", ["the", "car", "the", "boat"], ["the", "car,", "the “", "boat”?"]),
        ("(is it)", ["is", "it"], ["(is", "it)"]),
        ("what is it?", ["what", "was", "it"], ["what", "was", "it"]),
        ("it İ it?", ["it", "it"], ["it", "it"]),
    ],
)
def test_the_question_is_shown_as_it_was_asked(question: str, words: list[str], cut: list[str]) -> None:
    why = replace(answer_explanation(), question=question, question_words=tuple(QuestionWord(w, 1.0) for w in words))
    assert [piece.text for piece in answers.pieces(why)] == cut


def test_what_a_user_asked_is_never_markup() -> None:
    page, plain = Page(html.page(nasty_answer())), Page(html.page(answer_explanation()))
    assert page.open == []
    tags, usual = [tag for tag, _ in page.tags], [tag for tag, _ in plain.tags]
    assert (tags.count("script"), tags.count("img")) == (2, usual.count("img"))
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert "".join(page.texts).count(NASTY) >= 15
    data = re.search(r'<script id="data" type="application/json">(.*?)</script>', html.page(nasty_answer()), re.S)
    assert data
    assert "alert" not in data.group(1)
    links = [value for _, attributes in page.tags for name, value in attributes.items() if name in ("src", "href")]
    assert all(link is not None and link.startswith(("data:image/", "#")) for link in links)


def test_what_references_give_and_the_verdict_stand_on_the_page_without_a_script() -> None:
    shown = without_script(html.page(answer_explanation()))
    assert "93\xa0% of its p comes from the picture" in shown
    assert "+2.70 nats (+1.50 to +3.90), compared with 2 references made of it" in html.page(answer_explanation())
    rows = re.findall(
        r"<tr.*?</tr>", html.page(answer_explanation()).split('class="looks"')[1].split("</table>")[0], re.S
    )
    told = [" ".join(" ".join(Page(row).texts).split()) for row in rows[1:]]
    assert told == [
        "the picture 95.1 %",
        "median colour 6.4 % white",
        "blurred ×3 median 49.7 % red ×2, white",
        "swapped ×4 median 1.3 % blue ×2, red, green",
    ]
    assert rows[3].count("<i ") == 3
    assert 'style="left:49.66%"' in rows[3]
    for word in (other[0] for other in answer_explanation().others):
        assert wording.seen(word) in shown
        assert numbers.figure(wording.strongest(word.signed)) in shown


def test_occlusion_is_a_view_and_its_agreement_stands_beside_the_map() -> None:
    why = answer_explanation()
    page = html.page(why)
    panel = page_data(page)["panels"][0]
    occlusion = why[0].occlusion
    assert occlusion is not None
    sent = maps.cells_of(panel["items"][0]["falls"], (4, 4))
    np.testing.assert_allclose(sent, occlusion.falls, atol=1e-4 * np.abs(sent).max())
    assert panel["items"][1]["falls"] is None
    assert panel["fallsTop"] == pytest.approx(np.abs(occlusion.falls).max())
    details = Page(page).named("article", "one")
    assert details[0]["data-agreement"] == "occlusion agrees: rank correlation 0.61"
    assert details[1]["data-agreement"] == ""
    assert details[0]["data-occlusion"] == (
        "How much the logit of “red” falls when a patch of 16 × 16 prepared pixels is hidden there; blue: it rises."
    )
    assert 'value="occlusion"' in page
    assert "occlusion agrees: rank correlation 0.61" in without_script(page)


def test_a_contrast_says_why_x_rather_than_y_in_both_signs() -> None:
    why = contrast_explanation()
    page = html.page(why)
    found = Page(page)
    assert "Why what color is the car? red rather than white" in "".join(found.texts)
    panel = page_data(page)["panels"][0]
    assert panel["view"] == "signed"
    checked = [attributes["value"] for tag, attributes in found.tags if tag == "input" and "checked" in attributes]
    assert checked == ["signed"]
    details = found.named("article", "one")
    assert details[0]["data-signed"] == "Warm: features that speak for “red” rather than “white”. Blue: for “white”."
    assert details[0]["data-against"] == "Regions whose features speak most for “white” rather than “red”."
    assert details[1]["data-for"] == "Regions whose features most raise the logit of “red”."
    labels = [button["aria-label"] or "" for button in found.named("button", "word")]
    assert [label.split(":")[0] for label in labels] == ["red rather than white", "red", "white"]
    shown = without_script(page)
    assert "the picture makes it 74\xa0× likelier against “white”" in shown
    assert "share of “red” between the two" in shown
    assert "50.0 %" in shown  # the middle of the swapped pictures: no lead


def test_thumbnails_of_a_contrast_show_both_signs() -> None:
    why = contrast_explanation()
    drawn = pictures.Drawn.of(why, 90)
    values = np.zeros((4, 4), np.float32)
    values[0, 0], values[3, 3] = 1.0, -1.0
    both = drawn.under_signed(values, 1.0)
    warm, blue = both[:8, :8].reshape(-1, 3).mean(0), both[-8:, -8:].reshape(-1, 3).mean(0)
    assert warm[0] > warm[2] + 50
    assert blue[2] > blue[0] + 30
    assert pictures.address(both) != pictures.address(drawn.under(values, 1.0))
    painter, top, fade = maps.Painter(why.placement), colour.peak([why[0]]), strength.fade(why[0])
    assert painter.still(why[0].signed, top, fade) in html.page(why)
    assert painter.still(np.maximum(why[0].signed, 0), top, fade) not in html.page(why)


def test_an_answer_without_probes_says_nothing_of_them() -> None:
    why = answer_explanation()
    bare = replace(why[0], seen=None, looks=(), occlusion=None)
    page = html.page(replace(why, words=(bare,), sentence=bare, others=(), question_words=()))
    found = Page(page)
    for name in ("looks", "asked", "agreement", "aside"):
        assert not [tag for tag, attributes in found.tags if name in (attributes.get("class") or "").split()], name
    assert 'value="occlusion"' not in page
    assert 'value="guided"' not in page
    assert "what color is the car?" in without_script(page)
    assert page_data(page)["panels"][0]["fallsTop"] == 0


def test_a_caption_page_has_none_of_it() -> None:
    found = Page(html.page(caption_explanation()))
    for name in ("question", "looks", "agreement", "chance", "other", "answers"):
        assert not [tag for tag, attributes in found.tags if name in (attributes.get("class") or "").split()], name
    page = html.page(caption_explanation())
    assert not re.search(
        "occlusion|guided|answer", re.sub(r"<(script|style)\b.*?</\1>|class=\"answer\"", "", page, flags=re.S)
    )


def test_a_caption_word_may_have_looks_too() -> None:
    why = caption_explanation()
    word = replace(why[1], logprob=-0.05, looks=(Look("inverted", (-0.3,), ("red",)),))
    page = unescape(html.page(replace(why, words=(why[0], word, *why.words[2:]))))
    assert "the picture hardly moves its p" in page
    assert page.count('class="looks"') == 1


def test_an_answer_that_other_pictures_hardly_move_is_pale_and_said_to_be() -> None:
    why = answer_explanation()
    page = html.page(why)
    buttons = Page(page).named("button", "word")
    inks = [int((re.search(r"--ink-share:(\d+)%", button["style"] or "") or ["", "-1"])[1]) for button in buttons]
    assert inks == [100, 0, 2]
    still = replace(why, words=(replace(why[0], looked=0.02),))
    assert "the picture hardly moves its p" in without_script(html.page(still))


# Guided Grad-CAM


def test_guided_grad_cam_is_a_view_where_it_is_there() -> None:
    why = with_guided(answer_explanation())
    page = html.page(why)
    found = Page(page)
    shown = [attributes for tag, attributes in found.tags if tag == "img" and "data-guided" in attributes]
    assert [attributes["data-guided"] for attributes in shown] == ["0", "1"]
    assert 'value="guided"' in page
    details = found.named("article", "one")
    assert (details[0]["data-guided"] or "").startswith("Guided Grad-CAM: ")
    assert "data-guided" not in Page(html.page(answer_explanation())).named("article", "one")[0]
    assert details[2]["data-guided"] == "Guided Grad-CAM was not asked for here."
    assert page_data(page)["panels"][0]["guidedTop"] == pictures.guided_top([why[0], why.others[0][0]])


def test_guided_grad_cam_is_drawn_on_one_scale_and_nothing_is_grey() -> None:
    why = with_guided(answer_explanation())
    words = [why[0], why.others[0][0]]
    strong, weak = pictures.guided(words, (60, 90), pictures.guided_top(words))
    assert strong.shape == (60, 90, 3)
    assert np.abs(strong.astype(int) - 128).mean() > 5 * np.abs(weak.astype(int) - 128).mean()
    empty = replace(words[0], guided=np.zeros((3, 32, 32), np.float32))
    assert np.unique(pictures.guided([empty], (60, 90), 0.0)[0]).tolist() == [128]
    bad = np.array(words[0].guided)
    bad[0, 0, 0] = np.nan
    assert pictures.guided([replace(words[0], guided=bad)], (60, 90), 1.0)


def test_a_shrunk_frame_shows_the_same_places() -> None:
    frame = Frame((60 / 32, -90 / 32), (0.4, 88.6), (60, 90), (32, 32), (2, 30, 0, 32))
    ramp = np.stack([np.add.outer(np.arange(32.0), 2 * np.arange(32.0))] * 3)
    whole = pixels.on_picture(ramp, frame)
    half = pixels.on_picture(ramp, pictures._shrunk(frame, (30, 45)))
    means = whole.reshape(3, 30, 2, 45, 2).mean((2, 4))
    np.testing.assert_allclose(half[:, 4:-4, 4:-4], means[:, 4:-4, 4:-4], atol=0.2)


@pytest.mark.parametrize("ending", ["h5", "json"])
def test_answers_come_back_from_disk_whole(tmp_path: Path, ending: str) -> None:
    why = with_guided(answer_explanation())
    path = why.save(tmp_path / f"why.{ending}")
    again = Explanation.load(path)
    assert html.page(again) == html.page(why)
    for one, other in zip((again, *again.others), (why, *why.others), strict=True):
        np.testing.assert_array_equal(one.image, other.image)
        assert (one[0].guided is None) == (other[0].guided is None)
        if other[0].guided is not None:
            assert one[0].guided is not None
            assert one[0].guided.dtype == np.float32
            np.testing.assert_array_equal(one[0].guided, other[0].guided)


def test_the_picture_of_the_alternatives_is_kept_once(tmp_path: Path) -> None:
    why = answer_explanation()
    path = why.save(tmp_path / "why.json")
    assert path.read_text().count('"png"') == 1
    darker = replace(why.others[0], image=why.image // 2)
    again = Explanation.load(replace(why, others=(darker,)).save(tmp_path / "two.h5"))
    np.testing.assert_array_equal(again.others[0].image, darker.image)


# The script


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed: the page's code is not run")
def test_the_pages_code_takes_occlusion_for_a_signed_map() -> None:
    code = (TEMPLATES / "page.js").read_text(encoding="utf-8")
    panel: dict[str, Any] = page_data(html.page(answer_explanation()))["panels"][0]
    program = f"""{code}
      const items = {json.dumps(panel["items"])}.map((item) => opened(item, [4, 4]));
      console.log(JSON.stringify([cellsOf(items[0], "occlusion"), cellsOf(items[1], "occlusion") ?? null,
        peakOf(items[0], "occlusion"), peakOf(items[1], "occlusion"), peakOf(items[0], "signed")]));"""
    run = subprocess.run(["node", "-e", program], capture_output=True, text=True, check=True)
    falls, nothing, peak, none, own = json.loads(run.stdout)
    np.testing.assert_allclose(falls, maps.cells_of(panel["items"][0]["falls"], (4, 4)))
    assert nothing is None
    assert (peak, none) == (pytest.approx(np.abs(falls).max()), 0)
    assert own == pytest.approx(np.abs(maps.cells_of(panel["items"][0]["signed"], (4, 4))).max())
