"""The page as a browser shows it: what is on the first screen, contrast, one click, print, and without a script."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from benchmarks import browser as chromium
from benchmarks import page as measured
from benchmarks.browser import Browser
from tests.explanations import CHECK, answer_explanation, caption_explanation, contrast_explanation, reasoned
from tests.report.test_report import nasty
from tests.report.test_report_scale import checked
from vlx import Explanation
from vlx.language import is_content
from vlx.pictures.placement import Frame, Grid, Placement

pytestmark = pytest.mark.skipif(chromium.found() is None, reason="Chromium is not installed: no page is opened")
SAID = "a dotted orange car and a checkered white rocket in a desert"


def twelve(size: tuple[int, int] = (480, 640)) -> Explanation:
    """Twelve words with checks and reasons on a picture like a photograph; the fourth word's map is weak."""
    base, rng = caption_explanation(cropped=False), np.random.default_rng(0)
    placement = Placement(Grid.half_pixel((4, 4), (224, 224)), Frame.whole(size, (224, 224)))
    smooth = Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8)).resize(size[::-1], Image.Resampling.BICUBIC)
    noise = rng.integers(-12, 12, (*size, 1))
    image = np.clip(np.asarray(smooth) + noise, 0, 255).astype(np.uint8)

    def one(number: int, label: str) -> Any:
        signed = (rng.normal(size=(4, 4)) ** 3).astype(np.float32) / (500 if number == 3 else 1)
        known: dict[str, Any] = {"label": label, "signed": signed, "opposed": -signed, "placement": placement}
        return checked(replace(base[0], **known, notes=()), 0.3 + number / 4, seen=2.8, looked=1.0)

    words = tuple(one(number, label) for number, label in enumerate(SAID.split()))
    phrases = (replace(words[3], label="a dotted orange car"),)
    why = replace(base, text=SAID, words=words, phrases=phrases, placement=placement, image=image, notes=())
    whole = replace(words[0], label=SAID)
    why = replace(why, sentence=whole, provenance={**why.provenance, "model": "scenes/captioner"})
    return reasoned(why, "flame", CHECK)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return twelve().save(tmp_path_factory.mktemp("page") / "why.html")


def shown(browser: Browser, selector: str) -> NDArray[np.float64]:
    """The pixels of an element that is on the screen."""
    box = browser.value(
        f"(() => {{ const r = document.querySelector({json.dumps(selector)}).getBoundingClientRect(); "
        "return [r.left, r.top, r.right, r.bottom].map(Math.round); })()"
    )
    return pixels(browser)[box[1] : box[3], box[0] : box[2]]


def pixels(browser: Browser) -> NDArray[np.float64]:
    return np.asarray(Image.open(io.BytesIO(browser.screenshot())).convert("RGB")).astype(float)


def test_the_first_screen_has_words_picture_and_sentence(browser: Browser, page: Path) -> None:
    told = measured.read(page, browser)
    assert told["bytes"] < 400_000
    for screen, (_, height) in measured.SCREENS.items():
        first = told[screen]
        top, bottom = first["picture"]
        assert 0 < top < 260, screen
        assert bottom < height, screen
        assert first["sentence"][1] < height, screen
        numbers = 3  # of the concepts "flame 0", "flame 1", "flame 2"
        assert 30 < len(first["words"]) - numbers <= 60, (screen, first["words"])
        assert not first["wide"], screen
    assert told["landmarks"] == []
    for scheme in ("light", "dark"):
        assert told[scheme][0][0] >= 4.5, told[scheme]


@pytest.mark.parametrize("made", [answer_explanation, contrast_explanation, nasty])
def test_other_pages_can_be_read_too(browser: Browser, tmp_path: Path, made: Any) -> None:
    told = measured.read(made().save(tmp_path / "why.html"), browser)
    assert told["landmarks"] == []
    for scheme in ("light", "dark"):
        assert told[scheme][0][0] >= 4.5, told[scheme]
    assert not told["phone"]["wide"]
    assert told["phone"]["picture"][0] < 420


def test_the_least_contrast_is_found(browser: Browser, page: Path) -> None:
    browser.screen(1280, 800)
    browser.open(page)
    browser.value("document.querySelector('.eyebrow').style.color = '#bbb'")
    ratio, what = browser.value(f"{measured.SCRIPT} leastContrast()")[0]
    assert ratio < 2
    assert what.startswith("eyebrow")


def test_without_a_script_the_first_map_looks_the_same(browser: Browser, page: Path) -> None:
    browser.screen(1280, 800)
    browser.open(page)
    live = shown(browser, ".picture")
    assert browser.value("document.querySelector('.picture canvas').hidden") is False
    browser.value("document.querySelector('.picture canvas').hidden = true")
    bare = shown(browser, ".picture")
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(page)
        still = shown(browser, ".picture")
        text = browser.value("document.querySelector('.card').innerText")
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)
    assert still.shape == live.shape
    assert np.abs(live - bare).max() > 40
    assert np.abs(still - live).mean() < 0.25 * np.abs(live - bare).mean()
    assert "% of its p comes from the picture" in text.replace("\xa0", " ")


def test_the_shared_scale_is_one_click_away(browser: Browser, page: Path) -> None:
    browser.screen(1280, 800)
    browser.open(page, "#word-3")
    strongest = """(() => {
      const canvas = document.querySelector(".picture canvas"), { width, height } = canvas;
      const data = canvas.getContext("2d").getImageData(0, 0, width, height).data;
      return data.reduce((most, value, k) => k % 4 === 3 ? Math.max(most, value) : most, 0);
    })()"""
    own = browser.value(strongest)
    assert own > 100
    browser.value("document.querySelector('input.shared').click()")
    assert browser.value(strongest) < own / 4
    assert "one scale for all" in browser.value("document.querySelector('.scale').innerText")
    assert browser.value("location.hash") == "#shared=1"
    browser.open(page, "#word-3&shared=1")
    assert browser.value(strongest) < own / 4


def test_print_shows_the_pinned_maps(browser: Browser, page: Path) -> None:
    browser.screen(1280, 800)
    browser.open(page, "#pin=3,8")
    browser.call("Emulation.setEmulatedMedia", media="print")
    try:
        canvases = "[...document.querySelectorAll('.pane canvas')]"
        seen = browser.value(f"{canvases}.filter((one) => one.checkVisibility() && one.width > 100).length")
        assert seen == 2
        assert not browser.value("document.querySelector('.controls').checkVisibility()")
        said = browser.value("[...document.querySelectorAll('.card')].map((one) => one.innerText)")
        assert [one.split(":")[0] for one in said] == ["car", "rocket"]
    finally:
        browser.call("Emulation.setEmulatedMedia", media="")


def test_a_term_tells_what_it_means_in_place(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.value("document.querySelector('.card a.term[href=\"#term-marks\"]').click()")
    assert browser.value("document.getElementById('bubble').matches(':popover-open')")
    assert "Two trials of the reasons" in browser.value("document.getElementById('bubble').innerText")
    assert "Here: +2.80 nats" not in browser.value("document.getElementById('bubble').innerText")
    browser.value("document.querySelector('.card a.term[href=\"#term-seen\"]').click()")
    assert "Here: +2.80 nats" in browser.value("document.getElementById('bubble').innerText")


def test_a_reason_shows_its_own_map(browser: Browser, page: Path) -> None:
    browser.screen(1280, 800)
    browser.open(page)
    browser.value("document.querySelector('.card details').open = true")
    before = shown(browser, ".picture")
    browser.value("document.querySelector('.card button.concept').click()")
    assert np.abs(shown(browser, ".picture") - before).max() > 30
    assert browser.value("document.querySelector('.meaning').innerText").startswith("flame 0: the part")


def test_nothing_of_a_payload_runs(browser: Browser, tmp_path: Path) -> None:
    page = nasty().save(tmp_path / "why.html")
    page.write_text(
        page.read_text("utf-8")
        .replace("alert(1)", "document.title='ran'")
        .replace("alert('x')", "document.title='ran'"),
        "utf-8",
    )
    browser.open(page)
    browser.value("document.querySelectorAll('button, a.term, summary').forEach((one) => one.click())")
    assert browser.value("document.title") != "ran"
    assert browser.value("document.querySelectorAll('script').length") == 2


def thinking(times: int = 19) -> Explanation:
    """A text of 228 words, of which the first half is reasoned; content words of the rest have maps."""
    base = twelve()
    words = [replace(word, reasoning=n < times // 2) for n in range(times) for word in base.words]
    unmapped: dict[str, Any] = {"check": None, "against_check": None, "because": None, "mapped": False}
    unmapped |= {"notes": ("no map was asked for",)}
    nan = np.full((4, 4), np.nan, np.float32)
    told = tuple(
        replace(one, signed=nan, opposed=nan, **unmapped) if one.reasoning or not is_content(one.label) else one
        for one in words
    )
    return replace(base, text=" ".join([SAID] * times), words=told, phrases=())


def test_a_long_text_leaves_room_for_the_picture_and_reasoning_is_folded(browser: Browser, tmp_path: Path) -> None:
    page = thinking().save(tmp_path / "long.html")
    assert page.stat().st_size < 2_500_000
    for width, height in ((1280, 800), (390, 844)):
        browser.screen(width, height)
        browser.open(page)
        box = browser.value(
            "(() => { const r = document.querySelector('.picture').getBoundingClientRect(); return r.top })()"
        )
        assert box < 0.75 * height, (width, box)
        assert browser.value("document.documentElement.scrollWidth") <= width
        assert not browser.value(
            "document.querySelector('.thoughts button').checkVisibility({contentVisibilityAuto: true})"
        )
    press = "document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {key: 'Home', bubbles: true}))"
    label = "document.activeElement.querySelector('.label').textContent"
    browser.value("document.querySelector('.spoken button:nth-of-type(3)').focus()")
    browser.value(press)
    assert browser.value(label) == browser.value("document.querySelector('.spoken .label').textContent")
    browser.value("document.querySelector('.thoughts').open = true")
    browser.value(press)
    assert browser.value("document.activeElement.closest('.thoughts') !== null"), "it is a part of the line once open"


def test_a_word_without_a_map_shows_none(browser: Browser, tmp_path: Path) -> None:
    browser.screen(1280, 800)
    browser.open(thinking(3).save(tmp_path / "long.html"))
    painted = """(() => {
      const canvas = document.querySelector(".picture canvas"), { width, height } = canvas;
      return canvas.getContext("2d").getImageData(0, 0, width, height).data.some((value, k) => k % 4 === 3 && value);
    })()"""
    state = "[document.querySelector('.scale').checkVisibility(), document.querySelector('.meaning').textContent]"

    def shown_of(kind: str, view: str = "for") -> list[Any]:
        browser.value(f"document.querySelector('input[value={view}]').click()")
        over = "new PointerEvent('pointerenter', {pointerType: 'mouse'})"
        browser.value(f"document.querySelector('.spoken .{kind}').dispatchEvent({over})")
        return [browser.value(painted), *browser.value(state)]

    assert shown_of("word:not(.unmapped)")[:2] == [True, True]
    for view in ("for", "against", "signed"):
        drawn, scale, meaning = shown_of("unmapped", view)
        assert (drawn, scale) == (False, False) and meaning.startswith("No map of “a” was asked for"), (view, meaning)
    assert shown_of("word:not(.unmapped)")[:2] == [True, True], "and comes back"
