import json
import re
import shutil
import subprocess
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from tests.explanations import caption_explanation
from vlx.report import colour, html, text

TEMPLATES = Path(html.__file__).parent / "templates"


class Page(HTMLParser):
    """Collects what a browser would make of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def page_data(page: str) -> dict[str, Any]:
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.S)
    assert found
    data: dict[str, Any] = json.loads(found.group(1))
    return data


def test_what_a_user_wrote_is_never_markup() -> None:
    page = Page(html.page(caption_explanation()))
    scripts = [attributes for tag, attributes in page.tags if tag == "script"]
    assert len(scripts) == 2  # the data and the code; the label's own script is text
    assert not any(tag in ("i", "b") and "style" in attributes for tag, attributes in page.tags)
    whole = "".join(page.texts)
    assert "<script>alert('x')</script>" in whole
    assert '<i>markup</i> & "quotes"' in whole
    assert "tiny</script>" in whole


def test_the_page_needs_no_network() -> None:
    page = Page(html.page(caption_explanation()))
    links = [value for _, attributes in page.tags for name, value in attributes.items() if name in ("src", "href")]
    assert links
    assert all(link is not None and link.startswith("data:") for link in links)
    for source in TEMPLATES.iterdir():
        assert not re.search(r"https?://|@import|fetch\(|url\(", source.read_text(encoding="utf-8")), source.name


def test_the_data_holds_every_word_and_one_scale_for_all() -> None:
    why = caption_explanation()
    data = page_data(html.page(why))
    assert [item["label"] for item in data["items"][: data["words"]]] == [word.label for word in why]
    assert [item["kind"] for item in data["items"][data["words"] :]] == ["phrase", "sentence"]
    assert data["top"] == pytest.approx(max(np.abs(word.signed).max() for word in why))
    assert data["items"][0]["opposed"] is None  # −S; not sent twice
    assert data["items"][1]["opposed"] is not None


def test_the_page_places_cells_where_paint_does() -> None:
    why = caption_explanation()
    data = page_data(html.page(why))
    (ay, by), (ax, bx) = data["cells"]
    for cell in ((0, 0), (1, 2), (3, 3)):
        y, x = why.placement.centre_of(*cell)
        assert (ay * y + by, ax * x + bx) == pytest.approx(cell)
    assert data["seen"] == [0, 60, 15, 75]


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed: the page's painting is not run")
def test_the_pages_painting_equals_paint() -> None:
    why = caption_explanation()
    data = page_data(html.page(why))
    code = (TEMPLATES / "page.js").read_text(encoding="utf-8")
    between = re.search(r"const between = .*?\n  };", code, re.S)
    assert between
    program = (
        between.group(0)
        + f"""
      const cells = {json.dumps(why[0].signed.clip(0).tolist())}, [[ay, by], [ax, bx]] = {json.dumps(data["cells"])};
      const rows = [];
      for (let y = 0; y < 60; y++) for (let x = 15; x < 75; x++) rows.push(between(cells, ay * y + by, ax * x + bx));
      console.log(JSON.stringify(rows));"""
    )
    run = subprocess.run(["node", "-e", program], capture_output=True, text=True, check=True)
    painted = np.array(json.loads(run.stdout)).reshape(60, 60)
    np.testing.assert_allclose(painted, why[0].heatmap[:, 15:75], atol=1e-6)


def test_a_zero_map_is_transparent_and_said_to_be_zero() -> None:
    why = caption_explanation()
    assert why[3].heatmap.max() == 0
    np.testing.assert_array_equal(colour.overlay(why.image, why[3].heatmap, colour.scale(why)), why.image)
    assert "the score does not depend on the feature map" in html.page(why)
    flat = replace(why, words=(why[3],))
    np.testing.assert_array_equal(colour.overlay(why.image, why[3].heatmap, colour.scale(flat)), why.image)


def test_a_weak_word_looks_weak() -> None:
    why = caption_explanation()
    top = colour.scale(why)
    changes = [np.abs(colour.overlay(why.image, word.heatmap, top).astype(int) - why.image).mean() for word in why]
    assert changes[0] > 3 * changes[1]
    assert changes[1] > 2 * changes[2] > 0  # values 10 times smaller, near the rounding of 8 bits


def test_what_the_model_never_saw_is_hatched() -> None:
    why = caption_explanation()
    marked = colour.hatched(why.image, why.visible)
    np.testing.assert_array_equal(marked[:, 15:75], why.image[:, 15:75])
    assert (marked[:, :15] != why.image[:, :15]).mean() > 0.9
    assert "not seen by the model" in html.page(why)
    assert "not seen by the model" not in html.page(caption_explanation(cropped=False))


def test_numbers_on_the_page_are_finite() -> None:
    why = caption_explanation()
    with pytest.raises(ValueError, match="Out of range float"):
        html.page(replace(why, words=(replace(why[0], signed=np.full((4, 4), np.nan, np.float32)),)))


def test_the_notebook_frame_is_escaped_whole() -> None:
    why = caption_explanation()
    frame = why._repr_html_()
    tags = Page(frame).tags
    assert [tag for tag, _ in tags] == ["iframe"]
    assert tags[0][1]["srcdoc"] == html.page(why)
    assert unescape(frame).count("<!doctype html>") == 1


def test_an_empty_caption_makes_a_page_a_figure_and_a_table(tmp_path: Path) -> None:
    nothing = replace(caption_explanation(), text="", words=(), phrases=())
    for ending in ("html", "png", "md"):
        assert nothing.save(tmp_path / f"why.{ending}").stat().st_size > 1000


def test_the_figure_shows_a_panel_a_word_and_is_not_shown(tmp_path: Path) -> None:
    why = caption_explanation()
    figure = why.plot(columns=3)
    shown = [axis for axis in figure.axes if axis.images]
    assert len(shown) == 1 + len(why)
    assert any("seen +2.5" in axis.get_title() for axis in shown)
    path = why.save(tmp_path / "why.png")
    with Image.open(path) as image:
        assert image.format == "PNG"


def test_the_terminal_table_escapes_and_tells(capsys: pytest.CaptureFixture[str]) -> None:
    why = caption_explanation(labels=("a", "[red]", "house"))
    Console(width=200).print(text.table(why))
    shown = capsys.readouterr().out
    assert "[red]" in shown
    assert "+2.50" in shown
    assert 'Note: a note with <i>markup</i> & "quotes"' in shown


def test_markdown_is_one_file_with_its_picture(tmp_path: Path) -> None:
    page = caption_explanation().save(tmp_path / "why.md").read_text(encoding="utf-8")
    assert "data:image/png;base64," in page
    assert "<script>" not in page
    assert page.count("\n| ") == 1 + len(caption_explanation())
