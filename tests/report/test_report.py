import base64
import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
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
from vlx import Explanation, WordExplanation
from vlx.pictures.placement import Frame, Grid, Placement, visible_at
from vlx.report import colour, html, maps, numbers, pictures, text, wording

TEMPLATES = Path(html.__file__).parent / "templates"
NASTY = "</script><img src=x onerror=alert(1)>\u2028\"'&"
VOID = {"meta", "img", "input", "br", "link"}


class Page(HTMLParser):
    """Collects what a browser would make of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def named(self, tag: str, name: str) -> list[dict[str, str | None]]:
        return [found for kind, found in self.tags if kind == tag and name in (found.get("class") or "").split()]


def page_data(page: str) -> dict[str, Any]:
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.S)
    assert found
    data: dict[str, Any] = json.loads(found.group(1))
    return data


def with_word(why: Explanation, number: int, **changes: Any) -> Explanation:
    words = list(why.words)
    words[number] = replace(words[number], **changes)
    return replace(why, words=tuple(words))


def nasty() -> Explanation:
    """The explanation with markup wherever a user can put a text."""
    why = with_word(caption_explanation(), 0, label=NASTY, alternatives=((NASTY, -1.0),), notes=(NASTY,), target=NASTY)
    record = {"model": NASTY, NASTY: [NASTY], "versions": {NASTY: NASTY}, "command": NASTY}
    phrase = replace(why.phrases[0], label=NASTY + " phrase")
    return replace(why, text=NASTY, notes=(NASTY,), method=NASTY, provenance=record, phrases=(phrase,))


# The page: safe, whole, self-contained


def test_what_a_user_wrote_is_never_markup() -> None:
    page, plain = Page(html.page(nasty())), Page(html.page(caption_explanation()))
    assert page.open == []
    tags = [tag for tag, _ in page.tags]
    assert tags.count("script") == 2  # the data and the code
    assert {"img": tags.count("img")} == {"img": [tag for tag, _ in plain.tags].count("img")}
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    whole = "".join(page.texts)
    assert whole.count(NASTY) >= 9
    assert "<script>alert('x')</script>" in whole


def test_the_script_gets_numbers_only() -> None:
    page = html.page(nasty())
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.S)
    assert found
    assert not re.search("[<>&\u2028]", found.group(1))
    assert "alert" not in found.group(1)
    escaped = str(html._script({"text": NASTY}))
    assert not re.search("[<>&\u2028]", escaped)
    assert json.loads(escaped) == {"text": NASTY}


def test_only_the_pages_own_script_may_run() -> None:
    page = html.page(caption_explanation())
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    code = re.search(r"<script>(.*?)</script>", page, re.S)
    assert policy
    assert code
    digest = base64.b64encode(hashlib.sha256(code.group(1).encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in unescape(policy.group(1))
    assert "default-src 'none'" in unescape(policy.group(1))


def test_the_page_needs_no_network() -> None:
    page = Page(html.page(caption_explanation()))
    links = [value for _, attributes in page.tags for name, value in attributes.items() if name in ("src", "href")]
    assert sum(link is not None and link.startswith("data:image/jpeg") for link in links) == 1  # the picture
    assert sum(link is not None and link.startswith("data:image/png") for link in links) == 1 + 5  # stills of maps
    assert all(link is not None and link.startswith(("data:image/", "#")) for link in links)
    for source in TEMPLATES.iterdir():
        assert not re.search(r"https?://|@import|fetch\(|url\((?!#)", source.read_text(encoding="utf-8")), source.name


def test_every_word_phrase_and_the_whole_text_can_be_chosen_by_keyboard_and_ear() -> None:
    why = caption_explanation()
    page = Page(html.page(why))
    buttons = page.named("button", "word")
    assert [button["data-item"] for button in buttons] == [str(n) for n in range(5 + 1 + 1)]
    assert buttons[0]["aria-label"] == "a: probability 99.0 %, 92 % of its p comes from the picture, bar 92 %"
    assert all(button["aria-pressed"] == "false" for button in buttons)
    assert len(page.named("article", "one")) == len(buttons)
    assert sum(attributes.get("role") == "status" for _, attributes in page.tags) == 1


def test_the_page_says_everything_without_a_script() -> None:
    why = caption_explanation()
    page = html.page(why)
    shown = "".join(Page(re.sub(r"<(script|template)\b.*?</\1>", "", page, flags=re.S)).texts)
    for word in why:
        assert word.label in shown
        assert wording.seen(word) in shown
        assert numbers.figure(wording.strongest(word.signed)) in shown
    assert 'a note with <i>markup</i> & "quotes"' in shown
    assert "the score does not depend on the feature map" in shown
    assert "@media print" in page


def test_maps_are_called_what_they_are() -> None:
    page = unescape(html.page(caption_explanation()))
    assert "Regions whose features most raise log p of “red”." in page
    assert "looked at" not in page
    assert "nats per cell" in page
    logit = with_word(caption_explanation(), 1, target="logit")
    assert "Regions whose features most lower the logit of “red”" in unescape(html.page(logit))


def test_words_owed_to_language_are_pale_and_the_picture_may_speak_against_one() -> None:
    page = html.page(caption_explanation())
    buttons = Page(page).named("button", "word")  # seen 2.5, 0.01, −0.3, 1.0, 0.2
    inks = [int((re.search(r"--ink-share:(\d+)%", button["style"] or "") or ["", "-1"])[1]) for button in buttons[:5]]
    assert inks[0] == inks[3] == 100
    assert inks[1] < 5
    assert inks[2] == 0
    assert 20 < inks[4] < 40
    assert "the picture speaks against it: without it p is 1.3\u00a0× as large" in page


def test_without_seen_nothing_is_said_of_it() -> None:
    why = caption_explanation()
    blind = replace(why, words=tuple(replace(word, seen=None) for word in why), phrases=())
    blind = replace(blind, sentence=replace(why.sentence, seen=None))
    page = Page(html.page(blind))
    assert not page.named("span", "bar")
    assert "from the picture" not in "".join(page.texts)


def test_other_answers_have_panels_of_their_own_and_share_the_picture() -> None:
    why = caption_explanation()
    other = replace(why, text="an other text", words=why.words[:2])
    page = html.page(replace(why, others=(other,)))
    assert len(Page(page).named("article", "panel")) == 2
    assert len(Page(page).named("image", "plain")) == 1
    assert [panel["words"] for panel in page_data(page)["panels"]] == [5, 2]


# The maps on the page


def test_one_scale_serves_all_words_and_views() -> None:
    why = caption_explanation()
    panel = page_data(html.page(why))["panels"][0]
    assert panel["top"] == colour.scale(why) == pytest.approx(max(np.abs(word.signed).max() for word in why))
    assert panel["items"][0]["opposed"] is None  # −S; not sent twice
    assert panel["items"][1]["opposed"] is not None
    sent = maps.cells_of(panel["items"][2]["signed"], (4, 4))
    np.testing.assert_allclose(sent, why[2].signed, atol=1e-4 * np.abs(why[2].signed).max())


def test_numbers_on_the_page_are_finite_and_the_page_says_what_was_not() -> None:
    why = caption_explanation()
    bad = np.array(why[0].signed)
    bad[0, 0], bad[1, 1] = np.nan, np.inf
    page = html.page(with_word(why, 0, signed=bad, logprob=-np.inf, seen=-np.inf, alternatives=(("x", -np.inf),)))
    panel = page_data(page)["panels"][0]
    sent = maps.cells_of(panel["items"][0]["signed"], (4, 4))
    assert np.isfinite(sent).all()
    assert sent[0, 0] == sent[1, 1] == 0
    assert sent[0, 1] == pytest.approx(bad[0, 1], rel=1e-3)
    assert "some values of the map are not finite; they are drawn as 0" in page
    assert "−∞" in page
    assert not re.search(r"\bnan\b|\binf\b|Infinity", "".join(Page(page).texts))


def placements() -> list[Placement]:
    grid = Grid((3.0, 5.0), (8.0, 8.0), (4, 3), (32, 32))
    return [
        caption_explanation().placement,
        Placement(grid, Frame.whole((61, 35), (32, 32))),
        Placement(grid, Frame((60 / 32, -90 / 32), (0.4, 88.6), (60, 90), (32, 32), (2, 30, 0, 32))),  # a flip
        Placement(Grid((15.5, 15.5), (32.0, 32.0), (1, 1), (32, 32)), Frame.whole((40, 50), (32, 32))),
    ]


@pytest.mark.parametrize("placement", placements())
def test_what_is_drawn_at_the_pictures_own_size_is_what_is_painted(placement: Placement) -> None:
    values = np.random.default_rng(0).normal(size=placement.grid.shape).astype(np.float32)
    size = placement.frame.size
    np.testing.assert_array_equal(colour.painted(values, placement, size), placement.paint(values))
    np.testing.assert_array_equal(colour.painted(values * np.nan, placement, size), np.zeros(size))
    np.testing.assert_array_equal(visible_at(placement, placement.frame.size), placement.visible())


def test_a_smaller_painting_is_the_large_one_seen_from_afar() -> None:
    placement = Placement(Grid((7.5, 7.5), (16.0, 16.0), (8, 8), (128, 128)), Frame.whole((512, 640), (128, 128)))
    values = np.random.default_rng(0).normal(size=(8, 8))
    small = colour.painted(values, placement, (128, 160))
    averaged = placement.paint(values).reshape(128, 4, 160, 4).mean((1, 3))
    np.testing.assert_allclose(small, averaged, atol=0.02)


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed: the page's painting is not run")
@pytest.mark.parametrize("placement", placements())
def test_the_pages_painting_equals_paint(placement: Placement) -> None:
    values = np.random.default_rng(0).normal(size=placement.grid.shape).astype(np.float32)
    why, (height, width) = caption_explanation(), placement.frame.size
    word = replace(why[0], signed=values, opposed=-values, placement=placement)
    image = np.zeros((height, width, 3), np.uint8)
    panel = page_data(html.page(replace(why, words=(word,), phrases=(), placement=placement, image=image)))["panels"][0]
    code = (TEMPLATES / "page.js").read_text(encoding="utf-8")
    program = f"""{code}
      const panel = {json.dumps(panel)};
      const item = opened(panel.items[0], panel.grid);
      const draw = (view) => [...paint(cellsOf(item, view), panel.axes, panel.size, {height}, {width})];
      console.log(JSON.stringify([draw("for"), draw("against"), draw("signed")]));"""
    run = subprocess.run(["node", "-e", program], capture_output=True, text=True, check=True)
    shown, opposed, signed = np.array(json.loads(run.stdout)).reshape(3, height, width)
    np.testing.assert_allclose(shown, word.heatmap, atol=1e-4)
    np.testing.assert_allclose(-opposed, word.against, atol=1e-4)
    np.testing.assert_allclose(signed, placement.paint(values), atol=1e-4)


def test_a_zero_map_is_transparent_and_said_to_be_zero() -> None:
    why = caption_explanation()
    assert why[3].heatmap.max() == 0
    drawn = pictures.Drawn.of(why, 90)
    np.testing.assert_array_equal(drawn.under(why[3].signed, colour.scale(why)), drawn.muted)
    flat = replace(why, words=(replace(why[3], notes=()),), phrases=())
    np.testing.assert_array_equal(drawn.under(why[3].signed, colour.scale(flat)), drawn.muted)
    assert "the map is zero everywhere" in html.page(flat)
    assert page_data(html.page(flat))["panels"][0]["top"] == 0


def test_a_weak_word_looks_weak() -> None:
    why = caption_explanation(cropped=False)
    drawn, top = pictures.Drawn.of(why, 90), colour.scale(why)
    changes = [np.abs(drawn.under(word.signed, top).astype(int) - drawn.muted).mean() for word in why]
    assert changes[0] > 3 * changes[1]
    assert changes[1] > 1.5 * changes[2] > 0


def test_a_word_that_is_all_but_certain_has_a_faint_map_and_the_page_says_why() -> None:
    sure = caption_explanation()[2]
    said = wording.remarks(replace(sure, logprob=-0.001), top=100.0)
    assert len(said) == 1
    assert said[0].startswith("p is 99.9 %: log p has almost nowhere to rise, so its map is faint; the logit")
    assert wording.remarks(sure, top=100.0) == []
    flat = np.zeros((4, 4), np.float32)
    zero = replace(sure, logprob=-0.001, signed=flat, opposed=-flat)
    assert wording.remarks(zero, top=100.0) == ["the map is zero everywhere"]
    assert numbers.figure(wording.strongest(zero.opposed)) == "0"
    assert wording.remarks(replace(sure, logprob=-0.001, target="logit"), top=100.0) == []


@pytest.mark.parametrize("view", ["for", "against"])
def test_colours_grow_evenly_lighter(view: str) -> None:
    linear = np.array(colour.ramp(view)) / 255
    linear = np.where(linear > 0.04045, ((linear + 0.055) / 1.055) ** 2.4, linear / 12.92)
    luminance = linear @ (0.2126, 0.7152, 0.0722)
    lightness = np.where(luminance > 0.008856, 116 * np.cbrt(luminance) - 16, 903.3 * luminance)
    steps = np.diff(lightness)
    assert lightness[-1] - lightness[0] > 45
    assert steps.min() > -0.5  # rounding to 8 bits
    assert steps.max() < 3 * steps.mean()


def test_what_the_model_never_saw_is_hatched() -> None:
    why = caption_explanation()
    drawn = pictures.Drawn.of(why, 90)
    np.testing.assert_array_equal(drawn.plain[:, 15:75], why.image[:, 15:75])
    assert (drawn.plain[:, :15] != why.image[:, :15]).mean() > 0.9
    grey = pictures.Drawn.of(replace(why, image=np.full_like(why.image, 90)), 90).plain
    assert len(np.unique(grey[:, :15])) == 2  # lines and what is between them
    assert np.all(grey[:, 15:75] == 90)
    assert "not seen by the model" in html.page(why)
    assert "not seen by the model" not in html.page(caption_explanation(cropped=False))


def test_large_pictures_are_shrunk_and_keep_their_shape() -> None:
    why = caption_explanation()
    large = replace(why, image=np.zeros((600, 900, 3), np.uint8))
    assert pictures.Drawn.of(large, 300).plain.shape == (200, 300, 3)
    assert pictures.Drawn.of(why, 300).plain.shape == (60, 90, 3)


# Notebook, figure, terminal, Markdown


def test_the_notebook_frame_is_escaped_whole() -> None:
    why = nasty()
    tags = Page(why._repr_html_()).tags
    assert [tag for tag, _ in tags] == ["div", "style", "iframe", "img"]
    frame, picture = tags[2][1], tags[3][1]
    assert frame["srcdoc"] == html.page(why, html.FRAME_SIDE)
    assert frame["sandbox"] == "allow-scripts"
    assert picture["alt"] == f"Maps of {NASTY}"


def test_a_notebook_shows_a_picture_where_frames_and_scripts_are_dropped() -> None:
    why = caption_explanation()
    shown = why._repr_mimebundle_()
    assert list(shown) == ["text/html", "image/png", "text/plain"]
    data, page = shown["image/png"], shown["text/html"]
    assert isinstance(data, bytes)
    assert isinstance(page, str)
    with Image.open(io.BytesIO(data)) as image:
        assert image.width > 300
        assert len(np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)) > 40
    dropped = re.sub(r"<style>.*?</style>|<iframe.*?</iframe>", "", page, flags=re.S)  # as GitHub does
    assert [tag for tag, _ in Page(dropped).tags] == ["div", "img"]
    assert Page(dropped).tags[1][1]["src"] == pictures.png_address(data)
    assert "iframe + img { display: none }" in page  # and not twice where frames are shown


def test_an_empty_caption_makes_a_page_a_figure_and_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nothing = replace(caption_explanation(), text="", words=(), phrases=())
    for ending in ("html", "png", "md"):
        assert nothing.save(tmp_path / f"why.{ending}").stat().st_size > 1000
    Console(width=100).print(text.table(nothing))
    assert "(nothing)" in capsys.readouterr().out
    assert page_data(html.page(nothing))["panels"][0]["words"] == 0


def test_one_answer_has_no_second_button_for_the_whole_text() -> None:
    why = caption_explanation()
    single = replace(why, text="tabby", words=(why[0],), phrases=(), sentence=why[0], task="classification")
    assert len(Page(html.page(single)).named("button", "word")) == 1
    assert "The map" in html.page(single)


@pytest.mark.parametrize("size", [(8, 8), (8, 400), (400, 8)])
def test_odd_shapes_of_pictures_are_drawn(tmp_path: Path, size: tuple[int, int]) -> None:
    placement = Placement(Grid.half_pixel((4, 4), (32, 32)), Frame.whole(size, (32, 32)))
    why = caption_explanation()
    words = tuple(replace(word, placement=placement) for word in why)
    odd = replace(why, words=words, placement=placement, image=np.zeros((*size, 3), np.uint8))
    for ending in ("html", "png"):
        assert odd.save(tmp_path / f"why.{ending}").exists()


def test_the_figure_shows_a_panel_a_word_and_one_scale(tmp_path: Path) -> None:
    why = with_word(caption_explanation(), 4, label="cash $x_1$ 漢字")
    figure = why.plot(columns=3)
    shown = [axis for axis in figure.axes if axis.images]
    assert len(shown) == 1 + len(why)
    assert any("seen +2.50" in axis.get_title() for axis in shown)
    assert "cash $x_1$" in shown[-1].get_title()
    assert not shown[-1].title.get_parse_math()
    assert any("each word on its own scale\nbars: p lost" in axis.get_xlabel() for axis in figure.axes)
    shared = why.plot(scale="shared")
    assert any("one scale for all words" in axis.get_xlabel() for axis in shared.axes)
    with Image.open(why.save(tmp_path / "why.png")) as image:
        assert image.format == "PNG"
    assert figure._repr_png_().startswith(b"\x89PNG")  # notebooks show it though pyplot does not know it


def test_drawing_leaves_pyplot_alone() -> None:
    code = """
import sys
from tests.explanations import caption_explanation
caption_explanation().plot()
sys.exit("matplotlib.pyplot" in sys.modules)
"""
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root).returncode == 0


def test_the_terminal_table_escapes_and_tells(capsys: pytest.CaptureFixture[str]) -> None:
    why = caption_explanation(labels=("a", "[red]", "\x1b[2Jhouse"))
    Console(width=200).print(text.table(why))
    shown = capsys.readouterr().out
    assert "[red]" in shown
    assert "\x1b" not in shown
    assert "+2.50" in shown
    assert 'Note: a note with <i>markup</i> & "quotes"' in shown


@pytest.mark.parametrize(("part", "drawn"), [(0.0, ""), (1e-6, "▏"), (0.5, "████"), (0.51, "████▏"), (1.0, "████████")])
def test_bars_of_the_terminal(part: float, drawn: str) -> None:
    assert text.bar(part) == drawn


def test_markdown_is_one_file_with_its_picture(tmp_path: Path) -> None:
    page = nasty().save(tmp_path / "why.md").read_text(encoding="utf-8")
    assert "![Maps of all words](data:image/png;base64," in page
    assert "<" not in page
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    assert len(rows) == 1 + 5 + 1
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 9 for row in rows)


# Words for figures


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.0, "0"),
        (0.1634, "0.163"),
        (-2.5, "−2.5"),
        (1234.5, "1234"),
        (0.00069, "6.9×10⁻⁴"),
        (-3e-12, "−3.0×10⁻¹²"),
        (float("-inf"), "−∞"),
        (float("nan"), "not a number"),
    ],
)
def test_figures_are_written_for_people(value: float, written: str) -> None:
    assert numbers.figure(value) == written


@pytest.mark.parametrize(
    ("logprob", "written"),
    [
        (0.0, "100.0 %"),
        (1e-7, "100.0 %"),
        (-1e-5, "> 99.9 %"),
        (-0.7, "49.7 %"),
        (-20.0, "< 0.1 %"),
        (-np.inf, "< 0.1 %"),
    ],
)
def test_probabilities_are_written_in_percent(logprob: float, written: str) -> None:
    assert numbers.share(logprob) == written


@pytest.mark.parametrize(
    ("seen", "by", "looked", "said"),
    [
        (7.0, {"inverted": 7.0}, 1.0, "+7.00 nats come from the picture, compared with a reference made of it"),
        (
            1.0,
            {"a.png": 1.0, "b.png": 1.0},
            0.9,
            "+1.00 nats come from the picture, compared with 2 pictures of your own",
        ),
        (
            0.05,
            {"inverted": 0.05},
            0.05,
            "hardly moved by the picture: log p changes by 0.05 nats on average with a reference made of it",
        ),
        (
            -1.0,
            {"inverted": -1.0},
            1.0,
            "the picture speaks against it: −1.00 nats, compared with a reference made of it",
        ),
        (2.0, {}, None, "+2.00 nats come from the picture, compared with a blank picture"),
        (None, {}, None, ""),
    ],
)
def test_seen_is_said_in_a_sentence(seen: float | None, by: dict[str, float], looked: float | None, said: str) -> None:
    word: WordExplanation = replace(caption_explanation()[0], seen=seen, seen_by=by, looked=looked)
    assert wording.seen_said(word) == said
