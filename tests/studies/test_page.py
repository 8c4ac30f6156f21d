"""The page in a real browser: the whole study by keyboard alone, its download scored; reloads; phones and the dark."""

import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import browser as chromium
from benchmarks import page as measured
from benchmarks.browser import Browser
from tests.studies import planted
from vlx import studies
from vlx.studies import study_files
from vlx.studies.study_files import StudyFiles

pytestmark = pytest.mark.skipif(chromium.found() is None, reason="Chromium is not installed: no page is opened")
KEYS = {"Tab": 9, "Enter": 13, " ": 32, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
TEXTS = {"Enter": "\r", " ": " "}
SHIFT = 8
SCALE = {
    2: "Left, much more",
    1: "Left, somewhat more",
    0: "Both the same",
    -1: "Right, somewhat more",
    -2: "Right, much more",
}
VALUES = (
    "Object.fromEntries([...document.querySelectorAll('#choices label')].map("
    "label => [label.textContent, label.querySelector('input').value]))"
)
FOCUS = "(document.activeElement.id || document.activeElement.name || document.activeElement.className)"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    made = studies.make(planted.Squares(60), planted.models(), "gradcam,guided-gradcam", n=9, out=folder / "study.html")
    return made.page


@pytest.fixture
def opened(browser: Browser, page: Path) -> Browser:
    """The page as a participant gets it, nothing kept from before."""
    browser.screen(1280, 900)
    browser.open(page)
    browser.value("localStorage.clear()")
    reload(browser)
    return browser


def reload(browser: Browser) -> None:
    """The page again in the same tab: what one process of Chromium keeps, another may see late."""
    browser.value("window.before = true")
    browser.call("Page.reload")
    while browser.value("`${window.before} ${document.readyState}`") != "undefined complete":
        time.sleep(0.02)


def press(browser: Browser, key: str, times: int = 1, shift: bool = False) -> None:
    told: dict[str, Any] = {"key": key, "windowsVirtualKeyCode": KEYS[key], "modifiers": SHIFT * shift}
    for _ in range(times):
        browser.call("Input.dispatchKeyEvent", type="keyDown", **told, **({"text": TEXTS[key]} if key in TEXTS else {}))
        browser.call("Input.dispatchKeyEvent", type="keyUp", **told)


def tab_to(browser: Browser, name: str) -> None:
    for _ in range(12):
        if browser.value(FOCUS) == name:
            return
        press(browser, "Tab")
    raise AssertionError(f"{name} cannot be reached with Tab; the focus is on {browser.value(FOCUS)}")


def begin(browser: Browser) -> None:
    tab_to(browser, "agreed")
    press(browser, " ")
    press(browser, "Tab")
    press(browser, "Enter")


def asked(browser: Browser, page: Path) -> tuple[str, list[str], list[str]]:
    """What is asked now, as the key calls it; what is shown; and the choices in the order of the screen."""
    study = study_files.read(page)
    sources = browser.value("[...document.querySelectorAll('#stage img')].map(i => i.src)")
    names = {address: name for name, address in study.page["images"].items()}
    shown = [names[one] for one in sources]
    prompt = browser.value("document.getElementById('prompt').textContent")
    labels = browser.value("[...document.querySelectorAll('#choices label span')].map(i => i.textContent)")
    for name, question in study.questions.items():
        pictures = [question["picture"]] if "picture" in question else []
        if question["prompt"] == prompt and [*pictures, *next(iter(question.get("shown", [[]])))] == shown:
            return name, shown[len(pictures) :], labels
        if any([*pictures, *one] == shown and shown for one in question.get("shown", [])):
            return name, shown[len(pictures) :], labels
    raise AssertionError(f"nothing in the study asks {prompt!r} about {shown}")


def answer(browser: Browser, page: Path, rater: planted.Rater) -> None:
    """Answer what is asked by keyboard alone."""
    study = study_files.read(page)
    name, shown, labels = asked(browser, page)
    assert browser.value(FOCUS) == "prompt"  # where a screen reader goes on
    said = study.key["checks"][name] if name in study.key["checks"] else rater(study, name, shown)
    if isinstance(said, list):
        tab_to(browser, "field")
        for way, place in zip((("ArrowLeft", "ArrowRight"), ("ArrowUp", "ArrowDown")), said, strict=True):
            steps = round((place - 0.5) / 0.02)
            press(browser, way[steps > 0], abs(steps) // 5, shift=True)
            press(browser, way[steps > 0], abs(steps) % 5)
        press(browser, "Tab", 3)
    else:
        tab_to(browser, "answer")
        press(browser, " ")
        options = study.questions[name].get("options")
        told = browser.value(VALUES)
        assert told == {text: str(value) for value, text in (enumerate(options) if options else SCALE.items())}
        press(browser, "ArrowDown", labels.index(options[said] if options else SCALE[said]))
    press(browser, "Enter")


def finish(browser: Browser, page: Path, rater: planted.Rater, most: int = 99) -> int:
    """Answer up to so many questions; how many there were."""
    for number in range(most):
        if browser.value("document.getElementById('asking').hidden"):
            return number
        answer(browser, page, rater)
    return most


def downloaded(browser: Browser, folder: Path) -> Path:
    """The file that a participant downloads, by keyboard."""
    folder.mkdir()
    browser.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
    tab_to(browser, "download")
    press(browser, "Enter")
    for _ in range(200):
        if paths := list(folder.glob("*.json")):
            return paths[0]
        time.sleep(0.05)
    raise AssertionError("nothing was downloaded")


def test_a_study_by_keyboard_alone_is_scored(opened: Browser, page: Path, tmp_path: Path) -> None:
    began = time.monotonic()
    begin(opened)
    assert finish(opened, page, planted.by_energy) == 11
    path = downloaded(opened, tmp_path / "answers")
    seconds = [one["seconds"] for one in json.loads(path.read_text("utf-8"))["answers"]]
    assert sum(seconds) <= time.monotonic() - began + 0.05 * len(seconds)
    assert path.name == f"answers-{json.loads(path.read_text('utf-8'))['participant']}.json"
    scores = studies.score(page, path)
    assert not scores.refused
    assert not scores.left_out
    shown = {one.method for one in scores.figures if one.part == "which"}
    assert all(scores.value("which", method) >= 0.9 for method in shown)
    assert scores.value("where", "gradcam", model="A") > 0.9
    assert scores.value("reasonable", "gradcam") == 2
    assert json.loads(opened.value("document.getElementById('text').value")) == json.loads(path.read_text("utf-8"))


def in_view(opened: Browser) -> list[str]:
    """Which question is shown, and its picture, as soon as there is one."""
    shown = "[document.getElementById('progress').textContent, document.querySelector('#stage img')?.src]"
    until = time.monotonic() + 20
    while not opened.value(shown)[1] and time.monotonic() < until:
        time.sleep(0.05)
    return list(opened.value(shown))


def test_a_reload_goes_on_where_it_was_and_answers_can_be_deleted(opened: Browser, page: Path) -> None:
    begin(opened)
    finish(opened, page, partial(planted.by_lot, np.random.default_rng(0)), most=4)
    before = in_view(opened)
    reload(opened)
    assert in_view(opened) == before
    assert before[0].startswith("Question 5 of 11")
    opened.value("document.getElementById('stop').click()")
    assert opened.value("document.getElementById('gone').hidden") is False
    reload(opened)
    assert opened.value("document.getElementById('consent').hidden") is False


@pytest.mark.parametrize(
    "change",
    [
        "held.order.pop()",
        "held.order[0][0] = 'none'",
        "held.order[1] = held.order[0]",
        "held.order = []",
        "held.answers = [{question: 'none'}]",
        "held.answers = null",
        "held.group = 4",
        "held.participant = '<b>'",
        "held = null",
        "held = 7",
    ],
)
def test_what_is_kept_and_cannot_be_gone_on_with_is_begun_anew(opened: Browser, change: str) -> None:
    """Never a page on which nothing is shown, nor a file that no score would take."""
    begin(opened)
    opened.value(
        "(() => { const [key] = Object.keys(localStorage); let held = JSON.parse(localStorage[key]); "
        f"{change}; localStorage[key] = JSON.stringify(held); }})()"
    )
    reload(opened)
    assert opened.value("[...document.querySelectorAll('main > section')].filter(s => !s.hidden).map(s => s.id)") == [
        "consent"
    ]


def test_long_names_and_addresses_fit_a_phone(browser: Browser, tmp_path: Path) -> None:
    page, key = _records()
    long = "x" * 300
    page["parts"][0]["questions"][0] |= {"options": [long, "\u05e1\u05d5\u05e1!"], "prompt": f"“{long}”?"}
    page["consent"] = [f"Write to https://example.org/{long}"]
    study_files.write(tmp_path / "s.html", page, key)
    browser.screen(390, 844)
    browser.open(tmp_path / "s.html")
    assert browser.value("document.documentElement.scrollWidth") <= 390
    begin(browser)
    assert browser.value("document.documentElement.scrollWidth") <= 390
    ways = browser.value("[...document.querySelectorAll('#choices span')].map(e => getComputedStyle(e).direction)")
    assert sorted(ways) == ["ltr", "rtl"]


def test_where_nothing_is_kept_it_is_said_and_the_study_works(opened: Browser, page: Path, tmp_path: Path) -> None:
    script = "Object.defineProperty(window, 'localStorage', {get() { throw new Error('none'); }})"
    opened.call("Page.enable")
    added = opened.call("Page.addScriptToEvaluateOnNewDocument", source=script)["identifier"]
    try:
        opened.open(page)
        assert "finish in one sitting" in opened.value("document.getElementById('consent').innerText")
        begin(opened)
        finish(opened, page, planted.by_energy)
        assert not studies.score(page, downloaded(opened, tmp_path / "answers")).refused
    finally:
        opened.call("Page.removeScriptToEvaluateOnNewDocument", identifier=added)
        opened.call("Page.disable")


def test_nothing_begins_without_consent_and_no_question_is_passed_over(opened: Browser) -> None:
    tab_to(opened, "agreed")
    press(opened, "Enter")
    assert "Tick the box first" in opened.value("document.getElementById('consent-told').textContent")
    assert opened.value("document.getElementById('asking').hidden") is True
    begin(opened)
    opened.value("document.querySelector('#form button').click()")
    assert "Choose an answer first" in opened.value("document.getElementById('told').textContent")
    assert opened.value("document.getElementById('progress').textContent").startswith("Question 1 of")


def test_the_group_may_be_told_and_participants_differ(opened: Browser, page: Path) -> None:
    groups, names, sides = [], set(), list[bool]()
    for number in (*range(4), 7):
        opened.value("localStorage.clear()")
        opened.open(page, f"#{number}")
        begin(opened)
        held = json.loads(opened.value("Object.values(localStorage)[0]"))
        groups.append(held["group"])
        sides += [flipped for _, flipped in held["order"]]
        names.add((held["participant"], tuple(one for one, _ in held["order"])))
    assert groups == [0, 1, 2, 3, 3]
    assert len(names) == 5
    assert 10 < sum(sides) < 45, "of 55 questions about half have their choices the other way round"
    assert len({order for _, order in names}) >= 4, "questions are shuffled"
    places = {tuple(n for n, one in enumerate(order) if one.startswith("check")) for _, order in names}
    assert places == {(3, 7)}, "checks of attention are spread"


def each_part(browser: Browser, page: Path, look: Callable[[str], None]) -> None:
    """Look at the first page, at a question of every part, and at the last page."""
    look("consent")
    begin(browser)
    met: set[str] = set()
    while browser.value("document.getElementById('done').hidden"):
        name = asked(browser, page)[0].split("-")[0]
        if name not in met:
            look(name)
        met.add(name)
        answer(browser, page, planted.by_energy)
    look("done")
    assert met == {"which", "reasonable", "where", "check"}


def test_it_fits_a_phone_and_can_be_read_in_light_and_dark(opened: Browser, page: Path) -> None:
    def look(name: str) -> None:
        for scheme in ("light", "dark"):
            opened.screen(390, 844, scheme)
            wide = opened.value("document.documentElement.scrollWidth > innerWidth")
            assert not wide, (name, "wide")
            assert opened.value(f"{measured.SCRIPT} leastContrast()")[0][0] >= 4.5, (name, scheme)
            assert opened.value(f"{measured.SCRIPT} sameLandmarks()") == [], name
        unnamed = opened.value(
            "[...document.querySelectorAll('input, button, textarea, img')].filter(e => e.checkVisibility() && "
            "!(e.alt || e.textContent.trim() || e.labels?.length)).map(e => e.outerHTML)"
        )
        assert unnamed == [], name

    each_part(opened, page, look)


def test_alternative_texts_say_nothing_of_the_answer(opened: Browser, page: Path) -> None:
    def look(name: str) -> None:
        alts = " ".join(opened.value("[...document.querySelectorAll('img')].map(i => i.alt + ' ' + i.title)"))
        assert not {*planted.COLOURS, "gradcam", "guided", "sharp", "blurred"} & {*alts.lower().split()}, name

    each_part(opened, page, look)


def test_a_click_sets_the_point_where_it_is(opened: Browser, page: Path) -> None:
    begin(opened)

    def is_where() -> bool:
        return bool(opened.value("!!document.querySelector('.field')"))

    while not is_where():
        answer(opened, page, planted.by_energy)
    box = opened.value(
        "(() => { const b = document.querySelector('.field img').getBoundingClientRect(); "
        "return [b.left, b.top, b.width, b.height]; })()"
    )
    place = {"x": box[0] + 0.25 * box[2], "y": box[1] + 0.75 * box[3], "button": "left", "clickCount": 1}
    for kind in ("mousePressed", "mouseReleased"):
        opened.call("Input.dispatchMouseEvent", type=kind, **place)
    opened.value("document.querySelector('#form button').click()")
    x, y = json.loads(opened.value("Object.values(localStorage)[0]"))["answers"][-1]["answer"]
    assert (x, y) == pytest.approx((0.25, 0.75), abs=0.01)


def test_texts_of_the_data_stay_texts(browser: Browser, tmp_path: Path) -> None:
    nasty = "</script><img src=x onerror=\"document.title='run'\"><b>"
    study = StudyFiles(*_records())
    study.page["parts"][0]["questions"][0]["options"] = [nasty, "cat"]
    study.page["consent"] = [nasty]
    study_files.write(tmp_path / "s.html", study.page, study.key)
    browser.open(tmp_path / "s.html")
    assert nasty in browser.value("document.getElementById('own').textContent")
    begin(browser)
    assert nasty in browser.value("document.getElementById('choices').textContent")
    assert browser.value("document.title") != "run"
    assert browser.value("document.querySelectorAll('b').length") == 0


def _records() -> tuple[dict[str, Any], dict[str, Any]]:
    image = "data:image/gif;base64,R0lGODlhAQABAAAAACw="
    question = {"id": "which-1", "prompt": "Which?", "options": ["dog", "cat"], "shown": [["aa"], ["aa"]]}
    part = {"name": "which", "title": "T", "introduction": "I", "questions": [question]}
    page = {"format": "vlx study", "schema_version": 1, "groups": 2, "parts": [part], "checks": []}
    key = {"format": "vlx study key", "schema_version": 1, "questions": {}, "stimuli": {}, "checks": {}}
    return page | {"images": {"aa": image}, "consent": []}, key
