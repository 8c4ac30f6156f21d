"""Reasons on the page, in the figure, in the terminal and in Markdown."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from tests.explanations import (
    CHECK,
    RANDOM,
    answer_explanation,
    because,
    caption_explanation,
    contrast_explanation,
    reason,
    reasoned,
    some_reasons,
)
from tests.report.test_report import NASTY, TEMPLATES, Page, page_data
from vlx import Explanation
from vlx.report import html, maps, text
from vlx.report.reasons import SHOWN, ReasonRow, Strip, ToldReason, percent

CAPTION = reasoned(caption_explanation())


def told(why: Explanation = CAPTION, number: int = 0) -> ToldReason:
    found = ToldReason.of(why[number])
    assert found is not None
    return found


def plain(page: str) -> str:
    """What is read, with spaces as typed."""
    return "".join(Page(page).texts).replace("\xa0", " ")


# Rows


@pytest.mark.parametrize("number", range(5))
def test_shares_and_portions_of_all_rows_add_up_to_one(number: int) -> None:
    rows = told(number=number).rows
    assert sum(row.share for row in rows) == pytest.approx(1)
    assert sum(row.portion for row in rows if row.kind == "because") == pytest.approx(1)
    assert told(number=number).total == "100.0 %"
    assert f'<td data-unit="of the map">{told(number=number).total}</td>' in html.page(CAPTION)


def test_rows_beyond_the_first_few_are_summed_and_counted() -> None:
    groups = told().groups
    assert [(head, len(rows)) for head, _, rows in groups] == [
        ("because of", SHOWN["because"] + 1),
        ("despite", 2),
        ("silent, and would speak against it", 2),
        ("no name", 1),
    ]
    rest = groups[0][2][-1]
    left = some_reasons()[SHOWN["because"] : 12]
    assert rest.concept == "7 more concepts"
    assert rest.portion == pytest.approx(sum(one.portion for one in left))
    assert rest.map is not None
    np.testing.assert_allclose(rest.map, np.sum([one.map for one in left], axis=0), rtol=1e-6)


def test_the_map_of_a_reason_is_its_cells() -> None:
    panel = page_data(html.page(CAPTION))["panels"][0]
    for word, item in zip(CAPTION, panel["items"], strict=False):
        rows = [row for row in ToldReason.of(word).rows if row.number is not None]  # type: ignore[union-attr]
        assert [row.number for row in rows] == list(range(len(item["reasons"]))) == list(range(9))
        total = np.zeros((4, 4))
        for row, sent in zip(rows, item["reasons"], strict=True):
            cells = maps.cells_of(sent, (4, 4), "i1")
            assert row.map is not None
            assert np.abs(cells - row.map).max() <= sent["step"] * 0.51
            assert np.abs(cells).max() == pytest.approx(127 * sent["step"])
            total += cells
        np.testing.assert_allclose(total, word.signed, atol=0.05)  # listed, summed and unnamed: the word's own map


def test_phrases_and_the_whole_text_have_no_reasons() -> None:
    panel = page_data(html.page(CAPTION))["panels"][0]
    assert [len(item["reasons"]) for item in panel["items"]] == [9, 9, 9, 9, 9, 0, 0]
    assert len(Page(html.page(CAPTION)).named("div", "because")) == 5


def test_what_is_shown_of_a_reason() -> None:
    first, repeats, imported = told().rows[:3]
    assert (first.evidence, first.width, first.fit, first.wins) == ("20 %", 20.0, "0.210 ± 0.020", "3/4")
    assert (first.folded, first.units) == ("10 units", "2, 3, 4, 5, 6, 7, 8, 9, 10, 11")
    assert (first.effect, first.mark) == ("4.2", ("✓", "name holds together", "p 0.002"))
    assert (repeats.folded, repeats.units, repeats.mark) == (
        "",
        "1, 12",
        ("✗", "name does not hold together", "p 0.250"),
    )
    assert (imported.fit, imported.wins, imported.mark) == ("–", "", ("–", "name cannot be tested here", ""))
    assert html.page(CAPTION).count('<span class="tag">repeats the word</span>') == 5
    against = told().groups[1][2][0]
    assert (against.evidence, against.cold, against.effect, against.mark) == ("−30 %", True, "−2.0", None)
    absent = told().groups[2][2][0]
    assert (absent.evidence, absent.number, absent.on_map) == ("", None, "")
    odd = ReasonRow("x", "because", float("nan"), float("nan"))
    assert (odd.width, odd.evidence, odd.of_map, odd.fit, odd.effect) == (0.0, "–", "–", "", "")
    assert percent(-0.0001) == "0.0 %"


# The page


def test_the_page_tells_sentence_verdict_and_table_of_every_answer() -> None:
    why = reasoned(answer_explanation())
    page = html.page(why)
    shown = plain(re.sub(r"<(script|template)\b.*?</\1>", "", page, flags=re.S))
    for word in (why[0], *(other[0] for other in why.others)):
        assert word.because is not None
        assert f"{word.because.sentence}." in shown
    assert shown.count("With the 3 units named switched off its log-odds go from 6.0 to −2.5") == 3
    assert shown.count("Fur 0 (p .002): units of this name act together for this word") == 3
    assert shown.count("units matter, 1/2 names hold") == 3 + 1  # beside the map and in the list
    assert html.page(why).count('aria-label="name cannot be tested here"') == 3 * 3
    badges = Page(page).named("span", "badge")
    assert {badge["class"] for badge in badges} == {"badge matters"}
    assert len(badges) == 3
    assert len(Page(page).named("table", "reasons")) == 3
    assert all(detail["data-part"] for detail in Page(page).named("article", "one"))


def test_a_contrast_is_called_by_both_answers() -> None:
    why = reasoned(contrast_explanation())
    shown = plain(html.page(why))
    assert "“red” rather than “white” because of units named" in shown
    assert shown.count("“red” because of units named") == 1  # alone beside it
    lead = reasoned(contrast_explanation(), check=replace(CHECK, contrast=True))
    assert "lead lost: 8.5 without the units named" in " ".join(plain(html.page(lead)).split())
    assert told(lead).strip.said.startswith("lead lost: 8.5 with the units named off")  # type: ignore[union-attr]


def test_texts_from_tables_of_names_are_never_markup() -> None:
    note = replace(some_reasons()[0], category=NASTY, concept=NASTY)
    bad = replace(because(CAPTION[0], (note,)), notes=(NASTY,), word=NASTY)
    why = replace(CAPTION, words=(replace(CAPTION[0], because=bad), *CAPTION.words[1:]))
    page, usual = Page(html.page(why)), Page(html.page(CAPTION))
    assert page.open == []
    for tag in ("script", "img"):
        assert sum(found == tag for found, _ in page.tags) == sum(found == tag for found, _ in usual.tags)
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert "".join(page.texts).count(NASTY) >= 6
    data = re.search(r'<script id="data" type="application/json">(.*?)</script>', html.page(why), re.S)
    assert data
    assert "alert" not in data.group(1)
    frame = Page(why._repr_html_())
    assert [tag for tag, _ in frame.tags] == ["div", "style", "iframe", "img"]
    markdown = text.markdown(why)
    assert "<" not in markdown


def test_without_a_check_it_says_so_and_claims_less() -> None:
    why = reasoned(caption_explanation(), check=None)
    page = html.page(why)
    shown = plain(page)
    assert "“a” perhaps because of" in shown
    assert "despite" not in "".join(line for line in shown.splitlines() if "“a”" in line)
    assert {badge["class"] for badge in Page(page).named("span", "badge")} == {"badge not-tried"}
    assert shown.count(" · not tried · ") == 5 + 1
    assert ": perhaps fur 0, fur 1 itself, fur 2 (37 % of the evidence)" in shown
    assert "cannot be tested" not in shown
    assert 'aria-label="name' not in page
    assert not Page(page).named("figure", "trial")


def test_where_nothing_is_named_the_whole_map_has_no_name() -> None:
    word = CAPTION[0]
    why = replace(CAPTION, words=(replace(word, because=because(word, (), None)),), phrases=())
    rows = told(why).rows
    assert [(row.concept, row.portion, row.share) for row in rows] == [("unnamed units", 1.0, 1.0)]
    assert rows[0].map is not None
    np.testing.assert_allclose(rows[0].map, word.signed)
    assert "“a” has no named reason; unnamed units carry 100 % of the evidence." in plain(html.page(why))


def test_without_reasons_nothing_is_said_of_them() -> None:
    page = html.page(caption_explanation())
    for name in ("because", "badge", "reasoned"):
        assert not [tag for tag, found in Page(page).tags if name in (found.get("class") or "").split()], name
    assert "of the evidence" not in page


def test_numbers_of_reasons_on_the_page_are_finite() -> None:
    bad = np.full((4, 4), np.nan, np.float32)
    odd = reason("fur", "because", 0.5, 0, map=bad, error=float("nan"), on_map=float("nan"))
    check = replace(CHECK, effect=float("nan"))
    word = replace(CAPTION[0], because=because(CAPTION[0], (odd,), check))
    page = html.page(replace(CAPTION, words=(word,), phrases=()))
    assert page_data(page)["panels"][0]["items"][0]["reasons"] == []
    assert not re.search(r"\binf\b|Infinity|NaN|:nan|\"nan", page)
    assert Strip.of(check) is None
    assert Strip.of(replace(CHECK, random=())) is None


def test_the_strip_puts_the_effect_beside_chance() -> None:
    strip = Strip.of(CHECK)
    assert strip is not None
    assert 0 < strip.random[0] < strip.zero < strip.random[1] < strip.random[-1] == strip.needed < strip.effect < 100
    assert strip.band[0] < strip.zero < strip.band[1] < strip.needed
    scale = (strip.effect - strip.zero) / CHECK.effect
    assert strip.random == pytest.approx([strip.zero + scale * value for value in RANDOM], abs=0.02)
    assert strip.said == (
        "log-odds lost: 8.5 with the units named off; 6 random sets −0.5 to 3.0, 95 % of them from −0.4 to 2.8; "
        "more than 3.0 must be lost"
    )
    same = Strip.of(replace(CHECK, effect=0.0, random=(0.0, 0.0)))
    assert same is not None
    assert same.effect == same.zero == 50


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed: the page's code is not run")
def test_the_pages_code_paints_a_reason_as_placement_does() -> None:
    page = html.page(CAPTION)
    panel = page_data(page)["panels"][0]
    row = told().rows[0]
    assert row.map is not None
    program = f"""{(TEMPLATES / "page.js").read_text(encoding="utf-8")}
      const panel = {json.dumps(panel)};
      const cells = opened(panel.items[0], panel.grid).reasons[0];
      console.log(JSON.stringify([...paint(cells, panel.axes, panel.size, 60, 90)]));"""
    run = subprocess.run(["node", "-e", program], capture_output=True, text=True, check=True)
    drawn = np.array(json.loads(run.stdout)).reshape(60, 90)
    np.testing.assert_allclose(drawn, CAPTION.placement.paint(row.map), atol=float(np.abs(row.map).max()) / 127)


def test_concepts_can_be_chosen_only_where_there_is_a_map() -> None:
    spans = Page(html.page(CAPTION)).named("span", "concept")
    assert [span.get("data-reason") for span in spans[:11]] == [*map(str, range(8)), None, None, "8"]


# Figure, terminal, Markdown


def test_the_figure_has_a_reason_under_each_panel(tmp_path: Path) -> None:
    why = reasoned(contrast_explanation(), concept="$x_1$")
    axes = [axis for axis in why.plot().axes if axis.images]
    under = [axis.texts[0].get_text() if axis.texts else "" for axis in axes]
    assert under[0] == ""
    assert " ".join(under[1].split()) == (
        "“red” rather than “white” because of units named $x_1$ 0 (20 %), $x_1$ 1 itself (10 %) and $x_1$ 2 (7 %), "
        "despite snow (30 %) ✓ these units matter names: $x_1$ 0 ✓, $x_1$ 1 ✗, $x_1$ 2 –"
    )
    assert not axes[1].texts[0].get_parse_math()
    assert all(line.count("%") == line.count("\xa0%") for line in under)
    with Image.open(why.save(tmp_path / "why.png")) as image:
        assert image.format == "PNG"


def test_the_terminal_tells_reasons_a_line_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    Console(width=100).print(text.table(CAPTION))
    lines = capsys.readouterr().out.splitlines()
    head = next(n for n, line in enumerate(lines) if line.split() == ["because", "of", "despite"])
    assert lines[head + 2].split("  ")[0] == "red"
    assert re.split(r"\s{2,}", lines[head + 2].strip()) == [
        "red",
        "✓",
        "fur 0 20 % ✓, fur 1 10 % ✗, fur 2 7 % –",
        "snow 30 %",
    ]
    assert len(lines[head + 1 : head + 6]) == 5
    assert "whole sentences: in .md" in " ".join(lines)
    Console(width=100).print(text.table(reasoned(answer_explanation(), concept="\x1b[2J[bold]x[/bold]")))
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "[bold]x[/bold] 0 20 %" in shown
    assert "“red” because of" in " ".join(shown.split())
    Console(width=100).print(text.table(caption_explanation()))
    assert "because of" not in capsys.readouterr().out


def test_markdown_holds_the_whole_sentences() -> None:
    page = text.markdown(CAPTION).replace("\\", "")
    assert (
        "- “red” because of units named fur 0 (20 %), fur 1 itself (10 %) and fur 2 (7 %), despite snow (30 %);" in page
    )
    assert page.count("these units matter: with the 3 units named switched off") == 5
    assert page.count("fur 0 (p .002): units of this name act together") == 5


def test_reasons_come_back_from_disk_on_the_page(tmp_path: Path) -> None:
    for ending in ("h5", "json"):
        again = Explanation.load(CAPTION.save(tmp_path / f"why.{ending}"))
        assert html.page(again) == html.page(CAPTION)


def test_the_page_stays_of_sane_size() -> None:
    rest = len(html.page(caption_explanation()))
    assert len(html.page(CAPTION)) - rest < 5 * 16_000
