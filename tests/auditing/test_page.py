"""The page of an audit: findings first, then tables, mistakes, lists; names are text, whatever stands in them."""

import json
import math
import re
from dataclasses import replace
from html import unescape
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from benchmarks.browser import Browser
from tests.audits import FEW, LEAN, audited, spoiled, wrong
from vlx.auditing import Audit, Finding, page, telling, terminal
from vlx.auditing.drawn import Drawings, DrawnMistake, MapOfMistake
from vlx.auditing.result import Crop, Listed, Occurrence
from vlx.cli.audit import _printed as printed
from vlx.report import pictures

DOT = pictures.address(np.full((2, 3, 3), 90, np.uint8))
SAID, RATHER = MapOfMistake(DOT, "what speaks for it", "confirmed"), MapOfMistake(DOT, "“rocket” rather than “car”")
DRAWN = DrawnMistake(DOT, (SAID, RATHER))
NAMES = "\u202e<b>{{7*7}}</b>\"'> مرحبا 🚀&amp;"


def told(audit: Audit, drawn: Drawings | None = None) -> str:
    """What a reader of the page reads, as one line."""
    made = page.page(audit, Drawings((DRAWN,) * len(audit.mistakes)) if drawn is None else drawn)
    body = re.sub(r"<(style|nav).*?</\1>", "", made, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).split())


def in_terminal(audit: Audit) -> str:
    console = Console(width=100, file=StringIO())
    for part in terminal.shown(audit):
        console.print(part)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("read", [told, in_terminal])
def test_findings_come_first_and_then_what_is_only_told(read: Any) -> None:
    text = " ".join(read(audited()).split())
    sentences = [
        "1 finding on 400 pictures",
        "320 of 400 pictures right (80 %, 76 to 84 %), 80 wrong.",
        "or “rocket”, night carries +1.90 logits where the class is wrong",
        "+1.70 nats (+1.20 to +2.10)",
        "64 tests corrected together: on a model that leans on nothing, anything at all is found in at most 5 %",
        "“kite” is wrong on 7 pictures",
    ]
    places = [text.find(one) for one in sentences]
    assert min(places) >= 0 and places == sorted(places)
    assert "2 classes that the model lacks" in text[places[-1] :]


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({"text": "rocket"}, ""),
        ({"text": "a rocket at night"}, "a rocket at night"),
        ({"text": "rocket", "question": "what flies?"}, "what flies?"),
        ({}, ""),
    ],
)
def test_a_question_or_a_caption_stands_by_a_mistake_and_its_class_no_second_time(
    given: dict[str, str], shown: str
) -> None:
    assert page.MistakeView(1, wrong(0, **given), DRAWN, "").said_of == shown


def test_sentences_keep_to_the_window_and_are_not_broken_within_words(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "60")
        patch.setenv("FORCE_COLOR", "1")
        printed(audited(), Path("run"))
    lines = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()
    table = next(n for n, line in enumerate(lines) if line.startswith("┏"))
    assert max(map(len, lines[:table])) <= 60
    printed(audited(), Path("run"))
    lines = capsys.readouterr().out.splitlines()
    assert 60 < max(map(len, lines)) <= 100


def test_the_page_tells_its_parts_in_order() -> None:
    text = told(audited())
    parts = [
        "For “rocket”, night carries",
        "1 more told, not judged",
        "Each class",
        "40 of 160 20 % +0.20 50 of 52 60 % +1.90",
        "The worst mistakes",
        "Said “rocket” (p 98.0 %), true is “car” (p 1.2 %): night (62 % of the evidence, +3.10 nats) and red (10 % of "
        "the evidence, +0.40 nats) speak for it; car (30 % of the evidence, −1.20 nats) against it.",
        "+4.40 nats ahead of the other · +2.50 nats are owed to the picture",
        "Classes that rest outside their own mask: 1 of 212",
        "How it was measured",
        "What was left out",
        "vlx audit mine.py:model classes:birds --out runs/birds",
    ]
    places = [text.replace("\xa0", " ").find(one) for one in parts]
    assert min(places) >= 0, parts[places.index(-1)]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"findings": ()}, ["Nothing was found on 400 pictures", "is no proof that there is nothing"]),
        (
            {"judged": 0, "right": 0},
            ["Which classes are right is not known: the data tell none that this model knows."],
        ),
        ({"looked_at": 0}, ["Nothing could be tested: no class has 20 pictures to compare"]),
        ({"notes": ("b.png cannot be read",)}, ["B.png cannot be read."]),
        ({"findings": (replace(LEAN, trial=None),)}, ["not proven: hiding it was not tried"]),
        ({"hallucinated": Listed(why="it was not asked")}, ["It was not asked."]),
        ({"mistakes": (wrong(true=""),), "answer_is": "word"}, ["rather than for the likeliest other word:"]),
        ({"mistakes": (wrong(),)}, ["rather than for the true one: warm for what was said, blue for the other."]),
        ({"concepts_are": "regions alike"}, ["A “look” is a kind of region that looks alike to the model"]),
        ({"answers": ()}, []),
        ({"mistakes": ()}, []),
    ],
)
def test_what_is_not_known_is_told(change: dict[str, Any], said: list[str]) -> None:
    text = told(audited(**change))
    assert [one for one in said if one not in text] == []
    assert (f"Each {change.get('answer_is', 'class')}" in text) == (change.get("answers") != ())
    assert ("The worst mistakes" in text) == (change.get("mistakes") != ())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"true": "", "true_logprob": math.log(0.01)}, "where it is wrong; the likeliest other is “car” (p 1.0 %)"),
        ({"true": "", "instead": ""}, "said “rocket” (p 98.0 %): night"),
        ({"carried": ()}, "no concept that was looked at carries this class"),
        ({"said_logprob": math.nan, "true_logprob": math.nan}, "said “rocket”, true is “car”: night"),
        ({"carried": wrong().carried[3:]}, "nothing named speaks for it; car (30 % of the evidence, −1.20 nats)"),
    ],
)
def test_a_mistake_tells_what_is_known_of_it(change: dict[str, Any], said: str) -> None:
    assert said in telling.mistake(wrong(**change), "class")


def test_no_name_becomes_more_than_text() -> None:
    made = page.page(spoiled(NAMES), Drawings((DRAWN,), {Crop(NAMES, (0.0, 0.0, 4.0, 4.0)): DOT}, {NAMES: DOT}))
    assert made.count("{{7*7}}") > 20 and "<b>" not in made and "\u202e" not in made
    assert "&lt;b&gt;{{7*7}}&lt;/b&gt;&#34;&#39;&gt; مرحبا 🚀&amp;amp;" in made
    assert not re.search(r"(?:src|href)=(?!\"(?:data:|#))|url\(|<script|\son\w+=", made)
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in made
    assert "[/bold]" in in_terminal(spoiled("[/bold][red]\x1b[31m")) and "\x1b" not in in_terminal(spoiled("\x1b[31m"))


def test_a_finding_stands_beside_the_mistakes_that_it_explains() -> None:
    others = (wrong(0), wrong(1, said="kite"), wrong(2, carried=wrong().carried[1:]), wrong(3))
    of_its_class = wrong(4, said="space shuttle", counted="rocket")
    made = page.page(audited(mistakes=(*others, of_its_class)), Drawings((DRAWN,) * 5))
    assert re.findall(r'<a href="#mistake-(\d)">', made) == ["1", "4", "5"]


def test_the_page_has_room_for_some_pictures_only() -> None:
    large = DrawnMistake("data:image/png;base64," + "A" * 1_500_000, DRAWN.maps)
    made = page.page(audited(mistakes=tuple(map(wrong, range(5)))), Drawings((large,) * 5))
    assert len(made) < 5_000_000
    assert "Of the last 2 the maps have no room here." in made


def test_intervals_share_an_axis_by_unit() -> None:
    one, other = LEAN, replace(LEAN, effect=0.5, low=-0.1, high=0.9)
    shares = Finding("unowed", "“two” owes nothing", effect=0.4, low=0.3, high=0.5, unit="share")
    made = page.page(audited(findings=(one, other, shares, FEW)), Drawings())
    reaches = re.findall(r'class="reach" x1="([\d.]+)" x2="([\d.]+)"', made)
    assert [(float(a), float(b)) for a, b in reaches] == [(59.09, 100.0), (0.0, 45.45), (60.0, 100.0)]


FITS = """(() => {
  const lead = document.querySelector('.findings .sentence').getBoundingClientRect();
  const bare = [...document.querySelectorAll('img')].filter(one => !one.hasAttribute('alt') || !one.naturalWidth);
  const seen = [...document.querySelectorAll('a, summary')].filter(one => one.tabIndex < 0);
  return {top: lead.top, bottom: lead.bottom, wide: document.documentElement.scrollWidth, bare: bare.length,
          unreached: seen.length, headings: [...document.querySelectorAll('h1')].length};
})()"""


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (390, 844)])
def test_the_first_screen_tells_what_it_leans_on(browser: Browser, tmp_path: Path, width: int, height: int) -> None:
    long = spoiled("Pneumonoultramicroscopicsilicovolcanoconiosis" * 4 + NAMES)
    for number, audit in enumerate((audited(), long)):
        (tmp_path / f"{number}.html").write_text(page.page(audit, Drawings((DRAWN,) * 2)), "utf-8")
        mobile = width < 500
        browser.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile
        )
        browser.open(tmp_path / f"{number}.html")
        found = browser.value(FITS)
        assert found["wide"] <= width, json.dumps(found)
        assert found["bare"] == found["unreached"] == 0 and found["headings"] == 1
        assert number or 0 < found["top"] < found["bottom"] < height / 2


def test_a_row_opens_by_the_keyboard(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(page.page(audited(), Drawings()), "utf-8")
    browser.open(tmp_path / "page.html")
    browser.value("document.querySelector('.answer summary').focus()")
    for kind in ("keyDown", "keyUp"):
        browser.call(
            "Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13, text="\r"
        )
    assert browser.value("document.querySelector('.answer').open")
    assert browser.value("document.querySelector('.answer td').getBoundingClientRect().height") > 0


def test_a_lean_that_is_no_finding_is_shown_with_its_pictures() -> None:
    crop = Crop("0001.jpg", (0.0, 0.0, 4.0, 4.0))
    slight = replace(LEAN, sentence="for “rocket”, look 3 carries a little", level="note", examples=(crop,), trial=None)
    text = told(audited(findings=(slight, FEW)), made := Drawings((DRAWN,) * 2, {crop: DOT}))
    assert "Nothing was found on 400 pictures; 1 lean is certain, and slight" in text
    unproven = audited(findings=(replace(LEAN, level="note"), replace(slight, adjusted=0.2)))
    assert "slight" not in telling.headline(unproven)
    heading = text.index("Seen, and not counted as findings")
    assert heading < text.index("For “rocket”, look 3 carries a little.") < text.index("1 more told, not judged")
    assert page.page(audited(findings=(slight,)), made).count('alt="What night looks like') == 1


@pytest.mark.parametrize(
    ("sentence", "parts"),
    [
        ("a (b; c) d; e; f", ("a (b; c) d", "e; f")),
        ("a", ("a", "")),
        ("a (b; c", ("a (b; c", "")),
        ("a :-) b; c", ("a :-) b; c", "")),
        ("", ("", "")),
    ],
)
def test_a_sentence_is_cut_outside_of_parentheses(sentence: str, parts: tuple[str, str]) -> None:
    assert telling.clauses(sentence) == parts


def test_each_list_has_its_figure() -> None:
    one = Listed((Occurrence("a.png", "kite", 0.25), Occurrence("b.png", "boat", math.nan)), 130, 900, "how it is")
    text = told(audited(outside=one, hallucinated=one, unowed=one))
    names = ("rest outside their own mask", "that the picture does not carry", "owe nothing to the picture")
    places = [text.index(name) for name in names]
    figures = [text[at:].partition("kite ")[2].split("b.png")[0].split() for at in places]
    rest = ["a.png", "boat", "–"]
    assert figures == [["25", "%", *rest], ["25.0", "%", *rest], ["+0.25", *rest]]
    assert text.count("130 of 900 How it is. The first 2") == 3
